//! Every command of the handbook's fenced blocks is run, on a machine of its own for each page, in the order in which
//! it stands there. A command that cannot be says why in its line.

use std::{fs, process::Command};

use tempfile::TempDir;

use super::{
    guide,
    package::{built, configured},
    reader::Reader,
    service,
    shell::{Line, commands, section},
    stack::{root, shipped},
};
use crate::fixtures::{machine::Machine, without};

/// Runs a page; answers what each command said. `instead` does what a person would.
fn play(machine: &Machine, page: &str, instead: impl Fn(&str)) -> Vec<(String, String)> {
    let folder = root();
    let folder = folder.to_str().expect("UTF-8");
    let mut story = Vec::new();
    for line in commands(&shipped(page)).unwrap_or_else(|wrong| panic!("{page}: {wrong}")) {
        match line {
            Line::NotRun { command } => instead(&command),
            Line::File { name, .. } => panic!("{page}: nobody writes {name}"),
            Line::Run { command, exits } => {
                // The binary of the tests stands for a release's, and nothing waits for xz.
                let run = command
                    .replace("target/release/landfall", "/tmp/landfall")
                    .replace("packaging/deb /tmp/landfall", "packaging/deb /tmp/landfall -Z none");
                let (code, said) = machine.try_run_in(folder, &format!("export TD_API_KEY=0/1; {run}"));
                assert!(exits.contains(&code), "{page}: `{command}` ended with {code}\n{said}");
                story.push((command, said));
            }
        }
    }
    story
}

/// A machine that has a release to install.
fn machine() -> Machine {
    let machine = Machine::start();
    fs::copy(env!("CARGO_BIN_EXE_landfall"), machine.file("/tmp/landfall")).expect("copied");
    machine
}

#[test]
fn the_page_about_operations_does_what_it_says() {
    if without("dpkg") {
        return;
    }
    let machine = machine();
    service::stand_in(&machine, "/usr/lib/systemd/system/landfall.service");
    let story = play(&machine, "docs/operations.md", |command| {
        if command.starts_with("editor ") {
            machine.run("rm /etc/landfall/probes/*.toml");
            configured(&machine);
        }
    });
    // What was known when the copy was made is known again, and was not for want of a restore.
    let silences: Vec<&String> =
        story.iter().filter(|(command, _)| command == "landfall silence list").map(|(_, said)| said).collect();
    assert!(silences.len() == 2 && silences[0].contains("work on the rack"), "{silences:?}");
    assert_eq!(silences[0], silences[1]);
    machine
        .run("! dpkg -s landfall; test ! -e /etc/landfall; test ! -e /var/lib/landfall; test -e /var/backups/landfall");
}

#[test]
fn the_page_about_security_does_what_it_says() {
    if without("dpkg") {
        return;
    }
    let (folder, machine) = (TempDir::new().expect("a folder"), machine());
    fs::copy(built(folder.path()), machine.file("/tmp/landfall.deb")).expect("copied");
    machine.run("dpkg -i /tmp/landfall.deb");
    service::stand_in(&machine, "/usr/lib/systemd/system/landfall.service");
    configured(&machine);
    machine.run("systemctl start landfall");
    play(&machine, "docs/security.md", |_| ());
}

#[test]
fn the_page_about_other_ways_in_does_what_it_says() {
    if without("dpkg") {
        return;
    }
    let machine = machine();
    service::stand_in(&machine, "/etc/systemd/system/landfall.service");
    play(&machine, "packaging/README.md", |command| {
        if command.starts_with("editor ") {
            configured(&machine);
        }
    });
}

/// A world that some pages speak of: the sandbox and an agent that watches it, customers' jobs, and an incident that is over.
const OUTAGE: &str = r#"
    set -e
    api=http://127.0.0.1:8440 agent=http://127.0.0.1:9440
    post() { curl -fsS "$api/sandbox/$1" -H 'content-type: application/json' -d "$2"; }
    until_it() { for _ in $(seq 400); do ! eval "$1" || return 0; sleep 0.25; done; echo "never: $1"; exit 1; }
    incidents() { curl -fsS $agent/api/v1/incidents; }
    until_it '! curl -fsS $agent/api/v1/routes | grep -q \"last_landed_at\":null'
    post customers '{"jobs": 50, "over": "1h"}' >/dev/null
    post faults '{"kind": "drop-output", "where": {"worker": "v5"}}' >/dev/null
    until_it 'incidents | grep -q \"id\"'
    curl -fsS -X DELETE $api/sandbox/faults/0 >/dev/null
    until_it '! incidents | grep -q \"resolved_at\":null'
    incidents | sed 's/.*"id":"\([^"]*\)".*/\1/'
"#;

#[test]
fn pages_about_a_running_agent_do_what_they_say() {
    if without("dpkg") {
        return;
    }
    let machine = Machine::start();
    let reader = Reader::new(&machine, "/root/try");
    for server in ["landfall sandbox --write-config .", "landfall run -c landfall.toml"] {
        let (code, said) = reader.run(server);
        assert_eq!(code, 0, "{server}: {said}");
    }
    machine.run("cp /root/try/secrets/token /root/try/token");
    let (code, incident) = reader.run(OUTAGE);
    assert_eq!(code, 0, "{incident}");
    let reader = reader.fill("INCIDENT", incident.trim()).fill("inc-0abc", incident.trim());
    reader.run("export LANDFALL_TOKEN=$(cat token)");
    for page in ["docs/impact.md", "docs/coverage.md", "docs/power.md"] {
        let lines = commands(&shipped(page)).unwrap_or_else(|wrong| panic!("{page}: {wrong}"));
        assert!(!lines.is_empty(), "{page} has no commands any more");
        reader.follow(page, &lines);
    }
}

#[test]
fn the_page_about_alerts_does_what_it_says() {
    if without("dpkg") {
        return;
    }
    let machine = Machine::start();
    let reader = Reader::new(&machine, root().join("alerts").to_str().expect("UTF-8"));
    reader.follow("alerts/README.md", &commands(&shipped("alerts/README.md")).expect("commands"));
    machine.run(&format!("grep -q wiki.example.com '{}'", root().join("alerts/landfall.rules.yml").display()));
}

/// Somebody's own canaries, over the worlds of scenarios.
const CANARIES: &str = r#"
[platform.presto]
labels = { engine = "presto", worker = "v5" }
[platform.presto.treasure-data]
endpoint = "http://127.0.0.1:9"
api_key  = { file = "key" }
database = "landfall"
engine   = "presto"

[platform.hadoop2]
labels = { engine = "hive", worker = "v6" }
[platform.hadoop2.treasure-data]
endpoint = "http://127.0.0.1:9"
api_key  = { file = "key" }
database = "landfall"
engine   = "hive"

[target.web.webhook]

[canary.mine]
platforms = ["presto", "hadoop2"]
targets   = ["web"]
modes     = ["append"]
every     = "1m"
"#;

/// Commands of the README that no test can run, and why.
const NOT_OF_A_TEST: [(&str, &str); 2] = [
    ("cargo run --release -- demo", "tests/demo.rs runs the demo, with the binary that it has"),
    ("tests/run", "it is what runs this"),
];

#[test]
fn the_readme_does_what_it_says() {
    if without("dpkg") {
        return;
    }
    let readme = shipped("README.md");
    // The guide has a test of its own.
    let rest = readme.replace(section(&readme, guide::HEADLINE).unwrap_or("\0"), "");
    let mut lines = commands(&rest).expect("commands");
    for (command, why) in NOT_OF_A_TEST {
        let before = lines.len();
        lines.retain(|line| !matches!(line, Line::Run { command: run, .. } if run == command));
        assert!(lines.len() < before, "the README has no `{command}` any more, which was not run because {why}");
    }
    let machine = Machine::start();
    // A debug build takes its time for a hundred worlds.
    let reader =
        Reader::new(&machine, "/root/readme").fill("--seeds 1000", "--seeds 2").fill("--seeds 100", "--seeds 2");
    fs::write(machine.file("/root/readme/landfall.toml"), CANARIES).expect("written");
    machine.run("printf secret >/root/readme/key");
    let scenario = root().join("tests/scenarios/drop-output.toml");
    machine.run(&format!("cp '{}' /root/readme/my-fault.toml", scenario.display()));
    machine.run("printf 'worker,engine,green,red\nv5,hive,0,40\nv6,hive,40,0\n' >/root/readme/jobs.csv");
    reader.follow("README.md", &lines);
}

/// Pages whose commands a test runs.
const PLAYED: [&str; 9] = [
    "README.md",
    "alerts/README.md",
    "docs/coverage.md",
    "docs/impact.md",
    "docs/operations.md",
    // By tests/maintenance/paging.rs.
    "docs/paging.md",
    "docs/power.md",
    "docs/security.md",
    "packaging/README.md",
];

/// Every page that is shipped.
fn pages() -> Vec<String> {
    let docs = fs::read_dir(root().join("docs")).expect("a folder").map(|entry| entry.expect("a file").path());
    let docs = docs.filter(|path| path.extension().is_some_and(|is| is == "md"));
    let named = docs.map(|path| format!("docs/{}", path.file_name().expect("a name").to_string_lossy()));
    let readmes = ["README.md", "alerts/README.md", "dashboards/README.md", "packaging/README.md"].map(str::to_owned);
    let mut pages: Vec<String> = named.chain(readmes).collect();
    pages.sort();
    pages
}

#[test]
fn every_page_with_commands_is_played() {
    let is_command = |line: &Line| !matches!(line, Line::File { .. });
    let mut with_commands = Vec::new();
    for page in pages() {
        let lines = commands(&shipped(&page)).unwrap_or_else(|wrong| panic!("{page}: {wrong}"));
        if lines.iter().any(is_command) {
            with_commands.push(page);
        }
    }
    assert_eq!(with_commands, PLAYED, "pages with commands, and those that a test runs");
}

/// `landfall …` in a sentence, between backticks.
fn in_sentences(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut in_fence = false;
    let mut prose = String::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        } else if !in_fence {
            prose.push_str(line.trim());
            prose.push(' ');
        }
    }
    found.extend(prose.split('`').skip(1).step_by(2).filter(|code| code.starts_with("landfall ")).map(str::to_owned));
    found
}

#[test]
fn a_command_in_a_sentence_is_one_that_there_is() {
    let help = |words: &[&str]| {
        let done = Command::new(env!("CARGO_BIN_EXE_landfall")).args(words).arg("--help").output().expect("it runs");
        done.status.success().then(|| String::from_utf8_lossy(&done.stdout).into_owned())
    };
    let mut wrong = Vec::new();
    for page in pages() {
        for command in in_sentences(&shipped(&page)) {
            let words: Vec<&str> = command.split_whitespace().skip(1).collect();
            let begin = words.iter().position(|word| word.starts_with('-')).unwrap_or(words.len());
            let Some(text) = help(&words[..begin]) else {
                wrong.push(format!("{page}: there is no `{command}`"));
                continue;
            };
            let flags =
                words.iter().filter(|word| word.starts_with("--")).map(|flag| flag.trim_end_matches([',', '.']));
            wrong.extend(
                flags.filter(|flag| !text.contains(flag)).map(|flag| format!("{page}: `{command}`: no {flag}")),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
