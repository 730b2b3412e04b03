//! The ControllerRevision that keeps the last accepted spec, for as long as the newest one is invalid.

use k8s_openapi::{api::apps::v1::ControllerRevision, apimachinery::pkg::runtime::RawExtension};
use serde_json::Value;

use super::{Stamp, child_meta, digest::digest};
use crate::{api::MicroserviceSpec, validate::Validated};

/// Digits of the digest in a revision's name.
const HASH_LENGTH: usize = 8;

/// Keeps a spec, without the weights of its versions and without the size that an autoscaler may change: they change
/// often, and are recovered from the status.
pub fn controller_revision(service: &Validated, spec: &MicroserviceSpec, stamp: &Stamp) -> ControllerRevision {
    let data = kept(spec);
    let name = format!("{}-accepted-{}", service.identity.name, digest(&data, HASH_LENGTH));
    ControllerRevision {
        metadata: child_meta(service, stamp, name, None),
        data: RawExtension(data),
        // The data is immutable and names the object, so there is nothing to count; a number that grew would be a
        // write whenever an older spec comes back.
        revision: Some(1),
    }
}

/// The spec that a revision keeps, without weights and of size 1; nothing if it holds no spec.
pub fn restore(revision: &ControllerRevision) -> Option<MicroserviceSpec> {
    serde_json::from_value(revision.data.0.clone()).ok()
}

fn kept(spec: &MicroserviceSpec) -> Value {
    let mut spec = spec.clone();
    for version in &mut spec.versions {
        version.weight = None;
    }
    let mut data = serde_json::to_value(spec).unwrap_or_default();
    if let Some(fields) = data.as_object_mut() {
        fields.remove("replicas");
    }
    data
}
