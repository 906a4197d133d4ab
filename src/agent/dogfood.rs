//! Dogfood: the agent's own report, made by the platform that it watches of verdicts that the agent wrote
//! down there. What it must tell is taken from the ledger, and noted with the run before it is sent.
//!
//! Entries are written in batches of a *book*. A report names the last batch that it reads, so that what is
//! written while its query runs changes nothing. When a report came back wrong, another book is begun and
//! all is written anew: what an import lost is lost for the old one only. Until the new one can be read,
//! reports go on being made from the old one: nothing looks mended because nobody can see it. After a start
//! or reload nothing is reported before something can be read: a report of nothing proves nothing.

mod shelf;
pub mod stages;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tracing::{info, warn};

use self::shelf::Shelf;
use super::{
    clock::Clock,
    craft::{Craft, Pad},
};
use crate::{
    canary::{
        CanaryName, PlatformName, Route, RouteId, Run, Sample, Timestamp,
        report::{Entry, ReportPlan, hour_of},
        stages::{Stage, Stages},
    },
    platform::{PlatformError, diary::Batch},
    store::{StoreError, retention},
};

/// Most runs read of the ledger for one report: twice what the config lets the schedule send, since runs are sent
/// twice as often after a deploy.
const MOST_RUNS: u32 = 2 * ReportPlan::MOST_RUNS;
/// Longest time for entries that are written before there is a report to be sent.
const WRITES: Duration = Duration::from_secs(20);
const HOUR: Duration = Duration::from_secs(3600);

/// Which routes bring reports, and of what. Another config has others, and begins other books: of other
/// routes, or somewhere else.
#[derive(Debug, Default)]
pub struct Reports {
    plans: HashMap<CanaryName, ReportPlan>,
    /// Routes that a platform's report tells of.
    told: HashMap<PlatformName, Vec<RouteId>>,
    /// What was written on each platform. Held while a report is made of the ledger: two of them tell of it in
    /// the order of their batches.
    shelves: Mutex<HashMap<PlatformName, Arc<tokio::sync::Mutex<Shelf>>>>,
}

/// What has to be done on a platform before a report's query is sent.
#[derive(Clone, Debug, Default)]
pub struct Chore {
    batch: Option<Batch>,
    /// Tables that nobody reads any more.
    removes: Vec<String>,
}

/// A run as it is to be sent.
pub enum Composed {
    /// Now, with what has to be done first.
    Ready(Arc<Run>, Chore),
    /// Not now: there is something to tell, and none of it can be queried yet.
    NotYet,
}

impl Reports {
    /// Whether runs over a route bring reports.
    pub fn brings(&self, route: &Route) -> bool {
        self.plans.contains_key(&route.canary)
    }

    /// Of a plan's canaries and routes.
    pub fn of<'p>(plans: impl Iterator<Item = (&'p CanaryName, &'p ReportPlan)>, routes: &[Arc<Route>]) -> Self {
        let plans: HashMap<CanaryName, ReportPlan> = plans.map(|(name, plan)| (name.clone(), plan.clone())).collect();
        let mut told: HashMap<PlatformName, Vec<RouteId>> = HashMap::new();
        if !plans.is_empty() {
            for route in routes {
                told.entry(route.platform.clone()).or_default().push(route.id);
            }
        }
        Self { plans, told, shelves: Mutex::default() }
    }

    fn shelf(&self, platform: &PlatformName) -> Arc<tokio::sync::Mutex<Shelf>> {
        // Never held across an await.
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(shelves.entry(platform.clone()).or_default())
    }

    /// The run as it is to be sent: one that is to bring a report, with the report; and what has to be done
    /// first. Any other as it is.
    pub async fn compose(&self, craft: &Craft, run: Arc<Run>) -> Result<Composed, StoreError> {
        let found = self.plans.get(&run.route.canary).zip(craft.pads.get(&run.route.platform));
        let Some((plan, pad)) = found else { return Ok(Composed::Ready(run, Chore::default())) };
        let Some(diary) = pad.driver.diary() else { return Ok(Composed::Ready(run, Chore::default())) };
        let shelf = self.shelf(&run.route.platform);
        let mut shelf = shelf.lock().await;
        let now = craft.clock.now();
        let from = hour_before(now, plan.hours - 1);
        let told = self.told.get(&run.route.platform).map_or(&[][..], Vec::as_slice);
        let records = craft.store.judged(told, retention::first_marker_at(from), MOST_RUNS).await?;
        // More than the config foretold: hours that are not whole are left out.
        let oldest = records.iter().map(|record| record.run.terms.due).min();
        let oldest = oldest.filter(|_| records.len() >= MOST_RUNS as usize);
        let from = oldest.map_or(from, |oldest| hour_before(oldest.plus(HOUR), 0).max(from));
        let whole = records.into_iter().filter(|record| record.run.terms.due >= from);
        let entries: Vec<Entry> =
            whole.filter_map(|record| Entry::of(&record.run.route, record.verdict.as_ref()?)).collect();
        let settles = plan.settles.unwrap_or_else(|| diary.settles());
        let has_entries = !entries.is_empty();
        let (report, chore) = shelf.compose(plan, hour_of(from), entries, settles, now, &craft.dice);
        drop(shelf);
        let tells_nothing = report.entered.runs == 0;
        if has_entries && tells_nothing {
            let written = tokio::time::timeout(WRITES, self.prepare(pad, &chore, &craft.clock)).await;
            if matches!(written, Ok(Ok(()))) {
                return Ok(Composed::NotYet);
            }
            // That nothing can be written is worth a verdict: the run meets the same trouble.
        }
        let sample = Sample::of(report.rows());
        Ok(Composed::Ready(Arc::new(Run { sample, report: Some(report), ..(*run).clone() }), chore))
    }

    /// Does what has to be done before the query. It may be done again if it fails.
    pub async fn prepare(&self, pad: &Pad, chore: &Chore, clock: &Clock) -> Result<(), PlatformError> {
        let Some(diary) = pad.driver.diary() else { return Ok(()) };
        if let Some(batch) = &chore.batch {
            diary.write(batch).await?;
            self.shelf(&pad.name).lock().await.written(batch, clock.now());
        }
        if !chore.removes.is_empty() {
            // No run waits for it, and it costs room and nothing else if it fails.
            let (driver, name, tables) = (Arc::clone(&pad.driver), pad.name.clone(), chore.removes.clone());
            tokio::spawn(async move {
                for table in tables {
                    let Some(diary) = driver.diary() else { return };
                    if let Err(error) = diary.remove(&table).await {
                        warn!(platform = %name, table, %error, "could not remove an old table of verdicts");
                    }
                }
            });
        }
        Ok(())
    }

    /// A report came back wrong: whatever it was made of is written anew, unless it was right and the output
    /// was not.
    pub async fn doubt(&self, run: &Run, stages: Option<&Stages>) {
        let Some(report) = &run.report else { return };
        if stages.and_then(Stages::first_wrong) == Some(Stage::Output) {
            return;
        }
        if self.shelf(&run.route.platform).lock().await.doubt(report.source.book) {
            info!(platform = %run.route.platform, "verdicts are written anew for the next reports");
        }
    }
}

/// The start of the hour so many hours before the present one.
fn hour_before(now: Timestamp, hours: u32) -> Timestamp {
    now.hour().minus(HOUR * hours)
}
