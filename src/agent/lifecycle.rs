//! From start to stop: the agent's tasks, in the order in which they begin and end.

mod parts;
mod recall;
mod standing;
mod wishes;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, atomic::AtomicI64},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use tracing::{error, info};

pub(super) use self::parts::{caps, lines};
use self::{
    parts::watched_routes,
    recall::{gaps, recall, refill_board},
};
use super::{
    after::{self, After},
    clock::Clock,
    coverage::Surveyor,
    craft::{Craft, Dice, Pad},
    desk::{self, Confirms, Desk, Ears, Told, note_all},
    dogfood::Reports,
    ground::ground_unwanted,
    hearer::Hearer,
    heartbeat::Seen,
    impact::Scenery,
    maintenance::{Ask, Keeper},
    outbox::{Audience, Drills, Order, Outbox, Slot},
    pulse::Pulse,
    scheduler::{Round, Scheduler, Want},
    scribe::Scribe,
    sight::Sight,
};
use crate::{
    canary::{Away, ByHand, Maintenance, RouteId, Run, Timestamp, Usual, Why},
    config::Plan,
    detect::{AgentHealth, Board},
    metrics::Metrics,
    notify::Notifier,
    platform::Platform,
    store::{Opening, Settlement, Store, StoreError},
    target::Target,
};

/// A plan with its drivers.
pub type OpenPlan = Plan<Arc<dyn Platform>, Arc<dyn Target>, Arc<dyn Notifier>>;

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
    /// How a person sees a run with their own eyes, by the drivers that are at work now; of a platform or target
    /// that the config does not name any more, nothing.
    pub fn by_hand(&self, run: &Run) -> ByHand {
        let craft = Arc::clone(&self.craft.borrow());
        craft.by_hand(run)
    }

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
        first.agent = AgentHealth { started_at: now, store_up: true };
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
            desk.count_incidents();
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
                ground_unwanted(&craft, record).await;
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
