//! The outbox: tells people, until they were told. It is told what changed after that was written,
//! or after the desk gave up waiting for the ledger; what each receiver took is written too, so that
//! an agent that is killed goes on where it was.
//!
//! `steps` decides what is said next to one receiver, `receiver` how soon, `book` keeps it all, and
//! this file sends and writes.

mod book;
#[cfg(test)]
mod book_tests;
mod drill;
mod message;
mod receiver;
mod steps;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{JoinHandle, JoinSet},
    time::Instant,
};
use tracing::{error, info, warn};

pub use book::News;
use book::{Book, Now, Sending, Unwritten};
pub(super) use drill::Drills;
use message::Letterhead;
use receiver::{Receiver, former};

use super::{clock::Clock, craft::Dice, lifecycle::OpenPlan};
use crate::{
    canary::{NotifierName, Silence},
    detect::{Change, Deploy},
    metrics::{Metrics, Told},
    notify::{Message, Notifier, NotifyError, What},
    store::{Letter, Opening, Store, StoreError},
};

/// A receiver that does not answer within this is asked again.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// How often the book is looked at when nothing happens.
const TICK: Duration = Duration::from_millis(250);
/// The same when there is nothing to be told.
const IDLE_TICK: Duration = Duration::from_secs(5);
/// Openings among which it is looked whether a notice was taken care of already.
const RECENT: u32 = 1_000;
/// Before another try to write.
const WRITE_AGAIN: Duration = Duration::from_secs(1);
/// What is on its way when the agent stops may take this long.
const STOPS_WITHIN: Duration = Duration::from_secs(5);
/// Steady time begins here, so that what was told a while before the start can be said to be.
const STEADY: Duration = Duration::from_secs(30 * 24 * 3600);

/// What the outbox is told.
#[derive(Debug)]
pub(super) enum Order {
    /// Something changed that people are to be told of.
    News(Vec<News>),
    /// A release was noted.
    Deploy(Deploy),
    /// Another config.
    Configure(Box<Audience>),
    /// Other silences.
    Silences(Vec<Silence>),
    /// Nobody has anything more to tell.
    Stop(oneshot::Sender<()>),
}

/// Who is told, and what is said of the agent itself.
#[derive(Clone, Debug)]
pub(super) struct Audience {
    notifiers: Vec<(Arc<dyn Notifier>, Receiver)>,
    routes: Vec<Arc<crate::canary::Route>>,
    letterhead: Letterhead,
}

impl Audience {
    pub(super) fn of(plan: &OpenPlan) -> Self {
        let notifiers = plan.notifiers.iter().map(|notifier| {
            let (identity, manner) = (notifier.driver.identity(), notifier.driver.manner());
            let receiver = Receiver::new(notifier.name.clone(), identity, notifier.rules.clone(), manner);
            (Arc::clone(&notifier.driver), receiver)
        });
        Self { notifiers: notifiers.collect(), routes: plan.routes.clone(), letterhead: Letterhead::of(&plan.agent) }
    }
}

/// The way to the outbox.
#[derive(Clone, Debug)]
pub(super) struct Slot(mpsc::UnboundedSender<Order>);

impl Slot {
    /// Never waits: the desk must not. What is waiting is bounded by how often incidents change.
    pub(super) fn put(&self, order: Order) {
        // An outbox that has stopped is told nothing more; the ledger knows.
        let _ = self.0.send(order);
    }

    /// Waits until what is on its way was answered and written, but not for long.
    pub(super) async fn stop(&self) {
        let (reply, answer) = oneshot::channel();
        self.put(Order::Stop(reply));
        let _ = tokio::time::timeout(STOPS_WITHIN + Duration::from_secs(1), answer).await;
    }
}

/// The outbox at work.
pub(super) struct Outbox {
    store: Arc<dyn Store>,
    clock: Clock,
    dice: Dice,
    metrics: Option<Arc<Metrics>>,
    began: Instant,
    book: Book,
    audience: Audience,
    /// By name and where they lead; those that left the config and have something to end as well.
    drivers: HashMap<(NotifierName, String), Arc<dyn Notifier>>,
    show: watch::Sender<Arc<Vec<Opening>>>,
    sending: JoinSet<(Sending, Result<(), NotifyError>)>,
    deploys: JoinSet<()>,
}

type Writing = JoinHandle<(Unwritten, Result<(), StoreError>)>;

impl Outbox {
    /// Takes up what the ledger knows, and begins. What is to be told is shown as it changes.
    pub(super) async fn start(
        store: Arc<dyn Store>,
        clock: Clock,
        dice: Dice,
        metrics: Option<Arc<Metrics>>,
        audience: Audience,
        silences: Vec<Silence>,
    ) -> Result<(Slot, watch::Receiver<Arc<Vec<Opening>>>), StoreError> {
        let (show, shown) = watch::channel(Arc::default());
        let (orders, ordered) = mpsc::unbounded_channel();
        let mut outbox = Self {
            store,
            clock,
            dice,
            metrics,
            began: Instant::now(),
            book: Book::default(),
            audience: audience.clone(),
            drivers: HashMap::new(),
            show,
            sending: JoinSet::new(),
            deploys: JoinSet::new(),
        };
        outbox.configure(audience);
        outbox.book.silence(silences);
        outbox.recall().await?;
        tokio::spawn(outbox.run(ordered));
        Ok((Slot(orders), shown))
    }

    fn now(&self) -> Now {
        Now { wall: self.clock.now(), steady: STEADY + self.began.elapsed() }
    }

    fn configure(&mut self, audience: Audience) {
        let receivers = audience.notifiers.iter().map(|(_, receiver)| receiver.clone()).collect();
        let now = self.now();
        self.book.configure(receivers, &audience.routes, now);
        if let Some(metrics) = &self.metrics {
            metrics.set_notifiers(audience.notifiers.iter().map(|(_, receiver)| receiver.name.as_str()));
        }
        for (notifier, receiver) in &audience.notifiers {
            let identity = &receiver.identity;
            // Under the name, too, that it has once that leads elsewhere.
            for name in [receiver.name.clone(), former(&receiver.name, identity)] {
                self.drivers.insert((name, identity.clone()), Arc::clone(notifier));
            }
        }
        let needed = self.book.identities();
        self.drivers.retain(|(_, identity), _| needed.contains(identity.as_str()));
        self.audience = audience;
    }

    /// What was still to be told when the agent ended, and what was decided since.
    async fn recall(&mut self) -> Result<(), StoreError> {
        let now = self.now();
        let recent = self.store.openings(RECENT).await?;
        let known: HashSet<_> = recent.iter().map(|opening| opening.incident.clone()).collect();
        let mut newest = HashSet::new();
        for opening in &recent {
            let is_unheard = opening.done && opening.letters.iter().any(|letter| letter.silenced);
            let was_told = opening.letters.iter().any(Letter::was_told);
            if newest.insert(opening.incident.clone()) && is_unheard && !was_told {
                self.book.was_unheard(opening.incident.clone());
            }
        }
        let done = recent.into_iter().filter(|opening| opening.done);
        let done: HashSet<_> = done.map(|opening| (opening.at, opening.incident)).collect();
        for opening in self.store.open_letters().await? {
            match self.store.incident(&opening.incident).await? {
                Some(incident) => self.book.take_up(opening, Arc::new(incident), now),
                None => {
                    let gone = Opening { done: true, ..opening };
                    self.store.keep_openings(vec![gone], Vec::new(), now.wall).await?;
                }
            }
        }
        for notice in self.store.untold().await? {
            // A ledger that was down may have taken the notice after its opening was done with.
            if done.contains(&(notice.incident.opening(), notice.incident.id.clone())) {
                self.book.took(notice.key);
                continue;
            }
            let newest = self.store.incident(&notice.incident.id).await?;
            let news = News { change: notice.change, incident: Arc::new(notice.incident), notice: Some(notice.key) };
            self.book.recall(news, now);
            // What was decided then, and how it stands now.
            if let Some(newest) = newest {
                let change = Change::Moved(newest.id.clone());
                self.book.learn(News { change, incident: Arc::new(newest), notice: None }, now);
            }
        }
        for (notifier, incident) in self.book.abandoned() {
            warn!(%notifier, %incident, "this notifier is not in the config any more: what it was told stays open there");
        }
        // One that was told by a version that had nobody to tell is told now, if it still goes on.
        for incident in self.store.incidents(RECENT).await? {
            let is_forgotten = incident.is_open() && incident.detected_at.is_some() && !known.contains(&incident.id);
            if is_forgotten {
                let change = Change::Opened(incident.id.clone());
                self.book.learn(News { change, incident: Arc::new(incident), notice: None }, now);
            }
        }
        Ok(())
    }

    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut writing: Option<Writing> = None;
        let mut write_at = Instant::now();
        let mut stopping: Option<(oneshot::Sender<()>, Instant)> = None;
        loop {
            if stopping.is_none() {
                self.send();
            }
            if writing.is_none() && write_at <= Instant::now() {
                writing = self.write();
            }
            self.report();
            let is_quiet = self.sending.is_empty() && writing.is_none();
            if let Some((_, until)) = &stopping
                && (is_quiet || *until <= Instant::now())
            {
                break;
            }
            let tick = if self.book.is_idle() && is_quiet { IDLE_TICK } else { TICK };
            tokio::select! {
                order = orders.recv(), if stopping.is_none() => match order {
                    Some(Order::Stop(reply)) => stopping = Some((reply, Instant::now() + STOPS_WITHIN)),
                    Some(order) => self.take(order),
                    // The agent is gone without a word: nothing more will come.
                    None => break,
                },
                Some(answered) = self.sending.join_next() => {
                    if let Ok((sending, answer)) = answered {
                        self.answered(&sending, answer);
                    }
                }
                Some(_) = self.deploys.join_next() => {}
                written = async { writing.as_mut().expect("is some: see the condition").await }, if writing.is_some() => {
                    writing = None;
                    if !self.written(written) {
                        write_at = Instant::now() + WRITE_AGAIN;
                    }
                }
                () = tokio::time::sleep(tick) => {}
            }
        }
        if let Some((reply, _)) = stopping {
            let _ = reply.send(());
        }
    }

    fn take(&mut self, order: Order) {
        let now = self.now();
        match order {
            Order::News(news) => news.into_iter().for_each(|news| self.book.learn(news, now)),
            Order::Configure(audience) => self.configure(*audience),
            Order::Silences(silences) => self.book.silence(silences),
            Order::Deploy(deploy) => self.tell_of(&deploy),
            Order::Stop(_) => {}
        }
    }

    fn driver(&self, sending: &Sending) -> Option<Arc<dyn Notifier>> {
        self.drivers.get(&(sending.notifier.clone(), sending.identity.clone())).cloned()
    }

    /// Sends all that is due.
    fn send(&mut self) {
        let now = self.now();
        for sending in self.book.due(now) {
            let Some(notifier) = self.driver(&sending) else {
                let detail = "nobody knows it any more".to_owned();
                self.book.answered(&sending, Err(NotifyError::Unreachable { detail }), now, 1.0);
                continue;
            };
            let Some((opening, incident)) = self.book.content(&sending.opening) else { continue };
            let draft = self.audience.letterhead.draft(opening, incident, sending.step, &self.book, now.wall);
            let store = Arc::clone(&self.store);
            self.sending.spawn(async move {
                let message = draft.finish(store.as_ref()).await;
                // In a task of its own: a driver that panics must not take the outbox with it.
                let told = tokio::spawn(async move { hand_over(notifier.as_ref(), &message).await }).await;
                let lost = |error| NotifyError::Unreachable { detail: format!("the notifier failed: {error}") };
                (sending, told.unwrap_or_else(|error| Err(lost(error))))
            });
        }
    }

    fn answered(&mut self, sending: &Sending, answer: Result<(), NotifyError>) {
        let (notifier, incident) = (&sending.notifier, &sending.opening.1);
        let result = match &answer {
            Ok(()) => {
                info!(%notifier, %incident, "told: {}", sending.step);
                Told::Accepted
            }
            Err(error @ NotifyError::Refused { .. }) => {
                error!(%notifier, %incident, %error, "could not tell: {}", sending.step);
                Told::Refused
            }
            Err(error) => {
                warn!(%notifier, %incident, %error, "could not tell yet: {}", sending.step);
                Told::Failed
            }
        };
        if let Some(metrics) = &self.metrics {
            metrics.notified(notifier.as_str(), result);
            if result == Told::Accepted {
                metrics.accepted(notifier.as_str(), self.clock.now());
            }
        }
        let (now, chance) = (self.now(), self.dice.fraction());
        self.book.answered(sending, answer, now, chance);
    }

    /// Begins to write what changed.
    fn write(&mut self) -> Option<Writing> {
        let unwritten = self.book.unwritten();
        if unwritten.is_empty() {
            return None;
        }
        self.show.send_replace(Arc::new(self.book.openings().cloned().collect()));
        let (store, at) = (Arc::clone(&self.store), self.clock.now());
        let (openings, taken) = (unwritten.openings.clone(), unwritten.taken.clone());
        Some(tokio::spawn(async move {
            let kept = store.keep_openings(openings, taken, at).await;
            (unwritten, kept)
        }))
    }

    fn written(&mut self, written: Result<(Unwritten, Result<(), StoreError>), tokio::task::JoinError>) -> bool {
        match written {
            Ok((unwritten, Ok(()))) => {
                self.book.written(&unwritten);
                true
            }
            Ok((_, Err(error))) => {
                warn!(%error, "what was told cannot be stored; trying again until it is");
                false
            }
            Err(error) => {
                warn!(%error, "what was told could not be stored; trying again until it is");
                false
            }
        }
    }

    fn report(&self) {
        let Some(metrics) = &self.metrics else { return };
        let now = self.now();
        let tally = self.book.tally(now);
        metrics.undelivered(&tally.undelivered);
        metrics.notifications_pending(tally.pending);
        metrics.notifications_wait_since((tally.pending > 0).then(|| now.wall.minus(tally.oldest)));
    }

    /// Tells of a release whoever wants to know. It wakes nobody: a few tries are enough.
    fn tell_of(&mut self, deploy: &Deploy) {
        let wants = self.audience.notifiers.iter().filter(|(_, receiver)| receiver.manner.takes_deploys);
        for (notifier, receiver) in wants {
            let key = format!("deploy/{}/{}/{}", deploy.service, deploy.version, deploy.at.as_micros());
            let message = Message { key, at: self.clock.now(), what: What::Deploy(deploy.clone()) };
            let (notifier, name) = (Arc::clone(notifier), receiver.name.clone());
            self.deploys.spawn(async move {
                for pause in [1, 5, 30, 0] {
                    match hand_over(notifier.as_ref(), &message).await {
                        Ok(()) => return,
                        Err(error) if pause == 0 || matches!(error, NotifyError::Refused { .. }) => {
                            warn!(notifier = %name, %error, "could not tell of a deploy");
                            return;
                        }
                        Err(_) => tokio::time::sleep(Duration::from_secs(pause)).await,
                    }
                }
            });
        }
    }
}

async fn hand_over(notifier: &dyn Notifier, message: &Message) -> Result<(), NotifyError> {
    match tokio::time::timeout(ANSWERS_WITHIN, notifier.tell(message)).await {
        Ok(answer) => answer,
        Err(_) => Err(NotifyError::Unreachable { detail: format!("no answer within {ANSWERS_WITHIN:?}") }),
    }
}
