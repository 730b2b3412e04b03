//! The structural schema of the CRD: what the API server fills in, and what it refuses before any rule is asked.
//!
//! Messages use the API server's words, so that both can be looked up alike.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{
    api::{Duration, duration},
    validate::Problem,
};

use super::pattern;

/// The object as it would be stored: without nulls, status and what is not in the spec, and with the defaults.
pub(super) fn stored(schema: &Value, manifest: &Value) -> Value {
    let mut manifest = manifest.clone();
    if let Some(root) = manifest.as_object_mut() {
        root.remove("status");
    }
    normalize(&mut manifest);
    kube::core::cel::apply_defaults(schema, &manifest)
}

/// As the API server reads it: a field that is null is not there, and `1.0` is the integer 1.
fn normalize(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(normalize);
        }
        Value::Array(items) => items.iter_mut().for_each(normalize),
        Value::Number(number) => {
            let whole = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0);
            if let Some(integer) = whole.and_then(|float| format!("{float:.0}").parse::<i64>().ok()) {
                *value = integer.into();
            }
        }
        _ => {}
    }
}

/// Everything in `spec`, and the name, that the schema refuses. Fields that it does not know are not looked at.
pub(super) fn check(schema: &Value, manifest: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    let part = |field: &str| (&schema["properties"][field], manifest.get(field));
    if let (metadata, Some(value)) = part("metadata")
        && let Some(name) = value.get("name")
    {
        node(&metadata["properties"]["name"], name, "metadata.name", &mut problems);
    }
    match part("spec") {
        (spec, Some(value)) => node(spec, value, "spec", &mut problems),
        _ => problems.push(Problem::new("spec", "Required value")),
    }
    problems
}

fn node(schema: &Value, value: &Value, path: &str, problems: &mut Vec<Problem>) {
    if let Some(expected) = wrong_type(schema, value) {
        let pattern = schema.get("pattern").and_then(Value::as_str).filter(|_| expected == "string");
        let advice = pattern.map(|pattern| pattern::advice_on_type(pattern, value)).unwrap_or_default();
        return problems.push(invalid(path, value, format!("must be of type {expected}{advice}")));
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        let allowed = allowed.iter().map(Value::to_string).collect::<Vec<_>>().join(", ");
        problems.push(Problem::new(path, format!("Unsupported value: {value}: supported values: {allowed}")));
    }
    match value {
        Value::String(text) => string(schema, text, path, problems),
        Value::Number(_) => number(schema, value, path, problems),
        Value::Array(items) => array(schema, items, path, problems),
        Value::Object(map) => object(schema, map, path, problems),
        Value::Null | Value::Bool(_) => {}
    }
}

pub(super) fn invalid(path: &str, value: &Value, reason: impl AsRef<str>) -> Problem {
    let shown = match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        _ => value.to_string(),
    };
    Problem::new(path, format!("Invalid value: {shown}: {}", reason.as_ref()))
}

/// The type that a value should have, when it has another.
fn wrong_type<'a>(schema: &'a Value, value: &Value) -> Option<&'a str> {
    if schema.get("x-kubernetes-int-or-string").is_some() {
        return (!value.is_string() && !is_integer(value)).then_some("integer or string");
    }
    let expected = schema.get("type").and_then(Value::as_str)?;
    let fits = match expected {
        "string" => value.is_string(),
        "integer" => is_integer(value),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => true,
    };
    (!fits).then_some(expected)
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64()
}

fn string(schema: &Value, text: &str, path: &str, problems: &mut Vec<Problem>) {
    let length = text.chars().count() as u64;
    if let Some(most) = limit(schema, "maxLength").filter(|most| length > *most) {
        problems.push(Problem::new(path, format!("Too long: may not be more than {most} bytes")));
    }
    let mut wrong = |reason: String| problems.push(invalid(path, &text.into(), reason));
    if let Some(least) = limit(schema, "minLength").filter(|least| length < *least) {
        wrong(format!("should be at least {least} chars long"));
        if text.is_empty() {
            return;
        }
    }
    let pattern = schema.get("pattern").and_then(Value::as_str);
    if let Some(pattern) = pattern.filter(|pattern| !pattern::matches(pattern, text)) {
        return wrong(format!("should match '{pattern}'{}", pattern::advice(pattern)));
    }
    let duration = pattern.filter(|pattern| *pattern == duration::PATTERN);
    if duration.and_then(|_| text.parse::<Duration>().ok()).is_some_and(|duration| !duration.is_readable()) {
        wrong(duration::BOUNDS.to_owned());
    }
    if schema.get("format").and_then(Value::as_str) == Some("date-time") && text.parse::<Timestamp>().is_err() {
        wrong("must be of type date-time: write it as 2027-01-31T12:00:00Z".to_owned());
    }
}

fn number(schema: &Value, value: &Value, path: &str, problems: &mut Vec<Problem>) {
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    let Some(number) = value.as_f64() else { return };
    let is_int32 = || value.as_i64().is_some_and(|number| i32::try_from(number).is_ok());
    if schema.get("format").and_then(Value::as_str) == Some("int32") && !is_int32() {
        problems.push(invalid(path, value, "must be of type integer with format int32"));
    }
    if let Some(least) = bound("minimum").filter(|least| number < *least) {
        problems.push(invalid(path, value, format!("should be greater than or equal to {least}")));
    }
    if let Some(most) = bound("maximum").filter(|most| number > *most) {
        problems.push(invalid(path, value, format!("should be less than or equal to {most}")));
    }
}

fn limit(schema: &Value, key: &str) -> Option<u64> {
    schema.get(key).and_then(Value::as_u64)
}

fn array(schema: &Value, items: &[Value], path: &str, problems: &mut Vec<Problem>) {
    let count = items.len() as u64;
    if let Some(most) = limit(schema, "maxItems").filter(|most| count > *most) {
        problems.push(Problem::new(path, format!("Too many: {count}: must have at most {most} items")));
    }
    if let Some(least) = limit(schema, "minItems").filter(|least| count < *least) {
        problems.push(Problem::new(path, format!("Invalid value: {count}: should have at least {least} items")));
    }
    for (index, item) in items.iter().enumerate() {
        node(&schema["items"], item, &format!("{path}[{index}]"), problems);
    }
    let keys: Vec<&str> = schema
        .get("x-kubernetes-list-map-keys")
        .and_then(Value::as_array)
        .map(|keys| keys.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    if !keys.is_empty() {
        duplicates(&keys, items, path, problems);
    }
}

fn duplicates(keys: &[&str], items: &[Value], path: &str, problems: &mut Vec<Problem>) {
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let given = keys.iter().filter_map(|key| item.get(*key).map(|value| (*key, value.clone())));
        let identity = Value::from_iter(given);
        if !seen.insert(identity.to_string()) {
            problems.push(Problem::new(format!("{path}[{index}]"), format!("Duplicate value: {identity}")));
        }
    }
}

fn object(schema: &Value, map: &Map<String, Value>, path: &str, problems: &mut Vec<Problem>) {
    for required in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        if !map.contains_key(required) {
            problems.push(Problem::new(format!("{path}.{required}"), "Required value"));
        }
    }
    let count = map.len() as u64;
    if let Some(most) = limit(schema, "maxProperties").filter(|most| count > *most) {
        problems.push(Problem::new(path, format!("Too many: {count}: must have at most {most} items")));
    }
    if let Some(values) = schema.get("additionalProperties").filter(|values| values.is_object()) {
        return map.iter().for_each(|(key, value)| node(values, value, &format!("{path}.{key}"), problems));
    }
    let Some(known) = schema.get("properties").and_then(Value::as_object) else { return };
    for (key, value) in map {
        if let Some(schema) = known.get(key) {
            node(schema, value, &format!("{path}.{key}"), problems);
        }
    }
}
