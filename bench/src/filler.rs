//! Stands in for the built-in controllers, the scheduler and the kubelets: fills in what Deployments and ReplicaSets come
//! to, with pods that are ready at once.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::{Pod, PodTemplateSpec},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::{Controller, controller::Action, watcher},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const CONCURRENCY: u16 = 32;
const AGAIN: Duration = Duration::from_secs(1);

/// A running filler; ends with this value.
pub struct Filler(Vec<JoinHandle<()>>);

struct Pods {
    client: Client,
    /// Names of the pods of each object.
    made: Mutex<HashMap<String, Vec<String>>>,
}

impl Filler {
    pub fn start(client: &Client) -> Self {
        let pods = Arc::new(Pods { client: client.clone(), made: Mutex::default() });
        let settings = kube::runtime::controller::Config::default().concurrency(CONCURRENCY);
        let deployments = Controller::new(Api::<Deployment>::all(client.clone()), watcher::Config::default())
            .with_config(settings.clone())
            .run(deployment, |_, _, _| Action::requeue(AGAIN), Arc::clone(&pods));
        let sets = Controller::new(Api::<ReplicaSet>::all(client.clone()), watcher::Config::default())
            .with_config(settings)
            .run(replica_set, |_, _, _| Action::requeue(AGAIN), pods);
        Self(vec![tokio::spawn(deployments.for_each(|_| async {})), tokio::spawn(sets.for_each(|_| async {}))])
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

async fn deployment(object: Arc<Deployment>, pods: Arc<Pods>) -> Result<Action, kube::Error> {
    let spec = &object.spec;
    let replicas = spec.replicas.unwrap_or(1);
    pods.fill(&*object, &spec.template, replicas).await?;
    let status = json!({
        "observedGeneration": object.metadata.generation, "replicas": replicas, "updatedReplicas": replicas,
        "readyReplicas": replicas, "availableReplicas": replicas, "unavailableReplicas": null,
        "conditions": [
            {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "message": ""},
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": ""},
        ],
    });
    let observed = object.status.as_ref();
    let is_so = observed.is_some_and(|it| {
        it.observed_generation == object.metadata.generation && it.available_replicas.unwrap_or(0) == replicas
    });
    pods.tell(&*object, is_so, status).await
}

async fn replica_set(object: Arc<ReplicaSet>, pods: Arc<Pods>) -> Result<Action, kube::Error> {
    let spec = &object.spec;
    let (replicas, template) = (spec.replicas.unwrap_or(1), spec.template.clone().unwrap_or_default());
    pods.fill(&*object, &template, replicas).await?;
    let status = json!({
        "observedGeneration": object.metadata.generation, "replicas": replicas, "fullyLabeledReplicas": replicas,
        "readyReplicas": replicas, "availableReplicas": replicas,
    });
    let observed = object.status.as_ref();
    let is_so = observed.is_some_and(|it| {
        it.observed_generation == object.metadata.generation && it.available_replicas.unwrap_or(0) == replicas
    });
    pods.tell(&*object, is_so, status).await
}

impl Pods {
    /// Makes the pods that a template asks for, and deletes others.
    async fn fill<K>(&self, of: &K, template: &PodTemplateSpec, replicas: i32) -> Result<(), kube::Error>
    where
        K: Resource<DynamicType = ()>,
    {
        let namespace = of.namespace().unwrap_or_default();
        let (hash, api) = (hash(template), Api::<Pod>::namespaced(self.client.clone(), &namespace));
        let wanted: Vec<String> = (0..replicas).map(|index| format!("{}-{hash}-{index}", of.name_any())).collect();
        let key = format!("{} {namespace} {}", K::kind(&()), of.name_any());
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned().unwrap_or_default();
        for name in made.iter().filter(|name| !wanted.contains(name)) {
            let at_once = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
            absent_is_fine(api.delete(name, &at_once).await.map(drop))?;
        }
        for name in wanted.iter().filter(|name| !made.contains(name)) {
            let pod = pod(of, name, &hash, template);
            present_is_fine(api.create(&PostParams::default(), &pod).await.map(drop))?;
            api.patch_status(name, &PatchParams::default(), &Patch::Merge(running(&pod))).await?;
        }
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(key, wanted);
        Ok(())
    }

    /// Writes the status, unless it is so.
    async fn tell<K>(&self, of: &K, is_so: bool, status: Value) -> Result<Action, kube::Error>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        if !is_so {
            let api = Api::<K>::namespaced(self.client.clone(), &of.namespace().unwrap_or_default());
            let patch = Patch::Merge(json!({"status": status}));
            absent_is_fine(api.patch_status(&of.name_any(), &PatchParams::default(), &patch).await.map(drop))?;
        }
        Ok(Action::await_change())
    }
}

fn absent_is_fine(answer: Result<(), kube::Error>) -> Result<(), kube::Error> {
    if_code(answer, 404)
}

fn present_is_fine(answer: Result<(), kube::Error>) -> Result<(), kube::Error> {
    if_code(answer, 409)
}

fn if_code(answer: Result<(), kube::Error>, fine: u16) -> Result<(), kube::Error> {
    match answer {
        Err(kube::Error::Api(status)) if status.code == fine => Ok(()),
        answer => answer,
    }
}

fn hash(template: &PodTemplateSpec) -> String {
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(template).unwrap_or_default().hash(&mut hasher);
    format!("{:08x}", hasher.finish() & 0xffff_ffff)
}

fn pod<K: Resource<DynamicType = ()>>(of: &K, name: &str, hash: &str, template: &PodTemplateSpec) -> Pod {
    let metadata = template.metadata.clone().unwrap_or_default();
    let mut labels: BTreeMap<String, String> = metadata.labels.unwrap_or_default();
    labels.insert("pod-template-hash".into(), hash.into());
    let owners = of.controller_owner_ref(&()).map(|owner| vec![owner]);
    Pod {
        metadata: ObjectMeta {
            name: Some(name.into()),
            labels: Some(labels),
            annotations: metadata.annotations,
            owner_references: owners,
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

fn running(pod: &Pod) -> Value {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let statuses: Vec<Value> = containers
        .map(|it| {
            json!({
                "name": it.name, "image": it.image, "imageID": "", "ready": true, "started": true, "restartCount": 0,
                "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}},
            })
        })
        .collect();
    let conditions: Vec<Value> = ["PodScheduled", "Initialized", "ContainersReady", "Ready"]
        .map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}))
        .into();
    json!({"status": {
        "phase": "Running", "podIP": "10.128.0.1", "podIPs": [{"ip": "10.128.0.1"}], "conditions": conditions,
        "containerStatuses": statuses,
    }})
}
