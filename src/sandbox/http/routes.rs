//! Routes: which call is which, who may make it, and what the faults make of it.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use hyper::body::Incoming;
use serde_json::json;

use super::{
    answer::{Answer, Trouble, ok},
    connections, customers, faults,
    house::House,
    jobs,
    request::{Call, Head, is_local_host},
    schedules, submit, tables,
    wire::{HangUp, Reply},
};
use crate::sandbox::{self, Place};

/// An answer that a fault delays is given after this at the latest: the client has gone by then.
const LONGEST_DELAY: Duration = Duration::from_secs(600);

/// Answers a request.
pub(super) async fn answer(house: Arc<House>, request: Request<Incoming>) -> Reply {
    match route(&house, request).await {
        Ok(answer) => Ok(answer),
        Err(Stop::Trouble(trouble)) => Ok(trouble.answer()),
        Err(Stop::HangUp) => Err(HangUp),
    }
}

enum Stop {
    Trouble(Trouble),
    HangUp,
}

impl From<Trouble> for Stop {
    fn from(trouble: Trouble) -> Self {
        Stop::Trouble(trouble)
    }
}

async fn route(house: &Arc<House>, request: Request<Incoming>) -> Result<axum::http::Response<Body>, Stop> {
    let (parts, body) = request.into_parts();
    let head = Head::read(&parts)?;
    let body = Body::new(body);
    match head.path.first().map(String::as_str) {
        Some("sandbox") => Ok(own(house, head, body).await?),
        Some("v3") => {
            // Who asks is known before the body is read: strangers cannot make it read one.
            let account = account_of(house, &head)?;
            let call = head.with_body(body).await?;
            let place = place_of(house, account, &call);
            let verdict = house.engine().call(&place, house.now());
            match verdict {
                sandbox::Answer::Ok => Ok(dispatch(house, account, call).await?),
                sandbox::Answer::Slow(by) => {
                    let answer = dispatch(house, account, call).await;
                    tokio::time::sleep(by.min(LONGEST_DELAY)).await;
                    Ok(answer?)
                }
                sandbox::Answer::Status(status) => {
                    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                    Err(Trouble::new(status, "internal error").into())
                }
                sandbox::Answer::Unreachable => Err(Stop::HangUp),
            }
        }
        None if head.method == Method::GET => Ok(ok(json!({
            "sandbox": "a pretend Treasure Data API v3; see /sandbox/faults and /sandbox/jobs",
        }))?),
        _ => Err(unknown(&head.method, &head.path).into()),
    }
}

fn unknown(method: &Method, path: &[String]) -> Trouble {
    let shown: String = path.join("/").chars().take(200).collect();
    Trouble::absent(format!("no such call: {method} /{shown}"))
}

/// Calls that need no key.
fn is_open(head: &Head) -> bool {
    matches!(head.path.iter().map(String::as_str).collect::<Vec<_>>()[..], ["v3", "system", "server_status"])
}

/// The account that asks; `None` only where no key is needed.
fn account_of(house: &House, head: &Head) -> Result<Option<usize>, Trouble> {
    if is_open(head) {
        return Ok(None);
    }
    let denied = || Trouble::new(StatusCode::UNAUTHORIZED, "Authentication failed: the API key is missing or wrong");
    let sent = head.headers.get(header::AUTHORIZATION).and_then(|sent| sent.to_str().ok()).ok_or_else(denied)?;
    let key = sent.strip_prefix("TD1 ").ok_or_else(denied)?.trim();
    house.account_of(key).map(Some).ok_or_else(denied)
}

/// Where a call happens, for faults: at its job, else at the account's cluster.
fn place_of(house: &House, account: Option<usize>, call: &Call) -> Place {
    let Some(account) = account else { return Place::default() };
    match call.path.iter().map(String::as_str).collect::<Vec<_>>()[1..] {
        ["job", "issue", kind, _] => submit::place_of_issue(house, account, kind, &call.params),
        ["job", "status_by_domain_key", key] => {
            let id = house.book().by_key(account, key);
            id.map_or_else(|| of_account(house, account), |id| of_job(house, account, &id.to_string()))
        }
        ["job", _, id] => of_job(house, account, id),
        _ => of_account(house, account),
    }
}

fn of_job(house: &House, account: usize, id: &str) -> Place {
    jobs::find(house, account, id).map_or_else(|_| of_account(house, account), |job| job.place)
}

fn of_account(house: &House, account: usize) -> Place {
    jobs::place_of(&house.engine(), house.accounts[account].hive, None)
}

async fn dispatch(house: &Arc<House>, who: Option<usize>, call: Call) -> Answer {
    let now = house.now();
    let Some(at) = who else { return ok(json!({ "status": "ok" })) };
    let account = &house.accounts[at];
    let (method, params) = (call.method.clone(), &call.params);
    let path: Vec<String> = call.path[1..].to_vec();
    let own = |text: &str| text.to_owned();
    let (get, post, put) = (method == Method::GET, method == Method::POST, method == Method::PUT);
    match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["system", "server_status"] if get => ok(json!({ "status": "ok" })),

        ["database", "list"] if get => tables::databases(account).await,
        ["database", "show", db] if get => tables::show_database(account, own(db)).await,
        ["database", "create", db] if post => tables::create_database(account, own(db), now).await,
        ["database", "delete", db] if post => tables::delete_database(account, own(db)).await,

        ["table", "list", db] if get => tables::tables(account, own(db)).await,
        ["table", "show", db, table] if get => tables::show_table(account, own(db), own(table)).await,
        ["table", "create", db, table] | ["table", "create", db, table, "log"] if post => {
            tables::create_table(account, own(db), own(table), params, now).await
        }
        ["table", "delete", db, table] if post => tables::delete_table(account, own(db), own(table)).await,
        ["table", "swap", db, one, other] if post => tables::swap(account, own(db), own(one), own(other)).await,
        ["table", "rename", db, table, new] if post => {
            tables::rename(account, own(db), own(table), own(new), params).await
        }
        ["table", "update", db, table] if post => tables::update(account, own(db), own(table), params, now).await,
        ["table", "update-schema", db, table] if post => {
            tables::update_schema(account, (own(db), own(table)), params, false, now).await
        }
        ["table", "append-schema", db, table] if post => {
            tables::update_schema(account, (own(db), own(table)), params, true, now).await
        }
        ["table", "tail", db, table] if get => tables::tail(account, own(db), own(table), params).await,
        ["table", "import", db, table, "msgpack.gz"] if put => {
            tables::import(house, at, (own(db), own(table)), None, call).await
        }
        ["table", "import_with_id", db, table, id, "msgpack.gz"] if put => {
            let id = Some(own(id));
            tables::import(house, at, (own(db), own(table)), id, call).await
        }

        ["job", "issue", kind, db] if post => submit::issue(house, at, own(kind), own(db), params).await,
        ["job", "show", id] if get => jobs::show(house, at, id),
        ["job", "status", id] if get => jobs::status(house, at, id),
        ["job", "status_by_domain_key", key] if get => jobs::status_by_key(house, at, key),
        ["job", "statistics", id] if get => jobs::statistics(house, at, id),
        ["job", "list"] if get => jobs::list(house, at, params),
        ["job", "kill", id] if post => jobs::kill(house, at, id),
        ["job", "result", id] if get => jobs::result(house, at, id, params, &call.headers),
        ["job", "result_export", id] if post => submit::result_export(house, at, id, params),

        ["result", "list"] if get => connections::list(account),
        ["result", "create", name] if post => connections::create(account, name, params),
        ["result", "delete", name] if post => connections::delete(account, name),
        ["connections", "lookup"] if get => connections::lookup(account, params),

        ["schedule", "list"] if get => schedules::list(house, at),
        ["schedule", "create", name] if post => schedules::create(house, at, name, params).await,
        ["schedule", "update", name] if post => schedules::update(house, at, name, params).await,
        ["schedule", "delete", name] if post => schedules::delete(house, at, name),

        ["user", "apikey", "validate"] if get => ok(json!({ "status": "ok" })),
        _ => Err(unknown(&method, &call.path)),
    }
}

/// `/sandbox/…`: no key, but never from a page in a browser.
async fn own(house: &Arc<House>, head: Head, body: Body) -> Answer {
    if !comes_from_here(&head.headers) {
        return Err(Trouble::new(StatusCode::FORBIDDEN, "Origin is not this machine"));
    }
    let (method, path) = (head.method.clone(), head.path.clone());
    match (method.as_str(), path.iter().map(String::as_str).collect::<Vec<_>>().as_slice()) {
        ("POST", ["sandbox", "faults"]) => {
            let body = head.json_body(body).await?;
            faults::inject(house, &body)
        }
        ("GET", ["sandbox", "faults"]) => faults::list(house),
        ("DELETE", ["sandbox", "faults", id]) => faults::mend(house, id),
        ("GET", ["sandbox", "jobs"]) => faults::jobs(house),
        ("POST", ["sandbox", "customers"]) => {
            let body = head.json_body(body).await?;
            customers::enter(house, &body)
        }
        ("GET", ["sandbox", "customers"]) => customers::truths(house),
        _ => Err(unknown(&method, &path)),
    }
}

/// Browsers say where a page came from; other clients say nothing.
fn comes_from_here(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let host = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    host.is_some_and(is_local_host)
}
