//! The same into MariaDB: what arrives, and real losses behind a claim of success.

use std::sync::Arc;

use landfall::canary::{Claim, Mode, Outcome, Verdict};

use super::{
    driver::carries_everything,
    losses::{TERMS, judged, landing, named, no_loss, spared, unique},
    watch::{Record, Scene, Watch},
};
use crate::fixtures::{
    mariadb::{Database, Meddling, raw},
    trino::{Flavor, Maria, Server},
};

/// A shared server with MariaDB behind it; none where one of the two was left out.
async fn server(flavor: Flavor) -> Option<Arc<Server>> {
    Server::shared(flavor).await.filter(|server| server.maria.is_some())
}

fn maria(server: &Server) -> &Maria {
    server.maria.as_ref().expect("asked for before")
}

pub(super) async fn every_hard_value_arrives_in_every_mode(flavor: Flavor) {
    let Some(server) = server(flavor).await else { return };
    let maria = maria(&server);
    for mode in [Mode::Append, Mode::Replace, Mode::Truncate] {
        let mut scene = Scene::new();
        scene.platform("p", &server, "memory.default", &[("t", &maria.schema("my"))]);
        scene.mysql_table("t", &unique("hard"), &maria.database);
        scene.canary("c", "p", &["t"], &format!("modes = [\"{mode}\"]\nevery = \"1h\""));
        carries_everything(|| scene.drivers(), flavor, "mysql", mode).await;
    }
}

pub(super) async fn each_fault_behind_a_claim_of_success_has_its_outcome(flavor: Flavor) {
    let Some(server) = server(flavor).await else { return };
    let maria = maria(&server);
    let cases = [
        ("swallowed", Meddling::Swallows, Outcome::Lost),
        ("thinned", Meddling::Thins, Outcome::Partial),
        ("trimmed", Meddling::Trims, Outcome::Corrupted),
        ("asleep", Meddling::Sleeps(11), Outcome::Late),
        ("doubled", Meddling::Doubles, Outcome::Duplicated),
    ];
    let mut scene = Scene::new();
    for (name, meddling, _) in cases {
        let table = unique(name);
        meddling.begin(&maria.database, &table).await;
        scene.platform(name, &server, "memory.default", &[(name, &maria.schema("my"))]);
        scene.mysql_table(name, &table, &maria.database);
        scene.canary(name, name, &[name], TERMS);
    }
    let watch = scene.watch().await;
    for (name, meddling, outcome) in cases {
        if meddling == Meddling::Doubles {
            doubled(&watch, name).await;
        } else {
            judged(&watch, name, outcome).await;
        }
    }
    watch.stop().await;
}

/// Rows are there once for a second, in which they may be seen and have landed; then twice.
async fn doubled(watch: &Watch, target: &str) {
    let claimed = |verdict: &Verdict| matches!(verdict.evidence.claim, Claim::Done { rows: Some(20) });
    let twice = |record: &Record| {
        (record.on(target).filter(|v| v.outcome == Outcome::Duplicated && claimed(v)).count() >= 2).then_some(())
    };
    watch.until("rows are there twice", twice).await;
    watch.look(|record| {
        let other = |v: &Verdict| v.outcome.is_silent() && v.outcome != Outcome::Duplicated;
        assert!(!record.on(target).any(other), "{}", record.text());
    });
}

/// A platform, and two tables: one that stays as it is, and one that will not.
async fn two_targets(server: &Server, catalog: &str, name: &str) -> (Watch, String) {
    let maria = maria(server);
    let faulty = if catalog == "my_own" { &maria.own } else { &maria.database };
    let (table, open) = (unique(name), unique("open"));
    let mut scene = Scene::new();
    let outputs = [(name, &*maria.schema(catalog)), ("open", &*maria.schema("my"))];
    scene.platform("cluster", server, "memory.default", &outputs);
    scene.mysql_table(name, &table, faulty);
    scene.mysql_table("open", &open, &maria.database);
    (landing(scene, &[name, "open"]).await, table)
}

pub(super) async fn only_the_target_that_loses_rows_is_named(flavor: Flavor) {
    let Some(server) = server(flavor).await else { return };
    let database = &maria(&server).database;
    let (watch, table) = two_targets(&server, "my", "leaky").await;
    database.trigger(&table, "BEFORE INSERT", "SET NEW.marker = 'gone'").await;
    named(&watch, Outcome::Lost, "leaky").await;
    // Renamed away: the engine says so, where a client that makes its table anew would not.
    database.root(&format!("DROP TRIGGER meddle_{table}; RENAME TABLE {table} TO {table}_away")).await;
    let failed = |record: &Record| record.finals("leaky").any(|v| v.outcome == Outcome::Failed).then_some(());
    watch.until("a run fails", failed).await;
    spared(&watch, "leaky");
    watch.stop().await;
}

pub(super) async fn a_rotated_password_is_the_targets_and_not_the_platforms(flavor: Flavor) {
    let Some(server) = server(flavor).await else { return };
    let maria = maria(&server);
    let (watch, _) = two_targets(&server, "my_lodger", "lodged").await;
    maria.database.rotate(&maria.lodger, "after-secret").await;
    named(&watch, Outcome::Failed, "lodged").await;
    watch.look(|record| assert!(!record.text().contains("before"), "{}", record.text()));
    maria.database.rotate(&maria.lodger, "before").await;
    watch.stop().await;
}

pub(super) async fn a_stopped_or_locked_target_cannot_be_seen_and_the_platform_is_spared(flavor: Flavor) {
    let Some(server) = server(flavor).await else { return };
    let (database, own) = (&maria(&server).database, &maria(&server).own);
    let (watch, _) = two_targets(&server, "my_own", "stopped").await;
    let stopping = Arc::clone(&own.server);
    tokio::task::spawn_blocking(move || stopping.stop()).await.expect("stopped");
    named(&watch, Outcome::Unknown, "stopped").await;
    let starting = Arc::clone(&own.server);
    tokio::task::spawn_blocking(move || starting.run()).await.expect("running");
    no_loss(&watch);
    watch.stop().await;

    let (watch, table) = two_targets(&server, "my", "locked").await;
    let mut session = database.session().await;
    raw(&mut session, &format!("LOCK TABLES {table} WRITE")).await;
    named(&watch, Outcome::Unknown, "locked").await;
    raw(&mut session, "UNLOCK TABLES").await;
    no_loss(&watch);
    watch.stop().await;

    // A lock that lets readers in: the platform is at it, until the deadline.
    let (watch, table) = two_targets(&server, "my", "held").await;
    held(database, &table, &watch).await;
    watch.stop().await;
}

async fn held(database: &Database, table: &str, watch: &Watch) {
    let mut session = database.session().await;
    raw(&mut session, &format!("LOCK TABLES {table} READ")).await;
    let stuck = |record: &Record| record.finals("held").any(|v| v.outcome == Outcome::Stuck).then_some(());
    watch.until("a run is stuck", stuck).await;
    raw(&mut session, "UNLOCK TABLES").await;
    spared(watch, "held");
    no_loss(watch);
}
