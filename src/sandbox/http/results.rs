//! Results: kept as `msgpack.gz`, given out in five formats, in pieces if asked.

use std::{io::Read, sync::Arc};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};
use flate2::read::GzDecoder;
use md5::{Digest, Md5};
use rmpv::Value as Pack;
use serde_json::Value as Json;

use super::{
    answer::{Answer, Trouble, respond},
    book::Stored,
    request::Params,
};
use crate::sandbox::{
    deliver::text::{gzip, json_value, line},
    sql::{Dialect, Rowset, Value},
};

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn pack(value: &Value) -> Pack {
    match value {
        Value::Null => Pack::Nil,
        Value::Bool(b) => Pack::from(*b),
        Value::Int(n) => Pack::from(*n),
        Value::Float(x) => Pack::from(*x),
        Value::Text(text) => Pack::from(text.as_str()),
    }
}

impl Stored {
    /// Packs a result to be kept.
    pub(super) fn of(rowset: &Rowset, dialect: Dialect) -> Self {
        let mut plain = Vec::new();
        for row in &rowset.rows {
            let row = Pack::Array(row.iter().map(pack).collect());
            rmpv::encode::write_value(&mut plain, &row).expect("writing to memory does not fail");
        }
        let columns: Vec<String> = rowset
            .columns
            .iter()
            .map(|(name, kind)| format!("[{}, \"{}\"]", Json::from(name.as_str()), kind.engine_name(dialect)))
            .collect();
        Self {
            packed: gzip(&plain).into(),
            schema: format!("[{}]", columns.join(", ")),
            shape: Arc::new(Rowset { columns: rowset.columns.clone(), rows: Vec::new() }),
            rows: rowset.rows.len(),
        }
    }

    fn plain(&self) -> Vec<u8> {
        let mut plain = Vec::new();
        GzDecoder::new(&self.packed[..]).read_to_end(&mut plain).expect("packed by `of`");
        plain
    }

    /// The rows again.
    pub(super) fn rowset(&self) -> Rowset {
        let plain = self.plain();
        let mut rest = plain.as_slice();
        let mut rows = Vec::with_capacity(self.rows);
        while !rest.is_empty() {
            let Ok(Pack::Array(row)) = rmpv::decode::read_value(&mut rest) else { break };
            rows.push(row.into_iter().map(unpack).collect());
        }
        Rowset { columns: self.shape.columns.clone(), rows }
    }
}

fn unpack(value: Pack) -> Value {
    match value {
        Pack::Boolean(b) => Value::Bool(b),
        Pack::Integer(n) => n.as_i64().map_or(Value::Null, Value::Int),
        Pack::F64(x) => Value::Float(x),
        Pack::String(text) => Value::Text(text.into_str().unwrap_or_default()),
        _ => Value::Null,
    }
}

/// A result in the format that was asked for.
pub(super) fn give(stored: &Stored, params: &Params, headers: &HeaderMap) -> Answer {
    let header = params.flag("header").unwrap_or(false);
    let (kind, bytes) = match params.get("format").unwrap_or("msgpack") {
        "msgpack.gz" => ("application/x-gzip", stored.packed.to_vec()),
        "msgpack" => ("application/x-msgpack", stored.plain()),
        "json" => ("application/json", json_lines(&stored.rowset(), header).into_bytes()),
        "csv" => ("text/csv; charset=utf-8", lines(&stored.rowset(), ',', header).into_bytes()),
        "tsv" => ("text/tab-separated-values; charset=utf-8", lines(&stored.rowset(), '\t', header).into_bytes()),
        other => {
            let shown: String = other.chars().take(40).collect();
            return Err(Trouble::unfit(format!("format '{shown}' is not supported")));
        }
    };
    piece(kind, bytes, headers)
}

/// One array a line. Clients split lines at every separator that Unicode knows, so those inside
/// texts are escaped.
fn json_lines(rowset: &Rowset, header: bool) -> String {
    let mut out = String::new();
    let names: Json = rowset.columns.iter().map(|(name, _)| name.as_str()).collect();
    let rows = rowset.rows.iter().map(|row| row.iter().map(json_value).collect::<Json>());
    for row in header.then_some(names).into_iter().chain(rows) {
        for c in row.to_string().chars() {
            match c {
                '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", c as u32)),
                c => out.push(c),
            }
        }
        out.push('\n');
    }
    out
}

fn lines(rowset: &Rowset, delimiter: char, header: bool) -> String {
    let names: Vec<Value> = rowset.columns.iter().map(|(name, _)| Value::Text(name.clone())).collect();
    let all = header.then_some(&names).into_iter().chain(&rowset.rows);
    all.map(|row| line(row, delimiter, "") + "\n").collect()
}

/// The whole, or the piece that `Range` names while `If-Range` still holds.
fn piece(kind: &'static str, bytes: Vec<u8>, headers: &HeaderMap) -> Answer {
    let tag = format!("\"{}\"", hex(&Md5::digest(&bytes)));
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let range = text(header::RANGE).filter(|_| text(header::IF_RANGE).is_none_or(|wanted| wanted == tag));
    let total = bytes.len();
    let mut answer = match range.and_then(|range| span(range, total)) {
        None => respond(StatusCode::OK, kind, bytes),
        Some(None) => {
            let mut answer = respond(StatusCode::RANGE_NOT_SATISFIABLE, kind, Body::empty());
            set(&mut answer, header::CONTENT_RANGE, &format!("bytes */{total}"));
            answer
        }
        Some(Some((from, to))) => {
            let mut answer = respond(StatusCode::PARTIAL_CONTENT, kind, bytes[from..=to].to_vec());
            set(&mut answer, header::CONTENT_RANGE, &format!("bytes {from}-{to}/{total}"));
            answer
        }
    };
    set(&mut answer, header::ETAG, &tag);
    set(&mut answer, header::ACCEPT_RANGES, "bytes");
    Ok(answer)
}

fn set(answer: &mut Response<Body>, name: header::HeaderName, value: &str) {
    answer.headers_mut().insert(name, HeaderValue::from_str(value).expect("digits and letters"));
}

/// First and last byte of one range; `Some(None)` if it lies outside, `None` if it is no range
/// that we know, which HTTP says to ignore.
fn span(range: &str, total: usize) -> Option<Option<(usize, usize)>> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(from) || !digits(to) || (from.is_empty() && to.is_empty()) {
        return None;
    }
    if from.is_empty() {
        let last = to.parse::<usize>().unwrap_or(usize::MAX).min(total);
        return Some((last > 0).then(|| (total - last, total - 1)));
    }
    let from = from.parse::<usize>().unwrap_or(usize::MAX);
    let to = if to.is_empty() { usize::MAX } else { to.parse::<usize>().unwrap_or(usize::MAX) };
    if to < from {
        return None;
    }
    Some((from < total).then(|| (from, to.min(total - 1))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::sql::Type;

    fn rowset() -> Rowset {
        Rowset {
            columns: vec![("n".to_owned(), Type::Long), ("t".to_owned(), Type::Text)],
            rows: vec![
                vec![Value::Int(i64::MIN), Value::Text("a,\"b\"\u{2028}\u{1F426}".to_owned())],
                vec![Value::Null, Value::Float(0.1)],
            ],
        }
    }

    #[test]
    fn a_kept_result_reads_back() {
        let stored = Stored::of(&rowset(), Dialect::Presto);
        assert_eq!(stored.rowset(), rowset());
        assert_eq!(stored.schema, r#"[["n", "bigint"], ["t", "varchar"]]"#);
    }

    #[test]
    fn every_row_is_one_line_of_json_whatever_is_in_it() {
        let text = json_lines(&rowset(), true);
        assert_eq!(text, "[\"n\",\"t\"]\n[-9223372036854775808,\"a,\\\"b\\\"\\u2028\u{1F426}\"]\n[null,0.1]\n");
        assert_eq!(lines(&rowset(), ',', false), "-9223372036854775808,\"a,\"\"b\"\"\u{2028}\u{1F426}\"\n,0.1\n");
    }

    #[test]
    fn ranges_are_cut_ignored_or_refused() {
        for (range, expected) in [
            ("bytes=0-4", Some(Some((0, 4)))),
            ("bytes=5-", Some(Some((5, 9)))),
            ("bytes=-3", Some(Some((7, 9)))),
            ("bytes=0-99999999999999999999", Some(Some((0, 9)))),
            ("bytes=10-", Some(None)),
            ("bytes=-0", Some(None)),
            ("bytes=4-2", None),
            ("bytes=0-1,3-4", None),
            ("lines=0-1", None),
            ("bytes=-", None),
        ] {
            assert_eq!(span(range, 10), expected, "{range}");
        }
        assert_eq!(span("bytes=0-", 0), Some(None));
    }
}
