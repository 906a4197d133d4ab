//! The bracket: when a fault began and when it ended, from what canaries wrote and what became of it.

use serde::{Deserialize, Serialize};

use crate::{canary::Timestamp, detect::incident::Onset};

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

/// The bracket of an incident, from the runs of its routes.
pub fn bracket(onset: Onset, resolved_at: Option<Timestamp>, runs: &[Flown], now: Timestamp) -> Bracket {
    let of = |is_bad: bool| runs.iter().filter(move |run| run.is_bad == is_bad).map(|run| run.wrote);
    // Without the runs themselves nothing between the edges is certain.
    let first_bad = of(true).map(|wrote| wrote.until).min().unwrap_or(resolved_at.unwrap_or(now));
    let last_bad = of(true).map(|wrote| wrote.from).max().unwrap_or(onset.first_bad);
    // Of a fault that hits every run: a good one that was written before the last bad one came before its begin.
    let before = of(false).filter(|wrote| wrote.from < first_bad && wrote.until <= last_bad);
    // And one that was written after the first bad one came after its end.
    let after = of(false).filter(|wrote| wrote.from >= first_bad && wrote.until > last_bad);
    let first_good = after.map(|wrote| wrote.until).min().or(resolved_at.map(|over| over.max(last_bad)));
    let is_intermittent = of(false).any(|wrote| wrote.from >= first_bad && wrote.until <= last_bad);
    Bracket {
        last_good: before.map(|wrote| wrote.from).max().or(onset.last_good.filter(|at| *at < first_bad)),
        first_bad,
        last_bad,
        first_good,
        is_intermittent,
        asked_at: now,
    }
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
