//! A platform of the direct door.

use std::time::Duration;

use async_trait::async_trait;

use super::{
    Direct,
    jobs::{Jobs, refused},
};
use crate::{
    canary::{Marker, Run, Sample, Timestamp},
    platform::{Handle, Job, JobState, Platform, PlatformError, Resume},
    sandbox::{engine::Answer, place::Place},
};

/// One platform of the world. Handles are markers: every run is found again by its own.
#[derive(Clone, Debug)]
pub struct DirectPlatform {
    door: Direct,
    place: Place,
}

/// What a call takes when nothing is wrong.
const CALL: Duration = Duration::from_millis(20);
/// A call that is never answered: the caller has its own patience, and it ends before this.
const SILENCE: Duration = Duration::from_secs(120);

impl DirectPlatform {
    pub(super) fn new(door: Direct, place: Place) -> Self {
        Self { door, place }
    }

    /// One API call: it takes effect when it arrives, and is answered when its answer is due.
    async fn call<T>(
        &self,
        place: impl FnOnce(&mut Jobs) -> Option<std::sync::Arc<Place>>,
        act: impl FnOnce(&mut Jobs, Timestamp) -> Result<T, PlatformError>,
    ) -> Result<T, PlatformError> {
        let now = self.door.now();
        let (answer, wait) = {
            let mut jobs = self.door.lock();
            let place = place(&mut jobs);
            match jobs.engine.call(place.as_deref().unwrap_or(&self.place), now) {
                Answer::Ok => (act(&mut jobs, now), CALL),
                Answer::Slow(by) => (act(&mut jobs, now), CALL + by),
                Answer::Status(status) => (Err(refused(status)), CALL),
                Answer::Unreachable => {
                    let detail = "no answer".to_owned();
                    (Err(PlatformError::Unreachable { detail, never_arrived: false }), SILENCE)
                }
            }
        };
        tokio::time::sleep(wait).await;
        answer
    }
}

fn marker(handle: &Handle) -> Result<Marker, PlatformError> {
    handle.as_str().parse().map_err(|_| PlatformError::NotFound)
}

fn handle(marker: Marker) -> Result<Handle, PlatformError> {
    let nonsense = || PlatformError::Nonsense { detail: "a marker longer than a handle".to_owned() };
    Handle::new(marker.to_string()).ok_or_else(nonsense)
}

#[async_trait]
impl Platform for DirectPlatform {
    fn resume(&self) -> Resume {
        Resume::ByMarker
    }

    async fn prepare(&self, _sample: Sample) -> Result<(), PlatformError> {
        self.call(|_| None, |_, _| Ok(())).await
    }

    async fn submit(&self, job: &Job) -> Result<Handle, PlatformError> {
        let run = &*job.run;
        let handle = handle(run.marker)?;
        self.call(|jobs| Some(jobs.place(run)), |jobs, now| jobs.submit(run, now)).await.map(|()| handle)
    }

    async fn find(&self, run: &Run) -> Result<Option<Handle>, PlatformError> {
        let handle = handle(run.marker)?;
        let known = self.call(|jobs| Some(jobs.place(run)), |jobs, _| Ok(jobs.knows(run.marker))).await?;
        Ok(known.then_some(handle))
    }

    async fn look(&self, handle: &Handle) -> Result<(JobState, Handle), PlatformError> {
        let marker = marker(handle)?;
        let state = self.call(|jobs| jobs.place_of(marker), |jobs, now| jobs.status(marker, now)).await?;
        Ok((state, handle.clone()))
    }

    async fn cancel(&self, handle: &Handle) -> Result<(), PlatformError> {
        let marker = marker(handle)?;
        self.call(|jobs| jobs.place_of(marker), |jobs, now| jobs.kill(marker, now)).await
    }
}
