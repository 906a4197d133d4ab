//! Submits: queries and re-exports are checked, given their dice, entered in the book, set to work.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::json;

use super::{
    answer::{Answer, Trouble, ok, respond},
    book::{Job, MOST_AT_WORK, Status, Stop},
    connections,
    house::House,
    jobs::{find, place_of, platform_of, show_json, shown_at},
    request::Params,
    work::{Source, Task},
};
use crate::{
    canary::{Secret, Timestamp},
    sandbox::{
        Place,
        deliver::{Destination, masked},
        sql::Dialect,
    },
};

/// The engine that a job type means, and its longest query.
fn engine_of(kind: &str) -> Option<(Dialect, usize)> {
    match kind {
        "hive" => Some((Dialect::Hive, 2_097_152)),
        "presto" | "trino" => Some((Dialect::Presto, 1_000_000)),
        _ => None,
    }
}

/// What every job is asked, whatever its kind.
struct Order {
    priority: i64,
    retry_limit: i64,
    domain_key: Option<String>,
    scheduled_time: Option<i64>,
}

impl Order {
    fn read(params: &Params) -> Result<Self, Trouble> {
        let priority = params.integer("priority")?.unwrap_or(0);
        if !(-2..=2).contains(&priority) {
            return Err(Trouble::unfit("Validation failed: Priority must be between -2 and 2"));
        }
        let retry_limit = params.integer("retry_limit")?.unwrap_or(0);
        if !(0..=32).contains(&retry_limit) {
            return Err(Trouble::unfit("Validation failed: Retry limit must be between 0 and 32"));
        }
        let domain_key = params.get("domain_key").map(str::to_owned);
        if domain_key.as_ref().is_some_and(|key| key.len() > 255) {
            return Err(Trouble::unfit("Validation failed: Domain key is too long"));
        }
        let scheduled_time = match params.get("scheduled_time") {
            None => None,
            Some(text) => {
                let time = text.parse().ok().or_else(|| Some(Timestamp::parse_rfc3339(text)?.as_millis() / 1000));
                Some(time.ok_or_else(|| Trouble::unfit("'scheduled_time' parameter is not a time"))?)
            }
        };
        Ok(Self { priority, retry_limit, domain_key, scheduled_time })
    }
}

/// Reads where a result should go; bad addresses are refused now rather than when the job has run.
fn destination(
    house: &House,
    account: usize,
    params: &Params,
) -> Result<Option<(Destination, Secret, usize)>, Trouble> {
    if params.get("result_connection_id").is_some() {
        return Err(Trouble::unfit("'result_connection_id' is not supported here; use 'result'"));
    }
    params.get("result").map(|result| destination_of(house, account, result)).transpose()
}

/// Where a result should go that says so like this.
pub(super) fn destination_of(
    house: &House,
    account: usize,
    result: &str,
) -> Result<(Destination, Secret, usize), Trouble> {
    let url = connections::resolve(&house.accounts[account], result)?;
    let to: Destination = url.reveal().parse().map_err(|error| Trouble::unfit(format!("{error}")))?;
    house.courier.permits(&to).map_err(|error| Trouble::unfit(format!("invalid Result Output URL: {error}")))?;
    let owner = match &to {
        Destination::Table(table) => match &table.api_key {
            None => account,
            Some(key) => house
                .account_of(key.reveal())
                .ok_or_else(|| Trouble::unfit("invalid Result Output URL: the API key is not known"))?,
        },
        _ => account,
    };
    Ok((to, url, owner))
}

/// Checks a query that is saved to be run later.
pub(super) fn check_saved(
    kind: &str,
    query: &str,
    engine_version: Option<&str>,
    pool_name: Option<&str>,
) -> Result<(), Trouble> {
    let Some((dialect, longest)) = engine_of(kind) else {
        let shown: String = kind.chars().take(60).collect();
        return Err(Trouble::unfit(format!("Validation failed: Type '{shown}' is not supported")));
    };
    if query.chars().count() > longest {
        return Err(Trouble::unfit(format!("query is longer than {longest} characters")));
    }
    check_engine(engine_version, pool_name, dialect, "Engine version is not included")
}

/// Where a submit happens, as far as it can be read before it is understood.
pub(super) fn place_of_issue(house: &House, account: usize, kind: &str, params: &Params) -> Place {
    let to = destination(house, account, params).ok().flatten().map(|(to, ..)| to);
    place_of(&house.engine(), platform_of(&house.accounts[account], kind), to.as_ref())
}

/// Takes a query.
pub(super) async fn issue(
    house: &Arc<House>,
    account: usize,
    kind: String,
    database: String,
    params: &Params,
) -> Answer {
    let Some((dialect, longest)) = engine_of(&kind) else {
        let shown: String = kind.chars().take(60).collect();
        return Err(Trouble::unfit(format!("job type '{shown}' is not supported")));
    };
    let query = params.get("query").ok_or_else(|| Trouble::unfit("'query' parameter is required"))?.to_owned();
    if query.chars().count() > longest {
        return Err(Trouble::unfit(format!("query is longer than {longest} characters")));
    }
    let (version, pool) = (params.get("engine_version"), params.get("pool_name"));
    check_engine(version, pool, dialect, "Job engine version is invalid")?;
    let order = Order::read(params)?;
    let output = destination(house, account, params)?;
    let name = database.clone();
    house.accounts[account].ask(move |warehouse| warehouse.show_database(&name)).await??;
    let id = start(house, account, kind, dialect, database.clone(), Source::Query(query), output, order, None)?;
    ok(json!({ "job": id.to_string(), "job_id": id.to_string(), "database": database }))
}

fn check_engine(
    version: Option<&str>,
    pool: Option<&str>,
    dialect: Dialect,
    wrong_version: &str,
) -> Result<(), Trouble> {
    if let Some(version) = version {
        let number = !version.is_empty() && version.chars().all(|c| c.is_ascii_digit() || c == '.');
        if !["stable", "experimental"].contains(&version) && !number {
            return Err(Trouble::unfit(wrong_version));
        }
    }
    match pool {
        Some(pool) if dialect == Dialect::Presto && pool != "default" => {
            let shown: String = pool.chars().take(60).collect();
            Err(Trouble::bad(format!("Presto resource pool with name '{shown}' does not exist")))
        }
        _ => Ok(()),
    }
}

/// Exports the result of a finished job once more, as a job of its own.
pub(super) fn result_export(house: &Arc<House>, account: usize, id: &str, params: &Params) -> Answer {
    let target = find(house, account, id)?;
    let order = Order::read(params)?;
    let output = destination(house, account, params)?;
    let Some(output) = output else { return Err(Trouble::unfit("'result' parameter is required")) };
    let shown = shown_at(house, &target);
    let stored = match (&target.result, target.as_of(shown).status) {
        (Some(stored), Status::Success) => stored.clone(),
        _ => return Err(Trouble::unfit("the job has no result to export")),
    };
    let dialect = engine_of(&target.kind).map_or(Dialect::Presto, |(dialect, _)| dialect);
    let id = start(
        house,
        account,
        "result_export".to_owned(),
        dialect,
        target.database.clone(),
        Source::Kept(stored),
        Some(output),
        order,
        Some(&target),
    )?;
    let job = find(house, account, &id.to_string())?;
    let body = show_json(house, &job);
    Ok(respond(StatusCode::CREATED, "application/json; charset=utf-8", body.to_string()))
}

#[expect(clippy::too_many_arguments, reason = "one call from each of the two kinds of submit")]
fn start(
    house: &Arc<House>,
    account: usize,
    kind: String,
    dialect: Dialect,
    database: String,
    source: Source,
    output: Option<(Destination, Secret, usize)>,
    order: Order,
    export_of: Option<&Job>,
) -> Result<u64, Trouble> {
    let now = house.now();
    let platform = match export_of {
        Some(query) => query.platform.clone(),
        None => platform_of(&house.accounts[account], &kind).to_owned(),
    };
    let (destination, url, owner) = match output {
        Some((to, url, owner)) => (Some(to), url, owner),
        None => (None, Secret::new(""), account),
    };
    let (place, life) = {
        let mut engine = house.engine();
        let place = place_of(&engine, &platform, destination.as_ref());
        // Retries of a submit meet the dice of the first.
        let ticket = house.ticket(&mut engine, account, order.domain_key.as_deref(), &place);
        if let Some(status) = engine.refusal(ticket, &place, now) {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
            return Err(Trouble::new(status, "the job was not accepted"));
        }
        let life = engine.begin(ticket, &place, now);
        (place, life)
    };
    let query = match &source {
        Source::Query(query) => query.clone(),
        Source::Kept(_) => String::new(),
    };
    let query = query.into();
    let stop = Stop::new();
    let id = {
        let mut book = house.book();
        if let Some(key) = &order.domain_key
            && let Some(other) = book.by_key(account, key)
        {
            let mut trouble = Trouble::conflict("Domain key has already been taken");
            trouble.details = Some(json!({ "conflicts_with": other.to_string() }));
            return Err(trouble);
        }
        if book.at_work() >= MOST_AT_WORK {
            return Err(Trouble::new(StatusCode::TOO_MANY_REQUESTS, "too many jobs are at work"));
        }
        let id = book.next_id();
        book.add(Job {
            id,
            account,
            kind,
            owner: None,
            platform,
            query,
            database: database.clone(),
            result_url: masked_or_none(&url),
            output: destination.as_ref().map(|to| (to.target(), to.mode())),
            priority: order.priority,
            retry_limit: order.retry_limit,
            domain_key: order.domain_key,
            created_at: now,
            started_at: None,
            exports_at: None,
            ended_at: None,
            updated_at: now,
            status: Status::Queued,
            result: None,
            cmdout: String::new(),
            stderr: String::new(),
            linked_export: None,
            export_of: export_of.map(|query| query.id),
            place: place.clone(),
            life,
            stop: stop.clone(),
        });
        id
    };
    let scheduled_time = order.scheduled_time.unwrap_or(now.as_millis() / 1000);
    house.employ(Task {
        id,
        account,
        dialect,
        database,
        source,
        destination,
        owner,
        url,
        place,
        life,
        scheduled_time,
        stop,
    });
    Ok(id)
}

fn masked_or_none(url: &Secret) -> String {
    if url.reveal().is_empty() { String::new() } else { masked(url.reveal()) }
}
