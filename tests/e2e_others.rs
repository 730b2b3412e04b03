//! A real API server where others have a hand in the objects and sizes of a Microservice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use microservice_operator::plan::object::Kind;
use serde_json::{Value, json};
use support::{Operator, Space, cluster, run, told};

#[test]
fn a_live_service_is_taken_over_only_when_pods_are_ready() {
    run(async {
        let space = Space::new(cluster(), "adopt").await;
        let services = space.children(Kind::Service);
        let theirs = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "a", "annotations": {"microservice-operator.dev/adopt": "a"}},
            "spec": {"selector": {"app": "theirs"}, "ports": [{"name": "http", "port": 80}]},
        });
        services.create(&PostParams::default(), &serde_json::from_value(theirs).unwrap()).await.unwrap();
        let _operator = Operator::of(&space);
        let spec = format!(
            "{{ports: [{{name: http, port: 80, targetPort: 3000}}], versions: [{{name: v1, image: 'registry.example/a:1', \
             weight: 90, podAnnotations: {{'{}': never-ready}}}}, {{name: v2, image: 'registry.example/a:2', weight: 10}}]}}",
            devcluster::BEHAVIOR
        );
        space.apply("a", &spec).await;
        space.until("a", "v2 runs", |it| it.status.as_ref().is_some_and(|it| it.traffic[1].ready == 1)).await;
        let held = space.until("a", "pending", |it| told(it, "RoutesReady").0 == "AdoptionPending").await;
        assert_eq!(told(&held, "Ready").0, "AdoptionPending", "{:?}", held.status);
        let untouched = serde_json::to_value(services.get("a").await.unwrap()).unwrap();
        assert_eq!(untouched["spec"]["selector"], json!({"app": "theirs"}));
        assert!(space.child(Kind::VirtualService, "a").await.is_none());

        let pods = space.api::<Pod>();
        let well = json!({"metadata": {"annotations": {devcluster::BEHAVIOR: Value::Null}}});
        for pod in pods.list(&ListParams::default().labels("version=v1")).await.unwrap() {
            pods.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(&well)).await.unwrap();
        }
        space.ready("a").await;
        space.weights("a", "v1=90 v2=10").await;
        let adopted = serde_json::to_value(services.get("a").await.unwrap()).unwrap();
        assert_eq!(adopted["spec"]["selector"], json!({"microservice-operator.dev/service": "a"}));
    });
}
