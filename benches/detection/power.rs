//! What `landfall check` foretells of faults that hit a share of runs, beside as many replays: the default
//! world, every suspect of one label, three shares.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use landfall::{
    canary::{CanaryName, Labels, Mode, PlatformName, Route, Schedule, TargetName, Timestamp},
    cli::replay::play::{Play, play},
    detect::{
        incident::LabelSet,
        power::{Course, Power, Unnoticed, Watched, power},
    },
    sandbox::{Fault, FaultKind, Spread, World},
};
use serde_json::{Value, json};

use crate::{
    Args,
    figures::{Section, each, round},
    random::{self, START},
    score::{told, written},
};

/// Shares that replays can wait for.
const SHARES: [f64; 3] = [1.0, 0.1, 0.01];
/// Before the fault: every route has landed often enough to know its times.
const WARM: Duration = Duration::from_secs(2 * 3_600);
/// Two sides of a normal distribution beyond which lies one in a hundred.
const ONE_IN_A_HUNDRED: f64 = 2.576;

/// What is foretold of this world.
fn foretold(world: &World, routes: &[Arc<Route>]) -> Vec<Power> {
    let schedule = Schedule::Every(world.canary.every);
    let course = |route: &Route| {
        let platform = world.platform(&route.platform).expect("a platform of the world");
        let (p50, p99) = match platform.job_time {
            Spread::LogNormal { p50, p99 } => (p50, p99),
            Spread::Always(time) | Spread::Between(_, time) => (time, time),
        };
        let land = match platform.land_time {
            Spread::Always(land) | Spread::Between(_, land) | Spread::LogNormal { p99: land, .. } => land,
        };
        Course { p50, p99, land }
    };
    let watched = |route| Watched {
        route,
        schedule: &schedule,
        objective: world.canary.objective,
        deadline: world.canary.deadline,
        pause: Duration::ZERO,
        course: course(route),
    };
    let watched: Vec<Watched<'_>> = routes.iter().map(|route| watched(&**route)).collect();
    power(&watched, &SHARES, START)
}

/// Seconds from the beginning of the fault to the first word of it.
fn one(scope: &LabelSet, foretold: Unnoticed, seed: u64) -> Option<f64> {
    let world = World::default();
    let routes = world.routes();
    // It may begin at any moment of the interval.
    let into = world.canary.every.mul_f64(Rng::with_seed(seed ^ 0xb391).f64());
    let from: Timestamp = START.plus(WARM + into);
    let lasts = foretold.p95.mul_f64(1.5) + Duration::from_secs(900);
    let fault = Fault { rate: foretold.share, ..random::fault(FaultKind::DropOutput, scope, from, lasts + WARM) };
    let mut plan = Play::of_world(world, START, WARM + into + lasts);
    plan.faults = vec![fault.clone()];
    let played = play(&plan, seed).expect("the world plays");
    told(&played).iter().find(|told| told.is_due_to(&fault, &routes)).map(|told| told.at.since(from).as_secs_f64())
}

/// Where a share of so many lies, and between which two of them it lies with 99 in a hundred.
fn bracket(share: f64, times: &[Option<f64>]) -> [Option<f64>; 3] {
    let n = times.len() as f64;
    let apart = ONE_IN_A_HUNDRED * (n * share * (1.0 - share)).sqrt();
    // What was not told in time came later than all that was.
    let at = |rank: f64| times.get((rank.max(1.0) as usize) - 1).copied().flatten();
    [at((n * share).ceil()), at((n * share - apart).floor()), at((n * share + apart).ceil() + 1.0)]
}

fn row(power: &Power, foretold: Unnoticed, times: &mut [Option<f64>]) -> Vec<Value> {
    let late = |time: &Option<f64>| time.unwrap_or(f64::INFINITY);
    times.sort_by(|a, b| late(a).total_cmp(&late(b)));
    let tell = |time: Option<f64>| time.map_or(Value::Null, |time| json!(round(time, 1)));
    let mut row = vec![
        json!(written(&power.labels)),
        json!(power.routes),
        json!(format!("{}%", foretold.share * 100.0)),
        json!(times.len()),
    ];
    for (share, foretold) in [(0.5, foretold.median), (0.95, foretold.p95)] {
        let foretold = foretold.as_secs_f64();
        let [own, low, high] = bracket(share, times);
        let agrees = low.is_none_or(|low| low <= foretold) && high.is_none_or(|high| foretold <= high);
        row.extend([json!(round(foretold, 1)), tell(own), tell(low), tell(high)]);
        row.push(json!(if agrees && own.is_some() { "yes" } else { "no" }));
    }
    row
}

/// Every suspect, every share.
pub(crate) fn measure(args: &Args) -> Section {
    let (world, seeds) = (World::default(), (args.seeds / 5).max(args.seeds.min(200)));
    let routes = world.routes();
    let mut rows = Vec::new();
    for power in foretold(&world, &routes) {
        for foretold in &power.shares {
            let mut times = each(seeds, |nth| one(&power.labels, *foretold, args.seed + nth));
            rows.push(row(&power, *foretold, &mut times));
        }
    }
    Section {
        title: format!(
            "the first word of a fault, foretold and replayed, with the bracket of 99 in a hundred; seeds from {}",
            args.seed
        ),
        columns: vec![
            "suspect",
            "routes",
            "share",
            "seeds",
            "foretold_p50_s",
            "replayed_p50_s",
            "from_s",
            "to_s",
            "agree",
            "foretold_p95_s",
            "replayed_p95_s",
            "p95_from_s",
            "p95_to_s",
            "p95_agree",
        ],
        rows,
        details: vec![many()],
    }
}

/// How long it takes for ten thousand routes.
fn many() -> String {
    let course = Course { p50: Duration::from_secs(20), p99: Duration::from_secs(60), land: Duration::from_secs(3) };
    let schedule = Schedule::Every(Duration::from_secs(60));
    let route = |nth: usize| {
        let name = |kind: &str, of: usize| format!("{kind}{}", nth / of % 22);
        let canary = CanaryName::new(&name("c", 1)).expect("a name");
        let platform = PlatformName::new(&name("p", 22)).expect("a name");
        let target = TargetName::new(&name("t", 22 * 22)).expect("a name");
        Route::new(canary, platform, target, Mode::Append, Labels::default())
    };
    let routes: Vec<Route> = (0..10_000).map(route).collect();
    let (objective, deadline) = (Duration::from_secs(120), Duration::from_secs(300));
    let watched: Vec<Watched<'_>> = (routes.iter())
        .map(|route| Watched { route, schedule: &schedule, objective, deadline, pause: Duration::ZERO, course })
        .collect();
    let began = tokio::time::Instant::now();
    let all = power(&watched, &landfall::detect::power::SHARES, START);
    let took = began.elapsed().as_secs_f64();
    format!("{} routes, {} suspects, {} shares: {took:.2} s", routes.len(), all.len(), all[0].shares.len())
}
