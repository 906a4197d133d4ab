//! The pages in Debian's Chromium: what they load, what they say, how they are used, and that they keep up.

mod chromium;
mod complaints;
mod fleet;

use std::time::Duration;

use serde_json::{Value as Json, json};

use self::{
    chromium::script,
    complaints::{Told, of_page, of_watching, of_words},
};
use crate::{
    fixtures::{
        daemon::Watched,
        stand_in::{Answer, StandIn},
        strangers, without,
    },
    web::House,
};

/// What the issue allows a page of 500 routes, before anybody packs it.
const MOST_BYTES: u64 = 200_000;

/// Nothing is wrong, or the test says all that is.
fn content(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} things are wrong:\n  {}", wrong.len(), wrong.join("\n  "));
}

/// The names of routes in the pages.
async fn routes(watched: &Watched) -> Vec<String> {
    let routes = watched.list("routes").await.expect("the daemon answers");
    let name = |route: &Json| {
        ["canary", "platform", "target", "mode"].map(|part| route[part].as_str().unwrap_or("?").to_owned())
    };
    routes.iter().map(|route| name(route).join("/")).collect()
}

/// The newest run that came to this.
async fn run_that(watched: &Watched, outcome: &str) -> String {
    let runs = watched.list("runs").await.expect("the daemon answers");
    let found = runs.iter().find(|run| run["outcome"] == outcome);
    format!("/runs/{}", found.expect("such a run")["run_id"].as_str().expect("an id"))
}

/// A sandbox and an agent, as users start them: green, broken as in 2015, mended. Each page is looked at in each state
/// that it has, and one is left open while things change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_can_be_followed_in_a_browser() {
    if without("chromium") {
        return;
    }
    let mut wrong = Vec::new();
    let watched = Watched::start(|probes| probes).await;
    watched.landed(1).await;
    let routes = routes(&watched).await;
    let all_green = Told { says: &["Everything lands"], routes: &routes, incidents: &[] };

    let landed = run_that(&watched, "landed").await;
    let seen = script("pages", json!({ "origin": watched.agent, "paths": ["/", &landed], "refreshes": true })).await;
    wrong.extend(of_page("green", "/", &seen, Some(&all_green)));
    wrong.extend(of_page("green", &landed, &seen, None));

    let fault = json!({ "kind": "drop-output", "where": { "worker": "v5" } });
    let breaks = json!({ "method": "POST", "url": format!("{}/sandbox/faults", watched.platform), "body": fault });
    let order = json!({ "agent": watched.agent, "order": breaks, "until": "open", "within": 60 });
    wrong.extend(of_watching("it breaks", &script("live", order).await));

    let incidents = watched.list("incidents").await.expect("the daemon answers");
    let incident = format!("/incidents/{}", incidents[0]["id"].as_str().expect("an id"));
    let is_final = |run: &Json| run["outcome"] == "lost" && run["provisional"] == false;
    let judged = async |w: &Watched| w.list("runs").await?.iter().find(|run| is_final(run)).map(drop);
    watched.until("a loss is final", Duration::from_secs(60), judged).await;
    let lost = run_that(&watched, "lost").await;
    let broken = Told { says: &["lost", "v5"], routes: &routes, incidents: std::slice::from_ref(&incident) };
    let seen =
        script("pages", json!({ "origin": watched.agent, "paths": ["/", &incident, &lost], "refreshes": true })).await;
    wrong.extend(of_page("broken", "/", &seen, Some(&broken)));
    wrong.extend(of_page("broken", &incident, &seen, None));
    wrong.extend(of_page("broken", &lost, &seen, None));

    let mends = json!({ "method": "DELETE", "url": format!("{}/sandbox/faults/0", watched.platform) });
    let order = json!({ "agent": watched.agent, "order": mends, "until": "over", "within": 120 });
    wrong.extend(of_watching("it is mended", &script("live", order).await));
    let over =
        async |w: &Watched| w.list("incidents").await?.iter().all(|i| i["resolved_at"].is_string()).then_some(());
    watched.until("it is over", Duration::from_secs(120), over).await;

    let seen = script("pages", json!({ "origin": watched.agent, "paths": ["/", &incident] })).await;
    wrong.extend(of_page("over", "/", &seen, Some(&all_green)));
    wrong.extend(of_page("over", &incident, &seen, None));
    content(&wrong);
}

/// What a reader picked, opened, chose or selected is not taken away by what changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_which_a_part_was_picked_keeps_up_and_leaves_the_reader_alone() {
    if without("chromium") {
        return;
    }
    let watched = Watched::start(|probes| probes).await;
    watched.landed(1).await;
    let pending = async |w: &Watched| {
        let runs = w.list("runs").await?;
        let run = runs.iter().find(|run| run["outcome"].is_null())?;
        Some(format!("/runs/{}", run["run_id"].as_str()?))
    };
    let (run, _) = watched.until("a run is under way", Duration::from_secs(30), pending).await;
    let fault = json!({ "kind": "drop-output", "where": { "worker": "v5" } });
    let (agent, platform, pid) = (&watched.agent, &watched.platform, watched.pid());
    let order = json!({ "agent": agent, "platform": platform, "pid": pid, "fault": fault, "run": run, "within": 60 });
    let seen = script("picked", order).await;
    for (what, right) in [
        ("quiet", json!(true)),
        ("wall", json!(true)),
        ("chosen", json!("engine")),
        ("groups", json!(true)),
        ("first", json!("by-worker=v5")),
        ("shut", json!(true)),
        ("copied", json!(true)),
        ("still_open", json!(true)),
        ("button", json!("Copy")),
        ("mended", json!(true)),
        ("over", json!(true)),
        ("heard_again", json!(true)),
        ("judged", json!(true)),
        ("kept", json!(true)),
    ] {
        assert_eq!(seen[what], right, "{what}: {seen:#}");
    }
    assert!(seen["silent_for"].as_u64().is_some_and(|seconds| seconds >= 30), "{seen:#}");
}

/// A stand-in for an agent that has watched 500 routes for half an hour: the pages' own router over a ledger in memory.
/// tests/measure-pages has a real one, and takes as long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_routes_are_a_page_that_is_small_and_can_be_used() {
    if without("chromium") {
        return;
    }
    let scene = fleet::scene();
    let routes: Vec<String> = scene.routes.iter().map(ToString::to_string).collect();
    let incidents: Vec<String> = scene.incidents.iter().map(|incident| format!("/incidents/{}", incident.id)).collect();
    let run = format!("/runs/{}", scene.incidents[0].runs[0]);
    let house = House::of(scene, None, |_| {}).await;
    let paths = ["/", &incidents[0], &run];
    let seen = script("pages", json!({ "origin": house.url(""), "paths": paths })).await;
    let told = Told { says: &["lost", "v5"], routes: &routes, incidents: &incidents };
    let mut wrong = of_page("500 routes", "/", &seen, Some(&told));
    wrong.extend(of_page("500 routes", &incidents[0], &seen, None));
    wrong.extend(of_page("500 routes", &run, &seen, None));
    for path in paths {
        let bytes = seen["pages"][path]["bytes"].as_u64().unwrap_or(u64::MAX);
        println!("500 routes: {path} has {bytes} bytes");
        if bytes >= MOST_BYTES {
            wrong.push(format!("500 routes: {path} has {bytes} bytes, not less than {MOST_BYTES}"));
        }
    }
    content(&wrong);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_words_are_text_in_a_browser() {
    if without("chromium") {
        return;
    }
    let scene = strangers::scene();
    // Those on which all words stand. tests/web.rs looks at each by itself.
    let (incident, run) = (scene.incidents.last().expect("one"), scene.runs.last().expect("one"));
    let paths = ["/".to_owned(), format!("/incidents/{}", incident.id), format!("/runs/{}", run.marker)];
    let house = House::of(scene, None, |_| {}).await;
    let asked = json!({ "origin": house.url(""), "paths": paths, "words": strangers::words() });
    let seen = script("pages", asked).await;
    let mut wrong = Vec::new();
    for path in &paths {
        wrong.extend(of_page("strangers", path, &seen, None));
        wrong.extend(of_words(path, &seen["pages"][path.as_str()]));
    }
    content(&wrong);
}

/// A page with everything wrong, so that the looks above are known to see it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_page_is_seen() {
    if without("chromium") {
        return;
    }
    let page = r##"<!doctype html><html><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
        <link rel="stylesheet" href="/style.css"><script src="/live.js"></script><script>window.inline = 1</script>
        <title>x</title></head><body>
        <p id="summary">With JavaScript</p><noscript><p>Without</p></noscript>
        <img src="http://127.0.0.1:9/elsewhere.png"><p class="pale">pale</p><div class="wide">wide</div>
        <section id="incidents"><a href="/incidents/inc-1">one</a></section>
        <a href="#a" class="bare">no outline</a><a href="#b" tabindex="-1">not by Tab</a><a href="#c" tabindex="2">first</a>
        <a href="javascript:alert(1)" onclick="alert(2)">runs</a></body></html>"##;
    let style = ".pale { color: #ddd; background: #fff } .wide { width: 900px } .bare { outline: none }";
    let script_of_it = "addEventListener('load', () => { document.getElementById('summary').textContent = 'Other'; alert('x'); console.error('trouble'); })";
    let policy = "default-src 'self'; img-src *; style-src 'self'; script-src 'self'";
    let server = StandIn::start().await;
    let answer = |kind: &str, body: &str| {
        Answer::raw(200, body).with("content-type", kind).with("content-security-policy", policy)
    };
    server.says("GET /", [answer("text/html", page)]);
    server.says("GET /style.css", [answer("text/css", style)]);
    server.says("GET /live.js", [answer("text/javascript", script_of_it)]);
    let told = Told { says: &["Everything lands"], routes: &["a/b/c/append".to_owned()], incidents: &[] };
    let seen =
        script("pages", json!({ "origin": server.url, "paths": ["/"], "words": ["not there"], "refreshes": true }))
            .await;
    let mut wrong = of_page("bad", "/", &seen, Some(&told));
    wrong.extend(of_words("/", &seen["pages"]["/"]));
    for expected in [
        "asked somebody else: http://127.0.0.1:9/elsewhere.png",
        "told the console: error: trouble",
        "broke the policy",
        "opened a dialog: x",
        "runs something of its own: inline: window.inline = 1",
        "runs something of its own: A onclick",
        "leads to javascript:alert(1)",
        "lacks the word `not there`",
        "has no <main id=\"live\">",
        "does not say `Everything lands`",
        "is no status to a screen reader",
        "shows no cell of a/b/c/append",
        "links incidents [\"/incidents/inc-1\"]",
        "axe, light: color-contrast (serious)",
        "axe, dark: color-contrast (serious)",
        "axe, phone: image-alt (critical)",
        "Tab does not reach a #b",
        "Tab goes round in another order",
        "the focus is not seen on <a href=\"#a\"",
        "scrolls sideways on a phone: 9",
        "says something else without JavaScript",
        "does not refresh without JavaScript",
    ] {
        assert!(wrong.iter().any(|line| line.contains(expected)), "`{expected}` was not seen in\n{}", wrong.join("\n"));
    }
}
