//! The ledger in an SQLite file: one thread writes, in groups that share one commit; two read.
//!
//! A call that changes something returns after its commit is on disk. The file belongs to one
//! process at a time. What fails (disk full, broken disk) fails that call, and the next one is
//! tried afresh.

mod apply;
mod compact;
mod read;
mod schema;
mod thin;
mod write;

use std::{
    fs::{File, TryLockError},
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;

use self::{
    read::Readers,
    write::{Answer, Write, Writer},
};
use super::{Counts, Delivery, JournalEntry, Notice, Opening, RunRecord, Settlement, Store, StoreError, retention};
use crate::{
    canary::{Away, Evidence, Marker, RouteId, Run, TargetName, Timestamp},
    detect::{Deploy, Incident, IncidentId},
};

/// The ledger in an SQLite file.
#[derive(Debug)]
pub struct Sqlite {
    // The order matters: threads end before the lock goes.
    writer: Writer,
    readers: Readers,
    _lock: File,
}

/// Most rows of one answer: what nobody can read does not fill memory.
const MOST: u32 = 10_000;
/// Between two commits. A run is submitted, asked about and judged that much later at most, which is
/// nothing beside the half second between two looks; a flush of the disk for each would cost more
/// than all else that the agent does for a run.
const REST: Duration = Duration::from_millis(100);

impl Sqlite {
    /// Opens the ledger, makes it if it is not there, and brings an older one up to date, with a
    /// backup beside it named by `now`.
    pub fn open(path: &Path, now: Timestamp) -> Result<Self, StoreError> {
        Self::open_with(path, now, REST)
    }

    /// As `open`, with another rest between two commits: none for a caller that writes one thing after
    /// the other, with nobody to share a commit with.
    pub fn open_with(path: &Path, now: Timestamp, rest: Duration) -> Result<Self, StoreError> {
        let lock = lock(path)?;
        let connection = schema::open(path, now)?;
        let readers = Readers::start(path)?;
        let writer = Writer::start(connection, path, rest)?;
        Ok(Self { writer, readers, _lock: lock })
    }

    async fn write(&self, write: Write) -> Result<Answer, StoreError> {
        self.writer.write(write).await
    }
}

/// Takes the lock that keeps a second process out. It goes with the process, however that ends.
fn lock(path: &Path) -> Result<File, StoreError> {
    let unavailable =
        |error: std::io::Error| StoreError::Unavailable { detail: format!("{}: {error}", path.display()) };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Two names of one file have one lock.
    let folder = folder.canonicalize().map_err(unavailable)?;
    let whole = folder.join(path.file_name().unwrap_or(path.as_os_str()));
    let mut beside: PathBuf = whole.canonicalize().unwrap_or(whole);
    beside.as_mut_os_string().push(".lock");
    let mut file =
        File::options().read(true).write(true).create(true).truncate(false).open(&beside).map_err(unavailable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = std::fs::read_to_string(&beside).unwrap_or_default();
            return Err(StoreError::InUse { by: holder.trim().chars().take(40).collect() });
        }
        Err(TryLockError::Error(error)) => return Err(unavailable(error)),
    }
    // For people only: a lock that cannot say who holds it still locks.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "process {}", std::process::id()));
    Ok(file)
}

#[async_trait]
impl Store for Sqlite {
    async fn begin(&self, run: &Run) -> Result<(), StoreError> {
        self.write(Write::Begin(Box::new(run.clone()))).await.map(drop)
    }

    async fn progress(&self, run: Marker, handle: Option<&str>, evidence: &Evidence) -> Result<(), StoreError> {
        let evidence = compact::encode(run, evidence);
        self.write(Write::Progress { run, handle: handle.map(str::to_owned), evidence }).await.map(drop)
    }

    async fn settle(&self, settlement: Settlement) -> Result<(), StoreError> {
        self.write(Write::Settle(Box::new(settlement))).await.map(drop)
    }

    async fn pending(&self) -> Result<Vec<RunRecord>, StoreError> {
        self.readers.ask(|reader| reader.pending()).await
    }

    async fn watched(&self, now: Timestamp) -> Result<Vec<RunRecord>, StoreError> {
        self.readers.ask(move |reader| reader.watched(now)).await
    }

    async fn run(&self, run: Marker) -> Result<Option<RunRecord>, StoreError> {
        self.readers.ask(move |reader| reader.run(run)).await
    }

    async fn runs(&self, route: Option<RouteId>, limit: u32) -> Result<Vec<RunRecord>, StoreError> {
        self.readers.ask(move |reader| reader.runs(route, limit.min(MOST))).await
    }

    async fn runs_before(&self, route: RouteId, until: Marker, limit: u32) -> Result<Vec<RunRecord>, StoreError> {
        self.readers.ask(move |reader| reader.runs_before(route, until, limit.min(MOST))).await
    }

    async fn judged(&self, routes: &[RouteId], from: Marker, limit: u32) -> Result<Vec<RunRecord>, StoreError> {
        let routes = routes.to_vec();
        self.readers.ask(move |reader| reader.judged(&routes, from, limit)).await
    }

    async fn incidents(&self, limit: u32) -> Result<Vec<Incident>, StoreError> {
        self.readers.ask(move |reader| reader.incidents(limit.min(MOST))).await
    }

    async fn incident(&self, id: &IncidentId) -> Result<Option<Incident>, StoreError> {
        let id = id.clone();
        self.readers.ask(move |reader| reader.incident(&id)).await
    }

    async fn deploys(&self, limit: u32) -> Result<Vec<Deploy>, StoreError> {
        self.readers.ask(move |reader| reader.deploys(limit.min(MOST))).await
    }

    async fn keep_delivery(&self, target: &TargetName, delivery: Delivery) -> Result<(), StoreError> {
        self.write(Write::Delivery { target: target.clone(), delivery }).await.map(drop)
    }

    async fn deliveries(&self, target: &TargetName, runs: &[Marker]) -> Result<Vec<Delivery>, StoreError> {
        let (target, runs) = (target.clone(), runs.to_vec());
        self.readers.ask(move |reader| reader.deliveries(&target, &runs)).await
    }

    async fn sweep_deliveries(&self, target: &TargetName, older_than: Timestamp) -> Result<u64, StoreError> {
        let mut swept = 0;
        loop {
            let removed = self.write(Write::SweepDeliveries { target: target.clone(), older_than }).await?.count();
            swept += removed;
            if removed == 0 {
                return Ok(swept);
            }
        }
    }

    async fn beat(&self, since: Timestamp, now: Timestamp) -> Result<(), StoreError> {
        self.write(Write::Beat { since, now }).await.map(drop)
    }

    async fn away(&self, since: Timestamp) -> Result<Vec<Away>, StoreError> {
        self.readers.ask(move |reader| reader.away(since)).await
    }

    async fn last_beat(&self) -> Result<Option<Timestamp>, StoreError> {
        self.readers.ask(|reader| reader.last_beat()).await
    }

    async fn snapshot(&self) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        self.readers.ask(|reader| reader.snapshot()).await
    }

    async fn keep_snapshot(&self, seq: u64, state: Vec<u8>) -> Result<(), StoreError> {
        self.write(Write::Snapshot { seq, state }).await.map(drop)
    }

    async fn journal(&self, after: u64) -> Result<Vec<JournalEntry>, StoreError> {
        self.readers.ask(move |reader| reader.journal(after)).await
    }

    async fn untold(&self) -> Result<Vec<Notice>, StoreError> {
        self.readers.ask(|reader| reader.untold()).await
    }

    async fn keep_openings(&self, openings: Vec<Opening>, taken: Vec<String>, at: Timestamp) -> Result<(), StoreError> {
        self.write(Write::Openings { openings, taken, at }).await.map(drop)
    }

    async fn open_letters(&self) -> Result<Vec<Opening>, StoreError> {
        self.readers.ask(|reader| reader.open_letters()).await
    }

    async fn openings(&self, limit: u32) -> Result<Vec<Opening>, StoreError> {
        self.readers.ask(move |reader| reader.openings(limit)).await
    }

    async fn counts(&self) -> Result<Counts, StoreError> {
        self.readers.ask(|reader| reader.counts()).await
    }

    async fn thin(&self, now: Timestamp) -> Result<(), StoreError> {
        // Greens, from where the last pass ended, then what is too old altogether. Each step is a
        // write of its own, so that commits of runs pass between.
        let mut from = self.readers.ask(|reader| reader.thinned_to()).await?;
        let mut resume = None;
        loop {
            let thinned = self.write(Write::ThinGreens { from, now }).await?;
            let Answer::Thinned { next, skipped } = thinned else { break };
            resume = resume.or(skipped);
            let Some(next) = next else { break };
            from = next;
        }
        let end = retention::first_marker_at(now.minus(retention::GREENS_WHOLE));
        self.write(Write::ThinnedTo(resume.unwrap_or(end))).await?;
        while self.write(Write::ThinOld { now }).await?.count() > 0 {}
        let mut from = 0;
        while let Answer::ThinnedDeliveries { next: Some(next) } =
            self.write(Write::ThinDeliveries { from, now }).await?
        {
            from = next;
        }
        self.write(Write::ThinRest { now }).await.map(drop)
    }

    async fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        let name = name.to_owned();
        self.readers.ask(move |reader| reader.setting(&name)).await
    }

    async fn keep_setting(&self, name: &str, value: &str) -> Result<(), StoreError> {
        self.write(Write::Setting { name: name.to_owned(), value: value.to_owned() }).await.map(drop)
    }
}

/// What SQLite says, as the seam says it.
fn failure(error: &rusqlite::Error) -> StoreError {
    use rusqlite::{Error, ErrorCode};
    let detail = error.to_string();
    match error {
        Error::SqliteFailure(cause, _)
            if matches!(cause.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) =>
        {
            StoreError::Corrupt { detail }
        }
        Error::FromSqlConversionFailure(..) | Error::InvalidColumnType(..) | Error::IntegralValueOutOfRange(..) => {
            StoreError::Corrupt { detail }
        }
        _ => StoreError::Unavailable { detail },
    }
}
