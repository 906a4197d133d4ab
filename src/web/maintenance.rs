//! Silences and pauses: what is asked for, what there is, and what it means for an incident.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    Doors, Order, Shared,
    answer::{self, Problem},
    api::{Answer, Asked, Which, json_list, line},
    guard,
    shapes::LabelMap,
};
use crate::{
    canary::{Pause, Route, Selector, Silence, Timestamp, time::parse_duration},
    config::check_selector,
    detect::{Incident, silenced_until},
    store::{Holding, Opening},
};

/// Longest that a silence or a pause may last: what lasts longer belongs in the config.
const LONGEST: Duration = Duration::from_secs(90 * 86_400);
/// And how far ahead a silence may begin.
const AHEAD: Duration = Duration::from_secs(366 * 86_400);
/// Most pairs of one `where`.
const MOST_PAIRS: usize = 16;
/// Pages of an incident are tried for this long before somebody has to be told of it.
const DELIVERED_WITHIN: Duration = Duration::from_secs(30);

/// How quiet it is around an incident.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Quiet {
    /// Nobody is paged of it until then.
    pub(super) silenced_until: Option<Timestamp>,
    /// So many of its routes are paused.
    pub(super) routes_paused: usize,
    /// Nobody has taken its page, for so long that somebody should look.
    pub(super) undelivered: bool,
}

impl Quiet {
    pub(super) fn of(doors: &Doors, incident: &Incident) -> Self {
        if !incident.is_open() {
            return Self::default();
        }
        let (board, now) = (Arc::clone(&doors.board.borrow()), (doors.now)());
        let maintenance = Arc::clone(&doors.maintenance.borrow());
        let route = |id| board.route(id).map(|standing| &standing.route);
        let silenced_until = silenced_until(incident, route, &maintenance.silences, now);
        let is_paused = |route: &&Arc<Route>| maintenance.pause(route, now).is_some();
        let routes_paused = incident.routes.iter().filter_map(|id| route(*id)).filter(is_paused).count();
        let letters = Arc::clone(&doors.letters.borrow());
        let opening =
            letters.iter().find(|opening| opening.incident == incident.id && opening.at == incident.opening());
        let is_late = now.since(incident.opening()) >= DELIVERED_WITHIN;
        let undelivered = silenced_until.is_none() && is_late && opening.is_some_and(nobody_took);
        Self { silenced_until, routes_paused, undelivered }
    }
}

/// Somebody is to be told of it, and nobody took it.
pub(super) fn nobody_took(opening: &Opening) -> bool {
    let took = |severity| severity >= opening.severity;
    let told = |letter: &crate::store::Letter| letter.loudest(&[Holding::Open, Holding::Closed]).is_some_and(took);
    !opening.over && !opening.letters.is_empty() && !opening.letters.iter().any(told)
}

/// A silence as JSON.
#[derive(Debug, Serialize)]
struct SilenceShape<'a> {
    id: &'a str,
    r#where: LabelMap<'a>,
    from: Timestamp,
    until: Timestamp,
    because: &'a str,
    active: bool,
}

impl<'a> SilenceShape<'a> {
    fn of(silence: &'a Silence, now: Timestamp) -> Self {
        Self {
            id: &silence.id,
            r#where: LabelMap::of(silence.only.pairs()),
            from: silence.from,
            until: silence.until,
            because: &silence.because,
            active: silence.holds_at(now),
        }
    }
}

pub(super) async fn silences(State(doors): Shared, asked: Asked) -> Answer {
    Which::of(asked, &[])?;
    let (maintenance, now) = (Arc::clone(&doors.maintenance.borrow()), (doors.now)());
    let silences: Vec<SilenceShape<'_>> =
        maintenance.silences.iter().map(|silence| SilenceShape::of(silence, now)).collect();
    Ok(answer::json(&json_list("silences", &silences)))
}

/// What somebody posts who wants silence, or a pause.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Posted {
    #[serde(default)]
    r#where: BTreeMap<String, String>,
    /// Every route: said in so many words.
    #[serde(default)]
    all: bool,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    r#for: Option<String>,
    because: Option<String>,
}

impl Posted {
    /// Which routes, checked against those that there are.
    fn only(&mut self, doors: &Doors) -> Result<Selector, Problem> {
        let pairs = std::mem::take(&mut self.r#where);
        match (pairs.is_empty(), self.all) {
            (true, false) => return Err(Problem::wrong("`where` is missing; `\"all\": true` means every route")),
            (false, true) => return Err(Problem::wrong("both `where` and `all`")),
            _ if pairs.len() > MOST_PAIRS => return Err(Problem::wrong(format!("more than {MOST_PAIRS} pairs"))),
            _ => {}
        }
        let only = Selector::new(pairs);
        let board = Arc::clone(&doors.board.borrow());
        let watched: Vec<Arc<Route>> = board.routes().iter().map(|standing| Arc::clone(&standing.route)).collect();
        check_selector(&only, &watched).map_err(|why| Problem::wrong(format!("`where`: {why}")))?;
        Ok(only)
    }

    /// Until when, counted from `from`.
    fn until(&self, from: Timestamp, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
        let until = match (&self.until, &self.r#for) {
            (Some(_), Some(_)) => return Err(Problem::wrong("both `until` and `for`")),
            (Some(until), None) => *until,
            (None, Some(text)) => {
                let length = parse_duration(text).map_err(|error| Problem::wrong(format!("`for`: {error}")))?;
                from.plus(length)
            }
            (None, None) => return Ok(None),
        };
        if until <= from || until <= now {
            return Err(Problem::wrong("it would be over before it begins"));
        }
        if until.since(from) > LONGEST {
            return Err(Problem::wrong("it would last for more than 90 days; write it into the config"));
        }
        Ok(Some(until))
    }
}

pub(super) async fn silence(State(doors): Shared, headers: HeaderMap, body: Body) -> Answer {
    let mut posted: Posted = guard::json_body(&headers, body).await?;
    let now = (doors.now)();
    let from = posted.from.unwrap_or(now);
    if from > now.plus(AHEAD) {
        return Err(Problem::wrong("`from` is more than a year ahead"));
    }
    let until =
        posted.until(from, now)?.ok_or_else(|| Problem::wrong("write how long: `\"for\": \"2h\"`, or `until`"))?;
    let because = posted.because.take().ok_or_else(|| Problem::wrong("`because` is missing: the pages show it"))?;
    let because = line("because", because)?;
    let only = posted.only(&doors)?;
    let silence = Silence { id: String::new(), only, from, until, because };
    let silence = doors.order(|reply| Order::Silence { silence, reply }).await?;
    let mut response = answer::json(&json_list("silences", &[SilenceShape::of(&silence, now)]));
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

pub(super) async fn unsilence(State(doors): Shared, Path(id): Path<String>, headers: HeaderMap, body: Body) -> Answer {
    // Nothing is read from it, so nothing large has a reason to be there.
    guard::body(&headers, body, 1_024, Duration::from_secs(5)).await?;
    doors.order(|reply| Order::Unsilence { id: id.chars().take(64).collect(), reply }).await?;
    Ok(answer::json(&json!({ "removed": true })))
}

/// A pause as JSON.
#[derive(Debug, Serialize)]
struct PauseShape<'a> {
    r#where: LabelMap<'a>,
    /// Of these so many routes are paused by it.
    routes: usize,
    from: Timestamp,
    until: Option<Timestamp>,
    because: Option<&'a str>,
}

pub(super) async fn pauses(State(doors): Shared, asked: Asked) -> Answer {
    Which::of(asked, &[])?;
    Ok(answer::json(&pauses_now(&doors)))
}

fn pauses_now(doors: &Doors) -> serde_json::Value {
    let (maintenance, board) = (Arc::clone(&doors.maintenance.borrow()), Arc::clone(&doors.board.borrow()));
    let shape = |pause: &Pause| {
        let routes = board.routes().iter().filter(|standing| pause.covers(&standing.route)).count();
        let (r#where, because) = (LabelMap::of(pause.only.pairs()), pause.because.as_deref());
        json!(PauseShape { r#where, routes, from: pause.from, until: pause.until, because })
    };
    let pauses: Vec<serde_json::Value> = maintenance.pauses.iter().map(shape).collect();
    json!({ "pauses": pauses })
}

pub(super) async fn pause(State(doors): Shared, headers: HeaderMap, body: Body) -> Answer {
    let mut posted: Posted = guard::json_body(&headers, body).await?;
    let now = (doors.now)();
    if posted.from.is_some() {
        return Err(Problem::wrong("`from`: a pause begins at once"));
    }
    let until = posted.until(now, now)?;
    let because = posted.because.take().map(|because| line("because", because)).transpose()?;
    let only = posted.only(&doors)?;
    let pause = Pause { only, except: Vec::new(), from: now, until, because };
    doors.order(|reply| Order::Pause { pause, reply }).await?;
    let mut response = answer::json(&pauses_now(&doors));
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// What somebody posts who wants runs to be sent again.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PostedResume {
    #[serde(default)]
    r#where: BTreeMap<String, String>,
    #[serde(default)]
    all: bool,
}

pub(super) async fn resume(State(doors): Shared, headers: HeaderMap, body: Body) -> Answer {
    let PostedResume { r#where, all } = guard::json_body(&headers, body).await?;
    let mut posted = Posted { r#where, all, from: None, until: None, r#for: None, because: None };
    let only = posted.only(&doors)?;
    let resumed = doors.order(|reply| Order::Resume { only, reply }).await?;
    Ok(answer::json(&json!({ "resumed": resumed })))
}
