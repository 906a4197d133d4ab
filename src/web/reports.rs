//! The agent's own reports, as they came back through the product.

use axum::extract::State;
use maud::{Markup, html};
use serde::Serialize;

use super::{
    Doors, Shared,
    answer::{self, Problem},
    api::{Answer, Asked, Which, json_list},
    ledger,
    pages::{ago, colour, outside, sign},
};
use crate::{
    canary::{
        Marker, Outcome, Timestamp,
        report::{DOGFOOD, Line},
    },
    store::RunRecord,
};

/// Runs of a route among which the last that brought its report is looked for: an hour's and more.
const RECENT: u32 = 30;
/// Routes whose reports are shown on the page.
const SHOWN: usize = 24;

/// How the reports of one route stand.
struct Standing {
    /// The newest run that was judged.
    newest: RunRecord,
    /// The newest that brought its report, with it.
    came: Option<RunRecord>,
}

impl Standing {
    async fn all(doors: &Doors, most: usize) -> Result<Vec<Self>, Problem> {
        let board = std::sync::Arc::clone(&doors.board.borrow());
        let mut all = Vec::new();
        let reporting = board.routes().iter().filter(|standing| standing.route.canary.as_str() == DOGFOOD);
        for standing in reporting.take(most) {
            let mut recent = ledger(doors.store.runs(Some(standing.route.id), RECENT)).await?;
            recent.retain(|record| outcome(record).is_some());
            let came = recent.iter().find(|record| matches!(outcome(record), Some(Outcome::Landed | Outcome::Late)));
            let came = match came {
                // The ledger tells the rows of one run at a time.
                Some(record) => ledger(doors.store.run(record.run.marker)).await?,
                None => None,
            };
            let came = came.filter(|record| record.run.report.is_some());
            if let Some(newest) = recent.into_iter().next() {
                all.push(Self { newest, came });
            }
        }
        Ok(all)
    }
}

fn outcome(record: &RunRecord) -> Option<Outcome> {
    record.verdict.as_ref().filter(|verdict| !verdict.provisional).map(|verdict| verdict.outcome)
}

fn lines(record: &RunRecord) -> &[Line] {
    record.run.report.as_ref().map_or(&[], |report| &report.lines)
}

#[derive(Debug, Serialize)]
struct Shape<'a> {
    platform: &'a str,
    target: &'a str,
    mode: &'a str,
    run_id: Marker,
    outcome: Option<Outcome>,
    reason: Option<&'a str>,
    last: Option<Came<'a>>,
}

/// The last report that came back, every row as the ledger has it.
#[derive(Debug, Serialize)]
struct Came<'a> {
    run_id: Marker,
    seen_at: Option<Timestamp>,
    lines: Vec<LineShape<'a>>,
}

#[derive(Debug, Serialize)]
struct LineShape<'a> {
    hour: &'a str,
    canary: &'a str,
    platform: &'a str,
    target: &'a str,
    mode: &'a str,
    runs: i64,
    landed_ratio: Option<f64>,
    silent_losses: i64,
    p50_ms: Option<i64>,
    p99_ms: Option<i64>,
}

impl<'a> LineShape<'a> {
    fn of(line: &'a Line) -> Self {
        let [canary, platform, target, mode] = line.route.each_ref().map(String::as_str);
        Self {
            hour: &line.hour,
            canary,
            platform,
            target,
            mode,
            runs: line.runs,
            landed_ratio: line.landed_ratio(),
            silent_losses: line.silent,
            p50_ms: line.p50_ms,
            p99_ms: line.p99_ms,
        }
    }
}

fn seen_at(record: &RunRecord) -> Option<Timestamp> {
    record.evidence.first_complete().map(|look| look.started_at)
}

pub(super) async fn list(State(doors): Shared, asked: Asked) -> Answer {
    let limit = Which::of(asked, &["limit"])?.limit()? as usize;
    let standings = Standing::all(&doors, limit).await?;
    fn shape(standing: &Standing) -> Shape<'_> {
        let newest = &standing.newest;
        let route = &newest.run.route;
        let came = standing.came.as_ref().map(|record| Came {
            run_id: record.run.marker,
            seen_at: seen_at(record),
            lines: lines(record).iter().map(LineShape::of).collect(),
        });
        Shape {
            platform: route.platform.as_str(),
            target: route.target.as_str(),
            mode: route.mode.as_str(),
            run_id: newest.run.marker,
            outcome: outcome(newest),
            reason: newest.verdict.as_ref().and_then(|verdict| verdict.reason.as_deref()),
            last: came,
        }
    }
    let shapes: Vec<Shape<'_>> = standings.iter().map(shape).collect();
    Ok(answer::json(&json_list("reports", &shapes)))
}

/// The part of the status page that shows them; nothing where there are none.
pub(super) async fn section(doors: &Doors) -> Markup {
    let now = (doors.now)();
    let standings = match Standing::all(doors, SHOWN).await {
        Ok(standings) if standings.is_empty() => return html! {},
        Ok(standings) => standings,
        Err(_) => return html! { h2 { "Own reports" } p.grey { "The ledger cannot be read." } },
    };
    html! {
        h2 { "Own reports, as they came back through the product" }
        @for standing in &standings { (report(standing, now)) }
    }
}

fn report(Standing { newest, came }: &Standing, now: Timestamp) -> Markup {
    let route = &newest.run.route;
    let (outcome, reason) = (outcome(newest), newest.verdict.as_ref().and_then(|verdict| verdict.reason.as_ref()));
    html! {
        details id={ "report-" (route.id) } {
            summary {
                (route.platform) " → " (route.target) ": "
                @if let Some(outcome) = outcome {
                    span class=(colour(outcome)) { (sign(Some(outcome))) " " (outcome) }
                }
                @if let Some(reason) = reason { ", " (outside(reason)) }
                @match came.as_ref().map(seen_at) {
                    None => { "; none came back lately" }
                    Some(None) => {}
                    Some(Some(at)) => { "; the last that is right came " (ago(at, now)) " ago" }
                }
            }
            p { a href={ "/runs/" (newest.run.marker) } { "its newest run" } }
            @if let Some(record) = came {
                .wide tabindex="0" role="region" aria-label={ "report by " (route.platform) } {
                    table {
                        thead {
                            tr {
                                @for name in ["Hour", "Route", "Runs", "Landed", "Silent losses", "p50", "p99"] {
                                    th scope="col" { (name) }
                                }
                            }
                        }
                        tbody { @for line in lines(record) { (line_row(line)) } }
                    }
                }
            }
        }
    }
}

fn line_row(line: &Line) -> Markup {
    let seconds = |ms: Option<i64>| ms.map_or("–".to_owned(), |ms| format!("{:.1} s", ms as f64 / 1000.0));
    let landed = line.landed_ratio().map_or("–".to_owned(), |ratio| format!("{:.2} %", ratio * 100.0));
    html! {
        tr {
            @if line.is_for_all() { td { "all" } td { "all" } } @else { td { (line.hour) } td { (line.route.join("/")) } }
            td { (line.runs) } td { (landed) } td { (line.silent) } td { (seconds(line.p50_ms)) } td { (seconds(line.p99_ms)) }
        }
    }
}
