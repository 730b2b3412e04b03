//! The operator's main job on a real API server: Microservices become children, weights travel, the status follows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod ownership;
mod replaced;
mod trouble;
mod weights;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use support::Space;

fn two(v1: i32, v2: i32) -> String {
    format!(
        "{{ports: [{{name: http, port: 80, targetPort: 3000}}], versions: [\
         {{name: v1, image: 'registry.example/a:1', weight: {v1}, replicas: 2}}, \
         {{name: v2, image: 'registry.example/a:2', weight: {v2}}}]}}"
    )
}

/// The weights of the last http route, such as `v1=90 v2=10`.
fn routed(virtual_service: &Value) -> String {
    let routes = virtual_service["spec"]["http"].as_array().unwrap();
    let to = routes.last().unwrap()["route"].as_array().unwrap();
    let share = |to: &Value| {
        let subset = to["destination"]["subset"].as_str().unwrap();
        format!("{subset}={}", to["weight"].as_i64().unwrap_or(100))
    };
    to.iter().map(share).collect::<Vec<_>>().join(" ")
}

/// Lets every pod of a version misbehave, or be well again.
async fn behave(space: &Space, service: &str, version: &str, behavior: Option<&str>) {
    let pods = space.api::<Pod>();
    let of_version = ListParams::default().labels(&format!("app.kubernetes.io/name={service},version={version}"));
    let change = json!({"metadata": {"annotations": {devcluster::BEHAVIOR: behavior}}});
    for pod in pods.list(&of_version).await.unwrap() {
        pods.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
    }
}
