//! Replay as a user runs it: every scenario of the repository, through the real scheduler, judge
//! and detector on virtual time.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

fn replay(args: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    Command::new(env!("CARGO_BIN_EXE_landfall"))
        .arg("replay")
        .args(args)
        .current_dir(root)
        .output()
        .expect("the binary runs")
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    text.lines().map(|line| serde_json::from_str(line).expect("one JSON object a line")).collect()
}

fn scenarios() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let entries = std::fs::read_dir(folder).expect("scenarios");
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    found.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
    found.sort();
    found
}

#[test]
fn every_fault_kind_alone_is_named_right_and_what_is_no_fault_pages_nobody() {
    let files = scenarios();
    assert!(files.len() >= 19);
    let mut args: Vec<&str> = files.iter().map(|path| path.to_str().expect("UTF-8")).collect();
    args.extend(["--format", "json"]);
    let output = replay(&args);
    let missed: Vec<String> = lines(&output)
        .iter()
        .filter(|report| report["pass"] != true || report["false_pages"] != 0)
        .map(|report| format!("{}: {} (false pages: {})", report["scenario"], report["misses"], report["false_pages"]))
        .collect();
    assert!(missed.is_empty(), "{missed:#?}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn real_incidents_are_found_by_name_and_caught() {
    let output = replay(&["2015-08-24", "2016-09-27", "2019-07-30", "2019-09-03", "2019-09-04", "--format", "json"]);
    let reports = lines(&output);
    assert_eq!(reports.len(), 5);
    for report in &reports {
        assert_eq!(report["pass"], true, "{}: {}", report["scenario"], report["misses"]);
    }
    let first = &reports[0];
    assert_eq!(first["suspects"], serde_json::json!({ "worker": "v5" }));
    assert_eq!((&first["outcome"], &first["deploy"]["service"]), (&"lost".into(), &"worker".into()));
    assert!(first["detection_s"].as_f64().is_some_and(|s| s <= 75.0), "on the scenario's own clock: {first}");
}

#[test]
fn the_same_seed_gives_the_same_line_byte_for_byte() {
    let once = replay(&["2015-08-24", "--format", "json"]);
    let twice = replay(&["2015-08-24", "--format", "json"]);
    assert!(!once.stdout.is_empty() && once.stdout == twice.stdout);
}

#[test]
fn seeds_are_summed_up_in_one_line() {
    let output = replay(&["2015-08-24", "--seeds", "4", "--format", "json"]);
    let reports = lines(&output);
    assert_eq!(reports.len(), 1);
    let report = &reports[0];
    assert_eq!(
        (&report["seeds"], &report["wrong_suspects"], &report["false_pages"]),
        (&4.into(), &0.into(), &0.into())
    );
    let of = |name: &str| report[name].as_f64().expect("a number");
    assert!(of("detection_p50_s") <= of("detection_p99_s") && of("detection_p99_s") <= of("detection_max_s"));
    assert!(of("detection_max_s") <= 75.0, "{report}");
}

#[test]
fn a_missed_expectation_is_exit_1_and_an_unreadable_scenario_is_exit_2() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let quiet = write("quiet.toml", "title = \"nothing happens\"\nlasts = \"10m\"\n[expect]\nincidents = 1\n");
    let output = replay(&[&quiet, "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(lines(&output)[0]["misses"][0], "incidents: wanted 1, got 0");

    let broken = write("broken.toml", "title = \"x\"\nlasts = \"10\"\n");
    let output = replay(&[&broken]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(":2:9:") && said.contains("hint:"), "{said}");
    assert_eq!(replay(&["no-such-incident"]).status.code(), Some(2));
}
