//! All caches of one engine, and the one place where they become [`Observed`].

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::Resource;

use crate::{
    api::{Microservice, MicroserviceAction, MicroserviceStatus, Port, labels},
    plan::{
        configuration,
        object::Kind,
        resources::{self, child_name},
        revisions::{self, Kept},
        rollout::orders::Order,
        traffic::targets,
    },
    validate::{Dependency, Identity, Problem, Validated, references::Reference},
};

use super::{
    ChildRef, DependencyState, Mesh, Observed, Shard,
    cache::{Cache, Key, Written},
    child::Child,
    facts::{Facts, typed},
    ownership::{adoptable, belongs, holder, is_offered},
    views::{ActionView, Peer, PodView, host_term, owner_term},
};

/// Where Istio's rules for the whole mesh are, unless its `rootNamespace` says otherwise; they are asked last.
const MESH_ROOT: &str = "istio-system";

/// What the operator watches, in memory.
#[derive(Default)]
pub struct Caches {
    pub microservices: Cache<Peer>,
    pub pods: Cache<PodView>,
    pub actions: Cache<ActionView>,
    children: BTreeMap<Kind, Cache<Child>>,
    /// The one namespace that is watched; None for all.
    pub scope: Option<String>,
    /// The part of the namespaces whose Microservices are served. Of the others only what these need is kept.
    pub shard: Shard,
    /// None until it is known whether the cluster has the mesh's kinds.
    mesh: Mutex<Option<Mesh>>,
    /// Digests of ConfigMaps that were read, with the versions that were.
    digests: Mutex<HashMap<Key, (String, String)>>,
    /// Writes that the caches have not been checked against yet, by Microservice.
    written: Mutex<HashMap<Key, Vec<Expected>>>,
}

/// A write of an object, and the cache that it will show up in.
type Expected = (Source, Key, Written);

/// Which cache a write shows up in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Microservices,
    Actions,
    Children(Kind),
}

impl Caches {
    /// Empty caches for one namespace, or for all.
    pub fn new(scope: Option<String>) -> Self {
        let children = Kind::ALL.into_iter().map(|kind| (kind, Cache::named(&kind.api_resource().plural))).collect();
        Self {
            microservices: Cache::named(&Microservice::plural(&())),
            pods: Cache::named("pods"),
            actions: Cache::named(&MicroserviceAction::plural(&())),
            children,
            scope,
            ..Self::default()
        }
    }

    /// The same for a part of all namespaces.
    pub fn with_shard(self, shard: Shard) -> Self {
        Self { shard, ..self }
    }

    /// The cache of a kind of children.
    pub fn of(&self, kind: Kind) -> Option<&Cache<Child>> {
        self.children.get(&kind)
    }

    /// Notes the digest of a ConfigMap that was read in a version of it, unless it is gone by now.
    pub fn note_digest(&self, key: &Key, resource_version: String, digest: String) {
        let mut digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        if self.child(Kind::ConfigMap, key).is_some() {
            digests.insert(key.clone(), (resource_version, digest));
        }
    }

    /// Forgets the digest of a ConfigMap that is gone.
    pub fn forget_digest(&self, key: &Key) {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// The digest of a ConfigMap, if it was read as it is now.
    pub fn digest(&self, key: &Key) -> Option<String> {
        let digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        let live = self.child(Kind::ConfigMap, key)?;
        digests.get(key).filter(|(version, _)| *version == live.resource_version).map(|(_, digest)| digest.clone())
    }

    /// An object of a kind of children, whoever owns it.
    pub fn child(&self, kind: Kind, key: &Key) -> Option<Arc<Child>> {
        self.of(kind)?.get(key)
    }

    /// Notes whether the cluster has the mesh's kinds.
    pub fn set_mesh(&self, mesh: Mesh) {
        *self.mesh.lock().unwrap_or_else(PoisonError::into_inner) = Some(mesh);
    }

    /// Whether the cluster has the mesh's kinds, as far as is known.
    pub fn mesh(&self) -> Mesh {
        self.known_mesh().unwrap_or(Mesh::Absent)
    }

    fn known_mesh(&self) -> Option<Mesh> {
        *self.mesh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether every cache has its first listing.
    pub fn served(&self) -> bool {
        let Some(mesh) = self.known_mesh() else { return false };
        let watched = |kind: Kind| !kind.of_mesh() || mesh == Mesh::Installed;
        let children = self.children.iter().all(|(kind, cache)| cache.served() || !watched(*kind));
        children && self.pods.served() && self.actions.served() && self.microservices.served()
    }

    /// The kinds that cannot be watched any more, so that their caches are of the past.
    pub fn lost(&self) -> impl Iterator<Item = &str> {
        let absent = self.mesh() == Mesh::Absent;
        let children = self.children.iter().filter(move |(kind, _)| !(kind.of_mesh() && absent));
        let others = [self.microservices.lost(), self.pods.lost(), self.actions.lost()];
        children.filter_map(|(_, cache)| cache.lost()).chain(others.into_iter().flatten())
    }

    /// Listings that a cache has begun, for [`Written::Applied`].
    pub fn rounds(&self, source: Source) -> u64 {
        match source {
            Source::Microservices => self.microservices.rounds(),
            Source::Actions => self.actions.rounds(),
            Source::Children(kind) => self.of(kind).map(Cache::rounds).unwrap_or_default(),
        }
    }

    /// Remembers a write that the next decision about the Microservice must have seen.
    pub fn expect(&self, microservice: &Key, source: Source, key: Key, written: Written) {
        let mut expected = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let writes = expected.entry(microservice.clone()).or_default();
        writes.retain(|(of, name, _)| (*of, name) != (source, &key));
        writes.push((source, key, written));
    }

    /// Forgets the writes for a Microservice that is gone.
    pub fn forget(&self, microservice: &Key) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).remove(microservice);
    }

    /// Whether a decision may be made on the Microservice as it was handed over, in this version. The watch may have
    /// delivered a newer one meanwhile, and a listing holds it back until all are listed: then the writes that this cache
    /// has seen are not in what was handed over, and an abort that was answered would be lost.
    pub fn are_current(&self, microservice: &Key, resource_version: Option<&str>) -> bool {
        let newest = self.microservices.get(microservice);
        let handed = newest.is_some_and(|newest| Some(newest.resource_version.as_str()) == resource_version);
        handed && self.have_seen_writes(microservice)
    }

    /// Whether the caches have seen all that was written for the Microservice.
    pub fn have_seen_writes(&self, microservice: &Key) -> bool {
        let mut expected = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(writes) = expected.get_mut(microservice) else { return true };
        writes.retain(|(source, key, written)| match source {
            Source::Microservices => !self.microservices.has_seen(key, written),
            Source::Actions => !self.actions.has_seen(key, written),
            Source::Children(kind) => self.of(*kind).is_some_and(|cache| !cache.has_seen(key, written)),
        });
        let seen = writes.is_empty();
        if seen {
            expected.remove(microservice);
        }
        seen
    }

    /// The spec that was accepted last, without the weights and sizes that its revision leaves out.
    pub fn accepted_spec(&self, identity: &Identity, status: &MicroserviceStatus) -> Option<Kept> {
        let key = Key::new(&identity.namespace, status.accepted_revision.clone()?);
        let child = self.child(Kind::ControllerRevision, &key)?;
        belongs(&child, identity).then(|| kept(key, &child))?
    }

    /// The ConfigMaps whose content makes the newest revision.
    pub fn configuration(&self, service: &Validated, status: &MicroserviceStatus) -> BTreeMap<String, Reference> {
        let identity = &service.identity;
        configuration::needed(service, |revision| {
            let key = Key::new(&identity.namespace, child_name(&identity.name, revision));
            let made = self.child(Kind::Deployment, &key).is_some_and(|child| belongs(&child, identity));
            made || status.of_version(revision).is_some()
        })
    }

    /// The service with those of its older revisions that are still needed.
    pub fn with_older_revisions(&self, service: Validated, status: &MicroserviceStatus, now: Timestamp) -> Validated {
        if !service.by_image() {
            return service;
        }
        let identity = service.identity.clone();
        let route = self.child(Kind::VirtualService, &Key::new(&identity.namespace, &identity.name));
        let route = route.filter(|child| belongs(child, &identity)).and_then(|child| child.facts.clone());
        let routed = match route.as_deref() {
            Some(Facts::VirtualService { routes, .. }) => Some(&routes.default),
            _ => None,
        };
        revisions::with_older(service, status, routed, || self.history(&identity), now)
    }

    /// Why the spec would cut off pods that take requests: see [`targets::cut_off`].
    pub fn cut_off(&self, service: &Validated) -> Option<Problem> {
        let identity = &service.identity;
        let live = self.child(Kind::Service, &Key::new(&identity.namespace, &identity.name))?;
        let Some(Facts::Service(facts)) = live.facts.as_deref() else { return None };
        let leads_elsewhere = |port: &Port| targets::other_target(port, facts).is_some();
        if !belongs(&live, identity) || !service.ports.iter().any(leads_elsewhere) {
            return None;
        }
        targets::cut_off(service, &self.observe(service, MicroserviceStatus::default()))
    }

    /// The accepted specs that are kept.
    fn history(&self, identity: &Identity) -> Vec<Kept> {
        let all = self.of(Kind::ControllerRevision).into_iter();
        let all = all.flat_map(|cache| cache.find(&owner_term(&identity.namespace, &identity.name)));
        let own = all.filter(|(_, child)| belongs(child, identity) && !child.deleting);
        own.filter_map(|(key, child)| kept(key, &child)).collect()
    }

    /// The revisions that are kept, if any of the orders is about one: see [`revisions::kept`].
    pub fn kept_revisions(&self, service: &Validated, orders: &[Order]) -> BTreeMap<String, Option<i32>> {
        let asked = service.by_image() && orders.iter().any(|order| order.revision.is_some());
        if asked { revisions::kept(service, &self.history(&service.identity)) } else { BTreeMap::new() }
    }

    /// Everything about one Microservice.
    pub fn observe(&self, service: &Validated, status: MicroserviceStatus) -> Observed {
        let identity = &service.identity;
        let term = owner_term(&identity.namespace, &identity.name);
        let mut observed = Observed { status, mesh: self.mesh(), ..Observed::default() };
        for (kind, cache) in &self.children {
            if kind.of_mesh() && observed.mesh == Mesh::Absent {
                continue;
            }
            for (key, child) in cache.find(&term) {
                if !belongs(&child, identity) {
                    continue;
                }
                // What the mesh was told is in force until it is gone.
                if !child.deleting || kind.of_mesh() {
                    note_facts(&mut observed, &key, &child);
                }
                if child.deleting {
                    observed.leaving.insert((*kind, key.name), child.finalizers.clone());
                } else {
                    observed.children.push(reference(key, &child));
                }
            }
        }
        for (_, pod) in self.pods.find(&term).into_iter().filter(|(_, pod)| !pod.deleting) {
            observed.versions.entry(pod.version.clone()).or_default().pods.push(pod.facts.clone());
        }
        observed.orders = self.orders_about(identity);
        observed.kept_revisions = self.kept_revisions(service, &observed.orders);
        observed.route_conflicts = self.route_conflicts(identity);
        observed.rule_conflicts = self.rule_conflicts(identity);
        observed.rules_elsewhere = self.rules_elsewhere(identity, &observed.subsets);
        for (name, child) in self.named(service).filter(|(_, child)| !belongs(child, identity)) {
            if !is_offered(&child, identity) {
                observed.foreign.insert(name, holder(&child, identity));
            } else if child.deleting {
                observed.leaving.insert(name, child.finalizers.clone());
            }
        }
        // With routes of its own the service is in the mesh, and its Service has only lost its owner.
        let live = self.child(Kind::Service, &Key::new(&identity.namespace, &identity.name));
        let others = live.as_ref().filter(|live| !belongs(live, identity));
        observed.foreign_selector = others.map(|live| live.selector.clone()).unwrap_or_default();
        let adopted =
            live.filter(|live| !service.ports.is_empty() && observed.routes.is_none() && adoptable(live, identity));
        observed.adopting = adopted.is_some();
        observed.nameless_port = adopted
            .and_then(|live| live.nameless)
            .filter(|number| service.ports.iter().all(|port| port.port != *number));
        observed.dependencies = service.dependencies.iter().map(|dependency| self.dependency(dependency)).collect();
        observed
    }

    /// The actions that are about this very Microservice, the oldest first.
    pub fn actions_about(&self, identity: &Identity) -> Vec<(Key, Arc<ActionView>)> {
        let mut actions = self.actions.find(&owner_term(&identity.namespace, &identity.name));
        actions.retain(|(_, action)| action.about_uid.as_ref().is_none_or(|uid| *uid == identity.uid));
        actions.sort_by(|(a, one), (b, other)| (one.created, a).cmp(&(other.created, b)));
        actions
    }

    /// What is asked of this very Microservice and not answered yet, the oldest first.
    pub fn orders_about(&self, identity: &Identity) -> Vec<Order> {
        self.actions_about(identity).into_iter().filter_map(|(_, action)| action.order.clone()).collect()
    }

    /// Whether a ConfigMap's copy of this digest is there, and the Microservice's own.
    pub fn has_copy(&self, identity: &Identity, of: &str, digest: &str) -> bool {
        let copy = Key::new(&identity.namespace, configuration::copy_name(identity, of, Some(digest)));
        self.child(Kind::ConfigMap, &copy).is_some_and(|live| belongs(&live, identity) && !live.deleting)
    }

    /// The objects that have names of the service's children, whoever owns them.
    fn named(&self, service: &Validated) -> impl Iterator<Item = ((Kind, String), Arc<Child>)> {
        let identity = &service.identity;
        let of_service = [Kind::ServiceAccount, Kind::DestinationRule, Kind::VirtualService, Kind::Service]
            .map(|kind| (kind, identity.name.clone()));
        let of_version = service.versions.iter().flat_map(|version| {
            let name = child_name(&identity.name, &version.name);
            [Kind::Deployment, Kind::PodDisruptionBudget].map(|kind| (kind, name.clone()))
        });
        let copies = service.versions.iter().flat_map(|version| version.copies.values().cloned());
        let names = of_service.into_iter().chain(of_version).chain(copies.map(|name| (Kind::ConfigMap, name)));
        names.filter_map(|(kind, name)| {
            let child = self.child(kind, &Key::new(&identity.namespace, &name))?;
            Some(((kind, name), child))
        })
    }

    fn route_conflicts(&self, identity: &Identity) -> Vec<String> {
        self.others_about_the_host(Kind::VirtualService, identity).map(|(key, _)| key.to_string()).collect()
    }

    /// Those of other namespaces are for the clients there alone.
    fn rule_conflicts(&self, identity: &Identity) -> Vec<String> {
        let others = self.others_about_the_host(Kind::DestinationRule, identity);
        let here = others.filter(|(key, _)| key.namespace == identity.namespace && key.name != identity.name);
        here.map(|(key, _)| key.name).collect()
    }

    fn rules_elsewhere(&self, identity: &Identity, subsets: &BTreeSet<String>) -> Vec<(String, String)> {
        let others = self.others_about_the_host(Kind::DestinationRule, identity);
        let elsewhere = others.filter(|(key, _)| ![identity.namespace.as_str(), MESH_ROOT].contains(&&*key.namespace));
        let lacks = |rule: &Child| subsets.difference(&rule.subsets).next().cloned();
        elsewhere.filter_map(|(key, rule)| Some((key.to_string(), lacks(&rule)?))).collect()
    }

    fn others_about_the_host(&self, kind: Kind, identity: &Identity) -> impl Iterator<Item = (Key, Arc<Child>)> {
        let found = self.of(kind).map(|cache| cache.find(&host_term(&identity.host()))).unwrap_or_default();
        found.into_iter().filter(|(_, child)| !belongs(child, identity))
    }

    fn dependency(&self, dependency: &Dependency) -> DependencyState {
        if self.scope.as_ref().is_some_and(|scope| *scope != dependency.namespace) {
            return DependencyState::Unwatched;
        }
        let key = Key::new(&dependency.namespace, &dependency.name);
        if let Some(peer) = self.microservices.get(&key) {
            let ports = peer.ports.iter().map(|port| port.port).collect::<Vec<_>>();
            return match peer.ports.iter().find(|port| port.port == dependency.port) {
                None => DependencyState::PortMismatch(format!("its ports are {ports:?}")),
                Some(port) if scheme_differs(port.protocol, dependency.protocol) => {
                    DependencyState::PortMismatch(format!("its port {} speaks {:?}", port.port, port.protocol))
                }
                Some(_) if peer.available => DependencyState::Ready,
                Some(_) => DependencyState::NotReady(peer.message.clone().unwrap_or_default()),
            };
        }
        match self.child(Kind::Service, &key) {
            Some(service) if service.ports.contains(&dependency.port) => DependencyState::Ready,
            Some(service) => DependencyState::PortMismatch(format!("its ports are {:?}", service.ports)),
            None => DependencyState::NotFound,
        }
    }
}

fn scheme_differs(has: crate::api::Protocol, wanted: crate::api::Protocol) -> bool {
    use crate::api::Protocol::{Http, Http2};
    let plain = |protocol| matches!(protocol, Http | Http2);
    has != wanted && !(plain(has) && plain(wanted))
}

fn note_facts(observed: &mut Observed, key: &Key, child: &Child) {
    match child.facts.as_deref() {
        Some(Facts::Deployment(facts)) => {
            if let Some(version) = &child.version {
                observed.versions.entry(version.clone()).or_default().deployment = Some(facts.clone());
            }
        }
        Some(Facts::VirtualService { routes, mark }) => {
            observed.routes = Some(routes.clone());
            observed.marks.virtual_service.clone_from(mark);
        }
        Some(Facts::DestinationRule { subsets, mark }) => {
            observed.subsets.clone_from(subsets);
            observed.marks.destination_rule.clone_from(mark);
        }
        Some(Facts::Service(live)) => observed.service = Some(live.clone()),
        Some(Facts::ControllerRevision { copies, .. }) if !copies.is_empty() => {
            observed.copies.insert(key.name.clone(), copies.clone());
        }
        Some(Facts::ControllerRevision { .. }) | None => {}
    }
}

fn reference(key: Key, child: &Child) -> ChildRef {
    let accepted = match child.facts.as_deref() {
        Some(Facts::ControllerRevision { accepted, .. }) => Some(*accepted),
        _ => None,
    };
    let (uid, version, size) = (child.uid.clone(), child.version.clone(), child.object.size());
    ChildRef { kind: child.kind, name: key.name, uid, version, accepted, size }
}

fn kept(key: Key, child: &Child) -> Option<Kept> {
    let revision = typed::<ControllerRevision>(&child.object.open())?;
    let (spec, copies) = (resources::restore(&revision)?, resources::kept_copies(&revision.data.0));
    Some(Kept { name: key.name, accepted: resources::acceptance(&revision), spec, copies })
}

/// Selects the pods that are watched.
pub fn pod_selector() -> String {
    format!("{},{}={}", labels::SERVICE, labels::APP_MANAGED_BY, crate::api::MANAGER)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn kinds_that_are_not_heard_of_are_named() {
        let caches = Caches::new(None);
        assert_eq!(caches.lost().count(), 0);
        for kind in [Kind::Deployment, Kind::VirtualService] {
            caches.of(kind).unwrap().failed_for(Duration::from_secs(61));
        }
        caches.pods.failed_for(Duration::from_secs(61));
        caches.actions.failed_for(Duration::from_secs(59));
        assert_eq!(caches.lost().collect::<Vec<_>>(), ["deployments", "pods"], "no mesh is installed");
        caches.set_mesh(Mesh::Installed);
        caches.microservices.failed_for(Duration::from_secs(61));
        let all = ["deployments", "virtualservices", "microservices", "pods"];
        assert_eq!(caches.lost().collect::<Vec<_>>(), all);
    }
}
