//! Survey: the ways in which customers use the platforms, counted as they are read.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::canary::{Mode, PlatformName, Timestamp};

/// By what jobs of one account differ, as the platform calls it: engine, its version, the pool it runs in.
pub const DIFFER_BY: [&str; 3] = ["type", "engine_version", "pool_name"];
/// Owners told apart of one way: the number says how many people to ask, not more.
const MOST_OWNERS: usize = 1000;
/// Ways told apart. Schemes, versions and pools come from outside.
pub(super) const MOST_WAYS: usize = 10_000;

/// The values of [`DIFFER_BY`]; none: the account's default, or the platform does not say.
pub type Fields = [Option<String>; DIFFER_BY.len()];

/// A way that customers use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Way {
    /// Whose jobs: platforms of one account have the same number.
    pub account: u64,
    /// Which jobs.
    pub fields: Fields,
    /// Scheme of the address.
    pub scheme: String,
    /// How it is written; none: nobody can tell.
    pub mode: Option<Mode>,
}

/// How much a way is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Use {
    pub(super) jobs: u64,
    pub(super) failed: u64,
    pub(super) owners: BTreeSet<String>,
    pub(super) last_at: Option<Timestamp>,
    pub(super) schedules: u64,
    pub(super) schemes: BTreeSet<String>,
}

impl Use {
    fn by(&mut self, owner: Option<&str>) {
        if let Some(owner) = owner.filter(|_| self.owners.len() < MOST_OWNERS) {
            self.owners.insert(owner.to_owned());
        }
    }
}

/// What the platforms remember, read at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// When.
    pub at: Timestamp,
    /// How far back.
    pub within: Duration,
    pub(super) ways: BTreeMap<Way, Use>,
    pub(super) connections: BTreeMap<(u64, String), u64>,
    /// Fields that an account's platform tells of any of its jobs. What it never tells cannot tell ways apart.
    pub(super) told: BTreeSet<(u64, usize)>,
    /// Accounts that were read.
    pub(super) heard: BTreeMap<u64, PlatformName>,
    /// Platforms that could not be asked.
    pub unheard: Vec<Unheard>,
    /// Ways there were too many of.
    pub(super) left_out: u64,
}

/// A platform that could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unheard {
    /// Which.
    pub platform: PlatformName,
    /// Why.
    pub because: String,
}

impl Survey {
    /// One that has heard of nothing yet.
    pub fn new(at: Timestamp, within: Duration) -> Self {
        Self { at, within, ..Self::default() }
    }

    /// An account was read, by this platform.
    pub fn heard(&mut self, account: u64, by: &PlatformName) {
        self.heard.entry(account).or_insert_with(|| by.clone());
    }

    /// What the platform tells of a job of any kind, a canary's too.
    pub fn tells(&mut self, account: u64, fields: &Fields) {
        let told = fields.iter().enumerate().filter(|(_, value)| value.is_some());
        self.told.extend(told.map(|(at, _)| (account, at)));
    }

    /// A customer's job went, or tried to go, this way. One from before the time that is looked at is not counted.
    pub fn job(&mut self, way: Way, at: Option<Timestamp>, ended_badly: bool, owner: Option<&str>) {
        if at.is_some_and(|at| at < self.at.minus(self.within)) {
            return;
        }
        let Some(used) = self.used(way) else { return };
        used.jobs += 1;
        used.failed += u64::from(ended_badly);
        used.last_at = used.last_at.max(at);
        used.by(owner);
    }

    /// A query goes this way by itself, next at this time. One that comes later than the time that is looked at
    /// is long counts for nothing.
    pub fn schedule(&mut self, way: Way, next_at: Timestamp, owner: Option<&str>) {
        if next_at > self.at.plus(self.within) {
            return;
        }
        let Some(used) = self.used(way) else { return };
        used.schedules += 1;
        used.by(owner);
    }

    /// A connection is there, which any job of the account may use.
    pub fn connection(&mut self, account: u64, scheme: &str) {
        let key = (account, scheme.to_ascii_lowercase());
        if self.connections.len() < MOST_WAYS || self.connections.contains_key(&key) {
            *self.connections.entry(key).or_default() += 1;
        }
    }

    fn used(&mut self, mut way: Way) -> Option<&mut Use> {
        way.scheme = way.scheme.to_ascii_lowercase();
        self.tells(way.account, &way.fields);
        if self.ways.len() >= MOST_WAYS && !self.ways.contains_key(&way) {
            self.left_out += 1;
            return None;
        }
        Some(self.ways.entry(way).or_default())
    }
}
