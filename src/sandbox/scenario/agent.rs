//! What happens to the agent itself while a scenario plays: `[[agent]]`.

use std::time::Duration;

use crate::{
    canary::{Timestamp, time::Brief},
    sandbox::tree::{Keys, Node, Wrong, cut, nearest},
};

/// One thing that happens to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentEvent {
    /// When it begins.
    pub at: Timestamp,
    /// What.
    pub does: Does,
}

/// What an agent does that nobody wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// It stops in order, and another starts on the same ledger this much later.
    Restart(Duration),
    /// Nothing of it runs for this long, as on a machine that is suspended; then it goes on.
    Stall(Duration),
    /// Its clock jumps ahead; everybody else's does not.
    ClockAhead(Duration),
    /// Its clock jumps back.
    ClockBack(Duration),
}

impl Does {
    /// The name of everything that an agent can do.
    pub const NAMES: [&'static str; 3] = ["restart", "stall", "clock-step"];

    /// For how long the agent is not there.
    pub fn away(self) -> Duration {
        match self {
            Does::Restart(length) | Does::Stall(length) => length,
            Does::ClockAhead(_) | Does::ClockBack(_) => Duration::ZERO,
        }
    }
}

impl AgentEvent {
    /// When the agent is there again.
    pub fn ends_at(&self) -> Timestamp {
        self.at.plus(self.does.away())
    }
}

/// An event as written: its time is a length from a start that is the caller's to know.
pub(super) fn read(
    node: &Node,
    start: Timestamp,
    lasts: Option<Duration>,
    wrongs: &mut Vec<Wrong>,
) -> Option<AgentEvent> {
    let mut keys = Keys::of(node, "agent", wrongs);
    let at = keys.need("at", "\"43m\"").and_then(|node| super::read::within(node, "at", lasts, &mut keys));
    let named = keys.need("does", "\"restart\"");
    let name = named.and_then(|node| keys.as_text("does", node));
    let does = match (name, named) {
        (Some("restart"), _) => length(&mut keys, "for", "\"30s\"").map(Does::Restart),
        (Some("stall"), _) => length(&mut keys, "for", "\"2m\"").map(Does::Stall),
        (Some("clock-step"), Some(named)) => clock_step(&mut keys, named),
        (Some(other), Some(named)) => {
            let hint = nearest(other, Does::NAMES.into_iter());
            keys.push(named.wrong(format!("an agent cannot do `{}`", cut(other)), hint));
            // Without it nobody knows which keys there are.
            return None;
        }
        _ => return None,
    };
    keys.done();
    Some(AgentEvent { at: start.plus(at?), does: does? })
}

/// A length that must be there and not be zero.
fn length<'a>(keys: &mut Keys<'a>, key: &'static str, example: &str) -> Option<Duration> {
    let node = keys.need(key, example)?;
    some_length(keys, key, node, example)
}

fn some_length(keys: &mut Keys<'_>, key: &str, node: &Node, example: &str) -> Option<Duration> {
    let length = keys.as_length(key, node)?;
    if length.is_zero() {
        keys.push(node.wrong(format!("`{key}` is zero"), format!("such as `{key} = {example}`")));
        return None;
    }
    Some(length)
}

/// `by = "90s"` ahead, or `back = "90s"`.
fn clock_step<'a>(keys: &mut Keys<'a>, named: &'a Node) -> Option<Does> {
    const EXAMPLE: &str = "\"90s\"";
    match (keys.get("by"), keys.get("back")) {
        (Some(by), None) => some_length(keys, "by", by, EXAMPLE).map(Does::ClockAhead),
        (None, Some(back)) => some_length(keys, "back", back, EXAMPLE).map(Does::ClockBack),
        (both, _) => {
            let what = if both.is_some() { "both `by` and `back`" } else { "a step of which length?" };
            keys.push(named.wrong(what, "write by = \"90s\" for a step ahead, or back = \"90s\"".to_owned()));
            None
        }
    }
}

/// The agent does one thing at a time.
pub(super) fn check_order(events: &[(AgentEvent, &Node)], wrongs: &mut Vec<Wrong>) {
    let mut order: Vec<&(AgentEvent, &Node)> = events.iter().collect();
    order.sort_by_key(|(event, _)| event.at);
    for two in order.windows(2) {
        let ((before, _), (after, node)) = (two[0], two[1]);
        if after.at < before.ends_at() {
            let left = Brief(before.ends_at().since(after.at));
            let hint = "let one end before the next begins".to_owned();
            wrongs.push(node.wrong(format!("the agent is still away for {left} when this begins"), hint));
        }
    }
}
