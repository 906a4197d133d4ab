//! Verdicts: outcome and evidence. Made by `judge`, never edited; a later one supersedes it.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    evidence::{Evidence, Phase},
    marker::Marker,
    route::RouteId,
    run::Why,
    time::Timestamp,
};

/// What a run came to. The order is that of the table of outcomes: when several red ones hold,
/// the first wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Every row exactly once, within the objective.
    Landed,
    /// Every row exactly once, after the objective.
    Late,
    /// Claimed done; nothing is there. The worst: nobody is told.
    Lost,
    /// Claimed done; some rows are missing.
    Partial,
    /// Claimed done; an earlier run's rows stand where ours should.
    Stale,
    /// Claimed done; rows are there more than once.
    Duplicated,
    /// Claimed done; our rows have other values.
    Corrupted,
    /// Error, killed or refused, and not complete.
    Failed,
    /// Still at it at the deadline, and not complete.
    Stuck,
    /// Error, killed or never finished, yet every row is there: the status lies the other way.
    Unclaimed,
    /// We could not see. Never green, never loss.
    Unknown,
}

/// Outcomes that may have one cause. Families are never pooled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Rows are not there: lost, partial, stale.
    Missing,
    /// Rows are there too often.
    Extra,
    /// Rows have other values.
    Values,
    /// The platform says so itself: failed, stuck.
    Honest,
    /// Late, or done although claimed otherwise.
    Amber,
    /// Nobody could see.
    Grey,
}

impl Family {
    /// Red that the platform calls a success: its base rate is zero.
    pub fn is_silent(self) -> bool {
        matches!(self, Family::Missing | Family::Extra | Family::Values)
    }
}

/// The colour of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Green,
    /// Right rows, wrong time or wrong status.
    Amber,
    /// Not as promised.
    Red,
    /// Not seen.
    Grey,
}

impl Outcome {
    /// Every outcome, in the order of the table.
    pub const ALL: [Outcome; 11] = [
        Outcome::Landed,
        Outcome::Late,
        Outcome::Lost,
        Outcome::Partial,
        Outcome::Stale,
        Outcome::Duplicated,
        Outcome::Corrupted,
        Outcome::Failed,
        Outcome::Stuck,
        Outcome::Unclaimed,
        Outcome::Unknown,
    ];

    /// The name in JSON, metrics and pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Landed => "landed",
            Outcome::Late => "late",
            Outcome::Lost => "lost",
            Outcome::Partial => "partial",
            Outcome::Stale => "stale",
            Outcome::Duplicated => "duplicated",
            Outcome::Corrupted => "corrupted",
            Outcome::Failed => "failed",
            Outcome::Stuck => "stuck",
            Outcome::Unclaimed => "unclaimed",
            Outcome::Unknown => "unknown",
        }
    }

    /// Its family; `landed` has none.
    pub fn family(self) -> Option<Family> {
        match self {
            Outcome::Landed => None,
            Outcome::Lost | Outcome::Partial | Outcome::Stale => Some(Family::Missing),
            Outcome::Duplicated => Some(Family::Extra),
            Outcome::Corrupted => Some(Family::Values),
            Outcome::Failed | Outcome::Stuck => Some(Family::Honest),
            Outcome::Late | Outcome::Unclaimed => Some(Family::Amber),
            Outcome::Unknown => Some(Family::Grey),
        }
    }

    /// Its colour.
    pub fn state(self) -> State {
        match self {
            Outcome::Landed => State::Green,
            Outcome::Late | Outcome::Unclaimed => State::Amber,
            Outcome::Unknown => State::Grey,
            _ => State::Red,
        }
    }

    /// Red although the platform claims success.
    pub fn is_silent(self) -> bool {
        self.family().is_some_and(Family::is_silent)
    }

    /// What it means, for somebody woken at night.
    pub fn meaning(self) -> &'static str {
        match self {
            Outcome::Landed => "results land",
            Outcome::Late => "results land late",
            Outcome::Lost => "jobs say success, and nothing is written",
            Outcome::Partial => "jobs say success, and rows are missing",
            Outcome::Stale => "jobs say success, and the target still holds an earlier result",
            Outcome::Duplicated => "jobs say success, and rows are written more than once",
            Outcome::Corrupted => "jobs say success, and values are changed",
            Outcome::Failed => "jobs fail or are refused",
            Outcome::Stuck => "jobs do not finish",
            Outcome::Unclaimed => "results land, but jobs are reported as failed or unfinished",
            Outcome::Unknown => "nobody can see whether results land",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Outcome and evidence of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The run.
    pub run: Marker,
    /// Its route.
    pub route: RouteId,
    /// When it was due: detection orders by this, never by arrival.
    pub due: Timestamp,
    /// Why it was sent.
    pub why: Why,
    /// What it came to.
    pub outcome: Outcome,
    /// Where it went wrong, for outcomes that have a place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Why, in words, for failed and unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Other red outcomes that hold as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Outcome>,
    /// Judged before its time because it is overdue; a final verdict will supersede it.
    pub provisional: bool,
    /// Landed, but first seen after a gap in sight, so nobody knows whether in time.
    #[serde(default)]
    pub seen_late: bool,
    /// Unknown only because the agent was away: counted towards nothing.
    #[serde(default)]
    pub agent_away: bool,
    /// When it was judged.
    pub at: Timestamp,
    /// What it rests on.
    pub evidence: Arc<Evidence>,
}
