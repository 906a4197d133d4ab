//! The engine answers common queries and lets nothing out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::{fence::Context, *};
use crate::canary::Timestamp;

const NOW: Timestamp = Timestamp::from_secs(1_440_452_640);

struct House {
    warehouse: Warehouse,
    _folder: tempfile::TempDir,
}

fn row(pairs: &[(&str, Value)]) -> Vec<(String, Value)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// A database `one` with a table `people` of three rows, and an empty database `two`.
fn house() -> House {
    let folder = tempfile::tempdir().expect("a folder");
    let warehouse = Warehouse::new(folder.path().to_owned());
    warehouse.create_database("one", NOW).expect("made");
    warehouse.create_database("two", NOW).expect("made");
    warehouse.create_table("one", "people", Vec::new(), NOW).expect("made");
    let rows = vec![
        row(&[
            ("time", Value::Int(100)),
            ("name", text("ada")),
            ("score", Value::Float(1.5)),
            ("n", Value::Int(i64::MIN)),
        ]),
        row(&[
            ("time", Value::Int(200)),
            ("name", text("it's \u{1F426}")),
            ("score", Value::Null),
            ("n", Value::Int(2)),
        ]),
        row(&[("time", Value::Int(300)), ("name", text("")), ("n", Value::Null), ("late", text("x"))]),
    ];
    let import = Import { rows, bytes: 10, unique_id: Some("once".to_owned()) };
    assert_eq!(warehouse.import("one", "people", &import, NOW), Ok(true));
    assert_eq!(warehouse.import("one", "people", &import, NOW), Ok(false));
    House { warehouse, _folder: folder }
}

impl House {
    fn ask_in(&self, dialect: Dialect, query: &str) -> Result<Rowset, QueryError> {
        let context = Context { scheduled_time: 1_440_000_000, now: 1_440_452_640 };
        let limits = Limits { time: Duration::from_millis(300), bytes: 1 << 20 };
        self.warehouse.query("one", query, dialect, context, limits, &Arc::default())
    }

    fn ask(&self, query: &str) -> Result<Rowset, QueryError> {
        self.ask_in(Dialect::Presto, query)
    }

    fn one(&self, query: &str) -> Value {
        let rowset = self.ask(query).unwrap_or_else(|error| panic!("{query}: {error}"));
        rowset.rows[0][0].clone()
    }
}

#[test]
fn imported_rows_are_read_with_their_types() {
    let house = house();
    let rowset = house.ask("SELECT name, score, n, late FROM one.people ORDER BY time").expect("rows");
    let types: Vec<_> = rowset.columns.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
    assert_eq!(types, [("name", Type::Text), ("score", Type::Double), ("n", Type::Long), ("late", Type::Text)]);
    assert_eq!(rowset.rows[0], [text("ada"), Value::Float(1.5), Value::Int(i64::MIN), Value::Null]);
    assert_eq!(rowset.rows[2], [text(""), Value::Null, Value::Null, text("x")]);
    assert_eq!(house.one("select count(1) from people"), Value::Int(3));
}

#[test]
fn columns_without_a_name_are_called_as_the_engines_call_them() {
    let house = house();
    let names = |dialect| {
        let rowset = house.ask_in(dialect, "SELECT count(1), 1 + 1 AS two, 'a' FROM people").expect("rows");
        rowset.columns.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names(Dialect::Presto), ["_col0", "two", "_col2"]);
    assert_eq!(names(Dialect::Hive), ["_c0", "two", "_c2"]);
    let named = house.ask("SELECT 1 AS \"count(1)\"").expect("rows");
    assert_eq!(named.columns[0].0, "count(1)");
}

#[test]
fn common_queries_of_presto_and_hive_run() {
    let house = house();
    for (query, value) in [
        ("SELECT concat('a', 'b', cast(1 as varchar))", text("ab1")),
        ("SELECT concat('a', NULL)", Value::Null),
        ("SELECT cast('12' AS bigint) + 1", Value::Int(13)),
        ("SELECT TD_SCHEDULED_TIME()", Value::Int(1_440_000_000)),
        ("SELECT TD_TIME_FORMAT(TD_SCHEDULED_TIME(), 'yyyy-MM-dd HH:mm:ss', 'UTC')", text("2015-08-19 16:00:00")),
        ("SELECT TD_TIME_PARSE('2015-08-24 14:44:00', 'America/Los_Angeles')", Value::Int(1_440_452_640)),
        ("SELECT count(1) FROM people WHERE TD_TIME_RANGE(time, 100, 300)", Value::Int(2)),
        ("SELECT sum(n) FROM (VALUES (1, 'a'), (2, 'b')) AS t(n, name)", Value::Int(3)),
        ("SELECT count(*) FROM UNNEST(sequence(1, 20)) AS t(n)", Value::Int(20)),
        ("SELECT max(n) FROM (SELECT 1 AS one) CROSS JOIN UNNEST(ARRAY[3, 5]) AS t (n)", Value::Int(5)),
        ("WITH t AS (SELECT 1 AS a) SELECT if(a = 1, 'yes', 'no') FROM t", text("yes")),
        ("SELECT approx_distinct(name) FROM people", Value::Int(3)),
        ("SELECT greatest(1, 3, 2)", Value::Int(3)),
        ("SELECT least(2, 1, 3)", Value::Int(1)),
        ("SELECT split_part('a,b', ',', 2)", text("b")),
        ("SELECT date '2015-08-24'", text("2015-08-24")),
        ("SELECT power(2, 10)", Value::Float(1024.0)),
        ("SELECT mod(7, 4)", Value::Int(3)),
        ("VALUES (7)", Value::Int(7)),
    ] {
        assert_eq!(house.one(query), value, "{query}");
    }
    let hive =
        house.ask_in(Dialect::Hive, r#"SELECT "it's", 'back\\slash', `name` FROM people LIMIT 1"#).expect("rows");
    assert_eq!(hive.rows[0], [text("it's"), text("back\\slash"), text("ada")]);
}

#[test]
fn writes_go_into_tables_of_the_account() {
    let house = house();
    house.ask("CREATE TABLE two.copy AS SELECT name, n FROM people").expect("made");
    house.ask("INSERT INTO two.copy (n) VALUES (9)").expect("added");
    assert_eq!(house.one("SELECT count(1) FROM two.copy"), Value::Int(4));
    house.ask("INSERT OVERWRITE TABLE two.copy SELECT name, n FROM people WHERE n = 2").expect("replaced");
    assert_eq!(house.one("SELECT count(1) FROM two.copy"), Value::Int(1));
    house.ask("DROP TABLE two.copy").expect("gone");
    assert!(house.ask("SELECT * FROM two.copy").is_err());
}

#[test]
fn rows_are_deleted_by_presto_where_it_is_said_which() {
    let house = house();
    let left = || house.one("SELECT count(1) FROM people");
    for not in [
        "DELETE FROM people",
        "DELETE FROM people WHERE (",
        "DELETE people WHERE 1 = 1",
        "DELETE FROM none WHERE 1 = 1",
    ] {
        assert!(house.ask(not).is_err(), "{not}");
    }
    assert!(house.ask_in(Dialect::Hive, "DELETE FROM people WHERE name = 'ada'").is_err());
    assert_eq!(left(), Value::Int(3));
    assert_eq!(house.one("DELETE FROM one.people WHERE name IN ('ada', 'nobody') AND time < 200"), Value::Int(1));
    assert_eq!((left(), house.warehouse.show_table("one", "people").expect("there").count), (Value::Int(2), 2));
}

#[test]
fn an_unknown_table_is_named() {
    let error = house().ask("SELECT * FROM nowhere").expect_err("no such table");
    assert!(error.to_string().contains("nowhere"), "{error}");
}

#[test]
fn nothing_but_reads_passes_the_fence() {
    let house = house();
    for query in [
        "ATTACH DATABASE '/etc/passwd' AS pw",
        "DETACH one",
        "PRAGMA table_info(people)",
        "DELETE FROM people",
        "UPDATE people SET n = 1",
        "CREATE TRIGGER t AFTER INSERT ON people BEGIN SELECT 1; END",
        "CREATE VIEW v AS SELECT 1",
        "CREATE VIRTUAL TABLE v USING fts5(a)",
        "VACUUM INTO '/tmp/x'",
        "DROP VIEW v",
        "BEGIN",
        "EXPLAIN SELECT 1",
        "SELECT load_extension('x.so')",
        "SELECT * FROM pragma_database_list",
        "WITH t AS (SELECT 1) DELETE FROM people",
        "WITH t AS (SELECT 1) INSERT INTO people SELECT 1",
        "SELECT 1; DROP TABLE people",
        "SELECT writefile('/tmp/x', 'y')",
        "SELECT readfile('/etc/passwd')",
        "SELECT fts3_tokenizer('simple')",
        "INSERT INTO people SELECT * FROM nowhere",
    ] {
        assert!(house.ask(query).is_err(), "{query}");
    }
    assert_eq!(house.one("SELECT count(1) FROM people"), Value::Int(3));
}

#[test]
fn a_query_without_end_is_stopped_and_so_is_one_that_was_killed() {
    let house = house();
    let endless = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t";
    assert_eq!(house.ask(endless), Err(QueryError::TooLong(300)));
    let stop = Arc::new(AtomicBool::new(false));
    stop.store(true, Ordering::Relaxed);
    let context = Context { scheduled_time: 0, now: 0 };
    let stopped = house.warehouse.query("one", endless, Dialect::Presto, context, Limits::default(), &stop);
    assert_eq!(stopped, Err(QueryError::Stopped));
}

#[test]
fn a_query_that_builds_too_much_is_stopped() {
    let house = house();
    for query in [
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT n, 'some text to be kept' FROM t",
        "SELECT zeroblob(1000000000)",
        "SELECT replace(hex(zeroblob(2000000)), '0', '0123456789')",
        "SELECT printf('%.*c', 100000000, 'x')",
        "SELECT group_concat(hex(zeroblob(1000000))) FROM UNNEST(sequence(1, 100)) AS t(n)",
        "SELECT sequence(1, 1000000000)",
    ] {
        assert!(house.ask(query).is_err(), "{query}");
    }
}

#[test]
fn tables_are_swapped_renamed_and_given_other_columns() {
    let House { warehouse, _folder } = house();
    warehouse.create_table("one", "other", Vec::new(), NOW).expect("made");
    warehouse.swap("one", "people", "other").expect("swapped");
    assert_eq!(warehouse.show_table("one", "other").map(|table| table.count), Ok(3));
    assert_eq!(
        warehouse.rename("one", "other", "people", false),
        Err(WarehouseError::TableExists("people".to_owned()))
    );
    warehouse.rename("one", "other", "people", true).expect("renamed");
    let column = |name: &str, kind: &str| Column { name: name.to_owned(), kind: kind.to_owned(), alias: None };
    warehouse.set_columns("one", "people", vec![column("n", "string"), column("new", "long")], NOW).expect("set");
    let tail = warehouse.tail("one", "people", 2).expect("rows");
    assert_eq!(tail.rows, [[text("2"), Value::Null, Value::Int(200)], [Value::Null, Value::Null, Value::Int(300)]]);
    assert!(warehouse.set_columns("one", "people", vec![column("time", "long")], NOW).is_err());
}

#[test]
fn names_that_are_no_names_are_refused() {
    let House { warehouse, _folder } = house();
    for name in ["a", "UPPER", "with space", "../../etc", "a'; drop", "", "main", "temp", "sqlite_x", &"x".repeat(257)]
    {
        assert!(matches!(warehouse.create_database(name, NOW), Err(WarehouseError::Name(_))), "{name}");
        assert!(matches!(warehouse.create_table("one", name, Vec::new(), NOW), Err(WarehouseError::Name(_))), "{name}");
    }
    assert_eq!(warehouse.create_database("one", NOW), Err(WarehouseError::DatabaseExists("one".to_owned())));
}
