//! What can happen next.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use microservice_operator::{
    api::{RolloutState, Verb},
    plan::{
        object::Kind,
        rollout::orders::{Order, objection},
    },
};

use crate::{
    caches::Watch,
    desk::Says,
    lab::Lab,
    state::{Last, Runs, State},
};

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Somebody asks for another spec.
    Edit(usize),
    /// Somebody asks something of the rollout.
    Ask(Verb),
    /// All pods of a version are ready, and of its newest template.
    Ready(String),
    /// One pod of a version is not ready.
    Wanes(String),
    /// No pod of a version is ready.
    Fails(String),
    /// A container of a version's first pod ends and is started again.
    Crashes(String),
    /// What the operator asked about is answered.
    Answers(String, Says),
    Passes(SignedDuration),
    /// The cache of a kind stays as it is.
    Stalls(Watch),
    /// It has all that has happened.
    Delivers(Watch),
    /// The API server refuses objects of a kind.
    Refuses(Kind, u16),
    /// It refuses nothing any more.
    Accepts,
    Reconcile(Last),
}

impl Event {
    /// It in words.
    pub fn tell(&self, lab: &Lab) -> String {
        match self {
            Self::Edit(spec) => format!("the spec is edited to {}", lab.specs[*spec].name),
            Self::Ask(verb) => format!("somebody asks: {verb:?}"),
            Self::Ready(version) => format!("{version} is ready"),
            Self::Wanes(version) => format!("one pod of {version} is not ready"),
            Self::Fails(version) => format!("no pod of {version} is ready"),
            Self::Crashes(version) => format!("a pod of {version} restarts"),
            Self::Answers(about, says) => format!("{about} says {says:?}"),
            Self::Passes(time) => format!("{} s pass", time.as_secs()),
            Self::Stalls(watch) => format!("the watch of {watch:?} stalls"),
            Self::Delivers(watch) => format!("the watch of {watch:?} goes on"),
            Self::Refuses(kind, code) => format!("the API server refuses each {kind:?} with {code}"),
            Self::Accepts => "the API server refuses nothing any more".to_owned(),
            Self::Reconcile(Last::Status) => "reconcile".to_owned(),
            Self::Reconcile(Last::Unsaved) => "reconcile, and the status is refused".to_owned(),
            Self::Reconcile(Last::Unheard) => "reconcile, and it is not heard that the status was written".to_owned(),
            Self::Reconcile(last) => format!("reconcile, and crash after {last:?}"),
        }
    }
}

/// Ticks of the clock.
pub const TICKS: [SignedDuration; 2] = [SignedDuration::from_secs(5), SignedDuration::from_secs(60)];
/// What the API server may refuse, because of what is written or because of itself. The latter holds up all the rest,
/// whatever kind it is.
const REFUSALS: [(Kind, u16); 5] = [
    (Kind::Deployment, 422),
    (Kind::Deployment, 500),
    (Kind::DestinationRule, 422),
    (Kind::VirtualService, 422),
    (Kind::Service, 422),
];
const VERBS: [Verb; 6] = [Verb::Promote, Verb::PromoteFull, Verb::Pause, Verb::Abort, Verb::Retry, Verb::Undo];

impl State {
    /// Everything that can happen beside a reconciliation.
    pub fn disturbances(&self, lab: &Lab) -> Vec<Event> {
        let mut events: Vec<Event> = TICKS.into_iter().map(Event::Passes).collect();
        for (name, runs) in &self.runs {
            if !runs.complete() {
                events.push(Event::Ready(name.clone()));
            }
            if runs.pods > 0 && runs.ready == runs.replicas && runs.replicas > 1 {
                events.push(Event::Wanes(name.clone()));
            }
            if runs.ready > 0 {
                events.push(Event::Fails(name.clone()));
            }
            if runs.ready > 0 && runs.crashed != Some(self.now) {
                events.push(Event::Crashes(name.clone()));
            }
        }
        events.extend((0..lab.specs.len()).filter(|spec| *spec != self.spec).map(Event::Edit));
        if let (Some(rollout), true) = (&self.status.rollout, self.orders.is_empty()) {
            let possible = VERBS.into_iter().filter(|verb| objection(*verb, rollout.state).is_none());
            events.extend(possible.map(Event::Ask));
        }
        let watch = |watch| if self.lag.has(watch) { Event::Delivers(watch) } else { Event::Stalls(watch) };
        events.extend(Watch::ALL.map(watch));
        match self.refused {
            None => events.extend(REFUSALS.map(|(kind, code)| Event::Refuses(kind, code))),
            Some(_) => events.push(Event::Accepts),
        }
        for entry in self.desk.open() {
            events.extend(entry.possible().iter().map(|says| Event::Answers(entry.about(), *says)));
        }
        events
    }

    /// Lets something happen that is no reconciliation.
    pub fn happen(&mut self, event: &Event) {
        match event {
            Event::Edit(spec) => self.spec = *spec,
            Event::Ask(verb) => self.ask(*verb),
            Event::Ready(version) => self.change(version, |runs, _| runs.heal()),
            Event::Wanes(version) => self.change(version, |runs, now| {
                (runs.ready, runs.waned) = ((runs.ready - 1).max(0), Some(now));
            }),
            Event::Fails(version) => self.change(version, |runs, now| (runs.ready, runs.waned) = (0, Some(now))),
            Event::Crashes(version) => self.change(version, |runs, now| runs.crashed = Some(now)),
            Event::Answers(about, says) => self.answer(about, *says),
            Event::Passes(time) => self.now += *time,
            Event::Stalls(watch) => self.stall(*watch),
            Event::Delivers(watch) => self.deliver(*watch),
            Event::Refuses(kind, code) => self.refused = Some((*kind, *code)),
            Event::Accepts => self.refused = None,
            Event::Reconcile(_) => {}
        }
    }

    fn change(&mut self, version: &str, change: impl FnOnce(&mut Runs, Timestamp)) {
        if let Some(runs) = self.runs.get_mut(version) {
            change(runs, self.now);
        }
    }

    /// Asks as `kubectl ms` does: about the rollout and the step that its author saw.
    pub fn ask(&mut self, verb: Verb) {
        let rollout = self.status.rollout.as_ref();
        let handled = |uid: &String| rollout.is_some_and(|it| it.handled.iter().any(|handled| handled.uid == *uid));
        let uid = (0..).map(|number| format!("order-{number}")).find(|uid| !handled(uid)).unwrap();
        self.orders.push(Order {
            name: uid.clone(),
            uid,
            verb,
            target: rollout.map(|rollout| rollout.target.clone()),
            step: rollout.map(|rollout| rollout.step),
            revision: None,
            created: None,
            expires: None,
            actor: None,
        });
    }

    /// Makes all pods ready, lets all watches go on and all writes succeed, and answers that all is well. Tells whether
    /// that changed anything.
    pub fn heal(&mut self) -> bool {
        self.refused = None;
        Watch::ALL.into_iter().for_each(|watch| self.deliver(watch));
        let pleased = self.please();
        let mut ill = self.runs.values_mut().filter(|runs| !runs.complete()).peekable();
        let any = pleased || ill.peek().is_some();
        ill.for_each(Runs::heal);
        any
    }

    pub fn rollout_is(&self, state: RolloutState) -> bool {
        self.status.rollout.as_ref().is_some_and(|rollout| rollout.state == state)
    }
}

impl fmt::Display for State {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let route = self.route.iter().flatten().map(|(name, weight)| format!("{name}={weight}"));
        write!(to, "{} | route {} |", self.now.strftime("%T"), route.collect::<Vec<_>>().join(" "))?;
        for (name, runs) in &self.runs {
            let rolled = if runs.rolled { "" } else { " of the old template" };
            write!(to, " {name} {}/{}{rolled}", runs.ready, runs.replicas)?;
        }
        let subsets: Vec<&str> = self.subsets.iter().map(String::as_str).collect();
        write!(to, " | subsets {} | status {}", subsets.join(" "), self.status.weights.as_deref().unwrap_or("none"))?;
        for entry in self.status.traffic.iter().filter(|entry| entry.held_until.is_some()) {
            let until = entry.held_until.as_ref().map(|until| until.0.strftime("%T").to_string());
            write!(to, ", {} held until {}", entry.version, until.unwrap_or_default())?;
        }
        if let Some(rollout) = &self.status.rollout {
            write!(to, ", {:?} {}", rollout.state, rollout.progress.as_deref().unwrap_or_default())?;
        }
        for watch in Watch::ALL.into_iter().filter(|watch| self.lag.has(*watch)) {
            write!(to, ", {watch:?} as they were")?;
        }
        if let Some((kind, code)) = self.refused {
            write!(to, ", {kind:?} refused with {code}")?;
        }
        write!(to, "{}", self.desk)
    }
}
