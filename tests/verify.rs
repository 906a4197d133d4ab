//! `landfall verify` as a release pipeline calls it: the real binary against a sandbox.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value as Json, json};

use crate::fixtures::daemon::Watched;

/// A sandbox that nobody watches.
async fn unwatched() -> Watched {
    Watched::unwatched(|probes| probes, "", Vec::new()).await
}

/// Verifies; exit code and answer.
async fn verify(watched: &Watched, more: &[&str]) -> (i32, Json) {
    let (code, out, err) = watched.on_config(&[&["verify", "--format", "json"], more].concat()).await;
    let answer: Json = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}\n{err}"));
    assert_eq!(answer["exit_code"], code, "{answer:#}");
    (code, answer)
}

/// Routes that turned so, as `platform/target`.
fn turned(answer: &Json, state: &str) -> Vec<String> {
    let routes = answer["routes"].as_array().expect("routes");
    let name = |route: &Json, of: &str| route[of].as_str().expect("a name").to_owned();
    let of = |route: &Json| format!("{}/{}", name(route, "platform"), name(route, "target"));
    let mut turned: Vec<String> = routes.iter().filter(|route| route["state"] == state).map(of).collect();
    turned.sort();
    turned
}

const ON_V5: [&str; 4] = ["hadoop1/bucket", "hadoop1/web", "presto/bucket", "presto/web"];

fn breaks_v5(kind: &str) -> Json {
    json!({ "kind": kind, "where": { "worker": "v5" } })
}

#[tokio::test]
async fn a_release_that_breaks_a_worker_is_a_regression_and_fixed_after_the_roll_back() {
    let watched = unwatched().await;
    let (code, before) = verify(&watched, &[]).await;
    assert_eq!((code, turned(&before, "ok").len()), (0, 6), "{before:#}");
    assert_eq!((&before["answer"], before["suspects"].as_array().map(Vec::len)), (&json!("yes"), Some(0)));

    let broken = watched.inject(&breaks_v5("drop-output")).await;
    let (code, after) = verify(&watched, &[]).await;
    assert_eq!((code, &after["answer"]), (1, &json!("no")), "{after:#}");
    assert_eq!(turned(&after, "regression"), ON_V5, "{after:#}");
    assert_eq!(after["suspects"], json!([{ "labels": { "worker": "v5" }, "red": 4, "green": 0 }]), "{after:#}");
    for route in after["routes"].as_array().unwrap().iter().filter(|route| route["state"] == "regression") {
        assert_eq!((&route["outcome"], &route["was"]), (&json!("lost"), &json!("landed")), "{route:#}");
        assert!(route["run_id"].as_str().is_some_and(|run| run.starts_with("lf")), "{route:#}");
    }

    // Whoever runs the step again hears the same.
    let (code, again) = verify(&watched, &[]).await;
    assert_eq!((code, turned(&again, "regression")), (1, ON_V5.map(str::to_owned).to_vec()), "{again:#}");
    // What was broken before and still is, no release did, unless one wants to hear of it all the same.
    let (code, accepted) = verify(&watched, &["--accept"]).await;
    assert_eq!((code, turned(&accepted, "still failing")), (0, ON_V5.map(str::to_owned).to_vec()), "{accepted:#}");
    let (code, again) = verify(&watched, &[]).await;
    assert_eq!((code, turned(&again, "still failing")), (0, ON_V5.map(str::to_owned).to_vec()), "{again:#}");
    let (code, strict) = verify(&watched, &["--strict", "--where", "worker=v5"]).await;
    assert_eq!((code, strict["routes"].as_array().map(Vec::len)), (1, Some(4)), "{strict:#}");

    watched.mend(broken).await;
    let (code, mended) = verify(&watched, &[]).await;
    assert_eq!((code, turned(&mended, "fixed")), (0, ON_V5.map(str::to_owned).to_vec()), "{mended:#}");
    assert_eq!(turned(&mended, "ok").len(), 2, "{mended:#}");
}

#[tokio::test]
async fn without_history_a_bad_route_is_a_regression_and_a_job_that_failed_once_is_run_again() {
    let watched = unwatched().await;
    let broken = watched.inject(&json!({ "kind": "fail-job", "where": { "platform": "presto" } })).await;
    let (code, answer) = verify(&watched, &[]).await;
    assert_eq!((code, turned(&answer, "regression")), (1, vec!["presto/bucket".to_owned(), "presto/web".to_owned()]));
    let failed = |route: &&Json| route["state"] == "regression";
    for route in answer["routes"].as_array().unwrap().iter().filter(failed) {
        assert_eq!((&route["outcome"], &route["runs"]), (&json!("failed"), &json!(2)), "{route:#}");
    }
    let suspects = &answer["suspects"][0];
    assert!(
        suspects["labels"] == json!({ "engine": "presto" }) || suspects["labels"] == json!({ "cluster": "presto" })
    );
    watched.mend(broken).await;
}

#[tokio::test]
async fn a_target_that_nobody_can_see_is_no_answer() {
    let watched = unwatched().await;
    watched.inject(&json!({ "kind": "target-down", "where": { "target": "bucket" } })).await;
    let (code, answer) = verify(&watched, &["--within", "45s"]).await;
    assert_eq!((code, &answer["answer"]), (3, &json!("unsure")), "{answer:#}");
    assert_eq!(turned(&answer, "undetermined"), ["hadoop1/bucket", "hadoop2/bucket", "presto/bucket"], "{answer:#}");
    assert_eq!(turned(&answer, "ok").len(), 3, "{answer:#}");
}

#[tokio::test]
async fn a_pipeline_gets_junit_and_annotations_and_a_person_a_table() {
    let watched = unwatched().await;
    let broken = watched.inject(&breaks_v5("duplicate-output")).await;
    let report = watched.file("report.xml");
    let junit = ["--junit", report.to_str().expect("UTF-8")];
    let (code, out, _) = watched.on_config(&[&["verify", "--format", "github"][..], &junit].concat()).await;
    assert_eq!(code, 1, "{out}");
    let errors: Vec<&str> = out.lines().filter(|line| line.starts_with("::error title=regression%3A ")).collect();
    assert_eq!(errors.len(), 4, "{out}");
    assert!(out.contains("\n::error title=suspect::worker=v5 (4 bad, 0 good)\n"), "{out}");
    assert!(out.contains("### Landfall: no: 6 routes, 4 regression, 2 ok"), "{out}");
    assert!(out.contains("| ❌ regression | result-output/presto/web/append | duplicated | – |"), "{out}");
    let read = parsed(&report);
    assert_eq!(read["counts"], json!({ "tests": 6, "failures": 4, "errors": 0, "skipped": 0 }), "{read:#}");
    assert_eq!(read["failed"].as_array().map(Vec::len), Some(4), "{read:#}");

    let (code, out, err) = watched.on_config(&[&["verify"][..], &junit].concat()).await;
    assert_eq!(code, 0, "{out}");
    assert!(out.contains("still failing result-output/presto/web/append"), "{out}");
    assert!(out.ends_with("yes, nothing got worse: 6 routes, 4 still failing, 2 ok\n"), "{out}");
    assert!(err.contains("verifying 6 routes"), "{err}");
    let read = parsed(&report);
    assert_eq!(read["counts"], json!({ "tests": 6, "failures": 0, "errors": 0, "skipped": 4 }), "{read:#}");
    watched.mend(broken).await;
}

/// The file as a reader of JUnit's reports reads it.
fn parsed(report: &Path) -> Json {
    let python =
        std::env::var("LANDFALL_TEST_PYTHON").expect("LANDFALL_TEST_PYTHON names a Python (tests/run sets it)");
    let script = "import json, sys, junitparser as j\n\
        suites = list(j.JUnitXml.fromfile(sys.argv[1]))\n\
        suite, = suites\n\
        cases = list(suite)\n\
        failed = [c.classname + '.' + c.name for c in cases if any(isinstance(r, j.Failure) for r in c.result)]\n\
        counts = dict(tests=suite.tests, failures=suite.failures, errors=suite.errors, skipped=suite.skipped)\n\
        assert len(cases) == suite.tests\n\
        print(json.dumps(dict(counts=counts, failed=failed)))";
    let output = Command::new(python).args(["-c", script]).arg(report).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[tokio::test]
async fn beside_a_daemon_it_is_the_daemon_that_verifies() {
    let mut watched = Watched::start(|probes| probes).await;
    watched.landed(1).await;
    let (code, out, err) = watched.on_config(&["verify"]).await;
    assert_eq!((code, &*out), (2, ""), "{err}");
    assert!(err.contains(&format!("--agent {}", watched.agent)), "{err}");

    let (code, said) = watched.command(&["verify", "--format", "json"]);
    assert_eq!(code, 0, "{said}");
    watched.inject(&breaks_v5("drop-output")).await;
    let (code, said) = watched.command(&["deploy", "worker", "v6", "--verify", "--format", "json"]);
    let answer = said.lines().find(|line| line.starts_with('{')).expect("an answer");
    let answer: Json = serde_json::from_str(answer).expect("JSON");
    assert_eq!((code, turned(&answer, "regression")), (1, ON_V5.map(str::to_owned).to_vec()), "{said}");
    // It has told detection as well.
    let paged = async |w: &Watched| {
        w.list("incidents").await?.into_iter().find(|incident| incident["suspects"] == json!({ "worker": "v5" }))
    };
    watched.until("the loss is an incident", Duration::from_secs(60), paged).await;
    // Only those who may.
    let url = format!("{}/api/v1/verify", watched.agent);
    let (status, text) = watched.ask(reqwest::Method::POST, &url, None, Some(json!({}))).await;
    assert_eq!(status, 401, "{text}");
    watched.kill();
}

/// Routes of runs that were due since then, as `platform/target` and why they were sent.
async fn sent_since(watched: &Watched, at: &str) -> Vec<(String, String)> {
    let runs = watched.list("runs").await.expect("the daemon answers");
    let text = |run: &Json, part: &str| run[part].as_str().expect("text").to_owned();
    // RFC 3339 in UTC, all as long: they sort as they read.
    let sent = runs.iter().filter(|run| *run["due"].as_str().expect("a time") >= *at);
    let sent = sent.filter(|run| run["why"] == "deploy" || run["why"] == "verify");
    let mut sent: Vec<(String, String)> =
        sent.map(|run| (format!("{}/{}", text(run, "platform"), text(run, "target")), text(run, "why"))).collect();
    sent.sort();
    sent
}

#[tokio::test]
async fn a_deploy_that_is_verified_sends_every_route_once() {
    let mut watched = Watched::start(|probes| probes).await;
    watched.landed(1).await;
    let (code, said) = watched.command(&["deploy", "worker", "v6", "--verify"]);
    assert!(code == 0 && said.contains("yes, nothing got worse: 6 routes, 6 ok\n"), "{said}");
    let at = |deploys: Vec<Json>| deploys[0]["at"].as_str().expect("a time").to_owned();
    let first = at(watched.list("deploys").await.expect("the daemon answers"));
    // So long that a second run would have been sent too.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let all = ["hadoop1/bucket", "hadoop1/web", "hadoop2/bucket", "hadoop2/web", "presto/bucket", "presto/web"];
    assert_eq!(sent_since(&watched, &first).await, all.map(|route| (route.to_owned(), "verify".to_owned())));

    // Over HTTP of some routes only: the others run once as well.
    let (url, token) = (format!("{}/api/v1/deploys", watched.agent), watched.token());
    let body = json!({ "service": "worker", "version": "v7", "verify": { "where": { "worker": "v6" } } });
    let (status, text) = watched.ask(reqwest::Method::POST, &url, Some(token.trim()), Some(body)).await;
    assert_eq!(status, 201, "{text}");
    let id = serde_json::from_str::<Json>(&text).expect("JSON")["verify"]["id"].as_str().expect("an id").to_owned();
    let second = at(watched.list("deploys").await.expect("the daemon answers"));
    let over = async |w: &Watched| {
        let (_, text) = w.ask(reqwest::Method::GET, &format!("{}/api/v1/verify/{id}", w.agent), None, None).await;
        let found = serde_json::from_str::<Json>(&text).ok()?["verification"].take();
        found.is_object().then_some(found)
    };
    let (found, _) = watched.until("it is verified", Duration::from_secs(60), over).await;
    assert_eq!((&found["answer"], found["routes"].as_array().map(Vec::len)), (&json!("yes"), Some(2)), "{found:#}");
    tokio::time::sleep(Duration::from_secs(12)).await;
    let why = |route: &str| if route.starts_with("hadoop2/") { "verify" } else { "deploy" };
    let sent = sent_since(&watched, &second).await;
    assert_eq!(sent, all.map(|route| (route.to_owned(), why(route).to_owned())));
    watched.kill();
}

/// Runs it with its stdout going there; the exit code.
async fn into(watched: &Watched, stdout: Stdio, args: &[&str]) -> Option<i32> {
    let mut command = watched.to_start(args);
    command.stdout(stdout).stderr(Stdio::null());
    tokio::task::spawn_blocking(move || command.status()).await.expect("it ends").expect("the binary runs").code()
}

#[tokio::test]
async fn a_no_stays_a_no_whatever_cannot_be_written() {
    let watched = unwatched().await;
    watched.inject(&breaks_v5("duplicate-output")).await;
    let args = ["verify", "--where", "worker=v5", "--format", "json"];
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    assert_eq!(into(&watched, writer.into(), &args).await, Some(1), "whoever read it has gone");
    watched.on_config(&["verify", "--where", "worker=v6"]).await;
    let full = || std::fs::File::options().write(true).open("/dev/full").expect("Linux");
    let strict = [&args[..], &["--strict"]].concat();
    assert_eq!(into(&watched, full().into(), &strict).await, Some(1), "nobody could read it");
    let v6 = ["verify", "--where", "worker=v6"];
    assert_eq!(into(&watched, full().into(), &v6).await, Some(3), "a yes that nobody could read is none");
    let junit = [&args[..], &["--strict", "--junit", "/dev/full"]].concat();
    let (code, out, err) = watched.on_config(&junit).await;
    assert!(code == 1 && out.contains("\"answer\":\"no\"") && err.contains("/dev/full"), "{code} {out} {err}");
    // What can be known before is: nothing is sent.
    let before = watched.jobs().await.len();
    let (code, out, err) = watched.on_config(&[&args[..], &["--junit", "/no/such/folder/report.xml"]].concat()).await;
    assert!(code == 2 && out.is_empty() && err.contains("/no/such/folder/report.xml"), "{code} {out} {err}");
    let mut command = watched.to_start(&["verify", "--format", "github"]);
    command.env("GITHUB_STEP_SUMMARY", "/no/such/folder/summary.md");
    assert_eq!(command.output().expect("the binary runs").status.code(), Some(2));
    assert_eq!(watched.jobs().await.len(), before);
}

/// Asks it to stop once jobs of it are under way; exit code, stdout.
async fn broken_off(watched: &Watched, mut command: Command) -> (i32, String) {
    let before = watched.jobs().await.len();
    let child = command.spawn().expect("the binary runs");
    let begun = async |w: &Watched| (w.jobs().await.len() >= before + 6).then_some(());
    watched.until("its jobs are under way", Duration::from_secs(60), begun).await;
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
    let output =
        tokio::task::spawn_blocking(move || child.wait_with_output()).await.expect("it ends").expect("it ends");
    (output.status.code().expect("no signal ended it"), String::from_utf8(output.stdout).expect("UTF-8"))
}

#[tokio::test]
async fn one_that_is_broken_off_says_how_far_it_came_and_leaves_nothing_for_a_daemon_to_find() {
    let mut watched = unwatched().await;
    watched.inject(&json!({ "kind": "hang-job" })).await;
    let report = watched.file("report.xml");
    let args = ["verify", "--format", "json", "--junit", report.to_str().expect("UTF-8")];
    let (code, out) = broken_off(&watched, watched.to_start(&args)).await;
    let answer: Json = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, turned(&answer, "undetermined").len()), (3, 6), "{answer:#}");
    assert_eq!(parsed(&report)["counts"]["errors"], 6);
    watched.launch();
    watched.ready().await;
    let runs = watched.list("runs").await.expect("it answers");
    let left: Vec<_> = runs.iter().filter(|run| run["why"] == "verify").collect();
    assert!(left.len() == 6 && left.iter().all(|run| run["outcome"] == "unknown"), "{left:#?}");
    // The same of one that the daemon makes.
    let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
    command.args(["verify", "--format", "json", "--agent", &watched.agent, "--token-file"]);
    command.arg(watched.file("secrets/token")).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (code, out) = broken_off(&watched, command).await;
    let answer: Json = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, turned(&answer, "undetermined").len()), (3, 6), "{answer:#}");
    watched.kill();
}

#[tokio::test]
async fn what_a_deploy_says_of_verifying_it_must_be_asked_for() {
    let mut watched = Watched::start(|probes| probes).await;
    for args in [
        &["--strict"][..],
        &["--accept"],
        &["--rounds", "2"],
        &["--within", "1m"],
        &["--junit", "report.xml"],
        &["--format", "github"],
    ] {
        let (code, said) = watched.command(&[&["deploy", "worker", "v6"], args].concat());
        assert!(code == 2 && said.contains("add --verify"), "{args:?}: {said}");
    }
    assert_eq!(watched.list("deploys").await.map(|deploys| deploys.len()), Some(0));
    // What it goes to first is not all that it may break.
    let only = ["deploy", "worker", "v6", "--verify", "--where", "worker=v6", "--format", "github"];
    let (code, said) = watched.command(&only);
    assert!(code == 0 && said.contains("### Landfall: yes, nothing got worse: 6 routes, 6 ok"), "{code}: {said}");
    watched.kill();
}

#[tokio::test]
async fn what_is_asked_wrongly_is_a_usage_error() {
    let watched = unwatched().await;
    for (args, hint) in [
        (&["--where", "wroker=v5"][..], "did you mean `worker`"),
        (&["--where", "worker=v7"], "v5"),
        (&["--where", "worker=v5", "--where", "worker=v6"], "twice"),
        (&["--canary", "none"], "result-output"),
        (&["--strict", "--accept"], "cannot be used with"),
        (&["--rounds", "0"], "--rounds"),
        (&["--within", "5"], "90s"),
        (&["--within", "0s"], "from 1s to 24h"),
        (&["--junit", "/no/such/folder/report.xml", "--canary", "nobody"], "report.xml"),
    ] {
        let (code, out, err) = watched.on_config(&[&["verify"], args].concat()).await;
        assert_eq!((code, &*out), (2, ""), "{args:?}: {err}");
        assert!(err.contains(hint), "{args:?}: {err}");
    }
}
