//! Every hard value of a sample arrives exactly, in every mode and format: a run is green only if
//! each of its rows was read back once and right.

use landfall::canary::Outcome;

use super::watch::Scene;
use crate::fixtures::postgres::Postgres;

/// Runs of every route: the second and third meet what the one before left.
const RUNS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hard_value_arrives_in_every_mode_and_format() {
    let database = Postgres::shared().database().await;
    let mut scene = Scene::new().await;
    scene.platform("p");
    let terms = |modes: &str| format!("modes = [{modes}]\nevery = \"4s\"\nobjective = \"40s\"\ndeadline = \"80s\"");
    scene.table("warehouse", "canary", &database.agent(), &database.platform());
    scene.canary("tables", "p", &["warehouse"], &terms("\"append\", \"replace\", \"truncate\", \"update\""));
    let formats = ["csv", "tsv", "jsonl"].into_iter().flat_map(|format| [(format, "none"), (format, "gz")]);
    let buckets: Vec<String> = formats
        .map(|(format, compression)| {
            let name = format!("{format}-{compression}");
            scene.bucket(&name, format, compression);
            name
        })
        .collect();
    let buckets: Vec<&str> = buckets.iter().map(String::as_str).collect();
    scene.canary("objects", "p", &buckets, &terms("\"append\", \"replace\""));

    let watch = scene.watch().await;
    assert_eq!(watch.routes.len(), 4 + 12);
    watch
        .until("every route lands again and again, and nothing else", |record| {
            let wrong = record.verdicts.iter().any(|heard| heard.verdict.outcome != Outcome::Landed);
            assert!(!wrong, "{}", record.text());
            let landed = |id| record.verdicts.iter().filter(|heard| heard.route.id == id).count();
            watch.routes.iter().all(|route| landed(route.id) >= RUNS).then_some(())
        })
        .await;
    let routes = watch.routes.clone();
    watch.stop().await;
    let markers = |table: String| {
        let database = &database;
        async move { database.count(&format!("SELECT count(DISTINCT marker) FROM {table}")).await }
    };
    assert!(markers("canary".to_owned()).await >= RUNS as i64);
    for route in routes.iter().filter(|route| route.mode.displaces() && route.target.as_str() == "warehouse") {
        assert_eq!(markers(format!("canary__{}", route.id)).await, 1, "{route}: only the newest run's rows are there");
    }
}
