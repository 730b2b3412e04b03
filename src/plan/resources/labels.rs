//! Labels of pods, and the selectors that find them. None of them ever changes for a version that runs.

use std::collections::BTreeMap;

use crate::{
    api::{self, labels},
    validate::{Validated, Version},
};

/// Selects the pods of a service, or of one version of it.
pub fn selector(service_name: &str, version: Option<&str>) -> BTreeMap<String, String> {
    [(labels::SERVICE, Some(service_name)), (labels::VERSION, version)]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
        .collect()
}

/// Labels of a version's pods: the user's, and those that the operator needs to be as they are.
pub fn pod_labels(service: &Validated, version: &Version) -> BTreeMap<String, String> {
    let name = service.identity.name.as_str();
    let own = [(labels::APP, name), (labels::APP_NAME, name), (labels::APP_MANAGED_BY, api::MANAGER)];
    version
        .pod
        .pod_labels
        .clone()
        .into_iter()
        .chain(own.map(|(key, value)| (key.to_owned(), value.to_owned())))
        .chain(selector(name, Some(&version.name)))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::testing, *};

    #[test]
    fn selectors_name_the_service_and_perhaps_a_version() {
        let service = |more: Option<(&str, &str)>| {
            let pairs = [("microservice-operator.dev/service", "a")].into_iter().chain(more);
            pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect::<BTreeMap<_, _>>()
        };
        assert_eq!(selector("a", None), service(None));
        assert_eq!(selector("a", Some("v2")), service(Some(("version", "v2"))));
    }

    #[test]
    fn pods_have_only_labels_that_never_change() {
        let before = testing::service(json!({"podLabels": {"team": "checkout", "version": "v9", "app": "x"}}));
        let labels = pod_labels(&before, &before.versions[0]);
        let expected = json!({
            "app": "order-service",
            "version": "v1",
            "team": "checkout",
            "app.kubernetes.io/name": "order-service",
            "app.kubernetes.io/managed-by": "microservice-operator",
            "microservice-operator.dev/service": "order-service",
        });
        assert_eq!(serde_json::to_value(&labels).unwrap(), expected);
        let found = selector("order-service", Some("v1"));
        assert!(found.iter().all(|(key, value)| labels.get(key) == Some(value)));
    }
}
