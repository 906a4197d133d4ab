//! A pool: connections to one server that are kept while they are good. Not the library's pool: that may wait
//! for ever for a connection whose other end fell silent.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};

use super::TargetError;

/// Looks and controls at once: one of each. A canary must not fill a server's connections.
const AT_ONCE: usize = 2;
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// What the server needs to say that it gave up, beyond its own time limits.
const GRACE: Duration = Duration::from_secs(2);
/// An idle connection is not used again after this: firewalls forget it silently.
const IDLE: Duration = Duration::from_secs(60);

/// What went wrong on a connection.
pub(super) trait Failed: Send {
    /// The connection is gone.
    fn is_broken(&self) -> bool;

    /// What it says of the target.
    fn told(self) -> TargetError;
}

/// A server on which errands of a kind are run. One may be run again on another connection if the first was
/// broken before it began.
#[async_trait]
pub(super) trait Serves<E: Sync>: Sync {
    /// A connection.
    type Session: Send;
    /// What an errand brings back.
    type Found: Send;
    /// What may go wrong.
    type Failure: Failed;

    async fn connect(&self) -> Result<Self::Session, TargetError>;

    async fn go(&self, on: &mut Self::Session, errand: &E) -> Result<Self::Found, Self::Failure>;
}

/// Up to two connections, made when they are needed.
pub(super) struct Pool<C> {
    idle: Mutex<Vec<(C, Instant)>>,
    turns: Semaphore,
}

impl<C> fmt::Debug for Pool<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pool")
    }
}

impl<C: Send> Pool<C> {
    /// None yet.
    pub(super) fn new() -> Self {
        Self { idle: Mutex::default(), turns: Semaphore::new(AT_ONCE) }
    }

    /// Runs an errand. `patience` is what the server itself is given for a statement.
    pub(super) async fn run<E: Sync, S: Serves<E, Session = C>>(
        &self,
        server: &S,
        errand: &E,
        patience: Duration,
    ) -> Result<S::Found, TargetError> {
        let whole = CONNECT + patience + GRACE;
        match timeout(whole, self.attempt(server, errand)).await {
            Ok(found) => found,
            Err(_) => Err(TargetError::Unreachable { detail: format!("no answer within {} s", whole.as_secs()) }),
        }
    }

    async fn attempt<E: Sync, S: Serves<E, Session = C>>(
        &self,
        server: &S,
        errand: &E,
    ) -> Result<S::Found, TargetError> {
        let closed = |_| TargetError::Unreachable { detail: "the target is closed".to_owned() };
        let _turn = self.turns.acquire().await.map_err(closed)?;
        if let Some(mut kept) = self.take() {
            match server.go(&mut kept, errand).await {
                // A kept connection may have died since: only a new one tells about the server.
                Err(failure) if failure.is_broken() => {}
                done => return self.keep(kept, done),
            }
        }
        let mut fresh = match timeout(CONNECT, server.connect()).await {
            Ok(connected) => connected?,
            Err(_) => {
                let detail = format!("no connection within {} s", CONNECT.as_secs());
                return Err(TargetError::Unreachable { detail });
            }
        };
        let done = server.go(&mut fresh, errand).await;
        self.keep(fresh, done)
    }

    fn take(&self) -> Option<C> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, since)| since.elapsed() < IDLE);
        idle.pop().map(|(connection, _)| connection)
    }

    fn keep<T, F: Failed>(&self, connection: C, done: Result<T, F>) -> Result<T, TargetError> {
        if !done.as_ref().is_err_and(Failed::is_broken) {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push((connection, Instant::now()));
        }
        done.map_err(Failed::told)
    }
}
