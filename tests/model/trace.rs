//! A counterexample: the shortest one that can be found by leaving events out, to be read from the top.

use std::{collections::HashSet, fmt::Write};

use crate::{events::Event, lab::Lab, liveness, properties, roots::Root, state::State};

/// What went wrong, and what happened after the events until it did.
#[derive(Debug)]
pub struct Failure {
    pub why: String,
    pub then: Vec<String>,
}

/// Lets one event happen, and checks what a reconciliation did.
pub fn step(lab: &Lab, state: &mut State, event: &Event) -> Result<(), Failure> {
    let Event::Reconcile(last) = event else {
        state.happen(event);
        return Ok(());
    };
    if !state.may_decide() {
        return Ok(());
    }
    let decision = state.decide(lab);
    let before = state.clone();
    let written = state.write(lab, &decision, *last);
    properties::check(lab, &before, &decision, state, written).map_err(|why| Failure { why, then: Vec::new() })
}

/// Panics with the shortest trace of events that fail.
pub fn fail(lab: &Lab, root: &Root, mut events: Vec<Event>, found: &Failure, about: &str) -> ! {
    let kind = |why: &str| why.split_whitespace().last().map(str::to_owned);
    let mut failure = replay(lab, root, &events).expect_err("the same events fail again");
    let mut at = 0;
    while at < events.len() {
        let mut fewer = events.clone();
        fewer.remove(at);
        match replay(lab, root, &fewer) {
            Err(other) if kind(&other.why) == kind(&found.why) => (events, failure) = (fewer, other),
            _ => at += 1,
        }
    }
    let mut state = root.state.clone();
    let mut text = format!("  {}\n        {state}\n", root.name);
    for event in &events {
        let _ = step(lab, &mut state, event);
        writeln!(text, "  {}\n        {state}", event.tell(lab)).unwrap();
    }
    if !failure.then.is_empty() {
        writeln!(text, "  from now on all pods are well, and nobody edits").unwrap();
    }
    for line in failure.then {
        writeln!(text, "        {line}").unwrap();
    }
    panic!("{}\n{about}{text}", failure.why)
}

fn replay(lab: &Lab, root: &Root, events: &[Event]) -> Result<(), Failure> {
    let mut state = root.state.clone();
    for event in events {
        step(lab, &mut state, event)?;
    }
    liveness::ends(lab, &state, &mut HashSet::new())
}
