//! All interleavings up to a depth, and random walks beyond it.

use std::{collections::HashSet, fmt};

use devcluster::Dice;

use crate::{
    events::Event,
    lab::Lab,
    liveness, properties,
    roots::Root,
    state::{Last, State},
    trace::{self, Failure},
};

/// Of so many new states, it is checked from one whether all ends.
const SAMPLE: usize = 25;

/// How far an exploration went.
#[derive(Default)]
pub struct Found {
    states: usize,
    transitions: usize,
    ended: usize,
    depth: u64,
}

impl fmt::Display for Found {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, transitions, ended, depth } = self;
        write!(to, "{states} states, {transitions} transitions, depth {depth}; {ended} states led to their end")
    }
}

/// How a state was come to.
struct Node {
    parent: Option<usize>,
    event: Option<Event>,
    root: usize,
}

pub fn breadth_first(lab: &Lab, roots: &[Root], depth: u64) -> Found {
    let mut nodes: Vec<Node> = (0..roots.len()).map(|root| Node { parent: None, event: None, root }).collect();
    let mut frontier: Vec<(usize, State)> = roots.iter().map(|root| root.state.clone()).enumerate().collect();
    let mut seen: HashSet<u64> = frontier.iter().map(|(_, state)| state.fingerprint()).collect();
    let mut known = HashSet::new();
    let mut found = Found { states: frontier.len(), depth, ..Found::default() };
    let path = |nodes: &[Node], mut at: usize, event: &Event| {
        let mut events = vec![event.clone()];
        while let (Some(parent), Some(event)) = (nodes[at].parent, &nodes[at].event) {
            events.push(event.clone());
            at = parent;
        }
        events.reverse();
        events
    };
    for _ in 0..depth {
        let mut next = Vec::new();
        for (at, state) in frontier {
            let fail = |nodes: &[Node], event: &Event, failure: &Failure| -> ! {
                trace::fail(lab, &roots[nodes[at].root], path(nodes, at, event), failure, "")
            };
            let decision = state.decide(lab);
            let mut events = state.disturbances(lab);
            events.extend(state.reconciliations(&decision).map(Event::Reconcile));
            for event in events {
                found.transitions += 1;
                let mut after = state.clone();
                let checked = match event {
                    Event::Reconcile(last) => {
                        let written = after.write(lab, &decision, last);
                        properties::check(lab, &state, &decision, &after, written)
                    }
                    _ => {
                        after.happen(&event);
                        Ok(())
                    }
                };
                if let Err(why) = checked {
                    fail(&nodes, &event, &Failure { why, then: Vec::new() });
                }
                if !seen.insert(after.fingerprint()) {
                    continue;
                }
                found.states += 1;
                if found.states.is_multiple_of(SAMPLE) {
                    found.ended += 1;
                    if let Err(failure) = liveness::ends(lab, &after, &mut known) {
                        fail(&nodes, &event, &failure);
                    }
                }
                nodes.push(Node { parent: Some(at), event: Some(event), root: nodes[at].root });
                next.push((nodes.len() - 1, after));
            }
        }
        frontier = next;
    }
    found
}

pub fn walk_at_random(lab: &Lab, roots: &[Root], seed: u64, walks: u64, steps: u64) -> Found {
    let mut seen = HashSet::new();
    let mut known = HashSet::new();
    let mut found = Found { depth: steps, ..Found::default() };
    for walk in 0..walks {
        let mut chance = Chance(Dice::new(seed.wrapping_mul(1_000_003).wrapping_add(walk)));
        let root = &roots[chance.below(roots.len())];
        let mut state = root.state.clone();
        let mut events = Vec::new();
        let about = format!("walk {walk} of MODEL_SEED={seed}\n");
        let fail =
            |events: &[Event], failure: &Failure| -> ! { trace::fail(lab, root, events.to_vec(), failure, &about) };
        for _ in 0..steps {
            let event = chance.event(lab, &state);
            events.push(event.clone());
            found.transitions += 1;
            if let Err(failure) = trace::step(lab, &mut state, &event) {
                fail(&events, &failure);
            }
            found.states += usize::from(seen.insert(state.fingerprint()));
        }
        found.ended += 1;
        if let Err(failure) = liveness::ends(lab, &state, &mut known) {
            fail(&events, &failure);
        }
    }
    found
}

/// What happens next in a walk.
struct Chance(Dice);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound)
    }

    /// Reconciliations and pods that get ready are more frequent than the rest, or nothing would come far.
    fn event(&mut self, lab: &Lab, state: &State) -> Event {
        let events = state.disturbances(lab);
        if let Some(owed) = state.lag.owed.first().filter(|_| self.below(2) == 0) {
            return Event::Delivers(*owed);
        }
        match self.below(21) {
            0..8 => Event::Reconcile(Last::Status),
            8..10 => Event::Reconcile(Last::ALL[self.below(Last::ALL.len())]),
            10..13 => {
                let ready = events.iter().filter(|event| matches!(event, Event::Ready(_))).cloned().collect();
                self.one_of(ready).unwrap_or(Event::Reconcile(Last::Status))
            }
            13..16 => {
                let ticks = events.iter().filter(|event| matches!(event, Event::Passes(_))).cloned().collect();
                self.one_of(ticks).unwrap()
            }
            16..18 => {
                let answers = events.iter().filter(|event| matches!(event, Event::Answers(..))).cloned().collect();
                self.one_of(answers).or_else(|| self.one_of(events)).unwrap()
            }
            18 => {
                let watches = events.iter().filter(|event| matches!(event, Event::Stalls(_) | Event::Delivers(_)));
                self.one_of(watches.cloned().collect()).unwrap()
            }
            _ => self.one_of(events).unwrap(),
        }
    }

    fn one_of(&mut self, mut events: Vec<Event>) -> Option<Event> {
        if events.is_empty() {
            return None;
        }
        let chosen = self.below(events.len());
        Some(events.swap_remove(chosen))
    }
}
