//! What is said of a drill, to one receiver: the page, that it is over, and the receiver's own words.

use std::{sync::Arc, time::Duration};

use super::super::message::Letterhead;
use crate::{
    agent::clock::Clock,
    canary::{Family, NotifierName, Outcome, Timestamp},
    detect::{Incident, IncidentId, Onset, Severity},
    notify::{Message, Notifier, NotifyError, Page, What},
    store::{Drill, DrillAnswer, Took},
};

/// Tries of each message: somebody waits for the answer.
const TRIES: u32 = 3;
/// A receiver that does not answer within this is tried again.
const ANSWERS_WITHIN: Duration = Duration::from_secs(4);
/// Between two tries; it doubles.
const PAUSE: Duration = Duration::from_millis(500);
/// A receiver that wants to be left alone for longer is not waited for.
const LONGEST_WISH: Duration = Duration::from_secs(2);
/// So much of a code at the end of a text that was cut is taken for the code.
const LEAST: usize = 3;

/// Which word.
#[derive(Clone, Copy)]
pub(super) enum Call {
    Trigger,
    Resolve,
}

/// Says one thing, and again if it was not heard.
pub(super) async fn tell(
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

/// What a receiver made of the page.
pub(super) fn answer(notifier: NotifierName, code: &str, told: &Result<(), NotifyError>, millis: u64) -> DrillAnswer {
    let answer = match told {
        Ok(()) => Took::Accepted,
        Err(NotifyError::Refused { .. }) => Took::Refused,
        Err(_) => Took::Unreachable,
    };
    let said = told.as_ref().err().map(|error| format!("the page: {}", masked(&error.to_string(), code)));
    DrillAnswer { notifier, answer, said, millis }
}

/// A receiver's words without the code: some say again what they were given, and a code that stands in
/// a log or on a terminal no longer proves that somebody got the page.
pub(super) fn masked(said: &str, code: &str) -> String {
    if code.is_empty() {
        return said.to_owned();
    }
    let (mut text, upper) = (String::new(), said.to_ascii_uppercase());
    let mut from = 0;
    while let Some(at) = upper[from..].find(&code.to_ascii_uppercase()) {
        text.push_str(&said[from..from + at]);
        text.push('…');
        from += at + code.len();
    }
    text.push_str(&said[from..]);
    // Long words are cut, maybe within the code.
    let end = text.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).len();
    let tail = |n: &usize| text.get(end - n..end).is_some_and(|tail| tail.eq_ignore_ascii_case(&code[..*n]));
    if let Some(n) = (LEAST..code.len()).rev().filter(|n| *n <= end).find(tail) {
        text.truncate(end - n);
        text.push('…');
    }
    text
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

/// A drill's page has no routes and no proofs.
impl Letterhead {
    fn drill(&self, incident: Incident, code: String) -> Page {
        let opening = incident.opening();
        let severity = incident.severity;
        Page { drill: Some(code), ..self.bare(incident, severity, opening) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_that_a_receiver_says_again_is_not_in_its_words() {
        for (said, shown) in [
            ("400: no DRILL 7KQ2M9AB here", "400: no DRILL … here"),
            ("7kq2m9ab7KQ2M9AB", "……"),
            ("bad: --confirm 7KQ2…", "bad: --confirm …"),
            ("bad: --confirm 7KQ2M9A\"", "bad: --confirm …"),
            ("ünreadable 7K", "ünreadable 7K"),
            ("", ""),
        ] {
            assert_eq!(masked(said, "7KQ2M9AB"), shown, "{said:?}");
        }
    }
}
