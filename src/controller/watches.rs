//! What is watched beside the Microservices, and which of them an event concerns.

use std::sync::Arc;

use futures::{TryStreamExt, future::ready};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, Client,
    core::{DeserializeGuard, DynamicObject, PartialObjectMeta},
    runtime::watcher,
};
use serde_json::Value;
use tokio::{
    sync::{Notify, mpsc::UnboundedSender},
    task::JoinSet,
};

use super::{
    follow::{follow, listing},
    mesh::follow_mesh,
};
use crate::{
    api::{AnalysisProvider, MicroserviceAction},
    observe::{
        Caches, Key, Lean, Providers,
        cache::Change,
        caches::pod_selector,
        child::{Child, Owner},
        views::{ActionView, Peer, PodView, config_map_term, owner_term},
    },
    plan::{configuration::copied_name, object::Kind},
    validate::references::CLUSTERS_OWN,
};

/// Asks for reconciliations.
#[derive(Clone)]
pub struct Trigger {
    sender: UnboundedSender<Key>,
}

impl Trigger {
    pub fn new(sender: UnboundedSender<Key>) -> Self {
        Self { sender }
    }

    fn ask(&self, caches: &Caches, key: Key) {
        if caches.shard.has(&key.namespace) && caches.microservices.contains(&key) {
            // A closed channel means that the controller is shutting down.
            let _closed = self.sender.send(key);
        }
    }

    /// A Microservice changed: those that depend on it may have to tell so.
    pub fn peer(&self, caches: &Caches, change: &Change<Peer>) {
        if Peer::differs(change.before.as_deref(), change.after.as_deref()) {
            self.dependents(caches, &change.key);
        }
    }

    /// A cache has its first listing. If it was the last, all that could not be decided on before is looked at.
    pub fn served(&self, caches: &Caches) {
        if caches.served() {
            self.all(caches);
        }
    }

    pub(super) fn all(&self, caches: &Caches) {
        caches.microservices.keys().into_iter().for_each(|key| self.ask(caches, key));
    }

    fn dependents(&self, caches: &Caches, of: &Key) {
        for (key, _) in caches.microservices.find(&owner_term(&of.namespace, &of.name)) {
            self.ask(caches, key);
        }
    }

    /// What was waited for is there: an answer from outside, a place, or the end of a listing.
    pub fn reply(&self, caches: &Caches, about: &Key) {
        self.ask(caches, about.clone());
    }

    fn pod(&self, caches: &Caches, change: &Change<PodView>) {
        let (before, after) = (change.before.as_deref(), change.after.as_deref());
        let face = |pod: &PodView| (pod.version.clone(), pod.deleting, pod.facts.clone());
        if before.map(face) != after.map(face)
            && let Some(pod) = after.or(before)
        {
            self.ask(caches, Key::new(&pod.namespace, &pod.service));
        }
    }

    fn action(&self, caches: &Caches, change: &Change<ActionView>) {
        // With one that is answered, the turn of others may have come.
        let waits = [&change.after, &change.before].into_iter().flatten().find(|action| action.order.is_some());
        if let Some((namespace, name)) = waits.and_then(|action| action.about.split_once('/')) {
            self.ask(caches, Key::new(namespace, name));
        }
    }

    fn child(&self, caches: &Caches, change: &Change<Child>) {
        let views = [change.before.as_deref(), change.after.as_deref()];
        if !Child::differs(views[0], views[1]) {
            return;
        }
        let owners = views.map(|child| child.map(|child| &child.owner));
        let is_taken_or_given_back = owners[0] != owners[1];
        for child in views.into_iter().flatten() {
            match &child.owner {
                Owner::Microservice { name, .. } => {
                    self.ask(caches, Key::new(&child.namespace, name));
                    // Names of children are made of two parts, and another Microservice's may make the same.
                    let of_two_parts = matches!(child.kind, Kind::Deployment | Kind::PodDisruptionBudget);
                    if of_two_parts && is_taken_or_given_back {
                        self.foreign(caches, &change.key, child);
                    }
                }
                Owner::Other(_) | Owner::Nobody => self.foreign(caches, &change.key, child),
            }
            for host in &child.hosts {
                self.host(caches, host);
            }
        }
        let is_service = views.into_iter().flatten().any(|child| child.kind == Kind::Service);
        let ports = |child: Option<&Child>| child.map(|child| child.ports.clone());
        if is_service && ports(views[0]) != ports(views[1]) {
            self.dependents(caches, &change.key);
        }
    }

    /// Somebody else's object may have, or give back, a name that a Microservice needs: its own, `<name>-<version>`, or
    /// that of a copy or of an accepted spec. Or it is a ConfigMap that one refers to.
    fn foreign(&self, caches: &Caches, key: &Key, child: &Child) {
        let prefixes = key.name.match_indices('-').map(|(at, _)| key.name.get(..at).unwrap_or_default());
        match child.kind {
            Kind::ConfigMap => {
                let names = [Some(key.name.as_str()), copied_name(&key.name)];
                for name in names.into_iter().flatten() {
                    let users = caches.microservices.find(&config_map_term(&key.namespace, name));
                    users.into_iter().for_each(|(user, _)| self.ask(caches, user));
                }
            }
            Kind::Deployment | Kind::PodDisruptionBudget | Kind::ControllerRevision => {
                prefixes.for_each(|name| self.ask(caches, Key::new(&key.namespace, name)));
            }
            _ => self.ask(caches, key.clone()),
        }
    }

    fn host(&self, caches: &Caches, host: &str) {
        let mut parts = host.splitn(3, '.');
        if let (Some(name), Some(namespace)) = (parts.next(), parts.next()) {
            self.ask(caches, Key::new(namespace, name));
        }
    }
}

/// Starts all watches; they end when the set is dropped.
pub fn spawn(client: &Client, caches: &Arc<Caches>, trigger: &Trigger) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for kind in Kind::ALL.into_iter().filter(|kind| !kind.of_mesh() && !kind.by_metadata()) {
        tasks.spawn(feed_children(client.clone(), caches.clone(), trigger.clone(), kind, None));
    }
    tasks.spawn(feed_config_maps(client.clone(), caches.clone(), trigger.clone()));
    tasks.spawn(feed_pods(client.clone(), caches.clone(), trigger.clone()));
    tasks.spawn(feed_actions(client.clone(), caches.clone(), trigger.clone()));
    tasks.spawn(follow_mesh(client.clone(), caches.clone(), trigger.clone()));
    tasks
}

/// Feeds the cache of a kind. `missed` is told when the cluster has no such kind (any more).
pub(super) async fn feed_children(
    client: Client,
    caches: Arc<Caches>,
    trigger: Trigger,
    kind: Kind,
    missed: Option<Arc<Notify>>,
) {
    let Some(cache) = caches.of(kind) else { return };
    let resource = kind.api_resource();
    let api: Api<Lean<DynamicObject>> = match &caches.scope {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    let events = follow(api, listing()).inspect_err(|error| {
        if let Some(missed) = missed.as_ref().filter(|_| is_missing(error)) {
            missed.notify_one();
        }
    });
    let shard = caches.shard;
    let view = |object: &DynamicObject| {
        if shard.has_object(object) { Child::of(kind, object) } else { Child::elsewhere(kind, object) }
    };
    let events = events.try_filter(|event| ready(kind.is_known_elsewhere() || shard.concerns(event)));
    let served = || trigger.served(&caches);
    cache.feed(events, view, |change| trigger.child(&caches, &change), served).await;
}

/// ConfigMaps, whose content is read when a service needs it.
async fn feed_config_maps(client: Client, caches: Arc<Caches>, trigger: Trigger) {
    let Some(cache) = caches.of(Kind::ConfigMap) else { return };
    let api: Api<Lean<PartialObjectMeta<ConfigMap>>> = match &caches.scope {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let config = listing().fields(&format!("metadata.name!={CLUSTERS_OWN}"));
    let view = |object: &PartialObjectMeta<ConfigMap>| {
        let object = DynamicObject { types: None, metadata: object.metadata.clone(), data: Value::Null };
        Child::of(Kind::ConfigMap, &object)
    };
    let events = follow(api, config).try_filter(|event| ready(caches.shard.concerns(event)));
    let served = || trigger.served(&caches);
    let changed = |change: Change<Child>| {
        if change.after.is_none() {
            caches.forget_digest(&change.key);
        }
        trigger.child(&caches, &change);
    };
    cache.feed(events, view, changed, served).await;
}

async fn feed_pods(client: Client, caches: Arc<Caches>, trigger: Trigger) {
    let api: Api<Lean<Pod>> = match &caches.scope {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let events = follow(api, listing().labels(&pod_selector()));
    let events = events.try_filter(|event| ready(caches.shard.concerns(event)));
    let served = || trigger.served(&caches);
    caches.pods.feed(events, PodView::of, |change| trigger.pod(&caches, &change), served).await;
}

async fn feed_actions(client: Client, caches: Arc<Caches>, trigger: Trigger) {
    let api: Api<Lean<DeserializeGuard<MicroserviceAction>>> = match &caches.scope {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let events = follow(api, listing());
    let events = events.try_filter(|event| ready(caches.shard.concerns(event)));
    let served = || trigger.served(&caches);
    caches.actions.feed(events, ActionView::of, |change| trigger.action(&caches, &change), served).await;
}

/// Watches the AnalysisProviders of the cluster.
pub async fn feed_providers(client: Client, providers: Arc<Providers>) {
    let api: Api<Lean<DeserializeGuard<AnalysisProvider>>> = Api::all(client);
    providers.feed(follow(api, listing())).await;
}

fn is_missing(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(kube::Error::Api(status))
    | watcher::Error::WatchStartFailed(kube::Error::Api(status))) = error
    else {
        return false;
    };
    status.code == 404
}

#[cfg(test)]
mod tests {
    use futures::stream::iter;
    use serde_json::json;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::{
        api::Microservice,
        observe::{Mesh, views::Peer},
    };

    #[tokio::test]
    async fn the_last_listing_asks_for_all_that_waited() {
        let caches = Caches::new(None);
        let (sender, mut asked) = unbounded_channel();
        let trigger = Trigger::new(sender);
        let served = || trigger.served(&caches);
        let microservice: DeserializeGuard<Microservice> = serde_json::from_value(json!({
            "apiVersion": "microservice-operator.dev/v1alpha1", "kind": "Microservice",
            "metadata": {"name": "reviews", "namespace": "shop"}, "spec": {"image": "reviews:1"},
        }))
        .unwrap();
        let events = [watcher::Event::Init, watcher::Event::InitApply(microservice), watcher::Event::InitDone];
        caches.microservices.feed(iter(events.map(Ok)), Peer::of, |_| {}, served).await;
        let nothing = || iter([watcher::Event::<DynamicObject>::Init, watcher::Event::InitDone].map(Ok));
        for kind in Kind::ALL.into_iter().filter(|kind| !kind.of_mesh()) {
            let cache = caches.of(kind).unwrap();
            cache.feed(nothing(), |object| Child::of(kind, object), |_| {}, served).await;
        }
        caches.set_mesh(Mesh::Absent);
        let no_pods = iter([watcher::Event::<Pod>::Init, watcher::Event::InitDone].map(Ok));
        caches.pods.feed(no_pods, PodView::of, |_| {}, served).await;
        assert!(asked.try_recv().is_err(), "orders are not known yet");
        let actions =
            || iter([watcher::Event::<DeserializeGuard<MicroserviceAction>>::Init, watcher::Event::InitDone].map(Ok));
        caches.actions.feed(actions(), ActionView::of, |_| {}, served).await;
        assert_eq!(asked.try_recv().ok(), Some(Key::new("shop", "reviews")));
        caches.actions.feed(actions(), ActionView::of, |_| {}, served).await;
        assert!(asked.try_recv().is_err(), "a later listing changes nothing by itself");
    }

    /// A Microservice of that name is there.
    fn known(caches: &Caches, name: &str) {
        let microservice: DeserializeGuard<Microservice> = serde_json::from_value(json!({
            "apiVersion": "microservice-operator.dev/v1alpha1", "kind": "Microservice",
            "metadata": {"name": name, "namespace": "shop"}, "spec": {"image": "reviews:1"},
        }))
        .unwrap();
        caches.microservices.take(&watcher::Event::Apply(microservice), Peer::of);
    }

    #[test]
    fn an_answered_action_lets_the_next_ones_have_their_turn() {
        let caches = Caches::new(None);
        let (sender, mut asked) = unbounded_channel();
        let trigger = Trigger::new(sender);
        known(&caches, "web");
        let mut after = |version: &str, status: serde_json::Value| {
            let action: DeserializeGuard<MicroserviceAction> = serde_json::from_value(json!({
                "apiVersion": "microservice-operator.dev/v1alpha1", "kind": "MicroserviceAction",
                "metadata": {"name": "one", "namespace": "shop", "uid": "1", "resourceVersion": version},
                "spec": {"microservice": "web", "verb": "Abort"}, "status": status,
            }))
            .unwrap();
            for change in caches.actions.take(&watcher::Event::Apply(action), ActionView::of) {
                trigger.action(&caches, &change);
            }
            asked.try_recv().is_ok()
        };
        let answer = || json!({"result": "Refused", "message": "no"});
        assert!(after("1", json!(null)), "it waits");
        assert!(after("2", answer()), "others may wait behind it");
        assert!(!after("3", answer()), "nothing waits any more");
    }

    #[test]
    fn a_name_that_one_gives_back_is_told_to_whoever_may_need_it() {
        let caches = Caches::new(None);
        let (sender, mut asked) = unbounded_channel();
        let trigger = Trigger::new(sender);
        for name in ["web", "web-api", "api"] {
            known(&caches, name);
        }
        let deployment = |replicas: i32| -> DynamicObject {
            serde_json::from_value(json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": replicas},
                "metadata": {"name": "web-api-v1", "namespace": "shop", "uid": "1", "ownerReferences": [{
                    "apiVersion": "microservice-operator.dev/v1alpha1", "kind": "Microservice", "name": "web-api",
                    "uid": "2", "controller": true}]},
            }))
            .unwrap()
        };
        let mut after = |event: watcher::Event<DynamicObject>| {
            let cache = caches.of(Kind::Deployment).unwrap();
            for change in cache.take(&event, |object| Child::of(Kind::Deployment, object)) {
                trigger.child(&caches, &change);
            }
            let names = std::iter::from_fn(|| asked.try_recv().ok().map(|key| key.name));
            names.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>()
        };
        assert_eq!(after(watcher::Event::Apply(deployment(1))), ["web", "web-api"], "it is taken");
        assert_eq!(after(watcher::Event::Apply(deployment(2))), ["web-api"], "nothing is given back");
        assert_eq!(after(watcher::Event::Delete(deployment(2))), ["web", "web-api"]);
    }

    #[test]
    fn somebody_elses_revision_with_the_name_of_an_accepted_spec_concerns_who_accepts_it() {
        let caches = Caches::new(None);
        let (sender, mut asked) = unbounded_channel();
        let trigger = Trigger::new(sender);
        known(&caches, "web");
        let theirs: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 1,
            "metadata": {"name": "web-accepted-1f", "namespace": "shop", "uid": "1"},
        }))
        .unwrap();
        let cache = caches.of(Kind::ControllerRevision).unwrap();
        for event in [watcher::Event::Apply(theirs.clone()), watcher::Event::Delete(theirs)] {
            for change in cache.take(&event, |object| Child::of(Kind::ControllerRevision, object)) {
                trigger.child(&caches, &change);
            }
            assert_eq!(asked.try_recv().ok(), Some(Key::new("shop", "web")));
        }
    }
}
