//! The report: what the agent's own verdicts come to, as a query over them must tell it. It is made and
//! brought by the product that is watched, as any customer's report is, and compared row by row with this.
//!
//! One row per route and hour, and one for all. Percentiles are by nearest rank, which every engine
//! computes to the last digit out of row numbers.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    marker::Marker,
    route::Route,
    sample::{COLUMNS, Column, Kind, Value},
    time::Timestamp,
    verdict::{Outcome, Verdict},
};

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

/// The columns of a report, in the order in which its query selects them. As many as a sample has, and the
/// first two are the same, so that a target is read for both in one way.
pub const REPORT_COLUMNS: [Column; COLUMNS.len()] = [
    COLUMNS[0],
    COLUMNS[1],
    column("at_hour", Kind::Text),
    column("canary", Kind::Text),
    column("platform", Kind::Text),
    column("target", Kind::Text),
    column("write_mode", Kind::Text),
    column("runs", Kind::Int),
    column("landed_ratio", Kind::Float),
    column("silent_losses", Kind::Int),
    column("p50_ms", Kind::Int),
    column("p99_ms", Kind::Int),
];

/// The canary that sends reports; no other is called so where there is one.
pub const DOGFOOD: &str = "dogfood";
/// What stands for every hour, canary and so on in the row for all. Sorts before any name.
pub const ALL: &str = "*";

/// The hour of a time, as reports name it.
pub fn hour_of(at: Timestamp) -> String {
    at.hour().to_utc().format("%Y-%m-%dT%H:00Z").to_string()
}

/// A final verdict as the agent writes it down on a platform.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Of which run.
    pub run: Marker,
    /// The hour in which it was due.
    pub hour: String,
    /// Canary, platform, target and mode.
    pub route: [String; 4],
    /// Every row is there, once and right.
    pub landed: bool,
    /// The platform said done, and it was not.
    pub silent: bool,
    /// From the accepted submit to the first look that found all rows.
    pub latency_ms: Option<i64>,
}

impl Entry {
    /// None: nobody could see what the run came to, or it is not over.
    pub fn of(route: &Route, verdict: &Verdict) -> Option<Self> {
        let outcome = verdict.outcome;
        if outcome == Outcome::Unknown || verdict.provisional {
            return None;
        }
        let landed = matches!(outcome, Outcome::Landed | Outcome::Late | Outcome::Unclaimed);
        let start = verdict.evidence.accepted_at.unwrap_or(verdict.due);
        let first = verdict.evidence.first_complete().filter(|_| landed);
        let latency = first.map(|look| look.started_at.since(start));
        Some(Self {
            run: verdict.run,
            hour: hour_of(verdict.due),
            route: [
                route.canary.to_string(),
                route.platform.to_string(),
                route.target.to_string(),
                route.mode.to_string(),
            ],
            landed,
            silent: outcome.is_silent(),
            latency_ms: latency.map(|latency| i64::try_from(latency.as_millis()).unwrap_or(i64::MAX)),
        })
    }
}

/// Where a report's query reads what the agent wrote down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The table.
    pub table: String,
    /// The book: entries of others, and earlier ones that were lost, stand in the same table.
    pub book: Marker,
    /// Entries of later batches are none of this report's.
    pub batch: u32,
    /// From this hour on.
    pub since: String,
}

/// What entries come to together: enough to tell whether any was lost or changed. That some stand there twice
/// changes no report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    /// How many runs.
    pub runs: i64,
    /// How many landed.
    pub landed: i64,
    /// How many were lost silently.
    pub silent: i64,
    /// All latencies.
    pub latency_ms: i64,
}

impl Sums {
    /// Of some entries.
    pub fn of<'e>(entries: impl Iterator<Item = &'e Entry>) -> Self {
        entries.fold(Self::default(), |sums, entry| Self {
            runs: sums.runs + 1,
            landed: sums.landed + i64::from(entry.landed),
            silent: sums.silent + i64::from(entry.silent),
            latency_ms: sums.latency_ms.saturating_add(entry.latency_ms.unwrap_or(0)),
        })
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, landed, silent, latency_ms } = self;
        write!(f, "{runs} runs, {landed} landed, {silent} silent losses, {latency_ms} ms in all")
    }
}

/// A row of a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The hour; [`ALL`] in the row for all, as in the next.
    pub hour: String,
    /// Canary, platform, target and mode.
    pub route: [String; 4],
    /// How many runs were judged, and not by someone blind.
    pub runs: i64,
    /// How many of them landed.
    pub landed: i64,
    /// How many were lost silently.
    pub silent: i64,
    /// Median of the latencies of those that landed.
    pub p50_ms: Option<i64>,
    /// The 99th percentile.
    pub p99_ms: Option<i64>,
}

impl Line {
    fn of(hour: &str, route: [String; 4], entries: &[&Entry]) -> Self {
        let sums = Sums::of(entries.iter().copied());
        let mut latencies: Vec<i64> = entries.iter().filter_map(|entry| entry.latency_ms).collect();
        latencies.sort_unstable();
        let rank = |percent: usize| (latencies.len() * percent).div_ceil(100).max(1) - 1;
        Self {
            hour: hour.to_owned(),
            route,
            runs: sums.runs,
            landed: sums.landed,
            silent: sums.silent,
            p50_ms: latencies.get(rank(50)).copied(),
            p99_ms: latencies.get(rank(99)).copied(),
        }
    }

    /// Share of the runs that landed; none without runs.
    pub fn landed_ratio(&self) -> Option<f64> {
        (self.runs > 0).then(|| self.landed as f64 / self.runs as f64)
    }

    /// Whether it is the row for all.
    pub fn is_for_all(&self) -> bool {
        self.hour == ALL
    }
}

/// The rows that a report must have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What its query reads.
    pub source: Source,
    /// What the agent has written down there, as far as the report reads it.
    pub entered: Sums,
    /// In the order of their row numbers.
    pub lines: Vec<Line>,
}

impl Report {
    /// Of entries from `source.since` on, each run once.
    pub fn of(source: Source, entries: &[Entry]) -> Self {
        let read: Vec<&Entry> = entries.iter().filter(|entry| entry.hour >= source.since).collect();
        let mut by_line: BTreeMap<(&str, &[String; 4]), Vec<&Entry>> = BTreeMap::new();
        for entry in &read {
            by_line.entry((&entry.hour, &entry.route)).or_default().push(entry);
        }
        let all = Line::of(ALL, [ALL; 4].map(str::to_owned), &read);
        let rest = by_line.iter().map(|((hour, route), entries)| Line::of(hour, (*route).clone(), entries));
        let lines = [all].into_iter().chain(rest).collect();
        Self { entered: Sums::of(read.iter().copied()), lines, source }
    }

    /// Values of row `n`, in the order of [`REPORT_COLUMNS`]; none beyond the last.
    pub fn row(&self, marker: Marker, n: u32) -> Option<[Value<'_>; COLUMNS.len()]> {
        let line = self.lines.get(n as usize)?;
        let number = |value: Option<i64>| value.map_or(Value::Null, Value::Int);
        let [canary, platform, target, mode] = &line.route;
        Some([
            Value::Marker(marker),
            Value::Int(i64::from(n)),
            Value::Text(&line.hour),
            Value::Text(canary),
            Value::Text(platform),
            Value::Text(target),
            Value::Text(mode),
            Value::Int(line.runs),
            line.landed_ratio().map_or(Value::Null, Value::Float),
            Value::Int(line.silent),
            number(line.p50_ms),
            number(line.p99_ms),
        ])
    }

    /// How many rows.
    pub fn rows(&self) -> u32 {
        u32::try_from(self.lines.len()).unwrap_or(u32::MAX)
    }
}

/// How a report is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportPlan {
    /// The table that the agent writes its verdicts into, before the day.
    pub table: String,
    /// Of how many hours it tells, the present one included.
    pub hours: u32,
    /// What was loaded is read after so long. None: as the platform needs it.
    pub settles: Option<Duration>,
}

impl ReportPlan {
    /// Most runs that a report tells of: they are read from the ledger each time.
    pub const MOST_RUNS: u32 = 50_000;

    /// How many rows a report of so many routes has at most.
    pub fn rows(&self, routes: usize) -> u32 {
        u32::try_from(routes).unwrap_or(u32::MAX).saturating_mul(self.hours).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u32, hour: &str, canary: &str, latency_ms: Option<i64>) -> Entry {
        let route = [canary, "p", "t", "append"].map(str::to_owned);
        let run = Marker::mint(Timestamp::from_secs(i64::from(n)), 1);
        Entry {
            run,
            hour: hour.to_owned(),
            route,
            landed: latency_ms.is_some(),
            silent: latency_ms.is_none(),
            latency_ms,
        }
    }

    fn source(since: &str) -> Source {
        let book = Marker::mint(Timestamp::EPOCH, 1);
        Source { table: "t".to_owned(), book, batch: 1, since: since.to_owned() }
    }

    #[test]
    fn a_report_has_a_row_for_all_and_one_for_each_hour_and_route() {
        let (ten, eleven) = ("2015-08-24T10:00Z", "2015-08-24T11:00Z");
        let entries = [
            entry(1, "2015-08-24T09:00Z", "a", Some(7)),
            entry(2, ten, "b", Some(300)),
            entry(3, ten, "a", Some(100)),
            entry(4, ten, "a", Some(200)),
            entry(5, ten, "a", None),
            entry(6, eleven, "a", None),
        ];
        let report = Report::of(source(ten), &entries);
        let told: Vec<_> =
            report.lines.iter().map(|l| (&*l.hour, &*l.route[0], l.runs, l.silent, l.p50_ms, l.p99_ms)).collect();
        assert_eq!(
            told,
            [
                ("*", "*", 5, 2, Some(200), Some(300)),
                (ten, "a", 3, 1, Some(100), Some(200)),
                (ten, "b", 1, 0, Some(300), Some(300)),
                (eleven, "a", 1, 1, None, None),
            ]
        );
        assert_eq!(report.entered, Sums { runs: 5, landed: 3, silent: 2, latency_ms: 600 });
        assert_eq!(report.lines[1].landed_ratio(), Some(2.0 / 3.0));
    }

    #[test]
    fn a_report_of_nothing_says_so_in_one_row() {
        let report = Report::of(source("2015-08-24T10:00Z"), &[]);
        assert_eq!(report.rows(), 1);
        let row = report.row(source("").book, 0).expect("a row");
        assert_eq!((&row[7], &row[8], &row[10]), (&Value::Int(0), &Value::Null, &Value::Null));
        assert!(report.row(source("").book, 1).is_none());
    }

    #[test]
    fn hours_are_whole_and_before_the_epoch_as_well() {
        for (at, hour) in [(0, "1970-01-01T00:00Z"), (3599, "1970-01-01T00:00Z"), (-1, "1969-12-31T23:00Z")] {
            assert_eq!(hour_of(Timestamp::from_secs(at)), hour);
        }
    }
}
