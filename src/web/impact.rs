//! What incidents did to customers: asked for by a POST, then looked at until it is found. Lists of customers'
//! jobs are told to nobody else: whoever asked has a name for the answer that cannot be guessed.

use std::{
    collections::{VecDeque, hash_map::RandomState},
    hash::BuildHasher,
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
    api::{Answer, told},
    guard,
};
use crate::detect::{Incident, impact::Impact};

/// Answers that can still be looked at. A large one is some megabytes.
const KEPT: usize = 10;
/// At work at once: each reads whole accounts.
const AT_ONCE: usize = 2;
/// Longest that a job may be said to be at work.
const LONGEST: f64 = 90.0 * 86_400.0;

/// One, as it stands.
#[derive(Clone, Debug)]
pub struct Asking {
    id: String,
    incident: String,
    stands: Arc<Mutex<Stands>>,
}

#[derive(Debug, Default)]
struct Stands {
    read: usize,
    of: usize,
    /// What was found, or why nothing was.
    found: Option<Result<Arc<Impact>, String>>,
}

impl Asking {
    /// So many of so many accounts have been read.
    pub fn is_at(&self, read: usize, of: usize) {
        let mut stands = self.stands.lock().unwrap_or_else(PoisonError::into_inner);
        (stands.read, stands.of) = (read, of);
    }

    /// It is over.
    pub fn found(&self, found: Result<Impact, String>) {
        self.stands.lock().unwrap_or_else(PoisonError::into_inner).found = Some(found.map(Arc::new));
    }

    fn is_over(&self) -> bool {
        self.stands.lock().unwrap_or_else(PoisonError::into_inner).found.is_some()
    }

    fn shape(&self) -> Value {
        let stands = self.stands.lock().unwrap_or_else(PoisonError::into_inner);
        let (found, error) = match &stands.found {
            Some(Ok(found)) => (Some(Arc::clone(found)), None),
            Some(Err(error)) => (None, Some(error.clone())),
            None => (None, None),
        };
        let (read, of) = (stands.read, stands.of);
        drop(stands);
        json!({ "id": self.id, "incident": self.incident, "read": read, "of": of, "impact": found, "error": error })
    }
}

/// The last ones.
#[derive(Debug, Default)]
pub struct Askings(Mutex<VecDeque<Asking>>);

impl Askings {
    fn begin(&self, incident: &Incident) -> Option<Asking> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.iter().filter(|asking| !asking.is_over()).count() >= AT_ONCE {
            return None;
        }
        // Keyed by the system's own chance: who has seen others cannot guess this one.
        let keyed = RandomState::new();
        let id = format!("{:016x}{:016x}", keyed.hash_one(0_u8), keyed.hash_one(1_u8));
        let asking = Asking { id, incident: incident.id.to_string(), stands: Arc::default() };
        all.push_back(asking.clone());
        while all.len() > KEPT {
            all.pop_front();
        }
        Some(asking)
    }

    fn get(&self, incident: &str, id: &str) -> Option<Asking> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|asking| asking.id == id && asking.incident == incident).cloned()
    }
}

/// What is asked of an incident.
#[derive(Clone, Debug)]
pub struct Question {
    /// Which.
    pub incident: Incident,
    /// How long before it a job may have begun that was still at work in it.
    pub longest_job: Duration,
    /// Whether targets are looked at too.
    pub check: bool,
}

/// What is posted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Posted {
    #[serde(default = "six_hours")]
    longest_job_seconds: f64,
    #[serde(default)]
    check: bool,
}

fn six_hours() -> f64 {
    6.0 * 3600.0
}

pub(super) async fn begin(State(doors): Shared, Path(id): Path<String>, headers: HeaderMap, body: Body) -> Answer {
    let posted: Posted = guard::json_body(&headers, body).await?;
    if !(0.0..=LONGEST).contains(&posted.longest_job_seconds) {
        return Err(Problem::wrong("`longest_job_seconds` must be from 0 to 7776000"));
    }
    let incident = told(&doors, &id).await?;
    let asking = doors.askings.begin(&incident);
    let asking = asking.ok_or_else(|| Problem::unavailable("others are being looked into: ask again in a minute"))?;
    let longest_job = Duration::from_secs_f64(posted.longest_job_seconds);
    let question = Box::new(Question { incident, longest_job, check: posted.check });
    let shown = asking.clone();
    if let Err(problem) = doors.order(|reply| Order::Impact { question, asking: shown, reply }).await {
        asking.found(Err(problem.what.clone()));
        return Err(problem);
    }
    let mut response = answer::json(&asking.shape());
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

pub(super) async fn look(State(doors): Shared, Path((incident, id)): Path<(String, String)>) -> Answer {
    let asking = doors.askings.get(&incident, &id);
    let asking = asking.ok_or_else(|| Problem::nothing("nobody asked that, or it was long ago"))?;
    Ok(answer::json(&asking.shape()))
}
