//! Reading: the rows of many runs in one statement a table, whatever else the table has.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, MySqlConnection};

use super::{
    place::{Tables, quoted},
    session::{Access, Errand, Failure, no_such_table, rows, text},
};
use crate::{
    canary::{
        Carries, Cell, Marker, Run, Sighting, Tally,
        sample::{COLUMNS, Column, Kind},
    },
    target::{TargetError, cut, shapes::Shapes},
};

/// Characters read of a value: no value of a sample is nearly as long.
const LONGEST: usize = 4096;
/// Other runs' markers read from a table in which only ours may stand.
const STRANGERS_READ: usize = 16;

/// `marker` as a text that compares as bytes do.
pub(super) const MARKER: &str = "CAST(landfall_row.marker AS CHAR) COLLATE utf8mb4_bin";

/// Whether `marker` is one, in the server's words. To it `$` may also stand before a last newline.
pub(super) fn is_marker() -> String {
    format!("{MARKER} REGEXP '^lf[0-7][0-9a-hjkmnp-tv-z]{{25}}$' AND CHAR_LENGTH({MARKER}) = {}", Marker::LENGTH)
}

/// The columns of a table, each with its type in the server's words.
pub(super) struct Shape(BTreeMap<String, String>);

impl Shape {
    /// None if there is no such table.
    pub(super) async fn of(on: &mut MySqlConnection, table: &str) -> Result<Option<Self>, sqlx::Error> {
        let found = match rows(on, &format!("SHOW COLUMNS FROM {}", quoted(table))).await {
            Err(error) if no_such_table(&error) => return Ok(None),
            found => found?,
        };
        let mut columns = BTreeMap::new();
        for row in &found {
            let (name, kind) = (text(row, 0)?.unwrap_or_default(), text(row, 1)?.unwrap_or_default());
            // Names of columns are the same in upper and lower case there.
            columns.insert(name.to_lowercase(), kind.to_lowercase());
        }
        Ok(Some(Self(columns)))
    }

    pub(super) fn has(&self, columns: [&str; 2]) -> bool {
        columns.iter().all(|column| self.0.contains_key(*column))
    }

    /// All of it in words.
    fn text(&self) -> String {
        let columns: Vec<String> = self.0.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
        columns.join(", ")
    }

    /// What reads a column so that its text says everything; none if it is not there.
    fn reads(&self, column: &str) -> Option<String> {
        let kind = self.0.get(column)?;
        let name = format!("landfall_row.{}", quoted(column));
        Some(if kind.starts_with("double") || kind.starts_with("float") {
            // Cast, it would be cut to 22 characters on its way through a temporary table.
            name
        } else if kind.starts_with("bit") {
            format!("CAST({name} + 0 AS CHAR)")
        } else {
            format!("LEFT(CAST({name} AS CHAR), {LONGEST})")
        })
    }

    /// A value as it was found. The session's zone is UTC: so is a TIMESTAMP, and a DATETIME is taken
    /// for it.
    fn cell(&self, column: Column, found: Option<String>) -> Cell {
        let has_no_zone = |kind: &String| kind.starts_with("timestamp") || kind.starts_with("datetime");
        match found {
            None if !self.0.contains_key(column.name) => Cell::Absent,
            None => Cell::Null,
            Some(text) if column.kind == Kind::Timestamp && self.0.get(column.name).is_some_and(has_no_zone) => {
                Cell::Text(format!("{text}Z"))
            }
            Some(text) => Cell::Text(text),
        }
    }
}

/// A look for some runs. Finds nothing where there is no table; answers `None` if a table went away
/// while it was read.
pub(super) struct Reading<'a> {
    pub(super) tables: &'a Tables,
    pub(super) shapes: &'a Shapes,
    pub(super) runs: &'a [Arc<Run>],
}

#[async_trait]
impl Errand for Reading<'_> {
    type Found = Option<Vec<Sighting>>;
    const ACCESS: Access = Access::Reads;

    async fn run(&self, on: &mut MySqlConnection) -> Result<Self::Found, Failure> {
        let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (at, run) in self.runs.iter().enumerate() {
            places.entry(self.tables.of(run)).or_default().push(at);
        }
        let tally = |run: &'_ Arc<Run>| Tally::of(run, CARRIES);
        let mut tallies: Vec<_> = self.runs.iter().map(tally).collect();
        let mut others: BTreeMap<&String, Vec<Marker>> = BTreeMap::new();
        let mut columns: BTreeMap<&String, String> = BTreeMap::new();
        for (table, runs) in &places {
            let Some(shape) = Shape::of(on, table).await? else { continue };
            if !shape.has(["marker", "row_no"]) {
                let detail = cut(&format!("table `{table}` lacks a canary's columns"));
                return Err(TargetError::Foreign { detail }.into());
            }
            columns.insert(table, shape.text());
            match self.count(on, table, &shape, runs, &mut tallies).await {
                Err(error) if no_such_table(&error) => return Ok(None),
                counted => counted?,
            }
            if table != self.tables.name() {
                match strangers(on, table).await {
                    Err(error) if no_such_table(&error) => return Ok(None),
                    found => others.insert(table, found?),
                };
            }
        }
        let sighting = |(run, tally): (&Arc<Run>, Tally<'_>)| {
            let (table, mut rows) = (self.tables.of(run), tally.finish());
            if let Some(columns) = columns.get(&table) {
                self.shapes.compare(&table, columns, run, &mut rows);
            }
            Sighting::among(rows, run.marker, others.get(&table).cloned().unwrap_or_default())
        };
        Ok(Some(self.runs.iter().zip(tallies).map(sighting).collect()))
    }
}

impl Reading<'_> {
    /// Counts the rows of runs that share a table. Every value is written out by the server to the last
    /// digit; columns that are not there are absent.
    async fn count(
        &self,
        on: &mut MySqlConnection,
        table: &str,
        shape: &Shape,
        runs: &[usize],
        tallies: &mut [Tally<'_>],
    ) -> Result<(), sqlx::Error> {
        let mut by_marker: BTreeMap<Marker, Vec<usize>> = BTreeMap::new();
        for at in runs {
            by_marker.entry(self.runs[*at].marker).or_default().push(*at);
        }
        let markers: Vec<Marker> = by_marker.keys().copied().collect();
        let enough = runs.iter().map(|at| Tally::enough(self.runs[*at].sample)).max().unwrap_or_default();
        let column = |(at, column): (usize, &Column)| {
            format!("{} AS c{at}", shape.reads(column.name).unwrap_or_else(|| "NULL".to_owned()))
        };
        // Runs that share a table have the same columns.
        let known = runs.first().map_or(&COLUMNS, |at| self.runs[*at].columns());
        let columns: Vec<String> = known.iter().enumerate().map(column).collect();
        let names: Vec<String> = (0..known.len()).map(|at| format!("c{at}")).collect();
        let sql = format!(
            "SELECT {} FROM (SELECT {}, ROW_NUMBER() OVER (PARTITION BY {MARKER} ORDER BY {MARKER}) AS nth \
             FROM {}) AS found WHERE nth <= {enough}",
            names.join(", "),
            columns.join(", "),
            rows_of(table, &markers)
        );
        let mut found = sqlx::raw_sql(AssertSqlSafe(sql)).fetch(on);
        while let Some(row) = found.try_next().await? {
            let mut cells = Vec::with_capacity(known.len());
            for (at, column) in known.iter().enumerate() {
                cells.push(shape.cell(*column, text(&row, at)?));
            }
            let marker = match cells.first() {
                Some(Cell::Text(marker)) => marker.parse().ok(),
                _ => None,
            };
            for at in marker.and_then(|marker: Marker| by_marker.get(&marker)).into_iter().flatten() {
                tallies[*at].add(&cells);
            }
        }
        Ok(())
    }
}

/// The rows of some runs, as what follows `FROM`. The column itself is compared, so that its index is used.
fn rows_of(table: &str, markers: &[Marker]) -> String {
    // Letters and digits: nothing to be quoted.
    let markers: Vec<String> = markers.iter().map(|marker| format!("'{marker}'")).collect();
    format!("{} AS landfall_row WHERE landfall_row.marker IN ({})", quoted(table), markers.join(", "))
}

/// Whose rows stand in a table, newest first.
fn markers_in(table: &str) -> String {
    format!(
        "SELECT DISTINCT {MARKER} AS other FROM {} AS landfall_row WHERE {} ORDER BY other DESC LIMIT {STRANGERS_READ}",
        quoted(table),
        is_marker()
    )
}

/// The statements by which a person reads a run's rows, and whose rows stand in their place.
pub(super) fn by_hand(tables: &Tables, run: &Run) -> String {
    let table = tables.of(run);
    let rows = rows_of(&table, &[run.marker]);
    let mut statements = format!("SELECT landfall_row.* FROM {rows} ORDER BY landfall_row.row_no;");
    if table != tables.name() {
        statements += &format!("\n{};", markers_in(&table));
    }
    statements
}

/// Markers in a table in which only one run's rows may stand, newest first.
async fn strangers(on: &mut MySqlConnection, table: &str) -> Result<Vec<Marker>, sqlx::Error> {
    let mut markers = Vec::new();
    for row in rows(on, &markers_in(table)).await? {
        markers.extend(text(&row, 0)?.and_then(|marker| marker.parse::<Marker>().ok()));
    }
    Ok(markers)
}

/// MySQL carries everything that a sample has.
const CARRIES: &Carries = &Carries { null_is_empty: false, null_text: None, newlines_vary: false };
