//! A server that answers badly, or on purpose wrongly: every call is bounded, and no answer makes a
//! loss of what is only not known.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use landfall::{
    canary::{Mode, Phase, Run, Secret},
    cli::kinds,
    platform::{Handle, Job, Platform, PlatformError, Progress},
    target::webhook::Intake,
};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::fixtures::{
    rows::{NOON, run},
    stand_in::{Answer, StandIn, hangs_up, nobody},
};

const STATEMENT: &str = "POST /v1/statement";
const QUERY: &str = "20261128_181030_00000_cxv3t";

fn platform(url: &str) -> Arc<dyn Platform> {
    open(url, "").expect("a good config")
}

fn open(url: &str, more: &str) -> Result<Arc<dyn Platform>, String> {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("secret"), "postgresql://u:p@127.0.0.1:1/d").expect("written");
    let mut config = "[agent]\nname = \"t\"\n".to_owned();
    let _ = writeln!(
        config,
        "[platform.p.trino]\nendpoint = \"{url}\"\nuser = \"landfall\"\nseed = \"memory.default\"\ntimeout = \"1500ms\"\n\
         {more}\n[platform.p.trino.outputs]\nt = \"pg.public\"\n[target.t.postgresql]\nurl = {{ file = \"secret\" }}\n\
         table = \"canary\"\n[canary.c]\nplatforms = [\"p\"]\ntargets = [\"t\"]\nevery = \"1h\""
    );
    let file = folder.path().join("landfall.toml");
    std::fs::write(&file, config).expect("written");
    let plan = kinds::load(&file, &Intake::new(), false).map_err(|problems| format!("{problems:#?}"))?;
    Ok(plan.platforms.into_iter().next().expect("one").driver)
}

fn job(run: &Arc<Run>) -> Job {
    let deliver_to = landfall::canary::Address {
        url: Secret::new("postgresql://u:p@127.0.0.1/d/canary"),
        shown: String::new(),
        place: "canary".to_owned(),
        mode: run.route.mode,
    };
    Job { run: run.clone(), deliver_to, deadline: NOON }
}

fn page(server: &StandIn, state: &str, next: Option<&str>) -> Json {
    let mut page = json!({"id": QUERY, "stats": {"state": state}});
    if let Some(next) = next {
        page["nextUri"] = json!(format!("{}{next}", server.url));
    }
    page
}

/// A job whose next page is `/next`.
async fn accepted(server: &StandIn) -> (Arc<dyn Platform>, Handle) {
    server.says(STATEMENT, [Answer::json(200, page(server, "QUEUED", Some("/next")))]);
    server.says("GET /next", [Answer::json(503, json!({}))]);
    let platform = platform(&server.url);
    let handle = platform.submit(&job(&run(Mode::Append))).await.expect("accepted");
    (platform, handle)
}

#[tokio::test]
async fn what_a_page_says_becomes_what_the_seam_says() {
    let failure =
        |name: &str, kind: &str, message: &str| json!({"errorName": name, "errorType": kind, "message": message});
    let error = |phase, detail: &str| Progress::Error { phase, detail: detail.to_owned() };
    for (state, failure, expected) in [
        ("QUEUED", None, Progress::Running(Phase::Execute)),
        ("RUNNING", None, Progress::Running(Phase::Execute)),
        (
            "FAILED",
            Some(failure("GENERIC_INTERNAL_ERROR", "INTERNAL_ERROR", "boom")),
            error(Phase::Execute, "GENERIC_INTERNAL_ERROR: boom"),
        ),
        (
            "FAILED",
            Some(failure("JDBC_ERROR", "EXTERNAL", "Connection to 127.0.0.1 refused")),
            error(Phase::Export, "JDBC_ERROR: Connection to 127.0.0.1 refused"),
        ),
        (
            "FAILED",
            Some(failure("QUERY_QUEUE_FULL", "INSUFFICIENT_RESOURCES", "Too many queued queries")),
            error(Phase::Queue, "QUERY_QUEUE_FULL: Too many queued queries"),
        ),
        ("FAILED", Some(failure("USER_CANCELED", "USER_ERROR", "no")), Progress::Killed { phase: Phase::Execute }),
        (
            "RUNNING",
            Some(failure("ADMINISTRATIVELY_KILLED", "USER_ERROR", "no")),
            Progress::Killed { phase: Phase::Execute },
        ),
    ] {
        let server = StandIn::start().await;
        let (platform, handle) = accepted(&server).await;
        let mut said = page(&server, state, Some("/next"));
        if let Some(failure) = failure {
            said["error"] = failure;
        }
        // The table is made first; that statement is over, and the one that writes is answered like this.
        let mut write = page(&server, "QUEUED", Some("/next"));
        write["id"] = json!("20261128_2");
        said["id"] = json!("20261128_2");
        server.says(STATEMENT, [Answer::json(200, write)]);
        server.says("GET /next", [Answer::json(200, page(&server, "FINISHED", None)), Answer::json(200, said)]);
        let (seen, _) = platform.look(&handle).await.expect("it answers");
        assert_eq!(seen.progress, expected, "{state}");
        assert_eq!(seen.jobs, [QUERY, "20261128_2"]);
    }
}

#[tokio::test]
async fn each_bad_answer_is_the_right_error_and_none_is_followed_elsewhere() {
    let elsewhere = StandIn::start().await;
    let stolen = json!({"id": QUERY, "stats": {"state": "QUEUED"}, "nextUri": format!("{}/x", elsewhere.url)});
    for (name, answer, expected) in [
        ("redirect", Answer::raw(302, "").with("location", &elsewhere.url), "nonsense"),
        ("other page", Answer::json(200, json!({"id": "another_1", "stats": {"state": "RUNNING"}})), "nonsense"),
        ("no json", Answer::raw(200, "<html>"), "nonsense"),
        ("invalid utf-8", Answer::raw(200, b"{\"id\": \"\xff\xfe\"}".to_vec()), "nonsense"),
        ("deep", Answer::raw(200, "[".repeat(200_000)), "nonsense"),
        ("a gigabyte", Answer::huge(200, 1024), "nonsense"),
        (
            "long next",
            Answer::json(200, json!({"id": QUERY, "stats": {"state": "RUNNING"}, "nextUri": "x".repeat(9_000)})),
            "nonsense",
        ),
        ("breaks off", Answer::breaks_off(), "unreachable"),
        ("slow", Answer::slow(), "unreachable"),
        ("silent", Answer::nothing(), "unreachable"),
        ("denied", Answer::raw(401, "who are you"), "denied"),
        ("throttled", Answer::raw(429, "").with("retry-after", "7"), "throttled"),
        ("busy", Answer::raw(503, "Server is still initializing"), "broken"),
        ("gateway", Answer::raw(504, "<html>"), "broken"),
        ("bad request", Answer::raw(400, "no"), "refused"),
    ] {
        let server = StandIn::start().await;
        let (platform, handle) = accepted(&server).await;
        server.says("GET /next", [answer]);
        let error = platform.look(&handle).await.expect_err(name);
        assert_eq!(word(&error), expected, "{name}: {error}");
    }
    // A next page that leads away is not asked for.
    let server = StandIn::start().await;
    let (platform, handle) = accepted(&server).await;
    server.says("GET /next", [Answer::json(200, stolen)]);
    let (_, handle) = platform.look(&handle).await.expect("the page itself is good");
    let error = platform.look(&handle).await.expect_err("it leads away");
    assert!(word(&error) == "nonsense" && error.to_string().contains("not the endpoint"), "{error}");
    assert!(platform.cancel(&handle).await.is_err());
    assert!(elsewhere.lines().is_empty(), "{:?}", elsewhere.lines());
}

fn word(error: &PlatformError) -> &'static str {
    match error {
        PlatformError::Denied { .. } => "denied",
        PlatformError::Refused { .. } => "refused",
        PlatformError::Throttled { .. } => "throttled",
        PlatformError::Broken { .. } => "broken",
        PlatformError::Unreachable { .. } => "unreachable",
        PlatformError::Nonsense { .. } => "nonsense",
        PlatformError::NotFound => "not found",
    }
}

#[tokio::test]
async fn pages_that_never_end_are_followed_for_a_while_only() {
    let server = StandIn::start().await;
    let (platform, mut handle) = accepted(&server).await;
    // It leads to itself, for ever.
    server.says("GET /next", [Answer::json(200, page(&server, "RUNNING", Some("/next")))]);
    for look in 1..=3 {
        let (seen, newest) = platform.look(&handle).await.expect("it answers");
        assert_eq!(seen.progress, Progress::Running(Phase::Execute));
        handle = newest;
        assert!(server.times_heard("GET /next") <= 64 * look + 1, "{}", server.times_heard("GET /next"));
    }
    // Nor is a seed table waited for for ever.
    let prepared = tokio::time::timeout(Duration::from_secs(60), platform.prepare(run(Mode::Append).sample)).await;
    assert!(prepared.expect("it ends").is_err());
}

#[tokio::test]
async fn a_statement_whose_answer_was_lost_is_never_sent_again() {
    for (name, answer) in [
        ("gateway", Answer::raw(502, "")),
        ("timeout", Answer::raw(504, "")),
        ("broken", Answer::raw(500, "")),
        ("silent", Answer::nothing()),
        ("breaks off", Answer::breaks_off()),
        ("garbage", Answer::raw(200, "<html>")),
    ] {
        let server = StandIn::start().await;
        server.says(STATEMENT, [answer]);
        let platform = platform(&server.url);
        let run = run(Mode::Append);
        for _ in 0..3 {
            platform.submit(&job(&run)).await.expect_err(name);
        }
        assert_eq!(sent(&server, &run), 1, "{name}");
    }
    // What certainly was not taken is sent again.
    for answer in [Answer::raw(503, ""), Answer::raw(429, "")] {
        let server = StandIn::start().await;
        server.says(STATEMENT, [answer]);
        let platform = platform(&server.url);
        let run = run(Mode::Append);
        for _ in 0..3 {
            platform.submit(&job(&run)).await.expect_err("not taken");
        }
        assert_eq!(sent(&server, &run), 3);
    }
    let gone = platform(&nobody().await).submit(&job(&run(Mode::Append))).await.expect_err("nobody is there");
    assert!(matches!(gone, PlatformError::Unreachable { never_arrived: true, .. }), "{gone}");
    let rude = platform(&hangs_up().await).submit(&job(&run(Mode::Append))).await.expect_err("it hangs up");
    assert!(matches!(rude, PlatformError::Unreachable { never_arrived: false, .. }), "{rude}");
}

/// How often a statement of a run was sent.
fn sent(server: &StandIn, run: &Run) -> usize {
    let label = format!("/* landfall {} ", run.marker);
    server.heard().iter().filter(|heard| heard.body.starts_with(label.as_bytes())).count()
}

#[tokio::test]
async fn a_statement_says_who_sends_it_and_of_which_run_it_is() {
    for (flavor, prefix) in [("trino", "x-trino-"), ("presto", "x-presto-")] {
        let server = StandIn::start().await;
        server.says(STATEMENT, [Answer::json(200, page(&server, "QUEUED", None))]);
        let more = format!(
            "flavor = \"{flavor}\"\nsource = \"canaries\"\ncatalog = \"pg\"\nschema = \"public\"\n\
             session = {{ query_max_run_time = \"5m\", join_distribution_type = \"AUTOMATIC\" }}\ntoken = {{ file = \"secret\" }}"
        );
        let platform = open(&server.url, &more).expect("a good config");
        let run = run(Mode::Append);
        platform.submit(&job(&run)).await.expect("accepted");
        let heard = &server.heard()[0];
        let header = |name: &str| {
            let values = heard.headers.get_all(format!("{prefix}{name}"));
            values.iter().map(|value| value.to_str().expect("text").to_owned()).collect::<Vec<_>>().join(";")
        };
        assert_eq!(header("user"), "landfall");
        assert_eq!(header("source"), "canaries");
        assert_eq!(header("client-tags"), format!("landfall,{}", run.marker));
        assert_eq!(header("catalog") + &header("schema"), "pgpublic");
        assert_eq!(header("time-zone"), "UTC");
        assert_eq!(header("session"), "join_distribution_type=AUTOMATIC;query_max_run_time=5m");
        assert_eq!(heard.headers["authorization"], "Bearer postgresql://u:p@127.0.0.1:1/d");
    }
}
