//! A virtual target of the direct door. Any name is one.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::Direct;
use crate::{
    canary::{Address, Labels, Run, Secret, Sighting, TargetName, Timestamp},
    sandbox::place::Place,
    target::{Swept, Target, TargetError},
};

/// A target that holds what the pretend platform wrote to it.
#[derive(Clone, Debug)]
pub struct DirectTarget {
    door: Direct,
    name: TargetName,
    place: Place,
}

/// What a read takes.
const READ: Duration = Duration::from_millis(5);

impl DirectTarget {
    pub(super) fn new(door: Direct, name: TargetName, labels: Labels) -> Self {
        let place = Place::target(name.clone(), labels);
        Self { door, name, place }
    }

    /// Whether the target can be read now, for these runs.
    fn sight(&self, runs: &[Arc<Run>], now: Timestamp) -> Result<(), TargetError> {
        let mut jobs = self.door.lock();
        let places: Vec<Arc<Place>> = runs.iter().map(|run| jobs.place(run)).collect();
        jobs.engine
            .sight(&self.place, places.iter().map(|place| &**place), now)
            .map_err(|why| TargetError::Unreachable { detail: why.to_owned() })
    }
}

#[async_trait]
impl Target for DirectTarget {
    fn address(&self, run: &Run) -> Address {
        let url = format!("virtual://{}/{}", self.name, run.marker);
        Address { url: Secret::new(url.as_str()), shown: url, place: self.name.to_string(), mode: run.route.mode }
    }

    /// What it finds was true when the read began.
    async fn look(&self, runs: &[Arc<Run>]) -> Result<Vec<Sighting>, TargetError> {
        let now = self.door.now();
        let found = self.sight(runs, now).map(|()| {
            let mut jobs = self.door.lock();
            runs.iter().map(|run| jobs.sighting(run, now)).collect()
        });
        tokio::time::sleep(READ).await;
        found
    }

    /// Writes a row and reads it back, so it takes as long as a write does.
    async fn control(&self) -> Result<(), TargetError> {
        let now = self.door.now();
        let seen = self.sight(&[], now);
        let written_after =
            if seen.is_ok() { self.door.lock().engine.slowness(&self.place, now) } else { Duration::ZERO };
        tokio::time::sleep(READ + written_after).await;
        seen
    }

    /// Old rows are forgotten as time goes by; nothing is left to sweep.
    async fn sweep(&self, _older_than: Timestamp) -> Result<Swept, TargetError> {
        Ok(Swept::default())
    }
}
