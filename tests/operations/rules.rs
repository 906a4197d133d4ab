//! The shipped rules and examples, by the tools of those who load them, and by rules of our own.

use std::collections::BTreeSet;

use landfall::metrics::CATALOGUE;
use serde_json::Value as Json;
use tempfile::TempDir;

use super::stack::{root, run, shipped, yaml};
use crate::fixtures::daemon::Watched;

const RULES: &str = "alerts/landfall.rules.yml";
const TESTS: [&str; 2] = ["landfall.rules.test.yml", "landfall.slow.test.yml"];

fn list<'j>(json: &'j Json, name: &str) -> Vec<&'j Json> {
    json[name].as_array().into_iter().flatten().collect()
}

fn text<'j>(json: &'j Json, name: &str) -> &'j str {
    json[name].as_str().unwrap_or_default()
}

/// Every alert of the rules.
fn alerts() -> Vec<Json> {
    let rules = yaml(RULES);
    let all = list(&rules, "groups").into_iter().flat_map(|group| list(group, "rules"));
    let alerts: Vec<Json> = all.filter(|rule| rule["alert"].is_string()).cloned().collect();
    assert!(!alerts.is_empty());
    alerts
}

/// Names of our own metrics in a query, as they are written.
pub(super) fn metrics_in(query: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    query.split(|c| !is_name(c)).filter(|word| word.starts_with("landfall_")).map(str::to_owned).collect()
}

/// Whether the agent exports this.
pub(super) fn is_exported(metric: &str) -> bool {
    CATALOGUE.iter().any(|family| {
        let parts: &[&str] = if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        parts.iter().any(|part| metric == format!("{}{part}", family.name))
    })
}

#[test]
fn promtool_has_nothing_to_say_against_the_rules() {
    run("promtool", &["check", "rules", "--lint-fatal", RULES], &root()).unwrap();
    run("promtool", &["check", "config", "alerts/prometheus.example.yml"], &root()).unwrap();
}

#[tokio::test]
async fn promtool_has_nothing_to_say_against_a_scrape_of_a_running_agent() {
    let watched = Watched::start(|probes| probes).await;
    watched.landed(1).await;
    let scrape = watched.metrics().await;
    assert!(scrape.contains("landfall_scheduler_last_round_timestamp_seconds "), "{scrape}");
    let check = |text: String| {
        let folder = TempDir::new().expect("a folder");
        let file = folder.path().join("metrics");
        std::fs::write(&file, text).expect("written");
        // It reads its input only.
        run("sh", &["-c", "exec promtool check metrics <metrics"], folder.path())
    };
    let said = check(scrape.clone()).unwrap();
    assert!(said.trim().is_empty(), "{said}");
    check(scrape + "# TYPE landfall_hits counter\nlandfall_hits 1\n").expect_err("the check itself can fail");
}

#[test]
fn every_rule_fires_when_it_should_and_not_when_it_should_not() {
    for tests in TESTS {
        run("promtool", &["test", "rules", tests], &root().join("alerts")).unwrap();
    }
}

#[test]
fn every_rule_has_a_firing_and_a_quiet_case() {
    let tests: Vec<Json> = TESTS.iter().map(|tests| yaml(&format!("alerts/{tests}"))).collect();
    let cases = tests.iter().flat_map(|tests| list(tests, "tests")).flat_map(|test| list(test, "alert_rule_test"));
    let cases: Vec<&Json> = cases.collect();
    for alert in alerts() {
        let name = text(&alert, "alert");
        let of = || cases.iter().filter(|case| text(case, "alertname") == name);
        let fires = of().flat_map(|case| list(case, "exp_alerts")).any(|expected| {
            let labels = alert["labels"].as_object().cloned().unwrap_or_default();
            labels.iter().all(|(label, value)| expected["exp_labels"][label] == *value)
        });
        assert!(fires, "{name} {} never fires in a test", alert["labels"]);
        // The watchdog is never quiet.
        assert!(
            name == "LandfallWatchdog" || of().any(|case| list(case, "exp_alerts").is_empty()),
            "{name} is never quiet"
        );
    }
}

#[test]
fn every_alert_says_what_it_is_and_has_a_runbook() {
    let runbooks = shipped("docs/runbooks.md");
    let entries: Vec<&str> = runbooks.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let mut names = BTreeSet::new();
    for alert in alerts() {
        let name = text(&alert, "alert").to_owned();
        let severity = alert["labels"]["severity"].as_str();
        let from_metric = text(&alert, "expr").contains("landfall_incident_undelivered");
        assert!(
            severity.is_some_and(|s| ["critical", "warning", "ticket", "none"].contains(&s)) != from_metric,
            "{name}"
        );
        for annotation in ["summary", "description"] {
            assert!(text(&alert["annotations"], annotation).len() > 20, "{name} has no {annotation}");
        }
        let anchor = format!("https://landfall.example/runbooks#{}", name.to_lowercase());
        assert_eq!(text(&alert["annotations"], "runbook_url"), anchor);
        let labels = alert["labels"].to_string();
        assert!(!labels.contains("$value"), "{name}: a value in a label makes a new alert of every value");
        assert!(entries.contains(&name.as_str()), "docs/runbooks.md has no entry for {name}");
        names.insert(name);
    }
    for entry in &entries {
        assert!(names.contains(*entry), "docs/runbooks.md has an entry for {entry}, which is no alert");
        let body = runbooks.split(&format!("## {entry}\n")).nth(1).expect("there").split("\n## ").next().expect("one");
        for part in ["**Means**", "**First**", "**Silence**"] {
            assert!(body.contains(part), "{entry} does not say {part}");
        }
    }
}

#[test]
fn rules_name_only_metrics_that_are_exported() {
    let rules = shipped(RULES);
    let metrics = metrics_in(&rules);
    assert!(metrics.len() > 10, "{metrics:?}");
    for metric in metrics.iter().filter(|metric| !rules.contains(&format!(":{metric}"))) {
        let is_group = rules.contains(&format!("name: {metric}"));
        // `landfall_run_errors` is the middle of a recorded name.
        assert!(is_group || is_exported(metric), "{metric} is in no catalogue");
    }
}

#[test]
fn what_pages_is_held_while_nobody_can_ask_the_agent() {
    // They look at what Prometheus itself sees, or go on by what happened before.
    let by_itself = ["LandfallAgentDown", "LandfallAgentAbsent", "LandfallAgentRestarting"];
    for alert in alerts() {
        let (name, severity) = (text(&alert, "alert"), alert["labels"]["severity"].as_str());
        if by_itself.contains(&name) || matches!(severity, Some("ticket" | "none")) {
            continue;
        }
        let expr = text(&alert, "expr");
        let own = format!("ALERTS{{alertname=\"{name}\"");
        assert!(expr.contains(&own) && expr.contains("landfall:agent_unheard"), "{name} ends when the agent dies");
    }
}

#[test]
fn alertmanager_takes_the_example_and_sends_each_severity_where_it_belongs() {
    let folder = root();
    let config = "alerts/alertmanager.example.yml";
    run("amtool", &["check-config", config], &folder).unwrap();
    let goes = |receiver: &str, labels: &[&str]| {
        let config = format!("--config.file={config}");
        let receiver = format!("--verify.receivers={receiver}");
        let args = [&["config", "routes", "test", &config, &receiver], labels].concat();
        run("amtool", &args, &folder)
    };
    for alert in alerts() {
        let name = format!("alertname={}", text(&alert, "alert"));
        let severities = match alert["labels"]["severity"].as_str() {
            Some(severity) => vec![severity.to_owned()],
            None => vec!["critical".to_owned(), "warning".to_owned()],
        };
        for severity in severities {
            let receiver = match severity.as_str() {
                "critical" | "warning" => "oncall",
                "ticket" => "tickets",
                _ => "deadman",
            };
            goes(receiver, &[&name, &format!("severity={severity}")]).unwrap();
        }
    }
    goes("oncall", &["alertname=Foreign"]).expect("what has no severity pages all the same");
    goes("tickets", &["severity=critical"]).expect_err("the check itself can fail");
}
