//! How routes were: what runs on the schedule came to before a release, and what verifications found.
//!
//! Runs of a verification are no baseline by themselves: one that is repeated because it said no would be held
//! against what it found, and say yes. What it found becomes the baseline when it passes, when a route is good,
//! or when somebody accepts it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::verify::{Asked, landing};
use crate::{
    canary::{Outcome, Route, RouteId, Timestamp, Verdict, Why},
    detect::{
        baseline::{Baseline, before_until, released_at},
        verification::{Answer, Turn, Verification},
    },
    store::{Store, StoreError, retention::first_marker_at},
};

/// Runs of a route that tell how it was.
const RUNS: u32 = 50;
/// Markers and incidents that may matter: those of the last hours.
const NEWEST: u32 = 200;
/// What was found of a route that nobody has verified for so long says nothing any more.
const FORGOTTEN: Duration = Duration::from_secs(90 * 86_400);
/// Where the ledger keeps what verifications found.
const SETTING: &str = "verified";

/// What a verification found of a route.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Found {
    at: Timestamp,
    outcome: Outcome,
}

/// What is known of a route from verifications.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Known {
    /// As it stood when it was last taken for how it is.
    accepted: Option<Found>,
    /// By the last one that could see.
    last: Option<Found>,
}

type Book = BTreeMap<RouteId, Known>;

/// How each route was, at `now`.
pub type Baselines = HashMap<RouteId, Baseline>;

/// What the ledger knows of how routes were.
pub async fn baselines(store: &dyn Store, routes: &[Arc<Route>], now: Timestamp) -> Result<Baselines, StoreError> {
    let book = open(store).await?;
    let released = released_at(&store.deploys(NEWEST).await?, now);
    let incidents = store.incidents(NEWEST).await?;
    let mut baselines = Baselines::new();
    for route in routes {
        let until = before_until(route.id, now, released, &incidents);
        let (before, slowest) = scheduled(store, route.id, until).await?;
        let lately = if until == now { before.clone() } else { scheduled(store, route.id, now).await?.0 };
        let known = book.get(&route.id).cloned().unwrap_or_default();
        // Where nothing else is known, the first verification is what later ones are held against.
        let accepted = known.accepted.or(known.last.filter(|_| before.is_empty()));
        baselines.insert(
            route.id,
            Baseline { before: newest(accepted, before), lately: newest(known.last, lately), slowest },
        );
    }
    Ok(baselines)
}

/// What runs that no verification sent came to until then, newest first, and how long rows took at their slowest.
async fn scheduled(
    store: &dyn Store,
    route: RouteId,
    until: Timestamp,
) -> Result<(Vec<Found>, Option<Duration>), StoreError> {
    let records = store.runs_before(route, first_marker_at(until), RUNS).await?;
    let told = records.into_iter().filter_map(|record| record.verdict);
    let told = told.filter(|verdict| verdict.why != Why::Verify && !verdict.agent_away && verdict.due < until);
    let told: Vec<Verdict> = told.collect();
    let landed = told.iter().filter(|verdict| verdict.outcome == Outcome::Landed);
    let slowest = landed.filter_map(|verdict| landing(&verdict.evidence)).max();
    Ok((told.iter().map(|verdict| Found { at: verdict.due, outcome: verdict.outcome }).collect(), slowest))
}

/// Of what a verification found and what runs on the schedule came to, the newer.
fn newest(found: Option<Found>, runs: Vec<Found>) -> Vec<Outcome> {
    match found {
        Some(found) if runs.first().is_none_or(|run| run.at <= found.at) => vec![found.outcome],
        _ => runs.iter().map(|run| run.outcome).collect(),
    }
}

/// Keeps what a verification found. What passed, what is good, and what somebody accepts is how routes are from now
/// on. One at a time: it reads what it writes. The answer is worth more than the memory of it.
pub async fn remember(store: &dyn Store, asked: &Asked, found: &Verification, at: Timestamp) {
    if let Err(error) = keep(store, asked, found, at).await {
        warn!(%error, "what was found could not be kept; the next verification will not know of it");
    }
}

async fn keep(store: &dyn Store, asked: &Asked, found: &Verification, at: Timestamp) -> Result<(), StoreError> {
    let mut book = open(store).await?;
    // What is no longer configured is not known for ever.
    book.retain(|_, known| known.last.is_some_and(|found| at.since(found.at) < FORGOTTEN));
    for (route, one) in asked.routes.iter().zip(&found.routes) {
        let Some(outcome) = one.outcome.filter(|_| one.state != Turn::Undetermined) else { continue };
        let (known, is) = (book.entry(route.id).or_default(), Some(Found { at, outcome }));
        if asked.accept || found.answer == Answer::Yes || matches!(one.state, Turn::Ok | Turn::Fixed) {
            known.accepted = is;
        }
        known.last = is;
    }
    let text = serde_json::to_string(&book).map_err(|error| StoreError::Unavailable { detail: error.to_string() })?;
    store.keep_setting(SETTING, &text).await
}

async fn open(store: &dyn Store) -> Result<Book, StoreError> {
    let Some(text) = store.setting(SETTING).await? else { return Ok(Book::new()) };
    serde_json::from_str(&text).map_err(|error| StoreError::Corrupt { detail: format!("`{SETTING}`: {error}") })
}
