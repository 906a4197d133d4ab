//! The sweep: canary rows past their time, out of canary tables, in small steps.

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, PgConnection};

use super::{
    place::Tables,
    reading::MARKER,
    session::{Connections, Errand, Failure},
};
use crate::{
    canary::{Marker, Timestamp},
    target::{Swept, TargetError},
};

/// Rows removed by one statement: locks and logs stay small.
const STEP: i64 = 5000;
/// Most steps in one sweep; the next sweep goes on.
const STEPS: usize = 400;
/// Most tables in one sweep.
const TABLES: i64 = 10_000;

/// Removes rows of runs minted before a time, and old controls.
pub(super) async fn sweep(
    connections: &Connections,
    tables: &Tables,
    older_than: Timestamp,
) -> Result<Swept, TargetError> {
    let mut removed = 0;
    let mut steps = 0;
    for table in connections.run(&Ours { tables }).await? {
        loop {
            let step = connections.run(&Step { tables, table: &table, older_than }).await?;
            removed += step;
            steps += 1;
            if step < STEP as u64 {
                break;
            }
            if steps >= STEPS {
                return Ok(Swept { removed });
            }
        }
    }
    Ok(Swept { removed })
}

/// Which tables are this target's: by name, and by having a canary's columns.
struct Ours<'a> {
    tables: &'a Tables,
}

#[async_trait]
impl Errand for Ours<'_> {
    type Found = Vec<String>;
    const WRITES: bool = false;

    async fn run(&self, on: &mut PgConnection) -> Result<Vec<String>, Failure> {
        Ok(ours(on, self.tables).await?)
    }
}

/// The names of this target's tables that are there, the control's among them.
pub(super) async fn ours(on: &mut PgConnection, tables: &Tables) -> Result<Vec<String>, sqlx::Error> {
    let sql = "SELECT c.relname::text FROM pg_catalog.pg_class AS c \
               JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace \
               WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' \
               AND CASE WHEN $2::text IS NULL THEN pg_catalog.pg_table_is_visible(c.oid) ELSE n.nspname = $2 END \
               AND left(c.relname::text, length($1)) = $1 \
               AND substr(c.relname::text, length($1) + 1) ~ '^(|__control|__[0-9a-f]{16}(__verify)?)$' \
               AND (SELECT count(*) FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 \
               AND NOT a.attisdropped AND a.attname IN ('marker', \
               CASE WHEN c.relname::text = $1 || '__control' THEN 'at' ELSE 'row_no' END)) = 2 \
               ORDER BY 1 LIMIT $3";
    sqlx::query_scalar(sql).bind(tables.name()).bind(tables.schema()).bind(TABLES).fetch_all(on).await
}

/// One step in one table.
struct Step<'a> {
    tables: &'a Tables,
    table: &'a str,
    older_than: Timestamp,
}

#[async_trait]
impl Errand for Step<'_> {
    type Found = u64;
    const WRITES: bool = true;

    async fn run(&self, on: &mut PgConnection) -> Result<u64, Failure> {
        let table = self.tables.quoted(self.table);
        // Markers sort by time as texts do in the C collation. Controls have markers of the epoch,
        // and a time of their own.
        let control = self.table == self.tables.control();
        let old = if control {
            "marker::text ~ $1 AND marker::text COLLATE \"C\" < $2 AND at < to_timestamp($4::float8)"
        } else {
            "marker::text ~ $1 AND marker::text COLLATE \"C\" < $2 AND $4::float8 IS NOT NULL"
        };
        // The condition stands twice: in a partitioned table a ctid is not one row's alone.
        let sql = format!(
            "DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE {old} LIMIT $3)) AND {old}"
        );
        let oldest = Marker::mint(self.older_than, 0).to_string();
        let done = sqlx::query(AssertSqlSafe(sql))
            .bind(MARKER)
            .bind(oldest)
            .bind(STEP)
            .bind(self.older_than.as_secs_f64())
            .execute(on)
            .await?;
        Ok(done.rows_affected())
    }
}
