//! `/runs/ID`: one run.

use axum::{
    extract::{Path, State},
    response::Response,
};
use maud::html;

use super::frame::{Frame, Live};
use crate::{
    canary::Marker,
    store::RunRecord,
    web::{Shared, answer::Problem, ledger},
};

pub(in crate::web) async fn run(State(doors): Shared, Path(id): Path<String>) -> Result<Response, Problem> {
    let nothing = || Problem::nothing("there is no such run");
    let marker: Marker = id.parse().map_err(|_| nothing())?;
    let record = ledger(doors.store.run(marker)).await?.ok_or_else(nothing)?;
    let RunRecord { run, evidence, verdict, .. } = &record;
    let now = (doors.now)();
    let main = html! {
        h2 { (run.route) }
        dl {
            dt { "Run" } dd { (run.marker) }
            @if let Some(verdict) = verdict {
                dt { "Outcome" } dd { (verdict.outcome) ": " (verdict.outcome.meaning()) }
                @if let Some(reason) = &verdict.reason { dt { "Reason" } dd { (reason) } }
            }
            @for job in &evidence.jobs { dt { "Job" } dd { (job) } }
        }
    };
    let live = if verdict.is_none() { Live::Whole } else { Live::Not };
    let title = format!("run over {}", run.route);
    Ok(Frame { agent: Some(&doors.agent), title: &title, live, version: "", now }.around(&main))
}
