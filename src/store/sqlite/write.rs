//! The writer: one thread, one connection. It takes what waits, writes it in one transaction, and
//! answers everybody after the commit, so that a hundred runs cost one flush of the disk.
//!
//! After each commit it rests, so that the next one gathers more: what a commit costs hardly depends
//! on how much is in it, and who waits for it has time, except for those who page people. What comes while it rests is not known to be
//! kept until the next commit has returned, as ever.

use std::{
    path::{Path, PathBuf},
    thread::JoinHandle,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{mpsc, oneshot};

use super::{apply::Book, failure, schema};
use crate::{
    canary::{Marker, Run, TargetName, Timestamp},
    store::{Delivery, Opening, Settlement, StoreError},
};

/// One change. It may be applied twice (a group that fails is tried again one by one), so it is
/// only read.
#[derive(Debug)]
pub(super) enum Write {
    Begin(Box<Run>),
    Progress {
        run: Marker,
        handle: Option<String>,
        evidence: Vec<u8>,
    },
    Settle(Box<Settlement>),
    Delivery {
        target: TargetName,
        delivery: Delivery,
    },
    SweepDeliveries {
        target: TargetName,
        older_than: Timestamp,
    },
    Beat {
        since: Timestamp,
        now: Timestamp,
    },
    Snapshot {
        seq: u64,
        state: Vec<u8>,
    },
    Openings {
        openings: Vec<Opening>,
        taken: Vec<String>,
        at: Timestamp,
    },
    Setting {
        name: String,
        value: String,
    },
    /// Thins a few greens from a marker on.
    ThinGreens {
        from: Marker,
        now: Timestamp,
    },
    /// Notes how far greens are thinned.
    ThinnedTo(Marker),
    /// Removes a few runs that are too old altogether.
    ThinOld {
        now: Timestamp,
    },
    /// Removes a few deliveries from an id on.
    ThinDeliveries {
        from: i64,
        now: Timestamp,
    },
    /// Removes told notices, up-intervals and shapes that are no longer needed.
    ThinRest {
        now: Timestamp,
    },
}

impl Write {
    /// Somebody waits for it who is to be paged.
    fn is_urgent(&self) -> bool {
        match self {
            Write::Settle(settlement) => !settlement.notices.is_empty(),
            Write::Openings { .. } => true,
            _ => false,
        }
    }
}

/// What a change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    Removed(u64),
    /// Where the next step begins (none: nothing is left), and the first run that was passed over
    /// because it is pending or watched.
    Thinned {
        next: Option<Marker>,
        skipped: Option<Marker>,
    },
    ThinnedDeliveries {
        next: Option<i64>,
    },
}

impl Answer {
    pub(super) fn count(self) -> u64 {
        match self {
            Answer::Removed(n) => n,
            _ => 0,
        }
    }
}

/// Most changes in one commit: enough to share the flush, few enough that nobody waits long.
const GROUP: usize = 512;
/// Changes that may wait. A caller beyond that waits to be let in, so a stalled disk does not fill
/// memory.
const WAITING: usize = 2_048;

type Reply = oneshot::Sender<Result<Answer, StoreError>>;

/// The way to the writer's thread.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<mpsc::Sender<(Write, Reply)>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// `rest`: how long it waits after each commit.
    pub(super) fn start(connection: Connection, path: &Path, rest: Duration) -> Result<Self, StoreError> {
        let (queue, waiting) = mpsc::channel(WAITING);
        let mut pen = Pen { book: Book::new(connection), path: path.to_owned(), rest, broken: false };
        let thread = std::thread::Builder::new().name("ledger".into()).spawn(move || pen.run(waiting));
        let thread = thread.map_err(|error| StoreError::Unavailable { detail: error.to_string() })?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    pub(super) async fn write(&self, write: Write) -> Result<Answer, StoreError> {
        let gone = || StoreError::Unavailable { detail: "the ledger's thread has ended".to_owned() };
        let (reply, answer) = oneshot::channel();
        let is_urgent = write.is_urgent();
        self.queue.as_ref().ok_or_else(gone)?.send((write, reply)).await.map_err(|_| gone())?;
        if is_urgent && let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
        answer.await.map_err(|_| gone())?
    }
}

impl Drop for Writer {
    /// What waits is still written: its callers may be gone, its meaning is not.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread's own.
struct Pen {
    book: Book,
    path: PathBuf,
    rest: Duration,
    /// The last transaction could not even be begun or undone: the connection is to be made anew.
    broken: bool,
}

impl Pen {
    fn run(&mut self, mut waiting: mpsc::Receiver<(Write, Reply)>) {
        while let Some(first) = waiting.blocking_recv() {
            let mut group = vec![first];
            while group.len() < GROUP
                && let Ok(next) = waiting.try_recv()
            {
                group.push(next);
            }
            let (writes, replies): (Vec<Write>, Vec<Reply>) = group.into_iter().unzip();
            for (reply, answer) in replies.into_iter().zip(self.write(&writes)) {
                // A caller that went away does not need the answer.
                let _ = reply.send(answer);
            }
            self.have_a_rest(&waiting);
        }
    }

    /// Ends early if somebody is to be paged, or nobody can come any more.
    fn have_a_rest(&self, waiting: &mpsc::Receiver<(Write, Reply)>) {
        let is_last = waiting.is_closed() && waiting.is_empty();
        if !is_last {
            std::thread::park_timeout(self.rest);
        }
    }

    /// Writes all in one transaction; if that fails, each in its own, so that one change that
    /// cannot be made does not take others with it.
    fn write(&mut self, writes: &[Write]) -> Vec<Result<Answer, StoreError>> {
        match self.together(writes) {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            Err(error) if writes.len() == 1 => vec![Err(error)],
            Err(_) => writes
                .iter()
                .map(|write| {
                    let mut answers = self.together(std::slice::from_ref(write))?;
                    Ok(answers.pop().unwrap_or(Answer::Done))
                })
                .collect(),
        }
    }

    fn together(&mut self, writes: &[Write]) -> Result<Vec<Answer>, StoreError> {
        if self.broken {
            let connection = schema::connect(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE);
            self.book = Book::new(connection.map_err(|error| failure(&error))?);
            self.broken = false;
        }
        let written = self.book.commit(writes);
        if written.is_err() {
            self.broken = self.book.give_up().is_err();
        }
        written.map_err(|error| failure(&error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pen(folder: &Path) -> Pen {
        let path = folder.join("ledger.db");
        let connection = schema::open(&path, Timestamp::EPOCH).expect("opens");
        Pen { book: Book::new(connection), path, rest: Duration::ZERO, broken: false }
    }

    fn setting(name: &str, length: usize) -> Write {
        Write::Setting { name: name.into(), value: "x".repeat(length) }
    }

    #[test]
    fn a_full_disk_fails_what_does_not_fit_and_nothing_else_and_passes() {
        let folder = tempfile::tempdir().expect("folder");
        let mut pen = pen(folder.path());
        let pages: i64 = pen.book.connection().pragma_query_value(None, "page_count", |row| row.get(0)).expect("pages");
        // The file may not grow: what a full disk does to it.
        pen.book.connection().pragma_update(None, "max_page_count", pages).expect("set");
        let answers = pen.write(&[setting("small", 10), setting("large", 1 << 20), setting("last", 10)]);
        assert!(matches!(answers[1], Err(StoreError::Unavailable { .. })), "{answers:?}");
        assert!(answers[0].is_ok() && answers[2].is_ok(), "{answers:?}");
        pen.book.connection().pragma_update(None, "max_page_count", 1 << 20).expect("set");
        assert!(pen.write(&[setting("large", 1 << 20)])[0].is_ok());
        let n: i64 =
            pen.book.connection().query_row("SELECT count(*) FROM settings", [], |row| row.get(0)).expect("count");
        assert_eq!(n, 3);
    }

    #[test]
    fn a_connection_that_broke_is_made_anew() {
        let folder = tempfile::tempdir().expect("folder");
        let mut pen = pen(folder.path());
        assert!(pen.write(&[setting("a", 1)])[0].is_ok());
        pen.broken = true;
        let away = folder.path().join("away.db");
        std::fs::rename(folder.path().join("ledger.db"), &away).expect("moved");
        assert!(matches!(pen.write(&[setting("b", 1)])[0], Err(StoreError::Unavailable { .. })));
        std::fs::rename(&away, folder.path().join("ledger.db")).expect("moved back");
        assert!(pen.write(&[setting("b", 1)])[0].is_ok());
    }
}
