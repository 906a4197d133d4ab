//! What a server does to rows between write and read, each the right outcome.

use std::sync::Arc;

use landfall::canary::{Claim, Outcome, Verdict};

use super::watch::{Between, Scene, Watch};
use crate::fixtures::{
    postgres::{Database, Postgres},
    rows::create,
};

/// Looks at the deadline come soon; rows that are missing are judged then.
const TERMS: &str = "modes = [\"append\"]\nevery = \"5s\"\nobjective = \"4s\"\ndeadline = \"12s\"";

async fn database() -> Arc<Database> {
    Arc::new(Postgres::shared().database().await)
}

/// Statements that run after a job's rows were written and before the agent looks.
fn statements(database: &Arc<Database>, sql: String) -> Between {
    let database = database.clone();
    Box::new(move || {
        let (database, sql) = (database.clone(), sql.clone());
        Box::pin(async move { database.sql(&sql).await })
    })
}

/// A trigger on a table that is made for it.
fn trigger(table: &str, when: &str, body: &str) -> String {
    format!(
        "{}; CREATE FUNCTION f_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$; \
         CREATE TRIGGER meddle {when} EXECUTE FUNCTION f_{table}()",
        create(table)
    )
}

/// How a case goes wrong, each on a table of its name.
enum Fault {
    /// After the writing.
    Between(&'static str),
    /// While it is written.
    Trigger(&'static str, &'static str),
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_does_to_rows_between_write_and_read_is_named_right() {
    use Fault::{Between, Trigger};
    let cases = [
        ("dropped", Between("DROP TABLE IF EXISTS dropped"), Outcome::Lost),
        (
            "renamed",
            Between("DROP TABLE IF EXISTS elsewhere; ALTER TABLE IF EXISTS renamed RENAME TO elsewhere"),
            Outcome::Lost,
        ),
        ("deleted", Between("DELETE FROM deleted"), Outcome::Lost),
        ("truncated", Between("TRUNCATE truncated"), Outcome::Lost),
        ("thinned", Between("DELETE FROM thinned WHERE row_no < 5"), Outcome::Partial),
        ("edited", Between("UPDATE edited SET hard_text = 'edited' WHERE row_no = 7"), Outcome::Corrupted),
        ("swallowed", Trigger("BEFORE INSERT ON swallowed FOR EACH ROW", "RETURN NULL;"), Outcome::Lost),
        (
            "removed",
            Trigger("AFTER INSERT ON removed FOR EACH STATEMENT", "DELETE FROM removed; RETURN NULL;"),
            Outcome::Lost,
        ),
        (
            "one_in_three",
            Trigger(
                "BEFORE INSERT ON one_in_three FOR EACH ROW",
                "IF NEW.row_no % 3 = 0 THEN RETURN NULL; END IF; RETURN NEW;",
            ),
            Outcome::Partial,
        ),
        (
            "doubled",
            Trigger(
                "AFTER INSERT ON doubled FOR EACH ROW",
                "IF pg_trigger_depth() = 1 THEN INSERT INTO doubled SELECT NEW.*; END IF; RETURN NULL;",
            ),
            Outcome::Duplicated,
        ),
        (
            "trimmed",
            Trigger("BEFORE INSERT ON trimmed FOR EACH ROW", "NEW.hard_text = trim(NEW.hard_text); RETURN NEW;"),
            Outcome::Corrupted,
        ),
    ];
    let database = database().await;
    let mut scene = Scene::new().await;
    for (name, fault, _) in &cases {
        let (platform, canary) = (name.replace('_', "-"), name.replace('_', "-"));
        match fault {
            Trigger(when, body) => database.sql(&trigger(name, when, body)).await,
            Between(sql) => scene.between(&platform, statements(&database, (*sql).to_owned())),
        }
        scene.platform(&platform);
        scene.table(&platform, name, &database.agent(), &database.platform());
        scene.canary(&canary, &platform, &[&platform], TERMS);
    }
    let watch = scene.watch().await;
    for (name, _, outcome) in cases {
        judged(&watch, &name.replace('_', "-"), outcome).await;
    }
    watch.stop().await;
}

/// Two runs are judged for good as they should be, with a control that began after the claim, and
/// none is called landed or another silent loss. A job that met the server in the middle of a change
/// may say `error`.
async fn judged(watch: &Watch, target: &str, outcome: Outcome) {
    let proven = |verdict: &Verdict| {
        let claimed = verdict.evidence.claimed_at;
        let control = |after| verdict.evidence.controls.iter().any(|c| c.passed.is_ok() && c.started_at >= after);
        matches!(verdict.evidence.claim, Claim::Done { .. }) && claimed.is_some_and(control)
    };
    watch
        .until(&format!("{target} is {outcome}"), |record| {
            (record.finals(target).filter(|verdict| verdict.outcome == outcome && proven(verdict)).count() >= 2)
                .then_some(())
        })
        .await;
    watch.look(|record| {
        let other = |verdict: &Verdict| verdict.outcome.is_silent() || verdict.outcome == Outcome::Landed;
        let right = record.on(target).all(|verdict| verdict.outcome == outcome || !other(verdict));
        assert!(right, "{target} was to be {outcome}\n{}", record.text());
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_are_doubled_long_after_they_landed_correct_the_verdict() {
    let database = database().await;
    let mut scene = Scene::new().await;
    scene.platform("p");
    scene.table("warehouse", "canary", &database.agent(), &database.platform());
    scene.canary("c", "p", &["warehouse"], "every = \"4s\"\nobjective = \"10s\"\ndeadline = \"15s\"");
    let watch = scene.watch().await;
    let landed = |record: &super::watch::Record| {
        record.finals("warehouse").find(|verdict| verdict.outcome == Outcome::Landed).map(|verdict| verdict.run)
    };
    let run = watch.until("a run landed", landed).await;
    database.sql(&format!("INSERT INTO canary SELECT * FROM canary WHERE marker = '{run}'")).await;
    watch
        .until("it is corrected", |record| {
            record.finals("warehouse").any(|v| v.run == run && v.outcome == Outcome::Duplicated).then_some(())
        })
        .await;
    watch.look(|record| {
        let right = record.on("warehouse").all(|v| v.outcome == Outcome::Landed || v.run == run);
        assert!(right, "{}", record.text());
    });
    watch.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_an_earlier_run_in_the_place_of_ours_are_stale() {
    let database = database().await;
    let mut scene = Scene::new().await;
    for target in ["restored", "kept"] {
        scene.platform(target);
        scene.table(target, target, &database.agent(), &database.platform());
        let mode = if target == "restored" { "replace" } else { "truncate" };
        let terms = format!("modes = [\"{mode}\"]\nevery = \"3s\"\nobjective = \"4s\"\ndeadline = \"12s\"");
        scene.canary(target, target, &[target], &terms);
    }
    let watch = scene.watch().await;
    for target in ["restored", "kept"] {
        watch
            .until("a run landed", |record| record.finals(target).any(|v| v.outcome == Outcome::Landed).then_some(()))
            .await;
        let route = watch.routes.iter().find(|route| route.target.as_str() == target).expect("its route");
        let table = format!("{target}__{}", route.id);
        if target == "kept" {
            // What should go stays, and what should come does not.
            database
                .sql(&format!(
                    "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; \
                     CREATE TRIGGER keep BEFORE INSERT OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION keep()"
                ))
                .await;
        } else {
            // Whenever a new table has taken the place of the old one, the old rows come back.
            let rule = format!(
                "CREATE TABLE old AS SELECT * FROM {table}; \
                 CREATE FUNCTION restore() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN \
                 IF to_regclass('{table}') IS NOT NULL THEN \
                 DELETE FROM {table}; INSERT INTO {table} SELECT * FROM old; END IF; END $$; \
                 CREATE EVENT TRIGGER restore ON ddl_command_end WHEN TAG IN ('ALTER TABLE') \
                 EXECUTE FUNCTION restore(); GRANT SELECT ON old TO platform"
            );
            database.root(&rule).await;
        }
    }
    for target in ["restored", "kept"] {
        watch
            .until(&format!("{target} is stale"), |record| {
                (record.finals(target).filter(|verdict| verdict.outcome == Outcome::Stale).count() >= 2).then_some(())
            })
            .await;
        watch.look(|record| {
            let other = |outcome: Outcome| outcome.is_silent() && outcome != Outcome::Stale;
            // One run at a time: those that waited for too long were not sent, and are not judged.
            let sent = |verdict: &Verdict| verdict.evidence.submitted_at.is_some();
            let right = record.on(target).all(|verdict| !other(verdict.outcome) && sent(verdict));
            assert!(right, "{target}\n{}", record.text());
        });
    }
    watch.stop().await;
}
