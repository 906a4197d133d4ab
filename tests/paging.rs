//! Paging, by the real binary: a sandbox breaks, the agent pages a stand-in for PagerDuty, and
//! everything else goes wrong as well.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::fixtures::{
    daemon::{Watched, edit},
    pagerduty::{PagerDuty, Says},
};

const S: fn(u64) -> Duration = Duration::from_secs;

/// A sandbox and a daemon that pages this receiver.
async fn paging(pager: &PagerDuty) -> Watched {
    let mut watched = Watched::start(|probes| probes).await;
    watched.stop(S(30)).await;
    std::fs::write(watched.file("pager.key"), "0123456789abcdef0123456789abcdef").expect("written");
    let notifier =
        format!("\n[notify.pager.pagerduty]\nrouting_key = {{ file = \"pager.key\" }}\nurl = \"{}\"\n", pager.url);
    edit(&watched.file("landfall.toml"), |text| text + &notifier);
    watched.launch();
    watched.ready().await;
    watched.landed(2).await;
    watched
}

async fn until(watched: &Watched, what: &str, is_so: impl Fn() -> bool) {
    watched.until(what, S(120), async |_| is_so().then_some(())).await;
}

/// Kills the agent and starts it again, as often and as far apart as this says.
async fn killed(watched: &mut Watched, pauses: &[u64]) {
    for pause in pauses {
        sleep(Duration::from_millis(*pause)).await;
        watched.kill();
        watched.launch();
        watched.ready().await;
    }
}

#[tokio::test]
async fn a_page_rings_once_and_ends_once_with_the_same_key() {
    let pager = PagerDuty::start().await;
    let watched = paging(&pager).await;
    let fault = watched.inject(&json!({"kind": "drop-output", "where": {"worker": "v5"}})).await;
    until(&watched, "somebody is paged", || pager.open_keys().len() == 1).await;
    let alert = pager.alerts().into_values().next().expect("an alert");
    assert_eq!(alert.event["payload"]["severity"], "critical");
    let summary = alert.event["payload"]["summary"].as_str().expect("a summary").to_owned();
    assert!(summary.contains("worker=v5") && summary.contains("lost"), "{summary}");
    watched.mend(fault).await;
    until(&watched, "it is over", || pager.open_keys().is_empty()).await;
    let alerts = pager.alerts();
    assert_eq!(alerts.len(), 1, "{alerts:#?}");
    assert!(alerts.values().all(|alert| (alert.rings, alert.triggers, alert.resolves) == (1, 1, 1)), "{alerts:#?}");
    assert_eq!(pager.wrong(), Vec::<String>::new());
    let metrics = watched.metrics().await;
    assert!(metrics.contains("landfall_notifications_total{notifier=\"pager\",result=\"accepted\"} 2"), "{metrics}");
    assert!(!metrics.contains("landfall_incident_undelivered{"), "nobody waits for a page");
}

#[tokio::test]
async fn whatever_the_receiver_does_and_whenever_the_agent_is_killed_no_page_is_lost_or_doubled() {
    let pager = PagerDuty::start().await;
    let mut watched = paging(&pager).await;
    let misbehaves = [
        Says::Status(500),
        Says::TakesAndResets,
        Says::Wait("1"),
        Says::Hangs,
        Says::Status(400),
        Says::Resets,
        Says::TakesAndHangs,
        Says::Status(503),
    ];
    // It opens, and ends, while the receiver does everything but answer, and the agent is killed.
    let fault = watched.inject(&json!({"kind": "drop-output", "where": {"worker": "v5"}})).await;
    watched.until("it is detected", S(90), async |w| w.list("incidents").await.filter(|all| !all.is_empty())).await;
    for (n, says) in misbehaves.into_iter().enumerate() {
        pager.always(Some(says));
        killed(&mut watched, &[300 + 400 * (n as u64 % 4)]).await;
    }
    pager.always(None);
    killed(&mut watched, &[100]).await;
    until(&watched, "somebody is paged", || pager.open_keys().len() == 1).await;
    watched.mend(fault).await;
    for (n, says) in misbehaves.into_iter().enumerate() {
        pager.always(Some(says));
        sleep(S(1)).await;
        killed(&mut watched, &[200 + 500 * (n as u64 % 3)]).await;
    }
    pager.always(None);
    killed(&mut watched, &[100]).await;
    until(&watched, "it is over", || pager.open_keys().is_empty() && !pager.alerts().is_empty()).await;

    // Another kind of fault begins and ends while nobody can be told: it is told as over.
    pager.always(Some(Says::Status(503)));
    let fault = watched.inject(&json!({"kind": "duplicate-output", "where": {"worker": "v6"}})).await;
    let doubled = async |w: &Watched, over: bool| {
        let all = w.list("incidents").await?;
        all.into_iter().find(|i| i["outcome"] == "duplicated" && i["resolved_at"].is_null() != over).map(drop)
    };
    watched.until("copies are detected", S(120), async |w| doubled(w, false).await).await;
    watched.mend(fault).await;
    watched.until("copies are over", S(120), async |w| doubled(w, true).await).await;
    let before = pager.alerts().len();
    killed(&mut watched, &[100]).await;
    pager.always(None);
    until(&watched, "it is told as over", || pager.alerts().len() > before && pager.open_keys().is_empty()).await;

    let alerts = pager.alerts();
    for (key, alert) in &alerts {
        assert_eq!(alert.rings, 1, "{key} rang {} times: {alert:#?}", alert.rings);
        assert!(alert.resolves >= 1, "{key}");
    }
    let told: usize = watched.list("incidents").await.expect("answers").len();
    let incidents: std::collections::BTreeSet<_> = alerts.keys().filter_map(|key| key.split('/').next()).collect();
    assert_eq!(incidents.len(), told, "every incident was told: {:?}", alerts.keys());
    assert_eq!(pager.wrong(), Vec::<String>::new());
}

#[tokio::test]
async fn a_receiver_that_was_not_there_is_told_when_it_is() {
    let pager = PagerDuty::start().await;
    let address = pager.address;
    let watched = paging(&pager).await;
    drop(pager);
    watched.inject(&json!({"kind": "drop-output", "where": {"worker": "v5"}})).await;
    let undelivered = async |w: &Watched| {
        let metrics = w.metrics().await;
        metrics.lines().any(|line| line.starts_with("landfall_incident_undelivered{")).then_some(())
    };
    watched.until("the second path knows that nobody took it", S(90), undelivered).await;
    sleep(S(5)).await;
    let pager = PagerDuty::start_at(address).await;
    until(&watched, "somebody is paged", || pager.open_keys().len() == 1).await;
    let delivered = async |w: &Watched| undelivered(w).await.is_none().then_some(());
    watched.until("the second path knows that somebody took it", S(30), delivered).await;
    assert_eq!(pager.rings(), 1);
}
