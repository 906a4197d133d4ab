//! `/sandbox/…`: faults are injected, listed and mended here, and jobs are listed with what only a
//! sandbox would tell.

use serde_json::{Value as Json, json};

use super::{
    answer::{Answer, Trouble, ok},
    book::Job,
    house::House,
};
use crate::{
    canary::{Mode, Timestamp, time::parse_duration},
    sandbox::{Fault, FaultId, FaultKind, World},
};

/// Faults that go on at once: nobody can follow more, and each costs every decision.
const MOST: usize = 200;
/// Faults in the life of a sandbox: a mended one is kept, since what it decided stays decided.
const MOST_EVER: u64 = 100_000;

/// Adds a fault.
pub(super) fn inject(house: &House, body: &[u8]) -> Answer {
    let now = house.now();
    let fault = read(body, now).map_err(Trouble::unfit)?;
    let mut engine = house.engine();
    check(&fault, engine.world()).map_err(Trouble::unfit)?;
    if engine.faults(now).count() >= MOST {
        return Err(Trouble::unfit(format!("there are {MOST} faults already; mend some")));
    }
    tracing::info!(kind = %fault.kind, at = %fault.selector, rate = fault.rate, "a fault is injected");
    let id = engine.add(fault);
    if id.0 >= MOST_EVER {
        engine.mend(id, now);
        return Err(Trouble::unfit("too many faults in the life of one sandbox; start another"));
    }
    ok(json!({ "id": id }))
}

/// A fault whose times count from now; from before now, where it says `ago`.
fn read(body: &[u8], now: Timestamp) -> Result<Fault, String> {
    let Ok(Json::Object(mut json)) = serde_json::from_slice(body) else { return Fault::from_json(body, now) };
    let Some(ago) = json.remove("ago") else { return Fault::from_json(body, now) };
    let ago = ago.as_str().and_then(|ago| parse_duration(ago).ok());
    let ago = ago.ok_or("`ago` must be a length of time, such as \"10h\"")?;
    let fault = Fault::from_json(Json::Object(json).to_string().as_bytes(), now.minus(ago))?;
    // What jobs did is decided: a fault of the past is one that customers of the past are to meet.
    match fault.until {
        Some(until) if until <= now => Ok(fault),
        _ => {
            Err("a fault that began some time `ago` must be over by now: give `until`, counted from its begin"
                .to_owned())
        }
    }
}

/// Refuses what can never happen here: a `where` that names nothing, a reader that cannot be blinded.
fn check(fault: &Fault, world: &World) -> Result<(), String> {
    for (name, value) in fault.selector.pairs() {
        let known: Vec<String> = match name.as_str() {
            "target" => continue,
            "mode" => Mode::ALL.iter().map(|mode| mode.to_string()).collect(),
            "platform" => world.platforms.iter().map(|platform| platform.name.to_string()).collect(),
            "canary" => return Err("`where.canary`: the platform never learns which canary a job is of".to_owned()),
            label => {
                let values = world.platforms.iter().filter_map(|platform| platform.labels.get(label));
                let mut values: Vec<String> = values.map(str::to_owned).collect();
                values.dedup();
                values
            }
        };
        if known.is_empty() {
            let mut names: Vec<&str> =
                world.platforms.iter().flat_map(|platform| platform.labels.iter()).map(|(n, _)| n).collect();
            names.sort_unstable();
            names.dedup();
            return Err(format!("`where.{name}` is not known; there are {}, platform, target, mode", names.join(", ")));
        }
        if !known.contains(value) {
            return Err(format!("`where.{name}` is never \"{value}\" here; there are {}", known.join(", ")));
        }
    }
    if let FaultKind::SlowTarget { .. } = fault.kind {
        return Err("slow-target is possible in scenarios only: over HTTP the agent's own writes do not pass through \
                    the sandbox, which could not slow them; use delay-output"
            .to_owned());
    }
    if fault.kind == FaultKind::AgentBlind {
        let pairs: Vec<(&str, &str)> = fault.selector.pairs().iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        if pairs != [("target", "bucket")] {
            return Err(
                "agent-blind is possible for where = {\"target\": \"bucket\"} only: the agent reads `web` from its \
                 own intake, and other targets are not the sandbox's"
                    .to_owned(),
            );
        }
    }
    Ok(())
}

/// Lists faults that go on or are to come.
pub(super) fn list(house: &House) -> Answer {
    let engine = house.engine();
    let faults: Vec<Json> = engine.faults(house.now()).map(|(id, fault)| fault.to_json(id)).collect();
    ok(json!({ "faults": faults }))
}

/// Ends a fault.
pub(super) fn mend(house: &House, id: &str) -> Answer {
    let now = house.now();
    match id.parse() {
        Ok(number) if house.engine().mend(FaultId(number), now) => {
            tracing::info!(id = number, "a fault is mended");
            ok(json!({ "id": number, "mended_at": now }))
        }
        _ => Err(Trouble::absent("there is no such fault, or it is over")),
    }
}

/// Lists jobs, newest first.
pub(super) fn jobs(house: &House) -> Answer {
    let book = house.book();
    let jobs: Vec<Json> = book.newest_first().map(|job| job_json(house, job)).collect();
    ok(json!({ "jobs": jobs }))
}

fn job_json(house: &House, job: &Job) -> Json {
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    json!({
        "job_id": job.id.to_string(),
        "domain_key": job.domain_key,
        "account": house.accounts[job.account].number,
        "type": job.kind,
        "platform": job.platform,
        "status": job.status.as_str(),
        "result": job.result_url,
        "target": job.output.map(|(target, _)| target),
        "mode": job.output.map(|(_, mode)| mode),
        "database": job.database,
        "num_records": job.result.as_ref().map(|result| result.rows),
        "created_at": time(Some(job.created_at)),
        "start_at": time(job.started_at),
        "end_at": time(job.ended_at),
        "linked_result_export_job_id": job.linked_export,
        "result_export_target_job_id": job.export_of,
        "error": job.stderr.lines().next(),
    })
}
