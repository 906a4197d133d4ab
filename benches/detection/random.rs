//! Random worlds: 2 to 4 platforms, 2 to 4 targets, 3 to 6 labels a platform, a run every 1 to 5
//! minutes, jobs with long tails. Random scopes and faults in them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use fastrand::Rng;
use landfall::{
    canary::{LabelName, Labels, Mode, PlatformName, Route, Selector, TargetName, Timestamp},
    detect::incident::LabelSet,
    sandbox::{Fault, FaultKind, Spread, World, WorldCanary, WorldPlatform},
};

/// When every world begins.
pub(crate) const START: Timestamp = Timestamp::from_secs(1_420_070_400);
const LABELS: [&str; 6] = ["engine", "cluster", "worker", "region", "tier", "network"];

/// A world of this seed; `mode` is how its results are written.
pub(crate) fn world(seed: u64, mode: Mode) -> World {
    let mut dice = Rng::with_seed(seed);
    let n_labels = dice.usize(3..=6);
    // How many values a label has in this world: a label of one value tells nothing, as in life.
    let values: Vec<usize> = (0..n_labels).map(|_| dice.usize(1..=3)).collect();
    let platforms = (0..dice.usize(2..=4))
        .map(|n| {
            let label = |at: usize, dice: &mut Rng| {
                let value = format!("{}{}", &LABELS[at][..1], dice.usize(0..values[at]));
                (LabelName::new(LABELS[at]).expect("a name"), value.into())
            };
            let labels: Vec<_> = (0..n_labels).map(|at| label(at, &mut dice)).collect();
            // From 2 to 20 s, small as likely as large; the slowest in a hundred 2.5 to 6 times as long.
            let p50 = 2.0 * 10f64.powf(dice.f64());
            let p99 = (p50 * (2.5 + 3.5 * dice.f64())).min(60.0);
            WorldPlatform {
                name: PlatformName::new(&format!("p{n}")).expect("a name"),
                labels: Labels::new(labels),
                job_time: Spread::LogNormal { p50: Duration::from_secs_f64(p50), p99: Duration::from_secs_f64(p99) },
                land_time: Spread::LogNormal { p50: Duration::from_secs(1), p99: Duration::from_secs(3) },
            }
        })
        .collect();
    let targets = (0..dice.usize(2..=4)).map(|n| TargetName::new(&format!("t{n}")).expect("a name")).collect();
    let every = Duration::from_secs(60 * dice.u64(1..=5));
    World {
        platforms,
        targets,
        canary: WorldCanary { every, modes: vec![mode], ..WorldCanary::default() },
        ..World::default()
    }
}

/// Kinds of faults that are told as what they are.
const KINDS: [&str; 15] = [
    "drop-output",
    "partial-output",
    "duplicate-output",
    "corrupt-output",
    "stale-output",
    "delay-output",
    "fail-job",
    "hang-job",
    "false-error",
    "false-killed",
    "freeze-status",
    "refuse-submit",
    "api-error",
    "api-unreachable",
    "target-down",
];

/// One of them.
pub(crate) fn kind(dice: &mut Rng) -> FaultKind {
    match KINDS[dice.usize(0..KINDS.len())] {
        "drop-output" => FaultKind::DropOutput,
        "partial-output" => FaultKind::PartialOutput { share: 0.1 + 0.8 * dice.f64() },
        "duplicate-output" => FaultKind::DuplicateOutput { copies: 2, after: Duration::ZERO },
        "corrupt-output" => FaultKind::CorruptOutput { column: None },
        "stale-output" => FaultKind::StaleOutput,
        // Later than the objective, before the deadline.
        "delay-output" => FaultKind::DelayOutput { by: Duration::from_secs(150) },
        "fail-job" => FaultKind::FailJob,
        "hang-job" => FaultKind::HangJob,
        "false-error" => FaultKind::FalseError,
        "false-killed" => FaultKind::FalseKilled,
        "freeze-status" => FaultKind::FreezeStatus,
        "refuse-submit" => FaultKind::RefuseSubmit { status: 503 },
        "api-error" => FaultKind::ApiError { status: 500 },
        "api-unreachable" => FaultKind::ApiUnreachable,
        _ => FaultKind::TargetDown,
    }
}

/// How results must be written for this kind to show.
pub(crate) fn mode_of(kind: &FaultKind) -> Mode {
    if *kind == FaultKind::StaleOutput { Mode::Replace } else { Mode::Append }
}

/// One or two labels of a route of the world, so that at least that route is covered.
pub(crate) fn scope(world: &World, kind: &FaultKind, dice: &mut Rng) -> LabelSet {
    let routes = world.routes();
    let route = &routes[dice.usize(0..routes.len())];
    let pair = |name: &str| (name.to_owned(), route.facet(name).unwrap_or_default().to_owned());
    // A target is down for everybody who writes to it.
    if *kind == FaultKind::TargetDown {
        return vec![pair("target")];
    }
    let mut names: Vec<&str> = route.labels.iter().map(|(name, _)| name).chain(["target"]).collect();
    dice.shuffle(&mut names);
    names.truncate(dice.usize(1..=2));
    names.into_iter().map(pair).collect()
}

/// A total fault.
pub(crate) fn fault(kind: FaultKind, scope: &LabelSet, from: Timestamp, lasts: Duration) -> Fault {
    Fault { kind, selector: Selector::new(scope.iter().cloned()), rate: 1.0, from, until: Some(from.plus(lasts)) }
}

/// Routes that a set covers, by their place.
pub(crate) fn covered(routes: &[Arc<Route>], scope: &LabelSet) -> BTreeSet<usize> {
    let selector = Selector::new(scope.iter().cloned());
    (0..routes.len()).filter(|at| selector.covers(&routes[*at])).collect()
}
