//! Invariant 3: make before break. What is referred to exists before, and stays on for a while after.

use jiff::SignedDuration;

use super::{
    Move, Rule, Step, Violation,
    state::{millis, within},
};
use crate::invariants::model::{Fields, Labels, Object, Target};

/// Routes lead to subsets that the mesh knows.
pub(super) fn routes(step: &Step<'_>, moves: &[Move<'_>]) -> Vec<Violation> {
    let Some(object) = step.after.filter(|object| !step.state.doomed(object)) else { return Vec::new() };
    let mut found = Vec::new();
    for it in moves {
        let (before, after) = it.words();
        for target in it.after.iter().filter(|(_, weight)| **weight > 0).map(|(target, _)| target) {
            if target.subset.is_some() && step.state.subset_labels(target).is_none() {
                let why = format!("the route {} leads to {target}, and there is no such subset", it.route.key);
                found.push(step.violation(Rule::SubsetMissing, &before, &after, why));
            }
        }
        let first = step.before.is_none();
        for (target, _) in it.raises().filter(|(target, _)| !(first && step.state.is_fresh(&target.service))) {
            let Some(age) = step.state.age(target).filter(|age| *age < step.propagation()) else { continue };
            let why = format!(
                "{} raises {target} in the route {} when its subset is {} old; the mesh is given {:#}",
                object.name,
                it.route.key,
                millis(age),
                step.settings.propagation
            );
            found.push(step.violation(Rule::SubsetTooYoung, &before, &after, why));
        }
    }
    found
}

/// Subsets keep their labels, and go long after the last route to them.
pub(super) fn subsets(step: &Step<'_>) -> Vec<Violation> {
    let Some(before) = step.before else { return Vec::new() };
    let Fields::DestinationRule { service, subsets } = &before.fields else { return Vec::new() };
    if step.state.doomed(before) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (name, labels) in subsets {
        let target = Target { service: service.clone(), subset: Some(name.clone()) };
        match step.state.subset_labels(&target) {
            Some(now) if now != labels => {
                let why = format!("the subset {target} selects other pods than before");
                found.push(step.violation(Rule::SubsetRepointed, in_words(labels), in_words(now), why));
            }
            Some(_) => {}
            None => {
                let Some(ago) = too_soon(step, step.state.since_reference(&target)) else { continue };
                // After its routes and its Service it goes as a whole: whoever takes these away wants no requests.
                let referred = step.state.is_referred(&target);
                if step.after.is_none() && !referred && !step.state.has_service(service) {
                    continue;
                }
                let why = format!("the subset {target} was removed, and {}", last("a route leads to it", ago));
                found.push(step.violation(Rule::SubsetRemovedEarly, in_words(labels), "gone", why));
            }
        }
    }
    found
}

/// A Deployment goes long after the last weight on its pods.
pub(super) fn workload(step: &Step<'_>) -> Vec<Violation> {
    let Some(before) = step.before.filter(|object| !object.deleting) else { return Vec::new() };
    let Fields::Deployment { replicas, labels, .. } = &before.fields else { return Vec::new() };
    let after = step.after.filter(|object| !object.deleting).map_or(0, size);
    if *replicas == 0 || after > 0 || step.state.doomed(before) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for target in step.state.weighted().filter(|target| step.state.selects(target, labels)) {
        let Some(ago) = too_soon(step, step.state.since_weight(target)) else { continue };
        let done = if step.after.is_some_and(|object| !object.deleting) { "scaled to 0" } else { "deleted" };
        let why = format!("{} was {done}, and {}", before.name, last(&format!("{target} has weight"), ago));
        found.push(step.violation(Rule::WorkloadRemovedEarly, format!("{replicas} pods"), done, why));
    }
    found
}

/// A Service selects the pods of all that has weight.
pub(super) fn selector(step: &Step<'_>) -> Vec<Violation> {
    let Some(before) = step.before.filter(|object| !step.state.doomed(object)) else { return Vec::new() };
    let Fields::Service { selector: old } = &before.fields else { return Vec::new() };
    let new = match step.after.map(|object| &object.fields) {
        Some(Fields::Service { selector }) => Some(selector),
        _ => None,
    };
    let left = |target: &Target, labels: &Labels| {
        let subset = step.state.subset_labels(target);
        let known = target.subset.is_none() || subset.is_some_and(|wanted| within(wanted, labels));
        known && within(old, labels) && new.is_none_or(|new| !within(new, labels))
    };
    let mut found = Vec::new();
    for target in step.state.weighted().filter(|target| target.service == before.name) {
        let Some(ago) = too_soon(step, step.state.since_weight(target)) else { continue };
        // Whoever takes the Service away as a whole, after its routes, wants no requests.
        if new.is_none() && !step.state.has_weight(target) {
            continue;
        }
        if !old.is_empty() && step.state.workload_labels().any(|labels| left(target, labels)) {
            let why = format!(
                "the Service {} no longer selects pods of {target}, and {}",
                before.name,
                last("it has weight", ago)
            );
            let new = new.map_or_else(|| "gone".to_owned(), in_words);
            found.push(step.violation(Rule::SelectorLeft, in_words(old), new, why));
        }
    }
    found
}

fn too_soon(step: &Step<'_>, since: Option<SignedDuration>) -> Option<SignedDuration> {
    since.filter(|since| *since < step.propagation() || since.is_zero())
}

fn last(what: &str, ago: SignedDuration) -> String {
    if ago.is_zero() { what.to_owned() } else { format!("{} ago {what}", millis(ago)) }
}

fn size(object: &Object) -> i64 {
    match &object.fields {
        Fields::Deployment { replicas, .. } => *replicas,
        _ => 0,
    }
}

fn in_words(labels: &Labels) -> String {
    let parts: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    parts.join(",")
}
