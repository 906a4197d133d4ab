//! The direct door: the sandbox behind the traits `Platform` and `Target`, in process, without
//! sockets or threads. On tokio's paused clock a virtual hour costs what its events cost.

mod deed;
mod jobs;
mod platform;
mod target;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use self::jobs::Jobs;
pub use self::{platform::DirectPlatform, target::DirectTarget};
use super::{
    engine::Engine,
    fault::{Fault, FaultId},
    place::Place,
    world::World,
};
use crate::canary::{Labels, PlatformName, TargetName, Timestamp};

/// A pretend platform and its targets, in process.
#[derive(Clone, Debug)]
pub struct Direct {
    jobs: Arc<Mutex<Jobs>>,
    clock: Clock,
}

/// What time it is: a start, and how long ago tokio's clock says that was.
#[derive(Clone, Copy, Debug)]
struct Clock {
    start: Timestamp,
    origin: Instant,
}

impl Direct {
    /// A world with its faults, in which it is `start` at `origin`. The same seed decides the same.
    pub fn new(world: World, faults: Vec<Fault>, seed: u64, start: Timestamp, origin: Instant) -> Self {
        let jobs = Jobs::new(Engine::new(world, faults, seed));
        Self { jobs: Arc::new(Mutex::new(jobs)), clock: Clock { start, origin } }
    }

    /// The platform of this name. One that the world does not know has no labels and Hive's times.
    pub fn platform(&self, name: &PlatformName) -> DirectPlatform {
        let labels =
            self.lock().engine.world().platform(name).map_or_else(Labels::default, |known| known.labels.clone());
        DirectPlatform::new(self.clone(), Place::platform(name.clone(), labels))
    }

    /// The virtual target of this name; every name is one.
    pub fn target(&self, name: &TargetName) -> DirectTarget {
        self.labelled_target(name, &Labels::default())
    }

    /// One with labels of its own, by which a fault's `where` may find it.
    pub fn labelled_target(&self, name: &TargetName, labels: &Labels) -> DirectTarget {
        DirectTarget::new(self.clone(), name.clone(), labels.clone())
    }

    /// What time it is here.
    pub fn now(&self) -> Timestamp {
        self.clock.start.plus(self.clock.origin.elapsed())
    }

    /// Breaks something. The fault must not begin in the past.
    pub fn break_now(&self, fault: Fault) -> FaultId {
        self.lock().engine.add(fault)
    }

    /// Mends it again.
    pub fn mend(&self, id: FaultId) -> bool {
        let now = self.now();
        self.lock().engine.mend(id, now)
    }

    /// Never held across an await. A panic elsewhere leaves nothing half done that matters here.
    fn lock(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
