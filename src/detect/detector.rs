//! The detector: a fold over what it is told. State and input give new state and changes; the same
//! inputs give the same state, so a ledger of inputs is a ledger of detection.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    case::{Bad, Case},
    chance,
    incident::{Deploy, Incident, IncidentId, LabelSet, Severity, write_labels},
    input::{Change, Input},
    suspects::{self, Field, Places, SECOND_FAULT, Seen, Suspect},
    trail::{Spot, Trail},
};
use crate::canary::{Family, Marker, Outcome, Phase, Route, RouteId, State, TargetName, Timestamp, Usual, Verdict};

/// Reds due within this of each other count together: long enough for routes that run every few
/// minutes, short enough that two unrelated blips of a day do not meet.
const TOGETHER: Duration = Duration::from_secs(600);
/// The first notification waits this long for confirming runs, so that it names the suspect.
const NAME_WITHIN: Duration = Duration::from_secs(10);
/// Confirming runs asked for one group of reds: more tell nothing new and cost queries.
const MOST_ASKED: usize = 10;
/// Verdicts in a row that could not see: two are a blip of a target.
const BLIND_IN_A_ROW: usize = 3;
/// Failing controls, over at least a minute, before somebody is told that nobody can see.
const CONTROLS: (u32, Duration) = (3, Duration::from_secs(60));
/// Of a route's last ten runs, so many amber are a state and no blip.
const AMBER_OF_TEN: usize = 5;
/// Resolved incidents are remembered so that late verdicts of their runs find them.
const REMEMBER: Duration = Duration::from_secs(24 * 3600);
/// Suspects of a large incident are looked for anew at most this often.
const RANK_EVERY: Duration = Duration::from_secs(1);
/// Up to so many runs, suspects are looked for at every change.
const SMALL: usize = 60;
/// Deploys remembered.
const DEPLOYS: usize = 64;

/// How a target answers its controls.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Eye {
    /// Failures in a row, and when the first of them was.
    failing: Option<(u32, Timestamp)>,
    /// What the last failure said.
    detail: String,
    /// The last success.
    passed_at: Option<Timestamp>,
}

/// A group of reds that waits for its confirming runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Wait {
    since: Timestamp,
    /// Places asked for, when, and whether their verdict is back.
    asked: Vec<(u32, Timestamp, bool)>,
}

/// State of detection. Serialisable, so that a snapshot can be kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Detector {
    trails: Vec<Trail>,
    #[serde(skip)]
    field: Field,
    #[serde(skip)]
    places: HashMap<RouteId, u32>,
    pending: Vec<Bad>,
    waits: BTreeMap<Family, Wait>,
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
        self.waits.clear();
        let mut changes = Vec::new();
        for case in &mut self.cases {
            let watched_before = !case.hit.is_empty();
            case.bad = std::mem::take(&mut case.bad)
                .into_iter()
                .filter_map(|(run, bad)| Some((run, re_place(bad)?)))
                .collect();
            case.hit = std::mem::take(&mut case.hit)
                .into_iter()
                .filter_map(|(at, good)| Some((*moved.get(&at)?, good)))
                .collect();
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
                *back |= *asked == place && verdict.run.minted_at() >= at.minus(Duration::from_millis(1));
            }
        }
        let spot = Spot::of(verdict);
        if verdict.agent_away {
            // Counted towards nothing, whatever was thought of the run before.
            self.trails[place as usize].recent.retain(|known| known.run != spot.run);
            self.pending.retain(|bad| bad.spot.run != spot.run);
            if let Some(case) = self.cases.iter_mut().find(|case| case.bad.contains_key(&spot.run)) {
                case.revise(&spot);
            }
            return;
        }
        let before = self.trails[place as usize].remember(spot.clone());
        if let Some(case) = self.cases.iter_mut().find(|case| case.bad.contains_key(&spot.run)) {
            case.revise(&spot);
            if case.is_empty() && case.incident.is_open() {
                resolve(case, now, "its runs turned out to have landed".to_owned(), changes);
            }
            return;
        }
        if let Some(at) = self.pending.iter().position(|bad| bad.spot.run == spot.run) {
            if spot.is_green() {
                self.pending.remove(at);
            } else {
                self.pending[at].spot = spot;
            }
            return;
        }
        if spot.is_green() {
            self.learn(place, verdict, before.is_none());
            return;
        }
        // The trail may have forgotten it; what it rests on has not.
        let was_whole = verdict.outcome.is_silent() && verdict.evidence.first_complete().is_some();
        let was_green = was_whole || before.is_some_and(|known| known.is_green() && !known.provisional);
        let bad = Bad { spot, place, judged_at: now, was_green };
        match self.explaining(&bad) {
            Some(at) => self.cases[at].take(bad, &self.trails),
            None => self.pending.push(bad),
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

    /// The case that a bad run plainly belongs to: one whose routes it is on, if it is a side
    /// effect of the same fault or a late word on a fault that is over.
    fn explaining(&self, bad: &Bad) -> Option<usize> {
        let during = |case: &Case| {
            case.incident.resolved_at.is_none_or(|over| bad.spot.due < over)
                && bad.judged_at >= case.incident.onset.first_bad
        };
        let hits = |case: &Case| case.hit.contains_key(&bad.place);
        let about = |case: &Case| hits(case) || self.covers(&case.incident.suspects, bad.place);
        let newest = |wanted: &dyn Fn(&Case) -> bool| self.cases.iter().rposition(|case| during(case) && wanted(case));
        newest(&|case| case.incident.family == bad.family() && about(case)).or_else(|| match bad.spot.outcome.state() {
            State::Amber | State::Grey => newest(&about),
            // A red of another family may well be another fault: only on a route that is hit already,
            // and only until its final verdict says what it is.
            State::Red if bad.spot.provisional => newest(&hits),
            // A target that nobody can see takes no output either: jobs that end with an error there
            // are of the same outage, also when it can be read again. Queries that fail by
            // themselves are not.
            State::Red if bad.family() == Family::Honest && bad.spot.phase != Some(Phase::Execute) => {
                newest(&|case| case.incident.family == Family::Grey && about(case))
            }
            State::Red | State::Green => None,
        })
    }

    fn covers(&self, labels: &LabelSet, place: u32) -> bool {
        let route = &self.trails[place as usize].route;
        labels.iter().all(|(name, value)| route.facet(name) == Some(value))
    }

    fn control(&mut self, target: &TargetName, passed: &Result<(), String>, now: Timestamp) {
        let eye = self.eyes.entry(target.clone()).or_default();
        match passed {
            Ok(()) => {
                eye.failing = None;
                eye.passed_at = Some(now);
                for case in &mut self.cases {
                    case.blind_to.remove(target);
                }
            }
            Err(detail) => {
                let (times, since) = eye.failing.unwrap_or((0, now));
                eye.failing = Some((times + 1, since));
                eye.detail.clone_from(detail);
            }
        }
    }

    fn conclude(&mut self, now: Timestamp, changes: &mut Vec<Change>) {
        if !self.pending.is_empty() || !self.waits.is_empty() {
            for family in [Family::Missing, Family::Extra, Family::Values, Family::Honest, Family::Amber, Family::Grey]
            {
                self.consider(family, now, changes);
            }
            self.let_go(now);
        }
        self.blind(now, changes);
        for at in 0..self.cases.len() {
            if self.cases[at].incident.is_open() {
                self.follow(at, now, changes);
            }
        }
        self.cases.retain(|case| case.incident.resolved_at.is_none_or(|over| now.since(over) < REMEMBER));
    }

    /// Pending reds of a family: do they join a case, open one, or wait?
    fn consider(&mut self, family: Family, now: Timestamp, changes: &mut Vec<Change>) {
        let group = self.group(family);
        if group.is_empty() {
            self.waits.remove(&family);
            return;
        }
        if self.join(family, &group) {
            return;
        }
        self.ask(family, &group, now, changes);
        let wait = &self.waits[&family];
        let all_back = wait.asked.iter().all(|(_, _, back)| *back);
        let asked_any = !wait.asked.is_empty();
        let waited = now.since(wait.since);
        if !all_back && waited < NAME_WITHIN {
            return;
        }
        if group.len() == 1 && family.is_silent() {
            // One alone: told as a warning once it is final and its confirming runs came back green.
            let settled = self.pending.iter().any(|bad| bad.spot.run == group[0] && !bad.spot.provisional);
            if settled && ((asked_any && all_back) || waited >= TOGETHER) {
                self.open(family, &group, now, changes);
            }
            return;
        }
        if self.is_enough(family, &group) {
            self.open(family, &group, now, changes);
        }
    }

    /// Pending runs of a family that count together with the newest.
    fn group(&self, family: Family) -> Vec<Marker> {
        let of_family = || self.pending.iter().filter(|bad| bad.family() == family);
        let Some(newest) = of_family().map(|bad| bad.spot.due).max() else { return Vec::new() };
        of_family().filter(|bad| newest.since(bad.spot.due) <= TOGETHER).map(|bad| bad.spot.run).collect()
    }

    /// A red starts confirming runs: of its own route, and of the one that best tells the suspects
    /// apart.
    fn ask(&mut self, family: Family, group: &[Marker], now: Timestamp, changes: &mut Vec<Change>) {
        let wait = self.waits.entry(family).or_insert(Wait { since: now, asked: Vec::new() });
        let waiting_still = wait.asked.iter().any(|(_, _, back)| !back);
        let is_red = family.is_silent() || family == Family::Honest;
        if !is_red || waiting_still || wait.asked.len() >= MOST_ASKED || (family.is_silent() && !wait.asked.is_empty())
        {
            return;
        }
        let first = wait.asked.is_empty();
        let seen = self.seen(family, |run| group.contains(run), self.since(group), None);
        let ranked = suspects::rank(&self.field, &seen);
        let hit = |place: usize| {
            self.cases.iter().any(|case| case.incident.is_open() && case.hit.contains_key(&(place as u32)))
        };
        let mut asked = Vec::new();
        let own = self.pending.iter().rfind(|bad| group.contains(&bad.spot.run)).map(|bad| bad.place);
        if let Some(own) = own.filter(|own| !hit(*own as usize)) {
            asked.push(own);
        }
        let open =
            |place: usize| Some(place as u32) != own && !hit(place) && (!first || seen[place] == Seen::default());
        if let Some(sibling) = suspects::best_question(&ranked, open, self.field.len()) {
            asked.push(sibling as u32);
        }
        let wait = self.waits.entry(family).or_insert(Wait { since: now, asked: Vec::new() });
        for place in asked {
            wait.asked.push((place, now, false));
            changes.push(Change::Confirm(self.trails[place as usize].route.id));
        }
    }

    /// Whether reds that count together are more than chance.
    fn is_enough(&self, family: Family, group: &[Marker]) -> bool {
        if family.is_silent() {
            return group.len() >= 2;
        }
        let bad: Vec<&Bad> = self.pending.iter().filter(|bad| group.contains(&bad.spot.run)).collect();
        let in_a_row = |place: u32| {
            self.trails[place as usize].newest().take_while(|spot| spot.outcome == Outcome::Unknown).count()
        };
        let ambers = |place: u32| {
            let trail = &self.trails[place as usize];
            trail.newest().take(10).filter(|spot| spot.outcome.family() == Some(Family::Amber)).count()
        };
        match family {
            Family::Grey if bad.iter().any(|bad| in_a_row(bad.place) >= BLIND_IN_A_ROW) => return true,
            Family::Amber if bad.iter().any(|bad| ambers(bad.place) >= AMBER_OF_TEN) => return true,
            _ => {}
        }
        let seen = self.seen(family, |run| group.contains(run), self.since(group), None);
        let Some(suspect) = suspects::rank(&self.field, &seen).into_iter().next() else { return false };
        let until = bad.iter().map(|bad| bad.spot.due).max().unwrap_or_default();
        let expected: f64 = self
            .trails
            .iter()
            .enumerate()
            .filter(|(at, _)| suspect.places.has(*at))
            .map(|(_, trail)| trail.runs_in(TOGETHER, until) * trail.rate(family))
            .sum();
        let enough = if family == Family::Grey { BLIND_IN_A_ROW as u32 } else { 2 };
        suspect.inside.red >= enough && chance::is_surprising(suspect.inside.red, expected, TOGETHER)
    }

    /// When the first of these runs was hit.
    fn since(&self, group: &[Marker]) -> Timestamp {
        let hits = self.pending.iter().filter(|bad| group.contains(&bad.spot.run)).map(Bad::hit_at);
        hits.min().unwrap_or_default()
    }

    /// The moment after the routes of these runs were green last, before they were hit.
    fn turned(&self, family: Family, group: &[Marker], since: Timestamp) -> Timestamp {
        let places = self.pending.iter().filter(|bad| group.contains(&bad.spot.run)).map(|bad| bad.place);
        let last_green = |place: u32| {
            let trail = &self.trails[place as usize];
            trail
                .newest()
                .map(|spot| (spot, spot.hit_at(family)))
                .find(|(spot, hit)| spot.is_green() && *hit < since)
                .map(|(_, hit)| hit)
        };
        places.filter_map(last_green).min().map_or(since, |at| at.plus(Duration::from_micros(1)))
    }

    /// Red and green by place: runs that `red` names, and green runs that a fault of this family
    /// would have hit in the time.
    fn seen(
        &self,
        family: Family,
        red: impl Fn(&Marker) -> bool,
        from: Timestamp,
        until: Option<Timestamp>,
    ) -> Vec<Seen> {
        let within =
            |spot: &Spot| spot.hit_at(family) >= from && until.is_none_or(|until| spot.hit_at(family) <= until);
        let greens = |trail: &Trail| {
            let green = trail.recent.iter().filter(|spot| spot.is_green() && within(spot) && !red(&spot.run)).count();
            Seen { red: 0, green: green as u32 }
        };
        let mut seen: Vec<Seen> = self.trails.iter().map(greens).collect();
        // Reds are counted from where they are kept: a trail forgets what a late correction speaks of.
        let open = self.cases.iter().filter(|case| case.incident.is_open());
        for bad in self.pending.iter().chain(open.flat_map(|case| case.bad.values())) {
            if red(&bad.spot.run) && bad.spot.hit_at(family) >= from {
                seen[bad.place as usize].red += 1;
            }
        }
        seen
    }

    /// Joins the group to an open case of its family if one label set explains both better than
    /// two do.
    fn join(&mut self, family: Family, group: &[Marker]) -> bool {
        for at in 0..self.cases.len() {
            let case = &self.cases[at];
            if !case.incident.is_open() || case.incident.family != family {
                continue;
            }
            let since = self.since(group);
            let in_case = |run: &Marker| case.bad.contains_key(run);
            let in_group = |run: &Marker| group.contains(run);
            let score = |seen: &[Seen]| suspects::rank(&self.field, seen).first().map_or(0.0, |best| best.score);
            let new = score(&self.seen(family, in_group, since, None));
            // From the beginning, or from when the new reds' routes were green last: a fault may have
            // spread.
            let one_explains_both =
                [case.effect.0.min(since), self.turned(family, group, since)].into_iter().any(|from| {
                    let both = score(&self.seen(family, |run| in_case(run) || in_group(run), from, None));
                    let old = self.seen(family, in_case, from, None);
                    old.iter().any(|seen| seen.red > 0) && both >= score(&old) + new - SECOND_FAULT
                });
            if one_explains_both {
                let (joining, rest) =
                    std::mem::take(&mut self.pending).into_iter().partition(|bad| group.contains(&bad.spot.run));
                self.pending = rest;
                for bad in joining {
                    self.cases[at].take(bad, &self.trails);
                }
                return true;
            }
        }
        false
    }

    /// Opens a case on the runs of the group that its best suspect covers; the rest waits on.
    fn open(&mut self, family: Family, group: &[Marker], now: Timestamp, changes: &mut Vec<Change>) {
        let seen = self.seen(family, |run| group.contains(run), self.since(group), None);
        let Some(suspect) = suspects::rank(&self.field, &seen).into_iter().next() else { return };
        let (mut covered, rest): (Vec<Bad>, Vec<Bad>) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|bad| group.contains(&bad.spot.run) && suspect.places.has(bad.place as usize));
        self.pending = rest;
        covered.sort_by_key(|bad| (bad.spot.due, bad.spot.run));
        let Some(first) = covered.first() else { return };
        let mut case = Case::of(first, &self.trails);
        for bad in covered.into_iter().skip(1) {
            case.take(bad, &self.trails);
        }
        self.waits.remove(&family);
        self.cases.push(case);
        let at = self.cases.len() - 1;
        self.absorb(at);
        self.rank(at, now, None);
        let case = &mut self.cases[at];
        case.weigh(now);
        case.incident.detected_at = Some(now);
        let text = format!(
            "{} on {}: {} bad {}, the first due {}",
            case.incident.outcome,
            case.incident.suspects_text(),
            case.bad.len(),
            if case.bad.len() == 1 { "run" } else { "runs" },
            case.incident.onset.first_bad,
        );
        case.tell(now, text);
        changes.push(Change::Opened(case.incident.id.clone()));
    }

    /// Pending side effects on the routes of a new case are its own.
    fn absorb(&mut self, at: usize) {
        let mut kept = Vec::new();
        for bad in std::mem::take(&mut self.pending) {
            if self.explaining(&bad) == Some(at) {
                self.cases[at].take(bad, &self.trails);
            } else {
                kept.push(bad);
            }
        }
        self.pending = kept;
    }

    /// Looks for the suspects of a case anew.
    fn rank(&mut self, at: usize, now: Timestamp, until: Option<Timestamp>) {
        let case = &self.cases[at];
        let mut seen = self.seen(case.incident.family, |run| case.bad.contains_key(run), case.effect.0, until);
        if !case.blind_to.is_empty() {
            for (place, trail) in self.trails.iter().enumerate() {
                if case.blind_to.contains(&trail.route.target) {
                    seen[place].red += 1;
                } else if self
                    .eyes
                    .get(&trail.route.target)
                    .is_some_and(|eye| eye.failing.is_none() && eye.passed_at.is_some())
                {
                    seen[place].green += 1;
                }
            }
        }
        let best = suspects::rank(&self.field, &seen).into_iter().next();
        let case = &mut self.cases[at];
        case.stale = false;
        case.ranked_at = now;
        if let Some(best) = best {
            let green = |places: &Places| {
                let inside = seen.iter().enumerate().filter(|(at, _)| places.has(*at));
                let (red, green) = inside.fold((0, 0), |sum, (_, seen)| (sum.0 + seen.red, sum.1 + seen.green));
                red == 0 && green > 0
            };
            case.blame(&best, &self.field, green, &self.deploys);
        }
    }

    /// Failing controls open "cannot see X".
    fn blind(&mut self, now: Timestamp, changes: &mut Vec<Change>) {
        let blind: Vec<(TargetName, Timestamp, String)> = self
            .eyes
            .iter()
            .filter_map(|(target, eye)| {
                let (times, since) = eye.failing?;
                (times >= CONTROLS.0 && now.since(since) >= CONTROLS.1)
                    .then(|| (target.clone(), since, eye.detail.clone()))
            })
            .collect();
        for (target, since, detail) in blind {
            if let Some(case) = self.cases.iter_mut().find(|case| {
                case.incident.is_open()
                    && case.incident.family == Family::Grey
                    && (!case.blind_to.is_empty()
                        || case.bad.values().any(|bad| self.trails[bad.place as usize].route.target == target))
            }) {
                if case.blind_to.insert(target.clone()) {
                    case.stale = true;
                    case.tell(now, format!("control of target {target} fails: {detail}"));
                }
                continue;
            }
            let chance = u128::from(now.as_micros().unsigned_abs())
                ^ target.as_str().bytes().fold(7, |h: u128, b| h * 31 + u128::from(b));
            let mut case = Case::blind(IncidentId::of(Marker::mint(now, chance)), since, now);
            case.blind_to.insert(target.clone());
            case.incident.provisional = false;
            case.incident.detected_at = Some(now);
            case.tell(now, format!("cannot see target {target}: control fails since {since}: {detail}"));
            self.cases.push(case);
            let at = self.cases.len() - 1;
            self.rank(at, now, None);
            self.absorb(at);
            let id = self.cases[at].incident.id.clone();
            changes.push(Change::Opened(id));
        }
    }

    /// An open case: what has changed, and is it over?
    fn follow(&mut self, at: usize, now: Timestamp, changes: &mut Vec<Change>) {
        let case = &self.cases[at];
        let was =
            (case.incident.severity, case.incident.outcome, case.incident.suspects.clone(), case.incident.routes.len());
        if case.stale && (case.bad.len() <= SMALL || now.since(case.ranked_at) >= RANK_EVERY) {
            let until = Some(case.effect.1);
            self.rank(at, now, until);
        }
        let case = &mut self.cases[at];
        case.weigh(now);
        if case.incident.severity == Severity::Critical && was.0 == Severity::Warning {
            case.tell(now, "raised to critical".to_owned());
            changes.push(Change::Raised(case.incident.id.clone()));
        } else if (case.incident.outcome, &case.incident.suspects, case.incident.routes.len()) != (was.1, &was.2, was.3)
        {
            if (case.incident.outcome, &case.incident.suspects) != (was.1, &was.2) {
                let last = case.bad.values().next_back().map(|bad| bad.spot.run.to_string()).unwrap_or_default();
                let text = format!(
                    "now {} on {} (was {} on {}), because of {} runs up to {last}",
                    case.incident.outcome,
                    case.incident.suspects_text(),
                    was.1,
                    write_labels(&was.2),
                    case.bad.len(),
                );
                case.tell(now, text);
            }
            changes.push(Change::Moved(case.incident.id.clone()));
        }
        self.end(at, now, changes);
    }

    fn end(&mut self, at: usize, now: Timestamp, changes: &mut Vec<Change>) {
        if self.cases[at].is_over(&self.trails, now) {
            let case = &mut self.cases[at];
            resolve(case, now, format!("{} greens on every hit route", super::case::GREENS_TO_RESOLVE), changes);
        }
    }

    /// Lone reds that nothing confirmed in time were noise; a route's rate learns from them.
    fn let_go(&mut self, now: Timestamp) {
        let (old, kept): (Vec<Bad>, Vec<Bad>) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|bad| !bad.spot.provisional && !bad.family().is_silent() && now.since(bad.judged_at) > TOGETHER);
        self.pending = kept;
        for bad in old {
            self.trails[bad.place as usize].learn(bad.spot.outcome);
        }
    }

    /// The search for suspects over this detector's routes, for callers that hold counts.
    pub fn field(&self) -> &Field {
        &self.field
    }

    /// Best suspects for counts by route, in the order of [`Detector::trails`].
    pub fn suspects(&self, seen: &[Seen]) -> Vec<Suspect> {
        suspects::rank(&self.field, seen)
    }
}

fn resolve(case: &mut Case, now: Timestamp, because: String, changes: &mut Vec<Change>) {
    case.tell(now, format!("resolved: {because}"));
    case.incident.resolved_at = Some(now);
    case.incident.resolved_because = Some(because);
    changes.push(Change::Resolved(case.incident.id.clone()));
}

#[cfg(test)]
#[path = "detector_tests.rs"]
mod tests;
