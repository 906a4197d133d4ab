//! Reading jobs: queries that read tables back.

use std::time::Duration;

use tokio::time::Instant;

use super::TreasureDataTable;
use crate::{
    target::TargetError,
    treasure_data_api::{Engine, JobId, Query, QueryError},
};

/// What is kept back of the time that the agent waits, to stop a job that takes too long.
const RESERVE: Duration = Duration::from_secs(2);

impl TreasureDataTable {
    /// When whatever begins now has to be over.
    pub(super) fn due(&self) -> Instant {
        Instant::now() + self.settings.timeout - RESERVE
    }

    /// Runs a query on the reading engine and answers its rows, one JSON array a line.
    pub(super) async fn ask(&self, sql: &str, bound: usize, due: Instant) -> Result<String, TargetError> {
        let id = self.run(sql, self.settings.engine, due).await?;
        let rows = self.api.rows(&id, bound).await?;
        let rows = rows.ok_or_else(|| TargetError::Nonsense {
            detail: format!("reading job {} succeeded and has no result", id.as_str()),
        })?;
        // What is not UTF-8 becomes a character that no sample has.
        Ok(String::from_utf8_lossy(&rows).into_owned())
    }

    /// Runs a statement to its end.
    pub(super) async fn run(&self, sql: &str, engine: Engine, due: Instant) -> Result<JobId, TargetError> {
        let settings = &self.settings;
        let (database, priority, pool) = (settings.database.as_str(), settings.priority, settings.pool.as_deref());
        self.api.run(Query { sql, engine, database, priority, pool }, due).await.map_err(|error| match error {
            QueryError::Api(error) => error.into(),
            error => {
                if matches!(error, QueryError::Failed { .. }) {
                    // It may have missed a table or column that was there before.
                    self.known().whole.clear();
                }
                TargetError::Unreachable { detail: format!("reading {error}") }
            }
        })
    }
}
