//! Edits of one field of a manifest.

use devcluster::Dice;
use microservice_operator::{api::Provider, offline::Checker};
use serde_json::{Map, Value, json};

use super::{Breakage, Placed, Schema, by_image, by_versions, put, schema::parts, tame, value};

/// Attempts to find a valid value, since some need others that are not there.
const ATTEMPTS: usize = 24;

/// A Microservice with a spec.
pub fn manifest(name: &str, namespace: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "microservice-operator.dev/v1alpha1", "kind": "Microservice",
        "metadata": {"name": name, "namespace": namespace}, "spec": spec,
    })
}

/// Specs to begin with.
pub fn beginnings() -> Vec<Value> {
    let v1 = json!({"name": "v1", "image": "registry.example/order-service:1.0.0", "weight": 90});
    let v2 = json!({"name": "v2", "image": "registry.example/order-service:2.0.0", "weight": 10});
    let http = json!([{"name": "http", "port": 80, "targetPort": 8080, "protocol": "HTTP"}]);
    let steps = json!({"steps": [{"weight": 20}, {"pause": {"duration": "300ms"}}, {"weight": 60}]});
    vec![
        json!({"ports": http, "replicas": 1, "drain": "1s", "versions": [v1, v2]}),
        json!({"ports": http, "replicas": 2, "drain": "1s", "versions": [v1, v2], "rollout": steps}),
        json!({"ports": http, "replicas": 1, "drain": "1s", "image": "registry.example/order-service:1.0.0"}),
        json!({"ports": http, "replicas": 1, "drain": "1s", "image": "registry.example/order-service:1.0.0", "rollout": steps}),
        json!({"ports": http, "replicas": 1, "drain": "1s", "versions": [v1, v2], "traffic": {"provider": "None"}}),
        json!({"ports": [], "replicas": 1, "drain": "1s", "versions": [v1, v2]}),
    ]
}

/// Gives a manifest the form, an image or versions, in which it can have a field.
pub fn prepare(manifest: &mut Value, path: &str) {
    let spec = &mut manifest["spec"];
    let of_image = ["spec.image", "spec.revisionHistoryLimit", "spec.configRevisions", "spec.rollout.rollbackWindow"];
    let of_versions = ["spec.versions", "spec.routes"];
    if of_image.iter().any(|it| path.starts_with(it)) && !path.starts_with("spec.imagePull") {
        by_image(spec);
    } else if of_versions.iter().any(|it| path.starts_with(it)) {
        by_versions(spec);
    }
    let of_ports = ["spec.rollout", "spec.routes", "spec.traffic.ports", "spec.versions[].ports", "spec.ports"];
    // Only a probe by gRPC asks for a service by its name.
    if path == "spec.health.service" {
        spec["health"] = json!({"protocol": "GRPC"});
    }
    if of_ports.iter().any(|it| path.starts_with(it)) && spec["ports"].as_array().is_none_or(Vec::is_empty) {
        spec["ports"] = json!([{"name": "http", "port": 80, "protocol": "HTTP"}]);
    }
}

/// Sets a field to a valid value. None where no attempt came to a valid manifest.
pub fn set(schema: &Schema, checker: &Checker, before: &Value, path: &str, dice: &mut Dice) -> Option<(Value, Placed)> {
    (0..ATTEMPTS).find_map(|_| {
        let (after, placed) = attempt(schema, before, path, dice);
        let verdict = checker.check(&after, Provider::Istio);
        (verdict.problems().next().is_none() && after.pointer(&placed.pointer).is_some()).then_some((after, placed))
    })
}

/// Sets a field to a value that is valid by itself, whatever the rest of the manifest is.
pub fn attempt(schema: &Schema, before: &Value, path: &str, dice: &mut Dice) -> (Value, Placed) {
    let mut after = before.clone();
    prepare(&mut after, path);
    let placed = put(schema, &mut after, path, dice, &mut |path, dice| value(schema, path, dice, 0));
    tame(&mut after["spec"]);
    (after, placed)
}

/// Sets a field to this.
pub fn set_to(schema: &Schema, before: &Value, path: &str, to: &Value, dice: &mut Dice) -> (Value, Placed) {
    let mut after = before.clone();
    prepare(&mut after, path);
    let placed = put(schema, &mut after, path, dice, &mut |_, _| to.clone());
    (after, placed)
}

/// Takes a field away wherever it stands, from outside in, if the manifest stays valid.
pub fn unset(checker: &Checker, before: &Value, path: &str) -> Option<Value> {
    let mut after = before.clone();
    let names = parts(path.strip_prefix("spec.")?);
    let removed = remove(&mut after["spec"], &names);
    tame(&mut after["spec"]);
    (removed && checker.check(&after, Provider::Istio).problems().next().is_none()).then_some(after)
}

fn remove(at: &mut Value, rest: &[super::schema::Part<'_>]) -> bool {
    use super::schema::Part;
    match (rest, at) {
        ([Part::Name(name)], Value::Object(map)) => map.remove(*name).is_some(),
        ([Part::Item], Value::Array(items)) => items.pop().is_some(),
        ([Part::Entry], Value::Object(map)) => {
            let any = !map.is_empty();
            map.clear();
            any
        }
        ([Part::Name(name), rest @ ..], Value::Object(map)) => map.get_mut(*name).is_some_and(|at| remove(at, rest)),
        ([Part::Item, rest @ ..], Value::Array(items)) => items.iter_mut().any(|at| remove(at, rest)),
        ([Part::Entry, rest @ ..], Value::Object(map)) => map.values_mut().any(|at| remove(at, rest)),
        _ => false,
    }
}

/// Breaks a field, unless something else takes its place. Answers the manifest, and the path that a refusal has to name.
pub fn broken(schema: &Schema, before: &Value, path: &str, how: &Breakage, dice: &mut Dice) -> Option<(Value, String)> {
    let make = &mut |path: &str, dice: &mut Dice| match how {
        Breakage::Value(_, value) => value.clone(),
        _ => value(schema, path, dice, 0),
    };
    let mut after = before.clone();
    prepare(&mut after, path);
    let placed = put(schema, &mut after, path, dice, make);
    let at = after.pointer_mut(&placed.pointer)?;
    let wrong = match how {
        Breakage::Value(..) => placed.path,
        Breakage::Without(name) => {
            at.as_object_mut().map(|map| map.remove(name));
            format!("{}.{name}", placed.path)
        }
        Breakage::Unknown => {
            at.as_object_mut().map(|map: &mut Map<String, Value>| map.insert("nosuchfield".into(), 1.into()));
            format!("{}.nosuchfield", placed.path)
        }
        Breakage::Twice => {
            let items = at.as_array_mut().unwrap();
            items.truncate(1);
            items.push(items[0].clone());
            format!("{}[1]", placed.path)
        }
    };
    Some((after, wrong))
}
