//! Queries of the agent's own: issued and followed to their end, or stopped when their time is over.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};

use super::{Api, ApiError, Engine, JobId, Load, Reply, Report, Status};

/// Between two looks at a job: soon at first, then less often.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// Longest wait for a job to be stopped.
const STOPS_WITHIN: Duration = Duration::from_secs(2);

/// A query, without Result Output.
#[derive(Clone, Copy, Debug)]
pub struct Query<'q> {
    /// The statement.
    pub sql: &'q str,
    /// Who runs it.
    pub engine: Engine,
    /// On whose tables.
    pub database: &'q str,
    /// How urgent it is; none: as any job.
    pub priority: Option<i8>,
    /// In which resource pool; none: the account's own choice.
    pub pool: Option<&'q str>,
}

/// Why a query has no result. Details are at most 500 characters and hold no secret.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// A call had no answer that means anything.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// It ended with an error.
    #[error("job {job} failed: {log}")]
    Failed {
        /// Its id.
        job: String,
        /// The end of its log.
        log: String,
    },
    /// Somebody stopped it.
    #[error("job {0} was killed")]
    Killed(String),
    /// It had no end in time.
    #[error("job {job} was still {doing} when its time was over")]
    Late {
        /// Its id.
        job: String,
        /// Queued, or running.
        doing: &'static str,
    },
}

impl Api {
    /// Runs a query to its end.
    pub async fn run(&self, query: Query<'_>, due: Instant) -> Result<JobId, QueryError> {
        let id = self.issue(query).await?;
        let mut pause = PAUSES.0;
        loop {
            sleep_until((Instant::now() + pause).min(due)).await;
            pause = (pause * 3 / 2).min(PAUSES.1);
            let json = self.get(&["job", "show", id.as_str()]).await?.done()?.json;
            let report = Report::read(&id, &json).map_err(|wrong| ApiError::Nonsense(self.shown(&wrong)))?;
            let job = || id.as_str().to_owned();
            let doing = match report.status {
                Status::Success => return Ok(id),
                Status::Error => return Err(QueryError::Failed { job: job(), log: self.shown_end(&report.log) }),
                Status::Killed => return Err(QueryError::Killed(job())),
                Status::Waiting => "queued",
                Status::Running => "running",
            };
            if Instant::now() >= due {
                // Nobody waits for it any more; if it cannot be stopped, it ends by itself.
                let _ = timeout(STOPS_WITHIN, self.post(&["job", "kill", id.as_str()], Load::Nothing)).await;
                return Err(QueryError::Late { job: job(), doing });
            }
        }
    }

    async fn issue(&self, query: Query<'_>) -> Result<JobId, ApiError> {
        let priority = query.priority.map(|priority| priority.to_string());
        // The platform's own repetition would only make the answer later.
        let mut form = vec![("query", query.sql), ("retry_limit", "0")];
        let further = [("priority", priority.as_deref()), ("pool_name", query.pool)];
        form.extend(further.into_iter().filter_map(|(name, value)| Some((name, value?))));
        let path = ["job", "issue", query.engine.as_str(), query.database];
        let json = self.post(&path, Load::Form(&form)).await?.done()?.json;
        JobId::read(&json["job_id"]).ok_or_else(|| ApiError::Nonsense("a job was issued without an id".to_owned()))
    }

    /// Makes a table, and the database if that is what lacks. That either is there already is as good: another
    /// agent may be making them at the same time.
    pub async fn make_table(&self, database: &str, table: &str) -> Result<(), ApiError> {
        let create = ["table", "create", database, table, "log"];
        if let Reply::Missing(_) = self.post(&create, Load::Nothing).await? {
            for path in [&["database", "create", database][..], &create] {
                match self.post(path, Load::Nothing).await? {
                    Reply::Conflict { .. } => {}
                    reply => drop(reply.done()?),
                }
            }
        }
        Ok(())
    }
}
