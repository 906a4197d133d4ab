//! The webhook: what is posted, signed, and what its answers mean.

use std::time::Duration;

use landfall::notify::{Keeps, NotifyError};
use ring::hmac;
use serde_json::{Value as Json, json};

use crate::fixtures::{
    page::{KEY, again, deploy, nasty, opened, over, page, resolve, told_as_over, trigger},
    stand_in::{Answer, StandIn, hangs_up, nobody},
};

const SECRET: &str = "hunter2-of-the-webhook";
const LINE: &str = "POST /hooks/T0PSECRET0123?token=quer1secret";

fn table(url: &str) -> String {
    format!(
        "[notify.chat.webhook]\nurl = {{ file = \"url\" }}\nsecret = {{ file = \"secret\" }}\n\
         headers = {{ Authorization = {{ file = \"token\" }}, X-Team = \"data\" }}\nremind = \"4h\"\n# {url}\n"
    )
}

fn webhook(base: &str) -> (tempfile::TempDir, std::sync::Arc<dyn landfall::notify::Notifier>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("url"), format!("{base}/hooks/T0PSECRET0123?token=quer1secret")).unwrap();
    std::fs::write(folder.path().join("secret"), SECRET).unwrap();
    std::fs::write(folder.path().join("token"), "Bearer t0ken-of-bearer").unwrap();
    let notifier = opened(folder.path(), &table(base));
    (folder, notifier)
}

#[tokio::test]
async fn it_posts_signed_json_with_its_own_headers() {
    let receiver = StandIn::start().await;
    receiver.says(LINE, [Answer::raw(204, "")]);
    let (_folder, webhook) = webhook(&receiver.url);
    webhook.tell(&trigger(page())).await.unwrap();
    let heard = receiver.heard().remove(0);
    assert_eq!(heard.headers["content-type"], "application/json");
    assert_eq!(
        (&heard.headers["authorization"], &heard.headers["x-team"]),
        (&"Bearer t0ken-of-bearer".parse().unwrap(), &"data".parse().unwrap())
    );
    let signature = heard.headers["landfall-signature"].to_str().unwrap();
    let (time, hex) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
    assert_eq!(time, "1440452696");
    let mac: Vec<u8> = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signed = [format!("{time}.").as_bytes(), &heard.body].concat();
    hmac::verify(&key, &signed, &mac).unwrap();
    let body: Json = serde_json::from_slice(&heard.body).unwrap();
    assert_eq!(
        (&body["event"], &body["key"], &body["severity"]),
        (&json!("triggered"), &json!(KEY), &json!("critical"))
    );
    let incident = &body["incident"];
    assert_eq!((&incident["suspects"], &incident["outcome"]), (&json!({"worker": "v5"}), &json!("lost")));
    // As in the API, but for the story.
    let mut keys: Vec<&String> = incident.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(
        keys,
        [
            "also",
            "deploy",
            "detected_at",
            "id",
            "onset",
            "opened_at",
            "outcome",
            "provisional",
            "resolved_at",
            "routes",
            "runs",
            "severity",
            "suspects",
            "unaffected"
        ]
    );
    assert_eq!((&body["hit"], &body["watched"]), (&json!(4), &json!(6)));
    assert_eq!(body["proofs"][0]["job"], "28311277");
    assert!(body["text"]["subject"].as_str().unwrap().starts_with("CRITICAL lost: worker=v5"));
    assert_eq!(
        body["text"]["sections"][0],
        json!({"title": "What is broken", "lines": ["worker=v5", "the same routes are also: engine=presto cluster=presto"]})
    );
}

#[tokio::test]
async fn each_message_is_an_event_of_its_own() {
    let receiver = StandIn::start().await;
    receiver.says(LINE, [Answer::raw(200, "ok")]);
    let (_folder, webhook) = webhook(&receiver.url);
    for message in [trigger(page()), again(page()), told_as_over(over()), resolve(over()), deploy(), trigger(nasty())] {
        webhook.tell(&message).await.unwrap();
    }
    assert!(receiver.heard().iter().all(|heard| heard.body.len() < 600_000), "bounded, whatever came from outside");
    let bodies: Vec<Json> = receiver.heard().iter().map(|heard| serde_json::from_slice(&heard.body).unwrap()).collect();
    let events: Vec<_> = bodies.iter().map(|body| body["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["triggered", "still", "over", "resolved", "deploy", "triggered"]);
    assert_eq!((&bodies[4]["incident"], &bodies[4]["deploy"]["service"]), (&Json::Null, &json!("worker")));
    let manner = webhook.manner();
    assert_eq!((manner.keeps, manner.again), (Keeps::Messages, Some(Duration::from_secs(4 * 3600))));
}

#[tokio::test]
async fn its_answers_say_whether_to_try_again() {
    let receiver = StandIn::start().await;
    let (_folder, webhook) = webhook(&receiver.url);
    for (answer, told) in [
        (Answer::raw(503, "down for a minute\nreally").with("retry-after", "7"), "busy 7 503: down for a minute"),
        (Answer::json(429, json!({"error": "slow down"})), "busy - 429: slow down"),
        (Answer::raw(408, ""), "busy - 408 Request Timeout"),
        (Answer::json(400, json!({"message": "no", "errors": ["this", "that"]})), "refused 400: no; this; that"),
        (Answer::raw(404, "<html>"), "refused 404 Not Found"),
        (
            Answer::raw(302, "").with("location", "http://127.0.0.1:1/"),
            "refused it answers 302, and redirects are not followed",
        ),
        (Answer::raw(401, "unknown T0PSECRET0123, quer1secret, t0ken-of-bearer"), "refused 401: unknown …, …, …"),
        (Answer::huge(500, 300), "busy - 500 Internal Server Error"),
    ] {
        receiver.says(LINE, [answer]);
        let error = webhook.tell(&trigger(page())).await.expect_err(told);
        assert_eq!(shown(&error), told);
    }
    assert_eq!(receiver.times_heard(LINE), 8, "each was tried once");
}

fn shown(error: &NotifyError) -> String {
    match error {
        NotifyError::Unreachable { detail } => format!("unreachable {detail}"),
        NotifyError::Busy { detail, retry_after } => {
            format!("busy {} {detail}", retry_after.map_or("-".to_owned(), |wait| wait.as_secs().to_string()))
        }
        NotifyError::Refused { detail } => format!("refused {detail}"),
    }
}

#[tokio::test]
async fn who_is_not_there_or_hangs_up_is_unreachable_and_no_token_is_shown() {
    for base in [nobody().await, hangs_up().await] {
        let (_folder, webhook) = webhook(&base);
        let error = webhook.tell(&trigger(page())).await.expect_err("nobody");
        assert!(matches!(error, NotifyError::Unreachable { .. }), "{error}");
        let printed = format!("{error} {error:?} {webhook:?}");
        for secret in ["T0PSECRET0123", "quer1secret", "t0ken-of-bearer", SECRET] {
            assert!(!printed.contains(secret), "{printed}");
        }
    }
}

#[tokio::test]
async fn a_success_need_not_be_read_to_its_end() {
    let receiver = StandIn::start().await;
    receiver.says(LINE, [Answer::slow(), Answer::huge(200, 300)]);
    let (_folder, webhook) = webhook(&receiver.url);
    for _ in 0..2 {
        tokio::time::timeout(Duration::from_secs(20), webhook.tell(&trigger(page()))).await.unwrap().unwrap();
    }
}
