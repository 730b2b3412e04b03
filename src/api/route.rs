//! Routes: requests that match them are sent before the weights are asked.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, Retries};

/// Requests that match, and the version or weights that serve them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Name of the route, unique in the list; `default` is the operator's.
    #[schemars(length(max = 40), pattern(r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Conditions: a request matches when it meets any one of the entries; the fields of one entry must all be met.
    #[schemars(length(min = 1, max = 16))]
    #[serde(rename = "match")]
    pub matches: Vec<RouteMatch>,
    /// The version that serves the matching requests. Either this or `weights`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20))]
    pub version: Option<String>,
    /// Versions that share the matching requests; the weights sum to 100. Either this or `version`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub weights: Vec<WeightedVersion>,
    /// While no version of the route is ready: Fallback sends its requests on to the routes after it and to the
    /// weights; Hold keeps them (they fail until it is ready). Default: Fallback.
    #[serde(default)]
    pub on_unready: OnUnready,
    /// Time after which a request has failed. Default: the port's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// Retries of failed requests. Default: the port's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<Retries>,
}

/// A version's share of a route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WeightedVersion {
    /// Name of one of the `versions`.
    #[schemars(length(max = 20))]
    pub version: String,
    /// Percentage of the matching requests, 0 to 100.
    #[schemars(range(min = 0, max = 100))]
    pub weight: i32,
}

/// What happens to a route whose versions are not ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnUnready {
    #[default]
    Fallback,
    Hold,
}

/// One set of conditions; all the given fields must be met.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteMatch {
    /// Request headers, by lower-case name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub headers: BTreeMap<String, MatchValue>,
    /// Path of the request, without its query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<MatchValue>,
    /// HTTP method, in upper case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<MatchValue>,
    /// Query parameters, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub query: BTreeMap<String, MatchValue>,
    /// Number of the Service port that the request came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
}

/// How a value is compared; exactly one of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MatchValue {
    /// The whole value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), pattern(r"^[^\x00-\x1f\x7f]+$"))]
    pub exact: Option<String>,
    /// The beginning of the value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), pattern(r"^[^\x00-\x1f\x7f]+$"))]
    pub prefix: Option<String>,
    /// A regular expression (RE2) that the whole value must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), pattern(r"^[^\x00-\x1f\x7f]+$"))]
    pub regex: Option<String>,
}
