//! Containers beside the service's own.

use k8s_openapi::api::core::v1 as core;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Mount;

/// Settings that every extra container shares.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Name of the container, unique in the pod; `app` is the service's own.
    #[schemars(length(max = 63), pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Image to run, with a tag or a digest.
    #[schemars(length(min = 1, max = 512), pattern(r"^\S+$"))]
    pub image: String,
    /// When to pull the image: Always, IfNotPresent or Never. Default: Always for `:latest`, else IfNotPresent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(pattern(r"^(Always|IfNotPresent|Never)$"))]
    pub image_pull_policy: Option<String>,
    /// Replaces the image's entrypoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Replaces the image's arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<core::EnvVar>,
    /// ConfigMaps and Secrets whose entries become environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env_from: Vec<core::EnvFromSource>,
    /// Requested and limiting amounts of CPU, memory and other resources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<core::ResourceRequirements>,
    /// Where the pod's volumes appear in this container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub mounts: Vec<Mount>,
    /// Security settings of the container. Default: what the Pod Security profile `restricted` asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_context: Option<core::SecurityContext>,
}

/// A container that runs beside the service for as long as it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sidecar {
    #[serde(flatten)]
    pub container: Container,
    /// Native: started before the service and ended after it (an init container that restarts always).
    /// Plain: an ordinary container, in no order. Default: Native.
    #[serde(default)]
    pub lifecycle: SidecarLifecycle,
    /// Tells when the sidecar has started; for a native sidecar, the service starts after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_probe: Option<core::Probe>,
    /// Tells whether the sidecar is ready; the pod is ready only when all its containers are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness_probe: Option<core::Probe>,
}

/// How a sidecar's life relates to the service's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SidecarLifecycle {
    #[default]
    Native,
    Plain,
}

/// A container that runs to its end before the service starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InitContainer {
    #[serde(flatten)]
    pub container: Container,
}
