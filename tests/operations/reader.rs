//! Somebody who does what a page says, on a machine of their own, in the order in which it stands there.

use std::fs;

use super::shell::Line;
use crate::fixtures::machine::Machine;

/// A server of a person is a terminal of its own that stays open. It knows nothing of what other terminals exported.
const SERVERS: [&str; 2] = ["landfall run", "landfall sandbox"];

/// The reader, with a shell in which what was exported stays exported, and where it went.
pub(super) struct Reader<'a> {
    pub(super) machine: &'a Machine,
    /// What stands on the page, and what it is here: what a person would fill in, or what would take too long.
    pub(super) instead: Vec<(String, String)>,
}

impl<'a> Reader<'a> {
    /// In a folder, made if it is not there. `landfall` is the tests' own.
    pub(super) fn new(machine: &'a Machine, folder: &str) -> Self {
        fs::copy(env!("CARGO_BIN_EXE_landfall"), machine.file("/usr/local/bin/landfall")).expect("copied");
        machine.run(&format!("mkdir -p '{folder}'; cd '{folder}'; pwd >/tmp/reader.folder; : >/tmp/reader.exports"));
        Self { machine, instead: Vec::new() }
    }

    /// Fills something in.
    pub(super) fn fill(mut self, on_the_page: &str, here: &str) -> Self {
        self.instead.push((on_the_page.to_owned(), here.to_owned()));
        self
    }

    fn filled(&self, text: &str) -> String {
        self.instead.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    /// Does all of it; answers each command with what it said. Panics where a page is wrong.
    pub(super) fn follow(&self, page: &str, lines: &[Line]) -> Vec<(String, String)> {
        let mut story = Vec::new();
        for line in lines {
            match line {
                Line::NotRun { command } => println!("{page}: not run: {command}"),
                Line::File { name, text } => self.write(name, &self.filled(text)),
                Line::Run { command, exits } => {
                    let (code, said) = self.run(&self.filled(command));
                    println!("{page}: $ {command}\n{said}");
                    let told: Vec<&String> = story.iter().map(|(command, _)| command).collect();
                    assert!(exits.contains(&code), "{page}: `{command}` ended with {code}, after {told:?}\n{said}");
                    story.push((command.clone(), said));
                }
            }
        }
        story
    }

    /// A file, where the reader is.
    fn write(&self, name: &str, text: &str) {
        let folder = self.machine.run("cat /tmp/reader.folder");
        let path = if name.starts_with('/') { name.to_owned() } else { format!("{}/{name}", folder.trim()) };
        self.machine.run(&format!("mkdir -p \"$(dirname '{path}')\""));
        fs::write(self.machine.file(&path), text).expect("written");
    }

    /// A line of shell. A server has a terminal of its own, unless it goes to the background of the reader's.
    pub(super) fn run(&self, line: &str) -> (i32, String) {
        match (line.strip_suffix('&'), server_of(line)) {
            (Some(server), _) => self.shell(&left_running(server.trim())),
            (None, Some(_)) => self.terminal(&left_running(line)),
            (None, None) => self.shell(line),
        }
    }

    /// In the terminal that the reader has.
    fn shell(&self, line: &str) -> (i32, String) {
        self.terminal(&format!(
            ". /tmp/reader.exports\n\
             trap 'code=$?; export -p >/tmp/reader.exports; pwd >/tmp/reader.folder; exit $code' EXIT\n{line}"
        ))
    }

    /// In a terminal that was just opened, in the same folder: nothing is exported in it.
    fn terminal(&self, line: &str) -> (i32, String) {
        let folder = self.machine.run("cat /tmp/reader.folder");
        self.machine.try_run_in(folder.trim(), &format!("set -o pipefail\n{line}"))
    }

    /// Waits until every route of the agent has landed; what the agent says of them.
    pub(super) fn landed(&self) -> String {
        let (code, said) = self.shell(
            "for _ in $(seq 400); do\n\
             \x20   routes=$(curl -fsS http://127.0.0.1:9440/api/v1/routes) || routes=\n\
             \x20   case $routes in *'\"canary\"'*) case $routes in\n\
             \x20       *'\"last_landed_at\":null'*) ;; *) echo \"$routes\"; exit 0 ;;\n\
             \x20   esac ;; esac\n\
             \x20   sleep 0.5\ndone\necho \"$routes\"; cat /tmp/run.log; exit 1",
        );
        assert_eq!(code, 0, "not every route has landed\n{said}");
        said
    }
}

/// The server that a line starts in the end, if it is one.
pub(super) fn server_of(line: &str) -> Option<&'static str> {
    let last = line.rsplit("&& ").next().unwrap_or(line);
    SERVERS.into_iter().find(|server| last.starts_with(server))
}

/// Shell that starts it in the background and waits until it answers, where it is known how.
fn left_running(line: &str) -> String {
    let (name, answers) = match server_of(line) {
        Some("landfall run") => ("run", "curl -fsS http://127.0.0.1:9440/readyz"),
        Some("landfall sandbox") => ("sandbox", "grep -q 'Ctrl-C ends it' /tmp/sandbox.log"),
        _ => ("server", "sleep 1"),
    };
    let line = line.replace('\'', r"'\''");
    format!(
        "setsid bash -c '{line}' >/tmp/{name}.log 2>&1 </dev/null &\n\
         for _ in $(seq 300); do\n\
         \x20   {{ {answers}; }} >/dev/null 2>&1 && exit 0\n\
         \x20   kill -0 $! 2>/dev/null || break\n\
         \x20   sleep 0.2\ndone\ncat /tmp/{name}.log; exit 1"
    )
}
