//! Invariant 4: along one rollout weights move in one direction.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Move, Rule, Step, Violation, state::millis};
use crate::invariants::model::{Kind, Object, Target};

/// A VirtualService's name and a route's key.
type Of = (String, String);

/// Which way the weights of each route went since the last edit.
#[derive(Default)]
pub(super) struct Memory {
    edited: BTreeMap<Of, Timestamp>,
    ways: BTreeMap<Of, BTreeMap<Target, Way>>,
}

#[derive(Clone, Copy)]
struct Way {
    up: bool,
    /// When it was taken.
    at: Timestamp,
}

impl Memory {
    /// Begins a new rollout for what belongs to the owner, or for all.
    pub(super) fn edited(&mut self, step: &Step<'_>, owner: Option<&Object>) {
        let concerned = |name: &str| {
            let Some(object) = step.state.object(Kind::VirtualService, name) else { return true };
            owner.is_none_or(|owner| object.owner.as_ref() == Some(&owner.uid) || !step.state.owned(object))
        };
        for (of, ways) in self.ways.iter_mut().filter(|((name, _), _)| concerned(name)) {
            ways.clear();
            self.edited.insert(of.clone(), step.state.now);
        }
    }

    pub(super) fn check(&mut self, step: &Step<'_>, moves: &[Move<'_>]) -> Vec<Violation> {
        let Some(object) = step.after.filter(|object| !step.state.doomed(object)) else { return Vec::new() };
        let mut found = Vec::new();
        for it in moves {
            let of = (object.name.clone(), it.route.key.clone());
            let ways = self.ways.entry(of.clone()).or_default();
            let loss = it.changes().any(|(target, by)| by < 0 && step.state.lost(target));
            // After a loss the way back is a rollout of its own.
            if !it.known || loss || step.before.is_none() {
                ways.clear();
                continue;
            }
            // What is written right after an edit may still be of the rollout before it.
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
                    found.push(step.violation(Rule::Oscillated, before, after, why));
                }
            }
        }
        found
    }
}
