//! A job API that the config declares: one that takes a job over HTTP, says how it is, and writes the rows
//! itself. `probes/http-job.toml` is an example, every key explained.
//!
//! Jobs carry SQL: `dialect` says whose. The rows of a run are computed from seeds, which stand in the query
//! itself (samples of up to [`MOST_INLINE`] rows), or in `seed_table`, filled once by hand with what
//! `landfall seeds` prints.
//!
//! Without `find` a submit whose answer was lost is never repeated: nobody can tell whether it began. With
//! `find` it is looked up by its marker, and sent again only if the API does not know it.

mod answer;
mod body;
mod dialect;
mod pointer;
mod request;
mod settings;
mod template;

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use serde_json::Value as Json;

use self::{
    answer::{Reply, shown, understand, unheard},
    request::{Door, Request},
    settings::{Settings, Status},
    template::Values,
};
use super::{Handle, Job, JobState, Platform, PlatformError, Progress, Resume};
use crate::{
    canary::{Marker, Mode, Phase, Run, Sample},
    config::{Opening, Problems},
    http::{Wire, WireError},
    veil::Veil,
};

pub use self::{
    dialect::{MOST_INLINE, Sql},
    settings::Keys,
};

/// Any mode that the API and the target agree on.
pub const MODES: &[Mode] = &[];

/// Runs whose submit went without an answer, remembered at once: far more than are in flight.
const DOUBTED: usize = 1024;

/// Opens the driver from `[platform.NAME.http-job]`.
pub fn open(opening: &Opening<'_>) -> Result<Arc<dyn Platform>, Problems> {
    let settings = Settings::open(opening)?;
    match HttpJob::new(settings, opening.wire) {
        Ok(driver) => Ok(Arc::new(driver)),
        Err(error) => Err(vec![opening.section.problem(opening.section.table.span(), error.to_string(), None)]),
    }
}

/// The driver of one API.
struct HttpJob {
    door: Door,
    veil: Veil,
    settings: Settings,
    /// Runs that were sent and not answered: a second submit asks for them first.
    doubted: Mutex<VecDeque<Marker>>,
}

impl HttpJob {
    /// A driver. Touches no network.
    fn new(mut settings: Settings, wire: &Wire) -> Result<Self, WireError> {
        let login = settings.login.take();
        let secrets = settings.secrets.iter().map(|(_, secret)| secret.clone());
        let veil = Veil::new(secrets.chain(login.iter().flat_map(|login| login.secrets.clone())));
        let headers = std::mem::take(&mut settings.headers);
        let (endpoint, authorization) = (settings.endpoint.clone(), login.map(|login| login.header));
        let door = Door::new(wire.client()?, endpoint, headers, authorization, settings.timeout);
        Ok(Self { door, veil, settings, doubted: Mutex::default() })
    }

    async fn ask(&self, request: &Request, values: Values<'_>) -> Result<Reply, PlatformError> {
        let values = Values { secrets: &self.settings.secrets, ..values };
        let answer = self.door.call(request, &values)?.send().await;
        understand(&self.veil, answer.map_err(|error| unheard(&self.veil, error))?).await
    }

    fn nonsense(&self, what: &str) -> PlatformError {
        PlatformError::Nonsense { detail: shown(&self.veil, what) }
    }

    fn handle(&self, id: String) -> Result<Handle, PlatformError> {
        Handle::new(id).ok_or_else(|| self.nonsense("the job's id is too long"))
    }

    /// Never held across an await.
    fn doubted(&self) -> MutexGuard<'_, VecDeque<Marker>> {
        self.doubted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn doubt(&self, marker: Marker) {
        let mut doubted = self.doubted();
        if !doubted.contains(&marker) {
            doubted.push_back(marker);
        }
        if doubted.len() > DOUBTED {
            doubted.pop_front();
        }
    }

    fn trust(&self, marker: Marker) {
        self.doubted().retain(|doubted| *doubted != marker);
    }

    fn query_of(&self, run: &Run) -> Option<String> {
        self.settings.sql.query(run, self.settings.seed_table.as_deref())
    }

    async fn send(&self, job: &Job) -> Result<Handle, PlatformError> {
        let (run, to) = (&job.run, &job.deliver_to);
        let query = self.query_of(run).ok_or_else(|| PlatformError::Refused {
            detail: format!("a sample of more than {MOST_INLINE} rows needs `seed_table`"),
        })?;
        let output = match &self.settings.outputs {
            None => "",
            Some(outputs) => outputs.get(run.route.target.as_str()).ok_or_else(|| PlatformError::Refused {
                detail: format!("target `{}` has no name in `outputs`", run.route.target),
            })?,
        };
        let (marker, rows, mode) = (run.marker.to_string(), run.sample.rows.to_string(), to.mode.to_string());
        let values = Values {
            marker: &marker,
            query: &query,
            address: to.url.reveal(),
            place: &to.place,
            output,
            mode: &mode,
            rows: &rows,
            ..Values::default()
        };
        let submit = &self.settings.submit;
        if to.mode.displaces() && !settings::tells_mode(&submit.request) {
            // Rows would be added, and the API blamed for those that were there before.
            let detail = format!("`submit` says neither {{mode}} nor {{address}}: it cannot ask for mode {}", to.mode);
            return Err(PlatformError::Refused { detail });
        }
        match self.ask(&submit.request, values).await? {
            Reply::Done(Some(json)) => match submit.id.id(&json).map_err(|wrong| self.nonsense(&wrong))? {
                Some(id) => self.handle(id),
                None => {
                    Err(self.nonsense(&format!("the job was taken, and its id is not at `{}`", submit.id.as_str())))
                }
            },
            Reply::Done(None) => Err(self.nonsense("the job was taken without a word of its id")),
            Reply::Conflict(detail, json) => match self.existing(json.as_ref()) {
                Some(id) => self.handle(id),
                None if self.settings.find.is_some() => self.find(run).await?.ok_or(PlatformError::Refused { detail }),
                None => Err(PlatformError::Refused { detail }),
            },
            Reply::Missing(detail) => Err(PlatformError::Refused { detail }),
            // The job may have begun all the same, a gateway's 503 too: sent again only where it is found first.
            Reply::Broken(detail) if self.settings.find.is_some() => Err(PlatformError::Broken { detail }),
            Reply::Broken(detail) => {
                let detail = shown(&self.veil, &format!("{detail} (not sent again: it may have begun)"));
                Err(PlatformError::Refused { detail })
            }
        }
    }

    /// The job that a submit conflicts with.
    fn existing(&self, json: Option<&Json>) -> Option<String> {
        self.settings.submit.existing_id.as_ref()?.id(json?).ok().flatten()
    }

    fn state(&self, id: &str, json: &Json) -> Result<JobState, PlatformError> {
        let look = &self.settings.look;
        let word = look
            .status
            .word(json)
            .ok_or_else(|| self.nonsense(&format!("there is no status at `{}`", look.status.as_str())))?;
        let status = look.statuses.iter().find(|(known, _)| *known == word).map(|(_, status)| *status);
        let status = status.ok_or_else(|| self.nonsense(&format!("status {word:?} is not known")))?;
        // A phase only decorates: one that is not known says nothing.
        let phase = look
            .phase
            .as_ref()
            .and_then(|phase| phase.word(json))
            .and_then(|word| look.phases.iter().find(|(known, _)| *known == word).map(|(_, phase)| *phase));
        let phase: Phase = phase.unwrap_or(status.phase());
        let progress = match status {
            Status::Queued | Status::Running | Status::Exporting => Progress::Running(phase),
            Status::Done => Progress::Done { rows: look.rows.as_ref().and_then(|rows| rows.count(json)) },
            Status::Killed => Progress::Killed { phase },
            Status::Error => {
                let words = look.error.as_ref().and_then(|error| error.text(json));
                let detail = words.map_or_else(|| "no reason given".to_owned(), |words| shown(&self.veil, &words));
                Progress::Error { phase, detail }
            }
        };
        Ok(JobState { progress, jobs: vec![id.chars().take(100).collect()], phases: Vec::new() })
    }
}

#[async_trait]
impl Platform for HttpJob {
    fn resume(&self) -> Resume {
        if self.settings.find.is_some() { Resume::ByMarker } else { Resume::ByHandle }
    }

    /// Seeds stand in the query, or were put into their table by hand.
    async fn prepare(&self, _sample: Sample) -> Result<(), PlatformError> {
        Ok(())
    }

    fn query(&self, run: &Run, _place: &str) -> Option<String> {
        self.query_of(run)
    }

    async fn submit(&self, job: &Job) -> Result<Handle, PlatformError> {
        let marker = job.run.marker;
        self.veil.learn(&job.deliver_to.url);
        if self.settings.find.is_some()
            && self.doubted().contains(&marker)
            && let Some(found) = self.find(&job.run).await?
        {
            self.trust(marker);
            return Ok(found);
        }
        // Before it is sent: whoever waits for this call may stop waiting at any moment.
        self.doubt(marker);
        let sent = self.send(job).await;
        let certain = match &sent {
            Ok(_)
            | Err(PlatformError::Denied { .. } | PlatformError::Refused { .. } | PlatformError::Throttled { .. }) => {
                true
            }
            Err(PlatformError::Unreachable { never_arrived, .. }) => *never_arrived,
            Err(_) => false,
        };
        if certain {
            self.trust(marker);
        }
        sent
    }

    async fn find(&self, run: &Run) -> Result<Option<Handle>, PlatformError> {
        let Some(find) = &self.settings.find else {
            return Err(PlatformError::Refused { detail: "jobs cannot be found by their marker here".to_owned() });
        };
        let marker = run.marker.to_string();
        let json = match self.ask(&find.request, Values { marker: &marker, ..Values::default() }).await?.json() {
            Err(PlatformError::NotFound) => return Ok(None),
            json => json?,
        };
        find.id.id(&json).map_err(|wrong| self.nonsense(&wrong))?.map(|id| self.handle(id)).transpose()
    }

    async fn look(&self, handle: &Handle) -> Result<(JobState, Handle), PlatformError> {
        let id = handle.as_str();
        let json = self.ask(&self.settings.look.request, Values { id, ..Values::default() }).await?.json()?;
        Ok((self.state(id, &json)?, handle.clone()))
    }

    async fn cancel(&self, handle: &Handle) -> Result<(), PlatformError> {
        let Some(request) = &self.settings.cancel else { return Ok(()) };
        match self.ask(request, Values { id: handle.as_str(), ..Values::default() }).await? {
            // Finished already, in the words of a strict server.
            Reply::Done(_) | Reply::Conflict(..) => Ok(()),
            Reply::Missing(_) => Err(PlatformError::NotFound),
            Reply::Broken(detail) => Err(PlatformError::Broken { detail }),
        }
    }
}

impl fmt::Debug for HttpJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpJob").field("endpoint", &self.door.endpoint().as_str()).finish_non_exhaustive()
    }
}
