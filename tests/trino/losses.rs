//! Real silent losses, no sandbox: the engine says FINISHED, and PostgreSQL has its own way with the
//! rows. A whole agent watches, and each fault gets its outcome and its name.

use std::{sync::Arc, time::Duration};

use landfall::canary::{Claim, Outcome, Verdict};

use super::watch::{Record, Scene, Watch};
use crate::fixtures::{
    postgres::{Database, raw},
    rows::create,
    trino::{Flavor, Server},
};

/// Looks at the deadline come soon; rows that are missing are judged then.
pub(super) const TERMS: &str = "modes = [\"append\"]\nevery = \"10s\"\nobjective = \"8s\"\ndeadline = \"20s\"";

/// A trigger on a table that is made for it.
fn trigger(table: &str, when: &str, body: &str) -> String {
    format!(
        "{}; CREATE FUNCTION f_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$; \
         CREATE TRIGGER meddle {when} ON {table} FOR EACH ROW EXECUTE FUNCTION f_{table}()",
        create(table)
    )
}

/// Names of tables that no other test uses.
pub(super) fn unique(name: &str) -> String {
    format!("{name}_{:x}", fastrand::u32(..))
}

pub(super) async fn each_fault_behind_a_claim_of_success_has_its_outcome(flavor: Flavor) {
    let Some(server) = Server::shared(flavor).await else { return };
    let cases = [
        ("swallowed", "BEFORE INSERT", "RETURN NULL;", Outcome::Lost),
        ("thinned", "BEFORE INSERT", "IF NEW.row_no % 3 = 0 THEN RETURN NULL; END IF; RETURN NEW;", Outcome::Partial),
        (
            "doubled",
            "AFTER INSERT",
            "IF pg_trigger_depth() = 1 THEN EXECUTE format('INSERT INTO %I SELECT ($1).*', TG_TABLE_NAME) USING NEW; \
             END IF; RETURN NULL;",
            Outcome::Duplicated,
        ),
        ("trimmed", "BEFORE INSERT", "NEW.hard_text = trim(NEW.hard_text); RETURN NEW;", Outcome::Corrupted),
        ("asleep", "BEFORE INSERT", "IF NEW.row_no = 0 THEN PERFORM pg_sleep(11); END IF; RETURN NEW;", Outcome::Late),
    ];
    let mut scene = Scene::new();
    for (name, when, body, _) in cases {
        let table = unique(name);
        server.database.sql(&trigger(&table, when, body)).await;
        scene.platform(name, &server, "memory.default", &[(name, "pg.public")]);
        scene.table(name, &table, &server.database);
        scene.canary(name, name, &[name], TERMS);
    }
    let watch = scene.watch().await;
    for (name, .., outcome) in cases {
        judged(&watch, name, outcome).await;
    }
    watch.stop().await;
}

/// Two runs are judged for good as they should be, the engine having said that it is done, and none is
/// called another silent loss.
pub(super) async fn judged(watch: &Watch, target: &str, outcome: Outcome) {
    let claimed = |verdict: &Verdict| matches!(verdict.evidence.claim, Claim::Done { rows: Some(20) });
    watch
        .until(&format!("{target} is {outcome}"), |record| {
            (record.finals(target).filter(|verdict| verdict.outcome == outcome && claimed(verdict)).count() >= 2)
                .then_some(())
        })
        .await;
    watch.look(|record| {
        let other = |outcome: Outcome| outcome.is_silent() || outcome == Outcome::Landed;
        let right = record.on(target).all(|verdict| verdict.outcome == outcome || !other(verdict.outcome));
        assert!(right, "{target} was to be {outcome}\n{}", record.text());
    });
}

/// A platform, and two tables: one that stays as it is, and one that will not.
async fn two_targets(server: &Server, faulty: (&str, &Database), name: &str) -> (Watch, String) {
    let (table, open) = (unique(name), unique("open"));
    let mut scene = Scene::new();
    scene.platform("cluster", server, "memory.default", &[(name, faulty.0), ("open", "pg.public")]);
    scene.table(name, &table, faulty.1);
    scene.table("open", &open, &server.database);
    (landing(scene, &[name, "open"]).await, table)
}

/// Watches a canary of platform `cluster` on these targets, all of which have landed.
pub(super) async fn landing(mut scene: Scene, targets: &[&str]) -> Watch {
    scene.canary("c", "cluster", targets, TERMS);
    let watch = scene.watch().await;
    for target in targets {
        watch
            .until("all land", |record| record.finals(target).any(|v| v.outcome == Outcome::Landed).then_some(()))
            .await;
    }
    watch
}

/// An incident of this outcome names this target, and no incident names anything else.
pub(super) async fn named(watch: &Watch, outcome: Outcome, target: &str) {
    let wanted = format!("{outcome} on target={target}");
    watch.until(&wanted, |record| record.named().contains(&wanted).then_some(())).await;
    spared(watch, target);
}

/// Nothing but this target is named, and the other table was never in trouble.
pub(super) fn spared(watch: &Watch, target: &str) {
    watch.look(|record: &Record| {
        let only = record.named().iter().all(|name| name.ends_with(&format!("on target={target}")));
        assert!(only, "only {target} deserves to be named\n{}", record.text());
        let well = |verdict: &Verdict| matches!(verdict.outcome, Outcome::Landed | Outcome::Late);
        assert!(record.on("open").all(well), "{}", record.text());
    });
}

pub(super) async fn only_the_target_that_loses_rows_is_named(flavor: Flavor) {
    let Some(server) = Server::shared(flavor).await else { return };
    let (watch, table) = two_targets(&server, ("pg.public", &server.database), "leaky").await;
    let body = trigger(&table, "BEFORE INSERT", "RETURN NULL;");
    server.database.sql(&body).await;
    named(&watch, Outcome::Lost, "leaky").await;
    // Renamed away: the engine says so, where a client that makes its table anew would not.
    let mend = format!("DROP TRIGGER meddle ON {table}; ALTER TABLE {table} RENAME TO {table}_away");
    server.database.sql(&mend).await;
    let failed = |record: &Record| record.finals("leaky").any(|v| v.outcome == Outcome::Failed).then_some(());
    watch.until("a run fails", failed).await;
    spared(&watch, "leaky");
    watch.stop().await;
}

pub(super) async fn a_rotated_password_is_the_targets_and_not_the_platforms(flavor: Flavor) {
    let Some(server) = Server::shared(flavor).await else { return };
    let (watch, _) = two_targets(&server, ("lodger.public", &server.database), "lodged").await;
    let role = &server.lodger;
    server.database.root(&format!("ALTER ROLE {role} PASSWORD 'after-secret'")).await;
    named(&watch, Outcome::Failed, "lodged").await;
    watch.look(|record| assert!(!record.text().contains("before"), "{}", record.text()));
    server.database.root(&format!("ALTER ROLE {role} PASSWORD 'before'")).await;
    watch.stop().await;
}

pub(super) async fn a_stopped_or_locked_target_cannot_be_seen_and_the_platform_is_spared(flavor: Flavor) {
    let Some(server) = Server::shared(flavor).await else { return };
    let (watch, _) = two_targets(&server, ("own.public", &server.own), "stopped").await;
    let postgres = Arc::clone(&server.own.server);
    let stopping = postgres.clone();
    tokio::task::spawn_blocking(move || stopping.stop()).await.expect("stopped");
    named(&watch, Outcome::Unknown, "stopped").await;
    tokio::task::spawn_blocking(move || postgres.run()).await.expect("running");
    no_loss(&watch);
    watch.stop().await;

    let (watch, table) = two_targets(&server, ("pg.public", &server.database), "locked").await;
    let mut session = server.database.session().await;
    raw(&mut session, &format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")).await;
    named(&watch, Outcome::Unknown, "locked").await;
    raw(&mut session, "COMMIT").await;
    no_loss(&watch);
    watch.stop().await;

    // A lock that lets readers in: the platform is at it, until the deadline.
    let (watch, table) = two_targets(&server, ("pg.public", &server.database), "held").await;
    raw(&mut session, &format!("BEGIN; LOCK TABLE {table} IN EXCLUSIVE MODE")).await;
    let stuck = |record: &Record| record.finals("held").any(|v| v.outcome == Outcome::Stuck).then_some(());
    watch.until("a run is stuck", stuck).await;
    raw(&mut session, "COMMIT").await;
    spared(&watch, "held");
    no_loss(&watch);
    watch.stop().await;
}

/// A killed query is only half a query: what the engine had handed to PostgreSQL by then goes on there,
/// and is committed. The status lies the other way.
pub(super) async fn a_killed_query_whose_rows_land_all_the_same_is_unclaimed(flavor: Flavor) {
    let Some(server) = Server::shared(flavor).await else { return };
    let table = unique("killed");
    server.database.sql(&trigger(&table, "BEFORE INSERT", "PERFORM pg_sleep(0.3); RETURN NEW;")).await;
    let mut scene = Scene::new();
    scene.platform("cluster", &server, "memory.default", &[("killed", "pg.public")]);
    scene.table("killed", &table, &server.database);
    // The query is killed within the six seconds that its rows take. What is killed is given its objective
    // to land, however busy the machine is.
    let terms = "modes = [\"append\"]\nevery = \"10s\"\nobjective = \"40s\"\ndeadline = \"60s\"";
    scene.canary("c", "cluster", &["killed"], terms);
    let watch = scene.watch().await;
    let writing =
        format!("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND query LIKE 'INSERT%{table}%'");
    let running = format!(
        "SELECT query_id FROM system.runtime.queries WHERE state IN ('RUNNING', 'FINISHING') \
         AND strpos(query, '/* landfall') = 1 AND strpos(query, '{table}') > 0"
    );
    let unclaimed = |record: &Record| record.finals("killed").any(|v| v.outcome == Outcome::Unclaimed).then_some(());
    let killing = async {
        while watch.look(unclaimed).is_none() {
            if server.database.count(&writing).await > 0 {
                for query in server.sql(&running).await {
                    let id = query[0].as_str().expect("an id");
                    let kill = format!("CALL system.runtime.kill_query(query_id => '{id}', message => 'no')");
                    // It may be over by now.
                    let _ = server.try_sql(&kill).await;
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let killed = tokio::time::timeout(Duration::from_secs(300), killing).await;
    assert!(killed.is_ok(), "never: a killed run is unclaimed\n{}", watch.look(Record::text));
    watch.look(|record| {
        let killed = |verdict: &Verdict| matches!(verdict.evidence.claim, Claim::Killed { .. });
        let proven = record.finals("killed").any(|v| v.outcome == Outcome::Unclaimed && killed(v));
        assert!(proven, "{}", record.text());
    });
    no_loss(&watch);
    watch.stop().await;
}

pub(super) fn no_loss(watch: &Watch) {
    watch.look(|record| {
        assert!(!record.verdicts.iter().any(|(_, verdict)| verdict.outcome.is_silent()), "{}", record.text());
    });
}
