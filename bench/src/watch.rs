//! All objects of a kind as they are now, and waiting until enough of them are as wanted.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::StreamExt;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
    runtime::watcher,
};
use serde_json::Value;
use tokio::task::JoinHandle;

/// A kind of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
}

pub const POD: Kind = Kind { group: "", version: "v1", kind: "Pod", plural: "pods" };
pub const SERVICE: Kind = Kind { group: "", version: "v1", kind: "Service", plural: "services" };
pub const SERVICE_ACCOUNT: Kind = Kind { group: "", version: "v1", kind: "ServiceAccount", plural: "serviceaccounts" };
pub const REVISION: Kind =
    Kind { group: "apps", version: "v1", kind: "ControllerRevision", plural: "controllerrevisions" };
pub const DEPLOYMENT: Kind = Kind { group: "apps", version: "v1", kind: "Deployment", plural: "deployments" };
pub const REPLICA_SET: Kind = Kind { group: "apps", version: "v1", kind: "ReplicaSet", plural: "replicasets" };
pub const VIRTUAL_SERVICE: Kind =
    Kind { group: "networking.istio.io", version: "v1", kind: "VirtualService", plural: "virtualservices" };
pub const DESTINATION_RULE: Kind =
    Kind { group: "networking.istio.io", version: "v1", kind: "DestinationRule", plural: "destinationrules" };

impl Kind {
    pub fn resource(self) -> ApiResource {
        let kind = GroupVersionKind::gvk(self.group, self.version, self.kind);
        ApiResource::from_gvk_with_plural(&kind, self.plural)
    }

    /// Its objects in a namespace.
    pub fn within(self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(client.clone(), namespace, &self.resource())
    }
}

/// Namespace and name.
pub type Key = (String, String);

#[derive(Default)]
struct State {
    objects: HashMap<Key, Value>,
    changed: HashSet<Key>,
    listed: bool,
}

/// The objects of a kind in the namespaces of one run, but for the ServiceAccount that each namespace has.
pub struct Watch {
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

/// Name of the ServiceAccount that each namespace has by itself.
const OF_NAMESPACE: &str = "default";

/// How often it is looked what has changed.
const TICK: Duration = Duration::from_millis(20);

impl Watch {
    /// Watches a kind in all namespaces that begin so; ends with the value.
    pub fn start(client: &Client, kind: Kind, prefix: &str) -> Self {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind.resource());
        let state = Arc::new(Mutex::new(State::default()));
        let (seen, prefix) = (Arc::clone(&state), prefix.to_owned());
        let task = tokio::spawn(async move {
            let mut events = watcher(api, watcher::Config::default()).boxed();
            while let Some(event) = events.next().await {
                let Ok(event) = event else { continue };
                note(&mut seen.lock().unwrap_or_else(PoisonError::into_inner), event, &prefix);
            }
        });
        Self { state, task }
    }

    /// Waits until that many objects are as wanted, or the time is over; answers how many are, and when that was.
    pub async fn until(&self, count: usize, limit: Duration, wanted: impl Fn(&Value) -> bool) -> (usize, Instant) {
        let end = Instant::now() + limit;
        let mut found = HashSet::new();
        self.touch_all();
        loop {
            self.judge(&mut found, &wanted);
            let now = Instant::now();
            if found.len() >= count || now >= end {
                return (found.len(), now);
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// Waits until all objects are gone, or the time is over; answers those that are left, and when.
    pub async fn until_gone(&self, limit: Duration) -> (BTreeSet<Key>, Instant) {
        let end = Instant::now() + limit;
        loop {
            let (is_empty, now) = (self.lock().objects.is_empty(), Instant::now());
            if is_empty || now >= end {
                return (self.keys(), now);
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// Waits until all that was there when it began is known.
    pub async fn is_listed(&self) {
        while !self.lock().listed {
            tokio::time::sleep(TICK).await;
        }
    }

    /// An object as it is now.
    pub fn get(&self, key: &Key) -> Option<Value> {
        self.lock().objects.get(key).cloned()
    }

    /// The keys of all objects, in order.
    pub fn keys(&self) -> BTreeSet<Key> {
        self.lock().objects.keys().cloned().collect()
    }

    fn judge(&self, found: &mut HashSet<Key>, wanted: &impl Fn(&Value) -> bool) {
        let mut state = self.lock();
        for key in std::mem::take(&mut state.changed) {
            if state.objects.get(&key).is_some_and(wanted) {
                found.insert(key);
            } else {
                found.remove(&key);
            }
        }
    }

    fn touch_all(&self) {
        let mut state = self.lock();
        state.changed = state.objects.keys().cloned().collect();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn note(state: &mut State, event: watcher::Event<DynamicObject>, prefix: &str) {
    let (object, gone) = match event {
        watcher::Event::Apply(object) | watcher::Event::InitApply(object) => (object, false),
        watcher::Event::Delete(object) => (object, true),
        watcher::Event::Init => return,
        watcher::Event::InitDone => {
            state.listed = true;
            return;
        }
    };
    let key = (object.metadata.namespace.clone().unwrap_or_default(), object.metadata.name.clone().unwrap_or_default());
    if !key.0.starts_with(prefix) || key.1 == OF_NAMESPACE {
        return;
    }
    if gone {
        state.objects.remove(&key);
    } else if let Ok(value) = serde_json::to_value(&object) {
        state.objects.insert(key.clone(), value);
    }
    state.changed.insert(key);
}
