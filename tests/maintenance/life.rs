//! Signs of life: the heartbeat, and what systemd is told.

use std::{
    collections::BTreeSet,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};

use crate::fixtures::{
    daemon::{Watched, edit},
    stand_in::{Answer, StandIn},
};

const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signs_of_life_are_sent_and_their_address_is_nowhere() {
    let service = StandIn::start().await;
    service.says("POST /ping/hunter2", [Answer::raw(200, "OK")]);
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("ping");
    std::fs::write(&secret, format!("{}/ping/hunter2\n", service.url)).expect("written");
    let more = format!(
        "\n[agent.heartbeat]\nurl = {{ file = \"{}\" }}\nevery = \"5s\"\nmethod = \"POST\"\n",
        secret.display()
    );
    let watched = Watched::start_with(|probes| probes, &more, Vec::new()).await;
    let beats = || service.heard().iter().filter(|heard| heard.line == "POST /ping/hunter2").count();
    let some = async |_: &Watched| (beats() >= 2).then_some(());
    watched.until("it beats", SOON, some).await;
    let metrics = watched.metrics().await;
    let last = metrics.lines().find_map(|line| line.strip_prefix("landfall_heartbeat_last_success_timestamp_seconds "));
    assert!(last.is_some_and(|last| last.parse::<f64>().expect("a number") > 1.7e9), "{last:?}");
    assert!(!watched.log().contains("hunter2") && !metrics.contains("hunter2"));

    // A stopped process sends none, and begins again by itself.
    watched.signal("-STOP");
    sleep(Duration::from_secs(2)).await;
    let before = beats();
    sleep(Duration::from_secs(8)).await;
    assert_eq!(beats(), before);
    watched.signal("-CONT");
    let more = async |_: &Watched| (beats() > before).then_some(());
    watched.until("it beats again", SOON, more).await;
}

/// What was said by now.
fn heard(socket: &UnixDatagram) -> Vec<String> {
    let mut buffer = [0; 4096];
    let mut all = Vec::new();
    while let Ok(n) = socket.recv(&mut buffer) {
        all.extend(String::from_utf8_lossy(&buffer[..n]).lines().map(str::to_owned));
    }
    all
}

/// Waits for a line.
async fn hears(socket: &UnixDatagram, line: &str) -> Vec<String> {
    let (end, mut all) = (Instant::now() + SOON, Vec::new());
    while Instant::now() < end {
        all.extend(heard(socket));
        if all.iter().any(|heard| heard.starts_with(line)) {
            return all;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("`{line}` was never said: {all:?}");
}

async fn told(socket: UnixDatagram, name: String) {
    socket.set_nonblocking(true).expect("a socket");
    let environment = vec![("NOTIFY_SOCKET".to_owned(), name), ("WATCHDOG_USEC".to_owned(), "2000000".to_owned())];
    let mut watched = Watched::start_with(|probes| probes, "", environment).await;
    let first = hears(&socket, "WATCHDOG=1").await;
    assert!(first.contains(&"READY=1".to_owned()), "{first:?}");
    // The board is filled before anybody can ask.
    let status = first.iter().find(|word| word.starts_with("STATUS="));
    assert_eq!(status.map(String::as_str), Some("STATUS=watching 6 routes, no incident"), "{first:?}");
    watched.landed(1).await;

    let url = format!("{}/-/reload", watched.agent);
    let (status, text) = watched.ask(reqwest::Method::POST, &url, Some(&watched.token()), None).await;
    assert!(status.is_success(), "{text}");
    let words = hears(&socket, "READY=1").await;
    let order: Vec<&String> = words.iter().filter(|word| ["RELOADING=1", "READY=1"].contains(&word.as_str())).collect();
    assert_eq!(order, ["RELOADING=1", "READY=1"]);

    // Petted as often as systemd wants, and by nobody while the agent stands still.
    heard(&socket);
    sleep(Duration::from_secs(6)).await;
    let pets = heard(&socket).iter().filter(|word| *word == "WATCHDOG=1").count();
    assert!(pets >= 3, "{pets} in 6 s, for a watchdog of 2 s");
    assert_eq!(watched.stop(SOON).await.code(), Some(0));
    let last: BTreeSet<String> = heard(&socket).into_iter().collect();
    assert!(last.contains("STOPPING=1"), "{last:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn systemd_is_told_when_the_agent_is_ready_that_it_goes_round_and_when_it_stops() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    told(socket, path.to_str().expect("UTF-8").to_owned()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_without_a_file_is_as_good() {
    let name = format!("landfall-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let socket = UnixDatagram::bind_addr(&address).expect("a socket");
    told(socket, format!("@{name}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_systemd_did_not_start_says_nothing_and_a_bad_reload_is_ready_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket.set_nonblocking(true).expect("a socket");
    let environment = vec![
        ("NOTIFY_SOCKET".to_owned(), path.to_str().expect("UTF-8").to_owned()),
        ("WATCHDOG_USEC".to_owned(), "2000000".to_owned()),
        ("WATCHDOG_PID".to_owned(), "1".to_owned()),
    ];
    let watched = Watched::start_with(|probes| probes, "", environment).await;
    hears(&socket, "READY=1").await;
    edit(&watched.file("landfall.toml"), |text| text.replace("listen ", "lissten "));
    watched.signal("-HUP");
    let words = hears(&socket, "READY=1").await;
    assert!(words.contains(&"RELOADING=1".to_owned()), "{words:?}");
    sleep(Duration::from_secs(2)).await;
    let words = heard(&socket);
    assert!(!words.contains(&"WATCHDOG=1".to_owned()), "the watchdog is another process's: {words:?}");
}
