//! Builders of the objects that do not depend on the mesh, one kind a file. Pure.
//!
//! A builder turns what is [`Validated`] into a typed object and decides nothing else: sizes, the version that a
//! Service selects and the set of template defaults are handed in. Objects hold only what the operator wants to own,
//! because they are applied server-side and compared with the live ones: no empty lists, no zero that the API server
//! would drop.

mod config_map;
mod container;
mod controller_revision;
mod deployment;
mod disruption_budget;
pub mod labels;
mod pod;
mod probes;
mod security;
mod service;
mod service_account;
mod shutdown;
pub mod template;
#[cfg(test)]
mod testing;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use crate::{
    api::{self, Subdomain},
    validate::{Identity, Validated, Version},
};

pub use crate::validate::digest;
pub use config_map::config_map;
pub use controller_revision::{acceptance, controller_revision, kept_copies, restore};
pub use deployment::deployment;
pub use disruption_budget::disruption_budget;
pub use pod::pod_template;
pub use service::service;
pub use service_account::service_account;

/// What an upgrade of the operator changes on the children: labels, and never those of pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    pub operator_version: String,
    /// Name and version of the chart that installed the operator.
    pub chart: Option<String>,
}

/// Name of the children that belong to one version.
pub fn child_name(service: &str, version: &str) -> String {
    format!("{service}-{version}")
}

/// The reference by which the children follow their Microservice into deletion.
pub fn owner_reference(identity: &Identity) -> OwnerReference {
    OwnerReference {
        api_version: format!("{}/{}", api::GROUP, api::VERSION),
        kind: "Microservice".to_owned(),
        name: identity.name.clone(),
        uid: identity.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Metadata of a child; `version` is given for the children of one version.
pub fn child_meta(service: &Validated, stamp: &Stamp, name: String, version: Option<&Version>) -> ObjectMeta {
    let identity = &service.identity;
    ObjectMeta {
        name: Some(name),
        namespace: Some(identity.namespace.clone()),
        labels: Some(child_labels(service, stamp, version)),
        // An owner is told by its uid, which nothing has outside a cluster.
        owner_references: (!identity.uid.is_empty()).then(|| vec![owner_reference(identity)]),
        ..ObjectMeta::default()
    }
}

/// Labels that a child has only while there is something to say, beside those of its version.
pub const OCCASIONAL_LABELS: [&str; 4] =
    [api::labels::APP_PART_OF, api::labels::CONTEXT, api::labels::SUBDOMAIN, api::labels::HELM_CHART];

fn child_labels(service: &Validated, stamp: &Stamp, version: Option<&Version>) -> BTreeMap<String, String> {
    let name = service.identity.name.as_str();
    let context = service.context.as_ref();
    let context_name = context.map(|context| context.name.as_str());
    let subdomain = context.and_then(|context| context.subdomain).map(|subdomain| match subdomain {
        Subdomain::Core => "Core",
        Subdomain::Supporting => "Supporting",
        Subdomain::Generic => "Generic",
    });
    let version = version.map(|version| version.name.as_str());
    [
        (api::labels::SERVICE, Some(name)),
        (api::labels::APP, Some(name)),
        (api::labels::APP_NAME, Some(name)),
        (api::labels::APP_INSTANCE, Some(name)),
        (api::labels::APP_PART_OF, context_name),
        (api::labels::CONTEXT, context_name),
        (api::labels::SUBDOMAIN, subdomain),
        (api::labels::APP_MANAGED_BY, Some(api::MANAGER)),
        (api::labels::HELM_CHART, stamp.chart.as_deref()),
        (api::labels::OPERATOR_VERSION, Some(stamp.operator_version.as_str())),
        (api::labels::VERSION, version),
        (api::labels::APP_VERSION, version),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
    .collect()
}

/// A list as an object holds it: absent when empty.
fn list<T>(entries: Vec<T>) -> Option<Vec<T>> {
    (!entries.is_empty()).then_some(entries)
}

/// A map as an object holds it: absent when empty.
fn map(entries: BTreeMap<String, String>) -> Option<BTreeMap<String, String>> {
    (!entries.is_empty()).then_some(entries)
}

/// A text as the API server keeps it: absent when empty.
fn text(value: Option<String>) -> Option<String> {
    value.filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        testing::{assert_at, stamp},
        *,
    };

    #[test]
    fn children_tell_what_they_belong_to() {
        let service = testing::service(json!({"boundedContext": {"name": "ordering", "subdomain": "Core"}}));
        let meta = child_meta(&service, &stamp(), "order-service-v1".to_owned(), service.versions.first());
        assert_at(
            &meta,
            json!({
                "": {
                    "name": "order-service-v1",
                    "namespace": "shop",
                    "labels": {
                        "app": "order-service",
                        "version": "v1",
                        "app.kubernetes.io/name": "order-service",
                        "app.kubernetes.io/instance": "order-service",
                        "app.kubernetes.io/version": "v1",
                        "app.kubernetes.io/part-of": "ordering",
                        "app.kubernetes.io/managed-by": "microservice-operator",
                        "helm.sh/chart": "microservice-operator-0.1.0",
                        "microservice-operator.dev/service": "order-service",
                        "microservice-operator.dev/operator-version": "0.1.0",
                        "microservice-operator.dev/bounded-context": "ordering",
                        "microservice-operator.dev/subdomain": "Core",
                    },
                    "ownerReferences": [{
                        "apiVersion": "microservice-operator.dev/v1alpha1",
                        "kind": "Microservice",
                        "name": "order-service",
                        "uid": "0b1f",
                        "controller": true,
                        "blockOwnerDeletion": true,
                    }],
                },
            }),
        );
    }

    #[test]
    fn children_do_not_tell_what_is_not_so() {
        let mut service = testing::service(json!({}));
        service.identity.uid.clear();
        let meta = child_meta(&service, &Stamp::default(), "order-service".to_owned(), None);
        assert_eq!(meta.owner_references, None);
        let labels = meta.labels.unwrap();
        for absent in [
            api::labels::VERSION,
            api::labels::APP_VERSION,
            api::labels::APP_PART_OF,
            api::labels::CONTEXT,
            api::labels::SUBDOMAIN,
            api::labels::HELM_CHART,
        ] {
            assert!(!labels.contains_key(absent), "{absent}");
        }
    }
}
