//! The whole line with an agent that may only read: green while rows land, a loss found while rows that
//! landed before prove that it can see, and nothing called lost when none do.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use landfall::canary::Outcome;

use super::database;
use crate::{fixtures::mariadb::create, fixtures::watch::Scene};

const TERMS: &str = "modes = [\"append\"]\nevery = \"3s\"\nobjective = \"4s\"\ndeadline = \"12s\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_may_only_read_is_green_and_finds_a_loss() {
    let Some(database) = database().await else { return };
    let mut scene = Scene::new().await;
    scene.platform("p");
    scene.target("mysql", "lent", "canary", &database.reader(), &database.platform(), "control = \"read\"");
    scene.canary("c", "p", &["lent"], TERMS);
    let loses = Arc::new(AtomicBool::new(false));
    let (now, of) = (loses.clone(), database.clone());
    scene.between(
        "p",
        Box::new(move || {
            let (database, loses) = (of.clone(), now.load(Ordering::Relaxed));
            Box::pin(async move {
                if loses {
                    let newest = "SELECT m FROM (SELECT MAX(marker) AS m FROM canary) AS newest";
                    // What was there before stays.
                    let kept = "SELECT m FROM kept";
                    database
                        .sql(&format!("DELETE FROM canary WHERE marker IN ({newest}) AND marker NOT IN ({kept})"))
                        .await;
                }
            })
        }),
    );
    let watch = scene.watch().await;
    watch
        .until("runs land", |record| {
            assert!(record.on("lent").all(|verdict| verdict.outcome == Outcome::Landed), "{}", record.text());
            (record.finals("lent").count() >= 3).then_some(())
        })
        .await;
    database.sql("CREATE TABLE kept AS SELECT DISTINCT marker AS m FROM canary").await;
    loses.store(true, Ordering::Relaxed);
    watch
        .until("the loss is found, and proven", |record| {
            let lost = |verdict: &&landfall::canary::Verdict| {
                let after = verdict.evidence.claimed_at;
                let proven = |from| verdict.evidence.controls.iter().any(|c| c.passed.is_ok() && c.started_at >= from);
                verdict.outcome == Outcome::Lost && after.is_some_and(proven)
            };
            (record.finals("lent").filter(lost).count() >= 2).then_some(())
        })
        .await;
    watch
        .until("somebody is told", |record| {
            record.notices.iter().any(|notice| notice.incident.outcome == Outcome::Lost).then_some(())
        })
        .await;
    watch.stop().await;
    assert_eq!(database.count("SELECT COUNT(*) FROM information_schema.tables WHERE table_name LIKE '%control' AND table_schema = DATABASE()").await, 0, "nothing was written");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_earlier_row_can_prove_is_unknown_and_never_lost() {
    let Some(database) = database().await else { return };
    let mut scene = Scene::new().await;
    scene.platform("p");
    scene.target("mysql", "lent", "canary", &database.reader(), &database.platform(), "control = \"read\"");
    scene.canary("c", "p", &["lent"], TERMS);
    // Rows come, but nobody's: at no moment is one there that could prove anything.
    database.sql(&create("canary")).await;
    database.trigger("canary", "BEFORE INSERT", "SET NEW.marker = 'gone'").await;
    let watch = scene.watch().await;
    watch
        .until("runs are unknown for good", |record| {
            let says = |reason: &Option<String>| reason.as_deref().is_some_and(|reason| reason.contains("no control"));
            let unknown = record.finals("lent").filter(|v| v.outcome == Outcome::Unknown && says(&v.reason));
            (unknown.count() >= 2).then_some(())
        })
        .await;
    watch.look(|record| {
        assert!(record.on("lent").all(|verdict| !verdict.outcome.is_silent()), "{}", record.text());
    });
    watch.stop().await;
}
