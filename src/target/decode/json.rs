//! Rows out of JSON: one row a line, or one document with names and rows. Numbers keep every digit.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Columns, Decoded, Layout, shortened};
use crate::canary::Cell;

/// Reads one JSON object (by name) or array (by position) a line.
pub(super) fn lines(bytes: &[u8], known: &'static Layout, most: usize) -> Decoded {
    let columns = Columns::by_position(known);
    let mut decoded = Decoded::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        // What is not UTF-8 becomes a character that no sample has.
        let line = String::from_utf8_lossy(line.trim_ascii());
        if line.is_empty() {
            continue;
        }
        if decoded.rows.len() == most {
            break;
        }
        match read(&line, Row(&columns)) {
            Ok(row) => decoded.rows.push(row),
            // A bad line does not make the lines after it unreadable.
            Err(_) => decoded.broken = true,
        }
    }
    decoded
}

/// Reads `{"column_names": […], "column_types": […], "data": [[…], …]}`, as HTTP output sends it.
pub fn document(bytes: &[u8], known: &'static Layout, most: usize) -> Decoded {
    #[derive(Deserialize)]
    struct Document<'a> {
        #[serde(borrow)]
        column_names: Option<&'a RawValue>,
        #[serde(borrow)]
        data: &'a RawValue,
    }
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{FEFF}');
    if text.trim().is_empty() {
        return Decoded::default();
    }
    let Ok(Document { column_names, data }) = serde_json::from_str(text) else { return Decoded::garbage() };
    let names: Vec<String> = column_names.and_then(|names| serde_json::from_str(names.get()).ok()).unwrap_or_default();
    let columns = Columns::by_name(known, names.iter().map(String::as_str));
    let columns = columns.unwrap_or_else(|| Columns::by_position(known));
    let mut decoded = Decoded::default();
    // The rows stay beside the error: what came before it was read.
    decoded.broken = read(data.get(), Rows { columns: &columns, rows: &mut decoded.rows, most }).is_err();
    decoded
}

/// Reads one JSON object or array as a row.
pub(crate) fn row(text: &str, known: &'static Layout) -> Option<Vec<Cell>> {
    read(text, Row(&Columns::by_position(known))).ok()
}

/// Reads a JSON array that begins with a number; what follows are values of the columns named.
pub(crate) fn numbered_row(text: &str, known: &'static Layout, names: &[&str]) -> Option<(usize, Vec<Cell>)> {
    let columns = Columns::by_name(known, ["the number"].iter().chain(names).copied())?;
    let cells = read(text, Row(&columns)).ok()?;
    let values: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    Some((values.first()?.get().parse().ok()?, cells))
}

fn read<'de, S: DeserializeSeed<'de>>(text: &'de str, seed: S) -> serde_json::Result<S::Value> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let value = seed.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// One row: an object by name, or an array by position.
struct Row<'a>(&'a Columns);

impl<'de> DeserializeSeed<'de> for Row<'_> {
    type Value = Vec<Cell>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Vec<Cell>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = Vec<Cell>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Cell>, A::Error> {
        let mut cells = self.0.no_cells();
        while let Some(name) = map.next_key::<std::borrow::Cow<'_, str>>()? {
            match self.0.place_of(&name) {
                Some(place) => cells[place] = cell(map.next_value()?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(cells)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut row: A) -> Result<Vec<Cell>, A::Error> {
        let mut cells = self.0.no_cells();
        let mut at = 0;
        while let Some(value) = row.next_element::<&RawValue>()? {
            if let Some(place) = self.0.place(at) {
                cells[place] = cell(value);
            }
            at += 1;
        }
        Ok(cells)
    }
}

/// Rows up to a bound; those beyond are skipped without being kept.
struct Rows<'a> {
    columns: &'a Columns,
    rows: &'a mut Vec<Vec<Cell>>,
    most: usize,
}

impl<'de> DeserializeSeed<'de> for Rows<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while self.rows.len() < self.most {
            match rows.next_element_seed(Row(self.columns))? {
                Some(row) => self.rows.push(row),
                None => return Ok(()),
            }
        }
        while rows.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// A JSON value as a cell. Numbers that are no 64-bit integer stay text: a reader of doubles would
/// round some of them, and comparison reads numbers out of text.
fn cell(value: &RawValue) -> Cell {
    let raw = value.get();
    match raw.as_bytes().first() {
        Some(b'"') => match serde_json::from_str::<String>(raw) {
            Ok(text) => Cell::Text(shortened(&text)),
            // A lone surrogate, for one: no text at all.
            Err(_) => Cell::Text(shortened(raw)),
        },
        Some(b'n') => Cell::Null,
        Some(b't') => Cell::Bool(true),
        Some(b'f') => Cell::Bool(false),
        _ => raw.parse().map_or_else(|_| Cell::Text(shortened(raw)), Cell::Int),
    }
}
