//! What the plan wants to know from outside the cluster's API. A worker asks between two reconciliations, and a later one
//! observes the reply. Plain data.

use jiff::Timestamp;

use crate::api::{Duration, MetricKind};

/// One thing to be asked. The same id is asked once, however often it is planned; a reply is kept until a plan no
/// longer asks for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Inquiry {
    /// Unique among all inquiries of a Microservice, also those of earlier rollouts.
    pub id: String,
    pub question: Question,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    Measure(Measure),
}

/// A measurement of one metric of one version.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// Name of the AnalysisProvider.
    pub provider: String,
    pub metric: Asked,
    /// Namespace and name of the Microservice.
    pub namespace: String,
    pub service: String,
    /// Ports of the Service that carry requests.
    pub ports: Vec<i32>,
    pub version: String,
    /// The version that is measured beside it, over the same time.
    pub baseline: Option<String>,
    /// How far the measurement looks back.
    pub window: Duration,
    /// Requests that the version got must be counted, too.
    pub count: bool,
}

/// What comes to a number.
#[derive(Clone, Debug, PartialEq)]
pub enum Asked {
    Ready(MetricKind),
    /// In the provider's language, with placeholders that are not replaced yet.
    Query(String),
}

/// What came of an inquiry.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub id: String,
    /// When it was asked.
    pub at: Timestamp,
    /// An error is told in the provider's words, with what to do about it.
    pub finding: Result<Finding, String>,
    /// What the provider was asked, as it was asked.
    pub query: Option<String>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    Measured(Reading),
}

/// The numbers of a measurement; None where there is no data, such as without requests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// In the unit of the metric: percent, milliseconds, requests a second, or what an own query comes to.
    pub value: Option<f64>,
    pub baseline: Option<f64>,
    /// Requests that the version got in the window; None when they were not counted.
    pub requests: Option<f64>,
}
