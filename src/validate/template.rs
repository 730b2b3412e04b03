//! The digest that tells one template of pods from another.

use serde_json::json;

use crate::api::PodSettings;

use super::{
    digest::digest,
    model::{Identity, Version},
};

/// Digits of a template's digest.
const HASH_LENGTH: usize = 10;

/// Digest of what the user set for a version's pods. It says nothing about how that is rendered, nor about sizes,
/// weights and other settings that end up elsewhere than in pods.
pub fn template_hash(identity: &Identity, version: &Version) -> String {
    let pod = PodSettings { min_ready_seconds: None, ..version.pod.clone() };
    let ports: Vec<_> = version
        .ports
        .iter()
        .map(|port| json!({"name": port.name, "targetPort": port.target_port, "protocol": port.protocol}))
        .collect();
    let dependencies: Vec<_> =
        version.dependency_variables().map(|(name, value)| json!({"name": name, "value": value})).collect();
    let subject = json!({
        "digest": "v1",
        "service": identity.name,
        "image": version.image,
        "ports": ports,
        "dependencies": dependencies,
        "pod": serde_json::to_value(pod).unwrap_or_default(),
    });
    digest(&subject, HASH_LENGTH)
}
