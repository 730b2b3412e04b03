//! The schema of the CRD, field by field.

use std::collections::{BTreeMap, BTreeSet};

use microservice_operator::api::schema::open_api_schema;
use serde_json::Value;

/// One part of a field's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    Name(&'a str),
    /// `[]`: an item of a list.
    Item,
    /// `{}`: a value of a map.
    Entry,
}

/// The parts of a path such as `spec.versions[].nodeSelector{}`.
pub fn parts(path: &str) -> Vec<Part<'_>> {
    let mut all = Vec::new();
    for segment in path.split('.') {
        let name = segment.trim_end_matches(['[', ']', '{', '}']);
        all.push(Part::Name(name));
        let mut rest = &segment[name.len()..];
        while let Some((mark, tail)) = rest.split_at_checked(2) {
            all.push(if mark == "[]" { Part::Item } else { Part::Entry });
            rest = tail;
        }
    }
    all
}

/// Fields for which there is no valid value, since a rule refuses all of them.
const NEVER: &[&str] = &[
    "sysctls[]",
    "sysctls[].name",
    "sysctls[].value",
    "seLinuxOptions.user",
    "seLinuxOptions.role",
    "rollout.analysis.count",
];

/// Whether a rule refuses every value of a field.
pub fn never(path: &str) -> bool {
    NEVER.iter().any(|end| path.ends_with(end))
}

/// All fields that a spec can have.
#[derive(Debug)]
pub struct Schema {
    nodes: BTreeMap<String, Value>,
}

impl Schema {
    pub fn new() -> Self {
        let root = open_api_schema().unwrap();
        let mut nodes = BTreeMap::new();
        collect(&root["properties"]["spec"], "spec", &mut nodes);
        Self { nodes }
    }

    /// The paths of all fields, in their order.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.nodes.keys().map(String::as_str)
    }

    /// What is asked of a field.
    pub fn at(&self, path: &str) -> &Value {
        self.nodes.get(path).unwrap_or_else(|| panic!("the schema has no {path}"))
    }
}

fn collect(node: &Value, path: &str, nodes: &mut BTreeMap<String, Value>) {
    nodes.insert(path.to_owned(), node.clone());
    for (name, child) in node["properties"].as_object().into_iter().flatten() {
        collect(child, &format!("{path}.{name}"), nodes);
    }
    for (key, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(child) = node.get(key).filter(|child| child.is_object()) {
            collect(child, &format!("{path}{mark}"), nodes);
        }
    }
}

/// The fields of which an object needs exactly one, by the rules that stand there.
pub fn alternatives(node: &Value) -> Vec<Vec<&str>> {
    let rules = node["x-kubernetes-validations"].as_array().into_iter().flatten();
    rules
        .filter_map(|rule| {
            let list = rule["rule"].as_str()?.strip_suffix("].filter(x, x).size() == 1")?.strip_prefix('[')?;
            list.split(", ").map(|has| has.strip_prefix("has(self.")?.strip_suffix(')')).collect()
        })
        .collect()
}

/// The names of the fields that an object must have.
pub fn required(node: &Value) -> impl Iterator<Item = &str> {
    node["required"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// The fields that a value has, by their paths.
pub fn given(value: &Value, path: &str, schema: &Schema, into: &mut BTreeSet<String>) {
    into.insert(path.to_owned());
    match value {
        Value::Object(all) => {
            let map = schema.nodes.contains_key(&format!("{path}{{}}"));
            for (key, value) in all {
                let below = if map { format!("{path}{{}}") } else { format!("{path}.{key}") };
                given(value, &below, schema, into);
            }
        }
        Value::Array(all) => all.iter().for_each(|value| given(value, &format!("{path}[]"), schema, into)),
        _ => {}
    }
}
