//! A Microservice with its versions, pods, weights and steps, as `get` shows it. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde::Serialize;

use crate::{
    api::{
        APP_CONTAINER, LimitedBy, Microservice, Phase, Provider, RolloutState, RolloutStatus, VersionTraffic, labels,
    },
    observe::pods::{facts, is_leaving, troubled},
    plan::rollout::walk::deadline,
    validate::{Policy, resolve::resolve},
};

use super::{
    measurements::{self, Measurement},
    output::tame,
    relapses::{self, Relapses},
    steps,
};

/// One Microservice.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    pub namespace: String,
    pub name: String,
    /// None while the operator has not seen it.
    pub phase: Option<Phase>,
    pub message: String,
    /// Whether the status speaks of the newest spec.
    pub current: bool,
    /// Effective weights, such as `v1=90 v2=10`.
    pub weights: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Progress>,
    pub versions: Vec<Version>,
}

/// How far a rollout is.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    pub state: RolloutState,
    pub done: usize,
    pub steps: Vec<Step>,
    /// When the current step began; None while it waits for something first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// What holds the weights back before the current step begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// When the current step has failed, unless it is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// The latest of each metric, of the analyses that are under way or ended it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub measurements: Vec<Measurement>,
    /// Why it is paused or aborted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// One step of a rollout.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Such as `weight 5` or `pause 1m`.
    pub step: String,
    pub state: StepState,
}

/// How a step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum StepState {
    Done,
    Current,
    /// The rollout was aborted here.
    Aborted,
    Ahead,
}

/// One version.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    pub name: String,
    /// Of a version that is not in the spec, that of its pods; None if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    pub requested: i32,
    pub effective: i32,
    pub ready: i32,
    pub desired: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limited_by: Option<LimitedBy>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// How often it lost its readiness on its way up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relapses: Option<Relapses>,
    pub pods: Vec<PodView>,
}

/// One pod.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodView {
    pub name: String,
    pub ready: bool,
    /// What it does, or what is wrong with it.
    pub state: String,
    pub restarts: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// The container that keeps it from being ready, where it is one.
    #[serde(skip)]
    pub container: Option<String>,
    /// It is being deleted, or never runs again.
    #[serde(skip)]
    pub leaving: bool,
}

/// What a Microservice looks like with its pods; pods of others are left out.
pub fn view(microservice: &Microservice, pods: &[Pod]) -> View {
    let mut resolved = resolve(microservice, Provider::default());
    let status = microservice.status.clone().unwrap_or_default();
    let current = is_current(microservice);
    // Its ConfigMaps are a part of the revision's name, and only the operator reads them.
    let newest = resolved.versions.first_mut().filter(|_| current && microservice.spec.image.is_some());
    if let (Some(newest), Some(name)) = (newest, &status.revision) {
        newest.name.clone_from(name);
    }
    let entry = |name: &str| status.of_version(name);
    let own = |name: &str| pods_of(microservice, name, pods);
    let rollout = status.rollout.as_ref();
    let listed = resolved.versions.iter().map(|version| {
        let unseen =
            VersionTraffic { requested: version.weight, desired: version.replicas, ..VersionTraffic::default() };
        version_view(
            &version.name,
            Some(&version.image),
            entry(&version.name).unwrap_or(&unseen),
            rollout,
            own(&version.name),
        )
    });
    let removed = status.traffic.iter().filter(|entry| resolved.version(&entry.version).is_none());
    let removed = removed.map(|entry| {
        let image = image_of(microservice, &entry.version, pods);
        version_view(&entry.version, image, entry, rollout, own(&entry.version))
    });
    let waiting = if status.phase.is_none() { "the operator has not seen it yet" } else { "" };
    View {
        namespace: resolved.identity.namespace.clone(),
        name: resolved.identity.name.clone(),
        phase: status.phase,
        message: status.message.as_deref().map_or_else(|| waiting.to_owned(), tame),
        current,
        weights: status.weights.clone().unwrap_or_default(),
        rollout: rollout.map(|rollout| progress(rollout, resolved.rollout.as_ref())),
        versions: listed.chain(removed).collect(),
    }
}

/// Whether the status speaks of the newest spec.
pub fn is_current(microservice: &Microservice) -> bool {
    let observed = microservice.status.as_ref().and_then(|status| status.observed_generation);
    observed.is_some() && observed == microservice.metadata.generation
}

fn version_view(
    name: &str,
    image: Option<&str>,
    traffic: &VersionTraffic,
    rollout: Option<&RolloutStatus>,
    pods: Vec<PodView>,
) -> Version {
    let aborted = rollout.is_some_and(|rollout| rollout.state == RolloutState::Aborted);
    Version {
        name: name.to_owned(),
        image: image.map(tame),
        requested: traffic.requested,
        effective: traffic.effective,
        ready: traffic.ready,
        desired: traffic.desired,
        limited_by: traffic.limited_by,
        limit: traffic.limited_by.map(|limit| in_words(limit, traffic, aborted)),
        relapses: rollout.and_then(|rollout| relapses::of(rollout, name, traffic.desired)),
        pods,
    }
}

/// What keeps a version from its requested weight, for people.
fn in_words(limit: LimitedBy, traffic: &VersionTraffic, aborted: bool) -> String {
    let text = match limit {
        LimitedBy::NotReady => "not all of its pods are ready",
        LimitedBy::Propagation => "the mesh is given time to learn of it",
        LimitedBy::HeldOut => match &traffic.held_until {
            Some(until) => return format!("lost its weight; held out until {}", until.0.strftime("%H:%M:%S UTC")),
            None => "lost its weight; held out for a while",
        },
        LimitedBy::Lost => "cannot serve: no pod is ready, or too many restart",
        LimitedBy::OtherVersion => "carries what another version cannot take yet",
        LimitedBy::Rollout if aborted => "the rollout was aborted",
        LimitedBy::Rollout => "the rollout has not come so far",
        LimitedBy::Draining => "removed from the spec; drains",
        LimitedBy::NoMesh => "no mesh weighs the requests",
        LimitedBy::Stalled => "the newest spec cannot be enforced; the last accepted one stands",
    };
    text.to_owned()
}

fn progress(rollout: &RolloutStatus, policy: Option<&Policy>) -> Progress {
    let steps = policy.map(|policy| policy.steps.as_slice()).unwrap_or_default();
    let done = usize::try_from(rollout.step).unwrap_or_default().min(steps.len());
    let state = |index: usize| match (index.cmp(&done), rollout.state) {
        (std::cmp::Ordering::Less, _) | (_, RolloutState::Completed) => StepState::Done,
        (std::cmp::Ordering::Equal, RolloutState::Aborted) => StepState::Aborted,
        (std::cmp::Ordering::Equal, _) => StepState::Current,
        (std::cmp::Ordering::Greater, _) => StepState::Ahead,
    };
    Progress {
        state: rollout.state,
        done,
        steps: steps
            .iter()
            .enumerate()
            .map(|(index, step)| Step { step: tame(&steps::name(step)), state: state(index) })
            .collect(),
        since: rollout.step_since.as_ref().filter(|_| rollout.waits_for.is_none()).map(|since| since.0),
        waits_for: rollout.waits_for.as_deref().map(tame).filter(|_| rollout.state == RolloutState::Progressing),
        deadline: policy.and_then(|policy| deadline(policy, rollout)),
        measurements: measurements::of(rollout),
        message: match rollout.back {
            Some(percent) => {
                let why = rollout.message.iter().map(|why| format!("; {}", tame(why))).collect::<String>();
                Some(format!("going back by steps, now at {percent} % of the way{why}"))
            }
            None => rollout.message.as_ref().or(rollout.held.as_ref().map(|held| &held.message)).map(|it| tame(it)),
        },
    }
}

fn image_of<'a>(microservice: &Microservice, version: &str, pods: &'a [Pod]) -> Option<&'a str> {
    let specs = own_pods(microservice, version, pods).into_iter().filter_map(|pod| pod.spec.as_ref());
    let mut containers = specs.flat_map(|spec| &spec.containers);
    containers.find(|container| container.name == APP_CONTAINER)?.image.as_deref()
}

fn own_pods<'a>(microservice: &Microservice, version: &str, pods: &'a [Pod]) -> Vec<&'a Pod> {
    let name = microservice.name_any();
    let is = |pod: &&Pod, label: &str, value: &str| pod.labels().get(label).is_some_and(|own| own == value);
    pods.iter()
        .filter(|pod| pod.namespace() == microservice.namespace())
        .filter(|pod| is(pod, labels::SERVICE, &name) && is(pod, labels::VERSION, version))
        .collect()
}

fn pods_of(microservice: &Microservice, version: &str, pods: &[Pod]) -> Vec<PodView> {
    let mut own = own_pods(microservice, version, pods);
    own.sort_by_key(|pod| (pod.metadata.creation_timestamp.clone(), pod.name_any()));
    own.into_iter().map(pod_view).collect()
}

fn pod_view(pod: &Pod) -> PodView {
    let facts = facts(pod);
    let phase = || pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_else(|| "Pending".to_owned());
    let state = match facts.trouble {
        _ if pod.metadata.deletion_timestamp.is_some() => "Terminating".to_owned(),
        Some(trouble) => trouble,
        None if facts.ready => "Ready".to_owned(),
        None => format!("{}, not ready", tame(&phase())),
    };
    let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    PodView {
        name: pod.name_any(),
        ready: facts.ready,
        state,
        restarts: containers.map(|container| container.restart_count).sum(),
        created: pod.metadata.creation_timestamp.as_ref().map(|time| time.0),
        container: troubled(pod).map(str::to_owned),
        leaving: is_leaving(pod),
    }
}
