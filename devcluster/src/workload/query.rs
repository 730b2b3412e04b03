//! What a request asks for itself alone, in its query.

use std::str::FromStr;
use std::time::Duration;

/// A query parameter is unusable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the query parameter {name} can't be `{value}`: it is {expected}")]
pub(super) struct QueryError {
    name: &'static str,
    value: String,
    expected: &'static str,
}

/// `?delayMs=`, `?status=` and `?failFirst=N&key=K`; other parameters mean nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Overrides {
    pub(super) delay: Option<Duration>,
    pub(super) status: Option<u16>,
    /// A key, and how many requests with it fail.
    pub(super) fail_first: Option<(String, u64)>,
}

impl Overrides {
    pub(super) fn parse(query: &str) -> Result<Self, QueryError> {
        let mut overrides = Self::default();
        let mut first = None;
        let mut key = "";
        for (name, value) in query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))) {
            match name {
                "delayMs" => overrides.delay = Some(Duration::from_millis(number("delayMs", value)?)),
                "status" => overrides.status = Some(status(value)?),
                "failFirst" => first = Some(number("failFirst", value)?),
                "key" => key = value,
                _ => {}
            }
        }
        overrides.fail_first = first.map(|count| (key.to_owned(), count));
        Ok(overrides)
    }
}

fn number(name: &'static str, value: &str) -> Result<u64, QueryError> {
    u64::from_str(value).map_err(|_| QueryError { name, value: value.to_owned(), expected: "a whole number" })
}

fn status(value: &str) -> Result<u16, QueryError> {
    u16::from_str(value).ok().filter(|status| (200..600).contains(status)).ok_or_else(|| QueryError {
        name: "status",
        value: value.to_owned(),
        expected: "an HTTP status from 200 to 599",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_among_others() {
        let overrides = Overrides::parse("x=1&delayMs=20&status=418&key=k%20&failFirst=3").unwrap();
        assert_eq!(overrides.delay, Some(Duration::from_millis(20)));
        assert_eq!(overrides.status, Some(418));
        assert_eq!(overrides.fail_first, Some(("k%20".into(), 3)));
        assert_eq!(Overrides::parse("").unwrap(), Overrides::default());
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for query in ["delayMs=soon", "status=99", "status=600", "failFirst=", "delayMs"] {
            assert!(Overrides::parse(query).is_err(), "{query}");
        }
    }
}
