//! FLOOR 2, targets: the external places where Result Output should land, as the agent itself
//! reads them. A driver looks once; waiting, retrying and timing out live in `agent`.

pub mod decode;
pub mod dialect;
pub mod files;
pub mod mysql;
pub mod object_store;
mod pool;
pub mod postgresql;
pub mod sftp;
mod shapes;
mod shell;
pub mod treasure_data_table;
pub mod webhook;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::canary::{Address, Run, Sighting, Timestamp};

/// Longest wait for a read or a control, for most.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Rows, objects or deliveries.
    pub removed: u64,
}

/// Why a target could not be read. Details are at most 500 characters and hold no secret.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// No connection, or no answer in time (a locked table too).
    #[error("unreachable: {detail}")]
    Unreachable {
        /// Why.
        detail: String,
    },
    /// Our access was refused.
    #[error("access denied: {detail}")]
    Denied {
        /// What it answered.
        detail: String,
    },
    /// What is there is not a canary's: it is neither read nor swept.
    #[error("not a canary's: {detail}")]
    Foreign {
        /// What was found.
        detail: String,
    },
    /// An answer that makes no sense, or one too large.
    #[error("nonsense: {detail}")]
    Nonsense {
        /// What was wrong with it.
        detail: String,
    },
    /// A control that may only read has read, and found nothing that proves anything. The target can be
    /// seen; what is missing there cannot be called lost.
    #[error("nothing is proven: {detail}")]
    Unproven {
        /// What was not there.
        detail: String,
    },
}

/// What stands at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// Nothing.
    Nothing,
    /// A file, by the store's own account of it.
    File {
        /// Its length in bytes.
        bytes: u64,
        /// When it was written, by the store's clock, if it says so.
        written_at: Option<Timestamp>,
    },
}

/// How controls prove a target: the key `control` of those that can do either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ControlBy {
    /// By a row of the agent's own, written and read back.
    #[default]
    Write,
    /// By a row of an earlier run, read back: for access that may only read. Nothing is swept then.
    Read,
}

/// An external place where Result Output should land.
#[async_trait]
pub trait Target: Send + Sync + fmt::Debug {
    /// Where the platform must deliver this run.
    fn address(&self, run: &Run) -> Address;

    /// The same for whoever only wants to know it: nothing is made ready for a delivery.
    fn delivered_to(&self, run: &Run) -> Address {
        self.address(run)
    }

    /// What a person types into a shell to read the rows of a run as a look does, made of what makes the look.
    /// No secret is in it: whoever types it has a login. None: there is nothing to be typed.
    fn by_hand(&self, _run: &Run) -> Option<String> {
        None
    }

    /// Reads the target once for many runs. The answer has one sighting per run, in order. A table,
    /// prefix or delivery that is not there yet is a sighting of nothing, not an error.
    async fn look(&self, runs: &[Arc<Run>]) -> Result<Vec<Sighting>, TargetError>;

    /// Longest that a look or a control may take: a target that takes longer cannot be seen. Only one whose
    /// reads are jobs of a cluster needs more than a read of a server does.
    fn patience(&self) -> Duration {
        PATIENCE
    }

    /// The place that this run's rows have to themselves, where there is one whose trouble (a lock, a
    /// table that is somebody else's) is not the trouble of other runs: it is read apart. None: the
    /// run shares a read with the others.
    fn apart(&self, _run: &Run) -> Option<String> {
        None
    }

    /// Proves once that target and eyes work without the platform: writes a row of its own and
    /// reads it back, in a place of its own (`NAME__control`).
    async fn control(&self) -> Result<(), TargetError>;

    /// Whether a read for many runs that failed for what one of them left may be made again for some of them
    /// at a time: not where a read costs more than it tells.
    fn parts_reads(&self) -> bool {
        true
    }

    /// The same for the agent at work. A target to which it has read-only access ([`ControlBy::Read`])
    /// reads back a row of a run that was minted no earlier than `since`, and is
    /// [`Unproven`](TargetError::Unproven) if there is none. To others the time is nothing.
    async fn control_since(&self, _since: Timestamp) -> Result<(), TargetError> {
        self.control().await
    }

    /// Schemes of Result Output addresses that lead to targets of this kind.
    fn schemes(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether an address, as it is shown, lies in this target, and a look there would prove something.
    fn has(&self, _address: &str) -> bool {
        false
    }

    /// What stands at an address of somebody else's output, as it is shown: whether, when and how much was
    /// written there, never what. None: the address is not in this target, or a look would prove nothing.
    async fn stands(&self, _address: &str) -> Option<Result<Stands, TargetError>> {
        None
    }

    /// Removes canary rows older than a time; never anything else.
    async fn sweep(&self, older_than: Timestamp) -> Result<Swept, TargetError>;
}

/// What a control answers that may only read, and finds no row that is young enough.
fn unproven() -> TargetError {
    TargetError::Unproven { detail: "no row of a run that is young enough was there to be read back".to_owned() }
}

/// Cuts a text from outside to what an error keeps.
fn cut(text: &str) -> String {
    text.chars().take(500).collect()
}

/// What stays as it is in any part of an address.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encodes one part of an address: a name, a password, an option's value.
fn encoded(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}
