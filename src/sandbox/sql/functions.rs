//! Functions that Presto, Hive and Treasure Data have and SQLite has not, or has otherwise.

use std::fmt::Write as _;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use md5::{Digest, Md5};
use rusqlite::{
    Connection, Error, Result,
    functions::{Context as Call, FunctionFlags},
    types::{ToSqlOutput, Value, ValueRef},
};

use super::fence::Context;

/// Longest list that `sequence` makes, as in Presto.
const LONGEST_SEQUENCE: i64 = 10_000;

fn refuse<T>(text: impl Into<String>) -> Result<T> {
    Err(Error::UserFunctionError(text.into().into()))
}

/// Gives a connection all of them.
pub(super) fn register(connection: &Connection, context: Context) -> Result<()> {
    let pure = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    let scheduled = context.scheduled_time;
    connection.create_scalar_function("td_scheduled_time", 0, pure, move |_| Ok(scheduled))?;
    let now = context.now;
    for name in ["now", "unix_timestamp"] {
        let seconds = name == "unix_timestamp";
        connection.create_scalar_function(name, 0, pure, move |_| {
            Ok(if seconds { Value::Integer(now) } else { Value::Text(clock_text(now, "yyyy-MM-dd HH:mm:ss")) })
        })?;
    }
    connection.create_scalar_function("td_time_range", -1, pure, time_range)?;
    connection.create_scalar_function("td_time_parse", -1, pure, |call| parse_time(call, 0))?;
    for name in ["td_time_format", "td_time_string"] {
        connection.create_scalar_function(name, -1, pure, time_format)?;
    }
    connection.create_scalar_function("from_unixtime", 1, pure, |call| {
        Ok(integer(call, 0)?.map(|seconds| clock_text(seconds, "yyyy-MM-dd HH:mm:ss")))
    })?;
    connection.create_scalar_function("to_unixtime", 1, pure, |call| parse_time(call, 0))?;
    connection.create_scalar_function("concat", -1, pure, concat)?;
    connection.create_scalar_function("nvl", 2, pure, |call| {
        let at = usize::from(call.get_raw(0) == ValueRef::Null);
        Ok(owned(call.get_raw(at)))
    })?;
    for (name, least) in [("greatest", false), ("least", true)] {
        connection.create_scalar_function(name, -1, pure, move |call| extreme(call, least))?;
    }
    connection.create_scalar_function("strpos", 2, pure, |call| {
        let (Some(text), Some(part)) = (text(call, 0)?, text(call, 1)?) else { return Ok(None) };
        Ok(Some(text.find(&part).map_or(0, |at| text[..at].chars().count() as i64 + 1)))
    })?;
    connection.create_scalar_function("starts_with", 2, pure, |call| {
        let (Some(text), Some(part)) = (text(call, 0)?, text(call, 1)?) else { return Ok(None) };
        Ok(Some(text.starts_with(&part)))
    })?;
    connection.create_scalar_function("split_part", 3, pure, |call| {
        let (Some(text), Some(by), Some(n)) = (text(call, 0)?, text(call, 1)?, integer(call, 2)?) else {
            return Ok(None);
        };
        let n = usize::try_from(n).ok().filter(|n| *n > 0 && !by.is_empty());
        let Some(n) = n else { return refuse("split_part counts from 1") };
        Ok(text.split(&by).nth(n - 1).map(str::to_owned))
    })?;
    connection.create_scalar_function("reverse", 1, pure, |call| {
        Ok(text(call, 0)?.map(|text| text.chars().rev().collect::<String>()))
    })?;
    connection.create_scalar_function("md5", 1, pure, |call| {
        let bytes = match call.get_raw(0) {
            ValueRef::Null => return Ok(None),
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.to_vec(),
            other => shown(other).into_bytes(),
        };
        Ok(Some(hex(&Md5::digest(bytes))))
    })?;
    connection.create_scalar_function("to_hex", 1, pure, |call| {
        Ok(match call.get_raw(0) {
            ValueRef::Null => None,
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(hex(bytes).to_uppercase()),
            other => Some(hex(shown(other).as_bytes()).to_uppercase()),
        })
    })?;
    connection.create_scalar_function("sequence", -1, pure, sequence)?;
    connection.create_scalar_function("cardinality", 1, pure, |call| {
        let Some(list) = text(call, 0)? else { return Ok(None) };
        match serde_json::from_str::<Vec<serde_json::Value>>(&list) {
            Ok(list) => Ok(Some(list.len() as i64)),
            Err(_) => refuse("cardinality wants an array"),
        }
    })?;
    arithmetic(connection, pure)
}

fn arithmetic(connection: &Connection, pure: FunctionFlags) -> Result<()> {
    type OfOne = (&'static str, fn(f64) -> f64);
    let of_one: [OfOne; 8] = [
        ("floor", f64::floor),
        ("ceil", f64::ceil),
        ("ceiling", f64::ceil),
        ("sqrt", f64::sqrt),
        ("exp", f64::exp),
        ("ln", f64::ln),
        ("log10", f64::log10),
        ("log2", f64::log2),
    ];
    for (name, of) in of_one {
        connection.create_scalar_function(name, 1, pure, move |call| Ok(real(call, 0)?.map(of)))?;
    }
    for name in ["pow", "power"] {
        connection.create_scalar_function(name, 2, pure, |call| {
            Ok(real(call, 0)?.zip(real(call, 1)?).map(|(base, exponent)| base.powf(exponent)))
        })?;
    }
    connection.create_scalar_function("mod", 2, pure, |call| {
        let (Some(a), Some(b)) = (integer(call, 0)?, integer(call, 1)?) else { return Ok(None) };
        match a.checked_rem(b) {
            Some(rest) => Ok(Some(rest)),
            None => refuse("division by zero"),
        }
    })
}

fn owned(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(n) => Value::Integer(n),
        ValueRef::Real(x) => Value::Real(x),
        ValueRef::Text(bytes) => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}

/// A value as SQL text.
fn shown(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(n) => n.to_string(),
        ValueRef::Real(x) => format!("{x:?}"),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// The argument as text; a missing one is NULL.
fn text(call: &mut Call<'_>, at: usize) -> Result<Option<String>> {
    if at >= call.len() || call.get_raw(at) == ValueRef::Null {
        return Ok(None);
    }
    Ok(Some(shown(call.get_raw(at))))
}

fn integer(call: &mut Call<'_>, at: usize) -> Result<Option<i64>> {
    if at >= call.len() {
        return Ok(None);
    }
    match call.get_raw(at) {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(n) => Ok(Some(n)),
        ValueRef::Real(x) => Ok(Some(x as i64)),
        other => match shown(other).trim().parse() {
            Ok(n) => Ok(Some(n)),
            Err(_) => refuse("an integer was expected"),
        },
    }
}

fn real(call: &mut Call<'_>, at: usize) -> Result<Option<f64>> {
    match call.get_raw(at) {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(n) => Ok(Some(n as f64)),
        ValueRef::Real(x) => Ok(Some(x)),
        other => match shown(other).trim().parse() {
            Ok(x) => Ok(Some(x)),
            Err(_) => refuse("a number was expected"),
        },
    }
}

/// NULL if any part is: SQLite's own skips NULLs.
fn concat(call: &mut Call<'_>) -> Result<Option<String>> {
    let mut all = String::new();
    for at in 0..call.len() {
        match text(call, at)? {
            Some(part) => all.push_str(&part),
            None => return Ok(None),
        }
    }
    Ok(Some(all))
}

/// NULL if any argument is; numbers by size, else by text.
fn extreme(call: &mut Call<'_>, least: bool) -> Result<ToSqlOutput<'static>> {
    let mut best: Option<Value> = None;
    for at in 0..call.len() {
        let here = owned(call.get_raw(at));
        if here == Value::Null {
            return Ok(ToSqlOutput::Owned(Value::Null));
        }
        let smaller = best.as_ref().is_some_and(|best| match (&here, best) {
            (Value::Integer(a), Value::Integer(b)) => a < b,
            (Value::Integer(a), Value::Real(b)) => (*a as f64) < *b,
            (Value::Real(a), Value::Integer(b)) => *a < *b as f64,
            (Value::Real(a), Value::Real(b)) => a < b,
            (a, b) => shown(a.into()) < shown(b.into()),
        });
        if best.is_none() || smaller == least {
            best = Some(here);
        }
    }
    Ok(ToSqlOutput::Owned(best.unwrap_or(Value::Null)))
}

fn sequence(call: &mut Call<'_>) -> Result<Option<String>> {
    let (Some(from), Some(to)) = (integer(call, 0)?, integer(call, 1)?) else { return Ok(None) };
    let step = integer(call, 2)?.unwrap_or(if from <= to { 1 } else { -1 });
    if step == 0 {
        return refuse("sequence wants a step other than zero");
    }
    let (mut list, mut at, mut n) = (String::from("["), from, 0);
    while (step > 0 && at <= to) || (step < 0 && at >= to) {
        n += 1;
        if n > LONGEST_SEQUENCE {
            return refuse("sequence has more than 10000 entries");
        }
        let comma = if n == 1 { "" } else { "," };
        let _ = write!(list, "{comma}{at}");
        let Some(next) = at.checked_add(step) else { break };
        at = next;
    }
    list.push(']');
    Ok(Some(list))
}

/// `TD_TIME_RANGE(time, from, to [, zone])`: `from` inclusive, `to` exclusive, NULL open.
fn time_range(call: &mut Call<'_>) -> Result<Option<bool>> {
    if !(2..=4).contains(&call.len()) {
        return refuse("TD_TIME_RANGE wants a time, a from, a to and a zone");
    }
    let Some(time) = integer(call, 0)? else { return Ok(None) };
    let from = parse_time_in(call, 1, 3)?;
    let to = if call.len() > 2 { parse_time_in(call, 2, 3)? } else { None };
    Ok(Some(from.is_none_or(|from| from <= time) && to.is_none_or(|to| time < to)))
}

fn parse_time(call: &mut Call<'_>, at: usize) -> Result<Option<i64>> {
    parse_time_in(call, at, at + 1)
}

/// Seconds since the epoch of the argument: a number already, or a date, or a date and time, with an
/// offset or in the zone of another argument.
fn parse_time_in(call: &mut Call<'_>, at: usize, zone_at: usize) -> Result<Option<i64>> {
    if let ValueRef::Integer(seconds) = call.get_raw(at) {
        return Ok(Some(seconds));
    }
    let Some(text) = text(call, at)? else { return Ok(None) };
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Ok(Some(seconds));
    }
    for format in ["%Y-%m-%d %H:%M:%S%.f %z", "%Y-%m-%d %H:%M:%S%.f%:z", "%Y-%m-%dT%H:%M:%S%.f%:z"] {
        if let Ok(time) = DateTime::parse_from_str(text, format) {
            return Ok(Some(time.timestamp()));
        }
    }
    let text = text.trim_end_matches(" UTC").trim_end_matches('Z');
    let local = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .or_else(|| Some(NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_time(NaiveTime::MIN)));
    let Some(local) = local else { return Ok(None) };
    let offset = zone(call, zone_at, local.and_utc())?;
    Ok(Some(local.and_utc().timestamp() - offset))
}

/// Seconds east of Greenwich of the zone that an argument names; UTC if there is none.
fn zone(call: &mut Call<'_>, at: usize, when: DateTime<chrono::Utc>) -> Result<i64> {
    use chrono::{Offset, TimeZone};
    let Some(name) = text(call, at)? else { return Ok(0) };
    if let Ok(zone) = name.parse::<chrono_tz::Tz>() {
        return Ok(i64::from(zone.offset_from_utc_datetime(&when.naive_utc()).fix().local_minus_utc()));
    }
    match name.as_str() {
        "JST" => Ok(9 * 3600),
        "PST" => Ok(-8 * 3600),
        "PDT" => Ok(-7 * 3600),
        _ => match name.parse::<chrono::FixedOffset>() {
            Ok(offset) => Ok(i64::from(offset.local_minus_utc())),
            Err(_) => refuse("unknown time zone"),
        },
    }
}

fn time_format(call: &mut Call<'_>) -> Result<Option<String>> {
    if call.is_empty() {
        return refuse("a time was expected");
    }
    let Some(seconds) = integer(call, 0)? else { return Ok(None) };
    let pattern = text(call, 1)?.unwrap_or_else(|| "yyyy-MM-dd HH:mm:ss".to_owned());
    let pattern = match pattern.as_str() {
        "d" => "yyyy-MM-dd 00:00:00",
        "d!" => "yyyy-MM-dd",
        "s" => "yyyy-MM-dd HH:mm:ss",
        "s!" => "yyyy-MM-dd HH:mm:ss",
        other => other,
    };
    let offset = zone(call, 2, DateTime::from_timestamp(seconds, 0).unwrap_or_default())?;
    Ok(Some(clock_text(seconds.saturating_add(offset), pattern)))
}

/// A time in a Java date pattern, as far as its letters are common.
fn clock_text(seconds: i64, pattern: &str) -> String {
    let time = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    let (mut out, mut rest) = (String::new(), pattern);
    let letters =
        [("yyyy", "%Y"), ("MM", "%m"), ("dd", "%d"), ("HH", "%H"), ("mm", "%M"), ("ss", "%S"), ("SSS", "%3f")];
    while let Some(first) = rest.chars().next() {
        match letters.iter().find(|(letter, _)| rest.starts_with(letter)) {
            Some((letter, format)) => {
                let _ = write!(out, "{}", time.format(format));
                rest = &rest[letter.len()..];
            }
            None => {
                out.extend((first != '\'').then_some(first));
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

/// Lower-case hexadecimal.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}
