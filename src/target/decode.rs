//! Decoding: rows out of files and bodies that came from outside. Everything is bounded, and what
//! cannot be decoded is evidence, never an error: a broken file must not hide the files beside it.

mod json;
mod text;

use std::io::Read;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use json::document;
pub(crate) use json::{numbered_row, row};

use super::dialect::Dialect;
use crate::canary::{Cell, Sample, Tally, run::Columns as Layout};

/// How rows stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Values separated by commas, or what the config says.
    Csv,
    /// Values separated by tabs.
    Tsv,
    /// One JSON object or array a line.
    Jsonl,
}

impl Format {
    /// The name in config, URLs and file names.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Tsv => "tsv",
            Format::Jsonl => "jsonl",
        }
    }

    /// What separates values if nothing else is said.
    pub fn delimiter(self) -> char {
        if self == Format::Tsv { '\t' } else { ',' }
    }
}

/// The rows of one file or body.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decoded {
    /// Cells in the order of the run's columns; columns that are not there are [`Cell::Absent`].
    pub rows: Vec<Vec<Cell>>,
    /// Something after these rows could not be read.
    pub broken: bool,
}

impl Decoded {
    /// Something is there, but no row can be made of it.
    pub fn garbage() -> Self {
        Self { rows: Vec::new(), broken: true }
    }

    /// Counts the rows. A place of which not one row can be read holds changed rows, not missing
    /// ones: something of ours did come. One that breaks off lacks what does not follow.
    pub fn count(&self, tally: &mut Tally<'_>, sample: Sample) {
        self.rows.iter().for_each(|row| tally.add(row));
        let unreadable = match (self.broken, self.rows.is_empty()) {
            (false, _) => 0,
            (true, true) => sample.rows,
            (true, false) => 1,
        };
        (0..unreadable).for_each(|_| tally.add(&[]));
    }

    /// Bytes that it takes in memory, roughly.
    pub fn weight(&self) -> usize {
        let cell = |cell: &Cell| size_of::<Cell>() + if let Cell::Text(text) = cell { text.len() } else { 0 };
        self.rows.iter().map(|row| size_of::<Vec<Cell>>() + row.iter().map(cell).sum::<usize>()).sum()
    }
}

/// Bytes that a row may take in a file, on average: four times what the longest takes as JSON.
const ROW: usize = 2048;
/// Room for headers and small samples.
const MARGIN: usize = 64 * 1024;
/// Characters kept of a value: no value of a sample is nearly as long, so a cut one stays unequal.
const LONGEST: usize = 4096;

/// How many bytes of a sample's files are worth decoding.
pub fn room(sample: Sample) -> usize {
    Tally::enough(sample) as usize * ROW + MARGIN
}

/// Reads the first `most` rows of a file, packed or not (its first bytes tell), unpacked up to `room`
/// bytes. `known`: the columns that its rows should have.
pub fn file(bytes: &[u8], known: &'static Layout, dialect: &Dialect, room: usize, most: usize) -> Decoded {
    let (unpacked, cut_off);
    let bytes = if bytes.starts_with(GZIP) {
        (unpacked, cut_off) = unpack(flate2::read::MultiGzDecoder::new(bytes), room);
        &unpacked[..]
    } else if is_bzip2(bytes) {
        (unpacked, cut_off) = unpack(bzip2::read::MultiBzDecoder::new(bytes), room);
        &unpacked[..]
    } else {
        cut_off = bytes.len() > room;
        &bytes[..bytes.len().min(room)]
    };
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut decoded = match dialect.format {
        Format::Csv | Format::Tsv => text::rows(bytes, known, dialect, most),
        Format::Jsonl => json::lines(bytes, known, most),
    };
    decoded.broken |= cut_off;
    decoded
}

/// How a gzipped file begins.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// `BZh`, a level, and the mark of a first block or of the end.
fn is_bzip2(bytes: &[u8]) -> bool {
    matches!(bytes, [b'B', b'Z', b'h', b'1'..=b'9', 0x31 | 0x17, ..])
}

/// Unpacks up to `room` bytes. Whether there was more, or what there was is damaged, is the second.
fn unpack(packed: impl Read, room: usize) -> (Vec<u8>, bool) {
    let mut unpacked = Vec::new();
    let read = packed.take(room as u64 + 1).read_to_end(&mut unpacked);
    let more = unpacked.len() > room;
    unpacked.truncate(room);
    (unpacked, more || read.is_err())
}

/// Which of a file's columns are which of ours.
#[derive(Clone, Debug)]
struct Columns {
    known: &'static Layout,
    places: Vec<Option<usize>>,
}

impl Columns {
    /// In their own order.
    fn by_position(known: &'static Layout) -> Self {
        Self { known, places: (0..known.len()).map(Some).collect() }
    }

    /// By their names; none if not one name is known. Engines write names in lower or upper case.
    fn by_name<'a>(known: &'static Layout, names: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut taken = known.map(|_| false);
        let columns: Vec<_> = names
            .map(|name| place_of(known, name).filter(|place| !std::mem::replace(&mut taken[*place], true)))
            // More columns than these belong to nobody.
            .take(1024)
            .collect();
        columns.iter().any(Option::is_some).then_some(Self { known, places: columns })
    }

    fn place(&self, at: usize) -> Option<usize> {
        self.places.get(at).copied().flatten()
    }

    fn place_of(&self, name: &str) -> Option<usize> {
        place_of(self.known, name)
    }

    fn no_cells(&self) -> Vec<Cell> {
        vec![Cell::Absent; self.known.len()]
    }
}

fn place_of(known: &Layout, name: &str) -> Option<usize> {
    known.iter().position(|column| column.name.eq_ignore_ascii_case(name.trim()))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => text[..end].to_owned(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
