//! The whole agent watches Spark write to PostgreSQL. No sandbox: what goes wrong goes wrong at the
//! servers, and the engine says FINISHED to losses that are real.

use std::{collections::BTreeSet, sync::Arc};

use landfall::{
    canary::{Claim, Mode, Outcome, Phase, Verdict},
    detect::Change,
};

use super::scene::{Record, Scene, Watch, ended, job, sent};
use crate::fixtures::{
    hiveserver2::{Door, Spark},
    postgres::{Database, PLATFORM, Postgres, raw},
    rows::create,
};

pub(super) const TERMS: &str = "modes = [\"append\"]\nevery = \"15s\"\nobjective = \"20s\"\ndeadline = \"40s\"";

/// How many of the test's own sessions wait for a lock.
pub(super) const WAITING: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";

/// A name that no other test has in Spark's catalog.
pub(super) fn own(target: &str) -> String {
    format!("{target}_{:x}", fastrand::u64(..))
}

/// A server that has done what every first job waits for: its first rows take it many seconds.
pub(super) async fn warm(spark: &Spark) {
    let database = Postgres::shared().database().await;
    database.sql(&create("warm")).await;
    let mut scene = Scene::new();
    scene.spark("p", spark, Door::Plain);
    scene.output("t", &own("warm"), &database, PLATFORM);
    scene.target("t", "warm", &database);
    scene.canary("c", &["p"], &["t"], "every = \"1m\"");
    let driver = scene.driver();
    let handle = sent(&*driver, &job(Mode::Append, "warm")).await;
    ended(&*driver, &handle).await;
}

/// A platform `spark` and a canary on each of these targets, whose tables are there.
async fn scene(spark: &Spark, database: &Database, targets: &[&str], terms: &str) -> Scene {
    warm(spark).await;
    let mut scene = Scene::new();
    scene.spark("spark", spark, Door::Plain);
    for target in targets {
        database.sql(&create(target)).await;
        scene.output(target, &own(target), database, PLATFORM);
    }
    for target in targets {
        scene.target(target, target, database);
        scene.canary(target, &["spark"], &[target], terms);
    }
    scene
}

fn trigger(table: &str, when: &str, body: &str) -> String {
    format!(
        "CREATE FUNCTION f_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$; \
         CREATE TRIGGER meddle {when} ON {table} FOR EACH ROW EXECUTE FUNCTION f_{table}()"
    )
}

/// So many final verdicts of this outcome, of jobs that the engine called FINISHED, each with a control
/// that began after that.
pub(super) fn proven(record: &Record, target: &str, outcome: Outcome) -> usize {
    let proof = |verdict: &Verdict| {
        let claimed = verdict.evidence.claimed_at;
        let control = |after| verdict.evidence.controls.iter().any(|c| c.passed.is_ok() && c.started_at >= after);
        let green = matches!(outcome, Outcome::Landed | Outcome::Late);
        matches!(verdict.evidence.claim, Claim::Done { .. }) && (green || claimed.is_some_and(control))
    };
    record.finals(target).filter(|verdict| verdict.outcome == outcome && proof(verdict)).count()
}

pub(super) async fn judged(watch: &Watch, target: &str, outcome: Outcome) {
    let enough = |record: &Record| (proven(record, target, outcome) >= 2).then_some(());
    watch.until(&format!("{target} is {outcome}"), enough).await;
    watch.look(|record| {
        let other = |verdict: &Verdict| verdict.outcome.is_silent() || verdict.outcome == Outcome::Landed;
        let right = record.on(target).all(|verdict| verdict.outcome == outcome || !other(verdict));
        assert!(right, "{target} was to be {outcome}\n{}", record.text());
    });
}

/// What opened incidents name.
pub(super) fn named(record: &Record) -> BTreeSet<String> {
    let opened = record.notices.iter().filter(|notice| matches!(notice.change, Change::Opened(_)));
    opened.map(|notice| notice.incident.suspects_text()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_engine_calls_finished_is_judged_by_the_rows() {
    let Some(spark) = Spark::shared(Door::Plain) else { return };
    let database = Postgres::shared().database().await;
    let cases = [
        ("swallowed", "BEFORE INSERT", "RETURN NULL;", Outcome::Lost),
        (
            "one_in_three",
            "BEFORE INSERT",
            "IF NEW.row_no % 3 = 0 THEN RETURN NULL; END IF; RETURN NEW;",
            Outcome::Partial,
        ),
        (
            "doubled",
            "AFTER INSERT",
            "IF pg_trigger_depth() = 1 THEN INSERT INTO doubled SELECT NEW.*; END IF; RETURN NULL;",
            Outcome::Duplicated,
        ),
        ("trimmed", "BEFORE INSERT", "NEW.hard_text = trim(NEW.hard_text); RETURN NEW;", Outcome::Corrupted),
        ("slow", "BEFORE INSERT", "IF NEW.row_no = 0 THEN PERFORM pg_sleep(25); END IF; RETURN NEW;", Outcome::Late),
        ("good", "BEFORE INSERT", "RETURN NEW;", Outcome::Landed),
    ];
    let names = cases.map(|(name, ..)| name);
    let scene = scene(&spark, &database, &names, TERMS).await;
    for (name, when, body, _) in cases {
        database.sql(&trigger(name, when, body)).await;
    }
    let watch = scene.watch().await;
    for (name, _, _, outcome) in cases {
        judged(&watch, name, outcome).await;
    }
    watch.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_swallows_rows_is_named_and_its_neighbours_are_not() {
    let Some(spark) = Spark::shared(Door::Plain) else { return };
    let database = Postgres::shared().database().await;
    let watch = scene(&spark, &database, &["east", "middle", "west"], TERMS).await.watch().await;
    for target in ["east", "middle", "west"] {
        watch.until("all land", |record| (proven(record, target, Outcome::Landed) >= 1).then_some(())).await;
    }
    database.sql(&trigger("middle", "BEFORE INSERT", "RETURN NULL;")).await;
    watch.until("it is named", |record| named(record).contains("target=middle").then_some(())).await;
    database.sql("DROP TRIGGER meddle ON middle").await;
    let over = |record: &Record| record.notices.iter().any(|n| matches!(n.change, Change::Resolved(_))).then_some(());
    watch.until("it is over", over).await;
    watch.look(|record| {
        assert_eq!(named(record), BTreeSet::from(["target=middle".to_owned()]), "{}", record.text());
        let lost = record.notices.iter().filter(|notice| matches!(notice.change, Change::Opened(_)));
        assert!(lost.into_iter().all(|notice| notice.incident.outcome == Outcome::Lost), "{}", record.text());
    });
    watch.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_was_renamed_away_is_made_anew_by_the_engine_and_rows_land_there() {
    let Some(spark) = Spark::shared(Door::Plain) else { return };
    let database = Postgres::shared().database().await;
    let watch = scene(&spark, &database, &["renamed"], TERMS).await.watch().await;
    watch.until("it lands", |record| (proven(record, "renamed", Outcome::Landed) >= 1).then_some(())).await;
    database.sql("ALTER TABLE renamed RENAME TO elsewhere").await;
    let there = "SELECT count(*) FROM pg_class WHERE relname = 'renamed'";
    let landed = watch.look(|record| record.finals("renamed").count());
    watch.until("more runs are judged", |record| (record.finals("renamed").count() >= landed + 3).then_some(())).await;
    assert_eq!(database.count(there).await, 1, "the engine made it");
    // A run that had written and was not read yet is lost to whoever reads by name; no other.
    watch.look(|record| {
        let newest: Vec<_> = record.finals("renamed").collect();
        assert_eq!(newest.last().expect("one is judged").outcome, Outcome::Landed, "{}", record.text());
    });
    watch.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_nobody_can_write_is_stuck_and_cancelled_and_lands_again_afterwards() {
    let Some(spark) = Spark::shared(Door::Plain) else { return };
    let database = Postgres::shared().database().await;
    let watch = scene(&spark, &database, &["locked", "open"], TERMS).await.watch().await;
    for target in ["locked", "open"] {
        watch.until("both land", |record| (proven(record, target, Outcome::Landed) >= 1).then_some(())).await;
    }
    let mut lock = database.session().await;
    raw(&mut lock, "BEGIN; LOCK TABLE locked IN SHARE MODE").await;
    let stuck =
        |record: &Record| (record.finals("locked").filter(|v| v.outcome == Outcome::Stuck).count() >= 2).then_some(());
    watch.until("runs are stuck", stuck).await;
    watch.until("it is named", |record| named(record).contains("target=locked").then_some(())).await;
    raw(&mut lock, "COMMIT").await;
    let over = |record: &Record| record.notices.iter().any(|n| matches!(n.change, Change::Resolved(_))).then_some(());
    watch.until("it is over", over).await;
    watch.look(|record| {
        assert_eq!(named(record), BTreeSet::from(["target=locked".to_owned()]), "{}", record.text());
        assert!(!record.verdicts.iter().any(|(_, verdict)| verdict.outcome.is_silent()), "{}", record.text());
        assert!(
            record.finals("open").all(|verdict| matches!(verdict.outcome, Outcome::Landed | Outcome::Late)),
            "{}",
            record.text()
        );
    });
    watch.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writers_changed_password_is_the_exports_failure_at_that_target() {
    let Some(spark) = Spark::shared(Door::Plain) else { return };
    let database = Arc::new(Postgres::shared().database().await);
    let role = format!("lodger{:x}", fastrand::u64(..));
    database.root(&format!("CREATE ROLE {role} LOGIN PASSWORD 'before-secret' IN ROLE platform")).await;
    warm(&spark).await;
    let mut scene = Scene::new();
    scene.spark("spark", &spark, Door::Plain);
    for target in ["theirs", "ours"] {
        database.sql(&create(target)).await;
    }
    let theirs = super::scene::create(&database).replace("user 'platform'", &format!("user '{role}'"));
    let secret = scene.secret("before-secret");
    scene.config += &format!(
        "theirs = {{ table = \"{}\", create = \"\"\"{theirs}\"\"\", secrets = {{ password = {secret} }} }}\n",
        own("theirs")
    );
    scene.output("ours", &own("ours"), &database, PLATFORM);
    for target in ["theirs", "ours"] {
        scene.target(target, target, &database);
        scene.canary(target, &["spark"], &[target], TERMS);
    }
    let watch = scene.watch().await;
    for target in ["theirs", "ours"] {
        watch.until("both land", |record| (proven(record, target, Outcome::Landed) >= 1).then_some(())).await;
    }
    database.root(&format!("ALTER ROLE {role} PASSWORD 'after-secret'")).await;
    watch.until("it is named", |record| named(record).contains("target=theirs").then_some(())).await;
    watch.look(|record| {
        let failed: Vec<_> = record.finals("theirs").filter(|v| v.outcome == Outcome::Failed).collect();
        let said = |v: &&Verdict| v.reason.as_deref().unwrap_or_default().contains("password authentication failed");
        assert!(!failed.is_empty() && failed.iter().all(said), "{}", record.text());
        let errors = failed.iter().filter(|v| matches!(v.evidence.claim, Claim::Error { .. }));
        assert!(errors.into_iter().all(|v| v.phase == Some(Phase::Export)), "{}", record.text());
        assert_eq!(named(record), BTreeSet::from(["target=theirs".to_owned()]), "{}", record.text());
        assert!(!record.text().contains("before-secret") && !record.text().contains(PLATFORM), "{}", record.text());
    });
    watch.stop().await;
    database.root(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_target_is_what_nobody_can_see_and_never_a_loss() {
    let Some(spark) = Spark::shared(Door::Plain) else { return };
    let (stopping, staying) = (Arc::new(Postgres::start()), Postgres::shared());
    let (there, here) = (stopping.database().await, staying.database().await);
    warm(&spark).await;
    let mut scene = Scene::new();
    scene.spark("spark", &spark, Door::Plain);
    for (target, database) in [("there", &there), ("here", &here)] {
        database.sql(&create(target)).await;
        scene.output(target, &own(target), database, PLATFORM);
    }
    for (target, database) in [("there", &there), ("here", &here)] {
        scene.target(target, target, database);
        scene.canary(target, &["spark"], &[target], TERMS);
    }
    let watch = scene.watch().await;
    for target in ["there", "here"] {
        watch.until("both land", |record| (proven(record, target, Outcome::Landed) >= 1).then_some(())).await;
    }
    let server = stopping.clone();
    tokio::task::spawn_blocking(move || server.stop()).await.expect("done");
    watch.until("it is named", |record| named(record).contains("target=there").then_some(())).await;
    let server = stopping.clone();
    tokio::task::spawn_blocking(move || server.run()).await.expect("done");
    let over = |record: &Record| record.notices.iter().any(|n| matches!(n.change, Change::Resolved(_))).then_some(());
    watch.until("it is over", over).await;
    watch.look(|record| {
        assert_eq!(named(record), BTreeSet::from(["target=there".to_owned()]), "{}", record.text());
        assert!(!record.verdicts.iter().any(|(_, verdict)| verdict.outcome.is_silent()), "{}", record.text());
        assert!(
            record.finals("here").all(|verdict| matches!(verdict.outcome, Outcome::Landed | Outcome::Late)),
            "{}",
            record.text()
        );
    });
    watch.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_that_dies_in_the_middle_of_runs_is_unknown_and_named_and_lands_when_it_is_back() {
    let Some(dying) = Spark::start(Door::Plain) else { return };
    let Some(staying) = Spark::shared(Door::Plain) else { return };
    let database = Postgres::shared().database().await;
    let dying = Arc::new(dying);
    let mut scene = Scene::new();
    for (platform, spark) in [("dying", &dying), ("staying", &staying)] {
        warm(spark).await;
        scene.spark(platform, spark, Door::Plain);
        scene.output("warehouse", &own("warehouse"), &database, PLATFORM);
    }
    database.sql(&create("canary")).await;
    scene.target("warehouse", "canary", &database);
    scene.canary("c", &["dying", "staying"], &["warehouse"], TERMS);
    let watch = scene.watch().await;
    let finals = |record: &Record, platform: &str, outcome: Outcome| {
        let on = record.verdicts.iter().filter(|(route, _)| route.platform.as_str() == platform);
        on.filter(|(_, verdict)| verdict.outcome == outcome && !verdict.provisional).count()
    };
    for platform in ["dying", "staying"] {
        watch.until("both land", |record| (finals(record, platform, Outcome::Landed) >= 1).then_some(())).await;
    }
    // So that a run is under way when the server dies.
    let mut lock = database.session().await;
    raw(&mut lock, "BEGIN; LOCK TABLE canary IN SHARE MODE").await;
    while database.count(WAITING).await < 2 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let server = dying.clone();
    tokio::task::spawn_blocking(move || server.kill()).await.expect("done");
    raw(&mut lock, "COMMIT").await;
    watch.until("it is unknown", |record| (finals(record, "dying", Outcome::Unknown) >= 2).then_some(())).await;
    watch.until("it is named", |record| named(record).contains("platform=dying").then_some(())).await;
    let server = dying.clone();
    tokio::task::spawn_blocking(move || server.run()).await.expect("done");
    let landed = watch.look(|record| finals(record, "dying", Outcome::Landed));
    watch.until("it lands again", |record| (finals(record, "dying", Outcome::Landed) > landed).then_some(())).await;
    watch.look(|record| {
        let wrong = |outcome: Outcome| outcome.is_silent() || matches!(outcome, Outcome::Failed | Outcome::Unclaimed);
        assert!(!record.verdicts.iter().any(|(_, verdict)| wrong(verdict.outcome)), "{}", record.text());
        assert!(!named(record).iter().any(|name| name != "platform=dying"), "{}", record.text());
    });
    watch.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_agent_says_of_its_jobs_that_it_cannot_know_and_counts_them_towards_nothing() {
    let Some(spark) = Spark::shared(Door::Plain) else { return };
    let database = Postgres::shared().database().await;
    let terms = "modes = [\"append\"]\nevery = \"30s\"\nobjective = \"40s\"\ndeadline = \"90s\"";
    let scene = scene(&spark, &database, &["kept"], terms).await;
    database
        .sql(&trigger("kept", "BEFORE INSERT", "IF NEW.row_no = 0 THEN PERFORM pg_sleep(4); END IF; RETURN NEW;"))
        .await;
    let mut watch = scene.watch().await;
    let writing = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO%' AND usename = 'platform' AND datname = current_database()";
    while database.count(writing).await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    watch.restart().await;
    let first = |record: &Record| record.finals("kept").next().cloned();
    let verdict = watch.until("the run is judged", first).await;
    let said = verdict.reason.as_deref().unwrap_or_default();
    assert!(verdict.outcome == Outcome::Unknown && verdict.agent_away, "{verdict:?}");
    assert!(said.contains("agent was restarted"), "{said}");
    watch.until("the next lands", |record| (proven(record, "kept", Outcome::Landed) >= 1).then_some(())).await;
    watch.look(|record| {
        assert!(record.notices.iter().all(|notice| notice.incident.outcome != Outcome::Unknown), "{}", record.text());
    });
    watch.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_to_a_statement_is_never_sent_again_and_the_run_is_unknown() {
    let Some(spark) = Spark::shared(Door::Plain) else { return };
    let database = Postgres::shared().database().await;
    warm(&spark).await;
    let (endpoint, inserts) = super::malice::cuts(spark.endpoint().replace("tcp://", "")).await;
    let mut scene = Scene::new();
    scene.platform("cut", &endpoint, &format!("seed_location = {:?}", spark.files()));
    database.sql(&create("canary")).await;
    scene.output("warehouse", &own("warehouse"), &database, PLATFORM);
    scene.target("warehouse", "canary", &database);
    scene.canary("c", &["cut"], &["warehouse"], "every = \"10s\"\nobjective = \"8s\"\ndeadline = \"25s\"");
    let watch = scene.watch().await;
    watch.until("runs are judged", |record| (record.finals("warehouse").count() >= 3).then_some(())).await;
    watch.look(|record| {
        let unknown = |verdict: &Verdict| verdict.outcome == Outcome::Unknown;
        assert!(record.finals("warehouse").all(unknown), "{}", record.text());
        for verdict in record.finals("warehouse") {
            let marker = verdict.run.to_string();
            let sent = inserts.lock().expect("whole");
            let times =
                sent.iter().filter(|sent| sent.windows(marker.len()).any(|words| words == marker.as_bytes())).count();
            assert!(times <= 1, "{marker}: {times} times");
        }
        assert!(!inserts.lock().expect("whole").is_empty(), "{}", record.text());
    });
    watch.stop().await;
}
