//! The detector: a fold over what it is told. State and input give new state and changes; the same
//! inputs give the same state, so a ledger of inputs is a ledger of detection.

mod alarm;
mod cases;
mod eyes;
mod parting;
mod pending;
mod scene;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use self::{eyes::Eye, pending::Wait};
use super::{
    case::{Bad, Case},
    incident::{Deploy, Incident, IncidentId},
    input::{Change, Input},
    suspects::Field,
    trail::{Spot, Trail},
};
use crate::canary::{Family, Route, RouteId, TargetName, Timestamp, Usual, Verdict};

/// Reds due within this of each other count together: long enough for routes that run every few
/// minutes, short enough that two unrelated blips of a day do not meet.
pub(super) const TOGETHER: Duration = Duration::from_secs(600);
/// The first notification waits this long for confirming runs, so that it names the suspect.
pub(super) const NAME_WITHIN: Duration = Duration::from_secs(10);
/// Incidents are remembered so long after their end: late verdicts of their runs find them, they
/// open again, and rare losses that come days apart are known as one fault.
const REMEMBER: Duration = Duration::from_secs(30 * 86_400);
/// And so many that are over.
const REMEMBERED: usize = 64;
/// Deploys remembered.
const DEPLOYS: usize = 64;

/// State of detection. Serialisable, so that a snapshot can be kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Detector {
    trails: Vec<Trail>,
    #[serde(skip)]
    field: Field,
    #[serde(skip)]
    places: HashMap<RouteId, u32>,
    pending: Vec<Bad>,
    /// Bad runs that came alone, oldest first.
    #[serde(default)]
    strays: VecDeque<Bad>,
    waits: BTreeMap<Family, Wait>,
    /// When pending runs of a large field were last considered.
    #[serde(default)]
    considered: BTreeMap<Family, Timestamp>,
    /// When something was heard last of what is pending: another bad run, what one has become, or a run that was
    /// asked for.
    #[serde(default)]
    news_at: Timestamp,
    cases: Vec<Case>,
    deploys: Vec<Deploy>,
    eyes: BTreeMap<TargetName, Eye>,
}

impl Detector {
    /// A detector that knows the routes and nothing else.
    pub fn new(routes: &[Arc<Route>]) -> Self {
        let mut detector = Self { trails: routes.iter().cloned().map(Trail::new).collect(), ..Self::default() };
        detector.index();
        detector
    }

    /// From a snapshot, for these routes: what it knew of others is forgotten, and incidents that
    /// hit only those are resolved as no longer watched.
    pub fn restore(
        state: &[u8],
        routes: &[Arc<Route>],
        now: Timestamp,
    ) -> Result<(Self, Vec<Change>), serde_json::Error> {
        let mut detector: Self = serde_json::from_slice(state)?;
        detector.index();
        let changes = detector.watch(routes, now);
        Ok((detector, changes))
    }

    /// The state as a snapshot.
    pub fn snapshot(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("detector state has no maps with keys that JSON cannot have")
    }

    fn index(&mut self) {
        self.trails.iter_mut().for_each(Trail::index);
        self.field = Field::of_routes(self.trails.iter().map(|trail| &*trail.route));
        self.places = self.trails.iter().enumerate().map(|(at, trail)| (trail.route.id, at as u32)).collect();
    }

    /// Watches these routes from now on. Trails of routes that stay are kept.
    pub fn watch(&mut self, routes: &[Arc<Route>], now: Timestamp) -> Vec<Change> {
        let mut known: HashMap<RouteId, (u32, Trail)> = std::mem::take(&mut self.trails)
            .into_iter()
            .enumerate()
            .map(|(at, trail)| (trail.route.id, (at as u32, trail)))
            .collect();
        let mut moved: HashMap<u32, u32> = HashMap::new();
        for (at, route) in routes.iter().enumerate() {
            self.trails.push(match known.remove(&route.id) {
                Some((was, trail)) => {
                    moved.insert(was, at as u32);
                    Trail { route: Arc::clone(route), ..trail }
                }
                None => Trail::new(Arc::clone(route)),
            });
        }
        self.index();
        let mut re_place = |bad: Bad| moved.get(&bad.place).map(|at| Bad { place: *at, ..bad });
        self.pending = std::mem::take(&mut self.pending).into_iter().filter_map(&mut re_place).collect();
        self.strays = std::mem::take(&mut self.strays).into_iter().filter_map(&mut re_place).collect();
        for wait in self.waits.values_mut() {
            wait.asked.retain_mut(|(place, ..)| moved.get(place).map(|at| *place = *at).is_some());
        }
        let mut changes = Vec::new();
        for case in &mut self.cases {
            case.recount();
            let watched_before = !case.hit.is_empty();
            case.bad = std::mem::take(&mut case.bad)
                .into_iter()
                .filter_map(|(run, bad)| Some((run, re_place(bad)?)))
                .collect();
            case.hit = std::mem::take(&mut case.hit)
                .into_iter()
                .filter_map(|(at, hit)| Some((*moved.get(&at)?, hit)))
                .collect();
            let mut base: Vec<u32> = self.trails.iter().map(|trail| trail.gone).collect();
            for (was, at) in &moved {
                if let Some(known) = case.base.get(*was as usize) {
                    base[*at as usize] = *known;
                }
            }
            case.base = base;
            case.covers = self.field.covered(&case.incident.suspects);
            if let Some(before) = &mut case.before {
                before.move_to(&self.field, &moved);
            }
            case.blind_to.retain(|target| self.trails.iter().any(|trail| trail.route.target == *target));
            if case.incident.is_open()
                && case.hit.is_empty()
                && case.blind_to.is_empty()
                && (watched_before || case.bad.is_empty())
            {
                resolve(case, now, "no longer watched".to_owned(), &mut changes);
            }
        }
        self.eyes.retain(|target, _| self.trails.iter().any(|trail| trail.route.target == *target));
        changes
    }

    /// Takes one input in and says what changes.
    pub fn observe(&mut self, input: &Input, now: Timestamp) -> Vec<Change> {
        let mut changes = Vec::new();
        match input {
            Input::Verdict(verdict) => self.verdict(verdict, now, &mut changes),
            Input::Control { target, passed } => self.control(target, passed, now),
            Input::Deploy(deploy) => {
                self.deploys.push(deploy.clone());
                self.deploys.sort_by_key(|deploy| deploy.at);
                // A pipeline may say so only after somebody was told.
                for case in self.cases.iter_mut().filter(|case| case.incident.is_open()) {
                    case.stale = true;
                }
                if self.deploys.len() > DEPLOYS {
                    self.deploys.remove(0);
                }
            }
            Input::Close { incident, because } => {
                if let Some(case) =
                    self.cases.iter_mut().find(|case| case.incident.id == *incident && case.incident.is_open())
                {
                    resolve(case, now, format!("closed by hand: {because}"), &mut changes);
                }
            }
            Input::Tick => {}
        }
        self.conclude(now, &mut changes);
        changes
    }

    /// Whether time alone may change something, so that ticks are worth sending.
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty() || self.cases.iter().any(|case| case.incident.is_open())
    }

    /// What is usual for a route.
    pub fn usual(&self, route: RouteId) -> Usual {
        self.places.get(&route).map(|at| self.trails[*at as usize].usual.clone()).unwrap_or_default()
    }

    /// An incident by id.
    pub fn incident(&self, id: &IncidentId) -> Option<&Incident> {
        self.cases.iter().map(|case| &case.incident).find(|incident| incident.id == *id)
    }

    /// Incidents that were told and are not over.
    pub fn open_incidents(&self) -> impl Iterator<Item = &Incident> {
        self.cases
            .iter()
            .map(|case| &case.incident)
            .filter(|incident| incident.is_open() && incident.detected_at.is_some())
    }

    /// The trails of all routes.
    pub fn trails(&self) -> &[Trail] {
        &self.trails
    }

    fn verdict(&mut self, verdict: &Verdict, now: Timestamp, changes: &mut Vec<Change>) {
        let Some(place) = self.places.get(&verdict.route).copied() else { return };
        for wait in self.waits.values_mut() {
            for (asked, at, back) in &mut wait.asked {
                if *asked == place && !*back && verdict.run.minted_at() >= at.minus(Duration::from_millis(1)) {
                    (*back, self.news_at) = (true, now);
                }
            }
        }
        let spot = Spot::of(verdict);
        if verdict.agent_away {
            // Counted towards nothing. What a case was told of on it stands until other runs speak.
            self.trails[place as usize].recent.retain(|known| known.run != spot.run);
            self.pending.retain(|bad| bad.spot.run != spot.run);
            self.strays.retain(|bad| bad.spot.run != spot.run);
            return;
        }
        let before = self.trails[place as usize].remember(spot.clone());
        self.end_loan(&spot, now);
        if let Some(case) = self.cases.iter_mut().find(|case| case.bad.contains_key(&spot.run)) {
            if spot.is_green()
                && let Some(called) = before.filter(|known| known.provisional)
            {
                self.trails[place as usize].learn_haste(called.outcome);
            }
            case.revise(&spot);
            if case.is_empty() && case.incident.is_open() {
                resolve(case, now, "its runs turned out to have landed".to_owned(), changes);
            }
            return;
        }
        if let Some(at) = self.pending.iter().position(|bad| bad.spot.run == spot.run) {
            if spot.is_green() {
                let called = self.pending.remove(at).spot.outcome;
                self.trails[place as usize].learn_haste(called);
                self.learn(place, verdict, true);
            } else {
                self.pending[at].spot = spot;
            }
            self.news_at = now;
            return;
        }
        if before.is_some() && !self.strays.is_empty() {
            self.revise_stray(spot.run, &spot);
        }
        if spot.is_green() {
            for case in self.cases.iter_mut().filter(|case| case.incident.is_open()) {
                case.hear_green(place, spot.due);
            }
            self.learn(place, verdict, before.is_none());
            return;
        }
        if self.strays.iter().any(|bad| bad.spot.run == spot.run) {
            return;
        }
        // The trail may have forgotten it; what it rests on has not.
        let was_whole = verdict.outcome.is_silent() && verdict.evidence.first_complete().is_some();
        let was_green = was_whole || before.is_some_and(|known| known.is_green() && !known.provisional);
        let bad = Bad { spot, place, judged_at: now, was_green };
        match self.explaining(&bad) {
            Some(at) => self.cases[at].take(bad, &self.trails),
            None => {
                self.pending.push(bad);
                self.news_at = now;
            }
        }
    }

    /// A run that a case held because it might still become what the case is about, and that has turned
    /// out to be another fault's after all, is that fault's.
    fn end_loan(&mut self, spot: &Spot, now: Timestamp) {
        if spot.provisional || spot.is_green() {
            return;
        }
        let lent = |case: &Case| {
            case.bad.get(&spot.run).is_some_and(|held| {
                let is = Bad { spot: spot.clone(), ..held.clone() };
                let is_back = case.is_on_loan(&held.spot) && held.spot.outcome.family() == spot.outcome.family();
                is_back || held.spot.provisional && case.incident.is_open() && self.has_left(case, &is)
            })
        };
        let Some(at) = self.cases.iter().position(lent) else { return };
        let case = &mut self.cases[at];
        let Some(held) = case.bad.get(&spot.run).cloned() else { return };
        case.lose(std::slice::from_ref(&held), &self.trails);
        let bad = Bad { spot: spot.clone(), ..held };
        match self.explaining(&bad) {
            Some(at) => self.cases[at].take(bad, &self.trails),
            None => {
                self.pending.push(bad);
                self.news_at = now;
            }
        }
    }

    /// Learns from a green run, unless an open incident hits its route.
    fn learn(&mut self, place: u32, verdict: &Verdict, first_heard: bool) {
        if verdict.provisional
            || !first_heard
            || self.cases.iter().any(|case| case.incident.is_open() && case.hit.contains_key(&place))
        {
            return;
        }
        let trail = &mut self.trails[place as usize];
        trail.learn(verdict.outcome);
        let evidence = &verdict.evidence;
        if !verdict.seen_late
            && let (Some(accepted), Some(done), Some(look)) =
                (evidence.accepted_at, evidence.claimed_at, evidence.first_complete())
        {
            trail.usual.learn(done.since(accepted), look.started_at.since(done));
        }
    }

    fn conclude(&mut self, now: Timestamp, changes: &mut Vec<Change>) {
        if !self.pending.is_empty() || !self.waits.is_empty() {
            for family in [Family::Missing, Family::Extra, Family::Values, Family::Honest, Family::Amber, Family::Grey]
            {
                self.consider(family, now, changes);
            }
            self.let_go(now, changes);
        }
        self.blind(now, changes);
        for at in 0..self.cases.len() {
            if self.cases[at].incident.is_open() {
                self.follow(at, now, changes);
            }
        }
        if self.cases.iter().filter(|case| case.incident.is_open()).nth(1).is_some() {
            self.merge(now, changes);
        }
        self.cases.retain(|case| case.incident.resolved_at.is_none_or(|over| now.since(over) < REMEMBER));
        while self.cases.iter().filter(|case| !case.incident.is_open()).count() > REMEMBERED
            && let Some(at) = self.cases.iter().position(|case| !case.incident.is_open())
        {
            self.cases.remove(at);
        }
    }
}

fn resolve(case: &mut Case, now: Timestamp, because: String, changes: &mut Vec<Change>) {
    case.tell(now, format!("resolved: {because}"));
    case.incident.resolved_at = Some(now);
    case.incident.resolved_because = Some(because);
    // Of an opening that nobody was told of nobody needs to be told the end.
    let told = case.told.take().is_some();
    let id = case.incident.id.clone();
    changes.push(if told { Change::Resolved(id) } else { Change::Moved(id) });
}

#[cfg(test)]
mod tests;
