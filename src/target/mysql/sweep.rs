//! The sweep: canary rows past their time, out of canary tables, in small steps.

use async_trait::async_trait;
use sqlx::MySqlConnection;

use super::{
    place::{Tables, quoted},
    reading::{Shape, is_marker},
    session::{Access, Connections, Errand, Failure, no_such_table, raw, rows, text},
};
use crate::{
    canary::{Marker, Timestamp},
    target::{Swept, TargetError},
};

/// Rows removed by one statement: locks and logs stay small.
const STEP: u64 = 5000;
/// Most steps in one sweep; the next sweep goes on.
const STEPS: usize = 400;
/// Most tables in one sweep.
const TABLES: usize = 10_000;

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
            if step < STEP {
                break;
            }
            if steps >= STEPS {
                return Ok(Swept { removed });
            }
        }
    }
    Ok(Swept { removed })
}

/// The tables that runs write to, by their names. Views and what the agent has no right to are not among
/// them.
pub(super) async fn run_tables(on: &mut MySqlConnection, tables: &Tables) -> Result<Vec<String>, sqlx::Error> {
    let name: String = tables.name().bytes().map(|byte| format!("{byte:02x}")).collect();
    let sql = format!(
        "SELECT table_name, @@lower_case_table_names FROM information_schema.tables WHERE table_schema = DATABASE() \
         AND table_type = 'BASE TABLE' AND LOWER(LEFT(table_name, {})) = LOWER(CONVERT(0x{name} USING utf8mb4)) \
         ORDER BY 1 LIMIT {TABLES}",
        tables.name().chars().count()
    );
    let mut found = Vec::new();
    for row in rows(on, &sql).await? {
        let (table, folds) = (text(&row, 0)?.unwrap_or_default(), text(&row, 1)?.unwrap_or_default());
        if tables.holds_runs(&table, folds != "0") {
            found.push(table);
        }
    }
    Ok(found)
}

/// Which tables are this target's: by name, and by having a canary's columns.
struct Ours<'a> {
    tables: &'a Tables,
}

#[async_trait]
impl Errand for Ours<'_> {
    type Found = Vec<String>;
    const ACCESS: Access = Access::Reads;

    async fn run(&self, on: &mut MySqlConnection) -> Result<Vec<String>, Failure> {
        let mut ours = Vec::new();
        for table in run_tables(on, self.tables).await? {
            if Shape::of(on, &table).await?.is_some_and(|shape| shape.has(["marker", "row_no"])) {
                ours.push(table);
            }
        }
        let control = self.tables.control();
        // It may be hidden from an agent that has never needed one.
        if let Ok(Some(shape)) = Shape::of(on, &control).await
            && shape.has(["marker", "at"])
        {
            ours.push(control);
        }
        Ok(ours)
    }
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
    const ACCESS: Access = Access::Removes;

    async fn run(&self, on: &mut MySqlConnection) -> Result<u64, Failure> {
        // Markers sort by time as texts do. Controls have markers of the epoch, and a time of their own.
        let mut old = format!("{} AND marker < '{}'", is_marker(), Marker::mint(self.older_than, 0));
        if self.table == self.tables.control() {
            old.push_str(&format!(" AND at < FROM_UNIXTIME({:.6})", self.older_than.as_secs_f64()));
        }
        // A statement that removes from one table knows it by no other name.
        let old = old.replace("landfall_row.", "");
        match raw(on, &format!("DELETE FROM {} WHERE {old} LIMIT {STEP}", quoted(self.table))).await {
            Err(error) if no_such_table(&error) => Ok(0),
            done => Ok(done?),
        }
    }
}
