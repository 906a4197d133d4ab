//! The end, as a terminal or a service manager asks for it.

use std::future::poll_fn;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::warn;

/// Signals that ask for the end. They are heard from the moment this is made, so that one that comes
/// early is not missed, and what was begun is put away.
pub struct End {
    signals: Vec<Signal>,
}

impl End {
    /// Of the daemon: SIGINT and SIGTERM. SIGHUP has it read its config again.
    pub fn of_daemon() -> Self {
        Self::hearing(&[SignalKind::interrupt(), SignalKind::terminate()])
    }

    /// Of a command at a terminal: also SIGHUP, which is the terminal being closed.
    pub fn of_commands() -> Self {
        Self::hearing(&[SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()])
    }

    fn hearing(kinds: &[SignalKind]) -> Self {
        let heard = kinds.iter().map(|kind| signal(*kind)).collect::<Result<_, _>>();
        let signals = heard.unwrap_or_else(|error| {
            warn!(%error, "signals cannot be heard; stop with SIGKILL, nothing is lost by it");
            Vec::new()
        });
        Self { signals }
    }

    /// Waits until one came.
    pub async fn came(mut self) {
        poll_fn(|cx| {
            let came = self.signals.iter_mut().any(|signal| signal.poll_recv(cx).is_ready());
            if came { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}
