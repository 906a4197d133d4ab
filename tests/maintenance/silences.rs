//! Silences, by command and by config.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::fixtures::{
    daemon::Watched,
    stand_in::{Answer, StandIn},
};

const SOON: Duration = Duration::from_secs(60);

/// The events that were posted, in their order.
fn events(chat: &StandIn) -> Vec<String> {
    let body = |body: &[u8]| serde_json::from_slice::<Json>(body).expect("JSON");
    let event = |body: Json| body["event"].as_str().expect("an event").to_owned();
    chat.heard().iter().map(|heard| event(body(&heard.body))).collect()
}

async fn opened(watched: &Watched) -> Json {
    let open = async |w: &Watched| w.list("incidents").await?.into_iter().find(|i| i["resolved_at"].is_null());
    watched.until("an incident is open", SOON, open).await.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_paged_of_what_is_silenced_and_what_is_still_broken_then_is_paged_when_it_is_taken_back() {
    let chat = StandIn::start().await;
    chat.says("POST /hook", [Answer::raw(204, "")]);
    let more = format!("\n[notify.chat.webhook]\nurl = \"{}/hook\"\n", chat.url);
    let mut watched = Watched::start_with(|probes| probes, &more, Vec::new()).await;
    watched.landed(1).await;
    let (code, said) =
        watched.command(&["silence", "add", "--where", "worker=v5", "--for", "2h", "--because", "v5 is moved"]);
    assert_eq!(code, 0, "{said}");
    let id = said.split_whitespace().next().expect("its id").to_owned();
    assert!(id.starts_with("sil-") && said.contains("worker=v5") && said.contains("v5 is moved"), "{said}");

    let fault = watched.inject(&json!({ "kind": "drop-output", "where": { "worker": "v5" } })).await;
    let incident = opened(&watched).await;
    assert!(incident["silenced_until"].is_string(), "{incident:#}");
    let name = incident["id"].as_str().expect("an id").to_owned();
    let (code, said) = watched.command(&["status"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("silenced until") && said.contains("silence of worker=v5 until"), "{said}");
    let page = watched.ask(reqwest::Method::GET, &format!("{}/incidents/{name}", watched.agent), None, None).await.1;
    assert!(page.contains("silenced until"), "{page}");
    assert!(watched.metrics().await.contains("landfall_silences_active 1"));

    // A power cut does not end it.
    watched.kill();
    watched.launch();
    watched.ready().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(opened(&watched).await["silenced_until"].is_string());
    assert_eq!(events(&chat), Vec::<String>::new());

    let (code, said) = watched.command(&["silence", "remove", &id]);
    assert_eq!(code, 0, "{said}");
    let told = async |_: &Watched| (!events(&chat).is_empty()).then_some(());
    watched.until("it is paged", SOON, told).await;
    assert!(opened(&watched).await["silenced_until"].is_null());
    watched.mend(fault).await;
    let over = async |_: &Watched| (events(&chat) == ["triggered", "resolved"]).then_some(());
    watched.until("it is told as over, once", SOON * 2, over).await;
    let (code, story) = watched.command(&["incidents", &name]);
    assert_eq!(code, 0, "{story}");
    for part in [&name, "lost on worker=v5", "since", "chat took it, and that it is over at", "proof        run "] {
        assert!(story.contains(part), "no `{part}` in:\n{story}");
    }
    let told = watched.list("notifications").await.expect("a list");
    assert_eq!((&told[0]["incident"], &told[0]["letters"][0]["held"][0]["state"]), (&json!(name), &json!("closed")));
    assert!(!watched.log().contains("reason=\"\""), "fields that say nothing are left away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silence_that_means_nothing_is_answered_with_what_could_be_meant() {
    let more = "\n[[silence]]\nwhere = { target = \"web\" }\ncron = \"0 3 * * *\"\nlasts = \"1h\"\n\
                timezone = \"Asia/Tokyo\"\nbecause = \"nightly\"\n";
    let watched = Watched::start_with(|probes| probes, more, Vec::new()).await;
    let add = |more: &[&str]| watched.command(&[&["silence", "add", "--because", "x"], more].concat());
    for (args, code, words) in [
        (vec!["--for", "2h"], 2, "--all"),
        (vec!["--all"], 2, "how long?"),
        (vec!["--where", "wroker=v5", "--for", "2h"], 2, "did you mean `worker`?"),
        (vec!["--where", "worker=v7", "--for", "2h"], 2, "no route has worker=v7"),
        (vec!["--all", "--for", "2"], 2, "has no unit"),
        (vec!["--all", "--for", "91d"], 2, "90 days"),
        (vec!["--all", "--until", "2015-08-24T14:00:00Z"], 2, "over before it begins"),
        (vec!["--all", "--until", "tomorrow"], 2, "RFC 3339"),
        (vec!["--all", "--for", "1h", "--from", "2999-01-01T00:00:00Z"], 2, "more than a year ahead"),
    ] {
        let (found, said) = add(&args);
        assert!(found == code && said.contains(words), "{args:?} {found}: {said}");
    }
    let (code, said) = watched.command(&["silence", "list"]);
    assert!(code == 0 && said.contains("config-1  target=web  ") && said.contains("nightly"), "{code}: {said}");
    assert!(said.contains("T18:00:00"), "03:00 in Tokyo: {said}");
    let (code, said) = watched.command(&["silence", "remove", "config-1"]);
    assert!(code == 2 && said.contains("stands in the config"), "{code}: {said}");
    let (code, said) = watched.command(&["silence", "remove", "sil-unknown"]);
    assert!(code == 2 && said.contains("there is no such silence"), "{code}: {said}");
    let url = format!("{}/api/v1/silences", watched.agent);
    let body = json!({ "all": true, "for": "1h", "because": "x" });
    for token in [None, Some("guessed")] {
        let (status, text) = watched.ask(reqwest::Method::POST, &url, token, Some(body.clone())).await;
        assert_eq!(status, 401, "{text}");
    }
}
