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
    let (interval, since) = (S(60), Timestamp::from_secs(10));
    WatchedRoute { route: route.clone(), objective: S(120), deadline: S(300), detection_bound: S(310), interval, since }
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

fn gaps<const N: usize>(of: [(&str, Option<&str>, Option<Mode>, u64); N]) -> BTreeMap<Uncovered, u64> {
    let platform = PlatformName::new("p").expect("a name");
    let way = |(engine, kind, mode, jobs): (&str, Option<&str>, Option<Mode>, u64)| {
        let (engine, target_kind) = (engine.to_owned(), kind.map(str::to_owned));
        let (engine_version, pool, schemes) = (None, None, None);
        let platform = platform.clone();
        (Uncovered { platform, engine, engine_version, pool, schemes, target_kind, mode }, jobs)
    };
    of.into_iter().map(way).collect()
}

#[test]
fn ways_without_a_route_are_counted_until_they_have_one_and_only_the_most_used() {
    let metrics = metrics();
    let of = |labels: &str| format!("landfall_coverage_gap{{platform=\"p\",{labels}}}");
    let postgresql = of(r#"engine="presto",target_kind="postgresql",mode="replace""#);
    metrics.uncovered(gaps([("presto", Some("postgresql"), Some(Mode::Replace), 12), ("hive", None, None, 3)]));
    assert_eq!(value(&metrics.render(), &postgresql), Some(12.0));
    assert_eq!(value(&metrics.render(), &of(r#"engine="hive",target_kind="none",mode="unknown""#)), Some(3.0));
    // What tells gaps apart tells series apart.
    let [(usual, jobs)] = gaps([("hive", None, None, 3)]).into_iter().collect::<Vec<_>>().try_into().expect("one");
    let newer = Uncovered { engine_version: Some("4".to_owned()), ..usual.clone() };
    let pooled = Uncovered { pool: Some("big".to_owned()), schemes: Some("tableau".to_owned()), ..usual.clone() };
    metrics.uncovered([usual, newer, pooled].map(|way| (way, jobs)).into());
    for more in ["", ",engine_version=\"4\"", ",pool=\"big\",scheme=\"tableau\""] {
        let series = of(&format!("engine=\"hive\",target_kind=\"none\",mode=\"unknown\"{more}"));
        assert_eq!(value(&metrics.render(), &series), Some(3.0), "{more}");
    }
    metrics.uncovered(BTreeMap::new());
    assert_eq!(value(&metrics.render(), &postgresql), None);
    let engines: Vec<String> = (0..150).map(|n| format!("e{n}")).collect();
    let many = engines.iter().zip(0..).map(|(engine, jobs)| (engine.as_str(), Some("sftp"), Some(Mode::Append), jobs));
    metrics.uncovered(many.flat_map(|way| gaps([way])).collect());
    let text = metrics.render();
    assert_eq!(text.lines().filter(|line| line.starts_with("landfall_coverage_gap{")).count(), 100);
    assert!(text.contains("e149") && !text.contains("\"e49\""), "{text}");
}

/// Everything that can be exported is, at least once.
fn busy() -> Metrics {
    let (metrics, web) = (metrics(), route("c", "p", "web", &[("worker", "v5")]));
    let replaced =
        Route::new(web.canary.clone(), web.platform.clone(), web.target.clone(), Mode::Replace, Labels::default());
    metrics.set_routes(&[watched(&web), watched(&Arc::new(replaced))]);
    metrics.set_paused([web.id], Timestamp::EPOCH);
    metrics.set_notifiers(["oncall"]);
    metrics.notified("oncall", Told::Accepted);
    metrics.accepted("oncall", Timestamp::from_secs(90));
    metrics.notifications_pending(2);
    metrics.notifications_wait_since(Some(Timestamp::from_secs(70)));
    metrics.drilled(Timestamp::from_secs(20), [("oncall", true)]);
    metrics.silences(1);
    metrics.set_heartbeat(Some(S(60)));
    metrics.scraped(Timestamp::from_secs(100), Some(Timestamp::from_secs(99)));
    metrics.verdict(&landed(&web, 60), None);
    metrics.undelivered(&[(IncidentId::typed("inc-1"), Severity::Critical)]);
    metrics.control(&web.target, true);
    metrics.reached(&web.platform, false);
    metrics.begun(S(1));
    metrics.deployed(&Deploy { service: "worker".into(), version: "6".into(), at: Timestamp::from_secs(50) });
    metrics.counted(LedgerCounts { started: 3, settled: 1, pending: 2, oldest_pending: Some(S(4)) });
    metrics.uncovered(gaps([("presto", Some("postgresql"), Some(Mode::Replace), 12), ("hive", None, None, 3)]));
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
        let has_series = text.lines().any(|line| series(line) || line.starts_with(&bucket));
        assert!(has_series, "{name}");
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
fn every_notifier_has_its_counters_at_zero_and_those_taken_out_have_none() {
    let metrics = metrics();
    assert!(!metrics.render().contains("landfall_drill_last"), "nobody to tell, nothing to drill");
    metrics.set_notifiers(["mail", "oncall"]);
    metrics.notified("oncall", Told::Refused);
    metrics.drilled(Timestamp::from_secs(5), [("oncall", false), ("stranger", true)]);
    let text = metrics.render();
    let series =
        |name: &str, result: &str| format!("landfall_notifications_total{{notifier=\"{name}\",result=\"{result}\"}}");
    for (name, result, n) in
        [("mail", "accepted", 0.0), ("mail", "failed", 0.0), ("mail", "refused", 0.0), ("oncall", "refused", 1.0)]
    {
        assert_eq!(value(&text, &series(name, result)), Some(n), "{name} {result}");
    }
    assert_eq!(value(&text, "landfall_drill_last_confirmed_timestamp_seconds"), Some(0.0), "0 is never");
    assert_eq!(value(&text, "landfall_drill_last_sent_timestamp_seconds"), Some(5.0));
    assert_eq!(value(&text, r#"landfall_drill_accepted{notifier="oncall"}"#), Some(0.0));
    assert_eq!(value(&text, r#"landfall_drill_accepted{notifier="mail"}"#), None, "it was not asked");
    assert_eq!(value(&text, r#"landfall_notifier_last_accepted_timestamp_seconds{notifier="mail"}"#), None);
    metrics.set_notifiers(["oncall"]);
    metrics.notified("mail", Told::Failed);
    let text = metrics.render();
    assert!(!text.contains("\"mail\"") && !text.contains("stranger"));
    assert_eq!(value(&text, &series("oncall", "refused")), Some(1.0), "one that stays goes on counting");
}

#[test]
fn a_notification_that_waits_grows_older_although_nobody_says_so() {
    let metrics = metrics();
    let age = |now: i64| {
        metrics.scraped(Timestamp::from_secs(now), None);
        value(&metrics.render(), "landfall_notifications_oldest_pending_seconds")
    };
    assert_eq!(age(100), Some(0.0));
    metrics.notifications_wait_since(Some(Timestamp::from_secs(100)));
    assert_eq!((age(130), age(190)), (Some(30.0), Some(90.0)));
    assert_eq!(age(40), Some(0.0), "a clock that was stepped back makes no age");
}

#[test]
fn a_heartbeat_is_exported_only_where_there_is_one() {
    let metrics = metrics();
    let at = || value(&metrics.render(), "landfall_heartbeat_last_success_timestamp_seconds");
    assert_eq!(at(), None);
    metrics.set_heartbeat(Some(S(60)));
    assert_eq!(at(), Some(0.0));
    metrics.heartbeat(Timestamp::from_secs(9));
    metrics.set_heartbeat(Some(S(60)));
    assert_eq!(at(), Some(9.0));
    metrics.set_heartbeat(None);
    assert_eq!(at(), None);
}

#[test]
fn a_paused_route_says_so_only_while_it_is() {
    let (metrics, web) = (metrics(), route("c", "p", "web", &[]));
    let paused = || value(&metrics.render(), &format!("landfall_route_paused{{{WEB}}}"));
    let since = || value(&metrics.render(), &format!("landfall_route_watched_since_timestamp_seconds{{{WEB}}}"));
    metrics.set_paused([web.id], Timestamp::from_secs(20));
    metrics.set_routes(&[watched(&web)]);
    assert_eq!(paused(), Some(1.0), "whichever is said first");
    metrics.set_routes(&[watched(&web)]);
    assert_eq!((paused(), since()), (Some(1.0), Some(10.0)));
    metrics.set_paused([], Timestamp::from_secs(70));
    assert_eq!((paused(), since()), (None, Some(70.0)), "nothing can have landed while it was paused");
    metrics.set_paused([], Timestamp::from_secs(90));
    assert_eq!(since(), Some(70.0));
}

#[test]
fn a_route_is_watched_since_it_came_not_since_the_last_reload() {
    let (metrics, web, s3) = (metrics(), route("c", "p", "web", &[]), route("c", "p", "s3", &[]));
    metrics.set_routes(&[watched(&web)]);
    let later = |route| WatchedRoute { since: Timestamp::from_secs(500), ..watched(route) };
    metrics.set_routes(&[later(&web), later(&s3)]);
    let text = metrics.render();
    let since = |target: &str| {
        let labels = WEB.replace("web", target);
        value(&text, &format!("landfall_route_watched_since_timestamp_seconds{{{labels}}}"))
    };
    assert_eq!((since("web"), since("s3")), (Some(10.0), Some(500.0)));
    assert_eq!(value(&text, &format!("landfall_route_interval_seconds{{{WEB}}}")), Some(60.0));
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
    // 11 outcomes, 5 row states, bound, interval, since and info; 5 phases × (2 bounds, +Inf, sum, count).
    assert_eq!(series, 10_000 * (11 + 5 + 4 + 25) + series_of_the_rest());
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
