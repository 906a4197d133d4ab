//! The tally: expected rows against found rows, as sets, so that order never matters.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    marker::Marker,
    report::{REPORT_COLUMNS, Report},
    run::{Columns, Run},
    sample::{COLUMNS, Cell, Column, Kind, Sample, Value},
    time::Timestamp,
};

/// What a format or an engine cannot carry, so that nothing lossless is ever called lost.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Carries {
    /// NULL and the empty string arrive as the same thing (CSV without a NULL text).
    pub null_is_empty: bool,
    /// NULL arrives as this text.
    pub null_text: Option<String>,
    /// CR LF for LF inside a text: a newline setting that also rewrites values.
    pub newlines_vary: bool,
}

/// What a read found of one run's rows.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Rows {
    /// How many rows the sample has.
    pub expected: u32,
    /// Distinct expected rows that are there, with the right values.
    pub right: u32,
    /// Expected rows of which nothing is there.
    pub missing: u32,
    /// Rows that are there once too often.
    pub copies: u32,
    /// Rows of ours with other values.
    pub changed: u32,
    /// The first few differences, for people. Never more than [`EXAMPLES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Difference>,
}

/// How many differences are kept as examples: enough to see a pattern on a page.
pub const EXAMPLES: usize = 5;

/// One wrong value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Row number in the sample.
    pub row: u32,
    /// Column name.
    pub column: String,
    /// What should stand there.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

impl fmt::Display for Rows {
    /// As people read it: `20 of 20 rows`, `nothing`, `10 of 20 rows, 10 missing`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.missing == self.expected && self.copies + self.changed == 0 {
            return write!(f, "nothing of {} rows", self.expected);
        }
        write!(f, "{} of {} rows right", self.right, self.expected)?;
        for (n, what) in [(self.missing, "missing"), (self.copies, "copies"), (self.changed, "changed")] {
            if n > 0 {
                write!(f, ", {n} {what}")?;
            }
        }
        Ok(())
    }
}

impl Rows {
    /// Every row once and right, as a read would find it.
    pub fn all_right(expected: u32) -> Self {
        Self { expected, right: expected, ..Self::default() }
    }

    /// Nothing of ours.
    pub fn none(expected: u32) -> Self {
        Self { expected, missing: expected, ..Self::default() }
    }

    /// Every row exactly once and right.
    pub fn complete(&self) -> bool {
        self.right == self.expected && self.copies == 0 && self.changed == 0
    }

    /// Counts one right row as changed, for what is wrong with where it stands.
    pub fn count_changed(&mut self, what: &str, expected: String, found: String) {
        if let Some(right) = self.right.checked_sub(1) {
            self.right = right;
            self.changed += 1;
            self.examples.insert(0, Difference { row: 0, column: what.to_owned(), expected, found });
            self.examples.truncate(EXAMPLES);
        }
    }

    /// Nothing of ours was found.
    pub fn nothing(&self) -> bool {
        self.missing == self.expected && self.expected > 0
    }
}

/// Counts the found rows of one run.
pub struct Tally<'a> {
    marker: Marker,
    sample: Sample,
    /// Its rows are wanted instead of the sample's.
    report: Option<Arc<Report>>,
    carries: &'a Carries,
    /// How often expected row n was found right.
    seen: Vec<u32>,
    /// Rows with our marker that equal no expected row, with the row number they claim.
    odd: Vec<(Option<u32>, Vec<Cell>)>,
    /// Rows past the bound: counted, not kept.
    beyond: u32,
}

/// Odd rows kept for comparison beyond twice the sample are only counted: a hostile target may
/// hold any number.
const ODD_KEPT: usize = 64;

impl<'a> Tally<'a> {
    /// A count of nothing yet.
    pub fn new(marker: Marker, sample: Sample, carries: &'a Carries) -> Self {
        Self { marker, sample, report: None, carries, seen: vec![0; sample.rows as usize], odd: Vec::new(), beyond: 0 }
    }

    /// The same for whatever must land of a run.
    pub fn of(run: &Run, carries: &'a Carries) -> Self {
        Self { report: run.report.clone(), ..Self::new(run.marker, run.sample, carries) }
    }

    fn columns(&self) -> &'static Columns {
        if self.report.is_some() { &REPORT_COLUMNS } else { &COLUMNS }
    }

    /// Values of row `n`; none beyond the last.
    fn row(&self, n: u32) -> Option<[Value<'_>; COLUMNS.len()]> {
        match &self.report {
            Some(report) => report.row(self.marker, n),
            None => (n < self.sample.rows).then(|| self.sample.row(self.marker, n)),
        }
    }

    /// How many found rows of one run a read needs to fetch: more than that changes no verdict.
    pub fn enough(sample: Sample) -> u32 {
        sample.rows.saturating_mul(3).saturating_add(ODD_KEPT as u32)
    }

    /// Adds one found row; `cells` stand in the order of the run's columns and may be short.
    pub fn add(&mut self, cells: &[Cell]) {
        let claimed = row_number(cells);
        let right = claimed.and_then(|n| self.row(n)).is_some_and(|expected| {
            self.columns().iter().zip(&expected).enumerate().all(|(at, (column, value))| {
                self.sample.without.has(at)
                    || agrees(*column, value, cells.get(at).unwrap_or(&Cell::Absent), self.carries)
            })
        });
        match claimed {
            Some(n) if right => self.seen[n as usize] = self.seen[n as usize].saturating_add(1),
            _ if self.odd.len() < ODD_KEPT + self.sample.rows as usize => self.odd.push((claimed, cells.to_vec())),
            _ => self.beyond = self.beyond.saturating_add(1),
        }
    }

    /// What was found.
    pub fn finish(self) -> Rows {
        let right = self.seen.iter().filter(|times| **times > 0).count() as u32;
        let mut copies: u32 = self.seen.iter().map(|times| times.saturating_sub(1)).sum();
        // An odd row stands for the expected row it claims to be if that one is missing, else for
        // any missing one (its number may be what was changed), else it is one too many.
        let mut absent: Vec<u32> = (0..self.sample.rows).filter(|n| self.seen[*n as usize] == 0).collect();
        let (mut changed, mut examples) = (0, Vec::new());
        let (claiming, adrift): (Vec<_>, Vec<_>) =
            self.odd.iter().partition(|(claimed, _)| claimed.is_some_and(|n| absent.binary_search(&n).is_ok()));
        for (claimed, cells) in claiming.into_iter().chain(adrift) {
            let place =
                claimed.and_then(|n| absent.binary_search(&n).ok()).or(if absent.is_empty() { None } else { Some(0) });
            changed += 1;
            match place {
                Some(place) => self.explain(absent.remove(place), cells, &mut examples),
                None => {
                    copies += 1;
                    if let Some(n) = claimed.filter(|n| *n < self.sample.rows) {
                        self.explain(n, cells, &mut examples);
                    }
                }
            }
        }
        Rows {
            expected: self.sample.rows,
            right,
            missing: (absent.len() as u32).saturating_sub(self.beyond),
            copies: copies.saturating_add(self.beyond.saturating_sub(absent.len() as u32)),
            changed: changed + self.beyond,
            examples,
        }
    }

    fn explain(&self, n: u32, cells: &[Cell], examples: &mut Vec<Difference>) {
        let Some(expected) = self.row(n) else { return };
        for (at, (column, value)) in self.columns().iter().zip(&expected).enumerate() {
            let found = cells.get(at).unwrap_or(&Cell::Absent);
            let wanted = !self.sample.without.has(at) && examples.len() < EXAMPLES;
            if wanted && !agrees(*column, value, found, self.carries) {
                examples.push(Difference {
                    row: n,
                    column: column.name.to_owned(),
                    expected: value.to_string(),
                    found: found.to_string(),
                });
            }
        }
    }
}

fn row_number(cells: &[Cell]) -> Option<u32> {
    match cells.get(1)? {
        Cell::Int(n) => u32::try_from(*n).ok(),
        Cell::Text(text) => text.trim().parse().ok(),
        Cell::Float(n) if n.fract() == 0.0 && (0.0..4e9).contains(n) => Some(*n as u32),
        _ => None,
    }
}

/// Whether a found value is the expected one, for what the column is and the format can carry.
pub fn agrees(column: Column, expected: &Value, found: &Cell, carries: &Carries) -> bool {
    match (expected, found) {
        (Value::Null, Cell::Null) => true,
        (Value::Null, Cell::Text(text)) => {
            (carries.null_is_empty && text.is_empty()) || carries.null_text.as_deref() == Some(text)
        }
        (Value::Text(""), Cell::Null) => carries.null_is_empty,
        (Value::Text(text), Cell::Null) => carries.null_text.as_deref() == Some(text),
        (Value::Marker(marker), Cell::Text(text)) => text.parse() == Ok(*marker),
        (Value::Int(wanted), Cell::Int(n)) => wanted == n,
        (Value::Int(wanted), Cell::Text(text)) => text.trim().parse() == Ok(*wanted),
        (Value::Bool(wanted), cell) => boolean(cell) == Some(*wanted),
        (Value::Float(wanted), Cell::Float(n)) => wanted == n,
        (Value::Float(wanted), Cell::Int(n)) => *wanted == *n as f64,
        (Value::Float(wanted), Cell::Text(text)) => text.trim().parse::<f64>() == Ok(*wanted),
        (Value::Text(wanted), Cell::Text(text)) => match column.kind {
            Kind::Date => day(text) == Some(*wanted),
            Kind::Timestamp => *wanted == text || instant(text).is_some_and(|at| instant(wanted) == Some(at)),
            Kind::Decimal => *wanted == text,
            _ if carries.newlines_vary => *wanted == text.replace("\r\n", "\n"),
            _ => *wanted == text,
        },
        _ => false,
    }
}

fn boolean(cell: &Cell) -> Option<bool> {
    match cell {
        Cell::Bool(b) => Some(*b),
        Cell::Int(0) => Some(false),
        Cell::Int(1) => Some(true),
        Cell::Text(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "1" => Some(true),
            "false" | "f" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// A date, also where an engine shows it as midnight.
fn day(text: &str) -> Option<&str> {
    let (day, rest) = text.split_at_checked(10)?;
    let midnight = rest.is_empty() || rest.strip_prefix([' ', 'T']).is_some_and(|clock| clock.starts_with("00:00:00"));
    midnight.then_some(day)
}

/// A time in the spellings that engines write: RFC 3339, a space for `T`, `UTC` or a short offset
/// at the end. A time without a zone is not an instant.
fn instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let mut text = match text.strip_suffix(" UTC") {
        Some(local) => format!("{local}Z"),
        None => text.to_owned(),
    };
    if text.as_bytes().get(10) == Some(&b' ') {
        text.replace_range(10..11, "T");
    }
    let offset = text.len().checked_sub(3)?;
    // PostgreSQL writes `-07` for whole hours.
    if text.is_char_boundary(offset) && text[offset..].starts_with(['+', '-']) {
        text.push_str(":00");
    }
    Timestamp::parse_rfc3339(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker() -> Marker {
        Marker::mint(Timestamp::from_secs(9), 42)
    }

    fn as_found(value: &Value) -> Cell {
        match value {
            Value::Null => Cell::Null,
            Value::Bool(b) => Cell::Bool(*b),
            Value::Int(n) => Cell::Int(*n),
            Value::Float(n) => Cell::Float(*n),
            Value::Text(text) => Cell::Text((*text).to_owned()),
            Value::Marker(marker) => Cell::Text(marker.to_string()),
        }
    }

    fn rows(sample: Sample) -> Vec<Vec<Cell>> {
        (0..sample.rows).map(|n| sample.row(marker(), n).iter().map(as_found).collect()).collect()
    }

    fn count(found: &[Vec<Cell>], carries: &Carries) -> Rows {
        let mut tally = Tally::new(marker(), Sample::default(), carries);
        found.iter().for_each(|row| tally.add(row));
        tally.finish()
    }

    #[test]
    fn intact_rows_are_complete_in_any_order() {
        let mut found = rows(Sample::default());
        found.reverse();
        assert_eq!(count(&found, &Carries::default()), Rows::all_right(20));
    }

    #[test]
    fn no_rows_are_nothing() {
        let none = count(&[], &Carries::default());
        assert!(none.nothing() && !none.complete());
    }

    #[test]
    fn half_the_rows_are_missing_the_other_half() {
        let found = rows(Sample::default());
        let half = count(&found[..10], &Carries::default());
        assert_eq!((half.right, half.missing, half.copies, half.changed), (10, 10, 0, 0));
    }

    #[test]
    fn doubled_rows_are_copies() {
        let mut found = rows(Sample::default());
        found.extend(found.clone());
        let twice = count(&found, &Carries::default());
        assert_eq!((twice.right, twice.missing, twice.copies, twice.changed), (20, 0, 20, 0));
    }

    #[test]
    fn a_changed_value_in_any_column_is_a_changed_row_and_not_a_missing_one() {
        for column in 1..COLUMNS.len() {
            let mut found = rows(Sample::default());
            found[7][column] = Cell::Text("something else".into());
            let rows = count(&found, &Carries::default());
            assert_eq!(
                (rows.right, rows.missing, rows.copies, rows.changed),
                (19, 0, 0, 1),
                "{}",
                COLUMNS[column].name
            );
            assert_eq!(rows.examples[0].row, 7);
        }
    }

    #[test]
    fn a_wrong_value_is_told_with_its_type_in_words() {
        let told = |column: usize, found: Cell| {
            let mut rows = rows(Sample::default());
            rows[0][column] = found;
            let first = count(&rows, &Carries::default()).examples.swap_remove(0);
            (first.expected, first.found)
        };
        let minus = |column| told(column, Cell::Text("-1".into()));
        assert_eq!(minus(1), ("0 (integer)".to_owned(), "\"-1\" (text)".to_owned()));
        assert_eq!(told(1, Cell::Null).1, "null");
        assert_eq!(told(1, Cell::Absent).1, "no such column");
        assert_eq!(told(1, Cell::Float(0.5)).1, "0.5 (double)");
        assert_eq!(told(1, Cell::Bool(true)).1, "true (boolean)");
        // A text of somebody else's is cut, and what it is stands there all the same.
        let long = told(1, Cell::Text("ä\n\"".repeat(1_000))).1;
        assert!(long.ends_with("…\" (text)") && long.chars().count() < 300, "{long}");
    }

    #[test]
    fn every_row_changed_in_its_number_is_changed_and_not_missing() {
        let mut found = rows(Sample::default());
        for (n, row) in found.iter_mut().enumerate() {
            row[1] = Cell::Int((n as i64 + 1) % 20);
        }
        let rows = count(&found, &Carries::default());
        assert_eq!((rows.right, rows.missing, rows.changed), (0, 0, 20));
    }

    #[test]
    fn a_dropped_column_changes_every_row() {
        let mut found = rows(Sample::default());
        found.iter_mut().for_each(|row| row[5] = Cell::Absent);
        assert_eq!(count(&found, &Carries::default()).changed, 20);
    }

    #[test]
    fn any_number_of_foreign_rows_under_our_marker_is_bounded() {
        let mut found = rows(Sample::default());
        found.extend((0..10_000).map(|_| vec![Cell::Null; 3]));
        let rows = count(&found, &Carries::default());
        assert_eq!((rows.right, rows.missing, rows.copies), (20, 0, 10_000));
        assert!(rows.examples.len() <= EXAMPLES);
    }

    #[test]
    fn what_a_csv_cannot_carry_is_not_a_difference() {
        let csv = Carries { null_is_empty: true, ..Carries::default() };
        let mut found = rows(Sample::default());
        for row in &mut found {
            for cell in row.iter_mut() {
                *cell = match &*cell {
                    Cell::Null => Cell::Text(String::new()),
                    Cell::Bool(b) => Cell::Text(b.to_string()),
                    Cell::Int(n) => Cell::Text(n.to_string()),
                    Cell::Float(n) => Cell::Text(format!("{n:e}")),
                    other => other.clone(),
                };
            }
        }
        assert!(count(&found, &csv).complete());
        assert!(!count(&found, &Carries::default()).complete(), "NULL must stay NULL where the format has it");
    }

    #[test]
    fn a_time_is_the_same_in_every_spelling() {
        for text in [
            "2015-08-24T14:44:00-07:00",
            "2015-08-24 21:44:00+00",
            "2015-08-24 21:44:00 UTC",
            "2015-08-24T21:44:00.000Z",
            "2015-08-24 14:44:00-07",
        ] {
            assert_eq!(instant(text), Timestamp::parse_rfc3339("2015-08-24T21:44:00Z"), "{text}");
        }
        assert_eq!(instant("2015-08-24 21:44:00"), None);
        assert_eq!(instant("é"), None);
    }
}
