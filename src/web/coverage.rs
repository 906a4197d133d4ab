//! What customers use and no route covers: asked for by a POST, then looked at until it is there. The platforms
//! are asked, page by page, which may take minutes.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Order, Shared,
    answer::{self, Problem},
    api::Answer,
    guard,
};
use crate::detect::coverage::Coverage;

/// Answers that can still be looked at.
const KEPT: usize = 20;
/// Those that wait or are being read at one time: they are read one after the other.
const UNDERWAY: usize = 5;
/// Farthest back: platforms forget before that.
const LONGEST: u64 = 366 * 24 * 3600;
/// Shortest time that says anything.
const SHORTEST: u64 = 60;

/// One, as it stands.
#[derive(Clone, Debug)]
pub struct Surveying {
    id: String,
    stands: Arc<Mutex<Stands>>,
}

#[derive(Debug, Default)]
struct Stands {
    jobs: u64,
    coverage: Option<Arc<Coverage>>,
    given_up: bool,
}

impl Surveying {
    /// So many jobs were read.
    pub fn is_at(&self, jobs: u64) {
        self.stands.lock().unwrap_or_else(PoisonError::into_inner).jobs = jobs;
    }

    /// It is there.
    pub fn found(&self, coverage: Coverage) {
        self.stands.lock().unwrap_or_else(PoisonError::into_inner).coverage = Some(Arc::new(coverage));
    }

    /// It will not come.
    pub fn give_up(&self) {
        self.stands.lock().unwrap_or_else(PoisonError::into_inner).given_up = true;
    }

    fn is_underway(&self) -> bool {
        let stands = self.stands.lock().unwrap_or_else(PoisonError::into_inner);
        stands.coverage.is_none() && !stands.given_up
    }

    fn shape(&self) -> Result<Value, Problem> {
        let stands = self.stands.lock().unwrap_or_else(PoisonError::into_inner);
        if stands.given_up {
            return Err(Problem::unavailable("nothing was read; the agent's log says why"));
        }
        Ok(json!({ "id": self.id, "jobs": stands.jobs, "coverage": stands.coverage.as_deref() }))
    }
}

/// The last ones.
#[derive(Debug, Default)]
pub struct Surveys(Mutex<VecDeque<Surveying>>);

impl Surveys {
    fn begin(&self) -> Option<Surveying> {
        let surveying = Surveying { id: format!("{:016x}", fastrand::u64(..)), stands: Arc::default() };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.iter().filter(|known| known.is_underway()).count() >= UNDERWAY {
            return None;
        }
        all.push_back(surveying.clone());
        while all.len() > KEPT {
            all.pop_front();
        }
        Some(surveying)
    }

    fn get(&self, id: &str) -> Option<Surveying> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().find(|known| known.id == id).cloned()
    }
}

/// What is posted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Posted {
    #[serde(default = "a_month")]
    within_seconds: u64,
}

fn a_month() -> u64 {
    30 * 24 * 3600
}

pub(super) async fn begin(State(doors): Shared, headers: HeaderMap, body: Body) -> Answer {
    let posted: Posted = guard::json_body(&headers, body).await?;
    if !(SHORTEST..=LONGEST).contains(&posted.within_seconds) {
        return Err(Problem::wrong(format!("`within_seconds` must be from {SHORTEST} to {LONGEST}")));
    }
    let begun = doors.surveys.begin();
    let surveying = begun.ok_or_else(|| Problem::unavailable("the platforms are being asked already; wait for it"))?;
    let (within, order) = (Duration::from_secs(posted.within_seconds), surveying.clone());
    if let Err(problem) = doors.order(|reply| Order::Coverage { within, surveying: order, reply }).await {
        surveying.give_up();
        return Err(problem);
    }
    let mut response = answer::json(&surveying.shape()?);
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

pub(super) async fn look(State(doors): Shared, Path(id): Path<String>) -> Answer {
    let surveying = doors.surveys.get(&id);
    let surveying = surveying.ok_or_else(|| Problem::nothing("there is no such survey, or it was long ago"))?;
    Ok(answer::json(&surveying.shape()?))
}
