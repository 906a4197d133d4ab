//! PagerDuty: every event is one that its API takes, and its answers mean what they mean there.

use std::{sync::Arc, time::Duration};

use landfall::{
    detect::Severity,
    notify::{Keeps, Notifier, NotifyError},
};

use crate::fixtures::{
    page::{KEY, again, deploy, nasty, opened, over, page, resolve, told_as_over, trigger},
    pagerduty::{PagerDuty, Says},
    stand_in::{Answer, StandIn},
};

const ROUTING_KEY: &str = "hunter2hunter2hunter2hunter2abcd";

fn notifier(url: &str) -> (tempfile::TempDir, Arc<dyn Notifier>) {
    keyed(url, ROUTING_KEY)
}

fn keyed(url: &str, key: &str) -> (tempfile::TempDir, Arc<dyn Notifier>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pagerduty.key"), format!("{key}\n")).unwrap();
    let table = format!("[notify.oncall.pagerduty]\nrouting_key = {{ file = \"pagerduty.key\" }}\nurl = \"{url}\"\n");
    let notifier = opened(folder.path(), &table);
    (folder, notifier)
}

#[tokio::test]
async fn an_incident_is_one_trigger_and_one_resolve_of_one_alert() {
    let pagerduty = PagerDuty::start().await;
    let (_folder, notifier) = notifier(&pagerduty.url);
    notifier.tell(&trigger(page())).await.unwrap();
    assert_eq!(pagerduty.open_keys(), [KEY]);
    notifier.tell(&resolve(over())).await.unwrap();
    assert_eq!((pagerduty.wrong(), pagerduty.open_keys(), pagerduty.rings()), (vec![], vec![], 1));
    let alert = &pagerduty.alerts()[KEY];
    assert_eq!((alert.triggers, alert.resolves), (1, 1));
    let payload = &alert.event["payload"];
    assert_eq!(
        (&payload["severity"], &payload["class"], &payload["component"]),
        (&"critical".into(), &"lost".into(), &"worker=v5".into())
    );
    assert!(payload["summary"].as_str().unwrap().starts_with("CRITICAL lost: worker=v5 · 4 of 6 routes"));
    assert!(payload["custom_details"]["7 Proof"].as_str().unwrap().contains("job 28311277"), "{payload}");
    assert_eq!(alert.event["links"][0]["href"], "https://runbooks.example.com/landfall");
    let manner = notifier.manner();
    assert_eq!((manner.keeps, manner.again, manner.takes_deploys), (Keeps::Alerts, None, true));
}

#[tokio::test]
async fn every_event_is_one_that_its_api_takes() {
    let pagerduty = PagerDuty::start().await;
    let (_folder, notifier) = notifier(&pagerduty.url);
    let mut quiet = page();
    (quiet.severity, quiet.link, quiet.runbook) = (Severity::Warning, None, None);
    (quiet.agent, quiet.proofs) = (String::new(), Vec::new());
    let mut long = trigger(quiet.clone());
    long.key = "k".repeat(300);
    let mut monstrous = nasty();
    monstrous.link = page().link;
    monstrous.runbook = page().runbook;
    for message in [
        trigger(page()),
        trigger(quiet),
        long,
        again(page()),
        told_as_over(over()),
        resolve(over()),
        trigger(monstrous),
        deploy(),
    ] {
        notifier.tell(&message).await.unwrap();
    }
    assert_eq!(pagerduty.wrong(), Vec::<String>::new());
    assert_eq!((pagerduty.events().len(), pagerduty.changes().len()), (7, 1));
    assert_eq!(pagerduty.events()[1]["payload"]["severity"], "warning");
    assert!(pagerduty.events()[4]["payload"]["summary"].as_str().unwrap().starts_with("OVER critical lost"));
    assert_eq!(pagerduty.changes()[0]["payload"]["custom_details"]["service"], "worker");
}

#[tokio::test]
async fn the_stand_in_refuses_what_pagerduty_refuses() {
    let pagerduty = PagerDuty::start().await;
    let post = async |body: serde_json::Value| {
        let answer = reqwest::Client::new().post(&pagerduty.url).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let right = serde_json::json!({"routing_key": ROUTING_KEY, "event_action": "trigger", "dedup_key": "k",
        "payload": {"summary": "s", "source": "x", "severity": "critical"}});
    assert_eq!(post(right.clone()).await.0, 202);
    for (pointer, value, wrong) in [
        ("/routing_key", "short".into(), "event.routing_key does not fit"),
        ("/payload/severity", "".into(), "event.payload.severity does not fit"),
        ("/payload/summary", "x".repeat(1025).into(), "event.payload.summary does not fit"),
        ("/payload/source", 7.into(), "event.payload.source does not fit"),
        ("/dedup_key", "x".repeat(256).into(), "event.dedup_key does not fit"),
        ("/event_action", "resolved".into(), "event.event_action does not fit"),
    ] {
        let mut event = right.clone();
        *event.pointer_mut(pointer).unwrap() = value;
        let (status, said) = post(event).await;
        assert!(status == 400 && said.contains(wrong), "{status} {said}");
    }
    let mut more = right.clone();
    more["severity"] = "critical".into();
    assert!(post(more).await.1.contains("event.severity is unknown"));
    assert_eq!((pagerduty.wrong().len(), pagerduty.rings()), (7, 1));
}

#[tokio::test]
async fn its_answers_say_whether_to_try_again_and_never_show_the_key() {
    let pagerduty = PagerDuty::start().await;
    let (_folder, notifier) = notifier(&pagerduty.url);
    pagerduty.says([
        Says::Status(400),
        Says::Wait("7"),
        Says::Status(500),
        Says::Status(403),
        Says::Status(408),
        Says::Status(200),
        Says::Status(302),
        Says::Resets,
        Says::TakesAndResets,
    ]);
    let mut said = Vec::new();
    for _ in 0..9 {
        let error = notifier.tell(&trigger(page())).await.expect_err("told to say no");
        assert!(!format!("{error} {error:?} {notifier:?}").contains("hunter2"), "{error:?}");
        said.push(match error {
            NotifyError::Refused { detail } => format!("refused {detail}"),
            NotifyError::Busy { detail, retry_after } => format!("busy {retry_after:?} {detail}"),
            NotifyError::Unreachable { detail } => {
                format!("unreachable {}", detail.split(':').next().unwrap_or_default())
            }
        });
    }
    assert_eq!(
        said,
        [
            "refused 400: told to say so",
            "busy Some(7s) 429: slow down",
            "busy None 500: told to say so",
            "refused 403: told to say so",
            "busy None 408: told to say so",
            "unreachable 200",
            "refused it answers 302, and redirects are not followed",
            "unreachable error sending request",
            "unreachable error sending request",
        ]
    );
    assert_eq!(pagerduty.rings(), 1, "the last was taken");
    notifier.tell(&trigger(page())).await.unwrap();
    assert_eq!(pagerduty.rings(), 1, "and the same key does not ring again");
}

#[tokio::test]
async fn one_that_hangs_can_be_left() {
    let pagerduty = PagerDuty::start().await;
    let (_folder, notifier) = notifier(&pagerduty.url);
    pagerduty.always(Some(Says::Hangs));
    assert!(tokio::time::timeout(Duration::from_millis(300), notifier.tell(&trigger(page()))).await.is_err());
    assert_eq!((pagerduty.requests(), pagerduty.rings()), (1, 0));
    pagerduty.always(Some(Says::TakesAndHangs));
    assert!(tokio::time::timeout(Duration::from_millis(300), notifier.tell(&trigger(page()))).await.is_err());
    assert_eq!((pagerduty.requests(), pagerduty.rings()), (2, 1), "it may have taken it");
    pagerduty.always(None);
    notifier.tell(&trigger(page())).await.unwrap();
    assert_eq!(pagerduty.rings(), 1);
}

#[tokio::test]
async fn hostile_answers_are_bounded_and_what_they_echo_is_masked() {
    let stand_in = StandIn::start().await;
    let (_folder, notifier) = notifier(&format!("{}/v2/enqueue", stand_in.url));
    for (answer, said) in [
        (Answer::huge(400, 300), "refused: 400 Bad Request"),
        (Answer::raw(400, format!("{{\"errors\": [\"bad {ROUTING_KEY}\"]}}")), "refused: 400: bad …"),
        (Answer::raw(400, "\u{1b}[2J\u{0}no"), "refused: 400: [2J no"),
        (Answer::raw(400, vec![0xff; 3000]), "refused: 400: ���"),
    ] {
        stand_in.says("POST /v2/enqueue", [answer]);
        let error = notifier.tell(&trigger(page())).await.expect_err(said).to_string();
        assert!(error.starts_with(said) && error.chars().count() < 600, "{error}");
    }
}

#[test]
fn a_key_of_a_ruleset_takes_no_deploys() {
    let (_folder, notifier) = keyed("http://127.0.0.1:1/v2/enqueue", &format!("R{}", &ROUTING_KEY[1..]));
    assert!(!notifier.manner().takes_deploys);
}

#[tokio::test]
async fn one_that_is_away_for_a_while_is_found_again() {
    let pagerduty = PagerDuty::start().await;
    let (_folder, notifier) = notifier(&pagerduty.url);
    notifier.tell(&trigger(page())).await.unwrap();
    let address = pagerduty.address;
    drop(pagerduty);
    let error = notifier.tell(&resolve(over())).await.expect_err("nobody is there");
    assert!(matches!(error, NotifyError::Unreachable { .. }), "{error}");
    let pagerduty = PagerDuty::start_at(address).await;
    notifier.tell(&resolve(over())).await.unwrap();
    assert_eq!(pagerduty.alerts()[KEY].resolves, 1);
}
