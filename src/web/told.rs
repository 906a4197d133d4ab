//! Parts of pages: who was told, what is silenced, what is paused.

use std::sync::Arc;

use maud::{Markup, html};

use super::{
    Doors,
    maintenance::{Quiet, nobody_took},
    pages::{outside, time},
};
use crate::{
    detect::Incident,
    store::{Holding, Letter, Opening},
};

/// Openings of one page.
const MOST: usize = 50;

/// What a reader has to know who wonders why nobody was paged, or why it does not end.
pub(super) fn quiet(quiet: Quiet, incident: &Incident) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(until) = quiet.silenced_until {
        lines.push(format!("silenced until {until}: nobody is paged of it before"));
    }
    if quiet.routes_paused > 0 {
        let (paused, hit) = (quiet.routes_paused, incident.routes.len());
        lines.push(format!("{paused} of its {hit} routes paused: it cannot show to be over before they are resumed"));
    }
    if quiet.undelivered {
        lines.push("nobody has taken its page yet".to_owned());
    }
    lines
}

/// Silences and pauses, on the status page; nothing where there are none.
pub(super) fn maintenance(doors: &Doors) -> Markup {
    let (maintenance, now) = (Arc::clone(&doors.maintenance.borrow()), (doors.now)());
    let holding: Vec<_> = maintenance.silences.iter().filter(|silence| silence.holds_at(now)).collect();
    if holding.is_empty() && maintenance.pauses.is_empty() {
        return html! {};
    }
    html! {
        h2 { "Maintenance" }
        ul {
            @for silence in holding.iter().take(MOST) {
                li { "Nobody is paged of " (outside(&silence.only.to_string())) " until " (time(silence.until, now)) ": " (outside(&silence.because)) }
            }
            @for pause in maintenance.pauses.iter().take(MOST) {
                li {
                    "Nothing is sent over " (outside(&pause.only.to_string()))
                    @match pause.until {
                        Some(until) => { " until " (time(until, now)) }
                        None => { " until it is resumed" }
                    }
                    @if let Some(because) = &pause.because { ": " (outside(because)) }
                }
            }
        }
    }
}

/// What could not be told, on the status page; nothing where everything was.
pub(super) fn undelivered(doors: &Doors) -> Markup {
    let letters = Arc::clone(&doors.letters.borrow());
    let failed = |opening: &&Opening| opening.letters.iter().any(|letter| letter.failure.is_some());
    let failed: Vec<&Opening> = letters.iter().filter(failed).take(MOST).collect();
    if failed.is_empty() {
        return html! {};
    }
    html! {
        h2 { "Could not be told" }
        ul {
            @for opening in failed {
                @for letter in opening.letters.iter().filter(|letter| letter.failure.is_some()) {
                    li class=[nobody_took(opening).then_some("red")] {
                        a href={ "/incidents/" (opening.incident) } { (opening.incident) } ": " (outside(&line(letter)))
                    }
                }
            }
        }
    }
}

/// One notifier's part of an opening, in words.
pub(super) fn line(letter: &Letter) -> String {
    let holds = |state| letter.held.iter().any(|held| held.state == state);
    let at = letter.told_at.map(|at| format!(" at {at}")).unwrap_or_default();
    let failure = letter.failure.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    let what = if holds(Holding::Open) {
        format!("took it{at}{failure}")
    } else if holds(Holding::Closed) {
        format!("took it, and that it is over{at}")
    } else if letter.silenced {
        "was not told: it was over before the silence was".to_owned()
    } else if holds(Holding::Refused) {
        format!("refused it{failure}")
    } else if letter.held.is_empty() && letter.failure.is_none() {
        "was not told yet".to_owned()
    } else {
        format!("has not taken it yet{failure}")
    };
    let instead = letter.stands_in_for.as_ref().map(|other| format!(", in the place of {other}")).unwrap_or_default();
    format!("{} {what}{instead}", letter.notifier)
}
