//! What the API server asks of every object: type, name, namespace, labels and annotations.

use serde_json::{Map, Value, json};

use crate::{
    api::{GROUP, VERSION},
    validate::{Problem, syntax},
};

use super::{
    structure::invalid,
    unknown::{nearest, unknown},
};

pub(super) const KIND: &str = "Microservice";
pub(super) const PROVIDER: &str = "AnalysisProvider";
pub(super) const WEBHOOK: &str = "RolloutWebhook";
const KINDS: [&str; 5] = [KIND, "MicroserviceList", "MicroserviceAction", PROVIDER, WEBHOOK];
const ROOT: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
const METADATA: [&str; 15] = [
    "annotations",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "labels",
    "managedFields",
    "name",
    "namespace",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];
/// Characters of `generateName` that the API server keeps, and random ones that it adds.
const LONGEST_PREFIX: usize = 58;
const SUFFIX: &str = "xxxxx";
/// What keys and values of all annotations may have together.
const ANNOTATION_BYTES: usize = 256 << 10;

/// Problems outside `spec`, but for those of the name, which the CRD's schema knows.
pub(super) fn check(manifest: &Value, kind: &str) -> Vec<Problem> {
    let Some(root) = manifest.as_object() else {
        return vec![Problem::new("", "a manifest is a mapping with apiVersion, kind, metadata and spec")];
    };
    let mut problems = type_of(root, kind);
    problems.extend(unknown("", root.keys(), &ROOT));
    match root.get("metadata") {
        Some(Value::Object(metadata)) => problems.extend(within(metadata)),
        None | Some(Value::Null) => problems.push(nameless()),
        Some(other) => problems.push(invalid("metadata", other, "must be of type object: a mapping with a name")),
    }
    problems
}

/// The kind that a manifest says it is of.
pub(super) fn kind_of(manifest: &Value) -> Option<&str> {
    manifest.get("kind").and_then(Value::as_str)
}

/// Whether a manifest is of a kind that belongs to no namespace.
pub fn is_of_cluster(manifest: &Value) -> bool {
    kind_of(manifest).is_some_and(|kind| [PROVIDER, WEBHOOK].contains(&kind))
}

/// Whether a manifest of another group was meant to be of this one: its group is misspelt, or it is the kind that no
/// other group is known to have.
pub fn is_meant(group: &str, kind: &str) -> bool {
    kind == KIND || nearest(group, &[GROUP]).is_some()
}

/// The problem of a manifest that is not meant to be a Microservice.
pub(super) fn other_kind(manifest: &Value) -> Option<Problem> {
    let kind = kind_of(manifest)?;
    if kind != KIND && KINDS.contains(&kind) {
        return version_of(manifest.as_object()?);
    }
    (nearest(kind, &KINDS) != Some(KIND)).then(|| unknown_kind(kind))
}

fn unknown_kind(kind: &str) -> Problem {
    let known = KINDS.join(", ");
    let meant = nearest(kind, &KINDS).map(|meant| format!(": did you mean {meant}?")).unwrap_or_default();
    Problem::new("kind", format!("{kind} is not known: this group has {known} in {GROUP}/{VERSION}{meant}"))
}

fn type_of(root: &Map<String, Value>, kind: &str) -> Vec<Problem> {
    let kind = match root.get("kind").and_then(Value::as_str) {
        Some(found) if found == kind => None,
        Some(found) => Some(unknown_kind(found)),
        None => Some(Problem::new("kind", format!("Required value: write {kind}"))),
    };
    version_of(root).into_iter().chain(kind).collect()
}

fn version_of(root: &Map<String, Value>) -> Option<Problem> {
    let expected = format!("{GROUP}/{VERSION}");
    match root.get("apiVersion").and_then(Value::as_str) {
        Some(found) if found == expected => None,
        Some(found) => Some(Problem::new("apiVersion", format!("{found} is not known: write {expected}"))),
        None => Some(Problem::new("apiVersion", format!("Required value: write {expected}"))),
    }
}

fn within(metadata: &Map<String, Value>) -> Vec<Problem> {
    let mut problems = unknown("metadata", metadata.keys(), &METADATA);
    let given = |field: &str| metadata.get(field).filter(|value| !is_empty(value));
    match (given("name"), given("generateName")) {
        (None, None) => problems.push(nameless()),
        (None, Some(prefix)) if !prefix.is_string() => {
            problems.push(invalid("metadata.generateName", prefix, "must be of type string"));
        }
        _ => {}
    }
    if let Some(namespace) = metadata.get("namespace").and_then(Value::as_str)
        && let Err(reason) = syntax::dns_label(namespace)
    {
        problems.push(Problem::new("metadata.namespace", format!("Invalid value: {namespace:?}: {reason}")));
    }
    problems.extend(strings(metadata, "labels", |key, value| {
        syntax::label_key(key).and_then(|()| syntax::label_value(value))
    }));
    problems.extend(strings(metadata, "annotations", |key, _| syntax::annotation_key(key)));
    let annotations = metadata.get("annotations").and_then(Value::as_object);
    let bytes: usize =
        annotations.into_iter().flatten().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if bytes > ANNOTATION_BYTES {
        let message = format!("Too long: may not be more than {ANNOTATION_BYTES} bytes");
        problems.push(Problem::new("metadata.annotations", message));
    }
    problems
}

fn nameless() -> Problem {
    Problem::new("metadata.name", "Required value: name or generateName is required")
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value == ""
}

/// The name of an object. Where the API server would generate it, one like that; `unnamed` where there is none.
pub fn name_of(manifest: &Value) -> String {
    let text = |field: &str| manifest["metadata"][field].as_str().filter(|text| !text.is_empty());
    let generated = |prefix: &str| prefix.chars().take(LONGEST_PREFIX).chain(SUFFIX.chars()).collect();
    match (text("name"), text("generateName")) {
        (Some(name), _) => name.to_owned(),
        (None, Some(prefix)) => generated(prefix),
        (None, None) => "unnamed".to_owned(),
    }
}

/// Namespace and name of an object, or its name alone; `namespace` is that of one whose own cannot be read.
pub fn object_of(manifest: &Value, namespace: &str) -> String {
    let name = name_of(manifest);
    let namespace = manifest["metadata"]["namespace"].as_str().unwrap_or(namespace);
    if is_of_cluster(manifest) { name } else { format!("{namespace}/{name}") }
}

/// Gives an object without a name the one it is told by, so that rules about names can be asked all the same. What is
/// wrong with its metadata is told by [`check`].
pub(super) fn give_name(manifest: &mut Value) {
    let name = name_of(manifest);
    let Some(root) = manifest.as_object_mut() else { return };
    if !root.get("metadata").is_some_and(Value::is_object) {
        root.insert("metadata".to_owned(), json!({}));
    }
    let Some(metadata) = root.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if metadata.get("name").is_none_or(is_empty) {
        metadata.insert("name".to_owned(), name.into());
    } else {
        // A name that is given is never generated.
        metadata.remove("generateName");
    }
}

/// Problems of a map of strings.
fn strings(
    metadata: &Map<String, Value>,
    field: &str,
    check: impl Fn(&str, &str) -> Result<(), &'static str>,
) -> Vec<Problem> {
    let path = format!("metadata.{field}");
    let Some(value) = metadata.get(field).filter(|value| !value.is_null()) else { return Vec::new() };
    let Some(map) = value.as_object() else {
        return vec![Problem::new(path, "must be of type object: a mapping of keys to strings")];
    };
    let problem = |(key, value): (&String, &Value)| match value.as_str() {
        Some(value) => check(key, value)
            .err()
            .map(|reason| Problem::new(&path, format!("Invalid value: \"{key}: {value}\": {reason}"))),
        None => Some(Problem::new(format!("{path}.{key}"), format!("Invalid value: {value}: must be of type string"))),
    };
    map.iter().filter_map(problem).collect()
}
