//! Webhooks of the walk: those that are asked before the weights go up, and those that are told what happened. Pure.
//!
//! A call is planned until its answer is seen, and its id depends on nothing but the rollout: after a crash the same
//! call is made again, with the same key.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::{
    api::{CallResult, Hook, HookCall, Moment, RolloutState, RolloutStatus},
    observe::Weights,
    plan::{
        inquiry::{Call, Finding, Inquiry, Question, Verdict},
        rollout::{version::time, weight_of},
    },
    validate::{Step, digest::digest},
};

use super::{Situation, gates::Held, steps::done};

/// Digits of an id.
const ID_LENGTH: usize = 16;
/// Time after which a webhook that gave no answer is called again; it doubles for one that is only told.
const AGAIN: SignedDuration = SignedDuration::from_mins(1);
/// How often it doubles.
const DOUBLINGS: u32 = 5;
/// The longest time after which a webhook is called again.
pub const MAX_AGAIN: SignedDuration = SignedDuration::from_mins(1 << DOUBLINGS);
/// Somebody who could not be told so often is given up.
const GIVEN_UP: i32 = 8;
/// Somebody may be told so much at most; the oldest goes.
const UNTOLD: usize = 24;
/// Why a rollout went back that neither failed nor was aborted.
const TAKEN_BACK: &str = "the spec asks for the weights before the rollout again";

impl Situation<'_> {
    /// Notes what webhooks answered. A refusal pauses the rollout.
    pub(super) fn hear(&self, status: &mut RolloutStatus) {
        status.calls.retain(|call| !is_told(call.at) || self.hook_of(call).is_some());
        let answered: Vec<(HookCall, &Result<Finding, String>)> = self
            .asked(status)
            .into_iter()
            .chain(untold(status).cloned())
            .filter_map(|call| Some((call.clone(), self.answer(&call)?)))
            .collect();
        let mut refusals = Vec::new();
        for (call, answer) in answered {
            status.calls.retain(|known| known.id != call.id);
            if let Some(noted) = noted(call, answer, self.now) {
                refusals.extend((noted.result == Some(CallResult::Refused)).then(|| refusal(&noted)));
                status.calls.push(noted);
            }
        }
        // Whoever promotes then overrules them all.
        if !refusals.is_empty() && status.state == RolloutState::Progressing {
            self.pause(status, refusals.join("; "));
        }
    }

    fn answer(&self, call: &HookCall) -> Option<&Result<Finding, String>> {
        let id = inquiry_id(call);
        self.replies.iter().find(|reply| reply.id == id).map(|reply| &reply.finding)
    }

    /// A promotion by a person overrules who refused.
    pub(in super::super) fn overrule(&self, status: &mut RolloutStatus) {
        for call in status.calls.iter_mut().filter(|call| call.result == Some(CallResult::Refused)) {
            call.result = Some(CallResult::Overruled);
        }
    }

    /// Every webhook of the moments that have come must have passed. What somebody promotes fully is not held.
    pub(super) fn webhook_gate(&self, status: &RolloutStatus) -> Option<Held> {
        let call = self.missing(status).into_iter().next()?;
        let at = format!("the webhook {} ({:?})", call.webhook, call.at);
        let Some(again) = call.again_at.as_ref() else { return Some(Held { waits_for: at, until: None }) };
        let why = call.message.as_deref().unwrap_or_default();
        let again_at = again.0.strftime("%H:%M:%S UTC");
        let waits_for = format!("{at}, which has not agreed: {why}; it is asked again at {again_at}");
        Some(Held { waits_for, until: Some(again.0) })
    }

    /// The calls of the first moment that has come and is not passed.
    fn missing(&self, status: &RolloutStatus) -> Vec<HookCall> {
        if status.promoted_fully {
            return Vec::new();
        }
        let passed = self.policy.steps.iter().take(done(status));
        let first = !passed.into_iter().any(gives_requests);
        let last = match self.step(status) {
            None => true,
            Some(Step::Weight(percent)) => self.gives_all(status, *percent),
            Some(_) => false,
        };
        let moments = [(Moment::BeforeRollout, first), (Moment::BeforeTraffic, first), (Moment::BeforePromotion, last)];
        let come = moments.into_iter().filter(|(_, come)| *come).map(|(moment, _)| moment);
        let missing = |moment| {
            let calls = self.hooks(moment).map(|hook| self.gate_call(status, hook, moment));
            let passes = |call: &HookCall| matches!(call.result, Some(CallResult::Passed | CallResult::Overruled));
            calls.filter(|call| !passes(call)).collect::<Vec<_>>()
        };
        come.map(missing).find(|calls| !calls.is_empty()).unwrap_or_default()
    }

    /// Whether a step gives each version all that is requested for it: of little, a part of the way may be the whole.
    fn gives_all(&self, status: &RolloutStatus, percent: i32) -> bool {
        let (point, requested) = (self.point(status, percent), self.requested());
        let mut rising = requested.iter().filter(|(name, asked)| **asked > weight_of(&status.from, name)).peekable();
        percent >= 100 || (rising.peek().is_some() && rising.all(|(name, asked)| weight_of(&point, name) >= *asked))
    }

    /// The calls that hold the rollout and that nobody has answered yet.
    fn asked(&self, status: &RolloutStatus) -> Vec<HookCall> {
        if status.state != RolloutState::Progressing || status.held.is_some() {
            return Vec::new();
        }
        let mut calls = self.missing(status);
        let ahead = |call: &HookCall| call.at == Moment::BeforeRollout || status.waits_for.is_some();
        let first_in_line = |call: &HookCall| call.at == Moment::BeforeRollout || self.other_gates(status).is_none();
        calls.retain(|call| ahead(call) && first_in_line(call));
        calls
    }

    fn hooks(&self, moment: Moment) -> impl Iterator<Item = &Hook> {
        self.policy.webhooks.iter().filter(move |hook| hook.at.contains(&moment))
    }

    fn hook_of(&self, call: &HookCall) -> Option<&Hook> {
        self.hooks(call.at).find(|hook| hook.webhook == call.webhook)
    }

    /// A call as the status has it, or as it is before it is made.
    fn gate_call(&self, status: &RolloutStatus, hook: &Hook, at: Moment) -> HookCall {
        let call = self.call(status, hook, at);
        status.calls.iter().find(|known| known.id == call.id).cloned().unwrap_or(call)
    }

    fn call(&self, status: &RolloutStatus, hook: &Hook, at: Moment) -> HookCall {
        let uid = &self.service.identity.uid;
        let key = json!([uid, status.target, status.began, hook.webhook, format!("{at:?}")]);
        HookCall {
            id: format!("call-{}", digest(&key, ID_LENGTH)),
            webhook: hook.webhook.clone(),
            at,
            target: status.target.clone(),
            result: None,
            failures: 0,
            again_at: None,
            message: None,
        }
    }

    /// Notes whom to tell that the rollout has just ended.
    pub(super) fn tell(&self, status: &mut RolloutStatus) {
        let Some(old) = self.old else { return };
        let goes_on = old.target == status.target;
        let taken_back = || !goes_on && old.state.is_under_way() && old.stable == status.stable;
        let (ended, moment, message) = match status.state {
            RolloutState::Completed if taken_back() => (old, Moment::OnRollback, Some(TAKEN_BACK.to_owned())),
            RolloutState::Completed if goes_on && old.state.is_under_way() => {
                (&*status, Moment::AfterRollout, status.message.clone())
            }
            RolloutState::Aborted if goes_on && old.state != RolloutState::Aborted => {
                (&*status, Moment::OnRollback, status.message.clone())
            }
            _ => return,
        };
        let call = |hook: &Hook| HookCall { message: message.clone(), ..self.call(ended, hook, moment) };
        let calls: Vec<HookCall> = self.hooks(moment).map(call).collect();
        status.calls.retain(|call| is_told(call.at));
        for call in calls {
            if !status.calls.iter().any(|known| known.id == call.id) {
                status.calls.push(call);
            }
        }
        let surplus = status.calls.len().saturating_sub(UNTOLD);
        status.calls.drain(..surplus);
    }

    /// What is to be asked now.
    pub(super) fn called(&self, status: &RolloutStatus) -> Vec<Inquiry> {
        let calls = self.asked(status).into_iter().chain(untold(status).cloned());
        calls.filter(|call| is_due(call, self.now)).filter_map(|call| self.inquiry(status, &call)).collect()
    }

    /// When a webhook is called again.
    pub(super) fn next_call(&self, status: &RolloutStatus) -> Option<Timestamp> {
        let calls = self.asked(status).into_iter().chain(untold(status).cloned());
        calls.filter_map(|call| call.again_at.map(|at| at.0)).filter(|at| *at > self.now).min()
    }

    fn inquiry(&self, status: &RolloutStatus, call: &HookCall) -> Option<Inquiry> {
        let hook = self.hook_of(call)?;
        let identity = &self.service.identity;
        // Who is told late of an earlier rollout is told no numbers of the one that goes on now.
        let of_another = call.target != status.target;
        let numbers = |weights: Weights| if of_another { Weights::new() } else { weights };
        let question = Call {
            webhook: call.webhook.clone(),
            key: if is_told(call.at) { call.id.clone() } else { inquiry_id(call) },
            moment: call.at,
            namespace: identity.namespace.clone(),
            service: identity.name.clone(),
            uid: identity.uid.clone(),
            target: call.target.clone(),
            step: if of_another { 0 } else { status.step },
            weights: numbers(self.current()),
            requested: numbers(self.requested()),
            stable: numbers(status.stable.clone()),
            message: call.message.clone().filter(|_| is_told(call.at)),
            parameters: hook.parameters.clone(),
            event: None,
        };
        Some(Inquiry { id: inquiry_id(call), question: Question::Call(Box::new(question)) })
    }
}

/// Whether new versions got requests with this step.
fn gives_requests(step: &Step) -> bool {
    matches!(step, Step::Weight(1..) | Step::Match(_) | Step::Mirror(1..))
}

/// Whether the webhook is only told of the moment.
fn is_told(moment: Moment) -> bool {
    matches!(moment, Moment::AfterRollout | Moment::OnRollback)
}

fn is_due(call: &HookCall, now: Timestamp) -> bool {
    call.again_at.as_ref().is_none_or(|at| at.0 <= now)
}

/// Those that are yet to be told.
pub(super) fn untold(status: &RolloutStatus) -> impl Iterator<Item = &HookCall> {
    status.calls.iter().filter(|call| is_told(call.at))
}

/// Each further attempt is an inquiry of its own.
fn inquiry_id(call: &HookCall) -> String {
    format!("{}-{}", call.id, call.failures)
}

fn refusal(call: &HookCall) -> String {
    let said = call.message.as_deref().filter(|said| !said.is_empty());
    let said = said.map(|said| format!(": {said}")).unwrap_or_default();
    format!("the webhook {} ({:?}) refused{said}", call.webhook, call.at)
}

/// A call after its answer; None when nothing is left to remember of it.
fn noted(call: HookCall, answer: &Result<Finding, String>, now: Timestamp) -> Option<HookCall> {
    let told = is_told(call.at);
    match answer {
        Ok(Finding::Called(_)) if told => None,
        Ok(Finding::Called(Verdict::Passed)) => {
            Some(HookCall { result: Some(CallResult::Passed), again_at: None, message: None, ..call })
        }
        Ok(Finding::Called(Verdict::Refused(said))) => {
            let message = Some(said.clone());
            Some(HookCall { result: Some(CallResult::Refused), again_at: None, message, ..call })
        }
        Ok(Finding::Measured(_)) => Some(call),
        Err(_) if told && call.failures + 1 >= GIVEN_UP => None,
        Err(why) => {
            let doublings = if told { u32::try_from(call.failures).unwrap_or(0).min(DOUBLINGS) } else { 0 };
            let again = now.checked_add(AGAIN.saturating_mul(1 << doublings)).unwrap_or(now);
            Some(HookCall {
                failures: call.failures + 1,
                again_at: Some(time(again)),
                result: call.result.or(Some(CallResult::Failed)).filter(|_| !told),
                message: if told { call.message.clone() } else { Some(why.clone()) },
                ..call
            })
        }
    }
}
