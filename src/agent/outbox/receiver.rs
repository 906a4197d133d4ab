//! A receiver: one notifier with its rules, and how it has been doing. How soon something may be
//! tried again is counted in time that no clock step moves.

use std::{collections::VecDeque, time::Duration};

use super::steps::Step;
use crate::{canary::NotifierName, config::Rules, notify::Manner};

/// First pause after a failure; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause: somebody waits for this page.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// What was refused is tried again all the same, rarely: a key may have been mended.
pub(super) const REFUSED_PAUSE: Duration = Duration::from_secs(300);
/// A receiver that wants to be left alone for longer is asked again nevertheless.
const LONGEST_WISH: Duration = Duration::from_secs(300);
/// Messages on their way to one receiver at once.
const AT_ONCE: usize = 4;
/// What rates are counted over.
const MINUTE: Duration = Duration::from_secs(60);

/// One notifier, and how it has been doing.
#[derive(Clone, Debug)]
pub(super) struct Receiver {
    pub(super) name: NotifierName,
    /// Where it leads.
    pub(super) identity: String,
    pub(super) rules: Rules,
    pub(super) manner: Manner,
    /// It asked to be left alone until then.
    pub(super) quiet_until: Duration,
    pub(super) in_flight: usize,
    /// When the messages of the last minute were sent.
    sent: VecDeque<Duration>,
}

impl Receiver {
    /// The same receiver under another config.
    pub(super) fn under(&self, other: Receiver) -> Self {
        Self { rules: other.rules, manner: other.manner, ..self.clone() }
    }

    /// The same, out of the config: it is only told that what it knows is over.
    pub(super) fn leaving(self, name: NotifierName) -> Self {
        let rules = Rules { severities: Vec::new(), second: None, ..Rules::default() };
        Self { name, rules, ..self }
    }

    pub(super) fn new(name: NotifierName, identity: String, rules: Rules, manner: Manner) -> Self {
        Self { name, identity, rules, manner, quiet_until: Duration::ZERO, in_flight: 0, sent: VecDeque::new() }
    }

    /// Counts one more message as sent, if one may be sent now. Of what may be sent a sixth is kept for
    /// calls: no backlog of what is over makes a new page wait.
    pub(super) fn sends(&mut self, now: Duration, step: Step) -> bool {
        while self.sent.front().is_some_and(|sent| *sent + MINUTE <= now) {
            self.sent.pop_front();
        }
        let (at_once, a_minute) = match step {
            Step::Trigger(_) => (AT_ONCE, self.manner.per_minute),
            _ => (AT_ONCE - 1, self.manner.per_minute - self.manner.per_minute / 6),
        };
        let may = self.in_flight < at_once && self.quiet_until <= now && self.sent.len() < a_minute;
        if may {
            self.in_flight += 1;
            self.sent.push_back(now);
        }
        may
    }

    /// It asked to be left alone.
    pub(super) fn wishes(&mut self, now: Duration, pause: Duration) {
        self.quiet_until = self.quiet_until.max(now + pause.min(LONGEST_WISH));
    }
}

/// What is left of a notifier that leads elsewhere now.
pub(super) fn former(name: &NotifierName, identity: &str) -> NotifierName {
    let is_plain = |c: &char| c.is_ascii_alphanumeric();
    let (name, mark): (String, String) =
        (name.as_str().chars().take(40).collect(), identity.chars().filter(is_plain).take(8).collect());
    NotifierName::new(&format!("{name}-until-{mark}")).expect("a name, shortened, with letters and digits after it")
}

/// How long to wait after so many failures in a row. `chance` in 0..1 keeps many from coming back at
/// once.
pub(super) fn pause(tries: u32, chance: f64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1u32 << tries.saturating_sub(1).min(5)).min(LONGEST_PAUSE);
    doubled.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_a_minute() {
        let pauses: Vec<f64> = (1..9).map(|tries| pause(tries, 1.0).as_secs_f64()).collect();
        assert_eq!(pauses, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]);
        assert_eq!(pause(3, 0.0), Duration::from_secs(2));
        assert_eq!(pause(u32::MAX, 1.0), LONGEST_PAUSE);
    }
}
