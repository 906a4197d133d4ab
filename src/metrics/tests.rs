//! Tests of what a scrape says.

use std::{collections::BTreeMap, sync::Arc};

use super::*;
use crate::canary::{
    CanaryName, Claim, Evidence, LabelName, Labels, Look, Marker, Mode, Phase, Route, Rows, Sighting, Why,
};

const S: fn(u64) -> Duration = Duration::from_secs;

fn metrics() -> Metrics {
    Metrics::new(&BuildInfo { version: "1.2.3".into(), revision: "abc".into() })
}

fn route(canary: &str, platform: &str, target: &str, labels: &[(&str, &str)]) -> Arc<Route> {
    let labels = labels.iter().map(|(name, value)| (LabelName::new(name).expect("valid"), Arc::from(*value)));
    Arc::new(Route::new(
        CanaryName::new(canary).expect("valid"),
        PlatformName::new(platform).expect("valid"),
        TargetName::new(target).expect("valid"),
        Mode::Append,
        Labels::new(labels),
    ))
}

fn watched(route: &Arc<Route>) -> WatchedRoute {
    WatchedRoute { route: route.clone(), objective: S(120), deadline: S(300), detection_bound: S(310) }
}

fn verdict(route: &Route, due: i64, outcome: Outcome, rows: Option<Rows>) -> Verdict {
    let at = |seconds: i64| Timestamp::from_secs(due + seconds);
    let mut evidence = Evidence { submitted_at: Some(at(0)), accepted_at: Some(at(1)), ..Evidence::default() };
    evidence.entered(Phase::Queue, at(1));
    evidence.entered(Phase::Execute, at(3));
    evidence.heard(Claim::Done { rows: Some(20) }, at(9));
    evidence.entered(Phase::Land, at(9));
    if let Some(rows) = rows {
        evidence.saw(Look { started_at: at(10), found: Ok(Sighting { rows, ..Sighting::default() }) });
    }
    Verdict {
        run: Marker::mint(at(0), 7),
        route: route.id,
        due: at(0),
        why: Why::Scheduled,
        outcome,
        phase: None,
        reason: None,
        also: Vec::new(),
        provisional: false,
        seen_late: false,
        agent_away: false,
        at: at(11),
        evidence: Arc::new(evidence),
    }
}

fn landed(route: &Route, due: i64) -> Verdict {
    verdict(route, due, Outcome::Landed, Some(Rows::all_right(20)))
}

/// The value of the one line that starts so.
fn value(text: &str, series: &str) -> Option<f64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let found = lines.next().map(|value| value.parse().expect("a number"));
    assert!(lines.next().is_none(), "{series} is there twice");
    found
}

const WEB: &str = r#"canary="c",platform="p",target="web",mode="append""#;

/// Everything that can be exported is, at least once.
fn busy() -> Metrics {
    let (metrics, web) = (metrics(), route("c", "p", "web", &[("worker", "v5")]));
    metrics.set_routes(&[watched(&web)]);
    metrics.set_notifiers(["oncall"]);
    metrics.verdict(&landed(&web, 60), None);
    metrics.undelivered(&[(IncidentId::typed("inc-1"), Severity::Critical)]);
    metrics.control(&web.target, true);
    metrics.reached(&web.platform, false);
    metrics.begun(S(1));
    metrics.deployed(&Deploy { service: "worker".into(), version: "6".into(), at: Timestamp::from_secs(50) });
    metrics.counted(LedgerCounts { started: 3, settled: 1, pending: 2, oldest_pending: Some(S(4)) });
    metrics.store(true);
    metrics.reloaded(Some(Timestamp::from_secs(7)));
    metrics
}

#[test]
fn every_metric_is_exported_under_its_name_with_type_and_help() {
    let text = busy().render();
    for family in CATALOGUE {
        let Family { name, kind, .. } = family;
        assert_eq!(text.matches(&format!("# HELP {name} {}\n", family.help())).count(), 1, "{name}");
        assert_eq!(text.matches(&format!("# TYPE {name} {kind}\n")).count(), 1, "{name}");
        let series = |line: &str| line.starts_with(&format!("{name}{{")) || line.starts_with(&format!("{name} "));
        let bucket = format!("{name}_bucket{{");
        assert!(text.lines().any(|line| series(line) || line.starts_with(&bucket)), "{name} has no series");
    }
    let families = text.lines().filter(|line| line.starts_with("# TYPE")).count();
    assert_eq!(families, CATALOGUE.len(), "an exported metric is not in the catalogue");
}

#[test]
fn names_and_help_follow_the_conventions_of_prometheus() {
    for family in CATALOGUE {
        let name = family.name;
        assert!(name.starts_with("landfall_") && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        assert_eq!(family.kind == "counter", name.ends_with("_total"), "{name}");
        assert!(!["_ms", "_millis", "_minutes"].iter().any(|unit| name.contains(unit)), "{name}");
        assert!(family.help().ends_with('.') && !family.help().contains(['\n', '\\']), "{name}");
        assert_eq!(name.contains("timestamp"), name.ends_with("_timestamp_seconds"), "{name}");
    }
}

#[test]
fn families_stand_together_and_no_series_is_there_twice() {
    let text = busy().render();
    let mut seen = BTreeMap::new();
    let mut family = "";
    for line in text.lines() {
        if let Some(header) = line.strip_prefix("# TYPE ") {
            family = header.split(' ').next().expect("a name");
        } else if !line.starts_with('#') {
            let (series, number) = line.rsplit_once(' ').expect("series and value");
            assert!(series.starts_with(family), "{series} stands under {family}");
            assert!(number.parse::<f64>().is_ok(), "{line}");
            assert!(seen.insert(series.to_owned(), ()).is_none(), "{series} is there twice");
        }
    }
}

#[test]
fn a_route_without_runs_has_all_its_counters_at_zero_and_no_state() {
    let (metrics, web) = (metrics(), route("c", "p", "web", &[]));
    metrics.set_routes(&[watched(&web)]);
    let text = metrics.render();
    for outcome in Outcome::ALL {
        assert_eq!(value(&text, &format!("landfall_runs_total{{{WEB},outcome=\"{outcome}\"}}")), Some(0.0));
    }
    for state in ["expected", "landed", "missing", "duplicated", "corrupted"] {
        assert_eq!(value(&text, &format!("landfall_rows_total{{{WEB},state=\"{state}\"}}")), Some(0.0));
    }
    assert_eq!(value(&text, &format!("landfall_route_up{{{WEB}}}")), None);
    assert_eq!(value(&text, &format!("landfall_last_landed_timestamp_seconds{{{WEB}}}")), None);
    assert_eq!(value(&text, &format!("landfall_detection_bound_seconds{{{WEB}}}")), Some(310.0));
    let land = r#"landfall_phase_duration_seconds_count{platform="p",target="web",phase="land"}"#;
    assert_eq!(value(&text, land), Some(0.0));
    assert_eq!(value(&text, r#"landfall_incidents_open{severity="critical"}"#), Some(0.0));
}

#[test]
fn a_landed_run_counts_its_rows_its_times_and_the_route_as_up() {
    let text = busy().render();
    assert_eq!(value(&text, &format!("landfall_runs_total{{{WEB},outcome=\"landed\"}}")), Some(1.0));
    assert_eq!(value(&text, &format!("landfall_rows_total{{{WEB},state=\"landed\"}}")), Some(20.0));
    assert_eq!(value(&text, &format!("landfall_route_up{{{WEB}}}")), Some(1.0));
    assert_eq!(value(&text, &format!("landfall_last_landed_timestamp_seconds{{{WEB}}}")), Some(70.0));
    assert_eq!(value(&text, &format!("landfall_last_verdict_timestamp_seconds{{{WEB}}}")), Some(71.0));
    for (phase, seconds) in [("submit", 1.0), ("queue", 2.0), ("execute", 6.0), ("land", 1.0)] {
        let labels = format!(r#"platform="p",target="web",phase="{phase}""#);
        assert_eq!(value(&text, &format!("landfall_phase_duration_seconds_sum{{{labels}}}")), Some(seconds), "{phase}");
    }
    for bound in ["120", "300"] {
        let series = format!(r#"{{platform="p",target="web",phase="land",le="{bound}"}}"#);
        assert_eq!(value(&text, &format!("landfall_phase_duration_seconds_bucket{series}")), Some(1.0));
    }
    assert_eq!(value(&text, &format!("landfall_route_info{{{WEB},worker=\"v5\"}}")), Some(1.0));
    assert_eq!(value(&text, "landfall_oldest_pending_seconds"), Some(4.0));
}

#[test]
fn a_route_is_down_while_red_and_neither_while_nobody_can_see() {
    let (metrics, web) = (metrics(), route("c", "p", "web", &[]));
    metrics.set_routes(&[watched(&web)]);
    let up = || value(&metrics.render(), &format!("landfall_route_up{{{WEB}}}"));
    let mut red = verdict(&web, 60, Outcome::Lost, Some(Rows::none(20)));
    red.provisional = true;
    metrics.verdict(&red, None);
    assert_eq!(up(), Some(0.0));
    let lost = format!("landfall_runs_total{{{WEB},outcome=\"lost\"}}");
    assert_eq!(value(&metrics.render(), &lost), Some(0.0), "a provisional verdict is no final one");
    metrics.verdict(&verdict(&web, 120, Outcome::Unknown, None), None);
    assert_eq!(up(), None);
    red.provisional = false;
    metrics.verdict(&red, None);
    assert_eq!(up(), None, "the newest run decides, not the newest verdict");
    assert_eq!(value(&metrics.render(), &lost), Some(1.0));
}

#[test]
fn a_correction_counts_under_both_outcomes_because_counters_never_fall() {
    let (metrics, web) = (metrics(), route("c", "p", "web", &[]));
    metrics.set_routes(&[watched(&web)]);
    metrics.verdict(&verdict(&web, 60, Outcome::Lost, Some(Rows::none(20))), None);
    metrics.verdict(&verdict(&web, 60, Outcome::Late, Some(Rows::all_right(20))), Some(Outcome::Lost));
    let text = metrics.render();
    for outcome in ["lost", "late"] {
        assert_eq!(value(&text, &format!("landfall_runs_total{{{WEB},outcome=\"{outcome}\"}}")), Some(1.0));
    }
    for (state, n) in [("expected", 20.0), ("missing", 20.0), ("landed", 20.0)] {
        assert_eq!(value(&text, &format!("landfall_rows_total{{{WEB},state=\"{state}\"}}")), Some(n));
    }
    assert_eq!(value(&text, "landfall_corrections_total"), Some(1.0));
}

#[test]
fn counting_goes_on_where_the_ledger_stood() {
    let (metrics, web) = (metrics(), route("c", "p", "web", &[]));
    metrics.resume(&[(web.id, Outcome::Landed, 41)], 3);
    metrics.set_routes(&[watched(&web)]);
    metrics.verdict(&landed(&web, 60), None);
    let text = metrics.render();
    assert_eq!(value(&text, &format!("landfall_runs_total{{{WEB},outcome=\"landed\"}}")), Some(42.0));
    assert_eq!(value(&text, "landfall_corrections_total"), Some(3.0));
}

#[test]
fn series_of_removed_routes_go_and_those_of_kept_ones_stay() {
    let (metrics, web, s3) = (metrics(), route("c", "p", "web", &[]), route("c", "q", "s3", &[]));
    metrics.set_routes(&[watched(&web), watched(&s3)]);
    metrics.verdict(&landed(&web, 60), None);
    metrics.control(&s3.target, false);
    metrics.reached(&s3.platform, true);
    assert!(metrics.render().contains("\"s3\""));
    metrics.set_routes(&[watched(&web)]);
    let text = metrics.render();
    assert!(!text.contains("\"s3\"") && !text.contains("\"q\""));
    assert_eq!(value(&text, &format!("landfall_runs_total{{{WEB},outcome=\"landed\"}}")), Some(1.0));
    metrics.verdict(&landed(&s3, 60), None);
    assert_eq!(metrics.render(), text, "a verdict of a removed route changes nothing");
}

#[test]
fn hostile_label_values_stay_inside_their_quotes() {
    let hostile = "a\"} 1\nlandfall_x{b=\"\\";
    let (metrics, web) =
        (metrics(), route("c", "p", "web", &[("zone-a", hostile), ("zone_a", "2"), ("9lives", "x"), ("canary", "y")]));
    metrics.set_routes(&[watched(&web)]);
    metrics.deployed(&Deploy { service: hostile.into(), version: String::new(), at: Timestamp::from_secs(1) });
    let text = metrics.render();
    let escaped = r#"a\"} 1\nlandfall_x{b=\"\\"#;
    let info = format!(
        r#"landfall_route_info{{{WEB},zone_a="{escaped}",label_zone_a="2",label_9lives="x",label_canary="y"}} 1"#
    );
    assert!(text.lines().any(|line| line == info), "{text}");
    assert!(text.contains(&format!(r#"landfall_deploy_timestamp_seconds{{service="{escaped}"}} 1"#)));
    assert!(!text.lines().any(|line| line.starts_with("landfall_x")));
}

#[test]
fn what_strangers_name_is_bounded() {
    let metrics = metrics();
    for n in 0..1_000 {
        metrics.deployed(&Deploy { service: format!("s{n}"), version: String::new(), at: Timestamp::from_secs(n) });
    }
    let ids: Vec<_> = (0..1_000).map(|n| (IncidentId::typed(&format!("inc-{n}")), Severity::Warning)).collect();
    metrics.undelivered(&ids);
    let text = metrics.render();
    assert_eq!(text.matches("landfall_deploy_timestamp_seconds{").count(), SERVICES);
    assert!(text.contains(r#"service="s999""#));
    assert_eq!(text.matches("landfall_incident_undelivered{").count(), UNDELIVERED);
    metrics.undelivered(&[]);
    assert!(!metrics.render().contains("inc-"));
}

#[test]
fn a_large_fleet_has_a_bounded_number_of_series() {
    let metrics = metrics();
    let routes: Vec<_> =
        (0..10_000).map(|n| watched(&route("c", &format!("p{}", n / 100), &format!("t{}", n % 100), &[]))).collect();
    metrics.set_routes(&routes);
    let series = metrics.render().lines().filter(|line| !line.starts_with('#')).count();
    // 11 outcomes, 5 row states, bound and info; 5 phases × (2 bounds, +Inf, sum, count).
    assert_eq!(series, 10_000 * (11 + 5 + 2 + 25) + series_of_the_rest());
}

fn series_of_the_rest() -> usize {
    metrics().render().lines().filter(|line| !line.starts_with('#')).count()
}

#[test]
fn names_types_and_help_are_those_that_dashboards_and_alerts_were_written_for() {
    let text = metrics().render() + &busy().render();
    let mut heads: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
    heads.sort_unstable();
    heads.dedup();
    let golden: Vec<&str> = include_str!("../../tests/fixtures/metrics.txt").lines().collect();
    assert_eq!(heads, golden, "a deliberate change goes into tests/fixtures/metrics.txt, dashboards and alerts too");
}
