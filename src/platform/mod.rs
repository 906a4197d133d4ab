//! FLOOR 2, platforms: systems that accept queries and push results out. A driver looks once;
//! waiting, retrying and timing out live in `agent::run` alone.

pub mod diary;
pub mod hiveserver2;
pub mod http_job;
pub mod past;
pub mod sample_sql;
pub mod treasure_data;
pub mod trino;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::canary::{Address, Phase, Run, Sample, Timestamp};

/// What a platform is asked to do: compute the run's sample and push it to an address.
#[derive(Clone, Debug)]
pub struct Job {
    /// The run; its marker is the job's idempotency key.
    pub run: Arc<Run>,
    /// Where the platform must deliver.
    pub deliver_to: Address,
    /// Job deadline as an absolute time, for platforms that take one.
    pub deadline: Timestamp,
}

/// Opaque text by which a run is found again. At most [`Handle::LONGEST`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Handle(String);

impl Handle {
    /// 4 KB: it is stored with every run.
    pub const LONGEST: usize = 4096;

    /// Takes the text if it is short enough.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        (text.len() <= Self::LONGEST).then_some(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a platform says of a job in one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobState {
    /// How far it is.
    pub progress: Progress,
    /// The platform's own job ids (query job, export job), for people.
    pub jobs: Vec<String>,
    /// The platform's own times of phases, if it tells them.
    pub phases: Vec<(Phase, Timestamp)>,
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// In this phase: queue, execute or export.
    Running(Phase),
    /// Finished, with the number of rows it says it has.
    Done {
        /// Rows claimed.
        rows: Option<u64>,
    },
    /// Finished with an error in this phase.
    Error {
        /// Where.
        phase: Phase,
        /// The platform's words, at most 500 characters.
        detail: String,
    },
    /// Stopped in this phase.
    Killed {
        /// Where.
        phase: Phase,
    },
}

/// Why a platform could not be asked. Details are at most 500 characters and hold no secret.
#[derive(Debug, thiserror::Error)]
pub enum PlatformError {
    /// 401 or 403.
    #[error("access denied: {detail}")]
    Denied {
        /// What it answered.
        detail: String,
    },
    /// Any other answer that asking again will not change.
    #[error("refused: {detail}")]
    Refused {
        /// What it answered.
        detail: String,
    },
    /// 429.
    #[error("throttled")]
    Throttled {
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    /// 5xx: it answers, badly.
    #[error("broken: {detail}")]
    Broken {
        /// What it answered.
        detail: String,
    },
    /// No connection, or no answer in time.
    #[error("unreachable: {detail}")]
    Unreachable {
        /// Why.
        detail: String,
        /// The request certainly never reached it (connection refused, name not found).
        never_arrived: bool,
    },
    /// An answer that makes no sense.
    #[error("nonsense: {detail}")]
    Nonsense {
        /// What was wrong with it.
        detail: String,
    },
    /// It knows no such job.
    #[error("the job is not known")]
    NotFound,
}

impl PlatformError {
    /// Whether asking again may help.
    pub fn may_pass(&self) -> bool {
        !matches!(self, Self::Denied { .. } | Self::Refused { .. } | Self::NotFound)
    }

    /// Whether a submit that failed with this certainly started nothing: it was answered with a no, or
    /// never arrived.
    pub fn never_started(&self) -> bool {
        self.answered() || matches!(self, Self::Unreachable { never_arrived: true, .. })
    }

    /// Whether it answered at all. What did not answer was not heard: `unknown`, not `failed`.
    pub fn answered(&self) -> bool {
        matches!(
            self,
            Self::Denied { .. } | Self::Refused { .. } | Self::Throttled { .. } | Self::Broken { .. } | Self::NotFound
        )
    }
}

/// How a run is found again after the agent was restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// By its newest handle.
    ByHandle,
    /// By its marker, even if the submit was never answered.
    ByMarker,
    /// Not at all: the run becomes `unknown (agent restarted)`, counted towards nothing.
    Not,
}

/// A system that accepts queries and can push their results out.
#[async_trait]
pub trait Platform: Send + Sync + fmt::Debug {
    /// How runs are found again.
    fn resume(&self) -> Resume;

    /// Makes what canaries read (the seed table), if it is not there. Idempotent. Called before
    /// the first submit, and again after a job failed.
    async fn prepare(&self, sample: Sample) -> Result<(), PlatformError>;

    /// What a submit of this run sends to be computed, for people; `place` is that of the run's address. No secret
    /// is in it. None: nobody can say.
    fn query(&self, _run: &Run, _place: &str) -> Option<String> {
        None
    }

    /// Submits once. A platform with idempotent submits (`ByMarker`) answers a second submit of
    /// the same run with the handle of the first.
    async fn submit(&self, job: &Job) -> Result<Handle, PlatformError>;

    /// Finds the job of a run whose submit was not answered. `None`: certainly never started.
    /// Only called where [`Resume::ByMarker`] holds.
    async fn find(&self, run: &Run) -> Result<Option<Handle>, PlatformError>;

    /// Looks at the job once. The returned handle is the newest.
    async fn look(&self, handle: &Handle) -> Result<(JobState, Handle), PlatformError>;

    /// Stops the job. A job that is finished already is not an error.
    async fn cancel(&self, handle: &Handle) -> Result<(), PlatformError>;

    /// A diary that the agent can keep there, if it can.
    fn diary(&self) -> Option<&dyn diary::Diary> {
        None
    }

    /// What customers did there, if the platform remembers it and this driver can ask.
    fn past(&self) -> Option<&dyn past::Past> {
        None
    }
}

/// Cuts a text from outside to what evidence keeps.
pub fn cut(text: &str) -> String {
    text.chars().take(500).collect()
}
