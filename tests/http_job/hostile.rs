//! Hostile answers: bounded in size and time, and never a secret in what is told of them.

use landfall::platform::PlatformError;
use serde_json::json;

use super::calls::{driver, handle, job, plain};
use crate::fixtures::stand_in::{Answer, StandIn};

#[tokio::test]
async fn an_answer_that_is_huge_endless_deep_or_garbled_is_nonsense() {
    let deep = "[".repeat(500_000);
    let cases = [
        Answer::huge(200, 64),
        Answer::raw(200, b"{\"status\": \"\xff\xfe\"}".to_vec()),
        Answer::raw(200, deep.clone()),
        Answer::raw(200, format!("{{\"status\": \"RUNS\", \"x\": {deep}")),
        Answer::raw(200, "<html>"),
        Answer::raw(200, ""),
        Answer::json(200, json!({"status": ["RUNS"]})),
        Answer::json(200, json!({"status": null})),
        Answer::json(200, json!([])),
        Answer::raw(302, "").with("location", "http://127.0.0.1:1/"),
    ];
    for (n, answer) in cases.into_iter().enumerate() {
        let stand_in = StandIn::start().await;
        stand_in.says("GET /api/jobs/7", [answer]);
        let error = plain(&stand_in.url).look(&handle("7")).await.expect_err("no state");
        assert!(matches!(error, PlatformError::Nonsense { .. }), "{n}: {error:?}");
        assert_eq!(stand_in.heard().len(), 1, "{n}: nothing is followed");
        assert!(error.to_string().chars().count() < 600, "{n}");
    }
}

#[tokio::test]
async fn an_answer_that_never_comes_or_never_ends_is_not_waited_for() {
    for answer in [Answer::nothing(), Answer::slow(), Answer::breaks_off()] {
        let stand_in = StandIn::start().await;
        stand_in.says("GET /api/jobs/7", [answer]);
        let error = plain(&stand_in.url).look(&handle("7")).await.expect_err("no state");
        assert!(matches!(error, PlatformError::Unreachable { never_arrived: false, .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_word_that_is_not_in_the_map_is_told_and_cut() {
    let stand_in = StandIn::start().await;
    stand_in.says("GET /api/jobs/7", [Answer::json(200, json!({"status": format!("dancing{}", "g".repeat(5000))}))]);
    let error = plain(&stand_in.url).look(&handle("7")).await.expect_err("no state").to_string();
    assert!(error.contains("dancingggg") && error.len() < 200, "{error}");
}

#[tokio::test]
async fn a_job_that_is_taken_without_a_usable_id_is_nonsense() {
    for answer in
        [json!({}), json!({"id": ""}), json!({"id": {"x": 1}}), json!({"id": "x".repeat(5000)}), json!({"id": "a\nb"})]
    {
        let stand_in = StandIn::start().await;
        stand_in.says("POST /api/jobs", [Answer::json(200, answer.clone())]);
        let error = plain(&stand_in.url).submit(&job()).await.expect_err("no id");
        assert!(matches!(error, PlatformError::Nonsense { .. }), "{answer}: {error:?}");
    }
}

#[tokio::test]
async fn no_secret_that_a_server_quotes_is_told() {
    let declared = r#"
bearer = { file = "token" }
submit = { path = "/jobs", json = { sql = "{query}", to = "{address}" }, id = "/id" }
look = { path = "/jobs/{id}", status = "/status", error = "/error", statuses = { DONE = "done", BROKE = "error" } }
"#;
    let stand_in = StandIn::start().await;
    let quote = "Bearer t0ken-s3cret may not write to postgresql://writer:s3cr3t-pass@db.example/x (s3cr3t-pass)";
    stand_in.says("POST /api/jobs", [Answer::json(422, json!({"message": quote})), Answer::raw(403, quote)]);
    stand_in.says("GET /api/jobs/7", [Answer::json(200, json!({"status": "BROKE", "error": quote}))]);
    let driver = driver(&stand_in.url, declared);
    let mut told = Vec::new();
    for _ in 0..2 {
        told.push(driver.submit(&job()).await.expect_err("refused").to_string());
    }
    told.push(format!("{:?}", driver.look(&handle("7")).await.expect("a state")));
    told.push(format!("{driver:?}"));
    for text in &told {
        assert!(!text.contains("s3cr3t") && !text.contains("s3cret"), "{text}");
    }
    assert!(told[0].contains("may not write to postgresql://…@db.example/x"), "{}", told[0]);
}
