//! PostgreSQL as a target, on a real server.

use std::{sync::Arc, time::Duration};

use landfall::{
    agent::{Clock, sight::Sight},
    canary::{Mode, Rows, Run, Sighting, Timestamp, Value},
    target::{ControlBy, Target, TargetError, postgresql::PostgreSql},
};

use crate::fixtures::{
    postgres::{Database, Postgres, raw},
    rows::{NOON, create, insert, run, run_at, values},
};

async fn database() -> Database {
    Postgres::shared().database().await
}

fn target(database: &Database) -> PostgreSql {
    PostgreSql::at(&database.agent(), &database.platform(), "canary", Duration::from_secs(5)).unwrap()
}

/// The platform writes a run's rows as it should.
async fn land(database: &Database, run: &Run) {
    database.sql(&format!("{}; {}", create("canary"), insert("canary", &values(run)))).await;
}

async fn look(target: &PostgreSql, run: &Arc<Run>) -> Sighting {
    target.look(std::slice::from_ref(run)).await.unwrap().remove(0)
}

fn counts(seen: &Sighting) -> (u32, u32, u32, u32) {
    (seen.rows.right, seen.rows.missing, seen.rows.copies, seen.rows.changed)
}

#[tokio::test]
async fn rows_are_read_back_to_the_last_digit() {
    let (database, run, other) = (database().await, run(Mode::Append), run(Mode::Append));
    let target = target(&database);
    assert!(look(&target, &run).await.rows.nothing(), "no table yet");
    land(&database, &run).await;
    let seen = target.look(&[other, run]).await.unwrap();
    assert!(seen[0].rows.nothing());
    assert_eq!(seen[1].rows, Rows::all_right(20));
    assert!(seen[1].complete());
}

#[tokio::test]
async fn typed_columns_carry_the_same_rows() {
    let (database, run) = (database().await, run(Mode::Append));
    let table = "CREATE TABLE canary (\"extra\" int DEFAULT 7, marker varchar(40), row_no int, mix numeric, \
                 int_edge bigint, dec_text text, real_no float8, flag boolean, day date, at_time timestamptz, \
                 empty_text varchar, no_text varchar, hard_text text)";
    let names = "marker,row_no,mix,int_edge,dec_text,real_no,flag,day,at_time,empty_text,no_text,hard_text";
    let rows = insert("canary", &values(&run)).replacen("canary", &format!("canary ({names})"), 1);
    database.sql(&format!("SET DateStyle = 'German'; SET TimeZone = 'Asia/Tokyo'; {table}; {rows}")).await;
    assert_eq!(look(&target(&database), &run).await.rows, Rows::all_right(20));
}

#[tokio::test]
async fn null_and_the_empty_string_are_not_the_same() {
    let database = database().await;
    for (change, n) in [("no_text = ''", 20), ("empty_text = NULL", 20), ("hard_text = 'NULL'", 18)] {
        let run = run(Mode::Append);
        land(&database, &run).await;
        database.sql(&format!("UPDATE canary SET {change}")).await;
        assert_eq!(look(&target(&database), &run).await.rows.changed, n, "{change}");
    }
}

#[tokio::test]
async fn what_happens_to_rows_is_seen() {
    let database = database().await;
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
        ("DROP TABLE canary", (0, 20, 0, 0)),
        ("ALTER TABLE canary RENAME TO elsewhere", (0, 20, 0, 0)),
        ("ALTER TABLE canary DROP COLUMN hard_text", (0, 0, 0, 20)),
        ("ALTER TABLE canary RENAME COLUMN day TO days", (0, 0, 0, 20)),
        ("ALTER TABLE canary ADD COLUMN landed timestamptz DEFAULT now()", (20, 0, 0, 0)),
    ] {
        database.sql("DROP TABLE IF EXISTS canary, elsewhere").await;
        let run = run(Mode::Append);
        land(&database, &run).await;
        assert!(look(&target, &run).await.complete());
        database.sql(statement).await;
        assert_eq!(counts(&look(&target, &run).await), expected, "{statement}");
    }
}

#[tokio::test]
async fn a_table_that_is_not_a_canarys_is_refused_and_left_alone() {
    let (database, run) = (database().await, run(Mode::Append));
    for table in ["(id int, name text)", "(marker text, name text)", "(row_no int)"] {
        database.sql(&format!("DROP TABLE IF EXISTS canary; CREATE TABLE canary {table}")).await;
        database.sql("INSERT INTO canary DEFAULT VALUES").await;
        let target = target(&database);
        let error = target.look(std::slice::from_ref(&run)).await.unwrap_err();
        assert!(matches!(&error, TargetError::Foreign { detail } if detail.contains("`canary`")), "{error}");
        assert_eq!(target.sweep(Timestamp::from_secs(4_000_000_000)).await.unwrap().removed, 0);
        assert_eq!(database.count("SELECT count(*) FROM canary").await, 1);
    }
    database.sql("DROP TABLE canary; CREATE TABLE canary__control (id int)").await;
    assert!(matches!(target(&database).control().await, Err(TargetError::Foreign { .. } | TargetError::Denied { .. })));
}

#[tokio::test]
async fn a_locked_table_is_told_and_not_waited_for() {
    let (database, run) = (database().await, run(Mode::Append));
    land(&database, &run).await;
    let target = PostgreSql::at(&database.agent(), &database.platform(), "canary", Duration::from_millis(300)).unwrap();
    let mut other = database.session().await;
    raw(&mut other, "BEGIN; LOCK TABLE canary IN ACCESS EXCLUSIVE MODE").await;
    let error = target.look(std::slice::from_ref(&run)).await.unwrap_err();
    assert!(matches!(&error, TargetError::Unreachable { detail } if detail.starts_with("locked")), "{error}");
    target.control().await.unwrap();
    raw(&mut other, "ROLLBACK").await;
    assert!(look(&target, &run).await.complete());
}

#[tokio::test]
async fn a_table_in_trouble_blinds_only_its_own_routes() {
    let (database, appended, replaced) = (database().await, run(Mode::Append), run(Mode::Replace));
    land(&database, &appended).await;
    let target = Arc::new(target(&database));
    let sight = Sight::open(Arc::clone(&target) as Arc<dyn Target>, Clock::System, std::time::Duration::ZERO);
    let table = target.apart(&replaced).unwrap();
    let look = |run: &Arc<Run>| sight.look(Arc::clone(run), &Clock::System);

    database.sql(&format!("CREATE TABLE \"{table}\" (id int)")).await;
    let (seen, blind) = tokio::join!(look(&appended), look(&replaced));
    assert!(seen.found.unwrap().complete());
    assert!(blind.found.unwrap_err().contains("not a canary's"));

    database.sql(&format!("DROP TABLE \"{table}\"; {}", create(&table))).await;
    let mut other = database.session().await;
    raw(&mut other, &format!("BEGIN; LOCK TABLE \"{table}\" IN ACCESS EXCLUSIVE MODE")).await;
    let (seen, blind) = tokio::join!(look(&appended), look(&replaced));
    assert!(seen.found.unwrap().complete());
    assert!(blind.found.unwrap_err().contains("locked"));
    raw(&mut other, "ROLLBACK").await;
    assert!(look(&replaced).await.found.unwrap().rows.nothing());
}

#[tokio::test]
async fn a_wrong_password_is_denied_and_not_repeated() {
    let database = database().await;
    for url in [database.url("agent", "hunter2"), database.url("nobody-known", "hunter2")] {
        let target = PostgreSql::at(&url, &url, "canary", Duration::from_secs(5)).unwrap();
        let run = run(Mode::Append);
        for error in [target.look(&[run]).await.unwrap_err(), target.control().await.unwrap_err()] {
            assert!(matches!(error, TargetError::Denied { .. }), "{error}");
            assert!(!format!("{error} {error:?} {target:?}").contains("hunter2"));
        }
    }
}

#[tokio::test]
async fn a_table_that_may_not_be_read_is_denied() {
    let (database, run) = (database().await, run(Mode::Append));
    land(&database, &run).await;
    database.sql("REVOKE ALL ON canary FROM agent").await;
    assert!(matches!(target(&database).look(&[run]).await, Err(TargetError::Denied { .. })));
}

#[tokio::test]
async fn a_stopped_server_is_unreachable_and_seen_again_when_it_is_back() {
    let server = Arc::new(Postgres::start());
    let (database, run) = (server.database().await, run(Mode::Append));
    land(&database, &run).await;
    let target = target(&database);
    assert!(look(&target, &run).await.complete());
    target.control().await.unwrap();
    server.stop();
    for _ in 0..2 {
        let looked = target.look(std::slice::from_ref(&run)).await;
        assert!(matches!(looked, Err(TargetError::Unreachable { .. })), "{looked:?}");
        assert!(matches!(target.control().await, Err(TargetError::Unreachable { .. })));
    }
    server.run();
    assert!(look(&target, &run).await.complete());
    // Restarted between two looks: the kept connection is dead, the server is not.
    server.stop();
    server.run();
    assert!(look(&target, &run).await.complete());
    target.control().await.unwrap();
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_given_up() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("postgresql://u:p@{}/d", silent.local_addr().unwrap());
    let target = PostgreSql::at(&url, &url, "canary", Duration::from_millis(200)).unwrap();
    assert!(matches!(target.look(&[run(Mode::Append)]).await, Err(TargetError::Unreachable { .. })));
}

#[tokio::test]
async fn rows_of_an_earlier_run_are_strangers_where_only_ours_may_stand() {
    let database = database().await;
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
async fn a_hundred_runs_of_every_mode_are_one_read() {
    let database = database().await;
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
    asked.push(asked[5].clone());
    let seen = target.look(&asked).await.unwrap();
    assert_eq!(seen.len(), 103);
    assert!(seen[0].rows.nothing() && seen[101].rows.nothing());
    let complete = |at: &usize| seen[*at].complete();
    assert!((1..101).chain([102]).all(|at| complete(&at)));
}

#[tokio::test]
async fn any_number_of_rows_and_any_length_under_our_marker_is_bounded() {
    let (database, run) = (database().await, run(Mode::Append));
    land(&database, &run).await;
    let marker = run.marker;
    database
        .sql(&format!(
            "INSERT INTO canary (marker, row_no) SELECT '{marker}', n FROM generate_series(1, 50000) AS n; \
             UPDATE canary SET hard_text = repeat('x', 20000000) WHERE row_no = 7 AND mix IS NOT NULL"
        ))
        .await;
    let seen = look(&target(&database), &run).await;
    assert!(seen.rows.copies + seen.rows.changed > 0 && seen.rows.copies < 200, "{:?}", counts(&seen));
    let longest = seen.rows.examples.iter().map(|example| example.found.len()).max();
    assert!(longest.unwrap_or_default() < 1000);
}

#[tokio::test]
async fn a_control_writes_and_reads_a_row_of_its_own_and_keeps_few() {
    let database = database().await;
    let target = target(&database);
    target.control().await.unwrap();
    target.control().await.unwrap();
    assert_eq!(database.count("SELECT count(*) FROM canary__control").await, 2);
    database.root("UPDATE canary__control SET at = now() - interval '1 hour'").await;
    database.root("INSERT INTO canary__control VALUES ('somebody else''s', '1999-01-01')").await;
    target.control().await.unwrap();
    assert_eq!(database.count("SELECT count(*) FROM canary__control").await, 2);
    assert_eq!(database.count("SELECT count(*) FROM canary__control WHERE at < '2000-01-01'").await, 1);
}

#[tokio::test]
async fn a_control_that_may_not_make_its_table_says_what_to_do() {
    let database = database().await;
    database.root("REVOKE CREATE ON SCHEMA public FROM agent").await;
    let target = target(&database);
    let error = target.control().await.unwrap_err();
    assert!(matches!(&error, TargetError::Denied { detail } if detail.contains("canary__control")), "{error}");
    database.sql("CREATE TABLE canary__control (marker text, at timestamptz)").await;
    database.sql("GRANT INSERT ON canary__control TO agent").await;
    target.control().await.unwrap();
}

#[tokio::test]
async fn two_agents_may_make_the_control_table_at_once() {
    let database = database().await;
    let targets: Vec<_> = (0..4).map(|_| target(&database)).collect();
    let proven = futures_util::future::join_all(targets.iter().map(|target| target.control())).await;
    assert!(proven.iter().all(Result::is_ok), "{proven:?}");
}

#[tokio::test]
async fn a_sweep_removes_old_canary_rows_and_nothing_else() {
    let database = database().await;
    let target = target(&database);
    let (old, new) = (run_at(Mode::Append, NOON), run_at(Mode::Append, NOON.plus(Duration::from_secs(7200))));
    land(&database, &old).await;
    land(&database, &new).await;
    let replaced = run_at(Mode::Replace, NOON);
    let table = format!("canary__{}", replaced.route.id);
    database.sql(&format!("{}; {}", create(&table), insert(&table, &values(&replaced)))).await;
    // Rows and tables that only look like a canary's.
    for (marker, n) in [("lf", 1), ("LF00000000000000000000000000", 2), ("lfz0000000000000000000000000", 3), ("", 4)] {
        database.sql(&format!("INSERT INTO canary (marker, row_no) VALUES ('{marker}', {n})")).await;
    }
    database.sql("INSERT INTO canary (row_no) VALUES (5)").await;
    for other in ["canary__0123456789abcdef", "canary2", "canary__0123456789abcdef0", "xcanary", "canary__backup"] {
        database.sql(&create(other)).await;
        database.sql(&insert(other, &values(&old))).await;
    }
    database.sql("ALTER TABLE canary__0123456789abcdef DROP COLUMN row_no").await;
    let swept = target.sweep(NOON.plus(Duration::from_secs(3600))).await.unwrap();
    assert_eq!(swept.removed, 40);
    assert_eq!(database.count("SELECT count(*) FROM canary").await, 25);
    assert!(look(&target, &new).await.complete() && look(&target, &old).await.rows.nothing());
    for other in ["canary__0123456789abcdef", "canary2", "canary__0123456789abcdef0", "xcanary", "canary__backup"] {
        assert_eq!(database.count(&format!("SELECT count(*) FROM {other}")).await, 20, "{other}");
    }
}

#[tokio::test]
async fn names_with_quotes_in_them_are_only_names() {
    let (database, run) = (database().await, run(Mode::Append));
    land(&database, &run).await;
    let name = "x\"; DROP TABLE canary; --'";
    let target = PostgreSql::at(&database.agent(), &database.platform(), name, Duration::from_secs(5)).unwrap();
    assert!(look(&target, &run).await.rows.nothing());
    target.control().await.unwrap();
    target.sweep(NOON).await.unwrap();
    let quoted = format!("\"{}\"", name.replace('"', "\"\""));
    database.sql(&format!("{}; {}", create(&quoted), insert(&quoted, &values(&run)))).await;
    assert!(look(&target, &run).await.complete());
    assert_eq!(database.count("SELECT count(*) FROM canary").await, 20);
}

#[tokio::test]
async fn access_that_only_reads_is_proven_by_rows_of_young_runs_and_sweeps_nothing() {
    let database = database().await;
    let target = target(&database).controlled_by(ControlBy::Read);
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
    assert_eq!(database.count("SELECT count(*) FROM pg_class WHERE relname = 'canary__control'").await, 0);
    database.sql("DROP TABLE canary; CREATE TABLE canary (id int)").await;
    let foreign = target.control_since(before).await;
    assert!(matches!(foreign, Err(TargetError::Foreign { .. })), "{foreign:?}");
}

/// What is no truncating of a table but another table of its name: the rows are right, and whoever relies
/// on its columns is not served.
#[tokio::test]
async fn a_table_that_truncating_gave_other_columns_is_changed_and_the_next_run_is_not() {
    let database = database().await;
    let target = target(&database);
    let at = |n: u64| run_at(Mode::Truncate, NOON.plus(Duration::from_secs(60 * n)));
    let (first, second, third) = (at(0), at(1), at(2));
    let table = target.address(&first).place;
    let old = create(&table).replace("row_no BIGINT", "row_no NUMERIC(9)");
    assert_ne!(old, create(&table));
    database.sql(&format!("{old}; {}", insert(&table, &values(&first)))).await;
    assert!(look(&target, &first).await.complete());
    database.sql(&format!("DROP TABLE {table}; {}; {}", create(&table), insert(&table, &values(&second)))).await;
    for _ in 0..2 {
        let seen = look(&target, &second).await;
        assert_eq!((seen.rows.right, seen.rows.changed), (19, 1), "as often as it is asked");
        let told = &seen.rows.examples[0];
        assert_eq!((&*told.expected, &*told.found), ("row_no numeric(9,0)", "row_no bigint"), "{told:?}");
    }
    database.sql(&format!("TRUNCATE TABLE {table}; {}", insert(&table, &values(&third)))).await;
    assert!(look(&target, &third).await.complete());
    // Nor is one whose table somebody else changes when it has landed.
    database.sql(&format!("ALTER TABLE {table} ADD COLUMN late INT DEFAULT 1")).await;
    assert!(look(&target, &third).await.complete());
}

#[tokio::test]
async fn what_is_typed_by_hand_reads_what_a_look_reads() {
    let (database, appended, replaced) = (database().await, run(Mode::Append), run(Mode::Replace));
    let target = target(&database);
    let password = database.agent().split([':', '@']).nth(2).unwrap().to_owned();
    for (run, others) in [(&appended, false), (&replaced, true)] {
        let table = format!("\"{}\"", target.address(run).place);
        let rows = [values(run), values(&run_at(run.route.mode, NOON))].concat();
        database.sql(&format!("{}; {}", create(&table), insert(&table, &rows))).await;
        assert_eq!(look(&target, run).await.rows.right, 20);
        let typed = target.by_hand(run).expect("a table can be read");
        assert!(!typed.contains(&password), "{typed}");
        let read = std::process::Command::new("sh").args(["-c", &typed]).env("PGPASSWORD", &password).output().unwrap();
        let (read, said) = (String::from_utf8_lossy(&read.stdout), String::from_utf8_lossy(&read.stderr));
        assert!(read.contains("(20 rows)") && read.contains("hard_text"), "{typed}\n{read}{said}");
        // Where only one run's rows may stand, whose do is read too.
        assert_eq!(read.contains("(2 rows)"), others, "{typed}\n{read}{said}");
    }
}
