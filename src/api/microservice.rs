//! The `Microservice` resource.

// Each `printcolumn(…)` names its fields anew, which the lint takes for one attribute given twice.
#![allow(clippy::duplicated_attributes)]

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, MicroserviceStatus, PodSettings, RolloutPolicy, Route, Traffic};

/// One service: which versions of it run, and which requests each of them gets.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "microservice-operator.dev",
    version = "v1alpha1",
    kind = "Microservice",
    namespaced,
    shortname = "ms",
    category = "all",
    status = "MicroserviceStatus",
    derive = "PartialEq",
    doc = "A Microservice says where one service should be: its versions, their weights, and how requests reach it.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.labelSelector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Traffic", type_ = "string", json_path = ".status.weights", description = "Effective weights"),
    printcolumn(
        name = "Step",
        type_ = "string",
        json_path = ".status.rollout.progress",
        description = "Steps of the rollout that are done"
    ),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct MicroserviceSpec {
    /// The bounded context that the service belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bounded_context: Option<BoundedContext>,
    /// Ports that the service listens on. A worker has none, and so gets no Service and no routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub ports: Vec<Port>,
    /// Pods of every version that has no `replicas` of its own. Default: 1. The scale subresource and autoscalers
    /// change this field.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 10000))]
    pub replicas: i32,
    #[serde(flatten)]
    pub pod: PodSettings,
    /// Image of the service's container, instead of `versions`. Each change of what its pods are made of is a revision,
    /// a version that is named after its content and asked to have all requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), pattern(r"^\S+$"))]
    pub image: Option<String>,
    /// How many older accepted specs are kept as ControllerRevisions, of a service with an `image`, beside those of
    /// the revisions that still run; fewer if they have more than 1 MiB together. Default: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub revision_history_limit: Option<i32>,
    /// Whether the ConfigMaps that the pods of an `image` refer to are a part of its revisions: each revision then uses
    /// copies that nothing changes, a changed ConfigMap makes a new revision, and going back brings the old content back.
    /// With false the pods use the ConfigMaps themselves. Secrets are never copied. Default: true, except for pods that
    /// an operator without copies made: they stay as they are until what they are made of changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_revisions: Option<bool>,
    /// The versions that run, and the share of requests that each is to have. What a version does not say is as for the
    /// service, and an empty list says nothing. Exactly one of `image` and `versions` is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 10))]
    pub versions: Vec<VersionSpec>,
    /// Requests that match are sent before the weights are asked. Tried in this order; the first match decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub routes: Vec<Route>,
    /// How requests reach the service: mesh, timeouts, retries, circuit breaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Traffic>,
    /// How weights travel to the requested ones. Absent: at once, but still not before their pods are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutPolicy>,
    /// Services that this one calls. Each becomes an environment variable with its URL.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub dependencies: Vec<Dependency>,
    /// How long a version that lost its last weight and route goes on running after it was removed. Default: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<Duration>,
}

fn one() -> i32 {
    1
}

/// The part of the business that a service belongs to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BoundedContext {
    /// Name of the context, such as `ordering`.
    #[schemars(length(max = 63), pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// What the context is to the business: Core, Supporting or Generic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subdomain: Option<Subdomain>,
}

/// What a bounded context is to the business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Subdomain {
    Core,
    Supporting,
    Generic,
}

/// A port of the service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// Name of the port, unique in the list.
    #[schemars(length(max = 15), pattern(r"^[a-z]([a-z0-9]|-[a-z0-9])*$"))]
    pub name: String,
    /// Number that clients use.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// Number that the container listens on. Default: `port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub target_port: Option<i32>,
    /// What is spoken on the port: HTTP, HTTP2, GRPC or TCP. Default: HTTP.
    #[serde(default)]
    pub protocol: Protocol,
}

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Protocol {
    #[default]
    #[serde(rename = "HTTP")]
    Http,
    #[serde(rename = "HTTP2")]
    Http2,
    #[serde(rename = "GRPC")]
    Grpc,
    #[serde(rename = "TCP")]
    Tcp,
}

/// A version of the service: what runs, and the share of requests that it is to have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionSpec {
    /// Name of the version, such as `v2`; part of the names of its Deployment and pods.
    #[schemars(length(max = 20), pattern(r"^[a-z]([-a-z0-9]{0,18}[a-z0-9])?$"))]
    pub name: String,
    /// Image of the service's container, with a tag or a digest.
    #[schemars(length(min = 1, max = 512), pattern(r"^\S+$"))]
    pub image: String,
    /// Percentage of the requests, 0 to 100; the weights of all versions sum to 100. A single version needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub weight: Option<i32>,
    /// Pods of this version. Default: the service's `replicas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10000))]
    pub replicas: Option<i32>,
    /// Ports on which this version's container listens elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub ports: Vec<PortOverride>,
    #[serde(flatten)]
    pub pod: PodSettings,
}

/// Another number for a port in one version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortOverride {
    /// Name of one of the service's `ports`.
    #[schemars(length(max = 15))]
    pub name: String,
    /// Number that this version's container listens on.
    #[schemars(range(min = 1, max = 65535))]
    pub target_port: i32,
}

/// A service that this one calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    /// Name of the service.
    #[schemars(length(min = 1, max = 63), pattern(r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Namespace of the service. Default: that of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), pattern(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    /// Port of the service. Default: 80.
    #[serde(default = "http_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// What is spoken there; decides the scheme of the URL: HTTP and HTTP2 give http, GRPC grpc, TCP tcp. Default: HTTP.
    #[serde(default)]
    pub protocol: Protocol,
    /// Name of the environment variable. Default: the service's name in upper case with `_URL`, such as USER_SERVICE_URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128), pattern(r"^[A-Za-z_][A-Za-z0-9_]*$"))]
    pub env: Option<String>,
}

fn http_port() -> i32 {
    80
}
