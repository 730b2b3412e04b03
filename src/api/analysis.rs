//! Analyses: what is measured of the versions that are being raised, and what came of it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Duration;

/// What is measured of the versions that are being raised, and what it must come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Analysis {
    /// Name of the AnalysisProvider that is asked; an administrator makes them. Default: `default`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub provider: Option<String>,
    /// What is measured of each version that is being raised. All of it must pass.
    #[schemars(length(min = 1, max = 10))]
    pub metrics: Vec<Metric>,
    /// Time from one measurement to the next, and the length of time that each looks back on. At least 1s.
    /// Default: 60s; in a rollout with `stepWeight`, its `interval`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// How old the newest numbers of the provider may be, such as how often Prometheus scrapes: so much later the first
    /// measurement at new weights is taken, so that it does not look back on those before. Default: no
    /// delay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Duration>,
    /// How many failed measurements of a metric are forgiven; one more, and the version has failed. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub failure_limit: Option<i32>,
    /// How many errors in a row, such as a provider that cannot be reached, are waited out; one more, and the rollout
    /// pauses. Default: 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub consecutive_error_limit: Option<i32>,
    /// How many requests a version must have got in the time that a measurement looks back on; with fewer there is no
    /// data. Default: 1, and of own queries none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub min_requests: Option<i32>,
    /// What a measurement without data means: Wait for data, Fail, or Pass. Default: Wait.
    #[serde(default)]
    pub on_no_data: OnNoData,
    /// Of an analysis that is a step: how many measurements of each metric must pass. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub count: Option<i32>,
}

/// One thing that is measured: a ready-made `kind`, or the number that a `query` of one's own comes to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Metric {
    /// Name of the metric in messages and in the status.
    #[schemars(length(min = 1, max = 40), pattern(r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// SuccessRate (in percent), LatencyP50, LatencyP95, LatencyP99 (in ms) or Throughput (in requests a second) of a
    /// version, as the mesh has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<MetricKind>,
    /// A query in the provider's language that comes to one number. `${version}`, `${service}`, `${namespace}` and
    /// `${window}` are replaced, each escaped as the text of a label's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2048))]
    pub query: Option<String>,
    /// The least that is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The most that is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// How much it may differ from the version that served before, over the same time. It is not compared once that one gets
    /// no requests any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
}

/// How much a version may differ from the one that served before.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    /// By how much it may be less, in the metric's unit. Default: it is not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_decrease: Option<f64>,
    /// By how much it may be more, in the metric's unit. Default: it is not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_increase: Option<f64>,
}

/// What can be measured without a query of one's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum MetricKind {
    /// Percent of the requests that were not answered with a 5xx status; of a service with a GRPC port, nor with a gRPC status
    /// that tells of its own failure (UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS), which only
    /// Istio's stats have: by Envoy's, failed calls pass for good ones, and a service that has no other port is not measured.
    SuccessRate,
    /// Half of the requests took at most so many milliseconds.
    LatencyP50,
    /// 95 % of the requests took at most so many milliseconds.
    LatencyP95,
    /// 99 % of the requests took at most so many milliseconds.
    LatencyP99,
    /// Requests a second.
    Throughput,
}

/// What a measurement without data means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnNoData {
    /// Nothing: the weights stay until there is data.
    #[default]
    Wait,
    /// It failed.
    Fail,
    /// It passed.
    Pass,
}

/// How the measurements of an analysis stand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnalysisRun {
    /// Since when there is something to measure: from this time on, each measurement looks back on whole intervals.
    pub since: MicroTime,
    /// The latest measurement of each metric of each version.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub metrics: Vec<MetricRun>,
}

impl AnalysisRun {
    /// One without measurements yet.
    pub fn new(since: MicroTime) -> Self {
        Self { since, metrics: Vec::new() }
    }
}

/// The measurements of one metric of one version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MetricRun {
    /// Name of the metric.
    pub name: String,
    /// The version that is measured.
    pub version: String,
    /// What the latest measurement came to: Passed, Failed, Error or Inconclusive.
    pub result: MeasurementResult,
    /// The latest measurement in words, such as `97.1 % < 99 %`.
    pub message: String,
    /// When the latest measurement was taken.
    pub at: MicroTime,
    /// Measurements that were taken.
    #[serde(default)]
    pub taken: i32,
    /// Measurements that passed.
    #[serde(default)]
    pub passed: i32,
    /// Measurements that failed.
    #[serde(default)]
    pub failed: i32,
    /// Errors in a row up to now.
    #[serde(default)]
    pub consecutive_errors: i32,
    /// What the provider was asked, as it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Digest of what was asked, and of what is good enough: after an edit of these the metric is measured anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<String>,
}

/// What a measurement came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MeasurementResult {
    /// As it should be.
    Passed,
    /// Not as it should be.
    Failed,
    /// The provider could not be asked, or its answer was no number.
    Error,
    /// There is no data, or too little to say.
    #[default]
    Inconclusive,
}
