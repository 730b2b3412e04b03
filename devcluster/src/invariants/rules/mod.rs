//! The rules. Pure: revisions go in, violations come out.

mod abandon;
mod carry;
mod order;
mod state;
#[cfg(test)]
mod story;
mod sum;
#[cfg(test)]
mod tests;
mod trend;

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::model::{Change, Fields, Kind, Object, Revision, Route, Target, Weights};
use state::State;
pub(super) use state::words;

/// What the rules measure with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Time that the mesh is given to learn of a change.
    pub propagation: SignedDuration,
    /// What arrival times may be off by, and how stale a writer's view of a status may be.
    pub slack: SignedDuration,
    /// How long after its end a loss still explains a failover.
    pub recent: SignedDuration,
    /// How long weight may stay on a version without a ready endpoint while another has one.
    pub failover_within: SignedDuration,
    /// How long a version that lost its weight goes without any, while another can serve.
    pub hold_out: SignedDuration,
    /// Whether the deletion of a whole is seen by its owner's. Without an owner kind it is seen by its VirtualService's.
    pub owned: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            propagation: SignedDuration::from_secs(5),
            slack: SignedDuration::from_millis(250),
            recent: SignedDuration::from_millis(500),
            failover_within: SignedDuration::from_secs(5),
            hold_out: SignedDuration::from_secs(30),
            owned: true,
        }
    }
}

/// What can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A route's weights do not sum to 100.
    Sum,
    /// A version was raised that was neither complete nor needed by a failover.
    PromotedIncomplete,
    /// A version was raised that has no ready endpoint.
    RaisedSilent,
    /// A version that lost its weight got some again too early.
    RaisedHeldOut,
    /// Weight stayed on a version without ready endpoints.
    LeftSilent,
    /// A route leads to a subset that does not exist.
    SubsetMissing,
    /// A version was raised before the mesh knew its subset.
    SubsetTooYoung,
    /// A subset's labels changed.
    SubsetRepointed,
    /// A subset was removed while routes led to it, or too soon after.
    SubsetRemovedEarly,
    /// A Deployment was deleted or scaled to 0 while it had weight, or too soon after.
    WorkloadRemovedEarly,
    /// A Service stopped selecting pods of a version with weight.
    SelectorLeft,
    /// A weight turned round within one rollout.
    Oscillated,
    /// Not all revisions were seen.
    Incomplete,
}

impl Rule {
    /// Number of the invariant that the rule is a part of; 0 when the check itself failed.
    pub fn invariant(self) -> u8 {
        match self {
            Self::Incomplete => 0,
            Self::Sum => 1,
            Self::PromotedIncomplete | Self::RaisedSilent | Self::RaisedHeldOut | Self::LeftSilent => 2,
            Self::SubsetMissing
            | Self::SubsetTooYoung
            | Self::SubsetRepointed
            | Self::SubsetRemovedEarly
            | Self::WorkloadRemovedEarly
            | Self::SelectorLeft => 3,
            Self::Oscillated => 4,
        }
    }
}

/// A revision that breaks an invariant.
#[derive(Clone, Debug, PartialEq)]
pub struct Violation {
    pub rule: Rule,
    /// Kind and name of the object that the revision changed.
    pub object: String,
    /// The revision's resourceVersion.
    pub version: u64,
    /// When it arrived.
    pub at: Timestamp,
    pub before: String,
    pub after: String,
    /// One sentence for people.
    pub why: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, object, version, at, before, after, why } = self;
        write!(f, "invariant {} ({rule:?}): {why}\n    {object}, revision {version} at {at}", rule.invariant())?;
        if before.is_empty() && after.is_empty() { Ok(()) } else { write!(f, ": {before} -> {after}") }
    }
}

/// Judges one revision after the other, in the order of their versions.
pub struct Checker {
    settings: Settings,
    state: State,
    carry: carry::Memory,
    trend: trend::Memory,
    abandon: abandon::Memory,
    version: u64,
}

impl Checker {
    /// A checker that has seen nothing.
    pub fn new(settings: Settings) -> Self {
        Self {
            state: State::new(&settings),
            carry: carry::Memory::default(),
            trend: trend::Memory::default(),
            abandon: abandon::Memory::default(),
            version: 0,
            settings,
        }
    }

    /// Takes the next revision; answers what it breaks.
    pub fn observe(&mut self, revision: &Revision) -> Vec<Violation> {
        let late = revision.version < self.version;
        self.version = self.version.max(revision.version);
        let mut found = self.wait(revision.at);
        let before = self.state.apply(&revision.change);
        let after = match &revision.change {
            Change::Set(object) | Change::Found(object) => Some(object),
            Change::Gone(..) => None,
        };
        let kind = before.as_ref().or(after).map(|object| object.fields.kind());
        let step = Step {
            version: self.version,
            state: &self.state,
            settings: &self.settings,
            before: before.as_ref(),
            after: if matches!(revision.change, Change::Found(_)) { None } else { after },
        };
        if late {
            let why = format!("revision {} came after revision {}", revision.version, self.version);
            found.push(step.violation(Rule::Incomplete, "", "", why));
        }
        match (kind, &revision.change) {
            (Some(Kind::Order), Change::Set(_)) if before.is_none() => self.trend.edited(&step, None),
            (Some(Kind::Owner), Change::Set(owner)) => match &before {
                Some(before) if before.generation != owner.generation => self.trend.edited(&step, Some(owner)),
                Some(before) => found.extend(self.trend.told(&step, before, owner)),
                None => {}
            },
            (Some(Kind::VirtualService), Change::Set(_)) => {
                let moves = step.moves();
                found.extend(sum::check(&step));
                found.extend(self.carry.check(&step, &moves));
                found.extend(order::routes(&step, &moves));
                found.extend(self.trend.check(&step, &moves));
            }
            (Some(Kind::DestinationRule), Change::Set(_) | Change::Gone(..)) => found.extend(order::subsets(&step)),
            (Some(Kind::Deployment), Change::Set(_) | Change::Gone(..)) => found.extend(order::workload(&step)),
            (Some(Kind::Service), Change::Set(_) | Change::Gone(..)) => found.extend(order::selector(&step)),
            _ => {}
        }
        match kind {
            Some(Kind::Owner | Kind::Namespace) => self.state.refer(true),
            Some(Kind::VirtualService) => {
                let gone = after.is_none() && !self.settings.owned;
                let whole = gone || before.is_some_and(|before| self.state.doomed(&before));
                if whole && after.is_none() {
                    self.carry.forget();
                    self.trend.forget();
                }
                self.state.refer(whole);
            }
            _ => {}
        }
        self.abandon.note(&self.state, &self.settings);
        found
    }

    /// Lets the time until the end of the recording pass.
    pub fn finish(&mut self, at: Timestamp) -> Vec<Violation> {
        let mut found = self.wait(at);
        found.extend(self.trend.finish(at));
        found
    }

    fn wait(&mut self, at: Timestamp) -> Vec<Violation> {
        self.state.pass(at);
        let step =
            Step { version: self.version, state: &self.state, settings: &self.settings, before: None, after: None };
        self.abandon.check(&step)
    }
}

/// One revision, and the state that it led to.
struct Step<'a> {
    version: u64,
    state: &'a State,
    settings: &'a Settings,
    before: Option<&'a Object>,
    after: Option<&'a Object>,
}

impl Step<'_> {
    fn violation(&self, rule: Rule, before: impl Into<String>, after: impl Into<String>, why: String) -> Violation {
        let object = self.before.or(self.after).map(|object| format!("{:?} {}", object.fields.kind(), object.name));
        Violation {
            rule,
            object: object.unwrap_or_default(),
            version: self.version,
            at: self.state.now,
            before: before.into(),
            after: after.into(),
            why,
        }
    }

    /// Time that must have passed, as it is measured.
    fn propagation(&self) -> SignedDuration {
        self.settings.propagation.saturating_sub(self.settings.slack)
    }

    /// What the revision does to the weights of each route of its VirtualService.
    fn moves(&self) -> Vec<Move<'_>> {
        let routes = |object: &Option<&'_ Object>| match object.map(|it| &it.fields) {
            Some(Fields::VirtualService { routes }) => routes.clone(),
            _ => Vec::new(),
        };
        let before = routes(&self.before);
        let Some(Fields::VirtualService { routes: after }) = self.after.map(|it| &it.fields) else { return Vec::new() };
        after
            .iter()
            .map(|route| {
                let same = before.iter().find(|other| other.key == route.key);
                // Requests of a new route were served by the one that takes all the rest.
                let rest = || before.iter().rfind(|other| !other.matched).or(before.last());
                let base = same.or_else(rest).map(Route::weights);
                Move { route, after: route.weights(), before: base, known: same.is_some() }
            })
            .collect()
    }
}

/// What a revision does to the weights of one route.
struct Move<'a> {
    route: &'a Route,
    /// What its requests met before; None when nothing was routed.
    before: Option<Weights>,
    after: Weights,
    /// The route itself was there before.
    known: bool,
}

impl Move<'_> {
    /// Targets whose weight changes, and by how much.
    fn changes(&self) -> impl Iterator<Item = (&Target, i64)> {
        let before = self.before.iter().flat_map(|weights| weights.keys());
        let targets: std::collections::BTreeSet<&Target> = before.chain(self.after.keys()).collect();
        targets.into_iter().map(|target| (target, self.weight(target) - self.base(target))).filter(|(_, by)| *by != 0)
    }

    fn base(&self, target: &Target) -> i64 {
        self.before.as_ref().and_then(|weights| weights.get(target)).copied().unwrap_or_default()
    }

    fn weight(&self, target: &Target) -> i64 {
        self.after.get(target).copied().unwrap_or_default()
    }

    fn raises(&self) -> impl Iterator<Item = (&Target, i64)> {
        self.changes().filter(|(_, by)| *by > 0)
    }

    /// What it was and what it is, in words.
    fn words(&self) -> (String, String) {
        (self.before.as_ref().map_or_else(|| "nothing".to_owned(), state::words), state::words(&self.after))
    }
}
