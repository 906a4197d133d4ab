//! Whether the page comes by Prometheus, once, and ends once; what happens when one of them dies.

use std::{path::Path, time::Duration};

use reqwest::Method;
use serde_json::{Value as Json, json};
use tokio::time::{Instant, sleep};

use super::{
    dashboards,
    events::Event,
    stack::{Pace, Stack},
};
use crate::fixtures::{
    daemon::{Watched, edit},
    pagerduty::PagerDuty,
    stand_in::{Answer, StandIn, nobody},
};

/// Longest wait for an incident, and for its end, as in the tests of the daemon.
const NAMED_WITHIN: Duration = Duration::from_secs(120);
/// Longest wait for what Prometheus and Alertmanager do within a minute.
const TOLD_WITHIN: Duration = Duration::from_secs(120);

const UNDELIVERED: &str = "LandfallIncidentUndelivered";
const DOWN: &str = "LandfallAgentDown";

/// An agent that pages at this address, directly. `more` of its config.
async fn paging_at(url: &str, more: &str) -> Watched {
    let mut watched = Watched::start(|probes| probes).await;
    watched.kill();
    let key: &Path = &watched.file("pagerduty.key");
    std::fs::write(key, "0123456789abcdef0123456789abcdef").expect("written");
    let table =
        format!("\n[notify.oncall.pagerduty]\nrouting_key = {{ file = \"pagerduty.key\" }}\nurl = \"{url}\"\n{more}");
    edit(&watched.file("landfall.toml"), |config| config + &table);
    watched.launch();
    watched.ready().await;
    watched
}

/// An agent whose direct path is cut.
async fn cut(more: &str) -> Watched {
    paging_at(&format!("{}/v2/enqueue", nobody().await), more).await
}

/// Breaks Result Output of worker v5, and waits for the incident.
async fn broken(watched: &Watched) -> (u64, Json) {
    let fault = watched.inject(&json!({ "kind": "drop-output", "where": { "worker": "v5" } })).await;
    let open = async |w: &Watched| {
        w.list("incidents").await?.into_iter().find(|i| i["resolved_at"].is_null() && i["detected_at"].is_string())
    };
    let (incident, _) = watched.until("there is an incident", NAMED_WITHIN, open).await;
    (fault, incident)
}

async fn over(watched: &Watched, id: &str) {
    let over = async |w: &Watched| {
        let incidents = w.list("incidents").await?;
        incidents.iter().any(|i| i["id"] == id && i["resolved_at"].is_string()).then_some(())
    };
    watched.until("the incident is over", NAMED_WITHIN, over).await;
}

fn about<'e>(events: &'e [Event], alert: &str, action: &str) -> Vec<&'e Event> {
    events.iter().filter(|event| event.alert == alert && event.action == action).collect()
}

/// With the shipped settings; `benches/paging` measures how long that takes.
#[tokio::test(flavor = "multi_thread")]
async fn an_incident_that_nobody_was_told_of_is_paged_by_prometheus_once_and_ends_once() {
    let hearts = StandIn::start().await;
    hearts.says("POST /heart", [Answer::raw(200, "")]).says("GET /heart", [Answer::raw(200, "")]);
    let watched = cut(&format!("\n[agent.heartbeat]\nurl = \"{}/heart\"\n", hearts.url)).await;
    let stack = Stack::start(&watched.agent, PagerDuty::start().await, Pace::Shipped).await;
    watched.landed(2).await;
    let deploy = json!({ "service": "worker", "version": "v6" });
    let posted = watched
        .ask(Method::POST, &format!("{}/api/v1/deploys", watched.agent), Some(&watched.token()), Some(deploy))
        .await;
    assert!(posted.0.is_success(), "{posted:?}");
    // Its only notifier cannot be reached, and the drill says so.
    let url = format!("{}/api/v1/drill", watched.agent);
    let drilled = watched.ask(Method::POST, &url, Some(&watched.token()), Some(json!({}))).await;
    assert!(drilled.1.contains("unreachable"), "{drilled:?}");
    let (fault, incident) = broken(&watched).await;
    let id = incident["id"].as_str().expect("an id").to_owned();
    let is = |event: &Event| event.alert == UNDELIVERED && event.action == "trigger" && event.group == id;
    let (page, _) = stack.event("the pager is called", TOLD_WITHIN, is).await;
    assert_eq!(page.severity, incident["severity"].as_str().expect("a severity"), "{page:?}");
    assert!(page.summary.contains(&id), "{page:?}");
    watched.mend(fault).await;
    over(&watched, &id).await;
    stack.event("its end is told", TOLD_WITHIN, |e| e.key == page.key && e.action == "resolve").await;
    // Whatever would come twice comes at the next interval of the group.
    sleep(Duration::from_secs(12)).await;
    let events = stack.events();
    for action in ["trigger", "resolve"] {
        assert_eq!(about(&events, UNDELIVERED, action).len(), 1, "{action}: {events:#?}");
    }
    let mails = stack.mail();
    let mail = mails.iter().find(|mail| mail.contains("Subject: CRITICAL Landfall incident"));
    let mail = mail.unwrap_or_else(|| panic!("no such mail among {mails:#?}"));
    assert!(mail.contains("Content-Type: text/plain") && mail.contains("Content-Type: text/html"), "{mail}");
    assert!(mails.iter().any(|mail| mail.contains("Subject: RESOLVED Landfall incident")), "{mails:#?}");
    assert!(stack.watchdog() > 0, "the dead-man's service is called all along");

    assert_eq!(stack.unhealthy_rules().await, Vec::<String>::new());
    // Prometheus has seen the agent red and green: every panel has something to show.
    dashboards::every_query_finds_something(&stack).await;
}

/// Durations are shortened, in the same proportions: what is shown is an order.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_does_not_end_because_the_agent_died_and_ends_once_when_it_is_back_and_well() {
    let mut watched = cut("").await;
    let mut stack = Stack::start(&watched.agent, PagerDuty::start().await, Pace::Short).await;
    watched.landed(2).await;
    let (fault, incident) = broken(&watched).await;
    let id = incident["id"].as_str().expect("an id").to_owned();
    let pages = |event: &Event| event.alert == UNDELIVERED && event.action == "trigger";
    let (page, _) = stack.event("the pager is called", TOLD_WITHIN, pages).await;

    watched.kill();
    stack.event("the agent's death is paged", TOLD_WITHIN, |e| e.alert == DOWN && e.action == "trigger").await;
    // Long enough for staleness, for `for`, and for several intervals of every group.
    sleep(Duration::from_secs(15)).await;
    assert!(stack.events().iter().all(|event| event.action == "trigger"), "{:#?}", stack.events());

    watched.mend(fault).await;
    watched.launch();
    watched.ready().await;
    stack.event("the agent is back", TOLD_WITHIN, |e| e.alert == DOWN && e.action == "resolve").await;
    over(&watched, &id).await;
    stack.event("its end is told", TOLD_WITHIN, |e| e.key == page.key && e.action == "resolve").await;
    sleep(Duration::from_secs(5)).await;
    let events = stack.events();
    for alert in [UNDELIVERED, DOWN] {
        for action in ["trigger", "resolve"] {
            assert_eq!(about(&events, alert, action).len(), 1, "{alert} {action}: {events:#?}");
        }
    }

    // Without Prometheus nothing of this works, and only the watchdog's silence says so.
    let called = stack.watchdog();
    stack.until("the watchdog speaks", TOLD_WITHIN, async |s| (s.watchdog() > called + 2).then_some(())).await;
    stack.kill_prometheus();
    let mut silent_since = (stack.watchdog(), Instant::now());
    let end = Instant::now() + TOLD_WITHIN;
    while silent_since.1.elapsed() < Duration::from_secs(8) {
        assert!(Instant::now() < end, "the watchdog still speaks {TOLD_WITHIN:?} after Prometheus died");
        sleep(Duration::from_millis(200)).await;
        if stack.watchdog() != silent_since.0 {
            silent_since = (stack.watchdog(), Instant::now());
        }
    }
}

/// Durations are shortened: the direct path has three seconds instead of thirty.
#[tokio::test(flavor = "multi_thread")]
async fn an_incident_that_the_agent_told_is_not_paged_by_prometheus_too() {
    let pager = PagerDuty::start().await;
    let watched = paging_at(&pager.url, "").await;
    let stack = Stack::start(&watched.agent, pager, Pace::Short).await;
    watched.landed(2).await;
    let (fault, incident) = broken(&watched).await;
    let id = incident["id"].as_str().expect("an id").to_owned();
    // Three times as long as the second path waits.
    sleep(Duration::from_secs(15)).await;
    assert!(stack.has("landfall_incidents_open == 1").await, "Prometheus sees the incident");
    watched.mend(fault).await;
    over(&watched, &id).await;
    let resolved = |e: &Event| e.action == "resolve";
    stack.event("its end is told", TOLD_WITHIN, resolved).await;
    sleep(Duration::from_secs(5)).await;
    let events = stack.events();
    let actions: Vec<&str> = events.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(actions, ["trigger", "resolve"], "{events:#?}");
    assert!(events.iter().all(|event| event.key == events[0].key && event.alert != UNDELIVERED), "{events:#?}");
}

/// Alertmanager says nothing of the end of what is inhibited. With a stand-in for the agent, since no real one misses a fault for so
/// long; a scrape that it refuses is to Prometheus what an agent that is gone is.
#[tokio::test(flavor = "multi_thread")]
async fn what_ends_together_with_the_alert_that_inhibits_it_is_told_as_ended() {
    let agent = StandIn::start().await;
    let scrape = |landed: &str| {
        let route = r#"canary="c",platform="p",target="web",mode="append""#;
        let route_metrics = [
            ("route_watched_since_timestamp_seconds", "1"),
            ("last_landed_timestamp_seconds", landed),
            ("detection_bound_seconds", "310"),
            ("route_interval_seconds", "60"),
            ("route_up", "1"),
        ];
        let route_metrics = route_metrics.map(|(name, value)| format!("landfall_{name}{{{route}}} {value}\n")).concat();
        // Its scheduler goes round at all times.
        let rest = "landfall_build_info 1\nlandfall_scheduler_last_round_timestamp_seconds 4e9\n";
        let text = Answer::raw(200, format!("{route_metrics}{rest}"));
        [text.with("content-type", "text/plain; version=0.0.4")]
    };
    agent.says("GET /metrics", scrape("2"));
    let stack = Stack::start(&agent.url, PagerDuty::start().await, Pace::Short).await;
    const MISSED: &str = "LandfallNoLanding";
    stack.event("it is paged", TOLD_WITHIN, |e| e.alert == MISSED && e.severity == "critical").await;
    agent.says("GET /metrics", [Answer::raw(500, "gone")]);
    stack.event("the agent's death is paged", TOLD_WITHIN, |e| e.alert == DOWN).await;
    sleep(Duration::from_secs(5)).await;
    agent.says("GET /metrics", scrape("4e9"));
    for alert in [DOWN, MISSED] {
        let ended = |e: &Event| e.alert == alert && e.action == "resolve" && e.severity == "critical";
        stack.event(&format!("{alert} ends"), TOLD_WITHIN, ended).await;
    }
    sleep(Duration::from_secs(5)).await;
    let events = stack.events();
    let open: Vec<&Event> = events
        .iter()
        .filter(|e| e.action == "trigger" && !events.iter().any(|end| end.action == "resolve" && end.key == e.key))
        .collect();
    assert!(open.is_empty(), "these are open for ever: {open:#?}");
    for alert in [DOWN, MISSED] {
        let triggers = about(&events, alert, "trigger").into_iter().filter(|e| e.severity == "critical").count();
        assert_eq!(triggers, 1, "{alert}: {events:#?}");
    }
}
