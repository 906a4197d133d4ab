//! All that a run saw, in the order of time.

use maud::{Markup, html};

use super::{held, outside::outside, time};
use crate::{
    canary::{Look, Timestamp, stages::Stages, time::Brief},
    store::RunRecord,
};

/// Looks that are shown: the first and the last ones.
const LOOKS: usize = 60;

pub(super) fn evidence(record: &RunRecord, now: Timestamp) -> Markup {
    let RunRecord { run, evidence, .. } = record;
    let start = run.terms.start(evidence.accepted_at);
    let (first, last) = match evidence.looks.len() {
        n if n > LOOKS => (&evidence.looks[..LOOKS / 2], &evidence.looks[n - LOOKS / 2..]),
        _ => (evidence.looks.as_slice(), &[][..]),
    };
    html! {
        dl {
            dt { "Due" } dd { (time(run.terms.due, now)) }
            dt { "Submitted" } dd { (maybe(evidence.submitted_at, now)) }
            dt { "Accepted" } dd { (maybe(evidence.accepted_at, now)) }
            dt { "Sample" } dd { (run.sample.rows) " rows" @if run.report.is_some() { " of the agent's own report" } }
            @if !evidence.half_empty.is_zero() {
                dt { "Half empty" } dd { "readers found the table half empty for " (Brief(evidence.half_empty)) " while it was displaced" }
            }
            @for away in &evidence.away {
                dt { "Nobody watched" } dd { "from " (time(away.from, now)) " until " (time(away.until, now)) }
            }
        }
        @if let Some(stages) = &evidence.stages { (parts(stages, evidence)) }
        h3 { "Looks at the target" }
        @if evidence.looks.is_empty() { p.soft { "None was made." } }
        @else {
            div.wide tabindex="0" role="region" aria-label="Looks at the target" {
                table {
                    thead { tr { th scope="col" { "began" } th scope="col" { "after" } th scope="col" { "found" } } }
                    tbody {
                        @for look in first { (line(look, start, now)) }
                        @if !last.is_empty() { tr { td colspan="3" class="soft" { "and " (evidence.looks.len() - LOOKS) " more" } } }
                        @for look in last { (line(look, start, now)) }
                    }
                }
            }
        }
        h3 { "Controls" }
        @if evidence.controls.is_empty() { p.soft { "None was made." } }
        ul {
            @for control in &evidence.controls {
                li {
                    (time(control.started_at, now)) " "
                    @match &control.passed {
                        Ok(()) => { span.green { "✓ passed" } }
                        Err(why) => { span.grey { "? failed: " (outside(why)) } }
                    }
                }
            }
        }
    }
}

fn maybe(at: Option<Timestamp>, now: Timestamp) -> Markup {
    html! { @match at { Some(at) => (time(at, now)), None => span.soft { "never" } } }
}

fn line(look: &Look, start: Timestamp, now: Timestamp) -> Markup {
    html! {
        tr {
            td { (time(look.started_at, now)) }
            td { (Brief(look.started_at.since(start))) }
            td {
                @match &look.found {
                    Ok(seen) => {
                        @if seen.complete() { span.green { "✓ " } } @else { span.red { "✗ " } }
                        (held::rows(&seen.rows)) (held::places(seen))
                        @if let Some(at) = seen.landed_at { span.soft { " landed at " (time(at, now)) ", says the target" } }
                    }
                    Err(why) => span.grey { "? could not see: " (outside(why)) }
                }
            }
        }
    }
}

/// Where a report went wrong.
fn parts(stages: &Stages, evidence: &crate::canary::Evidence) -> Markup {
    let told = evidence.last_sighting().map(|(seen, _)| stages.told(&seen.rows));
    let or_why = |known: Result<String, &String>| known.unwrap_or_else(|why| format!("not known: {why}"));
    let brought = |rows: &Result<crate::canary::Rows, String>| or_why(rows.as_ref().map(ToString::to_string));
    html! {
        h3 { "Stages of the report" }
        @if let Some(told) = told { p { (outside(&told)) } }
        dl {
            dt { "Loaded" } dd { (outside(&stages.entered.to_string())) }
            dt { "In the table" } dd { (outside(&or_why(stages.stored.as_ref().map(ToString::to_string)))) }
            dt { "The query brought" } dd { (outside(&brought(&stages.computed))) }
            @if let Some(again) = &stages.again { dt { "Run again" } dd { (outside(&brought(again))) } }
        }
    }
}
