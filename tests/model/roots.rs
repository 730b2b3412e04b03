//! Where the exploration begins: some situations that take long to come to.

use jiff::SignedDuration;
use microservice_operator::api::{RolloutState, Verb};

use crate::{
    caches::Watch,
    desk::{Entry, Says},
    events::Event,
    lab::Lab,
    properties,
    state::{Last, State},
};

pub struct Root {
    pub name: String,
    pub state: State,
}

pub fn roots(lab: &Lab) -> Vec<Root> {
    let mut roots = vec![Root { name: "nothing exists yet".into(), state: State::new(lab.number("v1=100")) }];
    let mut state = State::new(lab.number("v1=100"));
    pass(lab, &mut state, 620);
    roots.push(Root { name: "v1 has long had 100".into(), state: state.clone() });
    state.spec = lab.number("v1=0 v2=100");
    roots.push(Root { name: "v1=0 v2=100 begins".into(), state: later(lab, &state, 0) });
    pass(lab, &mut state, 10);
    if state.status.rollout.is_some() {
        assert_eq!((state.weight("v1"), state.weight("v2")), (90, 10));
        roots.push(Root { name: "the first step of v1=0 v2=100 pauses".into(), state: state.clone() });
        for (watch, name) in [
            (Watch::Microservices, "the first step of v1=0 v2=100 pauses, and the watch of Microservices stalls"),
            (Watch::Deployments, "the first step of v1=0 v2=100 pauses, and the watch of Deployments stalls"),
            (Watch::Pods, "the first step of v1=0 v2=100 pauses, and the watch of pods stalls"),
        ] {
            let mut stalled = state.clone();
            stalled.stall(watch);
            roots.push(Root { name: name.into(), state: stalled });
        }
        let flapping = flapping(lab, &state);
        if flapping.rollout_is(RolloutState::Progressing) {
            let name = "v2 has lost its readiness twice while the first step of v1=0 v2=100 pauses";
            roots.push(Root { name: name.into(), state: flapping });
        }
        let mut aborted = state.clone();
        aborted.ask(Verb::Abort);
        pass(lab, &mut aborted, 0);
        roots.push(Root { name: "v1=0 v2=100 was aborted".into(), state: aborted });
        roots.extend(measured(lab, &state));
        let mut aborted = state.clone();
        aborted.ask(Verb::Abort);
        roots.push(Root { name: "v1=0 v2=100 is aborted right now".into(), state: later(lab, &aborted, 0) });
        pass(lab, &mut state, 60);
        if state.rollout_is(RolloutState::Paused) {
            roots.push(Root { name: "v1=0 v2=100 waits for a promotion at 50".into(), state: state.clone() });
            state.ask(Verb::Promote);
            roots.push(Root { name: "v1=0 v2=100 is promoted at 50".into(), state: later(lab, &state, 0) });
        }
    }
    pass(lab, &mut state, 90);
    assert_eq!(state.weight("v2"), 100);
    roots.push(Root { name: "v1=0 v2=100 is reached".into(), state: state.clone() });
    state.spec = lab.number("v2=100");
    pass(lab, &mut state, 10);
    roots.push(Root { name: "v1 drains".into(), state });
    roots
}

/// What the first step of a rollout that is measured may come to.
fn measured(lab: &Lab, first: &State) -> Vec<Root> {
    let after = |replies: &[Says]| {
        let mut state = later(lab, first, 10);
        for says in replies {
            let open: Vec<String> = state.desk.open().map(Entry::about).collect();
            open.iter().for_each(|about| state.answer(about, *says));
            state = later(lab, &state, 10);
        }
        state
    };
    let roots = [
        ("the first measurements are asked for", after(&[])),
        ("the next measurements are asked for after one that failed", after(&[Says::No])),
        ("the next measurements are asked for after an error", after(&[Says::Error])),
        ("the next measurements are asked for after an error and no data", after(&[Says::Error, Says::Nothing])),
    ];
    let roots = roots.into_iter().filter(|(_, state)| !state.desk.is_empty());
    roots.map(|(name, state)| Root { name: name.into(), state }).collect()
}

/// On the way from a mesh to the plain Service, in the middle of a rollout, and back.
pub fn crossing(lab: &Lab) -> Vec<Root> {
    let first = roots(lab).into_iter().find(|root| root.name == "the first step of v1=0 v2=100 pauses");
    let mut state = first.map_or_else(|| roots(lab).remove(1).state, |root| root.state);
    let mut roots = Vec::new();
    for (spec, seconds) in [("v1=0 v2=100 @None", 25), ("v1=0 v2=100", 25)] {
        state.spec = lab.number(spec);
        for passed in 0..seconds / 5 {
            for _ in 0..4 {
                state.heal();
                state = later(lab, &state, 0);
            }
            roots.push(Root { name: format!("{} s after {spec} was asked for", passed * 5), state: state.clone() });
            state.now += SignedDuration::from_secs(5);
        }
    }
    roots
}

/// A pod of v2 loses its readiness and gets it back, twice.
fn flapping(lab: &Lab, from: &State) -> State {
    let mut state = from.clone();
    for _ in 0..2 {
        for event in [Event::Wanes("v2".to_owned()), Event::Ready("v2".to_owned())] {
            state.happen(&event);
            state = later(lab, &state, 5);
            state.happen(&Event::Passes(SignedDuration::from_secs(1)));
        }
    }
    state
}

/// So much later, after a reconciliation; nobody has answered.
fn later(lab: &Lab, from: &State, seconds: i64) -> State {
    let mut state = from.clone();
    state.now += SignedDuration::from_secs(seconds);
    let decision = state.decide(lab);
    state.write(lab, &decision, Last::Status);
    state
}

/// Lets time pass with all pods well.
fn pass(lab: &Lab, state: &mut State, seconds: i64) {
    let end = state.now + SignedDuration::from_secs(seconds);
    loop {
        while settle(lab, state) {}
        if state.now >= end {
            return;
        }
        state.now += SignedDuration::from_secs(5);
    }
}

/// One reconciliation with all pods well. Answers whether anything changed.
fn settle(lab: &Lab, state: &mut State) -> bool {
    let healed = state.heal();
    let before = state.clone();
    let decision = state.decide(lab);
    let written = state.write(lab, &decision, Last::Status);
    let checked = properties::check(lab, &before, &decision, state, written);
    assert_eq!(checked, Ok(()), "on the way to the roots:\n{before}\n{state}");
    healed || written.changed
}
