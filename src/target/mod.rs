//! FLOOR 2, targets: the external places where Result Output should land, as the agent itself
//! reads them. A driver looks once; waiting, retrying and timing out live in `agent`.

pub mod decode;
pub mod object_store;
pub mod postgresql;
pub mod webhook;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::canary::{Address, Run, Sighting, Timestamp};

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
}

/// An external place where Result Output should land.
#[async_trait]
pub trait Target: Send + Sync + fmt::Debug {
    /// Where the platform must deliver this run.
    fn address(&self, run: &Run) -> Address;

    /// Reads the target once for many runs. The answer has one sighting per run, in order. A table,
    /// prefix or delivery that is not there yet is a sighting of nothing, not an error.
    async fn look(&self, runs: &[Arc<Run>]) -> Result<Vec<Sighting>, TargetError>;

    /// The place that this run's rows have to themselves, where there is one whose trouble (a lock, a
    /// table that is somebody else's) is not the trouble of other runs: it is read apart. None: the
    /// run shares a read with the others.
    fn apart(&self, _run: &Run) -> Option<String> {
        None
    }

    /// Proves once that target and eyes work without the platform: writes a row of its own and
    /// reads it back, in a place of its own (`NAME__control`).
    async fn control(&self) -> Result<(), TargetError>;

    /// Removes canary rows older than a time; never anything else.
    async fn sweep(&self, older_than: Timestamp) -> Result<Swept, TargetError>;
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
