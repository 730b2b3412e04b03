//! How requests reach the service: mesh, timeouts, retries, circuit breaker.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Duration;

/// How requests reach the service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// What carries weights and routes: Istio, or None for a plain Service. Default: the operator's `--provider`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// Time after which a request to an HTTP or HTTP2 port has failed. Default: none. It is not applied to GRPC ports,
    /// whose streams it would cut: give it per port there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Retries of failed requests. Default: the mesh's. `perTryTimeout` is not applied to GRPC ports, as `timeout` is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// Limits that protect the service, and the ejection of its failing pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<CircuitBreaker>,
    /// Settings of single ports; what is given replaces the one above for that port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub ports: Vec<PortTraffic>,
}

/// What carries weights and routes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Provider {
    /// Istio VirtualServices and DestinationRules.
    #[default]
    Istio,
    /// A Service alone.
    None,
}

/// Traffic settings of one port.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PortTraffic {
    /// Name of one of the `ports`.
    #[schemars(length(max = 15))]
    pub name: String,
    /// Time after which a request has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Retries of failed requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
    /// Limits that protect the service, and the ejection of its failing pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit_breaker: Option<CircuitBreaker>,
}

/// Retries of failed requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retries {
    /// How often a failed request is tried again, 0 to 10; 0 switches retries off.
    #[schemars(range(min = 0, max = 10))]
    pub attempts: i32,
    /// Time after which one try has failed. It is tried again only with `5xx`, `gateway-error` or `reset` in `retryOn`, of
    /// which the mesh's default has none: without one, the request fails then. Default: the request's timeout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_try_timeout: Option<Duration>,
    /// Which failures are tried again, as Envoy names them, separated by commas. Default: the mesh's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256), pattern(r"^[-a-z0-9]+(,[-a-z0-9]+)*$"))]
    pub retry_on: Option<String>,
}

/// Limits that protect the service, and the ejection of its failing pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CircuitBreaker {
    /// How many connections and requests a client's proxy keeps open, to each port of each version; what exceeds them is
    /// answered 503 at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_pool: Option<ConnectionPool>,
    /// When a failing pod is left out for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlier_detection: Option<OutlierDetection>,
}

/// Limits of each client's proxy towards each port of each version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionPool {
    /// Connections at most (HTTP/1.1 and TCP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_connections: Option<i32>,
    /// Time after which an attempt to connect has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_timeout: Option<Duration>,
    /// Requests that may wait for a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_pending_requests: Option<i32>,
    /// Requests under way at once (HTTP/1.1, HTTP/2 and gRPC).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_requests: Option<i32>,
    /// Requests after which a connection is closed; 1 switches keep-alive off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_requests_per_connection: Option<i32>,
    /// Retries under way at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_retries: Option<i32>,
    /// Time without a request after which a connection is closed; of TCP ports, without a byte. These share the longest of
    /// theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Duration>,
}

/// When a failing pod is left out for a while.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutlierDetection {
    /// Answers 5xx in a row that eject a pod; 0 switches this off. Default: the mesh's, which is 5 in Istio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub consecutive_5xx_errors: Option<i32>,
    /// Answers 502, 503 or 504 in a row that eject a pod; 0 switches this off. They count as 5xx, too, so it must be less
    /// than `consecutive5xxErrors`, or that be 0. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub consecutive_gateway_errors: Option<i32>,
    /// Time between two evaluations, at least 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "duration(self) >= duration('1s')",
        "message": "must be at least 1s, and at most 2562047h",
    }]))]
    pub interval: Option<Duration>,
    /// Time that a pod is ejected for, multiplied by how often it was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_ejection_time: Option<Duration>,
    /// Percentage of the pods that may be ejected at once. Default: 10, which is none of fewer than 10 pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub max_ejection_percent: Option<i32>,
    /// Percentage of healthy pods below which ejection stops and all pods get requests. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub min_health_percent: Option<i32>,
}
