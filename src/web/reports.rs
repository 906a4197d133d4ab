//! The agent's own reports, as they came back through the product.

use axum::extract::State;
use serde::Serialize;

use super::{
    Doors, Shared,
    answer::{self, Problem},
    api::{Answer, Asked, Which, json_list},
    html::Html,
    ledger,
    pages::colour,
};
use crate::{
    canary::{
        Marker, Outcome, Timestamp,
        report::{DOGFOOD, Line},
        time::Brief,
    },
    store::RunRecord,
};

/// Runs of a route among which the last that brought its report is looked for: an hour's and more.
const RECENT: u32 = 30;

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
pub(super) async fn section(page: &mut Html, doors: &Doors) {
    let now = (doors.now)();
    let standings = match Standing::all(doors, usize::MAX).await {
        Ok(standings) if standings.is_empty() => return,
        Ok(standings) => standings,
        Err(_) => {
            page.raw("<h2>Own reports</h2><p class=\"grey\">The ledger cannot be read.</p>");
            return;
        }
    };
    page.raw("<h2>Own reports, as they came back through the product</h2>");
    for Standing { newest, came } in &standings {
        let route = &newest.run.route;
        page.raw("<details><summary>").text(&route.platform).raw(" → ").text(&route.target).raw(": ");
        if let Some(outcome) = outcome(newest) {
            page.raw("<a class=\"").text(colour(outcome)).raw("\" href=\"/runs/").text(newest.run.marker).raw("\">");
            page.text(outcome).raw("</a>");
        }
        if let Some(reason) = newest.verdict.as_ref().and_then(|verdict| verdict.reason.as_ref()) {
            page.raw(", ").text(reason);
        }
        let Some(record) = came else {
            page.raw("; none came back lately</summary></details>");
            continue;
        };
        if let Some(at) = seen_at(record) {
            page.raw("; the last that is right came ").text(Brief(now.since(at))).raw(" ago");
        }
        page.raw("</summary><table><tr><th>Hour</th><th>Route</th><th>Runs</th><th>Landed</th>");
        page.raw("<th>Silent losses</th><th>p50</th><th>p99</th></tr>");
        for line in lines(record) {
            line_row(page, line);
        }
        page.raw("</table></details>");
    }
}

fn line_row(page: &mut Html, line: &Line) {
    page.raw("<tr><td>").text(if line.is_for_all() { "all" } else { &line.hour }).raw("</td><td>");
    page.text(if line.is_for_all() { "all".to_owned() } else { line.route.join("/") });
    page.raw("</td><td>").text(line.runs).raw("</td><td>");
    match line.landed_ratio() {
        Some(ratio) => page.text(format!("{:.2} %", ratio * 100.0)),
        None => page.raw("–"),
    };
    page.raw("</td><td>").text(line.silent);
    for latency in [line.p50_ms, line.p99_ms] {
        page.raw("</td><td>");
        match latency {
            Some(ms) => page.text(format!("{:.1} s", ms as f64 / 1000.0)),
            None => page.raw("–"),
        };
    }
    page.raw("</td></tr>");
}
