//! Tests of decoding: hard values, broken files, bounds.

use std::io::Write;

use super::*;
use crate::canary::{Carries, Marker, Rows, Timestamp, Value, sample::COLUMNS, tally::EXAMPLES};

const SAMPLE: Sample = Sample::of(20);
const CSV: Carries = Carries { null_is_empty: true, null_text: None, newlines_vary: true };

fn marker() -> Marker {
    Marker::mint(Timestamp::from_secs(9), 42)
}

fn as_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(b) => b.to_string(),
        Value::Int(n) => n.to_string(),
        Value::Float(n) => format!("{n:e}"),
        Value::Text(text) => (*text).to_owned(),
        Value::Marker(marker) => marker.to_string(),
    }
}

fn as_json(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Text(_) | Value::Marker(_) => serde_json::to_string(&as_text(value)).unwrap(),
        other => as_text(other),
    }
}

fn names() -> Vec<&'static str> {
    COLUMNS.iter().map(|column| column.name).collect()
}

fn csv(delimiter: u8, header: bool) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(Vec::new());
    if header {
        writer.write_record(names()).unwrap();
    }
    for n in 0..SAMPLE.rows {
        writer.write_record(SAMPLE.row(marker(), n).iter().map(as_text)).unwrap();
    }
    writer.into_inner().unwrap()
}

fn json_rows() -> Vec<String> {
    let row = |n| SAMPLE.row(marker(), n).iter().map(as_json).collect::<Vec<_>>().join(",");
    (0..SAMPLE.rows).map(|n| format!("[{}]", row(n))).collect()
}

fn body() -> Vec<u8> {
    let names = serde_json::to_string(&names()).unwrap();
    format!(r#"{{"data":[{}],"column_types":["string"],"column_names":{names}}}"#, json_rows().join(",")).into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut packer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn count(decoded: &Decoded, carries: &Carries) -> Rows {
    let mut tally = Tally::new(marker(), SAMPLE, carries);
    decoded.count(&mut tally, SAMPLE);
    tally.finish()
}

fn read(bytes: &[u8], format: Format, delimiter: u8) -> Decoded {
    let dialect = Dialect { delimiter: delimiter as char, ..Dialect::of(format) };
    file(bytes, &COLUMNS, &dialect, room(SAMPLE), Tally::enough(SAMPLE) as usize)
}

#[test]
fn hard_values_survive_delimited_text_with_and_without_a_header() {
    for (format, delimiter) in [(Format::Csv, b','), (Format::Tsv, b'\t'), (Format::Csv, b'|')] {
        for header in [true, false] {
            let rows = count(&read(&csv(delimiter, header), format, delimiter), &CSV);
            assert_eq!(rows, Rows::all_right(20), "{format:?} {header}");
        }
    }
}

#[test]
fn hard_values_survive_json_exactly() {
    let strict = Carries::default();
    assert_eq!(count(&document(&body(), &COLUMNS, 100), &strict), Rows::all_right(20));
    let lines = json_rows().join("\n");
    assert_eq!(count(&read(lines.as_bytes(), Format::Jsonl, b','), &strict), Rows::all_right(20));
    let object = |n| {
        let row = SAMPLE.row(marker(), n);
        let pairs = COLUMNS.iter().zip(&row).map(|(column, value)| format!("{:?}:{}", column.name, as_json(value)));
        format!("{{{}}}", pairs.rev().collect::<Vec<_>>().join(", "))
    };
    let lines = (0..20).map(object).collect::<Vec<_>>().join("\r\n");
    assert_eq!(count(&read(lines.as_bytes(), Format::Jsonl, b','), &strict), Rows::all_right(20));
}

#[test]
fn columns_are_found_by_name_in_any_order_and_case() {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut header: Vec<String> = names().iter().map(|name| name.to_uppercase()).collect();
    header.push("extra".to_owned());
    header.reverse();
    writer.write_record(&header).unwrap();
    for n in 0..20 {
        let mut row: Vec<String> = SAMPLE.row(marker(), n).iter().map(as_text).collect();
        row.push("not ours".to_owned());
        row.reverse();
        writer.write_record(&row).unwrap();
    }
    assert!(count(&read(&writer.into_inner().unwrap(), Format::Csv, b','), &CSV).complete());
}

#[test]
fn a_column_that_is_not_there_changes_every_row() {
    let text = String::from_utf8(csv(b',', true)).unwrap().replacen("dec_text", "other", 1);
    let rows = count(&read(text.as_bytes(), Format::Csv, b','), &CSV);
    assert_eq!((rows.changed, rows.missing, rows.examples.len()), (20, 0, EXAMPLES));
}

#[test]
fn a_byte_order_mark_and_packing_change_nothing() {
    let marked = [b"\xEF\xBB\xBF".as_slice(), &csv(b',', true)].concat();
    assert!(count(&read(&gzip(&marked), Format::Csv, b','), &CSV).complete());
    let two = [gzip(&csv(b',', true)), gzip(b"")].concat();
    assert!(count(&read(&two, Format::Csv, b','), &CSV).complete());
    let two = [bzip2(&csv(b',', true)), bzip2(b"")].concat();
    assert!(count(&read(&two, Format::Csv, b','), &CSV).complete());
    // Text that begins as a packed file might.
    let mut rows = count(&read(b"BZh9 is a word", Format::Csv, b','), &CSV);
    rows.examples.clear();
    assert_eq!((rows.missing, rows.changed), (19, 1));
}

#[test]
fn nothing_in_a_file_is_nothing_and_not_garbage() {
    for empty in [b"".as_slice(), b"\r\n", &gzip(b""), &bzip2(b""), b"marker,row_no\r\n", &bzip2(b"marker,row_no\n")] {
        assert!(count(&read(empty, Format::Csv, b','), &CSV).nothing());
    }
    assert!(count(&document(br#"{"column_names":["marker"],"data":[]}"#, &COLUMNS, 9), &CSV).nothing());
    assert!(count(&document(b" ", &COLUMNS, 9), &CSV).nothing());
}

#[test]
fn garbage_is_changed_rows_and_never_a_loss() {
    for garbage in [b"{".as_slice(), b"null", b"\xff\xff", br#"{"data":7}"#, br#"{"data":[7]}"#] {
        let rows = count(&document(garbage, &COLUMNS, 100), &Carries::default());
        assert_eq!((rows.missing, rows.changed), (0, 20), "{garbage:?}");
    }
    for packed in [&gzip(&csv(b',', true))[..9], &bzip2(&csv(b',', true))[..60]] {
        let rows = count(&read(packed, Format::Csv, b','), &CSV);
        assert_eq!((rows.missing, rows.changed), (0, 20));
    }
}

#[test]
fn what_breaks_off_lacks_what_does_not_follow() {
    let whole = json_rows().join("\n");
    let half = &whole[..whole.len() / 2];
    let rows = count(&read(half.as_bytes(), Format::Jsonl, b','), &Carries::default());
    assert!(rows.right > 3 && rows.missing > 3 && rows.changed == 1, "{rows:?}");
}

#[test]
fn a_bomb_is_unpacked_no_further_than_its_room() {
    let zeros = vec![b'a'; 50_000_000];
    for bomb in [gzip(&zeros), bzip2(&zeros)] {
        let decoded = read(&bomb, Format::Csv, b',');
        assert!(decoded.broken && decoded.weight() < room(SAMPLE));
    }
}

#[test]
fn rows_beyond_the_bound_are_not_kept() {
    let many = json_rows()[0].clone() + &format!("\n{}", json_rows()[0]).repeat(5000);
    assert_eq!(read(many.as_bytes(), Format::Jsonl, b',').rows.len(), 124);
    let data = format!(r#"{{"data":[{}]}}"#, vec!["[]"; 5000].join(","));
    assert_eq!(document(data.as_bytes(), &COLUMNS, 124).rows.len(), 124);
}
