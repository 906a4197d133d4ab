//! The bracket: when a fault began and when it ended, from what canaries wrote and what became of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    canary::{RouteId, Timestamp},
    detect::{end::GREENS_TO_RESOLVE, incident::Onset},
};

/// Bad runs, and no good one among them, that show that a fault hit every run for a while.
const SOLID: usize = 3;
/// How unlikely it must be that good runs in a row, anywhere among its bad ones, are a fault's that hits some runs
/// only: whose customers these would be is then not asked.
const BY_CHANCE: f64 = 0.002;

/// When something was done: no earlier and no later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Not before.
    pub from: Timestamp,
    /// Not after.
    pub until: Timestamp,
}

/// A run on a route that the fault hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flown {
    /// On which of its routes.
    pub route: RouteId,
    /// When its rows were written, or should have been.
    pub wrote: Span,
    /// The fault hit it; else it landed.
    pub is_bad: bool,
}

/// When a fault began and ended. What was written between `first_bad` and `last_bad` was hit; what was
/// written before `last_good` or after `first_good` was not; of the rest nobody can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bracket {
    /// A run that was written then, or later, landed. None: no good run before it is known.
    pub last_good: Option<Timestamp>,
    /// By then the first bad one had been written.
    pub first_bad: Timestamp,
    /// A bad one was written then, or later.
    pub last_bad: Timestamp,
    /// By then the first good one after it had been written. None: there is none yet.
    pub first_good: Option<Timestamp>,
    /// Runs landed while it lasted.
    pub is_intermittent: bool,
    /// The end of what can be asked of.
    pub asked_at: Timestamp,
}

/// The brackets of an incident, in order, one at least: one each time that its fault came, from the runs of its routes.
pub fn brackets(onset: Onset, resolved_at: Option<Timestamp>, runs: &[Flown], now: Timestamp) -> Vec<Bracket> {
    let (mut bad, mut good): (Vec<Flown>, Vec<Flown>) = runs.iter().partition(|run| run.is_bad);
    bad.sort_by_key(|run| run.wrote.from);
    good.sort_by_key(|run| run.wrote.from);
    let mut of_each: Vec<Bracket> = Vec::new();
    for stretch in stretches(&bad, &good) {
        // What it knows of its own onset is the first's.
        let onset = match of_each.last() {
            Some(before) => Onset { last_good: Some(before.last_bad), first_bad: stretch[0].wrote.until },
            None => onset,
        };
        of_each.push(bracket(onset, resolved_at, stretch, &good, now));
    }
    of_each
}

/// Bad runs, parted where the fault was gone: before and after it hit every run, and between these no fault that
/// hits some runs only would have hidden for so long. One that does has no pauses that prove anything.
fn stretches<'a>(bad: &'a [Flown], good: &[Flown]) -> Vec<&'a [Flown]> {
    let cuts = pauses(bad, good);
    let edges: Vec<usize> = [0].into_iter().chain(cuts).chain([bad.len()]).collect();
    let is_solid: Vec<bool> = edges.windows(2).map(|edge| is_solid(&bad[edge[0]..edge[1]], good)).collect();
    let mut found = Vec::new();
    let mut begin = 0;
    for (nth, edge) in edges.iter().enumerate().skip(1) {
        if nth == is_solid.len() || (is_solid[nth - 1] && is_solid[nth]) {
            found.push(&bad[begin..*edge]);
            begin = *edge;
        }
    }
    found
}

/// Before which bad runs so many good ones were written that the fault was gone.
fn pauses(bad: &[Flown], good: &[Flown]) -> Vec<usize> {
    let (Some(last), Some(begins)) = (bad.last(), bad.iter().map(|run| run.wrote.until).min()) else {
        return Vec::new();
    };
    let routes: BTreeSet<RouteId> = bad.iter().map(|run| run.route).collect();
    let green = good.iter().filter(|run| run.wrote.from >= begins && run.wrote.until <= last.wrote.from).count();
    let (red, green) = (bad.len() as f64, green as f64);
    let is_pause = |clean: usize| {
        let none = (0..clean).map(|n| green + 1.0 + n as f64).map(|good| good / (good + red)).product::<f64>();
        none * red <= BY_CHANCE
    };
    let mut found = Vec::new();
    let mut next_bad = last.wrote.until;
    for at in (1..bad.len()).rev() {
        next_bad = next_bad.min(bad[at].wrote.until);
        let after = bad[at - 1].wrote.from;
        let first = good.partition_point(|run| run.wrote.from < after);
        let between = good[first..].iter().take_while(|run| run.wrote.from <= next_bad);
        let mut greens: BTreeMap<RouteId, usize> = BTreeMap::new();
        for run in between.filter(|run| run.wrote.until <= next_bad) {
            *greens.entry(run.route).or_default() += 1;
        }
        let on_each = routes.iter().all(|route| greens.get(route).is_some_and(|n| *n >= GREENS_TO_RESOLVE));
        if on_each && is_pause(greens.values().sum()) {
            found.push(at);
        }
    }
    found.reverse();
    found
}

/// Whether every run was hit for a while, as far as these tell.
fn is_solid(bad: &[Flown], good: &[Flown]) -> bool {
    let (first, last) = edges(bad);
    let first_good = good.partition_point(|run| Some(run.wrote.from) < first);
    let mut within = good[first_good..].iter().take_while(|run| Some(run.wrote.from) <= last);
    bad.len() >= SOLID && !within.any(|run| Some(run.wrote.until) <= last)
}

/// By when the first bad run had been written, and when the last one was, or later.
fn edges(bad: &[Flown]) -> (Option<Timestamp>, Option<Timestamp>) {
    (bad.iter().map(|run| run.wrote.until).min(), bad.iter().map(|run| run.wrote.from).max())
}

/// The bracket of some bad runs among these good ones.
fn bracket(onset: Onset, resolved_at: Option<Timestamp>, bad: &[Flown], good: &[Flown], now: Timestamp) -> Bracket {
    let good = || good.iter().map(|run| run.wrote);
    let (first_bad, last_bad) = edges(bad);
    // Without the runs themselves nothing between the edges is certain.
    let (first_bad, last_bad) = (first_bad.unwrap_or(resolved_at.unwrap_or(now)), last_bad.unwrap_or(onset.first_bad));
    // Of a fault that hits every run: a good one that was written before the last bad one came before its begin.
    let before = good().filter(|wrote| wrote.from < first_bad && wrote.until <= last_bad);
    // And one that was written after the first bad one came after its end.
    let after = good().filter(|wrote| wrote.from >= first_bad && wrote.until > last_bad);
    let first_good = after.map(|wrote| wrote.until).min().or(resolved_at.map(|over| over.max(last_bad)));
    let is_intermittent = good().any(|wrote| wrote.from >= first_bad && wrote.until <= last_bad);
    Bracket {
        last_good: before.map(|wrote| wrote.from).max().or(onset.last_good.filter(|at| *at < first_bad)),
        first_bad,
        last_bad,
        first_good,
        is_intermittent,
        asked_at: now,
    }
}

/// From the first time that a fault came to the last.
pub fn hull(brackets: &[Bracket]) -> Bracket {
    let [first, .., last] = brackets else { return brackets[0] };
    Bracket { last_good: first.last_good, first_bad: first.first_bad, is_intermittent: true, ..*last }
}

impl Bracket {
    /// Nothing that was written before was hit, as far as anybody knows.
    pub fn from(&self) -> Timestamp {
        self.last_good.unwrap_or(self.first_bad.min(self.last_bad))
    }

    /// Nothing that was written after was.
    pub fn until(&self) -> Timestamp {
        self.first_good.unwrap_or(self.asked_at)
    }

    /// Whether what was written then may have been hit.
    pub fn may_hold(&self, wrote: Span) -> bool {
        wrote.until > self.from() && wrote.from < self.until()
    }

    /// Whether it was hit for certain, if every run was.
    pub fn holds(&self, wrote: Span) -> bool {
        wrote.from >= self.first_bad && wrote.until <= self.last_bad
    }

    /// Why it is not certain.
    pub fn doubt(&self, wrote: Span) -> &'static str {
        match (wrote.from < self.first_bad, wrote.until > self.last_bad) {
            (true, true) => "it may have been written before the first bad run or after the last",
            (true, false) => "it may have been written before the first bad run",
            _ if self.first_good.is_none() => "it may have been written after the last bad run that is known",
            _ => "it may have been written after the last bad run",
        }
    }
}
