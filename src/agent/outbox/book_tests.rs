//! The book, alone: first by example, then against every misfortune at random.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{
    book::{Book, News, Now, Sending},
    receiver::Receiver,
    steps::Step,
};
use crate::{
    canary::{
        CanaryName, Family, LabelName, Labels, Marker, Mode, NotifierName, Outcome, PlatformName, Route, Selector,
        Silence, TargetName, Timestamp,
    },
    config::Rules,
    detect::{Change, Incident, IncidentId, Onset, Severity},
    notify::{Keeps, Manner, NotifyError},
    store::{Holding, Opening},
};

const START: Timestamp = Timestamp::from_secs(1_440_452_640);

fn now(secs: f64) -> Now {
    let since = Duration::from_secs_f64(secs);
    Now { wall: START.plus(since), steady: Duration::from_secs(3_600) + since }
}

fn name(text: &str) -> NotifierName {
    NotifierName::new(text).expect("valid")
}

fn route(worker: &str) -> Arc<Route> {
    Arc::new(Route::new(
        CanaryName::new("c").expect("valid"),
        PlatformName::new(worker).expect("valid"),
        TargetName::new("web").expect("valid"),
        Mode::Append,
        Labels::new([(LabelName::new("worker").expect("valid"), worker.into())]),
    ))
}

fn receiver(text: &str, keeps: Keeps) -> Receiver {
    let manner = Manner { keeps, again: None, takes_deploys: false, per_minute: 1_000 };
    Receiver::new(name(text), "here".into(), Rules::default(), manner)
}

fn incident(n: i64, severity: Severity) -> Incident {
    let at = START.plus(Duration::from_secs(n.unsigned_abs()));
    Incident {
        id: IncidentId::of(Marker::mint(at, n.unsigned_abs().into())),
        severity,
        outcome: Outcome::Lost,
        family: Family::Missing,
        provisional: false,
        suspects: vec![("worker".into(), "v5".into())],
        also: Vec::new(),
        routes: vec![route("v5").id],
        unaffected: Vec::new(),
        onset: Onset { last_good: None, first_bad: at },
        deploy: None,
        opened_at: at,
        detected_at: Some(at),
        reopened_at: None,
        resolved_at: None,
        resolved_because: None,
        runs: Vec::new(),
        history: Vec::new(),
    }
}

fn news(change: fn(IncidentId) -> Change, incident: &Incident) -> News {
    let change = change(incident.id.clone());
    let notice = Some(format!("{}/{}/{change:?}", incident.id, incident.opening().as_micros()));
    News { change, incident: Arc::new(incident.clone()), notice }
}

fn over(incident: &Incident, at: Timestamp) -> Incident {
    Incident { resolved_at: Some(at), ..incident.clone() }
}

fn book(receivers: Vec<Receiver>) -> Book {
    let mut book = Book::default();
    book.configure(receivers, &[route("v5"), route("v6")], now(0.0));
    book
}

fn write(book: &mut Book) -> Vec<Opening> {
    let unwritten = book.unwritten();
    book.written(&unwritten);
    unwritten.openings
}

/// What is sent now, and taken.
fn taken(book: &mut Book, at: Now) -> Vec<(String, Step)> {
    let sent = book.due(at);
    for sending in &sent {
        book.answered(sending, Ok(()), at, 0.5);
    }
    write(book);
    sent.into_iter().map(|sending| (sending.notifier.as_str().to_owned(), sending.step)).collect()
}

fn busy() -> Result<(), NotifyError> {
    Err(NotifyError::Busy { detail: "503".into(), retry_after: None })
}

fn refusal() -> Result<(), NotifyError> {
    Err(NotifyError::Refused { detail: "400".into() })
}

use Severity::{Critical, Warning};

#[test]
fn one_trigger_and_one_resolve_and_then_it_is_forgotten() {
    let mut book = book(vec![receiver("pager", Keeps::Alerts), receiver("mail", Keeps::Messages)]);
    let lost = incident(1, Critical);
    book.learn(news(Change::Opened, &lost), now(0.0));
    assert_eq!(book.tally(now(0.0)).undelivered, [(lost.id.clone(), Critical)]);
    let told = taken(&mut book, now(0.0));
    assert_eq!(told, [("pager".into(), Step::Trigger(Critical)), ("mail".into(), Step::Trigger(Critical))]);
    assert_eq!(book.tally(now(0.0)).undelivered, []);
    book.learn(news(Change::Moved, &lost), now(1.0));
    assert_eq!(taken(&mut book, now(1.0)), [], "a change of suspects is not told again");
    book.learn(news(Change::Resolved, &over(&lost, now(2.0).wall)), now(2.0));
    write(&mut book);
    let told = taken(&mut book, now(2.0));
    assert_eq!(told, [("pager".into(), Step::Resolve(Critical)), ("mail".into(), Step::Resolve(Critical))]);
    assert!(book.is_idle());
}

#[test]
fn a_rise_is_a_new_key_and_the_quieter_one_is_closed_behind_it() {
    let mut book = book(vec![receiver("pager", Keeps::Alerts), receiver("mail", Keeps::Messages)]);
    let lost = incident(1, Warning);
    book.learn(news(Change::Opened, &lost), now(0.0));
    taken(&mut book, now(0.0));
    let worse = Incident { severity: Critical, ..lost };
    book.learn(news(Change::Raised, &worse), now(1.0));
    let told = taken(&mut book, now(1.0));
    assert_eq!(told, [("pager".into(), Step::Trigger(Critical)), ("mail".into(), Step::Trigger(Critical))]);
    assert_eq!(taken(&mut book, now(1.1)), [("pager".into(), Step::Resolve(Warning))]);
    book.learn(news(Change::Resolved, &over(&worse, now(2.0).wall)), now(2.0));
    write(&mut book);
    let told = taken(&mut book, now(2.0));
    assert_eq!(told, [("pager".into(), Step::Resolve(Critical)), ("mail".into(), Step::Resolve(Critical))]);
    assert!(book.is_idle());
}

#[test]
fn what_opened_and_ended_while_nobody_could_be_told_is_told_once_as_over() {
    let mut book = book(vec![receiver("pager", Keeps::Alerts), receiver("mail", Keeps::Messages)]);
    let lost = incident(1, Critical);
    book.learn(news(Change::Opened, &lost), now(0.0));
    for sending in book.due(now(0.0)) {
        book.answered(&sending, busy(), now(0.0), 0.5);
    }
    book.learn(news(Change::Resolved, &over(&lost, now(0.5).wall)), now(0.5));
    write(&mut book);
    let told = taken(&mut book, now(0.6));
    assert_eq!(told, [("pager".into(), Step::Over(Critical)), ("mail".into(), Step::Over(Critical))]);
    assert_eq!(taken(&mut book, now(0.7)), [("pager".into(), Step::Resolve(Critical))]);
    assert!(book.is_idle());
}

#[test]
fn nobody_is_told_that_it_is_over_before_it_is_on_record_that_they_were_told() {
    let mut book = book(vec![receiver("pager", Keeps::Alerts)]);
    let lost = incident(1, Critical);
    book.learn(news(Change::Opened, &lost), now(0.0));
    let sent = book.due(now(0.0));
    book.answered(&sent[0], Ok(()), now(0.1), 0.5);
    book.learn(news(Change::Resolved, &over(&lost, now(1.0).wall)), now(1.0));
    assert_eq!(book.due(now(1.0)), [], "the ledger is down");
    write(&mut book);
    assert_eq!(taken(&mut book, now(1.1)), [("pager".into(), Step::Resolve(Critical))]);
}

#[test]
fn a_silence_keeps_the_pager_quiet_and_what_is_still_broken_at_its_end_is_paged() {
    let mut book = book(vec![receiver("pager", Keeps::Alerts)]);
    let hour = Duration::from_secs(3_600);
    let silence = |worker: &str| Silence {
        id: worker.into(),
        only: Selector::new([("worker".to_owned(), worker.to_owned())]),
        from: START,
        until: START.plus(hour),
        because: "release".into(),
    };
    book.silence(vec![silence("v5")]);
    let (short, long) = (incident(1, Critical), incident(2, Critical));
    book.learn(news(Change::Opened, &short), now(1.0));
    book.learn(news(Change::Opened, &long), now(2.0));
    assert_eq!(taken(&mut book, now(3.0)), []);
    assert_eq!(book.tally(now(3.0)).undelivered, [], "the second path is silent too");
    book.learn(news(Change::Resolved, &over(&short, now(60.0).wall)), now(60.0));
    write(&mut book);
    assert_eq!(taken(&mut book, now(3_599.0)), []);
    assert_eq!(
        taken(&mut book, now(3_601.0)),
        [("pager".into(), Step::Trigger(Critical))],
        "only what is still broken"
    );

    let wider = Incident { routes: vec![route("v5").id, route("v6").id], ..incident(3, Critical) };
    book.silence(vec![Silence { until: START.plus(hour * 9), ..silence("v5") }]);
    book.learn(news(Change::Opened, &wider), now(3_700.0));
    assert_eq!(taken(&mut book, now(3_700.0)).len(), 1, "a silence of some routes hides nothing of others");
}

#[test]
fn what_opens_again_after_a_silence_is_paged_whatever_was_told_before_it() {
    let mut book = book(vec![receiver("pager", Keeps::Alerts)]);
    let everything = |until: u64| Silence {
        id: "s".into(),
        only: Selector::default(),
        from: START.plus(Duration::from_secs(100)),
        until: START.plus(Duration::from_secs(until)),
        because: String::new(),
    };
    book.silence(vec![everything(200)]);
    let first = incident(1, Critical);
    book.learn(news(Change::Opened, &first), now(1.0));
    taken(&mut book, now(1.0));
    book.learn(news(Change::Resolved, &over(&first, now(50.0).wall)), now(50.0));
    write(&mut book);
    assert_eq!(taken(&mut book, now(50.0)), [("pager".into(), Step::Resolve(Critical))]);
    // Detection tells it again, in a silence.
    let second = Incident { reopened_at: Some(now(110.0).wall), ..first.clone() };
    book.learn(news(Change::Opened, &second), now(110.0));
    book.learn(news(Change::Resolved, &over(&second, now(150.0).wall)), now(150.0));
    assert_eq!(taken(&mut book, now(150.0)), []);
    assert!(book.is_idle());
    // And then not a third time in six hours, since it believes that somebody knows.
    let third = Incident { reopened_at: Some(now(300.0).wall), ..first.clone() };
    book.learn(news(Change::Moved, &third), now(300.0));
    assert_eq!(taken(&mut book, now(300.0)), [("pager".into(), Step::Trigger(Critical))]);
    book.learn(news(Change::Moved, &over(&third, now(400.0).wall)), now(400.0));
    write(&mut book);
    assert_eq!(taken(&mut book, now(400.0)), [("pager".into(), Step::Resolve(Critical))]);
    let fourth = Incident { reopened_at: Some(now(500.0).wall), ..first };
    book.learn(news(Change::Moved, &fourth), now(500.0));
    assert_eq!(taken(&mut book, now(500.0)), [], "that one was told lately");
}

#[test]
fn a_route_that_is_taken_out_is_still_covered_by_its_silence() {
    let mut book = book(vec![receiver("pager", Keeps::Alerts)]);
    let platform = Selector::new([("platform".to_owned(), "v5".to_owned())]);
    let until = START.plus(Duration::from_secs(900));
    book.silence(vec![Silence { id: "s".into(), only: platform, from: START, until, because: String::new() }]);
    let lost = incident(1, Critical);
    book.learn(news(Change::Opened, &lost), now(1.0));
    book.configure(vec![receiver("pager", Keeps::Alerts)], &[route("v6")], now(2.0));
    assert_eq!((taken(&mut book, now(2.0)), book.watched()), (vec![], 1));
    book.learn(news(Change::Resolved, &over(&lost, now(3.0).wall)), now(3.0));
    assert_eq!(taken(&mut book, now(3.0)), []);
    assert_eq!(taken(&mut book, now(1_000.0)), [], "what began and ended in a silence is told to nobody");
}

#[test]
fn what_ended_in_a_silence_while_the_agent_was_down_is_told_to_nobody() {
    let lost = incident(1, Critical);
    let mut opening = Opening::new(lost.id.clone(), lost.opening(), Critical);
    opening.letters.push(crate::store::Letter::new(name("pager"), "here", None));
    let mut book = book(vec![receiver("pager", Keeps::Alerts)]);
    let until = START.plus(Duration::from_secs(900));
    book.silence(vec![Silence {
        id: "s".into(),
        only: Selector::default(),
        from: START,
        until,
        because: String::new(),
    }]);
    book.take_up(opening, Arc::new(over(&lost, now(3.0).wall)), now(10.0));
    assert_eq!(taken(&mut book, now(10.0)), []);
    assert_eq!(taken(&mut book, now(1_000.0)), []);
    assert!(book.is_idle());
}

#[test]
fn what_one_refuses_and_another_took_is_done_with_when_it_is_over() {
    let mut book = book(vec![receiver("pager", Keeps::Alerts), receiver("mail", Keeps::Messages)]);
    let lost = incident(1, Critical);
    book.learn(news(Change::Opened, &lost), now(0.0));
    for sending in book.due(now(0.0)) {
        let answer = if sending.notifier == name("pager") { refusal() } else { Ok(()) };
        book.answered(&sending, answer, now(0.0), 0.5);
    }
    write(&mut book);
    book.learn(news(Change::Resolved, &over(&lost, now(5.0).wall)), now(5.0));
    write(&mut book);
    assert_eq!(taken(&mut book, now(5.0)), [("mail".into(), Step::Resolve(Critical))]);
    assert!(book.is_idle(), "nobody is rung up about the past when the key is mended");
}

#[test]
fn a_notifier_that_leads_elsewhere_pages_there_and_ends_what_it_left() {
    let at = |identity: &str| {
        let manner = Manner { keeps: Keeps::Alerts, again: None, takes_deploys: false, per_minute: 1_000 };
        Receiver::new(name("pager"), identity.into(), Rules::default(), manner)
    };
    let sent =
        |sent: &[Sending]| -> Vec<(String, Step)> { sent.iter().map(|s| (s.identity.clone(), s.step)).collect() };
    for is_removed in [false, true] {
        let mut book = book(vec![at("old")]);
        let routes = [route("v5"), route("v6")];
        let (told, asked) = (incident(1, Critical), incident(2, Critical));
        book.learn(news(Change::Opened, &told), now(0.0));
        taken(&mut book, now(0.0));
        // This one is being asked of while the config is read again.
        book.learn(news(Change::Opened, &asked), now(1.0));
        let in_the_air = book.due(now(1.0));
        book.configure(if is_removed { vec![] } else { vec![at("new")] }, &routes, now(2.0));
        book.answered(&in_the_air[0], Ok(()), now(2.0), 0.5);
        write(&mut book);
        let due = book.due(now(2.0));
        let anew = [("new".to_owned(), Step::Trigger(Critical)), ("new".to_owned(), Step::Trigger(Critical))];
        assert_eq!(sent(&due), if is_removed { &[][..] } else { &anew[..] });
        due.iter().for_each(|sending| book.answered(sending, Ok(()), now(2.0), 0.5));
        for incident in [&told, &asked] {
            book.learn(news(Change::Resolved, &over(incident, now(3.0).wall)), now(3.0));
        }
        write(&mut book);
        let due = book.due(now(3.0));
        let ended =
            |identity: &str| due.iter().filter(|s| s.identity == identity && s.step == Step::Resolve(Critical)).count();
        assert_eq!((ended("old"), ended("new")), (2, if is_removed { 0 } else { 2 }));
        due.iter().for_each(|sending| book.answered(sending, Ok(()), now(3.0), 0.5));
        write(&mut book);
        assert!(book.is_idle());
    }
}

#[test]
fn a_notifier_that_leads_elsewhere_after_a_restart_pages_there_too() {
    let lost = incident(1, Critical);
    let mut opening = Opening::new(lost.id.clone(), lost.opening(), Critical);
    let mut letter = crate::store::Letter::new(name("pager"), "old", None);
    letter.set(Critical, Holding::Open);
    opening.letters.push(letter);
    let mut book = book(vec![receiver("pager", Keeps::Alerts)]);
    book.take_up(opening, Arc::new(lost.clone()), now(10.0));
    assert_eq!(book.abandoned().len(), 1, "nobody knows the old address any more, and that is said");
    assert_eq!(taken(&mut book, now(10.0)), [("pager".into(), Step::Trigger(Critical))]);
    book.learn(news(Change::Resolved, &over(&lost, now(20.0).wall)), now(20.0));
    write(&mut book);
    assert_eq!(taken(&mut book, now(20.0)), [("pager".into(), Step::Resolve(Critical))]);
    assert!(book.is_idle());
}

#[test]
fn a_backlog_of_what_is_over_leaves_room_for_a_page() {
    let manner = Manner { keeps: Keeps::Alerts, again: None, takes_deploys: false, per_minute: 60 };
    let mut book = book(vec![Receiver::new(name("pager"), "here".into(), Rules::default(), manner)]);
    for n in 1..=200 {
        let lost = incident(n, Critical);
        book.learn(news(Change::Opened, &lost), now(0.0));
        book.learn(news(Change::Resolved, &over(&lost, now(0.0).wall)), now(0.0));
    }
    for tenth in 0..200 {
        taken(&mut book, now(f64::from(tenth) / 10.0));
    }
    let page = incident(999, Critical);
    book.learn(news(Change::Opened, &page), now(20.0));
    assert_eq!(taken(&mut book, now(20.0)), [("pager".into(), Step::Trigger(Critical))]);
}

#[test]
fn what_is_over_is_told_in_a_silence_too_if_its_beginning_was() {
    let mut book = book(vec![receiver("pager", Keeps::Alerts)]);
    let lost = incident(1, Critical);
    book.learn(news(Change::Opened, &lost), now(0.0));
    taken(&mut book, now(0.0));
    let everything = Silence {
        id: "s".into(),
        only: Selector::default(),
        from: START,
        until: START.plus(Duration::from_secs(999)),
        because: String::new(),
    };
    book.silence(vec![everything]);
    book.learn(news(Change::Resolved, &over(&lost, now(5.0).wall)), now(5.0));
    write(&mut book);
    assert_eq!(taken(&mut book, now(5.0)), [("pager".into(), Step::Resolve(Critical))]);
}

#[test]
fn who_refuses_or_fails_for_too_long_is_stood_in_for() {
    for (answer, secs) in [(refusal as fn() -> _, 0.0), (busy as fn() -> _, 31.0)] {
        let second = Rules { second: Some(name("mail")), ..Rules::default() };
        let manner = Manner { keeps: Keeps::Alerts, again: None, takes_deploys: false, per_minute: 1_000 };
        let pager = Receiver::new(name("pager"), "here".into(), second, manner);
        let spare = Rules { severities: Vec::new(), ..Rules::default() };
        let manner = Manner { keeps: Keeps::Messages, ..manner };
        let mut book = book(vec![pager, Receiver::new(name("mail"), "here".into(), spare, manner)]);
        let lost = incident(1, Critical);
        book.learn(news(Change::Opened, &lost), now(0.0));
        for sending in book.due(now(0.0)) {
            assert_eq!(sending.notifier, name("pager"));
            book.answered(&sending, answer(), now(0.0), 0.5);
        }
        let told: Vec<_> = book.due(now(secs)).into_iter().map(|sending| sending.notifier).collect();
        assert!(told.contains(&name("mail")), "{told:?}");
    }
}

#[test]
fn rules_say_who_is_told_of_what() {
    let only = |rules: Rules| {
        let manner = Manner { keeps: Keeps::Messages, again: None, takes_deploys: false, per_minute: 1_000 };
        let mut book = book(vec![Receiver::new(name("chat"), "here".into(), rules, manner)]);
        book.learn(news(Change::Opened, &incident(1, Warning)), now(0.0));
        assert_eq!(book.tally(now(0.0)).undelivered.is_empty(), book.openings().all(|o| o.letters.is_empty()));
        taken(&mut book, now(0.0)).len()
    };
    let worker = |value: &str| Selector::new([("worker".to_owned(), value.to_owned())]);
    assert_eq!(only(Rules { severities: vec![Critical], ..Rules::default() }), 0);
    assert_eq!(only(Rules { severities: vec![Warning], ..Rules::default() }), 1);
    assert_eq!(only(Rules { only: worker("v5"), ..Rules::default() }), 1);
    assert_eq!(only(Rules { only: worker("v6"), ..Rules::default() }), 0);
}

#[test]
fn a_receiver_that_asks_for_time_is_left_alone_and_its_rate_is_kept() {
    let manner = Manner { keeps: Keeps::Alerts, again: None, takes_deploys: false, per_minute: 3 };
    let mut book = book(vec![Receiver::new(name("pager"), "here".into(), Rules::default(), manner)]);
    for n in 1..=5 {
        book.learn(news(Change::Opened, &incident(n, Critical)), now(0.0));
    }
    let sent = book.due(now(0.0));
    assert_eq!(sent.len(), 3);
    let wish = NotifyError::Busy { detail: "429".into(), retry_after: Some(Duration::from_secs(20)) };
    book.answered(&sent[0], Err(wish), now(0.0), 0.5);
    book.answered(&sent[1], Ok(()), now(0.0), 0.5);
    book.answered(&sent[2], Ok(()), now(0.0), 0.5);
    assert_eq!(book.due(now(19.0)), []);
    assert_eq!(book.due(now(59.0)), [], "three in any minute");
    assert_eq!(book.due(now(60.0)).len(), 3);
}

#[test]
fn reminders_go_to_people_and_refreshments_to_what_forgets() {
    let manner =
        |keeps| Manner { keeps, again: Some(Duration::from_secs(60)), takes_deploys: false, per_minute: 1_000 };
    for keeps in [Keeps::Messages, Keeps::ExpiringAlerts] {
        let mut book = book(vec![Receiver::new(name("r"), "here".into(), Rules::default(), manner(keeps))]);
        let lost = incident(1, Critical);
        book.learn(news(Change::Opened, &lost), now(0.0));
        taken(&mut book, now(0.0));
        assert_eq!(taken(&mut book, now(59.0)), []);
        assert_eq!(taken(&mut book, now(60.0)), [("r".into(), Step::Again(Critical))]);
        assert_eq!(taken(&mut book, now(119.0)), []);
    }
}

/// A receiver. One that keeps alerts is as PagerDuty: a key opens an alert once, and whatever opens
/// it again after it was closed wakes somebody a second time. One that is read is a row of words.
#[derive(Default)]
struct Pager {
    open: HashSet<String>,
    opened: BTreeMap<String, usize>,
    words: BTreeMap<String, Vec<Step>>,
}

impl Pager {
    fn hears(&mut self, key: String, step: Step, keeps: Keeps) {
        let opening = key.rsplit_once('/').map_or("", |(opening, _)| opening).to_owned();
        self.words.entry(opening).or_default().push(step);
        if keeps == Keeps::Messages {
            return;
        }
        match step {
            // It ends by itself, also if it stood already.
            Step::Over(_) if keeps == Keeps::ExpiringAlerts => {
                self.open.remove(&key);
                self.opened.entry(key).or_insert(1);
            }
            Step::Trigger(_) | Step::Over(_) | Step::Again(_) => {
                if self.open.insert(key.clone()) {
                    *self.opened.entry(key).or_default() += 1;
                }
            }
            Step::Resolve(_) => {
                self.open.remove(&key);
            }
        }
    }
}

/// The ledger: what a killed agent finds again.
#[derive(Default)]
struct Ledger {
    incidents: BTreeMap<IncidentId, Incident>,
    openings: BTreeMap<String, Opening>,
    untold: Vec<(String, News)>,
}

#[test]
fn whatever_fails_and_whenever_it_is_killed_each_opening_is_told_once_and_ended_once() {
    for keeps in [Keeps::Alerts, Keeps::ExpiringAlerts, Keeps::Messages] {
        for seed in 0..1_000 {
            lives_through(seed, keeps);
        }
    }
}

/// One life: incidents open, rise and end; the receiver takes, fails, hangs after it took, or refuses;
/// the ledger is down at times; the agent is killed at any moment. Then all is well for a while.
fn lives_through(seed: u64, keeps: Keeps) {
    let mut dice = fastrand::Rng::with_seed(seed);
    let receivers = || vec![receiver("pager", keeps)];
    let (mut book, mut pager, mut ledger) = (book(receivers()), Pager::default(), Ledger::default());
    let mut air: Vec<(Sending, String)> = Vec::new();
    let mut at = 0.0;
    let mut wanted: BTreeMap<String, bool> = BTreeMap::new();
    for step in 0..120 {
        at += dice.f64() * 8.0;
        let is_well = step >= 80;
        match dice.u32(0..if is_well { 4 } else { 9 }) {
            // Something is decided and stored, then told to the outbox, unless the agent dies first.
            4 | 5 => {
                let open: Vec<Incident> = ledger.incidents.values().filter(|i| i.is_open()).cloned().collect();
                let (change, incident): (fn(IncidentId) -> Change, Incident) = match (dice.choice(&open), dice.u8(0..4))
                {
                    (Some(one), 0) if one.severity == Warning => {
                        (Change::Raised, Incident { severity: Critical, ..one.clone() })
                    }
                    (Some(one), 1 | 2) => (Change::Resolved, over(one, now(at).wall)),
                    _ => {
                        let severity = if dice.bool() { Warning } else { Critical };
                        (Change::Opened, incident(step, severity))
                    }
                };
                if let Change::Opened(id) | Change::Raised(id) = change(incident.id.clone()) {
                    wanted.insert(id.to_string(), true);
                }
                let news = news(change, &incident);
                ledger.incidents.insert(incident.id.clone(), incident);
                ledger.untold.push((news.notice.clone().expect("is one"), news.clone()));
                book.learn(news, now(at));
            }
            // The agent is killed: what is in the air may still arrive.
            6 => {
                for (sending, key) in air.drain(..) {
                    if dice.bool() {
                        pager.hears(key, sending.step, keeps);
                    }
                }
                book = self::book(receivers());
                for opening in ledger.openings.values().filter(|opening| !opening.done) {
                    let incident = Arc::new(ledger.incidents[&opening.incident].clone());
                    book.take_up(opening.clone(), incident, now(at));
                }
                for (_, news) in &ledger.untold {
                    let newest = Arc::new(ledger.incidents[&news.incident.id].clone());
                    book.recall(news.clone(), now(at));
                    let change = Change::Moved(newest.id.clone());
                    book.learn(News { change, incident: newest, notice: None }, now(at));
                }
            }
            // A message is answered, in one way or another.
            7 | 8 | 0 if !air.is_empty() => {
                let (sending, key) = air.swap_remove(dice.usize(..air.len()));
                let answer = match dice.u32(0..if is_well { 1 } else { 6 }) {
                    0 | 1 => {
                        pager.hears(key, sending.step, keeps);
                        Ok(())
                    }
                    2 => busy(),
                    3 => {
                        pager.hears(key, sending.step, keeps);
                        Err(NotifyError::Unreachable { detail: "the answer was lost".into() })
                    }
                    4 => Err(NotifyError::Unreachable { detail: "no route to host".into() }),
                    _ => refusal(),
                };
                book.answered(&sending, answer, now(at), dice.f64());
            }
            // The ledger is written, if it can be.
            1 | 2 => write_to(&mut book, &mut ledger),
            _ => {
                for sending in book.due(now(at)) {
                    let severity = sending.step.severity();
                    let (opening, _) = book.content(&sending.opening).expect("is being told");
                    air.push((sending.clone(), opening.key_at(severity)));
                }
            }
        }
    }
    // All is well: everything is answered and written, for an hour.
    for incident in ledger.incidents.values_mut().filter(|incident| incident.is_open()) {
        *incident = over(incident, now(at).wall);
        book.learn(news(Change::Resolved, incident), now(at));
    }
    for _ in 0..200 {
        at += 30.0;
        for (sending, key) in air.drain(..) {
            pager.hears(key, sending.step, keeps);
            book.answered(&sending, Ok(()), now(at), 0.5);
        }
        write_to(&mut book, &mut ledger);
        for sending in book.due(now(at)) {
            let (opening, _) = book.content(&sending.opening).expect("is being told");
            air.push((sending.clone(), opening.key_at(sending.step.severity())));
        }
    }
    assert!(book.is_idle(), "seed {seed}: something is still to be told: {:?}", book.openings().collect::<Vec<_>>());
    assert_eq!(pager.open, HashSet::new(), "seed {seed}: never told that it is over");
    assert!(ledger.untold.is_empty(), "seed {seed}: notices that nobody took care of");
    for (key, times) in &pager.opened {
        assert_eq!(*times, 1, "seed {seed}: {key} woke somebody twice");
    }
    for incident in wanted.keys() {
        let words: Vec<&Vec<Step>> =
            pager.words.iter().filter(|(key, _)| key.starts_with(incident)).map(|w| w.1).collect();
        assert_eq!(words.len(), 1, "seed {seed}: {incident} was never told, or as two");
        let ends = words[0].iter().position(|step| matches!(step, Step::Resolve(_) | Step::Over(_)));
        assert!(words[0].iter().any(|step| step.is_a_call()), "seed {seed}: {incident}: {words:?}");
        let last = words[0].last().expect("at least one word");
        assert!(matches!(last, Step::Resolve(_) | Step::Over(_)), "seed {seed}: {incident} ends with {last:?}");
        if keeps == Keeps::Messages {
            let after = &words[0][ends.expect("it ends")..];
            assert!(!after.iter().any(|step| matches!(step, Step::Trigger(_))), "seed {seed}: {incident}: {words:?}");
        }
    }
    for opening in ledger.openings.values() {
        assert!(opening.letters.iter().all(|letter| letter.loudest(&[Holding::Open]).is_none()));
    }
}

fn write_to(book: &mut Book, ledger: &mut Ledger) {
    let unwritten = book.unwritten();
    for opening in &unwritten.openings {
        ledger.openings.insert(opening.key(), opening.clone());
    }
    ledger.untold.retain(|(key, _)| !unwritten.taken.contains(key));
    book.written(&unwritten);
}
