//! A real API server where others have a hand in the objects and sizes of a Microservice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use k8s_openapi::api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1::Pod, events::v1::Event};
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

/// Notes of the events with this reason.
async fn notes(space: &Space, reason: &str) -> Vec<String> {
    let all = space.api::<Event>().list(&ListParams::default()).await.unwrap();
    all.items.into_iter().filter(|it| it.reason.as_deref() == Some(reason)).filter_map(|it| it.note).collect()
}

#[test]
fn who_scales_a_child_is_told_once_and_an_autoscaler_does_not_flood() {
    run(async {
        let space = Space::new(cluster(), "autoscaler").await;
        let _operator = Operator::of(&space);
        let spec =
            "{ports: [{name: http, port: 80}], replicas: 2, versions: [{name: v1, image: 'registry.example/a:1'}]}";
        for name in ["a", "b"] {
            space.apply(name, spec).await;
            space.ready(name).await;
        }
        let deployments = space.api::<k8s_openapi::api::apps::v1::Deployment>();
        let params = PatchParams { field_manager: Some("kubectl-scale".into()), ..PatchParams::default() };
        let five = json!({"spec": {"replicas": 5}});
        deployments.patch_scale("a-v1", &params, &Patch::Merge(&five)).await.unwrap();
        let told_of = space.until("a", "ChildScaled", |it| told(it, "SizesReady").0 == "ChildScaled").await;
        let message = told(&told_of, "SizesReady").1;
        assert!(message.starts_with("kubectl-scale scaled the Deployment a-v1"), "{message}");
        space.child_until(Kind::Deployment, "a-v1", "put back", |it| it["spec"]["replicas"] == json!(2)).await;
        space.ready("a").await;

        let autoscaler = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "b"},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "b-v1"},
                     "minReplicas": 4, "maxReplicas": 6},
        });
        let autoscalers = space.api::<HorizontalPodAutoscaler>();
        autoscalers.create(&PostParams::default(), &serde_json::from_value(autoscaler).unwrap()).await.unwrap();
        space.until("b", "ChildScaled", |it| told(it, "SizesReady").0 == "ChildScaled").await;
        tokio::time::sleep(std::time::Duration::from_secs(50)).await;
        let generation = deployments.get("b-v1").await.unwrap().metadata.generation.unwrap();
        assert!(generation >= 5, "the autoscaler set the size once only: generation {generation}");
        let notes_of = notes(&space, "ChildScaled").await;
        let of = |name: &str| notes_of.iter().filter(|note| note.contains(&format!("name: {name}}}"))).count();
        assert_eq!((of("a"), of("b")), (1, 1), "{notes_of:?}");
        assert!(notes_of.iter().any(|note| note.starts_with("a HorizontalPodAutoscaler")), "{notes_of:?}");
        assert_eq!(notes(&space, "BecameReady").await.len(), 2, "once for each");
    });
}

#[test]
fn weight_leaves_a_version_before_its_last_pod_does() {
    run(async {
        let space = Space::new(cluster(), "parked").await;
        let _operator = Operator::of(&space);
        let spec = "{ports: [{name: http, port: 80}], drain: 6s, versions: [\
            {name: v1, image: 'registry.example/a:1', weight: 90}, \
            {name: v2, image: 'registry.example/a:2', weight: 10, replicas: 2}]}";
        space.apply("a", spec).await;
        space.ready("a").await;
        space.apply("a", &spec.replace("replicas: 2", "replicas: 0")).await;
        space.weights("a", "v1=100 v2=0").await;
        let size = |replicas: i32| move |it: &Value| it["spec"]["replicas"] == json!(replicas);
        assert!(size(2)(&serde_json::to_value(space.child(Kind::Deployment, "a-v2").await.unwrap()).unwrap()));
        space.child_until(Kind::Deployment, "a-v2", "no pods", size(0)).await;
        space.until("a", "NoReplicas", |it| told(it, "Ready").0 == "NoReplicas").await;
        space.apply("a", spec).await;
        space.ready("a").await;
        space.weights("a", "v1=90 v2=10").await;
    });
}
