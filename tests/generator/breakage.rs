//! Values that break what the schema asks of a field, one way each.

use std::fmt;

use regex::Regex;
use serde_json::{Value, json};

use super::{Schema, schema::required};

/// A way to break a field.
#[derive(Clone, Debug, PartialEq)]
pub enum Breakage {
    /// This stands there instead.
    Value(&'static str, Value),
    /// A field of it that it must have is missing.
    Without(String),
    /// It has a field that the schema does not know.
    Unknown,
    /// Two entries of a list that are told apart by their keys have the same ones.
    Twice,
}

impl fmt::Display for Breakage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(how, _) => f.write_str(how),
            Self::Without(name) => write!(f, "without {name}"),
            Self::Unknown => f.write_str("with an unknown field"),
            Self::Twice => f.write_str("with an entry twice"),
        }
    }
}

/// All ways to break a field.
pub fn breakages(schema: &Schema, path: &str) -> Vec<Breakage> {
    let node = schema.at(path);
    let mut all = Vec::new();
    let mut value = |how, value| all.push(Breakage::Value(how, value));
    let number = |key: &str| node[key].as_f64();
    match node["type"].as_str() {
        Some("string") => {
            value("a number for a text", json!(7));
            if let Some(most) = node["maxLength"].as_u64() {
                value("too long", "a".repeat(usize::try_from(most).unwrap() + 1).into());
            }
            if node["enum"].is_array() {
                value("not in the enumeration", "Nonsense".into());
            }
            if let Some(pattern) = node["pattern"].as_str().filter(|_| !path.ends_with("subPath")) {
                let pattern = Regex::new(pattern).unwrap();
                let broken = ["\n /?", "/?"].into_iter().find(|text| !pattern.is_match(text));
                value("not of the pattern", broken.unwrap().into());
            }
            if node["minLength"].as_u64().is_some_and(|least| least > 0) {
                value("empty", "".into());
            }
        }
        Some("integer") => {
            value("a text for a number", "many".into());
            value("a fraction", json!(0.5));
            if let Some(least) = number("minimum") {
                value("below its least", json!(least as i64 - 1));
            }
            if let Some(most) = number("maximum") {
                value("above its most", json!(most as i64 + 1));
            }
        }
        Some("number") => value("a text for a number", "many".into()),
        Some("boolean") => value("a text for yes or no", "maybe".into()),
        Some("array") => {
            value("an object for a list", json!({"a": 1}));
            value("a text for a list", "a".into());
            if node["x-kubernetes-list-type"] == "map" {
                all.push(Breakage::Twice);
            }
        }
        Some("object") => {
            value("a text for an object", "a".into());
            value("a list for an object", json!([1]));
            if node["properties"].is_object() {
                all.push(Breakage::Unknown);
            }
            all.extend(required(node).map(|name| Breakage::Without(name.to_owned())));
        }
        _ => value("a list for a number or a text", json!([1])),
    }
    all
}
