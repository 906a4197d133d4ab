//! Jobs of the direct door, and the tables of modes that displace. What becomes of a job is asked
//! from the engine whenever somebody looks, so that a job is a few words of memory.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
    time::Duration,
};

use super::deed::{Deed, deeds, rows};
use crate::{
    canary::{Marker, Phase, RouteId, Run, Sample, Sighting, Timestamp, run::Why},
    platform::{JobState, PlatformError, Progress},
    sandbox::{
        engine::{Ending, Engine, Life, Ticket, Work},
        place::Place,
    },
};

/// Everything the direct door remembers.
#[derive(Debug)]
pub(super) struct Jobs {
    pub(super) engine: Engine,
    jobs: HashMap<Marker, Entry>,
    /// Places by route, so that a job holds a pointer.
    places: HashMap<RouteId, Arc<Place>>,
    tables: HashMap<Table, Vec<Deed>>,
    /// Jobs that will displace, by when they end.
    ends: BinaryHeap<Reverse<(Timestamp, Marker)>>,
    /// When to see whether a job can be forgotten.
    forget: BinaryHeap<Reverse<(Timestamp, Marker)>>,
    issued: u32,
}

/// A run that was submitted, accepted or not.
#[derive(Clone, Debug)]
struct Entry {
    place: Arc<Place>,
    ticket: Ticket,
    job: Option<Job>,
    sample: Sample,
    table: Table,
    mode: crate::canary::Mode,
    first_seen: Timestamp,
    deadline: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Job {
    number: u32,
    accepted_at: Timestamp,
    killed_at: Option<Timestamp>,
}

/// Where a displacing route writes: a table of its own, and another for runs of the post-deploy step.
type Table = (RouteId, bool);

fn table(run: &Run) -> Table {
    (run.route.id, run.why == Why::Verify)
}

/// Beyond the time for which runs are looked at: a late agent may be late, not more.
const SLACK: Duration = Duration::from_secs(60);
/// Strangers reported at most.
const STRANGERS: usize = 3;

impl Jobs {
    pub(super) fn new(engine: Engine) -> Self {
        Self {
            engine,
            jobs: HashMap::new(),
            places: HashMap::new(),
            tables: HashMap::new(),
            ends: BinaryHeap::new(),
            forget: BinaryHeap::new(),
            issued: 0,
        }
    }

    /// The place of a run.
    pub(super) fn place(&mut self, run: &Run) -> Arc<Place> {
        let known = self.places.entry(run.route.id).or_insert_with(|| Arc::new(Place::from(&*run.route)));
        known.clone()
    }

    /// The place of a job that was submitted.
    pub(super) fn place_of(&self, marker: Marker) -> Option<Arc<Place>> {
        self.jobs.get(&marker).map(|entry| entry.place.clone())
    }

    /// A submit; the second one of a run changes nothing.
    pub(super) fn submit(&mut self, run: &Run, now: Timestamp) -> Result<(), PlatformError> {
        self.tidy(now);
        let place = self.place(run);
        let entry = self.jobs.entry(run.marker).or_insert_with(|| {
            self.forget.push(Reverse((now.plus(run.terms.deadline * 3 / 2 + SLACK), run.marker)));
            Entry {
                ticket: self.engine.ticket(&place),
                place,
                job: None,
                sample: run.sample,
                table: table(run),
                mode: run.route.mode,
                first_seen: now,
                deadline: run.terms.deadline,
            }
        });
        if entry.job.is_some() {
            return Ok(());
        }
        if let Some(status) = self.engine.refusal(entry.ticket, &entry.place, now) {
            return Err(refused(status));
        }
        self.issued += 1;
        entry.job = Some(Job { number: self.issued, accepted_at: now, killed_at: None });
        if entry.mode.displaces() {
            let life = self.engine.begin(entry.ticket, &entry.place, now);
            self.ends.push(Reverse((life.ends_at(), run.marker)));
        }
        Ok(())
    }

    /// Whether a run was accepted.
    pub(super) fn knows(&self, marker: Marker) -> bool {
        self.jobs.get(&marker).is_some_and(|entry| entry.job.is_some())
    }

    /// What the platform says of a job.
    pub(super) fn status(&mut self, marker: Marker, now: Timestamp) -> Result<JobState, PlatformError> {
        self.tidy(now);
        let (entry, job) = self.accepted(marker).ok_or(PlatformError::NotFound)?;
        let life = self.engine.begin(entry.ticket, &entry.place, job.accepted_at);
        let shown_at = self.engine.shown_at(&life, &entry.place, now);
        let reached = [
            (Phase::Queue, life.accepted_at),
            (Phase::Execute, life.executes_at()),
            (Phase::Export, life.exports_at()),
        ];
        let progress = self.progress(entry, job, &life, shown_at);
        let last = match progress {
            Progress::Running(phase) | Progress::Error { phase, .. } | Progress::Killed { phase } => phase,
            Progress::Done { .. } => Phase::Export,
        };
        let phases = reached.into_iter().filter(|(phase, at)| *phase <= last && *at <= shown_at).collect();
        Ok(JobState { progress, jobs: vec![job.number.to_string()], phases })
    }

    /// Stops a job; one that has ended stays as it is.
    pub(super) fn kill(&mut self, marker: Marker, now: Timestamp) -> Result<(), PlatformError> {
        self.tidy(now);
        let (entry, job) = self.accepted(marker).ok_or(PlatformError::NotFound)?;
        let life = self.engine.begin(entry.ticket, &entry.place, job.accepted_at);
        let running = matches!(self.progress(entry, job, &life, now), Progress::Running(_));
        if running && let Some(Entry { job: Some(job), .. }) = self.jobs.get_mut(&marker) {
            job.killed_at = Some(now);
        }
        Ok(())
    }

    /// What stands at the target of a run.
    pub(super) fn sighting(&mut self, run: &Run, now: Timestamp) -> Sighting {
        self.tidy(now);
        if run.route.mode.displaces() {
            return self.tables.get_mut(&table(run)).map_or_else(
                || Sighting { rows: rows(run.marker, run.sample, [].iter()), ..Sighting::default() },
                |deeds| displaced(run, deeds, now),
            );
        }
        let deeds = self.jobs.get(&run.marker).map_or_else(Vec::new, |entry| self.deeds(run.marker, entry));
        let visible = || deeds.iter().filter(|deed| deed.at <= now);
        Sighting {
            rows: rows(run.marker, run.sample, visible()),
            landed_at: visible().map(|deed| deed.at).max(),
            ..Sighting::default()
        }
    }

    fn accepted(&self, marker: Marker) -> Option<(&Entry, Job)> {
        let entry = self.jobs.get(&marker)?;
        Some((entry, entry.job?))
    }

    /// How far a job is, as of a time.
    fn progress(&self, entry: &Entry, job: Job, life: &Life, at: Timestamp) -> Progress {
        if let Some(killed_at) = job.killed_at.filter(|killed_at| *killed_at <= at) {
            let phase = match self.progress(entry, Job { killed_at: None, ..job }, life, killed_at) {
                Progress::Running(phase) => phase,
                _ => Phase::Export,
            };
            return Progress::Killed { phase };
        }
        if at < life.executes_at() {
            return Progress::Running(Phase::Queue);
        }
        if at < life.exports_at() {
            return Progress::Running(Phase::Execute);
        }
        match self.engine.work(life, &entry.place) {
            Work::Hangs => return Progress::Running(Phase::Execute),
            Work::Fails => {
                return Progress::Error { phase: Phase::Execute, detail: "the query failed".to_owned() };
            }
            Work::Completes => {}
        }
        if at < life.ends_at() {
            return Progress::Running(Phase::Export);
        }
        match self.engine.output(life, &entry.place, life.ends_at()).says {
            Ending::Success => Progress::Done { rows: Some(entry.sample.rows.into()) },
            Ending::Error(phase) => Progress::Error { phase, detail: "the output could not be written".to_owned() },
            Ending::Killed => Progress::Killed { phase: Phase::Export },
        }
    }

    /// What a job does to its target; nothing if it never gets there.
    fn deeds(&self, marker: Marker, entry: &Entry) -> Vec<Deed> {
        let Some(job) = entry.job else { return Vec::new() };
        let life = self.engine.begin(entry.ticket, &entry.place, job.accepted_at);
        let killed = job.killed_at.is_some_and(|killed_at| killed_at < life.ends_at());
        if killed || self.engine.work(&life, &entry.place) != Work::Completes {
            return Vec::new();
        }
        let output = self.engine.output(&life, &entry.place, life.ends_at());
        deeds(marker, entry.sample, entry.mode, &life, &output)
    }

    /// Does what is due: ended jobs write to the tables they displace, old jobs are forgotten.
    fn tidy(&mut self, now: Timestamp) {
        while let Some(Reverse((at, marker))) = self.ends.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            self.ends.pop();
            debug_assert!(at <= now);
            let Some(entry) = self.jobs.get(&marker) else { continue };
            let (key, written) = (entry.table, self.deeds(marker, entry));
            let table = self.tables.entry(key).or_default();
            for deed in written {
                let place = table.partition_point(|known| known.at <= deed.at);
                table.insert(place, deed);
            }
        }
        while let Some(Reverse((_, marker))) = self.forget.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            self.forget.pop();
            let Some(entry) = self.jobs.get(&marker) else { continue };
            // Nobody looks at a landed run after its deadline; at a lost one, for three times that.
            let longest = entry.first_seen.plus(entry.deadline * 3 + SLACK);
            let found = rows(marker, entry.sample, self.deeds(marker, entry).iter().filter(|deed| deed.at <= now));
            if found.complete() || longest <= now {
                self.jobs.remove(&marker);
            } else {
                self.forget.push(Reverse((longest, marker)));
            }
        }
    }

    /// How many runs are remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.jobs.len() + self.tables.values().map(Vec::len).sum::<usize>()
    }
}

/// What stands in a table of its own. What an older write left is gone with the next that displaces.
fn displaced(run: &Run, deeds: &mut Vec<Deed>, now: Timestamp) -> Sighting {
    let visible = deeds.partition_point(|deed| deed.at <= now);
    let begins = deeds[..visible].iter().rposition(|deed| deed.displaces).unwrap_or(0);
    deeds.drain(..begins);
    let standing = &deeds[..visible - begins];
    let ours = || standing.iter().filter(|deed| deed.marker == run.marker);
    let mut strangers: Vec<Marker> =
        standing.iter().filter(|deed| deed.rows > 0 && deed.marker < run.marker).map(|deed| deed.marker).collect();
    strangers.sort_unstable_by(|a, b| b.cmp(a));
    strangers.dedup();
    strangers.truncate(STRANGERS);
    Sighting {
        rows: rows(run.marker, run.sample, ours()),
        strangers,
        rival: standing.iter().map(|deed| deed.marker).filter(|other| *other > run.marker).max(),
        landed_at: ours().filter(|deed| deed.rows > 0).map(|deed| deed.at).max(),
    }
}

/// An HTTP status as a driver would understand it.
pub(super) fn refused(status: u16) -> PlatformError {
    let detail = format!("HTTP {status}");
    match status {
        401 | 403 => PlatformError::Denied { detail },
        429 => PlatformError::Throttled { retry_after: None },
        500.. => PlatformError::Broken { detail },
        _ => PlatformError::Refused { detail },
    }
}
