//! Mends what fields of different places ask of each other, so that an edit of one of them is valid.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// Turns a spec into one with versions.
pub fn by_versions(spec: &mut Value) {
    let map = spec.as_object_mut().unwrap();
    if map.remove("image").is_some() || !map.contains_key("versions") {
        map.insert("versions".into(), json!([{"name": "v1", "image": "registry.example/order-service:1.0.0"}]));
    }
    for field in ["revisionHistoryLimit", "configRevisions"] {
        map.remove(field);
    }
    if let Some(rollout) = map.get_mut("rollout").and_then(Value::as_object_mut) {
        rollout.remove("rollbackWindow");
    }
}

/// Turns a spec into one with an image.
pub fn by_image(spec: &mut Value) {
    let map = spec.as_object_mut().unwrap();
    map.remove("versions");
    map.remove("routes");
    map.entry("image").or_insert_with(|| "registry.example/order-service:1.0.0".into());
}

/// Mends what does not fit together.
pub fn tame(spec: &mut Value) {
    if spec.get("image").is_some() {
        by_image(spec)
    } else {
        by_versions(spec)
    }
    ports(spec);
    weights(spec);
    rollout(spec);
    routes(spec);
    for at in pods(spec) {
        volumes(spec, &at);
    }
}

fn list<'a>(value: &'a mut Value, field: &str) -> &'a mut Vec<Value> {
    static NOTHING: Value = Value::Null;
    let map = value.as_object_mut().unwrap();
    let entry = map.entry(field.to_owned()).or_insert_with(|| NOTHING.clone());
    if !entry.is_array() {
        *entry = json!([]);
    }
    entry.as_array_mut().unwrap()
}

/// Keeps the last of the items with the same key.
fn distinct(items: &mut Vec<Value>, key: &str) {
    let mut seen = BTreeSet::new();
    items.reverse();
    items.retain(|item| seen.insert(item[key].to_string()));
    items.reverse();
}

fn ports(spec: &mut Value) {
    let ports = list(spec, "ports");
    distinct(ports, "name");
    distinct(ports, "port");
    let mut taken = BTreeSet::new();
    for port in ports.iter_mut() {
        let number = port.get("targetPort").unwrap_or(&port["port"]).to_string();
        if !taken.insert(number) {
            port.as_object_mut().unwrap().remove("targetPort");
        }
    }
}

fn weights(spec: &mut Value) {
    let Some(versions) = spec.get_mut("versions").and_then(Value::as_array_mut) else { return };
    distinct(versions, "name");
    let mut left = 100;
    let count = versions.len();
    for (index, version) in versions.iter_mut().enumerate() {
        let wanted = version["weight"].as_i64().unwrap_or(0).clamp(0, left);
        let weight = if index + 1 == count { left } else { wanted };
        left -= weight;
        version["weight"] = weight.into();
    }
}

fn rollout(spec: &mut Value) {
    let worker = spec["ports"].as_array().is_none_or(Vec::is_empty);
    let map = spec.as_object_mut().unwrap();
    if worker {
        map.remove("rollout");
    }
    let Some(rollout) = map.get_mut("rollout").and_then(Value::as_object_mut) else { return };
    if let Some(steps) = rollout.get_mut("steps").and_then(Value::as_array_mut) {
        let mut weights: Vec<_> = steps.iter().filter_map(|step| step.get("weight").and_then(Value::as_i64)).collect();
        weights.sort_unstable_by(|one, other| other.cmp(one));
        for step in steps.iter_mut().filter(|step| step.get("weight").is_some()) {
            step["weight"] = weights.pop().into();
        }
    }
}

fn routes(spec: &mut Value) {
    let http = spec["ports"].as_array().into_iter().flatten().any(|port| port["protocol"] != "TCP");
    let named: Vec<_> = spec["versions"].as_array().into_iter().flatten().map(|it| it["name"].clone()).collect();
    if !http {
        spec.as_object_mut().unwrap().remove("routes");
    }
    let Some(routes) = spec.get_mut("routes").and_then(Value::as_array_mut) else { return };
    distinct(routes, "name");
    for route in routes {
        if let Some(version) = route.get_mut("version").filter(|version| !named.contains(version)) {
            *version = named[0].clone();
        }
        if let Some(shares) = route.get_mut("weights").and_then(Value::as_array_mut) {
            shares.retain(|share| named.contains(&share["version"]));
            let mut left = 100;
            let count = shares.len();
            for (index, share) in shares.iter_mut().enumerate() {
                let wanted = share["weight"].as_i64().unwrap_or(0).clamp(0, left);
                share["weight"] = if index + 1 == count { left } else { wanted }.into();
                left -= share["weight"].as_i64().unwrap();
            }
            if count == 0 {
                *shares = vec![json!({"version": named[0], "weight": 100})];
            }
        }
    }
}

/// Where pod settings stand, as JSON pointers within the spec.
fn pods(spec: &Value) -> Vec<String> {
    let versions = spec["versions"].as_array().map_or(0, Vec::len);
    std::iter::once(String::new()).chain((0..versions).map(|index| format!("/versions/{index}"))).collect()
}

/// Whatever is mounted exists, and everything stands once in its list.
fn volumes(spec: &mut Value, at: &str) {
    let pod = spec.pointer_mut(at).unwrap();
    let mut wanted = BTreeSet::new();
    for (field, key) in
        [("env", "name"), ("volumes", "name"), ("mounts", "path"), ("sidecars", "name"), ("initContainers", "name")]
    {
        if let Some(items) = pod.get_mut(field).and_then(Value::as_array_mut) {
            distinct(items, key);
        }
    }
    let mut note = |container: &mut Value| {
        for (field, key) in [("mounts", "path"), ("env", "name")] {
            if let Some(items) = container.get_mut(field).and_then(Value::as_array_mut) {
                distinct(items, key);
            }
        }
        let mounts = container["mounts"].as_array().into_iter().flatten();
        wanted.extend(mounts.filter_map(|mount| mount["volume"].as_str()).map(str::to_owned));
        let files = container["env"].as_array().into_iter().flatten();
        wanted.extend(files.filter_map(|env| env["valueFrom"]["fileKeyRef"]["volumeName"].as_str()).map(str::to_owned));
    };
    note(pod);
    for field in ["sidecars", "initContainers"] {
        pod.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten().for_each(&mut note);
    }
    if wanted.is_empty() {
        return;
    }
    let volumes = list(pod, "volumes");
    for name in wanted {
        if !volumes.iter().any(|volume| volume["name"] == *name) {
            volumes.push(json!({"name": name, "emptyDir": {}}));
        }
    }
}
