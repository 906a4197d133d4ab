//! Summary: how everything stands, in one sentence; what a status page and `landfall status` say first.

use std::{cmp::Reverse, collections::HashSet};

use serde::Serialize;

use super::{Board, Incident, Severity, silenced_until};
use crate::canary::{Maintenance, Outcome, RouteId, State, Timestamp};

/// One sentence, and its colour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The worst of what is known. Green only if every route that is not paused was seen to land.
    pub state: State,
    /// The sentence, without a full stop.
    pub text: String,
}

/// Routes by what is known of them, each counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Landed.
    pub green: usize,
    /// Late, or reported as what it is not.
    pub amber: usize,
    /// Red, and part of no incident yet.
    pub red: usize,
    /// Nobody could see.
    pub grey: usize,
    /// No verdict yet.
    pub unjudged: usize,
    /// Nothing is sent, because somebody paused it.
    pub paused: usize,
    /// Hit by an open incident, whatever its last run came to.
    pub hit: usize,
}

/// An open incident, and until when nobody is paged of it.
pub type Ongoing<'a> = (&'a Incident, Option<Timestamp>);

impl Summary {
    /// What the board says. `troubles`: what the agent knows to be wrong with itself beside what the board holds.
    pub fn of(board: &Board, maintenance: &Maintenance, troubles: &[String], now: Timestamp) -> Self {
        let route = |id| board.route(id).map(|standing| &standing.route);
        let ongoing: Vec<Ongoing<'_>> = (board.incidents.iter())
            .filter(|incident| incident.is_open() && incident.detected_at.is_some())
            .map(|incident| (&**incident, silenced_until(incident, route, &maintenance.silences, now)))
            .collect();
        let ledger = (!board.agent.store_up).then(|| "the ledger cannot be used".to_owned());
        let troubles: Vec<String> = troubles.iter().cloned().chain(ledger).collect();
        Self::write(&ongoing, Count::of(board, maintenance, now), &troubles, now)
    }

    /// The sentence over open incidents, routes by state, and the agent's own troubles.
    pub fn write(ongoing: &[Ongoing<'_>], count: Count, troubles: &[String], now: Timestamp) -> Self {
        let trouble = match troubles {
            [] => None,
            [one] => Some(format!("the agent itself is in trouble ({one})")),
            [first, more @ ..] => Some(format!("the agent itself is in trouble ({first}, and {} more)", more.len())),
        };
        let (state, text) = match ongoing.iter().max_by_key(|ongoing| badness(ongoing)) {
            Some(worst) => of_incidents(ongoing, worst, count, now),
            None => without_incident(count),
        };
        match trouble {
            None => Self { state, text },
            Some(trouble) if !ongoing.is_empty() => Self { state, text: format!("{text}; {trouble}") },
            // Nothing is wrong as far as it knows, which is not far.
            Some(trouble) => {
                let state = if state == State::Green { State::Grey } else { state };
                Self { state, text: format!("{}; as last seen: {}", upper(&trouble), lower(&text)) }
            }
        }
    }
}

impl Count {
    fn of(board: &Board, maintenance: &Maintenance, now: Timestamp) -> Self {
        let hit: HashSet<RouteId> =
            board.incidents.iter().filter(|incident| incident.is_open()).flat_map(|i| i.routes.clone()).collect();
        let mut count = Self::default();
        for standing in board.routes() {
            let place = match standing.outcome.map(Outcome::state) {
                _ if hit.contains(&standing.route.id) => &mut count.hit,
                _ if maintenance.pause(&standing.route, now).is_some() => &mut count.paused,
                None => &mut count.unjudged,
                Some(State::Green) => &mut count.green,
                Some(State::Amber) => &mut count.amber,
                Some(State::Red) => &mut count.red,
                Some(State::Grey) => &mut count.grey,
            };
            *place += 1;
        }
        count
    }

    /// Routes that something is sent over.
    fn watched(self) -> usize {
        self.green + self.amber + self.red + self.grey + self.unjudged + self.hit
    }

    /// What is neither in the sentence nor fine.
    fn others(self) -> Vec<String> {
        let parts = [
            (self.red, "red"),
            (self.amber, "late or misreported"),
            (self.grey, "not seen"),
            (self.unjudged, "not judged yet"),
            (self.paused, "paused"),
        ];
        parts.into_iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect()
    }
}

/// The greater the worse: what somebody is paged of before what is silenced, then how loud, then what nobody
/// would notice, then how far it reaches.
fn badness((incident, silenced): &Ongoing<'_>) -> impl Ord + use<> {
    let Incident { severity, outcome, routes, onset, .. } = incident;
    (
        silenced.is_none(),
        *severity,
        outcome.is_silent(),
        worse(outcome.state()),
        Reverse(*outcome),
        routes.len(),
        Reverse(onset.first_bad),
    )
}

fn worse(state: State) -> u8 {
    match state {
        State::Green => 0,
        State::Grey => 1,
        State::Amber => 2,
        State::Red => 3,
    }
}

fn of_incidents(ongoing: &[Ongoing<'_>], worst: &Ongoing<'_>, count: Count, now: Timestamp) -> (State, String) {
    let (incident, silenced) = worst;
    let place = match incident.suspects.as_slice() {
        [] => "everywhere".to_owned(),
        _ => format!("on {}", incident.suspects_text()),
    };
    let since = incident.onset.first_bad.minute(now);
    let mut text = format!("{} {place} since {since} UTC", what(incident.outcome));
    if incident.provisional {
        text.push_str(" (not final yet)");
    }
    if let Some(until) = silenced {
        text.push_str(&format!(" (silenced until {} UTC)", until.minute(now)));
    }
    let mut parts = match ongoing.len() - 1 {
        0 => vec![],
        1 => vec!["1 more incident".to_owned()],
        more => vec![format!("{more} more incidents")],
    };
    parts.push(match (count.green, count.watched()) {
        (0, _) => "no route fine".to_owned(),
        (green, _) => format!("{} fine", routes(green)),
    });
    parts.extend(count.others());
    let hit = ongoing.iter().map(|(incident, _)| match incident.severity {
        Severity::Critical => State::Red,
        Severity::Warning => incident.outcome.state(),
    });
    let rest = [(count.red, State::Red), (count.amber, State::Amber), (count.grey, State::Grey)];
    let rest = rest.into_iter().filter(|(n, _)| *n > 0).map(|(_, state)| state);
    let state = hit.chain(rest).max_by_key(|state| worse(*state)).unwrap_or(State::Red);
    (state, format!("{text}, {}", parts.join(", ")))
}

fn without_incident(count: Count) -> (State, String) {
    let Count { green, amber, red, grey, unjudged, paused, .. } = count;
    let watched = count.watched();
    let of = |n: usize| format!("{n} of {}", routes(watched));
    let with = |text: String, except: Count| match except.others().join(", ") {
        others if others.is_empty() => text,
        others => format!("{text}, {others}"),
    };
    let fine = if green > 0 { format!(", {} fine", routes(green)) } else { String::new() };
    if watched == 0 {
        let why = match paused {
            0 => "there is no route".to_owned(),
            1 => "the only route is paused".to_owned(),
            all => format!("all {all} routes are paused"),
        };
        (State::Grey, format!("Nothing is watched: {why}"))
    } else if unjudged == watched {
        let text = format!("Nothing is known yet: {} not judged yet", routes(watched));
        (State::Grey, with(text, Count { unjudged: 0, ..count }))
    } else if red > 0 {
        let are = if red == 1 { "is" } else { "are" };
        let text = format!("{} {are} red, not yet an incident{fine}", of(red));
        (State::Red, with(text, Count { red: 0, ..count }))
    } else if amber > 0 {
        let text = match grey + unjudged {
            0 => format!("Everything lands, {} late or misreported", of(amber)),
            _ => format!("{} late or misreported{fine}", of(amber)),
        };
        (State::Amber, with(text, Count { amber: 0, ..count }))
    } else if grey > 0 {
        let text = match grey == watched {
            true => format!("Nobody can see whether results land: {}", routes(watched)),
            false => format!("Nobody can see whether results land on {}{fine}", of(grey)),
        };
        (State::Grey, with(text, Count { grey: 0, ..count }))
    } else if unjudged > 0 {
        (State::Grey, with(format!("Everything judged so far lands: {}", routes(green)), count))
    } else {
        (State::Green, with(format!("Everything lands: {}", routes(green)), count))
    }
}

fn routes(n: usize) -> String {
    if n == 1 { "1 route".to_owned() } else { format!("{n} routes") }
}

/// The beginning of the sentence.
fn what(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Landed => "Results land",
        Outcome::Late => "Results land late",
        Outcome::Lost => "Result Output is silently lost",
        Outcome::Partial => "Result Output silently misses rows",
        Outcome::Stale => "Result Output is silently stale",
        Outcome::Duplicated => "Result Output is silently written more than once",
        Outcome::Corrupted => "Result Output is silently changed",
        Outcome::Failed => "Jobs fail or are refused",
        Outcome::Stuck => "Jobs do not finish",
        Outcome::Unclaimed => "Results land, but jobs are reported as failed or unfinished,",
        Outcome::Unknown => "Nobody can see whether results land",
    }
}

fn upper(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn lower(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
