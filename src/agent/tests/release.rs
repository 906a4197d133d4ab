//! A deploy that is also verified: each route is sent once, and the answer rests on those runs.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::sync::mpsc;

use super::{
    S,
    scene::{Scene, Shows, Way, run_of},
};
use crate::{
    agent::verify::{self, Asked, Before, Heard},
    canary::{Evidence, Outcome, Run, Selector, Verdict, Why},
    detect::{
        Deploy,
        verification::{Answer, Turn},
    },
};

fn asked(scene: &Scene, routes: usize) -> Asked {
    let routes = scene.plan.routes[..routes].to_vec();
    Asked { routes, rounds: 1, within: S(300), strict: false }
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
    let found = verify::verify(&asked, &Before::new(), began, &scene.clock, &wants, &mut heard, |_| {}).await;
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
