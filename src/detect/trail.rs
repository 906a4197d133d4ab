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

    /// Whether it shows that its route is free of faults of a family, whatever else is wrong with it: a
    /// job that is done was not refused, though its rows are lost; rows with other values are not missing.
    pub fn acquits(&self, family: Family) -> bool {
        use Outcome::{Corrupted, Duplicated, Landed, Late, Lost, Partial, Stale, Unclaimed};
        let free = match family {
            Family::Honest => matches!(self.outcome, Landed | Late | Lost | Partial | Stale | Duplicated | Corrupted),
            Family::Missing => matches!(self.outcome, Landed | Late | Duplicated | Corrupted | Unclaimed),
            Family::Extra => matches!(self.outcome, Landed | Late | Corrupted | Unclaimed),
            Family::Values => matches!(self.outcome, Landed | Late | Duplicated | Unclaimed),
            Family::Amber => matches!(self.outcome, Landed),
            Family::Grey => !matches!(self.outcome, Outcome::Unknown | Outcome::Failed | Outcome::Stuck),
        };
        // What the platform has said is said; the rest may still change.
        free && (!self.provisional || family == Family::Honest)
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
    /// How often an overdue run, judged lost for the time being, lands after all.
    #[serde(default)]
    pub haste: Rate,
    /// Last runs, by due time.
    pub recent: VecDeque<Spot>,
    /// Green runs that were remembered once and are only counted now.
    #[serde(default)]
    pub gone: u32,
    /// Due time of the first run ever heard of.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Due time of the newest green run.
    pub last_green: Option<Timestamp>,
    /// The longest that any of its last runs took from due to effect: who asks for runs from some time
    /// on need not look at those that were due so long before it.
    #[serde(skip)]
    pub(super) reach: Duration,
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
            haste: Rate::default(),
            recent: VecDeque::new(),
            gone: 0,
            since: None,
            last_green: None,
            reach: Duration::ZERO,
        }
    }

    /// What a snapshot does not hold.
    pub fn index(&mut self) {
        self.reach = self.recent.iter().map(|spot| spot.effect.since(spot.due)).max().unwrap_or_default();
    }

    /// Remembers a run, or what has become of it. Answers what was known of it before.
    pub fn remember(&mut self, spot: Spot) -> Option<Spot> {
        self.since = Some(self.since.map_or(spot.due, |since| since.min(spot.due)));
        if spot.is_green() {
            self.last_green = self.last_green.max(Some(spot.due));
        }
        self.reach = self.reach.max(spot.effect.since(spot.due));
        if let Some(known) = self.recent.iter_mut().rev().find(|known| known.run == spot.run) {
            return Some(std::mem::replace(known, spot));
        }
        let place = self.recent.iter().rposition(|known| known.due <= spot.due).map_or(0, |at| at + 1);
        self.recent.insert(place, spot);
        let newest = self.recent.back().map_or(Timestamp::EPOCH, |spot| spot.due);
        while self.recent.len() > REMEMBERED
            && (self.recent.len() > MOST || self.recent.front().is_some_and(|oldest| newest.since(oldest.due) > YOUNG))
        {
            let green = self.recent.pop_front().is_some_and(|spot| spot.is_green());
            self.gone = self.gone.wrapping_add(u32::from(green));
        }
        None
    }

    /// Runs that a fault of this family would have hit from a time on, newest first.
    pub fn hit_from(&self, family: Family, from: Timestamp) -> impl Iterator<Item = &Spot> {
        let due = if family == Family::Honest { from } else { from.minus(self.reach) };
        self.newest().take_while(move |spot| spot.due >= due).filter(move |spot| spot.hit_at(family) >= from)
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
        self.haste.learn(false);
    }

    /// Learns that a red was called too early: its run landed after all.
    pub fn learn_haste(&mut self, called: Outcome) {
        match called.family() {
            Some(Family::Honest) => self.honest.learn(true),
            Some(Family::Amber) => self.amber.learn(true),
            Some(Family::Grey) => self.grey.learn(true),
            Some(Family::Missing | Family::Extra | Family::Values) => self.haste.learn(true),
            None => {}
        }
    }

    /// The base rate of a family without these of its runs, which are what is to be explained.
    pub fn rate_without(&self, family: Family, bad: u32, runs: f64) -> f64 {
        match family {
            Family::Honest => self.honest.without(bad, runs),
            Family::Amber => self.amber.without(bad, runs),
            Family::Grey => self.grey.without(bad, runs),
            Family::Missing | Family::Extra | Family::Values => 0.0,
        }
    }

    /// How many greens had been before a time: those that are only counted now, and of those still
    /// remembered the ones that were hit before it. For a time before everything remembered, what was
    /// forgotten since is estimated from the pace.
    pub fn gone_before(&self, family: Family, before: Timestamp) -> u32 {
        let Some((first, last)) = self.recent.front().zip(self.recent.back()) else { return self.gone };
        if before >= first.due {
            return self.gone + self.greens_before(family, before);
        }
        let since = self.runs_within(last.due.since(before), last.due) - self.recent.len() as f64;
        self.gone.saturating_sub(since.max(0.0) as u32)
    }

    /// Green runs from a time on that were hit before it, as far as remembered one by one.
    pub fn greens_before(&self, family: Family, before: Timestamp) -> u32 {
        self.recent.iter().filter(|spot| spot.is_green() && spot.hit_at(family) < before).count() as u32
    }

    /// About how many runs were due in the window that ends at `until`, had it run all the time as
    /// it does now.
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

    /// About how many runs there were in a long stretch that ends at `until`, at the pace of the
    /// remembered ones, since the route is watched.
    pub fn runs_within(&self, stretch: Duration, until: Timestamp) -> f64 {
        let (Some(since), Some(first), Some(last)) = (self.since, self.recent.front(), self.recent.back()) else {
            return 0.0;
        };
        let (n, took) = (self.recent.len() as f64, last.due.since(first.due).as_secs_f64());
        let watched = until.since(since).min(stretch).as_secs_f64();
        if took > 0.0 { (watched * (n - 1.0) / took).max(n.min(1.0)) } else { n }
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
