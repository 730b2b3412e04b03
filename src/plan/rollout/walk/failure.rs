//! What ends a rollout before its end: a version that is being raised fails, or is not ready for too long. Pure.

use jiff::Timestamp;

use crate::{
    api::{OnFailure, RolloutState, RolloutStatus},
    validate::{Policy, Step},
};

use super::{Party, Situation, after, relapses::relapsed, steps::current, time, weight_of};

impl Situation<'_> {
    /// A version that is being raised and fails ends the rollout, and so does one that is not ready for a step in time.
    pub(super) fn judge(&self, status: &mut RolloutStatus) {
        if status.step_since.is_some() {
            self.count_relapses(status);
        }
        if let Some(why) = self.failing(status, |party| party.fault.clone().or_else(|| relapsed(party, status))) {
            return self.fail(status, why);
        }
        if self.deadline(status).is_some_and(|at| at <= self.now) {
            let late: Vec<_> = self.raised(status).filter(|party| !self.ready(party, status)).collect();
            // Nothing is wrong with the versions: nobody was there to take the step or to ask for the pods, or could write it.
            let had_time = |party: &Party<'_>| {
                let restarted = party.restarted_at > status.progressed_at.as_ref().map(|since| since.0);
                let held_out = party.held && party.steady && !restarted;
                self.refused || (!self.first && !held_out && self.is_asked(party, status))
            };
            if !late.iter().any(|party| had_time(party)) {
                status.progressed_at = Some(time(self.now));
                return;
            }
            let late: Vec<String> = late
                .iter()
                .map(|party| match &party.trouble {
                    Some(trouble) => format!("{} is not ready: {trouble}", party.name),
                    None => format!("{} is not ready", party.name),
                })
                .collect();
            let limit = self.policy.progress_deadline;
            self.fail(status, format!("the step was not reached within {limit}: {}", late.join(", ")));
        }
    }

    /// Why one of the versions fails that have got requests by this rollout or the one before it.
    pub(in super::super) fn failing(
        &self,
        status: &RolloutStatus,
        fault: impl Fn(&Party<'_>) -> Option<String>,
    ) -> Option<String> {
        let has_some = |name: &str| weight_of(&status.from, name) > weight_of(&status.stable, name);
        let begun = |party: &&Party<'_>| status.step_since.is_some() || has_some(party.name);
        // One that is to run no pods, as the service is scaled to zero, does not fail by having none, nor while those come up
        // that it is to have again: for these it has until the deadline.
        let mut judged = self.raised(status).filter(|party| party.whole > 0 && !party.unproved).filter(begun);
        judged.find_map(|party| Some(format!("{} {}", party.name, fault(party)?)))
    }

    /// No deadline counts while a version that is being raised is to run no pods: a service may be scaled to zero for a night.
    pub(super) fn keep_time(&self, status: &mut RolloutStatus) {
        let sleeps = self.raised(status).any(|party| party.whole == 0);
        match &status.progressed_at {
            Some(_) if sleeps => status.progressed_at = None,
            None if !sleeps => status.progressed_at = Some(time(self.now)),
            _ => {}
        }
    }

    pub(super) fn fail(&self, status: &mut RolloutStatus, why: String) {
        match self.policy.on_failure {
            OnFailure::Rollback => {
                status.state = RolloutState::Aborted;
                status.message = Some(why);
            }
            OnFailure::RollbackBySteps => {
                status.state = RolloutState::Aborted;
                status.message = Some(why);
                self.turn_back(status);
            }
            OnFailure::Pause if status.state == RolloutState::Progressing => self.pause(status, why),
            OnFailure::Pause => {
                // What the step waits for was known, and this was not.
                status.message.get_or_insert(why);
            }
        }
    }

    pub(super) fn deadline(&self, status: &RolloutStatus) -> Option<Timestamp> {
        deadline(self.policy, status)
    }
}

/// When a version that is not ready for the current step has failed; None while nothing has to be reached: the rollout is
/// held, or in a pause or an analysis.
pub fn deadline(policy: &Policy, status: &RolloutStatus) -> Option<Timestamp> {
    let lasts = matches!(current(policy, status), Some(Step::Pause(_) | Step::Analysis(_)));
    let waits = (lasts && status.step_since.is_some()) || status.waits_for.is_some() || status.held.is_some();
    if waits || status.state != RolloutState::Progressing {
        return None;
    }
    after(status.progressed_at.as_ref()?.0, policy.progress_deadline)
}
