//! Lengths of time as written in a file: an integer and a unit.

use std::{borrow::Cow, fmt, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Unexpected, Visitor},
};

use super::decode::HINT;
use crate::canary::time::{DurationError, parse_duration};

/// A length of time: `"500ms"`, `"90s"`, `"15m"`, `"2h"`, `"1d"`. Drivers use it in their tables,
/// so that the same mistake is answered the same way everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length(pub Duration);

impl Length {
    /// What one looks like, for schemas.
    pub const ANY: &str = "^[0-9]+(ms|s|m|h|d)$";
    /// The same of one that is more than nothing.
    pub const SOME: &str = "^0*[1-9][0-9]*(ms|s|m|h|d)$";
}

/// As it is written in a file, in the largest unit that says it.
impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
        let (each, unit) = units.into_iter().find(|(each, _)| millis.is_multiple_of(*each)).unwrap_or((1, "ms"));
        write!(f, "{}{unit}", millis / each)
    }
}

impl Serialize for Length {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl JsonSchema for Length {
    fn schema_name() -> Cow<'static, str> {
        "Length".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": Self::ANY })
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Text)
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = Length;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a length of time such as \"90s\" or \"15m\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Length, E> {
        parse_duration(text).map(Length).map_err(|error| {
            let shown: String = text.chars().take(40).collect();
            let written = format!("`{{key}} = {shown:?}`");
            E::custom(match error {
                DurationError::NoUnit(_) => format!("{written} has no unit{HINT}write \"{shown}s\" or \"15m\""),
                DurationError::Unit(_) => format!("{written} has an unknown unit{HINT}units are ms, s, m, h and d"),
                DurationError::TooLong(_) => format!("{written} is too long{HINT}the longest is 10000d"),
                DurationError::Shape(_) => {
                    format!("{written} is not a length of time{HINT}write an integer and a unit: \"90s\" or \"15m\"")
                }
            })
        })
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Length, E> {
        if number < 0 {
            return Err(E::invalid_type(Unexpected::Signed(number), &self));
        }
        Err(E::custom(format!("`{{key}} = {number}` has no unit{HINT}write \"{number}s\" or \"15m\"")))
    }
}
