//! The sample: the rows of one run. Deterministic from its marker, typed, hard values included.
//!
//! The hard values do not depend on the run: they stand in a small *seed table* that the agent
//! loads through the platform's import, so that a query for a sample reads storage, needs no
//! literal that one engine escapes differently from another, and works on engines that need a
//! FROM. What differs from run to run is the marker and `mix`, a number computed in the query.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::marker::Marker;

/// A value of a sample, or of a report.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'t> {
    /// SQL NULL.
    Null,
    /// A boolean.
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// A double.
    Float(f64),
    /// Text, also for decimals, dates and times: see [`Kind`].
    Text(&'t str),
    /// The run's marker.
    Marker(Marker),
}

/// A value as found at a target, before it is compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Cell {
    /// The column is not there.
    Absent,
    /// NULL.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A double.
    Float(f64),
    /// Text.
    Text(String),
}

/// Longest part of a text that is shown: texts come from outside.
const SHOWN: usize = 120;

impl fmt::Display for Value<'_> {
    /// As people read it, with its type: `0 (integer)`, `"-1" (text)`, `null`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(it) => write!(f, "{it} (boolean)"),
            Self::Int(n) => write!(f, "{n} (integer)"),
            Self::Float(n) => write!(f, "{n:?} (double)"),
            Self::Text(text) => match text.char_indices().nth(SHOWN) {
                Some((end, _)) => write!(f, "{:?} (text)", format!("{}…", &text[..end])),
                None => write!(f, "{text:?} (text)"),
            },
            Self::Marker(marker) => write!(f, "\"{marker}\" (text)"),
        }
    }
}

impl fmt::Display for Cell {
    /// As the value that it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("no such column"),
            Self::Null => Value::Null.fmt(f),
            Self::Bool(it) => Value::Bool(*it).fmt(f),
            Self::Int(n) => Value::Int(*n).fmt(f),
            Self::Float(n) => Value::Float(*n).fmt(f),
            Self::Text(text) => Value::Text(text).fmt(f),
        }
    }
}

/// What a column holds, which decides how a found value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The marker.
    Marker,
    /// 64-bit integers.
    Int,
    /// Doubles.
    Float,
    /// Booleans; an engine or format without them writes 0 and 1.
    Bool,
    /// Decimal numbers as text, so that no engine rounds them.
    Decimal,
    /// A calendar date, `YYYY-MM-DD`.
    Date,
    /// A time with zone, RFC 3339.
    Timestamp,
    /// Any text.
    Text,
}

/// A column of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name in queries and at targets.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
}

const fn column(name: &'static str, kind: Kind) -> Column {
    Column { name, kind }
}

/// The columns, in the order in which queries select them. The first is the marker.
pub const COLUMNS: [Column; 12] = [
    column("marker", Kind::Marker),
    column("row_no", Kind::Int),
    column("mix", Kind::Int),
    column("int_edge", Kind::Int),
    column("dec_text", Kind::Decimal),
    column("real_no", Kind::Float),
    column("flag", Kind::Bool),
    column("day", Kind::Date),
    column("at_time", Kind::Timestamp),
    column("empty_text", Kind::Text),
    column("no_text", Kind::Text),
    column("hard_text", Kind::Text),
];

/// Columns whose values stand in the seed table beside `n`, the row number.
pub const SEED_COLUMNS: [Column; 9] =
    [COLUMNS[3], COLUMNS[4], COLUMNS[5], COLUMNS[6], COLUMNS[7], COLUMNS[8], COLUMNS[9], COLUMNS[10], COLUMNS[11]];

/// `mix` of row n is `n * MIX_STEP + salt`: a prime far from round numbers, so that a row in the
/// wrong place never has the right value.
pub const MIX_STEP: i64 = 1_000_003;

/// Integers at which number types break: signs, 2^31, 2^53 (the last exact double), 2^63.
const INT_EDGES: [i64; 10] = [
    0,
    1,
    -1,
    i64::MAX,
    i64::MIN,
    i32::MAX as i64,
    i32::MIN as i64,
    9_007_199_254_740_993,
    -9_007_199_254_740_993,
    4_294_967_296,
];

/// Decimals that a double cannot hold.
const DECIMALS: [&str; 5] = [
    "0.1",
    "-0.000000000000000000001",
    "12345678901234567890.123456789",
    "99999999999999999999999999999999999999",
    "1.10",
];

/// Doubles that survive a shortest-digits round trip only if nobody rounds.
const FLOATS: [f64; 6] = [0.1, -2.5, 1.7976931348623157e308, 2.2250738585072014e-308, 0.30000000000000004, 1e15];

const DAYS: [&str; 5] = ["2015-08-24", "1970-01-01", "2000-02-29", "1900-01-01", "9999-12-31"];

const TIMES: [&str; 5] = [
    "2015-08-24T14:44:00-07:00",
    "1970-01-01T00:00:00Z",
    "2016-12-31T23:59:59.999Z",
    "2015-08-24T21:44:00.123456Z",
    "2012-02-29T12:00:00+05:45",
];

/// Texts that break quoting, delimiting, escaping and encodings.
const TEXTS: [&str; 11] = [
    "plain",
    "\u{1F426} canary \u{10FFFD}",
    "she said \"tweet\", it's 'quoted'",
    "a,b;c\td|e",
    "line one\nline two",
    "back\\slash \\n \\N \\\\",
    " leading and trailing ",
    "ﬀ Ünïcödé 日本語 العربية",
    "NULL",
    "%s ${x} {{y}} <b>&amp;</b> --",
    // Longer than 255 bytes, where short string types end.
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
];

/// Columns that a pair of platform and target cannot carry: they are not compared, and platforms that
/// write them by SQL put NULL in their place. Only columns of [`SEED_COLUMNS`]: marker and numbers tell
/// rows apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Without(u16);

impl Without {
    /// The same and this column; none if there is no such column, or rows cannot do without it.
    pub fn and(self, name: &str) -> Option<Self> {
        let known = SEED_COLUMNS.iter().any(|column| column.name == name);
        let at = COLUMNS.iter().position(|column| column.name == name).filter(|_| known)?;
        Some(Self(self.0 | 1 << at))
    }

    /// Whether it names the column at this place of [`COLUMNS`].
    pub fn has(self, at: usize) -> bool {
        self.0 >> at & 1 == 1
    }

    /// Whether it names a column.
    pub fn names(self, name: &str) -> bool {
        COLUMNS.iter().position(|column| column.name == name).is_some_and(|at| self.has(at))
    }

    fn is_nothing(&self) -> bool {
        self.0 == 0
    }
}

/// The rows of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// How many rows.
    pub rows: u32,
    /// Columns that are left out.
    #[serde(default, skip_serializing_if = "Without::is_nothing")]
    pub without: Without,
}

impl Sample {
    /// So many rows with all columns.
    pub const fn of(rows: u32) -> Self {
        Self { rows, without: Without(0) }
    }

    /// Twenty rows: every hard value at least once, still cheap to query every minute.
    pub const DEFAULT_ROWS: u32 = 20;
    /// The most a sample may have: HTTP outputs drop rows beyond 100,000, and one run must stay
    /// cheap to read back.
    pub const MOST_ROWS: u32 = 10_000;

    /// Values of row `n` (from 0) of a run, in the order of [`COLUMNS`].
    pub fn row(&self, marker: Marker, n: u32) -> [Value<'static>; COLUMNS.len()] {
        let [int_edge, dec_text, real_no, flag, day, at_time, empty_text, no_text, hard_text] = seed_row(n);
        let mix = i64::from(n) * MIX_STEP + marker.salt();
        [
            Value::Marker(marker),
            Value::Int(i64::from(n)),
            Value::Int(mix),
            int_edge,
            dec_text,
            real_no,
            flag,
            day,
            at_time,
            empty_text,
            no_text,
            hard_text,
        ]
    }
}

impl Default for Sample {
    fn default() -> Self {
        Self::of(Self::DEFAULT_ROWS)
    }
}

/// Values of row `n` of the seed table, in the order of [`SEED_COLUMNS`]. The same in every run.
pub fn seed_row(n: u32) -> [Value<'static>; SEED_COLUMNS.len()] {
    let n = n as usize;
    [
        Value::Int(INT_EDGES[n % INT_EDGES.len()]),
        Value::Text(DECIMALS[n % DECIMALS.len()]),
        Value::Float(FLOATS[n % FLOATS.len()]),
        Value::Bool(n.is_multiple_of(2)),
        Value::Text(DAYS[n % DAYS.len()]),
        Value::Text(TIMES[n % TIMES.len()]),
        Value::Text(""),
        Value::Null,
        Value::Text(TEXTS[n % TEXTS.len()]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canary::time::Timestamp;

    #[test]
    fn twenty_rows_hold_every_hard_value() {
        for n in [INT_EDGES.len(), DECIMALS.len(), FLOATS.len(), DAYS.len(), TIMES.len(), TEXTS.len()] {
            assert!(n <= Sample::DEFAULT_ROWS as usize);
        }
        assert!(TEXTS.iter().any(|text| text.len() > 255));
    }

    #[test]
    fn rows_of_two_runs_differ_and_rows_of_one_run_do_not() {
        let (one, two) = (Marker::mint(Timestamp::from_secs(1), 7), Marker::mint(Timestamp::from_secs(1), 8));
        let sample = Sample::default();
        assert_eq!(sample.row(one, 3), sample.row(one, 3));
        assert_ne!(sample.row(one, 3)[2], sample.row(two, 3)[2]);
        assert_ne!(sample.row(one, 3)[2], sample.row(one, 4)[2]);
    }
}
