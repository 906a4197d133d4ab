//! Fire drills: an incident that is none goes through every notifier, and later the word that it is over.
//! That a receiver accepts it proves little; whoever gets the page says its code, and that proves it.

mod say;

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use tokio::{
    sync::Notify,
    task::{JoinHandle, JoinSet},
    time::Instant,
};
use tracing::{info, warn};

use self::say::{Call, answer, masked, tell};
use super::{Audience, Receiver, message::Letterhead};
use crate::{
    agent::{clock::Clock, craft::Dice, maintenance::Denied},
    canary::{NotifierName, Timestamp},
    metrics::Metrics,
    notify::{Keeps, Notifier, NotifyError},
    store::{Drill, DrillAnswer, Store, StoreError, Took},
};

/// An alert that nobody confirms stays open for so long: a receiver that is told at once that it is over
/// may take it back before it rings anybody, and who carries a pager needs a minute to get it out.
const RINGS_FOR: Duration = Duration::from_secs(2 * 60);
/// Before the end of a drill is said again to a receiver that did not take it; it doubles up to the longest.
const AGAIN: Duration = Duration::from_secs(5);
const AGAIN_LONGEST: Duration = Duration::from_secs(5 * 60);
/// Letters and digits of a code: short enough to be read out.
const CODE: usize = 8;
/// Wrong codes after which a drill can no longer be confirmed.
const MOST_WRONG: u32 = 5;
/// A page that is older proves nothing about today; nor does a receiver that takes nothing for so long
/// hold an alert that anybody still sees.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(7 * 86_400);
/// The ledger is not waited for any longer.
const KEPT_WITHIN: Duration = Duration::from_secs(3);
/// Where the ledger keeps the newest, earlier ones that are not over everywhere, and when one was last confirmed.
const NEWEST: &str = "drill";
const EARLIER: &str = "drills-to-end";
const CONFIRMED: &str = "drill-confirmed";

/// What drills need, and those that go on.
pub(in crate::agent) struct Drills {
    store: Arc<dyn Store>,
    clock: Clock,
    dice: Dice,
    metrics: Option<Arc<Metrics>>,
    audience: RwLock<Audience>,
    known: Mutex<Known>,
    /// Held by the one whose pages are under way.
    air: Arc<tokio::sync::Mutex<()>>,
    /// Held while it is written; what the ledger has of the newest and of the earlier ones.
    written: tokio::sync::Mutex<[String; 2]>,
    /// There may be an end to tell.
    stir: Notify,
    ends: Mutex<Option<JoinHandle<()>>>,
}

/// What is known of drills.
#[derive(Default)]
struct Known {
    newest: Option<Drill>,
    /// The newest one's pages are under way.
    is_flying: bool,
    /// Those before it that somebody was told of, and not that they are over.
    earlier: Vec<Drill>,
}

impl Known {
    fn newest_with(&mut self, id: &str) -> Option<&mut Drill> {
        self.newest.as_mut().filter(|drill| drill.id == id)
    }

    fn begin(&mut self, drill: Drill) {
        self.earlier.extend(self.newest.replace(drill).filter(|before| !before.open.is_empty()));
        self.is_flying = true;
    }

    /// How long until the newest is to be told as over; none if nobody has to be told.
    fn rings_for(&self, now: Timestamp) -> Option<Duration> {
        let drill = self.newest.as_ref().filter(|drill| !drill.open.is_empty() && !self.is_flying)?;
        // A clock that was set back does not keep a pager ringing.
        let is_over = drill.confirmed_at.is_some() || now < drill.at;
        Some(if is_over { Duration::ZERO } else { RINGS_FOR.saturating_sub(now.since(drill.at)) })
    }

    /// Those that are to be told as over.
    fn to_end(&self, now: Timestamp) -> Vec<Drill> {
        let newest = self.newest.iter().filter(|_| self.rings_for(now).is_some_and(|rest| rest.is_zero()));
        self.earlier.iter().chain(newest).cloned().collect()
    }

    /// Nothing is left to be said there.
    fn ended(&mut self, id: &str, notifier: &NotifierName) {
        for drill in self.newest.iter_mut().chain(&mut self.earlier).filter(|drill| drill.id == id) {
            drill.open.retain(|name| name != notifier);
        }
        self.earlier.retain(|drill| !drill.open.is_empty());
    }
}

impl Drills {
    /// What the ledger knows of them is taken up; who was told of one and not yet that it is over, is
    /// told in its time.
    pub(in crate::agent) async fn recall(
        store: Arc<dyn Store>,
        clock: Clock,
        dice: Dice,
        metrics: Option<Arc<Metrics>>,
        audience: Audience,
    ) -> Result<Arc<Self>, StoreError> {
        let [newest_text, earlier_text] =
            [store.setting(NEWEST).await?.unwrap_or_default(), store.setting(EARLIER).await?.unwrap_or_default()];
        let newest: Option<Drill> = serde_json::from_str(&newest_text).ok();
        let earlier = serde_json::from_str(&earlier_text).unwrap_or_default();
        let confirmed = store.setting(CONFIRMED).await?.and_then(|text| Timestamp::parse_rfc3339(&text));
        let drills = Arc::new(Self {
            store,
            clock,
            dice,
            metrics,
            audience: RwLock::new(audience),
            known: Mutex::new(Known { newest: newest.clone(), is_flying: false, earlier }),
            air: Arc::default(),
            written: tokio::sync::Mutex::new([newest_text, earlier_text]),
            stir: Notify::new(),
            ends: Mutex::default(),
        });
        if let (Some(metrics), Some(at)) = (&drills.metrics, confirmed) {
            metrics.drill_confirmed(at);
        }
        if let Some(drill) = newest {
            drills.export(&drill);
        }
        let ends = tokio::spawn(Arc::clone(&drills).tell_ends());
        *drills.ends.lock().unwrap_or_else(PoisonError::into_inner) = Some(ends);
        Ok(drills)
    }

    /// Other notifiers from now on.
    pub(in crate::agent) fn configure(&self, audience: Audience) {
        *self.audience.write().unwrap_or_else(PoisonError::into_inner) = audience;
    }

    /// What is not over yet is told after the next start.
    pub(in crate::agent) fn stop(&self) {
        if let Some(ends) = self.ends.lock().unwrap_or_else(PoisonError::into_inner).take() {
            ends.abort();
        }
    }

    /// Sends one: to all notifiers, or to one of them; answers what they made of the page. That it is
    /// over is told later. It goes on if nobody waits for it.
    pub(in crate::agent) async fn send(self: Arc<Self>, only: Option<&str>) -> Result<Drill, Denied> {
        let audience = self.audience();
        let wanted =
            |(_, receiver): &&(Arc<dyn Notifier>, Receiver)| only.is_none_or(|only| receiver.name.as_str() == only);
        let chosen: Vec<_> = audience.notifiers.iter().filter(wanted).cloned().collect();
        match (chosen.is_empty(), only) {
            (true, Some(name)) => return Err(Denied::NotFound(format!("there is no notifier `{name}`"))),
            (true, None) => {
                return Err(Denied::Invalid("there is nobody to tell: no [notify.NAME] in the config".to_owned()));
            }
            _ => {}
        }
        let Ok(free) = Arc::clone(&self.air).try_lock_owned() else {
            return Err(Denied::Busy("a drill is under way".to_owned()));
        };
        tokio::spawn(async move {
            let drill = self.fly(chosen, audience.letterhead).await;
            drop(free);
            drill
        })
        .await
        .map_err(|_| Denied::Stopping)
    }

    async fn fly(&self, chosen: Vec<(Arc<dyn Notifier>, Receiver)>, letterhead: Letterhead) -> Drill {
        let drill = Drill {
            id: format!("drill-{}", self.dice.letters(8).to_ascii_lowercase()),
            at: self.clock.now(),
            code: self.dice.letters(CODE),
            wrong: 0,
            open: chosen.iter().map(|(_, receiver)| receiver.name.clone()).collect(),
            answers: Vec::new(),
            confirmed_at: None,
        };
        // Known before the first page is out: somebody may be quick. The one before is over.
        self.known().begin(drill.clone());
        self.stir.notify_one();
        self.keep().await;
        let mut flying = JoinSet::new();
        for (place, (notifier, receiver)) in chosen.into_iter().enumerate() {
            let (drill, letterhead, clock) = (drill.clone(), letterhead.clone(), self.clock.clone());
            flying.spawn(async move {
                let begun = Instant::now();
                let told = tell(&notifier, &drill, &letterhead, Call::Trigger, &clock).await;
                // Where the answer was lost it may stand all the same. Mail cannot be taken back, and
                // of what was refused there is nothing to end.
                let stands = match told {
                    Err(NotifyError::Refused { .. }) => false,
                    Err(_) => receiver.manner.keeps != Keeps::Messages,
                    Ok(()) => true,
                };
                let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                (place, answer(receiver.name, &drill.code, &told, millis), stands)
            });
        }
        let mut answers = Vec::new();
        while let Some(landed) = flying.join_next().await {
            answers.extend(landed.ok());
        }
        answers.sort_by_key(|(place, ..)| *place);
        let drill = {
            let mut known = self.known();
            known.is_flying = false;
            // Somebody may have confirmed it meanwhile, or tried to.
            let mut drill = known.newest_with(&drill.id).map_or(drill, |known| known.clone());
            let is_done = |name: &NotifierName| answers.iter().any(|(_, of, stands)| of.notifier == *name && !stands);
            drill.open.retain(|name| !is_done(name));
            drill.answers = answers.into_iter().map(|(_, answer, _)| answer).collect();
            known.newest = Some(drill.clone());
            drill
        };
        for answer in &drill.answers {
            let (notifier, said) = (&answer.notifier, answer.said.as_deref().unwrap_or("it says nothing about people"));
            match answer.answer {
                Took::Accepted => info!(%notifier, drill = drill.id, "drill accepted; {said}"),
                answer => warn!(%notifier, drill = drill.id, "drill {}: {said}", answer.as_str()),
            }
        }
        self.keep().await;
        self.stir.notify_one();
        self.export(&drill);
        drill
    }

    /// Somebody says that they got it.
    pub(in crate::agent) async fn confirm(&self, code: &str) -> Result<Drill, Denied> {
        let now = self.clock.now();
        let plain = |c: char| !c.is_whitespace() && c != '-';
        let said: String = code.chars().filter(|c| plain(*c)).map(|c| c.to_ascii_uppercase()).collect();
        let (drill, is_right) = {
            let mut known = self.known();
            let waits = |drill: &&mut Drill| now.since(drill.at) < CONFIRMED_WITHIN && drill.wrong < MOST_WRONG;
            let Some(drill) = known.newest.as_mut().filter(waits) else {
                return Err(Denied::NotFound("no drill waits to be confirmed; send one: landfall drill".to_owned()));
            };
            let is_right = is_same(&drill.code, &said);
            if is_right {
                drill.confirmed_at.get_or_insert(now);
            } else {
                drill.wrong += 1;
            }
            (drill.clone(), is_right)
        };
        self.stir.notify_one();
        self.keep().await;
        if !is_right {
            let left = match MOST_WRONG - drill.wrong {
                1 => "1 try is left".to_owned(),
                left => format!("{left} tries are left"),
            };
            return Err(Denied::Invalid(format!("that is not the code of the newest drill; {left}")));
        }
        let at = drill.confirmed_at.unwrap_or(now);
        self.keep_text(CONFIRMED, &at.to_string()).await;
        if let Some(metrics) = &self.metrics {
            metrics.drill_confirmed(at);
        }
        info!(drill = drill.id, "a person got the drill");
        Ok(drill)
    }

    /// For as long as the agent lives: tells who was told of a drill that it is over, until they took it.
    async fn tell_ends(self: Arc<Self>) {
        let mut pause = AGAIN;
        loop {
            let is_all_said = self.end_what_is_due().await;
            let rest = if is_all_said {
                pause = AGAIN;
                self.known().rings_for(self.clock.now()).unwrap_or(CONFIRMED_WITHIN)
            } else {
                let rest = pause;
                pause = (pause * 2).min(AGAIN_LONGEST);
                rest
            };
            let _ = tokio::time::timeout(rest, self.stir.notified()).await;
        }
    }

    /// Answers whether nothing is left that is due.
    async fn end_what_is_due(&self) -> bool {
        let (audience, now) = (self.audience(), self.clock.now());
        let mut flying = JoinSet::new();
        let mut is_any = false;
        // The lock is not held while they are told.
        let due = self.known().to_end(now);
        for drill in due {
            for name in drill.open.clone() {
                is_any = true;
                let named = audience.notifiers.iter().find(|(_, receiver)| receiver.name == name);
                let is_old = now.since(drill.at) >= CONFIRMED_WITHIN;
                let Some((notifier, _)) = named.filter(|_| !is_old) else {
                    warn!(notifier = %name, drill = drill.id, "nobody there can be told any more that a drill is over");
                    self.known().ended(&drill.id, &name);
                    continue;
                };
                let (notifier, drill) = (Arc::clone(notifier), drill.clone());
                let (letterhead, clock) = (audience.letterhead.clone(), self.clock.clone());
                flying.spawn(async move {
                    let told = tell(&notifier, &drill, &letterhead, Call::Resolve, &clock).await;
                    (drill, name, told)
                });
            }
        }
        if !is_any {
            return true;
        }
        while let Some(landed) = flying.join_next().await {
            let Ok((drill, name, told)) = landed else { continue };
            match told {
                Ok(()) => {
                    info!(notifier = %name, drill = drill.id, "told that the drill is over");
                    self.known().ended(&drill.id, &name);
                    self.keep().await;
                }
                Err(error) => {
                    let said = masked(&error.to_string(), &drill.code);
                    warn!(notifier = %name, drill = drill.id, "could not say that a drill is over; trying again: {said}");
                }
            }
        }
        self.keep().await && self.known().to_end(self.clock.now()).is_empty()
    }

    fn audience(&self) -> Audience {
        self.audience.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what the ledger does not have, in the order in which it came about; answers whether it has all.
    async fn keep(&self) -> bool {
        let mut written = self.written.lock().await;
        let texts = {
            let known = self.known();
            let newest = known.newest.as_ref().map(serde_json::to_string).transpose();
            let newest = newest.ok().flatten().unwrap_or_default();
            let earlier = if known.earlier.is_empty() && written[1].is_empty() {
                String::new()
            } else {
                serde_json::to_string(&known.earlier).unwrap_or_default()
            };
            [newest, earlier]
        };
        let mut is_kept = true;
        // The earlier ones first: what dies between the two tells an end twice, and loses none.
        for (place, name) in [(1, EARLIER), (0, NEWEST)] {
            if texts[place] == written[place] {
                continue;
            }
            if !self.keep_text(name, &texts[place]).await {
                is_kept = false;
                break;
            }
            written[place].clone_from(&texts[place]);
        }
        is_kept
    }

    /// A ledger that is down keeps nobody from trying whether people can be reached.
    async fn keep_text(&self, name: &str, text: &str) -> bool {
        match tokio::time::timeout(KEPT_WITHIN, self.store.keep_setting(name, text)).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => warn!(%error, "the drill cannot be stored: it is forgotten with the agent"),
            Err(_) => warn!("the drill cannot be stored: it is forgotten with the agent"),
        }
        false
    }

    fn export(&self, drill: &Drill) {
        if let Some(metrics) = &self.metrics {
            let took = |answer: &DrillAnswer| answer.answer == Took::Accepted;
            metrics.drilled(drill.at, drill.answers.iter().map(|answer| (answer.notifier.as_str(), took(answer))));
        }
    }
}

/// Compares in a time that does not tell how much was right.
fn is_same(code: &str, said: &str) -> bool {
    let differences = code.bytes().zip(said.bytes()).fold(0, |found, (a, b)| found | (a ^ b));
    code.len() == said.len() && std::hint::black_box(differences) == 0
}
