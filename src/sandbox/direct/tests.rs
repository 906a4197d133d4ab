//! What each fault does to a job, seen through the traits, on virtual time.

use std::time::Duration;

use super::*;
use crate::{
    canary::{Marker, Mode, Phase, Route, Run, Sample, Sighting, Terms, run::Why},
    platform::{Handle, Job, Platform, PlatformError, Progress},
    sandbox::world::Spread,
    target::Target,
};

const S: fn(u64) -> Duration = Duration::from_secs;
const START: Timestamp = Timestamp::from_secs(1_440_450_000);

/// The default world, but every job takes 12 s (export from 10 s on) and rows are there 2 s later.
struct Sky {
    door: Direct,
    platform: DirectPlatform,
    target: DirectTarget,
    route: Arc<Route>,
    flown: std::cell::Cell<u64>,
}

fn fixed_world() -> World {
    let mut world = World::default();
    for platform in &mut world.platforms {
        platform.job_time = Spread::Always(S(12));
        platform.land_time = Spread::Always(S(2));
    }
    world
}

/// Faults as JSON; their times count from the start.
fn sky(mode: Mode, faults: &[&str]) -> Sky {
    let faults = faults.iter().map(|json| Fault::from_json(json.as_bytes(), START).expect("a fault")).collect();
    let mut world = fixed_world();
    world.canary.modes = vec![mode];
    let route = world.routes()[0].clone();
    let door = Direct::new(world, faults, 1, START, Instant::now());
    let (platform, target) = (door.platform(&route.platform), door.target(&route.target));
    Sky { door, platform, target, route, flown: Default::default() }
}

impl Sky {
    fn run(&self) -> Arc<Run> {
        self.flown.set(self.flown.get() + 1);
        let due = self.door.now();
        Arc::new(Run {
            marker: Marker::mint(due, self.flown.get().into()),
            route: self.route.clone(),
            terms: Terms { due, objective: S(120), deadline: S(300) },
            sample: Sample::default(),
            why: Why::Scheduled,
            report: None,
        })
    }

    async fn submit(&self, run: &Arc<Run>) -> Result<Handle, PlatformError> {
        let deliver_to = self.target.address(run);
        self.platform.submit(&Job { run: run.clone(), deliver_to, deadline: run.terms.deadline_at(None) }).await
    }

    async fn progress(&self, handle: &Handle) -> Progress {
        self.platform.look(handle).await.expect("an answer").0.progress
    }

    async fn sighting(&self, run: &Arc<Run>) -> Sighting {
        self.target.look(std::slice::from_ref(run)).await.expect("a sighting").remove(0)
    }

    /// Flies one run and waits a quarter of a minute: enough for a healthy one.
    async fn fly(&self) -> (Arc<Run>, Handle) {
        let run = self.run();
        let handle = self.submit(&run).await.expect("accepted");
        until(15).await;
        (run, handle)
    }
}

async fn until(seconds: u64) {
    tokio::time::sleep(S(seconds)).await;
}

const DONE: Progress = Progress::Done { rows: Some(20) };

fn counts(sighting: &Sighting) -> (u32, u32, u32, u32) {
    let rows = &sighting.rows;
    (rows.right, rows.missing, rows.copies, rows.changed)
}

#[tokio::test(start_paused = true)]
async fn an_unbroken_job_goes_through_its_phases_and_lands() {
    let sky = sky(Mode::Append, &[]);
    let run = sky.run();
    let handle = sky.submit(&run).await.expect("accepted");
    let mut seen = vec![sky.progress(&handle).await];
    for wait in [2, 9, 2] {
        until(wait).await;
        seen.push(sky.progress(&handle).await);
    }
    let running = Progress::Running;
    assert_eq!(seen, [running(Phase::Queue), running(Phase::Execute), running(Phase::Export), DONE]);
    assert_eq!(counts(&sky.sighting(&run).await), (0, 20, 0, 0), "rows need their two seconds");
    until(1).await;
    let sighting = sky.sighting(&run).await;
    assert!(sighting.complete());
    assert_eq!(sighting.landed_at, Some(START.plus(S(14))));
}

#[tokio::test(start_paused = true)]
async fn a_second_submit_of_a_run_starts_no_second_job() {
    let sky = sky(Mode::Append, &[]);
    let (run, first) = sky.fly().await;
    let again = sky.submit(&run).await.expect("accepted");
    assert_eq!(again, first);
    assert_eq!(sky.progress(&again).await, DONE);
    assert!(sky.sighting(&run).await.complete());
    assert_eq!(sky.platform.find(&run).await.expect("an answer"), Some(first));
    assert_eq!(sky.platform.find(&sky.run()).await.expect("an answer"), None);
}

#[tokio::test(start_paused = true)]
async fn output_faults_change_what_lands_and_not_what_the_job_says() {
    for (fault, found) in [
        (r#"{"kind":"drop-output"}"#, (0, 20, 0, 0)),
        (r#"{"kind":"stale-output"}"#, (0, 20, 0, 0)),
        (r#"{"kind":"partial-output"}"#, (10, 10, 0, 0)),
        (r#"{"kind":"partial-output","share":0.99}"#, (19, 1, 0, 0)),
        (r#"{"kind":"partial-output","share":0.001}"#, (1, 19, 0, 0)),
        (r#"{"kind":"duplicate-output"}"#, (20, 0, 20, 0)),
        (r#"{"kind":"duplicate-output","copies":3}"#, (20, 0, 40, 0)),
        (r#"{"kind":"corrupt-output"}"#, (0, 0, 0, 20)),
        (r#"{"kind":"corrupt-output","column":"hard_text"}"#, (0, 0, 0, 20)),
        (r#"{"kind":"delay-output"}"#, (0, 20, 0, 0)),
    ] {
        let sky = sky(Mode::Append, &[fault]);
        let (run, handle) = sky.fly().await;
        assert_eq!(sky.progress(&handle).await, DONE, "{fault}");
        assert_eq!(counts(&sky.sighting(&run).await), found, "{fault}");
    }
}

#[tokio::test(start_paused = true)]
async fn output_faults_add_up_unless_nothing_is_written() {
    let partial = r#"{"kind":"partial-output"}"#;
    let twice = r#"{"kind":"duplicate-output"}"#;
    for (faults, found) in [
        (vec![partial, twice], (10, 10, 10, 0)),
        (vec![partial, twice, r#"{"kind":"drop-output"}"#], (0, 20, 0, 0)),
        (vec![partial, r#"{"kind":"partial-output","share":0.9}"#], (10, 10, 0, 0)),
    ] {
        let sky = sky(Mode::Append, &faults);
        let (run, _) = sky.fly().await;
        assert_eq!(counts(&sky.sighting(&run).await), found, "{faults:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_delayed_output_and_a_second_copy_come_when_they_should() {
    let delayed = sky(Mode::Append, &[r#"{"kind":"delay-output","by":"1m"}"#]);
    let (run, _) = delayed.fly().await;
    until(58).await;
    assert!(delayed.sighting(&run).await.rows.nothing());
    until(2).await;
    assert!(delayed.sighting(&run).await.complete());

    let doubled = sky(Mode::Append, &[r#"{"kind":"duplicate-output","after":"1m"}"#]);
    let (run, _) = doubled.fly().await;
    assert!(doubled.sighting(&run).await.complete());
    until(60).await;
    assert_eq!(doubled.sighting(&run).await.rows.copies, 20);
}

#[tokio::test(start_paused = true)]
async fn in_modes_that_displace_a_skipped_write_leaves_the_earlier_rows_and_a_dropped_one_none() {
    for mode in [Mode::Replace, Mode::Truncate, Mode::Update] {
        for (kind, left) in [("stale-output", true), ("drop-output", false), ("partial-output", false)] {
            let sky = sky(mode, &[&format!(r#"{{"kind":"{kind}","from":"20s"}}"#)]);
            let (first, _) = sky.fly().await;
            assert!(sky.sighting(&first).await.complete());
            until(10).await;
            let (second, handle) = sky.fly().await;
            assert_eq!(sky.progress(&handle).await, DONE);
            let found = sky.sighting(&second).await;
            assert_eq!(found.rows.nothing(), kind != "partial-output", "{kind}");
            assert_eq!(found.strangers, if left { vec![first.marker] } else { vec![] }, "{mode} {kind}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_replace_leaves_nothing_of_the_earlier_run_and_is_no_stranger_to_it() {
    let sky = sky(Mode::Replace, &[]);
    let (first, _) = sky.fly().await;
    let (second, _) = sky.fly().await;
    assert!(sky.sighting(&second).await.complete());
    let found = sky.sighting(&first).await;
    assert!(found.rows.nothing() && found.strangers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn broken_jobs_write_nothing() {
    for (kind, says) in [
        ("fail-job", Progress::Error { phase: Phase::Execute, detail: "the query failed".into() }),
        ("hang-job", Progress::Running(Phase::Execute)),
        ("target-down", Progress::Error { phase: Phase::Export, detail: "the output could not be written".into() }),
    ] {
        let sky = sky(Mode::Append, &[&format!(r#"{{"kind":"{kind}","until":"1m"}}"#)]);
        let (run, handle) = sky.fly().await;
        until(600).await;
        assert_eq!(sky.progress(&handle).await, says, "{kind}");
        assert!(sky.sighting(&run).await.rows.nothing(), "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn lying_jobs_write_everything() {
    for (kind, says) in [
        ("false-error", Progress::Error { phase: Phase::Export, detail: "the output could not be written".into() }),
        ("false-killed", Progress::Killed { phase: Phase::Export }),
    ] {
        let sky = sky(Mode::Append, &[&format!(r#"{{"kind":"{kind}"}}"#)]);
        let (run, handle) = sky.fly().await;
        assert_eq!(sky.progress(&handle).await, says, "{kind}");
        assert!(sky.sighting(&run).await.complete(), "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_frozen_status_stands_still_while_work_goes_on_and_thaws() {
    let sky = sky(Mode::Append, &[r#"{"kind":"freeze-status","from":"5s","until":"1m"}"#]);
    let (run, handle) = sky.fly().await;
    assert_eq!(sky.progress(&handle).await, Progress::Running(Phase::Execute), "as of the fault's start");
    assert!(sky.sighting(&run).await.complete());
    let (_, later) = sky.fly().await;
    assert_eq!(sky.progress(&later).await, Progress::Running(Phase::Queue), "as of its submit");
    until(30).await;
    assert_eq!((sky.progress(&handle).await, sky.progress(&later).await), (DONE, DONE));
}

#[tokio::test(start_paused = true)]
async fn a_killed_job_stays_killed_and_a_finished_one_stays_done() {
    let sky = sky(Mode::Append, &[]);
    let run = sky.run();
    let handle = sky.submit(&run).await.expect("accepted");
    until(5).await;
    sky.platform.cancel(&handle).await.expect("killed");
    until(20).await;
    assert_eq!(sky.progress(&handle).await, Progress::Killed { phase: Phase::Execute });
    assert!(sky.sighting(&run).await.rows.nothing());

    let (run, handle) = sky.fly().await;
    sky.platform.cancel(&handle).await.expect("nothing to kill");
    assert_eq!(sky.progress(&handle).await, DONE);
    assert!(sky.sighting(&run).await.complete());
}

#[tokio::test(start_paused = true)]
async fn a_refused_submit_is_refused_again_until_the_fault_ends() {
    let sky = sky(Mode::Append, &[r#"{"kind":"refuse-submit","rate":0.5,"until":"1m"}"#]);
    let (mut refused, mut accepted) = (Vec::new(), 0);
    for _ in 0..40 {
        let run = sky.run();
        match sky.submit(&run).await {
            Ok(_) => accepted += 1,
            Err(PlatformError::Broken { detail }) => {
                assert_eq!(detail, "HTTP 503");
                refused.push(run);
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!((10..30).contains(&accepted), "about half: {accepted}");
    for run in &refused {
        assert!(sky.submit(run).await.is_err());
    }
    until(60).await;
    for run in &refused {
        assert!(sky.submit(run).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_answered_with_an_error_or_not_at_all_has_no_effect() {
    let broken = sky(Mode::Append, &[r#"{"kind":"api-error","until":"10s"}"#]);
    let run = broken.run();
    assert!(matches!(broken.submit(&run).await, Err(PlatformError::Broken { .. })));
    assert!(matches!(broken.platform.prepare(run.sample).await, Err(PlatformError::Broken { .. })));
    until(10).await;
    assert_eq!(broken.platform.find(&run).await.expect("an answer"), None);

    let silent = sky(Mode::Append, &[r#"{"kind":"api-unreachable","until":"10s"}"#]);
    let run = silent.run();
    let answer = tokio::time::timeout(S(30), silent.submit(&run)).await;
    assert!(answer.is_err(), "no answer within a caller's patience");
    assert_eq!(silent.platform.find(&run).await.expect("an answer"), None);
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_takes_effect_when_it_arrives() {
    let sky = sky(Mode::Append, &[r#"{"kind":"api-slow","by":"40s","until":"1s"}"#]);
    let run = sky.run();
    assert!(tokio::time::timeout(S(30), sky.submit(&run)).await.is_err());
    assert!(sky.platform.find(&run).await.expect("an answer").is_some(), "the answer was lost, not the job");
    assert!(sky.sighting(&run).await.complete());
}

#[tokio::test(start_paused = true)]
async fn only_the_target_that_is_down_cannot_be_read() {
    for kind in ["target-down", "agent-blind"] {
        let sky = sky(Mode::Append, &[&format!(r#"{{"kind":"{kind}","where":{{"target":"web"}}}}"#)]);
        let run = sky.run();
        assert!(sky.target.control().await.is_err() && sky.target.look(&[run]).await.is_err());
        let bucket = sky.door.target(&TargetName::new("bucket").expect("a name"));
        assert!(bucket.control().await.is_ok());
    }
    let blind = sky(Mode::Append, &[r#"{"kind":"agent-blind","until":"1m"}"#]);
    let (run, handle) = blind.fly().await;
    assert_eq!(blind.progress(&handle).await, DONE, "only the agent is blind");
    until(60).await;
    assert!(blind.sighting(&run).await.complete());
}

#[tokio::test(start_paused = true)]
async fn a_slow_target_takes_as_long_for_the_agents_row_as_for_everybody_elses_and_reads_stay_quick() {
    let sky = sky(Mode::Append, &[r#"{"kind":"slow-target","by":"10s","where":{"target":"web"}}"#]);
    let (run, handle) = sky.fly().await;
    assert_eq!(sky.progress(&handle).await, DONE, "the job is done on time, at 12 s");
    let before = sky.door.now();
    assert!(!sky.sighting(&run).await.complete() && sky.door.now().since(before) < S(1));
    assert!(sky.target.control().await.is_ok());
    assert!(sky.door.now().since(before) >= S(10));
    assert!(sky.sighting(&run).await.complete(), "what came with the agent's own row is there as well");
    let (bucket, before) = (sky.door.target(&TargetName::new("bucket").expect("a name")), sky.door.now());
    assert!(bucket.control().await.is_ok() && sky.door.now().since(before) < S(1));
}

#[tokio::test(start_paused = true)]
async fn a_fault_takes_effect_where_it_says_and_nowhere_else() {
    let sky = sky(Mode::Append, &[r#"{"kind":"drop-output","where":{"worker":"v6","target":"web"}}"#]);
    let world = fixed_world();
    for route in world.routes() {
        let broken = route.facet("worker") == Some("v6") && route.facet("target") == Some("web");
        let run = Arc::new(Run { route: route.clone(), ..(*sky.run()).clone() });
        let (platform, target) = (sky.door.platform(&route.platform), sky.door.target(&route.target));
        let job = Job { run: run.clone(), deliver_to: target.address(&run), deadline: run.terms.deadline_at(None) };
        platform.submit(&job).await.expect("accepted");
        until(15).await;
        let found = target.look(&[run]).await.expect("a sighting").remove(0);
        assert_eq!(found.complete(), !broken, "{route}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_hits_what_is_written_while_it_lasts() {
    // Written at 12 s, 42 s and 72 s.
    let sky = sky(Mode::Append, &[r#"{"kind":"drop-output","from":"20s","until":"50s"}"#]);
    let mut landed = Vec::new();
    for _ in 0..3 {
        let (run, _) = sky.fly().await;
        until(15).await;
        landed.push(sky.sighting(&run).await.complete());
    }
    assert_eq!(landed, [true, false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_is_added_and_mended_by_hand_changes_nothing_before_or_after() {
    let sky = sky(Mode::Append, &[]);
    let (before, _) = sky.fly().await;
    let id = sky.door.break_now(Fault::from_json(br#"{"kind":"drop-output"}"#, sky.door.now()).expect("a fault"));
    let (during, _) = sky.fly().await;
    assert!(sky.door.mend(id) && !sky.door.mend(id));
    let (after, _) = sky.fly().await;
    let mut landed = Vec::new();
    for run in [before, during, after] {
        landed.push(sky.sighting(&run).await.complete());
    }
    assert_eq!(landed, [true, false, true]);
}

/// What happens to forty runs of every route: when they are done and what lands.
async fn history(seed: u64, targets: &[&str]) -> Vec<(String, Option<Timestamp>)> {
    let targets = targets.iter().map(|name| TargetName::new(name).expect("a name")).collect();
    let world = World { targets, ..World::default() };
    let fault = Fault::from_json(br#"{"kind":"drop-output","rate":0.3}"#, START).expect("a fault");
    let routes = world.routes();
    let door = Direct::new(world, vec![fault], seed, START, Instant::now());
    let mut runs = Vec::new();
    for number in 0..40 {
        for route in &routes {
            let terms = Terms { due: START, objective: S(120), deadline: S(300) };
            let marker = Marker::mint(START, u128::from(route.id.0) << 8 | number);
            let sample = Sample::default();
            let run = Arc::new(Run { marker, route: route.clone(), terms, sample, why: Why::Scheduled, report: None });
            let target = door.target(&route.target);
            let job = Job { deliver_to: target.address(&run), run: run.clone(), deadline: START };
            door.platform(&route.platform).submit(&job).await.expect("accepted");
            runs.push((target, run));
        }
    }
    until(120).await;
    let mut history = Vec::new();
    for (target, run) in runs {
        let found = target.look(std::slice::from_ref(&run)).await.expect("a sighting").remove(0);
        history.push((run.route.to_string(), found.landed_at));
    }
    history
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_lives_and_another_seed_others() {
    let once = history(7, &["web", "bucket"]).await;
    let lost = once.iter().filter(|(_, landed)| landed.is_none()).count();
    assert!((40..=110).contains(&lost), "about three in ten of 240: {lost}");
    assert_eq!(once, history(7, &["web", "bucket"]).await);
    assert_ne!(once, history(8, &["web", "bucket"]).await);
}

#[tokio::test(start_paused = true)]
async fn what_happens_on_one_route_does_not_depend_on_the_others() {
    let lost = |history: Vec<(String, Option<Timestamp>)>| -> Vec<bool> {
        let web = history.into_iter().filter(|(route, _)| route.contains("/web/"));
        web.map(|(_, landed)| landed.is_none()).collect()
    };
    let web = lost(history(7, &["web"]).await);
    assert_eq!(lost(history(7, &["web", "bucket"]).await), web);
    // Three routes a round: were their dice the same, each round would be lost as a whole or not at all.
    assert!(web.chunks(3).any(|round| round.contains(&true) && round.contains(&false)));
}

#[tokio::test(start_paused = true)]
async fn memory_does_not_grow_with_time() {
    let sky = sky(Mode::Replace, &[r#"{"kind":"drop-output","rate":0.2}"#, r#"{"kind":"refuse-submit","rate":0.2}"#]);
    let mut most = 0;
    for _ in 0..500 {
        let run = sky.run();
        let _ = sky.submit(&run).await;
        until(60).await;
        sky.sighting(&run).await;
        most = most.max(sky.door.lock().remembered());
    }
    assert!(most < 30, "{most}");
}
