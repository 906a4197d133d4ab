//! `/incidents/ID`: one incident.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};
use maud::html;

use super::frame::{Frame, Live};
use crate::{
    detect::{IncidentId, incident::write_labels},
    store::Opening,
    web::{Doors, Shared, answer::Problem, api, ledger, maintenance::Quiet, told},
};

/// Routes that are named.
const ROUTES: usize = 500;
/// Openings among which those of an incident are looked for.
const RECENT: u32 = 1_000;

pub(in crate::web) async fn incident(State(doors): Shared, Path(id): Path<String>) -> Result<Response, Problem> {
    let incident = api::told(&doors, &id).await?;
    let routes = api::routes_of(&doors, std::slice::from_ref(&incident)).await?;
    let openings = openings_of(&doors, &incident.id).await?;
    let now = (doors.now)();
    let main = html! {
        h2 class=(incident.severity.as_str()) { (incident.suspects_text()) ": " (incident.outcome.meaning()) }
        p { (incident.outcome.meaning()) @if incident.provisional { " (not final yet)" } }
        dl {
            dt { "Incident" } dd { (incident.id) }
            @for set in &incident.unaffected { dt { "Unaffected" } dd { (write_labels(set)) } }
            @for line in told::quiet(Quiet::of(&doors, &incident), &incident) { dt { "Quiet" } dd { (line) } }
            @for letter in openings.iter().flat_map(|opening| &opening.letters) { dt { "Told" } dd { (told::line(letter)) } }
        }
        h3 { "Routes hit" }
        ul {
            @for id in incident.routes.iter().take(ROUTES) {
                li { @match routes.get(id) { Some(route) => (route), None => { (id) " (no longer watched)" } } }
            }
        }
        h3 { "Story" }
        ol { @for step in &incident.history { li { (step.at) " " (step.text) } } }
        h3 { "Runs" }
        ul { @for run in &incident.runs { li { a href={ "/runs/" (run) } { (run) } } } }
    };
    let live = if incident.is_open() { Live::Whole } else { Live::Not };
    let title = incident.suspects_text();
    Ok(Frame { agent: Some(&doors.agent), title: &title, live, version: "", now }.around(&main))
}

/// Who was told of an incident: what is at work as it is, what is done as the ledger knows it.
async fn openings_of(doors: &Doors, id: &IncidentId) -> Result<Vec<Opening>, Problem> {
    let live = Arc::clone(&doors.letters.borrow());
    let mut openings: Vec<Opening> = live.iter().filter(|opening| opening.incident == *id).cloned().collect();
    for opening in ledger(doors.store.openings(RECENT)).await? {
        if opening.incident == *id && !openings.iter().any(|known| known.at == opening.at) {
            openings.push(opening);
        }
    }
    Ok(openings)
}
