//! `docs/paging.md` is true: its configs load, its commands run and exit as it says.

use std::{fs, path::Path};

use reqwest::Method;
use serde_json::{Value as Json, json};

use crate::fixtures::{
    daemon::{Watched, edit},
    stand_in::{Answer, StandIn},
};

/// Blocks of one language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let begin = format!("```{language}\n");
    text.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

/// A line in words: quotes hold some together, `#` ends it.
fn words(line: &str) -> Vec<String> {
    let line = line.split(" #").next().unwrap_or_default();
    let part = |(nth, part): (usize, &str)| match nth % 2 {
        1 => vec![part.to_owned()],
        _ => part.split_whitespace().map(str::to_owned).collect(),
    };
    line.split('"').enumerate().flat_map(part).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_about_paging_says_what_is_so() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/paging.md")).expect("it is there");
    let receiver = StandIn::start().await;
    receiver.says("POST /hook", [Answer::raw(204, "")]);
    receiver.says("POST /v2/enqueue", [Answer::raw(202, r#"{"status":"success"}"#)]);
    receiver.says("GET /ping", [Answer::raw(200, "")]);
    let mut watched = Watched::start(|probes| probes).await;
    watched.landed(1).await;
    for (name, secret) in [
        ("pagerduty.key", "0123456789abcdef0123456789abcdef".to_owned()),
        ("chat.url", format!("{}/hook", receiver.url)),
        ("heartbeat.url", format!("{}/ping", receiver.url)),
    ] {
        fs::write(watched.file(name), secret).expect("written");
    }
    // The sandbox's [agent] is one table with that of the page; PagerDuty is the stand-in.
    let config = blocks(&text, "toml").concat();
    let agent = config.split("\n[notify.oncall]").next().expect("it begins with it").replace("[agent]\n", "");
    let rest = config.split_once("\n[notify.oncall]").expect("notifiers follow").1;
    let key = "routing_key = { file = \"pagerduty.key\" }\n";
    assert!(rest.contains(key));
    let rest = rest.replace(key, &format!("{key}url = \"{}/v2/enqueue\"\n", receiver.url));
    edit(&watched.file("landfall.toml"), |sandbox| format!("{sandbox}{agent}\n[notify.oncall]{rest}"));
    watched.kill();
    watched.launch();
    watched.ready().await;

    let fault = watched.inject(&json!({ "kind": "drop-output", "where": { "worker": "v5" } })).await;
    let told = async |w: &Watched| {
        let incidents = w.list("incidents").await?;
        incidents.first()?["id"].as_str().map(str::to_owned)
    };
    let incident = watched.until("an incident is told", std::time::Duration::from_secs(60), told).await.0;
    watched.mend(fault).await;
    let over =
        async |w: &Watched| w.list("incidents").await?.iter().all(|i| i["resolved_at"].is_string()).then_some(());
    watched.until("it is over", std::time::Duration::from_secs(120), over).await;
    watched.landed(1).await;

    let mut silence = String::new();
    for line in blocks(&text, "sh").concat().lines() {
        let exit = line.split("# exit ").nth(1).map_or(0, |rest| rest[..1].parse().expect("a code"));
        let heard = receiver.heard();
        // The end of an earlier drill may come after the page of the next.
        let said = |body: &[u8]| {
            let body = serde_json::from_slice::<Json>(body).ok().filter(|body| body["event"] == "triggered")?;
            body["drill"].as_str().map(str::to_owned)
        };
        let code = heard.iter().rev().find_map(|heard| said(&heard.body)).unwrap_or_default();
        let filled = line.replace("INCIDENT", &incident).replace("SILENCE", &silence).replace("CODE", &code);
        let words = words(&filled);
        assert_eq!(words[0], "landfall", "{line}");
        let args: Vec<&str> = words[1..].iter().map(String::as_str).collect();
        let (found, said) = watched.command(&args);
        assert_eq!(found, exit, "{line}\n{said}");
        if line.starts_with("landfall silence add") {
            silence = said.split_whitespace().next().expect("its id").to_owned();
        }
    }
    let (_, list) = watched.ask(Method::GET, &format!("{}/api/v1/silences", watched.agent), None, None).await;
    assert!(list.contains("config-2") && !list.contains("sil-"), "{list}");
}
