//! The agent in trouble of its own, on virtual time: what no scenario can play.

mod caps;
mod coverage;
mod drills;
pub(in crate::agent) mod ledger;
mod maintenance;
mod release;
mod scene;
mod telling;

use std::{collections::BTreeSet, time::Duration};

use self::{
    ledger::Trouble,
    scene::{DEADLINE, Scene, Shows, Way, run_of},
};
use crate::{
    agent::lifecycle::OpenPlan,
    canary::{Outcome, Schedule, Selector, Why},
    detect::{Change, Deploy},
    store::Store,
};

const S: fn(u64) -> Duration = Duration::from_secs;

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_the_runs_that_a_deploy_still_owes() {
    let scene = Scene::new(&["t0", "t1", "t2", "t3"], |_| {}).start().await;
    tokio::time::sleep(S(1)).await;
    let at = scene.clock.now();
    let deploy = Deploy { at, service: "worker".into(), version: "v6".into() };
    assert!(scene.agent.deploy(deploy, Selector::default()).await);
    tokio::time::sleep(S(1)).await;
    scene.agent.reload(&scene.plan).await;
    tokio::time::sleep(S(20)).await;
    let mut after: Vec<_> = scene.finals().into_iter().filter(|v| v.why == Why::Deploy).map(|v| v.route).collect();
    after.sort_unstable();
    after.dedup();
    assert_eq!(after.len(), 4, "every route flies once after the deploy");
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_breaks_down_costs_its_run_and_no_slot() {
    let scene = Scene::new(&["t0"], |plan| plan.platforms[0].in_flight = 1).way(Way::BreaksDown).start().await;
    tokio::time::sleep(S(70)).await;
    let broken = scene.finals();
    assert!(!broken.is_empty());
    assert!(broken.iter().all(|v| v.outcome == Outcome::Unknown && v.agent_away), "{broken:?}");
    scene.platform.now(Way::Works);
    tokio::time::sleep(S(70)).await;
    assert!(scene.finals().iter().any(|v| v.outcome == Outcome::Landed), "the slot was given back");
    assert_eq!(scene.store.pending().await.unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_hangs_keeps_no_other_from_being_looked_at_again() {
    let often = |plan: &mut OpenPlan| plan.canaries[0].schedule = Schedule::Every(S(1));
    let scene = Scene::new(&["far", "near"], often).start().await;
    tokio::time::sleep(DEADLINE + S(5)).await;
    let landed: BTreeSet<_> = scene.finals().into_iter().map(|v| v.run).collect();
    scene.targets[0].now(Shows::NoAnswer);
    scene.targets[1].now(Shows::Copies);
    // Less than one wait for the target that hangs: some fifteen runs are due for their later look.
    tokio::time::sleep(S(16)).await;
    let corrected =
        scene.finals().into_iter().filter(|v| v.outcome == Outcome::Duplicated && landed.contains(&v.run)).count();
    assert!(corrected > 10, "{corrected}");
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_blocks_does_not_mean_that_nobody_watched() {
    let scene = Scene::new(&["t0"], |_| {}).start().await;
    scene.targets[0].now(Shows::Nothing);
    tokio::time::sleep(S(3)).await;
    scene.store.trouble("beat", Trouble::Hangs);
    tokio::time::sleep(S(30)).await;
    scene.store.heal();
    tokio::time::sleep(DEADLINE * 3).await;
    let finals = scene.finals();
    assert!(finals.len() > 1);
    assert!(finals.iter().all(|v| v.outcome == Outcome::Lost), "{finals:?}");
}

#[tokio::test(start_paused = true)]
async fn an_incident_is_told_while_the_ledger_is_down_and_stored_afterwards() {
    for trouble in [Trouble::Fails, Trouble::Hangs] {
        let scene = Scene::new(&["t0"], |_| {}).start().await;
        tokio::time::sleep(S(130)).await;
        scene.targets[0].now(Shows::Nothing);
        // Runs are in flight when the disk fills up; more are not sent.
        scene.until_submitted(1).await;
        scene.store.trouble("settle", trouble);
        tokio::time::sleep(DEADLINE * 3).await;
        let told = scene.notices();
        assert!(told.iter().any(|n| matches!(n.change, Change::Opened(_)) && n.incident.outcome == Outcome::Lost));
        assert!(!scene.agent.board().borrow().agent.store_up, "the trouble shows");
        assert!(scene.store.memory.incidents(9).await.unwrap().is_empty());
        scene.store.heal();
        tokio::time::sleep(S(5)).await;
        assert!(scene.agent.board().borrow().agent.store_up);
        assert_eq!(scene.store.incidents(9).await.unwrap().len(), 1);
        let journal = scene.store.journal(0).await.unwrap();
        assert!(journal.windows(2).all(|two| two[0].seq + 1 == two[1].seq), "nothing is left out");
        let told: Vec<_> = scene.notices().into_iter().map(|notice| notice.key).collect();
        let once: BTreeSet<_> = told.iter().collect();
        assert_eq!(told.len(), once.len(), "nobody is told twice");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_deadline_passed_while_the_agent_was_down_is_never_submitted() {
    for known in [None, Some("job 7")] {
        let scene = Scene::new(&["t0"], |_| {});
        let old = run_of(&scene.plan, scene.clock.now().minus(DEADLINE * 2));
        scene.store.begin(&old).await.unwrap();
        scene.store.progress(old.marker, known, &Default::default()).await.unwrap();
        let scene = scene.start().await;
        scene.targets[0].now(Shows::Nothing);
        tokio::time::sleep(DEADLINE * 2).await;
        assert!(!scene.platform.submitted().contains(&old.marker));
        let verdict = scene.finals().into_iter().find(|v| v.run == old.marker).expect("judged");
        assert!(known.is_some() || verdict.outcome == Outcome::Unknown, "{verdict:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_wants_to_be_asked_again_at_once_is_asked_at_our_own_pace() {
    let scene = Scene::new(&["t0"], |_| {}).way(Way::Throttles(Duration::ZERO)).start().await;
    scene.until_submitted(1).await;
    let before = scene.platform.submitted().len();
    tokio::time::sleep(S(20)).await;
    let asked = scene.platform.submitted().len() - before;
    assert!((2..=20).contains(&asked), "asked {asked} times in 20 s");
}

#[tokio::test(start_paused = true)]
async fn a_correction_is_tried_again_until_the_ledger_is_there_again() {
    let scene = Scene::new(&["t0"], |_| {}).start().await;
    while scene.finals().is_empty() {
        tokio::time::sleep(S(1)).await;
    }
    let landed = scene.finals().remove(0);
    assert_eq!(landed.outcome, Outcome::Landed);
    // Its only later look is at its deadline; what is seen then must not get lost.
    scene.store.trouble("run", Trouble::Fails);
    scene.targets[0].now(Shows::Copies);
    tokio::time::sleep(DEADLINE + S(10)).await;
    scene.store.heal();
    tokio::time::sleep(S(20)).await;
    let last = scene.finals().into_iter().rfind(|v| v.run == landed.run).expect("judged");
    assert_eq!(last.outcome, Outcome::Duplicated);
}
