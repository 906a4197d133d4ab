//! Progress: a bar on a terminal, a plain line elsewhere.

use serde_json::json;

use super::{landfall, run, text};
use crate::fixtures::{
    stand_in::{Answer, StandIn},
    terminal::Terminal,
};

/// An agent that is some time about it: first nothing is clear, then half, then all.
async fn verifying() -> StandIn {
    let agent = StandIn::start().await;
    let stands = |clear: u32| json!({ "id": "v1", "clear": clear, "bad": 0, "of": 4 });
    let mut done = stands(4);
    done["verification"] = json!({ "answer": "yes", "suspects": [], "routes": [] });
    agent
        .says("POST /api/v1/verify", [Answer::json(202, stands(0))])
        .says("GET /api/v1/verify/v1", [Answer::json(200, stands(2)), Answer::json(200, done)]);
    agent
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verification_shows_a_bar_on_a_terminal_and_leaves_only_the_answer() {
    let agent = verifying().await;
    let token = [("LANDFALL_TOKEN", "t")];
    let mut terminal = Terminal::run(&["verify", "--agent", &agent.url], (24, 100), &token);
    let half = format!("{}{} 2 of 4 routes are clear, 0 bad · ", "█".repeat(10), "░".repeat(10));
    terminal.until(&half).await;
    terminal.until("\r\x1b[2K").await;
    terminal.until("yes, nothing got worse").await;
    let (code, all) = terminal.ends().await;
    assert_eq!(code, 0, "{all:?}");
    let answer = &all[all.rfind("\r\x1b[2K").expect("wiped")..];
    assert!(!answer.contains('█'), "{answer:?}");

    let agent = verifying().await;
    let mut command = landfall(&["verify", "--agent", &agent.url]);
    command.env("LANDFALL_TOKEN", "t");
    let output = run(command).await;
    assert_eq!(text(&output.stderr), "verifying 4 routes\n");
}

#[cfg(feature = "sandbox")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_does_a_replay_with_many_seeds() {
    let mut terminal = Terminal::run(&["replay", "2015-08-24", "--seeds", "3"], (24, 100), &[]);
    terminal.until("2015-08-24 ").await;
    terminal.until("3 seeds · ").await;
    let (code, all) = terminal.ends().await;
    assert_eq!(code, 0, "{all:?}");
    assert!(!all[all.rfind("\r\x1b[2K").expect("wiped")..].contains('█'), "{all:?}");
    let output = run(landfall(&["replay", "2015-08-24", "--seeds", "2", "--format", "json"])).await;
    assert_eq!(text(&output.stderr), "2015-08-24: playing 2 seeds\n");
    assert_eq!(text(&output.stdout).lines().count(), 1);
}

#[cfg(feature = "sandbox")]
#[tokio::test]
async fn the_demo_shows_what_it_waits_for() {
    let mut terminal = Terminal::run(&["demo", "--exit-after-recovery"], (40, 120), &[]);
    terminal.until("canaries fly").await;
    terminal.until(" of 18 landed · ").await;
    terminal.until("\r\x1b[2K").await;
    terminal.types("\x03");
    let (code, all) = terminal.ends().await;
    assert!(code == 3 && all.contains("interrupted before the story was told"), "{code}: {all:?}");
}
