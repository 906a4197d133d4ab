//! What the driver reads: every value to the last digit, and what became of rows.

use std::{sync::Arc, time::Duration};

use landfall::{
    canary::{Mode, Rows, Value},
    target::{Target, mysql::MySql},
};

use super::{counts, database, land, look, target};
use crate::fixtures::{
    mariadb::{create, insert},
    rows::{NOON, run, run_at, values},
};

#[tokio::test]
async fn rows_are_read_back_to_the_last_digit() {
    let Some(database) = database().await else { return };
    let (run, other) = (run(Mode::Append), run(Mode::Append));
    let target = target(&database);
    assert!(look(&target, &run).await.rows.nothing(), "no table yet");
    land(&database, &run).await;
    let seen = target.look(&[other, run]).await.unwrap();
    assert!(seen[0].rows.nothing());
    assert_eq!(seen[1].rows, Rows::all_right(20));
    assert!(seen[1].complete());
}

/// The times of a sample as a column without zone has them, in UTC.
fn without_zone(rows: Vec<Vec<Value<'static>>>) -> Vec<Vec<Value<'static>>> {
    let in_utc = |value: Value<'static>| match value {
        Value::Text("2015-08-24T14:44:00-07:00") => Value::Text("2015-08-24 21:44:00"),
        Value::Text("1970-01-01T00:00:00Z") => Value::Text("1970-01-01 00:00:00"),
        Value::Text("2016-12-31T23:59:59.999Z") => Value::Text("2016-12-31 23:59:59.999"),
        Value::Text("2015-08-24T21:44:00.123456Z") => Value::Text("2015-08-24 21:44:00.123456"),
        Value::Text("2012-02-29T12:00:00+05:45") => Value::Text("2012-02-29 06:15:00"),
        other => other,
    };
    rows.into_iter().map(|row| row.into_iter().map(in_utc).collect()).collect()
}

#[tokio::test]
async fn typed_columns_carry_the_same_rows() {
    for flag in ["BIT(1)", "TINYINT(1)", "VARCHAR(5)"] {
        let Some(database) = database().await else { return };
        let run = run(Mode::Append);
        let table = format!(
            "CREATE TABLE canary (extra INT DEFAULT 7, MARKER VARCHAR(40), row_no INT, mix \
             DECIMAL(30), int_edge BIGINT, dec_text TEXT, real_no DOUBLE, flag {flag}, day DATE, at_time DATETIME(6), \
             empty_text VARCHAR(10), no_text CHAR(10), hard_text LONGTEXT)"
        );
        let names = "marker,row_no,mix,int_edge,dec_text,real_no,flag,day,at_time,empty_text,no_text,hard_text";
        let rows = insert("canary", &without_zone(values(&run))).replacen("canary", &format!("canary ({names})"), 1);
        // The zone of whoever writes means nothing to a DATETIME.
        database.sql(&format!("SET time_zone = '-05:00'; {table}; {rows}")).await;
        assert_eq!(look(&target(&database), &run).await.rows, Rows::all_right(20), "{flag}");
    }
}

#[tokio::test]
async fn a_timestamp_column_is_read_in_utc_and_cannot_hold_the_first_second_of_1970() {
    let Some(database) = database().await else { return };
    let run = run(Mode::Append);
    let table = create("canary").replace("at_time TEXT", "at_time TIMESTAMP(6) NULL");
    let rows = insert("canary", &without_zone(values(&run)));
    database.sql(&format!("SET sql_mode = ''; SET time_zone = '+00:00'; {table}; {rows}")).await;
    let seen = look(&target(&database), &run).await;
    assert_eq!(counts(&seen), (16, 0, 0, 4), "{:?}", seen.rows.examples);
    assert!(seen.rows.examples.iter().all(|example| example.column == "at_time" && example.row % 5 == 1));
}

#[tokio::test]
async fn null_and_the_empty_string_are_not_the_same() {
    let Some(database) = database().await else { return };
    for (change, n) in [("no_text = ''", 20), ("empty_text = NULL", 20), ("hard_text = 'NULL'", 18)] {
        let run = run(Mode::Append);
        land(&database, &run).await;
        database.sql(&format!("UPDATE canary SET {change}")).await;
        assert_eq!(look(&target(&database), &run).await.rows.changed, n, "{change}");
    }
}

#[tokio::test]
async fn what_happens_to_rows_is_seen() {
    let Some(database) = database().await else { return };
    let target = target(&database);
    for (statement, expected) in [
        ("DELETE FROM canary WHERE row_no = 3", (19, 1, 0, 0)),
        ("DELETE FROM canary", (0, 20, 0, 0)),
        ("TRUNCATE canary", (0, 20, 0, 0)),
        ("INSERT INTO canary SELECT * FROM canary", (20, 0, 20, 0)),
        ("INSERT INTO canary SELECT * FROM canary WHERE row_no < 2", (20, 0, 2, 0)),
        ("UPDATE canary SET mix = mix + 1 WHERE row_no IN (1, 2)", (18, 0, 0, 2)),
        ("UPDATE canary SET real_no = real_no * (1 + 1e-15) WHERE row_no = 0", (19, 0, 0, 1)),
        ("UPDATE canary SET row_no = row_no + 1", (0, 0, 0, 20)),
        ("UPDATE canary SET marker = UPPER(marker)", (0, 20, 0, 0)),
        ("DROP TABLE canary", (0, 20, 0, 0)),
        ("ALTER TABLE canary RENAME TO elsewhere", (0, 20, 0, 0)),
        ("ALTER TABLE canary DROP COLUMN hard_text", (0, 0, 0, 20)),
        ("ALTER TABLE canary CHANGE day days TEXT", (0, 0, 0, 20)),
        ("ALTER TABLE canary ADD COLUMN landed TIMESTAMP DEFAULT CURRENT_TIMESTAMP", (20, 0, 0, 0)),
        // Types that cannot hold what comes: a text cut to 255 characters, no characters beyond the first
        // plane, doubles of four bytes.
        ("SET sql_mode = ''; ALTER TABLE canary MODIFY hard_text VARCHAR(255)", (19, 0, 0, 1)),
        ("SET sql_mode = ''; ALTER TABLE canary CONVERT TO CHARACTER SET utf8mb3", (18, 0, 0, 2)),
        ("SET sql_mode = ''; ALTER TABLE canary MODIFY hard_text TEXT CHARACTER SET latin1", (16, 0, 0, 4)),
        ("ALTER TABLE canary CONVERT TO CHARACTER SET utf16", (20, 0, 0, 0)),
        ("ALTER TABLE canary MODIFY marker VARBINARY(40), ENGINE = MyISAM", (20, 0, 0, 0)),
    ] {
        database.sql("DROP TABLE IF EXISTS canary, elsewhere").await;
        let run = run(Mode::Append);
        land(&database, &run).await;
        assert!(look(&target, &run).await.complete());
        database.sql(statement).await;
        let seen = look(&target, &run).await;
        assert_eq!(counts(&seen), expected, "{statement}: {:?}", seen.rows.examples);
    }
}

#[tokio::test]
async fn rows_of_an_earlier_run_are_strangers_where_only_ours_may_stand() {
    let Some(database) = database().await else { return };
    let target = target(&database);
    let (old, new) = (run_at(Mode::Replace, NOON), run_at(Mode::Replace, NOON.plus(Duration::from_secs(60))));
    let table = format!("canary__{}", old.route.id);
    assert!(target.address(&old).shown.contains(&format!("/{table}?mode=replace")));
    assert!(look(&target, &new).await.rows.nothing(), "no table yet");
    database.sql(&format!("{}; {}", create(&table), insert(&table, &values(&old)))).await;
    assert!(look(&target, &old).await.complete());
    let seen = look(&target, &new).await;
    assert_eq!((seen.rows.missing, &seen.strangers), (20, &vec![old.marker]));
    database.sql(&insert(&table, &values(&new))).await;
    let seen = look(&target, &new).await;
    assert!(seen.rows.complete() && !seen.complete());
    database.sql(&format!("DELETE FROM {table} WHERE marker = '{}'", old.marker)).await;
    let seen = target.look(&[old, new]).await.unwrap();
    assert!(seen[0].rows.nothing() && seen[0].strangers.is_empty(), "a later run is where it should be");
    assert!(seen[1].complete());
}

#[tokio::test]
async fn a_hundred_runs_of_every_mode_are_one_look() {
    let Some(database) = database().await else { return };
    let target = target(&database);
    let appended: Vec<_> = (0..100).map(|_| run(Mode::Append)).collect();
    let mut rows: Vec<Vec<Value>> = appended.iter().skip(1).flat_map(|run| values(run)).collect();
    fastrand::shuffle(&mut rows);
    database.sql(&format!("{}; {}", create("canary"), insert("canary", &rows))).await;
    let replaced = run(Mode::Replace);
    let table = format!("canary__{}", replaced.route.id);
    database.sql(&format!("{}; {}", create(&table), insert(&table, &values(&replaced)))).await;
    let mut asked = appended;
    asked.push(replaced);
    asked.push(run(Mode::Truncate));
    asked.push(Arc::clone(&asked[5]));
    let seen = target.look(&asked).await.unwrap();
    assert_eq!(seen.len(), 103);
    assert!(seen[0].rows.nothing() && seen[101].rows.nothing());
    assert!((1..101).chain([102]).all(|at| seen[at].complete()));
}

#[tokio::test]
async fn any_number_of_rows_and_any_length_under_our_marker_is_bounded() {
    let Some(database) = database().await else { return };
    let run = run(Mode::Append);
    land(&database, &run).await;
    let marker = run.marker;
    database
        .sql(&format!(
            "INSERT INTO canary (marker, row_no) SELECT '{marker}', seq FROM seq_1_to_50000; \
             ALTER TABLE canary MODIFY hard_text LONGTEXT; \
             UPDATE canary SET hard_text = REPEAT('x', 10000000) WHERE row_no = 7 AND mix IS NOT NULL"
        ))
        .await;
    let seen = look(&target(&database), &run).await;
    assert!(seen.rows.copies + seen.rows.changed > 0 && seen.rows.copies < 200, "{:?}", counts(&seen));
    let longest = seen.rows.examples.iter().map(|example| example.found.len()).max();
    assert!(longest.unwrap_or_default() < 1000);
}

#[tokio::test]
async fn names_with_quotes_in_them_are_only_names() {
    let Some(database) = database().await else { return };
    let run = run(Mode::Append);
    land(&database, &run).await;
    let name = "x`; DROP TABLE canary; --'\"\\";
    let target = MySql::at(&database.agent(), &database.platform(), name, Duration::from_secs(5)).unwrap();
    assert!(look(&target, &run).await.rows.nothing());
    target.control().await.unwrap();
    target.sweep(NOON).await.unwrap();
    let quoted = format!("`{}`", name.replace('`', "``"));
    database.sql(&create(&quoted)).await;
    // `insert` doubles backslashes, in names too.
    database.sql(&insert("xx", &values(&run)).replacen("xx", &quoted, 1)).await;
    assert!(look(&target, &run).await.complete());
    assert_eq!(database.count("SELECT COUNT(*) FROM canary").await, 20);
}

/// What is no truncating of a table but another table of its name: the rows are right, and whoever relies
/// on its columns is not served.
#[tokio::test]
async fn a_table_that_truncating_gave_other_columns_is_changed_and_the_next_run_is_not() {
    let Some(database) = database().await else { return };
    let target = target(&database);
    let at = |n: u64| run_at(Mode::Truncate, NOON.plus(Duration::from_secs(60 * n)));
    let (first, second, third) = (at(0), at(1), at(2));
    let table = target.address(&first).place;
    let wide = create(&table).replacen("marker ", "note VARCHAR(9) DEFAULT 'ours', marker ", 1);
    let names = "marker,row_no,mix,int_edge,dec_text,real_no,flag,day,at_time,empty_text,no_text,hard_text";
    let rows = insert(&table, &values(&first)).replacen(&table, &format!("{table} ({names})"), 1);
    database.sql(&format!("{wide}; {rows}")).await;
    assert!(look(&target, &first).await.complete());
    database.sql(&format!("DROP TABLE {table}; {}; {}", create(&table), insert(&table, &values(&second)))).await;
    for _ in 0..2 {
        let seen = look(&target, &second).await;
        assert_eq!(counts(&seen), (19, 0, 0, 1), "as often as it is asked");
        let told = &seen.rows.examples[0];
        assert_eq!((&*told.expected, &*told.found), ("note varchar(9)", "nothing else"), "{told:?}");
    }
    database.sql(&format!("TRUNCATE TABLE {table}; {}", insert(&table, &values(&third)))).await;
    assert!(look(&target, &third).await.complete());
    // Nor is one whose table somebody else changes when it has landed.
    database.sql(&format!("ALTER TABLE {table} ADD COLUMN late INT DEFAULT 1")).await;
    assert!(look(&target, &third).await.complete());
}

#[tokio::test]
async fn what_is_typed_by_hand_reads_what_a_look_reads() {
    let Some(database) = database().await else { return };
    let (run, other) = (run(Mode::Append), run(Mode::Append));
    let target = target(&database);
    land(&database, &run).await;
    database.sql(&insert("canary", &values(&other))).await;
    let typed = target.by_hand(&run).expect("a table can be read");
    let (command, statements) = typed.split_once(" <<'END'\n").expect("statements are fed to the client");
    assert_eq!(command.split(' ').next(), Some("mysql"));
    let statement = statements.split(';').next().expect("one");
    database.sql(&format!("CREATE TABLE seen AS {statement}")).await;
    let seen = MySql::at(&database.agent(), &database.platform(), "seen", Duration::from_secs(5)).expect("a place");
    let seen = seen.look(&[run, other]).await.expect("readable");
    assert_eq!((seen[0].rows.right, seen[1].rows.missing), (20, 20), "{typed}");
}
