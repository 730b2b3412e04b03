//! The `AnalysisProvider` resource: where the numbers of analyses come from. An administrator's, not a tenant's.

// Each `printcolumn(…)` names its fields anew, which the lint takes for one attribute given twice.
#![allow(clippy::duplicated_attributes)]

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Duration;

/// Where the numbers of analyses come from: exactly one of prometheus, datadog and http. Secrets are read in the
/// operator's own namespace, and only those whose names its installation lists.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "microservice-operator.dev",
    version = "v1alpha1",
    kind = "AnalysisProvider",
    shortname = "msap",
    derive = "Default",
    derive = "PartialEq",
    doc = "An AnalysisProvider says where the numbers of analyses come from. An administrator makes it: a Microservice names it, and cannot have any other address asked. The one named `default` is asked where an analysis names none.",
    printcolumn(name = "Prometheus", type_ = "string", json_path = ".spec.prometheus.url"),
    printcolumn(name = "Datadog", type_ = "string", json_path = ".spec.datadog.site"),
    printcolumn(name = "HTTP", type_ = "string", json_path = ".spec.http.url", priority = 1),
    printcolumn(name = "OwnQueries", type_ = "string", json_path = ".spec.ownQueries"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisProviderSpec {
    /// A Prometheus, or what speaks its HTTP API, such as Thanos, Mimir or VictoriaMetrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusProvider>,
    /// Datadog. It answers own queries only, so ownQueries must be Allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datadog: Option<DatadogProvider>,
    /// Anything that answers an HTTP request with JSON that has a number in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpProvider>,
    /// How long an answer may take. 100ms to 1m. Default: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Headers of each request, such as `X-Scope-OrgID`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub headers: Vec<Header>,
    /// A token to send as `Authorization: Bearer …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token_secret: Option<SecretKey>,
    /// A user and a password to send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
    /// PEM certificates of the authorities that are trusted instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<SecretKey>,
    /// Namespaces whose Microservices may name this provider. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    pub namespaces: Vec<String>,
    /// Whether metrics may have a query of their own: Allow or Deny. Such a query reads whatever the provider holds, that
    /// of other namespaces too, so it gives who may write a Microservice more than they had. Default: Deny.
    #[serde(default)]
    pub own_queries: OwnQueries,
}

/// Whether metrics may have a query of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OwnQueries {
    /// They may: whoever writes a Microservice may read all that the provider holds.
    Allow,
    /// Only ready-made metrics are asked for.
    #[default]
    Deny,
}

/// A Prometheus.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrometheusProvider {
    /// Its address, to which `/api/v1/query` is added, such as `http://prometheus.monitoring.svc:9090`.
    #[schemars(length(min = 8, max = 1024))]
    pub url: String,
    /// Which stats it has of requests: Istio, the standard metrics of the mesh (`istio_requests_total`), or Envoy, the
    /// proxies' own (`envoy_cluster_upstream_rq_completed`), which Istio's proxies give with
    /// `proxyStatsMatcher: {inclusionPrefixes: [cluster.outbound]}`. Default: Istio.
    #[serde(default)]
    pub stats: Stats,
}

/// Which stats of requests a Prometheus has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Stats {
    /// The standard metrics of the mesh.
    #[default]
    Istio,
    /// The proxies' own.
    Envoy,
}

/// Datadog.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DatadogProvider {
    /// The site of the account; its API is asked at `https://api.<site>`. Default: `datadoghq.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), pattern(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub site: Option<String>,
    /// Address of the API instead of the site's, such as that of a proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 1024))]
    pub url: Option<String>,
    /// The API key.
    pub api_key_secret: SecretKey,
    /// The application key; it needs the permission `timeseries_query`.
    pub application_key_secret: SecretKey,
}

/// Anything that answers an HTTP request with JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpProvider {
    /// Address of the number. After the host, `${version}`, `${service}`, `${namespace}`, `${window}` (in seconds),
    /// `${kind}` (of a ready-made metric, such as SuccessRate) and `${query}` (of a metric with one of its own) are
    /// replaced, percent-encoded.
    #[schemars(length(min = 8, max = 1024))]
    pub url: String,
    /// GET or POST. Default: GET.
    #[serde(default)]
    pub method: Method,
    /// JSON that is sent with a POST; the placeholders of the url are replaced in it, escaped as text in JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub body: Option<String>,
    /// JSON pointer to the number in the answer, such as `/data/0/value`; a null there, or nothing, is no data. Default:
    /// the whole answer.
    #[serde(default)]
    #[schemars(length(max = 256), pattern(r"^(/([^~/]|~[01])*)*$"))]
    pub value: String,
}

/// How a request is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    /// Without a body.
    #[default]
    Get,
    /// With a body.
    Post,
}

/// A header: exactly one of value and secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// Its name.
    #[schemars(length(min = 1, max = 128), pattern(r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"))]
    pub name: String,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub value: Option<String>,
    /// Where its value is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretKey>,
}

/// A user and a password.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuth {
    /// Name of the user.
    #[schemars(length(min = 1, max = 256))]
    pub username: String,
    /// Where the password is kept.
    pub password_secret: SecretKey,
}

/// An entry of a Secret in the operator's own namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in its data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}
