//! Jobs: issued, shown, listed, killed, exported again.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::{Value as Json, json};

use super::{
    answer::{Answer, Trouble, ok, plain_time, respond},
    book::{Job, MOST_AT_WORK, Status, Stop},
    connections,
    house::{Account, House},
    request::Params,
    results,
    work::{Source, Task},
};
use crate::{
    canary::{PlatformName, Secret, TargetName, Timestamp},
    sandbox::{
        Engine, Place,
        deliver::{Destination, masked},
        sql::Dialect,
    },
};

/// Most jobs in one answer of `job/list`.
const LONGEST_LIST: i64 = 1000;
/// Jobs in one answer if nobody says how many.
const USUAL_LIST: i64 = 20;

/// The engine that a job type means, and its longest query.
fn engine_of(kind: &str) -> Option<(Dialect, usize)> {
    match kind {
        "hive" => Some((Dialect::Hive, 2_097_152)),
        "presto" | "trino" => Some((Dialect::Presto, 1_000_000)),
        _ => None,
    }
}

/// The platform of the world that runs a job of this type.
pub(super) fn platform_of(account: &Account, kind: &str) -> &'static str {
    if kind == "hive" { account.hive } else { "presto" }
}

/// Where a call or a job happens, for faults.
pub(super) fn place_of(engine: &Engine, platform: &str, destination: Option<&Destination>) -> Place {
    let place = match PlatformName::new(platform) {
        Ok(name) => {
            let labels = engine.world().platform(&name).map(|known| known.labels.clone()).unwrap_or_default();
            Place::platform(name, labels)
        }
        Err(_) => Place::default(),
    };
    match destination.map(|to| (TargetName::new(to.target()), to.mode())) {
        Some((Ok(target), mode)) => place.with_job(target, mode),
        _ => place,
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
    let Some(result) = params.get("result") else { return Ok(None) };
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
    Ok(Some((to, url, owner)))
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
    check_engine(params, dialect)?;
    let order = Order::read(params)?;
    let output = destination(house, account, params)?;
    let name = database.clone();
    house.accounts[account].ask(move |warehouse| warehouse.show_database(&name)).await??;
    let id = start(house, account, kind, dialect, database.clone(), Source::Query(query), output, order, None)?;
    ok(json!({ "job": id.to_string(), "job_id": id.to_string(), "database": database }))
}

fn check_engine(params: &Params, dialect: Dialect) -> Result<(), Trouble> {
    if let Some(version) = params.get("engine_version") {
        let number = !version.is_empty() && version.chars().all(|c| c.is_ascii_digit() || c == '.');
        if !["stable", "experimental"].contains(&version) && !number {
            return Err(Trouble::unfit("Job engine version is invalid"));
        }
    }
    match params.get("pool_name") {
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

/// A job of this account.
pub(super) fn find(house: &House, account: usize, id: &str) -> Result<Job, Trouble> {
    let book = house.book();
    let found = id.parse().ok().and_then(|id| book.get(id)).filter(|job| job.account == account).cloned();
    found.ok_or_else(|| {
        let number = house.accounts[account].number;
        let shown: String = id.chars().take(60).collect();
        Trouble::absent(format!("Couldn't find Job with account_id = {number}, id = {shown}"))
    })
}

/// As of when a job's status is told.
fn shown_at(house: &House, job: &Job) -> Timestamp {
    house.engine().shown_at(&job.life, &job.place, house.now())
}

/// Shows a job.
pub(super) fn show(house: &House, account: usize, id: &str) -> Answer {
    let job = find(house, account, id)?;
    ok(show_json(house, &job))
}

fn show_json(house: &House, job: &Job) -> Json {
    let job = job.as_of(shown_at(house, job));
    let mut body = job_json(house, &job);
    body["debug"] = json!({ "cmdout": job.cmdout, "stderr": job.stderr });
    body
}

/// All fields of `job/show` and `job/list`.
fn job_json(house: &House, job: &Job) -> Json {
    let now = house.now();
    let time = |at: Option<Timestamp>| at.map(plain_time).unwrap_or_default();
    let link_after = house.engine().world().guesses.link_appears_after;
    let linked = job.linked_export.filter(|_| job.exports_at.is_some_and(|at| at.plus(link_after) <= now));
    let result = job.result.as_ref().filter(|_| job.status == Status::Success || job.exports_at.is_some());
    let size = result.map(|result| result.packed.len());
    let is_hive = job.kind == "hive";
    json!({
        "job_id": job.id.to_string(),
        "type": job.kind,
        "status": job.status.as_str(),
        "query": &*job.query,
        "url": format!("http://{}/sandbox/jobs#{}", house.address, job.id),
        "database": job.database,
        "user_name": format!("Account {}", house.accounts[job.account].number),
        "created_at": plain_time(job.created_at),
        "updated_at": plain_time(job.updated_at),
        "start_at": time(job.started_at),
        "end_at": time(job.ended_at),
        "duration": duration(job),
        "cpu_time": if is_hive && job.status.is_final() { job.milliseconds().into() } else { Json::Null },
        "result_size": size,
        "num_records": result.map(|result| result.rows),
        "hive_result_schema": result.map(|result| result.schema.as_str()),
        "result": job.result_url,
        "priority": job.priority,
        "retry_limit": job.retry_limit,
        "organization": null,
        "linked_result_export_job_id": linked,
        "result_export_target_job_id": job.export_of,
    })
}

fn duration(job: &Job) -> Json {
    // Times are told in whole seconds, and the duration is the difference of what is told.
    let seconds = |at: Timestamp| at.as_millis().div_euclid(1000);
    match (job.started_at, job.ended_at) {
        (Some(start), Some(end)) => (seconds(end) - seconds(start)).into(),
        _ => Json::Null,
    }
}

/// Tells a job's status.
pub(super) fn status(house: &House, account: usize, id: &str) -> Answer {
    let job = find(house, account, id)?;
    let job = job.as_of(shown_at(house, &job));
    let all = job_json(house, &job);
    let fields = [
        "job_id",
        "status",
        "cpu_time",
        "result_size",
        "duration",
        "created_at",
        "updated_at",
        "start_at",
        "end_at",
        "num_records",
    ];
    ok(fields.into_iter().map(|field| (field.to_owned(), all[field].clone())).collect::<serde_json::Map<_, _>>().into())
}

/// Tells the status of the job that has a domain key.
pub(super) fn status_by_key(house: &House, account: usize, key: &str) -> Answer {
    let found = house.book().by_key(account, key);
    match found {
        Some(id) => status(house, account, &id.to_string()),
        None => {
            let shown: String = key.chars().take(255).collect();
            Err(Trouble::absent(format!("Couldn't find Job with domain_key = {shown}")))
        }
    }
}

/// Counts what a job has inserted.
pub(super) fn statistics(house: &House, account: usize, id: &str) -> Answer {
    let job = find(house, account, id)?;
    let rows = job.result.as_ref().map_or(0, |result| result.rows);
    ok(json!({ "records_inserted": rows.to_string() }))
}

/// Lists jobs, newest first; `to` is inclusive.
pub(super) fn list(house: &House, account: usize, params: &Params) -> Answer {
    let (from, to) = (params.integer("from")?, params.integer("to")?);
    let first = from.unwrap_or(0).max(0);
    let last = to.unwrap_or(first.saturating_add(USUAL_LIST - 1)).min(first.saturating_add(LONGEST_LIST - 1));
    let wanted = params.get("status");
    let slower_than = params.integer("slower_than")?;
    let jobs: Vec<Job> = {
        let book = house.book();
        let engine = house.engine();
        let now = house.now();
        book.newest_first()
            .filter(|job| job.account == account)
            .filter_map(|job| {
                let at = engine.shown_at(&job.life, &job.place, now);
                let status = job.status_at(at);
                let fits = wanted.is_none_or(|wanted| wanted == status.as_str())
                    && slower_than.is_none_or(|seconds| job.milliseconds() > seconds.saturating_mul(1000));
                fits.then_some((job, at))
            })
            .skip(usize::try_from(first).unwrap_or(usize::MAX))
            .take(usize::try_from(last - first + 1).unwrap_or(0))
            .map(|(job, at)| job.as_of(at))
            .collect()
    };
    let jobs: Vec<Json> = jobs.iter().map(|job| job_json(house, job)).collect();
    ok(json!({ "count": jobs.len(), "from": from, "to": to, "jobs": jobs }))
}

/// Stops a job; one that is finished stays as it is.
pub(super) fn kill(house: &House, account: usize, id: &str) -> Answer {
    let job = find(house, account, id)?;
    let former = job.status_at(shown_at(house, &job));
    let now = house.now();
    job.stop.now();
    // At once, so that whoever asks next is told so; the worker finds it done.
    let mut book = house.book();
    for id in [Some(job.id), job.linked_export, job.export_of].into_iter().flatten() {
        book.change(id, now, |job| {
            job.status = Status::Killed;
            job.stderr.push_str("killed by request\n");
        });
    }
    ok(json!({ "job_id": job.id.to_string(), "former_status": former.as_str() }))
}

/// Gives a job's rows out.
pub(super) fn result(
    house: &House,
    account: usize,
    id: &str,
    params: &Params,
    headers: &axum::http::HeaderMap,
) -> Answer {
    let job = find(house, account, id)?;
    let job = job.as_of(shown_at(house, &job));
    match &job.result {
        Some(stored) if job.status == Status::Success => results::give(stored, params, headers),
        _ => Err(Trouble::absent(format!("The result of job {} is not there", job.id))),
    }
}
