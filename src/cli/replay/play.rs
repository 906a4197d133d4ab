//! Playing a world on virtual time: the real scheduler, judge and detector, the direct door, and
//! nothing else.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::{
    agent::{
        Agent, Clock, Dice, Hearer,
        lifecycle::{OpenPlan, Parts},
    },
    canary::{Run, Schedule, Selector, Timestamp, Verdict},
    config::{AgentPlan, CanaryPlan, Plan, PlatformPlan, TargetPlan},
    detect::{Change, Deploy, Incident},
    http::Wire,
    platform::Platform,
    sandbox::{Fault, World, direct::Direct},
    store::{Notice, Store, memory::Memory},
    target::Target,
};

/// What is played.
#[derive(Clone, Debug)]
pub struct Play {
    /// What it is played in.
    pub world: World,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// What is released.
    pub deploys: Vec<Deploy>,
    /// When it begins.
    pub start: Timestamp,
    /// How long it lasts.
    pub lasts: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Played {
    /// What people were told, in order.
    pub notices: Vec<Notice>,
    /// Incidents as they stand at the end, in the order in which they were told.
    pub incidents: Vec<Incident>,
    /// Runs that have a final verdict.
    pub runs: u64,
}

#[derive(Default)]
struct Record {
    notices: Mutex<Vec<Notice>>,
}

impl Hearer for Record {
    fn verdict(&self, _: &Verdict, _: &Run) {}

    fn notice(&self, notice: &Notice) {
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).push(notice.clone());
    }
}

/// Plays once. The same seed gives the same, to the byte.
pub fn play(play: &Play, seed: u64) -> anyhow::Result<Played> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let played = runtime.block_on(fly(play, seed));
    // Runs that are still in flight when the scenario ends are nobody's.
    runtime.shutdown_background();
    played
}

async fn fly(play: &Play, seed: u64) -> anyhow::Result<Played> {
    let origin = Instant::now();
    let direct = Direct::new(play.world.clone(), play.faults.clone(), seed, play.start, origin);
    let clock = Clock::Since { start: play.start, origin };
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let record = Arc::new(Record::default());
    let agent = Agent::start(Parts {
        plan: plan(&play.world, &direct),
        store: Arc::clone(&store),
        clock: clock.clone(),
        dice: Dice::seeded(seed),
        metrics: None,
        hearer: Arc::clone(&record) as Arc<dyn Hearer>,
        is_daemon: false,
    })
    .await?;
    let end = play.start.plus(play.lasts);
    for deploy in &play.deploys {
        if deploy.at < end {
            clock.sleep_until(deploy.at).await;
            agent.deploy(deploy.clone(), Selector::default()).await;
        }
    }
    clock.sleep_until(end).await;
    let notices = std::mem::take(&mut *record.notices.lock().unwrap_or_else(PoisonError::into_inner));
    let runs = store.counts().await?.settled;
    let mut incidents = Vec::new();
    for notice in &notices {
        if let Change::Opened(id) = &notice.change
            && !incidents.iter().any(|known: &Incident| known.id == *id)
            && let Some(incident) = store.incident(id).await?
        {
            incidents.push(incident);
        }
    }
    Ok(Played { notices, incidents, runs })
}

/// The plan that watches a world.
fn plan(world: &World, direct: &Direct) -> OpenPlan {
    let canary = &world.canary;
    Plan {
        agent: AgentPlan {
            name: "replay".to_owned(),
            listen: ([127, 0, 0, 1], 0).into(),
            hosts: Vec::new(),
            intake: None,
            store: ":memory:".into(),
            detect_within: None,
            token: None,
            wire: Wire::default(),
            file: "scenario".into(),
        },
        platforms: (world.platforms.iter())
            .map(|platform| PlatformPlan {
                name: platform.name.clone(),
                labels: platform.labels.clone(),
                in_flight: u32::MAX,
                per_hour: u32::MAX,
                driver: Arc::new(direct.platform(&platform.name)) as Arc<dyn Platform>,
            })
            .collect(),
        targets: (world.targets.iter())
            .map(|target| TargetPlan {
                name: target.clone(),
                labels: crate::canary::Labels::default(),
                driver: Arc::new(direct.target(target)) as Arc<dyn Target>,
            })
            .collect(),
        notifiers: Vec::new(),
        canaries: vec![CanaryPlan {
            name: canary.name.clone(),
            schedule: Schedule::Every(canary.every),
            objective: canary.objective,
            deadline: canary.deadline,
            sample: canary.sample,
        }],
        routes: world.routes(),
    }
}
