//! Steps: what is to be said next to one receiver of one opening. Pure, and the only place that
//! decides it.
//!
//! Nobody is told twice: a key is opened once, and never again after it was closed. Nobody is
//! forgotten: whatever state an opening is in, following its steps ends with a receiver that was
//! told, and told that it is over.

use std::fmt;

use crate::{
    config::Rules,
    detect::Severity,
    notify::{Keeps, Manner},
    store::{Holding, Letter, Opening},
};

/// What is to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Somebody is called.
    Trigger(Severity),
    /// It began and ended while nobody could be told.
    Over(Severity),
    /// One key is over.
    Resolve(Severity),
    /// It still goes on.
    Again(Severity),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, severity) = match self {
            Step::Trigger(severity) => ("open", severity),
            Step::Over(severity) => ("was open, over", severity),
            Step::Resolve(severity) => ("over", severity),
            Step::Again(severity) => ("still open", severity),
        };
        write!(f, "{what} ({})", severity.as_str())
    }
}

impl Step {
    /// It tells somebody something new: whoever fails to take it may be replaced.
    pub(super) fn is_a_call(self) -> bool {
        matches!(self, Step::Trigger(_) | Step::Over(_))
    }

    pub(super) fn severity(self) -> Severity {
        match self {
            Step::Trigger(severity) | Step::Over(severity) | Step::Resolve(severity) | Step::Again(severity) => {
                severity
            }
        }
    }
}

/// How things stand around a letter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    pub(super) opening: &'a Opening,
    pub(super) rules: &'a Rules,
    pub(super) manner: Manner,
    /// All that it hits is silenced.
    pub(super) silenced: bool,
}

/// The next step, if anything is left to be said now. [`Step::Again`] is due only after a while; the
/// caller knows when.
pub(super) fn next(letter: &Letter, around: Around<'_>) -> Option<Step> {
    match around.opening.over {
        false => while_open(letter, around),
        true => once_over(letter, around),
    }
}

fn while_open(letter: &Letter, around: Around<'_>) -> Option<Step> {
    let Around { opening, rules, manner, silenced } = around;
    let told = letter.loudest(&[Holding::Open, Holding::Closed]);
    let wanted = letter.stands_in_for.is_some() || rules.severities.contains(&opening.severity);
    if wanted && !silenced && told.is_none_or(|told| told < opening.severity) {
        return Some(Step::Trigger(opening.severity));
    }
    let open = letter.loudest(&[Holding::Open])?;
    // A quieter key is of no use once a louder one rings.
    if let Some(quieter) = doubtful(letter, around).find(|quieter| *quieter < open) {
        return Some(Step::Resolve(quieter));
    }
    // People who asked for silence are not reminded; a receiver that would forget an alert is.
    let keeps_alerts = manner.keeps != Keeps::Messages;
    let again = manner.again.is_some() && (keeps_alerts || !silenced);
    again.then_some(Step::Again(open))
}

fn once_over(letter: &Letter, around: Around<'_>) -> Option<Step> {
    let open = letter.loudest(&[Holding::Open]);
    if let Some(open) = open {
        return Some(Step::Resolve(open));
    }
    if letter.silenced && letter.held.is_empty() {
        return None;
    }
    // What this one refuses somebody else was told: there is no news in it any more.
    let is_told_elsewhere = || around.opening.letters.iter().any(Letter::was_told);
    let is_refused = letter.loudest(&[Holding::Refused]).is_some();
    if letter.was_told() || letter.silenced || (is_refused && is_told_elsewhere()) {
        return doubtful(letter, around).next().map(Step::Resolve);
    }
    let is_wanted = letter.stands_in_for.is_some() || !around.rules.severities.is_empty();
    (is_wanted && !around.silenced).then_some(Step::Over(around.opening.severity))
}

/// Keys under which an alert may stand that should not: a quieter one, one whose answer was lost, or
/// one that was sent by an agent that died before it could note that. Resolving what is not there
/// harms nobody.
fn doubtful(letter: &Letter, around: Around<'_>) -> impl Iterator<Item = Severity> {
    let Around { opening, rules, manner, .. } = around;
    let keeps_alerts = manner.keeps != Keeps::Messages;
    let was_sent = move |severity: &Severity| {
        let sent = letter.stands_in_for.is_some() || rules.severities.contains(severity);
        let unrecorded = letter.state(*severity).is_none() && (opening.began..=opening.severity).contains(severity);
        let refused = letter.state(*severity) == Some(Holding::Refused);
        letter.may_stand(*severity) || (refused && opening.doubt) || (sent && unrecorded)
    };
    Severity::ALL.into_iter().filter(move |severity| keeps_alerts && was_sent(severity))
}

/// What a step that is being sent comes to, before any answer.
pub(super) fn sent(letter: &mut Letter, step: Step) {
    if let Step::Trigger(severity) | Step::Over(severity) = step {
        letter.send(severity);
    }
}

/// What a step that was taken comes to.
pub(super) fn accepted(letter: &mut Letter, step: Step, keeps: Keeps) {
    match (step, keeps) {
        (Step::Trigger(severity), Keeps::Messages) => {
            close_all(letter);
            letter.set(severity, Holding::Open);
        }
        (Step::Trigger(severity), _) | (Step::Over(severity), Keeps::Alerts) => letter.set(severity, Holding::Open),
        (Step::Over(severity), Keeps::ExpiringAlerts) => letter.set(severity, Holding::Closed),
        (Step::Over(severity), Keeps::Messages) => {
            close_all(letter);
            letter.set(severity, Holding::Closed);
        }
        (Step::Resolve(_), Keeps::Messages) => close_all(letter),
        (Step::Resolve(severity), _) => letter.set(severity, Holding::Closed),
        (Step::Again(_), _) => {}
    }
}

/// What a step that will never be taken comes to.
pub(super) fn refused(letter: &mut Letter, step: Step) {
    if step.is_a_call() {
        letter.set(step.severity(), Holding::Refused);
    }
}

fn close_all(letter: &mut Letter) {
    for held in &mut letter.held {
        held.state = Holding::Closed;
    }
}
