//! The sample in SQL, for platforms that are fed by SQL alone: what fills a seed table, and the query
//! that computes a run's rows from it. What differs between engines is a [`Dialect`].

use std::{fmt::Write as _, ops::Range};

use super::diary::{self, Batch, Held};
use crate::canary::{
    Marker, Run, Sample, Value,
    sample::{COLUMNS, Column, Kind, MIX_STEP, SEED_COLUMNS, seed_row},
};

/// How one engine writes names of types and literals.
#[derive(Clone, Copy, Debug)]
pub struct Dialect {
    /// The type of a column, in `CREATE TABLE` and in `CAST`.
    pub sql_type: fn(Kind) -> &'static str,
    /// A text literal, quotes included.
    pub text: fn(&str) -> String,
    /// A value of a column other than text and NULL, from its text.
    pub typed: fn(Kind, &str) -> String,
    /// What a query ends with that is to fail where its seed table, of this name, has not so many rows:
    /// an engine that does not say how many it wrote would have lost them. Nothing where it says so.
    pub whole: fn(&str, u32) -> String,
}

impl Dialect {
    /// `name type, …` of a table of seeds: the row number, then the hard values.
    pub fn seed_columns(&self) -> String {
        let mut columns = format!("n {}", (self.sql_type)(Kind::Int));
        for column in SEED_COLUMNS {
            // Writing to a string does not fail.
            let _ = write!(columns, ", {} {}", column.name, (self.sql_type)(column.kind));
        }
        columns
    }

    /// `name type, …` of a table that runs write to.
    pub fn output_columns(&self) -> String {
        self.columns(&COLUMNS)
    }

    /// `name type, …` of any table.
    pub fn columns(&self, columns: &[Column]) -> String {
        let columns: Vec<_> =
            columns.iter().map(|column| format!("{} {}", column.name, (self.sql_type)(column.kind))).collect();
        columns.join(", ")
    }

    /// `name, …`.
    pub fn names(columns: &[Column]) -> String {
        columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
    }

    /// `(…), (…)`: the entries of a batch, for `INSERT INTO … VALUES`, so many at a time.
    pub fn entries(&self, batch: &Batch, at_once: usize) -> impl Iterator<Item = String> {
        batch.entries.chunks(at_once).map(move |entries| {
            let row = |entry| {
                let values = diary::held(batch, entry).map(|value| match value {
                    Held::Text(text) => (self.text)(&text),
                    Held::Int(number) => number.to_string(),
                    Held::Null => "NULL".to_owned(),
                });
                format!("({})", values.join(", "))
            };
            entries.iter().map(row).collect::<Vec<_>>().join(", ")
        })
    }

    /// `(…), (…)`: the rows of a seed table, for `INSERT INTO … VALUES`.
    pub fn seed_values(&self, sample: Sample) -> String {
        self.seed_rows(0..sample.rows)
    }

    /// The same for some of the rows: statements have a longest length.
    pub fn seed_rows(&self, rows: Range<u32>) -> String {
        rows.map(|n| format!("({})", self.seed_cells(n))).collect::<Vec<_>>().join(", ")
    }

    /// `SELECT … UNION ALL SELECT …`: the same for engines whose `VALUES` takes literals only.
    pub fn seed_selects(&self, sample: Sample) -> String {
        (0..sample.rows).map(|n| format!("SELECT {}", self.seed_cells(n))).collect::<Vec<_>>().join(" UNION ALL ")
    }

    fn seed_cells(&self, n: u32) -> String {
        let mut cells = vec![n.to_string()];
        cells.extend(SEED_COLUMNS.iter().zip(seed_row(n)).map(|(column, value)| self.literal(*column, &value)));
        cells.join(", ")
    }

    /// The query of a run: the seeds of `table`, each row once even if they stand there twice.
    pub fn query(&self, run: &Run, table: &str) -> String {
        self.query_of(run.marker, run.sample, table)
    }

    /// The same for whoever has kept no more of a run than this.
    pub fn query_of(&self, marker: Marker, sample: Sample, table: &str) -> String {
        let selected: Vec<String> = COLUMNS.iter().map(|column| self.selected(marker, sample, *column)).collect();
        let whole = (self.whole)(table, sample.rows);
        format!("SELECT DISTINCT {} FROM {table} WHERE n < {}{whole}", selected.join(", "), sample.rows)
    }

    fn selected(&self, marker: Marker, sample: Sample, column: Column) -> String {
        let (name, sql_type) = (column.name, (self.sql_type)(column.kind));
        match name {
            "marker" => format!("CAST({} AS {sql_type}) AS {name}", (self.text)(&marker.to_string())),
            "row_no" => format!("CAST(n AS {sql_type}) AS {name}"),
            "mix" => format!("CAST(n * {MIX_STEP} + {} AS {sql_type}) AS {name}", marker.salt()),
            left_out if sample.without.names(left_out) => format!("CAST(NULL AS {sql_type}) AS {name}"),
            seed => seed.to_owned(),
        }
    }

    fn literal(&self, column: Column, value: &Value) -> String {
        match value {
            Value::Null => format!("CAST(NULL AS {})", (self.sql_type)(column.kind)),
            Value::Bool(set) => (self.typed)(column.kind, if *set { "true" } else { "false" }),
            Value::Int(number) => (self.typed)(column.kind, &number.to_string()),
            Value::Float(number) => (self.typed)(column.kind, &format!("{number:e}")),
            Value::Text(text) if matches!(column.kind, Kind::Date | Kind::Timestamp) => (self.typed)(column.kind, text),
            Value::Text(text) => (self.text)(text),
            Value::Marker(marker) => (self.text)(&marker.to_string()),
        }
    }
}
