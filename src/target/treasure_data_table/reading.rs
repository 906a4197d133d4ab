//! Reading: one job for the rows of many runs, whatever tables they are in.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_util::future::try_join_all;
use tokio::time::Instant;

use super::{
    TreasureDataTable,
    sql::{self, Part, Shape},
};
use crate::{
    canary::{Carries, Cell, Marker, Run, Sighting, Tally, run::Columns, sample::COLUMNS},
    target::{TargetError, decode},
    treasure_data_api::Reply,
};

/// Bytes that a row may take on average.
const ROW: usize = 4096;
/// Largest result that is read, and room for a small one.
const ROOM: (usize, usize) = (1 << 20, 64 << 20);

/// A table of the platform carries everything that a sample has.
const CARRIES: &Carries = &Carries { null_is_empty: false, null_text: None, newlines_vary: false };

/// What was found in one table.
#[derive(Default)]
struct Found {
    rows: Vec<(Marker, Vec<Cell>)>,
    others: Vec<Marker>,
}

impl TreasureDataTable {
    /// Looks for many runs at once.
    pub(super) async fn read(&self, runs: &[Arc<Run>], due: Instant) -> Result<Vec<Sighting>, TargetError> {
        let wanted: Vec<String> = runs.iter().map(|run| self.table_of(run)).collect();
        let tables: BTreeSet<&str> = wanted.iter().map(String::as_str).collect();
        // Runs that share a table have the same columns.
        let columns_of = |table: &str| {
            let run = runs.iter().zip(&wanted).find(|(_, wanted)| *wanted == table);
            run.map_or(&COLUMNS, |(run, _)| run.columns())
        };
        let shapes = try_join_all(tables.iter().map(|table| self.shape(table, columns_of(table)))).await?;
        let mut by_shape: BTreeMap<Shape, Vec<&str>> = BTreeMap::new();
        for (table, shape) in tables.iter().zip(shapes) {
            // A table that is not there holds nothing, and needs no job to say so.
            if let Some(shape) = shape {
                by_shape.entry(shape).or_default().push(table);
            }
        }
        // Nearly always one job: tables that canaries make are alike.
        let jobs = by_shape.iter().map(|(shape, tables)| self.read_alike(shape, tables, runs, &wanted, due));
        let mut found: BTreeMap<&str, Found> = BTreeMap::new();
        for part in try_join_all(jobs).await? {
            found.extend(part);
        }
        let sightings: Vec<Sighting> =
            runs.iter().zip(&wanted).map(|(run, table)| sighting(run, found.get(table.as_str()))).collect();
        for ((run, table), seen) in runs.iter().zip(&wanted).zip(&sightings) {
            if seen.rows.complete() {
                self.remember(run.marker, table);
            }
        }
        Ok(sightings)
    }

    /// The query by which a person reads a run's rows, and whose rows stand in their place.
    pub(super) fn query_by_hand(&self, run: &Run) -> String {
        let table = self.table_of(run);
        let shape = self.known().whole.get(&table).cloned().unwrap_or_else(|| Shape::every(run.columns()));
        let enough = Tally::enough(run.sample);
        let mut parts = vec![Part::Own { table: &table, markers: vec![run.marker], enough }];
        if run.route.mode.displaces() {
            parts.push(Part::Others { table: &table, than: vec![run.marker] });
        }
        sql::query(&shape, &parts)
    }

    /// The columns of a table, if it is there and anything was ever written to it.
    async fn shape(&self, table: &str, columns: &'static Columns) -> Result<Option<Shape>, TargetError> {
        if let Some(shape) = self.known().whole.get(table) {
            return Ok(Some(shape.clone()));
        }
        let json = match self.api.get(&["table", "show", &self.settings.database, table]).await? {
            Reply::Missing(_) => return Ok(None),
            reply => reply.done()?.json,
        };
        let shape = Shape::of(&json, columns);
        if shape.is_empty() && json["count"].as_u64().unwrap_or(0) == 0 {
            return Ok(None);
        }
        if !shape.is_a_canarys() {
            let detail = format!("table `{table}` has no columns `marker` and `row_no`");
            return Err(TargetError::Foreign { detail });
        }
        if shape.is_whole() {
            self.known().whole.insert(table.to_owned(), shape.clone());
        }
        Ok(Some(shape))
    }

    async fn read_alike<'a>(
        &self,
        shape: &Shape,
        tables: &[&'a str],
        runs: &[Arc<Run>],
        wanted: &[String],
        due: Instant,
    ) -> Result<Vec<(&'a str, Found)>, TargetError> {
        let (mut parts, mut rows) = (Vec::new(), 0);
        for table in tables {
            let here: Vec<&Arc<Run>> =
                runs.iter().zip(wanted).filter(|(_, wanted)| wanted == table).map(|(run, _)| run).collect();
            let enough = here.iter().map(|run| Tally::enough(run.sample)).max().unwrap_or_default();
            let markers: BTreeSet<Marker> = here.iter().map(|run| run.marker).collect();
            rows += markers.len() * enough as usize;
            let markers: Vec<Marker> = markers.into_iter().collect();
            let is_displaced = here.iter().any(|run| run.route.mode.displaces());
            parts.push(Part::Own { table, markers: markers.clone(), enough });
            parts.extend(is_displaced.then_some(Part::Others { table, than: markers }));
        }
        let bound = (ROOM.0 + rows * ROW).min(ROOM.1);
        let text = self.ask(&sql::query(shape, &parts), bound, due).await?;
        let names: Vec<&str> = shape.names().collect();
        let run = runs.iter().zip(wanted).find(|(_, wanted)| tables.contains(&wanted.as_str()));
        let columns = run.map_or(&COLUMNS, |(run, _)| run.columns());
        let mut found: BTreeMap<&'a str, Found> = BTreeMap::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let nonsense = || TargetError::Nonsense { detail: "a row of the reading job cannot be read".to_owned() };
            let (n, cells) = decode::numbered_row(line, columns, &names).ok_or_else(nonsense)?;
            let part = parts.get(n).ok_or_else(nonsense)?;
            let Some(Cell::Text(marker)) = cells.first() else { continue };
            let Ok(marker) = marker.parse::<Marker>() else { continue };
            match part {
                Part::Own { table, .. } => found.entry(*table).or_default().rows.push((marker, cells)),
                Part::Others { table, .. } => found.entry(*table).or_default().others.push(marker),
            }
        }
        Ok(found.into_iter().collect())
    }

    /// The newest run that was seen whole proves, for a while, that reading works.
    fn remember(&self, marker: Marker, table: &str) {
        let mut known = self.known();
        if known.landed.as_ref().is_none_or(|(last, ..)| *last < marker) {
            known.landed = Some((marker, table.to_owned(), Instant::now()));
        }
    }
}

fn sighting(run: &Run, found: Option<&Found>) -> Sighting {
    let mut tally = Tally::of(run, CARRIES);
    let rows = found.map_or(&[][..], |found| &found.rows);
    rows.iter().filter(|(marker, _)| *marker == run.marker).for_each(|(_, cells)| tally.add(cells));
    let others = found.map_or(&[][..], |found| &found.others);
    Sighting::among(tally.finish(), run.marker, others.iter().copied())
}
