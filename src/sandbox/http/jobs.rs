//! Jobs: shown, listed, killed, and their results given out.

use serde_json::{Value as Json, json};

use super::{
    answer::{Answer, Trouble, ok, plain_time},
    book::{Job, Status},
    house::{Account, House},
    request::Params,
    results,
};
use crate::{
    canary::{PlatformName, TargetName, Timestamp},
    sandbox::{Engine, Place, deliver::Destination},
};

/// Most jobs in one answer of `job/list`.
const LONGEST_LIST: i64 = 1000;
/// Jobs in one answer if nobody says how many.
const USUAL_LIST: i64 = 20;

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
pub(super) fn shown_at(house: &House, job: &Job) -> Timestamp {
    house.engine().shown_at(&job.life, &job.place, house.now())
}

/// Shows a job.
pub(super) fn show(house: &House, account: usize, id: &str) -> Answer {
    let job = find(house, account, id)?;
    ok(show_json(house, &job))
}

pub(super) fn show_json(house: &House, job: &Job) -> Json {
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
        "user_name": match &job.owner {
            Some(owner) => owner.to_string(),
            None => house.user_of(&house.accounts[job.account]),
        },
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
