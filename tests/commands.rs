//! Commands as scripts meet them: what they exit with, and what they do when nobody reads.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value as Json;
use tokio::time::{Instant, sleep};

fn landfall(args: &[&str]) -> Output {
    let root = env!("CARGO_MANIFEST_DIR");
    Command::new(env!("CARGO_BIN_EXE_landfall")).args(args).current_dir(root).output().expect("the binary runs")
}

/// A config that names nothing real, with more for its `[agent]`.
fn config(folder: &Path, agent: &str) -> String {
    let path = folder.join("landfall.toml");
    let text = format!(
        r#"
[agent]
{agent}

[platform.presto.treasure-data]
endpoint = "http://127.0.0.1:1"
api_key  = {{ file = "td.key" }}
database = "landfall"
engine   = "presto"

[target.web.webhook]

[canary.result-output]
platforms = ["presto"]
targets   = ["web"]
every     = "1m"
"#
    );
    fs::write(folder.join("td.key"), "1/0123456789abcdef").expect("written");
    fs::write(&path, text).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An agent that answers each request with 200 and the request it got.
fn echo() -> (String, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let serve = move || {
        let mut asked = Vec::new();
        for socket in listener.incoming() {
            let mut socket = socket.expect("a connection");
            let line = first_line(&mut socket);
            let (body, is_last) = (r#"{"incidents":[],"routes":[]}"#, line.starts_with("GET /end"));
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            socket.write_all((head + body).as_bytes()).expect("sent");
            if is_last {
                break;
            }
            asked.push(line);
        }
        asked
    };
    (format!("http://{address}"), thread::spawn(serve))
}

fn first_line(socket: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let n = socket.read(&mut chunk).expect("a request");
        assert!(n > 0, "a whole head");
        request.extend_from_slice(&chunk[..n]);
    }
    String::from_utf8_lossy(&request).lines().next().unwrap_or_default().to_owned()
}

#[test]
fn the_agents_address_may_stand_before_or_after_what_is_to_be_done() {
    let (agent, echo) = echo();
    let agent = agent.as_str();
    for args in [
        ["incidents", "--agent", agent, "inc-1", "resolve", "--because", "drill"],
        ["incidents", "inc-1", "--agent", agent, "resolve", "--because", "drill"],
        ["incidents", "inc-1", "resolve", "--agent", agent, "--because", "drill"],
        ["incidents", "inc-1", "resolve", "--because", "drill", "--agent", agent],
    ] {
        let output = landfall(&args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", said(&output));
    }
    let mut last = TcpStream::connect(agent.trim_start_matches("http://")).expect("connects");
    last.write_all(b"GET /end HTTP/1.1\r\n\r\n").expect("sent");
    let asked = echo.join().expect("served");
    assert_eq!(asked, ["POST /api/v1/incidents/inc%2D1/resolve HTTP/1.1"; 4]);
}

#[test]
fn whoever_closes_stdout_has_seen_enough_and_hears_of_no_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = config(folder.path(), "");
    let file = file.as_str();
    for args in [
        &["replay", "2015-08-24", "2019-09-04", "--format", "json"][..],
        &["replay", "2015-08-24"],
        &["check", "--no-secrets", "-c", file],
        &["check", "--no-secrets", "-c", file, "--format", "json"],
        &["--help"],
        &["replay", "--help"],
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_landfall"))
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        let said = said(&output);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {said}");
        assert!(!said.contains("error") && !said.contains("panic"), "{args:?}: {said}");
    }
}

#[test]
fn a_closed_stderr_is_no_reason_to_panic() {
    for (args, code) in [
        (&["check", "-c", "tests/bad/agent-listen.toml"][..], 2),
        (&["run", "-c", "tests/bad/agent-listen.toml"], 2),
        (&["status", "--agent", "http://127.0.0.1:1"], 3),
        (&["replay", "no-such-incident"], 2),
        (&["no-such-command"], 2),
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_landfall"))
            .args(args)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        drop(child.stderr.take());
        assert_eq!(child.wait().expect("it ends").code(), Some(code), "{args:?}");
    }
}

#[test]
fn a_scenario_that_is_not_text_is_refused_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("latin1.toml");
    fs::write(&path, b"title = \"ok\"\nsource = \"caf\xe9\"\n").expect("written");
    let output = landfall(&["replay", path.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("latin1.toml:2:14: is not UTF-8 from here on"), "{}", said(&output));
}

#[test]
fn a_port_that_somebody_else_has_is_not_the_configs_fault() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    for agent in [format!("listen = \"{address}\""), format!("listen = \"127.0.0.1:0\"\nintake = \"{address}\"")] {
        let output = landfall(&["run", "-c", &config(folder.path(), &agent)]);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(&format!("cannot listen on {address}")) && said.contains("in use"), "{said}");
    }
    let output = landfall(&["sandbox", "--listen", &address.to_string()]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    // An address that no machine has here is a mistake in the config.
    let output = landfall(&["run", "-c", &config(folder.path(), "listen = \"192.0.2.1:9440\"")]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(!folder.path().join("landfall.db").exists(), "nothing is begun before the ports are there");
}

/// A daemon on a port of its own. Killed when its value goes.
struct Daemon {
    child: Child,
    address: String,
}

impl Daemon {
    async fn start(config: &str, log: &Path) -> Self {
        let file = fs::File::create(log).expect("a log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
        command.args(["run", "-c", config]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let mut daemon = Self { child: command.spawn().expect("the binary runs"), address: String::new() };
        daemon.address = soon("it listens", || {
            let text = fs::read_to_string(log).expect("readable");
            let (_, rest) = text.split_once("pages and metrics on http://")?;
            Some(rest.split_once('\n')?.0.to_owned())
        })
        .await;
        daemon
    }

    /// Status line and body of the answer to a GET, under that name.
    fn get(&self, host: &str, path: &str) -> String {
        let mut socket = TcpStream::connect(&self.address).expect("connects");
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("answered");
        answer
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn soon<T>(what: &str, ask: impl Fn() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_agent_answers_to_the_names_that_its_config_lists_and_to_no_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let agent = "listen = \"127.0.0.1:0\"\nname = \"mon-1\"\nhosts = [\"Mon.Example.com\"]";
    let daemon = Daemon::start(&config(folder.path(), agent), &folder.path().join("log")).await;
    for host in ["mon.example.com", "mon.example.com:443", "mon-1", "localhost"] {
        assert!(daemon.get(host, "/healthz").starts_with("HTTP/1.1 200 "), "{host}");
    }
    let refused = daemon.get("example.com", "/healthz");
    assert!(refused.starts_with("HTTP/1.1 421 ") && refused.contains("`hosts` in [agent]"), "{refused}");
}

#[tokio::test]
async fn a_target_that_no_canary_uses_is_not_controlled() {
    let folder = tempfile::tempdir().expect("a folder");
    // Controls begin one after the other, by name.
    let path = config(folder.path(), "listen = \"127.0.0.1:0\"\n[target.spare.webhook]");
    let daemon = Daemon::start(&path, &folder.path().join("log")).await;
    let controlled = |target: &str| {
        daemon.get("localhost", "/metrics").contains(&format!("landfall_target_control_up{{target=\"{target}\"}}"))
    };
    soon("the used target is controlled", || controlled("web").then_some(())).await;
    assert!(!controlled("spare"));
}

#[test]
fn hosts_are_checked_and_a_mistake_has_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let good = config(folder.path(), r#"hosts = ["mon.example.com", "mon", "198.51.100.1", "2001:db8::1", "a_b.c."]"#);
    let output = landfall(&["check", "-c", &good, "--no-secrets", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(serde_json::from_slice::<Json>(&output.stdout).expect("JSON")["ok"], true);
}
