//! `/api/v1` and `/-/reload`.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Doors, Order, Shared,
    answer::{self, Problem},
    guard, ledger,
    maintenance::Quiet,
    shapes::{IncidentShape, RouteShape, RunShape},
    verify,
};
use crate::{
    canary::{CanaryName, Labels, PlatformName, Route, RouteId, Selector, TargetName, Timestamp},
    config::{check_selector, nearest},
    detect::{Deploy, Incident, IncidentId},
};

/// Entries of one list when nothing is said, and at most.
const USUAL: u32 = 100;
const MOST: u32 = 1_000;
/// Incidents that were not told yet are left out: so many more are read.
const UNTOLD: u32 = 200;
/// Longest name of a service or version, longest reason: a line on a page.
const LINE: usize = 200;
/// A deploy may be announced, but not for another day: then it is a typing error.
const AHEAD: Duration = Duration::from_secs(3600);

pub(super) type Answer = Result<Response, Problem>;

/// What a list is asked with: `?limit=` and `?route=`.
#[derive(Debug, Default)]
pub(super) struct Which {
    limit: Option<String>,
    route: Option<String>,
}

/// The query as it was sent.
pub(super) type Asked = Query<Vec<(String, String)>>;

impl Which {
    /// Reads a query whose keys must be among `known`, each at most once: one that is not understood
    /// is answered with what could be meant, not with everything.
    pub(super) fn of(Query(asked): Asked, known: &[&str]) -> Result<Self, Problem> {
        let mut which = Self::default();
        for (key, value) in asked {
            let place = match key.as_str() {
                "limit" if known.contains(&"limit") => &mut which.limit,
                "route" if known.contains(&"route") => &mut which.route,
                _ => return Err(unknown(&key, known)),
            };
            if place.replace(value).is_some() {
                return Err(Problem::wrong(format!("`{key}` is there twice")));
            }
        }
        Ok(which)
    }

    pub(super) fn limit(&self) -> Result<u32, Problem> {
        let Some(text) = &self.limit else { return Ok(USUAL) };
        let number = text.parse::<u32>().ok().filter(|number| *number > 0);
        number.map(|number| number.min(MOST)).ok_or_else(|| Problem::wrong("`limit` is not a number from 1 on"))
    }

    fn route(&self) -> Result<Option<RouteId>, Problem> {
        let Some(text) = &self.route else { return Ok(None) };
        let route = route_id(text).map(Some);
        route.ok_or_else(|| Problem::wrong("`route` is not of the form canary/platform/target/mode"))
    }
}

fn unknown(key: &str, known: &[&str]) -> Problem {
    let hint = match (nearest(key, known.iter().copied()), known) {
        (Some(word), _) => format!("did you mean `{word}`?"),
        (None, []) => "this list takes none".to_owned(),
        (None, known) => format!("keys are {}", known.join(", ")),
    };
    let shown: String = key.chars().take(80).collect();
    Problem::wrong(format!("unknown key `{shown}`: {hint}"))
}

/// `canary/platform/target/mode`, or the sixteen digits of a route's id.
fn route_id(text: &str) -> Option<RouteId> {
    let parts: Vec<&str> = text.split('/').collect();
    match parts.as_slice() {
        [canary, platform, target, mode] => {
            let (canary, platform) = (CanaryName::new(canary).ok()?, PlatformName::new(platform).ok()?);
            let target = TargetName::new(target).ok()?;
            Some(Route::new(canary, platform, target, mode.parse().ok()?, Labels::default()).id)
        }
        [id] if id.len() == 16 => u64::from_str_radix(id, 16).ok().map(RouteId),
        _ => None,
    }
}

/// One sentence, for whoever has no time for more.
pub(super) async fn summary(State(doors): Shared, asked: Asked) -> Answer {
    Which::of(asked, &[])?;
    Ok(answer::json(&json!({ "summary": doors.summary() })))
}

pub(super) async fn routes(State(doors): Shared, asked: Asked) -> Answer {
    // All of them, unless fewer are asked for: whoever counts routes must not be told of the first few.
    let which = Which::of(asked, &["limit"])?;
    let most = which.limit.is_some().then(|| which.limit()).transpose()?.unwrap_or(u32::MAX);
    let board = Arc::clone(&doors.board.borrow());
    let (maintenance, now) = (Arc::clone(&doors.maintenance.borrow()), (doors.now)());
    let shape = |at: usize| {
        let standing = &board.routes()[at];
        RouteShape::of(standing, maintenance.pause(&standing.route, now).is_some())
    };
    let routes: Vec<RouteShape<'_>> = (0..board.routes().len().min(most as usize)).map(shape).collect();
    Ok(answer::json(&json_list("routes", &routes)))
}

pub(super) async fn runs(State(doors): Shared, asked: Asked) -> Answer {
    let which = Which::of(asked, &["limit", "route"])?;
    let records = ledger(doors.store.runs(which.route()?, which.limit()?)).await?;
    let runs: Vec<RunShape<'_>> = records.iter().map(RunShape::of).collect();
    Ok(answer::json(&json_list("runs", &runs)))
}

pub(super) async fn incidents(State(doors): Shared, asked: Asked) -> Answer {
    let limit = Which::of(asked, &["limit"])?.limit()?;
    let mut found = ledger(doors.store.incidents(limit + UNTOLD)).await?;
    found.retain(|incident| incident.detected_at.is_some());
    found.truncate(limit as usize);
    let found: Vec<Incident> = found.into_iter().map(|incident| as_it_stands(&doors, incident)).collect();
    let routes = routes_of(&doors, &found).await?;
    let quiet: Vec<Quiet> = found.iter().map(|incident| Quiet::of(&doors, incident)).collect();
    let shaped = found.iter().zip(quiet).map(|(incident, quiet)| IncidentShape::of(incident, &routes, quiet));
    let incidents: Vec<IncidentShape<'_>> = shaped.collect();
    Ok(answer::json(&json_list("incidents", &incidents)))
}

pub(super) async fn incident(State(doors): Shared, Path(id): Path<String>, asked: Asked) -> Answer {
    Which::of(asked, &[])?;
    let incident = told(&doors, &id).await?;
    let routes = routes_of(&doors, std::slice::from_ref(&incident)).await?;
    Ok(answer::json(&json_list("incidents", &[IncidentShape::whole(&incident, &routes, Quiet::of(&doors, &incident))])))
}

pub(super) async fn deploys(State(doors): Shared, asked: Asked) -> Answer {
    let limit = Which::of(asked, &["limit"])?.limit()?;
    let deploys = ledger(doors.store.deploys(limit)).await?;
    Ok(answer::json(&json_list("deploys", &deploys)))
}

/// What a release pipeline posts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PostedDeploy {
    service: String,
    version: String,
    at: Option<Timestamp>,
    /// Which routes go first.
    #[serde(default)]
    r#where: std::collections::BTreeMap<String, String>,
    /// It is also to be verified: as what is posted to `/api/v1/verify`.
    verify: Option<verify::Posted>,
}

/// Notes a deploy. The marker is worth more than its verification: one that cannot be begun keeps it from nothing,
/// and is answered beside it.
pub(super) async fn deploy(State(doors): Shared, headers: HeaderMap, body: Body) -> Answer {
    let posted: PostedDeploy = guard::json_body(&headers, body).await?;
    let now = (doors.now)();
    let at = posted.at.unwrap_or(now);
    if at > now.plus(AHEAD) {
        return Err(Problem::wrong("`at` is more than an hour ahead"));
    }
    let deploy = Deploy { service: line("service", posted.service)?, version: line("version", posted.version)?, at };
    let first = Selector::new(posted.r#where);
    let watched: Vec<Arc<Route>> =
        doors.board.borrow().routes().iter().map(|standing| Arc::clone(&standing.route)).collect();
    check_selector(&first, &watched).map_err(|why| Problem::wrong(format!("`where`: {why}")))?;
    let request = posted.verify.map(|posted| posted.request(&doors)).transpose()?;
    let begun = request.map(|request| request.begin(&doors).map(|under| (request, under)));
    let mut answered = json!({ "deploys": [&deploy] });
    let verifying = match begun {
        Some(Ok((request, under))) => {
            answered["verify"] = under.shape();
            Some(Box::new((request, under)))
        }
        Some(Err(problem)) => {
            answered["verify"] = json!({ "error": problem.what });
            None
        }
        None => None,
    };
    let under = verifying.as_ref().map(|verifying| verifying.1.clone());
    if let Err(problem) = doors.order(|reply| Order::Deploy { deploy, first, verifying, reply }).await {
        under.iter().for_each(|under| under.ends(Err(problem.what.clone())));
        return Err(problem);
    }
    let mut response = answer::json(&answered);
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// What a person says who closes an incident.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PostedReason {
    because: String,
}

pub(super) async fn resolve(State(doors): Shared, Path(id): Path<String>, headers: HeaderMap, body: Body) -> Answer {
    let posted: PostedReason = guard::json_body(&headers, body).await?;
    let because = line("because", posted.because)?;
    let id = told(&doors, &id).await?.id;
    doors.order(|reply| Order::Resolve { id: id.clone(), because, reply }).await?;
    let incident = told(&doors, id.as_str()).await?;
    let routes = routes_of(&doors, std::slice::from_ref(&incident)).await?;
    Ok(answer::json(&json_list("incidents", &[IncidentShape::of(&incident, &routes, Quiet::of(&doors, &incident))])))
}

pub(super) async fn reload(State(doors): Shared, headers: HeaderMap, body: Body) -> Answer {
    // Nothing is read from it, so nothing large has a reason to be there.
    guard::body(&headers, body, 1_024, Duration::from_secs(5)).await?;
    doors.order(|reply| Order::Reload { reply }).await?;
    Ok(answer::json(&json!({ "reloaded": true })).into_response())
}

/// A line that a person can read: not empty, not long, no control characters.
pub(super) fn line(name: &str, text: String) -> Result<String, Problem> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > LINE || text.chars().any(char::is_control) {
        return Err(Problem::wrong(format!("`{name}` must be one line of 1 to {LINE} characters")));
    }
    Ok(text.to_owned())
}

/// One incident, if it was told.
pub(super) async fn told(doors: &Doors, id: &str) -> Result<Incident, Problem> {
    let incident = ledger(doors.store.incident(&IncidentId::typed(id))).await?;
    let incident = incident.filter(|incident| incident.detected_at.is_some() && incident.id.as_str() == id);
    let incident = incident.ok_or_else(|| Problem::nothing("there is no such incident"))?;
    Ok(as_it_stands(doors, incident))
}

/// An incident with all that is known of it. The ledger has it as it was last told; while it is open, more runs prove it.
fn as_it_stands(doors: &Doors, incident: Incident) -> Incident {
    let board = Arc::clone(&doors.board.borrow());
    let live = board.incidents.iter().find(|live| incident.is_open() && live.id == incident.id);
    live.map_or(incident, |live| Incident::clone(live))
}

/// Names of the routes that incidents hit. Those that are no longer watched are looked up in the
/// ledger, a few at most.
pub(super) async fn routes_of(doors: &Doors, incidents: &[Incident]) -> Result<HashMap<RouteId, Arc<Route>>, Problem> {
    const LOOKED_UP: usize = 50;
    let board = Arc::clone(&doors.board.borrow());
    let mut routes = HashMap::new();
    let mut gone = Vec::new();
    for id in incidents.iter().flat_map(|incident| &incident.routes) {
        match board.route(*id) {
            Some(standing) => drop(routes.insert(*id, Arc::clone(&standing.route))),
            None => gone.push(*id),
        }
    }
    gone.sort_unstable();
    gone.dedup();
    for id in gone.into_iter().take(LOOKED_UP) {
        if let Some(record) = ledger(doors.store.runs(Some(id), 1)).await?.pop() {
            routes.insert(id, record.run.route);
        }
    }
    Ok(routes)
}

/// An object with one named list.
pub(super) fn json_list<'a, T: Serialize>(name: &'a str, list: &'a [T]) -> HashMap<&'a str, &'a [T]> {
    HashMap::from([(name, list)])
}
