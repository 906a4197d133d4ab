//! The diary: entries are inserted into a table beside the seeds, and read by queries.

use async_trait::async_trait;
use serde_json::Value as Json;

use super::{Trino, asking::Unasked, sql::DIALECT};
use crate::{
    canary::{
        Cell, Run,
        report::{Source, Sums},
    },
    platform::{
        Handle, PlatformError,
        diary::{self, Batch, Diary, ENTRY_COLUMNS},
        sample_sql::Dialect,
    },
};

/// Entries in one statement: servers take a million characters, and an entry has some three hundred.
const CHUNK: usize = 1_000;

#[async_trait]
impl Diary for Trino {
    async fn write(&self, batch: &Batch) -> Result<(), PlatformError> {
        let table = self.cluster.seed.table(&batch.table);
        if !self.known().made.contains(&table) {
            let create = format!("CREATE TABLE IF NOT EXISTS {table} ({})", DIALECT.columns(&ENTRY_COLUMNS));
            self.ask(create).await.map_err(Unasked::refused)?;
            self.known().made.insert(table.clone());
        }
        for (nth, entries) in DIALECT.entries(batch, CHUNK).enumerate().skip(self.written.of(batch)) {
            let names = Dialect::names(&ENTRY_COLUMNS);
            match self.ask(format!("INSERT INTO {table} ({names}) VALUES {entries}")).await {
                Ok(_) => self.written.note(batch, nth + 1),
                Err(error) => {
                    // Perhaps the table is gone: a memory catalog forgets with its server.
                    self.known().made.remove(&table);
                    if matches!(error, Unasked::Failed(_)) {
                        self.written.forget();
                    }
                    return Err(error.refused());
                }
            }
        }
        Ok(())
    }

    async fn stored(&self, source: &Source) -> Result<Sums, PlatformError> {
        let table = self.cluster.seed.table(&source.table);
        let rows = self.ask(diary::sums(source, &table)).await.map_err(Unasked::refused)?;
        let row: Option<Vec<Cell>> = rows.into_iter().next().map(cells);
        diary::read_sums(row.as_deref()).ok_or_else(|| PlatformError::Nonsense {
            detail: "a query that adds up answers no four numbers".to_owned(),
        })
    }

    async fn computed(&self, run: &Run, _: Option<&Handle>) -> Result<Vec<Vec<Cell>>, PlatformError> {
        let report = run.report.as_ref().ok_or(PlatformError::NotFound)?;
        let table = self.cluster.seed.table(&report.source.table);
        let rows = self.ask(diary::query(run.marker, &report.source, &table)).await.map_err(Unasked::refused)?;
        Ok(rows.into_iter().map(cells).collect())
    }

    async fn remove(&self, table: &str) -> Result<(), PlatformError> {
        let table = self.cluster.seed.table(table);
        self.known().made.remove(&table);
        self.ask(format!("DROP TABLE IF EXISTS {table}")).await.map(drop).map_err(Unasked::refused)
    }
}

fn cells(row: Vec<Json>) -> Vec<Cell> {
    row.into_iter().map(diary::cell).collect()
}
