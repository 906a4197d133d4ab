//! The diary: what the agent writes down on a platform of its own runs, and the query that makes its report
//! of it, plain enough for Hive, Spark, Presto, Trino and SQLite alike.
//!
//! Entries are never changed. One that is written again, since a verdict was corrected or since nobody heard
//! whether it had been taken, stands there in a later batch, or twice in the same: the newest counts, once.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::Value as Json;

use super::{Handle, PlatformError};
use crate::canary::{
    Cell, Marker, Run,
    report::{ALL, Entry, Source, Sums},
    sample::{Column, Kind},
};

/// Entries that are written at once.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The table they go into.
    pub table: String,
    /// The book they belong to.
    pub book: Marker,
    /// Which batch of it, from 1.
    pub number: u32,
    /// What is written.
    pub entries: Vec<Entry>,
}

impl Batch {
    /// A text that is the same for the same batch, and for no other.
    pub fn id(&self) -> String {
        format!("{} {}", self.book, self.number)
    }
}

/// How far batches have been written that take several statements: a call that ran out of time is not begun
/// anew by the next.
#[derive(Debug, Default)]
pub(super) struct Written(Mutex<BTreeMap<(Marker, u32), usize>>);

/// Batches remembered: those of a few flights.
const REMEMBERED: usize = 64;

impl Written {
    fn known(&self) -> MutexGuard<'_, BTreeMap<(Marker, u32), usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many of its statements were taken.
    pub(super) fn of(&self, batch: &Batch) -> usize {
        self.known().get(&(batch.book, batch.number)).copied().unwrap_or(0)
    }

    /// So many were.
    pub(super) fn note(&self, batch: &Batch, statements: usize) {
        let mut known = self.known();
        known.insert((batch.book, batch.number), statements);
        while known.len() > REMEMBERED {
            known.pop_first();
        }
    }

    /// Nobody knows any more what is there.
    pub(super) fn forget(&self) {
        self.known().clear();
    }
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

/// Columns of the table of entries.
pub const ENTRY_COLUMNS: [Column; 11] = [
    column("book", Kind::Text),
    column("batch_no", Kind::Int),
    column("run_id", Kind::Text),
    column("at_hour", Kind::Text),
    column("canary", Kind::Text),
    column("platform", Kind::Text),
    column("target", Kind::Text),
    column("write_mode", Kind::Text),
    column("is_landed", Kind::Int),
    column("is_silent", Kind::Int),
    column("latency_ms", Kind::Int),
];

/// A value of an entry.
pub(super) enum Held<'e> {
    Text(std::borrow::Cow<'e, str>),
    Int(i64),
    Null,
}

/// Values of an entry, in the order of [`ENTRY_COLUMNS`].
pub(super) fn held<'e>(batch: &Batch, entry: &'e Entry) -> [Held<'e>; ENTRY_COLUMNS.len()] {
    let [canary, platform, target, mode] = entry.route.each_ref().map(|text| Held::Text(text.as_str().into()));
    [
        Held::Text(batch.book.to_string().into()),
        Held::Int(batch.number.into()),
        Held::Text(entry.run.to_string().into()),
        Held::Text(entry.hour.as_str().into()),
        canary,
        platform,
        target,
        mode,
        Held::Int(entry.landed.into()),
        Held::Int(entry.silent.into()),
        entry.latency_ms.map_or(Held::Null, Held::Int),
    ]
}

/// A platform that can keep a diary.
#[async_trait]
pub trait Diary: Send + Sync {
    /// Writes a batch, and makes the table if it is not there. Written twice, it counts once.
    async fn write(&self, batch: &Batch) -> Result<(), PlatformError>;

    /// What is written can be queried after so long.
    fn settles(&self) -> Duration {
        Duration::ZERO
    }

    /// What stands there of what a report reads. Asks the platform, and waits for the answer.
    async fn stored(&self, source: &Source) -> Result<Sums, PlatformError>;

    /// The rows that a report's query brought, or brings now, without its Result Output.
    async fn computed(&self, run: &Run, handle: Option<&Handle>) -> Result<Vec<Vec<Cell>>, PlatformError>;

    /// Removes a table of entries, if it is there.
    async fn remove(&self, table: &str) -> Result<(), PlatformError>;
}

/// Names of columns before which an engine needs a qualifier, or a text in quotes: none. Texts are names and
/// times of our own, checked, so that nothing in them ends a literal.
fn text(value: &str) -> String {
    format!("'{}'", value.replace(['\'', '\\'], ""))
}

/// The newest entry of each run that a report reads. `table`: as it stands in a statement.
fn newest(source: &Source, table: &str) -> String {
    format!(
        "SELECT at_hour, canary, platform, target, write_mode, is_landed, is_silent, latency_ms FROM \
         (SELECT at_hour, canary, platform, target, write_mode, is_landed, is_silent, latency_ms, \
         ROW_NUMBER() OVER (PARTITION BY run_id ORDER BY batch_no DESC) AS version_no FROM {table} \
         WHERE book = {} AND batch_no <= {} AND at_hour >= {}) AS versions WHERE version_no = 1",
        text(&source.book.to_string()),
        source.batch,
        text(&source.since),
    )
}

/// What stands there of what a report reads, in one row.
pub(super) fn sums(source: &Source, table: &str) -> String {
    format!(
        "SELECT COUNT(*) AS runs, COALESCE(SUM(is_landed), 0) AS landed, COALESCE(SUM(is_silent), 0) AS silent, \
         COALESCE(SUM(latency_ms), 0) AS latency_ms FROM ({}) AS entries",
        newest(source, table)
    )
}

/// One row of four numbers, as [`sums`] asks for them.
pub(super) fn read_sums(row: Option<&[Cell]>) -> Option<Sums> {
    let number = |cell: &Cell| match cell {
        Cell::Int(n) => Some(*n),
        Cell::Text(text) => text.trim().parse().ok(),
        _ => None,
    };
    let [runs, landed, silent, latency_ms] = row? else { return None };
    let [runs, landed, silent, latency_ms] = [runs, landed, silent, latency_ms].map(number);
    Some(Sums { runs: runs?, landed: landed?, silent: silent?, latency_ms: latency_ms? })
}

/// A value of a row that came as JSON.
pub(super) fn cell(value: Json) -> Cell {
    match value {
        Json::Null => Cell::Null,
        Json::Bool(set) => Cell::Bool(set),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Cell::Int(whole),
            (None, Some(float)) => Cell::Float(float),
            (None, None) => Cell::Absent,
        },
        Json::String(text) => Cell::Text(text),
        Json::Array(_) | Json::Object(_) => Cell::Absent,
    }
}

/// Percentiles by nearest rank: the smallest value that no fewer than so many percent do not exceed.
fn percentile(percent: u32, nth: &str, of: &str) -> String {
    format!("MIN(CASE WHEN {nth} * 100 >= {of} * {percent} THEN latency_ms END)")
}

/// The report's query. Its columns and rows are those of [`Report`](crate::canary::Report).
pub(super) fn query(marker: Marker, source: &Source, table: &str) -> String {
    let newest = newest(source, table);
    let line = "at_hour, canary, platform, target, write_mode";
    // Runs without a latency are ranked apart: engines disagree on where NULL belongs.
    let has_none = "CASE WHEN latency_ms IS NULL THEN 1 ELSE 0 END";
    let ranked = |within: &str, and: &str| {
        format!(
            "SELECT {line}, is_landed, is_silent, latency_ms, \
             ROW_NUMBER() OVER (PARTITION BY {within}{has_none} ORDER BY latency_ms) AS nth, \
             COUNT(latency_ms) OVER ({and}) AS of_all FROM ({newest}) AS entries"
        )
    };
    let (p50, p99) = (percentile(50, "nth", "of_all"), percentile(99, "nth", "of_all"));
    let told = format!(
        "COUNT(*) AS runs, CAST(SUM(is_landed) AS DOUBLE) / COUNT(*) AS landed_ratio, \
         COALESCE(SUM(is_silent), 0) AS silent_losses, {p50} AS p50_ms, {p99} AS p99_ms"
    );
    let all = text(ALL);
    let by_line = ranked(&format!("{line}, "), &format!("PARTITION BY {line}"));
    let of_all = ranked("", "");
    format!(
        "SELECT {} AS marker, ROW_NUMBER() OVER (ORDER BY {line}) - 1 AS row_no, {line}, runs, landed_ratio, \
         silent_losses, p50_ms, p99_ms FROM (SELECT {line}, {told} FROM ({by_line}) AS ranked GROUP BY {line} \
         UNION ALL SELECT {all} AS at_hour, {all} AS canary, {all} AS platform, {all} AS target, \
         {all} AS write_mode, {told} FROM ({of_all}) AS ranked_of_all) AS told",
        text(&marker.to_string())
    )
}

#[cfg(test)]
mod tests {
    use rusqlite::types::Value as Held;

    use super::*;
    use crate::canary::{Carries, Report, Sample, Tally, Timestamp};

    fn entry(n: u32) -> Entry {
        let hour = ["2015-08-24T09:00Z", "2015-08-24T10:00Z", "2015-08-24T11:00Z"][n as usize % 3];
        let canary = ["a", "b"][n as usize / 3 % 2];
        let landed = n % 7 != 3;
        Entry {
            run: Marker::mint(Timestamp::from_secs(i64::from(n)), 1),
            hour: hour.to_owned(),
            route: [canary, "p", "t", "append"].map(str::to_owned),
            landed,
            silent: n % 7 == 3 && n.is_multiple_of(2),
            latency_ms: (landed && n % 5 != 1).then_some(i64::from(n * 7919 % 997)),
        }
    }

    fn batch(book: Marker, number: u32, entries: Vec<Entry>) -> Batch {
        Batch { table: "t".to_owned(), book, number, entries }
    }

    /// SQLite stands for the engines here.
    fn table(batches: &[&Batch]) -> rusqlite::Connection {
        let engine = rusqlite::Connection::open_in_memory().expect("memory");
        let columns: Vec<&str> = ENTRY_COLUMNS.iter().map(|column| column.name).collect();
        engine.execute_batch(&format!("CREATE TABLE t ({})", columns.join(", "))).expect("made");
        for batch in batches {
            for entry in &batch.entries {
                let values = held(batch, entry).map(|value| match value {
                    super::Held::Text(text) => Held::Text(text.into_owned()),
                    super::Held::Int(n) => Held::Integer(n),
                    super::Held::Null => Held::Null,
                });
                let marks = vec!["?"; values.len()].join(", ");
                engine
                    .execute(&format!("INSERT INTO t VALUES ({marks})"), rusqlite::params_from_iter(values))
                    .expect("kept");
            }
        }
        engine
    }

    fn rows(engine: &rusqlite::Connection, sql: &str) -> (Vec<String>, Vec<Vec<Cell>>) {
        let mut statement = engine.prepare(sql).unwrap_or_else(|error| panic!("{error}\n{sql}"));
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let width = names.len();
        let read = statement.query_map([], |row| {
            (0..width)
                .map(|at| {
                    Ok(match row.get(at)? {
                        Held::Null => Cell::Null,
                        Held::Integer(n) => Cell::Int(n),
                        Held::Real(x) => Cell::Float(x),
                        Held::Text(text) => Cell::Text(text),
                        Held::Blob(_) => Cell::Absent,
                    })
                })
                .collect()
        });
        (names, read.expect("runs").collect::<Result<_, _>>().expect("rows"))
    }

    #[test]
    fn the_query_tells_what_the_report_must_hold_and_the_sums_what_was_entered() {
        let (book, other) = (Marker::mint(Timestamp::EPOCH, 1), Marker::mint(Timestamp::EPOCH, 2));
        for n in [0, 1, 2, 40, 400] {
            let entries: Vec<Entry> = (0..n).map(entry).collect();
            // First told otherwise, half of them twice, some of another book, some later.
            let wrong = (0..n).map(|n| Entry { landed: false, silent: true, latency_ms: None, ..entry(n) }).collect();
            let later = (0..n).map(|n| Entry { latency_ms: Some(1), ..entry(n) }).collect();
            let batches = [
                batch(book, 1, wrong),
                batch(book, 2, entries.clone()),
                batch(book, 2, entries.iter().step_by(2).cloned().collect()),
                batch(book, 3, later),
                batch(other, 1, (500..520).map(entry).collect()),
            ];
            let engine = table(&batches.iter().collect::<Vec<_>>());
            let since = "2015-08-24T10:00Z".to_owned();
            let source = Source { table: "t".to_owned(), book, batch: 2, since };
            let report = Report::of(source, &entries);
            let marker = Marker::mint(Timestamp::from_secs(9), 9);
            let (names, found) = rows(&engine, &query(marker, &report.source, "t"));
            assert_eq!(names, crate::canary::report::REPORT_COLUMNS.map(|column| column.name));
            let carries = Carries::default();
            let run = run(marker, &report);
            let mut tally = Tally::of(&run, &carries);
            found.iter().for_each(|row| tally.add(row));
            let seen = tally.finish();
            assert!(seen.complete() && seen.expected == report.rows(), "{n}: {seen} {:?}", seen.examples);
            let (_, summed) = rows(&engine, &sums(&report.source, "t"));
            assert_eq!(read_sums(summed.first().map(Vec::as_slice)), Some(report.entered), "{n}");
        }
    }

    fn run(marker: Marker, report: &Report) -> Run {
        use crate::canary::{CanaryName, Labels, Mode, PlatformName, Route, TargetName, Terms, Why};
        let route = Route::new(
            CanaryName::new("dogfood").expect("valid"),
            PlatformName::new("p").expect("valid"),
            TargetName::new("t").expect("valid"),
            Mode::Replace,
            Labels::default(),
        );
        let terms = Terms { due: Timestamp::EPOCH, objective: Duration::ZERO, deadline: Duration::ZERO };
        Run {
            marker,
            route: route.into(),
            terms,
            sample: Sample::of(report.rows()),
            why: Why::Scheduled,
            report: Some(report.clone().into()),
        }
    }

    #[test]
    fn rows_that_are_no_sums_are_not_taken_for_some() {
        for row in [vec![], vec![Cell::Int(1); 3], vec![Cell::Null; 4], vec![Cell::Text("x".to_owned()); 4]] {
            assert_eq!(read_sums(Some(&row)), None, "{row:?}");
        }
        assert_eq!(read_sums(None), None);
    }
}
