//! What customers use and no route covers: the platforms are asked, page by page.

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
    api::Answer,
    guard,
    inquiry::Stage,
};

/// Farthest back: platforms forget before that.
const LONGEST: u64 = 366 * 24 * 3600;
/// Shortest time that says anything.
const SHORTEST: u64 = 60;

/// How far it is.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Read {
    /// Jobs that were read.
    pub jobs: u64,
    /// Accounts that have been read.
    pub read: usize,
    /// All of them.
    pub of: usize,
}

impl Stage for Read {
    const FINDS: &'static str = "coverage";
    const KEPT: usize = 20;
    // They are read one after the other; the rest waits.
    const AT_ONCE: usize = 5;
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
    let surveying = doors.surveys.begin("", Read::default())?;
    let within = Duration::from_secs(posted.within_seconds);
    surveying.order(&doors, |surveying, reply| Order::Coverage { within, surveying, reply }).await
}

pub(super) async fn look(State(doors): Shared, Path(id): Path<String>) -> Answer {
    Ok(answer::json(&doors.surveys.get("", &id)?.shape()))
}
