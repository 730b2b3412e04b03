//! Pauses, timed ones of the policy and those that wait for a person: the weights stay where they are. Pure.

use jiff::Timestamp;

use crate::{
    api::{RolloutState, RolloutStatus},
    observe::Weights,
    plan::rollout::{settle::share, weight_of},
    validate::Step,
};

use super::{Situation, after};

impl Situation<'_> {
    /// Pauses, with the weights where they are: a step that was not reached yet stays so.
    pub(in super::super) fn pause(&self, status: &mut RolloutStatus, why: String) {
        if status.step_since.is_some() && !self.pausing(status) && !self.reached(status) {
            status.kept = self.kept(status);
        }
        status.state = RolloutState::Paused;
        status.message = Some(why);
    }

    /// The weights in force, without what a loss gave to versions that are being raised.
    pub(super) fn kept(&self, status: &RolloutStatus) -> Weights {
        self.without_losses(status, self.aims(status))
    }

    /// The weights in force, but no more for versions that are being raised than was aimed at.
    pub(super) fn without_losses(&self, status: &RolloutStatus, aims: Weights) -> Weights {
        let current = self.current();
        let least = |name: &str| weight_of(&current, name).min(weight_of(&aims, name));
        let mut kept: Weights = self
            .raised(status)
            .map(|party| (party.name.to_owned(), least(party.name)))
            .filter(|(_, w)| *w > 0)
            .collect();
        let rest = 100 - kept.values().sum::<i32>();
        let raised: Vec<&str> = self.raised(status).map(|party| party.name).collect();
        let others = |weights: &Weights| -> Weights {
            let others = weights.iter().filter(|(name, weight)| !raised.contains(&name.as_str()) && **weight > 0);
            others.map(|(name, weight)| (name.clone(), *weight)).collect()
        };
        let Some(others) = [others(&current), others(&status.from)].into_iter().find(|it| !it.is_empty()) else {
            return aims;
        };
        let shares: Vec<i32> = others.values().copied().collect();
        kept.extend(others.into_keys().zip(share(rest, &shares)));
        kept
    }

    /// The current step is a pause, and it has begun.
    pub(in super::super) fn pausing(&self, status: &RolloutStatus) -> bool {
        status.step_since.is_some() && status.waits_for.is_none() && matches!(self.step(status), Some(Step::Pause(_)))
    }

    /// When the timed pause that is under way is over.
    pub(super) fn pause_ends(&self, status: &RolloutStatus) -> Option<Timestamp> {
        let Some(Step::Pause(Some(length))) = self.step(status).filter(|_| self.pausing(status)) else { return None };
        after(status.step_since.as_ref()?.0, *length)
    }
}
