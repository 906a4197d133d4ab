//! What the agent writes and removes: its own controls, rows past their time, and nothing else.

use std::time::Duration;

use landfall::{
    canary::Mode,
    target::{ControlBy, Target, TargetError, mysql::MySql},
};

use super::{database, land, look, target};
use crate::fixtures::{
    mariadb::{create, insert},
    rows::{NOON, run_at, values},
};

#[tokio::test]
async fn a_control_writes_and_reads_a_row_of_its_own_and_keeps_few() {
    let Some(database) = database().await else { return };
    let target = target(&database);
    target.control().await.unwrap();
    target.control().await.unwrap();
    assert_eq!(database.count("SELECT COUNT(*) FROM canary__control").await, 2);
    database.root("UPDATE canary__control SET at = at - INTERVAL 1 HOUR").await;
    database.root("INSERT INTO canary__control VALUES ('somebody else''s', '1999-01-01')").await;
    target.control().await.unwrap();
    assert_eq!(database.count("SELECT COUNT(*) FROM canary__control").await, 2);
    assert_eq!(database.count("SELECT COUNT(*) FROM canary__control WHERE at < '2000-01-01'").await, 1);
}

#[tokio::test]
async fn a_control_that_may_not_make_its_table_says_what_to_do() {
    let Some(database) = database().await else { return };
    let target = MySql::at(&database.reader(), &database.platform(), "canary", Duration::from_secs(5)).unwrap();
    let error = target.control().await.unwrap_err();
    assert!(matches!(&error, TargetError::Denied { detail } if detail.contains("canary__control")), "{error}");
    database.sql("CREATE TABLE canary__control (marker varchar(28) primary key, at datetime)").await;
    let error = target.control().await.unwrap_err();
    assert!(matches!(&error, TargetError::Denied { detail } if detail.contains("grant SELECT")), "{error}");
    database.root("GRANT INSERT, DELETE ON canary__control TO reader@'%'").await;
    target.control().await.unwrap();
}

#[tokio::test]
async fn two_agents_may_make_the_control_table_at_once() {
    let Some(database) = database().await else { return };
    let targets: Vec<_> = (0..4).map(|_| target(&database)).collect();
    let proven = futures_util::future::join_all(targets.iter().map(|target| target.control())).await;
    assert!(proven.iter().all(Result::is_ok), "{proven:?}");
}

#[tokio::test]
async fn a_sweep_removes_old_canary_rows_and_nothing_else() {
    let Some(database) = database().await else { return };
    let target = target(&database);
    let (old, new) = (run_at(Mode::Append, NOON), run_at(Mode::Append, NOON.plus(Duration::from_secs(7200))));
    land(&database, &old).await;
    land(&database, &new).await;
    let replaced = run_at(Mode::Replace, NOON);
    let table = format!("canary__{}", replaced.route.id);
    database.sql(&format!("{}; {}", create(&table), insert(&table, &values(&replaced)))).await;
    // Rows and tables that only look like a canary's.
    let line = format!("{}\\n", old.marker);
    for (n, marker) in
        ["lf", "LF00000000000000000000000000", "lfz0000000000000000000000000", "", &line].iter().enumerate()
    {
        database.sql(&format!("INSERT INTO canary (marker, row_no) VALUES ('{marker}', {n})")).await;
    }
    database.sql("INSERT INTO canary (row_no) VALUES (5)").await;
    let others =
        ["canary__0123456789abcdef", "canary2", "canary__0123456789abcdef0", "xcanary", "canary__backup", "Canary"];
    for other in others {
        database.sql(&create(&format!("`{other}`"))).await;
        database.sql(&insert(&format!("`{other}`"), &values(&old))).await;
    }
    database.sql("ALTER TABLE canary__0123456789abcdef DROP COLUMN row_no").await;
    let swept = target.sweep(NOON.plus(Duration::from_secs(3600))).await.unwrap();
    assert_eq!(swept.removed, 40);
    assert_eq!(database.count("SELECT COUNT(*) FROM canary").await, 26);
    assert!(look(&target, &new).await.complete() && look(&target, &old).await.rows.nothing());
    for other in others {
        assert_eq!(database.count(&format!("SELECT COUNT(*) FROM `{other}`")).await, 20, "{other}");
    }
}

#[tokio::test]
async fn access_that_only_reads_is_proven_by_rows_of_young_runs_and_sweeps_nothing() {
    let Some(database) = database().await else { return };
    let target = MySql::at(&database.reader(), &database.platform(), "canary", Duration::from_secs(5)).unwrap();
    let target = target.controlled_by(ControlBy::Read);
    let (before, after) = (NOON.minus(Duration::from_secs(60)), NOON.plus(Duration::from_secs(60)));
    let unproven = |proven: Result<(), TargetError>| matches!(proven, Err(TargetError::Unproven { .. }));
    assert!(unproven(target.control_since(before).await), "no table yet");
    let run = run_at(Mode::Append, NOON);
    land(&database, &run).await;
    target.control_since(before).await.unwrap();
    target.control().await.unwrap();
    assert!(unproven(target.control_since(after).await), "the row is too old");
    database.sql("INSERT INTO canary (marker, row_no) VALUES ('lfzzz', 1), ('zz', 2)").await;
    assert!(unproven(target.control_since(after).await), "and these are no run's");
    let replaced = run_at(Mode::Replace, after.plus(Duration::from_secs(1)));
    let table = format!("canary__{}", replaced.route.id);
    database.sql(&format!("{}; {}", create(&table), insert(&table, &values(&replaced)))).await;
    target.control_since(after).await.unwrap();
    assert_eq!(target.sweep(after.plus(Duration::from_secs(3600))).await.unwrap().removed, 0);
    assert!(look(&target, &run).await.complete());
    assert_eq!(database.count("SELECT COUNT(*) FROM information_schema.tables WHERE table_name LIKE '%\\_\\_control' AND table_schema = DATABASE()").await, 0);
    database.sql("DROP TABLE canary; CREATE TABLE canary (id int)").await;
    let foreign = target.control_since(before).await;
    assert!(matches!(foreign, Err(TargetError::Foreign { .. })), "{foreign:?}");
}
