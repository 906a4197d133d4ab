//! The clock: the only place that asks what time it is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use crate::canary::Timestamp;

/// Longest sleep in one piece: a wall clock that is stepped is followed within this.
const SLICE: Duration = Duration::from_secs(30);

/// Tells the time, and waits for it.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's wall clock.
    System,
    /// A start and tokio's time since, which may be paused: replay's clock.
    Since {
        /// The time at `origin`.
        start: Timestamp,
        /// Tokio's time then.
        origin: Instant,
    },
    /// The same as a machine's wall clock that somebody may step: what a replay does to it.
    Stepped {
        /// The time at `origin`, had nobody stepped it.
        start: Timestamp,
        /// Tokio's time then.
        origin: Instant,
        /// By how many microseconds it was stepped in all.
        by: Arc<AtomicI64>,
    },
}

impl Clock {
    /// A clock that shows `start` now and goes on with tokio's time.
    pub fn starting_at(start: Timestamp) -> Self {
        Self::Since { start, origin: Instant::now() }
    }

    /// What time it is.
    #[expect(clippy::disallowed_methods, reason = "this is the place that the ban points to")]
    pub fn now(&self) -> Timestamp {
        match self {
            Clock::System => {
                let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                Timestamp::EPOCH.plus(since)
            }
            Clock::Since { start, origin } => start.plus(Instant::now().duration_since(*origin)),
            Clock::Stepped { start, origin, by } => {
                let now = start.plus(Instant::now().duration_since(*origin));
                Timestamp::from_micros(now.as_micros().saturating_add(by.load(Ordering::Relaxed)))
            }
        }
    }

    /// Waits until a time has come.
    pub async fn sleep_until(&self, when: Timestamp) {
        loop {
            let left = when.since(self.now());
            if left.is_zero() {
                return;
            }
            let piece = match self {
                Clock::System | Clock::Stepped { .. } => left.min(SLICE),
                Clock::Since { .. } => left,
            };
            tokio::time::sleep(piece).await;
        }
    }
}
