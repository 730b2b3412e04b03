//! Where a rollout begins: from which weights, and which it goes back to when it is aborted. Pure.

use serde_json::{Value, json};

use crate::{
    api::{HookCall, RolloutState, RolloutStatus},
    observe::Weights,
    plan::{
        resources::digest::digest,
        rollout::{line, version::time, weight_of},
    },
    validate::Step,
};

use super::{Situation, calls::untold};

/// Digits of a target's digest.
const TARGET_LENGTH: usize = 10;
/// Digits of the digest of the steps that are done.
const WALKED_LENGTH: usize = 6;

impl Situation<'_> {
    /// What the rollout leads to. Sizes are no part of it, so that an autoscaler neither retries nor restarts one.
    pub(super) fn target(&self) -> String {
        let asked = self.parties.iter().filter(|party| party.requested > 0);
        let parts: Vec<_> = asked.map(|party| json!([party.name, party.requested, party.template])).collect();
        digest(&json!(parts), TARGET_LENGTH)
    }

    /// The status as it was, or that of a new rollout when the spec leads elsewhere.
    pub(super) fn begin(&self) -> RolloutStatus {
        let target = self.target();
        let requested = self.requested();
        let current = self.current();
        let handled = self.old.map(|old| old.handled.clone()).unwrap_or_default();
        let calls: Vec<HookCall> = self.old.into_iter().flat_map(untold).cloned().collect();
        let completed = || RolloutStatus {
            state: RolloutState::Completed,
            target: target.clone(),
            step: self.steps(),
            stable: requested.clone(),
            handled: handled.clone(),
            calls: calls.clone(),
            ..RolloutStatus::default()
        };
        let started = |from: Weights, stable: Weights| RolloutStatus {
            target: target.clone(),
            progressed_at: Some(time(self.now)),
            began: Some(time(self.now)),
            from,
            stable,
            previous: self.old.map(|old| old.previous.clone()).unwrap_or_default(),
            handled: handled.clone(),
            calls: calls.clone(),
            ..RolloutStatus::default()
        };
        let Some(old) = self.old else {
            let there = self.current.is_none() || current == requested;
            return if there { completed() } else { started(current.clone(), current) };
        };
        let exists = |name: &String| self.party(name).is_some_and(|party| party.exists);
        // What somebody goes back to may never have come up: what serves meanwhile is what is gone back to then.
        let before = if old.meanwhile.is_empty() { &old.stable } else { &old.meanwhile };
        let stable = if before.keys().all(exists) { before.clone() } else { current.clone() };
        if old.target == target {
            if self.has_other_steps(old) {
                // A person or a failure paused it, and no edit of the steps takes that back.
                let why = old.message.clone().filter(|_| old.state == RolloutState::Paused);
                let state = if why.is_some() { RolloutState::Paused } else { RolloutState::Progressing };
                let from = self.without_losses(old, self.asked_for(old, &requested));
                let again = self.measured_first(old, started(from, stable));
                return RolloutStatus { state, message: why, ..again };
            }
            let walked = old.promoted_fully || old.state == RolloutState::Completed;
            let step = if walked { self.steps() } else { old.step.min(self.steps()) };
            let status = self.at_its_step(RolloutStatus { step, ..old.clone() });
            return if self.waits_no_more(&status) { self.released(status) } else { status };
        }
        let is_superseded = || {
            self.parties.iter().any(|party| {
                let raised = weight_of(&current, party.name) > weight_of(&stable, party.name);
                raised && (party.requested == 0 || party.changed)
            })
        };
        let promoted = old.state == RolloutState::Completed;
        // It may have all that is requested by standing in for another one, or by a step, and be another one by now.
        if current == requested && (promoted || !is_superseded()) {
            // What serves already is nothing to go back to.
            let known = [Some(before).filter(|_| !promoted), Some(&old.previous)].into_iter().flatten();
            let previous = known.into_iter().find(|before| **before != requested).cloned().unwrap_or_default();
            return RolloutStatus { previous, ..completed() };
        }
        let back = promoted && self.returns && requested == old.previous && requested.keys().all(exists);
        let known = self.in_window(&requested);
        if stable == requested {
            // Pods of another kind do not carry what those of before did.
            let is_known = self.parties.iter().all(|party| party.requested == 0 || !party.changed);
            let from = if promoted || !is_known { Weights::new() } else { current.clone() };
            return RolloutStatus { from, previous: old.previous.clone(), ..completed() };
        }
        if back || (known && promoted) {
            return RolloutStatus { meanwhile: stable, ..completed() };
        }
        // What was on its way gives back what it has, and does not wait for the one that is known to be good.
        if known {
            return RolloutStatus { step: self.steps(), promoted_fully: true, ..started(stable.clone(), stable) };
        }
        let returns = old.state == RolloutState::Aborted || (!promoted && is_superseded());
        if returns {
            return started(stable.clone(), stable);
        }
        let gave = if promoted { old.stable.clone() } else { self.asked_for(old, &old.to) };
        let from = self.without_losses(&started(current, stable.clone()), gave);
        self.measured_first(old, started(from, stable))
    }

    /// From weights that versions got by the steps of before, the first raise waits for the analysis of these, too. What has
    /// no requests yet cannot be measured.
    fn measured_first(&self, old: &RolloutStatus, status: RolloutStatus) -> RolloutStatus {
        let served = |status: &RolloutStatus| {
            let mut raised = self.raised(status).peekable();
            raised.peek().is_some() && raised.all(|party| weight_of(&status.from, party.name) > 0)
        };
        if self.policy.analysis.is_none() || old.weights_since.is_none() || !served(&status) {
            return status;
        }
        RolloutStatus {
            step_since: Some(time(self.now)),
            weights_since: old.weights_since.clone(),
            waits_for: Some("its analysis".to_owned()),
            ..status
        }
    }

    /// It waited for a promotion as the step said, which the step says no more.
    fn waits_no_more(&self, status: &RolloutStatus) -> bool {
        let by_step = status.state == RolloutState::Paused && status.message.is_none();
        by_step && !matches!(self.step(status), Some(Step::Pause(None)))
    }

    /// Lets the step that it is at begin now.
    fn released(&self, status: RolloutStatus) -> RolloutStatus {
        let since = Some(time(self.now));
        RolloutStatus { state: RolloutState::Progressing, step_since: since.clone(), progressed_at: since, ..status }
    }

    /// What the steps asked for on the way to these weights.
    fn asked_for(&self, old: &RolloutStatus, requested: &Weights) -> Weights {
        let percent = old.percent.unwrap_or_default();
        if old.kept.is_empty() { line::point(&old.from, requested, percent) } else { old.kept.clone() }
    }

    /// Steps before the current one were taken out or put in: it is counted from the first one that asks for the weights in
    /// force, so that none is skipped.
    fn at_its_step(&self, status: RolloutStatus) -> RolloutStatus {
        let walks = status.state.is_under_way() && status.step_since.is_some() && !status.promoted_fully;
        let known = status.walked.as_ref().filter(|_| walks);
        if known.is_none_or(|walked| *walked == self.walked(status.step)) {
            return status;
        }
        let begun = |step: i32| RolloutStatus {
            state: if status.message.is_none() { RolloutState::Progressing } else { status.state },
            step,
            step_since: Some(time(self.now)),
            progressed_at: Some(time(self.now)),
            waits_for: None,
            step_analysis: None,
            ..status.clone()
        };
        let there = (0..=status.step).map(begun).find(|it| Some(self.percent(it)) == status.percent);
        there.unwrap_or(status)
    }

    /// What the steps before this one are, as a digest.
    pub(super) fn walked(&self, step: i32) -> String {
        let done = self.policy.steps.iter().take(usize::try_from(step).unwrap_or_default());
        let steps: Vec<Value> = done.map(essence).collect();
        digest(&json!(steps), WALKED_LENGTH)
    }

    /// The policy's steps were edited on the way, and where it is they ask for another weight than they did.
    pub(super) fn has_other_steps(&self, old: &RolloutStatus) -> bool {
        let walks = old.state.is_under_way() && !old.promoted_fully;
        walks && old.percent.is_some_and(|percent| percent != self.percent(old))
    }
}

/// What tells a step from others beside it.
fn essence(step: &Step) -> Value {
    match step {
        Step::Weight(percent) => json!(["weight", percent]),
        Step::Pause(length) => json!(["pause", length.map(|length| length.to_string())]),
        Step::Match(_) => json!(["match"]),
        Step::Mirror(percent) => json!(["mirror", percent]),
        Step::Scale(_) => json!(["scale"]),
        Step::Analysis(_) => json!(["analysis"]),
    }
}
