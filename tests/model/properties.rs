//! What must hold over every reconciliation, by the model's own clock and its own view of the pods.

use jiff::{SignedDuration, Timestamp};
use microservice_operator::{
    api::{MicroserviceStatus, Provider, RolloutState, RolloutStatus},
    observe::Weights,
    validate::{Step, Validated},
};

use crate::{
    caches::Decision,
    findings::Measured,
    flaps,
    hand_over::HandOver,
    hooks::Called,
    lab::{DRAIN, Lab, PROPAGATION},
    state::{FORGIVEN, Runs, State},
    writes::Written,
};

pub fn check(lab: &Lab, before: &State, decision: &Decision, after: &State, written: Written) -> Result<(), String> {
    let transition = Transition { lab, before, decision, after };
    transition.routes_lead_somewhere()?;
    transition.break_comes_last()?;
    if let Some(rollout) = &decision.plan.rollout {
        transition.weights_in_force_have_their_pods(rollout)?;
        transition.pods_stay_within_the_budget(rollout)?;
        transition.what_was_told_lasts(rollout)?;
    }
    if written.told {
        transition.the_status_tells_the_weights()?;
    }
    let several = decision.plan.traffic.iter().all(|entry| entry.effective < 100);
    HandOver { service: transition.service(), several, before, after }.check()?;
    if !written.routed || after.route.is_none() {
        return Ok(());
    }
    transition.only_the_able_are_raised()?;
    transition.only_as_much_is_given_as_pods_carry()?;
    transition.only_the_able_are_favoured()?;
    if transition.crosses() {
        return Ok(());
    }
    transition.the_lost_carry_nothing()?;
    let Some(rollout) = &decision.plan.rollout else { return Ok(()) };
    transition.weights_are_monotonic(rollout)?;
    transition.an_aborted_rollout_rests(rollout)?;
    transition.no_step_is_exceeded(rollout)?;
    transition.a_paused_rollout_rests(rollout)?;
    transition.answers_decide(rollout)
}

/// One reconciliation.
pub struct Transition<'a> {
    pub lab: &'a Lab,
    pub before: &'a State,
    pub decision: &'a Decision,
    pub after: &'a State,
}

pub fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

pub fn of(weights: &Weights, version: &str) -> i32 {
    weights.get(version).copied().unwrap_or_default()
}

impl Transition<'_> {
    /// The weights do not travel on the way from one provider to the other: they stand still until the mesh has learnt of
    /// them, or go back to where they were before the rollout.
    fn crosses(&self) -> bool {
        let entered = self.after.status.provider_since.as_ref();
        let young = |since: Timestamp| self.after.now.duration_since(since) < PROPAGATION;
        self.service().provider == Provider::None
            || self.before.pin.is_some()
            || self.before.seen_status().provider == Some(Provider::None)
            || entered.is_some_and(|since| young(since.0))
    }

    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.after.seen.keys()
    }

    pub fn was(&self, version: &str) -> i32 {
        self.before.weight(version)
    }

    pub fn is(&self, version: &str) -> i32 {
        self.after.weight(version)
    }

    /// The spec that the operator saw. What it cannot know of yet counts as asked for later.
    pub fn service(&self) -> &Validated {
        &self.lab.specs[self.decision.spec].service
    }

    /// The pods of a version as the operator sees them: of what its cache does not have yet it cannot know.
    fn pods_of(&self, version: &str) -> Option<&Runs> {
        self.before.lag.pods.as_ref().unwrap_or(&self.after.runs).get(version)
    }

    /// The Deployment is complete, in the size that was written now, as far as the operator sees.
    fn complete(&self, version: &str) -> bool {
        let Some(is) = self.after.runs.get(version) else { return false };
        let seen = self.before.lag.deployments.as_ref().map_or(Some(is), |older| older.get(version));
        seen.is_some_and(|seen| {
            Runs { replicas: is.replicas, ..seen.clone() }.complete() && seen.template == is.template
        })
    }

    /// It was complete before, as far as the operator saw.
    fn was_complete(&self, version: &str) -> bool {
        self.before.lag.deployments.as_ref().unwrap_or(&self.before.runs).get(version).is_some_and(Runs::complete)
    }

    pub fn requested(&self, version: &str) -> i32 {
        self.service().version(version).map_or(0, |version| version.weight)
    }

    /// It cannot serve, or may have been judged so for its restarts.
    pub fn ill(&self, version: &str) -> bool {
        self.pods_of(version).is_none_or(|runs| runs.ill(self.after.now))
    }

    /// The mesh has known its subset long enough.
    fn known(&self, version: &str) -> bool {
        let since = self.after.seen.get(version).and_then(|seen| seen.subset);
        since.is_some_and(|since| self.after.now.duration_since(since) >= PROPAGATION)
    }

    fn held(&self, version: &str) -> bool {
        let memories = self.decision.status.traffic.iter().chain(&self.before.status.traffic);
        let until = memories.filter(|entry| entry.version == version).filter_map(|entry| entry.held_until.as_ref());
        until.into_iter().any(|until| until.0 > self.after.now)
    }

    fn may_be_raised(&self, version: &str) -> bool {
        self.complete(version) && self.known(version) && !self.ill(version) && !self.held(version)
    }

    /// Another version had weight that it cannot carry.
    pub fn others_fail(&self, version: &str) -> bool {
        self.names().any(|other| other != version && self.was(other) > 0 && self.ill(other))
    }

    pub fn after_a_loss(&self) -> bool {
        self.after.unrest.is_some_and(|at| self.after.now.duration_since(at) < FORGIVEN)
            || self.decision.status.traffic.iter().any(|entry| entry.losses > 0)
    }

    /// The plan before was about the same rollout, and nobody has asked for anything since.
    fn goes_on(&self, rollout: &RolloutStatus) -> bool {
        self.before.target.as_ref() == Some(&rollout.target) && self.before.orders.is_empty()
    }

    /// Weights before the rollout, which its completion replaces.
    pub fn stable<'a>(&'a self, rollout: &'a RolloutStatus) -> &'a Weights {
        let old = self.before.seen_status().rollout.as_ref().filter(|old| old.target == rollout.target);
        &old.unwrap_or(rollout).stable
    }

    /// Versions that the rollout gives more than they had before it.
    fn raised<'a>(&'a self, rollout: &'a RolloutStatus) -> impl Iterator<Item = &'a String> {
        let stable = self.stable(rollout);
        self.names().filter(move |name| self.requested(name) > of(stable, name))
    }

    /// What the rollout's step gives a version, in hundredths of a percent.
    fn given(&self, rollout: &RolloutStatus, version: &str) -> i32 {
        let steps = &self.service().rollout.as_ref().unwrap().steps;
        let begun = usize::try_from(rollout.step).unwrap() + usize::from(rollout.waits_for.is_none());
        let weights = steps.iter().take(begun).filter_map(|step| match step {
            Step::Weight(percent) => Some(*percent),
            _ => None,
        });
        let percent = match rollout.step_since {
            None => 0,
            Some(_) if begun > steps.len() => 100,
            Some(_) => weights.max().unwrap_or_default(),
        };
        of(&rollout.from, version) * (100 - percent) + self.requested(version) * percent
    }

    fn routes_lead_somewhere(&self) -> Result<(), String> {
        let Some(route) = &self.after.route else { return Ok(()) };
        let sum: i32 = route.values().sum();
        ensure(sum == 100, || format!("the weights sum to {sum}"))?;
        for (name, lane) in &self.after.lanes {
            let sum: i32 = lane.values().sum();
            ensure(sum == 100, || format!("the weights of {name} sum to {sum}"))?;
        }
        for name in &self.after.referred() {
            ensure(self.after.subsets.contains(name), || format!("{name} is referred to and has no subset"))?;
            let pods = self.pods(self.after, name);
            // What is created leads to the version that is to get everything, though its Deployment may be refused.
            let served = self.before.route.is_some() && !self.before.referred().contains(name);
            let never = self.pods(self.before, name) == 0 && !served;
            ensure(pods > 0 || never, || format!("{name} is referred to and is to have no pods"))?;
        }
        Ok(())
    }

    /// What steps give beside the weights goes to complete versions of a rollout that is under way.
    fn only_the_able_are_favoured(&self) -> Result<(), String> {
        for name in self.names().filter(|name| self.after.favours(name)) {
            let ready = self.pods_of(name).is_some_and(|runs| runs.ready > 0);
            ensure(ready, || format!("{name} is favoured without a ready pod"))?;
            // The same plan may give it more pods, for what it is to carry next.
            let able = self.before.favours(name) || (self.was_complete(name) && self.known(name));
            ensure(able, || format!("{name} is favoured, and was not complete and known to the mesh"))?;
            let rollout = self.decision.plan.rollout.as_ref();
            let wanted = rollout.is_some_and(|rollout| {
                let under_way = rollout.state.is_under_way();
                under_way && rollout.step_since.is_some() && self.requested(name) > of(&rollout.stable, name)
            });
            ensure(wanted, || format!("{name} is favoured, and no rollout raises it"))?;
        }
        Ok(())
    }

    /// Except where the route is a first one: there was none, or what it led to does not exist, as its Deployment was
    /// refused.
    fn only_the_able_are_raised(&self) -> Result<(), String> {
        let nobody = !self.before.runs.keys().any(|name| self.was(name) > 0);
        if self.before.route.is_none() || nobody {
            return Ok(());
        }
        for name in self.names().filter(|name| self.is(name) > self.was(name)) {
            let ready = self.pods_of(name).is_some_and(|runs| runs.ready > 0);
            ensure(ready, || format!("{name} was raised without a ready pod"))?;
            // By a limit of pods, the same plan may give it more, for what it is to carry next.
            let was_complete = self.limit().is_some() && self.was_complete(name);
            let able = was_complete || self.complete(name) || self.others_fail(name) || self.has_back(name);
            ensure(able, || format!("{name} was raised, is not complete, and no other version had failed"))?;
            let known = self.was(name) > 0 || self.known(name);
            ensure(known, || format!("{name} was raised before the mesh had its subset for long enough"))?;
        }
        Ok(())
    }

    /// The rollout is given up, and the version had as much before it, of which its ready pods carry that part.
    fn has_back(&self, version: &str) -> bool {
        let Some(rollout) = &self.decision.plan.rollout else { return false };
        let ready = self.pods_of(version).map_or(0, |runs| runs.ready);
        let wanted = self.after.runs.get(version).map_or(0, |runs| runs.replicas);
        let before = match rollout.state {
            RolloutState::Aborted if !rollout.meanwhile.is_empty() => &rollout.meanwhile,
            RolloutState::Aborted => &rollout.stable,
            RolloutState::Completed if !rollout.from.is_empty() => &rollout.stable,
            _ => return false,
        };
        self.is(version) * wanted <= of(before, version) * ready
    }

    fn break_comes_last(&self) -> Result<(), String> {
        let long = |since: Option<Timestamp>, length: SignedDuration| {
            since.is_none_or(|since| self.after.now.duration_since(since) >= length)
        };
        for (name, _) in self.before.runs.iter().filter(|(name, _)| !self.after.runs.contains_key(*name)) {
            let seen = self.after.seen.get(name).cloned().unwrap_or_default();
            let referred = self.before.referred().contains(name) || self.after.referred().contains(name);
            ensure(!referred, || format!("{name} was deleted while requests went to it"))?;
            // Without routes nobody is sent to a subset.
            let routed = self.before.route.is_some() || !long(self.before.route_gone, PROPAGATION);
            let quiet = seen.subset.is_none() && long(seen.forgotten, PROPAGATION);
            ensure(self.before.pin.as_ref() != Some(name), || {
                format!("{name} was deleted while the Service selects it")
            })?;
            ensure(quiet || !routed, || format!("{name} was deleted before the mesh had forgotten it"))?;
        }
        let routed = self.before.route.is_some();
        for name in self.before.subsets.difference(&self.after.subsets).filter(|_| routed) {
            let idle = self.before.seen.get(name).and_then(|seen| seen.idle);
            let quiet = !self.before.referred().contains(name) && long(idle, DRAIN);
            ensure(quiet, || format!("the subset {name} was removed before it had drained"))?;
        }
        Ok(())
    }

    fn the_lost_carry_nothing(&self) -> Result<(), String> {
        let dead = |name: &String| self.pods_of(name).is_none_or(|runs| runs.ready == 0);
        // The operator must have seen it for as long: a time that it lost counts from now.
        let noted = |name: &String| {
            let mut memories = self.decision.status.traffic.iter().filter(|entry| entry.version == *name);
            let since = memories.find_map(|entry| entry.subset_since.as_ref());
            since.is_some_and(|since| self.after.now.duration_since(since.0) >= PROPAGATION)
        };
        let rescuer = self.names().find(|name| !self.ill(name) && self.known(name) && noted(name));
        let Some(rescuer) = rescuer else { return Ok(()) };
        let stuck = self.names().find(|name| self.is(name) > 0 && dead(name));
        ensure(stuck.is_none(), || format!("{stuck:?} kept weight without a ready pod, though {rescuer} can serve"))
    }

    fn weights_are_monotonic(&self, rollout: &RolloutStatus) -> Result<(), String> {
        if !self.goes_on(rollout) || self.after_a_loss() || rollout.state == RolloutState::Aborted {
            return Ok(());
        }
        let mut raised = self.raised(rollout);
        // One that has not begun goes to where its steps begin, as soon as the pods allow it.
        let old = self.before.seen_status().rollout.as_ref();
        let begun = old.is_some_and(|old| old.step_since.is_some());
        let start = |name: &str| if begun { i32::MAX } else { of(&rollout.from, name) };
        // One that begins while another's weights have not come back yet falls to what its steps give.
        let given = |name: &str| self.given(rollout, name) / 100;
        let floor = |name: &str| self.was(name).min(self.requested(name)).min(start(name)).min(given(name));
        let fallen = raised.find(|name| self.is(name) < floor(name));
        ensure(fallen.is_none(), || format!("{fallen:?} is being raised and fell, though nothing was lost"))
    }

    fn an_aborted_rollout_rests(&self, rollout: &RolloutStatus) -> Result<(), String> {
        if rollout.state != RolloutState::Aborted {
            return Ok(());
        }
        let mut raised = self.raised(rollout);
        let more = |name: &str| self.is(name) > self.was(name).max(of(&rollout.stable, name));
        let risen = raised.find(|name| more(name) && !self.others_fail(name));
        ensure(risen.is_none(), || format!("{risen:?} was raised, though the rollout is aborted"))
    }

    fn no_step_is_exceeded(&self, rollout: &RolloutStatus) -> Result<(), String> {
        if !rollout.state.is_under_way() {
            return Ok(());
        }
        for name in self.raised(rollout) {
            let given = self.given(rollout, name);
            let exceeds = self.is(name) * 100 >= given + 100;
            let others_wait = || self.names().any(|other| other != name && !self.may_be_raised(other));
            // By a limit of pods, the others may not have those yet that they need to get the weight back.
            let kept = self.is(name) <= self.was(name) && (self.limit().is_some() || others_wait());
            ensure(!exceeds || kept || self.others_fail(name), || {
                format!("{name} got {}, but its step gives it {}.{:02}", self.is(name), given / 100, given % 100)
            })?;
        }
        Ok(())
    }

    fn a_paused_rollout_rests(&self, rollout: &RolloutStatus) -> Result<(), String> {
        let old = self.before.seen_status().rollout.as_ref();
        let paused = |rollout: &RolloutStatus| rollout.state == RolloutState::Paused;
        let rests = old.is_some_and(|old| paused(old) && old.target == rollout.target) && paused(rollout);
        if !rests || !self.goes_on(rollout) || self.after_a_loss() {
            return Ok(());
        }
        // Before its first step, the weight of what it superseded still goes back to where its steps begin.
        let begun = rollout.step_since.is_some();
        let starts = |name: &str| !begun && self.is(name) == of(&rollout.from, name);
        // By a limit of pods, what goes back to the others may wait for pods while the step is reached.
        let goes_back = self.limit().is_some() && self.raised(rollout).all(|name| self.is(name) <= self.was(name));
        // After a crash in the middle of another rollout, it comes back to where it was.
        let returned = |name: &String| (self.is(name) * 100 - self.given(rollout, name)).abs() < 100;
        let goes_back = goes_back || self.raised(rollout).all(returned);
        let moved = self.names().find(|name| self.is(name) != self.was(name) && !starts(name) && !goes_back);
        ensure(moved.is_none(), || format!("the weight of {moved:?} moved, though the rollout is paused"))
    }

    /// A status that told the weights in force goes on to tell them, whatever could not be written.
    fn the_status_tells_the_weights(&self) -> Result<(), String> {
        let told = |state: &State, status: &MicroserviceStatus| {
            let wrong = status.traffic.iter().find(|entry| entry.effective != state.weight(&entry.version));
            wrong.map(|entry| format!("{} has {}", entry.version, state.weight(&entry.version)))
        };
        let before = self.before;
        let routed = before.route.is_some() && self.after.route.is_some();
        if !routed || told(before, before.seen_status()).is_some() {
            return Ok(());
        }
        let wrong = told(self.after, &self.after.status);
        ensure(wrong.is_none(), || format!("{wrong:?}, and the status tells another weight"))
    }

    /// What somebody was told to be aborted or paused stays so until something else is asked for. A status that the
    /// operator has not heard to be written may be replaced, as whoever asked was not answered yet.
    fn what_was_told_lasts(&self, new: &RolloutStatus) -> Result<(), String> {
        let (before, state) = (self.before, new.state);
        let old = before.status.rollout.as_ref().filter(|old| old.target == new.target);
        let Some(old) = old.filter(|_| before.orders.is_empty() && !before.lag.unheard) else { return Ok(()) };
        let lasts = match old.state {
            RolloutState::Aborted => state == RolloutState::Aborted,
            // The pause of a step is over where no mesh carries what the steps gave: they begin anew.
            RolloutState::Paused if self.crosses() && old.message.is_none() => true,
            RolloutState::Paused => matches!(state, RolloutState::Paused | RolloutState::Aborted),
            RolloutState::Progressing | RolloutState::Completed => true,
        };
        ensure(lasts, || format!("nobody asked for anything, and what was {:?} is {state:?}", old.state))
    }

    fn answers_decide(&self, new: &RolloutStatus) -> Result<(), String> {
        let Some(policy) = &self.service().rollout else { return Ok(()) };
        let old = self.before.seen_status().rollout.as_ref().filter(|old| old.target == new.target);
        let Some(old) = old else { return Ok(()) };
        if self.goes_on(new) && old.state.is_under_way() {
            flaps::check(self.before, old, new, &self.raised(new).collect::<Vec<_>>())?;
        }
        let risen = self.raised(new).filter(|name| self.is(name) > self.was(name) && !self.others_fail(name));
        let risen: Vec<_> = risen.collect();
        let (before, after) = (self.before, self.after);
        // Nobody is asked about the weights that the steps begin with, nor when all that is requested is in force.
        let mut higher =
            risen.iter().copied().filter(|name| self.is(name) > of(&old.stable, name).max(of(&old.from, name)));
        let promoted = higher.clone().find(|name| self.is(name) >= self.requested(name));
        let in_lane = |name: &&String| self.after.favours(name) && !self.before.favours(name);
        let favoured = higher.next().or_else(|| {
            let mut able = self.raised(new).filter(|name| self.is(name) < self.requested(name));
            able.find(in_lane)
        });
        Called { policy, before, old, new, favoured, promoted }.check(self.goes_on(new))?;
        Measured { policy, before, after, old, new, risen }.check(self.goes_on(new))
    }
}
