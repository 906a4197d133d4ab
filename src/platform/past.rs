//! What customers did on a platform, as it remembers: their jobs, and where their results are set to go.
//! For impact (which of them lost an output) and coverage (which of their ways nobody watches).

mod output;

use async_trait::async_trait;

use super::PlatformError;
use crate::canary::{Mode, Timestamp};

/// Most jobs that one look may bring.
pub const MOST_IN_A_PAGE: usize = 1000;

/// A job that the platform remembers. Texts are bounded and hold no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastJob {
    /// The platform's own id: the same job has the same in every look.
    pub id: String,
    /// Whose it is, as the platform says.
    pub owner: Option<String>,
    /// What jobs differ by, in the platform's own words: `type`, `database`, `engine_version`, `pool_name` …
    pub fields: Vec<(&'static str, String)>,
    /// How it ended.
    pub ended: Ended,
    /// When it was accepted.
    pub created_at: Option<Timestamp>,
    /// When its query began.
    pub started_at: Option<Timestamp>,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// How many rows it says it had.
    pub rows: Option<u64>,
    /// Where its result was to go; none: nowhere.
    pub output: Option<Output>,
    /// It may have written something, and the platform does not say where.
    pub hides_output: bool,
    /// It carries the marker of a canary: ours, not a customer's.
    pub is_canary: bool,
}

impl PastJob {
    /// What the platform calls this of the job.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Well, as the platform says.
    Success,
    /// With an error.
    Error,
    /// It was stopped.
    Killed,
    /// Not yet.
    AtWork,
}

/// Where a result was to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The kind of place: the address's scheme (`postgresql`, `s3`, `sftp` …), or a catalog's name.
    pub scheme: String,
    /// How it is written, if that can be told.
    pub mode: Option<Mode>,
    /// The address, with what is secret in it masked.
    pub shown: String,
}

/// Jobs in one look, newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The jobs.
    pub jobs: Vec<PastJob>,
    /// The platform has no older ones.
    pub is_last: bool,
}

/// A way that results are set to go, whether or not a job has gone it yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What it is called there.
    pub name: String,
    /// What its jobs will differ by; empty for a connection, which any job may use.
    pub fields: Vec<(&'static str, String)>,
    /// Where they go.
    pub output: Output,
    /// A connection that jobs name, or a saved query.
    pub is_scheduled: bool,
    /// Whose query it is.
    pub owner: Option<String>,
    /// When it comes next by itself; none: a connection, or a query that waits until somebody runs it.
    pub next_at: Option<Timestamp>,
}

/// A platform that remembers what customers did. Looks once, like everything that a driver does.
#[async_trait]
pub trait Past: Send + Sync {
    /// Jobs number `skip` to `skip + most - 1`, counted from the newest. What comes in while somebody reads
    /// shifts the numbers: the reader overlaps its looks and knows jobs by their ids.
    async fn jobs(&self, skip: usize, most: usize) -> Result<Page, PlatformError>;

    /// Result connections and scheduled queries with an output.
    async fn standing(&self) -> Result<Vec<Standing>, PlatformError>;

    /// The command by which somebody who may exports a job's result again; none: there is no such thing.
    /// Secrets stand in it as names of environment variables.
    fn again(&self, job: &PastJob) -> Option<String>;

    /// Whose jobs these are: two drivers that answer the same here are told the same jobs. It holds no
    /// secret. None: nobody else is told them.
    fn account(&self) -> Option<String> {
        None
    }

    /// Fields that the jobs of this very platform have, among all that the account has: its engine, its
    /// pool. Empty: all are its own.
    fn own(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Whose platform it is: drivers that answer the same here have jobs of one account, though their keys may
    /// show different ones of them. It holds no secret. None: as their keys say.
    fn tenant(&self) -> Option<String> {
        self.account()
    }

    /// Its list is short: what is over goes from it, in the order in which it ended. Only a job that is still
    /// there proves that those that ended after it are.
    fn forgets(&self) -> bool {
        false
    }

    /// The scheme of outputs that lead to a target of ours, where the platform has a name of its own for that.
    fn calls(&self, _target: &str) -> Option<String> {
        None
    }

    /// The tables of another platform of the same account, called so, whose jobs have these fields instead.
    /// None: there can be none.
    fn sibling(&self, _name: &str, _fields: &[(&str, String)]) -> Option<String> {
        None
    }
}
