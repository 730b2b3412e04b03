//! Rollout policies that do not guard what they seem to.

use crate::{
    api::{Protocol, Provider},
    lint::Subject,
    validate::{Problem, Step},
};

/// Most changes of the weights that clients of a TCP port are asked to bear before the last one.
const FEW: usize = 2;

/// An analysis along the way measures at the weights of steps.
pub(super) fn unmeasured_rollout(subject: &Subject) -> Vec<Problem> {
    let Some(policy) = subject.resolved.rollout.as_ref().filter(|policy| policy.analysis.is_some()) else {
        return Vec::new();
    };
    if policy.steps.iter().any(gives_a_part) {
        return Vec::new();
    }
    let message = "no step gives the new version a part of the requests, so it gets all of them before anything is \
                   measured: add a step such as {weight: 5}";
    vec![Problem::new("spec.rollout.analysis", message)]
}

/// Pods within `maxSurge` follow the weights, and what goes to a version beside its weight has none of its own.
pub(super) fn surge_without_scale(subject: &Subject) -> Vec<Problem> {
    let Some(policy) = subject.resolved.rollout.as_ref().filter(|policy| policy.max_surge.is_some()) else {
        return Vec::new();
    };
    let beside = |step: &Step| matches!(step, Step::Match(_) | Step::Mirror(1..));
    let Some(index) = policy.steps.iter().position(beside) else { return Vec::new() };
    if policy.steps[..index].iter().any(|step| matches!(step, Step::Scale(_))) {
        return Vec::new();
    }
    let message = "with maxSurge, pods follow the weights, and what this step sends beside them may meet a single pod: put \
                   a step such as {scale: {percent: 25}} before it";
    vec![Problem::new(format!("spec.rollout.steps[{index}]"), message)]
}

/// Envoy gives up the filter chain of a TCP port whose weights change, and ends its connections.
pub(super) fn tcp_steps(subject: &Subject) -> Vec<Problem> {
    let service = &subject.resolved;
    let steps = service.rollout.iter().flat_map(|policy| &policy.steps).filter(|step| gives_a_part(step)).count();
    let Some(port) = service.ports.iter().find(|port| port.protocol == Protocol::Tcp) else { return Vec::new() };
    if steps <= FEW || service.provider != Provider::Istio {
        return Vec::new();
    }
    let message = format!(
        "each change of the weights ends all connections to port {} (TCP) that are open, to the old version, too: have at \
         most {FEW} steps with a weight (there are {steps}), and clients that connect again",
        port.name
    );
    vec![Problem::new("spec.rollout.steps", message)]
}

fn gives_a_part(step: &Step) -> bool {
    matches!(step, Step::Weight(1..100))
}
