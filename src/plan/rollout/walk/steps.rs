//! From step to step. Pure.

use crate::{
    api::{RolloutState, RolloutStatus},
    plan::rollout::{version::time, weight_of},
    validate::Step,
};

use super::Situation;

impl Situation<'_> {
    /// Goes on for as many steps as are reached already.
    pub(super) fn advance(&self, status: &mut RolloutStatus) {
        if status.step_since.is_none() {
            if !self.raised(status).all(|party| party.admitted) {
                return;
            }
            self.begin_step(status);
        }
        while let Some(step) = self.step(status) {
            match step {
                Step::Weight(_) if self.reached(status) => self.pass(status),
                Step::Pause(Some(_)) if self.pause_ends(status).is_some_and(|at| at <= self.now) => self.pass(status),
                Step::Pause(None) => {
                    status.state = RolloutState::Paused;
                    status.message = None;
                    return;
                }
                Step::Weight(_) | Step::Pause(Some(_)) => return,
            }
        }
        if self.reached(status) {
            status.state = RolloutState::Completed;
            status.message = None;
            status.previous = std::mem::take(&mut status.stable);
            status.stable = self.requested();
            status.from.clear();
            status.promoted_fully = false;
            (status.step_since, status.progressed_at) = (None, None);
        }
    }

    /// Ends the current step.
    pub(in super::super) fn pass(&self, status: &mut RolloutStatus) {
        status.step = (status.step + 1).min(self.steps());
        self.begin_step(status);
    }

    pub(super) fn begin_step(&self, status: &mut RolloutStatus) {
        status.step_since = Some(time(self.now));
        status.progressed_at = Some(time(self.now));
    }

    /// Every version that is being raised carries what the step gives it. What the others carry may differ while
    /// one of them cannot serve: a sick stable version must not hold its successor up.
    pub(super) fn reached(&self, status: &RolloutStatus) -> bool {
        let aims = self.aims(status);
        let current = self.current();
        self.raised(status).all(|party| weight_of(&current, party.name) >= weight_of(&aims, party.name))
    }

    pub(in super::super) fn steps(&self) -> i32 {
        i32::try_from(self.policy.steps.len()).unwrap_or(i32::MAX)
    }

    pub(super) fn step(&self, status: &RolloutStatus) -> Option<&Step> {
        self.policy.steps.get(usize::try_from(status.step).ok()?)
    }
}
