//! How many pods each version runs while the weights travel. Pure.

use std::collections::BTreeMap;

use crate::validate::model::part;

use super::{Rollout, Standing};

/// Pods by version of the spec.
pub type Sizes = BTreeMap<String, i32>;

/// What becomes of a version of weight 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// It runs: the mesh keeps requests away from it.
    Runs,
    /// It has no pods once requests have had time to leave it, and gets none anew, since soon the mesh keeps none away any
    /// more.
    Drains,
    /// It has no pods, as nothing else keeps requests away: a plain Service that selects all versions, or a worker that
    /// fetches its work itself.
    Stops,
}

/// Pods that a version of the spec should run; None for a removed one, which is left as it is. `drained` is whether
/// requests have had their time to leave it, `quiet` whether the mesh has had its time to learn of the weight.
pub fn replicas(standing: &Standing<'_>, rollout: &Rollout<'_>, idle: Idle, drained: bool, quiet: bool) -> Option<i32> {
    let spec = standing.spec?;
    let effective = rollout.weight(standing.name);
    let stops = idle == Idle::Stops || (idle == Idle::Drains && (drained || standing.replicas == 0));
    if stops && effective == 0 && (standing.target == 0 || standing.aim == 0) {
        return Some(0);
    }
    if standing.limited.is_some() {
        return standing.limited;
    }
    let wanted = match standing.part {
        _ if effective > spec.weight => spec.replicas.max(covered(rollout)),
        Some(pods) => pods.max(part(spec.replicas, effective, standing.target)),
        None => spec.replicas,
    };
    let shrinks = wanted < standing.replicas;
    if standing.part.is_some() && shrinks && standing.exists {
        return Some(if effective > 0 || !drained { standing.replicas } else { wanted });
    }
    // Deployments are written before routes: what shrinks with a step loses pods while it still has its weight.
    let early = !rollout.arrived || !quiet || (standing.parked && !drained);
    Some(if shrinks && early && standing.exists { standing.replicas } else { wanted })
}

/// Pods that a version's rescuers must have, of the largest that lost what it was to carry now: as many as that takes of it. One
/// that is yet to start has lost nothing, nor has one whose rollout has gone back to the weights before it.
fn covered(rollout: &Rollout<'_>) -> i32 {
    rollout
        .standings
        .iter()
        .filter(|standing| rollout.weight(standing.name) < standing.aim)
        .filter(|standing| standing.fails() || standing.held || (!standing.serving() && standing.memory.losses > 0))
        .filter_map(|standing| {
            Some(part(standing.spec?.replicas, standing.aim, standing.requested().max(standing.aim)))
        })
        .max()
        .unwrap_or_default()
}
