//! Families with route labels, written from packed state: some 200 bytes a route.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{
    DETECTION_BOUND, Family, HALF_EMPTY, LAST_LANDED, LAST_VERDICT, ROUTE_INFO, ROUTE_INTERVAL, ROUTE_PAUSED, ROUTE_UP,
    ROWS_TOTAL, RUNS_TOTAL, WATCHED_SINCE,
    text::{Page, label, label_name},
};
use crate::{
    canary::{Outcome, PlatformName, Route, RouteId, TargetName, Timestamp, Verdict},
    detect::board,
};

/// A route as metrics need it.
#[derive(Clone, Debug)]
pub struct WatchedRoute {
    /// The route.
    pub route: Arc<Route>,
    /// Its canary's objective.
    pub objective: Duration,
    /// Its canary's deadline.
    pub deadline: Duration,
    /// Worst time from a total fault to the page.
    pub detection_bound: Duration,
    /// Longest time between two runs that its schedule asks for.
    pub interval: Duration,
    /// When this plan was taken.
    pub since: Timestamp,
}

const OUTCOMES: usize = Outcome::ALL.len();
const ROW_STATES: [&str; 5] = ["expected", "landed", "missing", "duplicated", "corrupted"];

/// All watched routes.
#[derive(Clone, Default)]
pub(super) struct Routes {
    names: Arc<[Names]>,
    states: Vec<State>,
    place: Arc<HashMap<RouteId, usize>>,
    /// What was counted of routes, watched or not: one that comes back goes on counting.
    resumed: Arc<HashMap<RouteId, [u64; OUTCOMES]>>,
    paused: Arc<HashSet<RouteId>>,
}

/// What stands in the lines of one route, written once.
struct Names {
    route: RouteId,
    /// `canary="…",platform="…",target="…",mode="…"`
    labels: Box<str>,
    /// The user's labels, each after a comma.
    info: Box<str>,
    bound: f64,
    interval: f64,
    displaces: bool,
    pair: (PlatformName, TargetName),
}

#[derive(Clone, Copy)]
struct State {
    outcomes: [u64; OUTCOMES],
    rows: [u64; ROW_STATES.len()],
    /// Seconds.
    half_empty: f32,
    up: Option<bool>,
    /// When the run was due that `up` speaks of.
    due: Option<Timestamp>,
    /// Since when it is watched.
    since: Timestamp,
    landed_at: Option<Timestamp>,
    verdict_at: Option<Timestamp>,
}

impl Routes {
    pub(super) fn set(&mut self, routes: &[WatchedRoute]) {
        let states = routes.iter().map(|watched| match self.place.get(&watched.route.id) {
            Some(at) => self.states[*at],
            None => State::new(self.resumed.get(&watched.route.id).copied(), watched.since),
        });
        self.states = states.collect();
        self.names = routes.iter().map(Names::of).collect();
        self.place = Arc::new(routes.iter().enumerate().map(|(at, watched)| (watched.route.id, at)).collect());
    }

    pub(super) fn resume(&mut self, outcomes: &[(RouteId, Outcome, u64)]) {
        let mut resumed: HashMap<RouteId, [u64; OUTCOMES]> = HashMap::new();
        for (route, outcome, n) in outcomes {
            resumed.entry(*route).or_default()[place(*outcome)] = *n;
        }
        for (route, counted) in &resumed {
            if let Some(at) = self.place.get(route) {
                self.states[*at].outcomes = *counted;
            }
        }
        self.resumed = Arc::new(resumed);
    }

    /// What was paused and is not any more is watched since now: nothing can have landed before.
    pub(super) fn set_paused(&mut self, routes: impl IntoIterator<Item = RouteId>, now: Timestamp) {
        let paused: HashSet<RouteId> = routes.into_iter().collect();
        for ended in self.paused.difference(&paused) {
            if let Some(at) = self.place.get(ended) {
                self.states[*at].since = now;
            }
        }
        self.paused = Arc::new(paused);
    }

    /// Takes a verdict in; answers the platform and target of its route, if it is watched.
    pub(super) fn learn(&mut self, verdict: &Verdict, corrects: Option<Outcome>) -> Option<(PlatformName, TargetName)> {
        let at = *self.place.get(&verdict.route)?;
        let state = &mut self.states[at];
        state.verdict_at = state.verdict_at.max(Some(verdict.at));
        state.landed_at = state.landed_at.max(board::landed_at(verdict.outcome, &verdict.evidence));
        if state.due.is_none_or(|due| due <= verdict.due) {
            state.due = Some(verdict.due);
            state.up = board::up(verdict.outcome);
        }
        if !verdict.provisional && corrects != Some(verdict.outcome) {
            state.outcomes[place(verdict.outcome)] += 1;
            state.count_rows(verdict, corrects);
            // A corrected run's gap was counted with its first verdict.
            if corrects.is_none() {
                state.half_empty += verdict.evidence.half_empty.as_secs_f32();
            }
        }
        Some(self.names[at].pair.clone())
    }

    pub(super) fn size_hint(&self) -> usize {
        4096 + self.names.iter().map(|names| (names.labels.len() + 64) * 24).sum::<usize>()
    }

    pub(super) fn write(&self, page: &mut Page) {
        let outcomes = Outcome::ALL.map(|outcome| label("outcome", outcome.as_str()));
        page.family(RUNS_TOTAL);
        for (names, state) in self.each() {
            for (outcome, n) in outcomes.iter().zip(state.outcomes) {
                page.line(RUNS_TOTAL.name, &[&names.labels, outcome], n);
            }
        }
        let states = ROW_STATES.map(|state| label("state", state));
        page.family(ROWS_TOTAL);
        for (names, state) in self.each() {
            for (row_state, n) in states.iter().zip(state.rows) {
                page.line(ROWS_TOTAL.name, &[&names.labels, row_state], n);
            }
        }
        self.gauge(page, HALF_EMPTY, |names, state| names.displaces.then_some(f64::from(state.half_empty)));
        self.gauge(page, ROUTE_UP, |_, state| state.up.map(|up| if up { 1.0 } else { 0.0 }));
        self.gauge(page, LAST_LANDED, |_, state| state.landed_at.map(Timestamp::as_secs_f64));
        self.gauge(page, LAST_VERDICT, |_, state| state.verdict_at.map(Timestamp::as_secs_f64));
        self.gauge(page, DETECTION_BOUND, |names, _| Some(names.bound));
        self.gauge(page, ROUTE_INTERVAL, |names, _| Some(names.interval));
        self.gauge(page, WATCHED_SINCE, |_, state| Some(state.since.as_secs_f64()));
        self.gauge(page, ROUTE_PAUSED, |names, _| self.paused.contains(&names.route).then_some(1.0));
        page.family(ROUTE_INFO);
        for names in self.names.iter() {
            match &*names.info {
                "" => page.line(ROUTE_INFO.name, &[&names.labels], 1),
                info => page.line(ROUTE_INFO.name, &[&names.labels, info], 1),
            }
        }
    }

    fn gauge(&self, page: &mut Page, family: Family, of: impl Fn(&Names, &State) -> Option<f64>) {
        page.family(family);
        for (names, state) in self.each() {
            if let Some(value) = of(names, state) {
                page.line(family.name, &[&names.labels], value);
            }
        }
    }

    fn each(&self) -> impl Iterator<Item = (&Names, &State)> {
        self.names.iter().zip(&self.states)
    }
}

impl State {
    fn new(outcomes: Option<[u64; OUTCOMES]>, since: Timestamp) -> Self {
        let outcomes = outcomes.unwrap_or_default();
        let rows = Default::default();
        Self { outcomes, rows, half_empty: 0.0, up: None, due: None, since, landed_at: None, verdict_at: None }
    }

    /// Counts what the newest sighting found. Of a corrected run the expected and missing rows
    /// were counted before, so only what has come since is added.
    fn count_rows(&mut self, verdict: &Verdict, corrects: Option<Outcome>) {
        let Some((seen, _)) = verdict.evidence.last_sighting() else { return };
        let rows = &seen.rows;
        if verdict.outcome == Outcome::Unknown {
            return;
        }
        let first = u64::from(corrects.is_none());
        let landed_now = u64::from(corrects != Some(Outcome::Landed));
        self.rows[0] += first * u64::from(rows.expected);
        self.rows[1] += landed_now * u64::from(rows.right);
        self.rows[2] += first * u64::from(rows.missing);
        self.rows[3] += u64::from(rows.copies);
        self.rows[4] += u64::from(rows.changed);
    }
}

impl Names {
    fn of(watched: &WatchedRoute) -> Self {
        let route = &watched.route;
        let own = [
            ("canary", route.canary.as_str()),
            ("platform", route.platform.as_str()),
            ("target", route.target.as_str()),
            ("mode", route.mode.as_str()),
        ];
        let mut taken: Vec<String> = own.iter().map(|(name, _)| (*name).to_owned()).collect();
        let mut info = Vec::new();
        for (name, value) in route.labels.iter() {
            let mut name = label_name(name);
            // `a-b` and `a_b` are two labels here and would be one there.
            while taken.contains(&name) {
                name.insert_str(0, "label_");
            }
            info.push(label(&name, value));
            taken.push(name);
        }
        Self {
            route: route.id,
            labels: own.map(|(name, value)| label(name, value)).join(",").into(),
            info: info.join(",").into(),
            bound: watched.detection_bound.as_secs_f64(),
            interval: watched.interval.as_secs_f64(),
            displaces: route.mode.displaces(),
            pair: (route.platform.clone(), route.target.clone()),
        }
    }
}

fn place(outcome: Outcome) -> usize {
    Outcome::ALL.iter().position(|known| *known == outcome).unwrap_or_default()
}
