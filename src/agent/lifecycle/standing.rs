//! Standing duties: what an agent does as long as it lives, runs or no runs.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tracing::warn;

use super::{Agent, OpenPlan};
use crate::{
    agent::{craft::Craft, desk::Told, heartbeat::Heartbeat},
    canary::{RouteId, TargetName},
};

/// Every target is controlled this often, runs or no runs.
const CONTROL_EVERY: Duration = Duration::from_secs(30);
/// Retention and sweeps go round this often, in small steps.
const TIDY_EVERY: Duration = Duration::from_secs(900);
/// Canary rows stay at targets this long: long enough for a person to look at yesterday's.
const ROWS_STAY: Duration = Duration::from_secs(24 * 3600);

impl Agent {
    /// Controls every target that a route leads to, for as long as the agent lives. Of the others
    /// nobody needs to know whether they can be seen.
    pub(super) fn watch_targets(&self, craft: &Arc<Craft>, plan: &OpenPlan) {
        let names: BTreeSet<&TargetName> = plan.routes.iter().map(|route| &route.target).collect();
        for (place, name) in names.into_iter().enumerate() {
            let (craft, name, told) = (Arc::clone(craft), name.clone(), self.told.clone());
            let seen = Arc::clone(&self.base.seen);
            self.keep(tokio::spawn(async move {
                // Not all in the same second.
                tokio::time::sleep(Duration::from_millis(500 + 700 * (place as u64 % 40))).await;
                let (_, sight) = &craft.targets[&name];
                loop {
                    let asked_at = craft.clock.now();
                    // A target that may only be read, and holds nothing young, has been seen all the same.
                    let passed = sight.control(asked_at, &craft.clock).await.map_or(Ok(()), |control| control.passed);
                    if passed.is_ok() {
                        seen.store(asked_at.as_micros(), Ordering::Relaxed);
                    }
                    if told.send(Told::Control { target: name.clone(), passed }).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(CONTROL_EVERY).await;
                }
            }));
        }
    }

    /// What shows that people can be reached: signs of life, and drills on their days. And looks for what no
    /// route covers.
    pub(super) fn show_life(&self, plan: &OpenPlan) {
        let (Some(drills), upkeep) = (&self.drills, &plan.agent.upkeep) else { return };
        if let Some(metrics) = &self.base.metrics {
            metrics.set_heartbeat(upkeep.heartbeat.as_ref().map(|heartbeat| heartbeat.every));
        }
        if let Some(beat) = upkeep.heartbeat.clone() {
            let heartbeat = Heartbeat {
                plan: beat,
                wire: plan.agent.wire.clone(),
                store: Arc::clone(&self.base.store),
                clock: self.base.clock.clone(),
                metrics: self.base.metrics.clone(),
                round: Arc::clone(&self.base.round),
                seen: Arc::clone(&self.base.seen),
            };
            self.keep(tokio::spawn(heartbeat.beat()));
        }
        if let (Some(surveyor), Some(every)) = (&self.surveyor, plan.agent.coverage_every) {
            self.keep(tokio::spawn(Arc::clone(surveyor).keep_looking(every)));
        }
        if let Some(schedule) = upkeep.drill.clone() {
            let (drills, clock) = (Arc::clone(drills), self.base.clock.clone());
            self.keep(tokio::spawn(async move {
                while let Some(next) = schedule.next(RouteId(0), clock.now()) {
                    clock.sleep_until(next).await;
                    if let Err(error) = Arc::clone(&drills).send(None).await {
                        warn!(%error, "no drill was sent, though it was due");
                    }
                }
            }));
        }
    }

    /// What has to be tidied.
    pub(super) fn keep_house(&self, craft: &Arc<Craft>) {
        if !self.base.is_daemon {
            return;
        }
        let base = self.base.clone();
        let craft = Arc::clone(craft);
        self.keep(tokio::spawn(async move {
            loop {
                tokio::time::sleep(TIDY_EVERY).await;
                let now = base.clock.now();
                if let Err(error) = base.store.thin(now).await {
                    warn!(%error, "could not thin the ledger");
                }
                let mut targets: Vec<_> = craft.targets.iter().collect();
                targets.sort_by_key(|(name, _)| (*name).clone());
                for (name, (target, _)) in targets {
                    let sweep = target.sweep(now.minus(ROWS_STAY));
                    match tokio::time::timeout(Duration::from_secs(60), sweep).await {
                        Ok(Ok(_)) => {}
                        Ok(Err(error)) => warn!(target = %name, %error, "could not sweep"),
                        Err(_) => warn!(target = %name, "sweep took too long"),
                    }
                }
            }
        }));
    }
}
