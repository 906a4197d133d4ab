//! Preparing: the seed table is made, counted and filled before the first query reads it. Engines
//! that start slowly take longer than a call may: what was begun goes on with the next call.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    HiveServer2,
    seed::Seed,
    session::{Operation, Session, State, Unknown},
};
use crate::platform::PlatformError;

/// Longest wait for it in one call.
const PATIENCE: Duration = Duration::from_secs(12);
/// Between two questions to a server that answers at once.
const PAUSE: Duration = Duration::from_millis(50);

/// A seed table on its way.
pub(super) struct Chore {
    session: Session,
    seed: Seed,
    step: Step,
    operation: Option<Operation>,
    /// Why it could not be filled.
    trouble: Option<String>,
    /// Answers heard so far.
    answers: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Create,
    Count,
    Fill,
    /// Counts again.
    Check,
}

impl HiveServer2 {
    pub(super) fn seed(&self, rows: u32) -> Seed {
        let settings = &self.settings;
        Seed::new(settings.engine, settings.database.as_deref(), &settings.seed_table, rows)
            .below(settings.seed_location.as_deref())
    }

    /// How many rows the smallest seed table has that is ready and has enough.
    pub(super) fn ready(&self, rows: u32) -> Option<u32> {
        self.known().seeds.range(rows..).next().copied()
    }

    /// Has a seed table of so many rows ready, or says why not.
    pub(super) async fn seed_ready(&self, rows: u32) -> Result<u32, PlatformError> {
        if let Some(ready) = self.ready(rows) {
            return Ok(ready);
        }
        let mut slot = self.chore.lock().await;
        if let Some(ready) = self.ready(rows) {
            return Ok(ready);
        }
        // One for other rows, or whose connection broke, is begun anew.
        if slot.as_ref().is_some_and(|chore| chore.seed.rows() != rows || chore.session.is_broken()) {
            *slot = None;
        }
        if slot.is_none() {
            // A new one: Spark's sessions remember the files that a table had.
            let session = Session::open(&self.settings.place).await?;
            let (seed, step) = (self.seed(rows), Step::Create);
            *slot = Some(Chore { session, seed, step, operation: None, trouble: None, answers: 0 });
        }
        let Some(chore) = slot.as_mut() else { return Err(PlatformError::NotFound) };
        let before = chore.answers;
        let done = timeout(PATIENCE.min(self.settings.timeout), chore.go()).await;
        match done {
            Ok(Ok(())) => {
                self.known().seeds.insert(rows);
                if let Some(chore) = slot.take() {
                    self.give_back(chore.session).await;
                }
                Ok(rows)
            }
            Ok(Err(error)) => {
                *slot = None;
                Err(error)
            }
            Err(_) if chore.answers == before => {
                *slot = None;
                Err(self.late(true))
            }
            // Neither refused nor begun: a run that can wait for it no longer was not heard.
            Err(_) => {
                let detail = "the seed table is still being made".to_owned();
                Err(PlatformError::Unreachable { detail, never_arrived: true })
            }
        }
    }
}

impl Chore {
    /// Goes on until the table is ready. All that it knows it keeps: it may be dropped at any await.
    async fn go(&mut self) -> Result<(), PlatformError> {
        loop {
            let operation = match self.operation.clone() {
                Some(operation) => operation,
                None => {
                    let statement = match self.step {
                        Step::Create => self.seed.create(),
                        Step::Fill => self.seed.fill(),
                        Step::Count | Step::Check => self.seed.count(),
                    };
                    let operation = self.session.execute(&statement).await.map_err(Unknown::trouble)?;
                    self.answers += 1;
                    self.operation.insert(operation).clone()
                }
            };
            let report = self.session.status(&operation).await.map_err(Unknown::trouble)?;
            self.answers += 1;
            match report.state {
                State::Waiting | State::Running => tokio::time::sleep(PAUSE).await,
                State::Finished => {
                    let filled = match self.step {
                        Step::Create | Step::Fill => None,
                        // What was fetched, and not heard, is not there to be fetched again: it is counted anew.
                        Step::Count | Step::Check => {
                            self.operation = None;
                            let rows = self.session.number(&operation).await.map_err(Unknown::trouble)?;
                            Some(rows >= i64::from(self.seed.rows()))
                        }
                    };
                    // It is not asked for again, whether its end is heard or not. An operation that is not
                    // closed is closed with its session.
                    self.operation = None;
                    let _ = self.session.close(&operation).await;
                    self.step = match (self.step, filled) {
                        (_, Some(true)) => return Ok(()),
                        (Step::Create, _) => Step::Count,
                        (Step::Count, _) => Step::Fill,
                        (Step::Fill, _) => Step::Check,
                        (Step::Check, _) => {
                            let lacking = || "it was filled and its rows are not there".to_owned();
                            let detail = self.trouble.take().unwrap_or_else(lacking);
                            return Err(PlatformError::Broken {
                                detail: format!("cannot fill the seed table: {detail}"),
                            });
                        }
                    };
                }
                State::Failed if self.step == Step::Create && report.is_there_already() => {
                    (self.operation, self.step) = (None, Step::Count);
                    let _ = self.session.close(&operation).await;
                }
                // Two that fill it at once may get into each other's way: it may be full all the same.
                State::Failed if self.step == Step::Fill => {
                    (self.operation, self.step) = (None, Step::Check);
                    self.trouble = Some(report.detail);
                    let _ = self.session.close(&operation).await;
                }
                State::Failed | State::Stopped => {
                    let detail = format!("cannot make the seed table: {}", report.detail);
                    return Err(PlatformError::Refused { detail });
                }
            }
        }
    }
}
