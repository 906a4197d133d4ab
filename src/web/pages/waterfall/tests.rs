//! Phases as they are drawn.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::canary::{
    CanaryName, Evidence, Labels, Look, Marker, Mode, PlatformName, Route, Rows, Run, Sample, TargetName, Terms, Why,
};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_secs(1_440_452_640 + seconds)
}

/// Due at 0, submitted at 1, accepted at 2.
fn record(change: impl FnOnce(&mut Evidence)) -> RunRecord {
    let route = Route::new(
        CanaryName::new("c").expect("valid"),
        PlatformName::new("p").expect("valid"),
        TargetName::new("t").expect("valid"),
        Mode::Append,
        Labels::default(),
    );
    let terms = Terms { due: at(0), objective: Duration::from_secs(120), deadline: Duration::from_secs(300) };
    let (marker, sample) = (Marker::mint(at(0), 1), Sample::default());
    let run = Run { marker, route: Arc::new(route), terms, sample, why: Why::Scheduled, report: None };
    let mut evidence = Evidence { submitted_at: Some(at(1)), accepted_at: Some(at(2)), ..Evidence::default() };
    change(&mut evidence);
    RunRecord { run, handle: None, evidence, verdict: None }
}

fn shape(record: &RunRecord, now: i64) -> Vec<(Phase, i64, i64, bool)> {
    let seconds = |at: Timestamp| at.as_secs() - 1_440_452_640;
    spans(record, at(now))
        .iter()
        .map(|span| (span.phase, seconds(span.from), seconds(span.until), span.is_open))
        .collect()
}

#[test]
fn each_phase_lasts_until_the_next_and_landing_until_the_rows_were_there() {
    let landed = record(|evidence| {
        evidence.phases = vec![(Phase::Queue, at(2)), (Phase::Execute, at(4)), (Phase::Land, at(9))];
        evidence.heard(Claim::Done { rows: None }, at(10));
        let found = Ok(Sighting { rows: Rows::all_right(20), ..Sighting::default() });
        evidence.saw(Look { started_at: at(12), found });
    });
    assert_eq!(
        shape(&landed, 60),
        [
            (Phase::Submit, 1, 2, false),
            (Phase::Queue, 2, 4, false),
            (Phase::Execute, 4, 9, false),
            (Phase::Land, 9, 12, false)
        ]
    );
}

#[test]
fn what_goes_on_lasts_until_now() {
    let running = record(|evidence| evidence.heard(Claim::Running { phase: Phase::Execute }, at(3)));
    assert_eq!(shape(&running, 8), [(Phase::Submit, 1, 2, false), (Phase::Execute, 2, 8, true)]);
    let waiting = record(|evidence| evidence.heard(Claim::Done { rows: None }, at(6)));
    assert_eq!(shape(&waiting, 8)[2], (Phase::Land, 6, 8, true), "claimed, and not seen");
    let unsent = record(|evidence| *evidence = Evidence::default());
    assert_eq!(shape(&unsent, 8), []);
}

#[test]
fn a_platform_whose_clock_is_wrong_draws_no_phase_backwards() {
    let early = record(|evidence| evidence.phases = vec![(Phase::Execute, at(-50)), (Phase::Land, at(-60))]);
    assert_eq!(
        shape(&early, 8),
        [(Phase::Submit, 1, 2, false), (Phase::Execute, 1, 1, false), (Phase::Land, 1, 8, true)]
    );
    assert!(waterfall(&early, at(8)).into_string().contains("<rect"));
}
