//! The copy of a ConfigMap that a revision uses.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::{Stamp, child_meta};
use crate::{api::labels, plan::configuration::Content, validate::Validated};

/// A copy by its name, of the ConfigMap `of`. Without content it says only what is to be so of a copy that exists: what a
/// copy holds never changes.
pub fn config_map(service: &Validated, name: &str, of: &str, content: Option<&Content>, stamp: &Stamp) -> ConfigMap {
    let metadata = ObjectMeta {
        annotations: Some(BTreeMap::from([(labels::COPY_OF.to_owned(), of.to_owned())])),
        ..child_meta(service, stamp, name.to_owned(), None)
    };
    let Some(Content { data, binary_data }) = content else { return ConfigMap { metadata, ..ConfigMap::default() } };
    ConfigMap {
        data: (!data.is_empty()).then(|| data.clone()),
        binary_data: (!binary_data.is_empty()).then(|| binary_data.clone()),
        immutable: Some(true),
        metadata,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::testing::{self, assert_at, stamp},
        *,
    };

    #[test]
    fn a_copy_cannot_be_changed_and_tells_what_it_is_of() {
        let service = testing::service(json!({}));
        let content = Content { data: BTreeMap::from([("a".to_owned(), "1".to_owned())]), ..Content::default() };
        let built = config_map(&service, "settings-1", "settings", Some(&content), &stamp());
        let known = config_map(&service, "settings-1", "settings", None, &stamp());
        assert_eq!(known.metadata, built.metadata);
        assert_at(
            &built,
            json!({
                "/data": {"a": "1"},
                "/binaryData": null,
                "/immutable": true,
                "/metadata/name": "settings-1",
                "/metadata/annotations": {"microservice-operator.dev/copy-of": "settings"},
                "/metadata/labels/microservice-operator.dev~1service": "order-service",
                "/metadata/ownerReferences/0/name": "order-service",
            }),
        );
        assert_at(&known, json!({"/data": null, "/immutable": null}));
    }
}
