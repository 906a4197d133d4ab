//! A daemon that is killed again and again loses nothing, sends nothing twice, and accuses nobody.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use landfall::{
    canary::{Outcome, Timestamp},
    detect::Input,
    store::{Store, sqlite::Sqlite},
};
use serde_json::{Value as Json, json};
use tokio::time::sleep;

use crate::fixtures::daemon::Watched;

/// Deadline of the sandbox's canary, the 30 s of invariant 1, and the time of a start.
const QUIET: Duration = Duration::from_secs(60);
const RED_AND_SILENT: [&str; 5] = ["lost", "partial", "stale", "duplicated", "corrupted"];

fn text<'j>(json: &'j Json, name: &str) -> &'j str {
    json[name].as_str().unwrap_or_default()
}

/// Kills so often, 1 to 5 s apart by seeded dice, and starts again each time.
async fn kill(watched: &mut Watched, times: usize, seed: u64) {
    let mut dice = fastrand::Rng::with_seed(seed);
    for _ in 0..times {
        sleep(Duration::from_millis(dice.u64(1_000..5_000))).await;
        watched.kill();
        watched.launch();
    }
    watched.ready().await;
}

/// Waits until every run that was known at the last start has its final verdict.
async fn quiet(watched: &Watched) -> Duration {
    let known: BTreeSet<String> = runs(watched).await.iter().map(|run| text(run, "run_id").to_owned()).collect();
    let settled = async |w: &Watched| {
        let runs = w.list("runs").await?;
        let open = |run: &&Json| {
            known.contains(text(run, "run_id")) && (run["outcome"].is_null() || run["provisional"] == true)
        };
        runs.iter().find(open).is_none().then_some(())
    };
    watched.until("every run has its final verdict", QUIET, settled).await.1
}

async fn runs(watched: &Watched) -> Vec<Json> {
    let runs = watched.list("runs").await.expect("the daemon answers");
    assert!(runs.len() < 1000, "the test sees only the newest runs");
    runs
}

/// No job was sent twice, and none that is not in the ledger.
async fn one_job_a_run(watched: &Watched) {
    let mut by_key: BTreeMap<String, usize> = BTreeMap::new();
    for job in watched.jobs().await.iter().filter(|job| job["domain_key"].is_string()) {
        *by_key.entry(text(job, "domain_key").to_owned()).or_default() += 1;
    }
    let twice: Vec<_> = by_key.iter().filter(|(_, jobs)| **jobs > 1).collect();
    assert!(twice.is_empty(), "sent twice: {twice:?}");
    // Asked later than the platform: whatever it had seen by then was recorded before.
    let known: BTreeSet<String> = runs(watched).await.iter().map(|run| text(run, "run_id").to_owned()).collect();
    let strange: Vec<_> = by_key.keys().filter(|key| !known.contains(*key)).collect();
    assert!(by_key.len() > 20 && strange.is_empty(), "of {} jobs not in the ledger: {strange:?}", by_key.len());
}

/// The ledger of a daemon that is dead: one final verdict a run, nothing pending for too long.
async fn one_verdict_a_run(watched: &Watched, died_at: Timestamp) {
    let ledger = Sqlite::open(&watched.ledger(), died_at).expect("the ledger opens");
    let mut finals: BTreeMap<_, Vec<Outcome>> = BTreeMap::new();
    for entry in ledger.journal(0).await.expect("a journal") {
        if let Input::Verdict(verdict) = entry.input
            && !verdict.provisional
        {
            finals.entry(verdict.run).or_default().push(verdict.outcome);
        }
    }
    let records = ledger.runs(None, 10_000).await.expect("runs");
    assert!(records.len() > 20, "there is something to judge");
    for record in &records {
        let (marker, terms) = (record.run.marker, &record.run.terms);
        let verdicts = finals.get(&marker).map_or(&[][..], Vec::as_slice);
        let is_final = record.verdict.as_ref().is_some_and(|verdict| !verdict.provisional);
        // A correction is another outcome of the same run; without one there is one final verdict.
        let corrected = verdicts.windows(2).all(|pair| pair[0] != pair[1]);
        if is_final {
            assert!(!verdicts.is_empty() && corrected, "{marker} was judged {verdicts:?}");
        } else {
            let over = terms.deadline_at(record.evidence.accepted_at).plus(Duration::from_secs(30));
            assert!(verdicts.is_empty() && died_at <= over, "{marker} was pending at {died_at}: {record:?}");
        }
    }
    let counts = ledger.counts().await.expect("counts");
    let settled = records.iter().filter(|r| r.verdict.as_ref().is_some_and(|v| !v.provisional)).count();
    assert_eq!((counts.started, counts.settled), (records.len() as u64, settled as u64), "what the metrics count");
}

#[expect(clippy::disallowed_methods, reason = "tests have no agent to ask for the time")]
fn now() -> Timestamp {
    use std::time::SystemTime;
    Timestamp::EPOCH.plus(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_kills_lose_no_run_send_none_twice_and_page_nobody() {
    let mut watched = Watched::start(|probes| probes).await;
    watched.landed(1).await;
    kill(&mut watched, 30, 1).await;
    let settled = quiet(&watched).await;
    let runs = runs(&watched).await;
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    runs.iter().for_each(|run| *outcomes.entry(text(run, "outcome")).or_default() += 1);
    println!("30 kills: {outcomes:?}; all settled {settled:?} after the last start");
    let red: Vec<&Json> = runs.iter().filter(|run| RED_AND_SILENT.contains(&text(run, "outcome"))).collect();
    assert!(red.is_empty(), "nothing was lost, yet: {red:#?}");
    let incidents = watched.list("incidents").await.expect("the daemon answers");
    assert!(incidents.is_empty(), "nothing was broken but the agent, yet: {incidents:#?}");
    one_job_a_run(&watched).await;
    // It works as before.
    watched.landed(2).await;
    watched.kill();
    one_verdict_a_run(&watched, now()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incident_outlives_kills_under_the_same_id_and_is_resolved_when_mended() {
    let mut watched = Watched::start(|probes| probes).await;
    watched.landed(2).await;
    let fault = watched.inject(&json!({ "kind": "drop-output", "where": { "worker": "v5" } })).await;
    let lost = async |w: &Watched| {
        let incidents = w.list("incidents").await?;
        incidents.into_iter().find(|incident| incident["outcome"] == "lost" && incident["resolved_at"].is_null())
    };
    let (before, took) = watched.until("somebody is paged", Duration::from_secs(90), lost).await;
    println!("paged {took:?} after the fault");
    kill(&mut watched, 30, 2).await;
    let settled = quiet(&watched).await;
    println!("30 kills: all settled {settled:?} after the last start");
    let incidents = watched.list("incidents").await.expect("the daemon answers");
    let missing: Vec<&Json> = incidents.iter().filter(|i| RED_AND_SILENT.contains(&text(i, "outcome"))).collect();
    assert_eq!(missing.len(), 1, "one incident of loss: {incidents:#?}");
    assert_eq!((&missing[0]["id"], &missing[0]["resolved_at"]), (&before["id"], &Json::Null));
    let expected = watched.covered(&json!({ "worker": "v5" })).await;
    assert_eq!(watched.covered(&missing[0]["suspects"]).await, expected, "{:#}", missing[0]);
    watched.mend(fault).await;
    let resolved = async |w: &Watched| {
        let incidents = w.list("incidents").await?;
        incidents.into_iter().find(|i| i["id"] == before["id"] && !i["resolved_at"].is_null()).map(drop)
    };
    let ((), took) = watched.until("it is resolved", Duration::from_secs(120), resolved).await;
    println!("resolved {took:?} after it was mended");
    one_job_a_run(&watched).await;
    watched.kill();
    one_verdict_a_run(&watched, now()).await;
}
