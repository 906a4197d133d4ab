//! What the runs of a case came to, counted: most of them say what it is called and how bad it is.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::Case;
use crate::{
    canary::{Family, Outcome, State, Timestamp},
    detect::{incident::Severity, trail::Spot},
};

/// Nobody has seen anything for this long: no longer a warning.
const BLIND_TOO_LONG: Duration = Duration::from_secs(30 * 60);

/// What the runs that a case keeps came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Votes {
    /// By outcome, without those on loan.
    by: BTreeMap<Outcome, u32>,
    /// How many are final.
    pub(super) finals: u32,
    /// Outcome, family and severity say what the votes say.
    weighed: bool,
}

impl Case {
    /// Counts one run in, or out again.
    pub(super) fn vote(&mut self, spot: &Spot, counts: bool) {
        let on_loan = self.is_on_loan(spot);
        let Some(votes) = &mut self.votes else { return };
        votes.weighed = false;
        let add = |n: &mut u32| *n = if counts { *n + 1 } else { *n - 1 };
        if !spot.provisional {
            add(&mut votes.finals);
        }
        if !on_loan {
            let n = votes.by.entry(spot.outcome).or_default();
            add(n);
            if *n == 0 {
                votes.by.remove(&spot.outcome);
            }
        }
    }

    /// The votes, counted anew if that is needed.
    fn count(&mut self) -> &mut Votes {
        let counted = self.votes.take().unwrap_or_else(|| {
            let mut votes = Votes::default();
            for bad in self.bad.values() {
                votes.finals += u32::from(!bad.spot.provisional);
                if !self.is_on_loan(&bad.spot) {
                    *votes.by.entry(bad.spot.outcome).or_default() += 1;
                }
            }
            votes
        });
        self.votes.insert(counted)
    }

    /// Whether its runs went wrong in ways of more than one family.
    pub fn is_mixed(&mut self) -> bool {
        let families: BTreeSet<_> = self.count().by.keys().map(|outcome| outcome.family()).collect();
        families.len() > 1
    }

    /// Its runs were changed from outside: what they came to is counted anew.
    pub fn recount(&mut self) {
        self.votes = None;
    }

    /// Outcome, family and severity are those of most of its runs. Answers whether anything had to be
    /// looked at: not if no run has changed, and time alone changes nothing.
    pub fn weigh(&mut self, now: Timestamp) -> bool {
        if self.votes.as_ref().is_some_and(|votes| votes.weighed) && self.incident.family != Family::Grey {
            return false;
        }
        let counted = self.count();
        counted.weighed = true;
        let (mut votes, finals) = (counted.by.clone(), counted.finals);
        for (outcome, n) in &self.counted {
            *votes.entry(*outcome).or_default() += n;
        }
        // Among equals a red one before its side effects, what it was called so far before other side
        // effects, then the first in the table of outcomes, which is the worse.
        let own = self.incident.family;
        let weight = |outcome: &Outcome, votes: u32| {
            let red = outcome.state() == State::Red;
            (votes, red, !red && outcome.family() == Some(own), Reverse(*outcome))
        };
        if let Some((outcome, _)) = votes.iter().max_by_key(|(outcome, votes)| weight(outcome, **votes)) {
            self.incident.outcome = *outcome;
            self.incident.family = outcome.family().unwrap_or(self.incident.family);
            // What was on loan may be its own now.
            if self.families.insert(self.incident.family) {
                self.recount();
            }
        }
        self.incident.provisional = self.counted.is_empty() && finals == 0;
        let runs: u32 = votes.values().sum();
        self.incident.severity = match self.incident.family {
            family if family.is_silent() && runs == 1 => Severity::Warning,
            Family::Grey if now.since(self.incident.opened_at) >= BLIND_TOO_LONG => Severity::Critical,
            family => severity_of(family),
        };
        true
    }
}

pub(super) fn severity_of(family: Family) -> Severity {
    match family {
        Family::Missing | Family::Extra | Family::Values | Family::Honest => Severity::Critical,
        Family::Amber | Family::Grey => Severity::Warning,
    }
}
