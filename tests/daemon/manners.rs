//! How the daemon stops, starts again, and takes orders.

use std::{collections::BTreeSet, time::Duration};

use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::fixtures::daemon::{Watched, edit};

const SOON: Duration = Duration::from_secs(20);
const DEADLINE_AND_MORE: Duration = Duration::from_secs(60);

/// Waits until these runs have their final verdicts.
async fn settled(watched: &Watched, runs: &[Json]) {
    let known: BTreeSet<String> = runs.iter().map(|run| run["run_id"].to_string()).collect();
    let ask = async |w: &Watched| {
        let runs = w.list("runs").await?;
        let open = |run: &&Json| run["outcome"].is_null() || run["provisional"] == true;
        (!runs.iter().filter(open).any(|run| known.contains(&run["run_id"].to_string()))).then_some(())
    };
    watched.until("every run has its final verdict", DEADLINE_AND_MORE, ask).await;
}

fn in_flight(runs: &[Json]) -> usize {
    runs.iter().filter(|run| run["outcome"].is_null()).count()
}

/// Waits until a platform's jobs hang in flight.
async fn hanging(watched: &Watched) -> Vec<Json> {
    watched.inject(&json!({ "kind": "hang-job", "where": { "platform": "hadoop2" } })).await;
    let ask = async |w: &Watched| {
        let runs = w.list("runs").await?;
        let hang = |run: &&Json| run["platform"] == "hadoop2" && run["outcome"].is_null() && !run["jobs"].is_null();
        (runs.iter().filter(hang).filter(|run| !run["accepted_at"].is_null()).count() >= 3).then_some(runs)
    };
    watched.until("jobs hang", SOON, ask).await.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_is_quick_and_clean_and_a_start_goes_on_from_there() {
    let mut watched = Watched::start(|probes| probes).await;
    watched.landed(1).await;
    let before = hanging(&watched).await;
    assert!(in_flight(&before) > 0);
    let status = watched.stop(SOON).await;
    assert_eq!(status.code(), Some(0));
    watched.launch();
    watched.ready().await;
    settled(&watched, &before).await;
    let after = watched.list("runs").await.expect("the daemon answers");
    let landed = |runs: &[Json]| runs.iter().filter(|run| run["outcome"] == "landed").count();
    assert!(landed(&after) >= landed(&before), "what was known is known");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_in_flight_on_a_platform_that_is_taken_out_of_the_config_do_not_stay_pending() {
    let mut watched = Watched::start(|probes| probes).await;
    watched.landed(1).await;
    let before = hanging(&watched).await;
    watched.kill();
    edit(&watched.file("probes/sandbox.toml"), |probes| {
        let (head, rest) = probes.split_once("[platform.hadoop2]").expect("it is there");
        let (_, tail) = rest.split_once("# The agent's own intake.").expect("targets follow");
        format!("{head}{tail}").replace(r#", "hadoop2"]"#, "]")
    });
    // What else names it is no mistake: a platform may go before all is tidied up.
    let (code, _, said) = watched.on_config(&["check"]).await;
    assert!(code == 0 && said.contains("`jobs` has the account of `hadoop2`, which is no platform"), "{code}: {said}");
    watched.launch();
    watched.ready().await;
    settled(&watched, &before).await;
    let runs = watched.list("runs").await.expect("the daemon answers");
    let accused = runs.iter().filter(|run| run["platform"] == "hadoop2" && run["outcome"] == "lost").count();
    assert_eq!(accused, 0, "what nobody watches any more is not lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_config_is_refused_and_the_old_one_stays_and_a_good_one_is_taken() {
    let watched = Watched::start(|probes| probes).await;
    let (reload, token) = (format!("{}/-/reload", watched.agent), watched.token());
    let probe = watched.file("probes/sandbox.toml");
    let routes = async |w: &Watched| w.list("routes").await.map(|routes| routes.len());
    let says = async |w: &Watched, value: u8| {
        let line = format!("landfall_config_last_reload_successful {value}");
        w.metrics().await.lines().any(|told| told == line).then_some(())
    };
    assert_eq!(routes(&watched).await, Some(6));
    assert!(says(&watched, 1).await.is_some());

    edit(&probe, |text| text.replace(r#"deadline  = "15s""#, r#"deadline  = "15""#));
    let (status, text) = watched.ask(Method::POST, &reload, Some(&token), None).await;
    assert!(status.is_client_error() && text.contains("deadline"), "{status} {text}");
    assert!(says(&watched, 0).await.is_some());
    assert_eq!(routes(&watched).await, Some(6));

    edit(&probe, |text| text.replace(r#"deadline  = "15""#, r#"deadline  = "15s""#).replace(r#", "hadoop2"]"#, "]"));
    let (status, text) = watched.ask(Method::POST, &reload, Some(&token), None).await;
    assert!(status.is_success(), "{status} {text}");
    assert!(says(&watched, 1).await.is_some());
    let fewer = async |w: &Watched| (routes(w).await? == 4).then_some(());
    watched.until("the new config is taken", SOON, fewer).await;

    edit(&probe, |text| text.replace("[platform.presto]", "[platform.presto"));
    watched.signal("-HUP");
    watched.until("SIGHUP was heard and refused", SOON, async |w| says(w, 0).await).await;
    assert_eq!(routes(&watched).await, Some(4));

    edit(&probe, |text| {
        text.replace("[platform.presto\n", "[platform.presto]\n").replace(r#""hadoop1"]"#, r#""hadoop1", "hadoop2"]"#)
    });
    watched.signal("-HUP");
    watched.until("SIGHUP was heard and taken", SOON, async |w| says(w, 1).await).await;
    let more = async |w: &Watched| (routes(w).await? == 6).then_some(());
    watched.until("the new config is taken", SOON, more).await;
    watched.landed(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deploy_is_noted_with_the_token_only_and_named_when_something_breaks_after_it() {
    let mut watched = Watched::start(|probes| probes).await;
    watched.landed(2).await;
    let (url, token) = (format!("{}/api/v1/deploys", watched.agent), watched.token());
    let deploy = Some(json!({ "service": "worker", "version": "v6.20150824" }));
    for shown in [None, Some("guessed")] {
        let (status, text) = watched.ask(Method::POST, &url, shown, deploy.clone()).await;
        assert_eq!(status, 401, "{text}");
    }
    assert_eq!(watched.list("deploys").await, Some(Vec::new()));
    let (status, text) = watched.ask(Method::POST, &url, Some(&token), deploy.clone()).await;
    assert_eq!(status, 201, "{text}");
    let fault = watched.inject(&json!({ "kind": "drop-output", "where": { "cluster": "hadoop1" } })).await;
    let named = async |w: &Watched| {
        let incidents = w.list("incidents").await?;
        incidents.into_iter().find(|incident| incident["deploy"]["version"] == "v6.20150824")
    };
    let (incident, took) = watched.until("the deploy is named", Duration::from_secs(90), named).await;
    println!("paged {took:?} after the fault, with the deploy");
    assert_eq!((&incident["outcome"], &incident["deploy"]["service"]), (&json!("lost"), &json!("worker")));
    watched.mend(fault).await;

    // Without a token in the config nobody may change anything.
    watched.stop(SOON).await;
    edit(&watched.file("landfall.toml"), |text| text.replace("token         =", "# token ="));
    watched.launch();
    watched.ready().await;
    for url in [&url, &format!("{}/-/reload", watched.agent)] {
        let (status, text) = watched.ask(Method::POST, url, Some(&token), deploy.clone()).await;
        assert_eq!(status, 403, "{text}");
    }
    assert_eq!(watched.list("deploys").await.map(|deploys| deploys.len()), Some(1), "it is remembered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_came_with_a_reload_is_watched_to_the_end_and_one_that_went_is_left_alone() {
    let all = std::cell::OnceCell::new();
    let without_bucket = |probes: &str| {
        let (head, rest) = probes.split_once("[target.bucket").expect("it is there");
        let (_, tail) = rest.split_once("[canary").expect("canaries follow");
        format!("{head}[canary{tail}").replace(r#"["web", "bucket"]"#, r#"["web"]"#)
    };
    let watched = Watched::start(|probes| without_bucket(all.get_or_init(|| probes))).await;
    let all = all.into_inner().expect("it was adapted");
    let (reload, token) = (format!("{}/-/reload", watched.agent), watched.token());
    let take = async |probes: String, routes: usize| {
        edit(&watched.file("probes/sandbox.toml"), |_| probes);
        let (status, text) = watched.ask(Method::POST, &reload, Some(&token), None).await;
        assert!(status.is_success(), "{status} {text}");
        let taken = async |w: &Watched| (w.list("routes").await?.len() == routes).then_some(());
        watched.until("the new config is taken", SOON, taken).await;
    };
    watched.landed(1).await;
    take(all.clone(), 6).await;
    watched.landed(1).await;
    let fault = json!({ "kind": "duplicate-output", "after": "3s", "where": { "target": "bucket" } });
    let fault = watched.inject(&fault).await;
    // The copy comes after the verdict: only a later look can see it.
    let seen = async |w: &Watched| {
        let incidents = w.list("incidents").await?;
        incidents.into_iter().find(|i| i["outcome"] == "duplicated" && i["suspects"] == json!({ "target": "bucket" }))
    };
    let (_, took) = watched.until("late copies are seen", DEADLINE_AND_MORE, seen).await;
    println!("late copies named {took:?} after the fault");
    watched.mend(fault).await;

    take(without_bucket(&all), 3).await;
    // Controls go round every 30 s; one that still went on would show its target again.
    tokio::time::sleep(Duration::from_secs(35)).await;
    let metrics = watched.metrics().await;
    let of = |target: &str| metrics.contains(&format!(r#"landfall_target_control_up{{target="{target}"}}"#));
    assert_eq!((of("web"), of("bucket")), (true, false));
}
