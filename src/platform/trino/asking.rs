//! Asking: statements of the driver's own, followed to their end, and what the server's list of
//! queries says of a run.

use std::time::Duration;

use serde_json::Value as Json;
use tokio::time::Instant;

use super::{
    Trino,
    api::Trouble,
    course::Course,
    page::{Failure, QueryId, State},
    sql::literal,
    ticket::{Ticket, label, step_of},
};
use crate::{canary::Marker, platform::PlatformError};

/// Longest time for a statement of the driver's own; the agent gives a call 20 s.
const PATIENCE: Duration = Duration::from_secs(15);
/// And most pages: a server that gives the next at once, for ever, is not followed for long.
const MOST_PAGES: usize = 500;

/// What every statement of the driver's own begins with: it is no customer's, and no run's.
pub(super) const OWN: &str = "/* landfall own */";

/// Why a statement of the driver's own has no result.
pub(super) enum Unasked {
    /// It could not be sent or followed.
    Trouble(PlatformError),
    /// It was carried out, and failed.
    Failed(Failure),
}

impl Unasked {
    /// For questions whose failure is no word on a run: what is not known is not heard.
    pub(super) fn unheard(self) -> PlatformError {
        match self {
            Self::Trouble(error) => error,
            Self::Failed(failure) => PlatformError::Nonsense {
                detail: format!(
                    "a question of our own failed: {}",
                    failure.text().chars().take(400).collect::<String>()
                ),
            },
        }
    }

    /// For what must be there before a run: it will not be, or not yet.
    pub(super) fn refused(self) -> PlatformError {
        match self {
            Self::Trouble(error) => error,
            Self::Failed(failure) if failure.kind == "USER_ERROR" => PlatformError::Refused { detail: failure.text() },
            Self::Failed(failure) => PlatformError::Broken { detail: failure.text() },
        }
    }
}

/// What became of a query, as the server's list says.
pub(super) struct Fate {
    pub(super) state: State,
    pub(super) failure: Option<Failure>,
}

impl Trino {
    /// The rows that a statement brings.
    pub(super) async fn ask(&self, sql: String) -> Result<Vec<Vec<Json>>, Unasked> {
        let end = Instant::now() + PATIENCE;
        let mut page =
            self.api.post(format!("{OWN} {sql}"), "own").await.map_err(|trouble| Unasked::Trouble(trouble.error()))?;
        let mut rows = std::mem::take(&mut page.rows);
        for _ in 0..MOST_PAGES {
            if let Some(failure) = page.error {
                return Err(Unasked::Failed(failure));
            }
            let Some(next) = page.next else { return Ok(rows) };
            if Instant::now() >= end {
                let _ = self.api.delete(&next).await;
                let detail = format!("a statement of our own had no end within {} s", PATIENCE.as_secs());
                return Err(Unasked::Trouble(PlatformError::Unreachable { detail, never_arrived: false }));
            }
            page = match self.api.get(&next).await {
                Ok(page) => page,
                Err(Trouble::Gone) => {
                    let detail = "the server forgot a statement of our own while it was at it".to_owned();
                    return Err(Unasked::Trouble(PlatformError::Unreachable { detail, never_arrived: false }));
                }
                Err(trouble) => return Err(Unasked::Trouble(trouble.error())),
            };
            rows.append(&mut page.rows);
            rows.truncate(10_000);
        }
        Err(Unasked::Trouble(PlatformError::Nonsense { detail: format!("no end after {MOST_PAGES} pages") }))
    }

    /// What became of a query. None: the list does not have it, any more.
    pub(super) async fn fate(&self, query: &QueryId) -> Result<Option<Fate>, PlatformError> {
        let reasons = self.cluster.flavor.reasons();
        let sql =
            format!("SELECT state, {reasons} FROM system.runtime.queries WHERE query_id = {}", literal(query.as_str()));
        let rows = self.ask(sql).await.map_err(Unasked::unheard)?;
        let Some(row) = rows.first() else { return Ok(None) };
        let text = |at: usize| row.get(at).and_then(Json::as_str).unwrap_or_default().to_owned();
        let state = State::read(&text(0));
        let failure = (state == State::Failed).then(|| Failure {
            kind: text(1),
            name: text(2),
            message: "so says system.runtime.queries".to_owned(),
        });
        Ok(Some(Fate { state, failure }))
    }

    /// The newest query of a run. None: the list does not have one, which proves nothing: it is short,
    /// and is lost when the server is restarted.
    pub(super) async fn newest(&self, marker: Marker, course: Option<Course>) -> Result<Option<Ticket>, PlatformError> {
        // Queries are found by what they begin with, which this one does not.
        let sql = format!(
            "SELECT query_id, substr(query, 1, 60) FROM system.runtime.queries WHERE strpos(query, {}) = 1",
            literal(&label(marker))
        );
        let rows = self.ask(sql).await.map_err(Unasked::unheard)?;
        let read = |row: &Vec<Json>| {
            let id = QueryId::new(row.first()?.as_str()?)?;
            let (step, of) = step_of(marker, row.get(1)?.as_str()?)?;
            Some((step, of, id))
        };
        let newest = rows.iter().filter_map(read).max_by_key(|(step, ..)| *step);
        Ok(newest.map(|(step, of, id)| Ticket::found(marker, course, step, of, id)))
    }
}
