//! One run: a flight of one canary over one route.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    marker::Marker,
    report::{REPORT_COLUMNS, Report},
    route::Route,
    sample::{COLUMNS, Column, Sample},
    time::Timestamp,
};

/// Why a run was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    /// Its time had come.
    Scheduled,
    /// A red run wants confirming, or its suspects want telling apart.
    Confirming,
    /// A deploy marker came in.
    Deploy,
    /// The post-deploy step asked.
    Verify,
}

/// What a run promises, and from when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// When the schedule wanted it sent.
    pub due: Timestamp,
    /// Rows must be there this long after the accepted submit.
    pub objective: Duration,
    /// When waiting ends.
    pub deadline: Duration,
}

impl Terms {
    /// From when objective and deadline count: the accepted submit, else the due time.
    pub fn start(&self, accepted_at: Option<Timestamp>) -> Timestamp {
        accepted_at.unwrap_or(self.due)
    }

    /// The objective as a point in time.
    pub fn objective_at(&self, accepted_at: Option<Timestamp>) -> Timestamp {
        self.start(accepted_at).plus(self.objective)
    }

    /// The deadline as a point in time.
    pub fn deadline_at(&self, accepted_at: Option<Timestamp>) -> Timestamp {
        self.start(accepted_at).plus(self.deadline)
    }
}

/// One flight of one canary over one route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The run id, in every row.
    pub marker: Marker,
    /// The path it takes.
    pub route: Arc<Route>,
    /// Due time, objective, deadline.
    pub terms: Terms,
    /// The rows that must land.
    pub sample: Sample,
    /// Why it was sent.
    pub why: Why,
    /// The rows that must land instead of the sample's, which only says how many they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Arc<Report>>,
}

/// Columns of rows that may land.
pub type Columns = [Column; COLUMNS.len()];

impl Run {
    /// The columns of its rows.
    pub fn columns(&self) -> &'static Columns {
        if self.report.is_some() { &REPORT_COLUMNS } else { &COLUMNS }
    }
}
