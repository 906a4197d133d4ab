//! The engine: decides what happens to a job. Time and dice are arguments, so that it serves
//! virtual time and real time alike.
//!
//! Every decision is a pure function of the seed, the faults and the run's ticket: it does not
//! matter when, how often or in which order it is asked for. That is also why a mended fault is
//! closed and never removed: what was decided under it stays decided.

use std::{collections::HashMap, time::Duration};

use fastrand::Rng;

use super::{
    fault::{Fault, FaultId, FaultKind},
    place::Place,
    world::{HIVE_TIME, LAND_TIME, World},
};
use crate::canary::{Phase, Timestamp};

/// A pretend platform with its faults.
#[derive(Debug)]
pub struct Engine {
    world: World,
    faults: Vec<Fault>,
    seed: u64,
    counts: HashMap<u64, Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    runs: u64,
    calls: u64,
    reads: u64,
    uploads: u64,
}

/// A run's own dice. A door gives a submit that it has seen before (same idempotency key) the
/// ticket that it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    stream: u64,
    number: u64,
}

/// How an API call is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// As it should be.
    Ok,
    /// As it should be, this much later: the call takes effect when it arrives.
    Slow(Duration),
    /// With this HTTP status; the call has no effect.
    Status(u16),
    /// Not at all; the call has no effect.
    Unreachable,
}

/// How long an accepted job takes, if nothing goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// The job's dice.
    pub ticket: Ticket,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Waiting for the engine.
    pub queue: Duration,
    /// Being computed.
    pub execute: Duration,
    /// Being written out.
    pub export: Duration,
    /// From the end until rows are visible.
    pub land: Duration,
}

impl Life {
    /// When the query begins.
    pub fn executes_at(&self) -> Timestamp {
        self.accepted_at.plus(self.queue)
    }

    /// When the query ends and the export begins.
    pub fn exports_at(&self) -> Timestamp {
        self.executes_at().plus(self.execute)
    }

    /// When the output is written and the job ends.
    pub fn ends_at(&self) -> Timestamp {
        self.exports_at().plus(self.export)
    }

    /// When intact rows are visible.
    pub fn lands_at(&self) -> Timestamp {
        self.ends_at().plus(self.land)
    }
}

/// What becomes of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// It ends, and the export begins.
    Completes,
    /// It ends with an error; nothing is written.
    Fails,
    /// It never ends.
    Hangs,
}

/// What is written at the end of a job, and what the job then says.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// What is written.
    pub written: Written,
    /// What the job says.
    pub says: Ending,
}

/// What is written.
#[derive(Clone, Debug, PartialEq)]
pub enum Written {
    /// The rows, in this way.
    Rows(Delivery),
    /// A write of no rows: `append` adds nothing, `replace` leaves an empty table.
    Nothing,
    /// No write at all: what stands there stays.
    Skipped,
    /// The target does not take it.
    Refused,
}

/// How rows are written. The default is as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// How much later than usual.
    pub late_by: Duration,
    /// Share of rows that is written.
    pub share: f64,
    /// How often each row is there in the end.
    pub copies: u32,
    /// How long after the first copy the others come.
    pub copies_after: Duration,
    /// Whether a column has other values, and which: none is the first that is not the marker.
    pub corrupt: Option<Option<String>>,
}

impl Default for Delivery {
    fn default() -> Self {
        Self { late_by: Duration::ZERO, share: 1.0, copies: 1, copies_after: Duration::ZERO, corrupt: None }
    }
}

impl Delivery {
    /// How many of `rows` are written: a share below one always misses one at least, a share above
    /// zero leaves one at least where that is possible.
    pub fn kept(&self, rows: u64) -> u64 {
        if self.share >= 1.0 {
            return rows;
        }
        let share = (rows as f64 * self.share).floor() as u64;
        share.max(u64::from(self.share > 0.0)).min(rows.saturating_sub(1))
    }
}

/// What a job says at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Success.
    Success,
    /// An error in this phase.
    Error(Phase),
    /// Killed.
    Killed,
}

/// A job with an unknown platform takes as long as Hive does.
const UNKNOWN_PLATFORM: super::world::Spread = HIVE_TIME;

impl Engine {
    /// An engine; the same world, faults and seed decide the same.
    pub fn new(world: World, faults: Vec<Fault>, seed: u64) -> Self {
        Self { world, faults, seed, counts: HashMap::new() }
    }

    /// What it pretends to be.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Adds a fault. It must not begin in the past, unless it is over: what was decided stays decided.
    pub fn add(&mut self, fault: Fault) -> FaultId {
        self.faults.push(fault);
        FaultId(self.faults.len() as u64 - 1)
    }

    /// Ends a fault. Answers whether it was there and not over.
    pub fn mend(&mut self, id: FaultId, now: Timestamp) -> bool {
        let fault = usize::try_from(id.0).ok().and_then(|at| self.faults.get_mut(at));
        match fault {
            Some(fault) if fault.until.is_none_or(|until| now < until) => {
                // One that has not begun ends before it begins.
                fault.until = Some(now);
                true
            }
            _ => false,
        }
    }

    /// Faults that go on or are still to come, oldest first.
    pub fn faults(&self, now: Timestamp) -> impl Iterator<Item = (FaultId, &Fault)> {
        let numbered = self.faults.iter().enumerate().map(|(at, fault)| (FaultId(at as u64), fault));
        numbered.filter(move |(_, fault)| fault.until.is_none_or(|until| now < until && fault.from < until))
    }

    /// How an API call that arrives now is answered. Each call throws anew.
    pub fn call(&mut self, place: &Place, now: Timestamp) -> Answer {
        let counts = self.counts.entry(place.stream()).or_default();
        counts.calls += 1;
        let call = Ticket { stream: place.stream() ^ CALLS, number: counts.calls };
        if self.has(&FaultKind::ApiUnreachable, call, place, now) {
            return Answer::Unreachable;
        }
        let status = |kind: &FaultKind| if let FaultKind::ApiError { status } = kind { Some(*status) } else { None };
        if let Some(status) = self.hit(call, place, now, status) {
            return Answer::Status(status);
        }
        let by = |kind: &FaultKind| if let FaultKind::ApiSlow { by } = kind { Some(*by) } else { None };
        self.hit(call, place, now, by).map_or(Answer::Ok, Answer::Slow)
    }

    /// How many of so many uploaded rows are kept. Each upload throws anew.
    pub fn import(&mut self, place: &Place, rows: u64, now: Timestamp) -> u64 {
        let counts = self.counts.entry(place.stream()).or_default();
        counts.uploads += 1;
        let upload = Ticket { stream: place.stream() ^ UPLOADS, number: counts.uploads };
        let share = |kind: &FaultKind| if let FaultKind::LoseImport { share } = kind { Some(*share) } else { None };
        self.hit(upload, place, now, share).map_or(rows, |share| Delivery { share, ..Delivery::default() }.kept(rows))
    }

    /// How many of so many rows a query tells, as of when it ends.
    pub fn told(&self, life: &Life, place: &Place, rows: u64) -> u64 {
        let share = |kind: &FaultKind| if let FaultKind::WrongQuery { share } = kind { Some(*share) } else { None };
        let hit = self.hit(life.ticket, place, life.exports_at(), share);
        hit.map_or(rows, |share| Delivery { share, ..Delivery::default() }.kept(rows))
    }

    /// Dice for a run that was not seen before.
    pub fn ticket(&mut self, place: &Place) -> Ticket {
        let counts = self.counts.entry(place.stream()).or_default();
        counts.runs += 1;
        Ticket { stream: place.stream(), number: counts.runs }
    }

    /// The HTTP status with which a submit is refused, if it is.
    pub fn refusal(&self, ticket: Ticket, place: &Place, now: Timestamp) -> Option<u16> {
        let status =
            |kind: &FaultKind| if let FaultKind::RefuseSubmit { status } = kind { Some(*status) } else { None };
        self.hit(ticket, place, now, status)
    }

    /// The life of a job that is accepted now.
    pub fn begin(&self, ticket: Ticket, place: &Place, now: Timestamp) -> Life {
        let mut dice = Rng::with_seed(mix(&[self.seed, ticket.stream, ticket.number]));
        let platform = place.platform_name().and_then(|name| self.world.platform(name));
        let work = platform.map_or(UNKNOWN_PLATFORM, |platform| platform.job_time).throw(&mut dice);
        let land = platform.map_or(LAND_TIME, |platform| platform.land_time).throw(&mut dice);
        // Most of a small query's time is the query; a tenth is waiting, a sixth is writing out.
        let (queue, export) = (work / 10, work / 6);
        Life { ticket, accepted_at: now, queue, execute: work.saturating_sub(queue + export), export, land }
    }

    /// What becomes of the query, as of when it would end.
    pub fn work(&self, life: &Life, place: &Place) -> Work {
        let at = life.exports_at();
        if self.has(&FaultKind::HangJob, life.ticket, place, at) {
            Work::Hangs
        } else if self.has(&FaultKind::FailJob, life.ticket, place, at) {
            Work::Fails
        } else {
            Work::Completes
        }
    }

    /// What is written by a job that writes its output at `at` (for a job that keeps to its life:
    /// [`Life::ends_at`]), and what the job then says.
    pub fn output(&self, life: &Life, place: &Place, at: Timestamp) -> Output {
        let has = |wanted: FaultKind| self.has(&wanted, life.ticket, place, at);
        if has(FaultKind::TargetDown) {
            return Output { written: Written::Refused, says: Ending::Error(Phase::Export) };
        }
        let written = if has(FaultKind::DropOutput) {
            Written::Nothing
        } else if has(FaultKind::StaleOutput) {
            Written::Skipped
        } else {
            Written::Rows(self.delivery(life.ticket, place, at))
        };
        let says = if has(FaultKind::FalseKilled) {
            Ending::Killed
        } else if has(FaultKind::FalseError) {
            Ending::Error(Phase::Export)
        } else {
            Ending::Success
        };
        Output { written, says }
    }

    fn delivery(&self, ticket: Ticket, place: &Place, at: Timestamp) -> Delivery {
        let (mut delivery, mut slow) = (Delivery::default(), Duration::ZERO);
        // The older wins: it is the last to write.
        let mut hits: Vec<&Fault> = self.hits(ticket, place, at).collect();
        hits.reverse();
        for fault in hits {
            match &fault.kind {
                FaultKind::PartialOutput { share } => delivery.share = *share,
                FaultKind::DuplicateOutput { copies, after } => {
                    (delivery.copies, delivery.copies_after) = (*copies, *after);
                }
                FaultKind::CorruptOutput { column } => delivery.corrupt = Some(column.clone()),
                FaultKind::DelayOutput { by } => delivery.late_by = *by,
                FaultKind::SlowTarget { by } => slow = *by,
                _ => {}
            }
        }
        delivery.late_by += slow;
        delivery
    }

    /// As of when the status of a job is answered: now, unless it is frozen.
    pub fn shown_at(&self, life: &Life, place: &Place, now: Timestamp) -> Timestamp {
        let frozen = self.hits(life.ticket, place, now).filter(|fault| fault.kind == FaultKind::FreezeStatus);
        frozen.map(|fault| fault.from.max(life.accepted_at)).min().unwrap_or(now)
    }

    /// Whether the agent can read a target now; else why not. `places` are the routes whose rows it
    /// reads, besides the target itself: a fault may be narrower than the target.
    pub fn sight<'p>(
        &mut self,
        target: &'p Place,
        places: impl IntoIterator<Item = &'p Place>,
        now: Timestamp,
    ) -> Result<(), &'static str> {
        let counts = self.counts.entry(target.stream()).or_default();
        counts.reads += 1;
        let read = Ticket { stream: target.stream() ^ READS, number: counts.reads };
        let why = |kind: &FaultKind| match kind {
            FaultKind::TargetDown => Some("the target does not answer"),
            FaultKind::AgentBlind => Some("the agent is cut off from the target"),
            _ => None,
        };
        match [target].into_iter().chain(places).find_map(|place| self.hit(read, place, now, why)) {
            Some(why) => Err(why),
            None => Ok(()),
        }
    }

    /// How much longer a write of the agent's own takes now, as its control makes one: of the read
    /// that was asked for last.
    pub fn slowness(&self, target: &Place, now: Timestamp) -> Duration {
        let number = self.counts.get(&target.stream()).map_or(0, |counts| counts.reads);
        let read = Ticket { stream: target.stream() ^ READS, number };
        let by = |kind: &FaultKind| if let FaultKind::SlowTarget { by } = kind { Some(*by) } else { None };
        self.hit(read, target, now, by).unwrap_or_default()
    }

    fn has(&self, kind: &FaultKind, ticket: Ticket, place: &Place, at: Timestamp) -> bool {
        self.hit(ticket, place, at, |known| (known == kind).then_some(())).is_some()
    }

    /// The first fault that hits and is wanted.
    fn hit<T>(
        &self,
        ticket: Ticket,
        place: &Place,
        at: Timestamp,
        wanted: impl Fn(&FaultKind) -> Option<T>,
    ) -> Option<T> {
        // The kind first: it is the cheaper question, and there are many askers.
        self.faults.iter().enumerate().find_map(|(number, fault)| {
            let found = wanted(&fault.kind)?;
            self.strikes(number, fault, ticket, place, at).then_some(found)
        })
    }

    /// Faults that go on here and whose rate hits this ticket, oldest first.
    fn hits(&self, ticket: Ticket, place: &Place, at: Timestamp) -> impl Iterator<Item = &Fault> {
        let numbered = self.faults.iter().enumerate();
        numbered.filter_map(move |(number, fault)| self.strikes(number, fault, ticket, place, at).then_some(fault))
    }

    fn strikes(&self, number: usize, fault: &Fault, ticket: Ticket, place: &Place, at: Timestamp) -> bool {
        fault.threatens(place, at)
            && (fault.rate >= 1.0 || {
                let seed = mix(&[self.seed, ticket.stream, ticket.number, number as u64 ^ FAULTS]);
                Rng::with_seed(seed).f64() < fault.rate
            })
    }
}

// Dice for calls, reads, uploads and faults must not be those of runs with the same numbers.
const CALLS: u64 = 0x6361_6c6c_7300_0000;
const READS: u64 = 0x7265_6164_7300_0000;
const UPLOADS: u64 = 0x7570_6c6f_6164_0000;
const FAULTS: u64 = 0x6661_756c_7473_0000;

/// One number from several, each bit depending on all of them (SplitMix64's finaliser, chained).
fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(0x9e37_79b9_7f4a_7c15, |mixed: u64, part| {
        let mut x = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ part;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    })
}
