//! From step to step. Pure.

use crate::{
    api::{AnalysisRun, RolloutState, RolloutStatus},
    plan::rollout::{version::time, weight_of},
    validate::{Policy, Step},
};

use super::Situation;

impl Situation<'_> {
    /// Goes on for as many steps as are reached already.
    pub(super) fn advance(&self, status: &mut RolloutStatus) {
        if status.step_since.is_none() {
            if !self.ready_for_it(status) {
                // Its pods were ready before, and something else was waited for.
                if status.waits_for.take().is_some() {
                    status.progressed_at = Some(time(self.now));
                }
                return;
            }
            self.enter(status);
        } else if status.waits_for.is_some() {
            self.enter(status);
        }
        while status.waits_for.is_none()
            && let Some(step) = self.step(status)
        {
            let done = match step {
                Step::Weight(_) => self.reached(status),
                Step::Match(_) | Step::Mirror(_) | Step::Scale(_) => self.ready_for_it(status),
                Step::Pause(Some(_)) => self.pause_ends(status).is_some_and(|at| at <= self.now),
                Step::Pause(None) => {
                    status.state = RolloutState::Paused;
                    status.message = None;
                    false
                }
                Step::Analysis(_) => self.uncounted(status).is_none(),
            };
            if !done {
                return;
            }
            self.pass(status);
        }
        if status.waits_for.is_some() {
            return;
        }
        if self.reached(status) {
            status.state = RolloutState::Completed;
            status.message = None;
            let before = std::mem::replace(&mut status.stable, self.requested());
            // What was undone and is in force again leaves what is gone back to as it was.
            if before != status.stable {
                status.previous = before;
            }
            status.from.clear();
            status.promoted_fully = false;
            (status.step_since, status.progressed_at, status.weights_since) = (None, None, None);
            (status.analysis, status.step_analysis) = (None, None);
            status.relapses.clear();
        }
    }

    /// Every version that is being raised may be, with the pods that it is to have now.
    fn ready_for_it(&self, status: &RolloutStatus) -> bool {
        self.raised(status).all(|party| self.ready(party, status))
    }

    /// Ends the current step.
    pub(in super::super) fn pass(&self, status: &mut RolloutStatus) {
        if matches!(self.step(status), Some(Step::Weight(1..))) {
            status.weights_since = Some(time(self.now));
            if self.policy.analysis.is_some() && status.analysis.is_none() {
                status.analysis = Some(AnalysisRun::new(time(self.now)));
            }
        }
        status.step = (status.step + 1).min(self.steps());
        self.enter(status);
    }

    /// Begins the current step, unless its time has not come, or it gives requests to new versions and a gate holds it.
    fn enter(&self, status: &mut RolloutStatus) {
        let raises = match self.step(status) {
            None | Some(Step::Weight(_) | Step::Match(_) | Step::Mirror(1..)) => true,
            Some(Step::Pause(_) | Step::Analysis(_) | Step::Mirror(_) | Step::Scale(_)) => false,
        };
        let gate = || if raises { self.held(status).map(|held| held.waits_for) } else { None };
        // Somebody may end a pause while the rollout is held.
        status.waits_for = self.closed(status).or_else(gate);
        if status.waits_for.is_none() {
            self.begin_step(status);
        }
    }

    fn begin_step(&self, status: &mut RolloutStatus) {
        status.step_since = Some(time(self.now));
        status.progressed_at = Some(time(self.now));
        status.step_analysis = None;
        self.run_analysis(status);
    }

    /// Begins the analysis that the current step is, unless it has begun.
    pub(super) fn run_analysis(&self, status: &mut RolloutStatus) {
        if matches!(self.step(status), Some(Step::Analysis(_))) {
            status.step_analysis.get_or_insert_with(|| AnalysisRun::new(time(self.now)));
        }
    }

    /// Every version that is being raised carries what the step gives it, and at the end no more if it began with more than is
    /// requested. What the others carry may differ while one of them cannot serve: a sick stable version must not hold its
    /// successor up.
    pub(super) fn reached(&self, status: &RolloutStatus) -> bool {
        let aims = self.aims(status);
        let (current, last) = (self.current(), self.step(status).is_none());
        self.raised(status).all(|party| {
            let (now, aim) = (weight_of(&current, party.name), weight_of(&aims, party.name));
            let lowered = last && weight_of(&status.from, party.name) > party.requested;
            now >= aim && (now <= aim || !lowered)
        })
    }

    pub(in super::super) fn steps(&self) -> i32 {
        i32::try_from(self.policy.steps.len()).unwrap_or(i32::MAX)
    }

    pub(super) fn step(&self, status: &RolloutStatus) -> Option<&Step> {
        current(self.policy, status)
    }
}

/// How many steps are done.
pub(super) fn done(status: &RolloutStatus) -> usize {
    usize::try_from(status.step).unwrap_or_default()
}

/// How many steps are done, and the current one unless it waits to begin.
pub(super) fn begun(status: &RolloutStatus) -> usize {
    done(status) + usize::from(status.waits_for.is_none())
}

/// The step that the rollout is at; None after the last one.
pub(super) fn current<'a>(policy: &'a Policy, status: &RolloutStatus) -> Option<&'a Step> {
    policy.steps.get(usize::try_from(status.step).ok()?)
}
