//! Faults that spread, narrow, come back, or turn out to be two.

use super::*;

fn lost_on(routes: std::ops::Range<usize>, minutes: std::ops::Range<u64>) -> impl Fn(usize, u64) -> Outcome {
    move |route, minute| {
        if routes.contains(&route) && minutes.contains(&minute) { Outcome::Lost } else { Outcome::Landed }
    }
}

/// What was told, by the name that it has now.
fn named(teller: &Teller) -> Vec<String> {
    let text = |incident: &&Incident| format!("{} on {}", incident.outcome, incident.suspects_text());
    teller.opened().iter().map(text).collect()
}

#[test]
fn two_faults_at_once_are_two_incidents() {
    let mut teller = Teller::new();
    teller.minutes(0..30, green);
    teller.minutes(30..36, |route, _| match route {
        0 | 1 => Outcome::Lost,
        4 => Outcome::Corrupted,
        _ => Outcome::Landed,
    });
    let mut named: Vec<String> = teller.opened().iter().map(|incident| incident.suspects_text()).collect();
    named.sort();
    assert_eq!(named, ["cluster=hadoop2 target=web", "engine=presto"]);
}

#[test]
fn a_fault_that_spreads_stays_one_incident_and_widens() {
    let mut teller = Teller::new();
    teller.minutes(0..30, green);
    teller.minutes(30..33, |route, _| if route < 2 { Outcome::Lost } else { Outcome::Landed });
    assert_eq!(teller.opened()[0].suspects_text(), "engine=presto");
    teller.minutes(33..45, |route, _| if route < 4 { Outcome::Lost } else { Outcome::Landed });
    assert_eq!(teller.opened().len(), 1);
    assert_eq!(teller.opened()[0].suspects_text(), "worker=v5");
}

#[test]
fn a_fault_that_comes_back_within_a_day_is_the_same_incident_and_told_again_once_in_six_hours() {
    let mut teller = Teller::new();
    teller.minutes(0..40, lost_on(0..4, 30..33));
    assert_eq!((teller.opened().len(), teller.resolved()), (1, 1));
    teller.minutes(40..48, lost_on(0..4, 40..43));
    assert_eq!((teller.opened().len(), teller.resolved()), (2, 1), "a pause that ended badly is waited out");
    teller.minutes(48..150, green);
    assert_eq!(teller.resolved(), 2);
    teller.minutes(150..240, lost_on(0..4, 150..153));
    let ids = told(&teller);
    assert_eq!(ids.len(), 2, "the third opening, two hours later, wakes nobody again");
    assert_eq!(ids[0], ids[1]);
    assert_eq!(teller.resolved(), 2, "of an opening that nobody was told of nobody is told the end");
    let incident = teller.opened()[0];
    assert!(incident.reopened_at.is_some() && !incident.is_open());
}

#[test]
fn one_run_in_eight_is_one_incident_that_ends_when_a_bad_run_would_have_shown() {
    let mut teller = Teller::new();
    // Every route of v5 in its turn.
    let rare = |route: usize, minute: u64| {
        if minute >= 30 && route < 4 && (minute + 2 * route as u64).is_multiple_of(8) {
            Outcome::Lost
        } else {
            Outcome::Landed
        }
    };
    teller.minutes(0..90, rare);
    let before = teller.resolved();
    let opened = teller.opened();
    assert!(opened.iter().all(|incident| incident.id == opened[0].id));
    assert_eq!((opened[0].suspects_text().as_str(), opened[0].is_open()), ("worker=v5", true));
    teller.minutes(90..92, green);
    assert_eq!(teller.resolved(), before, "two clean minutes are no proof");
    teller.minutes(92..120, green);
    assert_eq!(teller.resolved(), before + 1);
}

#[test]
fn an_incident_narrows_to_what_is_still_broken() {
    let mut teller = Teller::new();
    teller.minutes(0..30, green);
    teller.minutes(30..50, |route, minute| if minute < 40 || route < 2 { Outcome::Lost } else { Outcome::Landed });
    let opened = teller.opened();
    assert_eq!(opened.len(), 1);
    assert_eq!(opened[0].suspects_text(), "engine=presto");
    assert!(opened[0].history.iter().any(|step| step.text.contains("was lost on everything")));
}

#[test]
fn two_faults_of_one_kind_that_begin_together_are_told_apart() {
    let mut teller = Teller::new();
    teller.minutes(0..30, green);
    teller.minutes(30..45, |route, _| if [0, 1, 5].contains(&route) { Outcome::Lost } else { Outcome::Landed });
    let mut named: Vec<String> = teller.detector.open_incidents().map(|incident| incident.suspects_text()).collect();
    named.sort();
    assert_eq!(named, ["cluster=hadoop2 target=bucket", "engine=presto"]);
    let ids: std::collections::BTreeSet<String> = told(&teller).into_iter().collect();
    assert_eq!(ids.len(), 2);
}

#[test]
fn faults_of_two_kinds_side_by_side_are_two_incidents_even_if_they_were_taken_for_one() {
    let mut teller = Teller::new();
    teller.minutes(0..30, green);
    // Doubled rows acquit nobody of a false error, and the first runs speak for everything.
    teller.minutes(30..40, |route, _| if route < 4 { Outcome::Duplicated } else { Outcome::Unclaimed });
    assert_eq!(named(&teller), ["duplicated on worker=v5", "unclaimed on cluster=hadoop2"]);
}

#[test]
fn side_effects_on_routes_of_an_incident_stay_with_it() {
    let mut teller = Teller::new();
    teller.minutes(0..30, green);
    teller.minutes(30..40, |route, minute| match route {
        0..4 if minute % 3 == 2 => Outcome::Late,
        0..4 => Outcome::Lost,
        _ => Outcome::Landed,
    });
    assert_eq!(named(&teller), ["lost on worker=v5"]);
}

#[test]
fn an_outage_that_came_back_as_another_fault_is_as_it_was_wherever_its_routes_stand_in_the_config_now() {
    let mut teller = Teller::new();
    teller.minutes(0..80, lost_on(0..4, 30..40));
    let (was, hit) = (teller.opened()[0].clone(), teller.detector.cases[0].hit.clone());
    // What is not there yet looks like its return.
    let back: Vec<Marker> = (0..4)
        .map(|route| {
            let run = Marker::mint(at(80 * 60 + route), 10_000 + u128::from(route));
            teller.now = at(80 * 60 + 10 + route);
            teller.verdict(run, route as usize, at(80 * 60 + route), Outcome::Lost, true);
            run
        })
        .collect();
    teller.now = at(81 * 60);
    teller.input(&Input::Tick);
    assert!(teller.detector.incident(&was.id).is_some_and(Incident::is_open), "{:?}", teller.changes.last());
    teller.routes.reverse();
    teller.detector.watch(&teller.routes, teller.now);
    for (nth, run) in back.into_iter().enumerate() {
        teller.verdict(run, 5 - nth, at(80 * 60 + nth as u64), Outcome::Partial, false);
    }
    assert_eq!(named(&teller), ["lost on worker=v5", "lost on worker=v5", "partial on worker=v5"]);
    let is = teller.detector.incident(&was.id).expect("known");
    assert_eq!((is.is_open(), is.outcome, is.resolved_at), (false, was.outcome, was.resolved_at));
    let case = &teller.detector.cases[0];
    assert_eq!(case.told_again_at, None, "its true return is told");
    let mirrored = hit.into_iter().map(|(place, hit)| (5 - place, hit)).collect();
    assert_eq!(case.hit, mirrored);
}

#[test]
fn a_row_of_ambers_that_an_incident_explains_makes_no_second_one_of_a_single_late_run() {
    let mut teller = Teller::new();
    teller.minutes(0..30, green);
    teller.minutes(30..42, |route, minute| match (route, minute) {
        (0, 39) => Outcome::Late,
        (0, 36..) | (4.., _) => Outcome::Landed,
        _ => Outcome::Unclaimed,
    });
    assert_eq!(teller.opened().len(), 1, "{:?}", named(&teller));
}
