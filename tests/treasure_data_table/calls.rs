//! What a target asks of the API, and what it makes of the answers.

use std::{sync::Arc, time::Duration};

use landfall::{
    canary::{CanaryName, Labels, Marker, Mode, PlatformName, Route, Run, Sample, TargetName, Terms, Timestamp, Why},
    config::{self, Kind, Kinds, NoNotifier, Options},
    target::{Target, TargetError, treasure_data_table},
};
use serde_json::{Value as Json, json};

use crate::fixtures::stand_in::{Answer, StandIn, nobody};

const KEY: &str = "1/0123456789abcdef0123456789abcdef01234567";
const ISSUE: &str = "POST /v3/job/issue/presto/landfall";
const TABLE: &str = "GET /v3/table/show/landfall/landfall_canary";
const PRESTO: &str = "engine = \"presto\"\ntimeout = \"5s\"";

/// The driver, as the config declares it.
pub(super) fn opened(url: &str, key: &str, more: &str) -> Arc<dyn Target> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("key"), key).expect("written");
    let config = format!(
        r#"
[platform.p.nothing]
[target.t.treasure-data-table]
endpoint = "{url}"
api_key = {{ file = "key" }}
database = "landfall"
table = "landfall_canary"
{more}
[canary.c]
platforms = ["p"]
targets = ["t"]
every = "1m"
"#
    );
    let path = folder.path().join("landfall.toml");
    std::fs::write(&path, config).expect("written");
    let kinds: Kinds<'_, (), Arc<dyn Target>, NoNotifier> = Kinds {
        platforms: vec![Kind::new::<()>("nothing", &[], |_| Ok(()))],
        targets: vec![Kind::new::<treasure_data_table::Keys>(
            "treasure-data-table",
            treasure_data_table::MODES,
            treasure_data_table::open,
        )],
        notifiers: vec![],
    };
    let options = Options { without_secrets: false, now: Timestamp::EPOCH };
    let mut plan = config::load(&path, &kinds, options).unwrap_or_else(|problems| panic!("{problems:#?}"));
    plan.targets.remove(0).driver
}

/// A run, one of many.
pub(super) fn run(mode: Mode, chance: u128) -> Arc<Run> {
    let route = Route::new(
        CanaryName::new(&format!("c{}", chance % 4)).expect("valid"),
        PlatformName::new("p").expect("valid"),
        TargetName::new("t").expect("valid"),
        mode,
        Labels::default(),
    );
    let due = Timestamp::from_secs(1_440_452_640);
    let terms = Terms { due, objective: Duration::from_secs(120), deadline: Duration::from_secs(300) };
    let marker = Marker::mint(due, chance);
    Arc::new(Run {
        marker,
        route: Arc::new(route),
        terms,
        sample: Sample::default(),
        why: Why::Scheduled,
        report: None,
    })
}

fn table(columns: Json) -> Answer {
    Answer::json(200, json!({"name": "landfall_canary", "count": 20, "schema": columns.to_string()}))
}

fn canarys() -> Answer {
    table(json!([["marker", "string"], ["row_no", "long"], ["hard_text", "string"]]))
}

fn shown(status: &str, stderr: &str) -> Answer {
    Answer::json(200, json!({"job_id": "5", "status": status, "debug": {"cmdout": null, "stderr": stderr}}))
}

async fn scene(answers: impl IntoIterator<Item = (&'static str, Answer)>) -> StandIn {
    let stand_in = StandIn::start().await;
    stand_in.says(TABLE, [canarys()]).says(ISSUE, [Answer::json(200, json!({"job_id": "5"}))]);
    stand_in.says("GET /v3/job/show/5", [shown("success", "")]);
    for (line, answer) in answers {
        stand_in.says(line, [answer]);
    }
    stand_in
}

async fn look(stand_in: &StandIn) -> Result<Vec<landfall::canary::Sighting>, TargetError> {
    opened(&stand_in.url, KEY, PRESTO).look(&[run(Mode::Append, 7)]).await
}

#[tokio::test]
async fn the_address_is_a_td_url_and_hides_the_key() {
    let target = opened("http://127.0.0.1:1", KEY, PRESTO);
    let append = target.address(&run(Mode::Append, 7));
    assert_eq!(append.url.reveal(), "td://@/landfall/landfall_canary?mode=append");
    assert_eq!((append.shown.as_str(), append.place.as_str()), (append.url.reveal(), "landfall_canary"));
    let other = opened("http://127.0.0.1:1", KEY, &format!("{PRESTO}\nresult_api_key = {{ file = \"key\" }}"));
    let of = run(Mode::Replace, 7);
    let replace = other.address(&of);
    let rest = format!("@/landfall/landfall_canary__{}?mode=replace", of.route.id);
    assert_eq!(replace.url.reveal(), format!("td://{}{rest}", KEY.replace('/', "%2F")));
    assert_eq!(replace.shown, format!("td://…{rest}"));
    assert_eq!(target.patience(), Duration::from_secs(5));
    assert!(!format!("{target:?}").contains("0123456789abcdef"));
}

#[tokio::test]
async fn a_look_is_one_query_for_columns_that_are_there() {
    let of = run(Mode::Append, 7);
    let rows = format!("[0, \"{}\", 3, \"wrong\"]\n[0, \"other\", 3, \"x\"]\n\n", of.marker);
    let stand_in = scene([("GET /v3/job/result/5?format=json", Answer::raw(200, rows))]).await;
    let seen = look(&stand_in).await.expect("a sighting");
    assert_eq!((seen[0].rows.changed, seen[0].rows.missing), (1, 19));
    let asked = stand_in.heard().into_iter().find(|heard| heard.line == ISSUE).expect("issued");
    let query = asked.field("query").expect("a query");
    assert_eq!(
        query,
        format!(
            "SELECT 0 AS part, marker, row_no, hard_text FROM (SELECT marker, row_no, SUBSTR(hard_text, 1, 4096) AS \
             hard_text, ROW_NUMBER() OVER (PARTITION BY marker) AS nth FROM landfall_canary WHERE marker IN \
             ('{}')) AS own0 WHERE nth <= 124",
            of.marker
        )
    );
    assert_eq!(asked.field("retry_limit").as_deref(), Some("0"));
    assert_eq!(asked.field("result"), None);
}

#[tokio::test]
async fn no_table_is_nothing_and_anothers_table_is_not_read() {
    let missing = scene([(TABLE, Answer::json(404, json!({"error": "no"})))]).await;
    assert!(look(&missing).await.expect("a sighting")[0].rows.nothing());
    let empty = Answer::json(200, json!({"name": "landfall_canary", "count": 0, "schema": "[]"}));
    assert!(look(&scene([(TABLE, empty)]).await).await.expect("a sighting")[0].rows.nothing());
    let foreign = scene([(TABLE, table(json!([["user", "string"]])))]).await;
    let error = look(&foreign).await.expect_err("not ours");
    assert!(matches!(error, TargetError::Foreign { .. }), "{error:?}");
    assert_eq!(foreign.times_heard(ISSUE) + missing.times_heard(ISSUE), 0);
}

#[tokio::test]
async fn what_cannot_be_read_is_an_error_and_never_nothing() {
    let result = "GET /v3/job/result/5?format=json";
    let json = |status| Answer::json(status, json!({"error": "hunter"}));
    for (line, answer) in [
        (TABLE, json(500)),
        (TABLE, Answer::raw(404, "<html>")),
        (ISSUE, json(404)),
        (ISSUE, json(422)),
        (ISSUE, json(429)),
        (ISSUE, json(503)),
        (ISSUE, Answer::json(200, json!({}))),
        ("GET /v3/job/show/5", shown("error", "line 1: Column cannot be resolved")),
        ("GET /v3/job/show/5", shown("killed", "")),
        ("GET /v3/job/show/5", shown("dancing", "")),
        ("GET /v3/job/show/5", json(404)),
        (result, json(404)),
        (result, Answer::raw(200, "{\"half\"")),
        (result, Answer::raw(200, "[7, \"lf\", 1, \"\"]")),
        (result, Answer::huge(200, 100)),
        (result, Answer::breaks_off()),
    ] {
        let stand_in = scene([(line, answer)]).await;
        let error = look(&stand_in).await.expect_err(line);
        assert!(matches!(error, TargetError::Unreachable { .. } | TargetError::Nonsense { .. }), "{line}: {error:?}");
    }
    let denied = look(&scene([(ISSUE, json(403))]).await).await.expect_err("denied");
    assert!(matches!(denied, TargetError::Denied { .. }), "{denied:?}");
    let gone = opened(&nobody().await, KEY, PRESTO).look(&[run(Mode::Append, 7)]).await.expect_err("nobody");
    assert!(matches!(gone, TargetError::Unreachable { .. }), "{gone:?}");
}

#[tokio::test]
async fn a_reading_job_that_takes_too_long_is_stopped() {
    let stand_in = scene([("GET /v3/job/show/5", shown("queued", ""))]).await;
    stand_in.says("POST /v3/job/kill/5", [Answer::json(200, json!({}))]);
    let error = look(&stand_in).await.expect_err("too long").to_string();
    assert!(error.contains("reading job 5 was still queued"), "{error}");
    assert_eq!(stand_in.times_heard("POST /v3/job/kill/5"), 1);
}

#[tokio::test]
async fn a_control_by_reading_needs_a_run_that_landed() {
    let stand_in = scene([]).await;
    let target = opened(&stand_in.url, KEY, &format!("{PRESTO}\ncontrol = \"read\""));
    let error = target.control().await.expect_err("nothing landed").to_string();
    assert!(error.contains("nothing is proven"), "{error}");
    assert!(stand_in.heard().is_empty(), "and asks nothing");
}

#[tokio::test]
async fn a_control_by_writing_imports_a_row_into_a_table_of_its_own() {
    let control = "GET /v3/table/show/landfall/landfall_canary__control";
    let made = json!({"name": "x", "count": 0, "schema": "[]"});
    let stand_in = scene([]).await;
    stand_in.says(control, [Answer::json(404, json!({})), Answer::json(200, made)]);
    stand_in.says("POST /v3/table/create/landfall/landfall_canary__control/log", [Answer::json(409, json!({}))]);
    stand_in.says("POST /v3/table/update-schema/landfall/landfall_canary__control", [Answer::json(200, json!({}))]);
    // The import has an id of its own, to which the script has no answer.
    let error = opened(&stand_in.url, KEY, PRESTO).control().await.expect_err("no answer to the import");
    assert!(matches!(error, TargetError::Unreachable { .. }), "{error:?}");
    let lines = stand_in.lines();
    assert_eq!(lines[1], "POST /v3/table/create/landfall/landfall_canary__control/log");
    assert_eq!(lines[3], "POST /v3/table/update-schema/landfall/landfall_canary__control");
    assert!(lines[4].starts_with("PUT /v3/table/import_with_id/landfall/landfall_canary__control/"), "{lines:?}");
    assert!(lines[4].ends_with("/msgpack.gz") && stand_in.times_heard(ISSUE) == 0, "{lines:?}");
}
