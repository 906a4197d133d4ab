//! A route's course through a verification: its runs so far, and what they leave open.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::errand::{Heard, Unsent};
use crate::{
    canary::{Marker, Route, State, Timestamp, Verdict},
    detect::verification::Flown,
};

/// A job that ended badly is repeated after this, judged or not: where nothing is known of how long rows take it is
/// judged only at its objective, and both may wait for that together. Not at once: what is being restarted fails
/// every job for some seconds.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Rows that are missing may be late, which is no regression. They are given up before their deadline only if they
/// have been missing for so many times as long as rows took there at their slowest, and for so long at least.
const TIMES_AS_LONG: u32 = 10;
const MISSING_AT_LEAST: Duration = Duration::from_secs(30);

/// A route under way.
pub(super) struct Course {
    /// Which.
    pub(super) route: Arc<Route>,
    /// Runs that were asked for.
    pub(super) sent: usize,
    /// What was heard of them.
    pub(super) runs: Vec<Flown>,
    /// From when runs that are bad so far keep no other from being sent.
    again: HashMap<Marker, Timestamp>,
    /// Runs whose rows are missing: since the platform's last word, and when their objective is over.
    missing: HashMap<Marker, (Timestamp, Timestamp)>,
    /// Why its newest run was not sent.
    pub(super) unsent: Option<Unsent>,
    /// Since when it is clear.
    pub(super) clear_at: Option<Timestamp>,
}

impl Course {
    pub(super) fn new(route: &Arc<Route>) -> Self {
        Self {
            route: Arc::clone(route),
            sent: 1,
            runs: Vec::new(),
            again: HashMap::new(),
            missing: HashMap::new(),
            unsent: None,
            clear_at: None,
        }
    }

    /// Whether another run may tell more than those that were sent, and need not wait for them.
    pub(super) fn wants_another(&self, now: Timestamp) -> bool {
        let settled = self.runs.iter().filter(|run| run.settled);
        let waiting: Vec<Timestamp> =
            self.again.iter().filter(|(run, _)| !self.is_settled(run)).map(|(_, at)| *at).collect();
        // Two that fail are enough, whatever comes after.
        let honest = settled.clone().filter(|run| run.outcome.state() == State::Red).count();
        let past = waiting.iter().filter(|at| **at <= now).count();
        self.sent <= settled.count() + past && (waiting.is_empty() || honest + waiting.len() < 2)
    }

    fn is_settled(&self, run: &Marker) -> bool {
        self.runs.iter().any(|known| known.run == *run && known.settled)
    }

    /// Nothing flies, and nothing will.
    pub(super) fn is_grounded(&self) -> bool {
        self.unsent.as_ref().is_some_and(|unsent| unsent.for_good)
            && self.sent <= 1 + self.runs.iter().filter(|run| run.settled).count()
    }

    pub(super) fn lost(&self) -> bool {
        self.runs.iter().any(|run| run.outcome.is_silent())
    }

    pub(super) fn hear(&mut self, heard: &Heard, now: Timestamp) {
        let (verdict, run) = match heard {
            Heard::Verdict(verdict, run) => (verdict, run),
            Heard::EndedBadly(run) => {
                self.again.insert(run.marker, now.plus(AGAIN_AFTER));
                return;
            }
            Heard::Unsent(unsent) => {
                self.unsent = Some(unsent.clone());
                return;
            }
        };
        let flown = Flown {
            run: verdict.run,
            outcome: verdict.outcome,
            settled: !verdict.provisional,
            reason: verdict.reason.clone().or_else(|| claimed(verdict)),
        };
        match self.runs.iter_mut().find(|known| known.run == verdict.run) {
            Some(known) => *known = flown,
            None => self.runs.push(flown),
        }
        self.missing.remove(&verdict.run);
        self.unsent = None;
        if verdict.provisional && verdict.outcome.state() == State::Red {
            let objective = run.terms.objective_at(verdict.evidence.accepted_at);
            if verdict.outcome.is_silent() {
                let since = verdict.evidence.claimed_at.unwrap_or(verdict.due);
                self.missing.insert(verdict.run, (since, objective));
            } else {
                // It may still end well, though late. Another may tell sooner.
                self.again.entry(verdict.run).or_insert(objective);
            }
        }
    }

    /// When missing rows are given up, where rows took so long at their slowest.
    pub(super) fn given_up(&self, slowest: Option<Duration>) -> impl Iterator<Item = (Marker, Timestamp)> {
        let patience = slowest.map(|slowest| (slowest * TIMES_AS_LONG).max(MISSING_AT_LEAST));
        let missing = self.missing.iter().filter(|(run, _)| !self.is_settled(run));
        missing.filter_map(move |(run, (since, objective))| Some((*run, since.plus(patience?).max(*objective))))
    }

    /// When another run may be wanted though nobody was heard.
    pub(super) fn again(&self) -> impl Iterator<Item = Timestamp> {
        self.again.iter().filter(|(run, _)| !self.is_settled(run)).map(|(_, at)| *at)
    }
}

/// What the platform said of a run that is no loss.
fn claimed(verdict: &Verdict) -> Option<String> {
    use crate::canary::Claim;
    match &verdict.evidence.claim {
        Claim::Error { detail, .. } | Claim::Refused { detail, .. } | Claim::Unheard { detail } => Some(detail.clone()),
        _ => None,
    }
}
