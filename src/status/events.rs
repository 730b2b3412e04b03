//! Which changes matter enough to be told as events. Pure.

use crate::{
    api::{LimitedBy, MicroserviceStatus, Phase, RolloutState, RolloutStatus, conditions},
    apply::Applied,
    plan::{Plan, object::Kind, rollout::held},
};

/// An event to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub warning: bool,
    /// Past tense, CamelCase.
    pub reason: &'static str,
    pub note: String,
}

/// What changed between two statuses, and what was written.
pub fn notices(
    old: &MicroserviceStatus,
    new: &MicroserviceStatus,
    plan: Option<&Plan>,
    applied: &Applied,
) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut tell = |warning, reason, note: String| notices.push(Notice { warning, reason, note });
    for name in plan.map(|plan| plan.lost.as_slice()).unwrap_or_default() {
        tell(true, "VersionLost", format!("{name} cannot serve: its weight went to the other versions"));
    }
    if let (Some(before), Some(after)) = (&old.weights, &new.weights)
        && before != after
        && !before.is_empty()
    {
        tell(false, "TrafficWeightUpdated", format!("effective weights: {before} -> {after}"));
    }
    if let (Some(before), Some(after)) = (&old.revision, &new.revision)
        && before != after
    {
        let same_spec = old.observed_generation == new.observed_generation;
        let what = if same_spec { "a ConfigMap changed" } else { "the spec changed" };
        tell(false, "RevisionChanged", format!("{what}: the newest revision is {after}, before {before}"));
    }
    rollout(old, new, &mut tell);
    for entry in &new.traffic {
        let before = old.of_version(&entry.version);
        if let Some(before) = before
            && before.template.is_some()
            && before.template != entry.template
        {
            tell(false, "VersionUpdated", format!("the pods of {} are replaced one by one", entry.version));
        }
        let drains = |entry: &crate::api::VersionTraffic| entry.limited_by == Some(LimitedBy::Draining);
        if drains(entry) && before.is_some_and(|before| !drains(before)) {
            tell(false, "VersionDraining", format!("{} was removed and gets no more requests", entry.version));
        }
    }
    for (_, name) in applied.removed.iter().filter(|(kind, _)| *kind == Kind::Deployment) {
        tell(false, "VersionRemoved", format!("the Deployment {name} was deleted"));
    }
    if old.provider.is_some() && old.provider != new.provider {
        tell(false, "ProviderChanged", format!("traffic is carried by {:?}", new.provider.unwrap_or_default()));
    }
    for (type_, reason) in [(conditions::STALLED, "Stalled"), (conditions::READY, "BecameReady")] {
        // Each time that a size is put back the service is ready again, and that would be told without end.
        let repeated = type_ == conditions::READY && new.traffic.iter().any(|entry| entry.scaled.is_some());
        if let Some(message) = became_true(old, new, type_).filter(|_| !repeated) {
            tell(type_ == conditions::STALLED, reason, message);
        }
    }
    let degraded = |status: &MicroserviceStatus| status.phase == Some(Phase::Degraded);
    if degraded(new) && !degraded(old) {
        tell(true, "BecameDegraded", new.message.clone().unwrap_or_default());
    }
    for (type_, reason) in [
        (conditions::AVAILABLE, "BecameUnavailable"),
        (conditions::ROUTES_READY, "RoutesDegraded"),
        (conditions::SIZES_READY, "ChildScaled"),
        (conditions::DEPENDENCIES_READY, "DependenciesDegraded"),
    ] {
        if let Some(message) = became_false(old, new, type_) {
            tell(true, reason, message);
        }
    }
    for (type_, reason) in
        [(conditions::AVAILABLE, "BecameAvailable"), (conditions::DEPENDENCIES_READY, "DependenciesRecovered")]
    {
        if value(old, type_).is_some_and(|(before, _)| before == "False")
            && let Some(message) = became_true(old, new, type_)
        {
            tell(false, reason, message);
        }
    }
    notices
}

fn rollout(old: &MicroserviceStatus, new: &MicroserviceStatus, tell: &mut impl FnMut(bool, &'static str, String)) {
    let Some(after) = &new.rollout else { return };
    let before = old.rollout.as_ref();
    let same = before.is_some_and(|before| before.target == after.target);
    let state = before.filter(|_| same).map(|before| before.state);
    let weights = new.weights.as_deref().unwrap_or_default();
    let why = after.message.as_deref().unwrap_or("a step waits until somebody promotes");
    if !same && before.is_some_and(|before| before.state.is_under_way()) {
        tell(false, "RolloutSuperseded", format!("the spec changed on the way; effective weights: {weights}"));
    }
    let by = |rollout: &RolloutStatus| rollout.held.as_ref().map(|held| held.by);
    if by(after) != before.filter(|_| same).and_then(by) {
        match &after.held {
            Some(it) => tell(false, held::reason(it.by), format!("{}; effective weights: {weights}", it.message)),
            None if after.state.is_under_way() => {
                tell(false, "RolloutReleased", "nothing holds the rollout any more".to_owned())
            }
            None => {}
        }
    }
    if state == Some(after.state) {
        return;
    }
    match after.state {
        RolloutState::Progressing if state == Some(RolloutState::Paused) => {
            tell(false, "RolloutResumed", format!("the rollout goes on with step {} of its policy", after.step + 1));
        }
        RolloutState::Progressing => {
            tell(false, "RolloutStarted", format!("the weights travel by the policy's steps; effective: {weights}"));
        }
        RolloutState::Paused => tell(false, "RolloutPaused", format!("{why}; effective weights: {weights}")),
        RolloutState::Aborted => tell(true, "RolloutAborted", format!("{why}; effective weights: {weights}")),
        // A first deployment goes without steps, and one that is replaced at rest had nowhere to go.
        RolloutState::Completed if state.is_some() => {
            tell(false, "RolloutCompleted", format!("the requested weights are in force: {weights}"));
        }
        RolloutState::Completed => {}
    }
}

fn value<'a>(status: &'a MicroserviceStatus, type_: &str) -> Option<(&'a str, &'a str)> {
    let condition = status.conditions.iter().find(|condition| condition.type_ == type_)?;
    Some((condition.status.as_str(), condition.message.as_str()))
}

fn became_true(old: &MicroserviceStatus, new: &MicroserviceStatus, type_: &str) -> Option<String> {
    let (after, message) = value(new, type_)?;
    let before = value(old, type_).map(|(value, _)| value);
    (after == "True" && before != Some("True")).then(|| message.to_owned())
}

fn became_false(old: &MicroserviceStatus, new: &MicroserviceStatus, type_: &str) -> Option<String> {
    let (after, message) = value(new, type_)?;
    let before = value(old, type_).map(|(value, _)| value);
    (after == "False" && before == Some("True")).then(|| message.to_owned())
}
