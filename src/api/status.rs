//! Where a service is, and what holds it back.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Provider, RolloutStatus};

/// Where the service is, and what holds it back. Written by the operator alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MicroserviceStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Progressing, Degraded or Stalled; for people, scripts should read the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// One sentence: what happens, what holds it, what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Ready, Available, Reconciling, Stalled, RoutesReady, SizesReady, DependenciesReady, Promoted, and Paused under a
    /// rollout policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Effective weights in one line, such as `v1=90 v2=10`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// Each version's traffic, with what limits it. Versions that were removed stay until they have drained.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 512))]
    pub traffic: Vec<VersionTraffic>,
    /// How far the rollout is that the spec's policy asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// The VirtualService and the DestinationRule that the times in `traffic` were noted with.
    #[serde(default, skip_serializing_if = "RouteMarks::is_empty")]
    pub routes: RouteMarks,
    /// Pods of the largest-weight version that has no replicas of its own; what the scale subresource reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Selects the pods that `replicas` counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<String>,
    /// What carries the traffic now: Istio or None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// When the Service began to select what the provider needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_since: Option<MicroTime>,
    /// Name of the revision that the newest accepted spec and its ConfigMaps make, of a service with an `image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Name of the ControllerRevision with the last accepted spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_revision: Option<String>,
}

impl MicroserviceStatus {
    /// What is remembered of a version's traffic.
    pub fn of_version(&self, name: &str) -> Option<&VersionTraffic> {
        self.traffic.iter().find(|memory| memory.version == name)
    }
}

/// Which VirtualService and DestinationRule somebody has seen, each as `<uid>/<generation>`. Others than these may have been
/// written before a crash, and what they changed is not dated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteMarks {
    /// The VirtualService.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_service: Option<String>,
    /// The DestinationRule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination_rule: Option<String>,
}

impl RouteMarks {
    /// Neither was seen.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A word for the state as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// The spec is fully reached.
    Ready,
    /// On its way to the spec.
    Progressing,
    /// Something fails that was or should be well; the message names it.
    Degraded,
    /// Nothing goes on until a person changes something.
    Stalled,
}

/// A version's traffic and readiness.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionTraffic {
    /// Name of the version.
    pub version: String,
    /// Weight that the spec asks for, in percent.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub requested: i32,
    /// Weight that the routes carry, in percent.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub effective: i32,
    /// Pods that are ready.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub ready: i32,
    /// Pods that are wanted.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub desired: i32,
    /// What keeps `effective` from `requested`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited_by: Option<LimitedBy>,
    /// When `effective` last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<MicroTime>,
    /// When the version's subset was given to the mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subset_since: Option<MicroTime>,
    /// When the last weight or route that referred to the version went away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreferenced_since: Option<MicroTime>,
    /// When the subset of a removed version was taken from the mesh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subset_removed_since: Option<MicroTime>,
    /// Since when the version is complete and free of restarts at its requested weight, or at a larger one that it has by a
    /// rollout's step. After 10 minutes it is proven:
    /// restarts no longer take weight from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clean_since: Option<MicroTime>,
    /// Restarts before this time are no longer held against the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts_since: Option<MicroTime>,
    /// How often the version lost its weight without 10 clean minutes in between.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0))]
    pub losses: i32,
    /// Until when the version gets no weight after it lost it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_until: Option<MicroTime>,
    /// `<number of the set of template defaults>-<digest of the user's pod settings>` of the version's Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Who else set the size of the version's Deployment; forgotten after 10 minutes without a further time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaled: Option<Scaled>,
}

/// A size that somebody else set on a Deployment, and that was put back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Scaled {
    /// Field manager of the change.
    pub by: String,
    /// When it was noticed; while it goes on, renewed every 5 minutes.
    pub at: MicroTime,
}

fn is_zero(number: &i32) -> bool {
    *number == 0
}

/// What keeps a version's effective weight from the requested one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LimitedBy {
    /// Its Deployment is not complete.
    NotReady,
    /// Its subset was given to the mesh too short a time ago.
    Propagation,
    /// It lost its weight and is held out for a while.
    HeldOut,
    /// It has no ready pod, or too many of its pods restart.
    Lost,
    /// It carries what another version cannot take yet.
    OtherVersion,
    /// The rollout has not come so far, or was aborted.
    Rollout,
    /// It was removed from the spec and drains.
    Draining,
    /// There is no mesh that could weigh the requests.
    NoMesh,
    /// The newest spec is invalid or cannot be applied; the last accepted one stands.
    Stalled,
}
