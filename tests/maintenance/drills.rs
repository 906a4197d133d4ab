//! Fire drills, by command.

use serde_json::{Value as Json, json};

use crate::fixtures::{
    daemon::Watched,
    stand_in::{Answer, StandIn, nobody},
};

fn metric(metrics: &str, name: &str) -> Option<f64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drill_says_who_accepted_it_and_a_person_confirms_it_with_the_code_of_the_page() {
    let chat = StandIn::start().await;
    chat.says("POST /well", [Answer::raw(204, "")]);
    chat.says("POST /sour", [Answer::raw(400, "no such room")]);
    let more = format!(
        "\n[notify.well.webhook]\nurl = \"{0}/well\"\n[notify.sour]\nseverities = []\n\
         [notify.sour.webhook]\nurl = \"{0}/sour\"\n[notify.gone.webhook]\nurl = \"{1}/gone\"\n",
        chat.url,
        nobody().await,
    );
    let mut watched = Watched::start_with(|probes| probes, &more, Vec::new()).await;
    let metrics = watched.metrics().await;
    assert_eq!(metric(&metrics, "landfall_drill_last_confirmed_timestamp_seconds"), Some(0.0));

    for (args, code, words) in [
        (vec!["drill", "--notifier", "well"], 0, "well          accepted"),
        (vec!["drill", "--notifier", "gone"], 3, "gone          unreachable"),
        (vec!["drill", "--notifier", "sour"], 1, "sour          refused"),
        (vec!["drill", "--notifier", "nobody"], 2, "there is no notifier `nobody`"),
        (vec!["drill"], 1, "accepted is not received"),
    ] {
        let (found, said) = watched.command(&args);
        assert!(found == code && said.contains(words), "{args:?} {found}: {said}");
    }
    let metrics = watched.metrics().await;
    for (name, took) in [("well", 1.0), ("sour", 0.0), ("gone", 0.0)] {
        assert_eq!(metric(&metrics, &format!("landfall_drill_accepted{{notifier=\"{name}\"}}")), Some(took));
    }
    assert!(metric(&metrics, "landfall_drill_last_sent_timestamp_seconds") > Some(1.7e9));
    assert_eq!(watched.list("incidents").await, Some(Vec::new()), "it is no incident");
    assert_eq!(metric(&metrics, "landfall_incidents_open{severity=\"critical\"}"), Some(0.0));

    let heard: Vec<Json> = (chat.heard().iter().filter(|heard| heard.line == "POST /well"))
        .map(|heard| serde_json::from_slice(&heard.body).expect("JSON"))
        .collect();
    let events: Vec<&Json> = heard.iter().map(|body| &body["event"]).collect();
    assert_eq!(events, ["triggered", "resolved", "triggered", "resolved"]);
    assert_eq!((&heard[2]["key"], &heard[2]["incident"]["suspects"]), (&heard[3]["key"], &json!({ "drill": "yes" })));
    let code = heard[2]["drill"].as_str().expect("a code").to_owned();
    assert!(heard[2]["text"].to_string().contains(&format!("landfall drill --confirm {code}")), "{}", heard[2]["text"]);

    let (exit, said) = watched.command(&["drill", "--confirm", "AAAAAAAA"]);
    assert!(exit == 1 && said.contains("4 tries are left"), "{exit}: {said}");
    // An agent that was killed meanwhile knows the code.
    watched.kill();
    watched.launch();
    watched.ready().await;
    let (exit, said) = watched.command(&["drill", "--confirm", &code.to_lowercase()]);
    assert!(exit == 0 && said.contains("reached a person"), "{exit}: {said}");
    let metrics = watched.metrics().await;
    assert!(metric(&metrics, "landfall_drill_last_confirmed_timestamp_seconds") > Some(1.7e9));
    assert_eq!(metric(&metrics, "landfall_drill_accepted{notifier=\"well\"}"), Some(1.0), "also after a restart");
    assert!(!watched.log().contains(&code), "the code stands in the page and nowhere else");
}
