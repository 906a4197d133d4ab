//! Playing a world on virtual time: the real scheduler, judge and detector, the direct door, and
//! nothing else.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    agent::{
        Agent, Clock, Confirms, Dice, Hearer,
        lifecycle::{OpenPlan, Parts},
    },
    canary::{Marker, Outcome, RouteId, Run, Schedule, Selector, Timestamp, Verdict},
    config::{AgentPlan, CanaryPlan, Plan, PlatformPlan, TargetCaps, TargetPlan},
    detect::{Change, Deploy, Incident},
    http::Wire,
    platform::Platform,
    sandbox::{
        Fault, Scenario, World,
        direct::Direct,
        scenario::{AgentEvent, Does},
    },
    store::{JournalEntry, Notice, Store, memory::Memory},
    target::Target,
};

/// A plan without drivers: those of the world take their place.
pub type Watch = Plan<(), ()>;

/// What is played.
#[derive(Clone, Debug)]
pub struct Play {
    /// What it is played in.
    pub world: World,
    /// What watches it.
    pub watch: Watch,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// What is released.
    pub deploys: Vec<Deploy>,
    /// What happens to the agent, in the order of time.
    pub agent: Vec<AgentEvent>,
    /// When it begins.
    pub start: Timestamp,
    /// How long it lasts.
    pub lasts: Duration,
    /// Which confirming runs are flown.
    pub confirms: Confirms,
    /// Whether a ledger of all that detection is told is kept, as a daemon keeps it. One that is
    /// restarted keeps it anyway.
    pub keeps_journal: bool,
}

/// What came of it. Notices are dated by the world's clock: the agent's may have been stepped.
#[derive(Debug, Default)]
pub struct Played {
    /// What people were told, in order.
    pub notices: Vec<Notice>,
    /// Incidents as they stand at the end, in the order in which they were told.
    pub incidents: Vec<Incident>,
    /// Runs that have a final verdict.
    pub runs: u64,
    /// What detection was told since its last snapshot, if that is kept.
    pub journal: Vec<JournalEntry>,
    /// What became of each run, by its newest final verdict: when it was due, over which route, and how.
    pub finals: Vec<(Timestamp, RouteId, Outcome)>,
}

impl Play {
    /// A world that is watched by its own canary, and in which nothing happens.
    pub fn of_world(world: World, start: Timestamp, lasts: Duration) -> Self {
        let watch = watch(&world);
        let (faults, deploys, agent) = Default::default();
        let (confirms, keeps_journal) = Default::default();
        Self { world, watch, faults, deploys, agent, start, lasts, confirms, keeps_journal }
    }

    /// What a scenario says.
    pub fn of(scenario: &Scenario) -> Self {
        Self {
            faults: scenario.faults.clone(),
            deploys: scenario.deploys.clone(),
            agent: scenario.agent.clone(),
            ..Self::of_world(scenario.world.clone(), scenario.start, scenario.lasts)
        }
    }
}

/// Hears what people are told, and when that was by the world's clock.
struct Record {
    world: Clock,
    notices: Mutex<Vec<Notice>>,
    finals: Mutex<HashMap<Marker, (Timestamp, RouteId, Outcome)>>,
}

impl Hearer for Record {
    fn verdict(&self, verdict: &Verdict, run: &Run) {
        if !verdict.provisional {
            let became = (verdict.due, verdict.route, verdict.outcome);
            self.finals.lock().unwrap_or_else(PoisonError::into_inner).insert(run.marker, became);
        }
    }

    fn notice(&self, notice: &Notice) {
        let told = Notice { at: self.world.now(), ..notice.clone() };
        self.notices.lock().unwrap_or_else(PoisonError::into_inner).push(told);
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

/// What happens from outside while the agent flies.
enum Happening<'p> {
    Deploy(&'p Deploy),
    Agent(Does),
}

/// In the order of time.
fn happenings(play: &Play) -> Vec<(Timestamp, Happening<'_>)> {
    let deploys = play.deploys.iter().map(|deploy| (deploy.at, Happening::Deploy(deploy)));
    let agent = play.agent.iter().map(|event| (event.at, Happening::Agent(event.does)));
    let mut all: Vec<_> = deploys.chain(agent).collect();
    all.sort_by_key(|(at, _)| *at);
    all
}

async fn fly(play: &Play, seed: u64) -> anyhow::Result<Played> {
    let (origin, start) = (Instant::now(), play.start);
    let direct = Direct::new(play.world.clone(), play.faults.clone(), seed, start, origin);
    let world = Clock::Since { start, origin };
    let by = Arc::new(AtomicI64::new(0));
    let steps = play.agent.iter().any(|event| matches!(event.does, Does::ClockAhead(_) | Does::ClockBack(_)));
    // Only who may be stepped looks at the clock twice a minute.
    let clock = if steps { Clock::Stepped { start, origin, by: Arc::clone(&by) } } else { world.clone() };
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let record = Arc::new(Record { world: world.clone(), notices: Mutex::default(), finals: Mutex::default() });
    let dice = Dice::seeded(seed);
    let keeps_journal = play.keeps_journal || !play.agent.is_empty();
    let begin = async || {
        Agent::start(Parts {
            plan: open(&play.watch, &direct),
            store: Arc::clone(&store),
            clock: clock.clone(),
            dice: dice.clone(),
            metrics: None,
            hearer: Arc::clone(&record) as Arc<dyn Hearer>,
            is_daemon: keeps_journal,
            confirms: play.confirms,
        })
        .await
    };
    let mut agent = begin().await?;
    let end = start.plus(play.lasts);
    for (at, happening) in happenings(play).into_iter().take_while(|(at, _)| *at < end) {
        // One that comes while the agent is away waits until it is back: pipelines try again.
        world.sleep_until(at).await;
        match happening {
            Happening::Deploy(deploy) => {
                agent.deploy(deploy.clone(), Selector::default()).await;
            }
            Happening::Agent(Does::Restart(away)) => {
                agent.stop().await;
                drop(agent);
                tokio::time::sleep(away).await;
                agent = begin().await?;
            }
            // Nobody is asked anything meanwhile, and all that was to happen happens at once.
            Happening::Agent(Does::Stall(length)) => tokio::time::advance(length).await,
            Happening::Agent(Does::ClockAhead(step)) => {
                by.fetch_add(step.as_micros() as i64, Ordering::Relaxed);
            }
            Happening::Agent(Does::ClockBack(step)) => {
                by.fetch_sub(step.as_micros() as i64, Ordering::Relaxed);
            }
        }
    }
    world.sleep_until(end).await;
    let notices = std::mem::take(&mut *record.notices.lock().unwrap_or_else(PoisonError::into_inner));
    let runs = store.counts().await?.settled;
    let journal = if keeps_journal { store.journal(0).await? } else { Vec::new() };
    let mut incidents = Vec::new();
    for notice in &notices {
        if let Change::Opened(id) = &notice.change
            && !incidents.iter().any(|known: &Incident| known.id == *id)
            && let Some(incident) = store.incident(id).await?
        {
            incidents.push(incident);
        }
    }
    let finals = std::mem::take(&mut *record.finals.lock().unwrap_or_else(PoisonError::into_inner));
    let mut finals: Vec<_> = finals.into_values().collect();
    finals.sort_unstable();
    Ok(Played { notices, incidents, runs, journal, finals })
}

/// A plan with the doors of the direct sandbox for its drivers.
fn open(watch: &Watch, direct: &Direct) -> OpenPlan {
    let platform = |plan: &PlatformPlan<()>| PlatformPlan {
        name: plan.name.clone(),
        kind: plan.kind,
        labels: plan.labels.clone(),
        in_flight: plan.in_flight,
        per_hour: plan.per_hour,
        outputs: None,
        jobs: Vec::new(),
        driver: Arc::new(direct.platform(&plan.name)) as Arc<dyn Platform>,
    };
    let target = |plan: &TargetPlan<()>| TargetPlan {
        name: plan.name.clone(),
        kind: plan.kind,
        labels: plan.labels.clone(),
        caps: plan.caps,
        schemes: Vec::new(),
        driver: Arc::new(direct.labelled_target(&plan.name, &plan.labels)) as Arc<dyn Target>,
    };
    Plan {
        agent: watch.agent.clone(),
        platforms: watch.platforms.iter().map(platform).collect(),
        targets: watch.targets.iter().map(target).collect(),
        notifiers: Vec::new(),
        canaries: watch.canaries.clone(),
        routes: watch.routes.clone(),
        landings: Vec::new(),
    }
}

/// The plan of a world's own canary.
fn watch(world: &World) -> Watch {
    let canary = &world.canary;
    Plan {
        agent: AgentPlan {
            name: "replay".to_owned(),
            listen: ([127, 0, 0, 1], 0).into(),
            hosts: Vec::new(),
            url: None,
            runbook: None,
            intake: None,
            store: ":memory:".into(),
            detect_within: None,
            coverage_every: None,
            token: None,
            wire: Wire::default(),
            upkeep: Default::default(),
            public: None,
            file: "scenario".into(),
        },
        platforms: (world.platforms.iter())
            .map(|platform| PlatformPlan {
                name: platform.name.clone(),
                kind: "sandbox",
                labels: platform.labels.clone(),
                in_flight: u32::MAX,
                per_hour: u32::MAX,
                outputs: None,
                jobs: Vec::new(),
                driver: (),
            })
            .collect(),
        targets: (world.targets.iter())
            .map(|target| TargetPlan {
                name: target.clone(),
                kind: "sandbox",
                labels: crate::canary::Labels::default(),
                caps: TargetCaps::default(),
                schemes: Vec::new(),
                driver: (),
            })
            .collect(),
        notifiers: Vec::new(),
        canaries: vec![CanaryPlan {
            name: canary.name.clone(),
            schedule: Schedule::Every(canary.every),
            objective: canary.objective,
            deadline: canary.deadline,
            sample: canary.sample,
            report: None,
        }],
        routes: world.routes(),
        landings: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first hour of 2015's outage and a little before.
    fn outage(confirms: Confirms) -> Played {
        let scenario = Scenario::builtin("2015-08-24").expect("compiled in");
        let lasts = Duration::from_secs(50 * 60);
        play(&Play { lasts, confirms, deploys: Vec::new(), ..Play::of(&scenario) }, 1).expect("it plays")
    }

    #[test]
    fn confirming_runs_can_be_left_out_to_see_what_they_give() {
        let [never, own, asked] = [Confirms::Never, Confirms::OwnRoute, Confirms::Asked].map(outage);
        assert!(never.runs < own.runs && own.runs < asked.runs, "{} {} {}", never.runs, own.runs, asked.runs);
        assert!([never, own, asked].iter().all(|played| played.incidents.len() == 1));
    }

    #[test]
    fn what_detection_was_told_is_kept_where_it_is_asked_for() {
        let scenario = Scenario::builtin("2015-08-24").expect("compiled in");
        let lasts = Duration::from_secs(600);
        let plan = Play { lasts, keeps_journal: true, ..Play::of(&scenario) };
        let played = play(&plan, 1).expect("it plays");
        assert_eq!(played.journal.first().map(|entry| entry.seq), Some(1));
        assert!(played.journal.len() as u64 > played.runs);
        assert!(play(&Play { keeps_journal: false, ..plan }, 1).expect("it plays").journal.is_empty());
    }
}
