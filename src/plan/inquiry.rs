//! What the plan wants to know from outside the cluster's API. A worker asks between two reconciliations, and a later one
//! observes the reply. Plain data.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    api::{Duration, MetricKind, Moment},
    observe::Weights,
};

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
    Call(Box<Call>),
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
    /// Which of them carry gRPC calls, whose failures are no failed requests.
    pub calls: Calls,
    pub version: String,
    /// The version that is measured beside it, over the same time.
    pub baseline: Option<String>,
    /// How far the measurement looks back.
    pub window: Duration,
    /// Requests that the version got must be counted, too.
    pub count: bool,
}

/// Which of the ports that carry requests carry gRPC calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    None,
    Some,
    All,
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
    Called(Verdict),
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

/// A call of a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Name of the RolloutWebhook.
    pub webhook: String,
    /// The same for each attempt at the same call, so that who gets it twice can know.
    pub key: String,
    pub moment: Moment,
    /// Namespace and name of the Microservice.
    pub namespace: String,
    pub service: String,
    pub uid: String,
    /// What the rollout leads to.
    pub target: String,
    /// Number of steps that are done.
    pub step: i32,
    /// Weights in force.
    pub weights: Weights,
    /// Weights that the rollout leads to.
    pub requested: Weights,
    /// Weights that an abort goes back to.
    pub stable: Weights,
    /// Why the rollout ended, of one that did.
    pub message: Option<String>,
    pub parameters: BTreeMap<String, String>,
    /// The event that it tells of, at that moment.
    pub event: Option<Occurrence>,
}

/// An event, as the cluster has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occurrence {
    pub warning: bool,
    /// Past tense, CamelCase.
    pub reason: &'static str,
    pub message: String,
    pub at: Timestamp,
}

/// What a webhook decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    /// In its own words: one short line of text.
    Refused(String),
}
