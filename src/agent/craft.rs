//! The craft: what every run flies with.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use tokio::sync::mpsc;

use super::{clock::Clock, desk::Told, dogfood::Reports, impact::Scenery, sight::Sight};
use crate::{
    canary::{Away, ByHand, Marker, PlatformName, RouteId, Run, Sample, TargetName, Timestamp, Usual},
    metrics::Metrics,
    platform::{Platform, PlatformError},
    store::Store,
    target::Target,
};

/// Seeded chance: markers, jitter. One for the agent, so that a replay is the same every time.
#[derive(Clone, Debug)]
pub struct Dice(Arc<Mutex<fastrand::Rng>>);

impl Dice {
    /// Dice that fall the same for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))))
    }

    /// Dice that fall differently every time.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(fastrand::Rng::new())))
    }

    fn roll<T>(&self, with: impl FnOnce(&mut fastrand::Rng) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A new marker.
    pub fn marker(&self, now: Timestamp) -> Marker {
        Marker::mint(now, self.roll(|dice| dice.u128(..)))
    }

    /// A number from 0 up to 1.
    pub fn fraction(&self) -> f64 {
        self.roll(fastrand::Rng::f64)
    }

    /// So many letters and digits, none of which is taken for another when it is read out or typed.
    pub fn letters(&self, n: usize) -> String {
        const LEGIBLE: &[u8] = b"ABCDEFGHJKMNPQRTUVWXY346789";
        self.roll(|dice| (0..n).map(|_| char::from(LEGIBLE[dice.usize(..LEGIBLE.len())])).collect())
    }

    /// A length between half of it and the whole.
    pub fn jitter(&self, length: Duration) -> Duration {
        length.mul_f64(self.roll(|dice| 0.5 + dice.f64() / 2.0))
    }
}

impl Default for Dice {
    fn default() -> Self {
        Self::new()
    }
}

/// After a failed attempt to make the seed table, the next is made this much later at the earliest.
const PREPARE_AGAIN: Duration = Duration::from_secs(20);

/// A platform with what the agent knows of it.
#[derive(Debug)]
pub struct Pad {
    /// Its name.
    pub name: PlatformName,
    /// The driver.
    pub driver: Arc<dyn Platform>,
    /// When it was made ready for samples of so many rows; none: not yet, or to be made again.
    ready: tokio::sync::Mutex<Ready>,
}

#[derive(Debug, Default)]
struct Ready {
    rows: u32,
    asked_again: bool,
    tried_at: Option<Timestamp>,
}

impl Pad {
    /// A platform that is not ready yet.
    pub fn new(name: PlatformName, driver: Arc<dyn Platform>) -> Self {
        Self { name, driver, ready: tokio::sync::Mutex::default() }
    }

    /// Makes the platform ready for a sample, once.
    pub async fn prepare(&self, sample: Sample, now: Timestamp) -> Result<(), PlatformError> {
        let mut ready = self.ready.lock().await;
        if ready.rows >= sample.rows && !ready.asked_again {
            return Ok(());
        }
        if ready.rows >= sample.rows && ready.tried_at.is_some_and(|at| now.since(at) < PREPARE_AGAIN) {
            return Ok(());
        }
        ready.tried_at = Some(now);
        self.driver.prepare(sample).await?;
        ready.rows = ready.rows.max(sample.rows);
        ready.asked_again = false;
        Ok(())
    }

    /// A job failed: perhaps what it reads is gone.
    pub async fn doubt(&self) {
        self.ready.lock().await.asked_again = true;
    }
}

/// What every run flies with.
#[derive(Clone)]
pub struct Craft {
    /// The time.
    pub clock: Clock,
    /// Chance.
    pub dice: Dice,
    /// The ledger.
    pub store: Arc<dyn Store>,
    /// Platforms by name.
    pub pads: HashMap<PlatformName, Arc<Pad>>,
    /// Targets by name, with their readers.
    pub targets: HashMap<TargetName, (Arc<dyn Target>, Sight)>,
    /// What is usual, kept by the desk.
    pub usual: Arc<RwLock<HashMap<RouteId, Usual>>>,
    /// When the agent was not watching, kept by the pulse.
    pub away: Arc<RwLock<Vec<Away>>>,
    /// What is counted; none in replay.
    pub metrics: Option<Arc<Metrics>>,
    /// How customers' jobs map to what is watched.
    pub scenery: Arc<Scenery>,
    /// The agent's own reports.
    pub reports: Arc<Reports>,
    /// The way to the desk.
    pub desk: mpsc::Sender<Told>,
}

impl Craft {
    /// What is usual for a route.
    pub fn usual(&self, route: RouteId) -> Usual {
        self.usual.read().unwrap_or_else(PoisonError::into_inner).get(&route).cloned().unwrap_or_default()
    }

    /// How a person sees a run with their own eyes.
    pub fn by_hand(&self, run: &Run) -> ByHand {
        let Some((target, _)) = self.targets.get(&run.route.target) else { return ByHand::default() };
        let place = target.delivered_to(run);
        let pad = self.pads.get(&run.route.platform);
        // What a report was made of is kept for some hours; without it nobody knows the query.
        let is_known = run.report.is_some() || !self.reports.brings(&run.route);
        let query = pad.filter(|_| is_known).and_then(|pad| pad.driver.query(run, &place.place));
        ByHand { query, address: Some(place.shown), read: target.by_hand(run) }
    }

    /// Gaps in watching that overlap a time.
    pub fn away(&self, from: Timestamp, until: Timestamp) -> Vec<Away> {
        let gaps = self.away.read().unwrap_or_else(PoisonError::into_inner);
        gaps.iter().filter(|gap| gap.from < until && gap.until > from).copied().collect()
    }
}
