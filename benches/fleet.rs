//! How much a fleet of routes costs: `cargo bench --bench fleet -- --routes 1000 --format json`;
//! `--only-http` leaves out all but the last play, `--no-http` that one; `--play NAME` leaves out all
//! but one of its parts.
//!
//! Three plays, each of this process' own CPU and memory: `virtual` flies runs on virtual time through
//! scheduler, judge, detector and the ledger in memory; `real` runs the daemon's parts (SQLite
//! ledger, metrics, board) on the wall clock against the direct door; `http` flies runs through
//! `landfall sandbox` in a process of its own, beside a bare loop (`over_http.rs`).

mod over_http;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use landfall::{
    agent::{
        Agent, Clock, Confirms, Dice, Hearer,
        lifecycle::{OpenPlan, Parts},
    },
    canary::{
        CanaryName, LabelName, Labels, PlatformName, Route, Run, Sample, Schedule, TargetName, Timestamp, Verdict,
    },
    config::{AgentPlan, CanaryPlan, Plan, PlatformPlan, TargetPlan},
    http::Wire,
    metrics::{BuildInfo, Metrics},
    platform::Platform,
    sandbox::{Spread, World, WorldPlatform, direct::Direct},
    store::{Notice, Store, memory::Memory, sqlite::Sqlite},
    target::Target,
};
use tokio::time::Instant;

const EVERY: Duration = Duration::from_secs(60);

struct Count(AtomicU64);

impl Hearer for Count {
    fn verdict(&self, verdict: &Verdict, _: &Run) {
        self.0.fetch_add(u64::from(!verdict.provisional), Ordering::Relaxed);
    }
    fn notice(&self, _: &Notice) {}
}

/// Seconds that this process' living threads have spent on a processor, to the nanosecond.
fn cpu() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").expect("Linux");
    let spent = |thread: std::io::Result<std::fs::DirEntry>| {
        let text = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    threads.filter_map(spent).sum::<f64>() / 1e9
}

fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).expect("a number") / 1024.0
}

/// Ten targets; as many platforms as it takes.
fn world(routes: usize) -> World {
    let mut world = World::default();
    let label = |name: &str, value: String| (LabelName::new(name).expect("valid"), value.into());
    world.platforms = (0..routes.div_ceil(10))
        .map(|n| WorldPlatform {
            name: PlatformName::new(&format!("p{n}")).expect("valid"),
            labels: Labels::new([
                label("engine", ["hive", "presto"][n % 2].into()),
                label("cluster", format!("c{}", n % 20)),
                label("worker", format!("v{}", n % 3)),
                label("region", format!("r{}", n % 4)),
            ]),
            job_time: Spread::LogNormal { p50: Duration::from_secs(4), p99: Duration::from_secs(15) },
            land_time: Spread::Between(Duration::from_secs(1), Duration::from_secs(3)),
        })
        .collect();
    world.targets = (0..10).map(|n| TargetName::new(&format!("t{n}")).expect("valid")).collect();
    world
}

fn plan(world: &World, direct: &Direct, routes: usize) -> OpenPlan {
    let mut flown: Vec<Arc<Route>> = world.routes();
    flown.truncate(routes);
    Plan {
        agent: AgentPlan {
            name: "fleet".into(),
            listen: ([127, 0, 0, 1], 0).into(),
            hosts: Vec::new(),
            url: None,
            runbook: None,
            intake: None,
            store: "fleet.db".into(),
            detect_within: None,
            token: None,
            coverage_every: None,
            wire: Wire::default(),
            upkeep: Default::default(),
            public: None,
            file: "fleet".into(),
        },
        platforms: (world.platforms.iter())
            .map(|platform| PlatformPlan {
                name: platform.name.clone(),
                kind: "treasure-data",
                labels: platform.labels.clone(),
                in_flight: u32::MAX,
                per_hour: u32::MAX,
                outputs: None,
                jobs: Vec::new(),
                driver: Arc::new(direct.platform(&platform.name)) as Arc<dyn Platform>,
            })
            .collect(),
        targets: (world.targets.iter())
            .map(|target| TargetPlan {
                name: target.clone(),
                kind: "webhook",
                labels: Labels::default(),
                caps: Default::default(),
                schemes: Vec::new(),
                driver: Arc::new(direct.target(target)) as Arc<dyn Target>,
            })
            .collect(),
        notifiers: Vec::new(),
        canaries: vec![CanaryPlan {
            name: CanaryName::new("result-output").expect("valid"),
            schedule: Schedule::Every(EVERY),
            objective: Duration::from_secs(120),
            deadline: Duration::from_secs(300),
            sample: Sample::default(),
            report: None,
        }],
        routes: flown,
        landings: Vec::new(),
    }
}

/// CPU seconds for a thousand runs on virtual time.
fn fly_virtually(routes: usize) -> (f64, u64) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("runtime");
    let before = cpu();
    let runs = runtime.block_on(async {
        let (origin, start) = (Instant::now(), Timestamp::from_secs(1_440_000_000));
        let world = world(routes);
        let direct = Direct::new(world.clone(), Vec::new(), 1, start, origin);
        let count = Arc::new(Count(AtomicU64::new(0)));
        let parts = Parts {
            plan: plan(&world, &direct, routes),
            store: Arc::new(Memory::new()) as Arc<dyn Store>,
            clock: Clock::Since { start, origin },
            dice: Dice::seeded(1),
            metrics: None,
            hearer: Arc::clone(&count) as Arc<dyn Hearer>,
            is_daemon: false,
            confirms: Confirms::Asked,
        };
        let _agent = Agent::start(parts).await.expect("starts");
        tokio::time::sleep(EVERY * 10).await;
        count.0.load(Ordering::Relaxed)
    });
    runtime.shutdown_background();
    ((cpu() - before) / (runs as f64 / 1000.0), runs)
}

struct Real {
    cpu_cores: f64,
    resident_mb: f64,
    lateness_p99_s: f64,
    scrape_ms: f64,
    scrape_kb: f64,
    runs: u64,
}

/// The daemon's parts on the wall clock for `lasts`.
fn fly_really(routes: usize, lasts: Duration) -> Real {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runtime");
    runtime.block_on(async {
        let clock = Clock::System;
        let (origin, start) = (Instant::now(), clock.now());
        let world = world(routes);
        let direct = Direct::new(world.clone(), Vec::new(), 1, start, origin);
        let metrics = Arc::new(Metrics::new(&BuildInfo { version: "bench".into(), revision: String::new() }));
        let count = Arc::new(Count(AtomicU64::new(0)));
        let parts = Parts {
            plan: plan(&world, &direct, routes),
            store: Arc::new(Sqlite::open(&folder.path().join("fleet.db"), start).expect("opens")) as Arc<dyn Store>,
            clock,
            dice: Dice::seeded(1),
            metrics: Some(Arc::clone(&metrics)),
            hearer: Arc::clone(&count) as Arc<dyn Hearer>,
            is_daemon: true,
            confirms: Confirms::Asked,
        };
        let agent = Agent::start(parts).await.expect("starts");
        tokio::time::sleep(EVERY.min(lasts / 3)).await;
        let (began, cpu_before) = (Instant::now(), cpu());
        tokio::time::sleep(lasts - EVERY.min(lasts / 3)).await;
        let cpu_cores = (cpu() - cpu_before) / began.elapsed().as_secs_f64();
        let resident_mb = resident_mb();
        let before = Instant::now();
        let page = metrics.render();
        let scrape_ms = before.elapsed().as_secs_f64() * 1000.0;
        let real = Real {
            cpu_cores,
            resident_mb,
            lateness_p99_s: lateness_p99(&page),
            scrape_ms,
            scrape_kb: page.len() as f64 / 1024.0,
            runs: count.0.load(Ordering::Relaxed),
        };
        agent.stop().await;
        real
    })
}

/// The bound of the histogram's bucket in which the 99th percentile lies.
fn lateness_p99(page: &str) -> f64 {
    let buckets: Vec<(f64, f64)> = page
        .lines()
        .filter_map(|line| {
            let (bound, n) =
                line.strip_prefix("landfall_schedule_lateness_seconds_bucket{le=\"")?.split_once("\"} ")?;
            Some((bound.parse().unwrap_or(f64::INFINITY), n.parse().ok()?))
        })
        .collect();
    let all = buckets.last().map_or(0.0, |(_, n)| *n);
    buckets.iter().find(|(_, n)| *n >= 0.99 * all).map_or(f64::NAN, |(bound, _)| *bound)
}

fn main() {
    let mut args = std::env::args().skip(1);
    let (mut routes, mut json, mut lasts) = (1_000, false, Duration::from_secs(180));
    let (mut only_http, mut no_http, mut play) = (false, false, None);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--routes" => routes = args.next().and_then(|n| n.parse().ok()).expect("--routes N"),
            "--seconds" => lasts = Duration::from_secs(args.next().and_then(|n| n.parse().ok()).expect("--seconds N")),
            "--format" => json = args.next().as_deref() == Some("json"),
            "--only-http" => only_http = true,
            "--no-http" => no_http = true,
            "--play" => (only_http, play) = (true, args.next()),
            // What cargo adds.
            _ => {}
        }
    }
    let mut figures = serde_json::Map::new();
    if !only_http {
        fleet(routes, lasts, &mut figures);
    }
    if !no_http {
        over_http::measure(play.as_deref(), &mut figures);
    }
    if json {
        println!("{}", serde_json::Value::Object(figures));
    } else {
        for (name, value) in &figures {
            println!("{name:40} {value}");
        }
    }
}

/// The two plays without HTTP.
fn fleet(routes: usize, lasts: Duration, figures: &mut serde_json::Map<String, serde_json::Value>) {
    // Memory before the virtual play: what the virtual play leaves behind would count as well.
    let real = fly_really(routes, lasts);
    let (cpu_per_1000, virtual_runs) = fly_virtually(routes.min(1_000));
    let found = serde_json::json!({
        "routes": routes,
        "every_s": EVERY.as_secs(),
        "virtual_cpu_s_per_1000_runs": cpu_per_1000,
        "virtual_runs": virtual_runs,
        "real_cpu_cores": real.cpu_cores,
        "real_runs": real.runs,
        "resident_mb": real.resident_mb,
        "schedule_lateness_p99_s": real.lateness_p99_s,
        "scrape_ms": real.scrape_ms,
        "scrape_kb": real.scrape_kb,
    });
    figures.extend(found.as_object().expect("an object").clone());
}
