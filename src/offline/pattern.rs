//! Patterns of the schema, compiled once, and words for those that people meet.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex},
};

use regex::Regex;
use serde_json::Value;

use crate::api::{duration, pod, rollout};

/// Said of what is compared with a part of a request.
const NEVER_MATCHES: &str = ": requests have no control characters, so it could never match";

static COMPILED: LazyLock<Mutex<HashMap<String, Option<Regex>>>> = LazyLock::new(Mutex::default);

/// Whether the text matches. A pattern that does not compile, which a test excludes, matches nothing.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let Ok(mut compiled) = COMPILED.lock() else { return false };
    let regex = compiled.entry(pattern.to_owned()).or_insert_with(|| Regex::new(pattern).ok());
    regex.as_ref().is_some_and(|regex| regex.is_match(text))
}

/// What to write instead, for patterns that say it badly.
pub(super) fn advice(pattern: &str) -> &'static str {
    if pattern == duration::PATTERN {
        return ": write whole numbers with a unit, such as 500ms, 3s or 1m30s";
    }
    if pattern.starts_with("^[a-z]([-a-z0-9]") {
        return ": write lower-case letters, digits and -, beginning with a letter and not ending with -";
    }
    if pattern.starts_with("^[a-z]([a-z0-9]|-") {
        return ": write lower-case letters, digits and single -, beginning with a letter and not ending with -";
    }
    if pattern.starts_with("^[a-z0-9]([-a-z0-9") {
        return ": write lower-case letters, digits and -, beginning and ending with a letter or digit";
    }
    if pattern == rollout::PERCENTAGE {
        return ": write a number of 1 or more, or a percentage from 1% to 100%";
    }
    if pattern == pod::TIME {
        return ": write a time as 2027-01-31T12:00:00Z";
    }
    if pattern.contains("[0-5][0-9]") {
        return ": write hours and minutes of two digits each, such as 09:00";
    }
    if pattern == rollout::COOKIE_NAME {
        return ": write letters, digits, -, _ and ., beginning with a letter or digit";
    }
    if pattern.starts_with(r"^[^\x00") {
        return NEVER_MATCHES;
    }
    if pattern.starts_with("^/") {
        return ": write an absolute path";
    }
    ""
}

/// The same for something that is no text.
pub(super) fn advice_on_type(pattern: &str, value: &Value) -> &'static str {
    match advice(pattern) {
        NEVER_MATCHES if value.is_number() || value.is_boolean() => ": put it in quotes",
        NEVER_MATCHES => "",
        advice => advice,
    }
}
