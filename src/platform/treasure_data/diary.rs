//! The diary: entries are imported, as customers import theirs, and read by query jobs.

use std::time::Duration;

use async_trait::async_trait;
use md5::{Digest, Md5};
use rmpv::Value as Pack;
use serde_json::Value as Json;
use tokio::time::Instant;

use super::TreasureData;
use crate::{
    canary::{
        Cell, Run,
        report::{REPORT_COLUMNS, Source, Sums},
        sample::Kind,
    },
    platform::{
        Handle, PlatformError,
        diary::{self, Batch, Diary, ENTRY_COLUMNS, Held},
    },
    treasure_data_api::{ApiError, JobId, Load, Query, QueryError, Reply, hex, mapped, packed},
};

/// Imported rows can be queried after so long: the API promises minutes.
const SETTLES: Duration = Duration::from_secs(180);
/// Longest wait for a job that reads. Whoever asks waits a minute.
const PATIENCE: Duration = Duration::from_secs(50);
/// Largest result that is read: a report of most rows has a tenth of it.
const ROOM: usize = 16 << 20;

#[async_trait]
impl Diary for TreasureData {
    async fn write(&self, batch: &Batch) -> Result<(), PlatformError> {
        if batch.entries.is_empty() {
            return self.make_table(&batch.table).await;
        }
        let id = hex(&Md5::digest(batch.id()));
        let rows = self.pack(batch);
        match self.api.import(&self.account.database, &batch.table, &id, rows.clone()).await {
            // Of all refusals, a table that is not there is the one that can be helped.
            Err(ApiError::Refused(_)) => {
                self.make_table(&batch.table).await?;
                self.api.import(&self.account.database, &batch.table, &id, rows).await?;
            }
            imported => imported?,
        }
        Ok(())
    }

    fn settles(&self) -> Duration {
        SETTLES
    }

    async fn stored(&self, source: &Source) -> Result<Sums, PlatformError> {
        let rows = self.ask(&diary::sums(source, &source.table)).await?;
        diary::read_sums(rows.first().map(Vec::as_slice))
            .ok_or_else(|| self.nonsense("a job that adds up answers no four numbers"))
    }

    async fn computed(&self, run: &Run, handle: Option<&Handle>) -> Result<Vec<Vec<Cell>>, PlatformError> {
        // What the job itself computed is kept: it need not be computed again.
        if let Some(handle) = handle
            && let Some(rows) = self.result(&self.ids(handle)?.0).await?
        {
            return Ok(rows);
        }
        let source = &run.report.as_ref().ok_or_else(|| self.nonsense("the run has no report"))?.source;
        self.ask(&diary::query(run.marker, source, &source.table)).await
    }

    async fn remove(&self, table: &str) -> Result<(), PlatformError> {
        match self.api.post(&["table", "delete", &self.account.database, table], Load::Nothing).await? {
            Reply::Missing(_) => Ok(()),
            reply => Ok(reply.done().map(drop)?),
        }
    }
}

impl TreasureData {
    fn pack(&self, batch: &Batch) -> Vec<u8> {
        // Every import needs a time; that of the book makes the same batch the same bytes.
        let time = batch.book.minted_at().as_millis().div_euclid(1000);
        packed(&mapped(batch.entries.iter().map(|entry| {
            let cells = ENTRY_COLUMNS.iter().zip(diary::held(batch, entry)).map(|(column, value)| {
                let value = match value {
                    Held::Text(text) => Pack::from(text.as_ref()),
                    Held::Int(number) => Pack::from(number),
                    Held::Null => Pack::Nil,
                };
                (column.name, value)
            });
            [("time", Pack::from(time))].into_iter().chain(cells).collect()
        })))
    }

    /// Makes a table of entries. That it is there already is as good.
    async fn make_table(&self, table: &str) -> Result<(), PlatformError> {
        let database = self.account.database.as_str();
        self.api.make_table(database, table).await?;
        // Declared, since a column that has held nothing but NULL so far would not be there.
        let held = |kind| if kind == Kind::Int { "long" } else { "string" };
        let schema = Json::from_iter(ENTRY_COLUMNS.iter().map(|column| vec![column.name, held(column.kind)]));
        let schema = schema.to_string();
        let path = ["table", "update-schema", database, table];
        Ok(self.api.post(&path, Load::Form(&[("schema", &schema)])).await?.done().map(drop)?)
    }

    /// The rows of a finished job; none: it has none.
    async fn result(&self, id: &JobId) -> Result<Option<Vec<Vec<Cell>>>, PlatformError> {
        let Some(bytes) = self.api.rows(id, ROOM).await? else { return Ok(None) };
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let rows = lines.map(|line| row(line).ok_or_else(|| self.nonsense("a row of a job's result cannot be read")));
        rows.collect::<Result<_, _>>().map(Some)
    }

    /// Runs a query to its end, without Result Output.
    async fn ask(&self, sql: &str) -> Result<Vec<Vec<Cell>>, PlatformError> {
        let account = &self.account;
        let (engine, database) = (account.engine, account.database.as_str());
        let query = Query { sql, engine, database, priority: account.priority, pool: account.pool.as_deref() };
        let id = self.api.run(query, Instant::now() + PATIENCE).await.map_err(|error| match error {
            QueryError::Api(error) => error.into(),
            late @ QueryError::Late { .. } => {
                PlatformError::Unreachable { detail: late.to_string(), never_arrived: false }
            }
            ended => PlatformError::Refused { detail: ended.to_string() },
        })?;
        let rows = self.result(&id).await?;
        rows.ok_or_else(|| self.nonsense("a job succeeded and has no result"))
    }
}

/// A JSON array, as results have a row.
fn row(line: &str) -> Option<Vec<Cell>> {
    let Ok(Json::Array(values)) = serde_json::from_str(line) else { return None };
    (values.len() <= REPORT_COLUMNS.len()).then_some(())?;
    Some(values.into_iter().map(diary::cell).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_a_result_is_an_array_of_plain_values() {
        let cells = row(r#"["a", 1, 0.5, null, true, {}]"#).expect("a row");
        let text = Cell::Text("a".to_owned());
        assert_eq!(cells, [text, Cell::Int(1), Cell::Float(0.5), Cell::Null, Cell::Bool(true), Cell::Absent]);
        for (n, of) in (1..200).flat_map(|of| (1..of).map(move |n| (n, of))) {
            let ratio = f64::from(n) / f64::from(of);
            assert_eq!(row(&format!("[{ratio}]")), Some(vec![Cell::Float(ratio)]), "{n}/{of}");
        }
        assert!(row("{}").is_none() && row("").is_none() && row(&format!("[{}1]", "1,".repeat(20))).is_none());
    }
}
