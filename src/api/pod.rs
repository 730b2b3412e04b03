//! Settings of the pods: the defaults of every version, and what a version may override.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1 as core,
    apimachinery::pkg::{apis::meta::v1::Time, util::intstr::IntOrString},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{InitContainer, Sidecar, embedded::OBJECT_NAME};

/// Times as the operator reads them. What the API server takes for a `date-time` may have any offset, any number of
/// decimals, a year at the end of the calendar, and text behind all that.
pub(crate) const TIME: &str = "^[0-8][-0-9]{9}[Tt][0-9:]{8}([.][0-9]{1,9})?([Zz]|[-+]([01][0-9]|2[0-3]):[0-5][0-9])$";

/// Settings of the pods. At the top they are every version's default; a version may override any of them.
///
/// Overrides: scalars and objects replace whole; `env`, `volumes`, `mounts`, `sidecars`, `initContainers`,
/// `podLabels`, `podAnnotations` and `nodeSelector` merge by key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSettings {
    // Large ones that few have are boxed: all Microservices are kept in memory.
    /// When to pull the image: Always, IfNotPresent or Never. Default: Always for `:latest`, else IfNotPresent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(pattern(r"^(Always|IfNotPresent|Never)$"))]
    pub image_pull_policy: Option<String>,
    /// Secrets of the namespace with credentials for the image registries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<core::LocalObjectReference>,
    /// Replaces the image's entrypoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Replaces the image's arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment variables of the service's container, beside SERVICE_NAME, SERVICE_VERSION and those of `dependencies`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<core::EnvVar>,
    /// ConfigMaps and Secrets whose entries become environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_from: Vec<core::EnvFromSource>,
    /// Requested and limiting amounts of CPU, memory and other resources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<core::ResourceRequirements>,
    /// One health endpoint, from which the startup, readiness and liveness probes are made unless given in full. A probe
    /// given in full for all versions goes before a version's `health`, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Tells when the service has started. Default: made from `health`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_probe: Option<Box<core::Probe>>,
    /// Tells whether the service can take requests. Default: made from `health`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<Box<core::Probe>>,
    /// Tells whether the service must be restarted. Default: made from `health`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness_probe: Option<Box<core::Probe>>,
    /// Hooks after the start and before the stop. Default for a service with ports: a preStop sleep of 5 s, in which
    /// proxies and load balancers learn that the pod goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Box<core::Lifecycle>>,
    /// Seconds that a pod is given to end, preStop included. Default: the preStop sleep + 30 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86400))]
    pub termination_grace_period_seconds: Option<i64>,
    /// Seconds that a pod must stay ready before it counts as available. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub min_ready_seconds: Option<i32>,
    /// Volumes of the pod. Only sources that stay within the pod and its namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub volumes: Vec<Volume>,
    /// Where the volumes appear in the service's own container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub mounts: Vec<Mount>,
    /// Containers that run beside the service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub sidecars: Vec<Sidecar>,
    /// Containers that run to their end before the service starts, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub init_containers: Vec<InitContainer>,
    /// Security settings of the service's container. Default: what the Pod Security profile `restricted` asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<Box<core::SecurityContext>>,
    /// Security settings of the pod. Default: what the Pod Security profile `restricted` asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_security_context: Option<Box<core::PodSecurityContext>>,
    /// ServiceAccount to run as. Default: one of the service's own, made by the operator, whose token is not mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), extend("pattern" = OBJECT_NAME))]
    pub service_account_name: Option<String>,
    /// Whether the ServiceAccount's token is mounted. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automount_service_account_token: Option<bool>,
    /// Labels that a node must have to run the pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Rules that attract pods to nodes or keep them apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<core::Affinity>,
    /// Taints of nodes that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<core::Toleration>,
    /// How pods spread over zones and nodes. A constraint without a labelSelector gets the version's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topology_spread_constraints: Vec<core::TopologySpreadConstraint>,
    /// PriorityClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253), pattern(r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$"))]
    pub priority_class_name: Option<String>,
    /// Further labels of the pods, outside the reserved prefixes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_labels: BTreeMap<String, String>,
    /// Further annotations of the pods, outside the reserved prefixes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_annotations: BTreeMap<String, String>,
    /// Change it to restart the pods one by one; the time itself means nothing. Of a service with an `image` it makes a new
    /// revision, which is rolled out as any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = TIME))]
    pub restarted_at: Option<Time>,
}

/// One health endpoint that answers for startup, readiness and liveness.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// How to ask. Default: HTTP when `path` is given; else GRPC with `service` or on a GRPC port; else TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<HealthProtocol>,
    /// Path of the HTTP endpoint; a status from 200 to 399 is healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), pattern(r"^/"))]
    pub path: Option<String>,
    /// Name of one of the `ports`, or a number. Default: the first of the `ports` that speaks HTTP or GRPC where that is
    /// how to ask, else the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "maximum" = 65535))]
    pub port: Option<IntOrString>,
    /// Service name sent to a gRPC health endpoint (grpc.health.v1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub service: Option<String>,
    /// Seconds between two checks. Default: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub period_seconds: Option<i32>,
    /// Seconds after which a check without an answer has failed. Default: 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub timeout_seconds: Option<i32>,
    /// Failed checks in a row after which the pod is not ready, or is restarted. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub failure_threshold: Option<i32>,
    /// Seconds that the service may take to start, at least. Default: 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub startup_seconds: Option<i32>,
}

/// How a health endpoint is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum HealthProtocol {
    Http,
    Grpc,
    Tcp,
}

/// A volume of the pod, with exactly one source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Name of the volume, unique in the pod.
    #[schemars(length(max = 63), pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// An empty directory that lives as long as the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<core::EmptyDirVolumeSource>,
    /// The entries of a ConfigMap, as files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<core::ConfigMapVolumeSource>,
    /// The entries of a Secret, as files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<core::SecretVolumeSource>,
    /// Fields of the pod itself, as files.
    #[serde(rename = "downwardAPI", default, skip_serializing_if = "Option::is_none")]
    pub downward_api: Option<core::DownwardAPIVolumeSource>,
    /// Several sources in one directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projected: Option<core::ProjectedVolumeSource>,
    /// A claim for storage that exists in the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<core::PersistentVolumeClaimVolumeSource>,
}

/// Where a volume appears in a container.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// Name of one of the `volumes`.
    #[schemars(length(max = 63))]
    pub volume: String,
    /// Absolute path in the container.
    #[schemars(length(max = 1024), pattern(r"^/[^:]*$"))]
    pub path: String,
    /// Path within the volume. Default: its root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), pattern(r"^[^/].*$"))]
    pub sub_path: Option<String>,
    /// Whether the container may only read. Default: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use regex::Regex;

    use super::TIME;

    #[test]
    fn times_that_are_taken_can_be_read() {
        let taken = Regex::new(TIME).unwrap();
        for time in [
            "2026-11-28T12:00:00Z",
            "2026-11-28t12:00:00.123456789z",
            "2026-11-28T12:00:00-00:00",
            "0000-01-01T00:00:00+23:59",
            "8999-12-31T23:59:59-23:59",
        ] {
            assert!(taken.is_match(time) && time.parse::<Timestamp>().is_ok(), "{time}");
        }
        for time in [
            "2026-11-28T12:00:00Ztoday",
            "2026-11-28T12:00:00+99:99",
            "2026-11-28T12:00:00.1234567890Z",
            "2026-11-28T12:00:00x5Z",
            "9999-12-31T12:00:00Z",
            "2026-11-28T12:00:00",
            "2026-11-28",
        ] {
            assert!(!taken.is_match(time), "{time}");
        }
    }
}
