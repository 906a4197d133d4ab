//! From start to stop: the agent's tasks, in the order in which they begin and end.

mod wishes;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use tracing::{error, info, warn};

pub use super::desk::Hearer;
use super::{
    after::{self, After},
    clock::Clock,
    coverage::Surveyor,
    craft::{Craft, Dice, Pad},
    desk::{self, Confirms, Desk, Ears, Told, note_all},
    dogfood::Reports,
    heartbeat::{Heartbeat, Seen},
    impact::Scenery,
    maintenance::{Ask, Keeper},
    outbox::{Audience, Drills, Order, Outbox, Slot},
    pulse::{GAPS_STAY, Pulse},
    run::{self, NOBODY_WAITS},
    scheduler::{Cap, Caps, Line, Round, Scheduler, Want},
    scribe::Scribe,
    sight::Sight,
};
use crate::{
    canary::{Away, Maintenance, RouteId, Sample, TargetName, Timestamp, Usual, Why},
    config::{Plan, worst_detection},
    detect::{AgentHealth, Board, Detector},
    metrics::{Metrics, WatchedRoute},
    notify::Notifier,
    platform::Platform,
    store::{Opening, Settlement, Store, StoreError},
    target::Target,
};

/// A plan with its drivers.
pub type OpenPlan = Plan<Arc<dyn Platform>, Arc<dyn Target>, Arc<dyn Notifier>>;

/// Every target is controlled this often, runs or no runs.
const CONTROL_EVERY: Duration = Duration::from_secs(30);
/// Retention and sweeps go round this often, in small steps.
const TIDY_EVERY: Duration = Duration::from_secs(900);
/// Canary rows stay at targets this long: long enough for a person to look at yesterday's.
const ROWS_STAY: Duration = Duration::from_secs(24 * 3600);
/// The desk writes what it was told within this when the agent stops.
const STOPS_WITHIN: Duration = Duration::from_secs(20);
/// Messages on their way to the desk: beyond it flights wait.
const TO_DESK: usize = 4096;

/// What an agent is made of.
pub struct Parts {
    /// What it does.
    pub plan: OpenPlan,
    /// Its ledger.
    pub store: Arc<dyn Store>,
    /// Its time.
    pub clock: Clock,
    /// Its chance.
    pub dice: Dice,
    /// Its metrics; none in replay.
    pub metrics: Option<Arc<Metrics>>,
    /// Who hears what happens.
    pub hearer: Arc<dyn Hearer>,
    /// A daemon keeps a journal, a pulse and its house; a replay does not.
    pub is_daemon: bool,
    /// Which confirming runs are flown.
    pub confirms: Confirms,
}

/// A running agent.
pub struct Agent {
    told: mpsc::Sender<Told>,
    wants: mpsc::Sender<Want>,
    board: watch::Receiver<Arc<Board>>,
    outbox: Option<Slot>,
    letters: watch::Receiver<Arc<Vec<Opening>>>,
    maintenance: watch::Receiver<Arc<Maintenance>>,
    /// None in replay.
    asks: Option<mpsc::Sender<Ask>>,
    drills: Option<Arc<Drills>>,
    /// None in replay.
    surveyor: Option<Arc<Surveyor>>,
    base: Base,
    craft: watch::Sender<Arc<Craft>>,
    after: After,
    later: JoinHandle<()>,
    scheduler: std::sync::Mutex<Option<JoinHandle<()>>>,
    desk: std::sync::Mutex<Option<JoinHandle<()>>>,
    /// One for the agent's life: a reload is no gap in watching.
    pulse: std::sync::Mutex<Option<JoinHandle<()>>>,
    others: std::sync::Mutex<Vec<JoinHandle<()>>>,
}

/// What survives a reload.
#[derive(Clone)]
pub(super) struct Base {
    store: Arc<dyn Store>,
    clock: Clock,
    dice: Dice,
    metrics: Option<Arc<Metrics>>,
    usual: Arc<RwLock<HashMap<RouteId, Usual>>>,
    away: Arc<RwLock<Vec<Away>>>,
    told: mpsc::Sender<Told>,
    round: Round,
    /// Who waits for what runs of a verification come to.
    ears: Ears,
    /// What verifications found is kept by one of them at a time.
    found: Arc<tokio::sync::Mutex<()>>,
    /// When a control last passed.
    seen: Seen,
    is_daemon: bool,
}

impl Agent {
    /// Starts: what the ledger knows is taken up, then runs are sent.
    pub async fn start(parts: Parts) -> Result<Self, StoreError> {
        let Parts { plan, store, clock, dice, metrics, hearer, is_daemon, confirms } = parts;
        let now = clock.now();
        let (detector, seq, changes) = recall(&store, &plan, now).await?;
        let gaps = if is_daemon { gaps(&store, now).await? } else { Vec::new() };
        let (told, desk_told) = mpsc::channel(TO_DESK);
        let (wants, scheduler_wants) = mpsc::channel(TO_DESK);
        let (show, board) = watch::channel(Arc::new(Board::default()));
        let round: Round = Arc::new(AtomicI64::new(0));
        if is_daemon {
            // What came of the recall is on record before the outbox asks for what is untold.
            let mut settlement = Settlement::default();
            note_all(&detector, changes, now, &mut settlement);
            if !settlement.incidents.is_empty() {
                store.settle(settlement).await?;
            }
        }
        let keeper = match is_daemon {
            true => {
                let (store, clock, dice) = (Arc::clone(&store), clock.clone(), dice.clone());
                let (routes, silences) = (plan.routes.clone(), plan.agent.upkeep.silences.clone());
                Some(Keeper::recall(store, clock, dice, metrics.clone(), routes, silences).await?)
            }
            false => None,
        };
        let (outbox, letters) = match &keeper {
            Some(keeper) => {
                let audience = Audience::of(&plan);
                let outbox = Outbox::start(
                    Arc::clone(&store),
                    clock.clone(),
                    dice.clone(),
                    metrics.clone(),
                    audience,
                    keeper.stands().silences,
                );
                let (slot, letters) = outbox.await?;
                (Some(slot), letters)
            }
            None => (None, watch::channel(Arc::default()).1),
        };
        let base = Base {
            store: Arc::clone(&store),
            clock: clock.clone(),
            dice,
            metrics: metrics.clone(),
            usual: desk::usual_of(&detector),
            away: Arc::new(RwLock::new(gaps)),
            told: told.clone(),
            round: Arc::clone(&round),
            ears: Ears::default(),
            found: Arc::default(),
            seen: Seen::default(),
            is_daemon,
        };
        let craft = base.craft(&plan);
        if let Some(metrics) = &metrics {
            metrics.set_routes(&watched_routes(&plan, now));
            let counts = store.counts().await?;
            metrics.resume(&counts.outcomes, counts.corrections);
        }
        let mut first = Board::default();
        first.watch(&plan.routes);
        first.agent = AgentHealth { started_at: now, store_up: true, ..AgentHealth::default() };
        let mut desk = Desk {
            clock: clock.clone(),
            scribe: Scribe::new(Arc::clone(&store)),
            ledger_is_down: false,
            owed: Vec::new(),
            detector,
            seq,
            snapshot_seq: if is_daemon { 0 } else { seq },
            board: first,
            show: is_daemon.then_some(show),
            shown_at: Timestamp::EPOCH,
            metrics: metrics.clone(),
            usual: Arc::clone(&base.usual),
            wants: wants.clone(),
            hearer,
            outbox: outbox.clone(),
            confirms,
            bad: std::collections::HashSet::new(),
            ears: Arc::clone(&base.ears),
            journals: is_daemon,
        };
        if is_daemon {
            refill_board(&mut desk, &store).await?;
            desk.show_incidents();
            // Whoever asks first finds the routes there.
            desk.show_board();
        }
        let (after, arrivals) = After::channel();
        let (crafts, _) = watch::channel(Arc::clone(&craft));
        let scheduler =
            Scheduler::new(Arc::clone(&craft), after.clone(), metrics.clone(), lines(&plan), caps(&plan), round);
        let (shows, maintenance) = watch::channel(Arc::default());
        let (mut asks, mut drills) = (None, None);
        if let (Some(keeper), Some(outbox)) = (keeper, &outbox) {
            // The scheduler hears of it before anything is due.
            let _ = wants.send(Want::Paused(keeper.paused(&keeper.stands()))).await;
            let (ask, asked) = mpsc::channel(64);
            tokio::spawn(keeper.run(asked, outbox.clone(), wants.clone(), shows));
            asks = Some(ask);
            let (store, dice) = (Arc::clone(&store), base.dice.clone());
            let recalled = Drills::recall(store, clock.clone(), dice, metrics.clone(), Audience::of(&plan));
            drills = Some(recalled.await?);
        }
        let agent = Self {
            told,
            wants: wants.clone(),
            board,
            outbox,
            letters,
            maintenance,
            asks,
            drills,
            surveyor: is_daemon.then(|| Surveyor::new(&plan, clock.clone(), base.dice.clone(), metrics.clone())),
            later: tokio::spawn(after::watch_on(crafts.subscribe(), arrivals)),
            craft: crafts,
            after: after.clone(),
            scheduler: std::sync::Mutex::new(Some(tokio::spawn(scheduler.run(scheduler_wants)))),
            desk: std::sync::Mutex::new(Some(tokio::spawn(desk.run(desk_told)))),
            pulse: std::sync::Mutex::default(),
            others: std::sync::Mutex::default(),
            base,
        };
        agent.watch_targets(&craft, &plan);
        if is_daemon {
            agent.resume(now).await?;
            let (store, clock, away, metrics) =
                (Arc::clone(&store), clock, Arc::clone(&agent.base.away), agent.base.metrics.clone());
            let pulse = tokio::spawn(Pulse { store, clock, away, metrics }.beat());
            *agent.pulse.lock().unwrap_or_else(PoisonError::into_inner) = Some(pulse);
            agent.keep_house(&craft);
            agent.show_life(&plan);
        }
        Ok(agent)
    }

    /// Takes another plan. Runs in flight fly on under the old one.
    pub async fn reload(&self, plan: &OpenPlan) {
        let now = self.base.clock.now();
        let craft = self.base.craft(plan);
        if let Some(metrics) = &self.base.metrics {
            metrics.set_routes(&watched_routes(plan, now));
            metrics.reloaded(Some(now));
        }
        self.craft.send_replace(Arc::clone(&craft));
        if let Some(outbox) = &self.outbox {
            outbox.put(Order::Configure(Box::new(Audience::of(plan))));
        }
        if let Some(drills) = &self.drills {
            drills.configure(Audience::of(plan));
        }
        if let Some(surveyor) = &self.surveyor {
            surveyor.configure(plan);
        }
        let _ = self.told.send(Told::Watch(plan.routes.clone())).await;
        // What is paused of the new routes is known before they are flown.
        if let Some(asks) = &self.asks {
            let (reply, answer) = oneshot::channel();
            let silences = plan.agent.upkeep.silences.clone();
            let _ = asks.send(Ask::Watch(plan.routes.clone(), silences, reply)).await;
            let _ = answer.await;
        }
        let _ = self.wants.send(Want::Lines(lines(plan), caps(plan), Arc::clone(&craft))).await;
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.drain(..).for_each(|task| task.abort());
        drop(others);
        self.watch_targets(&craft, plan);
        self.keep_house(&craft);
        self.show_life(plan);
    }

    /// Notes that another plan was refused.
    pub fn reload_refused(&self) {
        if let Some(metrics) = &self.base.metrics {
            metrics.reloaded(None);
        }
    }

    /// Stops in order: no new runs, flights broken off where they are (they are resumed at the next
    /// start), then the desk writes what it was told.
    pub async fn stop(&self) {
        let take = |task: &std::sync::Mutex<Option<JoinHandle<()>>>| {
            task.lock().unwrap_or_else(PoisonError::into_inner).take()
        };
        let _ = self.wants.send(Want::Stop).await;
        if let Some(scheduler) = take(&self.scheduler) {
            let _ = scheduler.await;
        }
        let pulse = take(&self.pulse);
        let others: Vec<_> = self.others.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        self.later.abort();
        for task in others.into_iter().chain(pulse) {
            task.abort();
        }
        let _ = self.told.send(Told::Stop).await;
        if let Some(desk) = take(&self.desk)
            && tokio::time::timeout(STOPS_WITHIN, desk).await.is_err()
        {
            error!("the desk did not finish in time; what it was told is resumed at the next start");
        }
        if let Some(drills) = &self.drills {
            drills.stop();
        }
        if let Some(outbox) = &self.outbox {
            outbox.stop().await;
        }
    }

    async fn resume(&self, now: Timestamp) -> Result<(), StoreError> {
        let pending = self.base.store.pending().await?;
        if !pending.is_empty() {
            info!(runs = pending.len(), "resuming runs that were in flight");
        }
        let craft = Arc::clone(&self.craft.borrow());
        for record in pending {
            if record.run.why == Why::Verify {
                // Its verification is gone, and with it perhaps the intake that it was to be delivered to.
                run::ground(&craft, &Arc::new(record.run), record.evidence, NOBODY_WAITS).await;
                continue;
            }
            let _ = self.wants.send(Want::Resume(Box::new(record))).await;
        }
        for record in self.base.store.watched(now).await? {
            if let Some(verdict) = record.verdict {
                self.after.watch(&Arc::new(record.run), &verdict);
            }
        }
        Ok(())
    }

    fn keep(&self, task: JoinHandle<()>) {
        self.others.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    /// Controls every target that a route leads to, for as long as the agent lives. Of the others
    /// nobody needs to know whether they can be seen.
    fn watch_targets(&self, craft: &Arc<Craft>, plan: &OpenPlan) {
        let names: BTreeSet<&TargetName> = plan.routes.iter().map(|route| &route.target).collect();
        for (place, name) in names.into_iter().enumerate() {
            let (craft, name, told) = (Arc::clone(craft), name.clone(), self.told.clone());
            let seen = Arc::clone(&self.base.seen);
            self.keep(tokio::spawn(async move {
                // Not all in the same second.
                tokio::time::sleep(Duration::from_millis(500 + 700 * (place as u64 % 40))).await;
                let (_, sight) = &craft.targets[&name];
                loop {
                    let asked_at = craft.clock.now();
                    // A target that may only be read, and holds nothing young, has been seen all the same.
                    let passed = sight.control(asked_at, &craft.clock).await.map_or(Ok(()), |control| control.passed);
                    if passed.is_ok() {
                        seen.store(asked_at.as_micros(), Ordering::Relaxed);
                    }
                    if told.send(Told::Control { target: name.clone(), passed }).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(CONTROL_EVERY).await;
                }
            }));
        }
    }

    /// What shows that people can be reached: signs of life, and drills on their days. And looks for what no
    /// route covers.
    fn show_life(&self, plan: &OpenPlan) {
        let (Some(drills), upkeep) = (&self.drills, &plan.agent.upkeep) else { return };
        if let Some(metrics) = &self.base.metrics {
            metrics.set_heartbeat(upkeep.heartbeat.as_ref().map(|heartbeat| heartbeat.every));
        }
        if let Some(beat) = upkeep.heartbeat.clone() {
            let heartbeat = Heartbeat {
                plan: beat,
                wire: plan.agent.wire.clone(),
                store: Arc::clone(&self.base.store),
                clock: self.base.clock.clone(),
                metrics: self.base.metrics.clone(),
                round: Arc::clone(&self.base.round),
                seen: Arc::clone(&self.base.seen),
            };
            self.keep(tokio::spawn(heartbeat.beat()));
        }
        if let (Some(surveyor), Some(every)) = (&self.surveyor, plan.agent.coverage_every) {
            self.keep(tokio::spawn(Arc::clone(surveyor).keep_looking(every)));
        }
        if let Some(schedule) = upkeep.drill.clone() {
            let (drills, clock) = (Arc::clone(drills), self.base.clock.clone());
            self.keep(tokio::spawn(async move {
                while let Some(next) = schedule.next(RouteId(0), clock.now()) {
                    clock.sleep_until(next).await;
                    if let Err(error) = Arc::clone(&drills).send(None).await {
                        warn!(%error, "no drill was sent, though it was due");
                    }
                }
            }));
        }
    }

    /// What has to be tidied.
    fn keep_house(&self, craft: &Arc<Craft>) {
        if !self.base.is_daemon {
            return;
        }
        let base = self.base.clone();
        let craft = Arc::clone(craft);
        self.keep(tokio::spawn(async move {
            loop {
                tokio::time::sleep(TIDY_EVERY).await;
                let now = base.clock.now();
                if let Err(error) = base.store.thin(now).await {
                    warn!(%error, "could not thin the ledger");
                }
                let mut targets: Vec<_> = craft.targets.iter().collect();
                targets.sort_by_key(|(name, _)| (*name).clone());
                for (name, (target, _)) in targets {
                    let sweep = target.sweep(now.minus(ROWS_STAY));
                    match tokio::time::timeout(Duration::from_secs(60), sweep).await {
                        Ok(Ok(_)) => {}
                        Ok(Err(error)) => warn!(target = %name, %error, "could not sweep"),
                        Err(_) => warn!(target = %name, "sweep took too long"),
                    }
                }
            }
        }));
    }
}

impl Base {
    /// For runs on request: nothing is counted, nothing known of what is usual.
    pub(super) fn without_daemon(store: Arc<dyn Store>, clock: Clock, dice: Dice, told: mpsc::Sender<Told>) -> Self {
        Self {
            store,
            clock,
            dice,
            metrics: None,
            usual: Arc::default(),
            away: Arc::default(),
            told,
            round: Round::default(),
            ears: Ears::default(),
            found: Arc::default(),
            seen: Seen::default(),
            is_daemon: false,
        }
    }

    pub(super) fn craft(&self, plan: &OpenPlan) -> Arc<Craft> {
        let pad = |p: &crate::config::PlatformPlan<Arc<dyn Platform>>| {
            (p.name.clone(), Arc::new(Pad::new(p.name.clone(), Arc::clone(&p.driver))))
        };
        let eye = |t: &crate::config::TargetPlan<Arc<dyn Target>>| {
            (
                t.name.clone(),
                (Arc::clone(&t.driver), Sight::open(Arc::clone(&t.driver), self.clock.clone(), t.caps.pause())),
            )
        };
        let pads = plan.platforms.iter().map(pad).collect();
        let reporting = plan.canaries.iter().filter_map(|canary| Some((&canary.name, canary.report.as_ref()?)));
        Arc::new(Craft {
            scenery: Arc::new(Scenery::of(plan, &pads)),
            reports: Arc::new(Reports::of(reporting, &plan.routes)),
            clock: self.clock.clone(),
            dice: self.dice.clone(),
            store: Arc::clone(&self.store),
            pads,
            targets: plan.targets.iter().map(eye).collect(),
            usual: Arc::clone(&self.usual),
            away: Arc::clone(&self.away),
            metrics: self.metrics.clone(),
            desk: self.told.clone(),
        })
    }
}

/// Detection as it was: the snapshot, and what was told since.
async fn recall(
    store: &Arc<dyn Store>,
    plan: &OpenPlan,
    now: Timestamp,
) -> Result<(Detector, u64, Vec<crate::detect::Change>), StoreError> {
    let (mut seq, mut detector, mut changes) = (0, Detector::new(&plan.routes), Vec::new());
    if let Some((at, state)) = store.snapshot().await? {
        match Detector::restore(&state, &plan.routes, now) {
            Ok((restored, resolved)) => (seq, detector, changes) = (at, restored, resolved),
            Err(error) => warn!(%error, "snapshot of detection is unreadable; starting from the journal alone"),
        }
    }
    for entry in store.journal(seq).await? {
        seq = entry.seq;
        // What came of it was written then.
        let _ = detector.observe(&entry.input, entry.at);
    }
    Ok((detector, seq, changes))
}

/// When nobody watched, up to now.
async fn gaps(store: &Arc<dyn Store>, now: Timestamp) -> Result<Vec<Away>, StoreError> {
    let mut gaps = store.away(now.minus(GAPS_STAY)).await?;
    if let Some(last) = store.last_beat().await?.filter(|last| *last < now) {
        gaps.push(Away { from: last, until: now });
    }
    Ok(gaps)
}

/// What the ledger knows of each route's last run.
async fn refill_board(desk: &mut Desk, store: &Arc<dyn Store>) -> Result<(), StoreError> {
    let mut records = store.runs(None, 2_000).await?;
    records.reverse();
    for verdict in records.into_iter().filter_map(|record| record.verdict) {
        desk.board.learn(&verdict);
    }
    Ok(())
}

/// The plan's lines for the scheduler.
pub fn lines(plan: &OpenPlan) -> Vec<Line> {
    let line = |route: &Arc<crate::canary::Route>| {
        let canary = plan.canary(&route.canary)?;
        Some(Line {
            route: Arc::clone(route),
            schedule: Some(canary.schedule.clone()),
            objective: canary.objective,
            deadline: canary.deadline,
            sample: match &canary.report {
                Some(report) => {
                    let told = plan.routes.iter().filter(|other| other.platform == route.platform).count();
                    let lines = u32::try_from(told).unwrap_or(u32::MAX).saturating_mul(report.hours).saturating_add(1);
                    Sample::of(lines.min(Sample::MOST_ROWS))
                }
                None => canary.sample,
            },
        })
    };
    plan.routes.iter().filter_map(line).collect()
}

pub(super) fn caps(plan: &OpenPlan) -> Caps {
    let cap = |p: &crate::config::PlatformPlan<Arc<dyn Platform>>| {
        (p.name.clone(), Cap { in_flight: p.in_flight, per_hour: p.per_hour })
    };
    let rows = plan.targets.iter().filter_map(|target| Some((target.name.clone(), target.caps.rows_per_hour?)));
    Caps { platforms: plan.platforms.iter().map(cap).collect(), rows: rows.collect() }
}

fn watched_routes(plan: &OpenPlan, now: Timestamp) -> Vec<WatchedRoute> {
    let watched = |route: &Arc<crate::canary::Route>| {
        let canary = plan.canary(&route.canary)?;
        let interval = canary.schedule.longest_gap(now);
        let detection_bound = worst_detection(interval, canary.objective, plan.pause(&route.target));
        let (objective, deadline) = (canary.objective, canary.deadline);
        Some(WatchedRoute { route: Arc::clone(route), objective, deadline, detection_bound, interval, since: now })
    };
    plan.routes.iter().filter_map(watched).collect()
}
