//! `landfall impact` as somebody calls it who has to call customers: the real binary, a real agent, a sandbox
//! with thousands of their jobs. The sandbox alone knows which were hit.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::Arc,
    time::{Duration, SystemTime},
};

use landfall::{
    canary::{
        CanaryName, Claim, Evidence, Family, LabelName, Labels, Look, Marker, Mode, Outcome, Phase, PlatformName,
        Route, Rows, Run, Sample, Sighting, TargetName, Terms, Timestamp, Verdict, Why,
    },
    detect::{Incident, IncidentId, Onset, Severity},
    store::{Settlement, Store, sqlite::Sqlite},
};
use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::fixtures::daemon::Watched;

const S: fn(u64) -> Duration = Duration::from_secs;

#[expect(clippy::disallowed_methods, reason = "tests have no agent to ask for the time")]
fn now() -> Timestamp {
    Timestamp::EPOCH.plus(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970"))
}

/// The two accounts' keys.
fn key(account: u32) -> String {
    format!("{account}/{}", if account == 1 { "a" } else { "b" }.repeat(40))
}

/// A route of the sandbox's config.
fn route(platform: &str, target: &str) -> Arc<Route> {
    let (engine, worker) = match platform {
        "presto" => ("presto", "v5"),
        "hadoop1" => ("hive", "v5"),
        _ => ("hive", "v6"),
    };
    let labels = [("engine", engine), ("cluster", platform), ("worker", worker)];
    let labels = labels.map(|(name, value)| (LabelName::new(name).expect("valid"), value.into()));
    Arc::new(Route::new(
        CanaryName::new("result-output").expect("valid"),
        PlatformName::new(platform).expect("valid"),
        TargetName::new(target).expect("valid"),
        Mode::Append,
        Labels::new(labels),
    ))
}

/// A run that was written between these two, and what it came to.
fn flown(route: &Arc<Route>, from: Timestamp, until: Timestamp, is_bad: bool) -> (Run, Verdict) {
    let due = from.minus(S(1));
    let run = Run {
        marker: Marker::mint(due, u128::from(route.id.0)),
        route: Arc::clone(route),
        terms: Terms { due, objective: S(120), deadline: S(300) },
        sample: Sample::of(20),
        why: Why::Scheduled,
        report: None,
    };
    let mut evidence = Evidence { submitted_at: Some(due), accepted_at: Some(due), ..Evidence::default() };
    evidence.entered(Phase::Execute, from);
    evidence.entered(Phase::Land, until.minus(S(1)));
    evidence.heard(Claim::Done { rows: Some(20) }, until);
    let rows = if is_bad { Rows::none(20) } else { Rows::all_right(20) };
    evidence.saw(Look { started_at: until, found: Ok(Sighting { rows, ..Sighting::default() }) });
    let verdict = Verdict {
        run: run.marker,
        route: route.id,
        due,
        why: run.why,
        outcome: if is_bad { Outcome::Lost } else { Outcome::Landed },
        phase: None,
        reason: None,
        also: Vec::new(),
        provisional: false,
        seen_late: false,
        agent_away: false,
        at: until.plus(S(5)),
        evidence: Arc::new(evidence),
    };
    (run, verdict)
}

/// Writes into the ledger what an agent would have that watched a fault on worker v5 from one time to another:
/// four routes, each flown every twenty seconds, one after the other.
async fn outage_in_the_ledger(watched: &Watched, begins: Timestamp, ends: Timestamp) -> IncidentId {
    let ledger = Sqlite::open_with(&watched.ledger(), now(), Duration::ZERO).expect("a ledger");
    let routes: Vec<_> =
        ["presto", "hadoop1"].iter().flat_map(|on| ["web", "bucket"].map(|to| route(on, to))).collect();
    let (first, last) = (begins.minus(S(120)), ends.plus(S(120)));
    let mut settlement = Settlement::default();
    let (mut bad, mut last_good) = (Vec::new(), None);
    let steps = last.since(first).as_secs() / 5;
    for step in 0..steps {
        let wrote = first.plus(S(5 * step));
        // In the middle one in twelve is enough: nothing is told by the others.
        let is_edge =
            wrote.since(begins).max(begins.since(wrote)) < S(150) || wrote.since(ends).max(ends.since(wrote)) < S(150);
        if !is_edge && step % 12 != 0 {
            continue;
        }
        // Nobody sees the very moment, only what lies around it.
        let is_bad = begins <= wrote && wrote < ends;
        let (run, verdict) = flown(&routes[step as usize % 4], wrote.minus(S(1)), wrote.plus(S(1)), is_bad);
        match is_bad {
            true => bad.push(run.clone()),
            false if bad.is_empty() => last_good = Some(run.terms.due),
            false => {}
        }
        ledger.begin(&run).await.expect("begun");
        settlement.verdicts.push(verdict);
    }
    let runs: Vec<Marker> = bad.iter().take(30).chain(bad.iter().rev().take(30).rev()).map(|run| run.marker).collect();
    let incident = Incident {
        id: IncidentId::of(runs[0]),
        severity: Severity::Critical,
        outcome: Outcome::Lost,
        family: Family::Missing,
        provisional: false,
        suspects: vec![("worker".into(), "v5".into())],
        also: Vec::new(),
        routes: routes.iter().map(|route| route.id).collect(),
        unaffected: Vec::new(),
        onset: Onset { last_good, first_bad: bad[0].terms.due },
        deploy: None,
        opened_at: begins.plus(S(10)),
        detected_at: Some(begins.plus(S(20))),
        reopened_at: None,
        resolved_at: Some(ends.plus(S(100))),
        resolved_because: None,
        runs,
        history: Vec::new(),
    };
    let id = incident.id.clone();
    settlement.incidents.push(incident);
    ledger.settle(settlement).await.expect("settled");
    id
}

async fn customers(watched: &Watched, wanted: Json) {
    let url = format!("{}/sandbox/customers", watched.platform);
    let (status, text) = watched.ask(Method::POST, &url, None, Some(wanted)).await;
    assert_eq!(status, 200, "{text}");
}

/// What became of each customer's job, as the sandbox knows: whether it was hit, and when it was written.
async fn truths(watched: &Watched) -> BTreeMap<String, (bool, Timestamp)> {
    let url = format!("{}/sandbox/customers", watched.platform);
    let (_, text) = watched.ask(Method::GET, &url, None, None).await;
    let told: Json = serde_json::from_str(&text).expect("JSON");
    let told = told["customers"].as_array().expect("a list").clone();
    let of = |one: &Json| {
        let wrote = one["wrote_at"].as_str().and_then(Timestamp::parse_rfc3339).expect("a time");
        (one["job_id"].as_str().expect("an id").to_owned(), (one["hit"] == true, wrote))
    };
    told.iter().map(of).collect()
}

/// Asks for the impact: exit code and answer.
fn impact(watched: &Watched, id: &str, more: &[&str]) -> (i32, Json) {
    let (code, said) = watched.command(&[&["impact", id, "--format", "json"], more].concat());
    let answer = said.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{code}: {said}"));
    (code, serde_json::from_str(answer).expect("JSON"))
}

fn ids(answer: &Json, certain: Option<bool>) -> BTreeSet<String> {
    let jobs = answer["jobs"].as_array().expect("jobs");
    let wanted = jobs.iter().filter(|job| certain.is_none_or(|certain| job["certain"] == certain));
    let ids: Vec<String> = wanted.map(|job| job["job_id"].as_str().expect("an id").to_owned()).collect();
    let set: BTreeSet<String> = ids.iter().cloned().collect();
    assert_eq!(set.len(), ids.len(), "each is listed once");
    set
}

/// A day of customers with a fault of 104 minutes in it, ten hours ago; what `landfall impact` says, and the
/// truth.
async fn a_day(wanted: Json, more: &[&str]) -> (Watched, Json, BTreeMap<String, (bool, Timestamp)>) {
    let mut watched = Watched::unwatched(|probes| probes, "", Vec::new()).await;
    let fault = json!({ "kind": "drop-output", "where": { "worker": "v5" }, "ago": "10h", "until": "104m" });
    let begins = now().minus(S(36_000));
    watched.inject(&fault).await;
    customers(&watched, wanted).await;
    let id = outage_in_the_ledger(&watched, begins, begins.plus(S(104 * 60))).await;
    watched.launch();
    watched.ready().await;
    // Others come in while the list is read: everything in it moves.
    customers(&watched, json!({ "jobs": 4000, "every": "2ms", "seed": 77 })).await;
    let (code, answer) = impact(&watched, id.as_str(), more);
    assert_eq!(code, 0, "{:#}", answer["notes"]);
    let truths = truths(&watched).await;
    (watched, answer, truths)
}

fn hit(truths: &BTreeMap<String, (bool, Timestamp)>) -> BTreeSet<String> {
    truths.iter().filter(|(_, (hit, _))| *hit).map(|(id, _)| id.clone()).collect()
}

#[tokio::test]
async fn of_five_thousand_jobs_exactly_those_are_listed_that_were_hit() {
    // On this day nobody writes within seconds of the fault's begin and end: of that nobody could know.
    let day = json!({ "jobs": 5000, "over": "24h", "seed": 6, "takes": "6s" });
    let (mut watched, answer, truths) = a_day(day, &[]).await;
    assert!(truths.len() >= 5_000);
    let (hit, listed, certain) = (hit(&truths), ids(&answer, None), ids(&answer, Some(true)));
    assert!((150..400).contains(&hit.len()), "{}", hit.len());
    let missed: Vec<_> = hit.difference(&listed).collect();
    let wrong: Vec<_> = listed.difference(&hit).map(|id| (id, truths.get(id), certain.contains(id))).collect();
    assert!(missed.is_empty() && wrong.is_empty(), "missed {missed:?}, not hit {wrong:?}\n{:#}", answer["bracket"]);
    assert_eq!(certain, listed);
    for job in answer["jobs"].as_array().expect("jobs") {
        let again = job["again"].as_str().expect("a command");
        let id = job["job_id"].as_str().expect("an id");
        assert!(again.contains(&format!("/v3/job/result_export/{id}'")) && again.contains("$TD_API_KEY"), "{again}");
        assert!(["presto", "hadoop1"].contains(&job["platform"].as_str().unwrap_or_default()), "{job:#}");
        assert!(job["owner"].as_str().is_some_and(|owner| owner.ends_with("@example.com")), "{job:#}");
        for text in ["address", "again"] {
            assert!(!job[text].as_str().unwrap_or_default().contains("pw0"), "{job:#}");
        }
    }
    // The same as a sheet: a line a job.
    let id = answer["incident"].as_str().expect("an id");
    let (code, sheet) = watched.command(&["impact", id, "--format", "csv"]);
    let head = "job_id,platform,owner,query_start,end,scheme,address,mode,rows,certain,because,again,check";
    assert!(sheet.starts_with(head), "{sheet}");
    assert_eq!((code, sheet.matches("\r\n").count()), (0, listed.len() + 1));
    assert!(!sheet.contains(&key(1)) && !sheet.contains(&key(2)));
    watched.kill();
}

#[tokio::test]
async fn whatever_day_it_is_none_is_missed_and_what_is_certain_was_hit() {
    for seed in 10..12 {
        let (mut watched, answer, truths) = a_day(json!({ "jobs": 2000, "over": "24h", "seed": seed }), &[]).await;
        let (hit, listed, certain) = (hit(&truths), ids(&answer, None), ids(&answer, Some(true)));
        assert!(hit.is_subset(&listed), "{seed}: missed {:?}", hit.difference(&listed));
        assert!(certain.is_subset(&hit), "{seed}: not hit {:?}", certain.difference(&hit));
        assert!(listed.len() - certain.len() < 12, "{seed}: {} of {}", certain.len(), listed.len());
        watched.kill();
    }
}

#[tokio::test]
async fn jobs_that_straddle_the_edges_are_never_left_out_and_never_called_certain() {
    // Hours of work, most of it before or after the fault.
    let day = json!({ "jobs": 3000, "over": "24h", "seed": 5, "times_as_long": 200, "failing": 0.3 });
    let (mut watched, answer, truths) = a_day(day, &["--longest-job", "3d"]).await;
    let time = |name: &str| answer["bracket"][name].as_str().and_then(Timestamp::parse_rfc3339).expect("a time");
    let (from, until) = (time("last_good"), time("first_good"));
    let (listed, certain) = (ids(&answer, None), ids(&answer, Some(true)));
    let mut straddled = 0;
    for (id, (hit, wrote)) in &truths {
        assert!(!hit || listed.contains(id), "{id}, written at {wrote}, was hit and is not listed");
        assert!(*hit || !certain.contains(id), "{id}, written at {wrote}, was not hit and is called certain");
        straddled += usize::from(listed.contains(id) && !certain.contains(id));
    }
    assert!(straddled > 5, "{straddled}");
    // Most are known for what they are all the same.
    let (hit, sure) = (truths.values().filter(|(hit, _)| *hit).count(), certain.len());
    assert!(sure * 2 > hit, "{sure} of {hit}, {from} to {until}");
    for job in answer["jobs"].as_array().expect("jobs").iter().filter(|job| job["certain"] == false) {
        assert!(job["because"].as_str().is_some_and(|because| because.contains("may have been written")), "{job:#}");
    }
    watched.kill();
}

/// Submits a query of a customer's whose result goes into the sandbox's bucket; its id.
async fn query(watched: &Watched, kind: &str, account: u32, url: &str) -> String {
    let client = reqwest::Client::new();
    let form = [("query", "SELECT 'a customer' AS who, 1 AS n"), ("result", url)];
    let answer = client
        .post(format!("{}/v3/job/issue/{kind}/landfall", watched.platform))
        .header("authorization", format!("TD1 {}", key(account)))
        .form(&form)
        .send()
        .await
        .expect("an answer");
    let text = answer.text().await.expect("a body");
    let told: Json = serde_json::from_str(&text).expect("JSON");
    told["job_id"].as_str().unwrap_or_else(|| panic!("{text}")).to_owned()
}

/// Where a customer's file goes in the sandbox's bucket.
fn in_the_bucket(watched: &Watched, name: &str) -> String {
    let probes = std::fs::read_to_string(watched.file("probes/sandbox.toml")).expect("the probes");
    let setting = |key: &str| {
        let after = probes.split(&format!("\n{key} ")).nth(1).unwrap_or_else(|| panic!("{key}"));
        after.split('"').nth(1).expect("quoted").to_owned()
    };
    let bucket = probes.split("[target.bucket.object-store]").nth(1).expect("a bucket");
    let endpoint = bucket.split('"').nth(1).expect("quoted");
    let secret = std::fs::read_to_string(watched.file("secrets/bucket-platform.secret")).expect("a secret");
    let encoded = |text: &str| text.replace('%', "%25").replace('/', "%2F").replace('+', "%2B");
    format!(
        "s3://{}:{}@/{}/customers/{name}.csv?region={}&endpoint={endpoint}",
        setting("result_access_key_id"),
        encoded(secret.trim()),
        setting("bucket"),
        setting("region"),
    )
}

#[tokio::test]
async fn an_outage_that_the_agent_saw_itself_names_its_customers_and_a_look_shows_what_is_missing() {
    let mut watched = Watched::start(|probes| probes).await;
    watched.landed(1).await;
    let before = query(&watched, "hive", 1, &in_the_bucket(&watched, "before")).await;
    // So long that runs of every route have landed after it: what is written after the last good run may be hit.
    tokio::time::sleep(S(15)).await;
    let broken = watched.inject(&json!({ "kind": "drop-output", "where": { "worker": "v5" } })).await;
    customers(&watched, json!({ "jobs": 900, "every": "100ms", "seed": 8 })).await;
    let paged = async |w: &Watched| {
        w.list("incidents").await?.into_iter().find(|incident| incident["suspects"] == json!({ "worker": "v5" }))
    };
    let (incident, _) = watched.until("the loss is an incident", S(60), paged).await;
    let lost = query(&watched, "hive", 1, &in_the_bucket(&watched, "lost")).await;
    let spared = query(&watched, "hive", 2, &in_the_bucket(&watched, "spared")).await;
    // So long that runs are lost on both sides of it.
    tokio::time::sleep(S(12)).await;
    let id = incident["id"].as_str().expect("an id").to_owned();
    // While it goes on, no list is whole.
    let (code, answer) = impact(&watched, &id, &[]);
    let notes = answer["notes"].to_string();
    assert!(code == 3 && answer["is_whole"] == false && notes.contains("still open"), "{code} {notes}");
    watched.mend(broken).await;
    let over = async |w: &Watched| {
        let known = w.list("incidents").await?.into_iter().find(|incident| incident["id"] == id.as_str())?;
        (!known["resolved_at"].is_null()).then_some(())
    };
    watched.until("it is over", S(90), over).await;

    let (code, answer) = impact(&watched, &id, &["--check"]);
    assert_eq!(code, 0, "{:#}", answer["notes"]);
    let (listed, certain) = (ids(&answer, None), ids(&answer, Some(true)));
    for (id, (hit, wrote)) in &truths(&watched).await {
        assert!(!hit || listed.contains(id), "{id}, written at {wrote}, is not listed: {:#}", answer["bracket"]);
        assert!(*hit || !certain.contains(id), "{id}, written at {wrote}: {:#}", answer["bracket"]);
    }
    assert!(certain.contains(&lost) && !listed.contains(&spared) && !listed.contains(&before));
    let find = |answer: &Json| answer["jobs"].as_array().unwrap().iter().find(|job| job["job_id"] == lost).cloned();
    let job = find(&answer).expect("listed");
    assert!(job["check"].as_str().is_some_and(|check| check.starts_with("nothing is there")), "{job:#}");
    let others = answer["jobs"].as_array().unwrap().iter().filter(|job| job["scheme"] != "s3");
    assert!(
        others.clone().all(|job| job["check"].as_str().is_some_and(|check| check.starts_with("cannot be checked")))
    );
    assert!(others.count() > 5);

    // The command exports it again, and a second look finds it.
    let again = job["again"].as_str().expect("a command");
    let url = in_the_bucket(&watched, "lost");
    let ran = Command::new("sh").args(["-c", again]).env("TD_API_KEY", key(1)).env("RESULT_URL", url).output();
    let ran = ran.expect("a shell");
    assert!(ran.status.success(), "{again}: {}", String::from_utf8_lossy(&ran.stderr));
    let there = async |w: &Watched| {
        let (_, answer) = impact(w, &id, &["--check"]);
        find(&answer)?["check"].as_str()?.contains("bytes are there").then_some(())
    };
    watched.until("the file is there", S(30), there).await;

    // As a person reads it, and for those who may not.
    let (code, said) = watched.command(&["impact", &id]);
    assert!(code == 0 && said.contains(" jobs were hit, ") && said.contains("lost on worker=v5"), "{said}");
    let url = format!("{}/api/v1/incidents/{id}/impact", watched.agent);
    assert_eq!(watched.ask(Method::POST, &url, None, Some(json!({}))).await.0, 401);
    assert_eq!(watched.ask(Method::GET, &format!("{url}/0000"), None, None).await.0, 404);
    let (code, said) = watched.command(&["impact", "inc-nobody"]);
    assert!(code == 2 && said.contains("there is no such incident"), "{said}");
    watched.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_list_arrives_and_how_far_it_is_is_told() {
    let job = |n: u32| {
        json!({
            "job_id": n.to_string(), "platform": "presto", "owner": null, "query_start": null, "end": null,
            "scheme": "s3", "address": "s3://bucket/".to_owned() + &"a".repeat(488), "mode": "append", "rows": 1,
            "certain": false, "because": "it may have been written before the first bad run",
            "again": "b".repeat(600), "check": "c".repeat(60),
        })
    };
    let bracket = json!({
        "last_good": null, "first_bad": "2026-09-21T13:13:20Z", "last_bad": "2026-09-21T13:15:20Z", "first_good": null,
        "is_intermittent": false, "asked_at": "2026-09-21T14:13:20Z",
    });
    let found = json!({
        "incident": "inc-1", "outcome": "lost", "suspects": {}, "bracket": bracket, "brackets": [bracket],
        "jobs": (0..20_000).map(job).collect::<Vec<_>>(), "accounts": [], "notes": [], "is_whole": true,
    });
    let list = json!({ "id": "1", "read": 2, "of": 2, "impact": found, "error": null }).to_string();
    assert!(list.len() > 20 << 20, "{}", list.len());
    let begun = json!({ "id": "1", "read": 1, "of": 2, "impact": null, "error": null }).to_string();
    let answers = axum::routing::get(async move || list).post(async move || begun);
    let router = axum::Router::new().fallback_service(answers);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
    command.args(["impact", "inc-1", "--format", "csv", "--agent", &url]).env("LANDFALL_TOKEN", "t");
    let output =
        tokio::task::spawn_blocking(move || command.output()).await.expect("it ends").expect("the binary runs");
    serving.abort();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines = output.stdout.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!((output.status.code(), lines), (Some(0), 20_001), "{said}");
    assert!(said.starts_with("reading customers' jobs\n"), "{said}");
}
