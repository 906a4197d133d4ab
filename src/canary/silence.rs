//! Silences: times in which nobody is paged of some routes. What happens there is still recorded.

use serde::{Deserialize, Serialize};

use super::{Route, Selector, Timestamp};

/// A time in which nobody is paged of some routes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Its name, for taking it back.
    pub id: String,
    /// Which routes. Empty: all.
    pub only: Selector,
    /// From when on.
    pub from: Timestamp,
    /// Until when; at that time it has ended.
    pub until: Timestamp,
    /// Why.
    pub because: String,
}

impl Silence {
    /// Whether it holds at a time.
    pub fn holds_at(&self, now: Timestamp) -> bool {
        self.from <= now && now < self.until
    }

    /// Whether it speaks of a route.
    pub fn covers(&self, route: &Route) -> bool {
        self.only.covers(route)
    }
}
