//! What an agent cannot see is `unknown`, named by its target, and never a loss.

use std::sync::Arc;

use landfall::{canary::Outcome, detect::Change};
use sqlx::PgConnection;

use super::watch::{Record, Scene, Watch};
use crate::fixtures::postgres::{Database, PLATFORM, Postgres, raw};

const TERMS: &str = "modes = [\"append\"]\nevery = \"3s\"\nobjective = \"4s\"\ndeadline = \"12s\"";

async fn landing(watch: &Watch, targets: &[&str]) {
    watch
        .until("all land", |record| {
            let lands = |target: &&str| record.finals(target).any(|verdict| verdict.outcome == Outcome::Landed);
            targets.iter().all(lands).then_some(())
        })
        .await;
}

/// The incident that says that the target cannot be seen.
fn blind(target: &str) -> impl Fn(&Record) -> Option<()> {
    move |record| {
        let names = |notice: &landfall::store::Notice| {
            let incident = &notice.incident;
            matches!(notice.change, Change::Opened(_))
                && incident.outcome == Outcome::Unknown
                && incident.suspects_text() == format!("target={target}")
        };
        record.notices.iter().any(names).then_some(())
    }
}

fn over(record: &Record) -> Option<()> {
    record.notices.iter().any(|notice| matches!(notice.change, Change::Resolved(_))).then_some(())
}

/// Nothing was called lost, not even by an incident. What the platform itself could not write in
/// time is its own word.
fn no_loss(watch: &Watch) {
    watch.look(|record| {
        let silent = |outcome: Outcome| outcome.is_silent();
        assert!(!record.verdicts.iter().any(|heard| silent(heard.verdict.outcome)), "{}", record.text());
        assert!(!record.notices.iter().any(|notice| silent(notice.incident.outcome)), "{}", record.text());
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_table_is_named_as_what_nobody_can_see() {
    let database = Arc::new(Postgres::shared().database().await);
    let mut scene = Scene::new().await;
    for name in ["locked", "open"] {
        scene.platform(name);
        scene.table(name, name, &database.agent(), &database.platform());
        scene.canary(name, name, &[name], TERMS);
    }
    // The lock is taken when rows were written and not yet read, and held.
    let lock: Arc<tokio::sync::Mutex<Option<PgConnection>>> = Arc::default();
    let (held, of) = (lock.clone(), database.clone());
    scene.between(
        "locked",
        Box::new(move || {
            let (held, database) = (held.clone(), of.clone());
            Box::pin(async move {
                let mut held = held.lock().await;
                if held.is_none() {
                    let session = held.insert(database.session().await);
                    raw(session, "BEGIN; LOCK TABLE locked IN ACCESS EXCLUSIVE MODE").await;
                }
            })
        }),
    );
    let watch = scene.watch().await;
    watch.until("the lock is told", blind("locked")).await;
    let final_unknown = |record: &Record| {
        let said = |reason: &Option<String>| reason.as_deref().is_some_and(|reason| reason.contains("locked"));
        record.finals("locked").any(|v| v.outcome == Outcome::Unknown && said(&v.reason)).then_some(())
    };
    watch.until("a run is unknown for good", final_unknown).await;
    raw(lock.lock().await.as_mut().expect("locked"), "COMMIT").await;
    watch.until("it is over", over).await;
    no_loss(&watch);
    watch.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_is_named_as_what_nobody_can_see_until_it_is_back() {
    let server = Arc::new(Postgres::start());
    let database = server.database().await;
    let mut scene = Scene::new().await;
    scene.platform("p");
    scene.table("warehouse", "canary", &database.agent(), &database.platform());
    scene.bucket("bucket", "csv", "none");
    scene.canary("c", "p", &["warehouse", "bucket"], TERMS);
    let watch = scene.watch().await;
    landing(&watch, &["warehouse", "bucket"]).await;
    let stopping = server.clone();
    tokio::task::spawn_blocking(move || stopping.stop()).await.expect("stopped");
    watch.until("the stopped server is told", blind("warehouse")).await;
    let starting = server.clone();
    tokio::task::spawn_blocking(move || starting.run()).await.expect("running");
    watch.until("it is over", over).await;
    no_loss(&watch);
    watch.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_whose_password_was_changed_says_that_it_cannot_see() {
    let database = Postgres::shared().database().await;
    let role = format!("lodger{:x}", fastrand::u64(..));
    database.root(&format!("CREATE ROLE {role} LOGIN PASSWORD 'before' IN ROLE agent")).await;
    let mut scene = Scene::new().await;
    scene.platform("p");
    scene.table("theirs", "theirs", &database.url(&role, "before"), &database.platform());
    scene.table("ours", "ours", &database.agent(), &database.platform());
    scene.canary("c", "p", &["theirs", "ours"], TERMS);
    let watch = scene.watch().await;
    landing(&watch, &["theirs", "ours"]).await;
    let hang_up = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'");
    database.root(&format!("ALTER ROLE {role} PASSWORD 'after-secret'; {hang_up}")).await;
    watch.until("the refused agent is told", blind("theirs")).await;
    watch.look(|record| {
        let said = |reason: &str| reason.contains("denied") && !reason.contains("before");
        let told = record.on("theirs").filter_map(|verdict| verdict.reason.as_deref()).all(said);
        assert!(told && !record.text().contains(PLATFORM), "{}", record.text());
    });
    database.root(&format!("ALTER ROLE {role} PASSWORD 'before'")).await;
    watch.until("it is over", over).await;
    no_loss(&watch);
    watch.stop().await;
    database.root(&format!("{hang_up}; DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_not_a_canarys_is_neither_read_nor_changed() {
    let database: Database = Postgres::shared().database().await;
    database.sql("CREATE TABLE customers (id int, name text); INSERT INTO customers VALUES (1, 'Ada')").await;
    let mut scene = Scene::new().await;
    scene.platform("p");
    scene.table("foreign", "customers", &database.agent(), &database.platform());
    scene.table("ours", "ours", &database.agent(), &database.platform());
    scene.canary("c", "p", &["foreign", "ours"], TERMS);
    let watch = scene.watch().await;
    watch.until("the foreign table is told", blind("foreign")).await;
    watch.look(|record| {
        let refused = |reason: &str| reason.contains("not a canary's") && reason.contains("`customers`");
        let reasons: Vec<&str> = record.on("foreign").filter_map(|verdict| verdict.reason.as_deref()).collect();
        assert!(!reasons.is_empty() && reasons.into_iter().all(refused), "{}", record.text());
    });
    no_loss(&watch);
    watch.stop().await;
    assert_eq!(database.count("SELECT count(*) FROM customers WHERE name = 'Ada'").await, 1);
    assert_eq!(database.count("SELECT count(*) FROM customers").await, 1);
}
