//! Pins the order of judging: every combination of claim × sightings × control × time has exactly
//! one outcome, and it is the one that the table of outcomes says.

use std::time::Duration;

use super::*;
use crate::canary::{
    Marker,
    evidence::{Away, Control, Look},
    tally::Rows,
};

const ROWS: u32 = 20;
const DUE: Timestamp = Timestamp::from_secs(1_000_000);

fn at(seconds: u64) -> Timestamp {
    DUE.plus(Duration::from_secs(seconds))
}

fn terms() -> Terms {
    Terms { due: DUE, objective: Duration::from_secs(120), deadline: Duration::from_secs(300) }
}

/// The platform's last word comes here, where it has one.
const CLAIMED: u64 = 60;

fn claims() -> Vec<Claim> {
    vec![
        Claim::Unheard { detail: "no answer".into() },
        Claim::Refused { phase: Phase::Submit, for_good: true, detail: "no".into() },
        Claim::Refused { phase: Phase::Submit, for_good: false, detail: "not now".into() },
        Claim::Running { phase: Phase::Execute },
        Claim::Done { rows: Some(20) },
        Claim::Error { phase: Phase::Export, detail: "boom".into() },
        Claim::Killed { phase: Phase::Execute },
    ]
}

/// What the rows are like at the last look.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Found {
    Never,
    Blind,
    Nothing,
    Some,
    Displaced,
    Copies,
    Changed,
    CopiesAndChanged,
    SomeAndCopies,
    AllOnTime,
    AllAfterAbsence,
    AllAfterGap,
    AllThenBlind,
    AllThenCopies,
    AllThenGone,
}

const FOUND: [Found; 15] = [
    Found::Never,
    Found::Blind,
    Found::Nothing,
    Found::Some,
    Found::Displaced,
    Found::Copies,
    Found::Changed,
    Found::CopiesAndChanged,
    Found::SomeAndCopies,
    Found::AllOnTime,
    Found::AllAfterAbsence,
    Found::AllAfterGap,
    Found::AllThenBlind,
    Found::AllThenCopies,
    Found::AllThenGone,
];

fn looks(found: Found) -> Vec<Look> {
    let look = |second, found| Look { started_at: at(second), found };
    let see = |second, rows| look(second, Ok(Sighting { rows, ..Sighting::default() }));
    let rows =
        |right, missing, copies, changed| Rows { expected: ROWS, right, missing, copies, changed, examples: vec![] };
    let all = Rows::all_right(ROWS);
    match found {
        Found::Never => vec![],
        Found::Blind => vec![see(61, Rows::none(ROWS)), look(299, Err("timeout".into()))],
        Found::Nothing => vec![see(299, Rows::none(ROWS))],
        Found::Some => vec![see(299, rows(15, 5, 0, 0))],
        Found::Displaced => {
            let strangers = vec![Marker::mint(Timestamp::from_secs(1), 1)];
            vec![look(299, Ok(Sighting { rows: Rows::none(ROWS), strangers, ..Sighting::default() }))]
        }
        Found::Copies => vec![see(299, rows(20, 0, 20, 0))],
        Found::Changed => vec![see(299, rows(19, 0, 0, 1))],
        Found::CopiesAndChanged => vec![see(299, rows(19, 0, 1, 2))],
        Found::SomeAndCopies => vec![see(299, rows(15, 5, 3, 0))],
        Found::AllOnTime => vec![see(61, Rows::none(ROWS)), see(62, all)],
        Found::AllAfterAbsence => vec![see(61, Rows::none(ROWS)), see(121, Rows::none(ROWS)), see(130, all)],
        Found::AllAfterGap => vec![see(61, Rows::none(ROWS)), see(130, all)],
        Found::AllThenBlind => vec![see(62, all), look(299, Err("timeout".into()))],
        Found::AllThenCopies => vec![see(62, all), see(299, rows(20, 0, 20, 0))],
        Found::AllThenGone => vec![see(62, all), see(299, Rows::none(ROWS))],
    }
}

#[test]
fn rows_that_another_agent_displaced_are_neither_lost_nor_stale() {
    let rival = Some(Marker::mint(at(10), 1));
    let missing = Sighting { rows: Rows::none(ROWS), rival, ..Sighting::default() };
    let mut evidence = evidence(&Claim::Done { rows: None }, Found::Nothing, Proof::PassedAfter, false);
    evidence.looks = vec![Look { started_at: at(299), found: Ok(missing) }];
    assert_eq!(judge(&terms(), &evidence, at(300)).outcome, Outcome::Unknown);
    // What was seen whole before was.
    let whole = Sighting { rows: Rows::all_right(ROWS), ..Sighting::default() };
    evidence.looks.insert(0, Look { started_at: at(70), found: Ok(whole) });
    assert_eq!(judge(&terms(), &evidence, at(300)).outcome, Outcome::Landed);
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Proof {
    None,
    PassedBefore,
    PassedAfter,
    Failed,
    FailedThenPassed,
    PassedThenFailed,
}

const PROOF: [Proof; 6] = [
    Proof::None,
    Proof::PassedBefore,
    Proof::PassedAfter,
    Proof::Failed,
    Proof::FailedThenPassed,
    Proof::PassedThenFailed,
];

fn controls(proof: Proof) -> Vec<Control> {
    let pass = |second| Control { started_at: at(second), passed: Ok(()) };
    let fail = |second| Control { started_at: at(second), passed: Err("refused".into()) };
    match proof {
        Proof::None => vec![],
        Proof::PassedBefore => vec![pass(CLAIMED - 1)],
        Proof::PassedAfter => vec![pass(298)],
        Proof::Failed => vec![fail(298)],
        Proof::FailedThenPassed => vec![fail(290), pass(298)],
        Proof::PassedThenFailed => vec![pass(290), fail(298)],
    }
}

fn evidence(claim: &Claim, found: Found, proof: Proof, away: bool) -> Evidence {
    let mut evidence = Evidence {
        accepted_at: Some(DUE),
        claim: claim.clone(),
        claimed_at: Some(at(CLAIMED)),
        looks: looks(found),
        controls: controls(proof),
        ..Evidence::default()
    };
    if away {
        evidence.away.push(Away { from: at(100), until: at(110) });
    }
    evidence
}

/// §3 of the design, told a second time: as sentences over the combination, not over the evidence.
fn expected(claim: &Claim, found: Found, proof: Proof, away: bool) -> Outcome {
    use Found::*;
    // A later look that is blind, or finds rows gone that had been whole, changes nothing.
    let whole = matches!(found, AllOnTime | AllAfterAbsence | AllAfterGap | AllThenBlind | AllThenGone);
    let done = matches!(claim, Claim::Done { .. });
    let spoke = claim.is_last_word();
    if whole {
        return match (claim, found) {
            (Claim::Unheard { .. }, _) => Outcome::Unknown,
            (Claim::Done { .. }, AllAfterAbsence) => Outcome::Late,
            (Claim::Done { .. }, _) => Outcome::Landed,
            _ => Outcome::Unclaimed,
        };
    }
    let rows_missing = matches!(found, Never | Blind | Nothing | Some | Displaced | SomeAndCopies);
    let control_failed = matches!(proof, Proof::Failed | Proof::PassedThenFailed);
    let control_passed = matches!(proof, Proof::PassedAfter | Proof::FailedThenPassed);
    let cannot_see = (away && rows_missing)
        || control_failed
        || found == Blind
        || (found == Never && spoke)
        || (done && !control_passed);
    if cannot_see {
        return Outcome::Unknown;
    }
    match claim {
        Claim::Unheard { .. } => Outcome::Unknown,
        Claim::Refused { .. } | Claim::Error { .. } | Claim::Killed { .. } => Outcome::Failed,
        Claim::Running { .. } => Outcome::Stuck,
        Claim::Done { .. } => match found {
            Nothing => Outcome::Lost,
            Some | SomeAndCopies => Outcome::Partial,
            Displaced => Outcome::Stale,
            Copies | CopiesAndChanged | AllThenCopies => Outcome::Duplicated,
            Changed => Outcome::Corrupted,
            other => panic!("{other:?} is not judged by its rows"),
        },
    }
}

#[test]
fn every_combination_of_claim_sightings_control_and_time_has_the_outcome_of_the_table() {
    let mut n = 0;
    for claim in claims() {
        for found in FOUND {
            for proof in PROOF {
                for away in [false, true] {
                    let evidence = evidence(&claim, found, proof, away);
                    let judgement = judge(&terms(), &evidence, at(300));
                    let wanted = expected(&claim, found, proof, away);
                    assert_eq!(judgement.outcome, wanted, "{claim:?} × {found:?} × {proof:?} × away: {away}");
                    n += 1;
                }
            }
        }
    }
    assert_eq!(n, 7 * 15 * 6 * 2);
}

#[test]
fn no_silent_outcome_stands_without_a_control_that_began_after_the_claim() {
    for found in FOUND {
        for proof in [Proof::None, Proof::PassedBefore, Proof::Failed, Proof::PassedThenFailed] {
            let judgement = judge(&terms(), &evidence(&Claim::Done { rows: None }, found, proof, false), at(300));
            assert!(!judgement.outcome.is_silent(), "{found:?} {proof:?} was {}", judgement.outcome);
        }
    }
}

#[test]
fn other_reds_that_hold_are_listed_and_the_first_of_the_table_wins() {
    let judgement = judge(
        &terms(),
        &evidence(&Claim::Done { rows: None }, Found::CopiesAndChanged, Proof::PassedAfter, false),
        at(300),
    );
    assert_eq!((judgement.outcome, judgement.also), (Outcome::Duplicated, vec![Outcome::Corrupted]));
}

#[test]
fn rows_first_seen_after_a_gap_in_sight_are_landed_and_marked() {
    let judge_it =
        |found| judge(&terms(), &evidence(&Claim::Done { rows: None }, found, Proof::PassedAfter, false), at(300));
    assert!(judge_it(Found::AllAfterGap).seen_late);
    assert!(!judge_it(Found::AllOnTime).seen_late);
}

#[test]
fn the_targets_own_time_tells_late_from_landed_without_a_look_in_between() {
    for (landed, wanted) in [(119, Outcome::Landed), (121, Outcome::Late)] {
        let mut evidence = evidence(&Claim::Done { rows: None }, Found::AllAfterGap, Proof::PassedAfter, false);
        if let Some(Look { found: Ok(seen), .. }) = evidence.looks.last_mut() {
            seen.landed_at = Some(at(landed));
        }
        assert_eq!(judge(&terms(), &evidence, at(300)).outcome, wanted);
    }
}

#[test]
fn an_absence_of_the_agent_outside_the_flight_excuses_nothing() {
    let mut evidence = evidence(&Claim::Done { rows: None }, Found::Nothing, Proof::PassedAfter, false);
    evidence.away.push(Away { from: DUE.minus(Duration::from_secs(60)), until: DUE });
    assert_eq!(judge(&terms(), &evidence, at(300)).outcome, Outcome::Lost);
}

#[test]
fn clocks_count_from_the_accepted_submit() {
    let mut evidence = evidence(&Claim::Done { rows: None }, Found::AllAfterAbsence, Proof::PassedAfter, false);
    evidence.accepted_at = Some(at(30));
    assert_eq!(judge(&terms(), &evidence, at(330)).outcome, Outcome::Landed, "seen 100 s after it was accepted");
}
