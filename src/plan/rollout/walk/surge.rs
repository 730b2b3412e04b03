//! The pods of all versions of a rollout together, if its policy limits them: who gets how many, and how far the weights
//! go that these carry. Pure.
//!
//! A version that is lowered gives pods back once its smaller weight has been in force for long enough, and whoever is
//! raised gets them. Weights in force never need more pods than there are, unless a version fails: serving counts more
//! than saving.

use crate::{
    api::{RolloutState, RolloutStatus},
    observe::Weights,
    plan::{
        revisions::standby,
        rollout::{line, requested_of, settle::share, size::Sizes, weight_of},
    },
    validate::{Size, Version, model::part},
};

use super::{Party, Situation};

/// A version that takes part in the rollout: it has weight before or after it.
struct Member<'a> {
    party: &'a Party<'a>,
    stable: i32,
    /// A route of the spec leads to it, which no weight tells of.
    routed: bool,
    current: i32,
    planned: i32,
    /// What it has at the end of the step.
    goal: i32,
    /// What it has one move of the weights nearer to that.
    next: i32,
    /// Pods that it has at least, whatever its weight.
    least: i32,
    /// Pods that the step wants of it, whatever its weight.
    scale: i32,
}

impl Member<'_> {
    /// The weight for which it has its whole size.
    fn full(&self) -> i32 {
        self.stable.max(self.party.requested)
    }

    fn need(&self, weight: i32) -> i32 {
        if self.routed { self.party.whole } else { part(self.party.whole, weight, self.full()).min(self.party.whole) }
    }

    /// Pods that it cannot do without.
    fn floor(&self) -> i32 {
        self.need(self.current.max(self.planned)).max(self.least)
    }

    fn wish(&self) -> i32 {
        self.need(self.goal).max(self.scale).max(self.floor())
    }

    /// The mesh has had time to learn of its weight, and requests to leave it.
    fn quiet(&self) -> bool {
        self.party.quiet && self.party.carried == self.current
    }

    /// Pods that it cannot give back yet.
    fn kept(&self) -> i32 {
        if self.quiet() { self.floor() } else { self.floor().max(self.party.pods) }
    }

    /// It has requests and cannot serve them.
    fn fails(&self) -> bool {
        self.current > 0 && self.party.fault.is_some()
    }
}

impl Situation<'_> {
    /// Pods of the versions whose number the policy limits, when the `planned` weights are about to be written.
    pub(super) fn sizes(&self, status: &RolloutStatus, planned: &Weights) -> Sizes {
        let Some(surge) = self.surge(status) else { return Sizes::new() };
        let members = self.members(status, planned);
        let pods = if self.fails() { rescue(&members) } else { divide(&members, self.room(&members, surge)) };
        let pods = members.iter().zip(pods).filter(|(member, _)| member.planned <= member.full());
        let pods = pods.map(|(member, pods)| (member.party.name.to_owned(), pods));
        pods.chain(self.leaving(status, planned)).collect()
    }

    /// The largest point of the way to the weights of the step that the present pods carry.
    pub(super) fn carried(&self, status: &RolloutStatus) -> Weights {
        let goal = self.aims(status);
        if self.surge(status).is_none() {
            return goal;
        }
        let current = self.current();
        let members = self.members(status, &current);
        let carries =
            |member: &Member<'_>, weight| weight <= member.current || member.need(weight) <= member.party.pods;
        let carried = |point: &Weights| members.iter().all(|it| carries(it, weight_of(point, it.party.name)));
        let mut way = (0..=100).rev().map(|percent| line::point(&current, &goal, percent));
        way.find(carried).unwrap_or_else(|| current.clone())
    }

    /// Pods that the weights need which are aimed at.
    pub(super) fn needed(&self, status: &RolloutStatus, aims: &Weights) -> Sizes {
        if self.surge(status).is_none() {
            return Sizes::new();
        }
        let members = self.members(status, &self.current());
        let needed = |it: &Member<'_>| it.need(weight_of(aims, it.party.name)).max(it.least);
        members.iter().map(|it| (it.party.name.to_owned(), needed(it))).collect()
    }

    /// What the weights wait for, in words, while the limit leaves too few pods for those of the step.
    pub(super) fn limited(&self, status: &RolloutStatus, planned: &Weights, sizes: &Sizes) -> Option<String> {
        let surge = self.surge(status)?;
        let members = self.members(status, planned);
        let short: Vec<String> = members
            .iter()
            .filter(|it| it.goal > it.planned)
            .filter_map(|it| Some((it, *sizes.get(it.party.name)?, it.need(it.goal))))
            .filter(|(_, pods, needed)| pods < needed)
            .map(|(it, pods, needed)| format!("{} gets {pods} of the {needed} for its {} %", it.party.name, it.goal))
            .collect();
        let told = match surge {
            Size::Pods(pods) => pods.to_string(),
            Size::Percent(percent) => format!("{percent}%"),
        };
        let room = self.room(&members, surge);
        let all = || format!("pods: with maxSurge {told} all versions have {room} together, and {}", short.join(", "));
        (!short.is_empty()).then(all)
    }

    /// Weights go up with these that are about to be written.
    pub(super) fn rises(&self, status: &RolloutStatus, planned: &Weights) -> bool {
        let current = self.current();
        self.raised(status).any(|party| weight_of(planned, party.name) > weight_of(&current, party.name))
    }

    /// None before there are weights, too, and while pods are awaited that nobody has: what is gone back to comes up beside
    /// what serves meanwhile.
    fn surge(&self, status: &RolloutStatus) -> Option<Size> {
        self.policy.max_surge.filter(|_| self.current.is_some() && status.meanwhile.is_empty())
    }

    fn members<'a>(&'a self, status: &RolloutStatus, planned: &Weights) -> Vec<Member<'a>> {
        if status.state == RolloutState::Completed {
            return Vec::new();
        }
        let (current, goal) = (self.current(), self.aims(status));
        let mut way = (1..=100).map(|percent| line::point(&current, &goal, percent));
        let next = way.find(|point| *point != current).unwrap_or_else(|| goal.clone());
        let scale = self.size(status).filter(|_| status.state.is_under_way());
        let member = |party: &'a Party<'a>| {
            let stable = weight_of(&status.stable, party.name);
            let raised = party.requested > stable;
            Member {
                party,
                stable,
                routed: self.leads_to(party),
                current: weight_of(&current, party.name),
                planned: weight_of(planned, party.name),
                goal: weight_of(&goal, party.name),
                next: weight_of(&next, party.name),
                least: match status.state.is_under_way() {
                    _ if !raised => 0,
                    true => 1,
                    false => party.pods.min(1),
                },
                scale: scale.filter(|_| raised).map_or(0, |size| size.of(party.whole)),
            }
        };
        self.parties.iter().map(member).filter(|it| it.full() > 0 && it.party.whole > 0).collect()
    }

    /// Pods that all members may have together: those that the weights need before or after the rollout, and the surge.
    /// As weights and pods are whole, it is never less than the next move of the weights needs.
    fn room(&self, members: &[Member<'_>], surge: Size) -> i32 {
        let sum = |pods: &dyn Fn(&Member<'_>) -> i32| sum(members.iter().map(pods));
        let whole = sum(&|it| it.need(it.stable)).max(sum(&|it| it.need(it.party.requested)));
        let raised = members.iter().filter(|it| it.party.requested > it.stable).count();
        let surge = surge.of(whole).max(i32::try_from(raised).unwrap_or(i32::MAX));
        whole.saturating_add(surge).max(sum(&|it| it.need(it.next).max(it.floor())))
    }

    /// Versions that take no part in it, or in nothing any more, get no further pods before the weights have arrived.
    fn leaving<'a>(&'a self, status: &'a RolloutStatus, planned: &'a Weights) -> impl Iterator<Item = (String, i32)> {
        let under_way = status.state != RolloutState::Completed;
        // An older revision that nobody may ask back goes as soon as it has drained.
        let older = |name: &str| self.service.version(name).is_some_and(Version::is_older);
        let goes = move |name: &str| older(name) && standby(self.service, Some(status), name).is_none();
        let travels = under_way || !Situation { current: Some(planned), ..*self }.arrived();
        // Whoever stands in for a version that lost its weight grows as that would.
        let failed = |party: &Party<'_>| !under_way && party.requested > 0 && party.fault.is_some();
        let fails = self.fails() || self.parties.iter().any(failed);
        let leaves = move |party: &&Party<'_>| {
            let no_part = party.requested == 0 && (!under_way || weight_of(&status.stable, party.name) == 0);
            let lowered = weight_of(planned, party.name) <= weight_of(&self.current(), party.name);
            !fails
                && (travels || goes(party.name))
                && no_part
                && lowered
                && party.exists
                && party.pods < party.whole
                && !self.leads_to(party)
        };
        self.parties.iter().filter(leaves).map(|party| (party.name.to_owned(), party.pods))
    }

    /// Whether a route of the spec leads to the version.
    fn leads_to(&self, party: &Party<'_>) -> bool {
        self.service.routes.iter().any(|route| weight_of(&requested_of(route), party.name) > 0)
    }

    fn fails(&self) -> bool {
        let current = self.current();
        self.parties.iter().any(|party| party.fault.is_some() && weight_of(&current, party.name) > 0)
    }
}

/// Whoever does not fail gets its whole size.
fn rescue(members: &[Member<'_>]) -> Vec<i32> {
    members.iter().map(|it| if it.fails() { it.floor().max(it.party.pods) } else { it.party.whole }).collect()
}

/// Pods in all; somebody may have told a Deployment to run more than can be counted.
fn sum(pods: impl Iterator<Item = i32>) -> i32 {
    pods.fold(0, i32::saturating_add)
}

/// Divides the room: what is needed, what the next move of the weights needs, then the rest of what the step needs.
fn divide(members: &[Member<'_>], room: i32) -> Vec<i32> {
    let had: Vec<i32> = members.iter().map(|it| it.kept().max(it.party.pods.min(it.wish()))).collect();
    let fits = sum(had.iter().copied()) <= room;
    let mut pods = if fits { had } else { members.iter().map(Member::kept).collect() };
    let wishes: [fn(&Member<'_>) -> i32; 2] = [|it| it.need(it.next), |it| it.wish()];
    for wish in wishes {
        let lacks: Vec<i32> = members.iter().zip(&pods).map(|(it, pods)| (wish(it) - pods).max(0)).collect();
        let spare = (room - sum(pods.iter().copied())).clamp(0, sum(lacks.iter().copied()));
        pods.iter_mut().zip(share(spare, &lacks)).for_each(|(pods, more)| *pods += more);
    }
    pods
}
