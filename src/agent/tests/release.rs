//! A deploy that is also verified: each route is sent once, and the answer rests on those runs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::mpsc;

use super::{
    S,
    scene::{Scene, Shows, Way, run_of},
};
use crate::{
    agent::{
        baseline::Pasts,
        verify::{self, Asked, Heard},
    },
    canary::{Evidence, Outcome, Run, Schedule, Selector, Verdict, Why},
    detect::{
        Deploy,
        verification::{Answer, Turn},
    },
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
    let listening = scene.agent.deploy_to_verify(deploy, Selector::default(), &asked).await.expect("it runs");
    let found = scene.agent.verify_what_was_sent(&asked, listening, |_| {}).await.expect("it runs");
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
    let listening = scene.agent.deploy_to_verify(deploy, Selector::default(), &asked).await.expect("it runs");
    // However late somebody asks, the release's own runs are not what it was before.
    tokio::time::sleep(S(90)).await;
    let found = scene.agent.verify_what_was_sent(&asked, listening, |_| {}).await.expect("it runs");
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
        let found = scene.agent.verify(&asked, |_| {}).await.expect("it runs");
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
    let found = scene.agent.verify(&asked(&scene, 2), |_| {}).await.expect("it runs");
    assert_eq!((found.answer, found.routes[0].was), (Answer::No, Some(Outcome::Landed)), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_verification_found_is_how_it_was_only_once_one_passed_or_somebody_accepts_it() {
    let scene = Scene::new(&["t0"], |plan| plan.canaries[0].schedule = Schedule::Every(S(100_000))).start().await;
    let verify = async |accept: bool| {
        let asked = Asked { accept, ..asked(&scene, 1) };
        let found = scene.agent.verify(&asked, |_| {}).await.expect("it runs");
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
async fn what_was_sent_before_the_deploy_says_nothing_of_it() {
    let scene = Scene::new(&["t0"], |_| {}).start().await;
    let (asked, began) = (asked(&scene, 1), scene.clock.now());
    let (wants, _wanted) = mpsc::channel(9);
    let (hears, mut heard) = mpsc::unbounded_channel();
    for (due, outcome) in [(began.minus(S(1)), Outcome::Lost), (began, Outcome::Landed)] {
        let run = Run { why: Why::Verify, ..run_of(&scene.plan, due) };
        let verdict = Verdict {
            run: run.marker,
            route: run.route.id,
            due,
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
    let found = verify::verify(&asked, &Pasts::new(), began, &scene.clock, &wants, &mut heard, |_| {}).await;
    assert_eq!((found.answer, found.routes[0].runs), (Answer::Yes, 1), "{found:?}");
    assert!(scene.clock.now().since(began) < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_is_repeated_before_it_can_be_judged() {
    let scene = Scene::new(&["t0"], |_| {}).way(Way::Fails).start().await;
    scene.targets[0].now(Shows::Nothing);
    let found = scene.agent.verify(&asked(&scene, 1), |_| {}).await.expect("it runs");
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
        let (found, ()) = tokio::join!(scene.agent.verify(&asked, |_| {}), lands);
        let found = found.expect("it runs");
        let route = &found.routes[0];
        assert_eq!((found.answer, route.outcome), (Answer::Yes, Some(Outcome::Unclaimed)), "{late}: {route:?}");
    }
}
