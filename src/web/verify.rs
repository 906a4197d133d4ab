//! Verifications that a pipeline asks for: begun by a POST, then looked at until they are over.

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
use crate::{
    canary::{Route, Selector},
    config::check_selector,
    detect::verification::Verification,
};

/// Verifications that can still be looked at.
const KEPT: usize = 20;
/// Longest that one may take.
const LONGEST: f64 = 24.0 * 3600.0;

/// One, as it stands.
#[derive(Clone, Debug)]
pub struct Under {
    id: String,
    stands: Arc<Mutex<Stands>>,
}

#[derive(Debug, Default)]
struct Stands {
    clear: usize,
    bad: usize,
    of: usize,
    found: Option<Verification>,
}

impl Under {
    /// So many of so many routes are clear, so many of them bad.
    pub fn is_at(&self, clear: usize, bad: usize, of: usize) {
        let mut stands = self.stands.lock().unwrap_or_else(PoisonError::into_inner);
        (stands.clear, stands.bad, stands.of) = (clear, bad, of);
    }

    /// It is over.
    pub fn found(&self, verification: Verification) {
        self.stands.lock().unwrap_or_else(PoisonError::into_inner).found = Some(verification);
    }

    fn shape(&self) -> Value {
        let stands = self.stands.lock().unwrap_or_else(PoisonError::into_inner);
        let Stands { clear, bad, of, found } = &*stands;
        json!({ "id": self.id, "clear": clear, "bad": bad, "of": of, "verification": found })
    }
}

/// The last ones.
#[derive(Debug, Default)]
pub struct Verifications(Mutex<VecDeque<Under>>);

impl Verifications {
    fn begin(&self, of: usize) -> Under {
        let id = format!("{:016x}", fastrand::u64(..));
        let under = Under { id, stands: Arc::new(Mutex::new(Stands { of, ..Stands::default() })) };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push_back(under.clone());
        while all.len() > KEPT {
            all.pop_front();
        }
        under
    }

    fn get(&self, id: &str) -> Option<Under> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().find(|under| under.id == id).cloned()
    }
}

/// What is to be verified.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which routes.
    pub routes: Vec<Arc<Route>>,
    /// How often each is run.
    pub rounds: u32,
    /// When to answer with what is known by then.
    pub within: Duration,
    /// What still fails is a no, too.
    pub strict: bool,
}

/// What a pipeline posts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Posted {
    #[serde(default)]
    r#where: std::collections::BTreeMap<String, String>,
    #[serde(default = "one")]
    rounds: u32,
    #[serde(default = "five_minutes")]
    within_seconds: f64,
    #[serde(default)]
    strict: bool,
}

fn one() -> u32 {
    1
}

fn five_minutes() -> f64 {
    300.0
}

pub(super) async fn begin(State(doors): Shared, headers: HeaderMap, body: Body) -> Answer {
    let posted: Posted = guard::json_body(&headers, body).await?;
    if !(1..=100).contains(&posted.rounds) {
        return Err(Problem::wrong("`rounds` must be from 1 to 100"));
    }
    if !(1.0..=LONGEST).contains(&posted.within_seconds) {
        return Err(Problem::wrong("`within_seconds` must be from 1 to 86400"));
    }
    let only = Selector::new(posted.r#where);
    let mut routes: Vec<Arc<Route>> =
        doors.board.borrow().routes().iter().map(|standing| Arc::clone(&standing.route)).collect();
    check_selector(&only, &routes).map_err(|why| Problem::wrong(format!("`where`: {why}")))?;
    routes.retain(|route| only.covers(route));
    let under = doors.verifications.begin(routes.len());
    let (rounds, strict) = (posted.rounds, posted.strict);
    let request = Request { routes, rounds, within: Duration::from_secs_f64(posted.within_seconds), strict };
    let order = under.clone();
    doors.order(|reply| Order::Verify { request, under: order, reply }).await?;
    let mut response = answer::json(&under.shape());
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

pub(super) async fn look(State(doors): Shared, Path(id): Path<String>) -> Answer {
    let under = doors.verifications.get(&id);
    let under = under.ok_or_else(|| Problem::nothing("there is no such verification, or it was long ago"))?;
    Ok(answer::json(&under.shape()))
}
