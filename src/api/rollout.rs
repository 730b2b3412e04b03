//! Rollouts: how weights travel from those in force to the requested ones, and how far they have come.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::{apis::meta::v1::MicroTime, util::intstr::IntOrString};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ActionResult, Analysis, AnalysisRun, Duration, Hook, HookCall, RouteMatch, Window};

/// A percentage that leaves nobody without room.
pub(crate) const PERCENTAGE: &str = "^([1-9][0-9]?|100)%$";

/// What names of cookies may have.
pub(crate) const COOKIE_NAME: &str = r"^[A-Za-z0-9][-._A-Za-z0-9]*$";

/// How weights travel. Either `steps`, or the short form of `stepWeight` and `interval`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutPolicy {
    /// Steps in their order. After the last one the requested weights are in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub steps: Vec<Step>,
    /// Short form: percentage by which the weights come nearer to the requested ones with each step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub step_weight: Option<i32>,
    /// Short form: how long each step lasts. It is measured at most once a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Duration>,
    /// Short form: percentage of the last step before all the rest follows at once. Default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub max_weight: Option<i32>,
    /// What is measured all along the way, of the versions that are being raised. The weights go no further up before
    /// each of its metrics has passed at the present ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Analysis>,
    /// What follows when a version that is being raised fails: Rollback to the weights before the rollout, RollbackBySteps
    /// through the weights of the steps, or Pause. Default: Rollback.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// How long a version may take to be ready for its next step before the rollout has failed; pauses do not count.
    /// Default: 10m, and as long as minReadySeconds, health.startupSeconds and startup probes give a pod to start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_deadline: Option<Duration>,
    /// How many pods the versions of a rollout have together beyond those that the weights before or after it need: a
    /// number of 1 or more, or a percentage such as `25%`, rounded up. One that is lowered shrinks with its weight,
    /// once the mesh has had time to learn of that; those that are raised get its pods, and a step whose weight these
    /// cannot carry is walked in several raises. The limit is widened to one pod a version that is raised, and by what
    /// rounding to whole pods needs. Going back waits for pods as well, and the deadline counts from the latest raise.
    /// Serving counts more than saving: when a version cannot serve, the others take its requests at once and get all
    /// of their pods at once, beyond the limit. A version that a route leads to keeps all of its pods, and one that is
    /// removed from the list those that it has. What steps send beside the weights (`match`, `mirror`,
    /// `sessionAffinity`) is not counted: a step with `scale` gives pods for it. Only where a mesh carries the routes.
    /// Default: all versions keep all of their pods until the rollout is completed, so that going back is at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("minimum" = 1, "maximum" = i32::MAX, "pattern" = PERCENTAGE))]
    pub max_surge: Option<IntOrString>,
    /// Which older revisions of an `image` are gone back to without the steps, as soon as their pods are ready. Default:
    /// the one that served before the last rollout, for as long as it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_window: Option<RollbackWindow>,
    /// How long versions that get no requests any more go on running before they are scaled to 0. Default: they are
    /// not scaled. Of a service with an `image`, how long the revision that served before is kept running, before it is
    /// removed. Default: its `drain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_down_delay: Option<Duration>,
    /// Nothing of a rollout advances while this is true: no weight goes up, no step passes, pauses and the deadline stand
    /// still. Versions that fail lose their weight and are rolled back all the same. Unlike a Pause that somebody asks for,
    /// it holds every rollout until it is removed. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// When a rollout may go on: outside of these hours no weight goes up and no step passes, and the deadline stands
    /// still. Versions that fail lose their weight and are rolled back at any time; what somebody promotes fully is not
    /// held. Default: always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub windows: Vec<Window>,
    /// Webhooks that are asked before the weights go up, or told what happened. What somebody promotes fully is not asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub webhooks: Vec<Hook>,
    /// Clients that a new version has served stay with it during the rollout. Only where a mesh carries the routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<SessionAffinity>,
}

/// How clients stay with the version that served them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionAffinity {
    /// The cookie by which they are known. Weights then decide only about requests without it.
    pub cookie: SessionCookie,
}

/// A cookie that answers of a new version set, and that requests bring back. It is of no use after the rollout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionCookie {
    /// Name of the cookie, which nobody else uses: letters, digits, `-`, `_` and `.`.
    #[schemars(length(min = 1, max = 64), pattern(COOKIE_NAME))]
    pub name: String,
    /// How long clients keep it after an answer has set it, 1s or more. Default: 24h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Duration>,
}

/// Which revisions count as known to be good: those within everything that is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RollbackWindow {
    /// How many revisions back: 1 is the one that served before the present one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32))]
    pub revisions: Option<i32>,
    /// How long ago the revision may have served last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
}

/// One step: exactly one of its fields is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// How far the weights go, in percent of the way from those at the start of the rollout to the requested ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub weight: Option<i32>,
    /// Wait, for a time or until somebody promotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// Measure, and go on once each metric has passed often enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Analysis>,
    /// From here to the end of the rollout, requests that match go to the versions that are being raised, ahead of the
    /// weights and after the service's own routes. Entries as in `routes`; those of several such steps add up. If
    /// several versions are being raised, they share the requests as they share the requested weights.
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 8))]
    pub matches: Vec<RouteMatch>,
    /// From here to the next weight or mirror, or to the end of the rollout, copies of a share of the requests go to the
    /// version that is being raised, and its answers to them go nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirror>,
    /// From here to the next scale, or to the end of the steps, how many pods the versions that are being raised run.
    /// Without such a step they run all of them; as the first step, they start with as many. Before the last move to the
    /// requested weights they have all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
}

/// A number of pods, never fewer than a version's part of its weight needs. Exactly one of the fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scale {
    /// So many pods, at most those that the version has without a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub replicas: Option<i32>,
    /// Percentage of the pods that the version has without a step, rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub percent: Option<i32>,
}

/// A share of the requests that is copied. The copies are real requests: what they change is changed twice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mirror {
    /// Percentage of the requests that no route takes, on HTTP, HTTP2 and GRPC ports; 0 ends it. If several versions are
    /// being raised, the one with the largest requested weight gets the copies.
    #[schemars(range(min = 0, max = 100))]
    pub percent: i32,
}

/// A wait.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pause {
    /// How long to wait, from when the step before was reached. Default: until somebody promotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
}

/// What follows when a version that is being raised fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnFailure {
    /// Back to the weights before the rollout, at once.
    #[default]
    Rollback,
    /// Back through the weights of the steps, each as soon as the mesh has had time to learn of the one before, and then
    /// to the weights before the rollout. A version that cannot serve loses its weight at once all the same.
    RollbackBySteps,
    /// The weights stay as they are until somebody promotes or aborts.
    Pause,
}

/// How far the weights have come on their way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// Progressing, Paused, Aborted or Completed.
    pub state: RolloutState,
    /// What the rollout leads to: digest of the requested weights and of the pods of the versions that have any.
    pub target: String,
    /// Steps that are done, of all, such as `2/6`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// Number of steps that are done.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub step: i32,
    /// How much of the way to the requested weights the latest step asks for, in percent. If the policy's steps are edited so
    /// that it would be another, the rollout walks them from the first one on, from the weights in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub percent: Option<i32>,
    /// Digest of the steps that are done. If the policy's steps are edited so that it would be another, the rollout goes back
    /// to the first step that asks for its weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub walked: Option<String>,
    /// When the current step began. Absent while the rollout waits for its first pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_since: Option<MicroTime>,
    /// What holds the weights back before the current step begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// When the weights of the latest step were reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_since: Option<MicroTime>,
    /// The measurements all along the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<AnalysisRun>,
    /// The measurements of the latest step that is an analysis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_analysis: Option<AnalysisRun>,
    /// Since when the current step is on its way; the deadline counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progressed_at: Option<MicroTime>,
    /// Weights that the steps are counted from; of a completed rollout, those from which an edit went back to it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("additionalProperties" = {"type": "integer", "format": "int32", "minimum": 0, "maximum": 100}))]
    pub from: BTreeMap<String, i32>,
    /// Weights that the steps lead to, while they are on their way.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("additionalProperties" = {"type": "integer", "format": "int32", "minimum": 0, "maximum": 100}))]
    pub to: BTreeMap<String, i32>,
    /// Weights that a pause keeps that came before its step was reached.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("additionalProperties" = {"type": "integer", "format": "int32", "minimum": 0, "maximum": 100}))]
    pub kept: BTreeMap<String, i32>,
    /// Of an aborted rollout that goes back by steps: how far the weights still are, in percent of the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub back: Option<i32>,
    /// Weights that an abort goes back to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("additionalProperties" = {"type": "integer", "format": "int32", "minimum": 0, "maximum": 100}))]
    pub stable: BTreeMap<String, i32>,
    /// Weights until the revision is ready that somebody went back to.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("additionalProperties" = {"type": "integer", "format": "int32", "minimum": 0, "maximum": 100}))]
    pub meanwhile: BTreeMap<String, i32>,
    /// Weights that `undo` goes back to after completion: those before the rollout.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("additionalProperties" = {"type": "integer", "format": "int32", "minimum": 0, "maximum": 100}))]
    pub previous: BTreeMap<String, i32>,
    /// Revisions that served and no longer do, the latest first; under a `rollbackWindow`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub served: Vec<Served>,
    /// Names this rollout in the cookie of its clients, so that none of another one counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Why it is paused or aborted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Why it is about to be aborted, as was measured. It is written before the weights go back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// When the rollout began, with its first step or again after a retry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<MicroTime>,
    /// What the webhooks of this rollout answered, and whom they are yet to tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub calls: Vec<HookCall>,
    /// Somebody promoted it fully: neither time windows nor webhooks hold it any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub promoted_fully: bool,
    /// How often versions that are being raised lost their readiness, by version.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub relapses: BTreeMap<String, Relapses>,
    /// What holds it although nothing failed and nobody paused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<Held>,
    /// What came of the latest actions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_HANDLED))]
    pub handled: Vec<HandledAction>,
}

/// How often pods of a version lost their readiness, or ended although they should run, and were all ready again in between.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Relapses {
    /// Number of times, each within 10 minutes of the one before; a retry or a promotion starts it anew.
    pub count: i32,
    /// The first of them.
    pub since: MicroTime,
    /// The latest of them, or what followed it before all pods were ready again.
    pub latest: MicroTime,
    /// Not all pods have been ready since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub down: bool,
}

/// What holds a rollout although nothing failed and nobody paused it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// Suspended: by `spec.rollout.suspend`. Window: by `spec.rollout.windows`.
    pub by: HeldBy,
    /// Since when. The deadline stands still from then on.
    pub since: MicroTime,
    /// What it waits for, and what to do.
    pub message: String,
    /// When it is over by itself. Absent when that takes a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<MicroTime>,
}

/// Who holds a rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HeldBy {
    /// Its policy, with `suspend`.
    #[default]
    Suspended,
    /// A time window that is not open.
    Window,
}

/// A revision that served.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Served {
    /// Name of the revision.
    pub revision: String,
    /// When another one took its place.
    pub until: MicroTime,
}

/// What came of so many actions has room in a status.
pub const MAX_HANDLED: usize = 64;

/// What came of an action.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HandledAction {
    /// uid of the MicroserviceAction.
    pub uid: String,
    /// Done or Refused.
    pub result: ActionResult,
    /// What it means, or why it was refused.
    pub message: String,
}

/// How a rollout stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RolloutState {
    /// The weights are on their way.
    #[default]
    Progressing,
    /// The weights stay until somebody promotes or aborts.
    Paused,
    /// The weights are those before the rollout, or on their way there, until the spec changes or somebody retries.
    Aborted,
    /// The requested weights are in force.
    Completed,
}

impl RolloutState {
    /// It has begun, and has not ended.
    pub fn is_under_way(self) -> bool {
        matches!(self, Self::Progressing | Self::Paused)
    }
}
