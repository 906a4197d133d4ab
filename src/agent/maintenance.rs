//! Maintenance: keeps silences and pauses, over restarts and reloads, and has the outbox and the
//! scheduler act on them. Silences of the config come beside those that people ask for.

use std::{collections::HashSet, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use super::{
    clock::Clock,
    craft::Dice,
    outbox::{Order, Slot},
    scheduler::Want,
};
use crate::{
    canary::{Maintenance, Pause, Route, RouteId, Selector, Silence, Timestamp},
    config::{SilencePlan, SilenceTime},
    metrics::Metrics,
    store::{Store, StoreError},
};

/// What is kept of each kind at most: more than that nobody oversees.
const MOST: usize = 200;
/// Parts of one pause that may be resumed one by one.
const MOST_PARTS: usize = 50;
/// Silences that come again and again are known so far ahead, and expanded anew this often.
const AHEAD: Duration = Duration::from_secs(3 * 86_400);
const EXPAND_EVERY: Duration = Duration::from_secs(60);
/// Occurrences of one that are looked at: every second, they reach further than the next expansion.
const MOST_OCCURRENCES: usize = 2_000;
/// How soon an end or a beginning is noticed.
const TICK: Duration = Duration::from_secs(1);
/// Where the ledger keeps them.
const SILENCES: &str = "silences";
const PAUSES: &str = "pauses";

/// Why something that a person asked for was not done.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// It cannot be done as it stands.
    #[error("{0}")]
    Invalid(String),
    /// Something like it is being done: later.
    #[error("{0}")]
    Busy(String),
    /// It could not be kept, and was not done.
    #[error("it cannot be kept, so it was not done")]
    Ledger(#[from] StoreError),
    /// The agent is stopping.
    #[error("the agent is stopping")]
    Stopping,
}

/// What it is asked.
pub(super) enum Ask {
    Silence(Silence, oneshot::Sender<Result<Silence, Denied>>),
    Unsilence(String, oneshot::Sender<Result<(), Denied>>),
    Pause(Pause, oneshot::Sender<Result<(), Denied>>),
    Resume(Selector, oneshot::Sender<Result<usize, Denied>>),
    /// Other routes and silences of a config; answered when the scheduler knows what is paused.
    Watch(Vec<Arc<Route>>, Vec<SilencePlan>, oneshot::Sender<()>),
}

/// Silences and pauses, and what they come to.
pub(super) struct Keeper {
    store: Arc<dyn Store>,
    clock: Clock,
    dice: Dice,
    metrics: Option<Arc<Metrics>>,
    routes: Vec<Arc<Route>>,
    plans: Vec<SilencePlan>,
    kept: Vec<Silence>,
    pauses: Vec<Pause>,
    expanded: Vec<Silence>,
    expanded_at: Timestamp,
}

/// Tells whoever asked.
type Answer = Box<dyn FnOnce() + Send>;

fn answer<T: Send + 'static>(reply: oneshot::Sender<T>, with: T) -> Answer {
    Box::new(move || {
        let _ = reply.send(with);
    })
}

impl Keeper {
    /// What the ledger kept, and what the config says.
    pub(super) async fn recall(
        store: Arc<dyn Store>,
        clock: Clock,
        dice: Dice,
        metrics: Option<Arc<Metrics>>,
        routes: Vec<Arc<Route>>,
        plans: Vec<SilencePlan>,
    ) -> Result<Self, StoreError> {
        let kept = read(store.as_ref(), SILENCES).await?;
        let pauses = read(store.as_ref(), PAUSES).await?;
        let mut keeper = Self {
            store,
            clock,
            dice,
            metrics,
            routes,
            plans,
            kept,
            pauses,
            expanded: Vec::new(),
            expanded_at: Timestamp::EPOCH,
        };
        keeper.expand(keeper.clock.now());
        Ok(keeper)
    }

    /// How it stands now.
    pub(super) fn stands(&self) -> Maintenance {
        let now = self.clock.now();
        let kept = self.kept.iter().filter(|silence| now < silence.until);
        let mut silences: Vec<Silence> = kept.chain(&self.expanded).cloned().collect();
        silences.sort_by_key(|silence| silence.from);
        Maintenance { silences, pauses: self.pauses.iter().filter(|pause| pause.holds_at(now)).cloned().collect() }
    }

    /// Routes over which nothing is sent.
    pub(super) fn paused(&self, stands: &Maintenance) -> HashSet<RouteId> {
        let now = self.clock.now();
        let paused = self.routes.iter().filter(|route| stands.pause(route, now).is_some());
        paused.map(|route| route.id).collect()
    }

    /// Works until nobody can ask any more.
    pub(super) async fn run(
        mut self,
        mut asks: mpsc::Receiver<Ask>,
        outbox: Slot,
        wants: mpsc::Sender<Want>,
        show: watch::Sender<Arc<Maintenance>>,
    ) {
        let mut paused = HashSet::new();
        let mut is_first = true;
        let mut done: Option<Answer> = None;
        loop {
            let now = self.clock.now();
            if now < self.expanded_at || now.since(self.expanded_at) >= EXPAND_EVERY {
                self.expand(now);
            }
            let stands = self.stands();
            // Many routes need not be looked at for the same pauses every second.
            let is_same = !is_first && show.borrow().pauses == stands.pauses;
            let now_paused = if is_same { paused.clone() } else { self.paused(&stands) };
            if is_first || now_paused != paused {
                // Whoever resumes or pauses wants to find it in the log.
                if !is_first {
                    info!(
                        routes = now_paused.len(),
                        "nothing is sent over paused routes; how many there are has changed"
                    );
                }
                paused.clone_from(&now_paused);
                if let Some(metrics) = &self.metrics {
                    metrics.set_paused(now_paused.iter().copied(), now);
                }
                if wants.send(Want::Paused(now_paused)).await.is_err() {
                    return;
                }
            }
            if let Some(metrics) = &self.metrics {
                metrics.silences(stands.silences.iter().filter(|silence| silence.holds_at(now)).count());
            }
            if is_first || show.borrow().silences != stands.silences {
                outbox.put(Order::Silences(stands.silences.clone()));
            }
            if is_first || **show.borrow() != stands {
                show.send_replace(Arc::new(stands));
            }
            is_first = false;
            // Whoever asked finds it done when they are answered.
            if let Some(answer) = done.take() {
                answer();
            }
            tokio::select! {
                ask = asks.recv() => match ask {
                    Some(Ask::Watch(routes, plans, reply)) => {
                        (self.routes, self.plans) = (routes, plans);
                        self.expand(self.clock.now());
                        paused = self.paused(&self.stands());
                        if let Some(metrics) = &self.metrics {
                            metrics.set_paused(paused.iter().copied(), self.clock.now());
                        }
                        if wants.send(Want::Paused(paused.clone())).await.is_err() {
                            return;
                        }
                        done = Some(answer(reply, ()));
                    }
                    Some(ask) => done = self.answer(ask).await,
                    None => return,
                },
                () = tokio::time::sleep(TICK) => {}
            }
        }
    }

    async fn answer(&mut self, ask: Ask) -> Option<Answer> {
        // Whoever asked may have gone; what was done is done.
        Some(match ask {
            Ask::Silence(silence, reply) => answer(reply, self.add(silence).await),
            Ask::Unsilence(id, reply) => answer(reply, self.remove(&id).await),
            Ask::Pause(pause, reply) => answer(reply, self.pause(pause).await),
            Ask::Resume(only, reply) => answer(reply, self.resume(&only).await),
            Ask::Watch(..) => return None,
        })
    }

    async fn add(&mut self, silence: Silence) -> Result<Silence, Denied> {
        let now = self.clock.now();
        let mut kept: Vec<Silence> = self.kept.iter().filter(|kept| now < kept.until).cloned().collect();
        if kept.len() >= MOST {
            return Err(Denied::Invalid(format!("there are {MOST} silences, which is the most; remove one first")));
        }
        let silence = Silence { id: format!("sil-{}", self.dice.letters(8).to_ascii_lowercase()), ..silence };
        kept.push(silence.clone());
        write(self.store.as_ref(), SILENCES, &kept).await?;
        self.kept = kept;
        info!(id = silence.id, until = %silence.until, because = silence.because, "nobody is paged of {}", silence.only);
        Ok(silence)
    }

    async fn remove(&mut self, id: &str) -> Result<(), Denied> {
        if self.plans.iter().any(|plan| plan.id == id) {
            return Err(Denied::Invalid(format!("`{id}` stands in the config: take it out there, and reload")));
        }
        let now = self.clock.now();
        let alive: Vec<Silence> = self.kept.iter().filter(|kept| now < kept.until).cloned().collect();
        let left: Vec<Silence> = alive.iter().filter(|kept| kept.id != id).cloned().collect();
        if left.len() == alive.len() {
            return Err(Denied::NotFound("there is no such silence".to_owned()));
        }
        write(self.store.as_ref(), SILENCES, &left).await?;
        self.kept = left;
        info!(id, "a silence was taken back");
        Ok(())
    }

    async fn pause(&mut self, pause: Pause) -> Result<(), Denied> {
        let mut pauses = self.stands().pauses;
        // The same again says anew until when.
        pauses.retain(|known| known.only != pause.only);
        if pauses.len() >= MOST {
            return Err(Denied::Invalid(format!(
                "there are {MOST} pauses, which is the most; resume some routes first"
            )));
        }
        pauses.push(pause);
        self.keep_pauses(pauses).await
    }

    /// Resumes what is selected; answers how many routes that were.
    async fn resume(&mut self, only: &Selector) -> Result<usize, Denied> {
        let stands = self.stands();
        let paused = self.paused(&stands);
        let selected: Vec<&Arc<Route>> = self.routes.iter().filter(|route| only.covers(route)).collect();
        let resumed = selected.iter().filter(|route| paused.contains(&route.id)).count();
        let mut pauses = Vec::new();
        for mut pause in stands.pauses {
            let mut hit = self.routes.iter().filter(|route| pause.covers(route)).peekable();
            let is_whole = pause.only == *only || only.pairs().is_empty();
            if is_whole || (hit.peek().is_some() && hit.all(|route| only.covers(route))) {
                continue;
            }
            if selected.iter().any(|route| pause.covers(route)) {
                if pause.except.len() >= MOST_PARTS {
                    let what =
                        format!("the pause of {} was resumed in {MOST_PARTS} parts: resume all of it", pause.only);
                    return Err(Denied::Invalid(what));
                }
                pause.except.push(only.clone());
            }
            pauses.push(pause);
        }
        if pauses == self.stands().pauses {
            return Err(Denied::NotFound("nothing that it selects is paused".to_owned()));
        }
        self.keep_pauses(pauses).await?;
        Ok(resumed)
    }

    async fn keep_pauses(&mut self, pauses: Vec<Pause>) -> Result<(), Denied> {
        write(self.store.as_ref(), PAUSES, &pauses).await?;
        self.pauses = pauses;
        Ok(())
    }

    /// The config's silences, as times: those that hold and those that come soon.
    fn expand(&mut self, now: Timestamp) {
        self.expanded_at = now;
        self.expanded = self.plans.iter().flat_map(|plan| occurrences(plan, now)).collect();
    }
}

fn occurrences(plan: &SilencePlan, now: Timestamp) -> Vec<Silence> {
    let SilencePlan { id, only, when, because } = plan;
    let at = |from: Timestamp, until: Timestamp| Silence {
        id: id.clone(),
        only: only.clone(),
        from,
        until,
        because: because.clone(),
    };
    let (begins, lasts) = match when {
        SilenceTime::Once { from, until } if now < *until => return vec![at(*from, *until)],
        SilenceTime::Once { .. } => return Vec::new(),
        SilenceTime::Recurring { begins, lasts } => (begins, *lasts),
    };
    let mut found: Vec<Silence> = Vec::new();
    let mut from = now.minus(lasts);
    for _ in 0..MOST_OCCURRENCES {
        let Some(next) = begins.next(RouteId(0), from).filter(|next| *next <= now.plus(AHEAD)) else { break };
        let until = next.plus(lasts);
        match found.last_mut() {
            Some(last) if next <= last.until => last.until = until,
            _ => found.push(at(next, until)),
        }
        from = next;
    }
    found.retain(|silence| now < silence.until);
    found
}

/// What was kept. What cannot be understood is said, and left: people are rather paged too often.
async fn read<T: DeserializeOwned>(store: &dyn Store, name: &str) -> Result<Vec<T>, StoreError> {
    let Some(text) = store.setting(name).await? else { return Ok(Vec::new()) };
    Ok(serde_json::from_str(&text).unwrap_or_else(|error| {
        error!(%error, "the ledger's {name} cannot be understood; there are none now");
        Vec::new()
    }))
}

async fn write<T: Serialize>(store: &dyn Store, name: &str, list: &[T]) -> Result<(), StoreError> {
    let text = serde_json::to_string(list).map_err(|error| StoreError::Corrupt { detail: error.to_string() })?;
    let kept = tokio::time::timeout(Duration::from_secs(5), store.keep_setting(name, &text)).await;
    kept.unwrap_or_else(|_| {
        warn!("the ledger does not answer");
        Err(StoreError::Unavailable { detail: "no answer within 5 s".to_owned() })
    })
}
