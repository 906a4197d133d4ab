//! The whole line: an agent watches a sandbox over HTTP, whose queries write `td://` tables that the agent
//! reads back by queries of another engine.

use std::{
    fmt::Write as _,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::future::join_all;
use landfall::{
    canary::{Mode, Outcome, Timestamp, Verdict},
    sandbox::{
        World,
        http::{Running, Settings, accounts, serve},
        world::Spread,
    },
};
use serde_json::{Value as Json, json};

use super::calls::{opened, run};
use crate::fixtures::watching::{Heard, Watching};

#[expect(clippy::disallowed_methods, reason = "the sandbox is given the time by whoever starts it")]
fn now() -> Timestamp {
    Timestamp::EPOCH.plus(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970"))
}

async fn sandbox() -> Running {
    let any = "127.0.0.1:0".parse().expect("an address");
    let mut world = World::brisk();
    for platform in &mut world.platforms {
        platform.job_time = Spread::Always(Duration::from_millis(100));
    }
    let settings =
        Settings { listen: any, bucket_listen: any, allow_output: Vec::new(), world, seed: 1, now: Arc::new(now) };
    serve(settings).await.expect("a sandbox")
}

async fn ask(running: &Running, account: usize, method: &str, path: &str, body: Option<Json>) -> Json {
    let key = accounts()[account].key.reveal().to_owned();
    let method = method.parse().expect("a method");
    let mut request = reqwest::Client::new().request(method, format!("{}{path}", running.endpoint()));
    request = request.header("authorization", format!("TD1 {key}"));
    if let Some(body) = body {
        request = request.json(&body);
    }
    let bytes = request.send().await.expect("an answer").bytes().await.expect("a body");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// A platform that writes, and a target that another engine reads; `more` are keys of the target.
fn config(running: &Running, writes: &str, mode: &str, more: &str) -> String {
    let endpoint = running.endpoint();
    format!(
        r#"
[platform.td.treasure-data]
endpoint = "{endpoint}"
api_key = {{ file = "one.key" }}
database = "landfall"
engine = "{writes}"

[target.lake.treasure-data-table]
endpoint = "{endpoint}"
database = "landfall"
table = "landfall_canary"
{more}

[canary.lake]
platforms = ["td"]
targets = ["lake"]
modes = ["{mode}"]
every = "6s"
objective = "6s"
deadline = "15s"
"#
    )
}

async fn watch(config: &str) -> Watching {
    let [one, two] = accounts();
    Watching::start(config, &[("one.key", one.key.reveal()), ("two.key", two.key.reveal())]).await
}

const READ_BY_PRESTO: &str = "api_key = { file = \"one.key\" }\nengine = \"presto\"";
const READ_BY_HIVE: &str = "api_key = { file = \"one.key\" }\nengine = \"hive\"";
/// The agent reads with the key of the second account, whose table it is.
const OF_ANOTHER: &str = "api_key = { file = \"two.key\" }\nresult_api_key = { file = \"two.key\" }\nengine = \"hive\"";

struct Case {
    writes: &'static str,
    mode: &'static str,
    target: String,
    fault: Option<Json>,
    outcome: Outcome,
}

/// Lets a run land, breaks something, and waits for the right word.
async fn play(case: &Case) -> Result<(), String> {
    let running = sandbox().await;
    ask(&running, 1, "POST", "/v3/database/create/landfall", None).await;
    let watching = watch(&config(&running, case.writes, case.mode, &case.target)).await;
    let landed = |heard: &Heard| heard.finals("td").filter(|verdict| verdict.outcome == Outcome::Landed).count() >= 2;
    watching.until("two runs land", |heard| landed(heard).then_some(())).await;
    let mut right = true;
    if let Some(fault) = &case.fault {
        let before = watching.heard(|heard| heard.finals("td").count());
        ask(&running, 0, "POST", "/sandbox/faults", Some(fault.clone())).await;
        // The first run after it may have been on its way already.
        let verdict: Verdict = watching
            .until("a verdict that is not landed", |heard| {
                heard.finals("td").skip(before).find(|verdict| verdict.outcome != Outcome::Landed).cloned()
            })
            .await;
        right = verdict.outcome == case.outcome;
    } else {
        watching.heard(|heard| right = heard.finals("td").all(|verdict| verdict.outcome == Outcome::Landed));
    }
    let told = watching.heard(Heard::text);
    watching.stop().await;
    running.stop().await;
    if right { Ok(()) } else { Err(format!("expected {} with {:?}:\n{told}", case.outcome, case.fault)) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_becomes_of_a_table_is_named_right() {
    let case = |writes, mode, target: &str, fault: Json, outcome| {
        let fault = (!fault.is_null()).then_some(fault);
        Case { writes, mode, target: target.to_owned(), fault, outcome }
    };
    let read_control = format!("{READ_BY_PRESTO}\ncontrol = \"read\"");
    let cases = [
        case("hive", "append", READ_BY_PRESTO, Json::Null, Outcome::Landed),
        case("presto", "replace", READ_BY_HIVE, Json::Null, Outcome::Landed),
        case("hive", "append", READ_BY_PRESTO, json!({"kind": "drop-output"}), Outcome::Lost),
        case("hive", "append", &read_control, json!({"kind": "drop-output"}), Outcome::Lost),
        case("presto", "append", READ_BY_HIVE, json!({"kind": "duplicate-output"}), Outcome::Duplicated),
        case(
            "hive",
            "append",
            READ_BY_PRESTO,
            json!({"kind": "corrupt-output", "column": "hard_text"}),
            Outcome::Corrupted,
        ),
        case("hive", "append", READ_BY_PRESTO, json!({"kind": "partial-output"}), Outcome::Partial),
        case("hive", "replace", READ_BY_PRESTO, json!({"kind": "stale-output"}), Outcome::Stale),
        // Only the account that is read is unreachable: the platform writes on, and nobody can see.
        case(
            "presto",
            "append",
            OF_ANOTHER,
            json!({"kind": "api-unreachable", "where": {"cluster": "hadoop2"}}),
            Outcome::Unknown,
        ),
    ];
    let mut wrong = String::new();
    for played in join_all(cases.iter().map(play)).await {
        if let Err(told) = played {
            let _ = writeln!(wrong, "{told}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_takes_old_rows_of_every_table_and_leaves_the_rest() {
    let running = sandbox().await;
    ask(&running, 0, "POST", "/v3/database/create/landfall", None).await;
    let watching = watch(&config(&running, "hive", "append", READ_BY_PRESTO)).await;
    watching.until("a run lands", |heard| heard.finals("td").next().map(drop)).await;
    watching.stop().await;
    let [one, _] = accounts();
    let target = opened(&running.endpoint(), one.key.reveal(), "engine = \"presto\"");
    target.control().await.expect("a row is written and read back");
    // Somebody's own row, in our table, that only begins as ours do.
    let foreign = "INSERT INTO landfall_canary (marker, row_no) SELECT 'lf0', 1";
    ask(&running, 0, "POST", "/v3/job/issue/presto/landfall", Some(json!({ "query": foreign }))).await;
    let rows = async |table: &str| {
        ask(&running, 0, "GET", &format!("/v3/table/show/landfall/{table}"), None).await["count"].as_u64()
    };
    let written = async || {
        while rows("landfall_canary").await.unwrap_or_default() % 20 != 1 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), written()).await.expect("the row is written");
    let all = rows("landfall_canary").await.expect("a count");
    let controls = rows("landfall_canary__control").await.expect("a count");
    assert!(controls >= 1);
    // Nothing is that old; and a sweep that found nothing is not asked for again today.
    let early = opened(&running.endpoint(), one.key.reveal(), "engine = \"presto\"");
    assert_eq!(early.sweep(now().minus(Duration::from_secs(3600))).await.expect("swept").removed, 0);
    assert_eq!(rows("landfall_canary").await, Some(all));
    assert_eq!(early.sweep(now().plus(Duration::from_secs(60))).await.expect("swept").removed, 0);
    let swept = target.sweep(now().plus(Duration::from_secs(60))).await.expect("swept");
    assert_eq!(swept.removed, all - 1 + controls, "our rows and the controls");
    assert_eq!((rows("landfall_canary").await, rows("landfall_canary__control").await), (Some(1), Some(0)));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_runs_in_many_tables_are_read_by_one_job() {
    let running = sandbox().await;
    ask(&running, 0, "POST", "/v3/database/create/landfall", None).await;
    let [one, _] = accounts();
    let target = opened(&running.endpoint(), one.key.reveal(), "engine = \"presto\"");
    let runs: Vec<_> = (0..40).map(|n| run(if n % 2 == 0 { Mode::Append } else { Mode::Replace }, n)).collect();
    let jobs =
        async || ask(&running, 0, "GET", "/v3/job/list?from=0&to=999", None).await["count"].as_u64().expect("a count");
    let nothing = target.look(&runs).await.expect("no table yet");
    assert!(nothing.iter().all(|seen| seen.rows.nothing()) && jobs().await == 0, "what is not there needs no job");
    for run in &runs {
        let table = target.address(run).place;
        let row = format!("SELECT '{}' AS marker, 3 AS row_no", run.marker);
        let first = format!("CREATE TABLE IF NOT EXISTS {table} AS {row}");
        let shown = ask(&running, 0, "GET", &format!("/v3/table/show/landfall/{table}"), None).await;
        let query = if shown["name"].is_null() { first } else { format!("INSERT INTO {table} (marker, row_no) {row}") };
        let job = ask(&running, 0, "POST", "/v3/job/issue/presto/landfall", Some(json!({ "query": query }))).await;
        let path = format!("/v3/job/status/{}", job["job_id"].as_str().expect("an id"));
        while ask(&running, 0, "GET", &path, None).await["status"] != "success" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let before = jobs().await;
    let seen = target.look(&runs).await.expect("a look");
    assert_eq!(jobs().await - before, 1);
    assert!(seen.iter().all(|seen| seen.rows.changed == 1 && seen.rows.missing == 19), "{seen:#?}");
    running.stop().await;
}
