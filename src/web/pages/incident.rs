//! `/incidents/ID`: one incident. What is broken, since when, and what proves it.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Path, State},
    response::Response,
};
use maud::{Markup, html};

use super::{
    ago,
    facets::facets,
    frame::{Frame, Live},
    outside::{block, outside},
    proof::{Proof, counted, proofs},
    report::markdown,
    time,
    timeline::timeline,
};
use crate::{
    canary::{Timestamp, time::Brief},
    detect::{Incident, IncidentId, Severity, incident::write_labels},
    store::{Letter, Opening, RunRecord},
    web::{Doors, Shared, answer::Problem, api, ledger, maintenance::Quiet, told},
};

/// So long after its end an incident may be opened again.
const AGAIN: Duration = Duration::from_secs(24 * 3600);
/// Routes that are named.
const ROUTES: usize = 500;
/// Those at once.
const AT_ONCE: usize = 12;
/// Openings among which those of an incident are looked for.
const RECENT: u32 = 1_000;

pub(in crate::web) async fn incident(State(doors): Shared, Path(id): Path<String>) -> Result<Response, Problem> {
    let incident = api::told(&doors, &id).await?;
    let openings = openings_of(&doors, &incident.id).await?;
    let proof = proof(&doors, &incident).await?;
    let report = markdown(&doors, &incident, &openings).await?;
    let routes = routes(&doors, &incident).await?;
    let (now, board) = ((doors.now)(), Arc::clone(&doors.board.borrow()));
    let main = html! {
        (headline(&incident, now))
        (notes(&doors, &incident))
        (who(&openings, &incident))
        section aria-labelledby="when" { h2 #when { "What happened when" } (timeline(&incident, &openings, now)) }
        section aria-labelledby="labels" {
            h2 #labels { "What is red, what is green" }
            p.soft { "Routes watched now, by label. Hit: by this incident. Fine: not hit, and the last run landed." }
            (facets(&board, &incident))
        }
        section aria-labelledby="proof" {
            h2 #proof { "What proves it" }
            (proofs(&proof, now))
        }
        section aria-labelledby="routes" { h2 #routes { "Routes hit" } (routes) }
        section aria-labelledby="story" {
            h2 #story { "Story" }
            details {
                summary { (counted(incident.history.len(), "conclusion")) ", each because of runs" }
                ol { @for step in &incident.history { li { (time(step.at, now)) " " (outside(&step.text)) } } }
            }
        }
        section aria-labelledby="report" {
            h2 #report { "Report" }
            p { a href={ "/incidents/" (incident.id) "/report.md" } { "As Markdown" } ", the draft of a postmortem" }
            details { summary { "To copy" } (block(Some("markdown"), &report)) }
        }
    };
    // One that is over may be opened again within a day.
    let live = match incident.resolved_at {
        None => Live::Whole,
        Some(at) if now.since(at) < AGAIN => Live::Polled,
        Some(_) => Live::Not,
    };
    let title = format!("{} on {}", incident.outcome, incident.suspects_text());
    Ok(Frame { agent: Some(&doors.agent), title: &title, live, version: "", now }.around(&main))
}

/// What a person must know in five seconds.
fn headline(incident: &Incident, now: Timestamp) -> Markup {
    let (word, class) = match (incident.is_open(), incident.severity) {
        (false, _) => ("✓ Over", "headline over"),
        (true, Severity::Critical) => ("✗ Critical", "headline critical"),
        (true, Severity::Warning) => ("▲ Warning", "headline warning"),
    };
    let bad = incident.onset.first_bad;
    html! {
        section class=(class) aria-labelledby="headline" {
            h2 #headline {
                span.word { (word) } " "
                @if !incident.is_open() { "it was: " }
                (incident.outcome.meaning())
            }
            p.where {
                "on " strong { (outside(&incident.suspects_text())) } " "
                @match incident.resolved_at {
                    None => { "since " (time(bad, now)) ", for " (ago(bad, now)) }
                    Some(end) => { "from " (time(bad, now)) " until " (time(end, now)) ", for " (Brief(end.since(bad))) }
                }
                @if incident.provisional { " · not final yet: no run of it was judged for good" }
                @if incident.is_open() && incident.reopened_at.is_some() { " · open again" }
            }
            dl {
                dt { "Outcome" } dd { (incident.outcome) ", " (incident.severity.as_str()) }
                @if let Some(because) = &incident.resolved_because { dt { "Over because" } dd { (outside(because)) } }
                dt { "Began" }
                dd {
                    @match incident.onset.last_good {
                        Some(good) => {
                            "between " (time(good, now)) " (last good run due) and " (time(bad, now)) " (first bad run due)"
                        }
                        None => { (time(bad, now)) " or before: no good run before it is known" }
                    }
                }
                @if let Some(deploy) = &incident.deploy {
                    dt { "Deploy before it" }
                    dd { (outside(&deploy.service)) " " (outside(&deploy.version)) " at " (time(deploy.at, now)) }
                }
                @if !incident.also.is_empty() {
                    dt { "The same routes" }
                    dd { @for (n, set) in incident.also.iter().enumerate() { @if n > 0 { ", " } (outside(&write_labels(set))) } }
                }
                dt { "Still lands" }
                dd {
                    @if incident.unaffected.is_empty() { "nobody knows: no sibling was seen to land meanwhile" }
                    @for set in &incident.unaffected { span.green { "✓ " (outside(&write_labels(set))) } " " }
                }
                dt { "Incident" } dd { code { (incident.id) } }
            }
        }
    }
}

/// What a reader has to know who wonders why it is quiet, and where else to look.
fn notes(doors: &Doors, incident: &Incident) -> Markup {
    let quiet = told::quiet(Quiet::of(doors, incident), incident);
    let links = [("Runbook", &doors.links.runbook), ("Dashboard", &doors.links.dashboard)];
    let links: Vec<(&str, &str)> =
        links.into_iter().filter_map(|(name, url)| Some((name, url.as_deref().filter(|url| is_page(url))?))).collect();
    html! {
        @if !quiet.is_empty() { ul.quiet { @for line in &quiet { li { "▲ " (line) } } } }
        @if !links.is_empty() { p.links { @for (name, url) in links { a href=(url) rel="noreferrer" { (name) } " " } } }
    }
}

/// No address leads to anything but a page on the web.
fn is_page(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

fn who(openings: &[Opening], incident: &Incident) -> Markup {
    let told: Vec<(&Opening, &Letter)> =
        openings.iter().flat_map(|opening| opening.letters.iter().map(move |letter| (opening, letter))).collect();
    html! {
        section aria-labelledby="told" {
            h2 #told { "Who was told" }
            @if told.is_empty() { p { "Nobody: no notifier is configured that wants to know of it." } }
            ul {
                @for (opening, letter) in told {
                    li class=[letter.failure.as_ref().map(|_| "amber")] {
                        (outside(&told::line(letter)))
                        @if opening.at != incident.opening() { span.soft { " (of the opening at " (opening.at) ")" } }
                    }
                }
            }
        }
    }
}

async fn routes(doors: &Doors, incident: &Incident) -> Result<Markup, Problem> {
    let known = api::routes_of(doors, std::slice::from_ref(incident)).await?;
    let board = Arc::clone(&doors.board.borrow());
    let line = |id| {
        html! {
            li {
                @match known.get(id) { Some(route) => (outside(&route.to_string())), None => { (id) " (no longer watched)" } }
                @if let Some(run) = board.route(*id).and_then(|standing| standing.run) { " " a href={ "/runs/" (run) } { "last run" } }
            }
        }
    };
    let (first, rest) = incident.routes.split_at(incident.routes.len().min(AT_ONCE));
    Ok(html! {
        ul { @for id in first { (line(id)) } }
        @if !rest.is_empty() {
            details {
                summary { "and " (rest.len()) " more" }
                ul { @for id in rest.iter().take(ROUTES) { (line(id)) } }
                @if rest.len() > ROUTES { p { "and " (rest.len() - ROUTES) " more that are not named here" } }
            }
        }
    })
}

/// The runs that prove it, as the ledger has them: a question each, within the time of one.
async fn proof(doors: &Doors, incident: &Incident) -> Result<Vec<Proof>, Problem> {
    ledger(async {
        let mut found = Vec::with_capacity(incident.runs.len());
        for marker in &incident.runs {
            found.push((*marker, doors.store.run(*marker).await?.map(RunRecord::as_last_seen)));
        }
        Ok(found)
    })
    .await
}

/// Who was told of an incident: what is at work as it is, what is done as the ledger knows it.
pub(super) async fn openings_of(doors: &Doors, id: &IncidentId) -> Result<Vec<Opening>, Problem> {
    let live = Arc::clone(&doors.letters.borrow());
    let mut openings: Vec<Opening> = live.iter().filter(|opening| opening.incident == *id).cloned().collect();
    for opening in ledger(doors.store.openings(RECENT)).await? {
        if opening.incident == *id && !openings.iter().any(|known| known.at == opening.at) {
            openings.push(opening);
        }
    }
    openings.sort_by_key(|opening| opening.at);
    Ok(openings)
}
