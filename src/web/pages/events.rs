//! What happened lately on one line of time: incidents, deploys, silences.

use std::{sync::Arc, time::Duration};

use maud::{Markup, html};

use super::{outside::outside, sign, time};
use crate::{
    canary::{Silence, Timestamp, time::Brief},
    detect::{Deploy, Incident},
    web::{Doors, answer::Problem, ledger},
};

/// So far back, unless an open incident began earlier; and less if all of it is younger, so that it has room.
const WINDOW: Duration = Duration::from_secs(6 * 3600);
const SHORTEST: Duration = Duration::from_secs(15 * 60);
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// Read, and shown, at most.
const READ: u32 = 100;
const LANES: usize = 12;
const LISTED: usize = 20;
/// Width of the line, height of a lane, in its own units.
const WIDTH: f64 = 1000.0;
const LANE: usize = 14;

/// What is on the line.
struct Line {
    from: Timestamp,
    now: Timestamp,
    incidents: Vec<Incident>,
    deploys: Vec<Deploy>,
    silences: Vec<Silence>,
}

impl Line {
    async fn of(doors: &Doors, now: Timestamp) -> Result<Self, Problem> {
        let mut incidents = ledger(doors.store.incidents(READ)).await?;
        incidents.retain(|incident| incident.detected_at.is_some());
        let earliest = incidents.iter().filter(|incident| incident.is_open()).map(begin).min();
        let from = earliest.map_or(now.minus(WINDOW), |earliest| {
            now.minus(WINDOW).min(earliest.minus(WINDOW / 12)).max(now.minus(LONGEST))
        });
        incidents.retain(|incident| incident.resolved_at.is_none_or(|at| at >= from));
        incidents.truncate(LANES);
        let mut deploys = ledger(doors.store.deploys(READ)).await?;
        deploys.retain(|deploy| deploy.at >= from);
        let maintenance = Arc::clone(&doors.maintenance.borrow());
        let silences = maintenance.silences.iter().filter(|silence| silence.from <= now && silence.until >= from);
        let silences: Vec<Silence> = silences.take(LANES).cloned().collect();
        let begins = (incidents.iter().map(begin))
            .chain(deploys.iter().map(|deploy| deploy.at))
            .chain(silences.iter().map(|silence| silence.from));
        let first = begins.min().map_or(from, |first| first.minus(now.since(first) / 10));
        let from = first.min(now.minus(SHORTEST)).max(from);
        Ok(Self { from, now, silences, incidents, deploys })
    }

    /// Where a time stands.
    fn x(&self, at: Timestamp) -> f64 {
        let all = self.now.since(self.from).as_secs_f64().max(1.0);
        (at.since(self.from).as_secs_f64() / all * WIDTH).clamp(0.0, WIDTH)
    }

    fn draw(&self) -> Markup {
        let bar = |lane: usize, class: &str, from: Timestamp, until: Timestamp| {
            let (x, end) = (self.x(from), self.x(until));
            let (y, width) = (lane * LANE + 3, (end - x).max(3.0));
            html! { rect class=(class) x=(format!("{x:.1}")) y=(y) width=(format!("{width:.1}")) height=(LANE - 4) {} }
        };
        let lanes = (self.incidents.len() + self.silences.len()).max(1);
        let height = lanes * LANE + 2;
        html! {
            svg.line viewBox={ "0 0 " (WIDTH) " " (height) } preserveAspectRatio="none" role="img"
                aria-label={ "time line of the last " (Brief(self.now.since(self.from))) "; the list below says the same" } {
                @for (lane, incident) in self.incidents.iter().enumerate() {
                    (bar(lane, incident.severity.as_str(), begin(incident), incident.resolved_at.unwrap_or(self.now)))
                }
                @for (nth, silence) in self.silences.iter().enumerate() {
                    (bar(self.incidents.len() + nth, "silence", silence.from, silence.until.min(self.now)))
                }
                @for deploy in &self.deploys {
                    @let x = format!("{:.1}", self.x(deploy.at));
                    path.deploy d={ "M" (x) " 0v" (height) } {}
                }
            }
            p.ends { (time(self.from, self.now)) span { "now" } }
        }
    }

    /// The same in words, newest first.
    fn list(&self) -> Markup {
        let mut entries: Vec<(Timestamp, Markup)> = Vec::new();
        for incident in &self.incidents {
            let until = incident.resolved_at.unwrap_or(self.now);
            let length = Brief(until.since(begin(incident)));
            let text = html! {
                a href={ "/incidents/" (incident.id) } {
                    span class=(incident.severity.as_str()) { (sign(Some(incident.outcome))) " " (incident.outcome) }
                    " on " (outside(&incident.suspects_text()))
                }
                @if incident.is_open() { ", still open" } @else { ", over after " (length) }
            };
            entries.push((begin(incident), text));
        }
        for deploy in &self.deploys {
            entries
                .push((deploy.at, html! { "deploy of " (outside(&format!("{} {}", deploy.service, deploy.version))) }));
        }
        for silence in &self.silences {
            let text = html! { "silence of " (outside(&silence.only.to_string())) " until " (time(silence.until, self.now)) ": " (outside(&silence.because)) };
            entries.push((silence.from, text));
        }
        entries.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        html! {
            @if entries.is_empty() { p { "Nothing happened." } }
            ol.events { @for (at, text) in entries.iter().take(LISTED) { li { (time(*at, self.now)) " " (text) } } }
        }
    }
}

/// When it began, as far as known.
fn begin(incident: &Incident) -> Timestamp {
    incident.onset.first_bad
}

/// The part of the status page.
pub(super) async fn events(doors: &Doors) -> Markup {
    let now = (doors.now)();
    match Line::of(doors, now).await {
        Ok(line) => html! {
            h2 { "The last " (Brief(now.since(line.from))) }
            @if !(line.incidents.is_empty() && line.silences.is_empty() && line.deploys.is_empty()) { (line.draw()) }
            (line.list())
        },
        Err(problem) => html! { h2 { "Lately" } p.grey { (problem.what) } },
    }
}
