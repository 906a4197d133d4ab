//! Preparing: the seed table is made, filled and checked before the first query reads it.

use md5::{Digest, Md5};
use serde_json::Value as Json;

use super::{
    Trino,
    asking::Unasked,
    sql::{literal, seed_rows},
};
use crate::{canary::Sample, platform::PlatformError};

/// Rows filled by one statement: servers take a million characters, and a row has a few hundred.
const CHUNK: u32 = 1_000;

impl Trino {
    /// The seed table for samples of so many rows, as it stands in statements.
    ///
    /// Its name has the number of rows and a hash of them: a table of that name either holds exactly
    /// these rows or is still being filled.
    pub(super) fn seed_table(&self, rows: u32) -> String {
        let hash = Md5::digest(seed_rows(0..rows).as_bytes());
        let hex: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        self.cluster.seed.table(&format!("landfall_seed_{rows}_{hex}"))
    }

    /// The smallest seed table that is known to be filled and has all rows of a sample; if none is,
    /// its own, which an earlier process may have filled.
    pub(super) fn seed_for(&self, sample: Sample) -> String {
        let rows = self.known().ready.range(sample.rows..).next().copied();
        self.seed_table(rows.unwrap_or(sample.rows))
    }

    /// Has the seed table ready, or says why not. Asks nothing if it is known to be.
    pub(super) async fn prepare_seed(&self, sample: Sample) -> Result<(), PlatformError> {
        if self.known().ready.range(sample.rows..).next().is_some() {
            return Ok(());
        }
        let table = self.seed_table(sample.rows);
        let missing = match self.missing(&table, sample).await {
            Ok(missing) => missing,
            Err(Unasked::Trouble(error)) => return Err(error),
            // Most likely it is not there. If something else is wrong, making it says so too.
            Err(Unasked::Failed(_)) => {
                let first = seed_rows(0..sample.rows.min(CHUNK));
                let made = self.ask(format!("CREATE TABLE IF NOT EXISTS {table} AS {first}")).await;
                match (self.missing(&table, sample).await, made) {
                    // Whoever made it: another agent may have been quicker.
                    (Ok(missing), _) => missing,
                    (Err(_), Err(error)) => return Err(error.refused()),
                    (Err(error), Ok(_)) => return Err(error.unheard()),
                }
            }
        };
        if !missing.is_empty() {
            for chunk in missing {
                // Rows that are there already are then there twice, which the query does not mind.
                let rows = seed_rows(chunk * CHUNK..((chunk + 1) * CHUNK).min(sample.rows));
                self.ask(format!("INSERT INTO {table} {rows}")).await.map_err(Unasked::refused)?;
            }
            if !self.missing(&table, sample).await.map_err(Unasked::refused)?.is_empty() {
                let detail = format!("the seed table {table} was filled, and has not all of its rows");
                return Err(PlatformError::Nonsense { detail });
            }
        }
        self.known().ready.insert(sample.rows);
        Ok(())
    }

    /// Chunks of which rows are missing.
    pub(super) async fn missing(&self, table: &str, sample: Sample) -> Result<Vec<u32>, Unasked> {
        let sql = format!(
            "SELECT n / {CHUNK}, count(DISTINCT n) FROM {table} WHERE n BETWEEN 0 AND {} GROUP BY 1",
            sample.rows.saturating_sub(1)
        );
        let rows = self.ask(sql).await?;
        let there = |chunk: u32| {
            let is_it = |row: &&Vec<Json>| row.first().and_then(Json::as_u64) == Some(u64::from(chunk));
            rows.iter().find(is_it).and_then(|row| row.get(1)?.as_u64()).unwrap_or(0)
        };
        let wanted = |chunk: u32| u64::from(((chunk + 1) * CHUNK).min(sample.rows) - chunk * CHUNK);
        Ok((0..sample.rows.div_ceil(CHUNK)).filter(|chunk| there(*chunk) < wanted(*chunk)).collect())
    }

    /// Stops a query, whoever still follows it.
    pub(super) async fn kill(&self, query: &str) -> Result<(), PlatformError> {
        let sql = format!(
            "CALL system.runtime.kill_query(query_id => {}, message => 'stopped at its deadline')",
            literal(query)
        );
        match self.ask(sql).await {
            // Not found, or not running: it is over.
            Ok(_) | Err(Unasked::Failed(_)) => Ok(()),
            Err(Unasked::Trouble(error)) => Err(error),
        }
    }
}
