//! Detection told by verdicts alone: who is named, when, and when nobody is told.

mod parting;

use super::*;
use crate::canary::{
    CanaryName, Claim, Evidence, LabelName, Labels, Look, Marker, Mode, Outcome, Phase, PlatformName, Rows, Sighting,
    Why,
};
use crate::detect::Severity;

const START: Timestamp = Timestamp::from_secs(1_440_000_000);

fn at(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

/// The world of 2015: presto and hadoop1 on v5, hadoop2 on v6; two targets.
fn routes() -> Vec<Arc<Route>> {
    let mut routes = Vec::new();
    for (platform, engine, worker) in [("presto", "presto", "v5"), ("hadoop1", "hive", "v5"), ("hadoop2", "hive", "v6")]
    {
        for target in ["web", "bucket"] {
            let labels = [("engine", engine), ("cluster", platform), ("worker", worker)]
                .map(|(name, value)| (LabelName::new(name).expect("valid"), value.into()));
            routes.push(Arc::new(Route::new(
                CanaryName::new("ro").expect("valid"),
                PlatformName::new(platform).expect("valid"),
                TargetName::new(target).expect("valid"),
                Mode::Append,
                Labels::new(labels),
            )));
        }
    }
    routes
}

struct Teller {
    detector: Detector,
    routes: Vec<Arc<Route>>,
    now: Timestamp,
    n: u128,
    changes: Vec<(Timestamp, Change)>,
    /// Of the verdicts that come next.
    phase: Option<Phase>,
    /// Whether the agent was away for the verdicts that come next.
    away: bool,
}

impl Teller {
    fn new() -> Self {
        let routes = routes();
        Self {
            detector: Detector::new(&routes),
            routes,
            now: at(0),
            n: 0,
            changes: Vec::new(),
            phase: None,
            away: false,
        }
    }

    fn input(&mut self, input: &Input) {
        let now = self.now;
        self.changes.extend(self.detector.observe(input, now).into_iter().map(|change| (now, change)));
    }

    fn verdict(&mut self, run: Marker, route: usize, due: Timestamp, outcome: Outcome, provisional: bool) {
        let mut evidence = Evidence { accepted_at: Some(due), ..Evidence::default() };
        evidence.heard(Claim::Done { rows: None }, due.plus(Duration::from_secs(4)));
        if outcome == Outcome::Landed {
            let found = Ok(Sighting { rows: Rows::all_right(20), ..Sighting::default() });
            evidence.saw(Look { started_at: due.plus(Duration::from_secs(6)), found });
        }
        let verdict = Verdict {
            run,
            route: self.routes[route].id,
            due,
            why: Why::Scheduled,
            outcome,
            phase: self.phase,
            reason: None,
            also: Vec::new(),
            provisional,
            seen_late: false,
            agent_away: self.away,
            at: self.now,
            evidence: Arc::new(evidence),
        };
        self.input(&Input::Verdict(Box::new(verdict)));
    }

    /// A run of a route, judged ten seconds after it was due.
    fn run(&mut self, route: usize, due: u64, outcome: Outcome) -> Marker {
        self.n += 1;
        let run = Marker::mint(at(due), self.n);
        self.now = self.now.max(at(due + 10));
        self.verdict(run, route, at(due), outcome, false);
        run
    }

    /// Minutes of every route, a verdict every ten seconds; `outcome` by route and minute.
    fn minutes(&mut self, minutes: std::ops::Range<u64>, outcome: impl Fn(usize, u64) -> Outcome) {
        for minute in minutes {
            for route in 0..self.routes.len() {
                self.run(route, minute * 60 + route as u64 * 10, outcome(route, minute));
            }
        }
    }

    fn opened(&self) -> Vec<&Incident> {
        let ids = self.changes.iter().filter_map(|(_, change)| match change {
            Change::Opened(id) => Some(id),
            _ => None,
        });
        ids.map(|id| self.detector.incident(id).expect("told of")).collect()
    }

    fn resolved(&self) -> usize {
        self.changes.iter().filter(|(_, change)| matches!(change, Change::Resolved(_))).count()
    }
}

fn green(_: usize, _: u64) -> Outcome {
    Outcome::Landed
}

#[test]
fn quiet_hours_tell_nobody_anything() {
    let mut teller = Teller::new();
    teller.minutes(0..120, green);
    assert!(teller.changes.is_empty());
}

#[test]
fn the_worker_is_named_with_onset_and_deploy_and_resolved_after_greens() {
    let mut teller = Teller::new();
    teller.minutes(0..43, green);
    teller.now = at(43 * 60);
    teller.input(&Input::Deploy(Deploy { service: "worker".into(), version: "v6".into(), at: at(43 * 60) }));
    teller.minutes(
        43..50,
        |route, minute| if route < 4 && (44..48).contains(&minute) { Outcome::Lost } else { Outcome::Landed },
    );
    let opened = teller.opened();
    assert_eq!(opened.len(), 1);
    let incident = opened[0];
    assert_eq!(incident.suspects_text(), "worker=v5");
    assert_eq!((incident.outcome, incident.severity), (Outcome::Lost, Severity::Critical));
    assert_eq!(incident.onset.first_bad, at(44 * 60));
    assert_eq!(incident.onset.last_good, Some(at(43 * 60 + 30)));
    assert_eq!(incident.deploy.as_ref().map(|deploy| deploy.service.as_str()), Some("worker"));
    assert_eq!(incident.unaffected, [vec![("worker".to_owned(), "v6".to_owned())]]);
    assert_eq!(incident.routes.len(), 4);
    assert_eq!(teller.resolved(), 0, "two greens are not enough");
    teller.minutes(50..51, green);
    assert_eq!(teller.resolved(), 1);
}

#[test]
fn the_first_red_asks_for_its_own_route_again_and_for_some_that_tell_suspects_apart() {
    let mut teller = Teller::new();
    teller.minutes(0..5, green);
    teller.run(0, 300, Outcome::Lost);
    let asked: Vec<RouteId> = teller
        .changes
        .iter()
        .filter_map(|(_, change)| match change {
            Change::Confirm(route) => Some(*route),
            _ => None,
        })
        .collect();
    assert_eq!(asked[0], teller.routes[0].id);
    assert!((1..=3).contains(&asked[1..].len()) && !asked[1..].contains(&asked[0]));
}

#[test]
fn one_loss_alone_is_a_warning_once_its_confirming_runs_came_back_green() {
    let mut teller = Teller::new();
    teller.minutes(0..30, green);
    teller.run(2, 1800, Outcome::Lost);
    assert!(teller.opened().is_empty());
    teller.minutes(31..34, green);
    let opened = teller.opened();
    assert_eq!(opened.len(), 1);
    assert_eq!((opened[0].severity, opened[0].outcome), (Severity::Warning, Outcome::Lost));
}

#[test]
fn a_loss_that_is_final_waits_for_none_that_is_too_far_away_to_count_with_it() {
    let mut teller = Teller::new();
    teller.minutes(0..30, green);
    // Deadlines of half an hour: two losses a quarter of an hour apart, before the first is final.
    for (n, route, due) in [(9_001, 0, 1_800), (9_002, 1, 2_700)] {
        teller.now = at(due + 20);
        teller.verdict(Marker::mint(at(due), n), route, at(due), Outcome::Lost, true);
        teller.minutes(due / 60 + 1..due / 60 + 14, green);
        assert!(teller.opened().is_empty());
    }
    teller.now = at(3_610);
    teller.verdict(Marker::mint(at(1_800), 9_001), 0, at(1_800), Outcome::Lost, false);
    let told: Vec<_> = teller.opened().iter().map(|told| (told.severity, told.runs.len())).collect();
    // Once it is told, the newer one is known to be the same.
    assert_eq!(told, [(Severity::Critical, 2)]);
}

#[test]
fn one_failure_alone_tells_nobody_and_three_do() {
    let mut teller = Teller::new();
    teller.minutes(0..30, green);
    teller.run(2, 1800, Outcome::Failed);
    teller.minutes(31..60, green);
    assert!(teller.opened().is_empty());
    teller.minutes(60..64, |route, _| if route == 2 { Outcome::Failed } else { Outcome::Landed });
    let opened = teller.opened();
    assert_eq!(opened.len(), 1);
    assert_eq!(
        opened[0].suspects_text(),
        "engine=hive cluster=hadoop1 target=web".replace("engine=hive ", "").as_str()
    );
}

#[test]
fn a_provisional_red_that_lands_after_all_takes_its_incident_with_it() {
    let mut teller = Teller::new();
    teller.minutes(0..30, green);
    let runs: Vec<Marker> = (0..2u64)
        .map(|n| {
            teller.n += 1;
            let run = Marker::mint(at(1800 + n), teller.n);
            teller.now = at(1815 + n * 12);
            teller.verdict(run, 0, at(1800 + n), Outcome::Lost, true);
            run
        })
        .collect();
    teller.now = at(1840);
    teller.input(&Input::Tick);
    assert_eq!(teller.opened().len(), 1);
    for run in runs {
        teller.verdict(run, 0, at(1800), Outcome::Landed, false);
    }
    assert_eq!(teller.resolved(), 1);
}

#[test]
fn an_incident_whose_runs_are_judged_for_good_is_told_as_final() {
    let mut teller = Teller::new();
    teller.minutes(0..30, green);
    let runs: Vec<(Marker, usize)> = (0..2)
        .map(|route| {
            teller.n += 1;
            let run = Marker::mint(at(1800 + route as u64), teller.n);
            teller.now = at(1815 + route as u64 * 12);
            teller.verdict(run, route, at(1800), Outcome::Lost, true);
            (run, route)
        })
        .collect();
    teller.now = at(1840);
    teller.input(&Input::Tick);
    assert!(teller.opened().iter().all(|incident| incident.provisional));
    teller.changes.clear();
    for (run, route) in runs {
        teller.verdict(run, route, at(1800), Outcome::Lost, false);
    }
    // Whoever keeps it as it is told has it as it is.
    assert!(teller.changes.iter().any(|(_, change)| matches!(change, Change::Moved(_))), "{:?}", teller.changes);
    assert!(!teller.detector.open_incidents().next().expect("open").provisional);
}

#[test]
fn failing_controls_of_a_target_say_that_nobody_can_see_it() {
    let mut teller = Teller::new();
    teller.minutes(0..30, green);
    let (web, bucket) = (TargetName::new("web").expect("valid"), TargetName::new("bucket").expect("valid"));
    for n in 0..4 {
        teller.now = at(1800 + n * 30);
        teller.input(&Input::Control { target: web.clone(), passed: Ok(()) });
        teller.input(&Input::Control { target: bucket.clone(), passed: Err("refused".into()) });
    }
    let opened = teller.opened();
    assert_eq!(opened.len(), 1);
    assert_eq!((opened[0].outcome, opened[0].suspects_text().as_str()), (Outcome::Unknown, "target=bucket"));
    assert_eq!(opened[0].severity, Severity::Warning);
    teller.input(&Input::Control { target: bucket, passed: Ok(()) });
    assert_eq!(teller.resolved(), 1);
}

#[test]
fn jobs_that_could_not_write_where_nobody_could_read_are_no_second_incident() {
    let mut teller = Teller::new();
    teller.minutes(0..30, green);
    let blind = |route: usize, _| if route % 2 == 1 { Outcome::Unknown } else { Outcome::Landed };
    teller.minutes(30..32, blind);
    assert_eq!(teller.opened()[0].suspects_text(), "target=bucket");
    // The target is back before these are judged: it can be read, and their rows are not there.
    teller.phase = Some(Phase::Export);
    for route in [1, 3, 5] {
        teller.run(route, 1925 + route as u64, Outcome::Failed);
    }
    assert_eq!(teller.opened().len(), 1);
    // Queries that fail by themselves are another matter.
    teller.phase = Some(Phase::Execute);
    for second in 0..4 {
        for route in 0..6 {
            let outcome = if route < 2 { Outcome::Failed } else { Outcome::Landed };
            teller.run(route, 1940 + second * 5, outcome);
        }
    }
    let opened = teller.opened();
    assert_eq!(opened.len(), 2);
    assert_eq!((opened[1].outcome, opened[1].suspects_text().as_str()), (Outcome::Failed, "engine=presto"));
}

#[test]
fn a_snapshot_and_the_inputs_since_give_the_same_state() {
    let mut teller = Teller::new();
    let outcome = |route: usize, minute: u64| if route < 4 && minute >= 40 { Outcome::Lost } else { Outcome::Landed };
    teller.minutes(0..41, outcome);
    let (restored, changes) =
        Detector::restore(&teller.detector.snapshot(), &teller.routes, teller.now).expect("readable");
    assert!(changes.is_empty());
    let mut other = Teller {
        detector: restored,
        routes: routes(),
        now: teller.now,
        n: teller.n,
        changes: Vec::new(),
        phase: None,
        away: false,
    };
    teller.minutes(41..50, outcome);
    other.minutes(41..50, outcome);
    assert_eq!(teller.detector.snapshot(), other.detector.snapshot());
}

#[test]
fn incidents_of_routes_that_are_gone_are_no_longer_watched() {
    let mut teller = Teller::new();
    teller.minutes(0..30, green);
    teller.minutes(30..33, |route, _| if route < 2 { Outcome::Lost } else { Outcome::Landed });
    let left: Vec<Arc<Route>> = teller.routes[2..].to_vec();
    let changes = teller.detector.watch(&left, at(2000));
    assert!(matches!(changes[..], [Change::Resolved(_)]));
}

#[test]
fn as_many_late_runs_as_lost_ones_do_not_make_an_outage_a_delay() {
    let mut teller = Teller::new();
    let fault = |minute: u64| match minute {
        3 => Outcome::Lost,
        4 => Outcome::Late,
        _ => Outcome::Landed,
    };
    teller.minutes(0..5, |route, minute| if route < 4 { fault(minute) } else { Outcome::Landed });
    let opened = teller.opened();
    let told: Vec<_> = opened.iter().map(|incident| (incident.outcome, incident.severity)).collect();
    assert_eq!(told, [(Outcome::Lost, Severity::Critical)]);
}

#[test]
fn as_many_late_runs_as_unseen_ones_do_not_change_what_nobody_could_see() {
    let mut teller = Teller::new();
    let fault = |minute: u64| match minute {
        3 => Outcome::Unknown,
        4 => Outcome::Late,
        _ => Outcome::Landed,
    };
    teller.minutes(0..5, |route, minute| if route % 2 == 1 { fault(minute) } else { Outcome::Landed });
    let told: Vec<_> = teller.opened().iter().map(|incident| incident.outcome).collect();
    assert_eq!(told, [Outcome::Unknown]);
}

/// Openings that somebody was told of, by id.
fn told(teller: &Teller) -> Vec<String> {
    let opened = teller.changes.iter().filter_map(|(_, change)| match change {
        Change::Opened(id) => Some(id.to_string()),
        _ => None,
    });
    opened.collect()
}

#[test]
fn single_losses_days_apart_are_known_as_one_fault() {
    let mut teller = Teller::new();
    let days = |minute: u64| minute.is_multiple_of(2 * 1440) && minute > 0;
    let rare = |route: usize, minute: u64| if route == 1 && days(minute) { Outcome::Lost } else { Outcome::Landed };
    // Quarter-hourly, so that the days pass quickly.
    for minute in (0..5 * 1440).step_by(15) {
        teller.minutes(minute..minute + 1, rare);
    }
    let opened = teller.opened();
    let last = opened.last().expect("told");
    assert_eq!(last.severity, Severity::Critical, "the second is no single loss any more");
    assert!(last.history[0].text.contains("the same as inc-"), "{:?}", last.history);
}

#[test]
fn failures_too_rare_to_meet_are_found_by_pooling_them() {
    let mut teller = Teller::new();
    // One failure in a hundred runs on v5, never two within ten minutes.
    let rare = |route: usize, minute: u64| {
        if minute >= 1440 && minute.is_multiple_of(25) && route as u64 == minute / 25 % 4 {
            Outcome::Failed
        } else {
            Outcome::Landed
        }
    };
    teller.minutes(0..1440, rare);
    assert!(teller.changes.is_empty());
    teller.minutes(1440..1440 + 720, rare);
    let opened = teller.opened();
    assert!(!opened.is_empty());
    assert_eq!((opened[0].suspects_text().as_str(), opened[0].outcome), ("worker=v5", Outcome::Failed));
}

#[test]
fn runs_that_were_called_lost_too_early_before_need_more_of_their_kind() {
    let mut teller = Teller::new();
    teller.minutes(0..20, green);
    let overdue = |teller: &mut Teller, from: u64| {
        teller.minutes(from / 60 - 10..from / 60, green);
        let told_before = told(teller).len();
        let runs: Vec<Marker> = (0..2u64)
            .map(|n| {
                teller.n += 1;
                let run = Marker::mint(at(from + n), teller.n);
                teller.now = at(from + 15 + n * 12);
                teller.verdict(run, n as usize, at(from + n), Outcome::Lost, true);
                run
            })
            .collect();
        teller.now = at(from + 40);
        teller.input(&Input::Tick);
        for (n, run) in runs.into_iter().enumerate() {
            teller.verdict(run, n, at(from + n as u64), Outcome::Landed, false);
        }
        told(teller).len() > told_before
    };
    assert!(overdue(&mut teller, 1800), "at first two are believed");
    let paged = (1..12).filter(|n| overdue(&mut teller, 1800 + n * 1200)).count();
    assert!(paged < 9, "{paged} more pages for runs that landed after all");
    assert!(!overdue(&mut teller, 1800 + 12 * 1200), "and at last they are not");
}

#[test]
fn the_bracket_is_narrowed_by_a_green_that_is_judged_late_and_the_deploy_by_one_that_is_posted_late() {
    let mut teller = Teller::new();
    teller.minutes(0..30, green);
    // The runs of minute 30 are judged only after those of minutes 31 to 33, which are lost.
    teller.minutes(31..34, |route, _| if route < 4 { Outcome::Lost } else { Outcome::Landed });
    let last_good = |teller: &Teller| teller.opened()[0].onset.last_good;
    assert_eq!(last_good(&teller), Some(at(29 * 60 + 30)));
    for route in 0..6 {
        teller.run(route, 1800 + route as u64, Outcome::Landed);
    }
    assert_eq!(last_good(&teller), Some(at(1803)));
    assert!(teller.opened()[0].deploy.is_none());
    teller.input(&Input::Deploy(Deploy { service: "api".into(), version: "7".into(), at: at(1830) }));
    assert_eq!(teller.opened()[0].deploy.as_ref().map(|deploy| deploy.service.as_str()), Some("api"));
}

#[test]
fn when_nothing_can_be_seen_anywhere_the_agent_itself_is_suspected() {
    let mut teller = Teller::new();
    teller.minutes(0..30, green);
    teller.minutes(30..34, |_, _| Outcome::Unknown);
    let doubts = |teller: &Teller| {
        teller.opened()[0].history.iter().filter(|step| step.text.contains("the agent itself")).count()
    };
    assert_eq!((teller.opened()[0].suspects_text().as_str(), doubts(&teller)), ("everything", 1));
    let mut other = Teller::new();
    other.minutes(0..30, green);
    other.minutes(30..34, |route, _| if route % 2 == 1 { Outcome::Unknown } else { Outcome::Landed });
    assert_eq!(doubts(&other), 0);
}

#[test]
fn an_incident_stays_what_it_was_when_the_agent_was_away_while_its_runs_were_judged() {
    let mut teller = Teller::new();
    teller.minutes(0..30, green);
    let runs: Vec<Marker> = (0..3u64)
        .map(|n| {
            teller.n += 1;
            let run = Marker::mint(at(1800 + n), teller.n);
            teller.now = at(1815 + n * 12);
            teller.verdict(run, n as usize, at(1800 + n), Outcome::Lost, true);
            run
        })
        .collect();
    teller.now = at(1850);
    teller.input(&Input::Tick);
    assert_eq!(teller.opened()[0].outcome, Outcome::Lost);
    teller.away = true;
    for (n, run) in runs.into_iter().enumerate() {
        teller.verdict(run, n, at(1800 + n as u64), Outcome::Unknown, false);
    }
    assert_eq!((teller.opened()[0].outcome, teller.resolved()), (Outcome::Lost, 0));
}
