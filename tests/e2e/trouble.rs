//! What cannot be had is told, and holds nothing else up.

use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use microservice_operator::plan::object::Kind;
use serde_json::{Value, json};

use crate::{
    behave, routed,
    support::{self, Operator, Space, cluster, condition, message, run, told},
    two,
};

#[test]
fn the_status_names_the_pods_real_trouble() {
    run(async {
        let space = Space::new(cluster(), "trouble").await;
        let _operator = Operator::of(&space);
        let with = |behavior: &str| {
            format!(
                "{{ports: [{{name: http, port: 80}}], versions: [{{name: v1, image: 'registry.example/a:1', weight: 90}}, \
                 {{name: v2, image: 'registry.example/a:2', weight: 10, podAnnotations: {{'{}': {behavior}}}}}]}}",
                devcluster::BEHAVIOR
            )
        };
        for (behavior, expected) in [
            ("image-pull-error", "ImagePullBackOff on registry.example/a:2"),
            ("crash-loop", "CrashLoopBackOff in app"),
            ("crash-config", "CreateContainerConfigError in app"),
            ("never-ready", "v2 has 0 of 1 pod ready"),
        ] {
            space.apply(behavior, &with(behavior)).await;
            let held = space
                .until(behavior, expected, |it| condition(it, "Available") == "True" && message(it).contains(expected))
                .await;
            assert!(message(&held).ends_with("traffic stays at v1 100"), "{}", message(&held));
            assert_eq!(condition(&held, "Ready"), "False");
        }
        let unschedulable = two(90, 10).replace("weight: 10", "weight: 10, nodeSelector: {disk: golden}");
        space.apply("nowhere", &unschedulable).await;
        space.until("nowhere", "Unschedulable", |it| message(it).contains("Unschedulable: ")).await;
    });
}

#[test]
fn quota_and_admission_are_told_in_their_own_words() {
    run(async {
        let space = Space::new(cluster(), "quota").await;
        let _operator = Operator::of(&space);
        let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}});
        let quotas = space.api::<k8s_openapi::api::core::v1::ResourceQuota>();
        quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
        space.apply("a", &two(90, 10)).await;
        let held = space.until("a", "quota", |it| message(it).contains("exceeded quota: none")).await;
        assert_eq!(told(&held, "Available").0, "NoReadyVersion");
        quotas.delete("none", &DeleteParams::default()).await.unwrap();
        space.ready("a").await;
    });
}

#[test]
fn an_invalid_spec_is_refused_by_the_status_and_the_accepted_one_stays() {
    run(async {
        let space = Space::new(cluster(), "invalid").await;
        let _operator = Operator::of(&space);
        let wrong = two(0, 100).replace("versions:", "mounts: [{volume: nowhere, path: /x}], versions:");
        space.apply("a", &wrong).await;
        let refused = space.until("a", "Stalled", |it| condition(it, "Stalled") == "True").await;
        assert!(message(&refused).contains("nowhere"), "{}", message(&refused));
        assert!(space.snapshot().await.is_empty(), "nothing may be made from an invalid spec");
        space.apply("a", &two(90, 10)).await;
        space.ready("a").await;
        space.apply("a", &wrong).await;
        space.until("a", "Stalled", |it| support::current(it) && condition(it, "Stalled") == "True").await;
        let routes = space.child_until(Kind::VirtualService, "a", "there", |_| true).await;
        assert_eq!(routed(&routes), "v1=90 v2=10");
        let held = support::eventually(|| async {
            space.child(Kind::Deployment, "a-v1").await.map(|it| it.data["spec"]["replicas"].clone())
        })
        .await;
        assert_eq!(held, Some(json!(2)));
    });
}

#[test]
fn a_refused_deployment_is_told_and_does_not_stop_a_failover() {
    run(async {
        let space = Space::new(cluster(), "refusal").await;
        let _operator = Operator::of(&space);
        space.apply("a", &two(90, 10)).await;
        space.ready("a").await;
        let quota = json!({"metadata": {"name": "two"}, "spec": {"hard": {"count/deployments.apps": "2"}}});
        let quotas = space.api::<k8s_openapi::api::core::v1::ResourceQuota>();
        quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
        let counted = support::eventually(|| async { quotas.get("two").await.ok()?.status?.used.map(|_| ()) }).await;
        assert!(counted.is_some(), "the quota is never counted");
        let third =
            two(90, 10).replace("weight: 10}", "weight: 10}, {name: v3, image: 'registry.example/a:3', weight: 0}");
        space.apply("a", &third).await;
        let refused = |it: &_| told(it, "Stalled").0 == "ApplyFailed" && message(it).contains("exceeded quota: two");
        let held = space.until("a", "the refusal", refused).await;
        assert!(message(&held).contains("Deployment a-v3"), "{}", message(&held));
        assert_eq!(condition(&held, "Available"), "True");

        behave(&space, "a", "v1", Some("never-ready")).await;
        let over = space.weights("a", "v1=0 v2=100 v3=0").await;
        assert_eq!(told(&over, "Stalled").0, "ApplyFailed");
        quotas.delete("two", &DeleteParams::default()).await.unwrap();
        behave(&space, "a", "v1", None).await;
        space.ready("a").await;
    });
}

#[test]
fn a_child_that_hangs_in_deletion_is_told_and_holds_nothing_else() {
    run(async {
        let space = Space::unwatched(cluster(), "hangs").await;
        let _operator = Operator::of(&space);
        space.apply("a", &two(90, 10)).await;
        space.ready("a").await;
        let hold = |finalizers: Value| json!({"metadata": {"finalizers": finalizers}});
        let deployments = space.children(Kind::Deployment);
        let params = PatchParams::default();
        deployments.patch("a-v2", &params, &Patch::Merge(hold(json!(["example.com/hold"])))).await.unwrap();
        deployments.delete("a-v2", &DeleteParams::background()).await.unwrap();
        let held = space.until("a", "what hangs", |it| message(it).contains("Deployment a-v2 is being deleted")).await;
        assert!(message(&held).contains("example.com/hold"), "{}", message(&held));
        assert_eq!(condition(&held, "Ready"), "False");
        space.apply("a", &two(100, 0)).await;
        space.weights("a", "v1=100 v2=0").await;
        deployments.patch("a-v2", &params, &Patch::Merge(hold(json!(null)))).await.unwrap();
        space.ready("a").await;
    });
}
