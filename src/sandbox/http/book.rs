//! The book of jobs: every job that is running, and finished ones until the book is full.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::watch;

use crate::{
    canary::{Mode, Timestamp},
    sandbox::{Life, Place, sql::Rowset},
};

/// Finished jobs kept: three days of a canary every five seconds.
const MOST_FINISHED: usize = 50_000;
/// Bytes of queries, results and logs kept with them.
const MOST_BYTES: usize = 256 << 20;
/// Jobs at work at once; more are refused.
pub(super) const MOST_AT_WORK: usize = 5_000;

/// Where a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Queued,
    Running,
    Success,
    Error,
    Killed,
}

impl Status {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Status::Queued => "queued",
            Status::Running => "running",
            Status::Success => "success",
            Status::Error => "error",
            Status::Killed => "killed",
        }
    }

    pub(super) fn is_final(self) -> bool {
        matches!(self, Status::Success | Status::Error | Status::Killed)
    }
}

/// A result as it is kept.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// `msgpack.gz`, the form in which its size is told.
    pub(super) packed: Arc<[u8]>,
    /// `hive_result_schema`.
    pub(super) schema: String,
    /// Names and types of the columns; no rows.
    pub(super) shape: Arc<Rowset>,
    pub(super) rows: usize,
}

/// A job.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) id: u64,
    pub(super) account: usize,
    /// `hive`, `presto`, `trino` or `result_export`.
    pub(super) kind: String,
    /// Who submitted it, if it was not the account itself.
    pub(super) owner: Option<Arc<str>>,
    /// The platform of the world that runs it.
    pub(super) platform: String,
    pub(super) query: Arc<str>,
    pub(super) database: String,
    /// Result Output URL with secrets masked; empty if none.
    pub(super) result_url: String,
    /// What faults call its output: target and mode.
    pub(super) output: Option<(&'static str, Mode)>,
    pub(super) priority: i64,
    pub(super) retry_limit: i64,
    pub(super) domain_key: Option<String>,
    pub(super) created_at: Timestamp,
    pub(super) started_at: Option<Timestamp>,
    /// When its result began to be written out, as far as a job of its own does that.
    pub(super) exports_at: Option<Timestamp>,
    pub(super) ended_at: Option<Timestamp>,
    pub(super) updated_at: Timestamp,
    pub(super) status: Status,
    pub(super) result: Option<Stored>,
    pub(super) cmdout: String,
    pub(super) stderr: String,
    /// On a query: the job that exports its result.
    pub(super) linked_export: Option<u64>,
    /// On an export: the job whose result it exports.
    pub(super) export_of: Option<u64>,
    /// Where it happens and what the engine decided, for faults.
    pub(super) place: Place,
    pub(super) life: Life,
    pub(super) stop: Stop,
}

/// Stops a job: a flag for the SQL engine, a signal for whoever waits.
#[derive(Clone, Debug)]
pub(super) struct Stop {
    flag: Arc<AtomicBool>,
    signal: watch::Sender<bool>,
}

impl Stop {
    pub(super) fn new() -> Self {
        Self { flag: Arc::default(), signal: watch::Sender::new(false) }
    }

    pub(super) fn now(&self) {
        self.flag.store(true, Ordering::Relaxed);
        self.signal.send_replace(true);
    }

    pub(super) fn flag(&self) -> &Arc<AtomicBool> {
        &self.flag
    }

    /// Returns once it was asked to stop.
    pub(super) async fn asked(&self) {
        // The sender lives as long as `self`, so the wait ends by the signal alone.
        let _ = self.signal.subscribe().wait_for(|stop| *stop).await;
    }
}

impl Job {
    /// Where it was at a time.
    pub(super) fn status_at(&self, at: Timestamp) -> Status {
        if self.ended_at.is_some_and(|ended| ended <= at) {
            self.status
        } else if self.started_at.is_some_and(|started| started <= at) {
            Status::Running
        } else {
            Status::Queued
        }
    }

    /// The job as it was at a time: what came later is not told.
    pub(super) fn as_of(&self, at: Timestamp) -> Job {
        let mut job = self.clone();
        job.status = self.status_at(at);
        if !job.status.is_final() {
            (job.ended_at, job.result) =
                (None, job.result.filter(|_| self.exports_at.is_some_and(|began| began <= at)));
            job.stderr.clear();
            job.updated_at = job.updated_at.min(at);
        }
        if job.status == Status::Queued {
            job.started_at = None;
            job.cmdout.clear();
        }
        if job.exports_at.is_some_and(|began| began > at) {
            (job.exports_at, job.linked_export) = (None, None);
        }
        job
    }

    /// How long it has run, or ran.
    pub(super) fn milliseconds(&self) -> i64 {
        let (Some(start), Some(end)) = (self.started_at, self.ended_at) else { return 0 };
        end.as_millis() - start.as_millis()
    }

    fn weight(&self) -> usize {
        let result = self.result.as_ref().map_or(0, |result| result.packed.len() + result.schema.len());
        512 + self.query.len() + self.cmdout.len() + self.stderr.len() + self.result_url.len() + result
    }
}

/// All jobs by number, and by domain key.
#[derive(Debug, Default)]
pub(super) struct Book {
    jobs: BTreeMap<u64, Job>,
    /// By when they were accepted: those of the past may have been entered later.
    order: BTreeSet<(Timestamp, u64)>,
    keys: HashMap<(usize, String), u64>,
    at_work: usize,
    bytes: usize,
    last: u64,
}

impl Book {
    /// The number of the next job.
    pub(super) fn next_id(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(super) fn at_work(&self) -> usize {
        self.at_work
    }

    pub(super) fn add(&mut self, job: Job) {
        if let Some(key) = &job.domain_key {
            self.keys.insert((job.account, key.clone()), job.id);
        }
        self.at_work += usize::from(!job.status.is_final());
        self.bytes += job.weight();
        self.order.insert((job.created_at, job.id));
        self.jobs.insert(job.id, job);
        self.shed();
    }

    pub(super) fn get(&self, id: u64) -> Option<&Job> {
        self.jobs.get(&id)
    }

    pub(super) fn by_key(&self, account: usize, key: &str) -> Option<u64> {
        self.keys.get(&(account, key.to_owned())).copied()
    }

    /// Changes a job and keeps the sums right. A finished job stays as it is.
    pub(super) fn change(&mut self, id: u64, now: Timestamp, change: impl FnOnce(&mut Job)) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| !job.status.is_final()) else { return };
        let before = job.weight();
        change(job);
        job.updated_at = now;
        self.bytes = self.bytes + job.weight() - before;
        if job.status.is_final() {
            job.ended_at = Some(now);
            self.at_work -= 1;
        }
        self.shed();
    }

    /// All jobs, newest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &Job> {
        self.order.iter().rev().filter_map(|(_, id)| self.jobs.get(id))
    }

    /// The oldest finished jobs go once there are too many, or too much of them.
    fn shed(&mut self) {
        while self.jobs.len() - self.at_work > MOST_FINISHED || self.bytes > MOST_BYTES {
            let is_over = |id: &u64| self.jobs.get(id).is_some_and(|job| job.status.is_final());
            let oldest = self.order.iter().map(|(_, id)| *id).find(is_over);
            let Some(gone) = oldest.and_then(|id| self.jobs.remove(&id)) else { return };
            self.order.remove(&(gone.created_at, gone.id));
            self.bytes -= gone.weight();
            if let Some(key) = gone.domain_key {
                self.keys.remove(&(gone.account, key));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::{Engine, World};

    fn life() -> Life {
        let mut engine = Engine::new(World::brisk(), Vec::new(), 1);
        let ticket = engine.ticket(&Place::default());
        engine.begin(ticket, &Place::default(), Timestamp::EPOCH)
    }

    fn job(id: u64, key: &str) -> Job {
        Job {
            id,
            account: 0,
            kind: "presto".to_owned(),
            owner: None,
            platform: "presto".to_owned(),
            query: "x".repeat(1 << 20).into(),
            database: "db".to_owned(),
            result_url: String::new(),
            output: None,
            priority: 0,
            retry_limit: 0,
            domain_key: Some(key.to_owned()),
            created_at: Timestamp::EPOCH,
            started_at: None,
            exports_at: None,
            ended_at: None,
            updated_at: Timestamp::EPOCH,
            status: Status::Queued,
            result: None,
            cmdout: String::new(),
            stderr: String::new(),
            linked_export: None,
            export_of: None,
            place: Place::default(),
            life: life(),
            stop: Stop::new(),
        }
    }

    #[test]
    fn a_full_book_forgets_the_oldest_finished_jobs_and_never_one_at_work() {
        let mut book = Book::default();
        for id in 1..=300 {
            book.add(job(id, &format!("key{id}")));
            if id > 1 {
                book.change(id, Timestamp::EPOCH, |job| job.status = Status::Success);
            }
        }
        assert!(book.get(1).is_some() && book.get(2).is_none() && book.get(300).is_some());
        assert_eq!((book.by_key(0, "key2"), book.by_key(0, "key300")), (None, Some(300)));
        assert!(book.bytes <= MOST_BYTES && book.at_work() == 1);
    }

    #[test]
    fn a_finished_job_stays_as_it_is() {
        let mut book = Book::default();
        book.add(job(1, "k"));
        book.change(1, Timestamp::EPOCH, |job| job.status = Status::Killed);
        book.change(1, Timestamp::EPOCH, |job| job.status = Status::Success);
        assert_eq!(book.get(1).map(|job| job.status), Some(Status::Killed));
        assert_eq!(book.at_work(), 0);
    }
}
