//! What a target held of a run, and what the platform had said: the two sides of every proof.

use maud::{Markup, html};

use super::{outside::outside, time};
use crate::{
    canary::{Claim, Control, Evidence, Rows, Sighting, Timestamp, time::Brief},
    store::RunRecord,
};

/// What the platform said.
pub(super) fn claim(evidence: &Evidence, now: Timestamp) -> Markup {
    html! {
        p.says {
            strong { (word(&evidence.claim)) }
            @match &evidence.claim {
                Claim::Done { rows: Some(rows) } => { ", " (rows) " rows" }
                Claim::Done { rows: None } => { ", without a word of rows" }
                Claim::Running { phase } | Claim::Killed { phase } => { " in " (phase) }
                Claim::Error { phase, detail } => { " in " (phase) ": " (outside(detail)) }
                Claim::Refused { phase, detail, .. } => { " at " (phase) ": " (outside(detail)) }
                Claim::Unheard { detail } => { ": " (outside(detail)) }
            }
        }
        @if let Some(at) = evidence.claimed_at { p.soft { "first heard at " (time(at, now)) } }
        @if !evidence.jobs.is_empty() {
            p.soft { "job " @for (n, job) in evidence.jobs.iter().enumerate() { @if n > 0 { ", " } (outside(job)) } }
        }
    }
}

fn word(claim: &Claim) -> &'static str {
    match claim {
        Claim::Done { .. } => "success",
        Claim::Error { .. } => "error",
        Claim::Killed { .. } => "killed",
        Claim::Running { .. } => "still at it",
        Claim::Refused { .. } => "refused",
        Claim::Unheard { .. } => "nothing was heard",
    }
}

/// What the target held at the newest look that could see.
pub(super) fn sighting(evidence: &Evidence, now: Timestamp) -> Markup {
    let last = evidence.looks.last().and_then(|look| Some((look.found.as_ref().err()?, look.started_at)));
    html! {
        @match evidence.last_sighting() {
            Some((seen, at)) => {
                p.says { (rows(&seen.rows)) }
                (places(seen))
                p.soft { "as of " (time(at, now)) }
                (examples(&seen.rows))
            }
            None => p.says { "no look could see" @if evidence.looks.is_empty() { ": none was made yet" } }
        }
        @if let Some((why, at)) = last { p.grey { "? at " (time(at, now)) " nobody could see: " (outside(why)) } }
    }
}

/// Rows in words, what is wrong with a sign.
pub(super) fn rows(rows: &Rows) -> Markup {
    html! {
        strong { @if rows.nothing() { "nothing" } @else { (rows.right) } } " of " (rows.expected) " rows"
        @if rows.right > 0 || !rows.nothing() { " right" }
        @for (n, what) in [(rows.missing, "missing"), (rows.copies, "there once too often"), (rows.changed, "changed")] {
            @if n > 0 { span.red { ", " (n) " " (what) } }
        }
    }
}

/// Whose rows stand where ours should.
pub(super) fn places(seen: &Sighting) -> Markup {
    html! {
        @if let Some(first) = seen.strangers.first() {
            p.red {
                "in their place stand rows of "
                @if seen.strangers.len() == 1 { "an earlier run, " } @else { (seen.strangers.len()) " earlier runs, the newest " }
                a href={ "/runs/" (first) } { (first) } ", sent " (first.minted_at())
            }
        }
        @if let Some(rival) = seen.rival {
            p.grey { "? rows of another run of this route, sent meanwhile, stand in their place: " a href={ "/runs/" (rival) } { (rival) } }
        }
    }
}

/// The first few wrong values.
pub(super) fn examples(rows: &Rows) -> Markup {
    if rows.examples.is_empty() {
        return html! {};
    }
    html! {
        div.wide tabindex="0" role="region" aria-label="Values that are wrong" {
            table.examples {
                thead { tr { th scope="col" { "row" } th scope="col" { "column" } th scope="col" { "expected" } th scope="col" { "found" } } }
                tbody {
                    @for wrong in &rows.examples {
                        tr {
                            td { (wrong.row) }
                            td { (outside(&wrong.column)) }
                            td { code { (outside(&wrong.expected)) } }
                            td.red { code { (outside(&wrong.found)) } }
                        }
                    }
                }
            }
        }
    }
}

/// The control that says whether target and eyes worked, after the platform's last word.
pub(super) fn control(record: &RunRecord, now: Timestamp) -> Markup {
    let evidence = &record.evidence;
    let claimed = evidence.claimed_at.filter(|_| evidence.claim.is_last_word());
    let after = |control: &&Control| claimed.is_some_and(|claimed| control.started_at > claimed);
    let since = |control: &Control| claimed.map(|claimed| Brief(control.started_at.since(claimed)));
    html! {
        @match evidence.controls.iter().rev().find(after).or(evidence.controls.last()) {
            Some(control) => @match (&control.passed, since(control).filter(|_| after(&control))) {
                (Ok(()), Some(since)) => p {
                    span.green { "✓" } " A row of our own came through at " (time(control.started_at, now)) ", " (since)
                    " after the job's last word: target and eyes work"
                }
                (Ok(()), None) => p.soft {
                    "A row of our own came through at " (time(control.started_at, now)) ", before the job's last word: it convicts nobody"
                }
                (Err(why), _) => p.grey { "? The control at " (time(control.started_at, now)) " failed: " (outside(why)) }
            }
            None => p.soft { "No control was made for it" }
        }
    }
}
