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
