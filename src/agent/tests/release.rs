//! A deploy that is also verified: each route is sent once, and the answer rests on those runs.

use std::{collections::BTreeMap, future::pending, sync::Arc, time::Duration};

use tokio::sync::mpsc;

use super::{
    S,
    scene::{Scene, Shows, Way, run_of},
};
use crate::{
    agent::{
        Dice,
        baseline::Baselines,
        errand::{Errand, Heard},
        lifecycle::OpenPlan,
        once::Once,
        scheduler::Want,
        verify::{self, Asked},
    },
    canary::{Evidence, Marker, Outcome, Pause, Run, Schedule, Selector, Verdict, Why},
    detect::{
        Deploy,
        verification::{Answer, Turn},
    },
    store::Store,
};

fn asked(scene: &Scene, routes: usize) -> Asked {
    let routes = scene.plan.routes[..routes].to_vec();
    Asked { routes, rounds: 1, within: S(300), strict: false, accept: false }
}

#[tokio::test(start_paused = true)]
async fn a_deploy_that_is_verified_sends_every_route_once() {
    let scene = Scene::new(&["t0", "t1", "t2", "t3"], |_| {}).start().await;
    tokio::time::sleep(S(130)).await;
    let at = scene.clock.now();
    let deploy = Deploy { at, service: "worker".into(), version: "v6".into() };
    let asked = asked(&scene, 2);
    let errand = scene.agent.deploy_to_verify(deploy, Selector::default(), &asked).await.expect("it runs");
    let found = scene.agent.verify_what_was_sent(&asked, errand, pending(), |_| {}).await.expect("it runs");
    assert_eq!(found.answer, Answer::Yes);
    assert!(found.routes.iter().all(|route| (route.runs, route.state) == (1, Turn::Ok)), "{:?}", found.routes);
    tokio::time::sleep(S(30)).await;
    let mut sent = BTreeMap::<_, Vec<_>>::new();
    for run in scene.finals().into_iter().filter(|run| matches!(run.why, Why::Deploy | Why::Verify)) {
        assert!(run.due >= at && run.due < at.plus(S(10)), "{run:?}");
        sent.entry(run.route).or_default().push(run.why);
    }
    let of = |n: usize| sent[&scene.plan.routes[n].id].clone();
    let one = vec![Why::Verify];
    assert_eq!([of(0), of(1), of(2), of(3)], [one.clone(), one, vec![Why::Deploy], vec![Why::Deploy]]);
}

#[tokio::test(start_paused = true)]
async fn a_route_that_loses_after_a_deploy_is_a_regression_against_how_it_was_before() {
    let scene = Scene::new(&["t0", "t1"], |_| {}).start().await;
    tokio::time::sleep(S(130)).await;
    scene.targets[0].now(Shows::Nothing);
    let deploy = Deploy { at: scene.clock.now(), service: "worker".into(), version: "v6".into() };
    let asked = asked(&scene, 2);
    let errand = scene.agent.deploy_to_verify(deploy, Selector::default(), &asked).await.expect("it runs");
    // However late somebody asks, the release's own runs are not what it was before.
    tokio::time::sleep(S(90)).await;
    let found = scene.agent.verify_what_was_sent(&asked, errand, pending(), |_| {}).await.expect("it runs");
    assert_eq!(found.answer, Answer::No);
    let states: Vec<_> = found.routes.iter().map(|route| (route.state, route.was)).collect();
    assert_eq!(states, [(Turn::Regression, Some(Outcome::Landed)), (Turn::Ok, Some(Outcome::Landed))]);
}

#[tokio::test(start_paused = true)]
async fn a_release_that_is_seen_to_be_broken_does_not_pass_for_how_it_was() {
    let scene = Scene::new(&["t0", "t1"], |_| {}).start().await;
    tokio::time::sleep(S(250)).await;
    let release = async |version: &str, shows: Shows, seconds: u64| {
        let deploy = Deploy { at: scene.clock.now(), service: "worker".into(), version: version.into() };
        assert!(scene.agent.deploy(deploy, Selector::default()).await);
        scene.targets[0].now(shows);
        tokio::time::sleep(S(seconds)).await;
    };
    let asked = asked(&scene, 2);
    let verify = async || {
        let found = scene.agent.verify(&asked, pending(), |_| {}).await.expect("it runs");
        (found.answer, found.routes[0].state)
    };
    // Runs on the schedule have shown it for minutes, and the pipeline asks again and again.
    release("v8", Shows::Nothing, 200).await;
    assert_eq!(verify().await, (Answer::No, Turn::Regression));
    assert_eq!(verify().await, (Answer::No, Turn::Regression));
    release("v8", Shows::Nothing, 10).await;
    assert_eq!(verify().await, (Answer::No, Turn::Regression), "the same, deployed again");
    release("v7", Shows::All, 5).await;
    assert_eq!(verify().await, (Answer::Yes, Turn::Fixed));
    // What had failed before a release, no release did.
    scene.targets[0].now(Shows::Nothing);
    tokio::time::sleep(S(300)).await;
    release("v9", Shows::Nothing, 60).await;
    assert_eq!(verify().await, (Answer::Yes, Turn::StillFailing));
}

#[tokio::test(start_paused = true)]
async fn without_a_marker_an_open_incident_tells_since_when() {
    let scene = Scene::new(&["t0", "t1"], |_| {}).start().await;
    tokio::time::sleep(S(250)).await;
    scene.targets[0].now(Shows::Nothing);
    tokio::time::sleep(S(400)).await;
    assert!(!scene.notices().is_empty());
    let found = scene.agent.verify(&asked(&scene, 2), pending(), |_| {}).await.expect("it runs");
    assert_eq!((found.answer, found.routes[0].was), (Answer::No, Some(Outcome::Landed)), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_verification_found_is_how_it_was_only_once_one_passed_or_somebody_accepts_it() {
    let scene = Scene::new(&["t0"], |plan| plan.canaries[0].schedule = Schedule::Every(S(100_000))).start().await;
    let verify = async |accept: bool| {
        let asked = Asked { accept, ..asked(&scene, 1) };
        let found = scene.agent.verify(&asked, pending(), |_| {}).await.expect("it runs");
        (found.answer, found.routes[0].state)
    };
    assert_eq!(verify(false).await, (Answer::Yes, Turn::Ok));
    scene.targets[0].now(Shows::Nothing);
    for _ in 0..3 {
        assert_eq!(verify(false).await, (Answer::No, Turn::Regression));
    }
    assert_eq!(verify(true).await, (Answer::Yes, Turn::StillFailing));
    assert_eq!(verify(false).await, (Answer::Yes, Turn::StillFailing));
    scene.targets[0].now(Shows::All);
    assert_eq!(verify(false).await, (Answer::Yes, Turn::Fixed));
    scene.targets[0].now(Shows::Nothing);
    assert_eq!(verify(false).await, (Answer::No, Turn::Regression));
}

#[tokio::test(start_paused = true)]
async fn what_others_sent_says_nothing_of_it() {
    let scene = Scene::new(&["t0"], |_| {}).start().await;
    let asked = asked(&scene, 1);
    let (wants, _wanted) = mpsc::channel(9);
    let (hears, heard) = mpsc::unbounded_channel();
    let mut errand = Errand::new(scene.clock.clone(), Dice::seeded(2), wants, heard);
    let (began, ours) = (errand.began, errand.name(scene.plan.routes[0].id));
    let others = run_of(&scene.plan, began).marker;
    for (marker, outcome) in [(others, Outcome::Lost), (ours, Outcome::Landed)] {
        let run = Run { why: Why::Verify, marker, ..run_of(&scene.plan, began) };
        let verdict = Verdict {
            run: run.marker,
            route: run.route.id,
            due: began,
            why: run.why,
            outcome,
            phase: None,
            reason: None,
            also: Vec::new(),
            provisional: false,
            seen_late: false,
            agent_away: false,
            at: began,
            evidence: Arc::new(Evidence::default()),
        };
        hears.send(Heard::Verdict(Box::new(verdict), Arc::new(run))).expect("heard");
    }
    let found = verify::verify(&asked, &Baselines::new(), &mut errand, pending(), |_| {}).await;
    assert_eq!((found.answer, found.routes[0].runs), (Answer::Yes, 1), "{found:?}");
    assert!(scene.clock.now().since(began) < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn verifications_at_once_each_get_an_answer_of_their_own() {
    let narrow = |plan: &mut OpenPlan| plan.platforms[0].in_flight = 1;
    let scene = Scene::new(&["t0", "t1", "t2"], narrow).start().await;
    tokio::time::sleep(S(100)).await;
    let asked = asked(&scene, 3);
    let verify = || scene.agent.verify(&asked, pending(), |_| {});
    let found = tokio::join!(verify(), verify(), verify());
    let mut runs: Vec<_> = [found.0, found.1, found.2]
        .into_iter()
        .flat_map(|found| {
            let found = found.expect("it runs");
            assert_eq!(found.answer, Answer::Yes, "{found:?}");
            found.routes.into_iter().filter_map(|route| route.run_id).collect::<Vec<_>>()
        })
        .collect();
    runs.sort();
    runs.dedup();
    assert_eq!(runs.len(), 9, "no run answers for two");
}

#[tokio::test(start_paused = true)]
async fn rows_that_come_after_the_objective_are_no_regression() {
    let scene = Scene::new(&["t0", "t1"], |_| {}).start().await;
    scene.targets.iter().for_each(|target| target.now(Shows::Nothing));
    let asked = asked(&scene, 2);
    let lands = async {
        tokio::time::sleep(S(45)).await;
        scene.targets.iter().for_each(|target| target.now(Shows::All));
    };
    let (found, ()) = tokio::join!(scene.agent.verify(&asked, pending(), |_| {}), lands);
    let found = found.expect("it runs");
    let states: Vec<_> = found.routes.iter().map(|route| (route.state, route.outcome)).collect();
    assert_eq!(states, [(Turn::Ok, Some(Outcome::Late)); 2], "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn rows_that_several_routes_miss_for_ten_times_as_long_as_ever_are_lost() {
    let long = |plan: &mut OpenPlan| plan.canaries[0].deadline = S(240);
    let scene = Scene::new(&["t0", "t1", "t2"], long).start().await;
    tokio::time::sleep(S(100)).await;
    scene.targets[0].now(Shows::Nothing);
    let asked = asked(&scene, 3);
    let found = scene.agent.verify(&asked, pending(), |_| {}).await.expect("it runs");
    assert_eq!(found.answer, Answer::No);
    assert!(found.routes[0].seconds > 235.0, "one by itself may be a straggler: {found:?}");
    scene.targets[1].now(Shows::Nothing);
    let found = scene.agent.verify(&asked, pending(), |_| {}).await.expect("it runs");
    let outcomes: Vec<_> = found.routes.iter().map(|route| route.outcome).collect();
    assert_eq!(outcomes, [Some(Outcome::Lost), Some(Outcome::Lost), Some(Outcome::Landed)]);
    assert!((30.0..60.0).contains(&found.routes[1].seconds), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn runs_wait_for_a_slot_as_long_as_the_verification_waits_for_them() {
    let narrow = |plan: &mut OpenPlan| {
        plan.platforms[0].in_flight = 1;
        plan.canaries[0].schedule = Schedule::Every(S(100_000));
    };
    let names: Vec<String> = (0..30).map(|n| format!("t{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let scene = Scene::new(&names, narrow).start().await;
    // Each takes until its deadline: together they take far longer than one may.
    scene.targets.iter().for_each(|target| target.now(Shows::Nothing));
    // What is accepted is waited for to the end.
    let asked = Asked { within: S(3_600), accept: true, ..asked(&scene, 30) };
    let found = scene.agent.verify(&asked, pending(), |_| {}).await.expect("it runs");
    assert!(found.routes.iter().all(|route| route.runs == 1), "{found:?}");
    // And where there is no time for it, the reason is told, and nothing is sent later.
    let hasty = Asked { within: S(100), ..asked };
    let found = scene.agent.verify(&hasty, pending(), |_| {}).await.expect("it runs");
    let reason = found.routes[29].reason.as_deref();
    assert_eq!(reason, Some("no run came back in time: it waited for in_flight = 1 of platform `p`"));
    let sent = scene.platform.submitted().len();
    tokio::time::sleep(S(600)).await;
    assert!(scene.platform.submitted().len() <= sent + 1, "nobody wants them any more");
}

#[tokio::test(start_paused = true)]
async fn a_paused_route_is_told_at_once() {
    let scene = Scene::new(&["t0", "t1"], |_| {}).start().await;
    let (at, only) = (scene.clock.now(), "target=t0".parse::<Selector>().expect("valid"));
    scene.agent.pause(Pause { only, except: Vec::new(), from: at, until: None, because: None }).await.expect("paused");
    tokio::time::sleep(S(1)).await;
    let found = scene.agent.verify(&asked(&scene, 2), pending(), |_| {}).await.expect("it runs");
    assert_eq!((found.answer, found.routes[1].state), (Answer::Unsure, Turn::Ok));
    assert_eq!(found.routes[0].reason.as_deref(), Some("the route is paused; `landfall resume` has it sent again"));
    assert!(found.routes[0].seconds < 1.0, "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn another_agents_verification_of_the_same_place_is_no_loss() {
    let seldom = |plan: &mut OpenPlan| plan.canaries[0].schedule = Schedule::Every(S(100_000));
    let scene = Scene::new(&["t0"], seldom).start().await;
    let verify = async |other: Marker| {
        scene.targets[0].now(Shows::Stranger(other));
        let found = scene.agent.verify(&asked(&scene, 1), pending(), |_| {}).await.expect("it runs");
        (found.answer, found.routes[0].outcome, found.routes[0].reason.clone())
    };
    // It goes on as long as ours is tried.
    let other = Marker::mint(scene.clock.now().plus(S(30)), 77);
    let (answer, outcome, reason) = verify(other).await;
    assert_eq!((answer, outcome), (Answer::Unsure, Some(Outcome::Unknown)));
    assert_eq!(
        reason.as_deref(),
        Some(&*format!("another agent writes to the same place: its run {other} stands there"))
    );
    // What was there long before should have been replaced, and one of ours too.
    let old = Marker::mint(scene.clock.now().minus(S(9_000)), 77);
    assert_eq!(verify(old).await.1, Some(Outcome::Stale));
    let ours = scene.platform.submitted().pop().expect("sent");
    assert_eq!(verify(ours).await.1, Some(Outcome::Stale));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_broken_off_ends_at_once_and_convicts_nobody_of_what_was_not_clear() {
    let scene = Scene::new(&["t0", "t1"], |_| {}).start().await;
    scene.targets[0].now(Shows::Nothing);
    let asked = asked(&scene, 2);
    let found = scene.agent.verify(&asked, tokio::time::sleep(S(40)), |_| {}).await.expect("it runs");
    let states: Vec<_> = found.routes.iter().map(|route| route.state).collect();
    assert_eq!((found.answer, states), (Answer::Unsure, vec![Turn::Undetermined, Turn::Ok]), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn runs_of_a_verification_that_died_count_towards_nothing() {
    let setting = Scene::new(&["t0", "t1"], |_| {});
    let (plan, store, clock) = (setting.plan.clone(), Arc::clone(&setting.store), setting.clock.clone());
    setting.targets.iter().for_each(|target| target.now(Shows::Nothing));
    // It is killed: nothing is put away.
    let (once, _heard) = Once::start(&plan, Arc::clone(&store) as _, clock.clone(), Dice::seeded(3));
    let runs: Vec<_> = plan.routes.iter().zip(1..).map(|(route, n)| (route.id, Marker::mint(clock.now(), n))).collect();
    once.wants.send(Want::Verify(runs.clone())).await.expect("it runs");
    tokio::time::sleep(S(5)).await;
    drop(once);
    tokio::time::sleep(S(5)).await;
    let scene = setting.start().await;
    tokio::time::sleep(S(5)).await;
    for (_, run) in runs {
        let verdict = store.run(run).await.expect("readable").expect("recorded").verdict.expect("settled");
        assert_eq!((verdict.outcome, verdict.agent_away, verdict.provisional), (Outcome::Unknown, true, false));
    }
    assert!(scene.notices().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_still_flies_when_a_verification_ends_is_settled_as_unknown() {
    let setting = Scene::new(&["t0", "t1"], |_| {});
    let (plan, store, clock) = (setting.plan.clone(), Arc::clone(&setting.store), setting.clock.clone());
    setting.targets.iter().for_each(|target| target.now(Shows::Nothing));
    let (once, heard) = Once::start(&plan, Arc::clone(&store) as _, clock.clone(), Dice::seeded(3));
    let mut errand = Errand::new(clock, Dice::seeded(4), once.wants.clone(), heard);
    assert!(errand.send(&plan.routes).await);
    let asked = Asked { routes: plan.routes.clone(), rounds: 1, within: S(40), strict: false, accept: false };
    // Both are lost so far, past their objective and before their deadline.
    let found = verify::verify(&asked, &Baselines::new(), &mut errand, pending(), |_| {}).await;
    assert_eq!(found.answer, Answer::No, "{found:?}");
    errand.end().await;
    once.stop().await;
    assert!(store.pending().await.expect("readable").is_empty());
    for record in store.runs(None, 9).await.expect("readable") {
        let verdict = record.verdict.expect("settled");
        assert_eq!((verdict.outcome, verdict.agent_away, verdict.provisional), (Outcome::Unknown, true, false));
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_is_repeated_before_it_can_be_judged() {
    let scene = Scene::new(&["t0"], |_| {}).way(Way::Fails).start().await;
    scene.targets[0].now(Shows::Nothing);
    let found = scene.agent.verify(&asked(&scene, 1), pending(), |_| {}).await.expect("it runs");
    let route = &found.routes[0];
    assert_eq!((found.answer, route.outcome, route.runs), (Answer::No, Some(Outcome::Failed), 2), "{route:?}");
    // Nothing is known of how long rows take: each is judged at its objective, of half a minute, and not before.
    assert!((40.0..50.0).contains(&route.seconds), "{route:?}");
    assert!(scene.finals().iter().filter(|run| run.why == Why::Verify).all(|run| run.at >= run.due.plus(S(30))));
}

#[tokio::test(start_paused = true)]
async fn rows_that_land_though_the_job_failed_are_no_regression_however_late_they_are() {
    for late in [0, 15, 25] {
        let scene = Scene::new(&["t0"], |_| {}).way(Way::Fails).start().await;
        scene.targets[0].now(Shows::Nothing);
        let asked = asked(&scene, 1);
        let lands = async {
            tokio::time::sleep(S(late)).await;
            scene.targets[0].now(Shows::All);
        };
        let (found, ()) = tokio::join!(scene.agent.verify(&asked, pending(), |_| {}), lands);
        let found = found.expect("it runs");
        let route = &found.routes[0];
        assert_eq!((found.answer, route.outcome), (Answer::Yes, Some(Outcome::Unclaimed)), "{late}: {route:?}");
    }
}
