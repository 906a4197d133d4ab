//! Pauses: routes over which nothing is sent for a while. What is in flight still lands.

use serde::{Deserialize, Serialize};

use super::{Route, Selector, Timestamp};

/// A time in which nothing is sent over some routes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Which routes. Empty: all.
    pub only: Selector,
    /// Which of these were resumed before the rest.
    #[serde(default)]
    pub except: Vec<Selector>,
    /// Since when.
    pub from: Timestamp,
    /// Until when; none: until somebody resumes them.
    pub until: Option<Timestamp>,
    /// Why, if somebody said.
    pub because: Option<String>,
}

impl Pause {
    /// Whether it holds at a time.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    /// Whether it speaks of a route.
    pub fn covers(&self, route: &Route) -> bool {
        self.only.covers(route) && !self.except.iter().any(|resumed| resumed.covers(route))
    }
}
