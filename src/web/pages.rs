//! Pages for people: how everything stands, one incident, one run. Plain, without scripts.

use std::sync::Arc;

use axum::{
    extract::{Path, State},
    response::Response,
};

use super::{
    Doors, Shared,
    answer::{self, Problem},
    api,
    html::Html,
    ledger,
    maintenance::Quiet,
    reports, told,
};
use crate::{
    canary::{Evidence, Marker, Outcome, State as Colour, Timestamp, Verdict, time::Brief},
    detect::{Board, Incident, IncidentId, Standing, incident::write_labels},
    store::{Opening, RunRecord},
};

/// Rows of one table: what is not green comes first, and nobody reads ten thousand.
const ROWS: usize = 500;
/// Openings among which those of an incident are looked for.
const RECENT: u32 = 1_000;

pub(super) async fn style() -> Response {
    answer::typed("text/css; charset=utf-8", include_str!("style.css"))
}

pub(super) async fn status(State(doors): Shared) -> Response {
    let board: Arc<Board> = Arc::clone(&doors.board.borrow());
    let now = (doors.now)();
    let mut page = begin(&doors, "status", true);
    for trouble in &board.agent.troubles {
        page.raw("<p class=\"red\">").text(trouble).raw("</p>");
    }
    let shown: Vec<&Arc<Incident>> = board.incidents.iter().filter(|incident| incident.detected_at.is_some()).collect();
    page.raw("<h2>Open incidents</h2>");
    if shown.is_empty() {
        page.raw("<p>None.</p>");
    }
    for incident in shown {
        page.raw("<p class=\"").text(incident.severity.as_str()).raw("\"><a href=\"/incidents/");
        page.text(&incident.id).raw("\">").text(headline(incident)).raw("</a>, for ");
        page.text(Brief(now.since(incident.onset.first_bad)));
        for line in told::quiet(Quiet::of(&doors, incident), incident) {
            page.raw("<br>").text(line);
        }
        page.raw("</p>");
    }
    told::undelivered(&mut page, &doors);
    told::maintenance(&mut page, &doors);
    let maintenance = Arc::clone(&doors.maintenance.borrow());
    let mut standings: Vec<&Standing> = board.routes().iter().collect();
    standings.sort_by_key(|standing| rank(standing));
    page.raw("<h2>Routes</h2><table><tr><th>Route</th><th>Labels</th><th>Last run</th><th>Last landed</th></tr>");
    for standing in standings.iter().take(ROWS) {
        let is_paused = maintenance.pause(&standing.route, now).is_some();
        route_row(&mut page, standing, is_paused, now);
    }
    page.raw("</table>");
    if let Some(more) = standings.len().checked_sub(ROWS).filter(|more| *more > 0) {
        page.raw("<p>").text(more).raw(" more routes, none worse than those above; the API lists all.</p>");
    }
    reports::section(&mut page, &doors).await;
    end(page)
}

/// Red first, then amber, grey, unknown to us, green.
fn rank(standing: &Standing) -> u8 {
    match standing.outcome.map(Outcome::state) {
        Some(Colour::Red) => 0,
        Some(Colour::Amber) => 1,
        Some(Colour::Grey) => 2,
        None => 3,
        Some(Colour::Green) => 4,
    }
}

fn route_row(page: &mut Html, standing: &Standing, is_paused: bool, now: Timestamp) {
    page.raw("<tr><td>").text(&standing.route).raw("</td><td>");
    for (name, value) in standing.route.labels.iter() {
        page.text(name).raw("=").text(value).raw(" ");
    }
    page.raw("</td><td>");
    match (standing.outcome, standing.run) {
        (Some(outcome), Some(run)) => {
            page.raw("<a class=\"").text(colour(outcome)).raw("\" href=\"/runs/").text(run).raw("\">");
            page.text(outcome).raw("</a>");
        }
        _ => drop(page.raw("not yet")),
    }
    page.raw(if is_paused { " (paused)" } else { "" });
    page.raw("</td><td>");
    match standing.last_landed_at {
        Some(at) => page.text(Brief(now.since(at))).raw(" ago"),
        None => page.raw("never seen"),
    };
    page.raw("</td></tr>");
}

pub(super) async fn incident(State(doors): Shared, Path(id): Path<String>) -> Result<Response, Problem> {
    let incident = api::told(&doors, &id).await?;
    let routes = api::routes_of(&doors, std::slice::from_ref(&incident)).await?;
    let mut page = begin(&doors, "incident", incident.is_open());
    page.raw("<h2 class=\"").text(incident.severity.as_str()).raw("\">").text(headline(&incident)).raw("</h2>");
    page.raw("<p>").text(incident.outcome.meaning());
    page.raw(if incident.provisional { " (not final yet)" } else { "" }).raw(".</p><dl>");
    fact(&mut page, "Incident", &incident.id);
    fact(&mut page, "Severity", incident.severity.as_str());
    fact(&mut page, "Suspects", incident.suspects_text());
    for set in &incident.also {
        fact(&mut page, "Same routes", write_labels(set));
    }
    for set in &incident.unaffected {
        fact(&mut page, "Unaffected", write_labels(set));
    }
    fact(&mut page, "Last good run due", time(incident.onset.last_good));
    fact(&mut page, "First bad run due", incident.onset.first_bad);
    if let Some(deploy) = &incident.deploy {
        fact(&mut page, "Deploy before it", format!("{} {} at {}", deploy.service, deploy.version, deploy.at));
    }
    fact(&mut page, "Detected", time(incident.detected_at));
    for line in told::quiet(Quiet::of(&doors, &incident), &incident) {
        fact(&mut page, "Quiet", line);
    }
    for opening in openings_of(&doors, &incident.id).await? {
        for letter in &opening.letters {
            fact(&mut page, "Told", told::line(letter));
        }
        if opening.letters.is_empty() {
            fact(&mut page, "Told", "nobody: no notifier wants to know of it");
        }
    }
    if let Some(at) = incident.resolved_at {
        fact(&mut page, "Over", at);
    }
    if let Some(because) = &incident.resolved_because {
        fact(&mut page, "Because", because);
    }
    page.raw("</dl><h3>Routes hit</h3><ul>");
    for route in incident.routes.iter().take(ROWS) {
        page.raw("<li>");
        match routes.get(route) {
            Some(route) => page.text(route),
            None => page.text(route).raw(" (no longer watched)"),
        };
        page.raw("</li>");
    }
    page.raw("</ul><h3>Story</h3><ol>");
    for step in &incident.history {
        page.raw("<li>").text(step.at).raw(" ").text(&step.text).raw("</li>");
    }
    page.raw("</ol><h3>Runs</h3><ul>");
    for run in &incident.runs {
        page.raw("<li><a href=\"/runs/").text(run).raw("\">").text(run).raw("</a></li>");
    }
    page.raw("</ul>");
    Ok(end(page))
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

pub(super) async fn run(State(doors): Shared, Path(id): Path<String>) -> Result<Response, Problem> {
    let nothing = || Problem::nothing("there is no such run");
    let marker: Marker = id.parse().map_err(|_| nothing())?;
    let record = ledger(doors.store.run(marker)).await?.ok_or_else(nothing)?;
    let RunRecord { run, evidence, verdict, .. } = &record;
    let mut page = begin(&doors, "run", verdict.is_none());
    page.raw("<h2>").text(&run.route).raw("</h2><dl>");
    fact(&mut page, "Run", run.marker);
    fact(&mut page, "Sent because", why(run.why));
    fact(&mut page, "Due", run.terms.due);
    match verdict {
        Some(verdict) => judged(&mut page, verdict),
        None => fact(&mut page, "Outcome", "not judged yet"),
    }
    seen(&mut page, evidence);
    page.raw("</dl>");
    Ok(end(page))
}

fn judged(page: &mut Html, verdict: &Verdict) {
    let provisional = if verdict.provisional { " (not final yet)" } else { "" };
    fact(page, "Outcome", format!("{}: {}{provisional}", verdict.outcome, verdict.outcome.meaning()));
    if let Some(phase) = verdict.phase {
        fact(page, "Phase", phase);
    }
    if let Some(reason) = &verdict.reason {
        fact(page, "Reason", reason);
    }
    for outcome in &verdict.also {
        fact(page, "Also", outcome);
    }
    fact(page, "Judged", verdict.at);
}

fn seen(page: &mut Html, evidence: &Evidence) {
    fact(page, "Submitted", time(evidence.submitted_at));
    fact(page, "Accepted", time(evidence.accepted_at));
    let mut phases = evidence.phases.clone();
    phases.sort_by_key(|(phase, at)| (*at, *phase));
    for (phase, at) in &phases {
        fact(page, phase, at);
    }
    fact(page, "Platform says", format!("{}, since {}", evidence.claim, time(evidence.claimed_at)));
    for job in &evidence.jobs {
        fact(page, "Job", job);
    }
    for look in &evidence.looks {
        let found = match &look.found {
            Ok(seen) => seen.rows.to_string(),
            Err(why) => format!("could not see: {why}"),
        };
        fact(page, "Target read", format!("{} {found}", look.started_at));
        for wrong in look.found.iter().flat_map(|seen| &seen.rows.examples) {
            let text = format!(
                "row {} column {}: {:?} expected, {:?} found",
                wrong.row, wrong.column, wrong.expected, wrong.found
            );
            fact(page, "Difference", text);
        }
    }
    for control in &evidence.controls {
        let passed = control.passed.as_ref().map_or_else(|why| format!("failed: {why}"), |()| "passed".to_owned());
        fact(page, "Control", format!("{} {passed}", control.started_at));
    }
    if let Some(stages) = &evidence.stages {
        fact(page, "Loaded", stages.entered);
        fact(page, "In the table", told_or_not(&stages.stored));
        fact(page, "The query brings", told_or_not(&stages.computed));
        if let Some(again) = &stages.again {
            fact(page, "And again", told_or_not(again));
        }
    }
    for away in &evidence.away {
        fact(page, "Agent away", format!("{} to {}", away.from, away.until));
    }
}

fn told_or_not(stage: &Result<impl std::fmt::Display, String>) -> String {
    stage.as_ref().map_or_else(|why| format!("not known: {why}"), ToString::to_string)
}

fn fact(page: &mut Html, name: impl std::fmt::Display, value: impl std::fmt::Display) {
    page.raw("<dt>").text(name).raw("</dt><dd>").text(value).raw("</dd>");
}

fn headline(incident: &Incident) -> String {
    format!("{}: {}", incident.suspects_text(), incident.outcome.meaning())
}

fn why(why: crate::canary::Why) -> &'static str {
    use crate::canary::Why;
    match why {
        Why::Scheduled => "its time had come",
        Why::Confirming => "a red run wanted confirming",
        Why::Deploy => "a deploy marker came in",
        Why::Verify => "the post-deploy step asked",
    }
}

fn time(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "not known".to_owned(), |at| at.to_string())
}

pub(super) fn colour(outcome: Outcome) -> &'static str {
    match outcome.state() {
        Colour::Green => "green",
        Colour::Amber => "amber",
        Colour::Red => "red",
        Colour::Grey => "grey",
    }
}

fn begin(doors: &Doors, title: &'static str, changes: bool) -> Html {
    let mut page = Html::default();
    page.raw("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    // What may change is shown anew without anybody's doing.
    page.raw(if changes { "<meta http-equiv=\"refresh\" content=\"10\">" } else { "" });
    page.raw("<meta name=\"viewport\" content=\"width=device-width\"><link rel=\"stylesheet\" href=\"/style.css\">");
    page.raw("<title>Landfall ").text(&doors.agent).raw(": ").raw(title).raw("</title></head><body>");
    page.raw("<h1><a href=\"/\">Landfall</a> ").text(&doors.agent).raw("</h1><p>").text((doors.now)()).raw("</p>");
    page
}

fn end(mut page: Html) -> Response {
    page.raw("</body></html>\n");
    answer::typed("text/html; charset=utf-8", page.finish())
}
