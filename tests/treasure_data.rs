//! The Treasure Data driver against a stand-in that answers as the platform does, or as it should not.

mod sandbox;

use std::{sync::Arc, time::Duration};

use landfall::{
    canary::{
        Address, CanaryName, Labels, Marker, Mode, Phase, PlatformName, Route, Run, Sample, Secret, TargetName, Terms,
        Timestamp, Why,
    },
    config::{self, Kind, Kinds, NoNotifier, Options},
    http::Wire,
    platform::{
        Handle, Job, Platform, PlatformError, Progress,
        treasure_data::{self, Account, Engine, TreasureData},
    },
};
use serde_json::{Value as Json, json};

use crate::fixtures::stand_in::{Answer, StandIn, hangs_up, nobody};

const KEY: &str = "1/0123456789abcdef0123456789abcdef01234567";
const RESULT_URL: &str = "postgresql://writer:s3cr3t-pass@db.example:5432/landfall/canary?mode=append";
const ISSUE: &str = "POST /v3/job/issue/hive/landfall";

fn driver(url: &str) -> TreasureData {
    let account = Account::new(url, Secret::new(KEY), "landfall", Engine::Hive).expect("right settings");
    TreasureData::new(account.timeout(Duration::from_millis(500)), &Wire::default()).expect("a client")
}

fn run() -> Run {
    let route = Route::new(
        CanaryName::new("result-output").expect("valid"),
        PlatformName::new("hadoop1").expect("valid"),
        TargetName::new("warehouse").expect("valid"),
        Mode::Append,
        Labels::default(),
    );
    let terms = Terms {
        due: Timestamp::from_secs(1_440_452_640),
        objective: Duration::from_secs(120),
        deadline: Duration::from_secs(300),
    };
    let marker = Marker::mint(terms.due, 7);
    Run { marker, route: Arc::new(route), terms, sample: Sample::default(), why: Why::Scheduled, report: None }
}

fn job() -> Job {
    let deliver_to = Address {
        url: Secret::new(RESULT_URL),
        shown: "postgresql://…@db.example:5432/landfall/canary".into(),
        place: "canary".into(),
        mode: Mode::Append,
    };
    Job { run: Arc::new(run()), deliver_to, deadline: Timestamp::from_secs(1_440_452_940) }
}

fn by_key() -> String {
    format!("GET /v3/job/status_by_domain_key/{}", run().marker)
}

fn handle(text: &str) -> Handle {
    Handle::new(text).expect("short")
}

fn ok(json: Json) -> Answer {
    Answer::json(200, json)
}

fn refusal(status: u16, message: &str) -> Answer {
    let body =
        json!({"error": message, "message": message, "text": message, "severity": "error", "status_code": status});
    Answer::json(status, body)
}

/// A job as `job/show` describes it, with some fields changed.
fn shown(id: &str, status: &str, changes: Json) -> Answer {
    let mut shown = json!({
        "job_id": id, "type": "hive", "status": status, "query": "SELECT 1", "database": "landfall",
        "created_at": "2015-08-24 21:44:00 UTC", "updated_at": "2015-08-24 21:44:30 UTC",
        "start_at": "2015-08-24 21:44:05 UTC", "end_at": "", "num_records": null, "result": "",
        "linked_result_export_job_id": null, "result_export_target_job_id": null,
        "debug": {"cmdout": null, "stderr": null},
    });
    for (name, value) in changes.as_object().expect("an object") {
        shown[name] = value.clone();
    }
    ok(shown)
}

fn succeeded(changes: Json) -> Answer {
    let mut all = json!({"end_at": "2015-08-24 21:44:30 UTC", "num_records": 20, "result": "web://…@host/landing"});
    for (name, value) in changes.as_object().expect("an object") {
        all[name] = value.clone();
    }
    shown("123", "success", all)
}

async fn look(stand_in: &StandIn, at: &str) -> (Progress, String) {
    let (state, newest) = driver(&stand_in.url).look(&handle(at)).await.expect("an answer");
    (state.progress, newest.as_str().to_owned())
}

fn seconds(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a time")
}

#[tokio::test]
async fn a_submit_carries_the_query_the_address_and_the_marker_as_key() {
    let stand_in = StandIn::start().await;
    stand_in.says(ISSUE, [ok(json!({"job": "123", "job_id": "123", "database": "landfall"}))]);
    let handle = driver(&stand_in.url).submit(&job()).await.expect("accepted");
    assert_eq!(handle.as_str(), "123");

    let heard = &stand_in.heard()[0];
    assert_eq!(heard.headers["authorization"], format!("TD1 {KEY}"));
    assert_eq!(heard.field("domain_key"), Some(run().marker.to_string()));
    assert_eq!(heard.field("result").as_deref(), Some(RESULT_URL));
    assert_eq!(heard.field("retry_limit").as_deref(), Some("0"));
    let query = heard.field("query").expect("a query");
    assert!(query.contains(&format!("'{}' AS marker", run().marker)) && query.contains("WHERE n < 20"), "{query}");
    assert_eq!(heard.field("priority"), None, "what is not set is left to the account");
}

#[tokio::test]
async fn what_the_config_says_of_jobs_is_sent_with_each() {
    let stand_in = StandIn::start().await;
    stand_in.says("POST /v3/job/issue/presto/mon_db", [ok(json!({"job_id": "123"}))]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("td.key"), format!("{KEY}\n")).expect("written");
    let config = format!(
        r#"
[platform.presto.treasure-data]
endpoint = "{}"
api_key = {{ file = "td.key" }}
database = "mon_db"
engine = "presto"
priority = -1
pool = "canaries"
engine_version = "experimental"
seed_table = "my_seed"
timeout = "5s"

[target.web.nothing]

[canary.result-output]
platforms = ["presto"]
targets = ["web"]
modes = ["append"]
every = "1m"
"#,
        stand_in.url
    );
    let path = folder.path().join("landfall.toml");
    std::fs::write(&path, config).expect("written");
    let kinds: Kinds<'_, Arc<dyn Platform>, (), NoNotifier> = Kinds {
        platforms: vec![Kind::new::<treasure_data::Table>("treasure-data", treasure_data::MODES, treasure_data::open)],
        targets: vec![Kind::new::<()>("nothing", &[], |_| Ok(()))],
        notifiers: vec![],
    };
    let options = Options { without_secrets: false, now: Timestamp::EPOCH };
    let plan = config::load(&path, &kinds, options).unwrap_or_else(|problems| panic!("{problems:?}"));
    plan.platforms[0].driver.submit(&job()).await.expect("accepted");
    let heard = &stand_in.heard()[0];
    assert_eq!(heard.headers["authorization"], format!("TD1 {KEY}"));
    for (name, value) in [("priority", "-1"), ("pool_name", "canaries"), ("engine_version", "experimental")] {
        assert_eq!(heard.field(name).as_deref(), Some(value), "{name}");
    }
    assert!(heard.field("query").is_some_and(|query| query.contains(" FROM my_seed_20_")));
}

#[tokio::test]
async fn an_endpoint_with_a_base_path_or_a_slash_keeps_it() {
    let stand_in = StandIn::start().await;
    let issued = ok(json!({"job_id": "123"}));
    stand_in.says(ISSUE, [issued.clone()]).says("POST /td/v3/job/issue/hive/landfall", [issued]);
    driver(&format!("{}/", stand_in.url)).submit(&job()).await.expect("accepted");
    driver(&format!("{}/td", stand_in.url)).submit(&job()).await.expect("accepted");
    assert_eq!(stand_in.lines(), [ISSUE, "POST /td/v3/job/issue/hive/landfall"]);
}

#[tokio::test]
async fn a_submit_that_conflicts_is_the_job_that_is_there() {
    for with in [json!("77"), json!(77)] {
        let stand_in = StandIn::start().await;
        let conflict = json!({"error": "Domain key has already been taken", "details": {"conflicts_with": with}});
        stand_in.says(ISSUE, [Answer::json(409, conflict)]);
        let handle = driver(&stand_in.url).submit(&job()).await.expect("there already");
        assert_eq!(handle.as_str(), "77");
    }
}

#[tokio::test]
async fn a_conflict_that_names_no_job_is_looked_up_by_key() {
    let stand_in = StandIn::start().await;
    stand_in.says(ISSUE, [refusal(409, "taken")]).says(&by_key(), [ok(json!({"job_id": "78", "status": "queued"}))]);
    let handle = driver(&stand_in.url).submit(&job()).await.expect("found");
    assert_eq!(handle.as_str(), "78");

    stand_in.says(&by_key(), [refusal(404, "no job")]);
    let refused = driver(&stand_in.url).submit(&job()).await.expect_err("a conflict with nothing");
    assert!(matches!(refused, PlatformError::Refused { ref detail } if detail == "409: taken"), "{refused:?}");
}

#[tokio::test]
async fn a_submit_whose_answer_was_lost_is_found_by_key_and_not_issued_again() {
    for lost in [Answer::nothing(), Answer::slow(), Answer::breaks_off(), Answer::raw(200, "<html>")] {
        let stand_in = StandIn::start().await;
        stand_in.says(ISSUE, [lost]).says(&by_key(), [ok(json!({"job_id": "123", "status": "running"}))]);
        let driver = driver(&stand_in.url);
        let error = driver.submit(&job()).await.expect_err("no answer");
        assert!(!matches!(error, PlatformError::Unreachable { never_arrived: true, .. }), "it did arrive: {error:?}");
        assert!(error.may_pass() && !error.answered(), "{error:?}");
        let handle = driver.find(&run()).await.expect("an answer").expect("a job");
        assert_eq!(handle.as_str(), "123");
        assert_eq!(stand_in.times_heard(ISSUE), 1);
    }
}

#[tokio::test]
async fn a_run_whose_key_is_not_known_was_never_started() {
    let stand_in = StandIn::start().await;
    stand_in.says(&by_key(), [refusal(404, "Couldn't find Job")]);
    assert_eq!(driver(&stand_in.url).find(&run()).await.expect("an answer"), None);
    // A proxy's own 404 proves nothing.
    stand_in.says(&by_key(), [Answer::raw(404, "<html>no such site</html>")]);
    let error = driver(&stand_in.url).find(&run()).await.expect_err("not the API's word");
    assert!(matches!(error, PlatformError::Nonsense { .. }), "{error:?}");
}

#[tokio::test]
async fn a_job_goes_from_queue_to_execute_to_done_with_the_platforms_own_times() {
    let stand_in = StandIn::start().await;
    let early = json!({"start_at": ""});
    stand_in.says(
        "GET /v3/job/show/123",
        [
            shown("123", "queued", early.clone()),
            shown("123", "booting", early),
            shown("123", "running", json!({})),
            succeeded(json!({})),
        ],
    );
    assert_eq!(look(&stand_in, "123").await.0, Progress::Running(Phase::Queue));
    assert_eq!(look(&stand_in, "123").await.0, Progress::Running(Phase::Queue));
    assert_eq!(look(&stand_in, "123").await.0, Progress::Running(Phase::Execute));
    let (state, newest) = driver(&stand_in.url).look(&handle("123")).await.expect("an answer");
    assert_eq!(state.progress, Progress::Done { rows: Some(20) });
    assert_eq!((state.jobs, newest), (vec!["123".to_owned()], handle("123")));
    assert_eq!(
        state.phases,
        [
            (Phase::Queue, seconds("2015-08-24T21:44:00Z")),
            (Phase::Execute, seconds("2015-08-24T21:44:05Z")),
            (Phase::Land, seconds("2015-08-24T21:44:30Z")),
        ]
    );
}

#[tokio::test]
async fn a_linked_export_is_followed_and_its_end_is_the_jobs_end() {
    let stand_in = StandIn::start().await;
    let made = json!({"created_at": "2015-08-24 21:44:31 UTC", "start_at": "2015-08-24 21:44:33 UTC"});
    let mut ended = made.clone();
    ended["end_at"] = json!("2015-08-24 21:45:00 UTC");
    stand_in.says("GET /v3/job/show/123", [succeeded(json!({"linked_result_export_job_id": 456}))]).says(
        "GET /v3/job/show/456",
        [
            shown("456", "queued", json!({"start_at": null})),
            shown("456", "running", made),
            shown("456", "success", ended),
        ],
    );
    assert_eq!(look(&stand_in, "123").await, (Progress::Running(Phase::Export), "123 456".to_owned()));
    assert_eq!(look(&stand_in, "123 456").await.0, Progress::Running(Phase::Export));
    let (state, _) = driver(&stand_in.url).look(&handle("123 456")).await.expect("an answer");
    assert_eq!(state.progress, Progress::Done { rows: Some(20) });
    assert_eq!(state.jobs, ["123", "456"]);
    assert_eq!(
        state.phases[2..],
        [(Phase::Export, seconds("2015-08-24T21:44:31Z")), (Phase::Land, seconds("2015-08-24T21:45:00Z")),]
    );
}

#[tokio::test]
async fn a_failed_or_killed_export_is_the_runs_failure_in_phase_export() {
    let stand_in = StandIn::start().await;
    let log = json!({"debug": {"cmdout": "started\n", "stderr": "connection to db.example refused"}});
    stand_in
        .says("GET /v3/job/show/123", [succeeded(json!({"linked_result_export_job_id": 456}))])
        .says("GET /v3/job/show/456", [shown("456", "error", log), shown("456", "killed", json!({}))]);
    let (progress, _) = look(&stand_in, "123").await;
    let Progress::Error { phase: Phase::Export, detail } = progress else { panic!("{progress:?}") };
    assert_eq!(detail, "started\nconnection to db.example refused");
    assert_eq!(look(&stand_in, "123").await.0, Progress::Killed { phase: Phase::Export });
}

#[tokio::test]
async fn a_query_that_stays_running_while_it_exports_is_in_phase_export() {
    let stand_in = StandIn::start().await;
    stand_in.says("GET /v3/job/show/123", [shown("123", "running", json!({"linked_result_export_job_id": 456}))]);
    assert_eq!(look(&stand_in, "123").await, (Progress::Running(Phase::Export), "123 456".to_owned()));
}

#[tokio::test]
async fn a_query_that_fails_because_of_its_export_failed_in_phase_export() {
    let stand_in = StandIn::start().await;
    let linked = json!({"linked_result_export_job_id": 456, "num_records": 20});
    stand_in
        .says("GET /v3/job/show/123", [shown("123", "error", linked)])
        .says("GET /v3/job/show/456", [shown("456", "error", json!({"debug": {"stderr": "no such table"}}))]);
    let exported = Progress::Error { phase: Phase::Export, detail: "no such table".into() };
    assert_eq!(look(&stand_in, "123").await.0, exported);

    let within = json!({"num_records": 20, "debug": {"cmdout": "Result Output failed: no such table"}});
    stand_in.says("GET /v3/job/show/124", [shown("124", "error", within)]);
    assert!(matches!(look(&stand_in, "124").await.0, Progress::Error { phase: Phase::Export, .. }));

    let query = json!({"debug": {"stderr": "line 1:8: column `n` cannot be resolved"}});
    stand_in.says("GET /v3/job/show/125", [shown("125", "error", query)]);
    assert!(matches!(look(&stand_in, "125").await.0, Progress::Error { phase: Phase::Execute, .. }));
}

#[tokio::test]
async fn a_link_that_appears_late_is_followed() {
    let stand_in = StandIn::start().await;
    let linked = succeeded(json!({"linked_result_export_job_id": "456"}));
    stand_in
        .says("GET /v3/job/show/123", [succeeded(json!({})), linked])
        .says("GET /v3/job/show/456", [shown("456", "error", json!({"debug": {"stderr": "disk full"}}))]);
    let driver = driver(&stand_in.url);
    let (state, newest) = driver.look(&handle("123")).await.expect("an answer");
    assert_eq!(state.progress, Progress::Done { rows: Some(20) }, "the query's word, as long as there is no other");
    let (state, newest) = driver.look(&newest).await.expect("an answer");
    assert_eq!(state.progress, Progress::Error { phase: Phase::Export, detail: "disk full".into() });
    assert_eq!(newest, handle("123 456"));
}

#[tokio::test]
async fn a_success_without_a_link_waits_for_one_by_the_platforms_clock_unless_none_ever_came() {
    let stand_in = StandIn::start().await;
    // The job ended at 21:44:30.
    let at = |clock: &str, changes: Json| succeeded(changes).with("date", &format!("Mon, 24 Aug 2015 {clock} GMT"));
    let unlinked = |clock: &str| at(clock, json!({}));
    let (export, done) = (Progress::Running(Phase::Export), Progress::Done { rows: Some(20) });
    let cases = [
        ("in the grace", unlinked("21:44:32"), &export),
        ("after it", unlinked("21:44:36"), &done),
        ("in the grace of the next, where none came", unlinked("21:44:32"), &done),
        ("of another kind, in the grace", at("21:44:32", json!({"result": "s3://…@/bucket/path"})), &export),
        ("linked", at("21:44:32", json!({"linked_result_export_job_id": 456})), &export),
        ("in the grace of the next, where one came", unlinked("21:44:32"), &export),
        ("after it", unlinked("21:44:36"), &done),
        ("in the grace again", unlinked("21:44:32"), &export),
        ("a clock that shows less than the end", unlinked("21:44:00"), &done),
        ("no output", at("21:44:32", json!({"result": ""})), &done),
        ("no end", at("21:44:32", json!({"end_at": ""})), &done),
    ];
    stand_in.says("GET /v3/job/show/456", [shown("456", "running", json!({}))]);
    let driver = driver(&stand_in.url);
    for (name, answer, expected) in cases {
        stand_in.says("GET /v3/job/show/123", [answer]);
        let (state, _) = driver.look(&handle("123")).await.expect("an answer");
        assert_eq!(state.progress, *expected, "{name}");
    }
}

#[tokio::test]
async fn an_export_that_the_key_may_not_see_leaves_the_querys_word() {
    for hidden in [refusal(404, "no such job"), refusal(403, "not yours")] {
        let stand_in = StandIn::start().await;
        stand_in
            .says("GET /v3/job/show/123", [succeeded(json!({"linked_result_export_job_id": 456}))])
            .says("GET /v3/job/show/456", [hidden]);
        assert_eq!(look(&stand_in, "123").await.0, Progress::Done { rows: Some(20) });
    }
}

#[tokio::test]
async fn a_killed_job_says_how_far_it_had_come() {
    let stand_in = StandIn::start().await;
    stand_in.says(
        "GET /v3/job/show/123",
        [shown("123", "killed", json!({"start_at": ""})), shown("123", "killed", json!({}))],
    );
    assert_eq!(look(&stand_in, "123").await.0, Progress::Killed { phase: Phase::Queue });
    assert_eq!(look(&stand_in, "123").await.0, Progress::Killed { phase: Phase::Execute });
}

#[tokio::test]
async fn cancelling_stops_the_query_and_its_export_and_a_finished_job_is_no_error() {
    let stand_in = StandIn::start().await;
    stand_in
        .says("POST /v3/job/kill/123", [ok(json!({"job_id": "123", "former_status": "success"}))])
        .says("POST /v3/job/kill/456", [ok(json!({}))]);
    driver(&stand_in.url).cancel(&handle("123 456")).await.expect("stopped");
    assert_eq!(stand_in.lines(), ["POST /v3/job/kill/123", "POST /v3/job/kill/456"]);
    assert_eq!(stand_in.heard()[0].headers["content-length"], "0");

    stand_in.says("POST /v3/job/kill/123", [refusal(500, "try later")]);
    let error = driver(&stand_in.url).cancel(&handle("123 456")).await.expect_err("one still runs");
    assert!(matches!(error, PlatformError::Broken { .. }), "{error:?}");
    assert_eq!(stand_in.times_heard("POST /v3/job/kill/456"), 2, "the export is stopped all the same");
}

#[tokio::test]
async fn answers_are_told_apart() {
    type Expected = fn(&PlatformError) -> bool;
    let denied: Expected = |e| matches!(e, PlatformError::Denied { .. });
    let refused: Expected = |e| matches!(e, PlatformError::Refused { .. });
    let broken: Expected = |e| matches!(e, PlatformError::Broken { .. });
    let throttled: Expected = |e| matches!(e, PlatformError::Throttled { .. });
    let nonsense: Expected = |e| matches!(e, PlatformError::Nonsense { .. });
    let not_found: Expected = |e| matches!(e, PlatformError::NotFound);
    let unheard: Expected = |e| matches!(e, PlatformError::Unreachable { never_arrived: false, .. });
    let cases: [(&str, Answer, Expected); 30] = [
        ("401", refusal(401, "no"), denied),
        ("403", Answer::raw(403, ""), denied),
        ("404", refusal(404, "no such job"), not_found),
        ("404 of a proxy", Answer::raw(404, "<html>"), nonsense),
        ("404 with a list", Answer::raw(404, "[]"), nonsense),
        ("400", refusal(400, "no"), refused),
        ("422", refusal(422, "no"), refused),
        ("422, huge", Answer::huge(422, 6), refused),
        ("422, not UTF-8", Answer::raw(422, b"\xff\xfe".as_slice()), refused),
        ("429", refusal(429, "slow down"), throttled),
        ("408", refusal(408, "too slow"), broken),
        ("500", refusal(500, "oops"), broken),
        ("503 of a proxy", Answer::raw(503, "<html>"), broken),
        ("301", Answer::raw(301, "").with("location", "/v3/job/show/5"), nonsense),
        ("304", Answer::raw(304, ""), nonsense),
        ("600", Answer::raw(600, ""), nonsense),
        ("huge", Answer::huge(200, 6), nonsense),
        ("slow", Answer::slow(), unheard),
        ("broken off", Answer::breaks_off(), unheard),
        ("silent", Answer::nothing(), unheard),
        ("empty", Answer::raw(200, ""), nonsense),
        ("not JSON", Answer::raw(200, "<html>"), nonsense),
        ("not UTF-8", Answer::raw(200, b"{\"job_id\":\"\xff\xfe\"}".as_slice()), nonsense),
        ("a list", ok(json!(["123"])), nonsense),
        ("deep", Answer::raw(200, "{\"a\":".repeat(100_000)), nonsense),
        ("no id", ok(json!({"status": "success"})), nonsense),
        ("another's id", shown("124", "success", json!({})), nonsense),
        ("a path for an id", shown("../1", "success", json!({})), nonsense),
        ("status of a wrong type", shown("123", "success", json!({"status": ["success"]})), nonsense),
        ("a link of a wrong type", succeeded(json!({"linked_result_export_job_id": [1]})), nonsense),
    ];
    for (name, answer, expected) in cases {
        let stand_in = StandIn::start().await;
        stand_in.says("GET /v3/job/show/123", [answer]);
        let error = driver(&stand_in.url).look(&handle("123")).await.expect_err(name);
        assert!(expected(&error), "{name}: {error:?}");
        assert_eq!(stand_in.heard().len(), 1, "{name}: a driver asks once");
    }
}

#[tokio::test]
async fn a_throttled_answer_says_for_how_long() {
    let stand_in = StandIn::start().await;
    let throttled = refusal(429, "slow down");
    stand_in.says(
        ISSUE,
        [
            throttled.clone().with("retry-after", "17"),
            throttled
                .clone()
                .with("date", "Mon, 24 Aug 2015 21:44:00 GMT")
                .with("retry-after", "Mon, 24 Aug 2015 21:44:20 GMT"),
            throttled,
        ],
    );
    for expected in [Some(17), Some(20), None] {
        match driver(&stand_in.url).submit(&job()).await {
            Err(PlatformError::Throttled { retry_after }) => {
                assert_eq!(retry_after, expected.map(Duration::from_secs));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_refused_connection_proves_that_nothing_arrived_and_a_dropped_one_does_not() {
    let error = driver(&nobody().await).submit(&job()).await.expect_err("nobody there");
    assert!(matches!(error, PlatformError::Unreachable { never_arrived: true, .. }), "{error:?}");
    let error = driver(&hangs_up().await).submit(&job()).await.expect_err("no answer");
    assert!(matches!(error, PlatformError::Unreachable { never_arrived: false, .. }), "{error:?}");
}

#[tokio::test]
async fn a_redirect_is_not_followed_to_anybody() {
    let (stand_in, other) = (StandIn::start().await, StandIn::start().await);
    for status in [301, 302, 303, 307, 308] {
        let away = Answer::raw(status, "").with("location", &format!("{}/v3/job/issue/hive/landfall", other.url));
        stand_in.says(ISSUE, [away]);
        let error = driver(&stand_in.url).submit(&job()).await.expect_err("no answer");
        assert!(matches!(error, PlatformError::Nonsense { .. }), "{status}: {error:?}");
    }
    assert!(other.heard().is_empty(), "the key and the address went elsewhere");
}

#[tokio::test]
async fn no_error_and_no_debug_output_holds_a_secret_even_if_the_server_echoes_them() {
    let secrets = [KEY, &KEY[2..], "s3cr3t-pass"];
    let hidden = |text: String| {
        for secret in secrets {
            assert!(!text.contains(secret), "{text}");
        }
    };
    let echo = format!("cannot do {RESULT_URL} for TD1 {KEY}; password s3cr3t-pass; {}", KEY.replace('/', "%2F"));
    let stand_in = StandIn::start().await;
    let driver = driver(&stand_in.url);
    hidden(format!("{driver:?} {:?}", job()));
    for answer in [
        refusal(401, &echo),
        refusal(403, &echo),
        refusal(409, &echo),
        refusal(422, &echo),
        refusal(500, &echo),
        Answer::raw(422, echo.clone()),
        Answer::raw(502, format!("{{\"message\": \"{}", echo.replace('/', "\\/"))),
        Answer::raw(307, echo.clone()).with("location", RESULT_URL),
        Answer::raw(200, echo.clone()),
    ] {
        stand_in.says(ISSUE, [answer]).says(&by_key(), [refusal(404, &echo)]);
        let error = driver.submit(&job()).await.expect_err("an error");
        hidden(format!("{error} {error:?}"));
    }
    let failed = json!({"debug": {"cmdout": echo, "stderr": echo}, "status": "error"});
    stand_in.says("GET /v3/job/show/123", [shown("123", "error", failed), shown("123", &echo, json!({}))]);
    hidden(format!("{:?}", driver.look(&handle("123")).await.expect("an answer")));
    hidden(format!("{:?}", driver.look(&handle("123")).await.expect_err("no status")));
    // After a restart the driver has not learned the address.
    let failed = json!({"debug": {"stderr": format!("cannot write to {RESULT_URL}")}});
    stand_in.says("GET /v3/job/show/123", [shown("123", "error", failed)]);
    hidden(format!("{:?}", look(&stand_in, "123").await));
    let nobody = self::driver(&nobody().await).submit(&job()).await.expect_err("nobody there");
    hidden(format!("{nobody} {nobody:?}"));
}

#[tokio::test]
async fn what_the_platform_says_is_cut_to_what_a_page_can_show() {
    let stand_in = StandIn::start().await;
    let long = format!("{}the cause", "x".repeat(100_000));
    stand_in
        .says(ISSUE, [refusal(422, &"x".repeat(100_000))])
        .says("GET /v3/job/show/123", [shown("123", "error", json!({"debug": {"cmdout": long}}))]);
    let refused = driver(&stand_in.url).submit(&job()).await.expect_err("refused");
    assert!(refused.to_string().len() < 600);
    let Progress::Error { detail, .. } = look(&stand_in, "123").await.0 else { panic!("an error") };
    assert!(detail.ends_with("the cause") && detail.chars().count() == 500);
}

mod seed {
    use super::*;

    /// Calls of `prepare` on the seed table, without its hash.
    fn calls(stand_in: &StandIn) -> Vec<String> {
        let call = |line: String| {
            let (method, path) =
                line.split_once(" /v3/").map(|(m, p)| (m.to_owned(), p.to_owned())).expect("a v3 path");
            format!("{method} {}", path.split("/landfall").next().unwrap_or_default())
        };
        stand_in.lines().into_iter().map(call).collect()
    }

    async fn table() -> (StandIn, String) {
        let stand_in = StandIn::start().await;
        let _ = driver(&stand_in.url).prepare(Sample::default()).await;
        let line = stand_in.lines().remove(0);
        let name = line.strip_prefix("GET /v3/table/show/landfall/").expect("shows the table").to_owned();
        (StandIn::start().await, name)
    }

    fn shows(count: u64, schema: &str) -> Answer {
        ok(json!({"id": 1, "name": "t", "count": count, "schema": schema, "created_at": "2015-08-24 21:00:00 UTC"}))
    }

    /// The schema that the driver asks for.
    async fn schema() -> String {
        let (stand_in, name) = table().await;
        stand_in.says(&format!("GET /v3/table/show/landfall/{name}"), [shows(0, "[]")]);
        let _ = driver(&stand_in.url).prepare(Sample::default()).await;
        stand_in.heard()[1].field("schema").expect("a schema")
    }

    #[tokio::test]
    async fn is_made_with_its_database_filled_once_and_then_left_alone() {
        let (stand_in, name) = table().await;
        let create = format!("POST /v3/table/create/landfall/{name}/log");
        stand_in
            .says(
                &format!("GET /v3/table/show/landfall/{name}"),
                [refusal(404, "no such table"), shows(0, "[]"), shows(20, &schema().await)],
            )
            .says(&create, [refusal(404, "no such database"), ok(json!({}))])
            .says("POST /v3/database/create/landfall", [ok(json!({"database": "landfall"}))])
            .says(&format!("POST /v3/table/update-schema/landfall/{name}"), [ok(json!({}))]);
        let driver = driver(&stand_in.url);
        // The import's id is not known beforehand: its path is learned from the first, unanswered try.
        driver.prepare(Sample::default()).await.expect_err("the import is not in the script");
        let import = stand_in.lines().pop().expect("an import");
        assert!(import.starts_with(&format!("PUT /v3/table/import_with_id/landfall/{name}/")), "{import}");
        stand_in
            .says(
                &format!("GET /v3/table/show/landfall/{name}"),
                [shows(0, &schema().await), shows(20, &schema().await)],
            )
            .says(&import, [ok(json!({"unique_id": "x", "md5_hex": "", "elapsed_time": 0}))]);
        driver.prepare(Sample::default()).await.expect("filled");
        let before = stand_in.heard().len();
        driver.prepare(Sample::default()).await.expect("filled");
        assert_eq!(stand_in.heard().len(), before, "nothing is asked twice");
        assert_eq!(
            calls(&stand_in),
            [
                "GET table/show",
                "POST table/create",
                "POST database/create",
                "POST table/create",
                "GET table/show",
                "POST table/update-schema",
                "PUT table/import_with_id",
                "GET table/show",
                "PUT table/import_with_id",
                "GET table/show",
            ]
        );
        let imports: Vec<_> = stand_in.heard().into_iter().filter(|heard| heard.line == import).collect();
        assert_eq!(imports.len(), 2, "a second import has the same id");
        assert_eq!(imports[0].body, imports[1].body);
    }

    #[tokio::test]
    async fn that_another_agent_is_making_is_no_error() {
        let (stand_in, name) = table().await;
        stand_in
            .says(
                &format!("GET /v3/table/show/landfall/{name}"),
                [refusal(404, "no such table"), shows(20, &schema().await)],
            )
            .says(&format!("POST /v3/table/create/landfall/{name}/log"), [refusal(409, "Table already exists")]);
        driver(&stand_in.url).prepare(Sample::default()).await.expect("there");
        assert_eq!(calls(&stand_in), ["GET table/show", "POST table/create", "GET table/show"]);
    }

    #[tokio::test]
    async fn whose_rows_are_not_visible_yet_lets_no_query_start_and_is_not_filled_twice() {
        let (stand_in, name) = table().await;
        let show = format!("GET /v3/table/show/landfall/{name}");
        stand_in.says(&show, [shows(0, &schema().await)]);
        let driver = driver(&stand_in.url);
        driver.prepare(Sample::default()).await.expect_err("the import is not in the script");
        let import = stand_in.lines().pop().expect("an import");
        stand_in.says(&import, [ok(json!({"unique_id": "x"}))]);
        for _ in 0..3 {
            let error = driver.prepare(Sample::default()).await.expect_err("not yet");
            assert!(error.may_pass() && !error.answered(), "no failure of the platform: {error:?}");
        }
        assert_eq!(stand_in.times_heard(&import), 2, "one that failed, one that did not");
        stand_in.says(&show, [shows(20, &schema().await)]);
        driver.prepare(Sample::default()).await.expect("filled");
    }

    #[tokio::test]
    async fn is_looked_after_again_once_a_job_failed() {
        let (stand_in, name) = table().await;
        let show = format!("GET /v3/table/show/landfall/{name}");
        stand_in
            .says(&show, [shows(20, &schema().await)])
            .says("GET /v3/job/show/123", [shown("123", "error", json!({"debug": {"stderr": "no such table"}}))]);
        let driver = driver(&stand_in.url);
        driver.prepare(Sample::default()).await.expect("filled");
        driver.prepare(Sample::default()).await.expect("filled");
        assert_eq!(stand_in.times_heard(&show), 1);
        driver.look(&handle("123")).await.expect("an answer");
        driver.prepare(Sample::default()).await.expect("filled");
        assert_eq!(stand_in.times_heard(&show), 2);
    }

    #[tokio::test]
    async fn with_more_rows_serves_a_smaller_sample_too() {
        let stand_in = StandIn::start().await;
        let driver = driver(&stand_in.url);
        let _ = driver.prepare(Sample::of(50)).await;
        let show = stand_in.lines().remove(0);
        let large = show.strip_prefix("GET /v3/table/show/landfall/").expect("shows the table");
        stand_in.says(&show, [shows(50, &schema().await)]).says(ISSUE, [ok(json!({"job_id": "123"}))]);
        for rows in [50, 20] {
            driver.prepare(Sample::of(rows)).await.expect("filled");
        }
        assert_eq!(stand_in.times_heard(&show), 2, "the failed try and one more");
        driver.submit(&job()).await.expect("accepted");
        let query = stand_in.heard().pop().and_then(|heard| heard.field("query")).expect("a query");
        assert!(query.ends_with(&format!("FROM {large} WHERE n < 20")), "{query}");
    }

    #[tokio::test]
    async fn that_arrived_damaged_is_an_error() {
        let (stand_in, name) = table().await;
        stand_in.says(&format!("GET /v3/table/show/landfall/{name}"), [shows(0, &schema().await)]);
        let driver = driver(&stand_in.url);
        driver.prepare(Sample::default()).await.expect_err("the import is not in the script");
        let import = stand_in.lines().pop().expect("an import");
        stand_in.says(&import, [ok(json!({"unique_id": "x", "md5_hex": "00000000000000000000000000000000"}))]);
        let error = driver.prepare(Sample::default()).await.expect_err("damaged");
        assert!(error.to_string().contains("checksum"), "{error}");
    }

    #[tokio::test]
    async fn that_may_not_be_made_says_so() {
        let (stand_in, name) = table().await;
        stand_in
            .says(&format!("GET /v3/table/show/landfall/{name}"), [refusal(404, "no such table")])
            .says(&format!("POST /v3/table/create/landfall/{name}/log"), [refusal(404, "no such database")])
            .says("POST /v3/database/create/landfall", [refusal(403, "only administrators")]);
        let error = driver(&stand_in.url).prepare(Sample::default()).await.expect_err("not allowed");
        assert!(matches!(error, PlatformError::Denied { .. }), "{error:?}");
    }
}

/// A job as `job/list` has it, with some fields changed.
fn listed(changes: Json) -> Json {
    let mut job = json!({
        "job_id": "7", "type": "hive", "status": "success", "query": "SELECT 1", "database": "sales",
        "user_name": "ann@example.com", "created_at": "2015-08-24 21:44:00 UTC", "start_at": "2015-08-24 21:44:01 UTC",
        "end_at": "2015-08-24 21:44:40 UTC", "num_records": 12, "linked_result_export_job_id": 8,
        "result": "mysql://ann:s3cr3t-pass@db.example/shop/orders?mode=replace", "priority": 0,
    });
    changes.as_object().expect("an object").iter().for_each(|(name, value)| job[name] = value.clone());
    job
}

#[tokio::test]
async fn customers_jobs_are_told_with_what_they_differ_by_and_without_secrets() {
    use landfall::platform::past::Ended;
    let api = StandIn::start().await;
    let driver = driver(&api.url);
    let past = driver.past().expect("it remembers");
    let ours = format!("SELECT '{}' AS marker", run().marker);
    api.says(
        "GET /v3/job/list?from=20&to=24",
        [ok(json!({ "jobs": [
            listed(json!({})),
            listed(json!({ "job_id": 9, "status": "booting", "result": "", "query": { "bulk": 1 }, "end_at": "" })),
            listed(json!({ "job_id": "10", "query": ours, "user_name": format!("key {KEY}") })),
        ] }))],
    );
    let page = past.jobs(20, 5).await.expect("a page");
    assert!(api.heard().iter().any(|heard| heard.line == "GET /v3/job/list?from=20&to=24"));
    assert!(page.is_last);
    let [one, two, three] = &page.jobs[..] else { panic!("{page:?}") };
    assert_eq!((one.ended, one.rows, one.owner.as_deref()), (Ended::Success, Some(12), Some("ann@example.com")));
    assert_eq!((one.field("type"), one.field("linked_result_export_job_id")), (Some("hive"), Some("8")));
    let output = one.output.as_ref().expect("an output");
    assert_eq!((&*output.shown, output.mode), ("mysql://…@db.example/shop/orders?mode=replace", Some(Mode::Replace)));
    assert_eq!((two.ended, &two.output, two.ended_at, two.is_canary), (Ended::AtWork, &None, None, false));
    assert!(three.is_canary && !three.owner.as_deref().unwrap_or_default().contains("0123456789abcdef"));
    let again = past.again(one).expect("a command");
    assert!(again.contains("result_export/7") && !again.contains("0123456789"), "{again}");
    for wrong in [
        json!({}),
        json!({ "jobs": 5 }),
        json!({ "jobs": [{}] }),
        json!({ "jobs": [listed(json!({ "status": "x" }))] }),
    ] {
        api.says("GET /v3/job/list?from=0&to=4", [ok(wrong.clone())]);
        assert!(matches!(past.jobs(0, 5).await, Err(PlatformError::Nonsense { .. })), "{wrong}");
    }
    let many: Vec<Json> = (0..6).map(|n| listed(json!({ "job_id": n }))).collect();
    api.says("GET /v3/job/list?from=0&to=4", [ok(json!({ "jobs": many }))]);
    assert!(matches!(past.jobs(0, 5).await, Err(PlatformError::Nonsense { .. })), "more than were asked for");
    api.says("GET /v3/job/list?from=0&to=4", [Answer::huge(200, 20)]);
    assert!(matches!(past.jobs(0, 5).await, Err(PlatformError::Nonsense { .. })), "too long");
    api.says("GET /v3/job/list?from=0&to=4", [refusal(429, "slow down").with("retry-after", "3")]);
    assert!(matches!(past.jobs(0, 5).await, Err(PlatformError::Throttled { retry_after: Some(_) })));
}

#[tokio::test]
async fn connections_and_schedules_are_told_and_an_installation_may_have_none() {
    let api = StandIn::start().await;
    let driver = driver(&api.url);
    let past = driver.past().expect("it remembers");
    let connection = json!({ "name": "shop", "organization": null, "url": "s3://AK:s3cr3t-pass@/b/p.csv" });
    api.says("GET /v3/result/list", [ok(json!({ "results": [connection] }))]);
    api.says("GET /v3/schedule/list", [refusal(404, "no such call")]);
    let standing = past.standing().await.expect("a list");
    assert_eq!((standing.len(), &*standing[0].output.shown), (1, "s3://…@/b/p.csv"));
    let schedule = json!({ "name": "daily", "type": "presto", "database": "sales", "result": "td://@/marts/daily" });
    api.says("GET /v3/schedule/list", [ok(json!({ "schedules": [schedule, { "name": "no output", "result": "" }] }))]);
    let standing = past.standing().await.expect("a list");
    assert!(standing.len() == 2 && standing[1].is_scheduled && !standing[0].is_scheduled);
    assert_eq!(standing[1].fields, [("type", "presto".to_owned()), ("database", "sales".to_owned())]);
}
