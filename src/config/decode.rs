//! Decoding: a table into a struct, and serde's complaints into words that say what to write.
//! Values are never repeated in them: what stands where a number belongs may be a password.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{near, secret::SHAPE};

/// Separates what is wrong from what would be right in the text of a custom serde error. In its
/// first half, `{key}` stands for the key that the value belongs to.
pub const HINT: &str = "\nhint: ";

/// More complaints about one table help nobody, and each costs a decoding.
const MOST: usize = 20;

/// A complaint: where, what, and what would be right.
pub(super) type Complaint = (Range<usize>, String, Option<String>);

/// A table as far as it could be decoded.
pub(super) struct Decoded<T> {
    /// None if a key is missing without which there is no `T`.
    pub value: Option<T>,
    /// Keys that were left out of `value` because they are wrong.
    pub wrong: Vec<String>,
    /// Everything that is wrong.
    pub complaints: Vec<Complaint>,
}

/// Decodes a table. serde stops at the first mistake, so the entry that is wrong is taken out and
/// the rest decoded again, until nothing is wrong or nothing can be told about the rest.
pub(super) fn decode<T: DeserializeOwned>(table: &Spanned<DeTable<'_>>, whole: Range<usize>) -> Decoded<T> {
    let mut rest = table.clone();
    let mut decoded = Decoded { value: None, wrong: Vec::new(), complaints: Vec::new() };
    loop {
        let error = match T::deserialize(toml::Deserializer::from(rest.clone())) {
            Ok(value) => {
                decoded.value = Some(value);
                return decoded;
            }
            Err(error) => error,
        };
        let message = error.message();
        let missing = quoted(message, "missing field `", "`");
        let at = error.span().filter(|at| !at.is_empty()).unwrap_or_else(|| whole.clone());
        // A key that was wrong is not missing as well.
        if missing.is_some_and(|key| decoded.wrong.iter().any(|wrong| wrong == key)) {
            return decoded;
        }
        let culprit = rest
            .get_ref()
            .iter()
            .find(|(key, value)| covers(&key.span(), &at) || covers(&value.span(), &at) || is_within(value, &at))
            .map(|(key, _)| key.clone())
            .filter(|_| !(missing.is_some() && at == rest.span()));
        let Some(culprit) = culprit else {
            let (what, hint) = in_plain_words(message, "", None);
            decoded.complaints.push((if missing.is_some() { whole } else { at }, what, hint));
            return decoded;
        };
        let (key, found) = innermost(rest.get_ref(), &at).unwrap_or((culprit.get_ref(), None));
        let (what, hint) = in_plain_words(message, key, found);
        // Nor is the key that was probably meant.
        let meant = hint.as_deref().and_then(|hint| quoted(hint, "did you mean `", "`?"));
        decoded.wrong.extend(meant.map(str::to_owned));
        decoded.complaints.push((at, what, hint));
        decoded.wrong.push(culprit.get_ref().to_string());
        rest.get_mut().remove(&culprit);
        if decoded.complaints.len() >= MOST {
            return decoded;
        }
    }
}

fn covers(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    !inner.is_empty() && outer.start <= inner.start && inner.end <= outer.end
}

/// Whether the place is somewhere below a value. A `[table]`'s own span is only its header.
fn is_within(value: &Spanned<DeValue<'_>>, at: &Range<usize>) -> bool {
    match value.get_ref() {
        DeValue::Table(table) => table
            .iter()
            .any(|(key, value)| covers(&key.span(), at) || covers(&value.span(), at) || is_within(value, at)),
        DeValue::Array(array) => array.iter().any(|value| covers(&value.span(), at) || is_within(value, at)),
        _ => false,
    }
}

/// The key nearest to a place, and the value there if the place is a value.
fn innermost<'a>(table: &'a DeTable<'a>, at: &Range<usize>) -> Option<(&'a str, Option<&'a DeValue<'a>>)> {
    table.iter().find_map(|(key, value)| {
        if key.span() == *at {
            return Some((&**key.get_ref(), None));
        }
        below(key.get_ref(), value, at)
    })
}

fn below<'a>(
    key: &'a str,
    value: &'a Spanned<DeValue<'a>>,
    at: &Range<usize>,
) -> Option<(&'a str, Option<&'a DeValue<'a>>)> {
    if value.span() == *at {
        return Some((key, Some(value.get_ref())));
    }
    match value.get_ref() {
        DeValue::Table(table) => innermost(table, at),
        DeValue::Array(array) => array.iter().find_map(|value| below(key, value, at)),
        _ => None,
    }
}

/// TOML's own word for what stands somewhere.
pub(super) fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date-time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// What serde says, in words that fit a file. The forms matched here are fixed by tests.
fn in_plain_words(message: &str, key: &str, found: Option<&DeValue<'_>>) -> (String, Option<String>) {
    // To serde a date-time is a table with a key of its own.
    if let Some(DeValue::Datetime(_)) = found {
        return (format!("`{key}` is a date-time"), None);
    }
    let unknown = [("unknown field `", "unknown key", "keys here"), ("unknown variant `", "unknown value", "values")];
    for (start, thing, things) in unknown {
        let Some(rest) = message.strip_prefix(start) else { continue };
        // The name may have anything in it, the known words have not: look from the end.
        let (name, known) =
            rest.rsplit_once("`, expected ").or_else(|| rest.rsplit_once("`, there are no ")).unwrap_or((rest, ""));
        let name: String = name.chars().take(80).collect();
        let known = known.split('`').skip(1).step_by(2);
        return (format!("{thing} `{name}`"), Some(near::hint(&name, things, known)));
    }
    if let Some(name) = quoted(message, "missing field `", "`") {
        return (format!("`{name}` is missing"), Some(format!("write {name} = …")));
    }
    let expected = message.rsplit_once(", expected ").map(|(_, expected)| expected);
    let found = found.map(kind_of);
    // An integer of more than 64 bits is of another type to serde.
    let too_large = found == Some("an integer") && expected.is_some_and(is_integer);
    if message.starts_with("invalid type: ") && !too_large {
        let expected = expected.unwrap_or("something else");
        let hint = if expected == SHAPE.trim_start_matches("write ") { SHAPE.to_owned() } else { hint_for(expected) };
        return (format!("`{key}` is {}", found.unwrap_or("of another type")), Some(hint));
    }
    if too_large || message.starts_with("invalid value: ") || message.starts_with("invalid length ") {
        return (format!("`{key}` is out of range"), Some(hint_for(expected.unwrap_or("another value"))));
    }
    match message.split_once(HINT) {
        Some((what, hint)) => (what.replace("{key}", key), Some(hint.to_owned())),
        None if key.is_empty() || message.contains(&format!("`{key}")) => (message.to_owned(), None),
        None => (format!("`{key}`: {message}"), None),
    }
}

fn is_integer(expected: &str) -> bool {
    ["u8", "u16", "u32", "u64", "usize", "i8", "i16", "i32", "i64", "isize"].contains(&expected)
}

fn hint_for(expected: &str) -> String {
    let bits = |unsigned: bool| -> Option<String> {
        let n: u32 = expected.trim_start_matches(['u', 'i']).parse().ok().filter(|n| (8..=32).contains(n))?;
        Some(match unsigned {
            true => format!("write an integer from 0 to {}", u64::MAX >> (64 - n)),
            false => format!("write an integer from {} to {}", i64::MIN >> (64 - n), i64::MAX >> (64 - n)),
        })
    };
    let words = match expected {
        "a string" | "a borrowed string" | "str" => Some("write a string: \"…\"".to_owned()),
        "path string" => Some("write a path: \"…\"".to_owned()),
        "a boolean" => Some("write true or false".to_owned()),
        "a sequence" => Some("write an array: [ … ]".to_owned()),
        "a map" => Some("write a table: { … }".to_owned()),
        "f32" | "f64" => Some("write a number".to_owned()),
        "usize" | "u64" => Some("write an integer, 0 or more".to_owned()),
        "isize" | "i64" => Some("write an integer".to_owned()),
        _ if expected.starts_with("struct ") => Some("write a table: { … }".to_owned()),
        _ if expected.starts_with('u') => bits(true),
        _ if expected.starts_with('i') => bits(false),
        _ => None,
    };
    words.unwrap_or_else(|| format!("write {expected}"))
}

fn quoted<'a>(message: &'a str, start: &str, end: &str) -> Option<&'a str> {
    message.strip_prefix(start)?.strip_suffix(end)
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
