//! A limit of pods: what a rollout may have of them, and what they carry.

use microservice_operator::{
    api::{RolloutState, RolloutStatus},
    validate::{Size, model::part},
};

use crate::{
    properties::{Transition, ensure, of},
    state::State,
};

impl Transition<'_> {
    pub fn limit(&self) -> Option<Size> {
        self.service().rollout.as_ref()?.max_surge
    }

    pub fn pods(&self, of: &State, version: &str) -> i32 {
        of.runs.get(version).map_or(0, |runs| runs.replicas)
    }

    /// Pods that a version needs for a weight; None for one that takes no part in the rollout, or is not in the spec.
    fn needed(&self, rollout: &RolloutStatus, version: &str, weight: i32) -> Option<i32> {
        let whole = self.service().version(version)?.replicas;
        let full = self.requested(version).max(of(self.stable(rollout), version));
        (full > 0).then(|| part(whole, weight, full).min(whole))
    }

    /// By a limit of pods, none goes that the mesh may still send requests to.
    pub fn weights_in_force_have_their_pods(&self, rollout: &RolloutStatus) -> Result<(), String> {
        if self.limit().is_none() || rollout.state == RolloutState::Completed {
            return Ok(());
        }
        for name in self.names().filter(|name| self.pods(self.after, name) < self.pods(self.before, name)) {
            let weight = self.before.in_force(name).max(self.is(name));
            let (pods, needed) = (self.pods(self.after, name), self.needed(rollout, name, weight).unwrap_or_default());
            ensure(pods >= needed, || {
                format!("{name} shrinks to {pods} pods and needs {needed} for a weight of {weight}")
            })?;
        }
        Ok(())
    }

    pub fn only_as_much_is_given_as_pods_carry(&self) -> Result<(), String> {
        let limited = self.limit().is_some() && self.before.route.is_some();
        let Some(rollout) = self.decision.plan.rollout.as_ref().filter(|_| limited) else {
            return Ok(());
        };
        for name in self.names().filter(|name| self.is(name) > self.was(name) && !self.others_fail(name)) {
            let (pods, needed) =
                (self.pods(self.before, name), self.needed(rollout, name, self.is(name)).unwrap_or_default());
            ensure(pods >= needed, || format!("{name} was raised with {pods} pods and needs {needed}"))?;
        }
        Ok(())
    }

    /// Unless a version has failed, or needs more for its weight as its size was edited. Rounding may take as many pods
    /// more as there are versions. One that is to be raised gets its first pod even while pods beyond the budget cannot be
    /// given back yet, as the mesh may still send requests to them.
    pub fn pods_stay_within_the_budget(&self, rollout: &RolloutStatus) -> Result<(), String> {
        let failed = self.after_a_loss() || self.names().any(|name| self.was(name) > 0 && self.ill(name));
        let Some(limit) = self.limit().filter(|_| rollout.state != RolloutState::Completed && !failed) else {
            return Ok(());
        };
        let taking_part = || {
            self.names().chain(self.after.runs.keys()).filter_map(|name| Some((name, self.needed(rollout, name, 0)?)))
        };
        let names: std::collections::BTreeSet<&String> = taking_part().map(|(name, _)| name).collect();
        let sum = |pods: &dyn Fn(&String) -> i32| names.iter().map(|name| pods(name)).sum::<i32>();
        let needed = |name: &String, weight| self.needed(rollout, name, weight).unwrap_or_default();
        let whole =
            sum(&|name| needed(name, of(&rollout.stable, name))).max(sum(&|name| needed(name, self.requested(name))));
        let budget = whole + limit.of(whole).max(i32::try_from(names.len()).unwrap());
        let was = sum(&|name| self.pods(self.before, name).max(needed(name, self.was(name))));
        let is = sum(&|name| self.pods(self.after, name));
        let first = sum(&|name| i32::from(self.pods(self.before, name) == 0 && self.pods(self.after, name) == 1));
        ensure(is <= budget.max(was + first), || {
            format!("there are {is} pods, and there were or had to be {was}, with a budget of {budget}")
        })
    }
}
