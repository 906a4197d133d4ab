//! Reading: the rows of many runs in one statement, whatever else the table has.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::{
    place::Tables,
    session::{Errand, Failure, no_such_table},
};
use crate::{
    canary::{Carries, Marker, Run, Sighting, Tally, report::REPORT_COLUMNS, sample::COLUMNS},
    target::{decode, shapes::Shapes},
};

/// Characters read of a value: no value of a sample is nearly as long.
const LONGEST: i32 = 4096;
/// Other runs' markers read from a table in which only ours may stand.
const STRANGERS_READ: i64 = 16;

/// What a marker looks like to the server.
pub(super) const MARKER: &str = "^lf[0-7][0-9a-hjkmnp-tv-z]{25}$";

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
    const WRITES: bool = false;

    async fn run(&self, on: &mut PgConnection) -> Result<Self::Found, Failure> {
        let wanted: Vec<String> = self.runs.iter().map(|run| self.tables.of(run)).collect();
        let columns = self.there(on, &wanted).await?;
        let there: Vec<String> = columns.keys().cloned().collect();
        let rows = match self.rows(on, &there, &wanted).await {
            Err(error) if no_such_table(&error) => return Ok(None),
            rows => rows.map_err(|error| Failure::from(error).of(self.tables.name()))?,
        };
        let displaced = |table: &&String| **table != self.tables.name();
        let strangers = match self.others(on, there.iter().filter(displaced)).await {
            Err(error) if no_such_table(&error) => return Ok(None),
            strangers => strangers?,
        };
        Ok(Some(self.sightings(&wanted, rows, &strangers, &columns)))
    }
}

impl Reading<'_> {
    /// Which of the tables are there, each with its columns and their types in the server's words.
    async fn there(&self, on: &mut PgConnection, wanted: &[String]) -> Result<BTreeMap<String, String>, sqlx::Error> {
        let mut tables: Vec<String> = wanted.to_vec();
        tables.sort();
        tables.dedup();
        let quoted: Vec<String> = tables.iter().map(|table| self.tables.quoted(table)).collect();
        let sql = "SELECT CASE WHEN to_regclass(t.name) IS NOT NULL THEN coalesce((SELECT left(string_agg(\
                   a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', ' ORDER BY a.attname), 20000) \
                   FROM pg_attribute AS a WHERE a.attrelid = to_regclass(t.name) AND a.attnum > 0 \
                   AND NOT a.attisdropped), '') END FROM unnest($1::text[]) WITH ORDINALITY AS t(name, n) ORDER BY t.n";
        let columns: Vec<Option<String>> = sqlx::query_scalar(sql).bind(quoted).fetch_all(on).await?;
        Ok(tables.into_iter().zip(columns).filter_map(|(table, columns)| Some((table, columns?))).collect())
    }

    /// The rows of our runs as JSON objects of texts, so that it does not matter which columns
    /// there are: those that are not there are absent, and every value is written out by the
    /// server to the last digit. A table without `marker` and `row_no` is an error: not a canary's.
    async fn rows<'a>(
        &'a self,
        on: &mut PgConnection,
        there: &[String],
        wanted: &[String],
    ) -> Result<Vec<Option<Tally<'a>>>, sqlx::Error> {
        let tally = |run: &'a Arc<Run>| Tally::of(run, CARRIES);
        let mut tallies: Vec<_> = self.runs.iter().map(|run| Some(tally(run))).collect();
        if there.is_empty() {
            return Ok(tallies);
        }
        let part = |(n, table): (usize, &String)| {
            format!(
                "SELECT {n}::int4 AS t, marker, (SELECT json_object_agg(e.key, left(e.value, {LONGEST})) \
                 FROM json_each_text(row_to_json(found.landfall_row)) AS e(key, value) \
                 WHERE e.key = ANY($2))::text AS cells \
                 FROM (SELECT landfall_row.marker::text AS marker, landfall_row.row_no, landfall_row, \
                 row_number() OVER (PARTITION BY landfall_row.marker::text) AS nth \
                 FROM {}) AS found WHERE nth <= $3",
                rows_of(self.tables, table, "$1")
            )
        };
        let sql = there.iter().enumerate().map(part).collect::<Vec<_>>().join(" UNION ALL ");
        let markers: Vec<String> = self.runs.iter().map(|run| run.marker.to_string()).collect();
        let columns: Vec<&str> = COLUMNS.iter().chain(&REPORT_COLUMNS).map(|column| column.name).collect();
        let enough = self.runs.iter().map(|run| Tally::enough(run.sample)).max().unwrap_or_default();
        let mut places: BTreeMap<(&str, Marker), Vec<usize>> = BTreeMap::new();
        for (at, (run, table)) in self.runs.iter().zip(wanted).enumerate() {
            places.entry((table, run.marker)).or_default().push(at);
        }
        let mut rows = sqlx::query(AssertSqlSafe(sql)).bind(markers).bind(columns).bind(i64::from(enough)).fetch(on);
        while let Some(row) = rows.try_next().await? {
            let table: i32 = row.try_get(0)?;
            let marker: String = row.try_get(1)?;
            let cells: Option<String> = row.try_get(2)?;
            let table = usize::try_from(table).ok().and_then(|n| there.get(n));
            let (Some(table), Ok(marker)) = (table, marker.parse()) else { continue };
            for at in places.get(&(table.as_str(), marker)).into_iter().flatten() {
                if let Some(tally) = &mut tallies[*at] {
                    let cells = cells.as_ref().and_then(|cells| decode::row(cells, self.runs[*at].columns()));
                    tally.add(&cells.unwrap_or_default());
                }
            }
        }
        Ok(tallies)
    }

    /// Markers in tables in which only one run's rows may stand, newest first.
    async fn others<'a>(
        &self,
        on: &mut PgConnection,
        tables: impl Iterator<Item = &'a String>,
    ) -> Result<BTreeMap<&'a str, Vec<Marker>>, sqlx::Error> {
        let tables: Vec<&String> = tables.collect();
        if tables.is_empty() {
            return Ok(BTreeMap::new());
        }
        let part = |(n, table): (usize, &&String)| {
            format!("({})", markers_in(self.tables, table, &format!("{n}::int4"), "$1"))
        };
        let sql = tables.iter().enumerate().map(part).collect::<Vec<_>>().join(" UNION ALL ");
        let mut others: BTreeMap<&str, Vec<Marker>> = BTreeMap::new();
        let mut rows = sqlx::query(AssertSqlSafe(sql)).bind(MARKER).fetch(on);
        while let Some(row) = rows.try_next().await? {
            let table: i32 = row.try_get(0)?;
            let marker: String = row.try_get(1)?;
            let table = usize::try_from(table).ok().and_then(|n| tables.get(n));
            if let (Some(table), Ok(marker)) = (table, marker.parse()) {
                others.entry(table.as_str()).or_default().push(marker);
            }
        }
        Ok(others)
    }

    fn sightings(
        &self,
        wanted: &[String],
        tallies: Vec<Option<Tally<'_>>>,
        others: &BTreeMap<&str, Vec<Marker>>,
        columns: &BTreeMap<String, String>,
    ) -> Vec<Sighting> {
        let mut sightings = Vec::with_capacity(self.runs.len());
        for ((run, table), tally) in self.runs.iter().zip(wanted).zip(tallies) {
            let mut rows = tally.map(Tally::finish).unwrap_or_default();
            if let Some(columns) = columns.get(table) {
                self.shapes.compare(table, columns, run, &mut rows);
            }
            let others = others.get(table.as_str()).cloned().unwrap_or_default();
            sightings.push(Sighting::among(rows, run.marker, others));
        }
        sightings
    }
}

/// The rows of some runs, as what follows `FROM`.
fn rows_of(tables: &Tables, table: &str, markers: &str) -> String {
    format!("{} AS landfall_row WHERE landfall_row.marker::text = ANY({markers})", tables.quoted(table))
}

/// Whose rows stand in a table, newest first, each with something else.
fn markers_in(tables: &Tables, table: &str, with: &str, like: &str) -> String {
    format!(
        "SELECT {with}, landfall_row.marker::text COLLATE \"C\" AS marker FROM {} AS landfall_row \
         WHERE landfall_row.marker::text ~ {like} GROUP BY 2 ORDER BY 2 DESC LIMIT {STRANGERS_READ}",
        tables.quoted(table)
    )
}

/// The statements by which a person reads a run's rows, and whose rows stand in their place.
pub(super) fn by_hand(tables: &Tables, run: &Run) -> String {
    let table = tables.of(run);
    // Letters and digits: nothing to be quoted.
    let rows = rows_of(tables, &table, &format!("ARRAY['{}']", run.marker));
    let mut statements = format!("SELECT landfall_row.* FROM {rows} ORDER BY landfall_row.row_no;");
    if table != tables.name() {
        let others = markers_in(tables, &table, "count(*) AS rows", &format!("'{MARKER}'"));
        statements += &format!("\n{others};");
    }
    statements
}

/// PostgreSQL carries everything that a sample has.
const CARRIES: &Carries = &Carries { null_is_empty: false, null_text: None, newlines_vary: false };
