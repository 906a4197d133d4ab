//! The public page: whether results land, for people who have no business with what is inside. It names platforms,
//! and says how they stand and since when; no label, target, canary, suspect, deploy, run, reason or agent.

use std::{collections::HashSet, sync::Arc, time::Duration};

use axum::{Router, extract::State, middleware, response::Response, routing};
use maud::{Markup, html};
use tokio::sync::Mutex;

use super::{
    colour_of,
    frame::{Frame, Live},
    icon, script, sign_of, style, time,
};
use crate::{
    canary::{Outcome, PlatformName, State as Colour, Timestamp, time::Brief},
    detect::{Board, Incident},
    web::{Doors, answer, guard, ledger},
};

/// However many look, it is written this often.
const KEPT: Duration = Duration::from_secs(2);
/// Incidents that are over stay for so long.
const PAST: Duration = Duration::from_secs(7 * 24 * 3600);
/// Incidents that are read, and shown.
const READ: u32 = 200;
const SHOWN: usize = 20;
/// A request is answered within this.
const REQUEST: Duration = Duration::from_secs(15);

/// The page, and when it was written.
pub(in crate::web) struct Public {
    doors: Arc<Doors>,
    title: String,
    kept: Mutex<Option<(Timestamp, Markup)>>,
}

impl Public {
    pub(in crate::web) fn new(doors: Arc<Doors>, title: String) -> Arc<Self> {
        Arc::new(Self { doors, title, kept: Mutex::default() })
    }

    /// As a page among the agent's own.
    pub(in crate::web) fn page(self: Arc<Self>) -> Router<Arc<Doors>> {
        Router::new().route("/public", routing::get(public).with_state(self))
    }

    /// On a listener of its own, where nothing else is.
    pub(in crate::web) fn alone(self: Arc<Self>) -> Router {
        Router::new()
            .route("/", routing::get(public).with_state(self))
            .route("/style.css", routing::get(style))
            .route("/live.js", routing::get(script))
            .route("/icon.svg", routing::get(icon))
            .fallback(answer::nothing)
            .method_not_allowed_fallback(answer::not_so)
            .layer(middleware::from_fn(|request, next| guard::in_time(REQUEST, request, next)))
            .layer(middleware::map_response(guard::dress))
    }
}

async fn public(State(public): State<Arc<Public>>) -> Response {
    let (mut kept, now) = (public.kept.lock().await, (public.doors.now)());
    // A clock that was set back does not keep it.
    let (at, main) = match kept.take().filter(|(at, _)| *at <= now && now.since(*at) < KEPT) {
        Some(kept) => kept,
        None => (now, public.write(now).await),
    };
    let frame = Frame { agent: None, title: &public.title, live: Live::Polled, version: "", now: at };
    let page = frame.around(&main);
    *kept = Some((at, main));
    page
}

impl Public {
    async fn write(&self, now: Timestamp) -> Markup {
        let board = Arc::clone(&self.doors.board.borrow());
        let platforms = platforms(&board);
        let past = ledger(self.doors.store.incidents(READ)).await.unwrap_or_default();
        let is_recent = |incident: &&Incident| {
            let is_told = incident.detected_at.is_some();
            is_told && incident.resolved_at.is_some_and(|at| at >= now.minus(PAST))
        };
        let past: Vec<&Incident> = past.iter().filter(is_recent).take(SHOWN).collect();
        let (state, text) = sentence(&board, &platforms, now);
        html! {
            h2 { (self.title) }
            p #summary role="status" class=(colour_of(state)) { b { (sign_of(state)) } " " (text) }
            section #platforms {
                ul.platforms {
                    @for (name, state) in &platforms {
                        li class=(colour_of(*state)) { b { (sign_of(*state)) } " " (name) ": " (words(*state)) }
                    }
                }
            }
            section #past {
                h2 { "The last " (Brief(PAST)) }
                @if past.is_empty() { p { "Nothing else happened." } }
                ol.events {
                    @for incident in past {
                        li {
                            (time(incident.onset.first_bad, now)) " " (incident.outcome.meaning())
                            @if let Some(over) = incident.resolved_at {
                                ", over after " (Brief(over.since(incident.onset.first_bad)))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// How each platform stands: only what was told as an incident is anything but well, or unknown.
fn platforms(board: &Board) -> Vec<(&PlatformName, Colour)> {
    let mut platforms: Vec<(&PlatformName, Colour)> = Vec::new();
    let hit: Vec<(HashSet<_>, Colour)> =
        (told(board)).map(|incident| (incident.routes.iter().copied().collect(), incident.outcome.state())).collect();
    for standing in board.routes() {
        let seen = match standing.outcome.map(Outcome::state) {
            None | Some(Colour::Grey) => Colour::Grey,
            Some(_) => Colour::Green,
        };
        let worst = hit.iter().filter(|(routes, _)| routes.contains(&standing.route.id)).map(|(_, state)| *state);
        let state = worst.max_by_key(|state| rank(*state)).unwrap_or(seen);
        match platforms.iter_mut().find(|(name, _)| *name == &standing.route.platform) {
            // One route that was seen to land is word enough of a platform that nothing is told of.
            Some((_, known)) if rank(state) > rank(*known) => *known = state,
            Some(_) => {}
            None => platforms.push((&standing.route.platform, state)),
        }
    }
    platforms
}

fn rank(state: Colour) -> u8 {
    match state {
        Colour::Grey => 0,
        Colour::Green => 1,
        Colour::Amber => 2,
        Colour::Red => 3,
    }
}

fn told(board: &Board) -> impl Iterator<Item = &Incident> {
    board.incidents.iter().map(|incident| &**incident).filter(|incident| incident.detected_at.is_some())
}

fn sentence(board: &Board, platforms: &[(&PlatformName, Colour)], now: Timestamp) -> (Colour, String) {
    let all = platforms.len();
    let count = |state| platforms.iter().filter(|(_, of)| *of == state).count();
    let worst = told(board).max_by_key(|incident| (rank(incident.outcome.state()), incident.severity));
    if let Some(incident) = worst {
        let state = incident.outcome.state();
        let meaning = incident.outcome.meaning();
        let first = meaning.chars().next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
        let rest: String = meaning.chars().skip(1).collect();
        let since = incident.onset.first_bad.minute(now);
        return (state, format!("{first}{rest}: since {since} UTC, on {} of {all} platforms", count(state)));
    }
    match (count(Colour::Grey), all) {
        (_, 0) => (Colour::Grey, "Nothing is watched".to_owned()),
        (0, 1) => (Colour::Green, "Results land".to_owned()),
        (0, _) => (Colour::Green, format!("Results land on all {all} platforms")),
        (grey, _) if grey == all => (Colour::Grey, "Nobody can see yet whether results land".to_owned()),
        (grey, _) => (Colour::Grey, format!("Results land; {grey} of {all} platforms cannot be seen")),
    }
}

fn words(state: Colour) -> &'static str {
    match state {
        Colour::Green => "results land",
        Colour::Amber => "results land late, or are reported as what they are not",
        Colour::Red => "results do not land as they should",
        Colour::Grey => "not seen",
    }
}
