//! Recall: what the ledger knows when the agent starts.

use std::sync::Arc;

use tracing::warn;

use super::OpenPlan;
use crate::{
    agent::{desk::Desk, pulse::GAPS_STAY},
    canary::{Away, Timestamp},
    detect::{Change, Detector, strip::Bar},
    store::{Store, StoreError},
};

/// Detection as it was: the snapshot, and what was told since.
pub(super) async fn recall(
    store: &Arc<dyn Store>,
    plan: &OpenPlan,
    now: Timestamp,
) -> Result<(Detector, u64, Vec<Change>), StoreError> {
    let (mut seq, mut detector, mut changes) = (0, Detector::new(&plan.routes), Vec::new());
    if let Some((at, state)) = store.snapshot().await? {
        match Detector::restore(&state, &plan.routes, now) {
            Ok((restored, resolved)) => (seq, detector, changes) = (at, restored, resolved),
            Err(error) => warn!(%error, "snapshot of detection is unreadable; starting from the journal alone"),
        }
    }
    for entry in store.journal(seq).await? {
        seq = entry.seq;
        // What came of it was written then.
        let _ = detector.observe(&entry.input, entry.at);
    }
    Ok((detector, seq, changes))
}

/// When nobody watched, up to now.
pub(super) async fn gaps(store: &Arc<dyn Store>, now: Timestamp) -> Result<Vec<Away>, StoreError> {
    let mut gaps = store.away(now.minus(GAPS_STAY)).await?;
    if let Some(last) = store.last_beat().await?.filter(|last| *last < now) {
        gaps.push(Away { from: last, until: now });
    }
    Ok(gaps)
}

/// What the ledger knows of each route's last run.
pub(super) async fn refill_board(desk: &mut Desk, store: &Arc<dyn Store>) -> Result<(), StoreError> {
    // Detection remembers some runs of every route, without how long they took.
    for trail in desk.detector.trails() {
        let bars = trail.recent.iter().map(|spot| Bar::new(spot.due, spot.outcome, None));
        desk.board.remember(trail.route.id, bars);
    }
    let mut records = store.runs(None, 2_000).await?;
    records.reverse();
    for record in records {
        if let Some(verdict) = &record.verdict {
            desk.board.learn(verdict, record.run.terms.objective);
        }
    }
    Ok(())
}
