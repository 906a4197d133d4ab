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
    assert_eq!(well.words(), ["trigger", "resolve"]);
    assert_eq!(well.keys()[0], well.keys()[1]);
    assert!(well.keys()[0].starts_with(&drill.id), "{:?}", well.keys());
    assert_eq!((sour.tries(), gone.tries()), (1, 6), "what is refused is not tried again, what hangs is");
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
async fn a_drill_that_was_told_and_not_ended_is_ended_at_the_next_start() {
    let ear = Ear::new();
    let scene = scene(&[&ear]).start().await;
    scene.agent.drill(None).await.expect("sent");
    let text = scene.store.setting("drill").await.expect("a ledger").expect("kept");
    let mut drill: Drill = serde_json::from_str(&text).expect("a drill");
    assert!(drill.open.is_empty());
    // As an agent leaves it that dies between the two words.
    drill.open = vec![drill.answers[0].notifier.clone()];
    scene.store.keep_setting("drill", &serde_json::to_string(&drill).expect("JSON")).await.expect("kept");
    let scene = scene.end().await.start().await;
    tokio::time::sleep(S(5)).await;
    assert_eq!(ear.words(), ["trigger", "resolve", "resolve"]);
    let text = scene.store.setting("drill").await.expect("a ledger").expect("kept");
    assert!(serde_json::from_str::<Drill>(&text).expect("a drill").open.is_empty());
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
