//! `replay -c`: the user's own canaries in a virtual world. Their routes, labels, schedules,
//! objectives and caps; platforms and targets are the sandbox's, so no network and no secret is
//! needed.

use std::{path::Path, time::Duration};

use super::play::{Play, Watch};
use crate::{
    canary::{PlatformName, Schedule, Timestamp, time::Brief},
    cli::kinds,
    config::{Plan, PlatformPlan, Problems, TargetPlan},
    sandbox::{Scenario, World, WorldPlatform, world},
    target::webhook::Intake,
};

/// More runs than this take longer than anybody waits.
const MOST_RUNS: f64 = 500_000.0;

/// Reads a config; no secret is asked for, and no driver is kept.
pub(super) fn read(config: &Path) -> Result<Watch, Problems> {
    let plan = kinds::load(config, &Intake::new(), true)?;
    let platform = |plan: &PlatformPlan<_>| PlatformPlan {
        name: plan.name.clone(),
        kind: plan.kind,
        labels: plan.labels.clone(),
        in_flight: plan.in_flight,
        per_hour: plan.per_hour,
        outputs: None,
        jobs: Vec::new(),
        driver: (),
    };
    let target = |plan: &TargetPlan<_>| TargetPlan {
        name: plan.name.clone(),
        kind: plan.kind,
        labels: plan.labels.clone(),
        caps: plan.caps,
        schemes: Vec::new(),
        driver: (),
    };
    // Nobody keeps a diary in a virtual world: no report can be made there.
    let routes = plan.routes.iter().filter(|route| !plan.reports(route)).cloned().collect();
    Ok(Plan {
        platforms: plan.platforms.iter().map(platform).collect(),
        targets: plan.targets.iter().map(target).collect(),
        notifiers: Vec::new(),
        agent: plan.agent,
        routes,
        canaries: plan.canaries,
        landings: Vec::new(),
    })
}

/// A scenario, played against them.
pub(super) fn play(scenario: &Scenario, watch: &Watch) -> Result<Play, String> {
    let runs = runs(watch, scenario.start, scenario.lasts);
    if runs > MOST_RUNS {
        let (name, lasts) = (&scenario.name, Brief(scenario.lasts));
        return Err(format!("{name}: {runs:.0} runs within {lasts} are more than {MOST_RUNS}"));
    }
    let world = world_of(watch, &scenario.world);
    Ok(Play { world, watch: watch.clone(), ..Play::of(scenario) })
}

fn runs(watch: &Watch, start: Timestamp, lasts: Duration) -> f64 {
    let each = watch.routes.iter().filter_map(|route| watch.canary(&route.canary)).map(|canary| {
        let gap = match &canary.schedule {
            Schedule::Every(every) => *every,
            // An upper bound would need the calendar; this is a guard, not an account.
            cron => cron.longest_gap(start),
        };
        lasts.as_secs_f64() / gap.as_secs_f64().max(0.001)
    });
    each.sum()
}

/// Their platforms and targets. A platform that the scenario's own world knows by name takes the
/// times that it has there.
fn world_of(watch: &Watch, scenario: &World) -> World {
    let platforms = watch.platforms.iter().map(|platform| {
        let (job_time, land_time) = match scenario.platform(&platform.name) {
            Some(known) => (known.job_time, known.land_time),
            None => times(watch, &platform.name),
        };
        WorldPlatform { name: platform.name.clone(), labels: platform.labels.clone(), job_time, land_time }
    });
    World {
        platforms: platforms.collect(),
        targets: watch.targets.iter().map(|target| target.name.clone()).collect(),
        canary: scenario.canary.clone(),
        guesses: scenario.guesses,
    }
}

/// How long a platform's jobs take that nobody told us of: as Hive's in the default world, or as
/// much less as the tightest objective of its canaries is shorter than the default world's.
fn times(watch: &Watch, platform: &PlatformName) -> (world::Spread, world::Spread) {
    let usual = world::WorldCanary::default().objective;
    let tightest = (watch.routes.iter().filter(|route| route.platform == *platform))
        .filter_map(|route| watch.canary(&route.canary))
        .map(|canary| canary.objective)
        .min();
    let share = tightest.map_or(1.0, |objective| (objective.as_secs_f64() / usual.as_secs_f64()).min(1.0));
    (world::HIVE_TIME.times(share), world::LAND_TIME.times(share))
}
