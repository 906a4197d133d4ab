//! Dogfood: the agent's own report, made by the platform that it watches of verdicts that the agent wrote
//! down there. What it must tell is taken from the ledger, and noted with the run before it is sent.
//!
//! Entries are written in batches of a *book*. A report names the last batch that it reads, so that what is
//! written while its query runs changes nothing. When a report came back wrong, another book is begun and
//! all is written anew: what an import lost is lost for the old one only. Until the new one can be read,
//! reports go on being made from the old one: nothing looks mended because nobody can see it.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tracing::{info, warn};

use super::craft::{Craft, Dice, Pad};
use crate::{
    canary::{
        CanaryName, Marker, PlatformName, Report, Route, RouteId, Run, Sample, Timestamp,
        report::{Entry, ReportPlan, Source, Stage, Stages, hour_of},
    },
    platform::diary::Batch,
    store::{StoreError, retention},
};

/// Most runs read of the ledger for one report; the config promises that there are fewer.
const MOST_RUNS: u32 = 100_000;
/// Batches remembered of which a report may still be made: half an hour of them and more.
const MARKS: usize = 16;
/// Tables of so many days ago are removed, and of some days more: nobody was there to do it then.
const REMOVED: std::ops::Range<u64> = 2..9;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// Which routes bring reports, and of what.
#[derive(Debug, Default)]
pub struct Reports {
    plans: HashMap<CanaryName, ReportPlan>,
    /// Routes that a platform's report tells of.
    told: HashMap<PlatformName, Vec<RouteId>>,
    shelves: Arc<Shelves>,
}

/// What was written on each platform. It outlives a reload, and no process.
#[derive(Debug, Default)]
pub struct Shelves(Mutex<HashMap<PlatformName, Shelf>>);

impl Shelves {
    /// Never held across an await.
    fn all(&self) -> MutexGuard<'_, HashMap<PlatformName, Shelf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has to be done on a platform before a report's query is sent.
#[derive(Clone, Debug, Default)]
pub struct Chore {
    batch: Option<Batch>,
    /// Tables that nobody reads any more.
    removes: Vec<String>,
}

impl Reports {
    /// Of a plan's canaries and routes.
    pub fn of<'p>(
        plans: impl Iterator<Item = (&'p CanaryName, &'p ReportPlan)>,
        routes: &[Arc<Route>],
        shelves: &Arc<Shelves>,
    ) -> Self {
        let plans: HashMap<CanaryName, ReportPlan> = plans.map(|(name, plan)| (name.clone(), plan.clone())).collect();
        let mut told: HashMap<PlatformName, Vec<RouteId>> = HashMap::new();
        if !plans.is_empty() {
            for route in routes {
                told.entry(route.platform.clone()).or_default().push(route.id);
            }
        }
        Self { plans, told, shelves: Arc::clone(shelves) }
    }

    fn plan(&self, route: &Route) -> Option<&ReportPlan> {
        self.plans.get(&route.canary)
    }

    /// The run as it is to be sent: one that is to bring a report, with the report; and what has to be done
    /// first. Any other as it is.
    pub async fn compose(&self, craft: &Craft, run: Arc<Run>) -> Result<(Arc<Run>, Option<Chore>), StoreError> {
        let Some((plan, pad)) = self.plan(&run.route).zip(craft.pads.get(&run.route.platform)) else {
            return Ok((run, None));
        };
        let Some(diary) = pad.driver.diary() else { return Ok((run, None)) };
        let now = craft.clock.now();
        let from = hour_before(now, plan.hours - 1);
        let told = self.told.get(&run.route.platform).map_or(&[][..], Vec::as_slice);
        let records = craft.store.judged(told, retention::first_marker_at(from), MOST_RUNS).await?;
        // More than the config foretold: hours that are not whole are left out.
        let oldest =
            records.iter().map(|record| record.run.terms.due).min().filter(|_| records.len() >= MOST_RUNS as usize);
        let from = oldest.map_or(from, |oldest| hour_before(oldest.plus(HOUR), 0).max(from));
        let whole = records.into_iter().filter(|record| record.run.terms.due >= from);
        let entries: Vec<Entry> =
            whole.filter_map(|record| Entry::of(&record.run.route, record.verdict.as_ref()?)).collect();
        let settles = plan.settles.unwrap_or_else(|| diary.settles());
        let mut shelves = self.shelves.all();
        let shelf = shelves.entry(run.route.platform.clone()).or_default();
        let (report, chore) = shelf.compose(plan, hour_of(from), entries, settles, now, &craft.dice);
        let sample = Sample::of(report.rows());
        Ok((Arc::new(Run { sample, report: Some(report), ..(*run).clone() }), Some(chore)))
    }

    /// Does what has to be done before the query. It may be done again if it fails.
    pub async fn prepare(
        &self,
        pad: &Pad,
        chore: &Chore,
        now: Timestamp,
    ) -> Result<(), crate::platform::PlatformError> {
        let Some(diary) = pad.driver.diary() else { return Ok(()) };
        if let Some(batch) = &chore.batch {
            diary.write(batch).await?;
            if let Some(shelf) = self.shelves.all().get_mut(&pad.name) {
                shelf.written(batch, now);
            }
        }
        for table in &chore.removes {
            // It costs room and nothing else if it stays.
            if let Err(error) = diary.remove(table).await {
                warn!(platform = %pad.name, table, %error, "could not remove an old table of verdicts");
                break;
            }
        }
        Ok(())
    }

    /// A report came back wrong: whatever it was made of is written anew, unless it was right and the output
    /// was not.
    pub fn doubt(&self, run: &Run, stages: Option<&Stages>) {
        let Some(report) = &run.report else { return };
        if stages.and_then(Stages::first_wrong) == Some(Stage::Output) {
            return;
        }
        if let Some(shelf) = self.shelves.all().get_mut(&run.route.platform)
            && shelf.doubt(report.source.book)
        {
            info!(platform = %run.route.platform, "verdicts are written anew for the next reports");
        }
    }
}

/// The start of the hour so many hours before the present one.
fn hour_before(now: Timestamp, hours: u32) -> Timestamp {
    let seconds = now.as_millis().div_euclid(1000);
    Timestamp::from_secs(seconds - seconds.rem_euclid(3600)).minus(HOUR * hours)
}

/// What was written on one platform.
#[derive(Debug, Default)]
struct Shelf {
    /// The present book, and its table.
    book: Option<(Marker, String)>,
    /// Its last batch.
    number: u32,
    /// What stands in it of each run, as a hash: all that was taken.
    entries: HashMap<Marker, u64>,
    /// A report of it came back wrong.
    doubted: bool,
    /// Reports that can be made, or will be when their batch has settled; the newest last.
    marks: VecDeque<Mark>,
}

#[derive(Debug)]
struct Mark {
    report: Arc<Report>,
    written_at: Option<Timestamp>,
}

fn hash_of(entry: &Entry) -> u64 {
    let mut hash = DefaultHasher::new();
    entry.hash(&mut hash);
    hash.finish()
}

impl Shelf {
    fn compose(
        &mut self,
        plan: &ReportPlan,
        since: String,
        entries: Vec<Entry>,
        settles: Duration,
        now: Timestamp,
        dice: &Dice,
    ) -> (Arc<Report>, Chore) {
        let table = table_of(&plan.table, now);
        let is_open = self.book.as_ref().is_some_and(|(_, known)| *known == table) && !self.doubted;
        let mut removes = Vec::new();
        if !is_open {
            if self.book.as_ref().is_none_or(|(_, known)| *known != table) {
                removes = REMOVED.map(|days| table_of(&plan.table, now.minus(DAY * days as u32))).collect();
            }
            self.book = Some((dice.marker(now), table.clone()));
            (self.number, self.doubted) = (0, false);
            self.entries.clear();
        }
        let book = self.book.as_ref().map_or_else(|| dice.marker(now), |(book, _)| *book);
        let current: HashSet<Marker> = entries.iter().map(|entry| entry.run).collect();
        self.entries.retain(|run, _| current.contains(run));
        let news: Vec<Entry> =
            entries.iter().filter(|entry| self.entries.get(&entry.run) != Some(&hash_of(entry))).cloned().collect();
        // The first makes the table, even if there is nothing to be written yet.
        let batch = (!news.is_empty() || self.number == 0).then(|| {
            self.number += 1;
            Batch { table: table.clone(), book, number: self.number, entries: news }
        });
        let source = |batch| Source { table: table.clone(), book, batch, since: since.clone() };
        let report = Arc::new(Report::of(source(self.number), &entries));
        // Nothing new: what was written last is all there is.
        let last = self.marks.iter().rev().find(|mark| mark.report.source.book == book);
        let written_at = if batch.is_some() { None } else { last.and_then(|mark| mark.written_at) };
        self.marks.push_back(Mark { report: Arc::clone(&report), written_at });
        let chore = Chore { batch, removes };
        let is_settled = |mark: &Mark| settles.is_zero() || mark.written_at.is_some_and(|at| at.plus(settles) <= now);
        let settled = self.marks.iter().rposition(is_settled);
        // What is older than what can be read is not read again; a platform that takes nothing does not fill memory.
        self.marks.drain(..settled.unwrap_or(0).max(self.marks.len().saturating_sub(MARKS)));
        let first = self.marks.front().filter(|_| settled.is_some()).map(|mark| Arc::clone(&mark.report));
        (first.unwrap_or_else(|| Arc::new(Report::of(source(0), &[]))), chore)
    }

    /// A batch was taken.
    fn written(&mut self, batch: &Batch, now: Timestamp) {
        for mark in &mut self.marks {
            let source = &mark.report.source;
            if (source.book, source.batch) == (batch.book, batch.number) {
                mark.written_at.get_or_insert(now);
            }
        }
        if self.book.as_ref().is_some_and(|(book, _)| *book == batch.book) {
            self.entries.extend(batch.entries.iter().map(|entry| (entry.run, hash_of(entry))));
        }
    }

    /// Whether this is the present book, and was not doubted before.
    fn doubt(&mut self, book: Marker) -> bool {
        let is_present = self.book.as_ref().is_some_and(|(known, _)| *known == book);
        is_present && !std::mem::replace(&mut self.doubted, true)
    }
}

fn table_of(prefix: &str, at: Timestamp) -> String {
    format!("{prefix}_{}", at.to_utc().format("%Y%m%d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_secs(1_440_417_600);

    struct Scene {
        shelf: Shelf,
        dice: Dice,
        plan: ReportPlan,
        now: Timestamp,
    }

    impl Scene {
        fn new() -> Self {
            let plan = ReportPlan { table: "verdicts".to_owned(), hours: 1, settles: None };
            Self { shelf: Shelf::default(), dice: Dice::seeded(1), plan, now: NOON }
        }

        fn compose(&mut self, runs: &[(u32, bool)], settles: u64) -> (Arc<Report>, Chore) {
            let entry = |(n, landed): &(u32, bool)| Entry {
                run: Marker::mint(Timestamp::from_secs(i64::from(*n)), 1),
                hour: hour_of(self.now),
                route: ["c", "p", "t", "append"].map(str::to_owned),
                landed: *landed,
                silent: !landed,
                latency_ms: landed.then_some(5),
            };
            let (entries, since) = (runs.iter().map(entry).collect(), hour_of(self.now));
            self.shelf.compose(&self.plan, since, entries, Duration::from_secs(settles), self.now, &self.dice)
        }

        fn take(&mut self, chore: &Chore) {
            self.shelf.written(chore.batch.as_ref().expect("a batch"), self.now);
        }
    }

    fn runs(report: &Report) -> i64 {
        report.entered.runs
    }

    fn written(chore: &Chore) -> Option<usize> {
        chore.batch.as_ref().map(|batch| batch.entries.len())
    }

    #[test]
    fn what_was_taken_is_not_written_again_unless_it_changed() {
        let mut scene = Scene::new();
        let (report, chore) = scene.compose(&[(1, true), (2, false)], 0);
        assert_eq!((runs(&report), written(&chore)), (2, Some(2)));
        // Nobody heard that it was taken: it is written again, in a later batch.
        let (report, chore) = scene.compose(&[(1, true), (2, false)], 0);
        assert_eq!((report.source.batch, written(&chore)), (2, Some(2)));
        scene.take(&chore);
        let (report, chore) = scene.compose(&[(1, true), (2, false)], 0);
        assert_eq!((report.source.batch, written(&chore)), (2, None));
        let (_, chore) = scene.compose(&[(1, true), (2, true), (3, true)], 0);
        assert_eq!(written(&chore), Some(2), "the one that was corrected and the new one");
    }

    #[test]
    fn where_imports_take_time_reports_are_of_what_has_settled() {
        let mut scene = Scene::new();
        let (report, chore) = scene.compose(&[(1, true)], 180);
        assert_eq!((runs(&report), report.source.batch, written(&chore)), (0, 0, Some(1)));
        scene.take(&chore);
        scene.now = NOON.plus(Duration::from_secs(100));
        let (report, chore) = scene.compose(&[(1, true), (2, true)], 180);
        assert_eq!(runs(&report), 0, "not yet");
        scene.take(&chore);
        scene.now = NOON.plus(Duration::from_secs(200));
        let (report, chore) = scene.compose(&[(1, true), (2, true), (3, true)], 180);
        assert_eq!((runs(&report), report.source.batch, written(&chore)), (1, 1, Some(1)));
        // The third was not taken: the second is told of as soon as it has settled.
        scene.now = NOON.plus(Duration::from_secs(300));
        assert_eq!(runs(&scene.compose(&[(1, true), (2, true), (3, true)], 180).0), 2);
    }

    #[test]
    fn after_a_wrong_report_all_is_written_into_another_book_and_the_old_one_is_told_of_until_then() {
        let mut scene = Scene::new();
        let (old, chore) = scene.compose(&[(1, true)], 0);
        scene.take(&chore);
        scene.now = NOON.plus(Duration::from_secs(300));
        assert!(scene.shelf.doubt(old.source.book) && !scene.shelf.doubt(old.source.book));
        let (report, chore) = scene.compose(&[(1, true), (2, true)], 180);
        assert_eq!(report.source.book, old.source.book, "what has settled is the old one");
        assert_eq!(written(&chore), Some(2));
        scene.take(&chore);
        assert!(!scene.shelf.doubt(old.source.book), "it is no longer the present one");
        scene.now = NOON.plus(Duration::from_secs(500));
        let (report, _) = scene.compose(&[(1, true), (2, true)], 180);
        assert_ne!(report.source.book, old.source.book);
        assert_eq!(runs(&report), 2);
    }

    #[test]
    fn each_day_has_a_table_and_old_ones_are_removed() {
        let mut scene = Scene::new();
        let (report, chore) = scene.compose(&[], 0);
        assert_eq!(report.source.table, "verdicts_20150824");
        assert_eq!(written(&chore), Some(0), "the table is made all the same");
        assert_eq!((chore.removes.first().map(String::as_str), chore.removes.len()), (Some("verdicts_20150822"), 7));
        scene.take(&chore);
        assert!(scene.compose(&[], 0).1.removes.is_empty());
        scene.now = NOON.plus(DAY);
        let (report, chore) = scene.compose(&[(1, true)], 0);
        assert_eq!((&*report.source.table, &*chore.removes[0]), ("verdicts_20150825", "verdicts_20150823"));
        assert_eq!(written(&chore), Some(1), "a book does not go on in another table");
    }
}
