//! Alertmanager, the real one: what it makes of an incident.

use std::{sync::Arc, time::Duration};

use landfall::{
    agent::Clock,
    canary::Timestamp,
    notify::{Keeps, Message, Notifier, NotifyError, Page, What},
};
use serde_json::{Value as Json, json};

use crate::fixtures::{
    alertmanager::Alertmanager,
    page::{at, deploy, nasty, opened, over, page, resolve, trigger},
    stand_in::{Answer, StandIn, hangs_up, nobody},
};

const SECRET: &str = "hunter2-of-am";

fn notifier(urls: &[&str], more: &str) -> Arc<dyn Notifier> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), SECRET).unwrap();
    opened(folder.path(), &format!("[notify.am.alertmanager]\nurls = {urls:?}\n{more}\n"))
}

fn now() -> Timestamp {
    Clock::System.now()
}

/// Detected this moment, ten seconds after its first bad run.
fn fresh() -> Page {
    let mut page = page();
    page.opening = now();
    page.incident.onset.last_good = None;
    page.incident.onset.first_bad = now().minus(Duration::from_secs(10));
    page.incident.detected_at = Some(now());
    page
}

fn say(what: fn(Arc<Page>) -> What, page: &Page) -> Message {
    Message { key: "k".to_owned(), at: now(), what: what(Arc::new(page.clone())) }
}

fn time(json: &Json) -> Timestamp {
    Timestamp::parse_rfc3339(json.as_str().unwrap()).unwrap()
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn an_incident_fires_at_once_and_resolves() {
    let alertmanager = Alertmanager::start().await;
    let notifier = notifier(&[&alertmanager.url], "");
    let mut page = fresh();
    notifier.tell(&say(What::Trigger, &page)).await.unwrap();
    // Its own wait for others is half a minute; this waits for less.
    let told = alertmanager.told(1).await;
    assert_eq!((told.len(), &told[0]["status"]), (1, &json!("firing")), "{told:?}");
    let alert = &told[0]["alerts"][0];
    let labels = alert["labels"].as_object().unwrap();
    let names: Vec<&str> = labels.keys().map(String::as_str).collect();
    assert_eq!(names, ["agent", "alertname", "incident", "opening", "severity"]);
    assert_eq!((&labels["alertname"], &labels["severity"]), (&json!("LandfallIncident"), &json!("critical")));
    let notes = &alert["annotations"];
    assert!(notes["summary"].as_str().unwrap().starts_with("CRITICAL lost: worker=v5"), "{notes}");
    assert!(notes["description"].as_str().unwrap().contains("job 28311277"), "{notes}");
    assert_eq!(
        (&notes["suspects"], &notes["runbook_url"]),
        (&json!("worker=v5"), &json!("https://runbooks.example.com/landfall"))
    );
    page.incident.resolved_at = Some(now());
    notifier.tell(&say(What::Resolve, &page)).await.unwrap();
    let told = alertmanager.told(2).await;
    assert_eq!((told.len(), &told[1]["status"]), (2, &json!("resolved")), "{told:?}");
    assert_eq!(told[1]["alerts"].as_array().unwrap().len(), 1);
    assert!(alertmanager.alerts().await.is_empty());
    let manner = notifier.manner();
    assert_eq!((manner.keeps, manner.again), (Keeps::ExpiringAlerts, Some(Duration::from_secs(60))));
}

#[tokio::test]
async fn an_incident_that_moves_stays_one_alert_and_the_agents_death_does_not_resolve_it() {
    let mut alertmanager = Alertmanager::start().await;
    let notifier = notifier(&[&alertmanager.url], "");
    let mut page = fresh();
    notifier.tell(&say(What::Trigger, &page)).await.unwrap();
    page.incident.suspects = vec![("cluster".to_owned(), "hadoop1".to_owned())];
    page.incident.onset.last_good = Some(now().minus(HOUR));
    notifier.tell(&say(What::Again, &page)).await.unwrap();
    let alerts = alertmanager.alerts().await;
    assert_eq!((alerts.len(), &alerts[0]["annotations"]["suspects"]), (1, &json!("cluster=hadoop1")), "{alerts:?}");
    assert!(time(&alerts[0]["endsAt"]) > now().plus(11 * HOUR), "nobody says it again, and it stands for the night");
    // A restart of its own is mended by the next minute's word.
    alertmanager.restart().await;
    assert!(alertmanager.alerts().await.is_empty());
    notifier.tell(&say(What::Again, &page)).await.unwrap();
    assert_eq!(alertmanager.alerts().await.len(), 1);
    page.incident.resolved_at = Some(now());
    notifier.tell(&say(What::Resolve, &page)).await.unwrap();
    assert!(alertmanager.alerts().await.is_empty());
}

#[tokio::test]
async fn another_opening_is_another_alert_and_a_late_resolve_of_the_first_leaves_it_alone() {
    let alertmanager = Alertmanager::start().await;
    let notifier = notifier(&[&alertmanager.url], "");
    let first = fresh();
    notifier.tell(&say(What::Trigger, &first)).await.unwrap();
    let mut second = fresh();
    second.opening = first.opening.plus(Duration::from_secs(1));
    notifier.tell(&say(What::Trigger, &second)).await.unwrap();
    notifier.tell(&say(What::Resolve, &first)).await.unwrap();
    let alerts = alertmanager.alerts().await;
    assert_eq!((alerts.len(), &alerts[0]["labels"]["opening"]), (1, &json!(second.opening.to_string())));
}

#[tokio::test]
async fn what_is_over_already_is_told_and_ends_by_itself() {
    let alertmanager = Alertmanager::start().await;
    let notifier = notifier(&[&alertmanager.url], "");
    let mut page = fresh();
    page.incident.resolved_at = Some(now());
    notifier.tell(&say(What::Over, &page)).await.unwrap();
    let told = alertmanager.told(1).await;
    assert!(told[0]["alerts"][0]["annotations"]["summary"].as_str().unwrap().starts_with("OVER critical lost"));
    let ends = time(&alertmanager.alerts().await[0]["endsAt"]);
    assert!(ends < now().plus(Duration::from_secs(301)), "{ends}");
}

#[tokio::test]
async fn it_takes_whatever_came_from_outside() {
    let alertmanager = Alertmanager::start().await;
    let notifier = notifier(&[&alertmanager.url], "");
    let mut page = nasty();
    (page.opening, page.incident.onset) = (fresh().opening, fresh().incident.onset);
    page.drill = Some("7KQ2M9".to_owned());
    notifier.tell(&say(What::Trigger, &page)).await.unwrap();
    let alerts = alertmanager.alerts().await;
    assert_eq!((alerts.len(), &alerts[0]["labels"]["drill"]), (1, &json!("true")));
    assert!(notifier.tell(&deploy()).await.is_err(), "it knows no deploys");
}

/// As the outbox tells: what takes ten seconds is given up.
async fn told_in_time(notifier: &Arc<dyn Notifier>, message: &Message) -> Result<(), NotifyError> {
    let told = tokio::time::timeout(Duration::from_secs(10), notifier.tell(message)).await;
    told.expect("told before the outbox gives up")
}

#[tokio::test]
async fn one_of_a_cluster_is_enough_and_each_gets_it() {
    let (one, other, nobody) = (StandIn::start().await, StandIn::start().await, nobody().await);
    let hangs = StandIn::start().await;
    hangs.says("POST /api/v2/alerts", [Answer::nothing()]);
    one.says("POST /am/api/v2/alerts", [Answer::raw(200, "")]);
    other.says("POST /api/v2/alerts", [Answer::raw(503, "")]);
    let below = format!("{}/am/", one.url);
    let notifier = notifier(&[&below, &other.url, &hangs.url, &nobody], "bearer = { file = \"secret\" }");
    told_in_time(&notifier, &trigger(page())).await.unwrap();
    assert_eq!((one.heard().len(), other.heard().len(), hangs.heard().len()), (1, 1, 1));
    assert_eq!(one.heard()[0].headers["authorization"], format!("Bearer {SECRET}"));
    one.says("POST /am/api/v2/alerts", [Answer::raw(400, "")]);
    let error = told_in_time(&notifier, &trigger(page())).await.expect_err("nobody took it");
    assert!(matches!(error, NotifyError::Busy { .. }), "{error}");
}

#[tokio::test]
async fn the_end_is_told_to_each_of_a_cluster_unless_one_is_gone_for_good() {
    let (one, other) = (StandIn::start().await, StandIn::start().await);
    one.says("POST /api/v2/alerts", [Answer::raw(200, "")]);
    other.says("POST /api/v2/alerts", [Answer::raw(503, "")]);
    let notifier = notifier(&[&one.url, &other.url], "");
    let said_at = |time: &str| Message { at: at(time), ..resolve(over()) };
    for time in ["23:28:11", "23:38:10"] {
        let error = notifier.tell(&said_at(time)).await.expect_err("one was not told");
        let expected = "not now: 1 of 2 Alertmanagers were not told that it is over";
        assert_eq!(error.to_string(), expected, "{time}");
    }
    notifier.tell(&said_at("23:38:11")).await.expect("it is gone for good");
    // What goes on under another key does not wait.
    notifier.tell(&resolve(page())).await.expect("one is enough");
    other.says("POST /api/v2/alerts", [Answer::raw(200, "")]);
    notifier.tell(&said_at("23:28:11")).await.expect("each was told");
    one.says("POST /api/v2/alerts", [Answer::raw(400, "")]);
    other.says("POST /api/v2/alerts", [Answer::raw(400, "")]);
    let error = notifier.tell(&said_at("23:28:11")).await.expect_err("nobody took it");
    assert!(matches!(error, NotifyError::Refused { .. }), "{error}");
}

#[tokio::test]
async fn its_answers_say_whether_to_try_again_and_show_no_password() {
    let stand_in = StandIn::start().await;
    let login = "user = \"landfall\"\npassword = { file = \"secret\" }";
    let to_it = notifier(&[&stand_in.url], login);
    for (answer, said) in [
        (
            Answer::json(422, json!({"code": 602, "message": "0.labels in body is required"})),
            "refused: 422: 0.labels in body is required",
        ),
        (
            Answer::json(400, json!("at least one label pair required")),
            "refused: 400: at least one label pair required",
        ),
        (Answer::raw(401, format!("no {SECRET}")), "refused: 401: no …"),
        (Answer::raw(500, "x"), "not now: 500: x"),
        (Answer::huge(502, 300), "not now: 502 Bad Gateway"),
        (
            Answer::raw(301, "").with("location", "/elsewhere"),
            "refused: it answers 301, and redirects are not followed",
        ),
    ] {
        stand_in.says("POST /api/v2/alerts", [answer]);
        assert_eq!(to_it.tell(&trigger(page())).await.expect_err(said).to_string(), said);
    }
    assert_eq!(stand_in.heard()[0].headers["authorization"], "Basic bGFuZGZhbGw6aHVudGVyMi1vZi1hbQ==");
    let error = notifier(&[&hangs_up().await], login).tell(&trigger(page())).await.expect_err("nobody");
    assert!(matches!(error, NotifyError::Unreachable { .. }), "{error}");
    assert!(!format!("{error:?} {to_it:?}").contains("hunter2"), "{to_it:?}");
}
