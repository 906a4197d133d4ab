//! Preparing: the seed table is made, filled and checked before the first query reads it.

use std::time::Duration;

use serde_json::Value as Json;
use tokio::time::Instant;

use super::{TreasureData, seed::Seed};
use crate::{
    canary::Sample,
    platform::PlatformError,
    treasure_data_api::{Load, Reply},
};

/// How long after an accepted import the row count may lag behind. The count is a statistic; after
/// this time the rows are there even if it does not show them.
const COUNT_LAG: Duration = Duration::from_secs(120);

impl TreasureData {
    /// Has the seed table ready, or says why not. Asks nothing if it is known to be.
    pub(super) async fn prepare_seed(&self, sample: Sample) -> Result<(), PlatformError> {
        if self.known().ready.range(sample.rows..).next().is_some() {
            return Ok(());
        }
        let seed = Seed::new(&self.account.seed_table, sample);
        let mut table = match self.seed_table(&seed).await? {
            Some(table) => table,
            None => {
                self.known().imported.remove(&sample.rows);
                self.api.make_table(&self.account.database, &seed.table).await?;
                let made = self.seed_table(&seed).await?;
                made.ok_or_else(|| self.nonsense("the seed table was made and is not there"))?
            }
        };
        if !table["schema"].as_str().is_some_and(Seed::fits) {
            let schema = Seed::schema();
            let form = [("schema", schema.as_str())];
            self.api.post(&self.table_path("update-schema", &seed), Load::Form(&form)).await?.done()?;
        }
        let rows = |table: &Json| table["count"].as_u64().unwrap_or(0);
        if rows(&table) < seed.rows() {
            let accepted = self.known().imported.get(&sample.rows).copied();
            let accepted = match accepted {
                Some(accepted) => accepted,
                None => {
                    self.import(&seed, &table).await?;
                    let now = Instant::now();
                    self.known().imported.insert(sample.rows, now);
                    table = self.seed_table(&seed).await?.unwrap_or_default();
                    now
                }
            };
            // A query before the rows are visible would look like lost output.
            if rows(&table) < seed.rows() && accepted.elapsed() < COUNT_LAG {
                let detail = format!("seed table {} shows {} of {} rows so far", seed.table, rows(&table), seed.rows());
                return Err(self.nonsense(&detail));
            }
        }
        self.known().ready.insert(sample.rows);
        Ok(())
    }

    /// The seed table that a sample is read from: the smallest that is known to be filled and has
    /// all its rows. If none is, its own, which an earlier preparation may have made.
    pub(super) fn seed_for(&self, sample: Sample) -> Seed {
        let rows = self.known().ready.range(sample.rows..).next().copied().unwrap_or(sample.rows);
        Seed::new(&self.account.seed_table, Sample::of(rows))
    }

    fn table_path<'a>(&'a self, call: &'a str, seed: &'a Seed) -> [&'a str; 4] {
        ["table", call, &self.account.database, &seed.table]
    }

    /// The seed table as the platform shows it, if it is there.
    async fn seed_table(&self, seed: &Seed) -> Result<Option<Json>, PlatformError> {
        match self.api.get(&self.table_path("show", seed)).await? {
            Reply::Missing(_) => Ok(None),
            reply => Ok(Some(reply.done()?.json)),
        }
    }

    async fn import(&self, seed: &Seed, table: &Json) -> Result<(), PlatformError> {
        let id = seed.import_id(table["created_at"].as_str().unwrap_or_default());
        Ok(self.api.import(&self.account.database, &seed.table, &id, seed.import()).await?)
    }

    /// Looks after the seed tables again before the next submit: a job failed that may have missed
    /// its rows.
    pub(super) fn doubt_seeds(&self) {
        let mut known = self.known();
        known.ready.clear();
        known.imported.clear();
    }
}
