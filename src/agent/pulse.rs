//! The pulse: the ledger is told that the agent watches, and everybody when it did not.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::sync::mpsc;
use tracing::warn;

use super::clock::Clock;
use crate::{
    canary::{Away, Timestamp},
    metrics::{LedgerCounts, Metrics},
    store::Store,
};

/// The agent notes that it watches this often.
const EVERY: Duration = Duration::from_secs(2);
/// A pulse that comes so late means that nobody watched: the machine slept, or was stalled.
const STALLED: Duration = Duration::from_secs(10);
/// Gaps in watching that are older concern no run that is still open.
pub(super) const GAPS_STAY: Duration = Duration::from_secs(24 * 3600);

/// What the pulse needs.
pub(super) struct Pulse {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Clock,
    pub(super) away: Arc<RwLock<Vec<Away>>>,
    pub(super) metrics: Option<Arc<Metrics>>,
}

/// Watched without interruption, from and until.
type Up = (Timestamp, Timestamp);

impl Pulse {
    /// Beats for as long as the agent lives. Feeling and writing it down are two things: a ledger
    /// that blocks is the agent's own trouble, and does not mean that nobody watched.
    pub(super) async fn beat(self) {
        // Unbounded, but two times every two seconds: nothing beside what a ledger that is down
        // keeps from being written otherwise.
        let (felt, beats) = mpsc::unbounded_channel();
        tokio::join!(self.feel(felt), self.note(beats));
    }

    async fn feel(&self, felt: mpsc::UnboundedSender<Up>) {
        let mut up = (self.clock.now(), self.clock.now());
        loop {
            let now = self.clock.now();
            let gap = (now.since(up.1) > STALLED).then_some(Away { from: up.1, until: now });
            if let Some(gap) = gap {
                warn!(from = %gap.from, until = %gap.until, "nobody watched: the agent was stalled, or the clock was stepped");
                up.0 = now;
            }
            up.1 = now;
            {
                let mut away = self.away.write().unwrap_or_else(PoisonError::into_inner);
                away.extend(gap);
                away.retain(|gap| now.since(gap.until) < GAPS_STAY);
            }
            // Both ends live and die together.
            let _ = felt.send(up);
            tokio::time::sleep(EVERY).await;
        }
    }

    async fn note(&self, mut beats: mpsc::UnboundedReceiver<Up>) {
        while let Some(mut up) = beats.recv().await {
            // After a pause only the last beat of each time of watching has to be written.
            while let Ok(next) = beats.try_recv() {
                if next.0 != up.0 {
                    self.keep(up).await;
                }
                up = next;
            }
            self.keep(up).await;
            if let (Some(metrics), Ok(counts)) = (&self.metrics, self.store.counts().await) {
                metrics.counted(LedgerCounts {
                    started: counts.started,
                    settled: counts.settled,
                    pending: counts.pending,
                    oldest_pending: counts.oldest_pending.map(|due| self.clock.now().since(due)),
                });
            }
        }
    }

    async fn keep(&self, (since, now): Up) {
        if let Err(error) = self.store.beat(since, now).await {
            warn!(%error, "could not note the pulse");
            if let Some(metrics) = &self.metrics {
                metrics.store(false);
            }
        }
    }
}
