//! Sessions: how a connection is made and an errand run on it, and what goes wrong on it.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::place::Place;
use crate::target::{
    TargetError, cut,
    pool::{Failed, Pool, Serves},
};

/// Longest wait for a lock: what holds one longer is told, not waited for.
const LOCK: Duration = Duration::from_secs(3);

/// What went wrong.
pub(super) struct Failure {
    error: TargetError,
    /// The connection is gone.
    broken: bool,
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        let broken = match &error {
            sqlx::Error::Database(error) => {
                error.code().is_some_and(|code| code.starts_with("57P") || code.starts_with("08"))
            }
            _ => true,
        };
        Self { error: told(&error), broken }
    }
}

impl Failed for Failure {
    fn is_broken(&self) -> bool {
        self.broken
    }

    fn told(self) -> TargetError {
        self.error
    }
}

impl Failure {
    /// A table that is somebody else's.
    pub(super) fn is_foreign(&self) -> bool {
        matches!(self.error, TargetError::Foreign { .. })
    }

    pub(super) fn is_denied(&self) -> bool {
        matches!(self.error, TargetError::Denied { .. })
    }

    /// The same, naming the table that is not a canary's.
    pub(super) fn of(mut self, table: &str) -> Self {
        if let TargetError::Foreign { detail } = &mut self.error {
            *detail = cut(&format!("table `{table}`, or one of its kin, lacks a canary's columns: {detail}"));
        }
        self
    }

    /// The same with what would help in front.
    pub(super) fn because(mut self, why: &str) -> Self {
        if let TargetError::Denied { detail } = &mut self.error {
            *detail = cut(&format!("{why}: {detail}"));
        }
        self
    }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        Self { error, broken: false }
    }
}

/// Whether it says that a table is not there.
pub(super) fn no_such_table(error: &sqlx::Error) -> bool {
    code(error).as_deref() == Some("42P01")
}

/// Whether it says that somebody else made the same table at the same time.
pub(super) fn made_meanwhile(error: &sqlx::Error) -> bool {
    matches!(code(error).as_deref(), Some("42P07" | "23505"))
}

fn code(error: &sqlx::Error) -> Option<String> {
    error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned())
}

/// By what the server's code means. Its words hold no password.
fn told(error: &sqlx::Error) -> TargetError {
    let Some(database) = error.as_database_error() else {
        return match error {
            sqlx::Error::Protocol(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                TargetError::Nonsense { detail: cut(&error.to_string()) }
            }
            _ => TargetError::Unreachable { detail: cut(&error.to_string()) },
        };
    };
    let code = database.code().unwrap_or_default();
    let detail = cut(&format!("{} ({code})", database.message()));
    match &*code {
        "42703" => TargetError::Foreign { detail },
        "42501" | "25006" | "0LP01" => TargetError::Denied { detail },
        "55P03" => TargetError::Unreachable { detail: cut(&format!("locked: {detail}")) },
        code => match code.get(..2) {
            Some("28") => TargetError::Denied { detail },
            // Connection, database unknown, resources, operator, system, rollback.
            Some("08" | "3D" | "53" | "57" | "58" | "40") => TargetError::Unreachable { detail },
            _ => TargetError::Nonsense { detail },
        },
    }
}

/// Something to be done in one transaction. It may be done again on another connection if the
/// first was broken before it began.
#[async_trait]
pub(super) trait Errand: Sync {
    /// What it brings back.
    type Found: Send;
    /// Whether it writes.
    const WRITES: bool;

    async fn run(&self, on: &mut PgConnection) -> Result<Self::Found, Failure>;
}

/// The server, and the connections to it.
#[derive(Debug)]
pub(super) struct Connections {
    server: Server,
    pool: Pool<PgConnection>,
}

impl Connections {
    /// None yet.
    pub(super) fn new(place: Place, patience: Duration) -> Self {
        Self { server: Server { place, patience }, pool: Pool::new() }
    }

    /// The server.
    pub(super) fn place(&self) -> &Place {
        &self.server.place
    }

    /// Runs an errand in a transaction of its own, within the patience.
    pub(super) async fn run<E: Errand>(&self, errand: &E) -> Result<E::Found, TargetError> {
        self.pool.run(&self.server, errand, self.server.patience).await
    }
}

#[derive(Debug)]
struct Server {
    place: Place,
    patience: Duration,
}

#[async_trait]
impl<E: Errand> Serves<E> for Server {
    type Session = PgConnection;
    type Found = E::Found;
    type Failure = Failure;

    async fn connect(&self) -> Result<PgConnection, TargetError> {
        PgConnection::connect_with(self.place.options()).await.map_err(|error| told(&error))
    }

    async fn go(&self, on: &mut PgConnection, errand: &E) -> Result<E::Found, Failure> {
        raw(on, &self.begin(E::WRITES)).await?;
        let done = errand.run(on).await;
        match done {
            Ok(found) => {
                raw(on, "COMMIT").await?;
                Ok(found)
            }
            Err(failure) if failure.broken => Err(failure),
            // The errand's own failure is what counts; a connection that cannot even roll back is
            // not kept.
            Err(Failure { error, .. }) => {
                let broken = raw(on, "ROLLBACK").await.is_err();
                Err(Failure { error, broken })
            }
        }
    }
}

impl Server {
    /// Limits are set for the transaction alone: behind a pooler the next one is somebody else's.
    fn begin(&self, writes: bool) -> String {
        let access = if writes { "READ WRITE" } else { "READ ONLY" };
        let (statement, lock) = (self.patience.as_millis(), (self.patience * 2 / 3).min(LOCK).as_millis());
        format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED {access}; SET LOCAL statement_timeout = {statement}; \
             SET LOCAL lock_timeout = {lock}; SET LOCAL idle_in_transaction_session_timeout = 30000; \
             SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL extra_float_digits = 3"
        )
    }
}

/// Statements without arguments, all in one round trip.
pub(super) async fn raw(on: &mut PgConnection, statements: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(on).await.map(|_| ())
}
