//! Which changes matter enough to be told as events. Pure.

use jiff::Timestamp;
use serde_json::json;

use crate::{
    api::{
        Hook, LimitedBy, MicroserviceStatus, Moment, Phase, Provider, RolloutState, RolloutStatus, VersionTraffic,
        conditions,
    },
    apply::Applied,
    observe::Weights,
    plan::{
        Plan,
        inquiry::{Call, Occurrence},
        object::Kind,
        rollout::held,
    },
    validate::{Identity, digest::digest, syntax::printable},
};

/// Digits of a call's key.
const KEY_LENGTH: usize = 16;

/// An event to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub warning: bool,
    /// Past tense, CamelCase.
    pub reason: &'static str,
    pub note: String,
}

impl Notice {
    /// Whether it is about what may come and go by itself, without end: weights do, but on the way of a rollout.
    pub fn comes_and_goes(&self, walks: bool) -> bool {
        if self.reason == "TrafficWeightUpdated" {
            return !walks;
        }
        matches!(
            self.reason,
            "BecameReady"
                | "BecameDegraded"
                | "BecameAvailable"
                | "BecameUnavailable"
                | "RoutesDegraded"
                | "ChildScaled"
                | "DependenciesDegraded"
                | "DependenciesRecovered"
        )
    }
}

/// The calls that tell webhooks of an event: those that a service's policy names for it.
pub fn calls(
    notice: &Notice,
    hooks: &[Hook],
    identity: &Identity,
    status: &MicroserviceStatus,
    at: Timestamp,
) -> Vec<Call> {
    let weights = |of: fn(&VersionTraffic) -> i32| -> Weights {
        let weighted = status.traffic.iter().filter(|entry| of(entry) > 0);
        weighted.map(|entry| (entry.version.clone(), of(entry))).collect()
    };
    let rollout = status.rollout.clone().unwrap_or_default();
    let Notice { warning, reason, note } = notice;
    let call = |hook: &Hook| {
        let key = json!([identity.uid, hook.webhook, at.as_nanosecond().to_string(), reason, note]);
        Call {
            webhook: hook.webhook.clone(),
            key: format!("event-{}", digest(&key, KEY_LENGTH)),
            moment: Moment::OnEvent,
            namespace: identity.namespace.clone(),
            service: identity.name.clone(),
            uid: identity.uid.clone(),
            target: rollout.target.clone(),
            step: rollout.step,
            weights: weights(|entry| entry.effective),
            requested: weights(|entry| entry.requested),
            stable: rollout.stable.clone(),
            message: None,
            parameters: hook.parameters.clone(),
            event: Some(Occurrence { warning: *warning, reason, message: note.clone(), at }),
        }
    };
    hooks.iter().filter(|hook| hook.at.contains(&Moment::OnEvent)).map(call).collect()
}

/// What was deleted, which no status tells of.
pub fn removals(applied: &Applied) -> Vec<Notice> {
    let deployments = applied.removed.iter().filter(|(kind, _)| *kind == Kind::Deployment);
    deployments
        .map(|(_, name)| Notice {
            warning: false,
            reason: "VersionRemoved",
            note: format!("the Deployment {name} was deleted"),
        })
        .collect()
}

/// The versions that have a weight, and which.
fn in_force(status: &MicroserviceStatus) -> Vec<(&str, i32)> {
    let carry = status.traffic.iter().filter(|entry| entry.effective > 0);
    let mut weights: Vec<_> = carry.map(|entry| (entry.version.as_str(), entry.effective)).collect();
    weights.sort_unstable();
    weights
}

/// What changed between two statuses.
pub fn notices(old: &MicroserviceStatus, new: &MicroserviceStatus, plan: Option<&Plan>) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut tell =
        |warning, reason, note: String| notices.push(Notice { warning, reason, note: printable(&note).into_owned() });
    for name in plan.map(|plan| plan.lost.as_slice()).unwrap_or_default() {
        tell(true, "VersionLost", format!("{name} cannot serve: its weight went to the other versions"));
    }
    if let (Some(before), Some(after)) = (&old.weights, &new.weights)
        && in_force(old) != in_force(new)
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
        let drains = |entry: &VersionTraffic| entry.limited_by == Some(LimitedBy::Draining);
        if drains(entry) && before.is_some_and(|before| !drains(before)) {
            tell(false, "VersionDraining", format!("{} was removed and gets no more requests", entry.version));
        }
    }
    if old.provider.is_some() && old.provider != new.provider {
        let now = match new.provider {
            Some(Provider::Istio) => "traffic is carried by Istio",
            Some(Provider::None) => "traffic is carried by the Service alone",
            None => "no traffic is carried any more: the spec has no ports",
        };
        tell(false, "ProviderChanged", now.to_owned());
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
    let by = |rollout: &RolloutStatus| held::shown(rollout).map(|held| held.by);
    if by(after) != before.filter(|_| same).and_then(by) {
        match held::shown(after) {
            Some(it) => tell(false, held::reason(it.by), format!("{}; effective weights: {weights}", it.message)),
            None if after.state == RolloutState::Progressing => {
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
            let all_done = |it: &str| it.split_once('/').is_some_and(|(done, all)| done == all);
            let next = match after.progress.as_deref() {
                Some(progress) if all_done(progress) => "the last raise".to_owned(),
                _ => format!("step {} of its policy", after.step + 1),
            };
            tell(false, "RolloutResumed", format!("the rollout goes on with {next}"));
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_rollout_goes_on_with_what_comes_next() {
        for (progress, step, next) in [("3/4", 3, "step 4 of its policy"), ("4/4", 4, "the last raise")] {
            let at = |state| MicroserviceStatus {
                rollout: Some(RolloutStatus {
                    state,
                    step,
                    progress: Some(progress.into()),
                    ..RolloutStatus::default()
                }),
                ..MicroserviceStatus::default()
            };
            let mut told = Vec::new();
            rollout(&at(RolloutState::Paused), &at(RolloutState::Progressing), &mut |_, reason, note| {
                told.push((reason, note));
            });
            assert_eq!(told, [("RolloutResumed", format!("the rollout goes on with {next}"))]);
        }
    }

    #[test]
    fn an_event_is_for_the_webhooks_that_want_it_and_says_where_the_service_is() {
        let hook = |webhook: &str, at: &[Moment]| Hook {
            webhook: webhook.to_owned(),
            at: at.to_vec(),
            parameters: BTreeMap::from([("team".to_owned(), "shop".to_owned())]),
        };
        let hooks = [hook("chat", &[Moment::OnRollback, Moment::OnEvent]), hook("tests", &[Moment::BeforeTraffic])];
        let entry = |version: &str, requested, effective| VersionTraffic {
            version: version.to_owned(),
            requested,
            effective,
            ..VersionTraffic::default()
        };
        let status = MicroserviceStatus {
            traffic: vec![entry("v1", 0, 95), entry("v2", 100, 5), entry("v3", 0, 0)],
            rollout: Some(RolloutStatus { target: "abc".to_owned(), step: 2, ..RolloutStatus::default() }),
            ..MicroserviceStatus::default()
        };
        let identity = Identity {
            name: "web".to_owned(),
            namespace: "shop".to_owned(),
            uid: "uid-1".to_owned(),
            generation: 1,
            created: None,
        };
        let notice = Notice { warning: false, reason: "RolloutStarted", note: "the weights travel".to_owned() };
        let told = |second: i64| calls(&notice, &hooks, &identity, &status, Timestamp::from_second(second).unwrap());
        let [call] = <[Call; 1]>::try_from(told(1)).unwrap();
        assert_eq!((call.webhook.as_str(), call.moment, call.service.as_str()), ("chat", Moment::OnEvent, "web"));
        assert_eq!((call.target.as_str(), call.step, call.parameters.len()), ("abc", 2, 1));
        let weights = |pairs: &[(&str, i32)]| pairs.iter().map(|(name, of)| ((*name).to_owned(), *of)).collect();
        assert_eq!((call.weights, call.requested), (weights(&[("v1", 95), ("v2", 5)]), weights(&[("v2", 100)])));
        let event = call.event.unwrap();
        assert_eq!((event.reason, event.message.as_str()), ("RolloutStarted", "the weights travel"));
        assert_ne!(call.key, told(2)[0].key, "a second event of the kind is another one");
    }
}
