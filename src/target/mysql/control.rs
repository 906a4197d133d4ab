//! The control: a row of the agent's own, written and read back in a table of its own; or, where it may
//! only read, a row that a run has left not long ago.

use async_trait::async_trait;
use sqlx::MySqlConnection;

use super::{
    place::{Tables, quoted},
    reading::{MARKER, Shape, is_marker},
    session::{Access, Errand, Failure, in_the_way, no_such_table, raw, rows, text},
    sweep::run_tables,
};
use crate::{
    canary::{Marker, Timestamp},
    target::{TargetError, cut, unproven},
};

/// Proves that rows can be written and read.
pub(super) struct Proof<'a> {
    pub(super) tables: &'a Tables,
}

#[async_trait]
impl Errand for Proof<'_> {
    type Found = ();
    const ACCESS: Access = Access::Writes;

    async fn run(&self, on: &mut MySqlConnection) -> Result<(), Failure> {
        let name = self.tables.control();
        let table = quoted(&name);
        let help = format!(
            "the agent may not use its control table {table}: make it once as (marker varchar(28) primary key, at \
             datetime) and grant SELECT, INSERT, DELETE, or grant CREATE on the database"
        );
        // Asked first: making a table that exists needs the right to make tables, too.
        match Shape::of(on, &name).await.map_err(|error| Failure::from(error).because(&help))? {
            None => {
                let create = format!(
                    "CREATE TABLE IF NOT EXISTS {table} (marker VARCHAR(28) CHARACTER SET ascii COLLATE ascii_bin NOT \
                     NULL PRIMARY KEY, at DATETIME(6) NOT NULL)"
                );
                raw(on, &create).await.map_err(|error| Failure::from(error).because(&help))?;
            }
            Some(shape) if shape.has(["marker", "at"]) => {}
            Some(_) => {
                let detail = cut(&format!("table `{name}` is no control's"));
                return Err(TargetError::Foreign { detail }.into());
            }
        }
        // Minted at the epoch: never a run's marker.
        let marker = Marker::mint(Timestamp::EPOCH, fastrand::u128(..)).to_string();
        let insert = format!("INSERT INTO {table} (marker, at) VALUES ('{marker}', UTC_TIMESTAMP(6))");
        raw(on, &insert).await.map_err(|error| Failure::from(error).because(&help))?;
        let select = format!("SELECT COUNT(*) FROM {table} AS landfall_row WHERE {MARKER} = '{marker}'");
        let found = rows(on, &select).await?;
        let found = found.first().map(|row| text(row, 0)).transpose()?.flatten().unwrap_or_default();
        if found != "1" {
            let detail = cut(&format!("one control row was written and {found} are there"));
            return Err(TargetError::Nonsense { detail }.into());
        }
        // Only rows that controls wrote, and none that another agent is about to read back.
        let delete = format!(
            "DELETE FROM {table} WHERE marker LIKE '{}%' AND at < UTC_TIMESTAMP(6) - INTERVAL 10 MINUTE",
            &marker[..12]
        );
        match raw(on, &delete).await {
            // Another agent is at it.
            Err(error) if in_the_way(&error) => Ok(()),
            done => Ok(done.map(|_| ())?),
        }
    }
}

/// Reads back a row of a run that was minted no earlier than a time.
pub(super) struct Trace<'a> {
    pub(super) tables: &'a Tables,
    pub(super) since: Timestamp,
}

#[async_trait]
impl Errand for Trace<'_> {
    type Found = ();
    const ACCESS: Access = Access::Reads;

    async fn run(&self, on: &mut MySqlConnection) -> Result<(), Failure> {
        // The table that most runs write to, then all others: one that is locked says nothing if a row is
        // found in another.
        let shared = self.tables.name();
        let mut none = match self.finds(on, shared).await {
            Ok(true) => return Ok(()),
            Ok(false) => Failure::from(unproven()),
            Err(failure) if failure.is_foreign() => return Err(failure),
            Err(failure) => failure,
        };
        for table in run_tables(on, self.tables).await?.iter().filter(|table| *table != shared) {
            match self.finds(on, table).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(failure) => none = failure,
            }
        }
        Err(none)
    }
}

impl Trace<'_> {
    async fn finds(&self, on: &mut MySqlConnection, table: &str) -> Result<bool, Failure> {
        let sql = format!(
            "SELECT {MARKER}, landfall_row.row_no FROM {} AS landfall_row WHERE {MARKER} >= '{}' AND {} LIMIT 1",
            quoted(table),
            Marker::mint(self.since, 0),
            is_marker()
        );
        let found = match rows(on, &sql).await {
            Err(error) if no_such_table(&error) => return Ok(false),
            found => found?,
        };
        let marker = found.first().map(|row| text(row, 0)).transpose()?.flatten();
        Ok(marker.is_some_and(|marker| marker.parse::<Marker>().is_ok()))
    }
}
