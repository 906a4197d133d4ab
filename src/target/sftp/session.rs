//! Sessions: one connection that is kept while it is good. russh is spoken to here, and where keys and
//! logins are.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use russh::{
    client::{self, Handle},
    keys::PublicKeyOrCertificate,
};
use russh_sftp::{
    client::{Config as SftpConfig, RawSftpSession, error::Error as SftpError},
    protocol::StatusCode,
};
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, timeout},
};

use super::{
    host_key::{self, HostKeys},
    login::broken,
    settings::Server,
};
use crate::target::{TargetError, cut};

/// Longest wait for a connection and a login. The agent gives a look 20 s.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest wait for one answer.
const ANSWER: u64 = 8;
/// An idle connection is asked whether it lives after this, before it is trusted with more.
const DOUBTED: Duration = Duration::from_secs(2);
/// Longest wait for that.
const ALIVE: Duration = Duration::from_secs(2);
/// An idle connection is not used again after this: firewalls forget it silently.
const IDLE: Duration = Duration::from_secs(60);

/// A connection on which files are reached.
pub(super) struct Live {
    pub(super) sftp: RawSftpSession,
    ssh: Handle<Check>,
    used: Mutex<Instant>,
}

impl Live {
    fn idle(&self) -> Duration {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// Checks whom we talk to, before anything is said.
struct Check {
    known: HostKeys,
    /// The key that was shown and is not known.
    strange: Arc<Mutex<Option<String>>>,
}

impl client::Handler for Check {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        // No certificate was asked for.
        let (trusted, text) = match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } => (self.known.has(key), host_key::shown(key)),
            PublicKeyOrCertificate::Certificate(_) => (false, "a certificate".to_owned()),
        };
        if !trusted {
            *self.strange.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        }
        Ok(trusted)
    }
}

/// A connection to a server, made when it is needed.
#[derive(Debug)]
pub(super) struct Sessions {
    server: Server,
    kept: Mutex<Option<Arc<Live>>>,
    turn: Semaphore,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Live")
    }
}

impl Sessions {
    /// None yet.
    pub(super) fn new(server: Server) -> Self {
        Self { server, kept: Mutex::default(), turn: Semaphore::new(1) }
    }

    /// Does something on the connection. One that fails, or on which somebody was given up waiting, is
    /// not used again: what it would answer next is anybody's guess.
    pub(super) async fn with<T>(
        &self,
        work: impl AsyncFnOnce(&RawSftpSession) -> Result<T, SftpError>,
    ) -> Result<T, TargetError> {
        let live = self.live().await?;
        let mut watched = Watched { sessions: self, live: &live, whole: false };
        let done = work(&live.sftp).await;
        watched.whole = matches!(done, Ok(_) | Err(SftpError::Status(_)));
        drop(watched);
        live.touch();
        done.map_err(|error| told(&error))
    }

    async fn live(&self) -> Result<Arc<Live>, TargetError> {
        let closed = |_| TargetError::Unreachable { detail: "the target is closed".to_owned() };
        let _turn = self.turn.acquire().await.map_err(closed)?;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(kept) = kept.filter(|kept| !kept.ssh.is_closed() && kept.idle() < IDLE) {
            // Only a new connection tells about the server: a kept one may have died since.
            let lives = kept.idle() < DOUBTED || matches!(timeout(ALIVE, kept.sftp.realpath(".")).await, Ok(Ok(_)));
            if lives {
                kept.touch();
                return Ok(self.keep(kept));
            }
        }
        let fresh = match timeout(CONNECT, self.connect()).await {
            Ok(connected) => connected?,
            Err(_) => {
                let detail = format!("no connection within {} s", CONNECT.as_secs());
                return Err(TargetError::Unreachable { detail });
            }
        };
        Ok(self.keep(Arc::new(fresh)))
    }

    fn keep(&self, live: Arc<Live>) -> Arc<Live> {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(live.clone());
        live
    }

    async fn connect(&self) -> Result<Live, TargetError> {
        let Server { host, port, login, host_keys } = &self.server;
        let unreachable = |error: std::io::Error| TargetError::Unreachable { detail: cut(&error.to_string()) };
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let config = client::Config {
            preferred: host_keys.preferred(),
            inactivity_timeout: Some(IDLE * 2),
            ..client::Config::default()
        };
        let strange = Arc::new(Mutex::new(None));
        let check = Check { known: host_keys.clone(), strange: strange.clone() };
        let connected = client::connect_stream(Arc::new(config), stream, check).await;
        let mut ssh =
            connected.map_err(|error| match strange.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(key) => TargetError::Denied {
                    detail: cut(&format!(
                        "the server shows host key {key}, which the config does not know; nothing was sent"
                    )),
                },
                None => broken(&error),
            })?;
        login.enter(&mut ssh).await?;
        let channel = ssh.channel_open_session().await.map_err(|error| broken(&error))?;
        channel.request_subsystem(true, "sftp").await.map_err(|error| broken(&error))?;
        let config = SftpConfig { request_timeout_secs: ANSWER, ..SftpConfig::default() };
        let sftp = RawSftpSession::new_with_config(channel.into_stream(), config);
        sftp.init().await.map_err(|error| told(&error))?;
        Ok(Live { sftp, ssh, used: Mutex::new(Instant::now()) })
    }
}

/// Something under way on a connection.
struct Watched<'a> {
    sessions: &'a Sessions,
    live: &'a Arc<Live>,
    whole: bool,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if self.whole {
            return;
        }
        let mut kept = self.sessions.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_some_and(|kept| Arc::ptr_eq(kept, self.live)) {
            *kept = None;
        }
    }
}

/// Whether it says that something is not there.
pub(super) fn is_gone(error: &SftpError) -> bool {
    matches!(error, SftpError::Status(status) if status.status_code == StatusCode::NoSuchFile)
}

/// Whether it says that there is no more.
pub(super) fn is_end(error: &SftpError) -> bool {
    matches!(error, SftpError::Status(status) if status.status_code == StatusCode::Eof)
}

fn told(error: &SftpError) -> TargetError {
    let detail = cut(&error.to_string());
    match error {
        SftpError::Status(status) => match status.status_code {
            StatusCode::PermissionDenied => TargetError::Denied { detail },
            StatusCode::Failure | StatusCode::NoConnection | StatusCode::ConnectionLost => {
                TargetError::Unreachable { detail }
            }
            _ => TargetError::Nonsense { detail },
        },
        SftpError::UnexpectedPacket | SftpError::Limited(_) => TargetError::Nonsense { detail },
        SftpError::IO(_) | SftpError::Timeout | SftpError::UnexpectedBehavior(_) => TargetError::Unreachable { detail },
    }
}
