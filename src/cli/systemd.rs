//! What systemd is told: that the agent is ready, that its scheduler goes round, how it stands.
//! Over a socket named in the environment; without one nothing is said.

use std::{
    io,
    os::unix::net::{SocketAddr, UnixDatagram},
    sync::Arc,
    time::Duration,
};

use tracing::warn;

use crate::{
    agent::Agent,
    canary::{Maintenance, Timestamp},
    detect::Board,
};

/// How often the state is looked at where no watchdog asks for more.
const LOOKS_EVERY: Duration = Duration::from_secs(1);
/// A look costs nothing, but it needs not come more often.
const SHORTEST: Duration = Duration::from_millis(100);

/// The way to the service manager. One page of the protocol (sd_notify(3)) is less than a crate.
#[derive(Debug)]
pub struct Systemd {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// It restarts whoever does not report for so long.
    watchdog: Option<Duration>,
}

impl Systemd {
    /// Nobody who wants to know.
    pub fn none() -> Self {
        Self { socket: None, watchdog: None }
    }

    /// As the environment says.
    pub fn from_environment() -> Self {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Self::none();
        };
        let named = std::path::Path::new(&name);
        let socket = address(named).and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            // Whoever does not read must not stop the agent.
            socket.set_nonblocking(true)?;
            Ok((socket, address))
        });
        let socket =
            socket.inspect_err(|error| warn!(%error, "NOTIFY_SOCKET cannot be used; systemd is told nothing")).ok();
        let text = |name: &str| std::env::var(name).ok();
        let is_for_us = text("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let micros = text("WATCHDOG_USEC").and_then(|text| text.parse().ok()).filter(|micros| *micros > 0);
        Self { socket, watchdog: micros.map(Duration::from_micros).filter(|_| is_for_us) }
    }

    /// The doors are open.
    pub fn ready(&self) {
        self.say("READY=1");
    }

    /// The config is read again.
    pub fn reloading(&self) {
        self.say("RELOADING=1");
    }

    /// The end has begun.
    pub fn stopping(&self) {
        self.say("STOPPING=1\nSTATUS=stopping");
    }

    fn say(&self, what: &str) {
        let Some((socket, address)) = &self.socket else { return };
        let Err(error) = socket.send_to_addr(what.as_bytes(), address) else { return };
        tracing::debug!(%error, "systemd could not be told {what:?}");
        // The queue of a socket is ten long. A sign of life may be left out, a change of state may not.
        if error.kind() == io::ErrorKind::WouldBlock
            && !what.starts_with("WATCHDOG")
            && let Ok(socket) = socket.try_clone()
        {
            let (address, what) = (address.clone(), what.to_owned());
            std::thread::spawn(move || {
                for _ in 0..200 {
                    std::thread::park_timeout(Duration::from_millis(50));
                    if socket.send_to_addr(what.as_bytes(), &address).is_ok() {
                        return;
                    }
                }
            });
        }
    }

    /// Reports on an agent for as long as it is not dropped.
    pub async fn report(&self, agent: &Agent) {
        let (board, maintenance) = (agent.board(), agent.maintenance());
        let status = |now: Timestamp| line(&Arc::clone(&board.borrow()), &Arc::clone(&maintenance.borrow()), now);
        self.watch(|| agent.round(), status).await;
    }

    /// The watchdog is told whenever the scheduler has gone round since, never because time has
    /// passed; and how everything stands, when that changes.
    async fn watch(&self, round: impl Fn() -> Option<Timestamp>, status: impl Fn(Timestamp) -> String) {
        if self.socket.is_none() {
            return std::future::pending().await;
        }
        let looks_every = self.watchdog.map_or(LOOKS_EVERY, |watchdog| (watchdog / 4).clamp(SHORTEST, LOOKS_EVERY));
        let (mut last, mut said) = (None, String::new());
        loop {
            let newest = round();
            if self.watchdog.is_some() && newest != last {
                self.say("WATCHDOG=1");
            }
            last = newest;
            let line = status(newest.unwrap_or(Timestamp::EPOCH));
            if line != said {
                self.say(&format!("STATUS={line}"));
                said = line;
            }
            tokio::time::sleep(looks_every).await;
        }
    }
}

/// A path, or a name in the abstract namespace, which begins with `@`.
fn address(named: &std::path::Path) -> io::Result<SocketAddr> {
    use std::os::unix::ffi::OsStrExt;
    match named.as_os_str().as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(named),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor a name that begins with @")),
    }
}

/// One line for whoever asks `systemctl status`.
fn line(board: &Board, maintenance: &Maintenance, now: Timestamp) -> String {
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let open = board.incidents.iter().filter(|incident| incident.detected_at.is_some()).count();
    let mut parts = vec![format!("watching {}", count(board.routes().len(), "route"))];
    parts.push(if open == 0 { "no incident".to_owned() } else { count(open, "open incident") });
    let paused = board.routes().iter().filter(|standing| maintenance.pause(&standing.route, now).is_some()).count();
    if paused > 0 {
        parts.push(format!("{paused} paused"));
    }
    let silences = maintenance.silences.iter().filter(|silence| silence.holds_at(now)).count();
    if silences > 0 {
        parts.push(format!("{} in force", count(silences, "silence")));
    }
    if !board.agent.store_up {
        parts.push("the ledger is down".to_owned());
    }
    parts.join(", ")
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_watchdog_hears_of_rounds_of_the_scheduler_and_of_nothing_else() {
        let ours =
            UnixDatagram::bind_addr(&address(std::path::Path::new("@landfall-unit-test-watchdog")).expect("a name"));
        let ours = ours.expect("a socket");
        ours.set_nonblocking(true).expect("a socket");
        let to = ours.local_addr().expect("bound");
        let socket = UnixDatagram::unbound().expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        let systemd = Systemd { socket: Some((socket, to)), watchdog: Some(Duration::from_secs(2)) };
        let rounds = AtomicI64::new(0);
        let round = || Some(Timestamp::from_secs(rounds.load(Ordering::Relaxed))).filter(|at| *at > Timestamp::EPOCH);
        let watched = systemd.watch(round, |_| "as ever".to_owned());
        let played = async {
            let mut heard = Vec::new();
            for goes_round in [false, true, true, false, false, false, true] {
                rounds.fetch_add(goes_round.into(), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_secs(10)).await;
                let mut buffer = [0; 100];
                let mut n = 0;
                while let Ok(length) = ours.recv(&mut buffer) {
                    n += usize::from(&buffer[..length] == b"WATCHDOG=1");
                }
                heard.push(n);
            }
            heard
        };
        let heard = tokio::select! {
            heard = played => heard,
            () = watched => unreachable!("it reports for ever"),
        };
        assert_eq!(heard, [0, 1, 1, 0, 0, 0, 1]);
    }
}
