//! Spark writes to MariaDB, which has its own way with the rows.

use std::{collections::BTreeSet, sync::Arc};

use landfall::{
    canary::{Mode, Outcome, Phase},
    detect::Change,
    platform::Progress,
};

use super::{
    agent::{TERMS, judged, named, own, proven, warm},
    scene::{Record, Scene, ended, job, ready},
};
use crate::fixtures::{
    hiveserver2::{Door, Spark},
    mariadb::{Database, MariaDb, Meddling, create, is_left_out, raw},
};

/// A server that has written before, and a fresh database; none where one of the two was left out.
async fn world() -> Option<(Arc<Spark>, Database)> {
    let spark = Spark::shared(Door::Plain)?;
    if is_left_out() {
        return None;
    }
    warm(&spark).await;
    Some((spark, MariaDb::shared().database().await))
}

/// A platform `spark` and a canary on each of these targets, whose tables are there.
fn scene(spark: &Spark, targets: &[(&str, &Database)]) -> Scene {
    let mut scene = Scene::new();
    scene.spark("spark", spark, Door::Plain);
    for (target, database) in targets {
        scene.mysql_output(target, &own(target), database);
    }
    for (target, database) in targets {
        scene.mysql_target(target, target, database);
        scene.canary(target, &["spark"], &[target], TERMS);
    }
    scene
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hard_value_arrives_in_every_mode() {
    let Some((spark, database)) = world().await else { return };
    for mode in [Mode::Append, Mode::Replace, Mode::Truncate] {
        let mut scene = Scene::new();
        scene.spark("p", &spark, Door::Plain);
        scene.mysql_output("t", &format!("{}_{{place}}", own("o")), &database);
        scene.mysql_target("t", "canary", &database);
        scene.canary("c", &["p"], &["t"], &format!("modes = [\"{mode}\"]\nevery = \"1m\""));
        let (platform, target) = (scene.driver(), scene.reader());
        ready(&*platform).await;
        let mut last: Option<Arc<landfall::canary::Run>> = None;
        for _ in 0..2 {
            let mut job = job(mode, "");
            job.deliver_to = target.address(&job.run);
            // Spark asks what columns a table has before it knows it.
            database.sql(&create(&job.deliver_to.place)).await;
            let handle = platform.submit(&job).await.expect("accepted");
            let state = ended(&*platform, &handle).await;
            assert!(matches!(state.progress, Progress::Done { .. }), "{mode}: {state:?}");
            let found = target.look(std::slice::from_ref(&job.run)).await.expect("it reads").remove(0);
            assert!(found.complete(), "{mode}: {found:#?}");
            crate::fixtures::matrix::landed("hiveserver2", "mysql", mode);
            if let Some(last) = last.replace(job.run) {
                let kept = target.look(&[last]).await.expect("it reads").remove(0).rows;
                assert!(if mode == Mode::Append { kept.complete() } else { kept.nothing() }, "{mode}: {kept}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_engine_calls_finished_is_judged_by_the_rows() {
    let Some((spark, database)) = world().await else { return };
    let cases = [
        ("swallowed", Meddling::Swallows, Outcome::Lost),
        ("one_in_three", Meddling::Thins, Outcome::Partial),
        ("trimmed", Meddling::Trims, Outcome::Corrupted),
        ("slow", Meddling::Sleeps(25), Outcome::Late),
        ("doubled", Meddling::Doubles, Outcome::Duplicated),
    ];
    for (name, meddling, _) in cases {
        meddling.begin(&database, name).await;
    }
    let watch = scene(&spark, &cases.map(|(name, ..)| (name, &database))).watch().await;
    for (name, meddling, outcome) in cases {
        if meddling != Meddling::Doubles {
            judged(&watch, name, outcome).await;
            continue;
        }
        // Rows are there once for a second, in which they may be seen and have landed; then twice.
        let twice = |record: &Record| (record.on(name).filter(|v| v.outcome == outcome).count() >= 2).then_some(());
        watch.until("rows are there twice", twice).await;
        watch.look(|record| {
            let other = |v: &landfall::canary::Verdict| v.outcome.is_silent() && v.outcome != outcome;
            assert!(!record.on(name).any(other), "{}", record.text());
        });
    }
    watch.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_swallows_rows_or_takes_none_is_named_and_its_neighbour_is_not() {
    let Some((spark, database)) = world().await else { return };
    for table in ["leaky", "held", "open"] {
        database.sql(&create(table)).await;
    }
    let targets = ["leaky", "held", "open"];
    let watch = scene(&spark, &targets.map(|target| (target, &database))).watch().await;
    for target in targets {
        watch.until("all land", |record| (proven(record, target, Outcome::Landed) >= 1).then_some(())).await;
    }
    let over = |n: usize| {
        move |record: &Record| {
            (record.notices.iter().filter(|n| matches!(n.change, Change::Resolved(_))).count() >= n).then_some(())
        }
    };
    database.trigger("leaky", "BEFORE INSERT", "SET NEW.marker = 'gone'").await;
    watch.until("it is named", |record| named(record).contains("target=leaky").then_some(())).await;
    database.root("DROP TRIGGER meddle_leaky").await;
    watch.until("it is over", over(1)).await;
    let mut session = database.session().await;
    raw(&mut session, "LOCK TABLES held READ").await;
    let stuck =
        |record: &Record| (record.finals("held").filter(|v| v.outcome == Outcome::Stuck).count() >= 2).then_some(());
    watch.until("runs are stuck", stuck).await;
    watch.until("it is named", |record| named(record).contains("target=held").then_some(())).await;
    raw(&mut session, "UNLOCK TABLES").await;
    watch.until("it is over", over(2)).await;
    watch.look(|record| {
        let only = BTreeSet::from(["target=leaky".to_owned(), "target=held".to_owned()]);
        assert_eq!(named(record), only, "{}", record.text());
        let well = |v: &landfall::canary::Verdict| matches!(v.outcome, Outcome::Landed | Outcome::Late);
        assert!(record.finals("open").all(well), "{}", record.text());
    });
    watch.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_was_renamed_away_is_made_anew_by_the_engine_and_rows_land_there() {
    let Some((spark, database)) = world().await else { return };
    database.sql(&create("renamed")).await;
    let watch = scene(&spark, &[("renamed", &database)]).watch().await;
    watch.until("it lands", |record| (proven(record, "renamed", Outcome::Landed) >= 1).then_some(())).await;
    database.sql("RENAME TABLE renamed TO elsewhere").await;
    let judged = watch.look(|record| record.finals("renamed").count());
    watch.until("more runs are judged", |record| (record.finals("renamed").count() >= judged + 3).then_some(())).await;
    watch.look(|record| {
        let newest = record.finals("renamed").last().expect("one is judged");
        assert_eq!(newest.outcome, Outcome::Landed, "{}", record.text());
    });
    watch.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_password_and_a_stopped_server_are_the_targets_own() {
    let Some((spark, database)) = world().await else { return };
    let stopping = Arc::new(MariaDb::start(|_| Vec::new()));
    let there = stopping.database().await;
    let role = database.lodger("before-secret").await;
    for (table, database) in [("theirs", &database), ("ours", &database), ("there", &there)] {
        database.sql(&create(table)).await;
    }
    let mut scene = Scene::new();
    scene.spark("spark", &spark, Door::Plain);
    scene.mysql_output_as("theirs", &own("theirs"), &database, &role, "before-secret");
    scene.mysql_output("ours", &own("ours"), &database);
    scene.mysql_output("there", &own("there"), &there);
    for (target, database) in [("theirs", &database), ("ours", &database), ("there", &there)] {
        scene.mysql_target(target, target, database);
        scene.canary(target, &["spark"], &[target], TERMS);
    }
    let watch = scene.watch().await;
    for target in ["theirs", "ours", "there"] {
        watch.until("all land", |record| (proven(record, target, Outcome::Landed) >= 1).then_some(())).await;
    }
    database.rotate(&role, "after-secret").await;
    watch.until("it is named", |record| named(record).contains("target=theirs").then_some(())).await;
    watch.look(|record| {
        let failed: Vec<_> = record.finals("theirs").filter(|v| v.outcome == Outcome::Failed).collect();
        assert!(!failed.is_empty() && failed.iter().all(|v| v.phase == Some(Phase::Export)), "{}", record.text());
        assert!(!record.text().contains("before-secret"), "{}", record.text());
    });
    let server = stopping.clone();
    tokio::task::spawn_blocking(move || server.stop()).await.expect("done");
    watch.until("it is named", |record| named(record).contains("target=there").then_some(())).await;
    let server = stopping.clone();
    tokio::task::spawn_blocking(move || server.run()).await.expect("done");
    watch.look(|record| {
        let only = BTreeSet::from(["target=theirs".to_owned(), "target=there".to_owned()]);
        assert!(named(record).is_subset(&only), "{}", record.text());
        assert!(!record.verdicts.iter().any(|(_, verdict)| verdict.outcome.is_silent()), "{}", record.text());
        let well = |v: &landfall::canary::Verdict| matches!(v.outcome, Outcome::Landed | Outcome::Late);
        assert!(record.finals("ours").all(well), "{}", record.text());
    });
    watch.stop().await;
}
