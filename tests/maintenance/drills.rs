//! Fire drills, by command.

use std::time::Duration;

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

    let heard = || -> Vec<Json> {
        let to_it = |line: &str| line == "POST /well";
        let bodies = chat.heard().into_iter().filter(|heard| to_it(&heard.line)).map(|heard| heard.body);
        bodies.map(|body| serde_json::from_slice(&body).expect("JSON")).collect()
    };
    let of = |event: &str| -> Vec<Json> { heard().into_iter().filter(|body| body["event"] == event).collect() };
    let pages = of("triggered");
    assert_eq!((pages.len(), &pages[1]["incident"]["suspects"]), (2, &json!({ "drill": "yes" })));
    watched.until("the one before is over", Duration::from_secs(30), async |_| of("resolved").first().cloned()).await;
    assert_eq!(of("resolved")[0]["key"], pages[0]["key"]);
    let code = pages[1]["drill"].as_str().expect("a code").to_owned();
    assert!(pages[1]["text"].to_string().contains(&format!("landfall drill --confirm {code}")), "{}", pages[1]["text"]);

    let (exit, said) = watched.command(&["drill", "--confirm", "AAAAAAAA"]);
    assert!(exit == 1 && said.contains("4 tries are left"), "{exit}: {said}");
    // An agent that was killed meanwhile knows the code.
    watched.kill();
    watched.launch();
    watched.ready().await;
    let (exit, said) = watched.command(&["drill", "--confirm", &code.to_lowercase()]);
    assert!(exit == 0 && said.contains("reached a person"), "{exit}: {said}");
    let ends = async |_: &Watched| of("resolved").into_iter().find(|body| body["key"] == pages[1]["key"]);
    watched.until("it is over once somebody got it", Duration::from_secs(60), ends).await;
    let metrics = watched.metrics().await;
    assert!(metric(&metrics, "landfall_drill_last_confirmed_timestamp_seconds") > Some(1.7e9));
    assert_eq!(metric(&metrics, "landfall_drill_accepted{notifier=\"well\"}"), Some(1.0), "also after a restart");
    assert!(!watched.log().contains(&code), "the code stands in the page and nowhere else");
}
