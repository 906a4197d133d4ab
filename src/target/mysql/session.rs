//! Sessions: how a connection is made and an errand run on it, and what goes wrong on it.

use std::{panic::AssertUnwindSafe, time::Duration};

use async_trait::async_trait;
use futures_util::FutureExt;
use sqlx::{
    AssertSqlSafe, Connection, MySqlConnection, Row,
    mysql::{MySqlDatabaseError, MySqlRow},
};

use super::place::Place;
use crate::target::{
    TargetError, cut,
    pool::{Failed, Pool, Serves},
};

/// Longest wait for a lock, in seconds, the server's own unit: what holds one longer is told, not waited
/// for.
const LOCK: u64 = 3;

/// What went wrong.
pub(super) struct Failure {
    pub(super) error: TargetError,
    /// The connection is gone.
    broken: bool,
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        // Of what the server itself said, only some ends the connection.
        let broken = number(&error).is_none_or(|number| BROKEN.contains(&number));
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

/// Shutting down, gone away, killed, network, idle for too long.
const BROKEN: [u16; 9] = [1053, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 4031];

/// Database or account, table, column, privilege missing; without password; server, transaction or schema
/// read-only; password expired; account locked; this host, or this way in, not allowed.
const DENIED: [u16; 17] =
    [1044, 1045, 1142, 1143, 1227, 1698, 1290, 1792, 1836, 1820, 1862, 3118, 4151, 1130, 1251, 3159, 3955];

/// A lock was waited for, or not waited for; tables locked by somebody else's backup.
const LOCKED: [u16; 3] = [1205, 3572, 1223];

/// Database unknown; too many connections, of ours, or too much else; out of memory or disk; a deadlock; time
/// limits; interrupted; a table that was changed meanwhile; a cluster's node that is not ready.
const UNREACHABLE: [u16; 21] = [
    1049, 1040, 1203, 1226, 1129, 1021, 1037, 1038, 1041, 1114, 1135, 1206, 1213, 1317, 1969, 3024, 1412, 1615, 1047,
    1180, 1196,
];

fn number(error: &sqlx::Error) -> Option<u16> {
    error.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}

/// Whether it says that a table is not there.
pub(super) fn no_such_table(error: &sqlx::Error) -> bool {
    number(error) == Some(1146)
}

/// Whether it says that somebody else was at the same rows: that proves nothing of the server.
pub(super) fn in_the_way(error: &sqlx::Error) -> bool {
    matches!(number(error), Some(1205 | 1213))
}

/// By what the server's number means. Its words hold no password.
fn told(error: &sqlx::Error) -> TargetError {
    let Some((database, number)) = error.as_database_error().zip(number(error)) else {
        let detail = cut(&error.to_string());
        return match error {
            // The library says so in words about itself.
            sqlx::Error::Configuration(_) => TargetError::Denied {
                detail: "the server takes this password over TLS only: write `?ssl-mode=required`".to_owned(),
            },
            sqlx::Error::Protocol(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                TargetError::Nonsense { detail }
            }
            _ => TargetError::Unreachable { detail },
        };
    };
    let detail = cut(&format!("{} ({number})", database.message()));
    match number {
        1054 => TargetError::Foreign { detail },
        _ if DENIED.contains(&number) => TargetError::Denied { detail },
        _ if LOCKED.contains(&number) => TargetError::Unreachable { detail: cut(&format!("locked: {detail}")) },
        _ if UNREACHABLE.contains(&number) || BROKEN.contains(&number) => TargetError::Unreachable { detail },
        _ => TargetError::Nonsense { detail },
    }
}

/// Something to be done on one connection. It may be done again on another if the first was broken before
/// it began. Each statement is a transaction of its own: nothing is locked for longer than one.
#[async_trait]
pub(super) trait Errand: Sync {
    /// What it brings back.
    type Found: Send;
    /// What it may do.
    const ACCESS: Access;

    async fn run(&self, on: &mut MySqlConnection) -> Result<Self::Found, Failure>;
}

/// What an errand may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Read.
    Reads,
    /// Write small things, as any client of the server does.
    Writes,
    /// Go through whole tables and remove rows: locks only those.
    Removes,
}

/// Whose server it is: their limits have other names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maker {
    MySql,
    MariaDb,
}

struct Session {
    connection: MySqlConnection,
    maker: Maker,
}

/// The server, and the connections to it.
#[derive(Debug)]
pub(super) struct Connections {
    server: Server,
    pool: Pool<Session>,
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

    /// Runs an errand within the patience.
    pub(super) async fn run<E: Errand>(&self, errand: &E) -> Result<E::Found, TargetError> {
        let run = self.pool.run(&self.server, errand, self.server.patience);
        // The library takes a packet that is shorter than it must be for a reason to panic.
        AssertUnwindSafe(run).catch_unwind().await.unwrap_or_else(|_| {
            Err(TargetError::Nonsense { detail: "an answer that no MySQL server gives".to_owned() })
        })
    }
}

#[derive(Debug)]
struct Server {
    place: Place,
    patience: Duration,
}

#[async_trait]
impl<E: Errand> Serves<E> for Server {
    type Session = Session;
    type Found = E::Found;
    type Failure = Failure;

    async fn connect(&self) -> Result<Session, TargetError> {
        let connecting = async {
            let mut connection = MySqlConnection::connect_with(self.place.options()).await?;
            let version = rows(&mut connection, "SELECT VERSION()").await?;
            let version = version.first().map(|row| text(row, 0)).transpose()?.flatten().unwrap_or_default();
            let maker = if version.contains("MariaDB") { Maker::MariaDb } else { Maker::MySql };
            Ok(Session { connection, maker })
        };
        connecting.await.map_err(|error: sqlx::Error| told(&error))
    }

    async fn go(&self, on: &mut Session, errand: &E) -> Result<E::Found, Failure> {
        raw(&mut on.connection, &self.settings(on.maker, E::ACCESS)).await?;
        errand.run(&mut on.connection).await
    }
}

impl Server {
    /// What an errand relies on, said anew before each: behind a pooler the last one was somebody else's.
    fn settings(&self, maker: Maker, access: Access) -> String {
        let isolation = match access {
            // Of each statement's own moment, and no locks on rows that are only passed by.
            Access::Reads | Access::Removes => "READ-COMMITTED",
            // Servers that log statements take no other writes.
            Access::Writes => "REPEATABLE-READ",
        };
        let read_only = u8::from(access == Access::Reads);
        let lock = (self.patience.as_secs() * 2 / 3).clamp(1, LOCK);
        let limits = match maker {
            Maker::MariaDb => format!(
                "max_statement_time = {:.3}, tx_isolation = '{isolation}', tx_read_only = {read_only}",
                self.patience.as_secs_f64()
            ),
            Maker::MySql => format!(
                "max_execution_time = {}, transaction_isolation = '{isolation}', transaction_read_only = {read_only}",
                self.patience.as_millis()
            ),
        };
        format!(
            "SET autocommit = 1, sql_mode = 'STRICT_ALL_TABLES', time_zone = '+00:00', lock_wait_timeout = {lock}, \
             innodb_lock_wait_timeout = {lock}, {limits}, NAMES utf8mb4"
        )
    }
}

/// A statement that answers with no rows; how many it changed.
pub(super) async fn raw(on: &mut MySqlConnection, statement: &str) -> Result<u64, sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(on).await.map(|done| done.rows_affected())
}

/// A statement that answers with few rows.
pub(super) async fn rows(on: &mut MySqlConnection, statement: &str) -> Result<Vec<MySqlRow>, sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).fetch_all(on).await
}

/// A value as the server writes it out, whatever type it says that it has.
pub(super) fn text(row: &MySqlRow, at: usize) -> Result<Option<String>, sqlx::Error> {
    row.try_get_unchecked(at)
}
