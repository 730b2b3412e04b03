//! The Deployment of a version.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::{
    Stamp, child_meta, child_name,
    labels::selector,
    pod::pod_template,
    template::{TemplateDefaults, template_hash, template_id},
};
use crate::{
    api::labels,
    validate::{Validated, Version},
};

/// Seconds without progress after which a rollout of pods counts as stuck, beyond what a pod itself may take.
const PROGRESS_SECONDS: i32 = 300;

/// The Deployment of a version, at a size that the plan decides.
pub fn deployment(
    service: &Validated,
    version: &Version,
    replicas: i32,
    defaults: TemplateDefaults,
    stamp: &Stamp,
) -> Deployment {
    let name = child_name(&service.identity.name, &version.name);
    let template = template_id(defaults, &template_hash(&service.identity, version));
    Deployment {
        metadata: ObjectMeta {
            annotations: Some(BTreeMap::from([(labels::TEMPLATE.to_owned(), template)])),
            ..child_meta(service, stamp, name, Some(version))
        },
        spec: DeploymentSpec {
            replicas: Some(replicas),
            selector: LabelSelector {
                match_labels: Some(selector(&service.identity.name, Some(&version.name))),
                ..LabelSelector::default()
            },
            strategy: Some(never_below_size()),
            min_ready_seconds: version.pod.min_ready_seconds.filter(|seconds| *seconds > 0),
            progress_deadline_seconds: Some(progress_deadline(version, defaults)),
            revision_history_limit: Some(2),
            template: pod_template(service, version, defaults),
            ..DeploymentSpec::default()
        },
        ..Deployment::default()
    }
}

fn never_below_size() -> DeploymentStrategy {
    DeploymentStrategy {
        type_: Some("RollingUpdate".to_owned()),
        rolling_update: Some(RollingUpdateDeployment {
            max_unavailable: Some(IntOrString::Int(0)),
            max_surge: Some(IntOrString::String("25%".to_owned())),
        }),
    }
}

/// Always longer than `minReadySeconds`, as the API server demands.
fn progress_deadline(version: &Version, defaults: TemplateDefaults) -> i32 {
    PROGRESS_SECONDS + version.longest_start(defaults.values().startup_seconds)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        super::testing::{self, assert_at, stamp},
        *,
    };

    fn of(fields: Value, replicas: i32) -> Deployment {
        let service = testing::service(fields);
        deployment(&service, &service.versions[0], replicas, TemplateDefaults::CURRENT, &stamp())
    }

    #[test]
    fn a_version_never_runs_below_its_size() {
        let built = of(json!({"replicas": 3}), 2);
        let selected = json!({"microservice-operator.dev/service": "order-service", "version": "v1"});
        assert_at(
            &built,
            json!({
                "/metadata/name": "order-service-v1",
                "/metadata/labels/version": "v1",
                "/spec/replicas": 2,
                "/spec/strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
                "/spec/progressDeadlineSeconds": 600,
                "/spec/revisionHistoryLimit": 2,
                "/spec/minReadySeconds": null,
                "/spec/selector": {"matchLabels": selected},
                "/spec/template/metadata/labels/version": "v1",
                "/status": null,
            }),
        );
    }

    #[test]
    fn its_template_is_remembered_by_set_and_digest() {
        let service = testing::service(json!({}));
        let id = template_id(TemplateDefaults::CURRENT, &template_hash(&service.identity, &service.versions[0]));
        assert_at(&of(json!({}), 1), json!({"/metadata/annotations": {"microservice-operator.dev/template": id}}));
    }

    #[test]
    fn pods_get_the_time_they_need() {
        for (fields, ready, deadline) in [
            (json!({"minReadySeconds": 0}), json!(null), 600),
            (json!({"minReadySeconds": 3600}), json!(3600), 4200),
            (json!({"health": {"startupSeconds": 60}}), json!(null), 600),
            (json!({"health": {"startupSeconds": 1200}}), json!(null), 1500),
            (
                json!({"startupProbe": {"tcpSocket": {"port": 3000}, "initialDelaySeconds": 60, "periodSeconds": 10,
                                        "failureThreshold": 114}}),
                json!(null),
                1500,
            ),
        ] {
            let expected = json!({"/spec/minReadySeconds": ready, "/spec/progressDeadlineSeconds": deadline});
            assert_at(&of(fields, 1), expected);
        }
    }

    #[test]
    fn another_operator_changes_labels_of_the_deployment_only() {
        let service = testing::service(json!({}));
        let by = |stamp: &Stamp| deployment(&service, &service.versions[0], 1, TemplateDefaults::CURRENT, stamp);
        let (old, new) = (by(&stamp()), by(&Stamp { operator_version: "9.9.9".to_owned(), chart: None }));
        assert_ne!(old.metadata.labels, new.metadata.labels);
        assert_eq!(old.spec, new.spec);
    }
}
