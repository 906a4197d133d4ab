//! Room: what the platforms' and targets' caps leave for one more run.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use crate::canary::{PlatformName, TargetName, Timestamp};

const HOUR: Duration = Duration::from_secs(3600);

/// A platform's caps.
#[derive(Clone, Copy, Debug)]
pub struct Cap {
    /// Most runs in flight.
    pub in_flight: u32,
    /// Most runs begun in an hour.
    pub per_hour: u32,
}

/// All caps.
#[derive(Clone, Debug, Default)]
pub struct Caps {
    /// By platform.
    pub platforms: HashMap<PlatformName, Cap>,
    /// Most rows in an hour by target, where there is a limit.
    pub rows: HashMap<TargetName, u32>,
}

/// Rows of runs, by when they were begun.
#[derive(Debug, Default)]
struct Written {
    begun: VecDeque<(Timestamp, u32)>,
    rows: u64,
}

impl Written {
    fn add(&mut self, rows: u32, now: Timestamp) {
        self.begun.push_back((now, rows));
        self.rows += u64::from(rows);
    }

    fn within_an_hour(&mut self, now: Timestamp) -> u64 {
        while let Some((_, rows)) = self.begun.front().filter(|(at, _)| now.since(*at) >= HOUR) {
            self.rows -= u64::from(*rows);
            self.begun.pop_front();
        }
        self.rows
    }
}

/// The caps, and what was taken of them.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// What may be taken.
    pub(super) caps: Caps,
    flying: HashMap<PlatformName, u32>,
    begun: HashMap<PlatformName, VecDeque<Timestamp>>,
    /// Rows that runs begun in the last hour write, by target.
    written: HashMap<TargetName, Written>,
}

impl Room {
    pub(super) fn of(caps: Caps) -> Self {
        Self { caps, ..Self::default() }
    }

    /// What keeps a run from being sent now, in words.
    pub(super) fn hindrance(
        &mut self,
        platform: &PlatformName,
        target: &TargetName,
        rows: u32,
        now: Timestamp,
    ) -> Option<String> {
        if let Some(cap) = self.caps.platforms.get(platform) {
            let begun = self.begun.entry(platform.clone()).or_default();
            while begun.front().is_some_and(|at| now.since(*at) >= HOUR) {
                begun.pop_front();
            }
            if self.flying.get(platform).copied().unwrap_or(0) >= cap.in_flight {
                return Some(format!("in_flight = {} of platform `{platform}`", cap.in_flight));
            }
            if begun.len() as u64 >= u64::from(cap.per_hour) {
                return Some(format!("per_hour = {} of platform `{platform}`", cap.per_hour));
            }
        }
        let cap = *self.caps.rows.get(target)?;
        let written = self.written.entry(target.clone()).or_default().within_an_hour(now);
        let is_full = written + u64::from(rows) > u64::from(cap);
        is_full.then(|| format!("rows_per_hour = {cap} of target `{target}`"))
    }

    /// A run is begun.
    pub(super) fn begin(&mut self, platform: &PlatformName, target: &TargetName, rows: u32, now: Timestamp) {
        self.go_on(platform);
        self.begun.entry(platform.clone()).or_default().push_back(now);
        if self.caps.rows.contains_key(target) {
            self.written.entry(target.clone()).or_default().add(rows, now);
        }
    }

    /// One that was begun before goes on.
    pub(super) fn go_on(&mut self, platform: &PlatformName) {
        *self.flying.entry(platform.clone()).or_default() += 1;
    }

    /// A run has ended.
    pub(super) fn end(&mut self, platform: &PlatformName) {
        if let Some(flying) = self.flying.get_mut(platform) {
            *flying = flying.saturating_sub(1);
        }
    }
}
