//! Saved queries: those that come by themselves, and those that only wait. Nothing runs them here yet.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::{
    answer::{Answer, Trouble, iso_time, ok, plain_time},
    connections,
    house::{Account, House},
    request::Params,
    submit,
};
use crate::{
    canary::{RouteId, Schedule, Secret, Timestamp},
    sandbox::deliver::masked,
};

/// Most saved queries of an account.
const MOST: usize = 1000;
/// Longest cron expression and name of a zone.
const LONGEST: usize = 200;

/// A saved query. Whoever runs it finds all that a submit needs.
#[derive(Clone, Debug)]
pub(super) struct Saved {
    id: u64,
    kind: String,
    /// None: it never comes by itself.
    cron: Option<String>,
    timezone: String,
    /// Seconds.
    delay: i64,
    query: String,
    database: String,
    /// As it was given: a URL, or a connection's name and the rest. Empty: nowhere.
    result: Secret,
    priority: i64,
    retry_limit: i64,
    /// What the platform keeps and never shows.
    engine_version: Option<String>,
    pool_name: Option<String>,
    created_at: Timestamp,
}

impl Saved {
    /// When it is due: the times of its cron. Its jobs start a delay later.
    fn schedule(&self, now: Timestamp) -> Option<Schedule> {
        let cron = spelled_out(self.cron.as_deref()?);
        Schedule::cron(&cron, &self.timezone, now).ok()
    }

    fn next_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.schedule(now)?.next(RouteId(0), now)
    }

    /// What `delete` tells, and the start of what all others do.
    fn reference(&self, house: &House, account: &Account, name: &str) -> Json {
        json!({
            "name": name,
            "cron": self.cron,
            "timezone": self.timezone,
            "delay": self.delay,
            "created_at": iso_time(self.created_at),
            "type": self.kind,
            "query": self.query,
            "database": self.database,
            "user_name": house.user_of(account),
        })
    }
}

/// Names of usual times, as five fields.
fn spelled_out(cron: &str) -> String {
    let text = match cron.trim() {
        "@hourly" => "0 * * * *",
        "@daily" | "@midnight" => "0 0 * * *",
        "@weekly" => "0 0 * * Sun",
        "@monthly" => "0 0 1 * *",
        "@yearly" | "@annually" => "0 0 1 1 *",
        other => other,
    };
    text.to_owned()
}

fn check_name(name: &str) -> Result<(), Trouble> {
    let fail = |why: &str| Err(Trouble::unfit(format!("Validation failed: Name {why}")));
    match name.chars().count() {
        0..3 => fail("is too short"),
        256.. => fail("is too long"),
        _ => Ok(()),
    }
}

fn unknown(name: &str) -> Trouble {
    let shown: String = name.chars().take(300).collect();
    Trouble::absent(format!("Couldn't find UserSchedule with name = {shown}"))
}

/// Reads what a create or an update gives, over what is known.
async fn read(house: &House, account: usize, params: &Params, base: Saved, now: Timestamp) -> Result<Saved, Trouble> {
    let text = |name: &str, known: &str| params.get(name).map_or_else(|| known.to_owned(), str::to_owned);
    let option = |name: &str, known: &Option<String>| match params.has(name) {
        true => params.get(name).map(str::to_owned),
        false => known.clone(),
    };
    let saved = Saved {
        kind: text("type", &base.kind),
        cron: option("cron", &base.cron),
        timezone: text("timezone", &base.timezone),
        delay: params.integer("delay")?.unwrap_or(base.delay),
        query: text("query", &base.query),
        database: text("database", &base.database),
        result: if params.has("result") { Secret::new(params.get("result").unwrap_or_default()) } else { base.result },
        priority: params.integer("priority")?.unwrap_or(base.priority),
        retry_limit: params.integer("retry_limit")?.unwrap_or(base.retry_limit),
        engine_version: option("engine_version", &base.engine_version),
        pool_name: option("pool_name", &base.pool_name),
        ..base
    };
    let given = |what: &str, value: &str| match value.is_empty() {
        true => Err(Trouble::unfit(format!("'{what}' parameter is required"))),
        false => Ok(()),
    };
    given("query", &saved.query)?;
    given("database", &saved.database)?;
    submit::check_saved(&saved.kind, &saved.query, saved.engine_version.as_deref(), saved.pool_name.as_deref())?;
    if !(-2..=2).contains(&saved.priority) {
        return Err(Trouble::unfit("Validation failed: Priority must be between -2 and 2"));
    }
    if !(0..=32).contains(&saved.retry_limit) {
        return Err(Trouble::unfit("Validation failed: Retry limit must be between 0 and 32"));
    }
    let too_long = |text: &str| text.len() > LONGEST;
    if too_long(&saved.timezone) || saved.cron.as_deref().is_some_and(too_long) {
        return Err(Trouble::unfit("Validation failed: Cron is too long"));
    }
    if Schedule::cron("0 0 * * *", &saved.timezone, now).is_err() {
        return Err(Trouble::unfit("Validation failed: Timezone is invalid"));
    }
    if saved.cron.is_some() && saved.schedule(now).is_none() {
        return Err(Trouble::unfit("Validation failed: Cron is invalid"));
    }
    if !saved.result.reveal().is_empty() {
        submit::destination_of(house, account, saved.result.reveal())?;
    }
    let name = saved.database.clone();
    house.accounts[account].ask(move |warehouse| warehouse.show_database(&name)).await??;
    Ok(saved)
}

/// `start`: when it comes first. Null for one that never does.
fn told(house: &House, account: &Account, name: &str, saved: &Saved, now: Timestamp) -> Answer {
    let mut body = saved.reference(house, account, name);
    body["id"] = saved.id.into();
    body["start"] = saved.next_at(now).map(plain_time).into();
    ok(body)
}

/// Lists them, secrets masked.
pub(super) fn list(house: &House, account: usize) -> Answer {
    let (account, now) = (&house.accounts[account], house.now());
    let entry = |(name, saved): (&String, &Saved)| {
        let mut body = saved.reference(house, account, name);
        body["priority"] = saved.priority.into();
        body["retry_limit"] = saved.retry_limit.into();
        // A connection's name says nothing of where it leads: the whole address does.
        let result = connections::resolve(account, saved.result.reveal()).unwrap_or_else(|_| saved.result.clone());
        body["result"] = masked(result.reveal()).into();
        body["next_time"] = saved.next_at(now).map(iso_time).into();
        body
    };
    let all: Vec<Json> = account.schedules().iter().map(entry).collect();
    ok(json!({ "schedules": all }))
}

/// Saves one.
pub(super) async fn create(house: &House, account: usize, name: &str, params: &Params) -> Answer {
    check_name(name)?;
    let now = house.now();
    let base = Saved {
        id: 0,
        kind: "hive".to_owned(),
        cron: None,
        timezone: "UTC".to_owned(),
        delay: 0,
        query: String::new(),
        database: String::new(),
        result: Secret::new(""),
        priority: 0,
        retry_limit: 0,
        engine_version: None,
        pool_name: None,
        created_at: now,
    };
    let mut saved = read(house, account, params, base, now).await?;
    let account = &house.accounts[account];
    {
        let mut all = account.schedules();
        if all.contains_key(name) {
            return Err(Trouble::conflict("Schedule must be unique"));
        }
        if all.len() >= MOST {
            return Err(Trouble::unfit("too many schedules"));
        }
        saved.id = next_id(&all);
        all.insert(name.to_owned(), saved.clone());
    }
    told(house, account, name, &saved, now)
}

fn next_id(all: &BTreeMap<String, Saved>) -> u64 {
    all.values().map(|saved| saved.id).max().unwrap_or(0) + 1
}

/// Changes one; `name` renames it.
pub(super) async fn update(house: &House, account: usize, name: &str, params: &Params) -> Answer {
    let now = house.now();
    let known = house.accounts[account].schedules().get(name).cloned().ok_or_else(|| unknown(name))?;
    let saved = read(house, account, params, known, now).await?;
    let renamed = params.get("name").unwrap_or(name).to_owned();
    check_name(&renamed)?;
    let account = &house.accounts[account];
    {
        let mut all = account.schedules();
        if renamed != name && all.contains_key(&renamed) {
            return Err(Trouble::conflict("Schedule must be unique"));
        }
        // It may have gone while the database was looked for.
        all.remove(name).ok_or_else(|| unknown(name))?;
        all.insert(renamed.clone(), saved.clone());
    }
    told(house, account, &renamed, &saved, now)
}

/// Forgets one.
pub(super) fn delete(house: &House, account: usize, name: &str) -> Answer {
    let account = &house.accounts[account];
    let gone = account.schedules().remove(name);
    ok(gone.ok_or_else(|| unknown(name))?.reference(house, account, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_query_comes_by_its_cron_in_its_zone_or_never() {
        let now = Timestamp::parse_rfc3339("2026-03-01T00:00:00Z").expect("a time");
        let saved = |cron: Option<&str>, zone: &str| Saved {
            id: 1,
            kind: "hive".to_owned(),
            cron: cron.map(str::to_owned),
            timezone: zone.to_owned(),
            delay: 600,
            query: "SELECT 1".to_owned(),
            database: "db".to_owned(),
            result: Secret::new(""),
            priority: 0,
            retry_limit: 0,
            engine_version: None,
            pool_name: None,
            created_at: now,
        };
        let next = |cron, zone| saved(cron, zone).next_at(now).map(iso_time);
        assert_eq!(next(Some("30 4 * * *"), "Asia/Tokyo").as_deref(), Some("2026-03-01T19:30:00Z"));
        assert_eq!(next(Some("@daily"), "UTC").as_deref(), Some("2026-03-02T00:00:00Z"));
        assert_eq!(next(None, "UTC"), None);
    }
}
