//! The scheduler: sends runs when they are due, under the platforms' caps, and when detection or a
//! deploy wants them at once.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet, VecDeque},
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::JoinSet,
};
use tracing::{error, info, warn};

mod room;

use self::room::Room;
pub use self::room::{Cap, Caps};
use super::{
    after::After,
    craft::Craft,
    desk::Told,
    dogfood::{Chore, Composed},
    errand::Unsent,
    ground,
    run::Flight,
};
use crate::{
    canary::{Evidence, Marker, PlatformName, Route, RouteId, Run, Sample, Schedule, Selector, Terms, Timestamp, Why},
    metrics::Metrics,
    platform::Handle,
    store::{RunRecord, StoreError},
};

/// After a deploy marker every route runs once within this.
const ALL_WITHIN: Duration = Duration::from_secs(10);
/// And twice as often for this long: the first runs after a release are worth more than the next
/// hundred.
const OFTEN_FOR: Duration = Duration::from_secs(600);
/// Why a run is not flown on.
const GONE: &str = "its platform or target is no longer configured";
/// Why a run that somebody waits for is not sent.
const GONE_ROUTE: &str = "the route is no longer configured";
const PAUSED: &str = "the route is paused; `landfall resume` has it sent again";
/// Why a report is not sent.
const NOT_YET: &str = "its report tells of what was loaded, and none of that can be queried yet";
/// How often the scheduler shows that it goes round, when nothing is due: a service manager that is
/// told of rounds may be impatient.
const ROUND: Duration = Duration::from_secs(1);

/// A route with its terms, as the scheduler needs it.
#[derive(Clone, Debug)]
pub struct Line {
    /// The route.
    pub route: Arc<Route>,
    /// When it is due; none: only when asked for.
    pub schedule: Option<Schedule>,
    /// Its objective.
    pub objective: Duration,
    /// Its deadline.
    pub deadline: Duration,
    /// Its rows.
    pub sample: Sample,
}

impl Line {
    fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.schedule.as_ref()?.next(self.route.id, after)
    }
}

/// What the scheduler is asked.
pub enum Want {
    /// A run of this route at once.
    Confirm(RouteId),
    /// A deploy: every route at once, those that it selects first; then more often for a while. The runs of
    /// these routes are also those of whoever verifies it, and has named them.
    Deploy(Selector, HashMap<RouteId, Marker>),
    /// Runs of these routes at once, for whoever verifies a release, and has named them. They wait for a slot for as
    /// long as they are wanted.
    Verify(Vec<(RouteId, Marker)>),
    /// Runs of a verification that wait, and are not wanted any more.
    Forget(HashSet<Marker>),
    /// Fly on after a restart.
    Resume(Box<RunRecord>),
    /// Other lines from now on.
    Lines(Vec<Line>, Caps, Arc<Craft>),
    /// Nothing is sent over these routes from now on, and over all others.
    Paused(HashSet<RouteId>),
    /// No more runs.
    Stop,
}

struct Lane {
    line: Line,
    in_flight: u32,
    confirming: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Timestamp,
    lane: usize,
    cause: Cause,
}

/// Why something is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cause {
    Scheduled,
    /// Between two of the schedule, after a deploy.
    Extra,
    Confirming,
    Deploy,
    /// With what the verification has named it.
    Verifying(Marker),
}

impl Cause {
    fn why(self) -> Why {
        match self {
            Self::Scheduled | Self::Extra => Why::Scheduled,
            Self::Confirming => Why::Confirming,
            Self::Deploy => Why::Deploy,
            Self::Verifying(_) => Why::Verify,
        }
    }

    /// The run that somebody waits for.
    fn run(self) -> Option<Marker> {
        match self {
            Self::Verifying(run) => Some(run),
            _ => None,
        }
    }
}

/// When the scheduler last went round, in microseconds since 1970, for health and heartbeats.
pub type Round = Arc<AtomicI64>;

/// The scheduler's state.
pub struct Scheduler {
    craft: Arc<Craft>,
    after: After,
    metrics: Option<Arc<Metrics>>,
    round: Round,
    lanes: Vec<Lane>,
    by_route: HashMap<RouteId, usize>,
    room: Room,
    due: BinaryHeap<Reverse<Due>>,
    /// Runs that were due and had no slot, oldest first.
    held: VecDeque<Due>,
    often_until: Timestamp,
    paused: HashSet<RouteId>,
    flights: JoinSet<(RouteId, PlatformName, Cause)>,
}

impl Scheduler {
    /// A scheduler of these lines. Nothing flies yet.
    pub fn new(
        craft: Arc<Craft>,
        after: After,
        metrics: Option<Arc<Metrics>>,
        lines: Vec<Line>,
        caps: Caps,
        round: Round,
    ) -> Self {
        let mut scheduler = Self {
            craft,
            after,
            metrics,
            round,
            lanes: Vec::new(),
            by_route: HashMap::new(),
            room: Room::of(caps),
            due: BinaryHeap::new(),
            held: VecDeque::new(),
            often_until: Timestamp::EPOCH,
            paused: HashSet::new(),
            flights: JoinSet::new(),
        };
        scheduler.take_lines(lines);
        scheduler
    }

    fn take_lines(&mut self, lines: Vec<Line>) {
        let now = self.craft.clock.now();
        // What was promised beside the schedule stays promised: runs after a deploy, and runs that
        // wait for a slot.
        let promised = self.due.drain().map(|Reverse(due)| due).filter(|due| due.cause != Cause::Scheduled);
        let promised: Vec<(RouteId, Due)> = promised.map(|due| (self.lanes[due.lane].line.route.id, due)).collect();
        let held: Vec<(RouteId, Due)> =
            self.held.drain(..).map(|due| (self.lanes[due.lane].line.route.id, due)).collect();
        let was: HashMap<RouteId, (u32, bool)> =
            self.lanes.drain(..).map(|lane| (lane.line.route.id, (lane.in_flight, lane.confirming))).collect();
        for (at, line) in lines.into_iter().enumerate() {
            if let Some(next) = line.next(now) {
                self.due.push(Reverse(Due { at: next, lane: at, cause: Cause::Scheduled }));
            }
            let (in_flight, confirming) = was.get(&line.route.id).copied().unwrap_or_default();
            self.lanes.push(Lane { line, in_flight, confirming });
        }
        self.by_route = self.lanes.iter().enumerate().map(|(at, lane)| (lane.line.route.id, at)).collect();
        // Of routes that went away, nothing is owed; whoever waits for a run of one is told.
        let gone = held.iter().filter(|(route, _)| !self.by_route.contains_key(route));
        for run in gone.filter_map(|(_, due)| due.cause.run()).collect::<Vec<_>>() {
            self.is_unsent(Unsent { run, why: GONE_ROUTE.to_owned(), for_good: true });
        }
        let stays = |(route, due): (RouteId, Due)| self.by_route.get(&route).map(|lane| Due { lane: *lane, ..due });
        let promised: Vec<Due> = promised.into_iter().filter_map(stays).collect();
        let held: Vec<Due> = held.into_iter().filter_map(stays).collect();
        self.due.extend(promised.into_iter().map(Reverse));
        self.held.extend(held);
    }

    /// Sends runs until it is told to stop, then lands: flights are broken off where they are, to be
    /// resumed at the next start.
    pub async fn run(mut self, mut wants: mpsc::Receiver<Want>) {
        loop {
            let now = self.craft.clock.now();
            self.round.store(now.as_micros(), Ordering::Relaxed);
            let round_ends = now.plus(ROUND);
            let next = self.due.peek().map_or(round_ends, |Reverse(due)| due.at);
            let clock = self.craft.clock.clone();
            tokio::select! {
                biased;
                want = wants.recv() => match want {
                    Some(Want::Stop) | None => break,
                    Some(want) => self.want(want),
                },
                Some(landed) = self.flights.join_next() => match landed {
                    Ok((route, platform, cause)) => self.landed(route, &platform, cause),
                    Err(error) => error!(%error, "a run ended without saying which; its slot is not given back"),
                },
                // Virtual time has no need of rounds that find nothing due.
                () = clock.sleep_until(if self.metrics.is_some() { next.min(round_ends) } else { next }), if self.metrics.is_some() || !self.due.is_empty() => {
                    self.start_due();
                }
            }
        }
        self.flights.shutdown().await;
    }

    fn want(&mut self, want: Want) {
        let now = self.craft.clock.now();
        match want {
            Want::Confirm(route) => {
                if let Some(lane) = self.by_route.get(&route).copied()
                    && !self.lanes[lane].confirming
                {
                    self.lanes[lane].confirming = true;
                    self.start(Due { at: now, lane, cause: Cause::Confirming });
                }
            }
            Want::Deploy(first, verified) => {
                self.often_until = now.plus(OFTEN_FOR);
                let (ahead, rest): (Vec<usize>, Vec<usize>) =
                    (0..self.lanes.len()).partition(|lane| first.covers(&self.lanes[*lane].line.route));
                let n = self.lanes.len().max(1) as u32;
                for (place, lane) in ahead.into_iter().chain(rest).enumerate() {
                    if let Some(run) = verified.get(&self.lanes[lane].line.route.id) {
                        // Somebody waits for it.
                        self.start(Due { at: now, lane, cause: Cause::Verifying(*run) });
                    } else {
                        let at = now.plus(ALL_WITHIN * place as u32 / n);
                        self.due.push(Reverse(Due { at, lane, cause: Cause::Deploy }));
                    }
                }
            }
            Want::Verify(routes) => {
                for (route, run) in routes {
                    match self.by_route.get(&route).copied() {
                        Some(lane) => self.start(Due { at: now, lane, cause: Cause::Verifying(run) }),
                        None => self.is_unsent(Unsent { run, why: GONE_ROUTE.to_owned(), for_good: true }),
                    }
                }
            }
            Want::Forget(runs) => self.held.retain(|due| due.cause.run().is_none_or(|run| !runs.contains(&run))),
            Want::Resume(record) => self.resume(*record),
            Want::Paused(routes) => self.paused = routes,
            Want::Stop => {}
            Want::Lines(lines, caps, craft) => {
                self.craft = craft;
                self.room.caps = caps;
                self.take_lines(lines);
            }
        }
    }

    fn start_due(&mut self) {
        let now = self.craft.clock.now();
        while let Some(Reverse(due)) = self.due.peek().copied().filter(|Reverse(due)| due.at <= now) {
            self.due.pop();
            if due.cause == Cause::Scheduled {
                let line = &self.lanes[due.lane].line;
                let next = line.next(due.at);
                // After a stall the runs that were missed are skipped, not sent all at once.
                let missed = next.filter(|next| *next <= now).is_some();
                let next = if missed { line.next(now) } else { next };
                if let Some(next) = next {
                    self.due.push(Reverse(Due { at: next, ..due }));
                    if now < self.often_until {
                        let between = due.at.plus(next.since(due.at) / 2);
                        self.due.push(Reverse(Due { at: between, cause: Cause::Extra, ..due }));
                    }
                }
                if missed {
                    self.skip(due);
                    continue;
                }
            }
            self.start(due);
        }
        self.start_held();
    }

    fn start_held(&mut self) {
        for _ in 0..self.held.len() {
            let Some(due) = self.held.pop_front() else { return };
            self.start_or_hold(due, true);
        }
    }

    fn skip(&mut self, due: Due) {
        if due.cause == Cause::Confirming {
            self.lanes[due.lane].confirming = false;
        }
        // What nobody wants sent is not skipped.
        if let Some(metrics) = self.metrics.as_ref().filter(|_| !self.is_paused(due)) {
            metrics.skipped(1);
        }
    }

    fn is_paused(&self, due: Due) -> bool {
        self.paused.contains(&self.lanes[due.lane].line.route.id)
    }

    fn start(&mut self, due: Due) {
        self.start_or_hold(due, false);
    }

    /// Starts a run if there is a slot for it, else holds it; a newer run of its route takes the
    /// place of one that is held. A verification's run waits for as long as somebody waits for it, who is told why.
    fn start_or_hold(&mut self, due: Due, was_held: bool) {
        let lane = &self.lanes[due.lane];
        let platform = lane.line.route.platform.clone();
        let now = self.craft.clock.now();
        let (deadline, is_paused) = (lane.line.deadline, self.is_paused(due));
        let is_too_late = due.cause.run().is_none() && now >= due.at.plus(deadline);
        if is_too_late || is_paused {
            // Nobody wants it, or it was held for so long that it would be judged before it is
            // submitted, as one that nobody answered for.
            if let Some(run) = due.cause.run() {
                self.is_unsent(Unsent { run, why: PAUSED.to_owned(), for_good: true });
            }
            return self.skip(due);
        }
        let lane = &self.lanes[due.lane];
        let alone = lane.line.route.mode.displaces() && lane.in_flight > 0;
        let (target, rows) = (lane.line.route.target.clone(), lane.line.sample.rows);
        let alone = alone.then(|| "another run of the route to end".to_owned());
        if let Some(why) = alone.or_else(|| self.room.hindrance(&platform, &target, rows, now)) {
            if let Some(run) = due.cause.run() {
                self.held.push_back(due);
                if !was_held {
                    self.is_unsent(Unsent { run, why, for_good: false });
                }
            } else if let Some(at) = self.held.iter().position(|held| held.lane == due.lane && held.cause == due.cause)
            {
                let older = std::mem::replace(&mut self.held[at], due);
                self.skip(older);
            } else {
                self.held.push_back(due);
            }
            return;
        }
        let lane = &mut self.lanes[due.lane];
        lane.in_flight += 1;
        self.room.begin(&platform, &target, rows, now);
        if let Some(metrics) = &self.metrics {
            metrics.begun(now.since(due.at));
        }
        let line = &lane.line;
        let run = Arc::new(Run {
            marker: due.cause.run().unwrap_or_else(|| self.craft.dice.marker(now)),
            route: Arc::clone(&line.route),
            // What had to wait is due when it is sent.
            terms: Terms {
                due: if due.cause.run().is_some() { now } else { due.at },
                objective: line.objective,
                deadline: line.deadline,
            },
            sample: line.sample,
            why: due.cause.why(),
            report: None,
        });
        self.fly(run, due.cause, None, Evidence::default(), false);
    }

    fn resume(&mut self, record: RunRecord) {
        let run = Arc::new(record.run);
        let platform = run.route.platform.clone();
        if let Some(lane) = self.by_route.get(&run.route.id) {
            self.lanes[*lane].in_flight += 1;
        }
        self.room.go_on(&platform);
        self.fly(run, Cause::Scheduled, record.handle.and_then(Handle::new), record.evidence, true);
    }

    fn fly(&mut self, run: Arc<Run>, cause: Cause, handle: Option<Handle>, evidence: Evidence, resumed: bool) {
        let (route, platform) = (run.route.id, run.route.platform.clone());
        let (craft, after) = (Arc::clone(&self.craft), self.after.clone());
        self.flights.spawn(async move {
            let flight = async {
                let (run, chore) = match resumed {
                    true => (Arc::clone(&run), Chore::default()),
                    false => match begin(&craft, Arc::clone(&run)).await {
                        Some(begun) => begun,
                        None => return,
                    },
                };
                match Flight::new(&craft, &after, Arc::clone(&run), handle, evidence.clone()) {
                    Some(flight) => flight.first_doing(chore).fly(resumed).await,
                    None => ground::ground(&craft, &run, evidence, GONE).await,
                }
            };
            // A driver that breaks down takes its run with it, and nothing else: the slot is given
            // back, and somebody is told.
            if AssertUnwindSafe(flight).catch_unwind().await.is_err() {
                error!(run = %run.marker, route = %run.route, "the agent broke down in the middle of a run");
                ground::ground_where_it_broke(&craft, &run).await;
            }
            (route, platform, cause)
        });
    }

    /// Tells whoever waits for it.
    fn is_unsent(&self, unsent: Unsent) {
        if let Err(TrySendError::Full(told)) = self.craft.desk.try_send(Told::Unsent(unsent)) {
            // A desk that is busy is told when it is not.
            let desk = self.craft.desk.clone();
            tokio::spawn(async move { desk.send(told).await });
        }
    }

    fn landed(&mut self, route: RouteId, platform: &PlatformName, cause: Cause) {
        self.room.end(platform);
        if let Some(lane) = self.by_route.get(&route).copied() {
            let lane = &mut self.lanes[lane];
            lane.in_flight = lane.in_flight.saturating_sub(1);
            if cause == Cause::Confirming {
                lane.confirming = false;
            }
        }
        if !self.held.is_empty() {
            self.start_held();
        }
    }
}

/// Records a run before it is submitted: without a record there is no run. What a report must tell is a part of it.
async fn begin(craft: &Craft, run: Arc<Run>) -> Option<(Arc<Run>, Chore)> {
    let (marker, route, why) = (run.marker, Arc::clone(&run.route), run.why);
    let begun = async {
        let composed = craft.reports.compose(craft, run).await?;
        if let Composed::Ready(run, _) = &composed {
            craft.store.begin(run).await?;
        }
        Ok::<_, StoreError>(composed)
    };
    match begun.await {
        Ok(Composed::Ready(run, chore)) => Some((run, chore)),
        Ok(Composed::NotYet) => {
            info!(run = %marker, %route, "run not sent: {NOT_YET}");
            if let Some(metrics) = &craft.metrics {
                metrics.skipped(1);
            }
            if why == Why::Verify {
                let unsent = Unsent { run: marker, why: NOT_YET.to_owned(), for_good: true };
                // A desk that is closed: nobody waits any more.
                let _ = craft.desk.send(Told::Unsent(unsent)).await;
            }
            None
        }
        Err(error) => {
            warn!(run = %marker, %route, %error, "run not sent, since it cannot be recorded");
            None
        }
    }
}
