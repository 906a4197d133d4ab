//! The shelf: what was written on one platform, and which report can be made of it.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use super::Chore;
use crate::{
    agent::craft::Dice,
    canary::{
        Marker, Report, Timestamp,
        report::{Entry, ReportPlan, Source},
    },
    platform::diary::Batch,
};

/// Batches remembered that have not settled: so many in the time that settling takes.
const MARKS: u32 = 8;
/// One that was not taken for so long will not be.
const GIVEN_UP: Duration = Duration::from_secs(600);
/// Tables of so many days ago are removed, and of some days more: nobody was there to do it then.
const REMOVED: std::ops::Range<u32> = 2..9;
const DAY: Duration = Duration::from_secs(86_400);

/// What was written on one platform.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// The present book, and its table.
    book: Option<(Marker, String)>,
    /// Its last batch.
    number: u32,
    /// What stands in it of each run, as a hash: all that was taken.
    entries: HashMap<Marker, u64>,
    /// A batch that nobody is known to have taken, with the report of what stands there then. It is sent again
    /// before anything else is: one that takes long is gone on with.
    untaken: Option<(Batch, Arc<Report>)>,
    /// A report of it came back wrong.
    doubted: bool,
    /// Reports that can be made, or will be when their batch has settled; the newest last.
    marks: VecDeque<Mark>,
}

#[derive(Debug)]
struct Mark {
    report: Arc<Report>,
    composed_at: Timestamp,
    written_at: Option<Timestamp>,
}

fn hash_of(entry: &Entry) -> u64 {
    let mut hash = DefaultHasher::new();
    entry.hash(&mut hash);
    hash.finish()
}

impl Shelf {
    /// The report that can be made now, and what has to be done first.
    pub(super) fn compose(
        &mut self,
        plan: &ReportPlan,
        since: String,
        entries: Vec<Entry>,
        settles: Duration,
        now: Timestamp,
        dice: &Dice,
    ) -> (Arc<Report>, Chore) {
        let table = table_of(&plan.table, now);
        let mut removes = Vec::new();
        let book = match &self.book {
            Some((book, known)) if *known == table && !self.doubted => *book,
            known => {
                if known.as_ref().is_none_or(|(_, known)| *known != table) {
                    removes = REMOVED.map(|days| table_of(&plan.table, now.minus(DAY * days))).collect();
                }
                let book = dice.marker(now);
                self.book = Some((book, table.clone()));
                (self.number, self.doubted, self.untaken) = (0, false, None);
                self.entries.clear();
                book
            }
        };
        let source = |batch, since: String| Source { table: table.clone(), book, batch, since };
        let (report, batch) = match &self.untaken {
            Some((batch, report)) => (Arc::clone(report), Some(batch.clone())),
            None => {
                let current: HashSet<Marker> = entries.iter().map(|entry| entry.run).collect();
                self.entries.retain(|run, _| current.contains(run));
                let is_news = |entry: &&Entry| self.entries.get(&entry.run) != Some(&hash_of(entry));
                let news: Vec<Entry> = entries.iter().filter(is_news).cloned().collect();
                // The first makes the table, even if there is nothing to be written yet.
                let batch = (!news.is_empty() || self.number == 0).then(|| {
                    self.number += 1;
                    Batch { table: table.clone(), book, number: self.number, entries: news }
                });
                let report = Arc::new(Report::of(source(self.number, since.clone()), &entries));
                self.untaken = batch.clone().map(|batch| (batch, Arc::clone(&report)));
                (report, batch)
            }
        };
        let has_batch = batch.is_some();
        let chore = Chore { batch, removes };
        if settles.is_zero() {
            return (report, chore);
        }
        self.mark(report, has_batch, settles, now);
        let is_settled = |mark: &Mark| mark.written_at.is_some_and(|at| at.plus(settles) <= now);
        match self.marks.iter().rposition(is_settled) {
            Some(settled) => {
                // What is older is not read again.
                self.marks.drain(..settled);
                (Arc::clone(&self.marks[0].report), chore)
            }
            None => (Arc::new(Report::of(source(0, since), &[])), chore),
        }
    }

    /// Remembers a report that can be made when its batch has settled: not each of many that come in a row.
    fn mark(&mut self, report: Arc<Report>, has_batch: bool, settles: Duration, now: Timestamp) {
        self.marks.retain(|mark| mark.written_at.is_some() || now.since(mark.composed_at) < GIVEN_UP.max(settles * 2));
        let source = &report.source;
        let (book, batch) = (source.book, source.batch);
        let is_known = self.marks.iter().any(|mark| mark.report.source == *source);
        let is_soon = self
            .marks
            .back()
            .is_some_and(|mark| mark.report.source.book == book && now.since(mark.composed_at) < settles / MARKS);
        if is_known || is_soon {
            return;
        }
        // Nothing new: what was written last is all there is.
        let of_batch = |mark: &&Mark| mark.report.source.book == book && mark.report.source.batch == batch;
        let last = self.marks.iter().rev().find(of_batch).and_then(|mark| mark.written_at);
        let written_at = if has_batch { None } else { last };
        if has_batch || written_at.is_some() {
            self.marks.push_back(Mark { report, composed_at: now, written_at });
        }
    }

    /// A batch was taken.
    pub(super) fn written(&mut self, batch: &Batch, now: Timestamp) {
        for mark in &mut self.marks {
            let source = &mark.report.source;
            // Whoever reads up to a later batch than this waits for that one.
            if (source.book, source.batch) == (batch.book, batch.number) {
                mark.written_at.get_or_insert(now);
            }
        }
        if self.untaken.as_ref().is_some_and(|(known, _)| (known.book, known.number) == (batch.book, batch.number)) {
            self.untaken = None;
            self.entries.extend(batch.entries.iter().map(|entry| (entry.run, hash_of(entry))));
        }
    }

    /// Whether this is the present book, and was not doubted before.
    pub(super) fn doubt(&mut self, book: Marker) -> bool {
        let is_present = self.book.as_ref().is_some_and(|(known, _)| *known == book);
        is_present && !std::mem::replace(&mut self.doubted, true)
    }
}

fn table_of(prefix: &str, at: Timestamp) -> String {
    format!("{prefix}_{}", at.to_utc().format("%Y%m%d"))
}

#[cfg(test)]
mod tests;
