//! Puts a value at a field, with whatever must stand around it.

use devcluster::Dice;
use serde_json::{Map, Value, json};

use super::{
    Schema,
    schema::{Part, alternatives, parts, required},
    values::{key, value},
};

/// Where a value was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// As the API server writes it: `spec.versions[0].name`.
    pub path: String,
    /// As a JSON pointer within the manifest: `/spec/versions/0/name`.
    pub pointer: String,
}

/// Puts what `make` says at a field of a manifest, anew or in the place of what is there.
pub fn put(
    schema: &Schema,
    manifest: &mut Value,
    path: &str,
    dice: &mut Dice,
    make: &mut dyn FnMut(&str, &mut Dice) -> Value,
) -> Placed {
    let rest = parts(path.strip_prefix("spec").unwrap().trim_start_matches('.'));
    let rest = if path == "spec" { Vec::new() } else { rest };
    let mut placed = Placed { path: "spec".into(), pointer: "/spec".into() };
    descend(schema, &mut manifest["spec"], &rest, "spec".into(), &mut placed, dice, make);
    placed
}

fn descend(
    schema: &Schema,
    at: &mut Value,
    rest: &[Part<'_>],
    path: String,
    placed: &mut Placed,
    dice: &mut Dice,
    make: &mut dyn FnMut(&str, &mut Dice) -> Value,
) {
    let Some((part, rest)) = rest.split_first() else {
        *at = make(&path, dice);
        return;
    };
    match part {
        Part::Name(name) => {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            let node = schema.at(&path);
            let map = at.as_object_mut().unwrap();
            for group in alternatives(node).into_iter().filter(|group| group.contains(name)) {
                group.iter().filter(|other| *other != name).for_each(|other| drop(map.remove(*other)));
            }
            exclude(&path, name, map);
            placed.path.push_str(&format!(".{name}"));
            placed.pointer.push_str(&format!("/{name}"));
            let child = map.entry((*name).to_owned()).or_insert(Value::Null);
            descend(schema, child, rest, format!("{path}.{name}"), placed, dice, make);
            complete(schema, &path, map, dice);
            fit(&path, map, dice, name);
        }
        Part::Item => {
            if !at.is_array() {
                *at = json!([]);
            }
            let most = schema.at(&path)["maxItems"].as_u64().unwrap_or(64);
            let items = at.as_array_mut().unwrap();
            if items.is_empty() || (dice.below(4) == 0 && (items.len() as u64) < most.min(3)) {
                items.push(Value::Null);
            }
            let index =
                if items.last().is_some_and(Value::is_null) { items.len() - 1 } else { dice.below(items.len()) };
            placed.path.push_str(&format!("[{index}]"));
            placed.pointer.push_str(&format!("/{index}"));
            descend(schema, &mut items[index], rest, format!("{path}[]"), placed, dice, make);
        }
        Part::Entry => {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            let key = key(&path, dice);
            placed.path.push_str(&format!(".{key}"));
            placed.pointer.push_str(&format!("/{}", key.replace('~', "~0").replace('/', "~1")));
            let entry = at.as_object_mut().unwrap().entry(key).or_insert(Value::Null);
            descend(schema, entry, rest, format!("{path}{{}}"), placed, dice, make);
        }
    }
}

/// Two that exclude each other by rules of their own words.
fn exclude(path: &str, name: &str, map: &mut Map<String, Value>) {
    let other = match (path.rsplit('.').next().unwrap_or_default(), name) {
        ("env[]", "value") => "valueFrom",
        ("env[]", "valueFrom") => "value",
        ("routes[]", "version") => "weights",
        ("routes[]", "weights") => "version",
        _ => return,
    };
    map.remove(other);
}

/// Gives an object what it must have.
pub fn complete(schema: &Schema, path: &str, map: &mut Map<String, Value>, dice: &mut Dice) {
    let node = schema.at(path);
    for name in required(node) {
        if !map.contains_key(name) {
            map.insert(name.to_owned(), value(schema, &format!("{path}.{name}"), dice, 0));
        }
    }
    for group in alternatives(node) {
        if !group.iter().any(|name| map.contains_key(*name)) {
            let name = group[dice.below(group.len())];
            map.insert(name.to_owned(), value(schema, &format!("{path}.{name}"), dice, 0));
        }
    }
}

/// Mends what the fields of an object ask of each other, for the sake of the one that was set.
pub fn fit(path: &str, map: &mut Map<String, Value>, dice: &mut Dice, set: &str) {
    match path.rsplit('.').next().unwrap_or_default() {
        // The API server takes an empty one for none when its last field goes.
        "downwardAPI" if path.ends_with("volumes[].downwardAPI") => {
            map.entry("items")
                .or_insert_with(|| json!([{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]));
        }
        "secret" if path.ends_with("volumes[].secret") => {
            map.entry("secretName").or_insert_with(|| "keys".into());
        }
        "resourceFieldRef" if path.contains("downwardAPI") => {
            map.entry("containerName").or_insert_with(|| "app".into());
        }
        "seccompProfile" | "appArmorProfile" if set == "localhostProfile" => {
            map.insert("type".into(), "Localhost".into());
        }
        "seccompProfile" | "appArmorProfile" => drop(map.remove("localhostProfile")),
        "podCertificate"
            if !["credentialBundlePath", "keyPath", "certificateChainPath"].iter().any(|it| map.contains_key(*it)) =>
        {
            map.insert("credentialBundlePath".into(), "a.pem".into());
        }
        // Without a selector it would match no pod, and none could be scheduled.
        "requiredDuringSchedulingIgnoredDuringExecution[]" if path.contains("podAffinity") => {
            map.entry("labelSelector").or_insert_with(|| json!({"matchLabels": {"app": "order-service"}}));
        }
        "podAffinityTerm" | "requiredDuringSchedulingIgnoredDuringExecution[]"
            if map.contains_key("matchLabelKeys") || map.contains_key("mismatchLabelKeys") =>
        {
            map.entry("labelSelector").or_insert_with(|| json!({"matchLabels": {"noisy": "order-service"}}));
        }
        "metrics[]" if !["min", "max", "baseline"].iter().any(|it| map.contains_key(*it)) => {
            map.insert("min".into(), json!(0.5));
        }
        "routes[]" if !map.contains_key("weights") && !map.contains_key("version") => {
            map.insert("version".into(), "v1".into());
        }
        "tolerations[]" => {
            map.entry("key").or_insert_with(|| "dedicated".into());
            if set == "value" {
                map.insert("operator".into(), "Equal".into());
            } else if set == "operator" {
                map.remove("value");
            }
            if map.contains_key("tolerationSeconds") {
                map.insert("effect".into(), "NoExecute".into());
            }
        }
        "matchExpressions[]" if set == "values" => drop(map.insert("operator".into(), "NotIn".into())),
        "matchExpressions[]" if set == "operator" => drop(map.remove("values")),
        "matchExpressions[]" => {
            map.insert("operator".into(), "Exists".into());
            map.remove("values");
        }
        "matchFields[]" => {
            map.entry("values").or_insert_with(|| json!(["nowhere"]));
        }
        "topologySpreadConstraints[]" if map.contains_key("minDomains") => {
            map.insert("whenUnsatisfiable".into(), "DoNotSchedule".into());
        }
        "rollout" => {
            if ["stepWeight", "interval", "maxWeight"].contains(&set) {
                map.remove("steps");
                // So little that no maxWeight is less.
                map.entry("stepWeight")
                    .or_insert_with(|| [1, 20, 50][if set == "maxWeight" { 0 } else { dice.below(3) }].into());
            }
            if map.contains_key("stepWeight") {
                map.entry("interval").or_insert_with(|| "300ms".into());
            } else {
                map.remove("interval");
                map.remove("maxWeight");
            }
            if let Some(first) = map.get("stepWeight").cloned().filter(|_| set != "maxWeight") {
                map.entry("maxWeight").and_modify(|most| {
                    if most.as_i64() < first.as_i64() {
                        *most = first
                    }
                });
            }
        }
        _ => {}
    }
}
