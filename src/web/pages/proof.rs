//! The runs that prove an incident: of each, what the job said beside what the target held.

use maud::{Markup, html};

use super::{colour, held, outside::outside, sign, time};
use crate::{
    canary::{Marker, Timestamp},
    detect::Incident,
    store::RunRecord,
};

/// Shown at once; the others on demand.
const AT_ONCE: usize = 6;

/// A proving run, as far as the ledger still has it.
pub(super) type Proof = (Marker, Option<RunRecord>);

/// All of them.
pub(super) fn proofs(proofs: &[Proof], now: Timestamp) -> Markup {
    let (first, rest) = proofs.split_at(proofs.len().min(AT_ONCE));
    let kept = Incident::kept_of(proofs.len()).unwrap_or_else(|| counted(proofs.len(), "run"));
    html! {
        p.soft { (kept) ". Of each, what the platform said beside what the agent itself read at the target." }
        @if proofs.is_empty() { p.soft { "No run is named." } }
        ol.proofs { @for proof in first { (card(proof, now)) } }
        @if !rest.is_empty() {
            details {
                summary { "And " (rest.len()) " more" }
                ol.proofs start=(AT_ONCE + 1) { @for proof in rest { (card(proof, now)) } }
            }
        }
    }
}

/// `1 run`, `2 runs`.
pub(super) fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn card((marker, record): &Proof, now: Timestamp) -> Markup {
    let Some(record) = record else {
        return html! { li { p { "Run " code { (marker) } " is gone from the ledger: nobody can say any more what it saw." } } };
    };
    let RunRecord { run, evidence, verdict, .. } = record;
    let outcome = verdict.as_ref().map(|verdict| verdict.outcome);
    html! {
        li class=[outcome.map(colour)] {
            h3 {
                span class=[outcome.map(colour)] {
                    (sign(outcome)) " " @match outcome { Some(outcome) => (outcome), None => "not judged yet" }
                }
                @if verdict.as_ref().is_some_and(|verdict| verdict.provisional) { " (not final)" }
                " · due " (time(run.terms.due, now)) " · " a href={ "/runs/" (marker) } { (outside(&run.route.to_string())) }
            }
            @if let Some(reason) = verdict.as_ref().and_then(|verdict| verdict.reason.as_ref()) { p { (outside(reason)) } }
            div.sides {
                div { h4 { "The job said" } (held::claim(evidence, now)) }
                div { h4 { "The target held" } (held::sighting(evidence, now)) }
            }
            (held::control(record, now))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_that_not_all_runs_are_kept() {
        let now = Timestamp::from_secs(9);
        let with = |n: usize| {
            let runs: Vec<Proof> = (0..n).map(|n| (Marker::mint(now, n as u128), None)).collect();
            proofs(&runs, now).into_string()
        };
        assert!(with(1).contains(">1 run. Of each"), "{}", with(1));
        assert!(with(Incident::RUNS - 1).contains(">59 runs. Of each"));
        assert!(with(Incident::RUNS).contains(">60 runs are kept: the first ones and the newest. Of each"));
    }
}
