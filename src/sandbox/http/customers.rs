//! `/sandbox/customers`: jobs of customers, in the past or coming in now. The engine decides what became of
//! their outputs, as it does for everybody's; only here is told what it was. Nothing of theirs is computed, and
//! their outputs go to places that are made up: they stand in the list of jobs, and that is all.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use serde_json::{Value as Json, json};

use super::{
    answer::{Answer, Trouble, ok},
    book::{Job, MOST_AT_WORK, Status, Stop, Stored},
    house::House,
    jobs::{place_of, platform_of},
};
use crate::{
    canary::{Mode, PlatformName, Timestamp, time::Brief},
    sandbox::{
        Ending, Life, Output, Place, Spread, Work, World, Written,
        deliver::{Destination, masked},
        sql::{Dialect, Rowset, Type, Value},
        tree::{Keys, Node, Wrong},
    },
};

/// Jobs of one call: the book keeps 50,000, and most of these have an export as well.
const MOST: i64 = 20_000;
/// Longest time into the past, and longest that others keep coming.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);
/// Of so many jobs the truth is kept: as many as the book has.
const MOST_TRUTHS: usize = 50_000;
/// Customers of both accounts.
const CUSTOMERS: usize = 40;

/// What became of a customer's output.
#[derive(Clone, Debug)]
pub(super) struct Truth {
    platform: String,
    target: Option<&'static str>,
    mode: Option<Mode>,
    status: &'static str,
    /// When its output was written, or should have been.
    wrote_at: Timestamp,
    /// Its output is not as its status says.
    hit: bool,
}

/// What is wanted.
struct Wanted {
    jobs: u64,
    over: Duration,
    seed: u64,
    with_output: f64,
    failing: f64,
    times_as_long: f64,
    /// At most so long each; none: as long as such jobs take on real clusters.
    takes: Option<Duration>,
    /// They come in from now on, so far apart, instead of having been there.
    every: Option<Duration>,
}

impl Wanted {
    fn read(body: &[u8]) -> Result<Self, String> {
        let json: Json = serde_json::from_slice(body).map_err(|error| format!("not JSON: {error}"))?;
        let mut wrongs: Vec<Wrong> = Vec::new();
        let node = Node::from_json(&json).map_err(|wrong| wrong.what)?;
        let mut keys = Keys::of(&node, "customers", &mut wrongs);
        let wanted = Self {
            jobs: keys.int("jobs", 1..=MOST).unwrap_or(1_000) as u64,
            over: keys.length("over").unwrap_or(Duration::from_secs(24 * 3600)),
            seed: keys.int("seed", 0..=i64::MAX).unwrap_or(1) as u64,
            with_output: keys.share("with_output").unwrap_or(0.8),
            failing: keys.share("failing").unwrap_or(0.05),
            times_as_long: keys.int("times_as_long", 1..=1_000).unwrap_or(1) as f64,
            takes: keys.length("takes"),
            every: keys.length("every"),
        };
        let whole = wanted.every.map_or(wanted.over, |every| every.saturating_mul(wanted.jobs as u32));
        if whole > LONGEST || whole.is_zero() {
            let what = format!("{} is not a time that customers can take", Brief(whole));
            keys.push(node.wrong(what, format!("at most {}", Brief(LONGEST))));
        }
        keys.done();
        let told = |wrong: &Wrong| match &wrong.hint {
            Some(hint) => format!("{} ({hint})", wrong.what),
            None => wrong.what.clone(),
        };
        match wrongs.is_empty() {
            true => Ok(wanted),
            false => Err(wrongs.iter().map(told).collect::<Vec<_>>().join("; ")),
        }
    }
}

/// A job as its customer submits it.
struct Submitted {
    account: usize,
    kind: &'static str,
    owner: Arc<str>,
    url: String,
    to: Option<Destination>,
    /// It goes wrong by itself: the query is bad, or somebody stops it.
    goes_wrong: Option<Status>,
}

/// Enters customers' jobs into the book, or lets them come in.
pub(super) fn enter(house: &Arc<House>, body: &[u8]) -> Answer {
    let wanted = Wanted::read(body).map_err(Trouble::unfit)?;
    let jobs = wanted.jobs;
    let mut dice = Rng::with_seed(wanted.seed);
    match wanted.every {
        Some(every) => {
            let arriving = Arc::clone(house);
            house.spawn(async move {
                for _ in 0..jobs {
                    tokio::time::sleep(every).await;
                    let submitted = Submitted::any(&wanted, &mut dice);
                    come_in(&arriving, submitted);
                }
            });
        }
        None => {
            // Times are told in whole seconds: so the same seed tells the same at any moment.
            let now = Timestamp::from_secs(house.now().as_millis().div_euclid(1000));
            let begins = now.minus(wanted.over + Duration::from_secs(120));
            let mut accepted: Vec<Duration> = (0..jobs).map(|_| wanted.over.mul_f64(dice.f64())).collect();
            accepted.sort_unstable();
            let kept = kept();
            for after in accepted {
                let submitted = Submitted::any(&wanted, &mut dice);
                let takes = match wanted.takes {
                    Some(takes) => Spread::Between(takes / 2, takes),
                    None => takes(&submitted, &mut dice).times(wanted.times_as_long),
                };
                had_come(house, submitted, begins.plus(after), takes, &kept, &mut dice);
            }
        }
    }
    ok(json!({ "jobs": jobs }))
}

/// Tells what became of them.
pub(super) fn truths(house: &House) -> Answer {
    let truths = house.truths();
    let told = |(id, truth): (&u64, &Truth)| {
        json!({
            "job_id": id.to_string(),
            "platform": truth.platform,
            "target": truth.target,
            "mode": truth.mode,
            "status": truth.status,
            "wrote_at": truth.wrote_at,
            "hit": truth.hit,
        })
    };
    ok(json!({ "customers": truths.iter().map(told).collect::<Vec<_>>() }))
}

impl Submitted {
    fn any(wanted: &Wanted, dice: &mut Rng) -> Self {
        let account = dice.usize(..2);
        let kind = ["hive", "hive", "hive", "hive", "hive", "presto", "presto", "presto", "presto", "trino"];
        let kind = kind[dice.usize(..kind.len())];
        let number = dice.usize(..CUSTOMERS);
        let url = if dice.f64() < wanted.with_output { address(number, dice) } else { String::new() };
        let to = url.parse().ok();
        let goes_wrong =
            (dice.f64() < wanted.failing).then(|| if dice.bool() { Status::Error } else { Status::Killed });
        Self { account, kind, owner: format!("customer{number}@example.com").into(), url, to, goes_wrong }
    }

    fn place(&self, house: &House) -> (String, Place) {
        let platform = platform_of(&house.accounts[self.account], self.kind).to_owned();
        let place = place_of(&house.engine(), &platform, self.to.as_ref());
        (platform, place)
    }

    fn job(&self, id: u64, platform: String, place: Place, life: Life) -> Job {
        Job {
            id,
            account: self.account,
            kind: self.kind.to_owned(),
            owner: Some(Arc::clone(&self.owner)),
            platform,
            query: "SELECT item, COUNT(1) AS sold FROM orders GROUP BY item".into(),
            database: "sales".to_owned(),
            result_url: if self.url.is_empty() { String::new() } else { masked(&self.url) },
            output: self.to.as_ref().map(|to| (to.target(), to.mode())),
            priority: 0,
            retry_limit: 0,
            domain_key: None,
            created_at: life.accepted_at,
            started_at: None,
            exports_at: None,
            ended_at: None,
            updated_at: life.accepted_at,
            status: Status::Queued,
            result: None,
            cmdout: String::new(),
            stderr: String::new(),
            linked_export: None,
            export_of: None,
            place,
            life,
            stop: Stop::new(),
        }
    }
}

/// An address that a customer could have, with a password in it.
fn address(customer: usize, dice: &mut Rng) -> String {
    let (host, password) = (format!("customer{customer}.example"), format!("pw{:08x}", dice.u32(..)));
    let table = ["orders", "daily", "users", "funnel"][dice.usize(..4)];
    let mode = ["append", "append", "replace", "truncate"][dice.usize(..4)];
    match dice.u32(..100) {
        0..35 => format!("postgresql://etl:{password}@db.{host}:5432/dwh/{table}?mode={mode}"),
        35..55 => format!("mysql://etl:{password}@db.{host}/dwh/{table}?mode={mode}"),
        55..75 => format!("s3://AKIA{customer:04}:{password}@/{host}/{table}.csv?region=us-east-1"),
        75..85 => format!("sftp://etl:{password}@files.{host}/in/{table}.csv"),
        85..95 => format!("webs://etl:{password}@hooks.{host}/{table}"),
        _ => format!("td://{}%2F{password}@/marts/{table}?mode=replace", customer + 100),
    }
}

/// How long such a job takes on real clusters; longer queries are as likely as not.
fn takes(submitted: &Submitted, dice: &mut Rng) -> Spread {
    let world = World::default();
    let name = if submitted.kind == "hive" { "hadoop1" } else { "presto" };
    let known = PlatformName::new(name).ok().and_then(|name| world.platform(&name).map(|known| known.job_time));
    let factor = if dice.bool() { 1.0 } else { 3.0 };
    known.unwrap_or(Spread::Always(Duration::from_secs(20))).times(factor)
}

/// A small result, so that it can be exported again.
fn kept() -> Stored {
    let columns = vec![("item".to_owned(), Type::Text), ("sold".to_owned(), Type::Long)];
    let row = |item: &str, sold: i64| vec![Value::Text(item.to_owned()), Value::Int(sold)];
    Stored::of(&Rowset { columns, rows: vec![row("pencil", 12), row("paper", 40)] }, Dialect::Presto)
}

/// Whether an output is not what a job that ended well promised.
fn is_hit(output: &Output) -> bool {
    output.says == Ending::Success && output.written != Written::Rows(crate::sandbox::Delivery::default())
}

/// A job of the past: all that became of it is decided at once.
fn had_come(house: &House, submitted: Submitted, at: Timestamp, takes: Spread, kept: &Stored, dice: &mut Rng) {
    let (platform, place) = submitted.place(house);
    let work = takes.throw(dice);
    let (queue, export) = (work / 10, work / 6);
    let (work, output, life, linked) = {
        let mut engine = house.engine();
        let ticket = engine.ticket(&place);
        let execute = work.saturating_sub(queue + export);
        let life = Life { ticket, accepted_at: at, queue, execute, export, land: Duration::from_secs(2) };
        let output = engine.output(&life, &place, life.ends_at());
        (engine.work(&life, &place), output, life, engine.world().guesses.export_is_linked)
    };
    if life.ends_at() > house.now() {
        // It would still be at work: those that come in now are.
        return;
    }
    let status = match (submitted.goes_wrong, work, output.says) {
        (Some(wrong), ..) => wrong,
        // It would hang until somebody stopped it.
        (None, Work::Hangs, _) => Status::Killed,
        (None, Work::Fails, _) | (None, _, Ending::Error(_)) => Status::Error,
        (None, _, Ending::Killed) => Status::Killed,
        (None, _, Ending::Success) => Status::Success,
    };
    let exports = submitted.to.is_some() && submitted.goes_wrong.is_none() && work == Work::Completes;
    let mut book = house.book();
    let id = book.next_id();
    let mut job = submitted.job(id, platform.clone(), place, life);
    let ended = if exports || status == Status::Success { life.ends_at() } else { life.exports_at() };
    (job.status, job.started_at) = (status, Some(life.executes_at()));
    (job.ended_at, job.updated_at) = (Some(ended), ended);
    job.result = (work == Work::Completes && submitted.goes_wrong.is_none()).then(|| kept.clone());
    if exports && linked {
        let export = book.next_id();
        (job.linked_export, job.exports_at) = (Some(export), Some(life.exports_at()));
        book.add(Job {
            id: export,
            kind: "result_export".to_owned(),
            query: "".into(),
            created_at: life.exports_at(),
            started_at: Some(life.exports_at()),
            exports_at: None,
            result: None,
            linked_export: None,
            export_of: Some(id),
            ..job.clone()
        });
    }
    let truth = Truth {
        platform,
        target: submitted.to.as_ref().map(Destination::target),
        mode: submitted.to.as_ref().map(Destination::mode),
        status: status.as_str(),
        wrote_at: life.ends_at(),
        hit: exports && status == Status::Success && is_hit(&output),
    };
    book.add(job);
    drop(book);
    house.keep_truth(id, truth);
}

/// A job that comes in now, and takes the time that jobs of this world take.
fn come_in(house: &Arc<House>, submitted: Submitted) {
    let (platform, place) = submitted.place(house);
    let life = {
        let mut engine = house.engine();
        let ticket = engine.ticket(&place);
        engine.begin(ticket, &place, house.now())
    };
    let id = {
        let mut book = house.book();
        if book.at_work() >= MOST_AT_WORK {
            return;
        }
        let id = book.next_id();
        book.add(submitted.job(id, platform.clone(), place.clone(), life));
        id
    };
    let living = Arc::clone(house);
    house.spawn(async move { living.live(id, submitted, platform, place, life).await });
}

impl House {
    fn keep_truth(&self, id: u64, truth: Truth) {
        let mut truths = self.truths();
        truths.insert(id, truth);
        while truths.len() > MOST_TRUTHS {
            truths.pop_first();
        }
    }

    async fn live(&self, id: u64, submitted: Submitted, platform: String, place: Place, life: Life) {
        self.wait_until(life.executes_at()).await;
        let began = self.now();
        self.book().change(id, began, |job| (job.status, job.started_at) = (Status::Running, Some(began)));
        self.wait_until(life.exports_at()).await;
        let work = self.engine().work(&life, &place);
        match (submitted.goes_wrong, work) {
            (Some(wrong), _) => return self.finish(id, self.now(), wrong, "it went wrong by itself"),
            (None, Work::Fails) => return self.finish(id, self.now(), Status::Error, "internal error of a worker"),
            // Until it is killed.
            (None, Work::Hangs) => return,
            (None, Work::Completes) => {}
        }
        let now = self.now();
        self.book().change(id, now, |job| job.result = Some(kept()));
        let guesses = self.engine().world().guesses;
        let link = (submitted.to.is_some() && guesses.export_is_linked).then(|| self.link(id));
        self.wait_until(life.ends_at()).await;
        let wrote_at = self.now();
        let output = self.engine().output(&life, &place, wrote_at);
        let status = match output.says {
            Ending::Success => Status::Success,
            Ending::Error(_) => Status::Error,
            Ending::Killed => Status::Killed,
        };
        for ended in link.into_iter().chain([id]) {
            self.say(ended, output.says, Ok(()));
        }
        let truth = Truth {
            platform,
            target: submitted.to.as_ref().map(Destination::target),
            mode: submitted.to.as_ref().map(Destination::mode),
            status: status.as_str(),
            wrote_at,
            hit: submitted.to.is_some() && status == Status::Success && is_hit(&output),
        };
        self.keep_truth(id, truth);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_of_a_customer_is_one_and_shows_no_password() {
        let mut dice = Rng::with_seed(1);
        let mut targets = std::collections::BTreeSet::new();
        for customer in 0..2_000 {
            let url = address(customer, &mut dice);
            let to: Destination = url.parse().unwrap_or_else(|error| panic!("{url}: {error}"));
            targets.insert(to.target());
            let shown = masked(&url);
            assert!(!shown.contains("pw"), "{shown}");
        }
        assert_eq!(targets.len(), 6);
    }

    #[test]
    fn what_is_asked_wrongly_is_said() {
        for (body, says) in [
            ("[", "not JSON"),
            (r#"{"jobs": 0}"#, "`jobs = 0` is out of range"),
            (r#"{"job": 5}"#, "did you mean `jobs`?"),
            (r#"{"over": "400d"}"#, "is not a time that customers can take"),
            (r#"{"jobs": 20000, "every": "1h"}"#, "is not a time that customers can take"),
        ] {
            let error = Wanted::read(body.as_bytes()).err().unwrap_or_default();
            assert!(error.contains(says), "{body}: {error}");
        }
        assert!(Wanted::read(b"{}").is_ok());
    }
}
