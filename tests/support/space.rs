//! A namespace for one test, with what the test does there and waits for.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc},
    time::Duration,
};

use devcluster::{
    Cluster,
    invariants::{Recorder, Settings},
};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Namespace};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, TypeMeta},
    core::GroupVersionKind,
};
use microservice_operator::{
    api::{MANAGER, Microservice, labels::ADOPT},
    plan::object::Kind,
};
use serde_json::{Value, json};

use super::{PATIENCE, RUNTIME, condition, current, eventually, root};

/// A namespace that is deleted when the test ends. The test fails then if any revision of its objects broke an
/// invariant.
pub struct Space {
    pub name: String,
    pub client: Client,
    recorder: Option<Arc<Recorder>>,
}

impl Space {
    /// Makes a namespace with a name that begins with `name`, for operators with the default settings.
    pub async fn new(cluster: &Cluster, name: &str) -> Self {
        Self::with_propagation(cluster, name, Duration::from_secs(5)).await
    }

    /// Makes a namespace for operators with this `--mesh-propagation`.
    pub async fn with_propagation(cluster: &Cluster, name: &str, propagation: Duration) -> Self {
        let mut space = Self::unwatched(cluster, name).await;
        let [owner, orders] = ["Microservice", "MicroserviceAction"]
            .map(|kind| Some(GroupVersionKind::gvk("microservice-operator.dev", "v1alpha1", kind)));
        // Revisions are dated by their arrival here, which a busy machine delays, as it does what an operator knows of pods.
        let slack = (propagation / 2).min(Duration::from_secs(1));
        let settings = Settings {
            propagation: propagation.try_into().unwrap(),
            slack: slack.try_into().unwrap(),
            recent: (slack * 2).try_into().unwrap(),
            ..Settings::default()
        };
        let recorder = Recorder::start(&space.client, &space.name, owner, orders, settings).await.unwrap();
        space.recorder = Some(Arc::new(recorder));
        space
    }

    /// Makes a namespace in which a test breaks invariants by its own hand.
    pub async fn unwatched(cluster: &Cluster, name: &str) -> Self {
        let client = cluster.client();
        let namespace = Namespace {
            metadata: ObjectMeta { generate_name: Some(format!("{name}-")), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        let api: Api<Namespace> = Api::all(client.clone());
        let made = api.create(&Default::default(), &namespace).await.unwrap();
        Self { name: made.name_any(), client, recorder: None }
    }

    /// What the invariants are judged by.
    pub fn recorder(&self) -> &Arc<Recorder> {
        self.recorder.as_ref().expect("the space is watched")
    }

    pub fn microservices(&self) -> Api<Microservice> {
        Api::namespaced(self.client.clone(), &self.name)
    }

    pub fn children(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.name, &kind.api_resource())
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Who holds the operators' lease in this namespace.
    pub async fn leader(&self) -> Option<String> {
        let lease = self.api::<Lease>().get_opt("microservice-operator").await.unwrap()?;
        lease.spec?.holder_identity.filter(|holder| !holder.is_empty())
    }

    /// Applies a manifest of a Microservice.
    pub async fn apply(&self, name: &str, spec: &str) -> Microservice {
        self.try_apply(name, spec).await.unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Applies a manifest of a Microservice that may be refused.
    pub async fn try_apply(&self, name: &str, spec: &str) -> Result<Microservice, kube::Error> {
        let spec: Value = serde_yaml::from_str(spec).unwrap_or_else(|error| panic!("{error}\n{spec}"));
        let body = json!({
            "apiVersion": "microservice-operator.dev/v1alpha1", "kind": "Microservice",
            "metadata": {"name": name}, "spec": spec,
        });
        self.microservices().patch(name, &PatchParams::apply("test").force(), &Patch::Apply(&body)).await
    }

    /// Applies an object of any kind.
    pub async fn put(&self, object: &Value) {
        let kind: TypeMeta = serde_json::from_value(object.clone()).unwrap();
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&kind).unwrap());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.name, &resource);
        let name = object["metadata"]["name"].as_str().unwrap();
        api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await.unwrap();
    }

    /// Applies all Microservices below a folder of the repository.
    pub async fn apply_folder(&self, folder: &str) -> Vec<String> {
        let input = microservice_operator::input::read(&[root().join(folder)], &mut std::io::empty());
        assert!(input.errors.is_empty(), "{:?}", input.errors);
        let mut names = Vec::new();
        for document in input.documents {
            let mut body = document.value;
            body["metadata"]["namespace"] = self.name.clone().into();
            let name = body["metadata"]["name"].as_str().unwrap().to_owned();
            let params = PatchParams::apply("test").force();
            self.microservices().patch(&name, &params, &Patch::Apply(&body)).await.unwrap();
            names.push(name);
        }
        names
    }

    /// Waits until a Microservice is as the closure wants it; answers it.
    pub async fn until(&self, name: &str, what: &str, wanted: impl Fn(&Microservice) -> bool) -> Microservice {
        let api = self.microservices();
        let last = std::sync::Mutex::new(None);
        let found = eventually(|| async {
            let now = api.get_opt(name).await.ok().flatten()?;
            *last.lock().unwrap() = now.status.clone();
            wanted(&now).then_some(now)
        })
        .await;
        found.unwrap_or_else(|| panic!("{name} never came to: {what}; its status is {:#?}", last.lock().unwrap()))
    }

    /// Waits until the newest spec is fully reached.
    pub async fn ready(&self, name: &str) -> Microservice {
        self.until(name, "Ready", |it| current(it) && condition(it, "Ready") == "True").await
    }

    /// Waits until the effective weights are as given, such as `v1=90 v2=10`.
    pub async fn weights(&self, name: &str, weights: &str) -> Microservice {
        self.until(name, weights, |it| it.status.as_ref().and_then(|s| s.weights.as_deref()) == Some(weights)).await
    }

    /// An object of a kind of children, if it exists.
    pub async fn child(&self, kind: Kind, name: &str) -> Option<DynamicObject> {
        self.children(kind).get_opt(name).await.unwrap()
    }

    /// Waits until a child is as the closure wants it.
    pub async fn child_until(&self, kind: Kind, name: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let api = self.children(kind);
        let last = std::sync::Mutex::new(Value::Null);
        let found = eventually(|| async {
            let now = serde_json::to_value(api.get_opt(name).await.ok().flatten()?).unwrap();
            *last.lock().unwrap() = now.clone();
            wanted(&now).then_some(now)
        })
        .await;
        found.unwrap_or_else(|| panic!("{kind:?} {name} never came to: {what}; it is {:#}", last.lock().unwrap()))
    }

    /// Waits until no child of the kind has that name.
    pub async fn gone(&self, kind: Kind, name: &str) {
        let api = self.children(kind);
        let gone = eventually(|| async { api.get_opt(name).await.ok()?.is_none().then_some(()) }).await;
        gone.unwrap_or_else(|| panic!("{kind:?} {name} is still there"));
    }

    /// All children of Microservices, by kind and name, without what differs from run to run: identities, times and the
    /// namespace. With them, as `ownerless`, what the operator wrote and nobody owns, which nothing would ever delete; but not
    /// what somebody hands over.
    pub async fn snapshot(&self) -> BTreeMap<String, Value> {
        let mut all = BTreeMap::new();
        for kind in Kind::ALL {
            let items = match self.children(kind).list(&ListParams::default()).await {
                Ok(list) => list.items,
                Err(kube::Error::Api(status)) if status.code == 404 && kind.of_mesh() => continue,
                Err(error) => panic!("{kind:?}s in {} cannot be listed: {error}", self.name),
            };
            for object in items {
                let heading = match object.owner_references() {
                    [] if is_left(&object) => "ownerless ",
                    [] => continue,
                    _ => "",
                };
                let name = format!("{heading}{kind:?}/{}", object.name_any());
                let text = serde_json::to_string(&object).unwrap();
                let text = text.replace(&format!(".{}.svc", self.name), ".NAMESPACE.svc");
                all.insert(name, masked(serde_json::from_str(&text).unwrap()));
            }
        }
        all
    }
}

/// Whether the operator wrote an object, and nobody offers it to a Microservice.
fn is_left(object: &DynamicObject) -> bool {
    let written = object.managed_fields().iter().any(|entry| entry.manager.as_deref() == Some(MANAGER));
    written && !object.annotations().contains_key(ADOPT)
}

/// What the recorder has to say in the end, from outside its runtime.
fn verdict(recorder: Arc<Recorder>) -> Vec<String> {
    let (sender, receiver) = mpsc::channel();
    let last = recorder.clone();
    RUNTIME.spawn(async move { sender.send(last.finish().await) });
    let (violations, incomplete) = match receiver.recv_timeout(PATIENCE) {
        Ok(violations) => (violations, None),
        Err(_) => (recorder.violations(), Some(format!("not all revisions came in within {PATIENCE:?}"))),
    };
    let led_there = format!("what led there:\n{}", recorder.account(&violations));
    let told = violations.iter().map(ToString::to_string).chain(incomplete);
    told.chain(Some(led_there).filter(|_| !violations.is_empty())).collect()
}

impl Drop for Space {
    fn drop(&mut self) {
        let violations = self.recorder.take().map(verdict).unwrap_or_default();
        let (client, name) = (self.client.clone(), self.name.clone());
        RUNTIME.spawn(async move {
            let api: Api<Namespace> = Api::all(client);
            let _gone = api.delete(&name, &DeleteParams::background()).await;
        });
        if !violations.is_empty() {
            let told = format!("{} broke invariants:\n{}", self.name, violations.join("\n"));
            if std::thread::panicking() { eprintln!("{told}") } else { panic!("{told}") }
        }
    }
}

/// Without identities, times, versions and status.
fn masked(mut object: Value) -> Value {
    let Some(meta) = object["metadata"].as_object_mut() else { return object };
    for key in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "namespace"] {
        meta.remove(key);
    }
    if let Some(annotations) = meta.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove("microservice-operator.dev/applied");
        annotations.remove("deployment.kubernetes.io/revision");
    }
    for owner in meta.get_mut("ownerReferences").and_then(Value::as_array_mut).into_iter().flatten() {
        owner["uid"] = Value::Null;
    }
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
        // Of a ControllerRevision: how many came before.
        object.remove("revision");
    }
    for path in ["/spec/clusterIP", "/spec/clusterIPs"] {
        if let Some(value) = object.pointer_mut(path) {
            *value = Value::Null;
        }
    }
    object
}
