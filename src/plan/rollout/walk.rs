//! The walk along a rollout's steps: one transition, from how far it came and what is seen now to what the weights
//! should be and how far that is. Pure.
//!
//! It only says what to aim at: [`mod@super::settle`] still gives no version more than it can carry.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::{
    api::{OnFailure, RolloutState, RolloutStatus},
    observe::Weights,
    plan::resources::digest::digest,
    validate::{Policy, Step},
};

use super::{line, orders, settle::share, version::time, weight_of};
pub use orders::{Answer, Order};

/// Digits of a target's digest.
const TARGET_LENGTH: usize = 10;

/// A version as the walk sees it.
#[derive(Clone, Debug)]
pub struct Party<'a> {
    pub name: &'a str,
    pub requested: i32,
    /// Digest of its pods' settings; None for a version that was removed from the spec.
    pub template: Option<String>,
    /// Its pods are no longer the ones that the status remembers.
    pub changed: bool,
    /// It has a Deployment.
    pub exists: bool,
    /// It may be raised.
    pub admitted: bool,
    /// Why it cannot carry what it has; None while it can.
    pub fault: Option<String>,
    /// Why it is not ready yet, in the cluster's words.
    pub trouble: Option<String>,
}

/// Everything that one transition depends on.
pub struct Situation<'a> {
    pub policy: &'a Policy,
    /// Going back to what served before the last rollout is at once, as long as it runs.
    pub returns: bool,
    pub old: Option<&'a RolloutStatus>,
    /// Weights in force; None on creation.
    pub current: Option<&'a Weights>,
    pub parties: &'a [Party<'a>],
    /// What people asked for, in the order in which they did.
    pub orders: &'a [Order],
    pub now: Timestamp,
}

/// What to aim at, and how far that is.
#[derive(Clone, Debug)]
pub struct Walk {
    pub aims: Weights,
    pub status: RolloutStatus,
    pub answers: Vec<Answer>,
    /// When the timed pause that is under way is over.
    pub pause_ends: Option<Timestamp>,
    /// When time alone takes the walk further.
    pub next: Option<Timestamp>,
}

/// Makes one transition.
pub fn walk(situation: &Situation<'_>) -> Walk {
    let mut status = situation.begin();
    let answers = orders::obey(&mut status, situation);
    if matches!(status.state, RolloutState::Progressing | RolloutState::Paused) {
        situation.judge(&mut status);
    }
    let walk = Walk { aims: Weights::new(), pause_ends: None, next: None, status, answers };
    let walk = situation.go_on(walk);
    Walk { aims: situation.aims(&walk.status), ..walk }
}

/// Keeps the rollout where it is, while no mesh carries the weights or it has only begun to. None when there is none.
pub fn stay(situation: &Situation<'_>) -> Option<Walk> {
    let status = situation.old.filter(|old| old.target == situation.target())?.clone();
    let aims = if status.state == RolloutState::Completed { situation.requested() } else { status.stable.clone() };
    Some(Walk { aims, pause_ends: None, next: None, status, answers: Vec::new() })
}

/// Goes on with the weights that are about to be written: what they reach is reached with that write.
pub fn written(situation: &Situation<'_>, walk: Walk, planned: &Weights) -> Walk {
    Situation { current: Some(planned), ..*situation }.go_on(walk)
}

impl Situation<'_> {
    fn go_on(&self, mut walk: Walk) -> Walk {
        let status = &mut walk.status;
        if status.state != RolloutState::Paused {
            status.kept.clear();
        }
        if status.state == RolloutState::Progressing {
            self.advance(status);
        }
        status.progress = Some(format!("{}/{}", status.step, self.steps()));
        let pause_ends = self.pause_ends(status).filter(|_| status.state == RolloutState::Progressing);
        Walk { pause_ends, next: pause_ends.or_else(|| self.deadline(&walk.status)), ..walk }
    }

    /// Weights that the spec asks for.
    fn requested(&self) -> Weights {
        let asked = self.parties.iter().filter(|party| party.requested > 0);
        asked.map(|party| (party.name.to_owned(), party.requested)).collect()
    }

    fn current(&self) -> Weights {
        let current = self.current.into_iter().flatten().filter(|(_, weight)| **weight > 0);
        current.map(|(name, weight)| (name.clone(), *weight)).collect()
    }

    /// What the rollout leads to. Sizes are no part of it, so that an autoscaler neither retries nor restarts one.
    fn target(&self) -> String {
        let asked = self.parties.iter().filter(|party| party.requested > 0);
        let parts: Vec<_> = asked.map(|party| json!([party.name, party.requested, party.template])).collect();
        digest(&json!(parts), TARGET_LENGTH)
    }

    /// The status as it was, or that of a new rollout when the spec leads elsewhere.
    fn begin(&self) -> RolloutStatus {
        let target = self.target();
        let requested = self.requested();
        let current = self.current();
        let handled = self.old.map(|old| old.handled.clone()).unwrap_or_default();
        let completed = || RolloutStatus {
            state: RolloutState::Completed,
            target: target.clone(),
            step: self.steps(),
            stable: requested.clone(),
            handled: handled.clone(),
            ..RolloutStatus::default()
        };
        let started = |from: Weights, stable: Weights| RolloutStatus {
            target: target.clone(),
            progressed_at: Some(time(self.now)),
            from,
            stable,
            handled: handled.clone(),
            ..RolloutStatus::default()
        };
        let Some(old) = self.old else {
            let there = self.current.is_none() || current == requested;
            return if there { completed() } else { started(current.clone(), current) };
        };
        if old.target == target {
            return old.clone();
        }
        if current == requested {
            let previous = if old.state == RolloutState::Completed { &old.previous } else { &old.stable };
            return RolloutStatus { previous: previous.clone(), ..completed() };
        }
        let exists = |name: &String| self.party(name).is_some_and(|party| party.exists);
        let stable = if old.stable.keys().all(exists) { old.stable.clone() } else { current.clone() };
        let promoted = old.state == RolloutState::Completed;
        let back = promoted && self.returns && requested == old.previous && requested.keys().all(exists);
        if back || stable == requested {
            return completed();
        }
        let superseded = self.parties.iter().any(|party| {
            weight_of(&current, party.name) > weight_of(&stable, party.name) && (party.requested == 0 || party.changed)
        });
        started(if superseded || old.state == RolloutState::Aborted { stable.clone() } else { current }, stable)
    }

    pub(super) fn party(&self, name: &str) -> Option<&Party<'_>> {
        self.parties.iter().find(|party| party.name == name)
    }

    /// Versions that are to get more than they have without the rollout.
    fn raised<'a>(&'a self, status: &'a RolloutStatus) -> impl Iterator<Item = &'a Party<'a>> {
        self.parties.iter().filter(|party| party.requested > weight_of(&status.stable, party.name))
    }

    /// A version that is being raised and fails ends the rollout, and so does a step that takes too long.
    fn judge(&self, status: &mut RolloutStatus) {
        let begun = status.step_since.is_some();
        let fault = self.raised(status).find_map(|party| Some((party.name, party.fault.as_ref().filter(|_| begun)?)));
        if let Some((name, fault)) = fault {
            return self.fail(status, format!("{name} {fault}"));
        }
        if self.deadline(status).is_some_and(|at| at <= self.now) {
            let limit = self.policy.progress_deadline;
            let late: Vec<String> = self
                .raised(status)
                .filter(|party| !party.admitted)
                .map(|party| match &party.trouble {
                    Some(trouble) => format!("{} is not ready: {trouble}", party.name),
                    None => format!("{} is not ready", party.name),
                })
                .collect();
            let why = if late.is_empty() { String::new() } else { format!(": {}", late.join(", ")) };
            self.fail(status, format!("the step was not reached within {limit}{why}"));
        }
    }

    fn fail(&self, status: &mut RolloutStatus, why: String) {
        match self.policy.on_failure {
            OnFailure::Rollback => {
                status.state = RolloutState::Aborted;
                status.message = Some(why);
            }
            OnFailure::Pause if status.state == RolloutState::Progressing => self.pause(status, why),
            OnFailure::Pause => {}
        }
    }

    /// Pauses, with the weights where they are: a step that was not reached yet stays so.
    pub(super) fn pause(&self, status: &mut RolloutStatus, why: String) {
        if status.step_since.is_some() && !self.pausing(status) && !self.reached(status) {
            status.kept = self.kept(status);
        }
        status.state = RolloutState::Paused;
        status.message = Some(why);
    }

    /// The weights in force, without what a loss gave to versions that are being raised.
    fn kept(&self, status: &RolloutStatus) -> Weights {
        let (aims, current) = (self.aims(status), self.current());
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

    /// When the current step has taken too long; None while nothing has to be reached.
    fn deadline(&self, status: &RolloutStatus) -> Option<Timestamp> {
        if status.state != RolloutState::Progressing || self.pausing(status) {
            return None;
        }
        after(status.progressed_at.as_ref()?.0, self.policy.progress_deadline)
    }

    /// Goes on for as many steps as are reached already.
    fn advance(&self, status: &mut RolloutStatus) {
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
            (status.step_since, status.progressed_at) = (None, None);
        }
    }

    /// Ends the current step.
    pub(super) fn pass(&self, status: &mut RolloutStatus) {
        status.step = (status.step + 1).min(self.steps());
        self.begin_step(status);
    }

    fn begin_step(&self, status: &mut RolloutStatus) {
        status.step_since = Some(time(self.now));
        status.progressed_at = Some(time(self.now));
    }

    /// Every version that is being raised carries what the step gives it. What the others carry may differ while
    /// one of them cannot serve: a sick stable version must not hold its successor up.
    fn reached(&self, status: &RolloutStatus) -> bool {
        let aims = self.aims(status);
        let current = self.current();
        self.raised(status).all(|party| weight_of(&current, party.name) >= weight_of(&aims, party.name))
    }

    pub(super) fn steps(&self) -> i32 {
        i32::try_from(self.policy.steps.len()).unwrap_or(i32::MAX)
    }

    fn step(&self, status: &RolloutStatus) -> Option<Step> {
        self.policy.steps.get(usize::try_from(status.step).ok()?).copied()
    }

    /// The current step is a pause, and it has begun.
    pub(super) fn pausing(&self, status: &RolloutStatus) -> bool {
        status.step_since.is_some() && matches!(self.step(status), Some(Step::Pause(_)))
    }

    fn aims(&self, status: &RolloutStatus) -> Weights {
        match status.state {
            RolloutState::Completed => self.requested(),
            RolloutState::Aborted => status.stable.clone(),
            RolloutState::Paused if !status.kept.is_empty() => status.kept.clone(),
            RolloutState::Progressing | RolloutState::Paused => {
                line::point(&status.from, &self.requested(), self.percent(status))
            }
        }
    }

    /// How much of the way the current step asks for.
    fn percent(&self, status: &RolloutStatus) -> i32 {
        if status.step_since.is_none() {
            return 0;
        }
        let done = usize::try_from(status.step).unwrap_or_default();
        if done >= self.policy.steps.len() {
            return 100;
        }
        let asked = self.policy.steps.iter().take(done + 1).rev();
        let weights = asked.filter_map(|step| if let Step::Weight(percent) = step { Some(*percent) } else { None });
        weights.take(1).sum()
    }

    /// When the timed pause that is under way is over.
    fn pause_ends(&self, status: &RolloutStatus) -> Option<Timestamp> {
        let Some(Step::Pause(Some(length))) = self.step(status) else { return None };
        after(status.step_since.as_ref()?.0, length)
    }
}

fn after(since: Timestamp, length: crate::api::Duration) -> Option<Timestamp> {
    since.checked_add(SignedDuration::try_from(length.as_std()).ok()?).ok()
}
