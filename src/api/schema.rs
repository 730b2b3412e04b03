//! The CustomResourceDefinition: what the derive makes, bounded, with short docs, list maps and rules.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceDefinition, JSONSchemaProps};
use kube::{CustomResourceExt, core::Rule};
use serde_json::{Map, Value, json};

use super::{
    AnalysisProvider, Microservice, MicroserviceAction, RolloutWebhook, duration, embedded,
    rules::{self, RULES},
};

/// Lists whose entries have an identity, with the fields that make it.
const LIST_MAPS: &[(&str, &[&str])] = &[
    ("spec.ports", &["name"]),
    ("spec.versions", &["name"]),
    ("spec.versions[].ports", &["name"]),
    ("spec.traffic.ports", &["name"]),
    ("spec.rollout.webhooks", &["webhook"]),
    ("spec.rollout.analysis.metrics", &["name"]),
    ("spec.rollout.steps[].analysis.metrics", &["name"]),
    ("status.conditions", &["type"]),
    ("status.traffic", &["version"]),
];

/// The same, for lists among the pod settings.
const POD_LIST_MAPS: &[(&str, &[&str])] = &[
    ("imagePullSecrets", &["name"]),
    ("env", &["name"]),
    ("volumes", &["name"]),
    ("mounts", &["path"]),
    ("topologySpreadConstraints", &["topologyKey", "whenUnsatisfiable"]),
    ("sidecars", &["name"]),
    ("sidecars[].env", &["name"]),
    ("sidecars[].mounts", &["path"]),
    ("initContainers", &["name"]),
    ("initContainers[].env", &["name"]),
    ("initContainers[].mounts", &["path"]),
];

/// Fields of versions that are not settings of the service, too.
const OF_VERSIONS: &[&str] = &["ports"];

/// Where pod settings stand.
pub(super) const POD_PATHS: [&str; 2] = ["spec", "spec.versions[]"];

const MAX_ITEMS: u64 = 64;
const MAX_PROPERTIES: u64 = 64;
const MAX_LENGTH: u64 = 4096;
/// The largest number of 32 bits.
const MAX_INT32: u64 = 0x7fff_ffff;
/// Port names and quantities are short.
const MAX_INT_OR_STRING: u64 = 63;

/// Fields of types that Kubernetes documents at length. Their own docs are ours; those below are cut to this many
/// characters, so that the whole CRD stays below 256 KiB.
const EMBEDDED: &[&str] = &[
    "affinity",
    "configMap",
    "downwardAPI",
    "emptyDir",
    "env",
    "envFrom",
    "imagePullSecrets",
    "lifecycle",
    "livenessProbe",
    "persistentVolumeClaim",
    "podSecurityContext",
    "projected",
    "readinessProbe",
    "resources",
    "secret",
    "securityContext",
    "startupProbe",
    "tolerations",
    "topologySpreadConstraints",
];
const EMBEDDED_DOC: usize = 100;
/// How a duration is written, which nothing else in `kubectl explain` tells.
const DURATION_DOC: &str = " Written as `30s` or `1h30m`.";

/// The CustomResourceDefinition of `Microservice`, as it is installed.
///
/// # Errors
/// When the adjusted schema is no longer one, which a test excludes.
pub fn crd() -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut crd = Microservice::crd();
    for version in &mut crd.spec.versions {
        if let Some(schema) = version.schema.as_mut() {
            let props = schema.open_api_v3_schema.take().unwrap_or_default();
            let mut root = serde_json::to_value(props)?;
            adjust(&mut root);
            schema.open_api_v3_schema = Some(serde_json::from_value::<JSONSchemaProps>(root)?);
        }
    }
    Ok(crd)
}

/// The CustomResourceDefinition of `MicroserviceAction`, as it is installed.
///
/// # Errors
/// As [`crd`].
pub fn action_crd() -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut crd = serde_json::to_value(MicroserviceAction::crd())?;
    if let Some(root) = crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema") {
        walk(root);
        if let Some(spec) = node_mut(root, "spec").and_then(Value::as_object_mut) {
            let rule = json!({"rule": "self == oldSelf", "message": "an action cannot be changed: create another one"});
            let undo = json!({
                "rule": "!has(self.revision) || self.verb == 'Undo'",
                "message": "only Undo goes back to a revision: remove revision, or ask for Undo",
            });
            spec.insert("x-kubernetes-validations".into(), json!([rule, undo]));
        }
    }
    serde_json::from_value(crd)
}

/// The CustomResourceDefinition of `AnalysisProvider`, as it is installed.
///
/// # Errors
/// As [`crd`].
pub fn provider_crd() -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut crd = serde_json::to_value(AnalysisProvider::crd())?;
    if let Some(root) = crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema") {
        walk(root);
        name_as_referred_to(root);
        list_map(root, "spec.headers", &["name"]);
        place(root, rules::provider());
    }
    serde_json::from_value(crd)
}

/// The CustomResourceDefinition of `RolloutWebhook`, as it is installed.
///
/// # Errors
/// As [`crd`].
pub fn webhook_crd() -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut crd = serde_json::to_value(RolloutWebhook::crd())?;
    if let Some(root) = crd.pointer_mut("/spec/versions/0/schema/openAPIV3Schema") {
        walk(root);
        name_as_referred_to(root);
        place(root, rules::webhook());
    }
    serde_json::from_value(crd)
}

/// Lets an object of the cluster have no name that no rollout could give.
fn name_as_referred_to(root: &mut Value) {
    root["properties"]["metadata"] = json!({
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 63, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}},
    });
}

/// All CustomResourceDefinitions, by the plural name of what they define.
///
/// # Errors
/// As [`crd`].
pub fn crds() -> Result<Vec<(String, CustomResourceDefinition)>, serde_json::Error> {
    let named = |crd: CustomResourceDefinition| (crd.spec.names.plural.clone(), crd);
    Ok(vec![named(crd()?), named(action_crd()?), named(provider_crd()?), named(webhook_crd()?)])
}

/// The schema of `Microservice` alone, as JSON, for checks without a cluster.
///
/// # Errors
/// As [`crd`].
pub fn open_api_schema() -> Result<Value, serde_json::Error> {
    schema_of(crd()?)
}

/// The schema of `AnalysisProvider` alone.
///
/// # Errors
/// As [`crd`].
pub fn provider_schema() -> Result<Value, serde_json::Error> {
    schema_of(provider_crd()?)
}

/// The schema of `RolloutWebhook` alone.
///
/// # Errors
/// As [`crd`].
pub fn webhook_schema() -> Result<Value, serde_json::Error> {
    schema_of(webhook_crd()?)
}

fn schema_of(crd: CustomResourceDefinition) -> Result<Value, serde_json::Error> {
    let schema = crd.spec.versions.into_iter().next().and_then(|version| version.schema);
    serde_json::to_value(schema.and_then(|schema| schema.open_api_v3_schema))
}

fn adjust(root: &mut Value) {
    embedded::tighten(root);
    walk(root);
    shorten_embedded(root);
    if let Some(versions) = node_mut(root, "spec.versions[]") {
        refer_to_the_service(versions);
    }
    root["properties"]["metadata"] = json!({
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 43, "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$"}},
    });
    for (path, keys) in LIST_MAPS {
        list_map(root, path, keys);
    }
    for pod in POD_PATHS {
        for (path, keys) in POD_LIST_MAPS {
            list_map(root, &format!("{pod}.{path}"), keys);
        }
    }
    place(root, RULES.iter().flat_map(|rules| rules()));
}

fn place(root: &mut Value, rules: impl IntoIterator<Item = (String, Rule)>) {
    for (path, rule) in rules {
        if let Some(node) = node_mut(root, &path).and_then(Value::as_object_mut) {
            let rules = node.entry("x-kubernetes-validations").or_insert_with(|| json!([]));
            if let (Some(rules), Ok(rule)) = (rules.as_array_mut(), serde_json::to_value(rule)) {
                rules.push(rule);
            }
        }
    }
}

fn list_map(root: &mut Value, path: &str, keys: &[&str]) {
    if let Some(node) = node_mut(root, path).and_then(Value::as_object_mut) {
        node.insert("x-kubernetes-list-type".into(), "map".into());
        node.insert("x-kubernetes-list-map-keys".into(), json!(keys));
    }
}

/// The schema at a path such as `spec.versions[].env`; `{}` stands for the values of a map.
fn node_mut<'a>(root: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    let mut node = root;
    for segment in path.split('.').filter(|segment| !segment.is_empty()) {
        let name = segment.trim_end_matches(['[', ']', '{', '}']);
        node = node.get_mut("properties")?.get_mut(name)?;
        node = match segment.strip_prefix(name)? {
            "" => node,
            "[]" => node.get_mut("items")?,
            _ => node.get_mut("additionalProperties")?,
        };
    }
    Some(node)
}

/// Bounds, short docs and what structural schemas ask for, on every node.
fn walk(node: &mut Value) {
    let Some(map) = node.as_object_mut() else { return };
    map.remove("nullable");
    map.remove("default").filter(|default| !default.is_null()).map(|default| map.insert("default".into(), default));
    if let Some(Value::Array(values)) = map.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if let Some(Value::String(doc)) = map.get_mut("description") {
        *doc = doc.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    match map.get("format").and_then(Value::as_str) {
        Some("date-time" | "int32" | "int64" | "double" | "byte") | None => {}
        Some(_) => {
            map.remove("format");
        }
    }
    bound(map);
    children(node).for_each(walk);
}

/// The schemas directly below a schema.
fn children(node: &mut Value) -> impl Iterator<Item = &mut Value> {
    node.as_object_mut().into_iter().flat_map(Map::iter_mut).flat_map(|(key, value)| match key.as_str() {
        "properties" => value.as_object_mut().map(|map| map.values_mut().collect()).unwrap_or_default(),
        "items" | "additionalProperties" => vec![value],
        _ => Vec::new(),
    })
}

fn bound(map: &mut Map<String, Value>) {
    if map.get("x-kubernetes-int-or-string").is_some() {
        map.insert("maxLength".into(), MAX_INT_OR_STRING.into());
        return;
    }
    let (key, limit) = match map.get("type").and_then(Value::as_str) {
        Some("array") => ("maxItems", MAX_ITEMS),
        Some("string") if !map.contains_key("enum") && !map.contains_key("format") => ("maxLength", MAX_LENGTH),
        Some("object") if map.contains_key("additionalProperties") => ("maxProperties", MAX_PROPERTIES),
        // Some API servers take a larger one in spite of the format, and the operator could not read it.
        Some("integer") if map.get("format").is_some_and(|format| format == "int32") => ("maximum", MAX_INT32),
        _ => return,
    };
    map.entry(key).or_insert_with(|| limit.into());
    if map.get("pattern").and_then(Value::as_str) == Some(duration::PATTERN) {
        map.entry("x-kubernetes-validations")
            .or_insert_with(|| json!([{"rule": "duration(self) >= duration('1ms')", "message": duration::BOUNDS}]));
        if let Some(Value::String(doc)) = map.get_mut("description") {
            doc.push_str(DURATION_DOC);
        }
    }
}

fn shorten_embedded(node: &mut Value) {
    if let Some(properties) = node.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, child) in properties {
            if EMBEDDED.contains(&name.as_str()) {
                shorten_below(child, EMBEDDED_DOC);
            } else {
                shorten_embedded(child);
            }
        }
    }
    if let Some(items) = node.get_mut("items") {
        shorten_embedded(items);
    }
}

/// A version repeats the settings of the service. What their fields mean is said there, once, as all of the CRD has to stay
/// below 256 KiB.
fn refer_to_the_service(versions: &mut Value) {
    let Some(settings) = versions.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (name, setting) in settings.iter_mut().filter(|(name, _)| !OF_VERSIONS.contains(&name.as_str())) {
        if bare_below(setting)
            && let Some(Value::String(doc)) = setting.get_mut("description")
        {
            doc.push_str(&format!(" For its fields see spec.{name}."));
        }
    }
}

/// Takes away the docs below a node. Answers whether there were any.
fn bare_below(node: &mut Value) -> bool {
    let mut any = false;
    for child in children(node) {
        any |= child.as_object_mut().is_some_and(|child| child.remove("description").is_some());
        any |= bare_below(child);
    }
    any
}

/// Shortens the docs below a node to their first sentence and at most `limit` characters. Those of a list say what its
/// entries are.
fn shorten_below(node: &mut Value, limit: usize) {
    if let Some(Value::Object(entry)) = node.get_mut("items") {
        entry.remove("description");
    }
    for child in children(node) {
        if let Some(Value::String(doc)) = child.get_mut("description") {
            *doc = short(doc, limit);
        }
        shorten_below(child, limit);
    }
}

/// The first sentence, on one line.
fn short(doc: &str, limit: usize) -> String {
    let line = doc.split_whitespace().collect::<Vec<_>>().join(" ");
    let sentence = line.split_once(". ").map_or(line.as_str(), |(first, _)| first).trim_end_matches('.');
    if sentence.chars().count() <= limit {
        return sentence.to_owned();
    }
    let cut: String = sentence.chars().take(limit).collect();
    cut.rsplit_once(' ').map_or_else(|| cut.clone(), |(words, _)| format!("{words} …"))
}

#[cfg(test)]
mod tests {
    use crate::api::RESERVED;

    use super::*;

    #[test]
    fn every_rule_and_list_map_has_a_place() {
        let mut root = open_api_schema().unwrap();
        let pods = POD_PATHS.iter().flat_map(|pod| POD_LIST_MAPS.iter().map(move |(path, _)| format!("{pod}.{path}")));
        let rules = RULES.iter().flat_map(|rules| rules()).map(|(path, _)| path);
        let lists = LIST_MAPS.iter().map(|(path, _)| (*path).to_owned());
        for path in rules.chain(lists).chain(pods) {
            assert!(node_mut(&mut root, &path).is_some(), "nothing at {path}");
        }
    }

    #[test]
    fn the_docs_of_durations_say_how_they_are_written() {
        let mut root = open_api_schema().unwrap();
        let fields =
            ["spec.drain", "spec.rollout.interval", "spec.rollout.steps[].pause.duration", "spec.traffic.timeout"];
        for path in fields {
            let doc = node_mut(&mut root, path).unwrap()["description"].as_str().unwrap().to_owned();
            assert!(doc.ends_with(". Written as `30s` or `1h30m`."), "{path}: {doc}");
        }
    }

    #[test]
    fn nothing_has_a_reserved_name() {
        let root = open_api_schema().unwrap();
        let taken: Vec<_> =
            RESERVED.iter().filter(|name| root["properties"]["spec"]["properties"].get(name).is_some()).collect();
        assert!(taken.is_empty(), "built, so no longer reserved: {taken:?}");
    }
}
