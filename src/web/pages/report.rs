//! `/incidents/ID/report.md`: an incident's report, of what the ledger has. The command writes the same text of what
//! the API answers.

use std::collections::HashSet;

use axum::{
    extract::{Path, State},
    response::Response,
};
use serde_json::Value;

use crate::{
    canary::Marker,
    detect::Incident,
    store::{Opening, RunRecord},
    web::{
        Doors, Shared,
        answer::{self, Problem},
        api, ledger,
        maintenance::Quiet,
        notifications::OpeningShape,
        pages::incident::openings_of,
        report::{Customers, Report, Runs},
        shapes::{IncidentShape, RunShape},
    },
};

/// Runs that are counted, and deploys.
const MOST: u32 = 1_000;
/// Routes whose runs are counted.
const ROUTES: usize = 500;

pub(in crate::web) async fn report(State(doors): Shared, Path(id): Path<String>) -> Result<Response, Problem> {
    let incident = api::told(&doors, &id).await?;
    let openings = openings_of(&doors, &incident.id).await?;
    let text = markdown(&doors, &incident, &openings).await?;
    Ok(answer::typed("text/markdown; charset=utf-8", text))
}

/// The report of an incident.
pub(super) async fn markdown(doors: &Doors, incident: &Incident, openings: &[Opening]) -> Result<String, Problem> {
    let routes = api::routes_of(doors, std::slice::from_ref(incident)).await?;
    let runs = runs(doors, incident).await?;
    let mut told: Vec<&Opening> = openings.iter().collect();
    told.sort_by_key(|opening| opening.at);
    let report = Report {
        agent: format!("{}/", doors.links.agent),
        now: (doors.now)(),
        incident: value(&IncidentShape::whole(incident, &routes, Quiet::of(doors, incident))),
        openings: told.into_iter().map(|opening| value(&OpeningShape::of(opening))).collect(),
        deploys: ledger(doors.store.deploys(MOST)).await?.iter().map(value).collect(),
        runs,
        customers: Customers::NotAsked,
    };
    Ok(report.markdown())
}

/// Runs over the routes that it hit, judged for good or not.
async fn runs(doors: &Doors, incident: &Incident) -> Result<Runs, Problem> {
    let routes = &incident.routes[..incident.routes.len().min(ROUTES)];
    // A run is minted when it is sent, which is never before it is due.
    let from = Marker::mint(incident.onset.first_bad, 0);
    let (judged, pending) =
        ledger(async { Ok((doors.store.judged(routes, from, MOST).await?, doors.store.pending().await?)) }).await?;
    let mut gaps = Vec::new();
    if judged.len() >= MOST as usize {
        gaps.push(format!("only the newest {MOST} are known here"));
    }
    if incident.routes.len() > ROUTES {
        gaps.push(format!("only those over {ROUTES} of {} routes are", incident.routes.len()));
    }
    let is_hit = |record: &&RunRecord| routes.contains(&record.run.route.id);
    let known: HashSet<Marker> = judged.iter().map(|record| record.run.marker).collect();
    let is_new = |record: &&RunRecord| !known.contains(&record.run.marker);
    let mut all: Vec<Value> = judged.iter().map(|record| value(&RunShape::of(record))).collect();
    all.extend(pending.iter().filter(is_hit).filter(is_new).map(|record| value(&RunShape::of(record))));
    Ok(Runs { all, gaps })
}

fn value(of: &impl serde::Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}
