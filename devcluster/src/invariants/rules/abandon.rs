//! Invariant 2, its other half: weight does not stay where nobody answers while another version could.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    Rule, Settings, Step, Violation,
    state::{State, millis, words},
};
use crate::invariants::model::{Target, Weights};

/// Weight where nobody answers.
struct Abandoned {
    since: Timestamp,
    weights: Weights,
    other: Target,
    told: bool,
}

/// A VirtualService's name, a route's key and the target that does not answer.
type Of = (String, String, Target);

#[derive(Default)]
pub(super) struct Memory {
    abandoned: BTreeMap<Of, Abandoned>,
}

impl Memory {
    /// Notes where weight lies idle after a revision. A route for some requests may be kept on purpose.
    pub(super) fn note(&mut self, state: &State, settings: &Settings) {
        let mut idle = BTreeMap::new();
        for (object, routes) in state.virtual_services() {
            for route in routes.iter().filter(|route| !route.matched) {
                let weights = route.weights();
                let silent = weights.iter().filter(|(target, weight)| {
                    **weight > 0 && state.has_service(&target.service) && !state.answers(target)
                });
                for (target, _) in silent {
                    if let Some(other) = state.others(target).find(|other| can_serve(state, settings, other)) {
                        let of = (object.name.clone(), route.key.clone(), target.clone());
                        idle.insert(of, (weights.clone(), other.clone()));
                    }
                }
            }
        }
        self.abandoned.retain(|of, _| idle.contains_key(of));
        for (of, (weights, other)) in idle {
            self.abandoned.entry(of).or_insert(Abandoned { since: state.now, weights, other, told: false });
        }
    }

    pub(super) fn check(&mut self, step: &Step<'_>) -> Vec<Violation> {
        let mut found = Vec::new();
        for ((name, route, target), it) in self.abandoned.iter_mut().filter(|(_, it)| !it.told) {
            let lasts = step.state.now.duration_since(it.since);
            if lasts > step.settings.failover_within.saturating_add(step.settings.slack) {
                it.told = true;
                let why = format!(
                    "the route {route} has led weight to {target} for {}, which has no ready endpoint ({}), while {} has",
                    millis(lasts),
                    step.state.describe(target),
                    it.other
                );
                let mut violation = step.violation(Rule::LeftSilent, words(&it.weights), words(&it.weights), why);
                violation.object = format!("VirtualService {name}");
                found.push(violation);
            }
        }
        found
    }
}

fn can_serve(state: &State, settings: &Settings, target: &Target) -> bool {
    let known = state.age(target).is_none_or(|age| age >= settings.propagation);
    let calm_since = state.now.saturating_sub(settings.hold_out).unwrap_or(state.now);
    known && state.answers(target) && state.restarts_since(target, calm_since) == 0
}
