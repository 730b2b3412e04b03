//! The walk along a rollout's steps: one transition, from how far it came and what is seen now to what the weights
//! should be and how far that is. Pure.
//!
//! It only says what to aim at: [`mod@super::settle`] still gives no version more than it can carry.

mod back;
mod begin;
mod beside;
mod calls;
mod failure;
mod gates;
mod held;
mod measures;
mod pause;
mod relapses;
mod session;
mod sizes;
mod steps;
mod surge;
mod window;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::{
    api::{Duration, RolloutState, RolloutStatus},
    observe::Weights,
    plan::inquiry::{Inquiry, Reply},
    validate::{Policy, Step, Validated},
};

use super::{line, orders, size::Sizes, version::time, weight_of};
pub use beside::{Beside, Session};
pub use calls::MAX_AGAIN;
pub use failure::deadline;
pub use orders::{Answer, Order};
pub(super) use relapses::forgive;
pub use relapses::limit as relapse_limit;

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
    /// That has the wanted template.
    pub up_to_date: bool,
    /// It may be raised, if it has the pods that it needs for it.
    pub admitted: bool,
    /// Pods that its Deployment has been told to run.
    pub pods: i32,
    /// Pods that it runs without a step about them.
    pub whole: i32,
    /// The weight that is remembered of it.
    pub carried: i32,
    /// The mesh has had time to learn of that weight, and requests to leave it.
    pub quiet: bool,
    /// Why it cannot carry what it has; None while it can.
    pub fault: Option<String>,
    /// It has had no ready pod yet since it was told to have any, and nothing that it could lose.
    pub unproved: bool,
    /// All its pods are of the wanted template, and ready.
    pub steady: bool,
    /// It lost its weight, and is given none for a while.
    pub held: bool,
    /// When the last of its pods restarted or lost its readiness.
    pub relapsed_at: Option<Timestamp>,
    /// When the last of its pods restarted, known before or not.
    pub restarted_at: Option<Timestamp>,
    /// Why it is not ready yet, in the cluster's words.
    pub trouble: Option<String>,
}

/// Everything that one transition depends on.
pub struct Situation<'a> {
    pub policy: &'a Policy,
    pub service: &'a Validated,
    /// Going back to what served before the last rollout is at once, as long as it runs.
    pub returns: bool,
    pub old: Option<&'a RolloutStatus>,
    /// Weights in force; None on creation.
    pub current: Option<&'a Weights>,
    pub parties: &'a [Party<'a>],
    /// Names of the revisions that are kept, when somebody asks for one.
    pub kept: &'a BTreeMap<String, Option<i32>>,
    /// What people asked for, in the order in which they did.
    pub orders: &'a [Order],
    /// What was found outside the cluster's API.
    pub replies: &'a [Reply],
    /// What was planned last was refused.
    pub refused: bool,
    /// Nobody has looked until now.
    pub first: bool,
    pub now: Timestamp,
    /// Time that the mesh is given to learn of a change.
    pub propagation: SignedDuration,
}

/// What to aim at, and how far that is.
#[derive(Clone, Debug)]
pub struct Walk {
    pub aims: Weights,
    /// Pods of the versions whose number the policy limits: those that the aims need, and once the weights are planned
    /// those that they get.
    pub sizes: Sizes,
    pub status: RolloutStatus,
    pub answers: Vec<Answer>,
    pub outlook: Outlook,
    /// Why it ends, if that was measured just now: what ends it otherwise is seen again in the cluster.
    pub verdict: Option<String>,
}

/// What the walk waits for.
#[derive(Clone, Debug, Default)]
pub struct Outlook {
    /// When the timed pause that is under way is over.
    pub pause_ends: Option<Timestamp>,
    /// What else there is to wait for, beside pods and people, in words.
    pub waits_for: Option<String>,
    /// Pods that the policy's limit leaves too few of, in words.
    pub limited: Option<String>,
    /// What is to be asked outside the cluster's API.
    pub inquiries: Vec<Inquiry>,
    /// When time alone takes the walk further.
    pub next: Option<Timestamp>,
}

/// Makes one transition.
pub fn walk(situation: &Situation<'_>) -> Walk {
    let mut status = situation.begin();
    // What somebody promotes is held by it, too.
    situation.begin_analysis(&mut status);
    let answers = orders::obey(&mut status, situation);
    situation.hold(&mut status);
    situation.hear(&mut status);
    let verdict = situation.measure(&mut status);
    if status.state.is_under_way() {
        situation.keep_time(&mut status);
        situation.judge(&mut status);
    }
    let walk =
        Walk { aims: Weights::new(), sizes: Sizes::new(), status, answers, outlook: Outlook::default(), verdict };
    let walk = situation.go_on(walk);
    let aims = situation.carried(&walk.status);
    Walk { sizes: situation.needed(&walk.status, &aims), aims, ..walk }
}

/// Without a mesh that carries weights, what was on its way has nothing: it begins with its first step once there is one
/// again. None when there is no rollout.
pub fn rest(situation: &Situation<'_>) -> Option<Walk> {
    let mut walk = stay(situation, false)?;
    if walk.status.state.is_under_way() {
        walk.status = situation.at_first(walk.status);
    }
    Some(walk)
}

/// Keeps the rollout where it is, while the weights stay as they are: the mesh has only begun to carry them, or is to carry
/// them no longer; or they are `stuck`, so that another one begins only when they can be written. None when there is no
/// rollout.
pub fn stay(situation: &Situation<'_>, stuck: bool) -> Option<Walk> {
    let status = situation.old.filter(|old| stuck || old.target == situation.target())?.clone();
    let aims = if status.state == RolloutState::Completed { situation.requested() } else { status.stable.clone() };
    Some(Walk { aims, sizes: Sizes::new(), status, answers: Vec::new(), outlook: Outlook::default(), verdict: None })
}

/// Goes on with the weights that are about to be written: what they reach is reached with that write.
pub fn written(situation: &Situation<'_>, walk: Walk, planned: &Weights) -> Walk {
    let mut walk = Situation { current: Some(planned), ..*situation }.go_on(walk);
    let sizes = situation.sizes(&walk.status, planned);
    if walk.status.progressed_at.is_some() && !sizes.is_empty() && situation.rises(&walk.status, planned) {
        walk.status.progressed_at = Some(time(situation.now));
    }
    walk.outlook.limited = situation.limited(&walk.status, planned, &sizes);
    Walk { sizes, ..walk }
}

impl Situation<'_> {
    fn go_on(&self, mut walk: Walk) -> Walk {
        let status = &mut walk.status;
        if status.held.is_none() && status.state != RolloutState::Paused {
            status.kept.clear();
        }
        let goes_on = status.held.is_none() && status.state == RolloutState::Progressing;
        if goes_on && !self.begins(status) && !self.has_just_opened(status) {
            self.advance(status);
        }
        let back = status.stable.keys().any(|name| self.party(name).is_some_and(|party| party.admitted));
        if status.state.is_under_way() || back {
            status.meanwhile.clear();
        }
        if status.state == RolloutState::Completed && self.arrived() {
            status.from.clear();
        }
        self.go_back(status);
        self.tell(status);
        self.keep_session(status);
        status.served = self.served(&status.stable);
        status.to = if status.state.is_under_way() { self.requested() } else { Weights::new() };
        status.progress = Some(format!("{}/{}", status.step, self.steps()));
        status.percent = status.state.is_under_way().then(|| self.percent(status));
        status.walked = status.state.is_under_way().then(|| self.walked(status.step));
        let pause_ends = self.pause_ends(status).filter(|_| status.state == RolloutState::Progressing);
        let status = &walk.status;
        let pause_ends = match &status.held {
            None => pause_ends,
            Some(_) => pause_ends.filter(|end| self.held_until(status).is_some_and(|until| until < *end)),
        };
        let gate = self.held(status).filter(|_| status.waits_for.is_some()).and_then(|held| held.until);
        let next = [
            pause_ends,
            self.deadline(status),
            self.back_at(status),
            self.next_measurement(status),
            gate,
            self.held_until(status),
            self.window_closes(status),
            self.next_call(status),
        ];
        let waits_for = status.waits_for.clone().or_else(|| self.uncounted(status));
        let inquiries = self.inquiries(status).into_iter().chain(self.called(status)).collect();
        let next = next.into_iter().flatten().min();
        let outlook = Outlook { pause_ends, waits_for, limited: None, inquiries, next };
        Walk { outlook, ..walk }
    }

    /// The rollout as if no step of it had begun. What a person or a failure paused stays paused.
    fn at_first(&self, status: RolloutStatus) -> RolloutStatus {
        let paused = status.state == RolloutState::Paused && status.message.is_some();
        // Webhooks are asked anew, and relapses of before count no more.
        let walked = status.step > 0 || status.step_since.is_some();
        let calls = if walked { calls::untold(&status).cloned().collect() } else { status.calls.clone() };
        RolloutStatus {
            began: if walked { Some(time(self.now)) } else { status.began.clone() },
            state: if paused { RolloutState::Paused } else { RolloutState::Progressing },
            step: 0,
            progress: Some(format!("0/{}", self.steps())),
            percent: Some(0),
            walked: Some(self.walked(0)),
            from: status.stable.clone(),
            kept: Weights::new(),
            step_since: None,
            progressed_at: None,
            weights_since: None,
            waits_for: None,
            analysis: None,
            step_analysis: None,
            verdict: None,
            relapses: BTreeMap::new(),
            calls,
            ..status
        }
    }

    /// Weights that the spec asks for.
    pub(super) fn requested(&self) -> Weights {
        let asked = self.parties.iter().filter(|party| party.requested > 0);
        asked.map(|party| (party.name.to_owned(), party.requested)).collect()
    }

    /// The weights in force are those that the spec asks for.
    pub(super) fn arrived(&self) -> bool {
        self.current() == self.requested()
    }

    fn current(&self) -> Weights {
        let current = self.current.into_iter().flatten().filter(|(_, weight)| **weight > 0);
        current.map(|(name, weight)| (name.clone(), *weight)).collect()
    }

    pub(super) fn party(&self, name: &str) -> Option<&Party<'_>> {
        self.parties.iter().find(|party| party.name == name)
    }

    /// Versions that are to get more than they have without the rollout.
    fn raised<'a>(&'a self, status: &'a RolloutStatus) -> impl Iterator<Item = &'a Party<'a>> {
        self.parties.iter().filter(|party| party.requested > weight_of(&status.stable, party.name))
    }

    /// It is not persisted yet. Until then no weight goes up: after a crash nothing else would tell where it began.
    fn begins(&self, status: &RolloutStatus) -> bool {
        let is_new = |old: &RolloutStatus| old.target != status.target || self.has_other_steps(old);
        status.state.is_under_way() && self.old.is_none_or(is_new)
    }

    fn aims(&self, status: &RolloutStatus) -> Weights {
        match status.state {
            RolloutState::Completed => self.requested(),
            RolloutState::Aborted => match status.back {
                Some(percent) => self.point(status, percent),
                None if !status.meanwhile.is_empty() => status.meanwhile.clone(),
                None => status.stable.clone(),
            },
            RolloutState::Progressing | RolloutState::Paused if !status.kept.is_empty() => status.kept.clone(),
            RolloutState::Progressing | RolloutState::Paused => self.point(status, self.percent(status)),
        }
    }

    fn point(&self, status: &RolloutStatus, percent: i32) -> Weights {
        line::point(&status.from, &self.requested(), percent)
    }

    /// How much of the way the current step asks for.
    fn percent(&self, status: &RolloutStatus) -> i32 {
        if status.step_since.is_none() {
            return 0;
        }
        let begun = steps::begun(status);
        if begun > self.policy.steps.len() {
            return 100;
        }
        let asked = self.policy.steps.iter().take(begun).rev();
        let weights = asked.filter_map(|step| if let Step::Weight(percent) = step { Some(*percent) } else { None });
        weights.take(1).sum()
    }
}

fn after(since: Timestamp, length: Duration) -> Option<Timestamp> {
    since.checked_add(length.signed()).ok()
}
