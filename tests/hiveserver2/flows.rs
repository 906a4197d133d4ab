//! Flows over every door of a real server: rows arrive exactly, errors and cancels are told, and an
//! operation that the server forgot is never called failed.

#![expect(clippy::unwrap_used, reason = "what goes wrong here fails the test, as it should")]

use std::{sync::Arc, time::Duration};

use landfall::{
    canary::{Mode, Phase, Run},
    platform::{Platform, PlatformError, Progress},
    target::{Target, postgresql::PostgreSql},
};

use super::scene::{Scene, at, ended, job, ready, sent};
use crate::fixtures::{
    hiveserver2::{Door, Spark},
    postgres::{Database, PLATFORM, Postgres, raw},
    rows::create,
};

/// A driver whose output `t` is a table of its own name in Spark, and one for each place.
fn writing(spark: &Spark, door: Door, database: &Database, password: &str) -> Arc<dyn Platform> {
    let mut scene = Scene::new();
    if matches!(door, Door::Tls | Door::Https) {
        scene = scene.trusting(spark);
    }
    scene.spark("p", spark, door);
    scene.output("t", &format!("o{:x}_{{place}}", fastrand::u32(..)), database, password);
    scene.target("t", "canary", database);
    scene.canary("c", &["p"], &["t"], "every = \"1m\"");
    scene.driver()
}

/// Whether every row is there once and right, as the agent reads it.
async fn landed(database: &Database, table: &str, run: &Arc<Run>) -> bool {
    let target = PostgreSql::at(&database.agent(), &database.platform(), table, Duration::from_secs(8)).unwrap();
    let [sighting] = target.look(std::slice::from_ref(run)).await.unwrap().try_into().unwrap();
    sighting.complete()
}

/// The engine does not say how many rows it wrote: a query that finds fewer seeds than its sample has must
/// fail, or an emptied table would look like a loss at every target.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_seed_table_that_was_emptied_fails_one_run_and_is_filled_again() {
    let Some(spark) = Spark::shared(Door::Plain) else { return };
    let database = Postgres::shared().database().await;
    database.sql(&create("canary")).await;
    let prefix = format!("seed{:x}", fastrand::u32(..));
    let mut scene = Scene::new();
    let keys = format!("seed_location = {:?}\nseed_table = \"{prefix}\"", spark.files());
    scene.platform("p", &spark.endpoint(), &keys);
    scene.output("t", &format!("o{:x}", fastrand::u32(..)), &database, PLATFORM);
    scene.target("t", "canary", &database);
    scene.canary("c", &["p"], &["t"], "every = \"1m\"");
    let driver = scene.driver();
    let fly = async || {
        let job = job(Mode::Append, "canary");
        let handle = sent(&*driver, &job).await;
        (ended(&*driver, &handle).await.progress, landed(&database, "canary", &job.run).await)
    };
    let first = fly().await;
    assert!(matches!(first, (Progress::Done { .. }, true)), "{first:?}");
    // One that waits keeps the session that has read the table: the next one opens another.
    let mut lock = database.session().await;
    raw(&mut lock, "BEGIN; LOCK TABLE canary IN SHARE MODE").await;
    let waiting = sent(&*driver, &job(Mode::Append, "canary")).await;
    while database.count(super::agent::WAITING).await == 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let server = spark.clone();
    let emptied = tokio::task::spawn_blocking(move || {
        let tables = server.sql(&format!("SHOW TABLES LIKE '{prefix}*'"));
        let name = tables.split([',', '\n']).find(|word| word.starts_with(&prefix)).expect("a seed table").to_owned();
        let nulls = vec!["NULL"; 1 + landfall::canary::sample::SEED_COLUMNS.len()].join(", ");
        server.sql(&format!("INSERT OVERWRITE TABLE {name} SELECT {nulls} WHERE false"))
    });
    emptied.await.unwrap();
    let second = fly().await;
    assert!(matches!(second, (Progress::Error { phase: Phase::Execute, .. }, false)), "{second:?}");
    raw(&mut lock, "COMMIT").await;
    ended(&*driver, &waiting).await;
    // The session that waited remembers the files that are gone: at worst it fails one run more.
    let mut later = vec![fly().await];
    if matches!(later[0].0, Progress::Error { .. }) {
        later.push(fly().await);
    }
    assert!(matches!(later.last(), Some((Progress::Done { .. }, true))), "{later:?}");
}

async fn carries_everything(door: Door) {
    let Some(spark) = Spark::shared(door) else { return };
    let database = Postgres::shared().database().await;
    database.sql(&create("canary")).await;
    let driver = writing(&spark, door, &database, PLATFORM);
    for _ in 0..3 {
        let job = job(Mode::Append, "canary");
        let handle = sent(&*driver, &job).await;
        let state = ended(&*driver, &handle).await;
        assert!(matches!(state.progress, Progress::Done { .. }), "{state:?}");
        assert_eq!(state.jobs[0].len(), 36, "an id: {state:?}");
        // What is over stays over, asked again.
        assert_eq!(driver.look(&handle).await.unwrap().0, state);
        assert!(landed(&database, "canary", &job.run).await);
        driver.cancel(&handle).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hard_value_arrives_through_sasl_frames() {
    carries_everything(Door::Plain).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hard_value_arrives_through_tls() {
    carries_everything(Door::Tls).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hard_value_arrives_through_http() {
    carries_everything(Door::Http).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hard_value_arrives_through_https() {
    carries_everything(Door::Https).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replace_and_truncate_leave_the_newest_rows_only_and_differ_in_the_table() {
    let Some(spark) = Spark::shared(Door::Plain) else { return };
    let database = Postgres::shared().database().await;
    let driver = writing(&spark, Door::Plain, &database, PLATFORM);
    for (mode, place, keeps_table) in [(Mode::Replace, "canary__a", false), (Mode::Truncate, "canary__b", true)] {
        database.sql(&create(place)).await;
        let table = format!("SELECT '{place}'::regclass::oid::bigint");
        let before = database.count(&table).await;
        for _ in 0..2 {
            let job = job(mode, place);
            let handle = sent(&*driver, &job).await;
            let state = ended(&*driver, &handle).await;
            assert!(matches!(state.progress, Progress::Done { .. }), "{state:?}");
            let marker = job.run.marker;
            let ours = format!("SELECT count(*) FROM {place} WHERE marker = '{marker}'");
            assert_eq!(database.count(&ours).await, 20, "{mode}");
            assert_eq!(database.count(&format!("SELECT count(*) FROM {place}")).await, 20, "{mode}");
        }
        assert_eq!(database.count(&table).await == before, keeps_table, "{mode}");
        crate::fixtures::matrix::landed("hiveserver2", "postgresql", mode);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_waits_for_a_lock_is_running_until_it_is_cancelled() {
    for door in [Door::Plain, Door::Http] {
        let Some(spark) = Spark::shared(door) else { return };
        let database = Postgres::shared().database().await;
        database.sql(&create("canary")).await;
        let driver = writing(&spark, door, &database, PLATFORM);
        ready(&*driver).await;
        // The table is made in Spark before it is locked.
        let first = sent(&*driver, &job(Mode::Append, "canary")).await;
        ended(&*driver, &first).await;
        let mut lock = database.session().await;
        raw(&mut lock, "BEGIN; LOCK TABLE canary IN SHARE MODE").await;
        let waiting = job(Mode::Append, "canary");
        let handle = driver.submit(&waiting).await.unwrap();
        for _ in 0..2 {
            let (state, _) = driver.look(&handle).await.unwrap();
            assert!(matches!(state.progress, Progress::Running(_)), "{state:?}");
        }
        driver.cancel(&handle).await.unwrap();
        let (state, _) = driver.look(&handle).await.unwrap();
        assert!(matches!(state.progress, Progress::Killed { .. }), "{state:?}");
        driver.cancel(&handle).await.unwrap();
        raw(&mut lock, "COMMIT").await;
        let next = job(Mode::Append, "canary");
        let handle = sent(&*driver, &next).await;
        ended(&*driver, &handle).await;
        assert!(landed(&database, "canary", &next.run).await, "{door:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_come_with_sqlstate_and_phase_and_without_secrets() {
    let Some(spark) = Spark::shared(Door::Plain) else { return };
    let database = Postgres::shared().database().await;
    database.sql(&create("canary")).await;
    let missing = at(&spark, "t = { table = \"nowhere_to_be_found\" }\n").driver();
    let handle = sent(&*missing, &job(Mode::Append, "canary")).await;
    match ended(&*missing, &handle).await.progress {
        Progress::Error { phase: Phase::Execute, detail } => {
            assert!(detail.starts_with("42P01: ") && detail.contains("nowhere_to_be_found"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
    // Refused by PostgreSQL when Spark makes its table.
    let refused = writing(&spark, Door::Plain, &database, "wrong-secret");
    ready(&*refused).await;
    match refused.submit(&job(Mode::Append, "canary")).await {
        Err(PlatformError::Refused { detail }) => {
            assert!(detail.contains("password authentication failed"), "{detail}")
        }
        other => panic!("{other:?}"),
    }
    // Spark repeats a statement that it cannot read, password and all.
    let mut scene = Scene::new();
    scene.spark("p", &spark, Door::Plain);
    let secret = scene.secret("it's-a-secret");
    scene.config += &format!(
        "t = {{ table = \"x\", create = \"CREATE TABL x OPTIONS (password '{{password}}')\", \
         secrets = {{ password = {secret} }} }}\n"
    );
    scene.target("t", "canary", &database);
    scene.canary("c", &["p"], &["t"], "every = \"1m\"");
    let unreadable = scene.driver();
    ready(&*unreadable).await;
    match unreadable.submit(&job(Mode::Append, "canary")).await {
        Err(PlatformError::Refused { detail }) => {
            assert!(detail.contains("42601") && detail.contains("password"), "{detail}");
            assert!(!detail.contains("a-secret"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
    // What Spark cannot write once it is under way is the export's error.
    let driver = writing(&spark, Door::Plain, &database, PLATFORM);
    let first = sent(&*driver, &job(Mode::Append, "canary")).await;
    ended(&*driver, &first).await;
    database.sql("ALTER TABLE canary ADD CONSTRAINT small CHECK (row_no < 5) NOT VALID").await;
    let handle = driver.submit(&job(Mode::Append, "canary")).await.unwrap();
    match ended(&*driver, &handle).await.progress {
        Progress::Error { phase: Phase::Export, detail } => assert!(detail.contains("small"), "{detail}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_in_the_middle_of_a_run_is_not_heard_and_serves_again_when_it_is_back() {
    for door in [Door::Plain, Door::Http] {
        let Some(spark) = Spark::start(door) else { return };
        let database = Postgres::shared().database().await;
        database.sql(&create("canary")).await;
        let driver = writing(&spark, door, &database, PLATFORM);
        let first = sent(&*driver, &job(Mode::Append, "canary")).await;
        ended(&*driver, &first).await;
        let mut lock = database.session().await;
        raw(&mut lock, "BEGIN; LOCK TABLE canary IN SHARE MODE").await;
        let handle = driver.submit(&job(Mode::Append, "canary")).await.unwrap();
        spark.kill();
        let unheard = |looked: Result<_, PlatformError>| match looked {
            Err(error @ PlatformError::Unreachable { .. }) => error.to_string(),
            other => panic!("{door:?}: {other:?}"),
        };
        unheard(driver.look(&handle).await);
        unheard(driver.look(&handle).await);
        // Nothing was sent: the next try is no repetition.
        match driver.submit(&job(Mode::Append, "canary")).await {
            Err(PlatformError::Unreachable { never_arrived: true, .. }) => {}
            other => panic!("{door:?}: {other:?}"),
        }
        raw(&mut lock, "COMMIT").await;
        spark.run();
        for _ in 0..2 {
            let said = unheard(driver.look(&handle).await);
            assert!(said.contains("is lost"), "{door:?}: {said}");
        }
        driver.cancel(&handle).await.unwrap();
        // Its tables are gone with its memory: they are made again.
        let next = job(Mode::Append, "canary");
        let handle = sent(&*driver, &next).await;
        let state = ended(&*driver, &handle).await;
        assert!(matches!(state.progress, Progress::Done { .. }), "{door:?}: {state:?}");
        assert!(landed(&database, "canary", &next.run).await, "{door:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_written_to_a_directory_of_the_runs_own() {
    let Some(spark) = Spark::shared(Door::Plain) else { return };
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().display();
    // As RFC 4180 has it; Spark's own way escapes quotes by backslashes.
    let options = "header = \"true\", escape = '\"', emptyValue = '', nullValue = '\\N', ignoreLeadingWhiteSpace = \"false\", ignoreTrailingWhiteSpace = \"false\"";
    let outputs = format!(
        "t = {{ directory = \"{path}/{{place}}\", local = true, format = \"csv\", options = {{ {options} }} }}\n"
    );
    let driver = at(&spark, &outputs).driver();
    let jobs = [job(Mode::Append, "canary/one.csv"), job(Mode::Append, "canary/two.csv")];
    for job in &jobs {
        let handle = sent(&*driver, job).await;
        let state = ended(&*driver, &handle).await;
        assert!(matches!(state.progress, Progress::Done { .. }), "{state:?}");
    }
    for job in &jobs {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder.path().join(&job.deliver_to.place)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "csv") {
                let mut reader = csv::Reader::from_path(&path).unwrap();
                found.extend(
                    reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect::<Vec<_>>()),
                );
            }
        }
        found.sort_by_key(|row| row[1].parse::<u32>().unwrap());
        let expected = crate::fixtures::rows::values(&job.run);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found[0], job.run.marker.to_string());
            for (found, expected) in found.iter().zip(expected) {
                if let landfall::canary::Value::Text(text) = expected {
                    assert_eq!(found, text);
                }
            }
        }
    }
}
