//! FLOOR 3, notifiers: how people are told. A notifier hands one message over, once; when to try
//! again, what is latest and who is told instead is `agent/outbox`'s. A new kind is its file, its
//! `mod` line and one row in `cli::kinds`.

pub mod alertmanager;
pub mod email;
pub mod pagerduty;
mod post;
mod reading;
mod shape;
pub mod text;
pub mod webhook;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    canary::{Marker, Route, Timestamp},
    detect::{Deploy, Incident, Severity},
};

/// Somebody who is told of incidents.
#[async_trait]
pub trait Notifier: Send + Sync + fmt::Debug {
    /// Hands one message over. Every wait in it is bounded by the caller, who may drop it.
    async fn tell(&self, message: &Message) -> Result<(), NotifyError>;

    /// What its receiver makes of messages.
    fn manner(&self) -> Manner;

    /// Where messages go and with which key, as a digest that no secret can be read from: the same
    /// over restarts, another one once anything of that is changed.
    fn identity(&self) -> String;
}

/// What a receiver makes of messages, so that none is lost on it or doubled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// What becomes of a message there.
    pub keeps: Keeps,
    /// It is told of what still goes on this often: it forgets, or people do.
    pub again: Option<Duration>,
    /// Deploys mean something to it.
    pub takes_deploys: bool,
    /// Most messages in any minute.
    pub per_minute: usize,
}

/// What becomes of a message at its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// People or programs read it: mail, chat. Saying it again is a reminder.
    Messages,
    /// An alert under the message's key stays open until it is resolved; the same key again is the
    /// same alert, and nobody is called by it twice.
    Alerts,
    /// The same, and an alert that is told as over ends by itself.
    ExpiringAlerts,
}

/// One message.
#[derive(Clone, Debug)]
pub struct Message {
    /// Stable over retries and restarts, and the same for what opens and what closes: incident,
    /// opening and severity.
    pub key: String,
    /// When it is said.
    pub at: Timestamp,
    /// What it says.
    pub what: What,
}

/// What a message says.
#[derive(Clone, Debug)]
pub enum What {
    /// An incident goes on; nobody was told at this severity yet.
    Trigger(Arc<Page>),
    /// It still goes on; said again for receivers that forget, or as a reminder.
    Again(Arc<Page>),
    /// It began and ended while this receiver could not be told: said once, as over.
    Over(Arc<Page>),
    /// It is over, or goes on under another key.
    Resolve(Arc<Page>),
    /// A release was noted.
    Deploy(Deploy),
}

impl What {
    /// The page, of messages that are about an incident.
    pub fn page(&self) -> Option<&Arc<Page>> {
        match self {
            What::Trigger(page) | What::Again(page) | What::Over(page) | What::Resolve(page) => Some(page),
            What::Deploy(_) => None,
        }
    }
}

/// Everything that a message says of an incident; `text` puts it into words.
#[derive(Clone, Debug)]
pub struct Page {
    /// The agent that saw it.
    pub agent: String,
    /// As it stands.
    pub incident: Incident,
    /// The severity of this key.
    pub severity: Severity,
    /// When this opening of it was told, or should have been.
    pub opening: Timestamp,
    /// Routes hit that are still watched, in the order of the config; at most [`MOST_ROUTES`].
    pub routes: Vec<Arc<Route>>,
    /// How many routes are watched in all.
    pub watched: usize,
    /// Runs that prove it, the first ones first; at most [`MOST_PROOFS`].
    pub proofs: Vec<Proof>,
    /// The incident's page, if people can reach the agent's pages.
    pub link: Option<String>,
    /// What to do.
    pub runbook: Option<String>,
    /// A drill: the code that whoever got it confirms it with.
    pub drill: Option<String>,
}

/// Routes named in a page; how many more there are is said.
pub const MOST_ROUTES: usize = 20;
/// Runs named in a page.
pub const MOST_PROOFS: usize = 3;

/// One run that proves an incident.
#[derive(Clone, Debug, PartialEq)]
pub struct Proof {
    /// The run, and marker of its rows.
    pub run: Marker,
    /// Its route.
    pub route: String,
    /// When it was due.
    pub due: Timestamp,
    /// The platform's own id of the job, if it gave one.
    pub job: Option<String>,
    /// What the platform says.
    pub claimed: String,
    /// What the target holds.
    pub found: String,
}

/// Why a message was not handed over.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// Nobody answered, or the answer was lost: it may have been taken.
    #[error("could not be reached: {detail}")]
    Unreachable {
        /// What happened.
        detail: String,
    },
    /// Not now.
    #[error("not now: {detail}")]
    Busy {
        /// What it said.
        detail: String,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// It will not take this message, however often it is sent.
    #[error("refused: {detail}")]
    Refused {
        /// What it said.
        detail: String,
    },
}

/// A digest of texts, in hex: for names and identities that must stay the same and may be too long.
fn digest(texts: &[&str]) -> String {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    for text in texts {
        digest.update(text.as_bytes());
        digest.update(&[0]);
    }
    hex(digest.finish().as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
