//! The board: how every route stands right now, and what is wrong. What pages and the API show;
//! kept by the one task that takes verdicts.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{
    incident::Incident,
    strip::{Bar, Strip},
};
use crate::canary::{Evidence, Marker, Outcome, Route, RouteId, State, Timestamp, Verdict};

/// Everything a status page shows.
#[derive(Clone, Debug, Default)]
pub struct Board {
    routes: Vec<Standing>,
    place: HashMap<RouteId, usize>,
    /// Open incidents that were told, newest first.
    pub incidents: Vec<Arc<Incident>>,
    /// How the agent itself is.
    pub agent: AgentHealth,
    /// Counts what was taken in, so that a reader can ask for what is new.
    version: u64,
    /// The version in which the list of routes last changed.
    listed: u64,
}

/// How one route stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// The route.
    pub route: Arc<Route>,
    /// What its newest run that has a verdict came to, provisional verdicts included.
    pub outcome: Option<Outcome>,
    /// When that run was due.
    pub due: Option<Timestamp>,
    /// That run.
    pub run: Option<Marker>,
    /// When rows were last seen whole.
    pub last_landed_at: Option<Timestamp>,
    /// When it was last judged.
    pub last_verdict_at: Option<Timestamp>,
    /// Its last runs.
    pub strip: Strip,
    /// By when its rows should be there, counted from the accepted submit; none before a run of it is judged.
    pub objective: Option<Duration>,
    /// The version of the board in which it last changed.
    pub changed: u64,
}

/// Facts about the agent, for `/readyz` and the pages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentHealth {
    /// When it started.
    pub started_at: Timestamp,
    /// Whether the ledger took the last thing it was given.
    pub store_up: bool,
}

impl Standing {
    /// A route that nothing is known of.
    pub fn new(route: Arc<Route>) -> Self {
        Self {
            route,
            outcome: None,
            due: None,
            run: None,
            last_landed_at: None,
            last_verdict_at: None,
            strip: Strip::default(),
            objective: None,
            changed: 0,
        }
    }

    /// Green and amber are up, red is down; nobody knows of grey, or before the first verdict.
    pub fn up(&self) -> Option<bool> {
        up(self.outcome?)
    }

    /// Takes a verdict of this route in. Runs are ordered by due time, never by arrival.
    pub fn learn(&mut self, verdict: &Verdict, objective: Duration) {
        let landed = landed_at(verdict.outcome, &verdict.evidence);
        let took = landed.map(|at| at.since(verdict.evidence.accepted_at.unwrap_or(verdict.due)));
        self.strip.note(Bar::new(verdict.due, verdict.outcome, took));
        self.objective = Some(objective);
        self.last_verdict_at = self.last_verdict_at.max(Some(verdict.at));
        self.last_landed_at = self.last_landed_at.max(landed);
        if self.due.is_none_or(|due| due <= verdict.due) {
            self.outcome = Some(verdict.outcome);
            self.due = Some(verdict.due);
            self.run = Some(verdict.run);
        }
    }
}

impl Board {
    /// Shows these routes from now on. What is known of those that stay, stays.
    pub fn watch(&mut self, routes: &[Arc<Route>]) {
        let mut known: HashMap<RouteId, Standing> =
            self.routes.drain(..).map(|standing| (standing.route.id, standing)).collect();
        self.place = routes.iter().enumerate().map(|(at, route)| (route.id, at)).collect();
        self.routes = (routes.iter())
            .map(|route| match known.remove(&route.id) {
                Some(standing) => Standing { route: route.clone(), ..standing },
                None => Standing::new(route.clone()),
            })
            .collect();
        self.version += 1;
        self.listed = self.version;
    }

    /// Takes a verdict in, of a run with this objective. One of a route that is no longer watched changes nothing.
    pub fn learn(&mut self, verdict: &Verdict, objective: Duration) {
        if let Some(at) = self.place.get(&verdict.route) {
            self.version += 1;
            self.routes[*at].learn(verdict, objective);
            self.routes[*at].changed = self.version;
        }
    }

    /// Takes in what is remembered of a route's runs without their evidence.
    pub fn remember(&mut self, route: RouteId, bars: impl Iterator<Item = Bar>) {
        if let Some(at) = self.place.get(&route) {
            bars.for_each(|bar| self.routes[*at].strip.note(bar));
        }
    }

    /// Rises with everything that is taken in.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Routes that changed after a version; none if by now there are other routes.
    pub fn changed_since(&self, version: u64) -> Option<impl Iterator<Item = &Standing>> {
        let is_known = (self.listed..=self.version).contains(&version);
        is_known.then(|| self.routes.iter().filter(move |standing| standing.changed > version))
    }

    /// Routes in the order of the config.
    pub fn routes(&self) -> &[Standing] {
        &self.routes
    }

    /// One route.
    pub fn route(&self, id: RouteId) -> Option<&Standing> {
        self.place.get(&id).map(|at| &self.routes[*at])
    }
}

/// Whether a route whose last run came to this is up; none if nobody knows.
pub fn up(outcome: Outcome) -> Option<bool> {
    match outcome.state() {
        State::Green | State::Amber => Some(true),
        State::Red => Some(false),
        State::Grey => None,
    }
}

/// When a run's rows were there: by the target's own clock if it has one, else when they were seen.
pub fn landed_at(outcome: Outcome, evidence: &Evidence) -> Option<Timestamp> {
    up(outcome).filter(|up| *up)?;
    let first = evidence.first_complete()?;
    let own = first.found.as_ref().ok().and_then(|seen| seen.landed_at);
    Some(own.unwrap_or(first.started_at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canary::{
        CanaryName, Labels, Look, Mode, PlatformName, Rows, Sighting, TargetName, Why, evidence::Claim,
    };

    const OBJECTIVE: Duration = Duration::from_secs(120);

    fn route(target: &str) -> Arc<Route> {
        Arc::new(Route::new(
            CanaryName::new("c").expect("valid"),
            PlatformName::new("p").expect("valid"),
            TargetName::new(target).expect("valid"),
            Mode::Append,
            Labels::default(),
        ))
    }

    fn verdict(route: &Route, due: i64, outcome: Outcome) -> Verdict {
        let at = Timestamp::from_secs(due + 5);
        let mut evidence = Evidence::default();
        evidence.heard(Claim::Done { rows: None }, at);
        if outcome == Outcome::Landed {
            let found = Ok(Sighting { rows: Rows::all_right(20), ..Sighting::default() });
            evidence.saw(Look { started_at: at, found });
        }
        Verdict {
            run: Marker::mint(Timestamp::from_secs(due), 0),
            route: route.id,
            due: Timestamp::from_secs(due),
            why: Why::Scheduled,
            outcome,
            phase: None,
            reason: None,
            also: Vec::new(),
            provisional: false,
            seen_late: false,
            agent_away: false,
            at,
            evidence: Arc::new(evidence),
        }
    }

    #[test]
    fn a_late_verdict_of_an_earlier_run_does_not_hide_the_newer_run() {
        let web = route("web");
        let mut board = Board::default();
        board.watch(std::slice::from_ref(&web));
        assert_eq!(board.routes()[0].up(), None);
        board.learn(&verdict(&web, 120, Outcome::Landed), OBJECTIVE);
        board.learn(&verdict(&web, 60, Outcome::Lost), OBJECTIVE);
        let standing = &board.routes()[0];
        assert_eq!((standing.outcome, standing.up()), (Some(Outcome::Landed), Some(true)));
        assert_eq!(standing.last_landed_at, Some(Timestamp::from_secs(125)));
    }

    #[test]
    fn nobody_knows_whether_a_grey_route_is_up() {
        let web = route("web");
        let mut board = Board::default();
        board.watch(std::slice::from_ref(&web));
        board.learn(&verdict(&web, 60, Outcome::Landed), OBJECTIVE);
        board.learn(&verdict(&web, 120, Outcome::Unknown), OBJECTIVE);
        assert_eq!(board.routes()[0].up(), None);
        board.learn(&verdict(&web, 180, Outcome::Stuck), OBJECTIVE);
        assert_eq!(board.routes()[0].up(), Some(false));
    }

    #[test]
    fn a_reload_keeps_what_is_known_of_the_routes_that_stay() {
        let (web, bucket) = (route("web"), route("bucket"));
        let mut board = Board::default();
        board.watch(std::slice::from_ref(&web));
        board.learn(&verdict(&web, 60, Outcome::Landed), OBJECTIVE);
        board.watch(&[bucket.clone(), web.clone()]);
        assert_eq!(board.route(web.id).and_then(Standing::up), Some(true));
        board.watch(&[bucket]);
        board.learn(&verdict(&web, 120, Outcome::Lost), OBJECTIVE);
        assert!(board.route(web.id).is_none());
    }

    #[test]
    fn a_reader_is_told_which_routes_changed_since_it_looked_or_that_there_are_others() {
        let (web, bucket) = (route("web"), route("bucket"));
        let mut board = Board::default();
        board.watch(&[web.clone(), bucket.clone()]);
        let seen = board.version();
        board.learn(&verdict(&bucket, 60, Outcome::Landed), OBJECTIVE);
        let changed = |board: &Board, since| -> Option<Vec<RouteId>> {
            Some(board.changed_since(since)?.map(|standing| standing.route.id).collect())
        };
        assert_eq!(changed(&board, seen), Some(vec![bucket.id]));
        assert_eq!(changed(&board, board.version()), Some(vec![]));
        assert_eq!(changed(&board, board.version() + 1), None, "a version of another agent's life");
        board.watch(&[bucket]);
        assert_eq!(changed(&board, seen), None);
    }

    #[test]
    fn a_strip_shows_how_long_rows_took_from_the_accepted_submit() {
        let web = route("web");
        let mut board = Board::default();
        board.watch(std::slice::from_ref(&web));
        board.remember(web.id, [Bar::new(Timestamp::from_secs(60), Outcome::Landed, None)].into_iter());
        board.learn(&verdict(&web, 120, Outcome::Landed), OBJECTIVE);
        board.learn(&verdict(&web, 180, Outcome::Lost), OBJECTIVE);
        let took: Vec<Option<Duration>> = board.routes()[0].strip.bars().map(Bar::took).collect();
        assert_eq!(took, [None, Some(Duration::from_secs(5)), None]);
        assert_eq!(board.routes()[0].objective, Some(OBJECTIVE));
    }
}
