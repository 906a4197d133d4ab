//! The diary: entries are inserted into a table beside the seeds, and read by queries.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

use super::{
    FAREWELL, HiveServer2,
    dialect::Engine,
    session::{Operation, Session, State, Unknown},
    to_the_end,
};
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

/// Entries in one statement: engines take long to parse long ones.
const CHUNK: usize = 500;
/// Longest time for a statement that reads. Whoever asks waits a minute.
const PATIENCE: Duration = Duration::from_secs(50);
/// And for one that writes: whoever asks waits no longer than for any call.
const WRITES: Duration = Duration::from_secs(18);

#[async_trait]
impl Diary for HiveServer2 {
    async fn write(&self, batch: &Batch) -> Result<(), PlatformError> {
        let (engine, table) = (self.settings.engine, self.entries_table(&batch.table));
        let failed = |error: PlatformError| {
            self.forget();
            // What is only late is gone on with.
            if error.answered() {
                self.written.forget();
            }
            Err(error)
        };
        if !self.known().tables.contains(&table) {
            if let Err(error) = self.tell(&self.creation(&table), WRITES).await {
                return failed(error);
            }
            self.known().tables.insert(table.clone());
        }
        let dialect = engine.dialect();
        for (nth, entries) in dialect.entries(batch, CHUNK).enumerate().skip(self.written.of(batch)) {
            let names = Dialect::names(&ENTRY_COLUMNS);
            if let Err(error) = self.tell(&format!("INSERT INTO {table} ({names}) VALUES {entries}"), WRITES).await {
                return failed(error);
            }
            self.written.note(batch, nth + 1);
        }
        Ok(())
    }

    async fn stored(&self, source: &Source) -> Result<Sums, PlatformError> {
        let rows = self.tell(&diary::sums(source, &self.entries_table(&source.table)), PATIENCE).await?;
        diary::read_sums(rows.first().map(Vec::as_slice)).ok_or_else(|| PlatformError::Nonsense {
            detail: "a query that adds up answers no four numbers".to_owned(),
        })
    }

    async fn computed(&self, run: &Run, _: Option<&Handle>) -> Result<Vec<Vec<Cell>>, PlatformError> {
        let report = run.report.as_ref().ok_or(PlatformError::NotFound)?;
        let table = self.entries_table(&report.source.table);
        self.tell(&diary::query(run.marker, &report.source, &table), PATIENCE).await
    }

    async fn remove(&self, table: &str) -> Result<(), PlatformError> {
        let table = self.entries_table(table);
        self.known().tables.remove(&table);
        self.tell(&format!("DROP TABLE IF EXISTS {table}"), WRITES).await.map(drop)
    }
}

impl HiveServer2 {
    /// A table of entries, as it stands in a statement.
    pub(super) fn entries_table(&self, table: &str) -> String {
        let database = self.settings.database.as_ref().map(|database| format!("{database}.")).unwrap_or_default();
        format!("{database}{table}")
    }

    /// What makes one. As with seeds: a catalog in memory would refuse to make it anew over files that it does
    /// not know, unless it is told of them.
    fn creation(&self, table: &str) -> String {
        let engine = self.settings.engine;
        let (columns, storage) = (engine.dialect().columns(&ENTRY_COLUMNS), engine.storage());
        let at = self.settings.seed_location.as_ref();
        let location = at.map(|at| format!(" LOCATION '{}'", engine.inside(&format!("{at}/{table}"))));
        let external = if location.is_some() && engine != Engine::Spark { "EXTERNAL " } else { "" };
        let location = location.unwrap_or_default();
        format!("CREATE {external}TABLE IF NOT EXISTS {table} ({columns}) {storage}{location}")
    }

    /// Runs a statement to its end, and reads the rows that it brings.
    async fn tell(&self, statement: &str, patience: Duration) -> Result<Vec<Vec<Cell>>, PlatformError> {
        let mut session = self.session().await?;
        let told = timeout(patience, ask(&mut session, statement)).await;
        let Ok(Ok(rows)) = told else {
            // Who failed, or is still at it, may leave something behind in its session.
            let _ = timeout(FAREWELL, session.end()).await;
            return told.unwrap_or_else(|_| {
                let detail = format!("a statement of our own had no end within {} s", patience.as_secs());
                Err(PlatformError::Unreachable { detail, never_arrived: false })
            });
        };
        self.give_back(session).await;
        Ok(rows)
    }
}

async fn ask(session: &mut Session, statement: &str) -> Result<Vec<Vec<Cell>>, PlatformError> {
    let operation: Operation = session.execute(statement).await.map_err(Unknown::trouble)?;
    let report = to_the_end(session, &operation).await?;
    let rows = match report.state {
        State::Finished if session.brings_rows(&operation) => session.rows(&operation).await.map_err(Unknown::trouble),
        State::Finished => Ok(Vec::new()),
        _ => Err(PlatformError::Refused { detail: report.detail }),
    };
    let _ = timeout(FAREWELL, session.close(&operation)).await;
    rows
}
