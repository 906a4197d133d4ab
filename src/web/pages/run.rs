//! `/runs/ID`: one run. What it came to, what that rests on, and how to see the same by hand.

use axum::{
    extract::{Path, State},
    response::Response,
};
use maud::{Markup, html};

use super::{
    by_hand::by_hand,
    colour,
    evidence::evidence,
    frame::{Frame, Live},
    held,
    outside::outside,
    sign, time,
    waterfall::waterfall,
};
use crate::{
    canary::{Marker, Timestamp, Why, time::Brief},
    detect::{Incident, board::landed_at},
    store::RunRecord,
    web::{Doors, Shared, answer::Problem, ledger},
};

/// Runs of the same route before and after it.
const BESIDE: usize = 8;
/// Newest runs of the route among which those after it are looked for.
const NEWEST: u32 = 100;
/// Newest incidents among which those that name it are.
const INCIDENTS: u32 = 200;

/// What stands around a run in the ledger.
struct Around {
    /// Runs of its route, oldest first, itself among them.
    strip: Vec<RunRecord>,
    /// Nobody knows here which came next: the last one is the newest.
    is_torn: bool,
    /// Incidents that it proves.
    incidents: Vec<Incident>,
}

pub(in crate::web) async fn run(State(doors): Shared, Path(id): Path<String>) -> Result<Response, Problem> {
    let nothing = || Problem::nothing("there is no such run");
    let marker: Marker = id.parse().map_err(|_| nothing())?;
    let record = ledger(doors.store.run(marker)).await?.ok_or_else(nothing)?.as_last_seen();
    let around = around(&doors, &record).await?;
    let hands = by_hand(&doors, &record).await?;
    let now = (doors.now)();
    let RunRecord { run, evidence: seen, verdict, .. } = &record;
    let main = html! {
        (headline(&record, &around.incidents, now))
        (strip(&around, marker, now))
        section aria-labelledby="proof" {
            h2 #proof { "What it rests on" }
            div.sides {
                div { h3 { "The job said" } (held::claim(seen, now)) }
                div { h3 { "The target held" } (held::sighting(seen, now)) }
            }
            (held::control(&record, now))
        }
        section aria-labelledby="phases" { h2 #phases { "Where the time went" } (waterfall(&record, now)) }
        section aria-labelledby="hand" { h2 #hand { "See it by hand" } (hands) }
        section aria-labelledby="evidence" { h2 #evidence { "All evidence" } (evidence(&record, now)) }
    };
    // A landed run may still be found to be wrong until its deadline.
    let may_change =
        verdict.as_ref().is_none_or(|verdict| verdict.provisional) || now < run.terms.deadline_at(seen.accepted_at);
    let live = if may_change { Live::Whole } else { Live::Not };
    let title = format!("run over {}", run.route);
    Ok(Frame { agent: Some(&doors.agent), title: &title, live, version: "", now }.around(&main))
}

fn headline(record: &RunRecord, incidents: &[Incident], now: Timestamp) -> Markup {
    let RunRecord { run, evidence, verdict, .. } = record;
    let verdict = verdict.as_ref();
    let outcome = verdict.map(|verdict| verdict.outcome);
    let took = outcome.and_then(|outcome| landed_at(outcome, evidence));
    let took = took.map(|at| Brief(at.since(run.terms.start(evidence.accepted_at))));
    html! {
        section class={ "headline " (outcome.map_or("pending", colour)) } aria-labelledby="headline" {
            h2 #headline {
                span.word { (sign(outcome)) " " @match outcome { Some(outcome) => (outcome), None => "not judged yet" } } " "
                @if let Some(outcome) = outcome { (outcome.meaning()) }
            }
            p.where {
                "over " strong { (outside(&run.route.to_string())) } ", due " (time(run.terms.due, now))
                @if let Some(took) = took { ", rows there after " (took) }
                @if let Some(verdict) = verdict {
                    ", judged " (time(verdict.at, now))
                    @if verdict.provisional { ", not for good yet" }
                    @if verdict.seen_late { ", first seen after a gap in sight" }
                    @if verdict.agent_away { ", counted towards nothing: the agent was away" }
                }
            }
            dl {
                @if let Some(reason) = verdict.and_then(|verdict| verdict.reason.as_deref()) { dt { "Reason" } dd { (outside(reason)) } }
                @if let Some(phase) = verdict.and_then(|verdict| verdict.phase) { dt { "Phase" } dd { (phase) } }
                @if let Some(also) = verdict.map(|verdict| &verdict.also).filter(|also| !also.is_empty()) {
                    dt { "Also" } dd { @for (n, outcome) in also.iter().enumerate() { @if n > 0 { ", " } (outcome) } }
                }
                @for incident in incidents {
                    dt { "Proves" }
                    dd {
                        a href={ "/incidents/" (incident.id) } { (incident.outcome) " on " (outside(&incident.suspects_text())) }
                        @if incident.is_open() { ", which goes on" } @else { ", which is over" }
                    }
                }
                dt { "Sent" } dd { (why(run.why)) }
                dt { "Labels" }
                dd { @for (n, (name, value)) in run.route.labels.iter().enumerate() { @if n > 0 { " " } (outside(&format!("{name}={value}"))) } }
                dt { "Run" } dd { code { (run.marker) } }
            }
        }
    }
}

fn why(why: Why) -> &'static str {
    match why {
        Why::Scheduled => "by the schedule",
        Why::Confirming => "to confirm a red run, or to tell its suspects apart",
        Why::Deploy => "after a deploy",
        Why::Verify => "to verify a release",
    }
}

/// The run among those of its route.
fn strip(around: &Around, marker: Marker, now: Timestamp) -> Markup {
    html! {
        nav.strip aria-label="Runs of this route, oldest first" {
            ol {
                @for record in &around.strip {
                    @let outcome = record.verdict.as_ref().map(|verdict| verdict.outcome);
                    @let is_this = record.run.marker == marker;
                    @if around.is_torn && record.run.marker > marker { li.soft { "… the newest:" } }
                    li {
                        a class=[outcome.map(colour)] href={ "/runs/" (record.run.marker) } aria-current=[is_this.then_some("page")] {
                            span.sign { (sign(outcome)) }
                            span.soft { (time(record.run.terms.due, now)) }
                            span.hidden { " " @match outcome { Some(outcome) => (outcome), None => "not judged yet" } }
                        }
                    }
                }
            }
        }
    }
}

async fn around(doors: &Doors, record: &RunRecord) -> Result<Around, Problem> {
    let (marker, route) = (record.run.marker, record.run.route.id);
    let (before, newest, mut incidents) = ledger(async {
        let before = doors.store.runs_before(route, marker, BESIDE as u32).await?;
        Ok((before, doors.store.runs(Some(route), NEWEST).await?, doors.store.incidents(INCIDENTS).await?))
    })
    .await?;
    incidents.retain(|incident| incident.detected_at.is_some() && incident.runs.contains(&marker));
    let mut after: Vec<RunRecord> = newest.into_iter().filter(|record| record.run.marker > marker).collect();
    // If all of the newest came later, nobody knows here which came next.
    let is_torn = after.len() >= NEWEST as usize;
    if is_torn {
        after.truncate(1);
    } else {
        after.drain(..after.len().saturating_sub(BESIDE));
    }
    let strip = before.into_iter().rev().chain([record.clone()]).chain(after.into_iter().rev()).collect();
    Ok(Around { strip, is_torn, incidents })
}
