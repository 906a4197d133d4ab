//! Pages for people: how everything stands (`overview`), one incident, one run. Written on the server, whole without
//! scripts; with them they change by themselves ([`live`](super::live)). What they show is text: markup is only
//! what stands in our source.

mod by_hand;
mod events;
mod evidence;
mod facets;
mod frame;
mod held;
mod incident;
mod matrix;
mod outside;
mod overview;
mod pick;
mod proof;
mod public;
mod report;
mod run;
mod strip;
mod timeline;
mod waterfall;

pub(super) use incident::incident;
pub(super) use matrix::Drawing;
pub(super) use outside::outside;
pub(super) use overview::{overview, quick, section, slow};
pub(super) use public::Public;
pub(super) use report::report;
pub(super) use run::run;

use axum::response::Response;
use maud::{Markup, html};

use super::answer;
use crate::canary::{Outcome, State as Colour, Timestamp, time::Brief};

pub(super) async fn style() -> Response {
    let sheets = concat!(
        include_str!("../assets/style.css"),
        include_str!("../assets/overview.css"),
        include_str!("../assets/evidence.css")
    );
    answer::typed("text/css; charset=utf-8", sheets)
}

pub(super) async fn script() -> Response {
    answer::typed("text/javascript; charset=utf-8", include_str!("../assets/live.js"))
}

pub(super) async fn icon() -> Response {
    answer::typed("image/svg+xml", include_str!("../assets/icon.svg"))
}

/// The class of an outcome's colour.
pub(super) fn colour(outcome: Outcome) -> &'static str {
    colour_of(outcome.state())
}

fn colour_of(state: Colour) -> &'static str {
    match state {
        Colour::Green => "green",
        Colour::Amber => "amber",
        Colour::Red => "red",
        Colour::Grey => "grey",
    }
}

/// The sign that says the same as the colour.
pub(super) fn sign(outcome: Option<Outcome>) -> &'static str {
    outcome.map_or("·", |outcome| sign_of(outcome.state()))
}

fn sign_of(state: Colour) -> &'static str {
    match state {
        Colour::Green => "✓",
        Colour::Amber => "▲",
        Colour::Red => "✗",
        Colour::Grey => "?",
    }
}

/// A point in time: `14:44:00`, with its day where that is not today, and all of it for machines and on pointing.
pub(super) fn time(at: Timestamp, now: Timestamp) -> Markup {
    let whole = at.to_string();
    let (day, clock) = (whole.get(..10).unwrap_or_default(), whole.get(11..19).unwrap_or_default());
    let is_today = now.to_string().get(..10) == Some(day);
    html! {
        time datetime=(whole) title=(whole) { @if !is_today { (day) " " } (clock) }
    }
}

/// How long ago something was; counted on by the page itself.
pub(super) fn ago(at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(at) title=(at) data-ago { (Brief(now.since(at))) } }
}
