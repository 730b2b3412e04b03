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
        security_context: Some(pod_security(pod.pod_security_context.as_deref())),
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
    // A key must not be selected twice.
    let own = |beside: &[String]| {
        let mut labels = selector(&service.identity.name, Some(&version.name));
        labels.retain(|key, _| !beside.contains(key));
        LabelSelector { match_labels: Some(labels), ..LabelSelector::default() }
    };
    version
        .pod
        .topology_spread_constraints
        .iter()
        .cloned()
        .map(|user| core::TopologySpreadConstraint {
            label_selector: user
                .label_selector
                .or_else(|| Some(own(user.match_label_keys.as_deref().unwrap_or_default()))),
            ..user
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        super::testing::{self, assert_at},
        *,
    };

    fn template(fields: Value) -> core::PodTemplateSpec {
        let service = testing::service(fields);
        pod_template(&service, &service.versions[0], TemplateDefaults::CURRENT)
    }

    #[test]
    fn without_settings_the_pod_is_plain() {
        let mut built = serde_json::to_value(template(json!({}))).unwrap();
        assert_eq!(built["spec"]["containers"].as_array().unwrap().len(), 1);
        built["spec"].as_object_mut().unwrap().remove("containers");
        assert_eq!(
            built["spec"],
            json!({
                "serviceAccountName": "order-service",
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "terminationGracePeriodSeconds": 35,
                "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            })
        );
        assert_eq!(built["metadata"]["annotations"], json!({"kubectl.kubernetes.io/default-container": "app"}));
    }

    #[test]
    fn nothing_but_what_the_user_set_for_pods_changes_them() {
        let image = "registry.example/order-service:1.4.2";
        for fields in [
            json!({"replicas": 9}),
            json!({"boundedContext": {"name": "ordering", "subdomain": "Core"}}),
            json!({"minReadySeconds": 9}),
            json!({"versions": [{"name": "v1", "image": image, "weight": 1}, {"name": "v2", "image": "b:2", "weight": 99}]}),
        ] {
            assert_eq!(template(fields.clone()), template(json!({})), "{fields}");
        }
    }

    #[test]
    fn settings_end_up_in_the_pod() {
        let affinity = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            [{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "order-service"}}}]}});
        let built = template(json!({
            "serviceAccountName": "orders",
            "automountServiceAccountToken": true,
            "terminationGracePeriodSeconds": 90,
            "podSecurityContext": {"fsGroup": 2000},
            "imagePullSecrets": [{"name": "registry"}],
            "nodeSelector": {"disk": "ssd"},
            "affinity": affinity,
            "tolerations": [{"key": "spot", "operator": "Exists", "value": ""}],
            "priorityClassName": "high",
            "podLabels": {"team": "checkout"},
            "podAnnotations": {"note": "x"},
            "restartedAt": "2026-01-02T03:04:05Z",
            "sidecars": [{"name": "plain", "image": "p:1", "lifecycle": "Plain"}, {"name": "logging", "image": "l:1"}],
        }));
        assert_at(
            &built,
            json!({
                "/spec/serviceAccountName": "orders",
                "/spec/automountServiceAccountToken": true,
                "/spec/terminationGracePeriodSeconds": 90,
                "/spec/securityContext/fsGroup": 2000,
                "/spec/imagePullSecrets": [{"name": "registry"}],
                "/spec/nodeSelector": {"disk": "ssd"},
                "/spec/affinity": affinity,
                "/spec/tolerations": [{"key": "spot", "operator": "Exists"}],
                "/spec/priorityClassName": "high",
                "/spec/containers/0/name": "app",
                "/spec/containers/1/name": "plain",
                "/spec/initContainers/0/name": "logging",
                "/metadata/labels/team": "checkout",
                "/metadata/annotations": {
                    "note": "x",
                    "kubectl.kubernetes.io/default-container": "app",
                    "microservice-operator.dev/restarted-at": "2026-01-02T03:04:05Z",
                },
            }),
        );
    }

    #[test]
    fn every_source_of_a_volume_is_passed_on() {
        for (source, built) in [
            (json!({"emptyDir": {}}), json!({"emptyDir": {}})),
            (json!({"emptyDir": {"medium": "", "sizeLimit": "1Gi"}}), json!({"emptyDir": {"sizeLimit": "1Gi"}})),
            (
                json!({"configMap": {"name": "c", "optional": false}}),
                json!({"configMap": {"name": "c", "optional": false}}),
            ),
            (json!({"secret": {"secretName": "s"}}), json!({"secret": {"secretName": "s"}})),
            (
                json!({"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}}),
                json!({"downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}}),
            ),
            (
                json!({"projected": {"sources": [{"secret": {"name": "s"}}]}}),
                json!({"projected": {"sources": [{"secret": {"name": "s"}}]}}),
            ),
            (
                json!({"persistentVolumeClaim": {"claimName": "p", "readOnly": false}}),
                json!({"persistentVolumeClaim": {"claimName": "p"}}),
            ),
        ] {
            let named = |mut source: Value| {
                source["name"] = json!("data");
                source
            };
            assert_at(&template(json!({"volumes": [named(source)]})), json!({"/spec/volumes": [named(built)]}));
        }
    }

    #[test]
    fn a_spread_without_a_selector_is_that_of_the_version() {
        let zone =
            json!({"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"});
        let mut host = zone.clone();
        host["labelSelector"] = json!({"matchLabels": {"team": "checkout"}});
        assert_at(
            &template(json!({"topologySpreadConstraints": [zone.clone(), host]})),
            json!({
                "/spec/topologySpreadConstraints/0/labelSelector/matchLabels":
                    {"microservice-operator.dev/service": "order-service", "version": "v1"},
                "/spec/topologySpreadConstraints/1/labelSelector/matchLabels": {"team": "checkout"},
            }),
        );
        let mut by_version = zone;
        by_version["matchLabelKeys"] = json!(["version"]);
        assert_at(
            &template(json!({"topologySpreadConstraints": [by_version]})),
            json!({
                "/spec/topologySpreadConstraints/0/labelSelector/matchLabels":
                    {"microservice-operator.dev/service": "order-service"},
            }),
        );
    }
}
