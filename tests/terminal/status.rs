//! `landfall status`: the table, and the same again and again.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    sync::mpsc,
    thread,
    time::Duration,
};

use serde_json::Value as Json;

use super::{agent, landfall, route, run, says_routes, text};
use crate::fixtures::{
    stand_in::{Answer, StandIn},
    terminal::Terminal,
};

const LOST: &str = "Result Output is silently lost on worker=v5 since 21:44 UTC, 1 route fine";
const FINE: &str = "Everything lands: 2 routes";

async fn lost() -> StandIn {
    agent("red", LOST, &[route("presto", "landed"), route("hadoop1", "lost")]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_says_it_in_a_sentence_and_then_the_worst_first() {
    let agent = lost().await;
    let output = run(landfall(&["status", "--agent", &agent.url])).await;
    let lines: Vec<String> = text(&output.stdout).lines().map(str::to_owned).collect();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(lines[0], format!("✗ {LOST}"));
    assert_eq!(lines[2], "  OUTCOME  CANARY         PLATFORM  TARGET  MODE    LAST LANDED");
    assert!(lines[3].starts_with("✗ lost     result-output  hadoop1   web     append  ") && lines[3].ends_with(" ago"));
    assert!(lines[4].starts_with("✓ landed   result-output  presto    web     append  "), "{lines:?}");
    assert_eq!(lines.last().map(String::as_str), Some("2 routes: 1 up, 1 down, 0 unknown, 0 paused"));

    let output = run(landfall(&["status", "--agent", &agent.url, "--format", "json"])).await;
    let answer: Json = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&answer["exit_code"], &answer["summary"]["text"]), (&1.into(), &LOST.into()));
    assert_eq!((output.status.code(), answer["routes"][0]["platform"].as_str()), (Some(1), Some("presto")));

    // An agent of before tells no sentence.
    agent.says("GET /api/v1/summary", [Answer::json(404, serde_json::json!({ "error": "there is nothing here" }))]);
    let output = run(landfall(&["status", "--agent", &agent.url])).await;
    assert!(output.status.code() == Some(1) && text(&output.stdout).contains("✗ lost"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn colour_is_for_terminals_only_and_never_alone() {
    let agent = lost().await;
    let (args, size) = (["status", "--agent", agent.url.as_str()], (24, 100));
    let (code, coloured) = Terminal::run(&args, size, &[]).ends().await;
    assert_eq!(code, 1, "{coloured}");
    assert!(coloured.contains("\x1b[1;31m✗ lost "), "{coloured:?}");
    for environment in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let (_, plain) = Terminal::run(&args, size, &[environment]).ends().await;
        assert!(plain.contains("✗ lost ") && !plain.contains('\x1b'), "{environment:?}: {plain:?}");
    }
    let (_, coloured) = Terminal::run(&args, size, &[("NO_COLOR", "")]).ends().await;
    assert!(coloured.contains("\x1b[1;31m"), "set to nothing is not set");
    let output = run(landfall(&["status", "--agent", &agent.url])).await;
    assert!(!text(&output.stdout).contains('\x1b'));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_on_a_terminal_changes_in_place_outlives_the_agents_absence_and_leaves_the_screen_as_it_was() {
    let agent = lost().await;
    let mut terminal = Terminal::run(
        &["status", "--agent", &agent.url, "--watch", "--every", "200ms"],
        (24, 100),
        &[("NO_COLOR", "1")],
    );
    terminal.until("\x1b[?1049h").await;
    terminal.until(LOST).await;
    terminal.until("2 routes: 1 up, 1 down").await;

    says_routes(&agent, "green", FINE, &[route("presto", "landed"), route("hadoop1", "landed")]);
    let frame = terminal.until(&format!("\x1b[H✓ {FINE}")).await;
    assert!(!frame.contains("\x1b[2J"), "written over, not cleared first: {frame:?}");
    terminal.until("2 routes: 2 up, 0 down").await;

    // Too low for all of it: the sentence and what is worst stay.
    terminal.resize(5);
    terminal.until("… and 1 more of 2 routes").await;
    terminal.resize(24);
    terminal.until("2 routes: 2 up").await;

    agent.says("GET /api/v1/routes", [Answer::breaks_off()]);
    let away = terminal.until(&format!("✓ {FINE}")).await;
    let away =
        if away.contains("no answer from the agent") { away } else { terminal.until("no answer from the agent").await };
    assert!(away.contains("no answer from the agent"), "{away:?}");
    terminal.until("as it was at ").await;
    terminal.until("2 routes: 2 up").await;
    says_routes(&agent, "red", LOST, &[route("presto", "landed"), route("hadoop1", "lost")]);
    terminal.until(&format!("\x1b[H✗ {LOST}")).await;

    terminal.types("\x03");
    let (code, all) = terminal.ends().await;
    assert_eq!(code, 1, "the last answer's: {all:?}");
    assert!(all.trim_end().ends_with("\x1b[?7h\x1b[?25h\x1b[?1049l"), "{all:?}");
}

/// Lines of a command that goes on, as they come.
fn lines(args: &[&str]) -> (std::process::Child, mpsc::Receiver<String>) {
    let mut child = landfall(args).stdout(Stdio::piped()).spawn().expect("the binary runs");
    let out = BufReader::new(child.stdout.take().expect("piped"));
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            let _ = tell.send(line);
        }
    });
    (child, told)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_on_a_pipe_says_something_only_when_something_changed() {
    let agent = lost().await;
    let (mut child, told) =
        lines(&["status", "--agent", &agent.url, "--watch", "--every", "200ms", "--format", "json"]);
    let next = || -> Json {
        let line = told.recv_timeout(Duration::from_secs(60)).expect("a line");
        serde_json::from_str(&line).expect("one line of JSON")
    };
    assert_eq!(next()["summary"]["text"], LOST);
    // Asked several times more, with nothing new but another run.
    let mut again = route("hadoop1", "lost");
    again["last_verdict_at"] = "2015-08-24T21:55:00Z".into();
    says_routes(&agent, "red", LOST, &[route("presto", "landed"), again]);
    let asked = agent.times_heard("GET /api/v1/summary");
    while agent.times_heard("GET /api/v1/summary") < asked + 3 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    says_routes(&agent, "green", FINE, &[route("presto", "landed"), route("hadoop1", "landed")]);
    let mut changed = next();
    if changed["summary"]["text"] == FINE && changed["exit_code"] == 1 {
        // Asked while the answers were being changed.
        changed = next();
    }
    assert_eq!((&changed["summary"]["text"], &changed["exit_code"]), (&FINE.into(), &0.into()));
    child.kill().expect("killed");
    child.wait().expect("ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_too_often_or_of_nobody_is_an_error() {
    let agent = lost().await;
    for (args, words) in [
        (&["status", "--every", "5s"][..], "--watch"),
        (&["status", "--watch", "--every", "1ms"], "must be from 200ms to 1h"),
        (&["status", "--watch", "--every", "soon"], "not a time such as"),
    ] {
        let output = run(landfall(args)).await;
        assert!(output.status.code() == Some(2) && text(&output.stderr).contains(words), "{args:?}: {output:?}");
    }
    agent.says("GET /api/v1/routes", [Answer::raw(200, "<html>")]);
    for more in [&[][..], &["--watch"]] {
        let output = run(landfall(&[&["status", "--agent", &agent.url], more].concat())).await;
        assert!(output.status.code() == Some(2) && text(&output.stderr).contains("is no agent"), "{output:?}");
    }
}
