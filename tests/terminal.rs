//! The terminal: what commands show there, what they ask, and what they keep from it.

#[path = "terminal/closed.rs"]
mod closed;
#[path = "terminal/hostile.rs"]
mod hostile;
#[path = "terminal/init.rs"]
mod init;
#[path = "terminal/manual.rs"]
mod manual;
#[path = "terminal/progress.rs"]
mod progress;
#[path = "terminal/status.rs"]
mod status;

use std::process::{Command, Output, Stdio};

use serde_json::{Value as Json, json};

use crate::fixtures::stand_in::{Answer, StandIn};

/// The binary, with nothing of this shell's.
fn landfall(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
    command.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    command.env_remove("LANDFALL_TOKEN").env_remove("NO_COLOR");
    command
}

async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output()).await.expect("it ends").expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// The exit code of a command whose stdout is closed before it writes; nothing is said of that.
async fn code_unread(mut command: Command) -> i32 {
    let ended = tokio::task::spawn_blocking(move || {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        drop(child.stdout.take());
        child.wait_with_output().expect("it ends")
    });
    let output = ended.await.expect("it ends");
    let said = text(&output.stderr);
    assert!(!said.contains("rror") && !said.contains("panic"), "{said}");
    output.status.code().expect("an exit code")
}

fn route(platform: &str, outcome: &str) -> Json {
    let up = match outcome {
        "landed" | "late" => json!(true),
        "unknown" => Json::Null,
        _ => json!(false),
    };
    json!({
        "canary": "result-output", "platform": platform, "target": "web", "mode": "append", "labels": {},
        "outcome": outcome, "up": up, "last_landed_at": "2015-08-24T21:43:10Z", "last_verdict_at": null,
        "run_id": null, "paused": false,
    })
}

fn says_routes(agent: &StandIn, state: &str, sentence: &str, routes: &[Json]) {
    let summary = json!({ "summary": { "state": state, "text": sentence } });
    agent
        .says("GET /api/v1/summary", [Answer::json(200, summary)])
        .says("GET /api/v1/routes", [Answer::json(200, json!({ "routes": routes }))])
        .says("GET /api/v1/incidents?limit=1000", [Answer::json(200, json!({ "incidents": [] }))])
        .says("GET /api/v1/silences", [Answer::json(200, json!({ "silences": [] }))])
        .says("GET /api/v1/pauses", [Answer::json(200, json!({ "pauses": [] }))]);
}

/// An agent with routes, and what it says of them in a sentence.
async fn agent(state: &str, sentence: &str, routes: &[Json]) -> StandIn {
    let agent = StandIn::start().await;
    says_routes(&agent, state, sentence, routes);
    agent
}
