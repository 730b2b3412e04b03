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
    let template = template_id(defaults, &template_hash(service, version));
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
    let default = defaults.values().startup_seconds;
    let startup = version.pod.health.as_ref().and_then(|health| health.startup_seconds).unwrap_or(default);
    PROGRESS_SECONDS + startup.max(default) + version.pod.min_ready_seconds.unwrap_or(0)
}
