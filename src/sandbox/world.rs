//! The world: what the sandbox pretends to be. Platforms and how long their jobs take, targets, the
//! canary that a scenario watches with, and the guesses that no public source confirms.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;

use crate::canary::{CanaryName, LabelName, Labels, Mode, PlatformName, Route, Sample, TargetName};

/// What the sandbox pretends to be.
#[derive(Clone, Debug)]
pub struct World {
    /// Platforms, in the order of the file.
    pub platforms: Vec<WorldPlatform>,
    /// Targets; any name is a target that works until a fault breaks it.
    pub targets: Vec<TargetName>,
    /// The canary that scenarios watch with.
    pub canary: WorldCanary,
    /// What nobody outside knows of the real platform.
    pub guesses: Guesses,
}

/// A platform of the world.
#[derive(Clone, Debug)]
pub struct WorldPlatform {
    /// Its name.
    pub name: PlatformName,
    /// Its labels, in the order of the file.
    pub labels: Labels,
    /// From the accepted submit to the end of the job.
    pub job_time: Spread,
    /// From the end of the job until its rows are visible.
    pub land_time: Spread,
}

/// The canary of a scenario.
#[derive(Clone, Debug)]
pub struct WorldCanary {
    /// Its name.
    pub name: CanaryName,
    /// How often each route is flown.
    pub every: Duration,
    /// Rows must be there this long after the accepted submit.
    pub objective: Duration,
    /// When waiting ends.
    pub deadline: Duration,
    /// How results are written.
    pub modes: Vec<Mode>,
    /// The rows of a run.
    pub sample: Sample,
}

/// How long something takes, from run to run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Spread {
    /// Always the same.
    Always(Duration),
    /// Anything between the two, equally likely.
    Between(Duration, Duration),
    /// Log-normal, as the times of jobs are: half of them take `p50`, one in a hundred over `p99`.
    LogNormal {
        /// The median.
        p50: Duration,
        /// The 99th percentile.
        p99: Duration,
    },
}

/// What no public source says of the real platform, and the sandbox therefore guesses. Each can be
/// switched, because a monitor must be right either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guesses {
    /// Guess: a query with Result Output stays `running` until its export has ended. Otherwise it
    /// turns `success` first, and the export runs on as a job of its own.
    pub success_waits_for_export: bool,
    /// Guess: `job/show` names a linked export job. Otherwise output is written inside the query's
    /// own job and no link ever appears.
    pub export_is_linked: bool,
    /// Guess: the link is there as soon as the query has ended. Otherwise it appears this much later.
    pub link_appears_after: Duration,
    /// Guess: a failed export turns the query job's own status to `error`. Otherwise only the
    /// linked job says so.
    pub failed_export_fails_query: bool,
}

impl Default for Guesses {
    fn default() -> Self {
        Self {
            success_waits_for_export: true,
            export_is_linked: true,
            link_appears_after: Duration::ZERO,
            failed_export_fails_query: true,
        }
    }
}

impl Spread {
    /// The same, so many times as long.
    pub fn times(self, factor: f64) -> Self {
        let of = |length: Duration| length.mul_f64(factor);
        match self {
            Spread::Always(length) => Spread::Always(of(length)),
            Spread::Between(least, most) => Spread::Between(of(least), of(most)),
            Spread::LogNormal { p50, p99 } => Spread::LogNormal { p50: of(p50), p99: of(p99) },
        }
    }

    /// One throw.
    pub fn throw(self, dice: &mut Rng) -> Duration {
        match self {
            Spread::Always(length) => length,
            Spread::Between(least, most) => least + most.saturating_sub(least).mul_f64(dice.f64()),
            Spread::LogNormal { p50, p99 } => {
                // 2.3263 standard deviations are the 99th percentile of a normal distribution.
                let sigma = (p99.as_secs_f64() / p50.as_secs_f64().max(1e-6)).max(1.0).ln() / 2.3263;
                // Box and Muller: two even throws make a normal one. 1 - x, because ln(0) is not a number.
                let radius = (-2.0 * (1.0 - dice.f64()).ln()).sqrt();
                let normal = radius * (std::f64::consts::TAU * dice.f64()).cos();
                p50.mul_f64((sigma * normal).exp())
            }
        }
    }
}

const SECOND: fn(u64) -> Duration = Duration::from_secs;
const MILLIS: fn(u64) -> Duration = Duration::from_millis;

/// Rows are visible 1 to 3 s after success.
pub const LAND_TIME: Spread = Spread::Between(Duration::from_secs(1), Duration::from_secs(3));
/// Presto answers quickly.
pub const PRESTO_TIME: Spread = Spread::LogNormal { p50: Duration::from_secs(4), p99: Duration::from_secs(15) };
/// Hive starts containers first.
pub const HIVE_TIME: Spread = Spread::LogNormal { p50: Duration::from_secs(20), p99: Duration::from_secs(60) };

impl Default for World {
    /// The world of 2015: Presto and Hadoop 1 (CDH4) on worker v5, Hadoop 2 (HDP2) on worker v6.
    fn default() -> Self {
        Self {
            platforms: vec![
                WorldPlatform::new(
                    "presto",
                    [("engine", "presto"), ("cluster", "presto"), ("worker", "v5")],
                    PRESTO_TIME,
                ),
                WorldPlatform::new(
                    "hadoop1",
                    [("engine", "hive"), ("cluster", "hadoop1"), ("worker", "v5")],
                    HIVE_TIME,
                ),
                WorldPlatform::new(
                    "hadoop2",
                    [("engine", "hive"), ("cluster", "hadoop2"), ("worker", "v6")],
                    HIVE_TIME,
                ),
            ],
            targets: ["web", "bucket"].map(target).to_vec(),
            canary: WorldCanary::default(),
            guesses: Guesses::default(),
        }
    }
}

impl World {
    /// The default world in a hurry, for `demo` and `sandbox` over HTTP: jobs of a second or less,
    /// rows there within half a second of success.
    pub fn brisk() -> Self {
        let mut world = Self::default();
        for platform in &mut world.platforms {
            platform.job_time = Spread::Between(MILLIS(300), MILLIS(900));
            platform.land_time = Spread::Between(MILLIS(20), MILLIS(300));
        }
        world.canary = WorldCanary { every: SECOND(5), objective: SECOND(5), deadline: SECOND(15), ..world.canary };
        world
    }

    /// The platform of this name.
    pub fn platform(&self, name: &PlatformName) -> Option<&WorldPlatform> {
        self.platforms.iter().find(|platform| platform.name == *name)
    }

    /// Every route of the canary through this world: platforms × targets × modes.
    pub fn routes(&self) -> Vec<Arc<Route>> {
        let mut routes = Vec::new();
        for platform in &self.platforms {
            for target in &self.targets {
                for mode in &self.canary.modes {
                    let (canary, name) = (self.canary.name.clone(), platform.name.clone());
                    routes.push(Arc::new(Route::new(canary, name, target.clone(), *mode, platform.labels.clone())));
                }
            }
        }
        routes
    }
}

impl WorldPlatform {
    fn new<const N: usize>(name: &str, labels: [(&str, &str); N], job_time: Spread) -> Self {
        let labels =
            labels.map(|(name, value)| (LabelName::new(name).expect("a name of the default world"), value.into()));
        Self {
            name: PlatformName::new(name).expect("a name of the default world"),
            labels: Labels::new(labels),
            job_time,
            land_time: LAND_TIME,
        }
    }
}

impl Default for WorldCanary {
    fn default() -> Self {
        Self {
            name: CanaryName::new("result-output").expect("a name of the default world"),
            every: SECOND(60),
            objective: SECOND(120),
            deadline: SECOND(300),
            modes: vec![Mode::Append],
            sample: Sample::default(),
        }
    }
}

fn target(name: &str) -> TargetName {
    TargetName::new(name).expect("a name of the default world")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_world_has_six_routes_of_which_four_run_on_worker_v5() {
        let routes = World::default().routes();
        assert_eq!(routes.len(), 6);
        assert_eq!(routes.iter().filter(|route| route.facet("worker") == Some("v5")).count(), 4);
        let labels: Vec<&str> = routes[0].labels.iter().map(|(name, _)| name).collect();
        assert_eq!(labels, ["engine", "cluster", "worker"]);
    }

    #[test]
    fn job_times_have_the_percentiles_they_are_named_by() {
        let mut dice = Rng::with_seed(1);
        let mut times: Vec<Duration> = (0..10_000).map(|_| PRESTO_TIME.throw(&mut dice)).collect();
        times.sort();
        let (p50, p99) = (times[5_000].as_secs_f64(), times[9_900].as_secs_f64());
        assert!((3.8..4.2).contains(&p50) && (14.0..16.0).contains(&p99), "{p50} {p99}");
    }
}
