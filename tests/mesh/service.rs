//! The test service as a Microservice, and its pods by their addresses.

use devcluster::workload::Change;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt, api::ListParams};

use crate::{
    stage::{SERVICE_IMAGE, stage},
    support::{self, Space},
};

/// A version of the test service.
#[derive(Clone)]
pub struct Version {
    pub name: &'static str,
    pub tag: &'static str,
    pub weight: i32,
    pub replicas: i32,
    /// Further fields, such as `env: […]`.
    pub more: String,
}

pub fn version(name: &'static str, weight: i32) -> Version {
    let tag = name.trim_start_matches('v');
    Version { name, tag, weight, replicas: 2, more: String::new() }
}

/// A Microservice's spec with these versions, HTTP on port 80 and gRPC on 50051. `more` is further fields of the spec.
/// What is not ready says so at once: probes wait for a machine that stands still for a second.
pub fn spec(versions: &[Version], more: &str) -> String {
    let versions: Vec<String> = versions
        .iter()
        .map(|Version { name, tag, weight, replicas, more }| {
            let more = if more.is_empty() { String::new() } else { format!(", {more}") };
            format!("{{name: {name}, image: '{SERVICE_IMAGE}:{tag}', weight: {weight}, replicas: {replicas}{more}}}")
        })
        .collect();
    let more = if more.is_empty() { String::new() } else { format!(", {more}") };
    format!(
        "{{ports: [{{name: http, port: 80, targetPort: 8080}}, {{name: grpc, port: 50051, protocol: GRPC}}], \
         args: [serve], drain: 6s, \
         env: [{{name: GRPC_PORT, value: '50051'}}, \
               {{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}], \
         readinessProbe: {{httpGet: {{path: /ready, port: http}}, periodSeconds: 1, failureThreshold: 1, \
                          timeoutSeconds: 5}}, \
         livenessProbe: {{httpGet: {{path: /health, port: http}}, periodSeconds: 5, timeoutSeconds: 5}}, \
         versions: [{}]{more}}}",
        versions.join(", ")
    )
}

/// The pods of a version that are not being deleted.
pub async fn pods(space: &Space, service: &str, version: &str) -> Vec<Pod> {
    let api: Api<Pod> = space.api();
    let selector = format!("app.kubernetes.io/name={service},version={version}");
    let pods = api.list(&ListParams::default().labels(&selector)).await.unwrap();
    pods.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect()
}

/// Changes how a pod behaves.
pub async fn control(pod: &Pod, change: &Change) {
    let address = pod.status.as_ref().and_then(|status| status.pod_ip.clone()).expect("the pod has an address");
    let url = format!("http://{address}:8080/control");
    let body = serde_json::to_string(change).unwrap();
    let answer = stage().inside("curl", &["--silent", "--show-error", "--fail", "--data", &body, &url]);
    assert!(answer.starts_with('{'), "{} answered {answer:?}", pod.name_any());
}

/// Waits until the mesh's client knows as many endpoints of a version as given: a new service is ready before all
/// proxies have heard of it.
pub async fn known(space: &Space, service: &str, version: &str, endpoints: usize) {
    let subset = format!("outbound|80|{version}|{service}.{}.svc.cluster.local::", space.name);
    let seen = || {
        let clusters = stage().ground.envoy_clusters(&stage().cluster).unwrap_or_default();
        clusters.lines().filter(|line| line.starts_with(&subset) && line.ends_with("::health_flags::healthy")).count()
    };
    let all = support::eventually(|| async { (seen() == endpoints).then_some(()) }).await;
    all.unwrap_or_else(|| panic!("the mesh knows {} endpoints of {version}, not {endpoints}", seen()));
}

/// Waits until the service is ready at these weights.
pub async fn ready_at(space: &Space, service: &str, weights: &str) {
    space
        .until(service, weights, |it| {
            let effective = it.status.as_ref().and_then(|status| status.weights.as_deref());
            support::current(it) && support::condition(it, "Ready") == "True" && effective == Some(weights)
        })
        .await;
}
