//! One platform and some targets that do as they are told, with an agent that watches them.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;

use super::ledger::Troubled;
use crate::{
    agent::{
        Agent, Clock, Confirms, Dice, Hearer,
        lifecycle::{OpenPlan, Parts},
    },
    canary::{
        Address, CanaryName, Labels, Marker, Mode, Phase, PlatformName, Route, Rows, Run, Sample, Schedule, Secret,
        Sighting, TargetName, Terms, Timestamp, Verdict, Why,
    },
    config::{AgentPlan, CanaryPlan, Plan, PlatformPlan, TargetPlan},
    http::Wire,
    platform::{Handle, Job, JobState, Platform, PlatformError, Progress, Resume},
    store::Notice,
    target::{Swept, Target, TargetError},
};

pub(super) const EVERY: Duration = Duration::from_secs(60);
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    Works,
    /// Panics when it is to look.
    BreaksDown,
    /// Every job ends with an error.
    Fails,
    /// 429, with this `Retry-After`.
    Throttles(Duration),
}

#[derive(Debug)]
pub(super) struct Pretend {
    way: Mutex<Way>,
    submitted: Mutex<Vec<Marker>>,
}

impl Pretend {
    pub(super) fn now(&self, way: Way) {
        *lock(&self.way) = way;
    }
    pub(super) fn submitted(&self) -> Vec<Marker> {
        lock(&self.submitted).clone()
    }
    fn way(&self) -> Way {
        *lock(&self.way)
    }
}

#[async_trait]
impl Platform for Pretend {
    fn resume(&self) -> Resume {
        Resume::ByMarker
    }
    async fn prepare(&self, _: Sample) -> Result<(), PlatformError> {
        Ok(())
    }
    async fn submit(&self, job: &Job) -> Result<Handle, PlatformError> {
        lock(&self.submitted).push(job.run.marker);
        // So that a busy loop takes time, and ends.
        tokio::time::sleep(Duration::from_millis(1)).await;
        match self.way() {
            Way::Throttles(after) => Err(PlatformError::Throttled { retry_after: Some(after) }),
            Way::Works | Way::Fails | Way::BreaksDown => Ok(Handle::new("job").expect("short")),
        }
    }
    async fn find(&self, _: &Run) -> Result<Option<Handle>, PlatformError> {
        Ok(None)
    }
    async fn look(&self, handle: &Handle) -> Result<(JobState, Handle), PlatformError> {
        assert!(!matches!(self.way(), Way::BreaksDown), "the driver breaks down, as it was told");
        let progress = match self.way() {
            Way::Fails => Progress::Error { phase: Phase::Execute, detail: "out of memory".to_owned() },
            _ => Progress::Done { rows: None },
        };
        Ok((JobState { progress, jobs: Vec::new(), phases: Vec::new() }, handle.clone()))
    }
    async fn cancel(&self, _: &Handle) -> Result<(), PlatformError> {
        Ok(())
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Shows {
    All,
    Nothing,
    Copies,
    /// Nothing of ours, and rows of another run where only ours may stand.
    Stranger(Marker),
    NoAnswer,
}

#[derive(Debug)]
pub(super) struct Place(Mutex<Shows>);

impl Place {
    pub(super) fn now(&self, shows: Shows) {
        *lock(&self.0) = shows;
    }
}

#[async_trait]
impl Target for Place {
    fn address(&self, run: &Run) -> Address {
        Address {
            url: Secret::new("place://"),
            shown: "place://".to_owned(),
            place: String::new(),
            mode: run.route.mode,
        }
    }
    async fn look(&self, runs: &[Arc<Run>]) -> Result<Vec<Sighting>, TargetError> {
        let shows = *lock(&self.0);
        let seen = |run: &Arc<Run>| {
            let all = Rows::all_right(run.sample.rows);
            let rows = match shows {
                Shows::All => all,
                Shows::Nothing | Shows::NoAnswer | Shows::Stranger(_) => {
                    Rows { right: 0, missing: run.sample.rows, ..all }
                }
                Shows::Copies => Rows { copies: run.sample.rows, ..all },
            };
            let other = if let Shows::Stranger(other) = shows { Some(other) } else { None };
            Sighting::among(rows, run.marker, other)
        };
        if matches!(shows, Shows::NoAnswer) {
            std::future::pending::<()>().await;
        }
        Ok(runs.iter().map(seen).collect())
    }
    async fn control(&self) -> Result<(), TargetError> {
        Ok(())
    }
    async fn sweep(&self, _: Timestamp) -> Result<Swept, TargetError> {
        Ok(Swept::default())
    }
}

#[derive(Default)]
struct Record {
    verdicts: Mutex<Vec<Verdict>>,
    notices: Mutex<Vec<Notice>>,
}

impl Hearer for Record {
    fn verdict(&self, verdict: &Verdict, _: &Run) {
        lock(&self.verdicts).push(verdict.clone());
    }
    fn notice(&self, notice: &Notice) {
        lock(&self.notices).push(notice.clone());
    }
}

/// Before the agent starts.
pub(super) struct Setting {
    pub(super) clock: Clock,
    pub(super) store: Arc<Troubled>,
    pub(super) plan: OpenPlan,
    platform: Arc<Pretend>,
    pub(super) targets: Vec<Arc<Place>>,
}

/// With an agent that runs.
pub(super) struct Scene {
    pub(super) agent: Agent,
    pub(super) clock: Clock,
    pub(super) store: Arc<Troubled>,
    pub(super) plan: OpenPlan,
    pub(super) platform: Arc<Pretend>,
    pub(super) targets: Vec<Arc<Place>>,
    record: Arc<Record>,
}

/// A run of the plan's first route that was due then.
pub(super) fn run_of(plan: &OpenPlan, due: Timestamp) -> Run {
    Run {
        marker: Marker::mint(due, 7),
        route: Arc::clone(&plan.routes[0]),
        terms: Terms { due, objective: DEADLINE / 2, deadline: DEADLINE },
        sample: Sample::default(),
        why: Why::Scheduled,
        report: None,
    }
}

impl Scene {
    #[expect(clippy::new_ret_no_self, reason = "a scene is set before it is played")]
    pub(super) fn new(targets: &[&str], change: impl FnOnce(&mut OpenPlan)) -> Setting {
        let platform = Arc::new(Pretend { way: Mutex::new(Way::Works), submitted: Mutex::default() });
        let places: Vec<_> = targets.iter().map(|_| Arc::new(Place(Mutex::new(Shows::All)))).collect();
        let mut plan = plan(targets, &platform, &places);
        change(&mut plan);
        Setting {
            clock: Clock::starting_at(Timestamp::from_secs(1_440_452_640)),
            store: Arc::new(Troubled::new()),
            plan,
            platform,
            targets: places,
        }
    }

    pub(super) fn finals(&self) -> Vec<Verdict> {
        lock(&self.record.verdicts).iter().filter(|verdict| !verdict.provisional).cloned().collect()
    }

    pub(super) fn notices(&self) -> Vec<Notice> {
        lock(&self.record.notices).clone()
    }

    /// The agent ends; another may begin with the same ledger.
    pub(super) async fn end(self) -> Setting {
        self.agent.stop().await;
        let Self { clock, store, plan, platform, targets, .. } = self;
        Setting { clock, store, plan, platform, targets }
    }

    /// Until so many more runs were submitted.
    pub(super) async fn until_submitted(&self, n: usize) {
        let before = self.platform.submitted().len();
        while self.platform.submitted().len() < before + n {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Setting {
    pub(super) fn way(self, way: Way) -> Self {
        self.platform.now(way);
        self
    }

    pub(super) async fn start(self) -> Scene {
        let Setting { clock, store, plan, platform, targets } = self;
        let record = Arc::new(Record::default());
        let parts = Parts {
            plan: plan.clone(),
            store: Arc::clone(&store) as _,
            clock: clock.clone(),
            dice: Dice::seeded(1),
            metrics: None,
            hearer: Arc::clone(&record) as _,
            is_daemon: true,
            confirms: Confirms::Asked,
        };
        let agent = Agent::start(parts).await.expect("starts");
        Scene { agent, clock, store, plan, platform, targets, record }
    }
}

fn plan(targets: &[&str], platform: &Arc<Pretend>, places: &[Arc<Place>]) -> OpenPlan {
    let canary = CanaryName::new("result-output").expect("valid");
    let on = PlatformName::new("p").expect("valid");
    let names: Vec<_> = targets.iter().map(|name| TargetName::new(name).expect("valid")).collect();
    let route = |target: &TargetName| {
        Arc::new(Route::new(canary.clone(), on.clone(), target.clone(), Mode::Append, Labels::default()))
    };
    Plan {
        agent: AgentPlan {
            name: "scene".into(),
            listen: ([127, 0, 0, 1], 0).into(),
            hosts: Vec::new(),
            url: None,
            runbook: None,
            dashboard: None,
            intake: None,
            store: "scene.db".into(),
            detect_within: None,
            coverage_every: None,
            token: None,
            wire: Wire::default(),
            upkeep: Default::default(),
            public: None,
            file: "scene".into(),
        },
        platforms: vec![PlatformPlan {
            name: on.clone(),
            kind: "pretend",
            labels: Labels::default(),
            in_flight: 100,
            per_hour: u32::MAX,
            outputs: None,
            jobs: Vec::new(),
            driver: Arc::clone(platform) as _,
        }],
        targets: (names.iter().zip(places))
            .map(|(name, place)| TargetPlan {
                name: name.clone(),
                kind: "pretend",
                labels: Labels::default(),
                caps: Default::default(),
                schemes: Vec::new(),
                driver: Arc::clone(place) as _,
            })
            .collect(),
        notifiers: Vec::new(),
        canaries: vec![CanaryPlan {
            name: canary.clone(),
            schedule: Schedule::Every(EVERY),
            objective: DEADLINE / 2,
            deadline: DEADLINE,
            sample: Sample::default(),
            report: None,
        }],
        routes: names.iter().map(route).collect(),
        landings: Vec::new(),
    }
}
