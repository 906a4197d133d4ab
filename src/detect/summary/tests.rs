//! The sentence, state by state.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    canary::{
        CanaryName, Evidence, Labels, Marker, Mode, Pause, PlatformName, Route, Selector, Silence, TargetName, Verdict,
        Why,
    },
    detect::{IncidentId, Onset},
};

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a time")
}

fn now() -> Timestamp {
    at("2015-08-24T15:00:00Z")
}

fn incident(outcome: Outcome, suspects: &[(&str, &str)]) -> Incident {
    let since = at("2015-08-24T14:44:00Z");
    Incident {
        id: IncidentId::typed("inc-1"),
        severity: if outcome.state() == State::Red { Severity::Critical } else { Severity::Warning },
        outcome,
        family: outcome.family().expect("bad"),
        provisional: false,
        suspects: suspects.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        also: Vec::new(),
        routes: vec![RouteId(1), RouteId(2)],
        unaffected: Vec::new(),
        onset: Onset { last_good: None, first_bad: since },
        deploy: None,
        opened_at: since,
        detected_at: Some(since),
        reopened_at: None,
        resolved_at: None,
        resolved_because: None,
        runs: Vec::new(),
        history: Vec::new(),
    }
}

fn says(ongoing: &[Ongoing<'_>], count: Count, troubles: &[&str]) -> (State, String) {
    let troubles: Vec<String> = troubles.iter().map(|text| (*text).to_owned()).collect();
    let Summary { state, text } = Summary::write(ongoing, count, &troubles, now());
    (state, text)
}

#[test]
fn without_an_incident_the_sentence_says_what_is_known_and_no_more() {
    let none = Count::default();
    let green = Count { green: 6, ..none };
    for (count, state, text) in [
        (none, State::Grey, "Nothing is watched: there is no route"),
        (Count { paused: 1, ..none }, State::Grey, "Nothing is watched: the only route is paused"),
        (Count { paused: 3, ..none }, State::Grey, "Nothing is watched: all 3 routes are paused"),
        (Count { unjudged: 6, ..none }, State::Grey, "Nothing is known yet: 6 routes not judged yet"),
        (
            Count { unjudged: 1, paused: 2, ..none },
            State::Grey,
            "Nothing is known yet: 1 route not judged yet, 2 paused",
        ),
        (green, State::Green, "Everything lands: 6 routes"),
        (Count { green: 1, ..none }, State::Green, "Everything lands: 1 route"),
        (Count { paused: 2, ..green }, State::Green, "Everything lands: 6 routes, 2 paused"),
        (Count { unjudged: 2, ..green }, State::Grey, "Everything judged so far lands: 6 routes, 2 not judged yet"),
        (Count { amber: 2, ..green }, State::Amber, "Everything lands, 2 of 8 routes late or misreported"),
        (
            Count { amber: 2, grey: 1, ..green },
            State::Amber,
            "2 of 9 routes late or misreported, 6 routes fine, 1 not seen",
        ),
        (Count { red: 1, ..green }, State::Red, "1 of 7 routes is red, not yet an incident, 6 routes fine"),
        (
            Count { red: 2, grey: 1, paused: 1, ..none },
            State::Red,
            "2 of 3 routes are red, not yet an incident, 1 not seen, 1 paused",
        ),
        (
            Count { grey: 2, ..green },
            State::Grey,
            "Nobody can see whether results land on 2 of 8 routes, 6 routes fine",
        ),
        (Count { grey: 6, ..none }, State::Grey, "Nobody can see whether results land: 6 routes"),
    ] {
        assert_eq!(says(&[], count, &[]), (state, text.to_owned()), "{count:?}");
    }
}

#[test]
fn an_incident_is_named_with_its_suspects_its_time_and_what_still_works() {
    let count = Count { green: 91, hit: 2, ..Count::default() };
    for (outcome, suspects, state, text) in [
        (
            Outcome::Lost,
            &[("worker", "v5")][..],
            State::Red,
            "Result Output is silently lost on worker=v5 since 14:44 UTC, 91 routes fine",
        ),
        (
            Outcome::Partial,
            &[("engine", "hive"), ("target", "web")],
            State::Red,
            "Result Output silently misses rows on engine=hive target=web since 14:44 UTC, 91 routes fine",
        ),
        (Outcome::Failed, &[], State::Red, "Jobs fail or are refused everywhere since 14:44 UTC, 91 routes fine"),
        (
            Outcome::Unclaimed,
            &[("worker", "v5")],
            State::Amber,
            "Results land, but jobs are reported as failed or unfinished, on worker=v5 since 14:44 UTC, 91 routes fine",
        ),
        (
            Outcome::Unknown,
            &[("target", "web")],
            State::Grey,
            "Nobody can see whether results land on target=web since 14:44 UTC, 91 routes fine",
        ),
    ] {
        let incident = incident(outcome, suspects);
        assert_eq!(says(&[(&incident, None)], count, &[]), (state, text.to_owned()));
    }
    let lost = Incident { provisional: true, ..incident(Outcome::Lost, &[]) };
    let all = Count { hit: 6, ..Count::default() };
    let text = "Result Output is silently lost everywhere since 14:44 UTC (not final yet), no route fine";
    assert_eq!(says(&[(&lost, None)], all, &[]), (State::Red, text.to_owned()));
    let mut old = incident(Outcome::Stuck, &[("worker", "v5")]);
    old.onset.first_bad = at("2015-08-22T14:44:00Z");
    let mixed = Count { green: 1, amber: 1, red: 1, grey: 1, unjudged: 1, paused: 1, hit: 1 };
    let text = "Jobs do not finish on worker=v5 since 2015-08-22 14:44 UTC, 1 route fine, 1 red, 1 late or misreported, \
                1 not seen, 1 not judged yet, 1 paused";
    assert_eq!(says(&[(&old, None)], mixed, &[]), (State::Red, text.to_owned()));
}

#[test]
fn of_several_incidents_the_worst_is_named_and_the_rest_are_counted() {
    let lost = incident(Outcome::Lost, &[("worker", "v5")]);
    let failed = incident(Outcome::Failed, &[("cluster", "presto")]);
    let late = incident(Outcome::Late, &[("target", "web")]);
    let count = Count { green: 4, ..Count::default() };
    let until = Some(at("2015-08-24T16:00:00Z"));
    for order in [[&lost, &failed, &late], [&late, &failed, &lost]] {
        let (state, text) = says(&order.map(|incident| (incident, None)), count, &[]);
        let expected = "Result Output is silently lost on worker=v5 since 14:44 UTC, 2 more incidents, 4 routes fine";
        assert_eq!((state, text.as_str()), (State::Red, expected));
    }
    let (state, text) = says(&[(&lost, until), (&late, None)], count, &[]);
    let expected = "Results land late on target=web since 14:44 UTC, 1 more incident, 4 routes fine";
    assert_eq!((state, text.as_str()), (State::Red, expected), "what nobody silenced comes first");
    let (state, text) = says(&[(&lost, until)], count, &[]);
    let expected =
        "Result Output is silently lost on worker=v5 since 14:44 UTC (silenced until 16:00 UTC), 4 routes fine";
    assert_eq!((state, text.as_str()), (State::Red, expected), "silence changes nothing about what is broken");
    let wide = Incident { routes: (1..9).map(RouteId).collect(), ..incident(Outcome::Lost, &[("worker", "v6")]) };
    assert!(says(&[(&lost, None), (&wide, None)], count, &[]).1.contains("worker=v6"), "the one that reaches further");
}

#[test]
fn the_agents_own_trouble_is_said_and_nothing_is_green_beside_it() {
    let green = Count { green: 6, ..Count::default() };
    let (state, text) = says(&[], green, &["the scheduler is stuck"]);
    let expected = "The agent itself is in trouble (the scheduler is stuck); as last seen: everything lands: 6 routes";
    assert_eq!((state, text.as_str()), (State::Grey, expected));
    let lost = incident(Outcome::Lost, &[("worker", "v5")]);
    let (state, text) = says(&[(&lost, None)], green, &["one", "two", "three"]);
    let expected = "Result Output is silently lost on worker=v5 since 14:44 UTC, 6 routes fine; \
                    the agent itself is in trouble (one, and 2 more)";
    assert_eq!((state, text.as_str()), (State::Red, expected));
}

fn route(platform: &str) -> Arc<Route> {
    let name = CanaryName::new("c").expect("valid");
    let (platform, target) = (PlatformName::new(platform).expect("valid"), TargetName::new("web").expect("valid"));
    Arc::new(Route::new(name, platform, target, Mode::Append, Labels::default()))
}

fn verdict(route: &Route, outcome: Outcome) -> Verdict {
    Verdict {
        run: Marker::mint(now(), 0),
        route: route.id,
        due: now(),
        why: Why::Scheduled,
        outcome,
        phase: None,
        reason: None,
        also: Vec::new(),
        provisional: false,
        seen_late: false,
        agent_away: false,
        at: now(),
        evidence: Arc::new(Evidence::default()),
    }
}

#[test]
fn what_the_board_holds_is_counted_once_each() {
    let routes: Vec<Arc<Route>> = ["hit", "green", "late", "paused", "new"].map(route).to_vec();
    let mut board = Board::default();
    board.agent.store_up = true;
    board.watch(&routes);
    // A run of a route that an incident hits may land: it is no more fine for that.
    let outcomes = [Outcome::Landed, Outcome::Landed, Outcome::Late, Outcome::Lost];
    for (route, outcome) in routes.iter().zip(outcomes) {
        board.learn(&verdict(route, outcome), std::time::Duration::from_secs(120));
    }
    let only = |platform: &str| Selector::new([("platform".to_owned(), platform.to_owned())]);
    let mut maintenance = Maintenance::default();
    let (from, because) = (now().minus(Duration::from_secs(60)), Some("moved".to_owned()));
    maintenance.pauses.push(Pause { only: only("paused"), except: Vec::new(), from, until: None, because });
    let count = Count::of(&board, &maintenance, now());
    assert_eq!(count, Count { green: 2, amber: 1, paused: 1, unjudged: 1, ..Count::default() });

    let mut lost = incident(Outcome::Lost, &[("platform", "hit")]);
    lost.routes = vec![routes[0].id];
    let over = Incident { resolved_at: Some(now()), routes: vec![routes[1].id], ..lost.clone() };
    board.incidents = vec![Arc::new(lost), Arc::new(over)];
    let summary = |board: &Board, maintenance: &Maintenance| Summary::of(board, maintenance, &[], now()).text;
    let text = "Result Output is silently lost on platform=hit since 14:44 UTC, 1 route fine, 1 late or misreported, \
                1 not judged yet, 1 paused";
    assert_eq!(summary(&board, &maintenance), text);

    let until = now().plus(Duration::from_secs(3600));
    let because = "known".to_owned();
    maintenance.silences.push(Silence { id: "s".to_owned(), only: only("hit"), from, until, because });
    assert!(summary(&board, &maintenance).contains("(silenced until 16:00 UTC)"));
    board.agent.store_up = false;
    assert!(summary(&board, &maintenance).ends_with("the agent itself is in trouble (the ledger cannot be used)"));
}
