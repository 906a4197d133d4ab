//! Eyes: how a flight looks at its target, and proves what it saw.

use std::{sync::Arc, time::Duration};

use tracing::warn;

use super::{Flight, JUST_AFTER};
use crate::{
    agent::dogfood::stages,
    canary::{Claim, Look, Marker, Timestamp, looks},
    store::StoreError,
};

/// Looks at the target after landing is overdue, until the deadline; before, see [`looks`].
const SLOW_SIGHT: Duration = Duration::from_secs(10);
/// A control that began this long before a verdict still speaks for it.
const CONTROL_KEEPS: Duration = Duration::from_secs(30);
/// A control that takes longer is a slow one.
const QUICK: Duration = Duration::from_secs(1);
/// Longest wait for a look that only watches.
const GLANCE: Duration = Duration::from_secs(2);
/// Each time costs the platform a query or two.
const MOST_LOCATED: u32 = 3;
/// Most glances kept: polls of a run with a long deadline.
const MOST_GLANCES: usize = 500;

impl Flight {
    /// Whether a control that began after rows were due, and not long ago, has passed.
    fn is_proven(&self) -> bool {
        let (due, now) = (self.rows_due(), self.craft.clock.now());
        self.evidence.controls.iter().any(|control| {
            control.passed.is_ok() && control.started_at >= due && now.since(control.started_at) < CONTROL_KEEPS
        })
    }

    /// When rows were due to be there: the claim, and the time that rows of this route take. Our own
    /// row, begun earlier, would say nothing of a target that is slow in every write.
    fn rows_due(&self) -> Timestamp {
        let land = self.craft.usual(self.run.route.id).longest_land().unwrap_or_default();
        self.evidence.claimed_at.unwrap_or(self.run.terms.due).plus(land)
    }

    /// What is about to convict needs a control.
    pub(super) async fn prove(&mut self) {
        let convicts = matches!(self.evidence.claim, Claim::Done { .. })
            && self.evidence.last_sighting().is_none_or(|(seen, _)| !seen.complete());
        if convicts && !self.is_proven() {
            let control = self.sight.control(self.rows_due(), &self.craft.clock).await;
            // One that proves nothing either way is none: it convicts nobody.
            control.into_iter().for_each(|control| self.evidence.controlled(control));
        }
        if convicts {
            self.locate().await;
        }
    }

    /// Of a report that is not there as it should be: finds out where it went wrong.
    pub(super) async fn locate(&mut self) {
        let is_known = self.evidence.stages.as_ref().is_some_and(|stages| stages.first_wrong().is_some());
        if !is_known && self.located < MOST_LOCATED {
            self.located += 1;
            let stages = stages::ask(&*self.pad.driver, &self.run, self.handle.as_ref()).await;
            self.evidence.stages = stages.or(self.evidence.stages.take());
        }
    }

    /// Looks at the target; with a control beside it where the look may have to convict.
    pub(super) async fn look_at_target(&mut self, with_control: bool) {
        let clock = &self.craft.clock;
        let (due, proven, asked_at) = (self.rows_due(), self.is_proven(), clock.now());
        let look = self.sight.look(Arc::clone(&self.run), clock);
        if with_control && !proven {
            // How long each took by itself: a look may have waited for its turn, a control be somebody else's.
            let look = async {
                let look = look.await;
                let took = clock.now().since(look.started_at);
                (look, took)
            };
            let control = async {
                let control = self.sight.control(due, clock).await;
                let began = control.as_ref().map_or(asked_at, |control| control.started_at.max(asked_at));
                (control, clock.now().since(began))
            };
            let ((look, look_took), (control, control_took)) = tokio::join!(look, control);
            control.into_iter().for_each(|control| self.evidence.controlled(control));
            self.saw(look).await;
            // A target that was slow to take our own row may be as slow with everybody's: absence
            // counts from when ours was there.
            if look_took.max(control_took) > QUICK
                && self.evidence.last_sighting().is_none_or(|(seen, _)| !seen.complete())
            {
                let look = self.sight.look(Arc::clone(&self.run), &self.craft.clock).await;
                self.saw(look).await;
            }
        } else {
            let look = look.await;
            self.saw(look).await;
        }
        self.sights += 1;
    }

    /// Keeps what a look found, with whose the rows of other runs are.
    async fn saw(&mut self, mut look: Look) {
        let rival = match &look.found {
            Ok(seen) => self.rival_among(&seen.strangers).await,
            Err(_) => Ok(None),
        };
        match (rival, &mut look.found) {
            // One that the target itself knows of, later than ours, stays.
            (Ok(rival), Ok(seen)) => seen.rival = rival.or(seen.rival),
            (Ok(_), Err(_)) => {}
            (Err(error), found) => {
                warn!(%error, "could not ask the ledger whose rows stand in the place of this run's");
                *found = Err(format!("rows of other runs are there, and whose they are cannot be told: {error}"));
            }
        }
        self.evidence.saw(look);
    }

    /// Of a table that is to be displaced: somebody else's run that was sent over the same route meanwhile. Ours are
    /// in the ledger, and fly one after the other.
    async fn rival_among(&self, strangers: &[Marker]) -> Result<Option<Marker>, StoreError> {
        let since = self.run.terms.due.minus(self.run.terms.deadline);
        for other in strangers.iter().filter(|other| other.minted_at() >= since) {
            if self.craft.store.run(*other).await?.is_none() {
                return Ok(Some(*other));
            }
        }
        Ok(None)
    }

    /// Of a table that is to be displaced, what readers see until the platform has said its last word: they
    /// must find the old rows or the new ones, and no empty table between.
    pub(super) async fn watch_what_is_displaced(&mut self) {
        if self.run.route.mode.displaces() {
            let look = self.sight.look(Arc::clone(&self.run), &self.craft.clock);
            // A target that hangs holds up no submit.
            if let Ok(look) = tokio::time::timeout(GLANCE, look).await {
                self.glances.push(look);
            }
            if self.glances.len() > MOST_GLANCES {
                self.glances.remove(0);
            }
        }
    }

    /// When to look at the target next; none while the platform has not said its last word.
    pub(super) fn next_sight(&self, overdue_at: Timestamp) -> Option<Timestamp> {
        if !self.evidence.claim.is_last_word() {
            return None;
        }
        let now = self.craft.clock.now();
        let pause = if now < overdue_at { looks::sight_pause(self.sights) } else { SLOW_SIGHT };
        let mut next = now.plus(pause);
        // Copies and changed values want one more look soon.
        if now >= overdue_at && self.evidence.last_sighting().is_some_and(|(seen, _)| seen.rows.missing == 0) {
            next = now.plus(looks::SOON);
        }
        // Looks just after the objective and at the moment of being overdue tell late from landed
        // and lost from slow.
        for moment in [self.run.terms.objective_at(self.evidence.accepted_at).plus(JUST_AFTER), overdue_at] {
            if moment > now && moment < next {
                next = moment;
            }
        }
        Some(next)
    }
}
