//! Every command of the handbook's fenced blocks is run, on a machine of its own for each page, in the order in which
//! it stands there. A command that cannot be says why in its line.

use std::fs;

use tempfile::TempDir;

use super::{
    package::{built, configured},
    service,
    stack::{root, shipped},
};
use crate::fixtures::{machine::Machine, without};

/// What stands in the way of running a command, and is not for want of trying.
const REASONS: [&str; 6] = [
    "a person does it",
    "the test packs the binary that it has",
    "there is no journal",
    "there is no Docker daemon",
    "there is no cluster",
    "it takes minutes",
];

/// A command as it stands on a page.
#[derive(Debug, PartialEq)]
enum Line {
    /// Run; how it may end.
    Run { command: String, exits: Vec<i32> },
    /// Left out, for one of the known reasons.
    NotRun { command: String },
}

/// Every command in blocks of shell. What is neither run nor excused is an error.
fn commands(page: &str) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    let mut fence: Option<&str> = None;
    for line in page.lines() {
        match (fence, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => fence = Some(language),
            (Some(_), Some(_)) => fence = None,
            (Some("sh"), None) if !line.trim().is_empty() => lines.push(read(line.trim())?),
            (Some("" | "bash" | "shell" | "console"), None) => return Err(format!("shell stands in ```sh: {line}")),
            _ => {}
        }
    }
    Ok(lines)
}

fn read(line: &str) -> Result<Line, String> {
    let (command, note) = line.split_once(" # ").unwrap_or((line, ""));
    let command = command.trim().to_owned();
    if let Some(reason) = note.strip_prefix("not run: ") {
        let is_known = REASONS.iter().any(|known| reason.starts_with(known));
        return if is_known { Ok(Line::NotRun { command }) } else { Err(format!("no reason to leave it out: {line}")) };
    }
    let exits = note.strip_prefix("exit ").map(|rest| rest.split(':').next().unwrap_or_default());
    let number = |word: &str| word.parse::<i32>().ok();
    let exits = exits.map_or(vec![0], |exits| exits.split([',', ' ']).filter_map(number).collect());
    if exits.is_empty() { Err(format!("no exit code: {line}")) } else { Ok(Line::Run { command, exits }) }
}

/// Runs a page; answers what each command said. `instead` does what a person would.
fn play(machine: &Machine, page: &str, instead: impl Fn(&str)) -> Vec<(String, String)> {
    let folder = root();
    let folder = folder.to_str().expect("UTF-8");
    let mut story = Vec::new();
    for line in commands(&shipped(page)).unwrap_or_else(|wrong| panic!("{page}: {wrong}")) {
        match line {
            Line::NotRun { command } => instead(&command),
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

#[test]
fn pages_without_a_machine_have_no_commands() {
    for page in ["docs/architecture.md", "docs/comparison.md"] {
        assert_eq!(commands(&shipped(page)).unwrap(), [], "{page}");
    }
}

#[test]
fn a_command_is_run_or_says_why_it_is_not() {
    let page = |line: &str| commands(&format!("```sh\n{line}\n```\n"));
    let run = |command: &str, exits: &[i32]| Line::Run { command: command.to_owned(), exits: exits.to_vec() };
    assert_eq!(page("landfall status  # exit 0, 1 or 3: who knows").unwrap(), [run("landfall status", &[0, 1, 3])]);
    assert_eq!(page("dpkg -i x.deb    # keeps your config").unwrap(), [run("dpkg -i x.deb", &[0])]);
    let left_out = Line::NotRun { command: "docker build .".to_owned() };
    assert_eq!(page("docker build . # not run: there is no Docker daemon here").unwrap(), [left_out]);
    page("landfall status # not run: it is late").expect_err("no known reason");
    commands("```bash\nlandfall status\n```\n").expect_err("another fence would be passed over");
}
