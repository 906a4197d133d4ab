//! An incident's time line, from the deploy to its end: a picture, and the same as a list.

use maud::{Markup, html};

use super::{outside::outside, time};
use crate::{
    canary::{Timestamp, time::Brief},
    detect::Incident,
    store::{Holding, Opening},
};

/// Points of the picture; the list has all.
const DRAWN: usize = 12;
/// Points of the list.
const LISTED: usize = 100;
/// Room for one point's words, and what a distance adds to it at most.
const ROOM: (f64, f64) = (104.0, 180.0);
/// Height of the picture, and of its line.
const HEIGHT: (usize, usize) = (92, 52);

/// Something that happened.
struct Point {
    at: Timestamp,
    /// A word or two.
    short: &'static str,
    class: &'static str,
    what: Markup,
}

/// The time line of an incident of which these were told.
pub(super) fn timeline(incident: &Incident, openings: &[Opening], now: Timestamp) -> Markup {
    let mut points = points(incident, openings);
    // What happened at one time stays in the order of things.
    points.sort_by_key(|point| point.at);
    let drawn = &points[..points.len().min(DRAWN)];
    html! {
        div.wide tabindex="0" role="region" aria-label="Time line, drawn" { (drawing(drawn, incident, now)) }
        ol.timeline {
            @for (n, point) in points.iter().take(LISTED).enumerate() {
                li class=(point.class) {
                    (time(point.at, now)) " "
                    span.distance { @if let Some(before) = n.checked_sub(1) { "+" (Brief(point.at.since(points[before].at))) } }
                    " " span.what { (point.what) }
                }
            }
            @if points.len() > LISTED { li { "and " (points.len() - LISTED) " more" } }
            @if incident.is_open() { li.red { (time(now, now)) " " span.distance {} span.what { "now: it goes on" } } }
        }
    }
}

fn points(incident: &Incident, openings: &[Opening]) -> Vec<Point> {
    let mut points = Vec::new();
    let mut add = |at, short, class, what| points.push(Point { at, short, class, what });
    if let Some(deploy) = &incident.deploy {
        let what = html! { "Deploy of " (outside(&deploy.service)) " " (outside(&deploy.version)) };
        add(deploy.at, "deploy", "deploy", what);
    }
    if let Some(at) = incident.onset.last_good {
        add(at, "last good", "green", html! { "The last good run was due, over the routes that were hit" });
    }
    add(incident.onset.first_bad, "first bad", "red", html! { "The first bad run was due" });
    add(incident.opened_at, "judged", "red", html! { "A run was judged bad for the first time" });
    if let Some(at) = incident.detected_at {
        add(at, "detected", "red", html! { "Detected: suspects named" });
    }
    for step in &incident.history {
        let (word, rest) = step.text.split_once(": ").unwrap_or(("", &step.text));
        match word {
            "resolved" => add(step.at, "resolved", "green", html! { "Resolved: " (outside(rest)) }),
            "open again" => add(step.at, "reopened", "red", html! { "Open again: " (outside(rest)) }),
            _ => {}
        }
    }
    let is_told = |kind: &str, at| incident.history.iter().any(|step| step.at == at && step.text.starts_with(kind));
    if let Some(at) = incident.reopened_at.filter(|at| !is_told("open again: ", *at)) {
        add(at, "reopened", "red", html! { "Open again" });
    }
    if let Some(at) = incident.resolved_at.filter(|at| !is_told("resolved: ", *at)) {
        let because = incident.resolved_because.as_deref();
        add(at, "resolved", "green", html! { "Resolved" @if let Some(because) = because { ": " (outside(because)) } });
    }
    for letter in openings.iter().flat_map(|opening| &opening.letters) {
        let who = html! {
            (outside(letter.notifier.as_str()))
            @if let Some(other) = &letter.stands_in_for { " (in the place of " (outside(other.as_str())) ")" }
        };
        if let Some(at) = letter.paged_at {
            add(at, "paged", "told", html! { "Paged: " (who) " took it" });
        }
        let is_closed = letter.held.iter().any(|held| held.state == Holding::Closed);
        if let Some(at) = letter.told_at.filter(|at| is_closed && Some(*at) != letter.paged_at) {
            add(at, "told over", "told", html! { (who) " took that it is over" });
        }
    }
    points
}

/// How far apart two points are drawn: minutes and days both have to be seen.
fn apart(one: Timestamp, other: Timestamp) -> f64 {
    ROOM.0 + (14.0 * (1.0 + other.since(one).as_secs_f64()).log2()).min(ROOM.1)
}

fn drawing(points: &[Point], incident: &Incident, now: Timestamp) -> Markup {
    let mut at = ROOM.0 / 2.0;
    let mut places = Vec::with_capacity(points.len());
    for (n, point) in points.iter().enumerate() {
        at += n.checked_sub(1).map_or(0.0, |before| apart(points[before].at, point.at));
        places.push(at);
    }
    let width = at + ROOM.0 / 2.0;
    let of = |short: &str| points.iter().position(|point| point.short == short).map(|n| places[n]);
    let (first_bad, last_good) = (of("first bad").unwrap_or(0.0), of("last good"));
    let over = incident.resolved_at.and_then(|end| {
        points.iter().rposition(|point| point.short == "resolved" && point.at == end).map(|n| places[n])
    });
    let (width, y) = (width.ceil(), HEIGHT.1);
    let place = |x: f64| format!("{x:.0}");
    let line = |class: &'static str, from: f64, to: f64| {
        html! { line class={ "course " (class) } x1=(place(from)) x2=(place(to)) y1=(y) y2=(y) {} }
    };
    html! {
        svg.timeline role="img" width=(place(width)) height=(HEIGHT.0) viewBox={ "0 0 " (place(width)) " " (HEIGHT.0) } {
            title {
                "From left to right: "
                @for (n, point) in points.iter().enumerate() { @if n > 0 { ", " } (point.short) " " (time_text(point.at, now)) }
                ". Long distances are drawn shorter; the list below says the same."
            }
            (line("green", 0.0, last_good.unwrap_or(first_bad)))
            (line("grey", last_good.unwrap_or(first_bad), first_bad))
            (line("red", first_bad, over.unwrap_or(width)))
            @if let Some(over) = over { (line("green", over, width)) }
            @for (n, point) in points.iter().enumerate() {
                @let x = place(places[n]);
                circle class=(point.class) cx=(x) cy=(y) r="6" {}
                text x=(x) y="16" { (point.short) }
                text.soft x=(x) y="34" { (time_text(point.at, now)) }
                @if let Some(before) = n.checked_sub(1) {
                    text.soft x=(place(f64::midpoint(places[before], places[n]))) y="76" { "+" (Brief(point.at.since(points[before].at))) }
                }
            }
        }
    }
}

/// As [`time`] has it, without markup.
fn time_text(at: Timestamp, now: Timestamp) -> String {
    let (whole, now) = (at.to_string(), now.to_string());
    let is_today = now.get(..10) == whole.get(..10);
    whole.get(if is_today { 11..19 } else { 5..19 }).unwrap_or_default().replace('T', " ")
}
