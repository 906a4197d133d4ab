//! Fire drills, by the whole agent on virtual time.

use super::{
    S,
    ledger::Trouble,
    scene::Scene,
    telling::{Answers, Ear, scene},
};
use crate::{
    agent::Denied,
    canary::Schedule,
    store::{Drill, Store, Took},
};

fn answers(drill: &Drill) -> Vec<Took> {
    drill.answers.iter().map(|answer| answer.answer).collect()
}

#[tokio::test(start_paused = true)]
async fn every_notifier_is_told_and_told_that_it_is_over_and_says_what_it_makes_of_it() {
    let (well, sour, gone) = (Ear::new(), Ear::new(), Ear::new());
    sour.now(Answers::Refuses);
    gone.now(Answers::Hangs);
    let scene = scene(&[&well, &sour, &gone]).start().await;
    let began = scene.clock.now();
    let drill = scene.agent.drill(None).await.expect("sent");
    assert!(scene.clock.now().since(began) < S(30), "somebody waits for it");
    assert_eq!(answers(&drill), [Took::Accepted, Took::Refused, Took::Unreachable]);
    assert!(drill.answers[1].said.as_deref().is_some_and(|said| said.contains("400")), "{drill:?}");
    assert_eq!(well.words(), ["trigger"], "it rings for a while");
    assert_eq!((sour.tries(), gone.tries()), (1, 3), "what is refused is not tried again, what hangs is");
    tokio::time::sleep(S(100)).await;
    assert_eq!(well.words(), ["trigger"], "it rings for a while");
    tokio::time::sleep(S(30)).await;
    assert_eq!(well.words(), ["trigger", "resolve"]);
    assert_eq!(well.keys()[0], well.keys()[1]);
    assert!(well.keys()[0].starts_with(&drill.id), "{:?}", well.keys());
    assert_eq!(sour.tries(), 1, "of what was refused there is nothing to end");
    assert!(scene.store.incidents(9).await.expect("a ledger").is_empty(), "it is no incident");
    let one = scene.agent.drill(Some("n0")).await.expect("sent");
    assert_eq!(answers(&one), [Took::Accepted]);
    assert!(matches!(scene.agent.drill(Some("n7")).await, Err(Denied::NotFound(_))));
}

#[tokio::test(start_paused = true)]
async fn without_notifiers_there_is_nobody_to_drill() {
    let scene = Scene::new(&["t0"], |_| {}).start().await;
    assert!(matches!(scene.agent.drill(None).await, Err(Denied::Invalid(_))));
    assert!(matches!(scene.agent.confirm_drill("ABCDEFGH").await, Err(Denied::NotFound(_))));
}

#[tokio::test(start_paused = true)]
async fn whoever_got_the_page_confirms_it_with_its_code_also_after_a_restart() {
    let ear = Ear::new();
    let scene = scene(&[&ear]).start().await;
    scene.agent.drill(None).await.expect("sent");
    let code = ear.code().expect("the page says it");
    assert!(code.len() == 8 && !code.contains(['O', '0', 'I', '1', 'L', 'S', '5']), "{code}");
    let wrong = scene.agent.confirm_drill("AAAAAAAA").await;
    assert!(matches!(wrong, Err(Denied::Invalid(_))));
    let scene = scene.end().await.start().await;
    let typed = format!(" {}-{} ", &code[..4], code[4..].to_lowercase());
    let drill = scene.agent.confirm_drill(&typed).await.expect("right");
    assert_eq!(drill.confirmed_at, Some(scene.clock.now()));
    tokio::time::sleep(S(1)).await;
    assert_eq!(ear.words(), ["trigger", "resolve"], "whoever confirms it need not hear it ring on");
    let _scene = scene.end().await.start().await;
    tokio::time::sleep(S(300)).await;
    assert_eq!(ear.words(), ["trigger", "resolve"], "a restart says nothing again");
}

#[tokio::test(start_paused = true)]
async fn a_code_cannot_be_guessed_by_trying() {
    let ear = Ear::new();
    let scene = scene(&[&ear]).start().await;
    scene.agent.drill(None).await.expect("sent");
    for _ in 0..5 {
        assert!(matches!(scene.agent.confirm_drill("AAAAAAAA").await, Err(Denied::Invalid(_))));
    }
    let code = ear.code().expect("the page says it");
    assert!(matches!(scene.agent.confirm_drill(&code).await, Err(Denied::NotFound(_))));
    scene.agent.drill(None).await.expect("sent");
    let old = scene.agent.confirm_drill(&code).await;
    assert!(old.is_err(), "the code of another drill is none");
    scene.agent.confirm_drill(&ear.code().expect("another")).await.expect("right");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_drill_is_told_until_it_is_taken_over_restarts_and_over_the_next_drill() {
    let (sick, well) = (Ear::new(), Ear::new());
    let scene = scene(&[&sick, &well]).start().await;
    scene.agent.drill(None).await.expect("sent");
    sick.now(Answers::Busy);
    tokio::time::sleep(S(600)).await;
    assert_eq!((sick.words(), well.words()), (vec!["trigger"], vec!["trigger", "resolve"]));
    // The next one does not make it forget the first, nor does a restart.
    scene.agent.drill(Some("n1")).await.expect("sent");
    let scene = scene.end().await.start().await;
    tokio::time::sleep(S(600)).await;
    assert_eq!((sick.words(), well.words().len()), (vec!["trigger"], 4));
    sick.now(Answers::Takes);
    tokio::time::sleep(S(600)).await;
    assert_eq!(sick.words(), ["trigger", "resolve"]);
    assert_eq!(sick.keys()[0], sick.keys()[1]);
    let _scene = scene.end().await.start().await;
    tokio::time::sleep(S(600)).await;
    assert_eq!((sick.words().len(), well.words().len()), (2, 4), "it is told once");
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_takes_no_end_for_a_week_is_left_alone() {
    let ear = Ear::new();
    let scene = scene(&[&ear]).start().await;
    scene.agent.drill(None).await.expect("sent");
    let text = scene.store.setting("drill").await.expect("a ledger").expect("kept");
    let setting = scene.end().await;
    let mut drill: Drill = serde_json::from_str(&text).expect("a drill");
    drill.at = drill.at.minus(S(8 * 86_400));
    setting.store.keep_setting("drill", &serde_json::to_string(&drill).expect("JSON")).await.expect("kept");
    let _scene = setting.start().await;
    tokio::time::sleep(S(600)).await;
    assert_eq!(ear.words(), ["trigger"]);
}

#[tokio::test(start_paused = true)]
async fn on_its_days_a_drill_goes_out_by_itself() {
    let ear = Ear::new();
    let mut setting = scene(&[&ear]);
    // The scene begins at 21:44 UTC.
    setting.plan.agent.upkeep.drill =
        Some(Schedule::cron("0 22 * * *", "UTC", setting.clock.now()).expect("a schedule"));
    let _scene = setting.start().await;
    tokio::time::sleep(S(15 * 60)).await;
    assert!(ear.words().is_empty());
    tokio::time::sleep(S(5 * 60)).await;
    assert_eq!(ear.words(), ["trigger", "resolve"]);
    tokio::time::sleep(S(24 * 3600)).await;
    assert_eq!(ear.words().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_ledger_that_is_down_keeps_nobody_from_trying_whether_people_can_be_reached() {
    for trouble in [Trouble::Fails, Trouble::Hangs] {
        let ear = Ear::new();
        let scene = scene(&[&ear]).start().await;
        scene.store.trouble("keep_setting", trouble);
        let drill = scene.agent.drill(None).await.expect("sent");
        assert_eq!(answers(&drill), [Took::Accepted]);
        scene.agent.confirm_drill(&ear.code().expect("the page says it")).await.expect("right");
    }
}
