//! A drill: an incident that is none, sent to see whether people can be reached. Kept so that the
//! code can be confirmed, and the alert resolved, after a restart too.

use serde::{Deserialize, Serialize};

use crate::canary::{NotifierName, Timestamp};

/// One fire drill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drill {
    /// `drill-` and eight letters or digits; also the id of the incident that it pretends.
    pub id: String,
    /// When it was sent.
    pub at: Timestamp,
    /// What the page says, and whoever got it says back.
    pub code: String,
    /// How often somebody said something else.
    pub wrong: u32,
    /// Whose alerts still have to be told that it is over.
    pub open: Vec<NotifierName>,
    /// What became of it, a notifier each.
    pub answers: Vec<DrillAnswer>,
    /// When somebody said the code.
    pub confirmed_at: Option<Timestamp>,
}

/// What a notifier made of a drill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillAnswer {
    /// Which.
    pub notifier: NotifierName,
    /// The worse of its two answers.
    pub answer: Took,
    /// Its words, if it did not take both.
    pub said: Option<String>,
    /// How long it took.
    pub millis: u64,
}

/// How a receiver answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Took {
    /// It took what it was given. Whether a person did, it cannot say.
    Accepted,
    /// Nobody answered, or it had no time.
    Unreachable,
    /// It will not take it.
    Refused,
}

impl Took {
    /// The name in JSON and in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Took::Accepted => "accepted",
            Took::Unreachable => "unreachable",
            Took::Refused => "refused",
        }
    }
}
