//! What incidents did to customers. Lists of customers' jobs are told to nobody else than whoever asked.

use std::time::Duration;

use axum::{
    body::Body,
    extract::{Path, State},
    http::HeaderMap,
};
use serde::{Deserialize, Serialize};

use super::{
    Order, Shared,
    answer::{self, Problem},
    api::{Answer, told},
    guard,
    inquiry::Stage,
};
use crate::detect::Incident;

/// Longest that a job may be said to be at work.
const LONGEST: f64 = 90.0 * 86_400.0;

/// How far it is.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Accounts {
    /// Accounts that have been read.
    pub read: usize,
    /// All of them.
    pub of: usize,
    /// Outputs that have been looked for at their targets.
    pub looked: usize,
    /// All of them that are to be.
    pub to_look: usize,
}

impl Stage for Accounts {
    const FINDS: &'static str = "impact";
    // A large one is some megabytes.
    const KEPT: usize = 10;
    // Each reads whole accounts.
    const AT_ONCE: usize = 2;
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
    let asking = doors.askings.begin(incident.id.as_str(), Accounts::default())?;
    let longest_job = Duration::from_secs_f64(posted.longest_job_seconds);
    let question = Box::new(Question { incident, longest_job, check: posted.check });
    asking.order(&doors, |asking, reply| Order::Impact { question, asking, reply }).await
}

pub(super) async fn look(State(doors): Shared, Path((incident, id)): Path<(String, String)>) -> Answer {
    Ok(answer::json(&doors.askings.get(&incident, &id)?.shape()))
}
