//! Invariant 4: along one rollout weights move in one direction.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{Move, Rule, Step, Violation, state::millis};
use crate::invariants::model::{Fields, Kind, Object, Target};

/// A writer that turns weights round says why in its status, which follows the routes within this time.
const TOLD_WITHIN: SignedDuration = SignedDuration::from_secs(5);

/// A VirtualService's name and a route's key.
type Of = (String, String);

/// Which way the weights of each route went since the last edit.
#[derive(Default)]
pub(super) struct Memory {
    edited: BTreeMap<Of, Timestamp>,
    ways: BTreeMap<Of, BTreeMap<Target, Way>>,
    /// What lost its weight as it could not serve, and is yet to get it back.
    lost: BTreeMap<Of, BTreeSet<Target>>,
    /// uids of owners whose rollout was superseded, and is yet to go back to where the next one begins.
    superseded: BTreeSet<String>,
    /// What is broken unless the next status of the owner with this uid says that a rollout was given up.
    open: Vec<(String, Violation)>,
}

#[derive(Clone, Copy)]
struct Way {
    up: bool,
    /// When it was taken.
    at: Timestamp,
}

impl Memory {
    /// Begins a new rollout for what belongs to the owner, or for all. The status that follows an edit tells of the new
    /// rollout, and nothing of why the weights turned round right before.
    pub(super) fn edited(&mut self, step: &Step<'_>, owner: Option<&Object>) {
        self.open.retain(|(uid, _)| owner.is_none_or(|owner| *uid != owner.uid));
        for of in self.begin(step, owner) {
            self.edited.insert(of, step.state.now);
        }
    }

    /// Hears of a revision of the owner that is no edit.
    pub(super) fn told(&mut self, step: &Step<'_>, before: &Object, owner: &Object) -> Vec<Violation> {
        let (
            Fields::Owner { aborted: known, leads_to: led_to, status: old, .. },
            Fields::Owner { aborted, leads_to, status, .. },
        ) = (&before.fields, &owner.fields)
        else {
            return Vec::new();
        };
        if old == status {
            return Vec::new();
        }
        let (open, rest): (Vec<_>, _) =
            std::mem::take(&mut self.open).into_iter().partition(|(uid, _)| *uid == owner.uid);
        self.open = rest;
        if leads_to != led_to && !led_to.is_empty() {
            // One that was superseded may have gone back first to where it began, or is yet to.
            self.begin(step, Some(owner));
            self.superseded.insert(owner.uid.clone());
        }
        if !*aborted || *known {
            return open.into_iter().map(|(_, violation)| violation).collect();
        }
        if open.is_empty() {
            // They are yet to turn round.
            self.begin(step, Some(owner));
        }
        Vec::new()
    }

    /// What is made anew under the same name has lost nothing yet.
    pub(super) fn forget(&mut self) {
        self.lost.clear();
    }

    /// Answers what no status explains any more.
    pub(super) fn finish(&mut self, at: Timestamp) -> Vec<Violation> {
        let open = std::mem::take(&mut self.open).into_iter().map(|(_, violation)| violation);
        open.filter(|violation| at.duration_since(violation.at) > TOLD_WITHIN).collect()
    }

    /// Forgets which way the weights went. Answers where.
    fn begin(&mut self, step: &Step<'_>, owner: Option<&Object>) -> Vec<Of> {
        let concerned = |name: &str| {
            let Some(object) = step.state.object(Kind::VirtualService, name) else { return true };
            owner.is_none_or(|owner| object.owner.as_ref() == Some(&owner.uid) || !step.state.owned(object))
        };
        let concerned = self.ways.iter_mut().filter(|((name, _), _)| concerned(name));
        let begun = concerned.map(|(of, ways)| {
            ways.clear();
            of.clone()
        });
        begun.collect()
    }

    pub(super) fn check(&mut self, step: &Step<'_>, moves: &[Move<'_>]) -> Vec<Violation> {
        let Some(object) = step.after.filter(|object| !step.state.doomed(object)) else { return Vec::new() };
        let mut found = Vec::new();
        for it in moves {
            let of = (object.name.clone(), it.route.key.clone());
            let ways = self.ways.entry(of.clone()).or_default();
            let lost = self.lost.entry(of.clone()).or_default();
            let losses: Vec<_> = it.changes().filter(|(target, by)| *by < 0 && step.state.lost(target)).collect();
            lost.extend(losses.iter().map(|(target, _)| (*target).clone()));
            let back = it.raises().filter(|(target, _)| lost.remove(target)).count() > 0;
            // What is written right after an edit, and until the status knows of it, may still be of the rollout before.
            let behind = object.owner.as_ref().is_some_and(|owner| step.state.is_behind(owner));
            let owner = object.owner.as_ref().filter(|_| !it.route.matched);
            let begins = owner.zip(it.before.as_ref()).is_some_and(|(owner, before)| {
                self.superseded.remove(owner) && step.state.goes_back(owner, before, &it.after)
            });
            // A loss and the way back are no part of a rollout.
            if !it.known || !losses.is_empty() || back || behind || begins || step.before.is_none() {
                ways.clear();
                continue;
            }
            let settled = self.edited.get(&of).map(|at| at.saturating_add(step.settings.slack).unwrap_or(*at));
            for (target, by) in it.changes() {
                let way = Way { up: by > 0, at: step.state.now };
                let Some(old) = ways.insert(target.clone(), way) else { continue };
                if old.up != way.up && settled.is_none_or(|settled| old.at > settled) {
                    let (before, after) = it.words();
                    let (now, then) = if way.up { ("rises", "fell") } else { ("falls", "rose") };
                    let why = format!(
                        "{target} {now} in the route {} after it {then} {} ago in the same rollout, and nothing was lost",
                        it.route.key,
                        millis(step.state.now.duration_since(old.at))
                    );
                    let violation = step.violation(Rule::Oscillated, before, after, why);
                    match object.owner.clone().filter(|_| step.state.owned(object)) {
                        Some(owner) => self.open.push((owner, violation)),
                        None => found.push(violation),
                    }
                }
            }
        }
        found
    }
}
