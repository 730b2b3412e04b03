//! Reads a Deployment: how many pods it wants, whether it is complete, and what is wrong. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::DeploymentStatus;
use serde::Deserialize;
use serde_json::Value;

use crate::api::{APP_CONTAINER, labels};

use super::{DeploymentFacts, pods::cut};

/// Fields of a pod that name a ConfigMap.
const REFERENCES: [&str; 3] = ["configMap", "configMapKeyRef", "configMapRef"];

/// What the Deployment says of itself; none if it cannot be read.
pub fn facts(object: &Value, scaled_by: Option<String>) -> Option<DeploymentFacts> {
    let given = |value: &&Value| !value.is_null();
    let status = object.get("status").filter(given).map(DeploymentStatus::deserialize);
    let status = status.transpose().ok()?.unwrap_or_default();
    let replicas = match object.pointer("/spec/replicas").filter(given) {
        Some(replicas) => i32::try_from(replicas.as_i64()?).ok()?,
        None => 1,
    };
    let annotations = object.pointer("/metadata/annotations");
    let template = annotations.and_then(|annotations| annotations.get(labels::TEMPLATE)).and_then(Value::as_str);
    let generation = object.pointer("/metadata/generation").and_then(Value::as_i64);
    Some(DeploymentFacts {
        replicas,
        available: status.available_replicas.unwrap_or(0),
        complete: is_complete(generation, replicas, &status),
        template: template.map(str::to_owned),
        trouble: trouble(&status),
        ports: ports(object),
        config_maps: config_maps(object),
        scaled_by,
    })
}

/// Ports of the service's own container, by name.
fn ports(deployment: &Value) -> BTreeMap<String, i32> {
    let containers = deployment.pointer("/spec/template/spec/containers").and_then(Value::as_array);
    let app = containers.into_iter().flatten().find(|container| container["name"] == APP_CONTAINER);
    let ports = app.and_then(|app| app["ports"].as_array()).into_iter().flatten();
    let port =
        |port: &Value| Some((port["name"].as_str()?.to_owned(), i32::try_from(port["containerPort"].as_i64()?).ok()?));
    ports.filter_map(port).collect()
}

/// ConfigMaps that the template of a Deployment refers to.
fn config_maps(deployment: &Value) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    deployment.pointer("/spec/template/spec").into_iter().for_each(|pod| collect(pod, &mut names));
    names
}

fn collect(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (field, below) in fields {
                let named = below.get("name").filter(|_| REFERENCES.contains(&field.as_str())).and_then(Value::as_str);
                names.extend(named.map(str::to_owned));
                collect(below, names);
            }
        }
        Value::Array(entries) => entries.iter().for_each(|entry| collect(entry, names)),
        _ => {}
    }
}

fn is_complete(generation: Option<i64>, replicas: i32, status: &DeploymentStatus) -> bool {
    status.observed_generation >= generation
        && status.updated_replicas.unwrap_or(0) == replicas
        && status.replicas.unwrap_or(0) == replicas
        && status.available_replicas.unwrap_or(0) == replicas
}

/// Why pods cannot be made (quota, admission), or why they do not progress.
fn trouble(status: &DeploymentStatus) -> Option<String> {
    let find = |type_: &str, value: &str| {
        let mut conditions = status.conditions.iter().flatten();
        conditions.find(|it| it.type_.as_deref() == Some(type_) && it.status.as_deref() == Some(value))
    };
    let condition = find("ReplicaFailure", "True").or_else(|| find("Progressing", "False"))?;
    let reason = condition.reason.as_deref().unwrap_or_default();
    Some(format!("{reason}: {}", cut(condition.message.as_deref().unwrap_or_default())))
}
