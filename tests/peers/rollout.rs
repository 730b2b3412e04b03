//! The test service as a Rollout of Argo's, and the controller that moves it.

use std::{
    collections::BTreeSet,
    process::Command,
    time::{Duration, Instant},
};

use devcluster::{
    Bound, Tool,
    invariants::{Recorder, Settings, Violation},
    tool,
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};
use tempfile::TempPath;

use crate::{
    service::known,
    stage::{SERVICE_IMAGE, stage},
    support::{Space, eventually},
};

pub const NAME: &str = "web";
const HASH: &str = "rollouts-pod-template-hash";

/// What a Rollout is to be: an edit of it is an edit of the template, the size or the steps.
#[derive(Clone)]
pub struct Wanted {
    pub version: &'static str,
    pub replicas: i32,
    pub steps: Value,
    /// Further variables of the pods.
    pub env: Vec<(&'static str, &'static str)>,
    /// An annotation of the template, which restarts the pods when it changes.
    pub restart: &'static str,
}

impl Wanted {
    pub fn new(version: &'static str, steps: Value) -> Self {
        Self { version, replicas: 2, steps, env: Vec::new(), restart: "0" }
    }

    pub fn version(&self, version: &'static str) -> Self {
        Self { version, ..self.clone() }
    }

    fn manifest(&self) -> Value {
        let Self { version, replicas, steps, env, restart } = self;
        let tag = version.trim_start_matches('v');
        let mut variables = vec![
            json!({"name": "SERVICE_NAME", "value": NAME}),
            json!({"name": "SERVICE_VERSION", "value": version}),
            json!({"name": "GRPC_PORT", "value": "50051"}),
            json!({"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
        ];
        variables.extend(env.iter().map(|(name, value)| json!({"name": name, "value": value})));
        // The pods are those that the operator makes of the mesh suite's Microservice.
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": NAME},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": NAME}},
                "strategy": {"canary": {
                    "maxSurge": "25%", "maxUnavailable": 0, "minPodsPerReplicaSet": 2,
                    "trafficRouting": {"istio": {
                        "virtualService": {"name": NAME, "routes": ["primary"]},
                        "destinationRule": {"name": NAME, "canarySubsetName": "canary", "stableSubsetName": "stable"},
                    }},
                    "steps": steps,
                }},
                "template": {
                    "metadata": {"labels": {"app": NAME}, "annotations": {"restart": restart}},
                    "spec": {
                        "automountServiceAccountToken": false,
                        "enableServiceLinks": false,
                        "terminationGracePeriodSeconds": 35,
                        "containers": [{
                            "name": "app", "image": format!("{SERVICE_IMAGE}:{tag}"), "args": ["serve"],
                            "env": variables,
                            "ports": [{"name": "http", "containerPort": 8080}, {"name": "grpc", "containerPort": 50051}],
                            "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
                            "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1, "failureThreshold": 1},
                            "livenessProbe": {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 5},
                        }],
                    },
                },
            },
        })
    }
}

/// A Rollout with its Service and routes in a namespace of its own, every revision of which is recorded.
pub struct Rollout {
    pub space: Space,
    api: Api<DynamicObject>,
    recorder: Recorder,
}

impl Rollout {
    /// Makes it, and waits until it serves. Its controller must run by then, as `controller` sees to.
    pub async fn new(name: &str, wanted: &Wanted, controller: impl FnOnce(&Space)) -> Self {
        let space = Space::unwatched(&stage().cluster, name).await;
        let kind = GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout");
        let api = Api::namespaced_with(space.client.clone(), &space.name, &ApiResource::from_gvk(&kind));
        let recorder =
            Recorder::start(&space.client, &space.name, Some(kind), None, Settings::default()).await.unwrap();
        controller(&space);
        let rollout = Self { space, api, recorder };
        for object in routes(&rollout.space.name) {
            rollout.space.put(&object).await;
        }
        rollout.apply(wanted).await;
        rollout.healthy(Duration::from_secs(120)).await.unwrap_or_else(|last| panic!("{name} never served: {last}"));
        known(&rollout.space, NAME, "stable", usize::try_from(wanted.replicas).unwrap()).await;
        rollout
    }

    pub async fn apply(&self, wanted: &Wanted) {
        self.space.put(&wanted.manifest()).await;
    }

    /// Skips the steps that are left, as `kubectl argo rollouts promote --full` does.
    pub async fn promote(&self) {
        self.patch_status(json!({"promoteFull": true})).await;
    }

    /// Gives the canary up, as `kubectl argo rollouts abort` does.
    pub async fn abort(&self) {
        self.patch_status(json!({"abort": true})).await;
    }

    async fn patch_status(&self, status: Value) {
        let patch = Patch::Merge(json!({"status": status}));
        self.api.patch_status(NAME, &PatchParams::default(), &patch).await.unwrap();
    }

    pub async fn now(&self) -> Option<Now> {
        Some(Now(serde_json::to_value(self.api.get_opt(NAME).await.ok()??).unwrap()))
    }

    /// The canary's weight that is in force: in its own status, a weight that it took away may still stand.
    pub async fn weight(&self) -> i64 {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("networking.istio.io", "v1", "VirtualService"));
        let api: Api<DynamicObject> = Api::namespaced_with(self.space.client.clone(), &self.space.name, &resource);
        let route = api.get(NAME).await.unwrap().data["spec"]["http"][0]["route"].clone();
        let canary = |it: &&Value| it["destination"]["subset"] == "canary";
        route.as_array().into_iter().flatten().find(canary).and_then(|it| it["weight"].as_i64()).unwrap_or_default()
    }

    /// Waits for a state; the last one if it does not come.
    pub async fn until(&self, within: Duration, wanted: impl Fn(&Now) -> bool) -> Result<Now, Now> {
        let deadline = Instant::now() + within;
        loop {
            let now = self.now().await.unwrap_or(Now(Value::Null));
            if now.is_current() && wanted(&now) {
                return Ok(now);
            }
            if Instant::now() > deadline {
                return Err(now);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn healthy(&self, within: Duration) -> Result<Now, Now> {
        self.until(within, Now::is_done).await
    }

    /// Waits until the canary has this weight, and the rollout stands at a pause.
    pub async fn paused_at(&self, weight: i64) {
        let paused =
            self.until(Duration::from_secs(120), |now| now.phase() == "Paused" && now.canary_weight() == weight);
        paused.await.unwrap_or_else(|last| panic!("never paused at {weight}: {last}"));
    }

    pub async fn pods(&self) -> Vec<Pod> {
        let api: Api<Pod> = self.space.api();
        api.list(&ListParams::default().labels(&format!("app={NAME}"))).await.map(|list| list.items).unwrap_or_default()
    }

    /// The pods of the canary, or of what is stable.
    pub async fn pods_of(&self, canary: bool) -> Vec<Pod> {
        let now = self.now().await.unwrap();
        let hash = if canary { now.text("currentPodHash") } else { now.text("stableRS") };
        self.pods().await.into_iter().filter(|pod| pod.labels().get(HASH).is_some_and(|it| it == hash)).collect()
    }

    /// Waits until all pods that had to go have gone, which it lets them only after a delay.
    pub async fn only_stable_is_left(&self) {
        let gone = eventually(|| async {
            let stable = self.now().await?.text("stableRS").to_owned();
            let pods = self.pods().await;
            let stays = |pod: &Pod| {
                pod.metadata.deletion_timestamp.is_none() && pod.labels().get(HASH).is_some_and(|it| *it == stable)
            };
            (!pods.is_empty() && pods.iter().all(stays)).then_some(())
        });
        gone.await.expect("the pods of other versions go");
    }

    /// What its revisions broke.
    pub async fn broken(&self) -> Vec<Violation> {
        self.recorder.finish().await
    }
}

/// A state of a Rollout.
pub struct Now(Value);

impl Now {
    fn text(&self, field: &str) -> &str {
        self.0["status"][field].as_str().unwrap_or_default()
    }

    pub fn phase(&self) -> &str {
        self.text("phase")
    }

    /// Whether the status speaks of the newest spec.
    fn is_current(&self) -> bool {
        let generation = self.0["metadata"]["generation"].as_i64().unwrap_or_default();
        self.text("observedGeneration") == generation.to_string()
    }

    pub fn is_done(&self) -> bool {
        self.phase() == "Healthy"
            && !self.text("stableRS").is_empty()
            && self.text("stableRS") == self.text("currentPodHash")
    }

    pub fn canary_weight(&self) -> i64 {
        self.0["status"]["canary"]["weights"]["canary"]["weight"].as_i64().unwrap_or_default()
    }

    pub fn available(&self) -> i64 {
        self.0["status"]["availableReplicas"].as_i64().unwrap_or_default()
    }
}

impl std::fmt::Display for Now {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {} % ({})", self.phase(), self.canary_weight(), self.text("message"))
    }
}

/// Service, DestinationRule and VirtualService, as Argo's documentation has them for splitting by subsets.
fn routes(namespace: &str) -> [Value; 3] {
    let host = format!("{NAME}.{namespace}.svc.cluster.local");
    let subset = |name: &str| json!({"name": name, "labels": {"app": NAME}});
    let to = |subset: &str, weight: i32| json!({"destination": {"host": host, "subset": subset}, "weight": weight});
    [
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME},
            "spec": {"selector": {"app": NAME}, "ports": [
                {"name": "http", "port": 80, "targetPort": "http", "appProtocol": "http"},
                {"name": "grpc", "port": 50051, "targetPort": "grpc", "appProtocol": "grpc"},
            ]},
        }),
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": NAME},
            "spec": {"host": host, "subsets": [subset("canary"), subset("stable")]},
        }),
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": NAME},
            "spec": {"hosts": [host], "http": [{"name": "primary", "route": [to("stable", 100), to("canary", 0)]}]},
        }),
    ]
}

/// Argo's controller for one namespace; it ends with this value, and with the thread that started it.
pub struct Controller {
    _process: Bound,
    log: TempPath,
}

impl Controller {
    pub fn start(space: &Space) -> Self {
        let log = tempfile::Builder::new().prefix("rollouts-controller-").suffix(".log");
        let log = log.tempfile_in(stage().cluster.scratch()).unwrap();
        let log = log.into_temp_path();
        let mut command = Command::new(tool(Tool::ArgoRollouts).unwrap());
        command
            .args(["--leader-elect=false", "--loglevel=error", "--istio-api-version=v1"])
            .args(["--namespaced", "--namespace", &space.name, "--metricsPort=0", "--healthzPort=0"])
            .arg("--kubeconfig")
            .arg(stage().cluster.kubeconfig_path());
        let _process = Bound::start(&command, &log).expect("the controller starts");
        Self { _process, log }
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the controller's log ---\n{}", std::fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// The weights that the canary had, one after the other.
#[derive(Default)]
pub struct Trail {
    last: Option<i64>,
    seen: Vec<String>,
    pub restarted: BTreeSet<(String, i32)>,
}

impl Trail {
    pub fn note(&mut self, weight: i64) {
        if self.last != Some(weight) {
            self.last = Some(weight);
            self.seen.push(weight.to_string());
        }
    }

    pub fn note_restarts(&mut self, pods: &[Pod]) {
        for pod in pods {
            let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
            self.restarted
                .extend(statuses.filter(|it| it.restart_count > 0).map(|it| (pod.name_any(), it.restart_count)));
        }
    }
}

impl std::fmt::Display for Trail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.seen.join(", "))
    }
}
