//! The demo and the sandbox as processes at a terminal: the story they tell, and that nothing is left
//! behind however they end.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// Longest wait for anything: builds for tests are slow, machines are busy.
const PATIENCE: Duration = Duration::from_secs(240);
const BEAT: Duration = Duration::from_millis(20);

/// A command with a temporary folder of its own. Killed when its value goes.
struct Ran {
    child: Child,
    folder: TempDir,
}

impl Ran {
    fn start(args: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder");
        fs::create_dir(folder.path().join("tmp")).expect("made");
        let file = |name: &str| File::create(folder.path().join(name)).expect("a file");
        let child = Command::new(env!("CARGO_BIN_EXE_landfall"))
            .args(args)
            .env("TMPDIR", folder.path().join("tmp"))
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .expect("the binary runs");
        Self { child, folder }
    }

    fn told(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).expect("readable")
    }

    /// Names in its temporary folder.
    fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path().join("tmp")).expect("readable");
        entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !holds(self) {
            assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}: {}", self.told("stderr"));
            sleep(BEAT).await;
        }
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().expect("kill runs").success());
    }

    async fn ends(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end: {}", self.told("stderr"));
            sleep(BEAT).await;
        }
    }
}

impl Drop for Ran {
    fn drop(&mut self) {
        // Whoever has ended already is as dead.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn the_demo_catches_the_outage_sees_it_end_and_leaves_nothing_behind() {
    let mut demo = Ran::start(&["demo", "--exit-after-recovery", "--format", "json"]);
    let status = demo.ends().await;
    let (stdout, story) = (demo.told("stdout"), demo.told("stderr"));
    assert_eq!(status.code(), Some(0), "{stdout}\n{story}");
    let last = stdout.lines().last().expect("a line");
    let report: Json = serde_json::from_str(last).expect("JSON");
    assert_eq!((&report["outcome"], &report["suspects"]), (&json!("lost"), &json!({ "worker": "v5" })), "{story}");
    assert!(report["detection_s"].is_number() && report["resolved_s"].is_number(), "{report}");
    // A red run on v6 is a miss.
    assert_eq!((&report["pass"], &report["misses"]), (&json!(true), &json!([])), "{story}");
    assert!(story.contains("PAGE") && story.contains("RESOLVED") && story.contains("after: worker v6.20150824"));
    assert_eq!(demo.left(), [""; 0]);
}

#[tokio::test]
async fn a_demo_that_is_interrupted_could_not_tell_and_leaves_nothing_behind() {
    for (signal, in_its_middle) in [("-TERM", true), ("-INT", true), ("-HUP", true), ("-HUP", false)] {
        let mut demo = Ran::start(&["demo", "--exit-after-recovery", "--format", "json"]);
        match in_its_middle {
            true => demo.until("canaries fly", |demo| demo.told("stderr").contains("canaries fly")).await,
            false => demo.until("it has begun", |demo| !demo.left().is_empty()).await,
        }
        demo.signal(signal);
        let status = demo.ends().await;
        assert_eq!(status.code(), Some(3), "{signal}: {}", demo.told("stderr"));
        assert_eq!((demo.told("stdout"), demo.left()), (String::new(), vec![]), "{signal}");
    }
}

#[tokio::test]
async fn a_sandbox_ends_well_when_it_is_told_to_or_its_terminal_is_closed() {
    for signal in ["-TERM", "-INT", "-HUP"] {
        let mut sandbox = Ran::start(&["sandbox", "--listen", "127.0.0.1:0"]);
        sandbox.until("it greets", |sandbox| sandbox.told("stdout").contains("Ctrl-C ends it")).await;
        assert!(!sandbox.left().is_empty());
        sandbox.signal(signal);
        let status = sandbox.ends().await;
        assert_eq!((status.code(), sandbox.left()), (Some(0), vec![]), "{signal}: {}", sandbox.told("stderr"));
    }
}

#[tokio::test]
async fn what_a_killed_sandbox_left_is_swept_by_the_next_and_a_living_one_keeps_its_own() {
    let mut killed = Ran::start(&["sandbox", "--listen", "127.0.0.1:0"]);
    killed.until("it greets", |sandbox| sandbox.told("stdout").contains("Ctrl-C ends it")).await;
    killed.signal("-KILL");
    killed.ends().await;
    let left = killed.left();
    assert_eq!(left.len(), 1);
    let start = |folder: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
        command.args(["sandbox", "--listen", "127.0.0.1:0"]).env("TMPDIR", folder.join("tmp"));
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs")
    };
    let mut next = [start(killed.folder.path()), start(killed.folder.path())];
    killed
        .until("it is swept and two live", |killed| {
            let now = killed.left();
            !now.contains(&left[0]) && now.iter().filter(|name| name.starts_with("landfall-sandbox.")).count() == 2
        })
        .await;
    for child in &mut next {
        child.kill().expect("killed");
        child.wait().expect("ended");
    }
}

#[tokio::test]
async fn a_sandbox_answers_when_its_config_is_written_and_not_before() {
    let config = TempDir::new().expect("a folder");
    let folder = config.path().to_str().expect("UTF-8");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a free port").port();
    let sandbox = Ran::start(&["sandbox", "--listen", &format!("127.0.0.1:{port}"), "--write-config", folder]);
    sandbox.until("it answers", |_| answers(port)).await;
    for file in ["landfall.toml", "probes/sandbox.toml", "secrets/token"] {
        assert!(config.path().join(file).exists(), "{file}");
    }
}

fn answers(port: u16) -> bool {
    use std::io::{Read, Write};
    let Ok(mut socket) = std::net::TcpStream::connect(("127.0.0.1", port)) else { return false };
    let asked = socket.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut answer = String::new();
    asked.is_ok() && socket.read_to_string(&mut answer).is_ok() && answer.starts_with("HTTP/1.1 200")
}
