//! Silences and pauses, by the whole agent on virtual time.

use std::time::Duration;

use super::{
    S,
    ledger::Trouble,
    scene::{DEADLINE, EVERY, Scene, Shows},
    telling::{Ear, listens, scene, until},
};
use crate::{
    agent::Denied,
    canary::{Pause, Schedule, Selector, Silence, Timestamp},
    config::{SilencePlan, SilenceTime},
    detect::Deploy,
};

fn only(target: &str) -> Selector {
    format!("target={target}").parse().expect("a pair")
}

fn silence(only: Selector, from: Timestamp, lasts: Duration) -> Silence {
    Silence { id: String::new(), only, from, until: from.plus(lasts), because: "moved".into() }
}

fn pause(only: Selector, from: Timestamp, lasts: Option<Duration>) -> Pause {
    Pause { only, except: Vec::new(), from, until: lasts.map(|lasts| from.plus(lasts)), because: None }
}

#[tokio::test(start_paused = true)]
async fn what_is_still_broken_when_a_silence_ends_is_paged_then_also_over_a_restart() {
    let ear = Ear::new();
    let scene = scene(&[&ear]).start().await;
    tokio::time::sleep(S(130)).await;
    let now = scene.clock.now();
    let kept = scene.agent.silence(silence(only("t0"), now, S(1_800))).await.expect("kept");
    assert!(kept.id.starts_with("sil-"), "{kept:?}");
    scene.targets[0].now(Shows::Nothing);
    tokio::time::sleep(S(900)).await;
    assert_eq!(scene.agent.board().borrow().incidents.len(), 1, "incidents go on");
    let scene = scene.end().await.start().await;
    tokio::time::sleep(S(600)).await;
    assert!(ear.words().is_empty(), "{:?}", ear.words());
    assert!(until(|| ear.words() == ["trigger"]).await);
    assert!(scene.clock.now().since(kept.until) < S(10), "at once when it ends: {}", scene.clock.now());
}

#[tokio::test(start_paused = true)]
async fn a_silence_that_is_taken_back_silences_nothing_and_one_of_elsewhere_never_did() {
    for taken_back in [true, false] {
        let ear = Ear::new();
        let change = |plan: &mut crate::agent::lifecycle::OpenPlan| plan.notifiers = vec![listens(&ear, "n0")];
        let scene = Scene::new(&["t0", "t1"], change).start().await;
        tokio::time::sleep(S(130)).await;
        let of = if taken_back { "t0" } else { "t1" };
        let kept = scene.agent.silence(silence(only(of), scene.clock.now(), S(86_400))).await.expect("kept");
        if taken_back {
            scene.agent.unsilence(kept.id.clone()).await.expect("taken back");
            assert!(matches!(scene.agent.unsilence(kept.id).await, Err(Denied::NotFound(_))));
        }
        scene.targets[0].now(Shows::Nothing);
        assert!(until(|| ear.words() == ["trigger"]).await, "{taken_back}");
        assert!(scene.clock.now().since(Timestamp::from_secs(1_440_452_640)) < S(600), "{taken_back}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silence_of_the_config_comes_again_and_goes_with_a_reload() {
    let ear = Ear::new();
    let setting = scene(&[&ear]);
    // The scene begins at 21:44 UTC.
    let begins = Schedule::cron("0 22 * * *", "UTC", setting.clock.now()).expect("a schedule");
    let plan = SilencePlan {
        id: "config-1".into(),
        only: Selector::default(),
        when: SilenceTime::Recurring { begins, lasts: S(3 * 3600) },
        because: "nightly".into(),
    };
    let mut setting = setting;
    setting.plan.agent.upkeep.silences = vec![plan];
    let scene = setting.start().await;
    let shown = scene.agent.maintenance();
    tokio::time::sleep(S(5)).await;
    let begins: Vec<String> = shown.borrow().silences.iter().map(|silence| silence.from.to_string()).collect();
    assert_eq!(begins[0], "2015-08-24T22:00:00.000Z");
    assert!(begins.len() >= 3, "the next days are known: {begins:?}");
    assert!(matches!(scene.agent.unsilence("config-1".into()).await, Err(Denied::Invalid(_))));
    tokio::time::sleep(S(20 * 60)).await;
    scene.targets[0].now(Shows::Nothing);
    tokio::time::sleep(S(1800)).await;
    assert!(ear.words().is_empty(), "{:?}", ear.words());
    let mut plan = scene.plan.clone();
    plan.agent.upkeep.silences.clear();
    scene.agent.reload(&plan).await;
    tokio::time::sleep(S(5)).await;
    assert_eq!(ear.words(), ["trigger"], "what is broken is paged when nothing silences it any more");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_over_a_paused_route_and_what_is_in_flight_lands() {
    let scene = Scene::new(&["t0", "t1"], |_| {}).start().await;
    scene.until_submitted(3).await;
    let in_flight = scene.platform.submitted();
    scene.agent.pause(pause(Selector::default(), scene.clock.now(), None)).await.expect("kept");
    tokio::time::sleep(EVERY * 5).await;
    let at = scene.clock.now();
    let deploy = Deploy { at, service: "worker".into(), version: "v6".into() };
    assert!(scene.agent.deploy(deploy, Selector::default()).await);
    tokio::time::sleep(EVERY * 5).await;
    assert_eq!(scene.platform.submitted(), in_flight, "neither scheduled nor post-deploy runs are sent");
    let landed = scene.finals().len();
    assert_eq!(landed, in_flight.len(), "what was in flight is judged");
    // Over a restart, too.
    let scene = scene.end().await.start().await;
    tokio::time::sleep(EVERY * 3).await;
    assert_eq!(scene.platform.submitted(), in_flight);
    assert_eq!(scene.agent.resume_sending(Selector::default()).await.expect("was paused"), 2);
    scene.until_submitted(2).await;
    assert!(scene.notices().is_empty(), "a gap is no fault: {:?}", scene.notices());
    assert!(matches!(scene.agent.resume_sending(Selector::default()).await, Err(Denied::NotFound(_))));
}

#[tokio::test(start_paused = true)]
async fn a_pause_for_a_while_ends_by_itself_and_part_of_one_can_be_resumed() {
    let scene = Scene::new(&["t0", "t1"], |_| {}).start().await;
    tokio::time::sleep(S(130)).await;
    let sent = || scene.platform.submitted().len();
    scene.agent.pause(pause(Selector::default(), scene.clock.now(), Some(S(3600)))).await.expect("kept");
    let before = sent();
    assert_eq!(scene.agent.resume_sending(only("t1")).await.expect("was paused"), 1);
    tokio::time::sleep(EVERY * 10).await;
    assert!((9..=11).contains(&(sent() - before)), "one of two routes: {}", sent() - before);
    // A reload knows what was resumed.
    scene.agent.reload(&scene.plan).await;
    let before = sent();
    tokio::time::sleep(EVERY * 10).await;
    assert!((9..=11).contains(&(sent() - before)), "one of two routes: {}", sent() - before);
    tokio::time::sleep(S(3600)).await;
    let before = sent();
    tokio::time::sleep(EVERY * 10).await;
    assert!((18..=22).contains(&(sent() - before)), "both again: {}", sent() - before);
    assert!(scene.agent.maintenance().borrow().pauses.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_incident_on_paused_routes_stays_open_until_they_are_resumed_and_land() {
    let ear = Ear::new();
    let scene = scene(&[&ear]).start().await;
    tokio::time::sleep(S(130)).await;
    scene.targets[0].now(Shows::Nothing);
    assert!(until(|| ear.words() == ["trigger"]).await);
    scene.agent.pause(pause(only("t0"), scene.clock.now(), None)).await.expect("kept");
    scene.targets[0].now(Shows::All);
    tokio::time::sleep(DEADLINE * 3 + S(30 * 3600)).await;
    assert_eq!(scene.agent.board().borrow().incidents.len(), 1, "nothing shows that it is over");
    assert_eq!(ear.words(), ["trigger"]);
    scene.agent.resume_sending(only("t0")).await.expect("was paused");
    assert!(until(|| ear.words() == ["trigger", "resolve"]).await);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_kept_is_not_done_and_said_so() {
    for trouble in [Trouble::Fails, Trouble::Hangs] {
        let scene = Scene::new(&["t0"], |_| {}).start().await;
        tokio::time::sleep(S(70)).await;
        scene.store.trouble("keep_setting", trouble);
        let now = scene.clock.now();
        let kept = scene.agent.silence(silence(only("t0"), now, S(60))).await;
        assert!(matches!(kept, Err(Denied::Ledger(_))), "{kept:?}");
        let paused = scene.agent.pause(pause(only("t0"), now, None)).await;
        assert!(matches!(paused, Err(Denied::Ledger(_))), "{paused:?}");
        assert_eq!(*scene.agent.maintenance().borrow().as_ref(), Default::default());
        scene.until_submitted(1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn there_are_only_so_many_silences() {
    let scene = Scene::new(&["t0"], |_| {}).start().await;
    let now = scene.clock.now();
    for _ in 0..200 {
        scene.agent.silence(silence(only("t0"), now, S(60))).await.expect("kept");
    }
    assert!(matches!(scene.agent.silence(silence(only("t0"), now, S(60))).await, Err(Denied::Invalid(_))));
    tokio::time::sleep(S(61)).await;
    let now = scene.clock.now();
    scene.agent.silence(silence(only("t0"), now, S(60))).await.expect("those that are over count no more");
}
