//! The way back of a rollout that failed, through the weights of its steps in reverse. Pure.

use jiff::Timestamp;

use crate::{
    api::{RolloutState, RolloutStatus},
    plan::rollout::{version::time, weight_of},
    validate::Step,
};

use super::Situation;

impl Situation<'_> {
    /// Begins the way back, with the steps that were begun. What has no weight yet has no way to go.
    pub(super) fn turn_back(&self, status: &mut RolloutStatus) {
        status.back = self.below(status, self.percent(status) + 1);
        status.step_since = Some(time(self.now));
    }

    /// Goes to the next lower step, when the one before is reached and the mesh has had time to learn of it. A version
    /// that lost more than that is not given weight again.
    pub(super) fn go_back(&self, status: &mut RolloutStatus) {
        let Some(at) = status.back.filter(|_| status.state == RolloutState::Aborted) else {
            status.back = None;
            return;
        };
        let current = self.current();
        let point = self.point(status, at);
        let lost = self.raised(status).any(|party| weight_of(&current, party.name) < weight_of(&point, party.name));
        let due = self.reached_back(status, at) && self.due(status).is_none_or(|due| due <= self.now);
        if lost || due {
            status.back = self.below(status, at);
            status.step_since = Some(time(self.now));
        }
    }

    /// When time alone takes the way back further.
    pub(super) fn back_at(&self, status: &RolloutStatus) -> Option<Timestamp> {
        let at = status.back.filter(|_| status.state == RolloutState::Aborted)?;
        self.due(status).filter(|_| self.reached_back(status, at))
    }

    fn due(&self, status: &RolloutStatus) -> Option<Timestamp> {
        status.step_since.as_ref()?.0.checked_add(self.propagation).ok()
    }

    /// No version that was being raised has more than this step gave it.
    fn reached_back(&self, status: &RolloutStatus, percent: i32) -> bool {
        let (current, point) = (self.current(), self.point(status, percent));
        self.raised(status).all(|party| weight_of(&current, party.name) <= weight_of(&point, party.name))
    }

    /// The largest weight of a step below this one that takes weight from a version that was being raised.
    fn below(&self, status: &RolloutStatus, percent: i32) -> Option<i32> {
        let weights = self.policy.steps.iter();
        let weights = weights.filter_map(|step| if let Step::Weight(weight) = step { Some(*weight) } else { None });
        weights.filter(|weight| (1..percent).contains(weight) && !self.reached_back(status, *weight)).max()
    }
}
