//! Trino and Presto: a run is SQL sent to `/v1/statement`, which computes the sample and writes it
//! through a catalog that leads to the target.
//!
//! A statement is sent once. If its answer is lost it is looked for in the server's own list of
//! queries, by the marker that it begins with; what is not found there stays unknown. Both engines run
//! a statement only when somebody asks for its first page, so that one whose answer was lost has
//! probably not run; but nothing promises that, and a second `INSERT` would be a second copy.

mod api;
mod asking;
mod course;
mod diary;
mod flavor;
mod page;
mod past;
mod seed;
mod sessions;
mod settings;
mod sql;
mod statement;
mod ticket;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use self::{
    api::{Api, Trouble},
    asking::Unasked,
    course::{Course, Part},
    page::State,
    settings::Output,
    ticket::{End, Ticket},
};
use super::{
    Handle, Job, JobState, Platform, PlatformError, Resume,
    diary::{Diary, Written},
    past::Past,
};
use crate::{
    canary::{Marker, Mode, Phase, Run, Sample},
    config::{Opening, Problems},
};

pub use self::{
    flavor::Flavor,
    settings::{Cluster, Table, WrongSetting},
};

/// What can be written through a connector: see `course`.
pub const MODES: &[Mode] = &[Mode::Append, Mode::Replace, Mode::Truncate];

/// Pages followed in one look, at most: most queries have a dozen, each answered within a second.
const PAGES: usize = 64;
/// And for how long. A server makes those wait who ask for a page that is not ready.
const LOOK: Duration = Duration::from_secs(2);
/// Runs remembered: far more than are in flight at once.
const REMEMBERED: usize = 20_000;

/// Opens the driver from `[platform.NAME.trino]`.
pub fn open(opening: &Opening<'_>) -> Result<Arc<dyn Platform>, Problems> {
    Ok(Arc::new(Trino::new(Cluster::open(opening)?)))
}

/// The driver of one cluster.
pub struct Trino {
    api: Api,
    cluster: Cluster,
    known: Mutex<Known>,
    written: Written,
}

/// What this process has done and found out.
#[derive(Default)]
struct Known {
    /// Seed tables known to be filled, by rows.
    ready: BTreeSet<u32>,
    /// Tables that were there, or were made, since this process began.
    made: BTreeSet<String>,
    /// Runs that this process submitted, and when: nobody else sends statements of them.
    ours: BTreeMap<Marker, Instant>,
    /// When a seed table was last found to lack rows.
    lacking: Option<Instant>,
    /// Statements sent that may have been carried out.
    sent: BTreeSet<(Marker, usize)>,
}

impl Trino {
    /// A driver. Touches no network.
    pub fn new(cluster: Cluster) -> Self {
        Self { api: cluster.api(), cluster, known: Mutex::default(), written: Written::default() }
    }

    /// Never held across an await.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn course(&self, run: &Run, place: &str) -> Result<Course, PlatformError> {
        let target = &run.route.target;
        let Output { schema, booleans } =
            self.cluster.outputs.get(target.as_str()).ok_or_else(|| PlatformError::Refused {
                detail: format!("`outputs` does not say what target `{target}` is called on this platform"),
            })?;
        if !MODES.contains(&run.route.mode) {
            let detail = format!("this kind of platform does not write in mode {}", run.route.mode);
            return Err(PlatformError::Refused { detail });
        }
        let table = place.to_owned();
        if table != table.to_lowercase() {
            // It would be made and filled under another name than the target reads.
            let detail = format!(
                "this kind of platform knows names in lower case only: call the table {:?}",
                table.to_lowercase()
            );
            return Err(PlatformError::Refused { detail });
        }
        let makes = !self.known().made.contains(&schema.table(&table));
        let report = run.report.as_ref().map(|report| report.source.clone());
        let seed = match &report {
            Some(source) => self.cluster.seed.table(&source.table),
            None => self.seed_for(run.sample),
        };
        let (sample, mode, schema, booleans) = (run.sample, run.route.mode, schema.clone(), *booleans);
        Ok(Course { sample, mode, schema, table, seed, report, makes, booleans })
    }

    /// Sends the present statement, once.
    async fn send(&self, ticket: &mut Ticket) -> Result<State, PlatformError> {
        let Some(statement) = ticket.statement() else {
            return Err(unknown("no more is known of this run than its marker, and it was not at its end"));
        };
        let key = (ticket.marker, ticket.step);
        {
            let mut known = self.known();
            known.sent.insert(key);
            while known.sent.len() > REMEMBERED {
                known.sent.pop_first();
            }
        }
        match self.api.post(statement, &ticket.marker.to_string()).await {
            Ok(page) => Ok(self.hear(ticket, page)),
            Err(trouble) => {
                if !trouble.may_be_taken() {
                    self.known().sent.remove(&key);
                }
                Err(trouble.error())
            }
        }
    }

    /// Whether this process may send a statement: it is the only one that does, and has not yet.
    fn may_send(&self, ticket: &Ticket) -> bool {
        let known = self.known();
        known.ours.contains_key(&ticket.marker) && !known.sent.contains(&(ticket.marker, ticket.step))
    }

    /// Takes in a page, and what it says of the tables.
    fn hear(&self, ticket: &mut Ticket, page: page::Page) -> State {
        let (state, step, part) = (page.state, ticket.step, ticket.part());
        ticket.hear(page);
        self.learn(ticket, step, part);
        state
    }

    fn learn(&self, ticket: &Ticket, step: usize, part: Part) {
        if ticket.step > step
            && part == Part::Before
            && let Some(course) = &ticket.course
        {
            let mut known = self.known();
            known.made.insert(course.schema.table(&course.table));
            while known.made.len() > REMEMBERED {
                known.made.pop_first();
            }
        }
        if let Some(End::Error { phase: Phase::Queue | Phase::Execute, .. }) = ticket.end {
            // Perhaps the seed table is gone: a memory catalog forgets with its server.
            self.known().ready.clear();
        }
    }

    /// A statement that wrote fewer rows than the sample has may have read a seed table that somebody
    /// emptied: then nothing was lost, and the run has failed.
    async fn doubt(&self, ticket: &mut Ticket) -> Result<(), PlatformError> {
        let Some(course) = ticket.course.as_ref().filter(|_| ticket.end == Some(End::Done)) else { return Ok(()) };
        if course.report.is_some() || ticket.rows.is_some_and(|rows| rows >= u64::from(course.sample.rows)) {
            return Ok(());
        }
        let lacks = match self.missing(&course.seed, course.sample).await {
            Ok(missing) => !missing.is_empty(),
            Err(Unasked::Failed(failure)) if failure.is_of_no_table() => true,
            Err(error) => return Err(error.unheard()),
        };
        let mut known = self.known();
        if lacks {
            known.ready.clear();
            known.lacking = Some(Instant::now());
        }
        // Another run may have had it filled again since this one read it.
        let began = known.ours.get(&ticket.marker).copied();
        let lacked = lacks || began.is_some_and(|began| known.lacking.is_some_and(|lacking| lacking > began));
        if lacked {
            let detail = format!("the seed table {} had lost rows; it is filled again", course.seed);
            ticket.end = Some(End::Error { phase: Phase::Execute, detail });
        }
        Ok(())
    }

    /// Goes on by one call.
    async fn go_on(&self, ticket: &mut Ticket) -> Result<Went, PlatformError> {
        let Some(query) = ticket.query.clone() else {
            if self.may_send(ticket) {
                return self.send(ticket).await.map(Went::On);
            }
            let found = self.newest(ticket.marker, ticket.course.clone()).await?;
            let Some(found) = found.filter(|found| found.step >= ticket.step) else {
                return Err(lost());
            };
            ticket.jobs.extend(found.jobs.clone());
            (ticket.step, ticket.query, ticket.next) = (found.step, found.query, None);
            return Ok(Went::On(State::Running));
        };
        if let Some(next) = ticket.next.clone() {
            return match self.api.get(&next).await {
                Ok(page) if page.id != query => {
                    Err(PlatformError::Nonsense { detail: "asked for one query, told of another".to_owned() })
                }
                Ok(page) => {
                    // The end of the pages is the end of the query only if it says so.
                    let state = self.hear(ticket, page);
                    Ok(Went::On(state))
                }
                Err(Trouble::Gone) => {
                    ticket.next = None;
                    Ok(Went::On(State::Running))
                }
                Err(trouble) => Err(trouble.error()),
            };
        }
        let Some(fate) = self.fate(&query).await? else {
            let id = query.as_str();
            return Err(unknown(&format!("the server has forgotten query {id}, and nothing says what became of it")));
        };
        let (step, part) = (ticket.step, ticket.part());
        match fate.state {
            State::Finished => ticket.finish(),
            State::Failed => ticket.fail(fate.failure.as_ref()),
            State::Queued | State::Running | State::Finishing => return Ok(Went::Enough(fate.state)),
        }
        self.learn(ticket, step, part);
        Ok(Went::On(fate.state))
    }
}

/// How one call went.
enum Went {
    /// There may be more at once.
    On(State),
    /// There is nothing more to ask for now.
    Enough(State),
}

fn unknown(what: &str) -> PlatformError {
    PlatformError::Unreachable { detail: what.to_owned(), never_arrived: false }
}

fn lost() -> PlatformError {
    unknown("the answer to a statement was lost, and the server's list of queries does not show it")
}

#[async_trait]
impl Platform for Trino {
    fn resume(&self) -> Resume {
        Resume::ByMarker
    }

    async fn prepare(&self, sample: Sample) -> Result<(), PlatformError> {
        self.prepare_seed(sample).await
    }

    fn query(&self, run: &Run, place: &str) -> Option<String> {
        let steps = self.course(run, place).ok()?.steps(run.marker);
        Some(steps.into_iter().map(|step| step.sql).collect::<Vec<_>>().join(";\n"))
    }

    async fn submit(&self, job: &Job) -> Result<Handle, PlatformError> {
        let course = self.course(&job.run, &job.deliver_to.place)?;
        let marker = job.run.marker;
        if self.known().sent.contains(&(marker, 0)) {
            return self.newest(marker, Some(course)).await?.ok_or_else(lost)?.handle();
        }
        {
            let mut known = self.known();
            known.ours.insert(marker, Instant::now());
            while known.ours.len() > REMEMBERED {
                known.ours.pop_first();
            }
        }
        let mut ticket = Ticket::new(marker, course);
        self.send(&mut ticket).await?;
        // A statement is run when somebody asks for its first page. If nobody hears us now, the first
        // look asks again.
        if ticket.end.is_none() {
            let before = ticket.clone();
            let _ = self.go_on(&mut ticket).await;
            if self.doubt(&mut ticket).await.is_err() {
                // The first look hears its end again.
                ticket = before;
            }
        }
        ticket.handle()
    }

    async fn find(&self, run: &Run) -> Result<Option<Handle>, PlatformError> {
        // What is not in the list may have run all the same: never `None`.
        self.newest(run.marker, None).await?.ok_or_else(lost)?.handle().map(Some)
    }

    async fn look(&self, handle: &Handle) -> Result<(JobState, Handle), PlatformError> {
        let mut ticket = Ticket::read(handle)?;
        let (before, end) = (ticket.clone(), Instant::now() + LOOK);
        let mut seen = State::Running;
        for _ in 0..PAGES {
            if ticket.end.is_some() || Instant::now() >= end {
                break;
            }
            match self.go_on(&mut ticket).await {
                Ok(Went::On(state)) => seen = state,
                Ok(Went::Enough(state)) => {
                    seen = state;
                    break;
                }
                // What was heard before is kept; the next look meets the trouble again if it lasts.
                Err(_) if ticket != before => break,
                Err(error) => return Err(error),
            }
        }
        if before.end.is_none() {
            self.doubt(&mut ticket).await?;
        }
        Ok((ticket.state(seen), ticket.handle()?))
    }

    fn diary(&self) -> Option<&dyn Diary> {
        Some(self)
    }

    async fn cancel(&self, handle: &Handle) -> Result<(), PlatformError> {
        let ticket = Ticket::read(handle)?;
        let Some(query) = ticket.query.filter(|_| ticket.end.is_none()) else { return Ok(()) };
        if let Some(next) = &ticket.next {
            match self.api.delete(next).await {
                Ok(()) => return Ok(()),
                Err(Trouble::Gone) => {}
                Err(trouble) => return Err(trouble.error()),
            }
        }
        self.kill(query.as_str()).await
    }

    fn past(&self) -> Option<&dyn Past> {
        Some(self)
    }
}

impl fmt::Debug for Trino {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trino")
            .field("endpoint", &self.api.endpoint())
            .field("flavor", &self.cluster.flavor)
            .finish_non_exhaustive()
    }
}
