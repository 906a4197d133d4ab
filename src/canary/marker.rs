//! The marker: the run id that stands in every row of a run, unique for ever.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::time::Timestamp;

/// A run id: 48 bits of milliseconds and 80 bits of chance, written as `lf` and 26 characters of
/// lower-case base 32 (Crockford's alphabet, as ULID does), so that markers sort by time and are
/// safe in SQL, URLs and file names, and fit Treasure Data's `domain_key`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Marker(u128);

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A text is not a marker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a run id: run ids are `lf` and 26 letters or digits")]
pub struct NotAMarker;

impl Marker {
    /// Length of a marker's text, in bytes.
    pub const LENGTH: usize = 28;

    /// A marker minted at `at`, with `chance` from the caller's dice (its low 80 bits are used).
    pub fn mint(at: Timestamp, chance: u128) -> Self {
        let millis = u128::try_from(at.as_millis()).unwrap_or(0) & ((1 << 48) - 1);
        Self(millis << 80 | chance & ((1 << 80) - 1))
    }

    /// The first marker that stands in a text by itself.
    pub fn find(text: &str) -> Option<Self> {
        let is_part = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        text.match_indices("lf").find_map(|(at, _)| {
            let (bytes, end) = (text.as_bytes(), at + Self::LENGTH);
            let alone = !is_part(at.checked_sub(1).and_then(|before| bytes.get(before))) && !is_part(bytes.get(end));
            text.get(at..end).filter(|_| alone)?.parse().ok()
        })
    }

    /// When it was minted, to the millisecond.
    pub fn minted_at(self) -> Timestamp {
        Timestamp::from_millis((self.0 >> 80) as i64)
    }

    /// A number that differs from run to run, below 2^31: part of every row's values.
    pub fn salt(self) -> i64 {
        // Multiplication by a large odd number spreads the low bits over the word.
        let mixed = (self.0 as u64 ^ (self.0 >> 64) as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> 33) as i64
    }

    /// The marker as a number, for compact storage.
    pub fn as_u128(self) -> u128 {
        self.0
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = *b"lf00000000000000000000000000";
        for (at, byte) in text[2..].iter_mut().rev().enumerate() {
            *byte = ALPHABET[(self.0 >> (5 * at) & 31) as usize];
        }
        f.write_str(str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Marker {
    type Err = NotAMarker;

    fn from_str(text: &str) -> Result<Self, NotAMarker> {
        let digits = text.strip_prefix("lf").filter(|d| d.len() == 26).ok_or(NotAMarker)?;
        let mut number: u128 = 0;
        for (at, byte) in digits.bytes().enumerate() {
            let digit = ALPHABET.iter().position(|a| *a == byte).ok_or(NotAMarker)?;
            // 26 × 5 bits are two more than a u128 has: the first digit is at most 7.
            if at == 0 && digit > 7 {
                return Err(NotAMarker);
            }
            number = number << 5 | digit as u128;
        }
        Ok(Self(number))
    }
}

impl Serialize for Marker {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Marker {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        <std::borrow::Cow<'de, str>>::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_reads_back_from_its_text() {
        for chance in [0, 1, u128::MAX, 0x1234_5678_9abc_def0_1234] {
            let marker = Marker::mint(Timestamp::from_secs(1_440_452_640), chance);
            let text = marker.to_string();
            assert_eq!(text.len(), Marker::LENGTH);
            assert_eq!(text.parse(), Ok(marker));
            assert_eq!(marker.minted_at(), Timestamp::from_secs(1_440_452_640));
        }
    }

    #[test]
    fn markers_sort_by_time() {
        let early = Marker::mint(Timestamp::from_secs(1), u128::MAX);
        let late = Marker::mint(Timestamp::from_secs(2), 0);
        assert!(early < late && early.to_string() < late.to_string());
    }

    #[test]
    fn other_texts_are_not_markers() {
        for text in [
            "",
            "lf",
            "lf0000000000000000000000000",
            "xx00000000000000000000000000",
            "lfz0000000000000000000000000",
            "lf0000000000000000000000000u",
            "LF00000000000000000000000000",
        ] {
            assert_eq!(text.parse::<Marker>(), Err(NotAMarker), "{text}");
        }
    }
}
