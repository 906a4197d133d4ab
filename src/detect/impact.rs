//! Impact: which outputs of customers' jobs a fault hit. A fault hits what is written while it lasts, where
//! it is: both are known from canaries, as brackets in time and as suspects.

mod bracket;
mod scene;

use serde::{Deserialize, Serialize};

pub use self::{
    bracket::{Bracket, Flown, Span, brackets, hull},
    scene::{Ground, Scene, Sink},
};
use super::{incident::LabelSet, verification::Pairs};
use crate::canary::{Family, Mode, Outcome, Timestamp};

/// A customer's job that has a Result Output and ended well, as its platform says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// With whose access it was read: a number of the scene's accounts.
    pub account: usize,
    /// The platform's own id.
    pub id: String,
    /// Whose it is.
    pub owner: Option<String>,
    /// What jobs differ by, in the platform's own words.
    pub fields: Vec<(String, String)>,
    /// The kind of place that its output goes to; none: it cannot be told.
    pub scheme: Option<String>,
    /// How it is written, if that can be told.
    pub mode: Option<Mode>,
    /// When its query began.
    pub started_at: Option<Timestamp>,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// When its output was written; none: nobody knows.
    pub wrote: Option<Span>,
}

/// Why a job is on the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Struck {
    /// The platform that it ran on, if one is known.
    pub platform: Option<String>,
    /// What is not known of it; empty: it was hit for certain.
    pub doubts: Vec<&'static str>,
}

/// Whether a fault hit a job: none if it did not.
pub fn struck(job: &Job, brackets: &[Bracket], suspects: &[LabelSet], scene: &Scene) -> Option<Struck> {
    let mut doubts = when(job.wrote, brackets)?;
    let grounds = scene.grounds(job);
    let held: Vec<Option<bool>> = suspects.iter().map(|set| scene.holds(job, &grounds, set)).collect();
    if held.iter().all(|held| *held == Some(false)) {
        return None;
    }
    if grounds.is_empty() {
        doubts.push("no configured platform is known to run such jobs");
    } else if held.iter().any(|held| *held != Some(true)) {
        doubts.push("nothing says whether all that the suspects name holds for it");
    }
    let platform = match &grounds[..] {
        [one] => Some(scene.platforms[*one].name.clone()),
        _ => None,
    };
    Some(Struck { platform, doubts })
}

/// Why it is not certain that what was written then was hit; none if it was not. The fault may have come again.
fn when(wrote: Option<Span>, brackets: &[Bracket]) -> Option<Vec<&'static str>> {
    const SOME: &str = "not every run was hit while the fault lasted";
    let some = |bracket: &Bracket| bracket.is_intermittent.then_some(SOME);
    let Some(wrote) = wrote else {
        let of_all = brackets.iter().all(|bracket| bracket.is_intermittent).then_some(SOME);
        return Some(["the platform does not say when its output was written"].into_iter().chain(of_all).collect());
    };
    let doubts = |bracket: &Bracket| {
        let edge = (!bracket.holds(wrote)).then(|| bracket.doubt(wrote));
        edge.into_iter().chain(some(bracket)).collect::<Vec<_>>()
    };
    // That of which least is in doubt.
    brackets.iter().filter(|bracket| bracket.may_hold(wrote)).map(doubts).min_by_key(Vec::len)
}

/// Whether jobs that say that they ended well can have been hit by such a fault; else why not.
pub fn can_be_silent(outcome: Outcome) -> Result<(), &'static str> {
    match outcome.family() {
        Some(Family::Missing | Family::Extra | Family::Values) => Ok(()),
        _ if outcome == Outcome::Late => Ok(()),
        Some(Family::Grey) => Err("nobody could see: that anything was hit is not known"),
        _ => {
            Err("runs that it hit did not say that they ended well, and nor did the jobs: their own status tells them")
        }
    }
}

/// What an incident did to customers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Impact {
    /// Which incident.
    pub incident: String,
    /// What its runs came to.
    pub outcome: Outcome,
    /// What was common to them.
    pub suspects: Pairs,
    /// When the fault first began and last ended, as far as canaries tell.
    pub bracket: Bracket,
    /// The same for each time that it came.
    pub brackets: Vec<Bracket>,
    /// The jobs that it hit, in the order in which they were written.
    pub jobs: Vec<Hit>,
    /// Where jobs were looked for.
    pub accounts: Vec<Account>,
    /// What else a reader must know.
    pub notes: Vec<String>,
    /// Every job that could have been hit was looked at.
    pub is_whole: bool,
}

/// A job that was hit, or may have been.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hit {
    /// The platform's own id.
    pub job_id: String,
    /// Where it ran, if that is known.
    pub platform: Option<String>,
    /// Whose it is.
    pub owner: Option<String>,
    /// When its query began.
    pub query_start: Option<Timestamp>,
    /// When it was over.
    pub end: Option<Timestamp>,
    /// The kind of place that its output was to go to.
    pub scheme: String,
    /// Where, without secrets.
    pub address: String,
    /// How it is written, if that can be told.
    pub mode: Option<Mode>,
    /// Rows that it says it had.
    pub rows: Option<u64>,
    /// It was hit; else it may have been.
    pub certain: bool,
    /// Why it is not certain.
    pub because: Option<String>,
    /// The command that exports its result again.
    pub again: Option<String>,
    /// What a look at its target found, where one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
}

/// An account whose jobs were read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// The platforms with whose access.
    pub platforms: Vec<String>,
    /// Jobs that were looked at.
    pub jobs: usize,
    /// Jobs created since then were looked for.
    pub since: Timestamp,
    /// Why some were not read; none: all were.
    pub cut: Option<String>,
}

#[cfg(test)]
mod tests;
