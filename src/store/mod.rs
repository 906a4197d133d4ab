//! FLOOR 2, the ledger: what was sent, what it came to, what was concluded and told. A run is
//! recorded before it is submitted; verdict, journal, incidents and notices are one transaction.

mod drill;
pub mod memory;
mod opening;
pub mod retention;
pub mod sqlite;

pub use drill::{Drill, DrillAnswer, Took};
pub use opening::{Held, Holding, Letter, Opening};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    canary::{Away, Evidence, Marker, Outcome, RouteId, Run, TargetName, Timestamp, Verdict},
    detect::{Change, Deploy, Incident, IncidentId, Input},
};

/// Why the ledger did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be opened, read or written (disk full too).
    #[error("the ledger cannot be used: {detail}")]
    Unavailable {
        /// Why.
        detail: String,
    },
    /// Written by a newer Landfall.
    #[error("the ledger has format {found}, this Landfall knows up to {known}")]
    Newer {
        /// Format of the file.
        found: i64,
        /// Newest format known.
        known: i64,
    },
    /// Another process holds it.
    #[error("the ledger is in use by another Landfall ({by})")]
    InUse {
        /// Who, as far as it says.
        by: String,
    },
    /// What was read back makes no sense.
    #[error("the ledger holds something unreadable: {detail}")]
    Corrupt {
        /// What.
        detail: String,
    },
}

/// A run as the ledger knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRecord {
    /// The run.
    pub run: Run,
    /// The newest handle.
    pub handle: Option<String>,
    /// The newest evidence of a pending run.
    pub evidence: Evidence,
    /// The newest verdict, final or provisional. None: pending.
    pub verdict: Option<Verdict>,
}

impl RunRecord {
    /// The record with the newest that is known of what the run saw: a provisional verdict may rest on more than has been
    /// kept of the run since.
    pub fn as_last_seen(mut self) -> Self {
        let last = |evidence: &Evidence| {
            let looks = evidence.looks.iter().map(|look| look.started_at);
            looks.chain(evidence.controls.iter().map(|control| control.started_at)).max()
        };
        if let Some(verdict) = self.verdict.as_ref().filter(|verdict| last(&verdict.evidence) > last(&self.evidence)) {
            self.evidence = Evidence::clone(&verdict.evidence);
        }
        self
    }
}

/// One thing that detection was told, so that its state can be made again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Place in the order, from 1, without gaps.
    pub seq: u64,
    /// The time that detection was given.
    pub at: Timestamp,
    /// What it was told.
    pub input: Input,
}

/// Something to be told to people about an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// Stable over retries: incident, opening and kind. The receiver's dedup key derives from it.
    pub key: String,
    /// When it was decided.
    pub at: Timestamp,
    /// Opened, raised, moved or resolved.
    pub change: Change,
    /// The incident as it stood then.
    pub incident: Incident,
}

/// What is written in one transaction.
#[derive(Clone, Debug, Default)]
pub struct Settlement {
    /// Verdicts, in order; each supersedes earlier ones of its run.
    pub verdicts: Vec<Verdict>,
    /// What detection was told.
    pub journal: Vec<JournalEntry>,
    /// Incidents that changed, as they stand now.
    pub incidents: Vec<Incident>,
    /// What people are to be told.
    pub notices: Vec<Notice>,
    /// Deploy markers.
    pub deploys: Vec<Deploy>,
}

/// A delivery that a platform made to the agent's intake.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The run it names.
    pub marker: Marker,
    /// When its last byte came.
    pub at: Timestamp,
    /// The body, as it came.
    pub body: Vec<u8>,
}

/// Counters that go on over restarts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    /// Runs ever begun.
    pub started: u64,
    /// Runs that have a final verdict.
    pub settled: u64,
    /// Runs begun without a final verdict.
    pub pending: u64,
    /// Due time of the oldest of those.
    pub oldest_pending: Option<Timestamp>,
    /// Final verdicts that a later one with another outcome superseded.
    pub corrections: u64,
    /// Final verdicts ever, by route and outcome. A corrected run counts under both outcomes: what
    /// is exported as a counter must never fall, or its reader takes that for a restart.
    pub outcomes: Vec<(RouteId, Outcome, u64)>,
}

/// The ledger. Every call is durable when it returns, except in `memory`.
#[async_trait]
pub trait Store: Send + Sync {
    /// Records a run before it is submitted. A run that is there already stays as it is.
    async fn begin(&self, run: &Run) -> Result<(), StoreError>;

    /// Keeps the newest handle and evidence of a pending run; of a settled or unknown one nothing.
    async fn progress(&self, run: Marker, handle: Option<&str>, evidence: &Evidence) -> Result<(), StoreError>;

    /// Writes all of it or nothing, and again changes nothing. A provisional verdict never stands
    /// in for a final one; a verdict of a run that was never begun is not kept. A notice whose key
    /// is known replaces it, and is untold again if it says something new.
    async fn settle(&self, settlement: Settlement) -> Result<(), StoreError>;

    /// Runs begun without a final verdict, the oldest due time first.
    async fn pending(&self) -> Result<Vec<RunRecord>, StoreError>;

    /// Settled runs that are to be looked at once more, in the order in which they were begun:
    /// `landed` until their deadline, `lost` until three times that.
    async fn watched(&self, now: Timestamp) -> Result<Vec<RunRecord>, StoreError>;

    /// One run. This, like `pending` and `watched`, also tells the report that it must bring; a report is kept
    /// for six hours.
    async fn run(&self, run: Marker) -> Result<Option<RunRecord>, StoreError>;

    /// The runs begun last, newest first; `route` narrows.
    async fn runs(&self, route: Option<RouteId>, limit: u32) -> Result<Vec<RunRecord>, StoreError>;

    /// Runs of a route that were begun before a marker, newest first.
    async fn runs_before(&self, route: RouteId, until: Marker, limit: u32) -> Result<Vec<RunRecord>, StoreError>;

    /// Runs of these routes, from a marker on, that have a verdict for good: the newest, in any order.
    async fn judged(&self, routes: &[RouteId], from: Marker, limit: u32) -> Result<Vec<RunRecord>, StoreError>;

    /// Newest incidents first.
    async fn incidents(&self, limit: u32) -> Result<Vec<Incident>, StoreError>;

    /// One incident.
    async fn incident(&self, id: &IncidentId) -> Result<Option<Incident>, StoreError>;

    /// Newest deploys first.
    async fn deploys(&self, limit: u32) -> Result<Vec<Deploy>, StoreError>;

    /// Keeps a delivery. The intake answers 2xx only after this returned.
    async fn keep_delivery(&self, target: &TargetName, delivery: Delivery) -> Result<(), StoreError>;

    /// Deliveries of these runs, in the order in which they came.
    async fn deliveries(&self, target: &TargetName, runs: &[Marker]) -> Result<Vec<Delivery>, StoreError>;

    /// Removes deliveries older than a time; answers how many.
    async fn sweep_deliveries(&self, target: &TargetName, older_than: Timestamp) -> Result<u64, StoreError>;

    /// The agent lives and watches. `since` is when it began to watch without interruption.
    async fn beat(&self, since: Timestamp, now: Timestamp) -> Result<(), StoreError>;

    /// Gaps between up-intervals that end after `since`, in the order in which they were written.
    /// The gap up to now is the caller's to know.
    async fn away(&self, since: Timestamp) -> Result<Vec<Away>, StoreError>;

    /// The last beat ever written.
    async fn last_beat(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Detection's state as of a journal entry, to start from.
    async fn snapshot(&self) -> Result<Option<(u64, Vec<u8>)>, StoreError>;

    /// Keeps detection's state; journal entries up to `seq` may go.
    async fn keep_snapshot(&self, seq: u64, state: Vec<u8>) -> Result<(), StoreError>;

    /// Journal entries after `seq`, in order.
    async fn journal(&self, after: u64) -> Result<Vec<JournalEntry>, StoreError>;

    /// Notices not told yet, oldest first.
    async fn untold(&self) -> Result<Vec<Notice>, StoreError>;

    /// Keeps openings as they are now, and notes that these notices are taken care of by them.
    async fn keep_openings(&self, openings: Vec<Opening>, taken: Vec<String>, at: Timestamp) -> Result<(), StoreError>;

    /// Openings of which something is still to be told, oldest first.
    async fn open_letters(&self) -> Result<Vec<Opening>, StoreError>;

    /// Newest openings first.
    async fn openings(&self, limit: u32) -> Result<Vec<Opening>, StoreError>;

    /// Counters for metrics.
    async fn counts(&self) -> Result<Counts, StoreError>;

    /// Retention: green runs older than 6 h thin out to one row per route and hour, everything else
    /// stays 90 days, told notices too. Deliveries of settled runs go after a day, of landed ones
    /// after an hour. What is pending or watched stays.
    async fn thin(&self, now: Timestamp) -> Result<(), StoreError>;

    /// Keeps small texts over restarts (dedup salt), by name.
    async fn setting(&self, name: &str) -> Result<Option<String>, StoreError>;

    /// Sets one.
    async fn keep_setting(&self, name: &str, value: &str) -> Result<(), StoreError>;
}
