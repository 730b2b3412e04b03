//! The cluster in which attacks are made: the chart, a tenant with the rights on Microservices alone, and what is not theirs.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    routing::{any, post},
};
use devcluster::Cluster;
use kube::{
    Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::{GroupVersionKind, TypeMeta},
};
use serde_json::{Value, json};

use crate::support::{Operator, Space, cluster, helm, kubectl};

pub const CHART: &str = "microservice-operator";
/// What keeps a namespace to the strictest of Kubernetes' standards for pods.
const RESTRICTED: &str = "pod-security.kubernetes.io/enforce=restricted";
const API: &str = "microservice-operator.dev/v1alpha1";

/// What is in the tenant's Secret: as a text, and as Secrets have it.
pub const PASSWORD: [&str; 2] = ["hunter2", "aHVudGVyMg=="];

/// Requests that webhooks and providers of others were sent.
static CALLS: AtomicUsize = AtomicUsize::new(0);
/// What the webhook that everybody may name was sent.
static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The ground on which attacks are made.
pub struct Ground {
    /// The tenant's namespace.
    pub space: Space,
    /// Somebody else's.
    pub victim: Space,
    /// The tenant's own client.
    pub tenant: Client,
    pub operator: Operator,
}

impl Ground {
    /// Installs the chart, runs the operator with its rights, and makes both namespaces.
    pub async fn new() -> Self {
        let cluster = cluster();
        let chart = ["install", CHART, "charts/microservice-operator", "--namespace=ops", "--create-namespace"];
        helm(cluster, &[&chart[..], &["--set=crds.enabled=false"]].concat());
        let space = Space::unwatched(cluster, "tenant").await;
        let victim = Space::unwatched(cluster, "victim").await;
        kubectl(cluster, &["label", "namespace", &space.name, RESTRICTED]);
        admit(cluster, &space.name, "0");
        let kubeconfig = cluster.kubeconfig_for_service_account("ops", CHART).await.unwrap();
        // Text is the weaker of the two formats: in JSON nothing can break a line.
        let args = ["--lease-namespace=ops", "--mesh-propagation=1s", "--log-format=text"];
        let operator = Operator::start(&kubeconfig, &args);
        operator.says("leading").await;
        let tenant = cluster.client_for_tenant(0).await.unwrap();
        Self { space, victim, tenant, operator }
    }

    /// Makes what belongs to others.
    pub async fn plant(&self) {
        let address = listener().await;
        let named = |kind: &str, name: &str, spec: Value| json!({"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec});
        let service = |name: &str, selector: Value, port: i32| {
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
                   "spec": {"selector": selector, "ports": [{"name": "tcp", "port": port}]}})
        };
        let plain = json!({"versions": [{"name": "v1", "image": "registry.example/a:1"}],
                           "ports": [{"name": "http", "port": 80}]});
        let mut staffed = plain.clone();
        staffed["serviceAccountName"] = "robot".into();
        // The Deployment of the second one has the name that v2 of a Microservice staffed-v1 would have.
        staffed["versions"] = json!([{"name": "v1", "image": "registry.example/a:1", "weight": 90},
                                     {"name": "v1-v2", "image": "registry.example/a:1", "weight": 10}]);
        let mut broken = plain.clone();
        broken["podAnnotations"] = json!({devcluster::BEHAVIOR: "never-ready"});
        let only = json!([self.victim.name]);
        let labels = json!({"app": "theirs"});
        for object in [
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}}),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"},
                   "stringData": {"password": PASSWORD[0]}}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "db"},
                   "data": {"address": "db.example"}}),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "clash-v1"},
                   "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": {
                       "metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}}}}),
            service("legacy", json!({"tier": "legacy"}), 80),
            service("shop-front", json!({"app": "front"}), 80),
            service("taken", json!({"app": "theirs"}), 80),
            named("Microservice", "staffed", staffed),
            json!({"apiVersion": API, "kind": "MicroserviceAction", "metadata": {"name": "record"},
                   "spec": {"microservice": "staffed", "verb": "Pause", "actor": "admin"}}),
            named("RolloutWebhook", "theirs", json!({"url": address, "allowHttp": true, "namespaces": only})),
            named("RolloutWebhook", "open", json!({"url": format!("{address}/open"), "allowHttp": true})),
            named("AnalysisProvider", "theirs", json!({"prometheus": {"url": address}, "namespaces": only})),
            named("AnalysisProvider", "shared", json!({"prometheus": {"url": address}})),
        ] {
            put(&self.space, &object).await;
        }
        for object in [service("ledger", json!({"app": "ledger"}), 5432), named("Microservice", "pay", broken)] {
            put(&self.victim, &object).await;
        }
        self.space.ready("staffed").await;
        self.victim.until("pay", "a status", |it| it.status.is_some()).await;
    }

    /// Lets the tenant use every ServiceAccount and PriorityClass.
    pub async fn lend(&self) {
        const RBAC: &str = "rbac.authorization.k8s.io";
        let used =
            |group: &str, resource: &str| json!({"apiGroups": [group], "resources": [resource], "verbs": ["use"]});
        let rules = [used("", "serviceaccounts"), used("scheduling.k8s.io", "priorityclasses")];
        let version = format!("{RBAC}/v1");
        for object in [
            json!({"apiVersion": version, "kind": "ClusterRole", "metadata": {"name": "lender"}, "rules": rules}),
            json!({"apiVersion": version, "kind": "ClusterRoleBinding", "metadata": {"name": "lender"},
                   "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "lender"},
                   "subjects": [{"apiGroup": RBAC, "kind": "User", "name": "tenant-0"}]}),
        ] {
            put(&self.space, &object).await;
        }
    }

    /// How often anybody called what belongs to others.
    pub fn calls() -> usize {
        CALLS.load(Ordering::Relaxed)
    }

    /// What the webhook was sent that everybody may name.
    pub fn told() -> Vec<String> {
        TOLD.lock().unwrap().clone()
    }
}

/// Gives a tenant the rights of the chart's roles for people in a namespace, and no others.
pub fn admit(cluster: &Cluster, namespace: &str, number: &str) {
    for role in ["view", "edit"] {
        let (clusterrole, user) = (format!("--clusterrole={CHART}-{role}"), format!("--user=tenant-{number}"));
        kubectl(cluster, &["create", "rolebinding", role, &clusterrole, &user, "--namespace", namespace]);
    }
}

/// Applies an object as the administrator, in the namespace if its kind has one.
async fn put(space: &Space, object: &Value) {
    let kind: TypeMeta = serde_json::from_value(object.clone()).unwrap();
    let of_cluster = ["RolloutWebhook", "AnalysisProvider", "ClusterRole", "ClusterRoleBinding"];
    let of_cluster = of_cluster.contains(&kind.kind.as_str());
    if !of_cluster {
        return space.put(object).await;
    }
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(&kind).unwrap());
    let api = kube::Api::<DynamicObject>::all_with(space.client.clone(), &resource);
    let name = object["metadata"]["name"].as_str().unwrap();
    api.patch(name, &PatchParams::apply("test").force(), &Patch::Apply(object)).await.unwrap();
}

/// The address of a server that counts what it is asked, and keeps what it is told at `/open`.
async fn listener() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = any(|| async {
        CALLS.fetch_add(1, Ordering::Relaxed);
    });
    let keep = post(|body: String| async move { TOLD.lock().unwrap().push(body) });
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/open", keep).fallback(count)).await });
    format!("http://{address}")
}
