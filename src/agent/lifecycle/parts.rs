//! What a plan means for the scheduler and the metrics.

use std::sync::Arc;

use super::OpenPlan;
use crate::{
    agent::scheduler::{Cap, Caps, Line},
    canary::{Route, Sample, Timestamp},
    config::{PlatformPlan, worst_detection},
    metrics::WatchedRoute,
    platform::Platform,
};

/// The plan's lines for the scheduler.
pub(in crate::agent) fn lines(plan: &OpenPlan) -> Vec<Line> {
    let line = |route: &Arc<Route>| {
        let canary = plan.canary(&route.canary)?;
        Some(Line {
            route: Arc::clone(route),
            schedule: Some(canary.schedule.clone()),
            objective: canary.objective,
            deadline: canary.deadline,
            sample: if canary.report.is_some() { Sample::of(plan.rows(route)) } else { canary.sample },
        })
    };
    plan.routes.iter().filter_map(line).collect()
}

pub(in crate::agent) fn caps(plan: &OpenPlan) -> Caps {
    let cap =
        |p: &PlatformPlan<Arc<dyn Platform>>| (p.name.clone(), Cap { in_flight: p.in_flight, per_hour: p.per_hour });
    let rows = plan.targets.iter().filter_map(|target| Some((target.name.clone(), target.caps.rows_per_hour?)));
    Caps { platforms: plan.platforms.iter().map(cap).collect(), rows: rows.collect() }
}

pub(super) fn watched_routes(plan: &OpenPlan, now: Timestamp) -> Vec<WatchedRoute> {
    let watched = |route: &Arc<Route>| {
        let canary = plan.canary(&route.canary)?;
        let interval = canary.schedule.longest_gap(now);
        let detection_bound = worst_detection(interval, canary.objective, plan.pause(&route.target));
        let (objective, deadline) = (canary.objective, canary.deadline);
        Some(WatchedRoute { route: Arc::clone(route), objective, deadline, detection_bound, interval, since: now })
    };
    plan.routes.iter().filter_map(watched).collect()
}
