//! Grounding: runs that cannot fly on are settled as what nobody knows.

use std::sync::Arc;

use tracing::warn;

use super::{craft::Craft, desk::Told, run::verdict};
use crate::{
    canary::{Evidence, Judgement, Outcome, Run},
    store::RunRecord,
};

/// Why a verification's run is not flown on without it.
const NOBODY_WAITS: &str = "the verification that sent it ended first";

/// Settles a run that cannot fly on: nobody can see what becomes of it, and it counts towards
/// nothing.
pub async fn ground(craft: &Craft, run: &Arc<Run>, evidence: Evidence, why: &str) {
    let judgement = Judgement {
        outcome: Outcome::Unknown,
        phase: evidence.phases.last().map(|(phase, _)| *phase),
        reason: Some(why.to_owned()),
        also: Vec::new(),
        seen_late: false,
        agent_away: true,
    };
    let verdict = verdict(run, judgement, false, craft.clock.now(), evidence);
    // A desk that is closed: it is resumed, and settled, at the next start.
    let _ = craft.desk.send(Told::Verdict(Box::new(verdict), Arc::clone(run))).await;
}

/// Settles a run whose verification is gone, and with it perhaps the intake that it was to be delivered to.
pub async fn ground_unwanted(craft: &Craft, record: RunRecord) {
    ground(craft, &Arc::new(record.run), record.evidence, NOBODY_WAITS).await;
}

/// Settles a run whose flight broke down, with what the ledger kept of it. Without a verdict on
/// record only: it may have broken down after it was judged.
pub async fn ground_where_it_broke(craft: &Craft, run: &Arc<Run>) {
    let evidence = match craft.store.run(run.marker).await {
        Ok(Some(record)) if record.verdict.as_ref().is_some_and(|verdict| !verdict.provisional) => return,
        Ok(Some(record)) => record.evidence,
        // It was never sent.
        Ok(None) => return,
        Err(error) => {
            warn!(run = %run.marker, %error, "could not read the run that broke down");
            Evidence::default()
        }
    };
    ground(craft, run, evidence, "the agent broke down in the middle of this run").await;
}
