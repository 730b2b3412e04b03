//! What webhooks must do to a rollout, by the model's own notes of what they answered.

use std::collections::{BTreeMap, BTreeSet};

use microservice_operator::{
    api::{ActionResult, Moment, RolloutState, RolloutStatus, Verb},
    plan::inquiry::{Call, Question},
    validate::Policy,
};

use crate::{
    caches::Decision,
    desk::{Entry, Says},
    state::State,
};

#[derive(Clone, Debug, Default)]
pub struct Hooks {
    /// What was answered last before each moment of one try, as far as the operator wrote down that it knows of it.
    pub answers: BTreeMap<Moment, Says>,
    /// Answers that were noted and are still on the desk.
    pub noted: BTreeSet<String>,
    /// Of which rollouts the end is yet to be told.
    pub owed: BTreeSet<(Moment, String)>,
}

impl Hooks {
    /// Notes whom an answer reached. Whatever it says, the end was told.
    pub fn hear(&mut self, entry: &Entry, says: Says) {
        if let (Question::Call(call), Says::Yes | Says::No) = (&entry.inquiry.question, says) {
            self.owed.remove(&(call.moment, call.target.clone()));
        }
    }
}

impl State {
    /// Notes the answers that the operator has just written down, and whom it now owes an end. `before` is the rollout
    /// as it was written before.
    pub fn note_calls(&mut self, before: Option<&RolloutStatus>, decision: &Decision, policy: Option<&Policy>) {
        let (Some(new), Some(policy)) = (&self.status.rollout, policy) else { return };
        let tells = |moment: Moment| policy.webhooks.iter().any(|hook| hook.at.contains(&moment));
        let taken_back = before.filter(|before| {
            let is_back = new.state == RolloutState::Completed && new.stable == before.stable;
            is_back && before.state.is_under_way() && before.target != new.target
        });
        let taken_back = taken_back.filter(|_| tells(Moment::OnRollback));
        self.hooks.owed.extend(taken_back.map(|before| (Moment::OnRollback, before.target.clone())));
        let Some(before) = before.filter(|before| before.target == new.target) else {
            // While the answers to the tries before are still on the desk, nobody is asked about the same once more.
            self.hooks.answers =
                calls(self, &new.target, &BTreeSet::new()).map(|(_, call, says)| (call.moment, says)).collect();
            return;
        };
        let moment = match new.state {
            RolloutState::Aborted if before.state != RolloutState::Aborted => Some(Moment::OnRollback),
            RolloutState::Completed if before.state.is_under_way() => Some(Moment::AfterRollout),
            _ => None,
        };
        let moment = moment.filter(|moment| tells(*moment));
        self.hooks.owed.extend(moment.map(|moment| (moment, new.target.clone())));
        if !new.state.is_under_way() {
            self.hooks.answers.clear();
            return;
        }
        let promoted = self.orders.iter().any(|order| {
            order.verb == Verb::Promote
                && decision.plan.answers.iter().any(|it| it.uid == order.uid && it.result == ActionResult::Done)
        });
        if promoted {
            self.hooks.answers.values_mut().filter(|says| **says == Says::No).for_each(|says| *says = Says::Yes);
        }
        let answered = calls(self, &new.target, &self.hooks.noted);
        let answered: Vec<_> =
            answered.map(|(entry, call, says)| (entry.inquiry.id.clone(), call.moment, says)).collect();
        for (id, moment, says) in answered {
            self.hooks.noted.insert(id);
            self.hooks.answers.insert(moment, says);
        }
        self.hooks.noted.retain(|id| self.desk.has(id));
    }

    /// What was noted with the status that the cache has.
    fn seen_hooks(&self) -> &Hooks {
        self.lag.microservice.as_ref().filter(|_| self.lag.unheard).map_or(&self.hooks, |older| &older.hooks)
    }
}

/// Calls about a rollout that were answered, and that the next plan sees for the first time.
fn calls<'a>(
    state: &'a State,
    target: &'a str,
    noted: &'a BTreeSet<String>,
) -> impl Iterator<Item = (&'a Entry, &'a Call, Says)> {
    let new = state.desk.answered().filter(|(entry, _)| !noted.contains(&entry.inquiry.id));
    new.filter_map(move |(entry, says)| match &entry.inquiry.question {
        Question::Call(call) if call.target == target => Some((entry, &**call, says)),
        _ => None,
    })
}

/// A plan for the rollout that is written down already.
pub struct Called<'a> {
    pub policy: &'a Policy,
    pub before: &'a State,
    pub old: &'a RolloutStatus,
    pub new: &'a RolloutStatus,
    /// A version that gets more requests than before, though nothing failed elsewhere.
    pub favoured: Option<&'a String>,
    /// One that gets all that is requested for it.
    pub promoted: Option<&'a String>,
}

impl Called<'_> {
    /// `goes_on` is whether nobody has asked for anything.
    pub fn check(&self, goes_on: bool) -> Result<(), String> {
        self.gates_hold()?;
        if !goes_on || self.old.state != RolloutState::Progressing {
            return Ok(());
        }
        let gates = [Moment::BeforeRollout, Moment::BeforeTraffic, Moment::BeforePromotion];
        let refused = calls(self.before, &self.new.target, &self.before.seen_hooks().noted)
            .find(|(_, call, says)| *says == Says::No && gates.contains(&call.moment));
        let stops = matches!(self.new.state, RolloutState::Paused | RolloutState::Aborted);
        if let Some((_, call, _)) = refused.filter(|_| !stops) {
            return Err(format!("{:?} was refused, and the rollout is {:?}", call.moment, self.new.state));
        }
        let says = self.new.message.as_ref().is_some_and(|message| message.contains(" refused"));
        if says && refused.is_none() {
            return Err(format!("nobody refused, and the rollout is {:?}", self.new.state));
        }
        Ok(())
    }

    /// Nothing goes to new versions before who was to be asked agreed, or somebody promoted all the same.
    fn gates_hold(&self) -> Result<(), String> {
        let asks = |verb: Verb| self.before.orders.iter().any(|order| order.verb == verb);
        if self.old.promoted_fully || asks(Verb::PromoteFull) {
            return Ok(());
        }
        let mut known = self.before.seen_hooks().answers.clone();
        if asks(Verb::Promote) {
            known.values_mut().filter(|says| **says == Says::No).for_each(|says| *says = Says::Yes);
        }
        known.extend(
            calls(self.before, &self.new.target, &self.before.seen_hooks().noted)
                .map(|(_, call, says)| (call.moment, says)),
        );
        let traffic = [Moment::BeforeRollout, Moment::BeforeTraffic].map(|moment| (moment, self.favoured));
        for (moment, name) in traffic.into_iter().chain([(Moment::BeforePromotion, self.promoted)]) {
            let asked = self.policy.webhooks.iter().any(|hook| hook.at.contains(&moment));
            if let Some(name) = name.filter(|_| asked && known.get(&moment) != Some(&Says::Yes)) {
                return Err(format!("{name} got more, and {moment:?} says {:?}", known.get(&moment)));
            }
        }
        Ok(())
    }
}
