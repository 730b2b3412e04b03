//! Everything that should end, ends: once all pods are well, nobody edits, and people promote what waits and retry what
//! was aborted.

use std::collections::HashSet;

use microservice_operator::{
    api::{Provider, RolloutState, Verb},
    observe::Weights,
    validate::Validated,
};

use crate::{
    caches::Decision,
    lab::Lab,
    properties,
    state::{Last, State},
    trace::Failure,
};

/// Times that the operator may ask to be woken before it is done.
const WAKES: usize = 60;
const RECONCILIATIONS: usize = 12;

/// Checks that it ends. `known` are fingerprints of states from which it does. Time passes only to when the operator
/// asked to be woken, so a wait that it does not ask for never ends. A failure comes with what happened until then.
pub fn ends(lab: &Lab, from: &State, known: &mut HashSet<u64>) -> Result<(), Failure> {
    let mut state = from.clone();
    let mut told = Vec::new();
    let mut passed = Vec::new();
    let mut asked = None;
    for _ in 0..WAKES {
        let wake = match rest(lab, &mut state, &mut told) {
            Ok(decision) if is_over(lab, &state, &decision) => None,
            Ok(decision) => Some(decision.plan.next),
            Err(why) => return Err(Failure { why, then: told }),
        };
        let Some(wake) = wake else {
            known.extend(passed);
            return Ok(());
        };
        let print = state.fingerprint();
        if known.contains(&print) {
            known.extend(passed);
            return Ok(());
        }
        passed.push(print);
        let step = state.status.rollout.as_ref().map(|rollout| rollout.step);
        let verb = wanted(&state).filter(|verb| asked != Some((*verb, step)));
        asked = verb.map(|verb| (verb, step));
        if let Some(verb) = verb {
            state.ask(verb);
            told.push(format!("somebody asks: {verb:?}"));
        } else if let Some(wake) = wake {
            told.push(format!("{} s pass", wake.duration_since(state.now).as_secs()));
            state.now = wake;
        } else {
            let why = "the operator waits for nothing, and the spec is not reached".to_owned();
            return Err(Failure { why, then: told });
        }
    }
    Err(Failure { why: format!("the spec is not reached after {WAKES} waits"), then: told })
}

/// Reconciles until nothing more is written; all pods are well all the while.
fn rest(lab: &Lab, state: &mut State, told: &mut Vec<String>) -> Result<Decision, String> {
    for _ in 0..RECONCILIATIONS {
        let healed = state.heal();
        let decision = state.decide(lab);
        let before = state.clone();
        let written = state.write(lab, &decision, Last::Status);
        if written.changed || healed {
            told.push(format!("{state}"));
        }
        properties::check(lab, &before, &decision, state, written)?;
        if !written.changed && !healed {
            return Ok(decision);
        }
    }
    Err("the operator goes on writing at one moment".to_owned())
}

fn wanted(state: &State) -> Option<Verb> {
    if state.rollout_is(RolloutState::Paused) {
        Some(Verb::Promote)
    } else {
        state.rollout_is(RolloutState::Aborted).then_some(Verb::Retry)
    }
}

fn is_over(lab: &Lab, state: &State, decision: &Decision) -> bool {
    let service = &state.spec(lab).service;
    let asked: Weights =
        service.versions.iter().filter(|it| it.weight > 0).map(|it| (it.name.clone(), it.weight)).collect();
    let carried = |(name, weight): (&String, &i32)| (*weight > 0).then(|| (name.clone(), *weight));
    let route: Weights = state.route.iter().flatten().filter_map(carried).collect();
    let named = |names: Vec<&String>| names.len() == service.versions.len();
    if service.provider == Provider::None {
        return is_over_without_a_mesh(state, service);
    }
    let condition = decision.status.conditions.iter().find(|condition| condition.type_ == "Ready");
    asked == route
        && named(state.runs.keys().collect())
        && named(state.subsets.iter().collect())
        && condition.is_some_and(|ready| ready.status == "True")
        && state.hooks.owed.is_empty()
        && (service.rollout.is_none() || state.rollout_is(RolloutState::Completed))
}

/// The Service selects the version that is to get everything, or all of them. A rollout that was under way stays where it
/// was, and the Service selects what served before it.
fn is_over_without_a_mesh(state: &State, service: &Validated) -> bool {
    let whole = |weights: Weights| weights.into_iter().find(|(_, weight)| *weight == 100).map(|(name, _)| name);
    let stays = state.status.rollout.as_ref().filter(|rollout| rollout.state != RolloutState::Completed);
    let pin = match stays {
        Some(rollout) => whole(rollout.stable.clone()),
        None => whole(service.versions.iter().map(|version| (version.name.clone(), version.weight)).collect()),
    };
    let alone = stays.is_some() || state.runs.len() == service.versions.len();
    alone && state.route.is_none() && state.subsets.is_empty() && state.pin == pin && state.orders.is_empty()
}
