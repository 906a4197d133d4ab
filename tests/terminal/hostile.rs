//! An agent whose every word would be obeyed by a terminal: none reaches it.

use std::process::Command;

use serde_json::{Value as Json, json};

use super::{landfall, run, text};
use crate::fixtures::stand_in::{Answer, StandIn};

/// Clears the screen, rings, turns the line around, begins lines; with control characters of both sets.
const EVIL: &str = "e\u{1b}[2J\u{1b}]0;title\u{7}\r\nQ\u{9b}31m\u{85}\u{2028}\u{202e}i\u{8}\tl\u{7f}\u{0}";

fn route() -> Json {
    json!({
        "canary": EVIL, "platform": EVIL, "target": EVIL, "mode": EVIL, "labels": { EVIL: EVIL }, "outcome": EVIL,
        "up": false, "last_landed_at": EVIL, "paused": false,
    })
}

fn incident() -> Json {
    json!({
        "id": EVIL, "severity": EVIL, "outcome": EVIL, "provisional": true, "suspects": { EVIL: EVIL },
        "also": [{ "labels": { EVIL: EVIL } }], "unaffected": [{ "labels": { EVIL: EVIL } }], "routes": [route()],
        "onset": { "last_good": EVIL, "first_bad": EVIL },
        "deploy": { "service": EVIL, "version": EVIL, "at": EVIL },
        "detected_at": EVIL, "resolved_at": null, "resolved_because": EVIL, "runs": [EVIL],
        "silenced_until": EVIL, "undelivered": true, "history": [{ "at": EVIL, "text": EVIL }],
    })
}

pub(super) fn impact() -> Json {
    let at = "2015-08-24T21:43:21Z";
    let bracket = json!({
        "last_good": at, "first_bad": at, "last_bad": at, "first_good": at, "is_intermittent": false, "asked_at": at,
    });
    let job = json!({
        "job_id": EVIL, "platform": EVIL, "owner": EVIL, "query_start": at, "end": at, "scheme": EVIL, "address": EVIL,
        "mode": "append", "rows": 1, "certain": false, "because": EVIL, "again": EVIL, "check": EVIL,
    });
    json!({
        "incident": EVIL, "outcome": "lost", "suspects": { EVIL: EVIL }, "bracket": bracket, "brackets": [bracket],
        "jobs": [job], "accounts": [{ "platforms": [EVIL], "jobs": 2, "since": at, "cut": EVIL }], "notes": [EVIL],
        "is_whole": false,
    })
}

fn coverage() -> Json {
    let way = json!({
        "watch": "gap", "platform": "p", "engine": EVIL, "engine_version": EVIL, "pool": EVIL, "schemes": [EVIL],
        "target_kind": EVIL, "mode": "append", "jobs": 1, "failed": 0, "owners": 1, "schedules": 0, "connections": 0,
        "last_used_at": null, "routes": [], "because": EVIL, "toml": EVIL,
    });
    json!({
        "at": "2026-09-21T13:13:20Z", "within_seconds": 60, "ways": [way],
        "unheard": [{ "platform": "p", "because": EVIL }], "left_out": 1, "toml": EVIL,
    })
}

fn verification() -> Json {
    let route = json!({
        "canary": EVIL, "platform": EVIL, "target": EVIL, "mode": EVIL, "state": "regression", "outcome": "lost",
        "was": "landed", "run_id": null, "reason": EVIL, "runs": 1, "seconds": 1.5,
    });
    json!({ "answer": "no", "suspects": [{ "labels": { EVIL: EVIL }, "red": 1, "green": 0 }], "routes": [route] })
}

async fn agent() -> StandIn {
    let agent = StandIn::start().await;
    let letter = json!({ "notifier": EVIL, "held": [], "failure": EVIL, "stands_in_for": EVIL });
    let opening = json!({ "incident": EVIL, "at": EVIL, "letters": [letter] });
    let silence = json!({ "id": EVIL, "where": { EVIL: EVIL }, "until": EVIL, "because": EVIL, "active": true });
    let notifier = json!({ "notifier": EVIL, "answer": "refused", "said": EVIL, "millis": EVIL });
    let all = json!({
        "summary": { "state": "red", "text": EVIL }, "routes": [route()], "incidents": [incident()],
        "silences": [silence], "pauses": [{ "where": { EVIL: EVIL }, "until": EVIL }], "resumed": EVIL,
        "notifications": [opening], "notifiers": [notifier], "drill": EVIL, "confirmed_at": EVIL,
        "id": "x", "impact": impact(), "coverage": coverage(), "verification": verification(), "deploys": [],
        "verify": { "id": "x", "verification": verification() },
    });
    agent.always_says(Answer::json(200, all));
    agent
}

const COMMANDS: [&[&str]; 15] = [
    &["status"],
    &["incidents"],
    &["incidents", "inc-1"],
    &["incidents", "inc-1", "resolve", "--because", "x"],
    &["silence", "list"],
    &["silence", "add", "--all", "--for", "1h", "--because", "x"],
    &["silence", "remove", "x"],
    &["pause", "--all"],
    &["resume", "--all"],
    &["drill"],
    &["drill", "--confirm", "x"],
    &["deploy", "worker", "v6"],
    &["deploy", "worker", "v6", "--verify"],
    &["impact", "inc-1"],
    &["coverage"],
];

fn asking(agent: &StandIn, args: &[&str], format: &str) -> Command {
    let mut command = landfall(&[args, &["--agent", &agent.url, "--format", format]].concat());
    command.env("LANDFALL_TOKEN", "t");
    command
}

/// Nothing that a terminal obeys, and no line that a word began.
fn is_plain(said: &str) -> bool {
    let is_obeyed = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{2028}' | '\u{202e}');
    !said.contains(is_obeyed) && !said.lines().any(|line| line.starts_with('Q'))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_word_of_an_agent_is_obeyed_by_a_terminal() {
    let agent = agent().await;
    for args in COMMANDS.into_iter().chain([&["verify"][..]]) {
        let output = run(asking(&agent, args, "text")).await;
        let said = text(&output.stdout) + &text(&output.stderr);
        // What closes gaps has lines of its own.
        let said = if args[0] == "coverage" { said.replace("\nQ", "\n ") } else { said };
        assert!(is_plain(&said) && !said.is_empty(), "{args:?}: {said:?}");
        let is_told =
            [&["pause", "--all"][..], &["silence", "remove", "x"], &["deploy", "worker", "v6"]].contains(&args);
        let tells = !is_told && !args.contains(&"resolve");
        assert!(!tells || said.contains("[2J"), "what it said is there, as text: {args:?}: {said:?}");
    }
    for (args, format) in [(&["coverage"][..], "toml"), (&["impact", "inc-1"], "csv")] {
        let output = run(asking(&agent, args, format)).await;
        let said = text(&output.stdout).replace("\r\n", "\n") + &text(&output.stderr);
        assert!(!said.contains(|c: char| c.is_control() && c != '\n') && said.contains("[2J"), "{args:?}: {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_get_every_character_and_a_terminal_that_shows_them_none() {
    let agent = agent().await;
    let json = async |args: &[&str]| -> Json {
        let output = run(asking(&agent, args, "json")).await;
        let said = text(&output.stdout);
        assert!(!said.trim_end().contains(char::is_control), "{args:?}: {said:?}");
        serde_json::from_str(&said).expect("JSON")
    };
    assert_eq!(json(&["status"]).await["summary"]["text"], EVIL);
    assert_eq!(json(&["incidents"]).await["incidents"][0]["id"], EVIL);
    assert_eq!(json(&["impact", "inc-1"]).await["notes"][0], EVIL);
    assert_eq!(json(&["coverage"]).await["toml"], EVIL);
    assert_eq!(json(&["verify"]).await["routes"][0]["reason"], EVIL);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_is_what_it_says_was_wrong() {
    let agent = StandIn::start().await;
    for answer in [
        Answer::json(400, json!({ "error": EVIL })),
        Answer::json(503, json!({ "error": EVIL })),
        Answer::raw(500, EVIL),
    ] {
        agent.always_says(answer);
        for args in COMMANDS.into_iter().chain([&["verify"][..]]) {
            let output = run(asking(&agent, args, "text")).await;
            let said = text(&output.stderr);
            assert!(
                said.starts_with("error: ") && !said.contains(|c: char| c.is_control() && c != '\n'),
                "{args:?}: {said:?}"
            );
            assert!(said.contains("[2J") && !said.contains(['\u{2028}', '\u{202e}']), "{args:?}: {said:?}");
        }
    }
}
