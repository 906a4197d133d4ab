//! Points in time and lengths of time, as values: nothing here knows what time it is.

use std::{fmt, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in time, in microseconds since 1970-01-01T00:00:00Z. Written as RFC 3339 in UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Earlier than any run.
    pub const EPOCH: Timestamp = Timestamp(0);

    /// From microseconds since the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From whole milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1000))
    }

    /// From whole seconds since the epoch.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the epoch, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Seconds since the epoch, for metrics.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// This much later.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(micros(by)))
    }

    /// This much earlier.
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(micros(by)))
    }

    /// How long after `earlier` this is; zero if it is before.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Whole seconds since 1970, rounded down.
    pub fn as_secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// When its hour began.
    pub fn hour(self) -> Self {
        Self(self.0.div_euclid(HOUR) * HOUR)
    }

    /// Parses RFC 3339 with any offset.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let when = DateTime::parse_from_rfc3339(text).ok()?;
        Some(Self(when.timestamp_micros()))
    }

    /// As a calendar time in UTC. Times outside the years 1 to 9999, which a text of four digits can name
    /// and be read back from, show as the nearest that is inside: some server said them.
    pub fn to_utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0.clamp(YEAR_1, YEAR_9999)).unwrap_or_default()
    }

    /// `14:43` in UTC, with the day if that is not the day of `near`.
    pub fn minute(self, near: Timestamp) -> String {
        let (at, near) = (self.to_utc(), near.to_utc());
        let format = if at.date_naive() == near.date_naive() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
        at.format(format).to_string()
    }
}

/// An hour in microseconds.
const HOUR: i64 = 3_600_000_000;
/// The first microsecond of the year 1.
const YEAR_1: i64 = -62_135_596_800_000_000;
/// The last of the year 9999.
const YEAR_9999: i64 = 253_402_300_799_999_999;

fn micros(length: Duration) -> i64 {
    i64::try_from(length.as_micros()).unwrap_or(i64::MAX)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_utc().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let format =
            if self.0.clamp(YEAR_1, YEAR_9999) % 1000 == 0 { SecondsFormat::Millis } else { SecondsFormat::Micros };
        to.serialize_str(&self.to_utc().to_rfc3339_opts(format, true))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        Timestamp::parse_rfc3339(&text).ok_or_else(|| de::Error::custom(format!("`{text}` is not an RFC 3339 time")))
    }
}

/// Why a text is not a length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// A bare number.
    #[error("`{0}` has no unit")]
    NoUnit(String),
    /// A unit that is not `ms`, `s`, `m`, `h` or `d`.
    #[error("`{0}` has an unknown unit; units are ms, s, m, h, d")]
    Unit(String),
    /// Not an integer followed by a unit.
    #[error("`{0}` is not a length of time such as \"90s\" or \"15m\"")]
    Shape(String),
    /// More than 10,000 days.
    #[error("`{0}` is too long; the longest is 10000d")]
    TooLong(String),
}

/// Reads `90s`, `15m`, `500ms`, `2h`, `1d`: an integer and one unit, nothing else.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let shown = || text.chars().take(40).collect::<String>();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(DurationError::Shape(shown()));
    }
    let millis_each: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => return Err(DurationError::NoUnit(shown())),
        _ if unit.chars().all(|c| c.is_ascii_alphabetic()) => return Err(DurationError::Unit(shown())),
        _ => return Err(DurationError::Shape(shown())),
    };
    let number: u64 = number.parse().map_err(|_| DurationError::TooLong(shown()))?;
    match number.checked_mul(millis_each) {
        Some(millis) if millis <= 10_000 * 86_400_000 => Ok(Duration::from_millis(millis)),
        _ => Err(DurationError::TooLong(shown())),
    }
}

/// A length of time as people write it: `500ms`, `5s`, `1m30s`, `2h5m`, `3d`.
pub struct Brief(pub Duration);

impl fmt::Display for Brief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        if millis < 1000 {
            return write!(f, "{millis}ms");
        }
        if millis < 10_000 && !millis.is_multiple_of(1000) {
            return write!(f, "{:.1}s", self.0.as_secs_f64());
        }
        let secs = self.0.as_secs();
        let parts = [(secs / 86_400, "d"), (secs / 3600 % 24, "h"), (secs / 60 % 60, "m"), (secs % 60, "s")];
        let from = parts.iter().position(|(n, _)| *n > 0).unwrap_or(3);
        // Two units say enough: nobody needs the seconds of three days.
        for (n, unit) in parts.iter().skip(from).take(2).filter(|(n, _)| *n > 0) {
            write!(f, "{n}{unit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_time_that_a_server_may_say_is_written_so_that_it_reads_back() {
        for micros in [i64::MIN, -62_135_596_800_000_001, 0, 1_440_452_640_123_456, 253_402_300_800_000_000, i64::MAX] {
            let text = serde_json::to_string(&Timestamp::from_micros(micros)).expect("written");
            let read: Timestamp = serde_json::from_str(&text).expect("read back");
            assert_eq!(serde_json::to_string(&read).expect("written"), text);
        }
    }

    #[test]
    fn durations_need_an_integer_and_a_unit() {
        for (text, millis) in [("500ms", 500), ("90s", 90_000), ("15m", 900_000), ("2h", 7_200_000), ("0s", 0)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse_duration("90"), Err(DurationError::NoUnit("90".into())));
        assert_eq!(parse_duration("9y"), Err(DurationError::Unit("9y".into())));
        for shape in ["", "s", "-5s", "1.5h", "5 m", "5m3s"] {
            assert_eq!(parse_duration(shape), Err(DurationError::Shape(shape.into())), "{shape}");
        }
        assert!(matches!(parse_duration("99999999999999999999d"), Err(DurationError::TooLong(_))));
        assert!(matches!(parse_duration("10001d"), Err(DurationError::TooLong(_))));
    }

    #[test]
    fn times_are_written_in_utc_and_read_with_any_offset() {
        let at = Timestamp::parse_rfc3339("2015-08-24T14:44:00-07:00").expect("valid");
        assert_eq!(at.to_string(), "2015-08-24T21:44:00.000Z");
        let json = serde_json::to_string(&at).expect("a string");
        assert_eq!(serde_json::from_str::<Timestamp>(&json).expect("read back"), at);
    }

    #[test]
    fn brief_lengths_show_two_units() {
        for (millis, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (1500, "1.5s"),
            (60_000, "1m"),
            (90_000, "1m30s"),
            (3_600_000, "1h"),
            (93_784_000, "1d2h"),
        ] {
            assert_eq!(Brief(Duration::from_millis(millis)).to_string(), text);
        }
    }
}
