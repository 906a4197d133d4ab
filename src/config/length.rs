//! Lengths of time as written in a file: an integer and a unit.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Unexpected, Visitor},
};

use super::decode::HINT;
use crate::canary::time::{DurationError, parse_duration};

/// A length of time: `"500ms"`, `"90s"`, `"15m"`, `"2h"`, `"1d"`. Drivers use it in their tables,
/// so that the same mistake is answered the same way everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length(pub Duration);

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
