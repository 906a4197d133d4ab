//! `/`: how everything stands, in five seconds: one sentence, what is open, the matrix, what happened lately.

use std::sync::Arc;

use axum::{
    extract::{Query, State},
    response::Response,
};
use maud::{Markup, html};

use super::{
    ago, colour_of, events,
    frame::{Frame, Live},
    matrix::{Drawing, matrix},
    outside::outside,
    pick::Pick,
    sign, sign_of, time,
};
use crate::{
    detect::{Incident, incident::write_labels},
    web::{
        Doors, Shared,
        answer::Problem,
        api::Asked,
        maintenance::{Quiet, nobody_took},
        reports, told, version_of,
    },
};

pub(in crate::web) async fn overview(State(doors): Shared, Query(asked): Asked) -> Result<Response, Problem> {
    let (board, now) = (Arc::clone(&doors.board.borrow()), (doors.now)());
    let version = version_of(&board);
    let pick = Pick::of(asked, &board)?;
    let maintenance = Arc::clone(&doors.maintenance.borrow());
    let drawing = Drawing::of(&board, &maintenance, now);
    let [before @ .., last] = quick(&doors);
    let main = html! {
        @for (name, part) in &before { (section(name, part)) }
        section #routes { h2 { "Routes" } (matrix(&board, &pick, &drawing)) }
        @for (name, part) in slow(&doors).await.iter().chain([&last]) { (section(name, part)) }
    };
    Ok(Frame { agent: Some(&doors.agent), title: "status", live: Live::Parts, version: &version, now }.around(&main))
}

/// Parts that are shown anew when they change. The last of them stands at the end of the page.
pub(in crate::web) fn quick(doors: &Doors) -> [(&'static str, Markup); 5] {
    [
        ("state", state(doors)),
        ("incidents", incidents(doors)),
        ("undelivered", told::undelivered(doors)),
        ("maintenance", told::maintenance(doors)),
        ("agent", agent(doors)),
    ]
}

/// The same of those that take the ledger.
pub(in crate::web) async fn slow(doors: &Doors) -> [(&'static str, Markup); 2] {
    [("events", events::events(doors).await), ("reports", reports::section(doors).await)]
}

/// A part with its name.
pub(in crate::web) fn section(name: &str, part: &Markup) -> Markup {
    html! { section id=(name) { (part) } }
}

fn state(doors: &Doors) -> Markup {
    let summary = doors.summary();
    let state = summary.state;
    html! { p #summary role="status" class=(colour_of(state)) { b { (sign_of(state)) } " " (outside(&summary.text)) } }
}

fn incidents(doors: &Doors) -> Markup {
    let board = Arc::clone(&doors.board.borrow());
    let open: Vec<&Arc<Incident>> = board.incidents.iter().filter(|incident| incident.detected_at.is_some()).collect();
    html! {
        @if !open.is_empty() {
            h2 { "Open incidents" }
            ul.cards { @for incident in open { li class=(incident.severity.as_str()) { (card(doors, incident)) } } }
        }
    }
}

/// What a person has to know who was woken by it.
fn card(doors: &Doors, incident: &Incident) -> Markup {
    let (board, now) = (Arc::clone(&doors.board.borrow()), (doors.now)());
    let hit = incident.routes.len();
    html! {
        h3 {
            a href={ "/incidents/" (incident.id) } {
                (sign(Some(incident.outcome))) " " (incident.outcome) " on " (outside(&incident.suspects_text()))
            }
        }
        p { (incident.severity.as_str()) ": " (incident.outcome.meaning()) @if incident.provisional { " (not final yet)" } }
        dl {
            dt { "Since" }
            dd {
                (time(incident.onset.first_bad, now)) ", for " (ago(incident.onset.first_bad, now))
                @if let Some(good) = incident.onset.last_good { "; good until " (time(good, now)) }
            }
            dt { "Routes" } dd { (hit) " of " (board.routes().len()) " hit" }
            @if let Some(deploy) = &incident.deploy {
                dt { "After" } dd { "deploy of " (outside(&format!("{} {}", deploy.service, deploy.version))) " at " (time(deploy.at, now)) }
            }
            @for set in &incident.also { dt { "The same" } dd { (outside(&write_labels(set))) } }
            @if !incident.unaffected.is_empty() {
                dt { "Unaffected" }
                dd { @for (nth, set) in incident.unaffected.iter().enumerate() {
                    @if nth > 0 { ", " } (outside(&write_labels(set)))
                } }
            }
            @for line in told::quiet(Quiet::of(doors, incident), incident) { dt { "Quiet" } dd { (outside(&line)) } }
        }
    }
}

/// How the agent itself is.
fn agent(doors: &Doors) -> Markup {
    let (board, now) = (Arc::clone(&doors.board.borrow()), (doors.now)());
    let untaken = doors.letters.borrow().iter().filter(|opening| nobody_took(opening)).count();
    html! {
        h2 { "The agent itself" }
        dl {
            dt { "Watches" }
            dd { (board.routes().len()) " routes, since " (time(board.agent.started_at, now)) }
            dt { "Ledger" } dd { @if board.agent.store_up { "✓ written" } @else { span.red { "✗ cannot be used" } } }
            @if doors.metrics.runs_skipped() > 0 {
                dt { "Skipped" } dd.amber { "▲ " (doors.metrics.runs_skipped()) " runs that were due since it started: no room for them" }
            }
            dt { "Pages" }
            dd { @if untaken == 0 { "✓ none waits to be taken" } @else { span.red { "✗ " (untaken) " that nobody has taken" } } }
            @if doors.metrics.is_config_refused() {
                dt { "Config" } dd.red { "✗ was changed and is refused: the one before stays; the agent's log says why" }
            }
            @for trouble in doors.troubles() { dt { "Trouble" } dd.red { "✗ " (trouble) } }
            dt { "More" } dd { a href="/metrics" { "metrics" } ", " a href="/api/v1/incidents" { "incidents as JSON" } }
        }
    }
}
