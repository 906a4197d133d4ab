//! The shipped dashboards: their types by Grafana's own schema, their queries by a live Prometheus,
//! their manners by rules of our own. They are not rendered here: there is no Grafana to be had.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, process,
    time::Duration,
};

use landfall::agent::clock::Clock;
use serde_json::Value as Json;

use super::{
    rules::{is_exported, metrics_in},
    stack::{Stack, root, run, shipped},
};

const BOARDS: [&str; 3] = ["landfall-overview", "landfall-route", "landfall-agent"];

/// Panels that the sandbox has nothing for, and why.
const RIGHTLY_EMPTY: [(&str, &str); 2] = [
    ("Last taken", "the only notifier's address is dead: it has taken nothing"),
    ("Coverage gaps", "nobody counts them yet"),
];

/// What Prometheus itself says of each target.
const OF_PROMETHEUS: [&str; 3] = ["up", "scrape_duration_seconds", "scrape_samples_scraped"];

fn board(name: &str) -> Json {
    serde_json::from_str(&shipped(&format!("dashboards/{name}.json"))).expect("JSON")
}

fn list<'j>(json: &'j Json, path: &str) -> Vec<&'j Json> {
    json.pointer(path).and_then(Json::as_array).into_iter().flatten().collect()
}

fn text<'j>(json: &'j Json, name: &str) -> &'j str {
    json[name].as_str().unwrap_or_default()
}

fn panels(board: &Json) -> Vec<&Json> {
    list(board, "/panels").into_iter().filter(|panel| panel["type"] != "row").collect()
}

/// Every query of a dashboard, with the title of where it stands.
fn queries(board: &Json) -> Vec<(String, String)> {
    let of = |panel: &Json| {
        let title = text(panel, "title").to_owned();
        list(panel, "/targets").iter().map(|t| (title.clone(), text(t, "expr").to_owned())).collect::<Vec<_>>()
    };
    let annotations = list(board, "/annotations/list").into_iter().filter(|a| a["expr"].is_string());
    let annotations = annotations.map(|a| (text(a, "name").to_owned(), text(a, "expr").to_owned()));
    panels(board).into_iter().flat_map(of).chain(annotations).collect()
}

#[test]
fn dashboards_have_the_types_of_grafana() {
    let Ok(grafana) = std::env::var("LANDFALL_TEST_GRAFANA") else {
        // Without npm: tests/run says what it installs.
        eprintln!("NOT CHECKED: LANDFALL_TEST_GRAFANA names no folder with @grafana/schema (npm is not there)");
        return;
    };
    let check = |name: &str, boards: &[String]| {
        let mut code = shipped("tests/operations/dashboard_types.ts");
        for (n, json) in boards.iter().enumerate() {
            // `satisfies` must not follow a line break.
            code += &format!("export const dashboard_{n} = {} satisfies OurDashboard;\n", json.trim_end());
        }
        let file = format!("{grafana}/{name}-{}.ts", process::id());
        fs::write(&file, code).expect("written");
        let options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "esnext", "--moduleResolution", "bundler"];
        let args = [&options[..], &["--target", "es2022", &file]].concat();
        let checked = run(&format!("{grafana}/node_modules/.bin/tsc"), &args, &root());
        fs::remove_file(&file).expect("ours");
        checked
    };
    let boards: Vec<String> = BOARDS.iter().map(|name| shipped(&format!("dashboards/{name}.json"))).collect();
    check("all", &boards).unwrap();
    for (right, wrong) in [
        ("\"placement\": \"bottom\"", "\"placement\": \"botom\""),
        ("\"legendFormat\"", "\"legendFormt\""),
        ("\"graphMode\"", "\"graphMod\""),
        ("\"schemaVersion\": 38", "\"schemaVersion\": \"38\""),
    ] {
        let broken = boards[0].replacen(right, wrong, 1);
        assert_ne!(broken, boards[0], "{right}");
        check("broken", &[broken]).expect_err(wrong);
    }
}

#[test]
fn dashboards_name_only_metrics_that_are_exported() {
    for name in BOARDS {
        let board = board(name);
        for (title, query) in queries(&board) {
            let ours = metrics_in(&query);
            assert!(!ours.is_empty() || OF_PROMETHEUS.iter().any(|m| query.starts_with(m)), "{name}, {title}: {query}");
            for metric in ours {
                assert!(is_exported(&metric), "{name}, {title}: {metric} is in no catalogue");
            }
            // A recorded name is there only where the rules are loaded.
            assert!(!query.contains("landfall:"), "{name}, {title}: {query}");
        }
    }
}

#[test]
fn dashboards_are_of_one_manner() {
    let mut uids = BTreeSet::new();
    for name in BOARDS {
        let board = board(name);
        assert_eq!((text(&board, "uid"), &board["editable"]), (name, &Json::Bool(false)));
        assert!(uids.insert(name) && !text(&board, "description").is_empty());
        // The name of the import's input and of the variable is one, so that the same file can be
        // imported by hand and provisioned.
        assert_eq!(board["__inputs"][0]["name"], "DS_PROMETHEUS");
        let variables = list(&board, "/templating/list");
        assert_eq!((text(variables[0], "name"), text(variables[0], "type")), ("DS_PROMETHEUS", "datasource"));
        for variable in &variables[1..] {
            // 2: asked again when the time range changes.
            assert_eq!(variable["refresh"], 2, "{name}, {}", variable["name"]);
            assert!(!text(variable, "description").is_empty(), "{name}, {}", variable["name"]);
        }
        let annotations: Vec<&str> = list(&board, "/annotations/list").iter().map(|a| text(a, "name")).collect();
        assert!(annotations.contains(&"Deploys") && annotations.contains(&"Incidents"), "{name}: {annotations:?}");
        let mut ids = BTreeSet::new();
        for panel in list(&board, "/panels") {
            assert!(ids.insert(panel["id"].as_u64()), "{name}: id {} is there twice", panel["id"]);
        }
        for panel in panels(&board) {
            let title = text(panel, "title");
            assert!(text(panel, "description").len() > 15, "{name}, {title} has no description");
            let unit = panel.pointer("/fieldConfig/defaults/unit").and_then(Json::as_str).unwrap_or_default();
            let units = ["short", "s", "percentunit", "cps", "dateTimeFromNow"];
            assert!(units.contains(&unit), "{name}, {title}: unit `{unit}`");
            for target in list(panel, "/targets") {
                assert_eq!(target["datasource"]["uid"], "${DS_PROMETHEUS}", "{name}, {title}");
                let query = text(target, "expr");
                for rate in ["rate(", "increase("] {
                    for (at, _) in query.match_indices(rate) {
                        let range = query[at..].split('[').nth(1).and_then(|rest| rest.split(']').next());
                        let good = ["$__rate_interval", "$__range", "1h"];
                        assert!(range.is_some_and(|range| good.contains(&range)), "{name}, {title}: {query}");
                    }
                }
                for metric in metrics_in(query).iter().filter(|metric| metric.ends_with("_total")) {
                    assert!(query.contains(&format!("increase({metric}")) || query.contains(&format!("rate({metric}")));
                }
            }
        }
    }
}

/// Runs every query of every dashboard as Grafana would, on a Prometheus that has seen the agent
/// green, red and green again.
pub(super) async fn every_query_finds_something(stack: &Stack) {
    let mut wrong = Vec::new();
    for name in BOARDS {
        let board = board(name);
        let values = variables(&board, stack).await;
        let fill = |query: &str| {
            let mut query = query.to_owned();
            for (variable, value) in &values {
                query = query.replace(&format!("${variable}"), value);
            }
            assert!(!query.contains('$'), "{name}: a variable is not known in {query}");
            query
        };
        for panel in panels(&board) {
            let title = text(panel, "title");
            let mut found = Vec::new();
            for target in list(panel, "/targets") {
                let series = series(stack, &fill(text(target, "expr")), target["instant"] == true).await;
                let series = series.unwrap_or_else(|error| panic!("{name}, {title}: {error}"));
                for label in legend(text(target, "legendFormat")) {
                    if let Some(series) = series.iter().find(|series| series["metric"][&label].is_null()) {
                        wrong.push(format!("{name}, {title}: {} has no label {label}", series["metric"]));
                    }
                }
                found.push(!series.is_empty());
            }
            let rightly = RIGHTLY_EMPTY.iter().any(|(empty, _)| *empty == title);
            if !rightly && found.contains(&false) {
                wrong.push(format!("{name}, {title} is empty"));
            }
        }
        for annotation in list(&board, "/annotations/list").into_iter().filter(|a| a["expr"].is_string()) {
            let series = series(stack, &fill(text(annotation, "expr")), false).await.expect("a good query");
            if series.is_empty() {
                wrong.push(format!("{name}: no annotation {}", annotation["name"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for state in ["0", "1"] {
        let seen = format!("count_over_time((landfall_route_up == {state})[30m:5s])");
        assert!(stack.has(&seen).await, "empty means nothing: no route was seen at {state}");
    }
}

/// What a person would find chosen: all, where all can be chosen, else the first value.
async fn variables(board: &Json, stack: &Stack) -> BTreeMap<String, String> {
    let builtin = [("__rate_interval", "1m"), ("__range", "30m"), ("__interval", "15s")];
    let mut values: BTreeMap<String, String> = builtin.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    for variable in list(board, "/templating/list").into_iter().filter(|variable| variable["type"] == "query") {
        let (name, mut query) = (text(variable, "name"), text(&variable["query"], "query").to_owned());
        for (known, value) in &values {
            query = query.replace(&format!("${known}"), value);
        }
        let inside = query.strip_prefix("label_values(").and_then(|q| q.strip_suffix(')'));
        let (selector, label) = inside.and_then(|q| q.rsplit_once(", ")).unwrap_or_else(|| panic!("{query}"));
        let found = stack.query(&format!("group by ({label}) ({selector})")).await.expect("a good query");
        let mut labels: Vec<&str> = found.iter().filter_map(|series| series["metric"][label].as_str()).collect();
        labels.sort_unstable();
        let first = labels.first().unwrap_or_else(|| panic!("variable {name} has no values: {query}"));
        let value = if variable["includeAll"] == true { text(variable, "allValue") } else { first };
        values.insert(name.to_owned(), value.to_owned());
    }
    values
}

/// The series that a query finds with at least one number.
async fn series(stack: &Stack, query: &str, instant: bool) -> Result<Vec<Json>, String> {
    let now = Clock::System.now();
    let [start, end] = [now.minus(Duration::from_secs(1800)), now].map(|at| at.as_secs_f64().to_string());
    let found = if instant {
        stack.query(query).await?
    } else {
        let form = [("query", query), ("start", &start), ("end", &end), ("step", "5")];
        let data = stack.ask("/api/v1/query_range", &form).await?;
        data["result"].as_array().cloned().unwrap_or_default()
    };
    let is_number = |sample: &Json| sample[1].as_str().is_some_and(|value| value != "NaN");
    let says = |series: &Json| is_number(&series["value"]) || list(series, "/values").into_iter().any(is_number);
    Ok(found.into_iter().filter(says).collect())
}

/// The labels that a legend names.
fn legend(format: &str) -> Vec<String> {
    let parts = format.split("{{").skip(1);
    parts.filter_map(|part| part.split("}}").next()).map(|label| label.trim().to_owned()).collect()
}
