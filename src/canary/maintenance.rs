//! Maintenance: what people asked the agent to be quiet about, and where to send nothing.

use super::{Pause, Route, Silence, Timestamp};

/// Silences and pauses as they stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Maintenance {
    /// Those that hold or are known to come, in the order in which they begin.
    pub silences: Vec<Silence>,
    /// Those that hold.
    pub pauses: Vec<Pause>,
}

impl Maintenance {
    /// The pause that keeps a route from being sent, if one does.
    pub fn pause(&self, route: &Route, now: Timestamp) -> Option<&Pause> {
        self.pauses.iter().find(|pause| pause.holds_at(now) && pause.covers(route))
    }
}
