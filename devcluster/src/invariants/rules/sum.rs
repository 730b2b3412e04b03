//! Invariant 1: the weights of a route sum to exactly 100.

use super::{Rule, Step, Violation, state::words};
use crate::invariants::model::{Fields, Weights};

pub(super) fn check(step: &Step<'_>) -> Vec<Violation> {
    let Some(Fields::VirtualService { routes }) = step.after.map(|it| &it.fields) else { return Vec::new() };
    let mut found = Vec::new();
    for route in routes.iter().filter(|route| !route.shares.is_empty()) {
        let weights = route.weights();
        let sum: i64 = weights.values().sum();
        let negative = route.shares.iter().any(|share| share.weight.is_some_and(|weight| weight < 0));
        if sum != 100 || negative {
            let before = match step.before.map(|it| &it.fields) {
                Some(Fields::VirtualService { routes }) => routes.iter().find(|it| it.key == route.key),
                _ => None,
            };
            let before = words(&before.map(super::Route::weights).unwrap_or_else(Weights::new));
            let why = if negative {
                format!("a weight of the route {} is negative", route.key)
            } else {
                format!("the weights of the route {} sum to {sum}, not to 100", route.key)
            };
            found.push(step.violation(Rule::Sum, before, words(&weights), why));
        }
    }
    found
}
