//! Services that the tests build objects from, and looks into what was built.

use k8s_openapi::serde::Serialize;
use serde_json::{Value, json};

use super::Stamp;
use crate::{
    api::{Microservice, MicroserviceSpec, Provider},
    validate::{Validated, Version, resolve::resolve},
};

/// order-service with one port and one version; `fields` are set in its spec.
pub fn spec(fields: Value) -> MicroserviceSpec {
    let mut spec = json!({
        "ports": [{"name": "http", "port": 80, "targetPort": 3000}],
        "versions": [{"name": "v1", "image": "registry.example/order-service:1.4.2"}],
    });
    for (key, value) in fields.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

pub fn resolved(spec: &MicroserviceSpec) -> Validated {
    let mut microservice = Microservice::new("order-service", spec.clone());
    microservice.metadata.namespace = Some("shop".to_owned());
    microservice.metadata.uid = Some("0b1f".to_owned());
    resolve(&microservice, Provider::Istio)
}

pub fn service(fields: Value) -> Validated {
    resolved(&spec(fields))
}

pub fn version(fields: Value) -> Version {
    service(fields).versions.remove(0)
}

pub fn stamp() -> Stamp {
    Stamp { operator_version: "0.1.0".to_owned(), chart: Some("microservice-operator-0.1.0".to_owned()) }
}

/// Asserts what is at the given JSON pointers; null stands for nothing.
#[track_caller]
pub fn assert_at(object: &impl Serialize, expected: Value) {
    let object = serde_json::to_value(object).unwrap();
    for (pointer, expected) in expected.as_object().unwrap() {
        assert_eq!(object.pointer(pointer).unwrap_or(&Value::Null), expected, "at {pointer} of {object:#}");
    }
}
