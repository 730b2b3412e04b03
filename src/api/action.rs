//! The `MicroserviceAction` resource: one thing that somebody asks of a rollout, once.

// Each `printcolumn(…)` names its fields anew, which the lint takes for one attribute given twice.
#![allow(clippy::duplicated_attributes)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pod::TIME;

/// What is asked, of which service, by whom.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "microservice-operator.dev",
    version = "v1alpha1",
    kind = "MicroserviceAction",
    namespaced,
    shortname = "msa",
    status = "MicroserviceActionStatus",
    derive = "PartialEq",
    doc = "A MicroserviceAction asks one thing of a rollout, once: to promote, pause, abort, retry or undo it. It cannot be changed. The last 20 that were answered stay with their Microservice, as a record of who asked what.",
    printcolumn(name = "Microservice", type_ = "string", json_path = ".spec.microservice"),
    printcolumn(name = "Verb", type_ = "string", json_path = ".spec.verb"),
    printcolumn(name = "Actor", type_ = "string", json_path = ".spec.actor"),
    printcolumn(name = "Result", type_ = "string", json_path = ".status.result"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct MicroserviceActionSpec {
    /// Name of the Microservice, in the same namespace.
    #[schemars(length(min = 1, max = 43))]
    pub microservice: String,
    /// What is asked: Promote (go on from a pause), PromoteFull (skip all steps), Pause, Abort, Retry or Undo.
    pub verb: Verb,
    /// uid of the Microservice that is meant. Default: whichever has the name; the action is refused when that is younger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub uid: Option<String>,
    /// `status.rollout.target` of the rollout that is meant; the action is refused when the spec has changed since.
    /// Default: the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub target: Option<String>,
    /// `status.rollout.step` that is meant; the action is refused at another one. A `stepWeight` of 1 with its pauses makes 198.
    /// Default: the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 200))]
    pub step: Option<i32>,
    /// Name of the kept revision that Undo is to go back to, of a service with an `image`. Default: what served before the
    /// last rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), pattern(r"^r-[0-9a-f]+$"))]
    pub revision: Option<String>,
    /// Time after which the action is refused, in a year before 9000. Default: it does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = TIME))]
    pub expires: Option<Time>,
    /// Who asks; an admission policy of the chart sees to it that it is the user who creates the action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub actor: Option<String>,
}

/// What can be asked of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verb {
    /// Go on from a pause.
    Promote,
    /// Skip all steps that are left.
    PromoteFull,
    /// Keep the weights as they are.
    Pause,
    /// Back to the weights before the rollout.
    Abort,
    /// Start an aborted rollout again.
    Retry,
    /// Back to the weights before the last rollout, also after it was completed.
    Undo,
}

/// What came of an action.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MicroserviceActionStatus {
    /// Done or Refused.
    pub result: ActionResult,
    /// What it means, or why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What came of an action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ActionResult {
    /// It was carried out.
    #[default]
    Done,
    /// It could not be carried out.
    Refused,
}
