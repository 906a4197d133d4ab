//! An opening: one time that an incident was told, and what each notifier was given of it. Kept so
//! that nothing is forgotten or told twice when the agent dies between two words.

use serde::{Deserialize, Serialize};

use crate::{
    canary::{NotifierName, Timestamp},
    detect::{IncidentId, Severity},
};

/// One opening of an incident, and who was told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// The incident.
    pub incident: IncidentId,
    /// When this opening was to be told first.
    pub at: Timestamp,
    /// As loud as it was at first: what was sent of that may be all that is not on record.
    pub began: Severity,
    /// The loudest it has been.
    pub severity: Severity,
    /// The incident is over, or was opened once more since.
    pub over: bool,
    /// An agent ended while this was being told: what it sent last may not be on record.
    pub doubt: bool,
    /// Everybody was told all there is to tell.
    pub done: bool,
    /// Who is told of it.
    pub letters: Vec<Letter>,
}

/// What one notifier was given of an opening.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Who.
    pub notifier: NotifierName,
    /// Where that led when it began: a notifier may be told another address, and what the old one
    /// holds must still be ended there. Empty: not known.
    #[serde(default)]
    pub identity: String,
    /// What its receiver holds.
    pub held: Vec<Held>,
    /// When it first took something: the page. None in letters of agents that did not note it.
    #[serde(default)]
    pub paged_at: Option<Timestamp>,
    /// When it last took something.
    pub told_at: Option<Timestamp>,
    /// Why it last did not.
    pub failure: Option<String>,
    /// It stands in for this one, which refused or failed for too long.
    pub stands_in_for: Option<NotifierName>,
    /// It was over before anybody was told, in a silence: nobody is.
    pub silenced: bool,
}

/// What a receiver holds under one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The severity of the key.
    pub severity: Severity,
    /// What became of it.
    pub state: Holding,
    /// An earlier answer was lost: whatever the last one was, the receiver may have it.
    pub doubt: bool,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Holding {
    /// It was sent, and no answer was heard yet: the receiver may have it.
    Unsure,
    /// The receiver took it.
    Open,
    /// The receiver was told that it is over.
    Closed,
    /// The receiver will not take it.
    Refused,
}

impl Opening {
    /// Nobody was told of it yet.
    pub fn new(incident: IncidentId, at: Timestamp, severity: Severity) -> Self {
        Self { incident, at, began: severity, severity, over: false, doubt: false, done: false, letters: Vec::new() }
    }

    /// Its name in the ledger.
    pub fn key(&self) -> String {
        format!("{}/{}", self.incident, self.at.as_micros())
    }

    /// The key that receivers know it by: a rise to another severity is another key, since nobody
    /// is called twice by one.
    pub fn key_at(&self, severity: Severity) -> String {
        format!("{}/{}", self.key(), severity.as_str())
    }

    /// What one notifier was given.
    pub fn letter(&self, notifier: &NotifierName) -> Option<&Letter> {
        self.letters.iter().find(|letter| letter.notifier == *notifier)
    }
}

impl Letter {
    /// Nothing was given yet.
    pub fn new(notifier: NotifierName, identity: &str, stands_in_for: Option<NotifierName>) -> Self {
        let identity = identity.to_owned();
        Self {
            notifier,
            identity,
            held: Vec::new(),
            paged_at: None,
            told_at: None,
            failure: None,
            stands_in_for,
            silenced: false,
        }
    }

    /// What became of one key.
    pub fn state(&self, severity: Severity) -> Option<Holding> {
        self.held.iter().find(|held| held.severity == severity).map(|held| held.state)
    }

    /// Notes what became of one key.
    pub fn set(&mut self, severity: Severity, state: Holding) {
        match self.held.iter_mut().find(|held| held.severity == severity) {
            Some(held) => held.state = state,
            None => self.held.push(Held { severity, state, doubt: false }),
        }
    }

    /// Notes that a key is sent: if it was before, nobody knows what became of that.
    pub fn send(&mut self, severity: Severity) {
        match self.held.iter_mut().find(|held| held.severity == severity) {
            Some(held) => {
                held.doubt |= held.state == Holding::Unsure;
                held.state = Holding::Unsure;
            }
            None => self.set(severity, Holding::Unsure),
        }
    }

    /// Whether an alert may stand under a key that nobody meant to leave open.
    pub fn may_stand(&self, severity: Severity) -> bool {
        let stands = |held: &Held| match held.state {
            Holding::Open | Holding::Unsure => true,
            Holding::Refused => held.doubt,
            Holding::Closed => false,
        };
        self.held.iter().any(|held| held.severity == severity && stands(held))
    }

    /// The loudest key in one of these states.
    pub fn loudest(&self, states: &[Holding]) -> Option<Severity> {
        self.held.iter().filter(|held| states.contains(&held.state)).map(|held| held.severity).max()
    }

    /// The receiver was told at least once.
    pub fn was_told(&self) -> bool {
        self.loudest(&[Holding::Open, Holding::Closed]).is_some()
    }
}
