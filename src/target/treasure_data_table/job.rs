//! Reading jobs: a query is issued and followed to its end, or stopped when its time is over.

use std::time::Duration;

use tokio::time::Instant;

use super::TreasureDataTable;
use crate::{
    target::TargetError,
    treasure_data_api::{Engine, JobId, Load, Reply, Report, Status},
};

/// Between two looks at a job: soon at first, then less often.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
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
        let priority = self.settings.priority.map(|priority| priority.to_string());
        // The platform's own repetition would only make the answer later.
        let mut form = vec![("query", sql), ("retry_limit", "0")];
        let further = [("priority", &priority), ("pool_name", &self.settings.pool)];
        form.extend(further.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))));
        let path = ["job", "issue", engine.as_str(), &self.settings.database];
        let answer = match self.api.post(&path, Load::Form(&form)).await? {
            Reply::Missing(detail) => return Err(TargetError::Unreachable { detail }),
            reply => reply.done()?,
        };
        let id = JobId::read(&answer.json["job_id"])
            .ok_or_else(|| TargetError::Nonsense { detail: "the reading job was issued without an id".to_owned() })?;
        self.follow(&id, due).await.map(|()| id)
    }

    async fn follow(&self, id: &JobId, due: Instant) -> Result<(), TargetError> {
        let unreachable = |detail: String| Err(TargetError::Unreachable { detail });
        let mut pause = PAUSES.0;
        loop {
            tokio::time::sleep_until((Instant::now() + pause).min(due)).await;
            pause = (pause * 3 / 2).min(PAUSES.1);
            let json = self.api.get(&["job", "show", id.as_str()]).await?.done()?.json;
            let report =
                Report::read(id, &json).map_err(|wrong| TargetError::Nonsense { detail: self.api.shown(&wrong) })?;
            let doing = match report.status {
                Status::Success => return Ok(()),
                Status::Error => {
                    // It may have missed a table or column that was there before.
                    self.known().whole.clear();
                    return unreachable(format!(
                        "reading job {} failed: {}",
                        id.as_str(),
                        self.api.shown_end(&report.log)
                    ));
                }
                Status::Killed => return unreachable(format!("reading job {} was killed", id.as_str())),
                Status::Waiting => "queued",
                Status::Running => "running",
            };
            if Instant::now() >= due {
                // Nobody waits for it any more; if it cannot be stopped, it ends by itself.
                let _ =
                    tokio::time::timeout(RESERVE, self.api.post(&["job", "kill", id.as_str()], Load::Nothing)).await;
                return unreachable(format!("reading job {} was still {doing} when its time was over", id.as_str()));
            }
        }
    }
}
