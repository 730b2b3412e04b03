//! The PodDisruptionBudget of a version.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};

use super::{Stamp, child_meta, child_name, labels::selector};
use crate::validate::{Validated, Version};

/// The budget of a version at a size that the plan decides; none for a single pod, which it could not protect.
pub fn disruption_budget(
    service: &Validated,
    version: &Version,
    replicas: i32,
    stamp: &Stamp,
) -> Option<PodDisruptionBudget> {
    let name = child_name(&service.identity.name, &version.name);
    (replicas > 1).then(|| PodDisruptionBudget {
        metadata: child_meta(service, stamp, name, Some(version)),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(selector(&service.identity.name, Some(&version.name))),
                ..LabelSelector::default()
            }),
            // Else pods that never become ready would block the drain of their node for ever.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::testing::{self, assert_at, stamp},
        *,
    };

    #[test]
    fn a_version_loses_one_pod_at_a_time() {
        let service = testing::service(json!({"replicas": 1}));
        let budget = |replicas| disruption_budget(&service, &service.versions[0], replicas, &stamp());
        assert_eq!((budget(0), budget(1)), (None, None));
        let selected = json!({"microservice-operator.dev/service": "order-service", "version": "v1"});
        assert_at(
            &budget(2),
            json!({
                "/metadata/name": "order-service-v1",
                "/metadata/labels/version": "v1",
                "/spec": {
                    "maxUnavailable": 1,
                    "selector": {"matchLabels": selected},
                    "unhealthyPodEvictionPolicy": "AlwaysAllow",
                },
            }),
        );
    }
}
