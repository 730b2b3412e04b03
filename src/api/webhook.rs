//! Webhooks: whom a rollout asks and tells. Their addresses are an administrator's, not a tenant's.

// Each `printcolumn(…)` names its fields anew, which the lint takes for one attribute given twice.
#![allow(clippy::duplicated_attributes)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Duration, provider::SecretKey};

/// An address that rollouts may call. Secrets are read in the operator's own namespace, and only those whose names its
/// installation lists.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "microservice-operator.dev",
    version = "v1alpha1",
    kind = "RolloutWebhook",
    shortname = "msw",
    derive = "Default",
    derive = "PartialEq",
    doc = "A RolloutWebhook is an address that rollouts may call, before they raise a weight or to tell what happened. An administrator makes it: a Microservice names it, and cannot have any other address called.",
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.url"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct RolloutWebhookSpec {
    /// The address, to which a JSON document is posted. It begins with `https://`, or with `http://` if allowHttp is true.
    #[schemars(length(min = 8, max = 1024))]
    pub url: String,
    /// The address may begin with `http://`: whoever is on the way can read and change what is asked and answered.
    /// Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_http: bool,
    /// The key that each call is signed with. The header `X-Microservice-Signature: t=<seconds since 1970>,v1=<hex>` has
    /// the HMAC-SHA256 of `<seconds since 1970>.<body>`. Default: calls are not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_secret: Option<SecretKey>,
    /// PEM certificates of the authorities that are trusted instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<SecretKey>,
    /// How long an answer may take. 100ms to 1m. Default: 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How often a call is tried again, after 1 s, 2 s, 4 s and so on, when there is no answer in time or one with the
    /// status 408, 425, 429 or 5xx. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 5))]
    pub retries: Option<i32>,
    /// Namespaces whose Microservices may name this webhook. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    pub namespaces: Vec<String>,
}

/// A webhook that a rollout calls, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hook {
    /// Name of the RolloutWebhook; an administrator makes them.
    #[schemars(length(min = 1, max = 63))]
    pub webhook: String,
    /// When it is called. BeforeRollout, BeforeTraffic and BeforePromotion hold the rollout until the answer is a 2xx; a
    /// 4xx refuses, and the rollout pauses. AfterRollout and OnRollback only tell, at least once. OnEvent tells of each event
    /// of the Microservice, as well as it can.
    #[schemars(length(min = 1, max = 6))]
    pub at: Vec<Moment>,
    /// Sent along as they are: at most 16, of at most 256 characters each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 256}))]
    pub parameters: BTreeMap<String, String>,
}

/// When a webhook is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Moment {
    /// As soon as a rollout begins, before its pods are ready.
    #[default]
    BeforeRollout,
    /// When all pods are ready, before the first weight.
    BeforeTraffic,
    /// Before the last raise, to the requested weights.
    BeforePromotion,
    /// When the requested weights are in force.
    AfterRollout,
    /// When the weights go back, after a failure or because somebody asked for it.
    OnRollback,
    /// With each event about the Microservice. One that cannot be told is not told later.
    OnEvent,
}

/// A call of a webhook that was made, or that is to be made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HookCall {
    /// Unique among the calls of the Microservice.
    pub id: String,
    /// Name of the RolloutWebhook.
    pub webhook: String,
    /// When it is called.
    pub at: Moment,
    /// What the rollout leads to, as `status.rollout.target`.
    pub target: String,
    /// Passed, Refused, Failed or Overruled. Absent while somebody is yet to be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<CallResult>,
    /// Times that there was no answer.
    #[serde(default)]
    pub failures: i32,
    /// When it is called again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again_at: Option<MicroTime>,
    /// What was answered, or what somebody is to be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What came of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CallResult {
    /// It was answered with a 2xx.
    Passed,
    /// It was answered with a 4xx.
    Refused,
    /// There was no answer that decides.
    Failed,
    /// It refused, and somebody promoted all the same.
    Overruled,
}
