//! Verifications that a pipeline asks for.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Path, State},
    http::HeaderMap,
};
use serde::{Deserialize, Serialize};

use super::{
    Doors, Order, Shared,
    answer::{self, Problem},
    api::Answer,
    guard,
    inquiry::{Inquiry, Stage},
};
use crate::{
    canary::{Route, Selector},
    config::check_selector,
    detect::verification::Verification,
};

/// Longest that one may take.
const LONGEST: f64 = 24.0 * 3600.0;

/// How far a verification is.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Clear {
    /// Routes of which it is clear.
    pub clear: usize,
    /// Of them, bad.
    pub bad: usize,
    /// All routes.
    pub of: usize,
}

impl Stage for Clear {
    const FINDS: &'static str = "verification";
    const KEPT: usize = 20;
    // Each sends every route that it selects.
    const AT_ONCE: usize = 5;
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
    /// What it finds is how routes are from now on.
    pub accept: bool,
}

/// What a pipeline posts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Posted {
    #[serde(default)]
    r#where: std::collections::BTreeMap<String, String>,
    #[serde(default = "one")]
    rounds: u32,
    #[serde(default = "five_minutes")]
    within_seconds: f64,
    #[serde(default)]
    strict: bool,
    #[serde(default)]
    accept: bool,
}

fn one() -> u32 {
    1
}

fn five_minutes() -> f64 {
    300.0
}

impl Posted {
    /// What it asks for, if that can be done.
    pub(super) fn request(self, doors: &Doors) -> Result<Request, Problem> {
        if !(1..=100).contains(&self.rounds) {
            return Err(Problem::wrong("`rounds` must be from 1 to 100"));
        }
        if !(1.0..=LONGEST).contains(&self.within_seconds) {
            return Err(Problem::wrong("`within_seconds` must be from 1 to 86400"));
        }
        if self.strict && self.accept {
            return Err(Problem::wrong("`accept` takes what is bad for how it is, `strict` does not: one of them"));
        }
        let only = Selector::new(self.r#where);
        let mut routes: Vec<Arc<Route>> =
            doors.board.borrow().routes().iter().map(|standing| Arc::clone(&standing.route)).collect();
        check_selector(&only, &routes).map_err(|why| Problem::wrong(format!("`where`: {why}")))?;
        routes.retain(|route| only.covers(route));
        let within = Duration::from_secs_f64(self.within_seconds);
        Ok(Request { routes, rounds: self.rounds, within, strict: self.strict, accept: self.accept })
    }
}

impl Request {
    /// Where it is shown how it stands, unless too many are under way.
    pub(super) fn begin(&self, doors: &Doors) -> Result<Inquiry<Clear, Verification>, Problem> {
        doors.verifications.begin("", Clear { of: self.routes.len(), ..Clear::default() })
    }
}

pub(super) async fn begin(State(doors): Shared, headers: HeaderMap, body: Body) -> Answer {
    let posted: Posted = guard::json_body(&headers, body).await?;
    let request = posted.request(&doors)?;
    let under = request.begin(&doors)?;
    under.order(&doors, |under, reply| Order::Verify { request, under, reply }).await
}

pub(super) async fn look(State(doors): Shared, Path(id): Path<String>) -> Answer {
    Ok(answer::json(&doors.verifications.get("", &id)?.shape()))
}

/// Nobody waits for it any more. It ends at once, with what is clear by then; runs that are under way fly on.
pub(super) async fn cancel(State(doors): Shared, Path(id): Path<String>, headers: HeaderMap, body: Body) -> Answer {
    // Nothing is read from it, so nothing large has a reason to be there.
    guard::body(&headers, body, 1_024, Duration::from_secs(5)).await?;
    let inquiry = doors.verifications.get("", &id)?;
    inquiry.take_back();
    Ok(answer::json(&inquiry.shape()))
}
