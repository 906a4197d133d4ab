//! Incidents: ongoing faults, with the reasons for everything that is said of them.

use std::{fmt, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::canary::{Family, Marker, Outcome, RouteId, Timestamp};

/// An incident's id: `inc-` and fourteen letters or digits of the run that began it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IncidentId(Arc<str>);

impl IncidentId {
    /// The id of the incident that a run began.
    pub fn of(first: Marker) -> Self {
        let text = first.to_string();
        Self(format!("inc-{}{}", &text[2..12], &text[Marker::LENGTH - 4..]).into())
    }

    /// An id as somebody typed it; whether there is such an incident is another question.
    pub fn typed(text: &str) -> Self {
        Self(text.chars().take(64).collect::<String>().into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for IncidentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How loud.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Somebody should look in the morning.
    Warning,
    /// Somebody is woken.
    Critical,
}

impl Severity {
    /// Every severity, the quietest first.
    pub const ALL: [Severity; 2] = [Severity::Warning, Severity::Critical];

    /// The name in JSON, metrics and pages.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// A marker "service S, version V, at T", posted by the release pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deploy {
    /// What was released.
    pub service: String,
    /// Which version.
    pub version: String,
    /// When.
    pub at: Timestamp,
}

/// Since when: a bracket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Onset {
    /// Due time of the last good run before the first bad one, on the routes that are hit.
    pub last_good: Option<Timestamp>,
    /// Due time of the first bad run.
    pub first_bad: Timestamp,
}

/// A set of labels, in the order in which it is written. Empty: everything.
pub type LabelSet = Vec<(String, String)>;

/// One line of an incident's story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When it was concluded.
    pub at: Timestamp,
    /// What, and because of what.
    pub text: String,
}

/// An ongoing or past fault.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Its id; a reopened incident keeps it.
    pub id: IncidentId,
    /// How loud.
    pub severity: Severity,
    /// What most of its runs came to.
    pub outcome: Outcome,
    /// The family of that outcome.
    pub family: Family,
    /// No run of it has a final verdict yet.
    pub provisional: bool,
    /// The smallest set of labels that covers the red routes and spares the green ones.
    pub suspects: LabelSet,
    /// Other sets that cover the same routes.
    pub also: Vec<LabelSet>,
    /// Routes hit.
    pub routes: Vec<RouteId>,
    /// Label sets that were seen green meanwhile.
    pub unaffected: Vec<LabelSet>,
    /// Since when.
    pub onset: Onset,
    /// The deploy before it, if there is one to name.
    pub deploy: Option<Deploy>,
    /// When its first bad run was judged.
    pub opened_at: Timestamp,
    /// When it was told first. None: not told yet, and not to be shown as an incident.
    pub detected_at: Option<Timestamp>,
    /// When it was last opened again after it had been over.
    #[serde(default)]
    pub reopened_at: Option<Timestamp>,
    /// When it was over.
    pub resolved_at: Option<Timestamp>,
    /// Why it was over, where that needs saying.
    pub resolved_because: Option<String>,
    /// Runs that prove it: the first ones and the newest, at most [`Incident::RUNS`].
    pub runs: Vec<Marker>,
    /// Its story, at most 200 lines.
    pub history: Vec<Step>,
}

impl Incident {
    /// How many of the runs that prove it are kept: the first ones and the newest.
    pub const RUNS: usize = 60;

    /// What is said of the runs that are named, where others may not be; none if these are all.
    pub fn kept_of(runs: usize) -> Option<String> {
        (runs >= Self::RUNS).then(|| format!("{runs} runs are kept: the first ones and the newest"))
    }

    /// Still going on.
    pub fn is_open(&self) -> bool {
        self.resolved_at.is_none()
    }

    /// When this opening of it was concluded: what is told of it belongs to that opening.
    pub fn opening(&self) -> Timestamp {
        self.reopened_at.or(self.detected_at).unwrap_or(self.opened_at)
    }

    /// `worker=v5`, `engine=hive target=web`, `everything`.
    pub fn suspects_text(&self) -> String {
        write_labels(&self.suspects)
    }
}

/// A label set as people read it.
pub fn write_labels(labels: &LabelSet) -> String {
    if labels.is_empty() {
        return "everything".to_owned();
    }
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}
