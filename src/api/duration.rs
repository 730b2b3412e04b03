//! Durations as users write them: `500ms`, `3s`, `1m30s`, `2h`.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, de};
use thiserror::Error;

/// What the CRD accepts; [`Duration::from_str`] accepts the same texts.
pub const PATTERN: &str = "^([0-9]{1,9}(ms|s|m|h)){1,4}$";

/// The longest that the API server can read, which counts nanoseconds in 63 bits.
const MAX: Duration = Duration::from_millis(9_223_372_036_854);
/// What a duration must be, in words. The API server tells them, too, of one that is too long for it to read.
pub const BOUNDS: &str = "must be at least 1ms, and at most 2562047h";

/// A length of time with millisecond resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(std::time::Duration);

/// A text that is not a duration.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{text:?} is not a duration: write whole numbers with a unit, such as 500ms, 3s or 1m30s")]
pub struct ParseDurationError {
    text: String,
}

impl Duration {
    /// A duration of whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(std::time::Duration::from_secs(secs))
    }

    /// A duration of whole milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(std::time::Duration::from_millis(millis))
    }

    /// The standard library's form.
    pub const fn as_std(self) -> std::time::Duration {
        self.0
    }

    /// Whether the API server can read it.
    pub fn is_readable(self) -> bool {
        self <= MAX
    }

    /// As timestamps reckon with it.
    pub fn signed(self) -> jiff::SignedDuration {
        jiff::SignedDuration::try_from(self.0).unwrap_or(jiff::SignedDuration::MAX)
    }

    /// As protobuf's JSON mapping writes it, which Istio reads: seconds with up to three decimals.
    pub fn to_proto(self) -> String {
        match self.0.subsec_millis() {
            0 => format!("{}s", self.0.as_secs()),
            millis => format!("{}.{millis:03}s", self.0.as_secs()),
        }
    }
}

impl FromStr for Duration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || ParseDurationError { text: text.to_owned() };
        let mut rest = text;
        let mut millis: u64 = 0;
        if rest.is_empty() {
            return Err(invalid());
        }
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at(digits);
            let number: u64 = number.parse().map_err(|_| invalid())?;
            let (factor, tail) = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)]
                .into_iter()
                .find_map(|(unit, factor)| tail.strip_prefix(unit).map(|tail| (factor, tail)))
                .ok_or_else(invalid)?;
            millis = number.checked_mul(factor).and_then(|ms| ms.checked_add(millis)).ok_or_else(invalid)?;
            rest = tail;
        }
        Ok(Self(std::time::Duration::from_millis(millis)))
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut millis = self.0.as_millis();
        if millis == 0 {
            return f.write_str("0s");
        }
        for (unit, factor) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
            if millis >= factor {
                write!(f, "{}{unit}", millis / factor)?;
                millis %= factor;
            }
        }
        Ok(())
    }
}

impl Serialize for Duration {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": PATTERN, "maxLength": 40 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_what_users_write() {
        for (text, millis, shown, proto) in [
            ("3s", 3_000, "3s", "3s"),
            ("500ms", 500, "500ms", "0.500s"),
            ("1m30s", 90_000, "1m30s", "90s"),
            ("90s", 90_000, "1m30s", "90s"),
            ("2h", 7_200_000, "2h", "7200s"),
            ("0s", 0, "0s", "0s"),
        ] {
            let parsed: Duration = text.parse().unwrap();
            assert_eq!(parsed.as_std().as_millis(), millis, "{text}");
            assert_eq!((parsed.to_string().as_str(), parsed.to_proto().as_str()), (shown, proto));
        }
    }

    #[test]
    fn the_api_server_reads_what_fits_into_its_nanoseconds() {
        for (text, readable) in [("2562047h", true), ("2562047h47m16s", true), ("2562047h47m17s", false)] {
            assert_eq!(text.parse::<Duration>().unwrap().is_readable(), readable, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_duration() {
        for text in ["", "3", "s", "3 s", "-3s", "1d", "3sec", "99999999999999999999s", "1.5s"] {
            assert!(text.parse::<Duration>().is_err(), "{text}");
        }
    }
}
