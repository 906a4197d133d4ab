//! Rows as text: CSV, TSV and JSON lines.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use serde_json::Value as Json;

use crate::sandbox::sql::{Rowset, Value};

/// The kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    /// Comma-separated values.
    Csv,
    /// Tab-separated values.
    Tsv,
    /// One JSON object a line.
    JsonLines,
}

/// Which values are quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuotePolicy {
    /// Those that would break a line.
    Minimal,
    /// All but NULL.
    All,
    /// None.
    None,
}

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all.
    None,
    /// Gzip.
    Gz,
    /// Bzip2.
    Bzip2,
}

/// How rows are written to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The kind of file.
    pub format: FileFormat,
    /// How it is packed.
    pub packing: Packing,
    /// Which values are quoted.
    pub quotes: QuotePolicy,
    /// Stands before a quote in quotes, or before what would break a line without them.
    pub escape: Option<char>,
    /// Column names first.
    pub header: bool,
    /// Between values.
    pub delimiter: char,
    /// Between lines.
    pub newline: &'static str,
    /// What stands for NULL.
    pub null: String,
}

/// A value as JSON. What JSON has no number for is null.
pub fn json_value(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(b) => (*b).into(),
        Value::Int(n) => (*n).into(),
        Value::Float(x) => (*x).into(),
        Value::Text(text) => text.as_str().into(),
    }
}

/// A value as plain text; `None` is NULL.
pub fn plain(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => n.to_string(),
        // The shortest digits that read back as the same double.
        Value::Float(x) if x.is_nan() => "NaN".to_owned(),
        Value::Float(x) if x.is_infinite() => if *x > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        Value::Float(x) => format!("{x:?}"),
        Value::Text(text) => text.clone(),
    })
}

/// A field of a line, quoted if it must be. Text that is the NULL word itself is quoted, so that a
/// careful reader can tell them apart.
pub fn field(value: &Value, delimiter: char, null: &str) -> String {
    let Some(text) = plain(value) else { return null.to_owned() };
    let special = |c: char| c == delimiter || matches!(c, '"' | '\r' | '\n');
    let is_null = !null.is_empty() && text == null;
    if is_null || text.contains(special) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// One line without its end.
pub fn line(values: &[Value], delimiter: char, null: &str) -> String {
    let fields: Vec<String> = values.iter().map(|value| field(value, delimiter, null)).collect();
    fields.join(delimiter.encode_utf8(&mut [0; 4]))
}

impl Layout {
    /// The file's bytes.
    pub fn file(&self, rowset: &Rowset) -> Vec<u8> {
        let mut out = String::new();
        let names = || rowset.columns.iter().map(|(name, _)| name.clone());
        if self.format == FileFormat::JsonLines {
            for row in &rowset.rows {
                // By hand, since a JSON map would sort the columns.
                let pair = |(name, value): (String, &Value)| format!("{}:{}", Json::from(name), json_value(value));
                let pairs: Vec<String> = names().zip(row).map(pair).collect();
                out.push_str(&format!("{{{}}}\n", pairs.join(",")));
            }
        } else {
            let head: Vec<Value> = names().map(Value::Text).collect();
            let lines = self.header.then_some(&head).into_iter().chain(&rowset.rows);
            for values in lines {
                out.push_str(&self.line(values));
                out.push_str(self.newline);
            }
        }
        match self.packing {
            Packing::None => out.into_bytes(),
            Packing::Gz => gzip(out.as_bytes()),
            Packing::Bzip2 => bzip2(out.as_bytes()),
        }
    }

    /// The ending of a file's name.
    pub fn ending(&self) -> &'static str {
        match (self.format, self.packing) {
            (FileFormat::Csv, Packing::None) => "csv",
            (FileFormat::Csv, Packing::Gz) => "csv.gz",
            (FileFormat::Csv, Packing::Bzip2) => "csv.bz2",
            (FileFormat::Tsv, Packing::None) => "tsv",
            (FileFormat::Tsv, Packing::Gz) => "tsv.gz",
            (FileFormat::Tsv, Packing::Bzip2) => "tsv.bz2",
            (FileFormat::JsonLines, Packing::None) => "jsonl",
            (FileFormat::JsonLines, Packing::Gz) => "jsonl.gz",
            (FileFormat::JsonLines, Packing::Bzip2) => "jsonl.bz2",
        }
    }

    fn line(&self, values: &[Value]) -> String {
        let fields: Vec<String> = values.iter().map(|value| self.field(value)).collect();
        fields.join(self.delimiter.encode_utf8(&mut [0; 4]))
    }

    fn field(&self, value: &Value) -> String {
        let Some(text) = plain(value) else { return self.null.clone() };
        match (self.quotes, self.escape) {
            (QuotePolicy::Minimal, None) => field(value, self.delimiter, &self.null),
            (QuotePolicy::None, None) => text,
            (QuotePolicy::None, Some(escape)) => {
                let breaks = |c: char| c == self.delimiter || c == escape || matches!(c, '\r' | '\n');
                text.chars().flat_map(|c| breaks(c).then_some(escape).into_iter().chain([c])).collect()
            }
            (QuotePolicy::All | QuotePolicy::Minimal, _) => {
                let special = |c: char| c == self.delimiter || matches!(c, '"' | '\r' | '\n');
                let is_null = !self.null.is_empty() && text == self.null;
                if self.quotes == QuotePolicy::Minimal && !is_null && !text.contains(special) {
                    return text;
                }
                let before = self.escape.unwrap_or('"');
                let needs = |c: char| c == '"' || Some(c) == self.escape;
                let inner: String =
                    text.chars().flat_map(|c| needs(c).then_some(before).into_iter().chain([c])).collect();
                format!("\"{inner}\"")
            }
        }
    }
}

/// Packs bytes.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(bytes).and_then(|()| packer.finish()).expect("writing to memory does not fail")
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut packer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    packer.write_all(bytes).and_then(|()| packer.finish()).expect("writing to memory does not fail")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::sql::Type;

    fn rowset() -> Rowset {
        let text = |text: &str| Value::Text(text.to_owned());
        Rowset {
            columns: vec![("a".to_owned(), Type::Text), ("b".to_owned(), Type::Long)],
            rows: vec![
                vec![text("x,\"y\"\nz"), Value::Null],
                vec![text("NULL"), Value::Int(i64::MIN)],
                vec![text("\u{1F426}"), Value::Float(0.1)],
            ],
        }
    }

    fn layout(format: FileFormat) -> Layout {
        let delimiter = if format == FileFormat::Tsv { '\t' } else { ',' };
        Layout {
            format,
            packing: Packing::None,
            quotes: QuotePolicy::Minimal,
            escape: None,
            header: true,
            delimiter,
            newline: "\r\n",
            null: "NULL".to_owned(),
        }
    }

    #[test]
    fn csv_quotes_what_would_break_a_line_or_pass_for_null() {
        let text = String::from_utf8(layout(FileFormat::Csv).file(&rowset())).expect("text");
        let expected = "a,b\r\n\"x,\"\"y\"\"\nz\",NULL\r\n\"NULL\",-9223372036854775808\r\n\u{1F426},0.1\r\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn other_dialects_quote_all_or_nothing_and_escape_as_they_are_told() {
        let write = |quotes, escape| {
            let layout = Layout { quotes, escape, newline: "\n", ..layout(FileFormat::Csv) };
            String::from_utf8(layout.file(&rowset()))
                .expect("text")
                .lines()
                .skip(1)
                .take(2)
                .collect::<Vec<_>>()
                .join("|")
        };
        assert_eq!(write(QuotePolicy::All, None), "\"x,\"\"y\"\"|z\",NULL");
        assert_eq!(write(QuotePolicy::All, Some('\\')), "\"x,\\\"y\\\"|z\",NULL");
        assert_eq!(write(QuotePolicy::None, None), "x,\"y\"|z,NULL");
        assert_eq!(write(QuotePolicy::None, Some('\\')), "x\\,\"y\"\\|z,NULL");
    }

    #[test]
    fn json_lines_keep_the_order_of_rows_and_the_types_of_values() {
        let text = String::from_utf8(layout(FileFormat::JsonLines).file(&rowset())).expect("text");
        let lines: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).expect("json")).collect();
        assert_eq!(lines[0], serde_json::json!({ "a": "x,\"y\"\nz", "b": null }));
        assert_eq!(lines[1]["b"], serde_json::json!(i64::MIN));
    }
}
