//! What goes into detection and what comes out.

use serde::{Deserialize, Serialize};

use super::incident::{Deploy, IncidentId};
use crate::canary::{RouteId, TargetName, Verdict};

/// One thing that detection is told, with the time passed beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// A verdict, provisional or final, or one that supersedes an earlier verdict of the run.
    Verdict(Box<Verdict>),
    /// A control of a target, outside any run.
    Control {
        /// Which target.
        target: TargetName,
        /// Passed, or what failed.
        passed: Result<(), String>,
    },
    /// A release pipeline's marker.
    Deploy(Deploy),
    /// A person closes an incident by hand.
    Close {
        /// Which one.
        incident: IncidentId,
        /// Why, in their words.
        because: String,
    },
    /// Nothing but time passed.
    Tick,
}

/// What detection changed, or wants done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// An incident is to be told: the first notification of this opening. One that was reopened is
    /// told again at most once in six hours; until then its changes are only shown.
    Opened(IncidentId),
    /// An open incident rose from warning to critical.
    Raised(IncidentId),
    /// Suspects, outcome, routes or onset of an open incident changed.
    Moved(IncidentId),
    /// It is over, and somebody had been told of this opening.
    Resolved(IncidentId),
    /// A run of this route is wanted at once.
    Confirm(RouteId),
}

impl Change {
    /// The incident that changed.
    pub fn incident(&self) -> Option<&IncidentId> {
        match self {
            Change::Opened(id) | Change::Raised(id) | Change::Moved(id) | Change::Resolved(id) => Some(id),
            Change::Confirm(_) => None,
        }
    }
}
