//! The desk: the one task right of the waist. It takes verdicts in one order, lets detection think,
//! has verdict, journal, incidents and notices written in one transaction, and then acts.
//!
//! It waits for the ledger, but not for long: a ledger that is down must not silence an incident.
//! From then on it thinks in memory and acts at once, shows that the ledger is down, and has the
//! rest written in order when that is possible again ([`scribe`](super::scribe)).

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot, watch,
};
use tracing::error;

use super::{
    clock::Clock,
    errand::{Heard, Unsent},
    hearer::Hearer,
    outbox::{News, Order, Slot},
    scheduler::Want,
    scribe::Scribe,
};
use crate::{
    canary::{
        Evidence, Marker, Outcome, Route, RouteId, Run, Selector, State, TargetName, Timestamp, Usual, Verdict, Why,
    },
    detect::{Board, Change, Deploy, Detector, IncidentId, Input},
    metrics::Metrics,
    store::{JournalEntry, Notice, Settlement},
};

/// Inputs in one transaction.
const BATCH: usize = 256;
/// While something is pending or open, detection is told of the time this often.
const TICK: Duration = Duration::from_secs(1);
/// The board is shown anew at most this often: nobody reads faster.
const SHOW: Duration = Duration::from_millis(500);
/// Inputs between two snapshots of detection.
const SNAPSHOT: u64 = 5_000;
/// People are told after it is written, or after this: three tries, or one that hangs.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// What the desk is told.
pub enum Told {
    /// A verdict, provisional or final.
    Verdict(Box<Verdict>, Arc<Run>),
    /// A final verdict that corrects an earlier final one.
    Correction(Box<Verdict>, Arc<Run>, Outcome),
    /// The job of a verification's run ended badly; it is not judged yet.
    EndedBadly(Arc<Run>),
    /// A verification's run is not sent, or not yet.
    Unsent(Unsent),
    /// A control outside any run.
    Control {
        /// Of which target.
        target: TargetName,
        /// Passed, or what failed.
        passed: Result<(), String>,
    },
    /// A release pipeline's marker.
    Deploy(Box<Released>),
    /// An incident is closed by hand; answered with whether there was such an open incident.
    Close(IncidentId, String, oneshot::Sender<bool>),
    /// Other routes from now on.
    Watch(Vec<Arc<Route>>),
    /// Nobody has anything more to tell.
    Stop,
}

/// A release pipeline's marker, and what it wants sent.
pub struct Released {
    /// The marker.
    pub deploy: Deploy,
    /// Routes to send first.
    pub first: Selector,
    /// Routes whose runs are a verification's, which has named them.
    pub verified: HashMap<RouteId, Marker>,
    /// Answered when it is stored.
    pub reply: oneshot::Sender<()>,
}

/// Which of the runs that detection asks for at once are flown. An agent flies them all; what that
/// gives is measured by leaving some out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Confirms {
    /// All that are asked for.
    #[default]
    Asked,
    /// Only those of a route that is not green itself.
    OwnRoute,
    /// None.
    Never,
}

/// Who waits for what runs of a verification come to.
pub type Ears = Arc<Mutex<Vec<mpsc::UnboundedSender<Heard>>>>;

/// The desk and all it owns.
pub struct Desk {
    pub(super) clock: Clock,
    pub(super) scribe: Scribe,
    /// The ledger could not keep up, and has not caught up yet: nobody waits for it.
    pub(super) ledger_is_down: bool,
    /// Whoever was promised an answer when their deploy is stored.
    pub(super) owed: Vec<oneshot::Sender<()>>,
    pub(super) detector: Detector,
    pub(super) seq: u64,
    pub(super) snapshot_seq: u64,
    pub(super) board: Board,
    pub(super) show: Option<watch::Sender<Arc<Board>>>,
    pub(super) shown_at: Timestamp,
    pub(super) metrics: Option<Arc<Metrics>>,
    pub(super) usual: Arc<RwLock<HashMap<RouteId, Usual>>>,
    pub(super) wants: mpsc::Sender<Want>,
    pub(super) hearer: Arc<dyn Hearer>,
    /// Tells people; none in replay.
    pub(super) outbox: Option<Slot>,
    pub(super) confirms: Confirms,
    /// Routes whose last verdict was not green.
    pub(super) bad: HashSet<RouteId>,
    /// Who waits for what runs of a verification come to.
    pub(super) ears: Ears,
    /// Replay keeps no journal: nothing is ever restored from it.
    pub(super) journals: bool,
}

/// What one batch comes to, before it is written.
#[derive(Default)]
struct Batch {
    settlement: Settlement,
    heard: Vec<(Box<Verdict>, Arc<Run>, Option<Outcome>)>,
    changes: Vec<Change>,
    deploys: Vec<Released>,
    closed: Vec<(bool, oneshot::Sender<bool>)>,
}

impl Desk {
    /// Works until everybody who tells has gone.
    pub async fn run(mut self, mut told: mpsc::Receiver<Told>) {
        let mut messages = Vec::with_capacity(BATCH);
        loop {
            let waiting = self.detector.is_waiting();
            tokio::select! {
                biased;
                written = self.scribe.turn(), if !self.scribe.is_done() => self.noted(written),
                n = told.recv_many(&mut messages, BATCH) => {
                    let stops = n == 0 || messages.iter().any(|message| matches!(message, Told::Stop));
                    self.take(messages.drain(..)).await;
                    if stops {
                        break;
                    }
                }
                () = tokio::time::sleep(TICK), if waiting || self.board_is_stale() => {
                    self.take(std::iter::empty()).await;
                }
            }
        }
        self.keep_snapshot();
        self.catch_up().await;
    }

    fn board_is_stale(&self) -> bool {
        self.show.is_some()
    }

    async fn take(&mut self, messages: impl Iterator<Item = Told>) {
        let mut batch = Batch::default();
        let now = self.clock.now();
        let mut any = false;
        for message in messages {
            any = true;
            self.hear(message, now, &mut batch);
        }
        // What waits may change by time alone, also in ways that are not told: the ledger must give the
        // same again.
        if !any && self.detector.is_waiting() {
            let changes = self.detector.observe(&Input::Tick, now);
            self.journal(Input::Tick, now, &mut batch);
            self.note(changes, now, &mut batch);
        }
        self.write(&mut batch).await;
        self.act(batch, now);
    }

    fn hear(&mut self, message: Told, now: Timestamp, batch: &mut Batch) {
        let input = match message {
            Told::Verdict(verdict, run) => {
                let input = Input::Verdict(slim(&verdict));
                batch.settlement.verdicts.push((*verdict).clone());
                batch.heard.push((verdict, run, None));
                input
            }
            Told::Correction(verdict, run, was) => {
                let input = Input::Verdict(slim(&verdict));
                batch.settlement.verdicts.push((*verdict).clone());
                batch.heard.push((verdict, run, Some(was)));
                input
            }
            Told::EndedBadly(run) => return self.tell_ears(&Heard::EndedBadly(run)),
            Told::Unsent(unsent) => return self.tell_ears(&Heard::Unsent(unsent)),
            Told::Control { target, passed } => {
                if let Some(metrics) = &self.metrics {
                    metrics.control(&target, passed.is_ok());
                }
                Input::Control { target, passed }
            }
            Told::Deploy(released) => {
                let deploy = released.deploy.clone();
                batch.settlement.deploys.push(deploy.clone());
                batch.deploys.push(*released);
                Input::Deploy(deploy)
            }
            Told::Close(incident, because, reply) => {
                let open = self.detector.incident(&incident).is_some_and(|incident| incident.is_open());
                batch.closed.push((open, reply));
                if !open {
                    return;
                }
                Input::Close { incident, because }
            }
            Told::Stop => return,
            Told::Watch(routes) => {
                let changes = self.detector.watch(&routes, now);
                self.board.watch(&routes);
                self.note(changes, now, batch);
                return;
            }
        };
        let changes = self.detector.observe(&input, now);
        self.journal(input, now, batch);
        self.note(changes, now, batch);
    }

    fn journal(&mut self, input: Input, at: Timestamp, batch: &mut Batch) {
        self.seq += 1;
        if self.journals {
            batch.settlement.journal.push(JournalEntry { seq: self.seq, at, input });
        }
    }

    fn note(&mut self, changes: Vec<Change>, now: Timestamp, batch: &mut Batch) {
        note_all(&self.detector, changes.clone(), now, &mut batch.settlement);
        batch.changes.extend(changes);
    }

    /// Has the batch written, and tells people. What cannot be written at once is not forgotten.
    async fn write(&mut self, batch: &mut Batch) {
        let settlement = std::mem::take(&mut batch.settlement);
        let empty = settlement.verdicts.is_empty() && settlement.journal.is_empty() && settlement.incidents.is_empty();
        if empty {
            return;
        }
        let notices = settlement.notices.clone();
        let is_much = self.scribe.take(settlement);
        if !self.ledger_is_down && tokio::time::timeout(PATIENCE, self.catch_up()).await.is_err() {
            error!("the ledger does not keep up; what is detected is told before it is stored");
            self.ledger_is_down = true;
            self.store_is(false);
        }
        for notice in &notices {
            self.hearer.notice(notice);
        }
        self.tell(&batch.changes, &notices);
        if is_much || (!self.ledger_is_down && self.seq - self.snapshot_seq >= SNAPSHOT) {
            self.keep_snapshot();
        }
    }

    /// Has people told of what changed.
    fn tell(&self, changes: &[Change], notices: &[Notice]) {
        let Some(outbox) = &self.outbox else { return };
        let news = changes.iter().filter_map(|change| {
            let id = change.incident()?;
            let notice = notices.iter().find(|notice| notice.change == *change);
            let incident = self.detector.incident(id).or(notice.map(|notice| &notice.incident))?;
            // Of what nobody was told yet nothing changes for anybody.
            incident.detected_at?;
            Some(News {
                change: change.clone(),
                incident: Arc::new(incident.clone()),
                notice: notice.map(|notice| notice.key.clone()),
            })
        });
        let news: Vec<News> = news.collect();
        if !news.is_empty() {
            outbox.put(Order::News(news));
        }
    }

    async fn catch_up(&mut self) {
        while !self.scribe.is_done() {
            let written = self.scribe.turn().await;
            self.noted(written);
        }
    }

    /// What the scribe came to.
    fn noted(&mut self, written: bool) {
        if !written {
            self.store_is(false);
        } else if self.scribe.is_done() {
            self.ledger_is_down = false;
            self.store_is(true);
            for reply in self.owed.drain(..) {
                // Whoever asked may have gone.
                let _ = reply.send(());
            }
        }
    }

    /// Shows whether the ledger took what it was given.
    fn store_is(&mut self, up: bool) {
        if let Some(metrics) = &self.metrics {
            metrics.store(up);
        }
        if self.board.agent.store_up != up {
            self.board.agent.store_up = up;
            self.show_board();
        }
    }

    /// Has detection's state written, after all that came before it.
    fn keep_snapshot(&mut self) {
        if self.journals && self.seq != self.snapshot_seq {
            self.snapshot_seq = self.seq;
            self.scribe.take_snapshot(self.seq, self.detector.snapshot());
        }
    }

    fn act(&mut self, batch: Batch, now: Timestamp) {
        for (verdict, run, corrects) in &batch.heard {
            if verdict.outcome.state() == State::Green {
                self.bad.remove(&verdict.route);
            } else {
                self.bad.insert(verdict.route);
            }
            if verdict.outcome == Outcome::Landed
                && let Ok(mut usual) = self.usual.write()
            {
                usual.insert(verdict.route, self.detector.usual(verdict.route));
            }
            if self.show.is_some() {
                self.board.learn(verdict, run.terms.objective);
            }
            if let Some(metrics) = &self.metrics {
                metrics.verdict(verdict, *corrects);
            }
            self.hearer.verdict(verdict, run);
            if run.why == Why::Verify {
                self.tell_ears(&Heard::Verdict(verdict.clone(), Arc::clone(run)));
            }
        }
        for change in &batch.changes {
            if let Change::Confirm(route) = change
                && self.is_flown(*route)
            {
                // A full or closed scheduler has better things to do than to confirm.
                let _ = self.wants.try_send(Want::Confirm(*route));
            }
        }
        for Released { deploy, first, verified, reply } in batch.deploys {
            if let Some(metrics) = &self.metrics {
                metrics.deployed(&deploy);
            }
            if let Some(outbox) = &self.outbox {
                outbox.put(Order::Deploy(deploy.clone()));
            }
            if let Err(TrySendError::Full(want)) = self.wants.try_send(Want::Deploy(first, verified)) {
                // Runs were promised, and somebody may wait for them.
                let wants = self.wants.clone();
                tokio::spawn(async move { wants.send(want).await });
            }
            if self.scribe.is_done() {
                let _ = reply.send(());
            } else {
                self.owed.push(reply);
            }
        }
        for (open, reply) in batch.closed {
            let _ = reply.send(open);
        }
        if !batch.changes.is_empty() {
            self.count_incidents();
        }
        if now.since(self.shown_at) >= SHOW || !batch.changes.is_empty() {
            self.shown_at = now;
            // Also without a change that is told: more runs prove them by now.
            self.show_incidents();
            self.show_board();
        }
    }

    fn tell_ears(&self, heard: &Heard) {
        let mut ears = self.ears.lock().unwrap_or_else(PoisonError::into_inner);
        ears.retain(|ear| ear.send(heard.clone()).is_ok());
    }

    fn is_flown(&self, asked: RouteId) -> bool {
        match self.confirms {
            Confirms::Asked => true,
            Confirms::OwnRoute => self.bad.contains(&asked),
            Confirms::Never => false,
        }
    }

    /// Shows the board as it is.
    pub(super) fn show_board(&self) {
        if let Some(show) = &self.show {
            show.send_replace(Arc::new(self.board.clone()));
        }
    }

    pub(super) fn show_incidents(&mut self) {
        if self.show.is_some() {
            self.board.incidents = self.detector.open_incidents().cloned().map(Arc::new).collect();
            self.board.incidents.sort_by_key(|incident| std::cmp::Reverse(incident.detected_at));
        }
    }

    pub(super) fn count_incidents(&self) {
        if let Some(metrics) = &self.metrics {
            let open: Vec<_> = self.detector.open_incidents().collect();
            metrics.incidents(&open);
        }
    }
}

/// Incidents and notices that changes come to.
pub(super) fn note_all(detector: &Detector, changes: Vec<Change>, now: Timestamp, settlement: &mut Settlement) {
    for change in changes {
        let (Some(id), kind) = (change.incident(), kind(&change)) else { continue };
        let Some(incident) = detector.incident(id) else { continue };
        settlement.incidents.retain(|known| known.id != *id);
        settlement.incidents.push(incident.clone());
        if let Some(kind) = kind {
            let opening = incident.opening().as_micros();
            let key = format!("{id}/{opening}/{kind}");
            settlement.notices.push(Notice { key, at: now, incident: incident.clone(), change });
        }
    }
}

/// What people are told of a change, if anything.
fn kind(change: &Change) -> Option<&'static str> {
    match change {
        Change::Opened(_) => Some("opened"),
        Change::Raised(_) => Some("raised"),
        Change::Resolved(_) => Some("resolved"),
        Change::Moved(_) | Change::Confirm(_) => None,
    }
}

/// The part of a verdict that detection reads: the journal need not hold the rest twice.
fn slim(verdict: &Verdict) -> Box<Verdict> {
    let evidence = &verdict.evidence;
    let slim = Evidence {
        accepted_at: evidence.accepted_at,
        claim: evidence.claim.clone(),
        claimed_at: evidence.claimed_at,
        looks: evidence.first_complete().cloned().into_iter().collect(),
        ..Evidence::default()
    };
    Box::new(Verdict { evidence: Arc::new(slim), ..verdict.clone() })
}

/// Usual times of every route, for flights to read.
pub(super) fn usual_of(detector: &Detector) -> Arc<RwLock<HashMap<RouteId, Usual>>> {
    Arc::new(RwLock::new(detector.trails().iter().map(|trail| (trail.route.id, trail.usual.clone())).collect()))
}
