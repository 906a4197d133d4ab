//! Treasure Data: issues canary queries over the REST API v3, idempotent by the run's marker, and
//! follows each job and the export that is linked to it.

mod diary;
mod follow;
mod past;
mod prepare;
mod seed;
mod settings;
mod standing;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use tokio::time::Instant;

use self::follow::phases;
use super::{
    Handle, Job, JobState, Platform, PlatformError, Progress, Resume,
    diary::{self as diaries, Diary},
    past::Past,
};
use crate::{
    canary::{Mode, Phase, Run, Sample, Timestamp},
    config::{Opening, Problems},
    http::{Wire, WireError},
    treasure_data_api::{Answer, Api, ApiError, JobId, Load, Reply, Report, Status},
};

pub use self::settings::{Account, Table};
pub use crate::treasure_data_api::{Engine, WrongSetting};

/// A platform is not written to: no modes of its own.
pub const MODES: &[Mode] = &[];

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
    /// Seed tables known to be filled, by rows. One with more rows serves smaller samples too.
    ready: BTreeSet<u32>,
    /// When an import for a seed table was accepted, by rows.
    imported: BTreeMap<u32, Instant>,
    /// Whether this platform links export jobs, by scheme of the Result Output address: kinds of
    /// targets may be served differently.
    links: BTreeMap<String, bool>,
}

impl TreasureData {
    /// A driver. Touches no network.
    pub fn new(account: Account, wire: &Wire) -> Result<Self, WireError> {
        let api = Api::new(
            wire.client()?,
            account.endpoint.clone(),
            &account.api_key,
            account.authorization.clone(),
            account.timeout,
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

    fn query_of(&self, run: &Run) -> String {
        match &run.report {
            Some(report) => diaries::query(run.marker, &report.source, &report.source.table),
            None => self.seed_for(run.sample).query(run),
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

impl From<ApiError> for PlatformError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Denied(detail) => Self::Denied { detail },
            ApiError::Refused(detail) => Self::Refused { detail },
            ApiError::Throttled(retry_after) => Self::Throttled { retry_after },
            ApiError::Broken(detail) => Self::Broken { detail },
            ApiError::Unreachable { detail, never_arrived } => Self::Unreachable { detail, never_arrived },
            ApiError::Nonsense(detail) => Self::Nonsense { detail },
        }
    }
}

#[async_trait]
impl Platform for TreasureData {
    fn resume(&self) -> Resume {
        Resume::ByMarker
    }

    async fn prepare(&self, sample: Sample) -> Result<(), PlatformError> {
        self.prepare_seed(sample).await
    }

    fn query(&self, run: &Run, _place: &str) -> Option<String> {
        Some(self.query_of(run))
    }

    async fn submit(&self, job: &Job) -> Result<Handle, PlatformError> {
        self.api.learn(&job.deliver_to.url);
        let marker = job.run.marker.to_string();
        let query = self.query_of(&job.run);
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
            Ok(Reply::Missing(detail)) | Err(ApiError::Refused(detail)) => {
                self.doubt_seeds();
                return Err(PlatformError::Refused { detail });
            }
            Err(error) => return Err(error.into()),
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
        if query.export.is_some() {
            self.learn_links(&query, true);
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

    fn diary(&self) -> Option<&dyn Diary> {
        Some(self)
    }

    fn past(&self) -> Option<&dyn Past> {
        Some(self)
    }
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
