//! The book: everything that is to be told, to whom, and what each receiver is known to have. Pure:
//! it is told what happened and what time it is, and answers what is to be sent and to be written.
//!
//! What a receiver took is written before it is told that the same is over: should the agent die in
//! between, it says the same word again under the same key, and never opens a key that was closed.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{
    receiver::{REFUSED_PAUSE, Receiver, former, pause},
    steps::{self, Around, Step},
};
use crate::{
    canary::{NotifierName, Route, RouteId, Selector, Silence, Timestamp},
    detect::{Change, Incident, IncidentId, Severity, silenced_until},
    notify::NotifyError,
    store::{Holding, Letter, Opening},
};

/// What time it is: on the wall, for people; and since the outbox began, which no step moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Now {
    pub(super) wall: Timestamp,
    pub(super) steady: Duration,
}

/// Something that changed of an incident that is to be told.
#[derive(Clone, Debug)]
pub struct News {
    /// What.
    pub change: Change,
    /// The incident as it stands.
    pub incident: Arc<Incident>,
    /// The notice that it is written as, if it is one.
    pub notice: Option<String>,
}

/// One message on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sending {
    pub(super) opening: OpeningKey,
    pub(super) notifier: NotifierName,
    /// Where that leads.
    pub(super) identity: String,
    pub(super) step: Step,
}

/// Which opening: in the order in which they were to be told.
pub(super) type OpeningKey = (Timestamp, IncidentId);

/// What a look at the book comes to, for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Open, not silenced, wanted by somebody or by nobody at all, and nobody took it.
    pub(super) undelivered: Vec<(IncidentId, Severity)>,
    /// Words that are to be said and were not taken.
    pub(super) pending: usize,
    /// How long the oldest of them has been waiting.
    pub(super) oldest: Duration,
}

/// One opening at work.
#[derive(Clone, Debug)]
struct Thread {
    opening: Opening,
    incident: Arc<Incident>,
    /// Counts changes of `opening`; what was written last.
    version: u64,
    written: u64,
    flights: HashMap<NotifierName, Flight>,
}

/// How one letter is doing; forgotten when the agent ends.
#[derive(Clone, Copy, Debug, Default)]
struct Flight {
    in_the_air: bool,
    tries: u32,
    next_try: Duration,
    /// Since when there has been something to say.
    waiting_since: Option<Duration>,
    failing_since: Option<Duration>,
    told_at: Option<Duration>,
}

/// Everything that is to be told.
#[derive(Debug, Default)]
pub(super) struct Book {
    receivers: Vec<Receiver>,
    /// Those that are watched, and those that were when something hit them that is still to be told.
    routes: HashMap<RouteId, Arc<Route>>,
    watched: usize,
    silences: Vec<Silence>,
    threads: BTreeMap<OpeningKey, Thread>,
    /// Incidents whose newest opening began and ended in a silence: should they open again, nobody was
    /// told lately, whatever detection believes.
    unheard: HashSet<IncidentId>,
    /// Notices that were taken in, not yet noted as such: with the openings that they changed.
    taken: Vec<String>,
}

/// What is to be written, and what it was.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    pub(super) openings: Vec<Opening>,
    pub(super) taken: Vec<String>,
    versions: Vec<(OpeningKey, u64)>,
}

impl Unwritten {
    pub(super) fn is_empty(&self) -> bool {
        self.openings.is_empty() && self.taken.is_empty()
    }
}

impl Book {
    /// Other notifiers and routes from now on. What was refused is tried again: that may be why.
    pub(super) fn configure(&mut self, receivers: Vec<Receiver>, routes: &[Arc<Route>], now: Now) {
        let mut known: HashMap<NotifierName, Receiver> =
            self.receivers.drain(..).map(|receiver| (receiver.name.clone(), receiver)).collect();
        let mut leaving = Vec::new();
        for receiver in receivers {
            self.receivers.push(match known.remove(&receiver.name) {
                Some(known) if known.identity == receiver.identity => known.under(receiver),
                Some(known) => {
                    let name = former(&known.name, &known.identity);
                    leaving.push(known.leaving(name));
                    receiver
                }
                None => receiver,
            });
        }
        leaving.extend(known.into_iter().map(|(name, receiver)| receiver.leaving(name)));
        for thread in self.threads.values_mut() {
            thread.part(&self.receivers);
        }
        // Who was taken out, or leads elsewhere now, is still told that what it knows is over.
        leaving.retain(|gone| self.threads.values().any(|thread| thread.opening.letter(&gone.name).is_some()));
        self.receivers.extend(leaving);
        self.watched = routes.len();
        // A route that is gone is still covered by the silence that covered it.
        let hit: HashSet<RouteId> = self.threads.values().flat_map(|thread| &thread.incident.routes).copied().collect();
        self.routes.retain(|id, _| hit.contains(id));
        self.routes.extend(routes.iter().map(|route| (route.id, Arc::clone(route))));
        for thread in self.threads.values_mut() {
            thread.flights.values_mut().for_each(|flight| flight.next_try = now.steady);
            thread.address(&self.receivers, &self.routes);
        }
    }

    /// Other silences from now on.
    pub(super) fn silence(&mut self, silences: Vec<Silence>) {
        self.silences = silences;
    }

    /// Notes that the newest opening of an incident began and ended in a silence.
    pub(super) fn was_unheard(&mut self, incident: IncidentId) {
        self.unheard.insert(incident);
    }

    /// Notes that a notice was taken care of.
    pub(super) fn took(&mut self, notice: String) {
        self.taken.push(notice);
    }

    /// What was still to be told when the agent ended.
    pub(super) fn take_up(&mut self, opening: Opening, incident: Arc<Incident>, now: Now) {
        let key = (opening.at, opening.incident.clone());
        let flights = (opening.letters.iter())
            .filter_map(|letter| {
                let told_at = now.steady.saturating_sub(now.wall.since(letter.told_at?));
                Some((letter.notifier.clone(), Flight { told_at: Some(told_at), ..Flight::default() }))
            })
            .collect();
        let over = opening.over || !incident.is_open() || incident.opening() > opening.at;
        let opening = Opening { doubt: true, ..opening };
        let mut thread = Thread { opening, incident, version: 1, written: 1, flights };
        thread.part(&self.receivers);
        thread.address(&self.receivers, &self.routes);
        if over && !thread.opening.over {
            let silenced = is_silenced(&thread.incident, &self.routes, &self.silences, now.wall);
            if thread.end(silenced) {
                self.unheard.insert(key.1.clone());
            }
        }
        self.threads.insert(key, thread);
    }

    /// Takes in what was decided before the agent ended: perhaps it was sent, and that not written.
    pub(super) fn recall(&mut self, news: News, now: Now) {
        let key = (news.incident.opening(), news.incident.id.clone());
        self.learn(news, now);
        if let Some(thread) = self.threads.get_mut(&key) {
            thread.opening.doubt = true;
            thread.version += 1;
        }
    }

    /// Takes in what changed.
    pub(super) fn learn(&mut self, news: News, now: Now) {
        let News { change, incident, notice } = news;
        let key = (incident.opening(), incident.id.clone());
        self.taken.extend(notice);
        let is_over = matches!(change, Change::Resolved(_)) || !incident.is_open();
        let is_unheard = !is_over && self.unheard.contains(&incident.id);
        if matches!(change, Change::Opened(_) | Change::Raised(_)) || is_unheard {
            self.unheard.remove(&incident.id);
            let fresh = || Thread {
                opening: Opening::new(incident.id.clone(), key.0, incident.severity),
                incident: Arc::clone(&incident),
                version: 1,
                written: 0,
                flights: HashMap::new(),
            };
            self.threads.entry(key.clone()).or_insert_with(fresh);
        }
        for (at, thread) in self.threads.iter_mut().filter(|(at, _)| at.1 == incident.id && at.0 <= key.0) {
            if *at == key {
                thread.hear(&incident);
                thread.address(&self.receivers, &self.routes);
            }
            if !thread.opening.over && (is_over || at.0 < key.0) {
                let silenced = is_silenced(&thread.incident, &self.routes, &self.silences, now.wall);
                if thread.end(silenced) {
                    self.unheard.insert(incident.id.clone());
                }
            }
        }
    }

    /// What is to be sent now, the most urgent first. Each is then on its way until it is answered.
    pub(super) fn due(&mut self, now: Now) -> Vec<Sending> {
        self.call_seconds(now);
        let mut due = Vec::new();
        for (key, thread) in &mut self.threads {
            let silenced = is_silenced(&thread.incident, &self.routes, &self.silences, now.wall);
            let is_written = thread.version == thread.written;
            for letter in &thread.opening.letters {
                let Some(receiver) = self.receivers.iter().find(|receiver| receiver.name == letter.notifier) else {
                    continue;
                };
                let around =
                    Around { opening: &thread.opening, rules: &receiver.rules, manner: receiver.manner, silenced };
                let flight = thread.flights.entry(letter.notifier.clone()).or_default();
                let step = steps::next(letter, around);
                let is_news = step.is_some_and(|step| !matches!(step, Step::Again(_)));
                flight.waiting_since = is_news.then(|| flight.waiting_since.unwrap_or(now.steady));
                let Some(step) = step.filter(|_| !flight.in_the_air && flight.next_try <= now.steady) else { continue };
                let waits = match step {
                    // What was taken is on record before anybody is told that it is over.
                    Step::Resolve(_) => !is_written,
                    Step::Again(_) => {
                        let again = receiver.manner.again.unwrap_or(Duration::MAX);
                        flight.told_at.is_some_and(|told| now.steady < told.saturating_add(again))
                    }
                    _ => false,
                };
                if !waits {
                    let (notifier, identity) = (letter.notifier.clone(), receiver.identity.clone());
                    due.push(Sending { opening: key.clone(), notifier, identity, step });
                }
            }
        }
        due.sort_by_key(|sending| urgency(sending.step));
        due.retain(|sending| {
            let receiver = self.receivers.iter_mut().find(|receiver| receiver.name == sending.notifier);
            receiver.is_some_and(|receiver| receiver.sends(now.steady, sending.step))
        });
        for sending in &due {
            let Some(thread) = self.threads.get_mut(&sending.opening) else { continue };
            thread.flights.entry(sending.notifier.clone()).or_default().in_the_air = true;
            thread.change(&sending.notifier, |letter| steps::sent(letter, sending.step));
        }
        due
    }

    /// Takes in how a message fared. `chance` in 0..1.
    pub(super) fn answered(&mut self, sending: &Sending, answer: Result<(), NotifyError>, now: Now, chance: f64) {
        // It may lead elsewhere by now; what it took, it holds.
        let is_same = |receiver: &&mut Receiver| {
            receiver.identity == sending.identity
                && (receiver.name == sending.notifier || receiver.name == former(&sending.notifier, &sending.identity))
        };
        let Some(receiver) = self.receivers.iter_mut().find(is_same) else { return };
        let sending = &Sending { notifier: receiver.name.clone(), ..sending.clone() };
        receiver.in_flight = receiver.in_flight.saturating_sub(1);
        let keeps = receiver.manner.keeps;
        if let Err(NotifyError::Busy { retry_after: Some(wish), .. }) = &answer {
            receiver.wishes(now.steady, *wish);
        }
        let Some(thread) = self.threads.get_mut(&sending.opening) else { return };
        let flight = thread.flights.entry(sending.notifier.clone()).or_default();
        flight.in_the_air = false;
        let Err(error) = answer else {
            *flight = Flight { told_at: Some(now.steady), ..Flight::default() };
            thread.change(&sending.notifier, |letter| {
                steps::accepted(letter, sending.step, keeps);
                letter.paged_at.get_or_insert(now.wall);
                letter.told_at = Some(now.wall);
                letter.failure = None;
            });
            return;
        };
        flight.tries = flight.tries.saturating_add(1);
        flight.failing_since.get_or_insert(now.steady);
        let is_refused = matches!(error, NotifyError::Refused { .. });
        flight.next_try = now.steady + if is_refused { REFUSED_PAUSE } else { pause(flight.tries, chance) };
        thread.change(&sending.notifier, |letter| {
            if is_refused {
                steps::refused(letter, sending.step);
            }
            letter.failure = Some(error.to_string());
        });
    }

    /// Has somebody else told as well where a receiver refused to be, or failed for too long.
    fn call_seconds(&mut self, now: Now) {
        for thread in self.threads.values_mut() {
            let silenced = is_silenced(&thread.incident, &self.routes, &self.silences, now.wall);
            let mut called = Vec::new();
            for letter in &thread.opening.letters {
                let receiver = self.receivers.iter().find(|receiver| receiver.name == letter.notifier);
                let Some(receiver) = receiver else { continue };
                let (Some(second), Some(flight)) = (&receiver.rules.second, thread.flights.get(&letter.notifier))
                else {
                    continue;
                };
                let around =
                    Around { opening: &thread.opening, rules: &receiver.rules, manner: receiver.manner, silenced };
                let failing = flight.failing_since.is_some_and(|since| {
                    letter.state(thread.opening.severity) == Some(Holding::Refused)
                        || now.steady.saturating_sub(since) >= receiver.rules.second_after
                });
                if failing && steps::next(letter, around).is_some_and(Step::is_a_call) {
                    let identity = self.receivers.iter().find(|receiver| receiver.name == *second);
                    let identity = identity.map_or("", |receiver| &receiver.identity);
                    called.push(Letter::new(second.clone(), identity, Some(letter.notifier.clone())));
                }
            }
            for letter in called {
                if thread.opening.letter(&letter.notifier).is_none() {
                    thread.opening.letters.push(letter);
                    thread.version += 1;
                }
            }
        }
    }

    /// What changed since it was last written.
    pub(super) fn unwritten(&mut self) -> Unwritten {
        let mut unwritten = Unwritten { taken: self.taken.clone(), ..Unwritten::default() };
        for (key, thread) in &mut self.threads {
            if !thread.opening.done && thread.is_done(&self.receivers) {
                thread.opening.done = true;
                thread.version += 1;
            }
            if thread.version != thread.written {
                unwritten.openings.push(thread.opening.clone());
                unwritten.versions.push((key.clone(), thread.version));
            }
        }
        unwritten
    }

    /// Takes in that it is on disk. What is done with is forgotten.
    pub(super) fn written(&mut self, written: &Unwritten) {
        self.taken.retain(|notice| !written.taken.contains(notice));
        for (key, version) in &written.versions {
            let Some(thread) = self.threads.get_mut(key) else { continue };
            thread.written = thread.written.max(*version);
            if thread.opening.done && thread.version == thread.written {
                self.threads.remove(key);
            }
        }
    }

    /// How things stand.
    pub(super) fn tally(&self, now: Now) -> Tally {
        let mut tally = Tally::default();
        for thread in self.threads.values() {
            let silenced = is_silenced(&thread.incident, &self.routes, &self.silences, now.wall);
            let severity = thread.opening.severity;
            let took = |letter: &Letter| letter.loudest(&[Holding::Open]).is_some_and(|took| took >= severity);
            let wanted = self.receivers.is_empty() || !thread.opening.letters.is_empty();
            if !thread.opening.over && !silenced && wanted && !thread.opening.letters.iter().any(took) {
                tally.undelivered.push((thread.opening.incident.clone(), severity));
            }
            for since in thread.flights.values().filter_map(|flight| flight.waiting_since) {
                tally.pending += 1;
                tally.oldest = tally.oldest.max(now.steady.saturating_sub(since));
            }
        }
        tally
    }

    /// The opening and incident of a message, as they stand.
    pub(super) fn content(&self, key: &OpeningKey) -> Option<(&Opening, &Arc<Incident>)> {
        self.threads.get(key).map(|thread| (&thread.opening, &thread.incident))
    }

    /// Openings of which something is still to be told, newest first.
    pub(super) fn openings(&self) -> impl Iterator<Item = &Opening> {
        self.threads.values().rev().map(|thread| &thread.opening)
    }

    /// A watched route.
    pub(super) fn route(&self, id: RouteId) -> Option<&Arc<Route>> {
        self.routes.get(&id)
    }

    /// Where all receivers lead, those that are leaving too.
    pub(super) fn identities(&self) -> HashSet<&str> {
        self.receivers.iter().map(|receiver| receiver.identity.as_str()).collect()
    }

    /// Notifiers that are in no config any more and hold an alert that nobody can end.
    pub(super) fn abandoned(&self) -> Vec<(&NotifierName, &IncidentId)> {
        let letters = self
            .threads
            .values()
            .flat_map(|thread| thread.opening.letters.iter().map(|letter| (letter, &thread.opening.incident)));
        letters
            .filter(|(letter, _)| letter.loudest(&[Holding::Open, Holding::Unsure]).is_some())
            .filter(|(letter, _)| !self.receivers.iter().any(|receiver| receiver.name == letter.notifier))
            .map(|(letter, incident)| (&letter.notifier, incident))
            .collect()
    }

    /// How many routes are watched.
    pub(super) fn watched(&self) -> usize {
        self.watched
    }

    /// Somebody waits for something.
    pub(super) fn is_idle(&self) -> bool {
        self.threads.is_empty()
    }
}

impl Thread {
    /// The incident as it stands.
    fn hear(&mut self, incident: &Arc<Incident>) {
        self.incident = Arc::clone(incident);
        if incident.severity > self.opening.severity {
            self.opening.severity = incident.severity;
            self.version += 1;
        }
    }

    /// It is over. Answers whether it began and ended in a silence.
    fn end(&mut self, silenced: bool) -> bool {
        self.opening.over = true;
        self.version += 1;
        for letter in &mut self.opening.letters {
            letter.silenced = silenced && !letter.was_told();
        }
        // What could not be said so far is another word now.
        for flight in self.flights.values_mut() {
            flight.next_try = Duration::ZERO;
        }
        silenced && !self.opening.letters.iter().any(Letter::was_told)
    }

    fn change(&mut self, notifier: &NotifierName, change: impl FnOnce(&mut Letter)) {
        if let Some(letter) = self.opening.letters.iter_mut().find(|letter| letter.notifier == *notifier) {
            let before = letter.clone();
            change(letter);
            if *letter != before {
                self.version += 1;
            }
        }
    }

    /// Parts with receivers whose name leads elsewhere now: what was said stays theirs.
    fn part(&mut self, receivers: &[Receiver]) {
        for letter in &mut self.opening.letters {
            let receiver = receivers.iter().find(|receiver| receiver.name == letter.notifier);
            let leads_elsewhere = |receiver: &Receiver| receiver.identity != letter.identity;
            if !letter.identity.is_empty() && receiver.is_some_and(leads_elsewhere) {
                let name = former(&letter.notifier, &letter.identity);
                if let Some(flight) = self.flights.remove(&letter.notifier) {
                    self.flights.insert(name.clone(), flight);
                }
                (letter.notifier, letter.stands_in_for) = (name, None);
                self.version += 1;
            }
        }
    }

    /// Who is to be told of it. Nobody new is, once it is over.
    fn address(&mut self, receivers: &[Receiver], routes: &HashMap<RouteId, Arc<Route>>) {
        if self.opening.over {
            return;
        }
        for receiver in receivers {
            let rules = &receiver.rules;
            let wants =
                rules.severities.contains(&self.opening.severity) && is_about(&self.incident, &rules.only, routes);
            if wants && self.opening.letter(&receiver.name).is_none() {
                self.opening.letters.push(Letter::new(receiver.name.clone(), &receiver.identity, None));
                self.version += 1;
            }
        }
    }

    /// Over, and nobody is left who is to be told anything, now or when a silence ends. Who is no
    /// longer in the config is not waited for.
    fn is_done(&self, receivers: &[Receiver]) -> bool {
        let said_all = |letter: &Letter| {
            let Some(receiver) = receivers.iter().find(|receiver| receiver.name == letter.notifier) else {
                return true;
            };
            let (rules, manner) = (&receiver.rules, receiver.manner);
            steps::next(letter, Around { opening: &self.opening, rules, manner, silenced: false }).is_none()
        };
        self.opening.over
            && !self.flights.values().any(|flight| flight.in_the_air)
            && self.opening.letters.iter().all(said_all)
    }
}

/// Calls first, the loudest first of all; reminders last.
fn urgency(step: Step) -> (u8, std::cmp::Reverse<Severity>) {
    let kind = match step {
        Step::Trigger(_) => 0,
        Step::Over(_) => 1,
        Step::Resolve(_) => 2,
        Step::Again(_) => 3,
    };
    (kind, std::cmp::Reverse(step.severity()))
}

/// Whether an incident hits what is selected. One without routes (a target that nobody can see) is
/// told by its suspects.
fn is_about(incident: &Incident, only: &Selector, routes: &HashMap<RouteId, Arc<Route>>) -> bool {
    let mut hit = incident.routes.iter().filter_map(|id| routes.get(id)).peekable();
    match hit.peek() {
        Some(_) => hit.any(|route| only.covers(route)),
        None => is_within(incident, only),
    }
}

/// Whether nobody is to be paged of an incident: all that it hits is silenced.
fn is_silenced(
    incident: &Incident,
    routes: &HashMap<RouteId, Arc<Route>>,
    silences: &[Silence],
    now: Timestamp,
) -> bool {
    silenced_until(incident, |id| routes.get(&id), silences, now).is_some()
}

fn is_within(incident: &Incident, only: &Selector) -> bool {
    only.pairs().iter().all(|pair| incident.suspects.contains(pair))
}
