//! Calls as they are declared: what is sent, and what each answer means.

use std::{sync::Arc, time::Duration};

use landfall::{
    canary::{
        Address, CanaryName, Labels, Marker, Mode, Phase, PlatformName, Route, Run, Sample, Secret, TargetName, Terms,
        Timestamp, Why,
    },
    config::{self, Kind, Kinds, NoNotifier, Options},
    platform::{Handle, Job, Platform, PlatformError, Progress, Resume, http_job},
};
use serde_json::{Value as Json, json};

use crate::fixtures::stand_in::{Answer, StandIn, hangs_up, nobody};

const ADDRESS: &str = "postgresql://writer:s3cr3t-pass@db.example:5432/landfall/canary?mode=append";

/// What most tests declare.
const PLAIN: &str = r#"
submit = { path = "/jobs", json = { sql = "INSERT INTO {place} {query}", to = "{address}", rows = "{rows}" }, id = "/id", existing_id = "/existing/id" }
cancel = { method = "DELETE", path = "/jobs/{id}" }
[platform.p.http-job.look]
path = "/jobs/{id}"
status = "/status"
rows = "/rows"
error = "/error"
phase = "/stage"
statuses = { WAITS = "queued", RUNS = "running", WRITES = "exporting", DONE = "done", BROKE = "error", GONE = "killed" }
phases = { LOADING = "export" }
"#;

/// The driver of an API, as the config declares it.
pub(super) fn driver(url: &str, declared: &str) -> Arc<dyn Platform> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("token"), "t0ken-s3cret\n").expect("written");
    let config = format!(
        r#"
[platform.p.http-job]
endpoint = "{url}/api"
dialect = "postgresql"
timeout = "500ms"
{declared}
[target.t.nothing]
[canary.c]
platforms = ["p"]
targets = ["t"]
every = "1m"
"#
    );
    let path = folder.path().join("landfall.toml");
    std::fs::write(&path, config).expect("written");
    let kinds: Kinds<'_, Arc<dyn Platform>, (), NoNotifier> = Kinds {
        platforms: vec![
            Kind::new::<http_job::Keys>("http-job", http_job::MODES, http_job::open).naming_outputs_if_given(),
        ],
        targets: vec![Kind::new::<()>("nothing", &[], |_| Ok(()))],
        notifiers: vec![],
    };
    let options = Options { without_secrets: false, now: Timestamp::EPOCH };
    let mut plan = config::load(&path, &kinds, options).unwrap_or_else(|problems| panic!("{problems:#?}"));
    plan.platforms.remove(0).driver
}

pub(super) fn plain(url: &str) -> Arc<dyn Platform> {
    driver(url, PLAIN)
}

pub(super) fn job() -> Job {
    let route = Route::new(
        CanaryName::new("c").expect("valid"),
        PlatformName::new("p").expect("valid"),
        TargetName::new("t").expect("valid"),
        Mode::Append,
        Labels::default(),
    );
    let terms = Terms {
        due: Timestamp::from_secs(1_440_452_640),
        objective: Duration::from_secs(120),
        deadline: Duration::from_secs(300),
    };
    let run = Run {
        marker: Marker::mint(terms.due, 7),
        route: Arc::new(route),
        terms,
        sample: Sample::default(),
        why: Why::Scheduled,
        report: None,
    };
    let deliver_to = Address {
        url: Secret::new(ADDRESS),
        shown: "postgresql://…@db.example:5432/landfall/canary".into(),
        place: "canary\", \"x".into(),
        mode: Mode::Append,
    };
    Job { run: Arc::new(run), deliver_to, deadline: Timestamp::from_secs(1_440_452_940) }
}

pub(super) fn handle(text: &str) -> Handle {
    Handle::new(text).expect("short")
}

fn body(stand_in: &StandIn, n: usize) -> Json {
    serde_json::from_slice(&stand_in.heard()[n].body).expect("JSON")
}

#[tokio::test]
async fn a_submit_sends_what_is_declared_and_nothing_breaks_out_of_it() {
    let stand_in = StandIn::start().await;
    stand_in.says("POST /api/jobs", [Answer::json(201, json!({"id": 17}))]);
    let driver = plain(&stand_in.url);
    assert_eq!(driver.submit(&job()).await.expect("accepted").as_str(), "17");
    let sent = body(&stand_in, 0);
    let sql = sent["sql"].as_str().expect("a text");
    assert!(sql.starts_with("INSERT INTO canary\", \"x SELECT DISTINCT CAST('lf"), "{sql}");
    assert_eq!((&sent["to"], &sent["rows"]), (&json!(ADDRESS), &json!(20)));
    assert_eq!(sent.as_object().expect("an object").len(), 3, "{sent}");
    assert_eq!(driver.resume(), Resume::ByHandle);
}

#[tokio::test]
async fn forms_headers_logins_and_names_of_targets_are_sent_as_declared() {
    let stand_in = StandIn::start().await;
    stand_in.says("PUT /api/jobs/new?m=append", [Answer::json(200, json!({"jobs": [{"name": "a b"}]}))]);
    let declared = r#"
basic = { user = "landfall", password = { file = "token" } }
secrets = { tenant = { file = "token" } }
headers = { x-tenant = "is {secret.tenant}", x-both = "all" }
outputs = { t = "Ware house" }
[platform.p.http-job.submit]
method = "PUT"
path = "/jobs/new?m={mode}"
headers = { x-both = "own {marker}" }
form = { sql = "{query} -- {output}", name = "{{{marker}}}" }
id = "/jobs/0/name"
[platform.p.http-job.look]
path = "/jobs/{id}"
status = "/done"
statuses = { true = "done", false = "running" }
"#;
    let driver = driver(&stand_in.url, declared);
    let newest = driver.submit(&job()).await.expect("accepted");
    let heard = &stand_in.heard()[0];
    let marker = job().run.marker;
    assert_eq!(heard.headers["authorization"], "Basic bGFuZGZhbGw6dDBrZW4tczNjcmV0");
    assert_eq!(heard.headers["x-tenant"], "is t0ken-s3cret");
    assert_eq!(heard.headers["x-both"], format!("own {marker}"));
    assert_eq!(heard.field("name"), Some(format!("{{{marker}}}")));
    assert!(heard.field("sql").is_some_and(|sql| sql.ends_with(" -- Ware house")));
    stand_in.says("GET /api/jobs/a%20b", [Answer::json(200, json!({"done": true}))]);
    let (state, _) = driver.look(&newest).await.expect("an answer");
    assert_eq!(state.progress, Progress::Done { rows: None });
    // Without `cancel` there is nothing to ask.
    driver.cancel(&newest).await.expect("nothing to do");
    assert_eq!(stand_in.heard().len(), 2);
}

#[tokio::test]
async fn an_id_that_wants_to_be_a_path_stays_in_its_place() {
    let stand_in = StandIn::start().await;
    stand_in.says("POST /api/jobs", [Answer::json(200, json!({"id": "../../admin?x=1#"}))]);
    stand_in.says("GET /api/jobs/..%2F..%2Fadmin%3Fx%3D1%23", [Answer::json(200, json!({"status": "RUNS"}))]);
    let driver = plain(&stand_in.url);
    let newest = driver.submit(&job()).await.expect("accepted");
    let (state, _) = driver.look(&newest).await.expect("an answer");
    assert_eq!(state.progress, Progress::Running(Phase::Execute));
    let climbing = driver.look(&handle("..")).await.expect_err("refused");
    assert!(matches!(climbing, PlatformError::Refused { .. }), "{climbing:?}");
    assert_eq!(stand_in.heard().len(), 2, "what would climb is not sent");
}

#[tokio::test]
async fn the_words_of_a_job_are_read_as_the_map_says() {
    let running = |phase| Progress::Running(phase);
    let error = |phase, detail: &str| Progress::Error { phase, detail: detail.to_owned() };
    for (answer, progress) in [
        (json!({"status": "WAITS"}), running(Phase::Queue)),
        (json!({"status": "RUNS", "stage": "LOADING"}), running(Phase::Export)),
        (json!({"status": "RUNS", "stage": "DANCING"}), running(Phase::Execute)),
        (json!({"status": "WRITES"}), running(Phase::Export)),
        (json!({"status": "DONE", "rows": 20}), Progress::Done { rows: Some(20) }),
        (json!({"status": "DONE", "rows": "20"}), Progress::Done { rows: Some(20) }),
        (json!({"status": "DONE", "rows": -1}), Progress::Done { rows: None }),
        (json!({"status": "BROKE", "error": {"code": 7}}), error(Phase::Execute, "{\"code\":7}")),
        (json!({"status": "BROKE", "stage": "LOADING", "error": null}), error(Phase::Export, "no reason given")),
        (json!({"status": "GONE"}), Progress::Killed { phase: Phase::Execute }),
    ] {
        let stand_in = StandIn::start().await;
        stand_in.says("GET /api/jobs/7", [Answer::json(200, answer.clone())]);
        let (state, newest) = plain(&stand_in.url).look(&handle("7")).await.expect("an answer");
        assert_eq!((state.progress, state.jobs, newest), (progress, vec!["7".to_owned()], handle("7")), "{answer}");
    }
}

#[tokio::test]
async fn a_submit_that_conflicts_is_the_job_that_is_there() {
    let find = format!("find = {{ path = \"/jobs?key={{marker}}\", id = \"/0/id\" }}\n{PLAIN}");
    let by_key = format!("GET /api/jobs?key={}", job().run.marker);
    let stand_in = StandIn::start().await;
    stand_in.says("POST /api/jobs", [Answer::json(409, json!({"existing": {"id": 7}})), Answer::json(409, json!({}))]);
    stand_in.says(&by_key, [Answer::json(200, json!([{"id": 8}])), Answer::json(200, json!([]))]);
    let findable = driver(&stand_in.url, &find);
    assert_eq!(findable.resume(), Resume::ByMarker);
    assert_eq!(findable.submit(&job()).await.expect("there already").as_str(), "7");
    assert_eq!(findable.submit(&job()).await.expect("found by its marker").as_str(), "8");
    let gone = findable.submit(&job()).await.expect_err("in conflict with nothing");
    assert!(matches!(gone, PlatformError::Refused { .. }), "{gone:?}");
}

#[tokio::test]
async fn a_submit_that_may_have_begun_is_asked_for_before_it_is_sent_again() {
    let find = format!("find = {{ path = \"/jobs?key={{marker}}\", id = \"/0/id\" }}\n{PLAIN}");
    let by_key = format!("GET /api/jobs?key={}", job().run.marker);
    for (lost, times) in [
        (Answer::nothing(), 1),
        (Answer::breaks_off(), 1),
        (Answer::json(500, json!({})), 1),
        (Answer::raw(200, "{}"), 1),
        (Answer::json(429, json!({})), 2),
    ] {
        let stand_in = StandIn::start().await;
        stand_in.says("POST /api/jobs", [lost, Answer::json(200, json!({"id": 2}))]);
        stand_in.says(&by_key, [Answer::json(200, json!([{"id": 1}]))]);
        let driver = driver(&stand_in.url, &find);
        driver.submit(&job()).await.expect_err("not accepted");
        let id = driver.submit(&job()).await.expect("found, or sent again");
        assert_eq!(stand_in.times_heard("POST /api/jobs"), times);
        assert_eq!(id.as_str(), times.to_string());
    }
}

#[tokio::test]
async fn without_a_way_to_find_it_a_job_that_may_have_begun_is_refused_for_good() {
    for (status, may_pass) in [(503, false), (500, false), (502, false), (504, false), (408, false)] {
        let stand_in = StandIn::start().await;
        stand_in.says("POST /api/jobs", [Answer::raw(status, "no")]);
        let error = plain(&stand_in.url).submit(&job()).await.expect_err("not accepted");
        assert_eq!((error.may_pass(), error.answered()), (may_pass, true), "{status}: {error:?}");
    }
}

#[tokio::test]
async fn each_status_of_an_answer_means_one_thing() {
    let looked = |answer: Answer| async move {
        let stand_in = StandIn::start().await;
        stand_in.says("GET /api/jobs/7", [answer]);
        plain(&stand_in.url).look(&handle("7")).await.expect_err("no state")
    };
    for status in [401, 403] {
        assert!(matches!(looked(Answer::raw(status, "no")).await, PlatformError::Denied { .. }));
    }
    for status in [500, 502, 503, 504, 408] {
        assert!(matches!(looked(Answer::raw(status, "no")).await, PlatformError::Broken { .. }));
    }
    for status in [400, 409, 418, 422] {
        assert!(matches!(looked(Answer::raw(status, "no")).await, PlatformError::Refused { .. }));
    }
    for gone in [Answer::json(404, json!({"message": "gone"})), Answer::raw(404, ""), Answer::json(410, json!({}))] {
        assert!(matches!(looked(gone).await, PlatformError::NotFound));
    }
    let lost_proxy = looked(Answer::raw(404, "<html>not here</html>")).await;
    assert!(matches!(lost_proxy, PlatformError::Nonsense { .. }), "{lost_proxy:?}");
    let throttled = looked(Answer::raw(429, "").with("retry-after", "7")).await;
    assert!(matches!(throttled, PlatformError::Throttled { retry_after: Some(after) } if after.as_secs() == 7));
    let told = looked(Answer::json(400, json!({"error": {"reason": "no such table"}}))).await.to_string();
    assert!(told.contains("400: {\"reason\":\"no such table\"}"), "{told}");
}

#[tokio::test]
async fn stopping_a_job_that_is_over_is_no_error() {
    let stand_in = StandIn::start().await;
    let answers =
        [Answer::raw(204, ""), Answer::json(409, json!({})), Answer::json(404, json!({})), Answer::raw(500, "")];
    stand_in.says("DELETE /api/jobs/7", answers);
    let driver = plain(&stand_in.url);
    driver.cancel(&handle("7")).await.expect("stopped");
    driver.cancel(&handle("7")).await.expect("over already");
    assert!(matches!(driver.cancel(&handle("7")).await, Err(PlatformError::NotFound)));
    assert!(matches!(driver.cancel(&handle("7")).await, Err(PlatformError::Broken { .. })));
}

#[tokio::test]
async fn only_a_connection_that_never_stood_never_arrived() {
    for (url, never) in [(nobody().await, true), (hangs_up().await, false)] {
        let error = plain(&url).submit(&job()).await.expect_err("no answer");
        assert!(
            matches!(error, PlatformError::Unreachable { never_arrived, .. } if never_arrived == never),
            "{error:?}"
        );
    }
}
