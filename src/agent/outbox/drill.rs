//! Fire drills: an incident that is none goes through every notifier, is told, and is told as over.
//! That a receiver accepts it proves little; whoever gets the page says its code, and that proves it.

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};
use tracing::{info, warn};

use super::{Audience, Receiver, message::Letterhead};
use crate::{
    agent::{clock::Clock, craft::Dice, maintenance::Denied},
    canary::{Family, NotifierName, Outcome, Timestamp},
    detect::{Incident, IncidentId, Onset, Severity},
    metrics::Metrics,
    notify::{Keeps, Message, Notifier, NotifyError, Page, What},
    store::{Drill, DrillAnswer, Store, StoreError, Took},
};

/// Tries of each message: somebody waits for the answer.
const TRIES: u32 = 3;
/// A receiver that does not answer within this is tried again.
const ANSWERS_WITHIN: Duration = Duration::from_secs(4);
/// Between two tries; it doubles.
const PAUSE: Duration = Duration::from_millis(500);
/// A receiver that wants to be left alone for longer is not waited for.
const LONGEST_WISH: Duration = Duration::from_secs(2);
/// Letters and digits of a code: short enough to be read out.
const CODE: usize = 8;
/// Wrong codes after which a drill can no longer be confirmed.
const MOST_WRONG: u32 = 5;
/// A page that is older proves nothing about today.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(7 * 86_400);
/// The ledger is not waited for any longer.
const KEPT_WITHIN: Duration = Duration::from_secs(3);
/// Where the ledger keeps the newest, and when one was last confirmed.
const NEWEST: &str = "drill";
const CONFIRMED: &str = "drill-confirmed";

/// What drills need, and the newest one.
pub(in crate::agent) struct Drills {
    store: Arc<dyn Store>,
    clock: Clock,
    dice: Dice,
    metrics: Option<Arc<Metrics>>,
    audience: RwLock<Audience>,
    newest: Mutex<Option<Drill>>,
    /// Held by the one that is under way.
    air: Arc<tokio::sync::Mutex<()>>,
}

impl Drills {
    /// What the ledger knows of the newest one is taken up; who was told of it and not yet that it is
    /// over, is told now.
    pub(in crate::agent) async fn recall(
        store: Arc<dyn Store>,
        clock: Clock,
        dice: Dice,
        metrics: Option<Arc<Metrics>>,
        audience: Audience,
    ) -> Result<Arc<Self>, StoreError> {
        let newest: Option<Drill> = store.setting(NEWEST).await?.and_then(|text| serde_json::from_str(&text).ok());
        let confirmed = store.setting(CONFIRMED).await?.and_then(|text| Timestamp::parse_rfc3339(&text));
        let drills = Self {
            store,
            clock,
            dice,
            metrics,
            audience: RwLock::new(audience),
            newest: Mutex::new(newest.clone()),
            air: Arc::default(),
        };
        if let (Some(metrics), Some(at)) = (&drills.metrics, confirmed) {
            metrics.drill_confirmed(at);
        }
        let drills = Arc::new(drills);
        if let Some(drill) = newest {
            drills.export(&drill);
            if !drill.open.is_empty() {
                tokio::spawn(Arc::clone(&drills).end(drill));
            }
        }
        Ok(drills)
    }

    /// Other notifiers from now on.
    pub(in crate::agent) fn configure(&self, audience: Audience) {
        *self.audience.write().unwrap_or_else(PoisonError::into_inner) = audience;
    }

    /// Sends one: to all notifiers, or to one of them. It goes on to its end if nobody waits for it.
    pub(in crate::agent) async fn send(self: Arc<Self>, only: Option<&str>) -> Result<Drill, Denied> {
        let audience = self.audience.read().unwrap_or_else(PoisonError::into_inner).clone();
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
            return Err(Denied::Invalid("a drill is under way".to_owned()));
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
        let mut drill = Drill {
            id: format!("drill-{}", self.dice.letters(8).to_ascii_lowercase()),
            at: self.clock.now(),
            code: self.dice.letters(CODE),
            wrong: 0,
            open: chosen.iter().map(|(_, receiver)| receiver.name.clone()).collect(),
            answers: Vec::new(),
            confirmed_at: None,
        };
        // Known before the first page is out: somebody may be quick.
        self.keep(drill.clone()).await;
        let mut flying = JoinSet::new();
        for (place, (notifier, receiver)) in chosen.into_iter().enumerate() {
            let (drill, letterhead, clock) = (drill.clone(), letterhead.clone(), self.clock.clone());
            flying.spawn(async move {
                let begun = Instant::now();
                let told = tell(&notifier, &drill, &letterhead, Call::Trigger, &clock).await;
                // Where the answer was lost it may stand all the same. Mail cannot be taken back, and
                // of what was refused there is nothing to end.
                let over = match told {
                    Err(NotifyError::Refused { .. }) => Ok(()),
                    Err(_) if receiver.manner.keeps == Keeps::Messages => Ok(()),
                    _ => tell(&notifier, &drill, &letterhead, Call::Resolve, &clock).await,
                };
                let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                (place, answer(receiver.name, told, over, millis))
            });
        }
        let mut answers = Vec::new();
        while let Some(landed) = flying.join_next().await {
            answers.extend(landed.ok());
        }
        answers.sort_by_key(|(place, ..)| *place);
        drill.open.retain(|name| !answers.iter().any(|(_, (answer, is_over))| answer.notifier == *name && *is_over));
        drill.answers = answers.into_iter().map(|(_, (answer, _))| answer).collect();
        // Somebody may have confirmed it meanwhile, or tried to.
        if let Some(known) = &*self.newest() {
            (drill.wrong, drill.confirmed_at) = (known.wrong, known.confirmed_at);
        }
        for answer in &drill.answers {
            let (notifier, said) = (&answer.notifier, answer.said.as_deref().unwrap_or("it says nothing about people"));
            match answer.answer {
                Took::Accepted => info!(%notifier, drill = drill.id, "drill accepted; {said}"),
                answer => warn!(%notifier, drill = drill.id, "drill {}: {said}", answer.as_str()),
            }
        }
        self.keep(drill.clone()).await;
        self.export(&drill);
        drill
    }

    /// Somebody says that they got it.
    pub(in crate::agent) async fn confirm(&self, code: &str) -> Result<Drill, Denied> {
        let now = self.clock.now();
        let plain = |c: char| !c.is_whitespace() && c != '-';
        let said: String = code.chars().filter(|c| plain(*c)).map(|c| c.to_ascii_uppercase()).collect();
        let (drill, is_right) = {
            let mut newest = self.newest();
            let waits = |drill: &&mut Drill| now.since(drill.at) < CONFIRMED_WITHIN && drill.wrong < MOST_WRONG;
            let Some(drill) = newest.as_mut().filter(waits) else {
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
        self.keep_text(NEWEST, serde_json::to_string(&drill)).await;
        if !is_right {
            let left = MOST_WRONG - drill.wrong;
            return Err(Denied::Invalid(format!("that is not the code of the newest drill; {left} tries are left")));
        }
        let at = drill.confirmed_at.unwrap_or(now);
        self.keep_text(CONFIRMED, Ok(at.to_string())).await;
        if let Some(metrics) = &self.metrics {
            metrics.drill_confirmed(at);
        }
        info!(drill = drill.id, "a person got the drill");
        Ok(drill)
    }

    /// Tells those who were told of a drill, and not that it is over, that it is.
    async fn end(self: Arc<Self>, mut drill: Drill) {
        let audience = self.audience.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut open = Vec::new();
        for name in std::mem::take(&mut drill.open) {
            let named = audience.notifiers.iter().find(|(_, receiver)| receiver.name == name);
            let Some((notifier, _)) = named else { continue };
            if let Err(error) = tell(notifier, &drill, &audience.letterhead, Call::Resolve, &self.clock).await {
                warn!(notifier = %name, %error, drill = drill.id, "could not say that a drill is over");
                open.push(name);
            }
        }
        let current = match &mut *self.newest() {
            Some(newest) if newest.id == drill.id => {
                newest.open = open;
                newest.clone()
            }
            _ => return,
        };
        self.keep_text(NEWEST, serde_json::to_string(&current)).await;
    }

    fn newest(&self) -> std::sync::MutexGuard<'_, Option<Drill>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn keep(&self, drill: Drill) {
        let text = serde_json::to_string(&drill);
        *self.newest() = Some(drill);
        self.keep_text(NEWEST, text).await;
    }

    /// A ledger that is down keeps nobody from trying whether people can be reached.
    async fn keep_text(&self, name: &str, text: Result<String, serde_json::Error>) {
        let Ok(text) = text else { return };
        match tokio::time::timeout(KEPT_WITHIN, self.store.keep_setting(name, &text)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the drill cannot be stored: it is forgotten with the agent"),
            Err(_) => warn!("the drill cannot be stored: it is forgotten with the agent"),
        }
    }

    fn export(&self, drill: &Drill) {
        if let Some(metrics) = &self.metrics {
            let took = |answer: &DrillAnswer| answer.answer == Took::Accepted;
            metrics.drilled(drill.at, drill.answers.iter().map(|answer| (answer.notifier.as_str(), took(answer))));
        }
    }
}

#[derive(Clone, Copy)]
enum Call {
    Trigger,
    Resolve,
}

/// Says one thing, and again if it was not heard.
async fn tell(
    notifier: &Arc<dyn Notifier>,
    drill: &Drill,
    letterhead: &Letterhead,
    call: Call,
    clock: &Clock,
) -> Result<(), NotifyError> {
    let mut pause = PAUSE;
    for left in (0..TRIES).rev() {
        let message = message(drill, letterhead, call, clock.now());
        let own = Arc::clone(notifier);
        // In a task of its own: a driver that panics is an answer too.
        let said = tokio::spawn(async move { tokio::time::timeout(ANSWERS_WITHIN, own.tell(&message)).await }).await;
        let unreachable = |detail: String| NotifyError::Unreachable { detail };
        let said = match said {
            Ok(Ok(said)) => said,
            Ok(Err(_)) => Err(unreachable(format!("no answer within {ANSWERS_WITHIN:?}"))),
            Err(error) => Err(unreachable(format!("the notifier failed: {error}"))),
        };
        match said {
            Err(NotifyError::Refused { .. }) | Ok(()) => return said,
            Err(_) if left == 0 => return said,
            Err(NotifyError::Busy { retry_after: Some(wish), .. }) if wish > LONGEST_WISH => return said,
            Err(NotifyError::Busy { retry_after: Some(wish), .. }) => tokio::time::sleep(wish).await,
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause *= 2;
    }
    Ok(())
}

/// The worse of the two answers, and whether nothing is left to be said.
fn answer(
    notifier: NotifierName,
    told: Result<(), NotifyError>,
    over: Result<(), NotifyError>,
    millis: u64,
) -> (DrillAnswer, bool) {
    let took = |said: &Result<(), NotifyError>| match said {
        Ok(()) => Took::Accepted,
        Err(NotifyError::Refused { .. }) => Took::Refused,
        Err(_) => Took::Unreachable,
    };
    let worse = took(&told).max(took(&over));
    let words = [("the page", &told), ("that it is over", &over)]
        .into_iter()
        .filter_map(|(what, said)| Some(format!("{what}: {}", said.as_ref().err()?)));
    let said: Vec<String> = words.collect();
    let is_over = over.is_ok();
    (DrillAnswer { notifier, answer: worse, said: (!said.is_empty()).then(|| said.join("; ")), millis }, is_over)
}

fn message(drill: &Drill, letterhead: &Letterhead, call: Call, now: Timestamp) -> Message {
    let incident = incident(drill, call, now);
    let severity = incident.severity;
    let page = Arc::new(letterhead.drill(incident, drill.code.clone()));
    let what = match call {
        Call::Trigger => What::Trigger(page),
        Call::Resolve => What::Resolve(page),
    };
    Message { key: format!("{}/{}/{}", drill.id, drill.at.as_micros(), severity.as_str()), at: now, what }
}

/// An incident that is none.
fn incident(drill: &Drill, call: Call, now: Timestamp) -> Incident {
    Incident {
        id: IncidentId::typed(&drill.id),
        severity: Severity::Critical,
        outcome: Outcome::Lost,
        family: Family::Missing,
        provisional: false,
        suspects: vec![("drill".to_owned(), "yes".to_owned())],
        also: Vec::new(),
        routes: Vec::new(),
        unaffected: Vec::new(),
        onset: Onset { last_good: None, first_bad: drill.at },
        deploy: None,
        opened_at: drill.at,
        detected_at: Some(drill.at),
        reopened_at: None,
        resolved_at: matches!(call, Call::Resolve).then_some(now),
        resolved_because: matches!(call, Call::Resolve).then(|| "it was a drill".to_owned()),
        runs: Vec::new(),
        history: Vec::new(),
    }
}

/// Compares in a time that does not tell how much was right.
fn is_same(code: &str, said: &str) -> bool {
    let differences = code.bytes().zip(said.bytes()).fold(0, |found, (a, b)| found | (a ^ b));
    code.len() == said.len() && std::hint::black_box(differences) == 0
}

/// A drill's page has no routes and no proofs.
impl Letterhead {
    fn drill(&self, incident: Incident, code: String) -> Page {
        let opening = incident.opening();
        let severity = incident.severity;
        Page { drill: Some(code), ..self.bare(incident, severity, opening) }
    }
}
