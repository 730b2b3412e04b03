//! What holds a Microservice, and what to do: the content of `why`. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::ResourceExt;
use serde::Serialize;

use crate::{
    api::{APP_CONTAINER, Microservice, Phase, RolloutState, conditions, conditions::reason, labels},
    plan::resources::child_name,
};

use super::{
    output::{Paint, Tone, age, tame},
    relapses,
    tree::phase,
    view::{PodView, Version, View, view},
};

/// How many warnings are shown.
const WARNINGS: usize = 5;
/// How old a warning may be, in seconds.
const RECENT: i64 = 3_600;
/// Conditions that are well when they are False.
const GOOD_IF_FALSE: [&str; 3] = [conditions::RECONCILING, conditions::STALLED, conditions::PAUSED];

/// What holds a Microservice.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    pub namespace: String,
    pub name: String,
    pub phase: Option<Phase>,
    pub message: String,
    /// Whether the status speaks of the newest spec.
    pub current: bool,
    /// When the current step of the rollout has failed, unless it is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Those that are not as they are when all is well.
    pub conditions: Vec<Held>,
    /// Those whose weight is not the requested one, or whose pods are not all well or were not on the way up; of their
    /// pods, those that are not, and without images.
    pub versions: Vec<Version>,
    pub warnings: Vec<Warning>,
    /// What to do.
    pub advice: Vec<String>,
}

/// A condition that tells of trouble.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    #[serde(rename = "type")]
    pub type_: String,
    pub status: String,
    pub reason: String,
    pub message: String,
    pub since: Timestamp,
}

/// A recent event that warns.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Warning {
    pub object: String,
    pub reason: String,
    pub message: String,
    pub count: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
}

/// Says why, from a Microservice, its pods as `view` shows them, and the warnings of its namespace. `scope` is what a
/// command needs to reach the same namespace.
pub fn explain(
    scope: &str,
    microservice: &Microservice,
    pods: &[k8s_openapi::api::core::v1::Pod],
    events: &[Event],
    now: Timestamp,
) -> Why {
    let view = view(microservice, pods);
    let conditions = microservice.status.iter().flat_map(|status| &status.conditions);
    let conditions = conditions.filter(|condition| {
        condition.status != if GOOD_IF_FALSE.contains(&condition.type_.as_str()) { "False" } else { "True" }
    });
    let conditions: Vec<Held> = conditions
        .map(|condition| Held {
            type_: condition.type_.clone(),
            status: condition.status.clone(),
            reason: condition.reason.clone(),
            message: tame(&condition.message),
            since: condition.last_transition_time.0,
        })
        .collect();
    let current =
        |version: &Version| version.relapses.clone().filter(|relapses| relapses::told(relapses, now).is_some());
    let is_short = |version: &&Version| {
        version.limited_by.is_some() || version.ready < version.desired || current(version).is_some()
    };
    let short = view.versions.iter().filter(is_short);
    let versions: Vec<Version> = short
        .map(|version| Version {
            image: None,
            relapses: current(version),
            pods: version.pods.iter().filter(|pod| !pod.ready).cloned().collect(),
            ..version.clone()
        })
        .collect();
    let advice = advice(scope, microservice, &view, &conditions, &versions);
    Why {
        warnings: warnings(&view, events, now),
        namespace: view.namespace,
        name: view.name,
        phase: view.phase,
        message: view.message,
        current: view.current,
        deadline: view.rollout.and_then(|rollout| rollout.deadline),
        conditions,
        versions,
        advice,
    }
}

fn warnings(view: &View, events: &[Event], now: Timestamp) -> Vec<Warning> {
    let pods = || view.versions.iter().flat_map(|version| &version.pods);
    let deployment = |name: &str| view.versions.iter().any(|version| child_name(&view.name, &version.name) == name);
    // It has the name of its Deployment and a hash.
    let replica_set = |name: &str| name.rsplit_once('-').is_some_and(|(of, _)| deployment(of));
    let ours = |event: &&Event| {
        let name = event.involved_object.name.as_deref().unwrap_or_default();
        match event.involved_object.kind.as_deref() {
            Some("Microservice") => name == view.name,
            Some("Pod") => pods().any(|pod| pod.name == name),
            Some("Deployment") => deployment(name),
            Some("ReplicaSet") => replica_set(name),
            _ => false,
        }
    };
    let recent = |event: &&Event| when(event).is_none_or(|at| now.duration_since(at).as_secs() <= RECENT);
    let warns = |event: &&Event| event.type_.as_deref() == Some("Warning");
    let mut found: Vec<&Event> = events.iter().filter(warns).filter(ours).filter(recent).collect();
    found.sort_by_key(|event| std::cmp::Reverse(when(event)));
    let warning = |event: &Event| Warning {
        object: format!(
            "{} {}",
            tame(event.involved_object.kind.as_deref().unwrap_or_default()),
            tame(event.involved_object.name.as_deref().unwrap_or_default())
        ),
        reason: tame(event.reason.as_deref().unwrap_or_default()),
        message: tame(event.message.as_deref().unwrap_or_default()),
        count: event.series.as_ref().and_then(|series| series.count).or(event.count).unwrap_or(1),
        last: when(event),
    };
    found.into_iter().take(WARNINGS).map(warning).collect()
}

/// When an event was last seen, in the old API's fields or the new one's.
pub fn when(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    let at = event.event_time.as_ref().map(|time| time.0);
    series.or(last).or(at).or(event.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

fn advice(
    scope: &str,
    microservice: &Microservice,
    view: &View,
    conditions: &[Held],
    versions: &[Version],
) -> Vec<String> {
    let (name, namespace) = (microservice.name_any(), &view.namespace);
    let at = format!("{name} {scope}");
    let mut advice = Vec::new();
    if !view.current {
        advice.push(format!(
            "see whether the operator runs and watches {namespace}: the status does not speak of the newest spec"
        ));
    }
    let told = |reason: &str| conditions.iter().any(|condition| condition.reason == reason);
    if told(reason::ROLLOUT_SUSPENDED) {
        advice.push(format!("go on: remove spec.rollout.suspend, or back: kubectl ms abort {at}"));
    }
    if told(reason::ROLLOUT_OUTSIDE_WINDOW) {
        advice.push(format!(
            "nothing: it goes on when the window opens; not to wait for it and to skip the steps: kubectl ms promote {at} \
             --full"
        ));
    }
    let held = told(reason::ROLLOUT_SUSPENDED) || told(reason::ROLLOUT_OUTSIDE_WINDOW);
    match view.rollout.as_ref().map(|rollout| rollout.state).filter(|_| !held) {
        Some(RolloutState::Paused) => {
            advice.push(format!("go on: kubectl ms promote {at}, or back: kubectl ms abort {at}"));
        }
        Some(RolloutState::Aborted) => {
            advice.push(format!("correct the spec, or try the same again: kubectl ms retry {at}"));
        }
        Some(RolloutState::Progressing) if view.rollout.as_ref().is_some_and(|rollout| rollout.waits_for.is_some()) => {
            advice.push(format!(
                "see to what it waits for, if it does not come by itself; not to wait for it and to skip the steps: kubectl \
                 ms promote {at} --full, or back: kubectl ms abort {at}"
            ));
        }
        Some(RolloutState::Progressing)
            if view.phase == Some(Phase::Progressing) && versions.iter().all(|version| ailing(version).is_none()) =>
        {
            advice.push(format!("nothing: it goes on by itself; to skip its steps: kubectl ms promote {at} --full"));
        }
        _ => {}
    }
    if told(reason::INVALID_SPEC) {
        advice.push(
            "correct the spec as the message says; microservice-operator lint checks it before it is applied"
                .to_owned(),
        );
    }
    if told(reason::MESH_NOT_INSTALLED) {
        advice.push("install Istio, or set spec.traffic.provider to None".to_owned());
    }
    if told(reason::DEPENDENCY_NOT_FOUND)
        || told(reason::DEPENDENCY_NOT_READY)
        || told(reason::DEPENDENCY_PORT_MISMATCH)
    {
        advice.push("see to the dependency that is named; it does not hold this service up".to_owned());
    }
    for version in versions {
        match ailing(version) {
            Some(pod) => advice.push(of_pod(&version.name, pod, scope)),
            None if version.relapses.is_some() => {
                let pods = format!("{}={name},{}={}", labels::SERVICE, labels::VERSION, version.name);
                advice.push(format!(
                    "{}: see why its pods lose their readiness: kubectl describe pods --selector {pods} {scope}",
                    version.name
                ));
            }
            None => {}
        }
    }
    if advice.is_empty() {
        advice.push(match view.phase {
            Some(Phase::Ready) => "nothing: all is as requested".to_owned(),
            Some(Phase::Progressing) => "nothing: it goes on by itself".to_owned(),
            _ => "do what the message says".to_owned(),
        });
    }
    advice
}

/// The first pod that stays and is not well.
fn ailing(version: &Version) -> Option<&PodView> {
    version.pods.iter().find(|pod| !pod.leaving)
}

/// What to look at when a pod is not ready.
fn of_pod(version: &str, pod: &PodView, scope: &str) -> String {
    let state = pod.state.as_str();
    let at = format!("{} {scope}", pod.name);
    if state.contains("Image") {
        return format!(
            "{version}: check the image's name, that it is there, and imagePullSecrets: kubectl describe pod {at}"
        );
    }
    // Without a name kubectl takes the service's own container.
    let other = pod.container.as_deref().filter(|container| *container != APP_CONTAINER);
    let at_container = other.map_or_else(|| at.clone(), |container| format!("{at} --container {container}"));
    if state.contains("CrashLoopBackOff") {
        return format!("{version}: see why it ended: kubectl logs {at_container} --previous");
    }
    if state.contains("ended with exit code") {
        return format!("{version}: see why it ended: kubectl logs {at_container}");
    }
    if state.contains("Unschedulable") {
        return format!("{version}: make room, or ask for less: resources, nodeSelector, affinity, tolerations");
    }
    if state.contains("not ready") && !state.contains("Pending") {
        return format!("{version}: see what its health endpoint answers: kubectl logs {at}");
    }
    format!("{version}: kubectl describe pod {at}")
}

/// For people.
pub fn told(why: &Why, now: Timestamp, paint: Paint) -> String {
    let name = paint.paint(Tone::Strong, &format!("{}/{}", why.namespace, why.name));
    let mut text = format!("{name}  {}\n  {}\n", phase(why.phase, paint), why.message);
    if let Some(at) = why.deadline {
        text.push_str(&format!("  the step fails at {}, unless it is reached\n", at.strftime("%H:%M:%S UTC")));
    }
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            text.push_str(&format!("\n{}\n", paint.paint(Tone::Strong, title)));
            lines.iter().for_each(|line| text.push_str(&format!("  {}\n", line.trim_end())));
        }
    };
    let condition = |held: &Held| {
        let message = if why.message.contains(&held.message) { String::new() } else { format!(": {}", held.message) };
        let value = paint.paint(Tone::Moving, &format!("{}={}", held.type_, held.status));
        format!("{value}  {} for {}{}", held.reason, age(held.since, now), message.trim_end_matches(": "))
    };
    section("Conditions", why.conditions.iter().map(condition).collect());
    let version = |short: &Version| {
        let Version { name, effective, requested, ready, desired, .. } = short;
        let limit = short.limit.as_ref().map(|limit| format!(": {limit}")).unwrap_or_default();
        let head =
            format!("{name} carries {effective} % ({requested} % requested), {ready}/{desired} pods ready{limit}");
        let pods = short.pods.iter().map(|pod| format!("  {}: {}", pod.name, paint.paint(Tone::Bad, &pod.state)));
        let relapses = short.relapses.as_ref().and_then(|relapses| relapses::told(relapses, now));
        let relapses = relapses.map(|text| format!("  {}", paint.paint(Tone::Bad, &text)));
        [head].into_iter().chain(relapses).chain(pods).collect::<Vec<_>>()
    };
    section("Versions", why.versions.iter().flat_map(version).collect());
    let warning = |warning: &Warning| {
        let ago = warning.last.map(|last| format!("{} ago  ", age(last, now))).unwrap_or_default();
        let count = if warning.count > 1 { format!(" ({}×)", warning.count) } else { String::new() };
        format!("{ago}{}  {}{count}: {}", warning.object, warning.reason, warning.message)
    };
    let news = why.warnings.iter().filter(|warning| warning.message != why.message);
    section("Warnings", news.map(warning).collect());
    section("What to do", why.advice.clone());
    text
}
