//! Dialects: rows that an independent writer wrote in any of them are read back exactly, and whatever is
//! changed in them is seen, unless the dialect is one that cannot carry it.

#![expect(clippy::unwrap_used, reason = "what goes wrong here fails the test, as it should")]

use std::io::Write;

use landfall::{
    canary::{Marker, Mode, Rows, Run, Sample, Tally, Value, sample::COLUMNS},
    target::{
        decode::{self, Format},
        dialect::{Compression, Dialect, Newline, Quotes},
    },
};

use crate::fixtures::rows::{jsonl, run, values};

/// Every dialect that a config can name, and each of its files as it may be packed.
fn all() -> Vec<Dialect> {
    let mut all = Vec::new();
    for (format, delimiters) in [(Format::Csv, [',', '|']), (Format::Tsv, ['\t', '\u{1}'])] {
        for delimiter in delimiters {
            for quotes in [Quotes::Minimal, Quotes::All, Quotes::None] {
                for escape in [None, Some('\\')] {
                    for null_text in [None, Some("\\N"), Some("NULL"), Some("none")] {
                        for newline in [None, Some(Newline::Lf), Some(Newline::Crlf)] {
                            for header in [true, false] {
                                all.push(Dialect {
                                    header,
                                    delimiter,
                                    quotes,
                                    escape,
                                    null_text: null_text.map(str::to_owned),
                                    newline,
                                    ..Dialect::of(format)
                                });
                            }
                        }
                    }
                }
            }
        }
    }
    all.push(Dialect::of(Format::Jsonl));
    all
}

fn plain(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Float(n) => format!("{n:e}"),
        Value::Text(text) => (*text).to_owned(),
        Value::Marker(marker) => marker.to_string(),
    })
}

/// The writer, by the words of the options alone.
fn write(rows: &[Vec<Value>], dialect: &Dialect) -> Vec<u8> {
    if dialect.format == Format::Jsonl {
        return jsonl(rows);
    }
    let newline = if dialect.newline == Some(Newline::Lf) { "\n" } else { "\r\n" };
    let null = dialect.null_text.clone().unwrap_or_default();
    let breaks = |c: char| c == dialect.delimiter || c == '\n' || c == '\r';
    let quoted = |text: &str| {
        let inner: String = match dialect.escape {
            None => text.replace('"', "\"\""),
            Some(e) => text.replace(e, &format!("{e}{e}")).replace('"', &format!("{e}\"")),
        };
        format!("\"{inner}\"")
    };
    let field = |value: &Value| {
        let Some(text) = plain(value) else { return null.clone() };
        match dialect.quotes {
            Quotes::All => quoted(&text),
            Quotes::Minimal if text.contains(breaks) || text.contains('"') || (!null.is_empty() && text == null) => {
                quoted(&text)
            }
            Quotes::Minimal => text,
            Quotes::None => match dialect.escape {
                None => text,
                Some(e) => {
                    text.chars().flat_map(|c| (breaks(c) || c == e).then_some(e).into_iter().chain([c])).collect()
                }
            },
        }
    };
    let between = dialect.delimiter.to_string();
    let names = COLUMNS.iter().map(|column| column.name).collect::<Vec<_>>().join(&between);
    let lines = rows.iter().map(|row| row.iter().map(field).collect::<Vec<_>>().join(&between));
    dialect.header.then_some(names).into_iter().chain(lines).map(|line| line + newline).collect::<String>().into_bytes()
}

fn packed(bytes: &[u8], compression: Compression) -> Vec<u8> {
    match compression {
        Compression::None => bytes.to_vec(),
        Compression::Gz => {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer.write_all(bytes).unwrap();
            packer.finish().unwrap()
        }
        Compression::Bzip2 => {
            let mut packer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            packer.write_all(bytes).unwrap();
            packer.finish().unwrap()
        }
    }
}

fn count(run: &Run, bytes: &[u8], dialect: &Dialect) -> Rows {
    let carries = dialect.carries();
    let mut tally = Tally::of(run, &carries);
    let decoded =
        decode::file(bytes, run.columns(), dialect, decode::room(run.sample), Tally::enough(run.sample) as usize);
    decoded.count(&mut tally, run.sample);
    tally.finish()
}

#[test]
fn rows_written_in_any_dialect_are_read_back_whole() {
    let run = run(Mode::Append);
    let rows = values(&run);
    for dialect in all() {
        for compression in [Compression::None, Compression::Gz, Compression::Bzip2] {
            let bytes = packed(&write(&rows, &dialect), compression);
            assert_eq!(count(&run, &bytes, &dialect), Rows::all_right(20), "{dialect:?} {compression:?}");
        }
    }
}

/// A value that is not the one that was there.
fn other(value: &Value<'_>, dice: &mut fastrand::Rng) -> Value<'static> {
    const TEXTS: [&str; 8] =
        ["x", "plain ", "line one\nline  two", "a,b;c\td", "say \"it\"", "\\", "2015-08-25", "1971-01-01T00:00:00Z"];
    loop {
        let other = match (value, dice.u8(..4)) {
            (Value::Int(n), 0) => Value::Int(n.wrapping_add(1)),
            (Value::Bool(b), 0) => Value::Bool(!b),
            (Value::Float(n), 0) => Value::Float(n * 1.000_000_000_000_1),
            (Value::Marker(marker), 0 | 1) => Value::Marker(Marker::mint(marker.minted_at(), dice.u128(..))),
            (_, 3) => Value::Null,
            _ => Value::Text(TEXTS[dice.usize(..TEXTS.len())]),
        };
        if other != *value {
            return other;
        }
    }
}

/// Whether two values are the same text in a dialect.
fn same(one: &Value, other: &Value, dialect: &Dialect) -> bool {
    let null = dialect.null_text.clone().unwrap_or_default();
    let text = |value: &Value| plain(value).unwrap_or_else(|| null.clone());
    dialect.format != Format::Jsonl && text(one) == text(other)
}

#[test]
fn whatever_is_changed_in_rows_of_any_dialect_is_seen() {
    let mut dice = fastrand::Rng::with_seed(11);
    let run = run(Mode::Append);
    let rows = values(&run);
    for dialect in all() {
        for _ in 0..12 {
            let mut changed = rows.clone();
            let n = dice.usize(..rows.len());
            let what = match dice.u8(..8) {
                0 => {
                    changed.remove(n);
                    "a row is gone".to_owned()
                }
                1 => {
                    changed.push(rows[n].clone());
                    "a row is there twice".to_owned()
                }
                2 => {
                    changed.clear();
                    "nothing is there".to_owned()
                }
                _ => {
                    let at = dice.usize(..COLUMNS.len());
                    changed[n][at] = other(&rows[n][at], &mut dice);
                    if same(&changed[n][at], &rows[n][at], &dialect) {
                        continue;
                    }
                    format!("{} of row {n} is {:?} instead of {:?}", COLUMNS[at].name, changed[n][at], rows[n][at])
                }
            };
            let found = count(&run, &write(&changed, &dialect), &dialect);
            assert!(!found.complete(), "{what}: {dialect:?}");
            let (gone, twice) = (what == "a row is gone", what == "a row is there twice");
            if gone {
                assert_eq!((found.missing, found.copies, found.changed), (1, 0, 0), "{dialect:?}");
            } else if twice {
                assert_eq!((found.missing, found.copies, found.changed), (0, 1, 0), "{dialect:?}");
            } else if changed.is_empty() {
                assert!(found.nothing(), "{dialect:?}");
            }
        }
    }
}

#[test]
fn bytes_that_break_anywhere_are_never_whole_and_never_a_panic() {
    let mut dice = fastrand::Rng::with_seed(12);
    let run = run(Mode::Append);
    let rows = values(&run);
    for dialect in all() {
        let whole =
            packed(&write(&rows, &dialect), [Compression::None, Compression::Gz, Compression::Bzip2][dice.usize(..3)]);
        // The last line's end is no value.
        let cut = dice.usize(..whole.len() - 4);
        assert!(!count(&run, &whole[..cut], &dialect).complete(), "{cut} bytes of {}: {dialect:?}", whole.len());
        let mut bent = whole.clone();
        for _ in 0..3 {
            bent[dice.usize(..whole.len())] = dice.u8(..);
        }
        count(&run, &bent, &dialect);
    }
}

#[test]
fn a_sample_of_any_size_is_read_whole_without_quotes() {
    for n in [1, 5, 11, 500] {
        let mut run = (*run(Mode::Append)).clone();
        run.sample = Sample::of(n);
        let dialect = Dialect { quotes: Quotes::None, newline: Some(Newline::Crlf), ..Dialect::of(Format::Csv) };
        assert_eq!(count(&run, &write(&values(&run), &dialect), &dialect), Rows::all_right(n));
    }
}
