//! Whatever the sandbox can break over HTTP, the daemon names right; and nobody is told of anything
//! that is not broken.

use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use landfall::sandbox::FaultKind;
use serde_json::{Value as Json, json};
use tokio::{
    task::{JoinSet, LocalSet},
    time::{Instant, sleep},
};

use crate::fixtures::daemon::Watched;

/// Longest wait for the right name: deadlines are 15 s, builds for tests slow, machines busy.
const NAMED_WITHIN: Duration = Duration::from_secs(100);
/// Longest wait for the end: three greens on every route.
const OVER_WITHIN: Duration = Duration::from_secs(120);
/// A nuisance that nobody is told of is watched so long: six runs a route.
const NUISANCE: Duration = Duration::from_secs(30);

/// A fault, and what it is to be called.
struct Case {
    fault: Json,
    /// None: nobody is told of it.
    outcome: Option<&'static str>,
}

fn case(fault: Json, outcome: &'static str) -> Case {
    Case { fault, outcome: Some(outcome) }
}

/// Faults by group: each group has a sandbox and a daemon of its own, all at the same time.
fn groups() -> Vec<Vec<Case>> {
    vec![
        vec![
            case(json!({ "kind": "drop-output", "where": { "worker": "v5" } }), "lost"),
            case(json!({ "kind": "hang-job", "where": { "cluster": "hadoop2" } }), "stuck"),
        ],
        vec![
            case(json!({ "kind": "partial-output", "where": { "engine": "hive" } }), "partial"),
            case(json!({ "kind": "fail-job", "where": { "engine": "presto" } }), "failed"),
            Case { fault: json!({ "kind": "api-slow", "by": "1s" }), outcome: None },
        ],
        vec![
            case(json!({ "kind": "duplicate-output", "where": { "cluster": "hadoop1" } }), "duplicated"),
            case(json!({ "kind": "false-error", "where": { "worker": "v5" } }), "unclaimed"),
            case(json!({ "kind": "refuse-submit", "where": { "worker": "v5" } }), "failed"),
        ],
        vec![
            case(
                json!({ "kind": "corrupt-output", "column": "hard_text", "where": { "target": "bucket" } }),
                "corrupted",
            ),
            case(json!({ "kind": "api-error", "where": { "engine": "hive" } }), "failed"),
        ],
        vec![
            case(json!({ "kind": "delay-output", "by": "8s", "where": { "target": "bucket" } }), "late"),
            // The intake takes nothing: the platform says so, and the agent's own eyes are its intake.
            case(json!({ "kind": "target-down", "where": { "target": "web" } }), "failed"),
        ],
        vec![
            case(json!({ "kind": "false-killed", "where": { "engine": "hive" } }), "unclaimed"),
            case(json!({ "kind": "api-unreachable", "where": { "cluster": "hadoop1" } }), "unknown"),
        ],
        vec![
            case(json!({ "kind": "agent-blind", "where": { "target": "bucket" } }), "unknown"),
            case(json!({ "kind": "freeze-status", "where": { "worker": "v5" } }), "unclaimed"),
        ],
        vec![
            case(json!({ "kind": "target-down", "where": { "target": "bucket" } }), "unknown"),
            case(json!({ "kind": "duplicate-output", "after": "3s", "where": { "cluster": "hadoop2" } }), "duplicated"),
        ],
        vec![
            case(json!({ "kind": "stale-output", "where": { "mode": "replace" } }), "stale"),
            case(json!({ "kind": "wrong-query", "where": { "engine": "presto" } }), "partial"),
            // What was uploaded before stays, and nothing is uploaded after.
            Case { fault: json!({ "kind": "lose-import" }), outcome: None },
        ],
    ]
}

/// Only a bucket can be written in place of what was there.
fn with_replace(probes: String) -> String {
    probes
        .replace(r#"targets   = ["web", "bucket"]"#, r#"targets   = ["bucket"]"#)
        .replace(r#"modes     = ["append"]"#, r#"modes     = ["append", "replace"]"#)
}

/// Breaks, waits for the name, mends, waits for the end. Answers what there is to say of it.
async fn play(watched: &Watched, case: &Case) -> Result<String, String> {
    let (name, broken_at) = (case.fault.to_string(), Instant::now());
    let everywhere = json!({});
    let expected = watched.covered(case.fault.get("where").unwrap_or(&everywhere)).await;
    let was_open = open(watched).await;
    if !was_open.is_empty() {
        return Err(format!("{name}: before it there is {}\n{}", was_open.len(), watched.story().await));
    }
    let id = watched.inject(&case.fault).await;
    let mut told: BTreeSet<String> = BTreeSet::new();
    let (mut first, mut named) = (None, None);
    let wait = if case.outcome.is_some() { NAMED_WITHIN } else { NUISANCE };
    let mut last = Vec::new();
    while named.is_none() && broken_at.elapsed() < wait {
        sleep(Duration::from_millis(250)).await;
        last = open(watched).await;
        for incident in &last {
            first.get_or_insert_with(|| {
                (broken_at.elapsed(), format!("{} {}", incident["outcome"], incident["suspects"]))
            });
            told.insert(incident["id"].to_string());
            let covered = watched.covered(&incident["suspects"]).await;
            if case.outcome.is_some_and(|outcome| incident["outcome"] == outcome) && covered == expected {
                named = Some((broken_at.elapsed(), incident["suspects"].to_string()));
            }
        }
    }
    watched.mend(id).await;
    let mended_at = Instant::now();
    while (case.outcome.is_some() || !last.is_empty()) && mended_at.elapsed() < OVER_WITHIN {
        last = open(watched).await;
        told.extend(last.iter().map(|incident| incident["id"].to_string()));
        if last.is_empty() {
            break;
        }
        sleep(Duration::from_millis(250)).await;
    }
    let ended = mended_at.elapsed();
    let mut line = name;
    if let Some((at, what)) = first {
        let _ = write!(line, " first {:.1} s as {what};", at.as_secs_f64());
    }
    if let Some((at, suspects)) = &named {
        let _ = write!(line, " named {:.1} s on {suspects};", at.as_secs_f64());
    }
    let _ = write!(line, " over {:.1} s after the mend; {} incidents", ended.as_secs_f64(), told.len());
    let right = named.is_some() == case.outcome.is_some() && told.len() == usize::from(case.outcome.is_some());
    if right && last.is_empty() {
        Ok(line)
    } else {
        Err(format!("{line}\nopen at the end: {}\n{}", last.len(), watched.story().await))
    }
}

async fn open(watched: &Watched) -> Vec<Json> {
    let incidents = watched.list("incidents").await.unwrap_or_default();
    incidents.into_iter().filter(|incident| incident["resolved_at"].is_null()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_fault_is_named_right_and_nothing_else_is() {
    let kinds: BTreeSet<String> =
        groups().iter().flatten().map(|case| case.fault["kind"].as_str().expect("a kind").to_owned()).collect();
    // Over HTTP the agent's own writes do not pass through the sandbox: nothing there could slow them.
    let over_http = FaultKind::NAMES.iter().filter(|kind| **kind != "slow-target");
    assert_eq!(kinds, over_http.map(|kind| kind.to_string()).collect(), "every kind has its case");
    let begun = Instant::now();
    let wrong = LocalSet::new().run_until(play_all()).await;
    println!("all of it took {:?}", begun.elapsed());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Plays all groups at once; answers what went wrong.
async fn play_all() -> Vec<String> {
    let mut players = JoinSet::new();
    for cases in groups() {
        players.spawn_local(async move {
            let replaces = cases.iter().any(|case| case.fault["where"]["mode"] == "replace");
            let watched = Watched::start(|probes| if replaces { with_replace(probes) } else { probes }).await;
            watched.landed(2).await;
            let mut lines = Vec::new();
            for case in &cases {
                lines.push(play(&watched, case).await);
            }
            lines
        });
    }
    let mut wrong = Vec::new();
    while let Some(ended) = players.join_next().await {
        for line in ended.unwrap_or_else(|broken| vec![Err(broken.to_string())]) {
            match line {
                Ok(line) => println!("{line}"),
                Err(line) => wrong.push(line),
            }
        }
    }
    wrong
}
