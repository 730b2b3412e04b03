//! The template of a version's pods.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1 as core,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};

use super::{
    container::{app, init_containers, plain_sidecars},
    labels::{pod_labels, selector},
    list, map,
    security::pod_security,
    shutdown::grace_seconds,
    template::TemplateDefaults,
    text,
};
use crate::{
    api::{APP_CONTAINER, Volume, labels},
    validate::{Validated, Version},
};

/// The template of a version's pods. Nothing in it depends on sizes, weights or the operator's version.
pub fn pod_template(service: &Validated, version: &Version, defaults: TemplateDefaults) -> core::PodTemplateSpec {
    let metadata = ObjectMeta {
        labels: Some(pod_labels(service, version)),
        annotations: Some(annotations(version)),
        ..ObjectMeta::default()
    };
    core::PodTemplateSpec { metadata: Some(metadata), spec: Some(pod_spec(service, version, defaults)) }
}

fn pod_spec(service: &Validated, version: &Version, defaults: TemplateDefaults) -> core::PodSpec {
    let pod = &version.pod;
    let mut containers = vec![app(service, version, defaults)];
    containers.extend(plain_sidecars(version, defaults));
    core::PodSpec {
        containers,
        init_containers: list(init_containers(version)),
        volumes: list(pod.volumes.iter().map(volume).collect()),
        service_account_name: Some(pod.service_account_name.clone().unwrap_or_else(|| service.identity.name.clone())),
        automount_service_account_token: Some(pod.automount_service_account_token.unwrap_or(false)),
        // Variables for every Service of the namespace would change what a pod sees by the order in which things start.
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(grace_seconds(version, defaults)),
        security_context: Some(pod_security(pod.pod_security_context.as_ref())),
        image_pull_secrets: list(pod.image_pull_secrets.clone()),
        node_selector: map(pod.node_selector.clone()),
        affinity: pod.affinity.clone(),
        tolerations: list(pod.tolerations.iter().map(toleration).collect()),
        topology_spread_constraints: list(spread(service, version)),
        priority_class_name: text(pod.priority_class_name.clone()),
        ..core::PodSpec::default()
    }
}

fn annotations(version: &Version) -> BTreeMap<String, String> {
    let restarted = version.pod.restarted_at.as_ref().and_then(|time| serde_json::to_value(time).ok());
    let restarted = restarted.as_ref().and_then(serde_json::Value::as_str);
    let own = [(labels::DEFAULT_CONTAINER, Some(APP_CONTAINER)), (labels::RESTARTED_AT, restarted)];
    let own = own.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())));
    version.pod.pod_annotations.clone().into_iter().chain(own).collect()
}

fn volume(user: &Volume) -> core::Volume {
    let Volume { name, empty_dir, config_map, secret, downward_api, projected, persistent_volume_claim } = user.clone();
    core::Volume {
        name,
        empty_dir: empty_dir.map(|source| core::EmptyDirVolumeSource { medium: text(source.medium), ..source }),
        config_map,
        secret,
        downward_api,
        projected,
        persistent_volume_claim: persistent_volume_claim.map(|claim| core::PersistentVolumeClaimVolumeSource {
            read_only: claim.read_only.filter(|read_only| *read_only),
            ..claim
        }),
        ..core::Volume::default()
    }
}

fn toleration(user: &core::Toleration) -> core::Toleration {
    let core::Toleration { effect, key, operator, toleration_seconds, value } = user.clone();
    core::Toleration {
        effect: text(effect),
        key: text(key),
        operator: text(operator),
        toleration_seconds,
        value: text(value),
    }
}

/// Only the user's: any constraint of a pod's own would switch off those that the scheduler has for the whole
/// cluster, which spread over nodes and zones.
fn spread(service: &Validated, version: &Version) -> Vec<core::TopologySpreadConstraint> {
    let own = || LabelSelector {
        match_labels: Some(selector(&service.identity.name, Some(&version.name))),
        ..LabelSelector::default()
    };
    version
        .pod
        .topology_spread_constraints
        .iter()
        .cloned()
        .map(|user| core::TopologySpreadConstraint {
            label_selector: user.label_selector.or_else(|| Some(own())),
            ..user
        })
        .collect()
}
