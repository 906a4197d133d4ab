//! Queries that read tables back, plain enough for Hive, Presto and Trino alike.

use serde_json::Value as Json;

use crate::canary::{Marker, Timestamp, run::Columns, sample::COLUMNS};

/// Characters read of a value: no value of a sample is nearly as long.
const LONGEST: usize = 4096;
/// Other runs' markers read from a table in which only ours may stand.
const STRANGERS_READ: usize = 16;

/// Which of a run's columns a table has, each with its type there. Tables of one shape are read by one
/// query.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shape(Vec<(&'static str, String)>);

impl Shape {
    /// From a table as the API shows it.
    pub(super) fn of(table: &Json, columns: &'static Columns) -> Self {
        let schema: Vec<Vec<String>> =
            table["schema"].as_str().and_then(|schema| serde_json::from_str(schema).ok()).unwrap_or_default();
        let kind = |name: &str| schema.iter().find(|column| column.first().is_some_and(|known| known == name))?.get(1);
        Self(columns.iter().filter_map(|column| Some((column.name, kind(column.name)?.clone()))).collect())
    }

    /// Every column of a run, whatever they are there.
    pub(super) fn every(columns: &'static Columns) -> Self {
        Self(columns.iter().map(|column| (column.name, String::new())).collect())
    }

    /// Whether rows can be told apart by it.
    pub(super) fn is_a_canarys(&self) -> bool {
        ["marker", "row_no"].iter().all(|name| self.names().any(|known| known == *name))
    }

    /// Nothing is declared: nothing was ever written.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it has every column.
    pub(super) fn is_whole(&self) -> bool {
        self.0.len() == COLUMNS.len()
    }

    /// The names of its columns, in the order in which queries select them.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|(name, _)| *name)
    }

    /// `name, …`, each as `of` has it.
    fn selected(&self, of: impl Fn(&'static str, &str) -> String) -> String {
        self.0.iter().map(|(name, kind)| of(name, kind)).collect::<Vec<_>>().join(", ")
    }

    fn list(&self) -> String {
        self.selected(|name, _| name.to_owned())
    }
}

/// A part of a query, with a number by which its rows are known.
#[derive(Clone, Debug)]
pub(super) enum Part<'a> {
    /// Rows of these runs, not more of each than change a verdict.
    Own { table: &'a str, markers: Vec<Marker>, enough: u32 },
    /// The newest markers of runs other than these, in a table where only one run's rows should be.
    Others { table: &'a str, than: Vec<Marker> },
}

fn list_of(markers: &[Marker]) -> String {
    markers.iter().map(|marker| format!("'{marker}'")).collect::<Vec<_>>().join(", ")
}

/// One query for all parts. Its rows begin with the number of their part.
pub(super) fn query(shape: &Shape, parts: &[Part<'_>]) -> String {
    let list = shape.list();
    let part = |(n, part): (usize, &Part<'_>)| match part {
        Part::Own { table, markers, enough } => {
            let cut = |name: &'static str, kind: &str| match (name, kind) {
                ("marker", _) => name.to_owned(),
                (_, "string") => format!("SUBSTR({name}, 1, {LONGEST}) AS {name}"),
                _ => name.to_owned(),
            };
            let markers = list_of(markers);
            format!(
                "SELECT {n} AS part, {list} FROM (SELECT {}, ROW_NUMBER() OVER (PARTITION BY marker) AS nth \
                 FROM {table} WHERE marker IN ({markers})) AS own{n} WHERE nth <= {enough}",
                shape.selected(cut)
            )
        }
        Part::Others { table, than } => {
            let than = list_of(than);
            let least = |name: &'static str, kind: &str| match (name, kind) {
                ("marker", _) => name.to_owned(),
                (_, "string") => format!("MIN(SUBSTR({name}, 1, 1)) AS {name}"),
                _ => format!("MIN({name}) AS {name}"),
            };
            format!(
                "SELECT {n} AS part, {list} FROM (SELECT {} FROM {table} WHERE marker LIKE 'lf%' \
                 AND marker NOT IN ({than}) GROUP BY marker ORDER BY marker DESC LIMIT {STRANGERS_READ}) AS others{n}",
                shape.selected(least)
            )
        }
    };
    parts.iter().enumerate().map(part).collect::<Vec<_>>().join(" UNION ALL ")
}

/// A table that is looked through for old rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Swath {
    pub(super) table: String,
    /// Controls have markers of the epoch, and are told by their time.
    pub(super) is_control: bool,
}

impl Swath {
    fn condition(&self, older_than: Timestamp) -> String {
        let (oldest, seconds) = (Marker::mint(older_than, 0), older_than.as_millis().div_euclid(1000));
        let by_time = if self.is_control { format!(" AND time < {seconds}") } else { String::new() };
        format!("marker LIKE 'lf%' AND marker < '{oldest}'{by_time}")
    }

    /// Removes the rows of these markers, of controls the old ones.
    pub(super) fn delete(&self, markers: &[Marker], older_than: Timestamp) -> String {
        let list = markers.iter().map(|marker| format!("'{marker}'")).collect::<Vec<_>>().join(", ");
        format!("DELETE FROM {} WHERE {} AND marker IN ({list})", self.table, self.condition(older_than))
    }
}

/// The markers of old rows in each table, with how many rows each has; `most` of each table.
pub(super) fn old_markers(swaths: &[Swath], older_than: Timestamp, most: usize) -> String {
    let part = |(n, swath): (usize, &Swath)| {
        format!(
            "SELECT {n} AS part, marker, rows_of FROM (SELECT marker, COUNT(1) AS rows_of FROM {} WHERE {} \
             GROUP BY marker LIMIT {most}) AS old{n}",
            swath.table,
            swath.condition(older_than)
        )
    };
    swaths.iter().enumerate().map(part).collect::<Vec<_>>().join(" UNION ALL ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shape(columns: &[(&str, &str)]) -> Shape {
        Shape::of(&json!({ "schema": json!(columns).to_string() }), &COLUMNS)
    }

    #[test]
    fn a_shape_is_what_the_schema_has_of_a_sample() {
        let some = shape(&[("row_no", "long"), ("other", "string"), ("marker", "string"), ("hard_text", "string")]);
        assert_eq!(some.names().collect::<Vec<_>>(), ["marker", "row_no", "hard_text"]);
        assert!(some.is_a_canarys() && !some.is_whole());
        assert!(!shape(&[("marker", "string")]).is_a_canarys() && shape(&[]).is_empty());
        for odd in [json!({}), json!({"schema": 5}), json!({"schema": "[1]"}), json!({"schema": "[[]]"})] {
            assert!(Shape::of(&odd, &COLUMNS).is_empty(), "{odd}");
        }
    }

    /// SQLite stands for the engines here too.
    #[test]
    fn a_person_reads_the_rows_of_a_run_whatever_the_types_of_their_columns() {
        let engine = rusqlite::Connection::open_in_memory().expect("memory");
        let shape = Shape::every(&COLUMNS);
        engine.execute_batch(&format!("CREATE TABLE t ({})", shape.list())).expect("made");
        let markers = [7, 8].map(|chance| Marker::mint(Timestamp::from_secs(1_440_452_640), chance));
        for marker in markers {
            engine.execute("INSERT INTO t (marker, row_no) VALUES (?1, 1)", [marker.to_string()]).expect("inserted");
        }
        let found = |part: Part<'_>| {
            let mut statement = engine.prepare(&query(&shape, &[part])).expect("valid");
            let found = statement.query_map([], |row| row.get::<_, String>("marker")).expect("runs");
            found.collect::<Result<Vec<_>, _>>().expect("rows")
        };
        let own = Part::Own { table: "t", markers: vec![markers[0]], enough: 3 };
        assert_eq!(found(own), [markers[0].to_string()]);
        // Whose rows stand beside them, earlier or later.
        for (own, other) in [(0, 1), (1, 0)] {
            let others = Part::Others { table: "t", than: vec![markers[own]] };
            assert_eq!(found(others), [markers[other].to_string()]);
        }
    }

    /// SQLite stands for the engines here.
    #[test]
    fn a_sweep_removes_old_canary_rows_and_nothing_else() {
        let engine = rusqlite::Connection::open_in_memory().expect("memory");
        let now = Timestamp::from_secs(1_440_452_640);
        let (old, new) = (Marker::mint(now.minus(std::time::Duration::from_secs(1)), 7), Marker::mint(now, 7));
        let control = Marker::mint(Timestamp::EPOCH, 9);
        engine
            .execute_batch("CREATE TABLE t (marker, row_no, time); CREATE TABLE t__control (marker, time)")
            .expect("made");
        for marker in [old.to_string(), new.to_string(), "lf".to_owned(), "somebody's".to_owned(), format!("{old}x")] {
            engine.execute("INSERT INTO t VALUES (?1, 1, 1)", [marker]).expect("inserted");
        }
        for time in [1_440_452_639, 1_440_452_640] {
            engine.execute("INSERT INTO t__control VALUES (?1, ?2)", (control.to_string(), time)).expect("inserted");
        }
        let swath = |table: &str, is_control| Swath { table: table.to_owned(), is_control };
        let swaths = [swath("t", false), swath("t__control", true)];
        let mut statement = engine.prepare(&old_markers(&swaths, now, 10)).expect("valid");
        let found = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("runs");
        let mut found = found.collect::<Result<Vec<(i64, String, i64)>, _>>().expect("rows");
        found.sort();
        let told =
            [(0, "lf".to_owned(), 1), (0, old.to_string(), 1), (0, format!("{old}x"), 1), (1, control.to_string(), 1)];
        assert_eq!(found, told, "what begins like a marker and is none is left out by whoever reads it");
        assert_eq!(engine.execute(&swaths[0].delete(&[old, new], now), []).expect("valid"), 1);
        assert_eq!(engine.execute(&swaths[1].delete(&[control], now), []).expect("valid"), 1);
        let left: i64 = engine.query_row("SELECT COUNT(*) FROM t", [], |row| row.get(0)).expect("counts");
        assert_eq!(left, 4, "what is not ours stays, and what is not old");
    }
}
