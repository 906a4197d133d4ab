//! HiveServer2, the Thrift protocol of Hive, Spark's Thrift Server, Kyuubi and Impala: runs canary
//! queries as `INSERT … SELECT` into a table or directory through which the engine writes to the
//! target, and follows each until it ends.
//!
//! Transports: TCP or TLS, bare (NOSASL) or with SASL PLAIN (NONE, LDAP, PAM, CUSTOM), and HTTP or HTTPS
//! with basic authentication; cookies are kept. Kerberos is not built, nor are ZooKeeper discovery and a
//! proxy before a stream. Tested against Spark's Thrift Server; `hive` and `impala` write the SQL that
//! their manuals describe, and were not run against theirs.
//!
//! An operation dies with the connection that it was sent on, unless the server says otherwise when it
//! is asked on a new one. So a run is never found again after a restart of the agent, and one whose
//! connection broke cannot be heard: `unknown`, whatever became of its rows.

mod dialect;
mod diary;
mod flights;
mod output;
mod prepare;
mod seed;
mod session;
mod settings;
mod thrift;
mod wire;

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::timeout;

pub use self::settings::Table;
use self::{
    dialect::LACKS_SEEDS,
    flights::{Flight, Flights},
    output::Output,
    prepare::Chore,
    session::{Operation, Report, Session, State, Unknown},
    settings::Settings,
};
use super::{
    Handle, Job, JobState, Platform, PlatformError, Progress, Resume,
    diary::{self as diaries, Diary, Written},
};
use crate::{
    canary::{Mode, Phase, Run, Sample},
    config::{Opening, Problems},
};

/// Rows are added, or written over by `INSERT OVERWRITE`; nothing here updates.
pub const MODES: &[Mode] = &[Mode::Append, Mode::Replace, Mode::Truncate];

/// Sessions kept open for the next runs: opening one can start an engine.
const IDLE: usize = 4;
/// A session that does not answer an idle question within this time is dead.
const ALIVE: Duration = Duration::from_secs(3);
/// Politeness towards the server must not hold up what is known.
const FAREWELL: Duration = Duration::from_secs(2);
/// Tables known to be there: one for each output, one more for each route that displaces.
const TABLES: usize = 1024;

/// What is said of a run whose operation the server does not know any more.
const GONE: &str = "the connection on which it ran is lost, and the operation with it";

/// Opens the driver from `[platform.NAME.hiveserver2]`.
pub fn open(opening: &Opening<'_>) -> Result<Arc<dyn Platform>, Problems> {
    Ok(Arc::new(HiveServer2::new(Settings::open(opening)?)))
}

/// The driver of one server.
struct HiveServer2 {
    settings: Settings,
    idle: Mutex<Vec<Session>>,
    known: Mutex<Known>,
    flights: Mutex<Flights>,
    /// How far entries of the diary have been written.
    written: Written,
    /// What is being made ready. It outlives a call that could not wait for it.
    chore: tokio::sync::Mutex<Option<Chore>>,
}

/// What this process has found out of the server. A restart of the server may make it wrong: some
/// catalogs live in memory.
#[derive(Default)]
struct Known {
    /// Seed tables that are filled, by rows.
    seeds: BTreeSet<u32>,
    /// Tables of outputs that are there.
    tables: BTreeSet<String>,
}

impl fmt::Debug for HiveServer2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HiveServer2").field(&self.settings.place).finish()
    }
}

impl HiveServer2 {
    /// A driver. Touches no network.
    fn new(settings: Settings) -> Self {
        Self {
            settings,
            idle: Mutex::default(),
            known: Mutex::default(),
            flights: Mutex::default(),
            written: Written::default(),
            chore: tokio::sync::Mutex::default(),
        }
    }

    /// Never held across an await, as the other two.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flights(&self) -> MutexGuard<'_, Flights> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something failed that may have failed because a table is gone.
    fn forget(&self) {
        *self.known() = Known::default();
    }

    /// A session that stands.
    async fn session(&self) -> Result<Session, PlatformError> {
        let kept = self.idle().pop();
        if let Some(mut kept) = kept {
            if timeout(ALIVE, kept.is_alive()).await.unwrap_or(false) {
                return Ok(kept);
            }
            // The server was restarted, or somebody in between ends what is idle: none of them stands.
            self.idle().clear();
            self.forget();
        }
        Session::open(&self.settings.place).await
    }

    /// Keeps a session for the next run, or ends it.
    async fn give_back(&self, session: Session) {
        {
            let mut idle = self.idle();
            if !session.is_broken() && idle.len() < IDLE {
                return idle.push(session);
            }
        }
        let _ = timeout(FAREWELL, session.end()).await;
    }

    async fn send(&self, job: &Job, sent: &AtomicBool) -> Result<Handle, PlatformError> {
        let refused = |detail: String| PlatformError::Refused { detail };
        let (run, place, mode) = (&job.run, job.deliver_to.place.as_str(), job.deliver_to.mode);
        let output = self.output(run).map_err(refused)?;
        let mut session = self.session().await?;
        let rows = match &run.report {
            Some(_) => run.sample.rows,
            None => self.seed_ready(run.sample.rows).await?,
        };
        let insert = self.insert(run, place, rows).map_err(refused)?;
        self.make_table(output, place, mode, &mut session).await?;

        sent.store(true, Ordering::Relaxed);
        let operation = match session.execute(&insert).await {
            Ok(operation) => operation,
            Err(error) => {
                self.forget();
                if matches!(error, Unknown::Gone) {
                    // It took nothing.
                    sent.store(false, Ordering::Relaxed);
                }
                return Err(error.trouble());
            }
        };
        let handle = Handle::new(format!("{} {}", operation.id, job.run.marker))
            .ok_or_else(|| PlatformError::Nonsense { detail: "its operation's id is too long".to_owned() })?;
        self.flights().add(&handle, Flight::new(session, operation));
        Ok(handle)
    }

    fn output(&self, run: &Run) -> Result<&Output, String> {
        let target = &run.route.target;
        self.settings.outputs.get(target.as_str()).ok_or_else(|| format!("`outputs` has no `{target}`"))
    }

    /// The statement that carries a run's rows to its place, out of a seed table of so many rows.
    fn insert(&self, run: &Run, place: &str, seeds: u32) -> Result<String, String> {
        let query = match &run.report {
            Some(report) => diaries::query(run.marker, &report.source, &self.entries_table(&report.source.table)),
            None => self.seed(seeds).query(run),
        };
        self.output(run)?.insert(self.settings.engine, place, run.route.mode, run.columns(), &query)
    }

    /// The table of an output, made if it is not known to be there.
    async fn make_table(
        &self,
        output: &Output,
        place: &str,
        mode: Mode,
        session: &mut Session,
    ) -> Result<(), PlatformError> {
        let creation = output.creation(self.settings.engine, place, mode);
        let Some((table, create)) = creation.map_err(|detail| PlatformError::Refused { detail })? else {
            return Ok(());
        };
        // What it is made with may depend on the mode.
        let made = format!("{table} {mode}");
        if self.known().tables.contains(&made) {
            return Ok(());
        }
        let operation = session.execute(&create).await.map_err(Unknown::trouble)?;
        let report = to_the_end(session, &operation).await?;
        let _ = timeout(FAREWELL, session.close(&operation)).await;
        if report.state != State::Finished && !report.is_there_already() {
            return Err(PlatformError::Refused { detail: format!("cannot make table {table}: {}", report.detail) });
        }
        let mut known = self.known();
        if known.tables.len() >= TABLES {
            known.tables.clear();
        }
        known.tables.insert(made);
        Ok(())
    }

    async fn ask(&self, flight: &mut Flight) -> Result<JobState, PlatformError> {
        if let Some(last) = &flight.last {
            return Ok(last.clone());
        }
        let lost = || PlatformError::Unreachable { detail: GONE.to_owned(), never_arrived: false };
        let session = flight.session.as_mut().ok_or_else(lost)?;
        if session.is_broken() {
            self.forget();
            session.reconnect().await?;
        }
        let report = match session.status(&flight.operation).await {
            Ok(report) => report,
            Err(Unknown::Gone) => {
                flight.session = None;
                self.forget();
                return Err(lost());
            }
            Err(Unknown::Trouble(error)) => return Err(error),
        };
        let state = job_state(&flight.operation, &report);
        if matches!(state.progress, Progress::Running(_)) {
            return Ok(state);
        }
        flight.last = Some(state.clone());
        if let Some(mut session) = flight.session.take() {
            let closed = timeout(FAREWELL, session.close(&flight.operation)).await;
            if report.state == State::Finished && matches!(closed, Ok(Ok(()))) {
                self.give_back(session).await;
            } else {
                // Who failed may have left something behind in its session.
                self.forget();
                let _ = timeout(FAREWELL, session.end()).await;
            }
        }
        Ok(state)
    }

    async fn stop(&self, flight: &mut Flight) -> Result<(), PlatformError> {
        let Some(session) = flight.session.as_mut() else { return Ok(()) };
        if session.is_broken() {
            session.reconnect().await?;
        }
        match session.cancel(&flight.operation).await {
            Ok(()) | Err(Unknown::Gone) => {}
            Err(Unknown::Trouble(error)) => return Err(error),
        }
        let progress = Progress::Killed { phase: Phase::Execute };
        flight.last = Some(JobState { progress, jobs: vec![flight.operation.id.clone()], phases: Vec::new() });
        if let Some(mut session) = flight.session.take() {
            let _ = timeout(FAREWELL, session.close(&flight.operation)).await;
            let _ = timeout(FAREWELL, session.end()).await;
        }
        Ok(())
    }

    fn late(&self, never_arrived: bool) -> PlatformError {
        let detail = format!("no answer within {} s", self.settings.timeout.as_secs());
        PlatformError::Unreachable { detail, never_arrived }
    }
}

/// Follows an operation that takes moments. The caller bounds it.
async fn to_the_end(session: &mut Session, operation: &Operation) -> Result<Report, PlatformError> {
    loop {
        let report = session.status(operation).await.map_err(Unknown::trouble)?;
        if !matches!(report.state, State::Waiting | State::Running) {
            return Ok(report);
        }
        // Servers keep the question for a while; one that does not is not to be stormed.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn job_state(operation: &Operation, report: &Report) -> JobState {
    let progress = match report.state {
        State::Waiting => Progress::Running(Phase::Queue),
        State::Running => Progress::Running(Phase::Execute),
        State::Finished => Progress::Done { rows: report.rows },
        State::Failed => {
            // The query failed before anything was written, whatever of the engine was at it.
            let writes = report.in_writing && !report.detail.contains(LACKS_SEEDS);
            let phase = if writes { Phase::Export } else { Phase::Execute };
            Progress::Error { phase, detail: report.detail.clone() }
        }
        State::Stopped => Progress::Killed { phase: Phase::Execute },
    };
    let landing = report.completed.filter(|_| report.state == State::Finished);
    let times = [(Phase::Execute, report.started), (Phase::Land, landing)];
    let phases = times.into_iter().filter_map(|(phase, at)| Some((phase, at?))).collect();
    JobState { progress, jobs: vec![operation.id.clone()], phases }
}

#[async_trait]
impl Platform for HiveServer2 {
    fn resume(&self) -> Resume {
        Resume::Not
    }

    async fn prepare(&self, sample: Sample) -> Result<(), PlatformError> {
        let ready = timeout(self.settings.timeout, self.seed_ready(sample.rows)).await;
        ready.unwrap_or_else(|_| Err(self.late(true))).map(drop)
    }

    fn query(&self, run: &Run, place: &str) -> Option<String> {
        let rows = self.ready(run.sample.rows).unwrap_or(run.sample.rows);
        self.insert(run, place, rows).ok()
    }

    async fn submit(&self, job: &Job) -> Result<Handle, PlatformError> {
        let sent = AtomicBool::new(false);
        let sending = timeout(self.settings.timeout, self.send(job, &sent)).await;
        // Before the statement was sent, nothing can have started.
        let never = !sent.load(Ordering::Relaxed);
        match sending {
            Ok(Err(PlatformError::Unreachable { detail, .. })) => {
                Err(PlatformError::Unreachable { detail, never_arrived: never })
            }
            Ok(other) => other,
            Err(_) => Err(self.late(never)),
        }
    }

    async fn find(&self, _: &Run) -> Result<Option<Handle>, PlatformError> {
        Err(PlatformError::Unreachable { detail: GONE.to_owned(), never_arrived: false })
    }

    async fn look(&self, handle: &Handle) -> Result<(JobState, Handle), PlatformError> {
        let flight = self.flights().find(handle);
        let Some(flight) = flight else {
            return Err(PlatformError::Unreachable { detail: GONE.to_owned(), never_arrived: false });
        };
        let asking = async { self.ask(&mut *flight.lock().await).await };
        let state = timeout(self.settings.timeout, asking).await.unwrap_or_else(|_| Err(self.late(false)))?;
        Ok((state, handle.clone()))
    }

    fn diary(&self) -> Option<&dyn Diary> {
        Some(self)
    }

    async fn cancel(&self, handle: &Handle) -> Result<(), PlatformError> {
        let flight = self.flights().find(handle);
        let Some(flight) = flight else { return Ok(()) };
        let stopping = async { self.stop(&mut *flight.lock().await).await };
        timeout(self.settings.timeout, stopping).await.unwrap_or_else(|_| Err(self.late(false)))
    }
}
