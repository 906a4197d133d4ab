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
fn whatever_is_broken_is_named_right_and_whatever_is_not_pages_nobody() {
    let files = scenarios();
    assert!(files.len() >= 40);
    // Two processes, since a replay plays one scenario after the other.
    let half = |nth: usize| {
        let mut args: Vec<&str> = files.iter().skip(nth).step_by(2).map(|path| path.to_str().expect("UTF-8")).collect();
        args.extend(["--format", "json"]);
        replay(&args)
    };
    let outputs = std::thread::scope(|scope| {
        let other = scope.spawn(|| half(1));
        [half(0), other.join().expect("plays")]
    });
    let reports: Vec<Value> = outputs.iter().flat_map(lines).collect();
    assert_eq!(reports.len(), files.len());
    let missed: Vec<String> = reports
        .iter()
        .filter(|report| report["pass"] != true || report["false_pages"] != 0)
        .map(|report| format!("{}: {} (false pages: {})", report["scenario"], report["misses"], report["false_pages"]))
        .collect();
    assert!(missed.is_empty(), "{missed:#?}");
    assert!(outputs.iter().all(|output| output.status.code() == Some(0)));
}

#[test]
fn the_false_return_of_an_outage_does_not_spend_the_page_of_a_true_one() {
    let file = scenarios().into_iter().find(|path| path.ends_with("old-again-after-it-was-late.toml")).expect("there");
    let output = replay(&[file.to_str().expect("UTF-8"), "--format", "json"]);
    // The outage; its return, which turns out to be another fault; that one; and its return for good.
    assert_eq!((&lines(&output)[0]["incidents"], &lines(&output)[0]["pages"]), (&2.into(), &4.into()), "{output:?}");
}

/// A config with a canary of its own, whose keys are nowhere to be found.
const OWN: &str = r#"
[platform.eu.treasure-data]
endpoint = "https://api.eu01.treasuredata.com"
api_key  = { env = "LANDFALL_TEST_NO_SUCH_KEY" }
database = "landfall"
engine   = "trino"
[platform.eu]
labels = { region = "eu" }

[platform.us.treasure-data]
endpoint = "https://api.treasuredata.com"
api_key  = { file = "no-such-file.key" }
database = "landfall"
engine   = "trino"
[platform.us]
labels = { region = "us" }

[target.inbox.webhook]
[target.inbox]
labels = { team = "blue" }
[target.outbox.webhook]

[canary.ours]
platforms = ["eu", "us"]
targets   = ["inbox", "outbox"]
modes     = ["append"]
every     = "2m"
objective = "1m"
deadline  = "4m"
sample    = { rows = 5 }
"#;

#[test]
fn a_scenario_is_played_against_the_users_own_canaries() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let config = write("landfall.toml", OWN);
    let scenario = |selector: &str, expect: &str| {
        format!(
            "title = \"lost\"\nlasts = \"3h\"\n[[fault]]\nkind = \"drop-output\"\nfrom = \"90m\"\n\
             where = {{ {selector} }}\n[expect]\nincidents = 1\noutcome = \"lost\"\nsuspects = {{ {expect} }}\n"
        )
    };
    let region = write("region.toml", &scenario("region = \"eu\"", "platform = \"eu\""));
    let team = write("team.toml", &scenario("team = \"blue\"", "target = \"inbox\""));
    let output = replay(&["-c", &config, &region, &team, "--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let reports = lines(&output);
    assert_eq!(reports[0]["suspects"], serde_json::json!({ "region": "eu" }));
    assert_eq!(reports[1]["suspects"], serde_json::json!({ "team": "blue" }));
    // Four routes, each every two minutes, and what was asked for to confirm.
    assert!(reports.iter().all(|report| (350..=370).contains(&report["runs"].as_u64().expect("a number"))));

    // What is about others' routes is not about theirs.
    let output = replay(&["-c", &config, "2015-08-24"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("no route has a label `worker`") && said.contains("region"), "{said}");
    assert_eq!(replay(&[&region]).status.code(), Some(2), "and theirs is not about the default world's");

    let broken = write("broken.toml", &OWN.replace("every     = \"2m\"", "every     = \"2\""));
    let output = replay(&["-c", &broken, &region]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 mistake in the config"), "{output:?}");
}

#[test]
fn an_agent_that_is_away_sends_no_runs_and_is_not_told_of_what_it_missed() {
    let folder = tempfile::tempdir().expect("a folder");
    let runs = |agent: &str| {
        let path = folder.path().join("agent.toml");
        let text = format!("title = \"t\"\nlasts = \"40m\"\n{agent}\n[expect]\nincidents = 0\n");
        std::fs::write(&path, text).expect("written");
        let output = replay(&[path.to_str().expect("UTF-8"), "--format", "json"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        lines(&output)[0]["runs"].as_u64().expect("a number")
    };
    let event = |does: &str| format!("[[agent]]\nat = \"20m\"\n{does}");
    let always = runs("");
    // Six routes fly once a minute.
    for away in ["does = \"restart\"\nfor = \"10m\"", "does = \"stall\"\nfor = \"10m\""] {
        let left = runs(&event(away));
        assert!((always - 60..=always - 48).contains(&left), "{left} of {always} with {away}");
    }
    let ahead = runs(&event("does = \"clock-step\"\nby = \"10m\""));
    assert!((always..=always + 60).contains(&ahead), "{ahead} of {always}: its day is not longer, only its clock is");
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
