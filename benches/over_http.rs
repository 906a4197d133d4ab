//! What the agent adds to the requests that it makes: CPU per run of the agent against `landfall
//! sandbox` in a process of its own, beside a bare loop of the same requests.
//!
//! In a run of the bare loop: the same number of HTTP requests to the platform as the agent made
//! per run (counted, the linked export's status included), at the same pace, half a second apart,
//! over kept connections of the same client, every answer decoded as JSON. With `reads`, the target
//! is read as often as the agent read it, by the same driver. Not in it, so the agent's own: the
//! schedule, evidence, judging, detection, metrics, later looks, and the ledger.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use landfall::{
    agent::{Agent, Clock, Confirms, Dice, Hearer, lifecycle::Parts},
    canary::{Address, Phase, Route, Rows, Run, Sample, Schedule, Sighting, Terms, Timestamp, Why},
    http::Wire,
    metrics::{BuildInfo, Metrics},
    platform::{Handle, Job, JobState, Platform, PlatformError, Progress, Resume},
    store::{Store, memory::Memory, sqlite::Sqlite},
    target::{Swept, Target, TargetError, webhook::Intake},
};
use serde_json::{Map, Value as Json, json};
use tokio::time::Instant;

use crate::{Count, cpu};

/// The agent finds its stride before it is measured.
const WARM_UP: Duration = Duration::from_secs(5);
const LASTS: Duration = Duration::from_secs(15);
/// Runs at hand of the sandbox's three platforms on one target.
const ROUTES: u32 = 3;
/// Between two requests of one run, as the agent asks.
const BETWEEN: Duration = Duration::from_millis(500);

/// What is measured.
struct Play {
    /// What its figures are called.
    name: &'static str,
    runs_per_s: u32,
    /// With the ledger in SQLite, on disk before it is acted upon; else in memory.
    durable: bool,
    /// With real reads of the target; else a target that always holds every row.
    reads: bool,
}

static PLAYS: [Play; 5] = [
    Play { name: "http", runs_per_s: 30, durable: false, reads: false },
    Play { name: "http_with_sqlite_ledger", runs_per_s: 30, durable: true, reads: false },
    Play { name: "http_with_reads", runs_per_s: 30, durable: false, reads: true },
    Play { name: "http_at_300", runs_per_s: 300, durable: false, reads: false },
    Play { name: "http_at_300_with_sqlite_ledger", runs_per_s: 300, durable: true, reads: false },
];

/// Plays them all, or one; four figures each.
pub(crate) fn measure(only: Option<&str>, figures: &mut Map<String, Json>) {
    for play in PLAYS.iter().filter(|play| only.is_none_or(|only| only == play.name)) {
        let (agent, bare) = play.measure();
        let mut keep = |figure: &str, value: Json| figures.insert(format!("{}_{figure}", play.name), value);
        keep("runs", json!([agent.runs, bare.runs]));
        keep("requests_per_run", json!([agent.requests_per_run(), bare.requests_per_run()]));
        if play.reads {
            keep(
                "reads_per_run",
                json!([agent.reads as f64 / agent.runs as f64, bare.reads as f64 / bare.runs as f64]),
            );
        }
        keep("cpu_ms_per_run", json!(agent.cpu_ms_per_run()));
        keep("cpu_ms_per_run_bare", json!(bare.cpu_ms_per_run()));
        keep("cpu_ratio", json!(agent.cpu_ms_per_run() / bare.cpu_ms_per_run()));
    }
}

/// What one side did, and what it cost.
#[derive(Clone, Copy)]
struct Spent {
    runs: u64,
    requests: u64,
    reads: u64,
    cpu_s: f64,
}

impl Spent {
    fn cpu_ms_per_run(&self) -> f64 {
        1000.0 * self.cpu_s / self.runs.max(1) as f64
    }
    fn requests_per_run(&self) -> f64 {
        self.requests as f64 / self.runs.max(1) as f64
    }
    fn since(self, before: Self) -> Self {
        Self {
            runs: self.runs - before.runs,
            requests: self.requests - before.requests,
            reads: self.reads - before.reads,
            cpu_s: self.cpu_s - before.cpu_s,
        }
    }
}

impl Play {
    /// The agent's side, then the bare loop's, against one sandbox.
    fn measure(&'static self) -> (Spent, Spent) {
        let folder = tempfile::tempdir().expect("a folder");
        let free = || std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        let (listen, agent_listen) = (free(), free());
        let _sandbox = Child(
            std::process::Command::new(env!("CARGO_BIN_EXE_landfall"))
                .args(["sandbox", "--listen", &listen.to_string(), "--agent-listen", &agent_listen.to_string()])
                .arg("--write-config")
                .arg(folder.path())
                .stdout(std::process::Stdio::null())
                .spawn()
                .expect("the sandbox starts"),
        );
        let config = folder.path().join("landfall.toml");
        for _ in 0..100 {
            if config.exists() {
                break;
            }
            pause(Duration::from_millis(100));
        }
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runtime");
        let both = async move {
            let mut plan =
                landfall::cli::kinds::load(&config, &Intake::new(), false).expect("the sandbox's config is good");
            plan.routes.retain(|route| route.target.as_str() == "bucket");
            plan.targets.retain(|target| target.name.as_str() == "bucket");
            let every = Duration::from_secs(1) * ROUTES / self.runs_per_s;
            plan.canaries.iter_mut().for_each(|canary| canary.schedule = Schedule::Every(every));
            let asked = Arc::new(Asked::default());
            for platform in &mut plan.platforms {
                (platform.per_hour, platform.in_flight) = (u32::MAX, u32::MAX);
                platform.driver = Arc::new(Counted(Arc::clone(&platform.driver), Arc::clone(&asked)));
            }
            let real = Arc::clone(&plan.targets[0].driver);
            plan.targets[0].driver =
                Arc::new(Read { driver: Arc::clone(&real), really: self.reads, asked: Arc::clone(&asked) });
            let bare = Bare {
                listen,
                client: Wire::default().client().expect("a client"),
                route: Arc::clone(&plan.routes[0]),
                target: real,
            };
            let clock = Clock::System;
            let ledger: Arc<dyn Store> = if self.durable {
                Arc::new(Sqlite::open(&folder.path().join("bench.db"), clock.now()).expect("opens"))
            } else {
                Arc::new(Memory::new())
            };
            let count = Arc::new(Count(AtomicU64::new(0)));
            let parts = Parts {
                plan,
                store: ledger,
                clock,
                dice: Dice::seeded(1),
                metrics: Some(Arc::new(Metrics::new(&BuildInfo { version: "bench".into(), revision: String::new() }))),
                hearer: Arc::clone(&count) as Arc<dyn Hearer>,
                is_daemon: true,
                confirms: Confirms::Asked,
            };
            let spent = || Spent {
                runs: count.0.load(Ordering::Relaxed),
                requests: asked.requests.load(Ordering::Relaxed),
                reads: asked.reads.load(Ordering::Relaxed),
                cpu_s: cpu(),
            };
            let agent = Agent::start(parts).await.expect("starts");
            tokio::time::sleep(WARM_UP).await;
            let before = spent();
            tokio::time::sleep(LASTS).await;
            let flown = spent().since(before);
            agent.stop().await;
            let like = Spent { reads: if self.reads { flown.reads } else { 0 }, ..flown };
            let bare = Arc::new(bare);
            bare.fly(like, self.runs_per_s, WARM_UP).await;
            let before = cpu();
            let counted = bare.fly(like, self.runs_per_s, LASTS).await;
            (flown, Spent { cpu_s: cpu() - before, ..counted })
        };
        // On the one worker, not on this thread: both sides pay for the same hand-overs.
        runtime.block_on(async { tokio::spawn(both).await.expect("plays to its end") })
    }
}

/// The same requests with nothing around them.
struct Bare {
    listen: std::net::SocketAddr,
    client: reqwest::Client,
    route: Arc<Route>,
    target: Arc<dyn Target>,
}

impl Bare {
    /// Runs at a pace, each with as many requests and reads as there were in `like`'s.
    async fn fly(self: &Arc<Self>, like: Spent, runs_per_s: u32, lasts: Duration) -> Spent {
        // Whole numbers that add up to the same mean.
        let share = |all: u64, n: u64| (n + 1) * all / like.runs.max(1) - n * all / like.runs.max(1);
        let (runs, began) = (u64::from(runs_per_s) * lasts.as_secs(), Instant::now());
        let (mut flights, mut done) = (tokio::task::JoinSet::new(), Spent { runs, requests: 0, reads: 0, cpu_s: 0.0 });
        for n in 0..runs {
            tokio::time::sleep_until(began + Duration::from_secs(n) / runs_per_s).await;
            let (looks, reads) = (share(like.requests, n).saturating_sub(1), share(like.reads, n));
            (done.requests, done.reads) = (done.requests + 1 + looks, done.reads + reads);
            flights.spawn(Arc::clone(self).one(n, looks, reads));
        }
        while let Some(flown) = flights.join_next().await {
            flown.expect("no flight panics");
        }
        done
    }

    async fn one(self: Arc<Self>, n: u64, looks: u64, reads: u64) {
        let now = Clock::System.now();
        let run = Arc::new(Run {
            marker: Dice::new().marker(now),
            route: Arc::clone(&self.route),
            terms: Terms { due: now, objective: Duration::from_secs(5), deadline: Duration::from_secs(15) },
            sample: Sample::default(),
            why: Why::Scheduled,
            report: None,
        });
        let key = format!("TD1 1/{}", "a".repeat(40));
        let to = self.target.address(&run);
        let form = [
            ("query", format!("SELECT '{}' AS marker, {n} AS row_no", run.marker)),
            ("result", to.url.reveal().to_owned()),
            ("domain_key", run.marker.to_string()),
            ("retry_limit", "0".to_owned()),
        ];
        let issue = self.client.post(format!("http://{}/v3/job/issue/presto/landfall", self.listen));
        let answer = issue.header("authorization", &key).form(&form).send().await.expect("answers");
        let job: Json = answer.json().await.expect("JSON");
        for _ in 0..looks {
            tokio::time::sleep(BETWEEN).await;
            let url = format!("http://{}/v3/job/show/{}", self.listen, job["job_id"].as_str().expect("a job"));
            let show = self.client.get(url).header("authorization", &key).send().await.expect("answers");
            let _: Json = show.json().await.expect("JSON");
        }
        for _ in 0..reads {
            self.target.look(&[Arc::clone(&run)]).await.expect("readable");
        }
    }
}

/// What the agent asked of platforms and targets.
#[derive(Debug, Default)]
struct Asked {
    requests: AtomicU64,
    reads: AtomicU64,
}

/// A platform whose requests are counted.
#[derive(Debug)]
struct Counted(Arc<dyn Platform>, Arc<Asked>);

#[async_trait::async_trait]
impl Platform for Counted {
    fn resume(&self) -> Resume {
        self.0.resume()
    }
    async fn prepare(&self, sample: Sample) -> Result<(), PlatformError> {
        self.0.prepare(sample).await
    }
    async fn submit(&self, job: &Job) -> Result<Handle, PlatformError> {
        self.1.requests.fetch_add(1, Ordering::Relaxed);
        self.0.submit(job).await
    }
    async fn find(&self, run: &Run) -> Result<Option<Handle>, PlatformError> {
        self.0.find(run).await
    }
    async fn look(&self, handle: &Handle) -> Result<(JobState, Handle), PlatformError> {
        let answer = self.0.look(handle).await;
        // A query that is done is followed by a question for its export.
        let exports = answer.as_ref().is_ok_and(|(state, _)| {
            state.jobs.len() == 2 && !matches!(state.progress, Progress::Running(Phase::Queue | Phase::Execute))
        });
        self.1.requests.fetch_add(1 + u64::from(exports), Ordering::Relaxed);
        answer
    }
    async fn cancel(&self, handle: &Handle) -> Result<(), PlatformError> {
        self.0.cancel(handle).await
    }
}

/// A target whose reads are counted, and made or not: one that always holds every row leaves only
/// the platform's HTTP.
#[derive(Debug)]
struct Read {
    driver: Arc<dyn Target>,
    really: bool,
    asked: Arc<Asked>,
}

#[async_trait::async_trait]
impl Target for Read {
    fn address(&self, run: &Run) -> Address {
        self.driver.address(run)
    }
    async fn look(&self, runs: &[Arc<Run>]) -> Result<Vec<Sighting>, TargetError> {
        self.asked.reads.fetch_add(1, Ordering::Relaxed);
        if self.really {
            return self.driver.look(runs).await;
        }
        let whole = |run: &Arc<Run>| Sighting { rows: Rows::all_right(run.sample.rows), ..Sighting::default() };
        Ok(runs.iter().map(whole).collect())
    }
    async fn control(&self) -> Result<(), TargetError> {
        if self.really { self.driver.control().await } else { Ok(()) }
    }
    async fn sweep(&self, _: Timestamp) -> Result<Swept, TargetError> {
        Ok(Swept::default())
    }
}

struct Child(std::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "no runtime is running yet whose worker this could block")]
fn pause(length: Duration) {
    std::thread::sleep(length);
}
