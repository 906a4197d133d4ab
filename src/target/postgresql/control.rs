//! The control: a row of the agent's own, written and read back in a table of its own.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, PgConnection};

use super::{
    place::Tables,
    session::{Errand, Failure, made_meanwhile, raw},
};
use crate::{
    canary::{Marker, Timestamp},
    target::TargetError,
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
