//! When waiting ends. Pure: evidence, terms and what is usual say when a run can be judged for
//! good, and when it is overdue and judged for the time being.

use std::time::Duration;

use super::{
    evidence::{Claim, Evidence},
    run::Terms,
    time::Timestamp,
    usual::Usual,
};

/// Time for rows to show after `done` before anything has been learned and the objective is about
/// over: eventually consistent targets need a moment even on a good day.
const LAND_AT_LEAST: Duration = Duration::from_secs(2);

/// Whether the evidence is enough for a final verdict now.
pub fn is_over(terms: &Terms, evidence: &Evidence, usual: &Usual, now: Timestamp) -> bool {
    let deadline = terms.deadline_at(evidence.accepted_at);
    if now >= deadline {
        return true;
    }
    match &evidence.claim {
        // All rows once and right: at that sighting. Wrong values or copies: after one more look.
        Claim::Done { .. } => evidence.first_complete().is_some() || wrong_twice(evidence),
        claim if claim.is_last_word() => {
            evidence.first_complete().is_some() || overdue_at(terms, evidence, usual) <= now
        }
        _ => false,
    }
}

/// All rows are there, and twice in a row some were copies or had other values.
fn wrong_twice(evidence: &Evidence) -> bool {
    let mut wrong = 0;
    for look in &evidence.looks {
        match &look.found {
            Ok(seen) if seen.rows.missing == 0 && (seen.rows.copies > 0 || seen.rows.changed > 0) => wrong += 1,
            Ok(_) => wrong = 0,
            Err(_) => {}
        }
    }
    wrong >= 2
}

/// From when a run that is not complete is overdue: longer than its route has ever needed, never
/// later than the objective, unless the job was done so late that its rows have had no time.
pub fn overdue_at(terms: &Terms, evidence: &Evidence, usual: &Usual) -> Timestamp {
    let start = terms.start(evidence.accepted_at);
    let objective = terms.objective_at(evidence.accepted_at);
    let deadline = terms.deadline_at(evidence.accepted_at);
    let overdue = if evidence.claim.is_last_word() {
        let claimed = evidence.claimed_at.unwrap_or(start);
        let floor = claimed.plus(usual.longest_land().unwrap_or_default() + LAND_AT_LEAST);
        match usual.land_patience() {
            Some(patience) => claimed.plus(patience).min(objective).max(floor),
            None => objective.max(floor),
        }
    } else {
        usual.work_patience().map_or(objective, |patience| start.plus(patience).min(objective))
    };
    overdue.min(deadline)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canary::evidence::{Look, Sighting};
    use crate::canary::tally::Rows;

    const S: fn(u64) -> Duration = Duration::from_secs;
    const DUE: Timestamp = Timestamp::from_secs(1_000);

    fn terms() -> Terms {
        Terms { due: DUE, objective: S(120), deadline: S(300) }
    }

    fn at(seconds: u64) -> Timestamp {
        DUE.plus(S(seconds))
    }

    fn done(seconds: u64) -> Evidence {
        Evidence {
            accepted_at: Some(DUE),
            claim: Claim::Done { rows: None },
            claimed_at: Some(at(seconds)),
            ..Evidence::default()
        }
    }

    fn saw(evidence: &mut Evidence, seconds: u64, rows: Rows) {
        evidence.saw(Look { started_at: at(seconds), found: Ok(Sighting { rows, ..Sighting::default() }) });
    }

    fn learned() -> Usual {
        let mut usual = Usual::default();
        (0..20).for_each(|_| usual.learn(S(10), S(3)));
        usual
    }

    #[test]
    fn complete_rows_end_the_waiting_at_that_sighting() {
        let mut evidence = done(4);
        assert!(!is_over(&terms(), &evidence, &learned(), at(5)));
        saw(&mut evidence, 5, Rows::all_right(20));
        assert!(is_over(&terms(), &evidence, &learned(), at(5)));
    }

    #[test]
    fn complete_rows_of_a_running_job_wait_for_its_claim() {
        let mut evidence = Evidence { claim: Claim::Running { phase: super::super::Phase::Export }, ..done(4) };
        saw(&mut evidence, 5, Rows::all_right(20));
        assert!(!is_over(&terms(), &evidence, &learned(), at(299)));
        assert!(is_over(&terms(), &evidence, &learned(), at(300)));
    }

    #[test]
    fn copies_end_the_waiting_after_one_more_look() {
        let copies = Rows { copies: 1, ..Rows::all_right(20) };
        let mut evidence = done(4);
        saw(&mut evidence, 5, copies.clone());
        assert!(!is_over(&terms(), &evidence, &learned(), at(5)));
        saw(&mut evidence, 6, copies);
        assert!(is_over(&terms(), &evidence, &learned(), at(6)));
    }

    #[test]
    fn missing_rows_wait_for_the_deadline_even_if_others_are_changed() {
        let mixed = Rows { expected: 20, right: 10, missing: 5, changed: 5, ..Rows::default() };
        let mut evidence = done(4);
        (5..20).for_each(|second| saw(&mut evidence, second, mixed.clone()));
        assert!(!is_over(&terms(), &evidence, &learned(), at(299)));
    }

    #[test]
    fn an_error_is_final_once_rows_have_had_their_time() {
        let evidence =
            Evidence { claim: Claim::Error { phase: super::super::Phase::Execute, detail: String::new() }, ..done(10) };
        assert!(!is_over(&terms(), &evidence, &learned(), at(14)));
        assert!(is_over(&terms(), &evidence, &learned(), at(15)));
    }

    #[test]
    fn done_but_not_visible_is_overdue_after_what_the_route_has_needed() {
        assert_eq!(overdue_at(&terms(), &done(4), &learned()), at(9));
        assert_eq!(
            overdue_at(&terms(), &done(4), &Usual::default()),
            at(120),
            "the objective, before anything is learned"
        );
        assert_eq!(
            overdue_at(&terms(), &done(118), &learned()),
            at(123),
            "rows of a slow job get the time that rows take"
        );
    }

    #[test]
    fn a_long_runner_is_overdue_after_thirty_seconds_at_the_earliest() {
        let running = Evidence {
            accepted_at: Some(DUE),
            claim: Claim::Running { phase: super::super::Phase::Execute },
            ..Evidence::default()
        };
        assert_eq!(overdue_at(&terms(), &running, &learned()), at(30));
        assert_eq!(overdue_at(&terms(), &running, &Usual::default()), at(120));
    }
}
