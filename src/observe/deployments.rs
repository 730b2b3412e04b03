//! Reads a Deployment: how many pods it wants, whether it is complete, and what is wrong. Pure.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus};

use serde_json::Value;

use crate::api::labels;

use super::{DeploymentFacts, pods::cut};

/// Fields of a pod that name a ConfigMap.
const REFERENCES: [&str; 3] = ["configMap", "configMapKeyRef", "configMapRef"];

/// What the Deployment says of itself.
pub fn facts(deployment: &Deployment, scaled_by: Option<String>) -> DeploymentFacts {
    let replicas = deployment.spec.replicas.unwrap_or(1);
    let status = deployment.status.clone().unwrap_or_default();
    let annotations = deployment.metadata.annotations.as_ref();
    DeploymentFacts {
        replicas,
        complete: is_complete(deployment.metadata.generation, replicas, &status),
        template: annotations.and_then(|annotations| annotations.get(labels::TEMPLATE)).cloned(),
        trouble: trouble(&status),
        config_maps: config_maps(deployment),
        scaled_by,
    }
}

fn config_maps(deployment: &Deployment) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    collect(&serde_json::to_value(&deployment.spec.template.spec).unwrap_or_default(), &mut names);
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
