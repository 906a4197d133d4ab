//! What an agent cannot see is `unknown`, named by its target, and never a loss.

use std::sync::Arc;

use landfall::{canary::Outcome, detect::Change};
use sqlx::MySqlConnection;

use super::database;
use crate::{
    fixtures::mariadb::{MariaDb, is_left_out, raw},
    fixtures::watch::{Record, Scene, Watch},
};

const TERMS: &str = "modes = [\"append\"]\nevery = \"3s\"\nobjective = \"4s\"\ndeadline = \"12s\"";

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

fn no_loss(watch: &Watch) {
    watch.look(|record| {
        assert!(!record.verdicts.iter().any(|heard| heard.verdict.outcome.is_silent()), "{}", record.text());
        assert!(!record.notices.iter().any(|notice| notice.incident.outcome.is_silent()), "{}", record.text());
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_table_is_named_as_what_nobody_can_see() {
    let Some(database) = database().await else { return };
    let mut scene = Scene::new().await;
    for name in ["locked", "open"] {
        scene.platform(name);
        scene.target("mysql", name, name, &database.agent(), &database.platform(), "");
        scene.canary(name, name, &[name], TERMS);
    }
    // The lock is taken when rows were written and not yet read, and held.
    let lock: Arc<tokio::sync::Mutex<Option<MySqlConnection>>> = Arc::default();
    let (held, of) = (lock.clone(), database.clone());
    scene.between(
        "locked",
        Box::new(move || {
            let (held, database) = (held.clone(), of.clone());
            Box::pin(async move {
                let mut held = held.lock().await;
                if held.is_none() {
                    raw(held.insert(database.session().await), "LOCK TABLES locked WRITE").await;
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
    raw(lock.lock().await.as_mut().expect("locked"), "UNLOCK TABLES").await;
    watch.until("it is over", over).await;
    no_loss(&watch);
    watch.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_is_named_as_what_nobody_can_see_until_it_is_back() {
    if is_left_out() {
        return;
    }
    let server = Arc::new(MariaDb::start(|_| Vec::new()));
    let database = server.database().await;
    let mut scene = Scene::new().await;
    scene.platform("p");
    scene.target("mysql", "warehouse", "canary", &database.agent(), &database.platform(), "");
    scene.bucket("bucket", "csv", "none");
    scene.canary("c", "p", &["warehouse", "bucket"], TERMS);
    let watch = scene.watch().await;
    for target in ["warehouse", "bucket"] {
        watch
            .until("all land", |record| record.finals(target).any(|v| v.outcome == Outcome::Landed).then_some(()))
            .await;
    }
    let stopping = server.clone();
    tokio::task::spawn_blocking(move || stopping.stop()).await.expect("stopped");
    watch.until("the stopped server is told", blind("warehouse")).await;
    let starting = server.clone();
    tokio::task::spawn_blocking(move || starting.run()).await.expect("running");
    watch.until("it is over", over).await;
    no_loss(&watch);
    watch.stop().await;
}
