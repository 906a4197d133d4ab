//! Treasure Data: issues canary queries over the REST API v3, idempotent by the run's marker, and
//! follows each job and the export that is linked to it.

mod api;
mod job;
mod seed;
mod settings;
mod veil;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use md5::{Digest, Md5};
use serde_json::Value as Json;
use tokio::time::Instant;

use self::{
    api::{Answer, Api, Load, Reply},
    job::{JobId, Report, Status},
    seed::{Seed, hex},
    veil::Veil,
};
use super::{Handle, Job, JobState, Platform, PlatformError, Progress, Resume};
use crate::{
    canary::{Mode, Phase, Run, Sample, Timestamp},
    config::{Opening, Problems},
    http::{Wire, WireError},
};

pub use self::settings::{Account, Engine, WrongSetting};

/// A platform is not written to: no modes of its own.
pub const MODES: &[Mode] = &[];

/// How long after the end of a query its export may take to be linked to it, where exports are
/// linked at all. No public source says when that happens; the two jobs are made by the same
/// service, so it is a matter of moments.
const LINK_GRACE: Duration = Duration::from_secs(5);

/// How long after an accepted import the row count may lag behind. The count is a statistic; after
/// this time the rows are there even if it does not show them.
const COUNT_LAG: Duration = Duration::from_secs(120);

/// Opens the driver from `[platform.NAME.treasure-data]`.
pub fn open(opening: &Opening<'_>) -> Result<Arc<dyn Platform>, Problems> {
    let account = Account::open(opening)?;
    match TreasureData::new(account, opening.wire) {
        Ok(driver) => Ok(Arc::new(driver)),
        Err(error) => Err(vec![opening.section.problem(opening.section.table.span(), error.to_string(), None)]),
    }
}

/// The driver of one account and engine.
pub struct TreasureData {
    api: Api,
    account: Account,
    known: Mutex<Known>,
}

/// What this process has found out. None of it needs to outlive it.
#[derive(Default)]
struct Known {
    /// Seed tables known to be filled, by rows.
    ready: BTreeSet<u32>,
    /// When an import for a seed table was accepted, by rows.
    imported: BTreeMap<u32, Instant>,
    /// Schemes of Result Output for which this platform links an export job.
    linking: BTreeSet<String>,
}

/// Schemes remembered: there are fewer kinds of Result Output than that.
const SCHEMES: usize = 32;

impl TreasureData {
    /// A driver. Touches no network.
    pub fn new(account: Account, wire: &Wire) -> Result<Self, WireError> {
        let api = Api::new(
            wire.client()?,
            account.endpoint.clone(),
            account.authorization.clone(),
            account.timeout,
            Veil::new(&account.api_key),
        );
        Ok(Self { api, account, known: Mutex::default() })
    }

    /// Never held across an await.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn show(&self, id: &JobId) -> Result<Option<(Report, Option<Timestamp>)>, PlatformError> {
        match self.api.get(&["job", "show", id.as_str()]).await? {
            Reply::Missing(_) => Ok(None),
            reply => {
                let Answer { json, at } = reply.done()?;
                let report = Report::read(id, &json).map_err(|wrong| self.nonsense(&wrong))?;
                Ok(Some((report, at)))
            }
        }
    }

    fn nonsense(&self, what: &str) -> PlatformError {
        PlatformError::Nonsense { detail: self.api.shown(what) }
    }

    fn handle(&self, query: &JobId, export: Option<&JobId>) -> Result<Handle, PlatformError> {
        let text = match export {
            Some(export) => format!("{} {}", query.as_str(), export.as_str()),
            None => query.as_str().to_owned(),
        };
        Handle::new(text).ok_or_else(|| self.nonsense("job ids are too long"))
    }

    /// The query job and, once known, its export.
    fn ids(&self, handle: &Handle) -> Result<(JobId, Option<JobId>), PlatformError> {
        let mut ids = handle.as_str().split(' ').map(JobId::new);
        match (ids.next().flatten(), ids.next(), ids.next()) {
            (Some(query), None, None) => Ok((query, None)),
            (Some(query), Some(Some(export)), None) => Ok((query, Some(export))),
            _ => Err(self.nonsense("the stored handle is not one of this kind of platform")),
        }
    }

    async fn kill(&self, id: &JobId) -> Result<(), PlatformError> {
        match self.api.post(&["job", "kill", id.as_str()], Load::Nothing).await? {
            Reply::Missing(_) => Err(PlatformError::NotFound),
            // Finished already, in the words of a stricter server.
            Reply::Conflict { .. } => Ok(()),
            Reply::Done(_) => Ok(()),
        }
    }
}

/// Making what canaries read.
impl TreasureData {
    fn table_path<'a>(&'a self, call: &'a str, seed: &'a Seed) -> [&'a str; 4] {
        ["table", call, &self.account.database, &seed.table]
    }

    /// The seed table as the platform shows it, if it is there.
    async fn seed_table(&self, seed: &Seed) -> Result<Option<Json>, PlatformError> {
        match self.api.get(&self.table_path("show", seed)).await? {
            Reply::Missing(_) => Ok(None),
            reply => Ok(Some(reply.done()?.json)),
        }
    }

    /// Makes the table, and the database if that is what lacks. That either is there already is
    /// as good: another agent may be making them at the same time.
    async fn make_seed_table(&self, seed: &Seed) -> Result<(), PlatformError> {
        let [table, create, database, name] = self.table_path("create", seed);
        let path = [table, create, database, name, "log"];
        if let Reply::Missing(_) = self.api.post(&path, Load::Nothing).await? {
            match self.api.post(&["database", "create", database], Load::Nothing).await? {
                Reply::Conflict { .. } => {}
                reply => drop(reply.done()?),
            }
            match self.api.post(&path, Load::Nothing).await? {
                Reply::Conflict { .. } => {}
                reply => drop(reply.done()?),
            }
        }
        Ok(())
    }

    async fn import(&self, seed: &Seed, table: &Json) -> Result<(), PlatformError> {
        let bytes = seed.import();
        let sum = hex(&Md5::digest(&bytes));
        let id = seed.import_id(table["created_at"].as_str().unwrap_or_default());
        let [kind, call, database, name] = self.table_path("import_with_id", seed);
        let path = [kind, call, database, name, &id, "msgpack.gz"];
        let answer = self.api.put(&path, Load::Bytes(bytes)).await?.done()?;
        match answer.json["md5_hex"].as_str() {
            Some(told) if !told.is_empty() && !told.eq_ignore_ascii_case(&sum) => {
                Err(self.nonsense("the import arrived with another checksum than it was sent with"))
            }
            _ => Ok(()),
        }
    }

    /// Looks after the seed tables again before the next submit: a job failed that may have missed
    /// its rows.
    fn doubt_seeds(&self) {
        let mut known = self.known();
        known.ready.clear();
        known.imported.clear();
    }
}

/// Following a job.
impl TreasureData {
    /// What became of a query that succeeded, and of what it was to write.
    ///
    /// Whether `success` means "computed" or "written", and when an export is linked, no public
    /// source says. Both are met: a linked export's end is the job's end, whenever the link shows.
    /// Without a link the query's word counts, at once if this platform has never linked an export
    /// for this kind of address, else after a short grace by the platform's own clock. A link that
    /// shows later still is followed by later looks; and whether rows landed, the target decides.
    async fn after_success(
        &self,
        query: &Report,
        export: Option<&JobId>,
        at: Option<Timestamp>,
    ) -> Result<(Progress, Option<Report>), PlatformError> {
        let done = Progress::Done { rows: query.rows };
        let Some(export) = export else {
            let awaited = if self.link_is_due(query, at) { Progress::Running(Phase::Export) } else { done };
            return Ok((awaited, None));
        };
        let report = match self.show(export).await {
            Ok(Some((report, _))) => report,
            // A job that this key may not see says nothing; the query's word is what there is.
            Ok(None) | Err(PlatformError::Denied { .. }) => return Ok((done, None)),
            Err(error) => return Err(error),
        };
        let progress = match report.status {
            Status::Waiting | Status::Running => Progress::Running(Phase::Export),
            Status::Success => done,
            Status::Error => Progress::Error { phase: Phase::Export, detail: self.reason(&report) },
            Status::Killed => Progress::Killed { phase: Phase::Export },
        };
        Ok((progress, Some(report)))
    }

    /// Whose fault it is that a query with an export failed.
    async fn after_error(
        &self,
        query: &Report,
        export: Option<&JobId>,
    ) -> Result<(Progress, Option<Report>), PlatformError> {
        if let Some(export) = export
            && let Ok(Some((report, _))) = self.show(export).await
        {
            match report.status {
                Status::Error => {
                    let detail = self.reason(&report);
                    return Ok((Progress::Error { phase: Phase::Export, detail }, Some(report)));
                }
                Status::Killed => return Ok((Progress::Killed { phase: Phase::Export }, Some(report))),
                Status::Waiting | Status::Running | Status::Success => {}
            }
        }
        Ok((Progress::Error { phase: query.failed_in(), detail: self.reason(query) }, None))
    }

    fn link_is_due(&self, query: &Report, at: Option<Timestamp>) -> bool {
        let (Some(output), Some(ended), Some(at)) = (&query.output, query.ended_at, at) else { return false };
        // `since` is zero for clocks that run backwards; only a plain, short wait counts.
        at >= ended && at.since(ended) < LINK_GRACE && self.known().linking.contains(output)
    }

    fn reason(&self, report: &Report) -> String {
        if report.log.is_empty() { "no reason given".to_owned() } else { self.api.shown_end(&report.log) }
    }
}

#[async_trait]
impl Platform for TreasureData {
    fn resume(&self) -> Resume {
        Resume::ByMarker
    }

    async fn prepare(&self, sample: Sample) -> Result<(), PlatformError> {
        if self.known().ready.contains(&sample.rows) {
            return Ok(());
        }
        let seed = Seed::new(&self.account.seed_table, sample);
        let mut table = match self.seed_table(&seed).await? {
            Some(table) => table,
            None => {
                self.known().imported.remove(&sample.rows);
                self.make_seed_table(&seed).await?;
                let made = self.seed_table(&seed).await?;
                made.ok_or_else(|| self.nonsense("the seed table was made and is not there"))?
            }
        };
        if !table["schema"].as_str().is_some_and(Seed::fits) {
            let schema = Seed::schema();
            let form = [("schema", schema.as_str())];
            self.api.post(&self.table_path("update-schema", &seed), Load::Form(&form)).await?.done()?;
        }
        let rows = |table: &Json| table["count"].as_u64().unwrap_or(0);
        if rows(&table) < seed.rows() {
            let accepted = self.known().imported.get(&sample.rows).copied();
            let accepted = match accepted {
                Some(accepted) => accepted,
                None => {
                    self.import(&seed, &table).await?;
                    let now = Instant::now();
                    self.known().imported.insert(sample.rows, now);
                    table = self.seed_table(&seed).await?.unwrap_or_default();
                    now
                }
            };
            // A query before the rows are visible would look like lost output.
            if rows(&table) < seed.rows() && accepted.elapsed() < COUNT_LAG {
                let detail = format!("seed table {} shows {} of {} rows so far", seed.table, rows(&table), seed.rows());
                return Err(self.nonsense(&detail));
            }
        }
        self.known().ready.insert(sample.rows);
        Ok(())
    }

    async fn submit(&self, job: &Job) -> Result<Handle, PlatformError> {
        self.api.veil.learn(&job.deliver_to.url);
        let seed = Seed::new(&self.account.seed_table, job.run.sample);
        let (query, marker) = (seed.query(&job.run), job.run.marker.to_string());
        let priority = self.account.priority.map(|priority| priority.to_string());
        let mut form = vec![
            ("query", query.as_str()),
            ("result", job.deliver_to.url.reveal()),
            // One job per run, whatever becomes of the answer.
            ("domain_key", &marker),
            // The platform's own repetition would hide a failure, and can write rows twice.
            ("retry_limit", "0"),
        ];
        let further = [
            ("priority", &priority),
            ("pool_name", &self.account.pool),
            ("engine_version", &self.account.engine_version),
        ];
        form.extend(further.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))));
        let path = ["job", "issue", self.account.engine.as_str(), &self.account.database];
        let id = match self.api.post(&path, Load::Form(&form)).await {
            Ok(Reply::Done(Answer { json, .. })) => {
                JobId::read(&json["job_id"]).ok_or_else(|| self.nonsense("the job was issued without an id"))?
            }
            Ok(Reply::Conflict { detail, with }) => match JobId::read(&with) {
                Some(id) => id,
                None => return self.find(&job.run).await?.ok_or(PlatformError::Refused { detail }),
            },
            Ok(Reply::Missing(detail)) | Err(PlatformError::Refused { detail }) => {
                self.doubt_seeds();
                return Err(PlatformError::Refused { detail });
            }
            Err(error) => return Err(error),
        };
        self.handle(&id, None)
    }

    async fn find(&self, run: &Run) -> Result<Option<Handle>, PlatformError> {
        match self.api.get(&["job", "status_by_domain_key", &run.marker.to_string()]).await? {
            Reply::Missing(_) => Ok(None),
            reply => {
                let json = reply.done()?.json;
                let id = JobId::read(&json["job_id"]).ok_or_else(|| self.nonsense("a job was found without an id"))?;
                Ok(Some(self.handle(&id, None)?))
            }
        }
    }

    async fn look(&self, handle: &Handle) -> Result<(JobState, Handle), PlatformError> {
        let (id, known_export) = self.ids(handle)?;
        let (query, at) = self.show(&id).await?.ok_or(PlatformError::NotFound)?;
        if let (Some(_), Some(output)) = (&query.export, &query.output) {
            let mut known = self.known();
            if known.linking.len() < SCHEMES {
                known.linking.insert(output.clone());
            }
        }
        let export_id = query.export.clone().or(known_export);
        let (progress, export) = match query.status {
            Status::Waiting => (Progress::Running(Phase::Queue), None),
            Status::Running => (Progress::Running(query.reached()), None),
            Status::Killed => (Progress::Killed { phase: query.reached() }, None),
            Status::Error => self.after_error(&query, export_id.as_ref()).await?,
            Status::Success => self.after_success(&query, export_id.as_ref(), at).await?,
        };
        if matches!(progress, Progress::Error { phase: Phase::Queue | Phase::Execute, .. }) {
            self.doubt_seeds();
        }
        let jobs = [Some(&id), export_id.as_ref()].into_iter().flatten().map(|id| id.as_str().to_owned()).collect();
        let phases = phases(&query, export.as_ref(), &progress);
        Ok((JobState { progress, jobs, phases }, self.handle(&id, export_id.as_ref())?))
    }

    async fn cancel(&self, handle: &Handle) -> Result<(), PlatformError> {
        let (query, export) = self.ids(handle)?;
        // Both are tried: an export may go on without its query.
        let stopped = self.kill(&query).await;
        match export {
            Some(export) => stopped.and(self.kill(&export).await),
            None => stopped,
        }
    }
}

/// The platform's own times: when each phase began.
fn phases(query: &Report, export: Option<&Report>, progress: &Progress) -> Vec<(Phase, Timestamp)> {
    let landing = matches!(progress, Progress::Done { .. }).then(|| export.unwrap_or(query).ended_at).flatten();
    let times = [
        (Phase::Queue, query.created_at),
        (Phase::Execute, query.started_at),
        (Phase::Export, export.and_then(|export| export.created_at.or(export.started_at))),
        (Phase::Land, landing),
    ];
    times.into_iter().filter_map(|(phase, at)| Some((phase, at?))).collect()
}

impl fmt::Debug for TreasureData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TreasureData")
            .field("endpoint", &self.account.endpoint.as_str())
            .field("database", &self.account.database)
            .field("engine", &self.account.engine)
            .finish_non_exhaustive()
    }
}
