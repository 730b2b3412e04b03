//! The ControllerRevision that keeps an accepted spec: for as long as the newest one is invalid, and for what older
//! revisions of an image are made of.

use k8s_openapi::{api::apps::v1::ControllerRevision, apimachinery::pkg::runtime::RawExtension};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Stamp, child_meta, digest::digest};
use crate::{
    api::MicroserviceSpec,
    observe::Acceptance,
    validate::{Copies, Validated},
};

/// Digits of the digest in a revision's name.
const HASH_LENGTH: usize = 8;

/// Beside the fields of the spec: the copies that its revision uses, by the names of their ConfigMaps.
const COPIES: &str = "configMapCopies";

/// Keeps a spec, without the weights of its versions and without the size that an autoscaler may change: they change
/// often, and are recovered from the status. `number` tells when it was accepted, by its name.
pub fn controller_revision(
    service: &Validated,
    spec: &MicroserviceSpec,
    number: impl FnOnce(&str) -> i64,
    stamp: &Stamp,
) -> ControllerRevision {
    let mut data = kept(spec);
    let copies = service.newest_revision().map(|newest| &newest.copies).filter(|copies| !copies.is_empty());
    if let (Some(copies), Some(fields)) = (copies, data.as_object_mut()) {
        fields.insert(COPIES.to_owned(), json!(copies));
    }
    let name = format!("{}-accepted-{}", service.identity.name, digest(&data, HASH_LENGTH));
    let number = number(&name);
    ControllerRevision {
        metadata: child_meta(service, stamp, name, None),
        data: RawExtension(data),
        revision: Some(number),
    }
}

/// When the spec that a revision keeps was accepted last.
pub fn acceptance(revision: &ControllerRevision) -> Acceptance {
    let created = revision.metadata.creation_timestamp.as_ref().map(|at| at.0);
    Acceptance { number: revision.revision.unwrap_or_default(), created }
}

/// The spec that a revision keeps, without weights and of size 1; nothing if it holds no spec.
pub fn restore(revision: &ControllerRevision) -> Option<MicroserviceSpec> {
    let spec: MicroserviceSpec = serde_json::from_value(revision.data.0.clone()).ok()?;
    (spec.image.is_some() || !spec.versions.is_empty()).then_some(spec)
}

/// The copies that the revision of a kept spec uses, from what a ControllerRevision holds.
pub fn kept_copies(data: &Value) -> Copies {
    data.get(COPIES).and_then(|copies| Copies::deserialize(copies).ok()).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{self, stamp},
        *,
    };

    fn fields(weight: i32, image: &str) -> Value {
        json!({
            "health": {"path": "/health", "port": 3000},
            "versions": [{"name": "v1", "image": "a:1", "weight": 100 - weight, "replicas": 2},
                         {"name": "v2", "image": image, "weight": weight}],
            "routes": [{"name": "some", "match": [{"headers": {"a": {"exact": "b"}}}],
                        "weights": [{"version": "v1", "weight": 30}, {"version": "v2", "weight": 70}]}],
            "traffic": {"timeout": "3s"},
        })
    }

    fn of(fields: Value) -> ControllerRevision {
        let spec = testing::spec(fields);
        controller_revision(&testing::resolved(&spec), &spec, |_| 1, &stamp())
    }

    #[test]
    fn weights_and_sizes_make_no_new_revision() {
        let before = of(fields(10, "a:2"));
        let mut scaled = fields(10, "a:2");
        scaled["replicas"] = json!(7);
        assert_eq!(of(fields(20, "a:2")), before);
        assert_eq!(of(scaled), before);
        let mut rerouted = fields(10, "a:2");
        rerouted["routes"][0]["weights"][0]["weight"] = json!(31);
        for changed in [fields(10, "a:3"), rerouted] {
            assert_ne!(of(changed.clone()).metadata.name, before.metadata.name, "{changed}");
        }
    }

    #[test]
    fn its_name_tells_the_data() {
        let built = of(fields(10, "a:2"));
        let name = built.metadata.name.unwrap();
        assert_eq!(name, format!("order-service-accepted-{}", digest(&built.data.0, 8)));
        assert_eq!(built.data.0.get("replicas"), None);
        assert_eq!(built.data.0.pointer("/versions/0/weight"), None);
    }

    #[test]
    fn it_keeps_which_copies_a_revision_uses() {
        let spec = testing::spec(json!({"versions": [], "image": "a:1"}));
        let mut service = testing::resolved(&spec);
        let plain = controller_revision(&service, &spec, |_| 1, &stamp());
        assert_eq!(kept_copies(&plain.data.0), Copies::new());
        service.versions[0].copies = Copies::from([("settings".to_owned(), "settings-1".to_owned())]);
        let built = controller_revision(&service, &spec, |_| 1, &stamp());
        assert_ne!(built.metadata.name, plain.metadata.name, "another configuration is another accepted spec");
        assert_eq!(kept_copies(&built.data.0), service.versions[0].copies);
        assert_eq!(restore(&built), restore(&plain));
    }

    #[test]
    fn a_spec_comes_back_as_it_was_kept() {
        let mut expected = testing::spec(fields(10, "a:2"));
        expected.versions.iter_mut().for_each(|version| version.weight = None);
        assert_eq!(restore(&of(fields(10, "a:2"))), Some(expected));
        let foreign = ControllerRevision { data: RawExtension(json!({"spec": 1})), ..ControllerRevision::default() };
        assert_eq!(restore(&foreign), None);
    }
}
