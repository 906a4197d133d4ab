//! Pauses, by command.

use std::time::Duration;

use serde_json::Value as Json;

use crate::fixtures::daemon::Watched;

const SOON: Duration = Duration::from_secs(60);

async fn runs_of(watched: &Watched, platform: &str) -> usize {
    let runs = watched.list("runs").await.expect("the daemon answers");
    runs.iter().filter(|run| run["platform"] == platform).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_over_what_is_paused_until_it_is_resumed_and_nobody_takes_that_for_a_fault() {
    let mut watched = Watched::start(|probes| probes).await;
    watched.landed(1).await;
    // The board is shown a moment after the ledger has it.
    let up = async |w: &Watched| w.list("routes").await?.iter().all(|route| route["up"] == true).then_some(());
    watched.until("all are up", SOON, up).await;
    let (code, said) = watched.command(&["status"]);
    assert!(code == 0 && said.contains("6 routes: 6 up, 0 down, 0 unknown, 0 paused"), "{code}: {said}");
    let (code, said) = watched.command(&["pause", "--where", "platform=hadoop2", "--because", "moved"]);
    assert_eq!(code, 0, "{said}");
    let before = (runs_of(&watched, "hadoop2").await, runs_of(&watched, "presto").await);

    watched.kill();
    watched.launch();
    watched.ready().await;
    let others = async |w: &Watched| (runs_of(w, "presto").await > before.1 + 4).then_some(());
    watched.until("the others are sent", SOON, others).await;
    assert_eq!(runs_of(&watched, "hadoop2").await, before.0);

    let routes = watched.list("routes").await.expect("the daemon answers");
    let paused = |route: &&Json| route["paused"] == true;
    assert_eq!(routes.iter().filter(paused).count(), 2, "{routes:#?}");
    assert!(routes.iter().filter(paused).all(|route| route["platform"] == "hadoop2"));
    let metrics = watched.metrics().await;
    assert_eq!(metrics.lines().filter(|line| line.starts_with("landfall_route_paused{")).count(), 2);
    let skipped = metrics.lines().find(|line| line.starts_with("landfall_schedule_skipped_total "));
    assert_eq!(skipped, Some("landfall_schedule_skipped_total 0"));
    let (code, said) = watched.command(&["status"]);
    assert!(code == 0 && said.contains("6 routes: 4 up, 0 down, 0 unknown, 2 paused"), "{code}: {said}");
    assert!(said.contains("pause of platform=hadoop2 until it is resumed"), "{said}");
    let page = watched.ask(reqwest::Method::GET, &watched.agent, None, None).await.1;
    assert!(page.contains("Nothing is sent over <bdi>platform=hadoop2") && page.contains("paused, landed"), "{page}");

    for (args, words) in [
        (vec!["pause"], "--all"),
        (vec!["pause", "--all", "--where", "platform=presto"], "cannot be used with"),
        (vec!["resume", "--where", "platform=presto"], "nothing that it selects is paused"),
        (vec!["pause", "--where", "platform=hadop2"], "did you mean `hadoop2`?"),
    ] {
        let (code, said) = watched.command(&args);
        assert!(code == 2 && said.contains(words), "{args:?} {code}: {said}");
    }
    let (code, said) = watched.command(&["resume", "--all"]);
    assert!(code == 0 && said.contains("2 routes"), "{code}: {said}");
    let again = async |w: &Watched| (runs_of(w, "hadoop2").await > before.0 + 3).then_some(());
    watched.until("they are sent again", SOON, again).await;
    let landed = async |w: &Watched| {
        let routes = w.list("routes").await?;
        routes.iter().all(|route| route["up"] == true && route["paused"] == false).then_some(())
    };
    watched.until("they land", SOON, landed).await;
    assert_eq!(watched.list("incidents").await, Some(Vec::new()), "a gap is no fault");
    assert!(!watched.metrics().await.contains("landfall_route_paused{"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_for_a_while_resumes_by_itself() {
    let watched = Watched::start(|probes| probes).await;
    watched.landed(1).await;
    let (code, said) = watched.command(&["pause", "--all", "--for", "8s"]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = watched.command(&["status"]);
    assert!(code == 3 && said.contains("6 paused"), "nothing is watched: {code}: {said}");
    let over = async |w: &Watched| {
        let routes = w.list("routes").await?;
        routes.iter().all(|route| route["paused"] == false).then_some(())
    };
    watched.until("it is over", SOON, over).await;
    let before = runs_of(&watched, "presto").await;
    let again = async |w: &Watched| (runs_of(w, "presto").await > before).then_some(());
    watched.until("runs are sent again", SOON, again).await;
}
