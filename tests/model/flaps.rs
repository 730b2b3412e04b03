//! What pods that lose their readiness, and get it back, must do to a rollout, by the model's own notes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use microservice_operator::api::{RolloutState, RolloutStatus};

use crate::state::{FORGIVEN, State};

/// A version that loses its readiness so often fails.
const LIMIT: u32 = 3;

/// What was seen of a version in one try, whenever a status was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flaps {
    /// All its pods were ready.
    pub steady: bool,
    /// When a pod of it last restarted or lost its readiness.
    pub latest: Option<Timestamp>,
    /// How often a pod had lost its readiness after all had had it.
    pub falls: u32,
    /// How often there was anything new, restarts included.
    pub news: u32,
}

impl State {
    /// What the notes become with what is seen now. Nothing counts before the steps begin, nor what was before somebody
    /// asked for something.
    pub fn seen_flaps(&self) -> BTreeMap<String, Flaps> {
        let older = self.lag.microservice.as_ref().filter(|_| self.lag.unheard);
        let mut flaps = older.map_or(&self.flaps, |older| &older.flaps).clone();
        let rollout = self.seen_status().rollout.as_ref();
        if !self.orders.is_empty() || !rollout.is_some_and(|it| it.state.is_under_way() && it.step_since.is_some()) {
            return BTreeMap::new();
        }
        let deployments = self.lag.deployments.as_ref().unwrap_or(&self.runs);
        for (name, deployment) in deployments {
            let Some(pods) = self.pods(name) else { continue };
            let known = flaps.entry(name.clone()).or_default();
            let waned = pods.waned.filter(|_| pods.ready < pods.pods);
            let at = waned.max(pods.crashed);
            if at > known.latest {
                let fresh = known.latest.zip(at).is_none_or(|(latest, at)| at.duration_since(latest) < FORGIVEN);
                let fell = u32::from(known.steady && waned > known.latest);
                known.falls = if fresh { known.falls + fell } else { fell };
                known.news += 1;
                known.latest = at;
            }
            known.steady = deployment.complete() && pods.ready >= deployment.replicas;
        }
        flaps
    }
}

/// Too many falls end a rollout with the plan that sees the last of them, and fewer do not.
pub fn check(before: &State, old: &RolloutStatus, new: &RolloutStatus, raised: &[&String]) -> Result<(), String> {
    let flaps = before.seen_flaps();
    let any = |beyond: fn(&Flaps) -> bool| raised.iter().find(|name| flaps.get(**name).is_some_and(beyond));
    let stops = matches!(new.state, RolloutState::Aborted | RolloutState::Paused);
    if let Some(name) = any(|it| it.falls >= LIMIT).filter(|_| !stops) {
        return Err(format!("{name} has lost its readiness {LIMIT} times, and the rollout is {:?}", new.state));
    }
    let says = |rollout: &RolloutStatus| rollout.message.as_ref().is_some_and(|it| it.contains("lost its readiness"));
    if says(new) && !says(old) && any(|it| it.news >= LIMIT).is_none() {
        return Err(format!("nothing has lost its readiness {LIMIT} times, and the rollout is {:?}", new.state));
    }
    Ok(())
}
