//! A route's trail: its last runs in the order in which they were due, what is usual for it, and
//! how often it goes wrong by itself.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::chance::Rate;
use crate::canary::{Family, Marker, Outcome, Phase, Route, State, Timestamp, Usual, Verdict};

/// Runs remembered per route at least: enough for every rule that counts runs in a row, small
/// enough for 10,000 routes.
const REMEMBERED: usize = 16;
/// Younger runs than this are remembered too: late corrections, and the greens after them, are
/// minutes old when they speak.
const YOUNG: Duration = Duration::from_secs(900);
/// But never more than this.
const MOST: usize = 512;

/// One run as detection remembers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spot {
    /// The run.
    pub run: Marker,
    /// When it was due.
    pub due: Timestamp,
    /// When the platform said its last word, which is when a fault would have hit it; the due
    /// time if it said none.
    pub effect: Timestamp,
    /// What it came to, as far as known.
    pub outcome: Outcome,
    /// Where it went wrong, for outcomes that have a place.
    #[serde(default)]
    pub phase: Option<Phase>,
    /// Not final yet.
    pub provisional: bool,
}

impl Spot {
    /// The spot of a verdict.
    pub fn of(verdict: &Verdict) -> Self {
        Self {
            run: verdict.run,
            due: verdict.due,
            effect: verdict.evidence.claimed_at.unwrap_or(verdict.due),
            outcome: verdict.outcome,
            phase: verdict.phase,
            provisional: verdict.provisional,
        }
    }

    /// When a fault of this family would have hit it. What the platform says itself may go wrong
    /// from the submit on, so a run that was sent before a fault acquits nobody; what becomes of
    /// rows is decided when they are written.
    pub fn hit_at(&self, family: Family) -> Timestamp {
        if family == Family::Honest { self.due } else { self.effect }
    }

    /// Landed in time.
    pub fn is_green(&self) -> bool {
        self.outcome.state() == State::Green
    }
}

/// What detection knows of one route.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trail {
    /// The route.
    pub route: Arc<Route>,
    /// How long its landed runs took.
    pub usual: Usual,
    /// How often it fails by itself.
    pub honest: Rate,
    /// How often it is amber by itself.
    pub amber: Rate,
    /// How often it cannot be seen.
    pub grey: Rate,
    /// Last runs, by due time.
    pub recent: VecDeque<Spot>,
    /// Due time of the newest green run.
    pub last_green: Option<Timestamp>,
}

impl Trail {
    /// A trail without runs.
    pub fn new(route: Arc<Route>) -> Self {
        Self {
            route,
            usual: Usual::default(),
            honest: Rate::default(),
            amber: Rate::default(),
            grey: Rate::default(),
            recent: VecDeque::new(),
            last_green: None,
        }
    }

    /// Remembers a run, or what has become of it. Answers what was known of it before.
    pub fn remember(&mut self, spot: Spot) -> Option<Spot> {
        if spot.is_green() {
            self.last_green = self.last_green.max(Some(spot.due));
        }
        if let Some(known) = self.recent.iter_mut().find(|known| known.run == spot.run) {
            return Some(std::mem::replace(known, spot));
        }
        let place = self.recent.iter().rposition(|known| known.due <= spot.due).map_or(0, |at| at + 1);
        self.recent.insert(place, spot);
        let newest = self.recent.back().map_or(Timestamp::EPOCH, |spot| spot.due);
        while self.recent.len() > REMEMBERED
            && (self.recent.len() > MOST || self.recent.front().is_some_and(|oldest| newest.since(oldest.due) > YOUNG))
        {
            self.recent.pop_front();
        }
        None
    }

    /// The base rate of a family.
    pub fn rate(&self, family: Family) -> f64 {
        match family {
            Family::Honest => self.honest.per_run(),
            Family::Amber => self.amber.per_run(),
            Family::Grey => self.grey.per_run(),
            Family::Missing | Family::Extra | Family::Values => 0.0,
        }
    }

    /// Learns from a run outside incidents: how often, not how long.
    pub fn learn(&mut self, outcome: Outcome) {
        let family = outcome.family();
        self.honest.learn(family == Some(Family::Honest));
        self.amber.learn(family == Some(Family::Amber));
        self.grey.learn(family == Some(Family::Grey));
    }

    /// About how many runs were due in the window that ends at `until`.
    pub fn runs_in(&self, window: Duration, until: Timestamp) -> f64 {
        let from = until.minus(window);
        let within = self.recent.iter().filter(|spot| spot.due > from && spot.due <= until).count() as f64;
        match (self.recent.front(), self.recent.back()) {
            // The memory is shorter than the window: what it holds, drawn out to the window.
            (Some(first), Some(last))
                if self.recent.len() >= REMEMBERED && first.due > from && last.due > first.due =>
            {
                within * window.as_secs_f64() / last.due.since(first.due).as_secs_f64()
            }
            _ => within,
        }
    }

    /// Newest runs first.
    pub fn newest(&self) -> impl Iterator<Item = &Spot> {
        self.recent.iter().rev()
    }

    /// Due time of the newest green run before a time, as far as remembered.
    pub fn green_before(&self, before: Timestamp) -> Option<Timestamp> {
        let near = self.newest().find(|spot| spot.is_green() && spot.due < before).map(|spot| spot.due);
        near.or(self.last_green.filter(|due| *due < before))
    }
}
