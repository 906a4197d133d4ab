//! The control: a row of the agent's own, written and read back in a table of its own; or, where it may
//! only read, a row that a run has left not long ago.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, PgConnection};

use super::{
    place::Tables,
    reading::MARKER,
    session::{Errand, Failure, made_meanwhile, no_such_table, raw},
    sweep::ours,
};
use crate::{
    canary::{Marker, Timestamp},
    target::{TargetError, unproven},
};

/// Proves in one transaction that rows can be written and read.
pub(super) struct Proof<'a> {
    pub(super) tables: &'a Tables,
}

#[async_trait]
impl Errand for Proof<'_> {
    type Found = ();
    const WRITES: bool = true;

    async fn run(&self, on: &mut PgConnection) -> Result<(), Failure> {
        let table = self.tables.quoted(&self.tables.control());
        let there: bool =
            sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL").bind(&table).fetch_one(&mut *on).await?;
        // Asked first: making a table that exists needs the right to make tables, too.
        if !there {
            create(on, &table).await?;
        }
        // Minted at the epoch: never a run's marker.
        let marker = Marker::mint(Timestamp::EPOCH, fastrand::u128(..)).to_string();
        let insert = format!("INSERT INTO {table} (marker, at) VALUES ($1, clock_timestamp())");
        sqlx::query(AssertSqlSafe(insert)).bind(&marker).execute(&mut *on).await?;
        let select = format!("SELECT count(*) FROM {table} WHERE marker::text = $1");
        let found: i64 = sqlx::query_scalar(AssertSqlSafe(select)).bind(&marker).fetch_one(&mut *on).await?;
        if found != 1 {
            let detail = format!("one control row was written and {found} are there");
            return Err(TargetError::Nonsense { detail }.into());
        }
        // Only rows that controls wrote, and none that another agent is about to read back.
        let delete = format!("DELETE FROM {table} WHERE marker::text LIKE $1 AND at < now() - interval '10 minutes'");
        let ours = format!("{}%", &marker[..12]);
        sqlx::query(AssertSqlSafe(delete)).bind(ours).execute(&mut *on).await?;
        Ok(())
    }
}

async fn create(on: &mut PgConnection, table: &str) -> Result<(), Failure> {
    let statement = format!("CREATE TABLE IF NOT EXISTS {table} (marker text NOT NULL, at timestamptz NOT NULL)");
    raw(on, "SAVEPOINT landfall").await?;
    match raw(on, &statement).await {
        Err(error) if made_meanwhile(&error) => raw(on, "ROLLBACK TO SAVEPOINT landfall").await?,
        done => done.map_err(|error| match Failure::from(error) {
            failure if failure.is_denied() => failure.because(&format!(
                "the agent may not make its control table {table}: make it once as (marker text, at timestamptz) and \
                 grant SELECT, INSERT, DELETE, or grant CREATE on the schema"
            )),
            failure => failure,
        })?,
    }
    Ok(())
}

/// Reads back a row of a run that was minted no earlier than a time.
pub(super) struct Trace<'a> {
    pub(super) tables: &'a Tables,
    pub(super) since: Timestamp,
}

#[async_trait]
impl Errand for Trace<'_> {
    type Found = ();
    const WRITES: bool = false;

    async fn run(&self, on: &mut PgConnection) -> Result<(), Failure> {
        // The table that most runs write to, then all others: one that is locked says nothing if a row is
        // found in another.
        let shared = self.tables.name();
        let mut none = match self.finds(on, shared).await {
            Ok(true) => return Ok(()),
            Ok(false) => Failure::from(unproven()),
            Err(failure) if failure.is_foreign() => return Err(failure),
            Err(failure) => failure,
        };
        for table in ours(on, self.tables).await? {
            if table == shared || table == self.tables.control() {
                continue;
            }
            match self.finds(on, &table).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(failure) => none = failure,
            }
        }
        Err(none)
    }
}

impl Trace<'_> {
    async fn finds(&self, on: &mut PgConnection, table: &str) -> Result<bool, Failure> {
        // A transaction that met an error takes no more statements: back to before it.
        raw(on, "SAVEPOINT landfall").await?;
        let select = format!(
            "SELECT marker::text FROM {} WHERE marker::text ~ $1 AND marker::text COLLATE \"C\" >= $2 AND row_no IS \
             NOT NULL LIMIT 1",
            self.tables.quoted(table)
        );
        let since = Marker::mint(self.since, 0).to_string();
        let found = sqlx::query_scalar(AssertSqlSafe(select)).bind(MARKER).bind(since).fetch_optional(&mut *on).await;
        match found {
            Ok(marker) => Ok(marker.is_some_and(|marker: String| marker.parse::<Marker>().is_ok())),
            Err(error) => {
                raw(on, "ROLLBACK TO SAVEPOINT landfall").await?;
                if no_such_table(&error) { Ok(false) } else { Err(Failure::from(error).of(self.tables.name())) }
            }
        }
    }
}
