//! The agent's own report, made and brought by the platform that it watches: the real binary beside a
//! sandbox, whose imports, queries and outputs go wrong one at a time.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::fixtures::daemon::Watched;

/// Longest wait for anything: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

const DOGFOOD: &str = r#"
[dogfood]
platforms = ["presto", "hadoop1", "hadoop2"]
targets   = ["bucket"]
every     = "5s"
objective = "5s"
deadline  = "15s"
settles   = "0s"
"#;

fn with_reports(probes: String) -> String {
    probes + DOGFOOD
}

/// Reports, and nothing else is sent.
fn with_reports_only(probes: String) -> String {
    let at = probes.find("[canary.").expect("the sandbox wrote a canary");
    with_reports(probes[..at].to_owned())
}

/// Reports of all three platforms came back as they should.
async fn came(watched: &Watched) -> Vec<Json> {
    let all = async |w: &Watched| {
        let reports = w.list("reports").await?;
        let is_there = |report: &Json| report["outcome"] == "landed" && report["last"].is_object();
        (reports.len() == 3 && reports.iter().all(is_there)).then_some(reports)
    };
    watched.until("every platform has reported", PATIENCE, all).await.0
}

/// The newest run of the reports that was judged for good to be red, with its reason.
async fn red(watched: &Watched, since: usize) -> Json {
    let found = async |w: &Watched| {
        let runs = w.list("runs").await?;
        let is_red = |run: &&Json| {
            let silent = ["lost", "partial", "stale", "corrupted"].iter().any(|red| run["outcome"] == *red);
            run["canary"] == "dogfood" && run["provisional"] == false && silent
        };
        let reds: Vec<&Json> = runs.iter().filter(is_red).collect();
        (reds.len() > since).then(|| reds[0].clone())
    };
    watched.until("a report is red", PATIENCE, found).await.0
}

async fn open(watched: &Watched) -> Json {
    let found = async |w: &Watched| {
        let incidents = w.list("incidents").await?;
        incidents.into_iter().find(|incident| incident["resolved_at"].is_null())
    };
    watched.until("an incident is open", PATIENCE, found).await.0
}

async fn over(watched: &Watched) {
    let found = async |w: &Watched| {
        let incidents = w.list("incidents").await?;
        // A lone loss of a kind of its own stays open for ten minutes.
        let is_over = |incident: &Json| !incident["resolved_at"].is_null() || incident["severity"] == "warning";
        (!incidents.is_empty() && incidents.iter().all(is_over)).then_some(())
    };
    watched.until("every incident is over", PATIENCE, found).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_platform_reports_on_its_own_routes_and_the_report_that_came_back_is_shown() {
    let watched = Watched::start(with_reports).await;
    let enough = async |w: &Watched| {
        let reports = came(w).await;
        let of_canaries = |report: &Json| {
            let lines = report["last"]["lines"].as_array().cloned().unwrap_or_default();
            ["result-output", "dogfood"].iter().all(|name| lines.iter().any(|line| line["canary"] == *name))
        };
        reports.iter().all(of_canaries).then_some(reports)
    };
    let (reports, _) = watched.until("reports tell of canaries and of themselves", PATIENCE, enough).await;
    for report in &reports {
        let lines = report["last"]["lines"].as_array().expect("lines");
        let (all, rest) = lines.split_first().expect("a line for all");
        assert_eq!(all["hour"], "*");
        let sum = |key: &str| rest.iter().map(|line| line[key].as_i64().expect("a number")).sum::<i64>();
        assert_eq!((all["runs"].as_i64(), all["silent_losses"].as_i64()), (Some(sum("runs")), Some(0)));
        assert!(rest.iter().all(|line| line["platform"] == report["platform"]), "{report:#}");
        assert!(rest.iter().all(|line| line["landed_ratio"] == 1.0), "{report:#}");
        assert!(rest.iter().all(|line| line["p50_ms"].as_i64() <= line["p99_ms"].as_i64()), "{report:#}");
    }
    let page = watched.ask(reqwest::Method::GET, &watched.agent, None, None).await.1;
    assert!(page.contains("Own reports") && page.contains("presto → bucket"), "{page}");
    assert!(page.contains("<td>100.00 %</td>"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_an_import_lost_are_told_from_a_wrong_query_and_a_wrong_output() {
    let watched = Watched::start(with_reports).await;
    came(&watched).await;
    let mut told = 0;
    // The canaries append, the reports replace.
    for (fault, stage, phase) in [
        (json!({ "kind": "lose-import", "share": 0.5 }), "import", "submit"),
        (json!({ "kind": "wrong-query", "where": { "mode": "replace" } }), "query", "execute"),
        (json!({ "kind": "drop-output", "where": { "mode": "replace" } }), "output", "land"),
    ] {
        let id = watched.inject(&fault).await;
        let run = red(&watched, told).await;
        let reason = run["reason"].as_str().unwrap_or_default();
        assert!(reason.starts_with(&format!("{stage}: ")), "{fault}: {run:#}");
        assert_eq!(run["phase"], phase, "{run:#}");
        let incident = open(&watched).await;
        assert_eq!(incident["suspects"]["sends"], "report", "{incident:#}");
        let page = format!("{}/runs/{}", watched.agent, run["run_id"].as_str().expect("an id"));
        let page = watched.ask(reqwest::Method::GET, &page, None, None).await.1;
        assert!(page.contains("The query brought") && page.contains("In the table"), "{page}");
        watched.mend(id).await;
        over(&watched).await;
        came(&watched).await;
        let runs = watched.list("runs").await.expect("an answer");
        told = runs.iter().filter(|run| run["canary"] == "dogfood" && run["outcome"] != "landed").count();
    }
    // Nobody but the reports was hit.
    let runs = watched.list("runs").await.expect("an answer");
    let others: Vec<&Json> = runs
        .iter()
        .filter(|run| run["canary"] != "dogfood" && run["provisional"] == false && !run["outcome"].is_null())
        .collect();
    let hit: Vec<&&Json> = others.iter().filter(|run| run["outcome"] != "landed").collect();
    assert!(others.len() > 20 && hit.is_empty(), "{} runs, of which {hit:#?}", others.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_loss_is_noticed_by_the_report_alone_as_in_2015() {
    let watched = Watched::start(with_reports_only).await;
    came(&watched).await;
    let routes = watched.list("routes").await.expect("an answer");
    assert!(routes.len() == 3 && routes.iter().all(|route| route["canary"] == "dogfood"), "no canary is sent");
    let id = watched.inject(&json!({ "kind": "drop-output", "where": { "worker": "v5" } })).await;
    let incident = open(&watched).await;
    assert_eq!(incident["suspects"], json!({ "worker": "v5" }), "{incident:#}");
    assert!(["lost", "stale"].iter().any(|silent| incident["outcome"] == *silent), "{incident:#}");
    assert!(red(&watched, 0).await["reason"].as_str().unwrap_or_default().starts_with("output: "));
    watched.mend(id).await;
    over(&watched).await;
    came(&watched).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_breaks_no_report() {
    let mut watched = Watched::start(with_reports_only).await;
    came(&watched).await;
    for _ in 0..3 {
        watched.kill();
        watched.launch();
        watched.ready().await;
        tokio::time::sleep(Duration::from_secs(8)).await;
    }
    came(&watched).await;
    let runs = watched.list("runs").await.expect("an answer");
    // Whatever flew while nobody watched may be unknown; nothing is red.
    let is_calm =
        |run: &Json| ["landed", "unknown"].iter().any(|calm| run["outcome"] == *calm) || run["outcome"].is_null();
    let reds: Vec<&Json> = runs.iter().filter(|run| !is_calm(run)).collect();
    assert!(reds.is_empty(), "{reds:#?}");
    assert!(watched.list("incidents").await.expect("an answer").is_empty());
}
