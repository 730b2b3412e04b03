//! Invariant 2: who may carry weight. A raise is a promotion of what is complete, or a failover to what is ready.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Move, Rule, Step, Violation, state::millis};
use crate::invariants::model::{Target, Weights};

/// What became of targets so far.
#[derive(Default)]
pub(super) struct Memory {
    /// When they lost their weight.
    lost: BTreeMap<Target, Timestamp>,
    /// The most that each ever had of a route.
    most: BTreeMap<(String, Target), i64>,
}

impl Memory {
    /// What is made anew under the same name has lost nothing yet.
    pub(super) fn forget(&mut self) {
        self.lost.clear();
        self.most.clear();
    }

    pub(super) fn check(&mut self, step: &Step<'_>, moves: &[Move<'_>]) -> Vec<Violation> {
        if step.after.is_none_or(|object| step.state.doomed(object)) {
            return Vec::new();
        }
        let known = || moves.iter().filter(|it| it.before.is_some());
        let found = known().flat_map(|it| self.raised(step, it).into_iter().chain(self.held_out(step, it))).collect();
        for (target, _) in
            known().flat_map(Move::changes).filter(|(target, by)| *by < 0 && lost_all(step, target, moves))
        {
            self.lost.insert(target.clone(), step.state.now);
        }
        for it in moves {
            for (target, weight) in it.before.iter().flatten().chain(&it.after) {
                let most = self.most.entry((it.route.key.clone(), target.clone())).or_default();
                *most = (*most).max(*weight);
            }
        }
        found
    }

    /// It had as much before, its ready pods carry that part of it, and there is a rollout that may be given up: the status
    /// that says so follows the route.
    fn has_back(&self, step: &Step<'_>, it: &Move<'_>, target: &Target) -> bool {
        let owner = step.after.and_then(|object| object.owner.as_deref());
        if !owner.is_some_and(|owner| step.state.walks(owner)) {
            return false;
        }
        let most = self.most.get(&(it.route.key.clone(), target.clone())).copied().unwrap_or_default();
        let (ready, wanted) = step.state.available(target);
        wanted > 0 && it.weight(target) * wanted <= most * ready
    }

    /// A raise of what is not complete is at most what lost versions give up, or what it had and still carries.
    fn raised(&self, step: &Step<'_>, it: &Move<'_>) -> Vec<Violation> {
        let state = step.state;
        let owner = step.after.and_then(|object| object.owner.as_deref());
        if it.route.matched && owner.is_some_and(|owner| state.holds(owner, &it.route.key)) {
            return Vec::new();
        }
        let incomplete: Vec<(&Target, i64)> = it
            .raises()
            .filter(|(target, _)| state.has_service(&target.service) && !state.is_complete(target))
            .filter(|(target, _)| !self.has_back(step, it, target))
            .collect();
        let needed: i64 = incomplete.iter().map(|(_, by)| by).sum();
        let given_up: i64 = it.changes().filter(|(target, by)| *by < 0 && state.lost(target)).map(|(_, by)| -by).sum();
        let route = &it.route.key;
        let mut found = Vec::new();
        for (target, by) in incomplete {
            let (rule, why) = if !state.answered(target) {
                (Rule::RaisedSilent, "has no ready endpoint")
            } else if needed > given_up {
                (Rule::PromotedIncomplete, "is not complete, and no version lost as much")
            } else {
                continue;
            };
            let (before, after) = it.words();
            let why =
                format!("{target} was raised by {by} in the route {route}, but {why}: {}", state.describe(target));
            found.push(step.violation(rule, before, after, why));
        }
        found
    }

    /// A version that lost its weight stays without for a while, unless nothing else can serve.
    fn held_out(&self, step: &Step<'_>, it: &Move<'_>) -> Vec<Violation> {
        let held = |target: &Target| {
            let since = step.state.now.duration_since(*self.lost.get(target)?);
            (since < step.settings.hold_out.saturating_sub(step.settings.slack)).then_some(since)
        };
        let empty = Weights::new();
        let in_route = |target: &Target| {
            !it.route.matched
                || it.before.as_ref().unwrap_or(&empty).contains_key(target)
                || it.after.contains_key(target)
        };
        let serves = |target: &&Target| {
            let known = step.state.age(target).is_none_or(|age| age >= step.settings.propagation);
            step.state.answers(target) && known && step.state.restarts(target) == 0 && held(target).is_none()
        };
        let mut found = Vec::new();
        for (target, _) in it.raises() {
            let Some(since) = held(target) else { continue };
            let Some(other) = step.state.others(target).filter(|other| in_route(other)).find(serves) else { continue };
            let (before, after) = it.words();
            let why = format!(
                "{target} lost its weight {} ago and gets some again in the route {}, although {other} can serve",
                millis(since),
                it.route.key
            );
            found.push(step.violation(Rule::RaisedHeldOut, before, after, why));
        }
        found
    }
}

/// Whether nothing is left to a version because it cannot serve, and not because somebody wants it so. One that never did
/// is yet to start.
fn lost_all(step: &Step<'_>, target: &Target, moves: &[Move<'_>]) -> bool {
    let enough = step.state.pod_count(target).div_ceil(10).max(1);
    let silent = !step.state.answers(target) && step.state.has_answered(target);
    let cannot = silent || step.state.restarts(target) >= enough;
    cannot && moves.iter().all(|it| it.weight(target) == 0)
}
