//! Which children there should be: builds the objects, and decides which of those that exist may go. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::{
    api::{MicroserviceSpec, RolloutState, RolloutStatus, VersionTraffic},
    observe::{ChildRef, Observed},
    validate::Validated,
};

use super::{
    copies,
    object::{Kind, Object},
    resources::{
        self, Stamp, child_meta, child_name,
        template::{TemplateDefaults, parse_template_id, template_hash, template_id},
    },
    revisions,
    rollout::{
        Circumstances, Rollout, Standing, requested_of,
        size::{self, Idle, Sizes},
        version::time,
        weight_of,
    },
    traffic::{self, istio, provider::Placement, targets},
};

/// Bytes of all older specs that are kept beside those that are needed: more than all that anybody writes by hand, and little
/// beside what the operator has for everybody.
const MAX_HISTORY: usize = 1 << 20;

/// Which set of defaults renders a version's pods, and the id that says so.
#[derive(Clone, Debug)]
pub struct Template {
    pub defaults: TemplateDefaults,
    pub id: String,
}

/// The objects that should exist.
pub struct Built {
    pub objects: Vec<Object>,
    pub sizes: Sizes,
    /// Name of the ControllerRevision.
    pub revision: String,
}

/// The template of each version of the spec. Pods keep the set of defaults that they were made with until their
/// user changes them, so that an upgrade of the operator restarts nobody.
pub fn templates(service: &Validated, observed: &Observed) -> BTreeMap<String, Template> {
    let made_with = |name: &str, hash: &str| {
        let live = observed.versions.get(name).and_then(|runs| runs.deployment.as_ref()?.template.clone());
        let told = observed.status.of_version(name);
        [live, told.and_then(|memory| memory.template.clone())]
            .into_iter()
            .flatten()
            .filter_map(|id| parse_template_id(&id))
            .find(|(_, known)| known == hash)
            .map(|(defaults, _)| defaults)
    };
    service
        .versions
        .iter()
        .map(|version| {
            let hash = template_hash(&service.identity, version);
            let defaults = made_with(&version.name, &hash).unwrap_or(TemplateDefaults::CURRENT);
            (version.name.clone(), Template { defaults, id: template_id(defaults, &hash) })
        })
        .collect()
}

/// Versions that the mesh must know. A version joins once it has a ready pod, all of them on creation; a removed one
/// leaves when it has drained.
pub fn subsets(
    rollout: &mut Rollout<'_>,
    observed: &Observed,
    placement: &Placement,
    service: &Validated,
    around: &Circumstances<'_>,
) -> Vec<String> {
    if !placement.destination_rule {
        return Vec::new();
    }
    let creating = observed.service.is_none();
    let mut names = Vec::new();
    let progress = rollout.progress.as_ref();
    for standing in &mut rollout.standings {
        let known = observed.subsets.contains(standing.name);
        let wanted = match standing.spec {
            Some(_) => known || creating || standing.ready > 0 || standing.memory.effective > 0,
            None if may_return(progress, standing.name) => true,
            None => standing.memory.subset_removed_since.is_none() && !drained(standing, service, around),
        };
        if wanted {
            names.push(standing.name.to_owned());
            standing.memory.subset_removed_since = None;
            standing.memory.subset_since.get_or_insert_with(|| time(around.now));
        } else {
            standing.memory.subset_since = None;
            if standing.spec.is_none() {
                standing.memory.subset_removed_since.get_or_insert_with(|| time(around.now));
            }
        }
    }
    // In an order that does not change when a version is taken out of the list, or every proxy is told anew.
    names.sort();
    names
}

/// Takes back the dates of subsets that were to be given to the mesh, or taken from it, by a DestinationRule that is not
/// written: they would be others each time.
pub fn undate_subsets(traffic: &mut [VersionTraffic], observed: &Observed) {
    for memory in traffic {
        let old = observed.status.of_version(&memory.version);
        let known = observed.subsets.contains(&memory.version);
        let since = memory.subset_since.take().or_else(|| old?.subset_since.clone());
        memory.subset_since = since.filter(|_| known);
        memory.subset_removed_since = old.and_then(|old| old.subset_removed_since.clone()).filter(|_| !known);
    }
}

/// What was decided about one Microservice, and what it was decided from.
pub struct Decided<'a> {
    pub service: &'a Validated,
    pub observed: &'a Observed,
    pub rollout: &'a Rollout<'a>,
    pub placement: &'a Placement,
    pub idle: Idle,
    pub around: &'a Circumstances<'a>,
}

/// Builds all objects, in the order of [`Kind`].
pub fn build(
    decided: &Decided<'_>,
    spec: &MicroserviceSpec,
    subsets: &[String],
    templates: &BTreeMap<String, Template>,
    stamp: &Stamp,
) -> Built {
    let Decided { service, observed, rollout, placement, idle, around } = *decided;
    let revision = resources::controller_revision(service, spec, |name| revisions::number(name, observed), stamp);
    let mut objects = vec![Object::new(Kind::ControllerRevision, &revision)];
    objects.extend(resources::service_account(service, stamp).map(|it| Object::new(Kind::ServiceAccount, &it)));
    objects.extend(copies::objects(service, observed, stamp));
    let mut sizes = Sizes::new();
    let mut deployments = Vec::new();
    for version in &service.versions {
        let (Some(standing), Some(template)) = (rollout.standing(&version.name), templates.get(&version.name)) else {
            continue;
        };
        let drained = drained(standing, service, around);
        let rests = rests_at(standing, service, rollout, around).is_some_and(|at| at <= around.now);
        let quiet = standing.quiet_at(service.drain.signed(), around).is_none_or(|at| at <= around.now);
        let wanted = size::replicas(standing, rollout, idle, drained, quiet).unwrap_or(version.replicas);
        let replicas = if rests { 0 } else { wanted };
        sizes.insert(version.name.clone(), replicas);
        objects.extend(
            resources::disruption_budget(service, version, replicas, stamp)
                .map(|it| Object::new(Kind::PodDisruptionBudget, &it)),
        );
        let deployment = resources::deployment(service, version, replicas, template.defaults, stamp);
        deployments.push(Object::new(Kind::Deployment, &deployment));
    }
    objects.extend(deployments);
    let intent = traffic::intent(service, rollout, subsets.to_vec());
    let meta = || child_meta(service, stamp, service.identity.name.clone(), None);
    if placement.destination_rule {
        objects.push(Object::new(Kind::DestinationRule, &istio::destination_rule(&intent, meta())));
    }
    if placement.virtual_service {
        objects.push(Object::new(Kind::VirtualService, &istio::virtual_service(&intent, meta())));
    }
    if placement.service {
        let built = resources::service(service, placement.pin.as_deref(), |port| targets::target(port, decided), stamp);
        objects.extend(built.map(|it| Object::new(Kind::Service, &it)));
    }
    Built { objects, sizes, revision: revision.metadata.name.unwrap_or_default() }
}

/// Children that may go, in the order in which they go.
pub fn removals(decided: &Decided<'_>, built: &Built) -> Vec<ChildRef> {
    let Decided { service, observed, rollout, .. } = *decided;
    let wanted =
        |child: &ChildRef| built.objects.iter().any(|object| object.kind == child.kind && object.name == child.name);
    let history = history(decided, wanted);
    let removed_runs = observed.children.iter().any(|child| {
        let version = child.version.as_deref().unwrap_or_default();
        child.kind == Kind::Deployment && service.version(version).is_none()
    });
    let rolls = rollout.standings.iter().any(|standing| standing.exists && standing.replicas > 0 && !standing.fit);
    // Pods may run as the account under its own name, too.
    let own = service.identity.name.as_str();
    let named = service.versions.iter().any(|version| version.pod.service_account_name.as_deref() == Some(own));
    let may_go = |child: &ChildRef| match child.kind {
        Kind::Deployment => version_gone(child, decided),
        Kind::PodDisruptionBudget => {
            let deployment =
                observed.children.iter().find(|other| other.kind == Kind::Deployment && other.name == child.name);
            deployment.is_none_or(|other| wanted(other) || version_gone(other, decided))
        }
        Kind::ServiceAccount => !removed_runs && !rolls && !named,
        Kind::ConfigMap => !copies::stays(child, &history, observed),
        Kind::ControllerRevision => !history.contains(child.name.as_str()),
        Kind::DestinationRule | Kind::VirtualService | Kind::Service => true,
    };
    let mut removals: Vec<ChildRef> =
        observed.children.iter().filter(|child| !wanted(child) && may_go(child)).cloned().collect();
    removals.sort_by_key(|child| (removal_rank(child.kind), child.name.clone()));
    removals
}

/// Names of the ControllerRevisions that stay beside that of the newest spec.
fn history<'a>(decided: &Decided<'a>, wanted: impl Fn(&ChildRef) -> bool) -> BTreeSet<&'a str> {
    let Decided { service, observed, .. } = *decided;
    // Until the status names another one, this is the accepted spec.
    let accepted = observed.status.accepted_revision.as_deref();
    let needed = service.versions.iter().filter_map(|version| version.kept_in.as_deref());
    let older = revisions::latest_first(observed).into_iter().filter(|child| !wanted(child));
    let latest = older.take(service.history.unwrap_or_default()).scan(0_usize, |total, child| {
        *total = total.saturating_add(child.size);
        (*total <= MAX_HISTORY).then_some(child.name.as_str())
    });
    accepted.into_iter().chain(needed).chain(latest).collect()
}

/// What is referred to goes after what refers to it.
fn removal_rank(kind: Kind) -> usize {
    [
        Kind::ControllerRevision,
        Kind::VirtualService,
        Kind::Service,
        Kind::DestinationRule,
        Kind::PodDisruptionBudget,
        Kind::Deployment,
        Kind::ConfigMap,
        Kind::ServiceAccount,
    ]
    .iter()
    .position(|other| *other == kind)
    .unwrap_or(usize::MAX)
}

fn version_gone(deployment: &ChildRef, decided: &Decided<'_>) -> bool {
    let Decided { service, rollout, placement, idle, around, .. } = *decided;
    let version = deployment.version.as_deref().unwrap_or_default();
    if service.version(version).is_some() {
        return deployment.name != child_name(&service.identity.name, version);
    }
    let Some(standing) = rollout.standing(version) else { return true };
    let returns = may_return(rollout.progress.as_ref(), version);
    if returns || rollout.weight(version) > 0 || standing.memory.unreferenced_since.is_none() {
        return false;
    }
    if placement.destination_rule {
        return subset_gone_at(standing, around).is_some_and(|at| at <= around.now);
    }
    idle == Idle::Stops || drained(standing, service, around)
}

/// The rollout goes back to it if it fails, or is undone before its end.
fn may_return(progress: Option<&RolloutStatus>, version: &str) -> bool {
    progress.is_some_and(|status| status.state != RolloutState::Completed && weight_of(&status.stable, version) > 0)
}

fn drained(standing: &Standing<'_>, service: &Validated, around: &Circumstances<'_>) -> bool {
    drained_at(standing, service, around).is_some_and(|at| at <= around.now)
}

/// When a removed or parked version without references has run on for its drain time, and the mesh has forgotten it.
fn drained_at(standing: &Standing<'_>, service: &Validated, around: &Circumstances<'_>) -> Option<Timestamp> {
    standing.drained_at(service.drain.signed(), around)
}

fn subset_gone_at(standing: &Standing<'_>, around: &Circumstances<'_>) -> Option<Timestamp> {
    standing.memory.subset_removed_since.as_ref()?.0.checked_add(around.propagation).ok()
}

/// When a version that neither the weights nor a route ask for is scaled to 0, by the policy's delay.
fn rests_at(
    standing: &Standing<'_>,
    service: &Validated,
    rollout: &Rollout<'_>,
    around: &Circumstances<'_>,
) -> Option<Timestamp> {
    let delay = service.rollout.as_ref()?.scale_down_delay?;
    let completed = rollout.progress.as_ref().is_some_and(|it| it.state == RolloutState::Completed);
    let routed = service.routes.iter().any(|route| weight_of(&requested_of(route), standing.name) > 0);
    if !completed || routed || standing.spec.is_none() || standing.target > 0 {
        return None;
    }
    let since = standing.memory.unreferenced_since.as_ref()?;
    let delay = delay.signed();
    drained_at(standing, service, around).max(since.0.checked_add(delay).ok())
}

/// When time alone lets a part of a removed version go, or the pods of one that is parked, rests or is lowered.
pub fn next_removal(
    standing: &Standing<'_>,
    service: &Validated,
    rollout: &Rollout<'_>,
    around: &Circumstances<'_>,
) -> Option<Timestamp> {
    if standing.limited.is_some() {
        return standing.quiet_at(service.drain.signed(), around);
    }
    if let Some(spec) = standing.spec {
        let lowered = standing.quiet_at(service.drain.signed(), around).filter(|_| standing.replicas > spec.replicas);
        let rests = rests_at(standing, service, rollout, around).filter(|_| standing.replicas > 0);
        return lowered.filter(|at| *at > around.now).or(rests);
    }
    subset_gone_at(standing, around).or_else(|| drained_at(standing, service, around))
}
