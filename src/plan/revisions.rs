//! Older revisions of a service that names an image: which of them are still needed, and what they are made of. Pure.
//!
//! A revision is what its pods are made of. Ports, routes, traffic policy and size are always those of the newest spec.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use jiff::Timestamp;

use crate::{
    api::{Microservice, MicroserviceSpec, MicroserviceStatus, Port, RolloutState, RolloutStatus, VersionTraffic},
    observe::{Acceptance, ChildRef, Observed, Weights},
    validate::{Copies, Validated, Version, resolve::resolve},
};

use super::{configuration::with_copies, object::Kind};

/// An accepted spec as a ControllerRevision keeps it.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Name of the ControllerRevision.
    pub name: String,
    pub accepted: Acceptance,
    pub spec: MicroserviceSpec,
    /// The copies that its revision uses.
    pub copies: Copies,
}

/// Adds the older revisions that requests go to or that the rollout may go back to, as versions that are asked to have
/// nothing. One whose spec is no longer kept is left out, and so is treated as a version that was removed.
pub fn with_older(
    mut service: Validated,
    status: &MicroserviceStatus,
    routed: Option<&Weights>,
    history: impl FnOnce() -> Vec<Kept>,
    now: Timestamp,
) -> Validated {
    let needed = needed(&service, status, routed, now);
    if needed.is_empty() {
        return service;
    }
    let mut history = history();
    history.sort_by(|one, other| (Reverse(one.accepted), &one.name).cmp(&(Reverse(other.accepted), &other.name)));
    let known: Vec<Version> = history.iter().filter_map(|kept| older(&service, kept)).collect();
    let found = needed.iter().filter_map(|name| known.iter().find(|version| version.name == *name).cloned());
    service.versions.extend(found);
    service
}

/// The ControllerRevisions, the one whose spec was accepted last first.
pub fn latest_first(observed: &Observed) -> Vec<&ChildRef> {
    let mut kept: Vec<_> = observed.children.iter().filter(|child| child.kind == Kind::ControllerRevision).collect();
    kept.sort_by_key(|child| (Reverse(child.accepted), &child.name));
    kept
}

/// Number of the ControllerRevision with the name, which keeps the spec that was accepted last: greater than all others'.
pub fn number(name: &str, observed: &Observed) -> i64 {
    let latest = latest_first(observed).into_iter().find_map(|child| Some((child, child.accepted?.number)));
    latest.map_or(1, |(child, number)| number.saturating_add(i64::from(child.name != name)).max(1))
}

/// The revisions that accepted specs make, by name; each with the port of the Service, if any, at which nothing would find its
/// pods.
pub fn kept(service: &Validated, history: &[Kept]) -> BTreeMap<String, Option<i32>> {
    let versions = history.iter().filter_map(|kept| older(service, kept));
    versions.map(|version| (version.name.clone(), lost_port(service, &version))).collect()
}

/// A port whose name and number none of its pods' ports have: see [`super::traffic::targets`].
fn lost_port(service: &Validated, version: &Version) -> Option<i32> {
    let now = &service.newest_revision()?.ports;
    let is_lost = |port: &&Port| {
        let was_there = version.ports.iter().any(|then| then.port == port.port);
        let is_same = |then: &Port| then.name == port.name || then.target_port == port.target_port;
        was_there && !version.ports.iter().any(is_same)
    };
    now.iter().find(is_lost).map(|port| port.port)
}

/// Names of the versions that are still needed beside the newest revision.
fn needed(
    service: &Validated,
    status: &MicroserviceStatus,
    routed: Option<&Weights>,
    now: Timestamp,
) -> BTreeSet<String> {
    if !service.by_image() {
        return BTreeSet::new();
    }
    let rollout = status.rollout.as_ref();
    let until = |memory: &VersionTraffic| kept_until(service, rollout, memory);
    let remembered = status.traffic.iter().filter(|it| it.effective > 0 || until(it).is_some_and(|at| at > now));
    let weighted = routed.into_iter().flatten().filter(|(_, weight)| **weight > 0).map(|(name, _)| name);
    let stable =
        rollout.filter(|rollout| rollout.state != RolloutState::Completed).map(|rollout| rollout.stable.keys());
    let names = remembered.map(|memory| &memory.version).chain(weighted).chain(stable.into_iter().flatten());
    names.filter(|name| service.version(name).is_none()).cloned().collect()
}

fn older(service: &Validated, kept: &Kept) -> Option<Version> {
    kept.spec.image.as_ref()?;
    let mut microservice = Microservice::new(&service.identity.name, kept.spec.clone());
    microservice.metadata.namespace = Some(service.identity.namespace.clone());
    let version = resolve(&microservice, service.provider).versions.into_iter().next()?;
    let replicas = service.versions.first().map_or(version.replicas, |newest| newest.replicas);
    let version = with_copies(version, kept.copies.clone(), &service.identity);
    Some(Version { weight: 0, replicas, kept_in: Some(kept.name.clone()), ..version })
}

/// Until when a revision without requests is kept: for its drain time, and if it served before the newest one, for as
/// long as the policy wants to be able to go back.
pub fn kept_until(service: &Validated, rollout: Option<&RolloutStatus>, memory: &VersionTraffic) -> Option<Timestamp> {
    let delay = standby(service, rollout, &memory.version);
    let longest = delay.into_iter().chain([service.drain]).max()?;
    memory.unreferenced_since.as_ref()?.0.checked_add(longest.signed()).ok()
}

/// How long the policy keeps a revision to go back to, if it is the one that served before the newest.
pub fn standby(service: &Validated, rollout: Option<&RolloutStatus>, version: &str) -> Option<crate::api::Duration> {
    let delay = service.rollout.as_ref().filter(|_| service.by_image())?.scale_down_delay;
    delay.filter(|_| rollout.is_some_and(|rollout| rollout.previous.contains_key(version)))
}
