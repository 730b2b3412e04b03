//! The operator's main job on a real API server: Microservices become children, weights travel, the status follows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use devcluster::invariants::Kind as Recorded;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use microservice_operator::plan::object::Kind;
use serde_json::{Value, json};
use support::{Operator, Space, cluster, condition, message, run, told};

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

#[test]
fn the_shop_and_bookinfo_become_ready_and_weights_travel() {
    run(async {
        let space = Space::new(cluster(), "shop").await;
        let _operator = Operator::of(&space);
        let mut names = space.apply_folder("examples/shop").await;
        names.extend(space.apply_folder("examples/bookinfo").await);
        assert!(names.len() >= 9, "{names:?}");
        for name in &names {
            let ready = space.ready(name).await;
            assert_eq!(condition(&ready, "Stalled"), "False");
        }
        for name in &names {
            space.until(name, "DependenciesReady", |it| condition(it, "DependenciesReady") == "True").await;
        }
        let mut reviews = space.microservices().get("reviews").await.unwrap();
        let weights = [20, 30, 50];
        for (version, weight) in reviews.spec.versions.iter_mut().zip(weights) {
            version.weight = Some(weight);
        }
        let spec = json!({"spec": {"versions": reviews.spec.versions}});
        space.microservices().patch("reviews", &PatchParams::default(), &Patch::Merge(&spec)).await.unwrap();
        let after = space.weights("reviews", "v1=20 v2=30 v3=50").await;
        assert_eq!(condition(&after, "Ready"), "True");
        let routes = space
            .child_until(Kind::VirtualService, "reviews", "new weights", |it| routed(it) == "v1=20 v2=30 v3=50")
            .await;
        let seen = space.recorder().counts();
        for kind in
            [Recorded::VirtualService, Recorded::Deployment, Recorded::Pod, Recorded::EndpointSlice, Recorded::Owner]
        {
            assert!(seen.get(&kind).is_some_and(|count| *count >= names.len()), "the checker saw only {seen:?}");
        }
        let jason = &routes["spec"]["http"][0];
        assert_eq!(jason["match"][0]["headers"]["end-user"]["exact"], "jason");
        assert_eq!(jason["route"][0]["destination"]["subset"], "v2");
    });
}

#[test]
fn drift_on_every_kind_of_child_is_put_back() {
    run(async {
        let space = Space::unwatched(cluster(), "drift").await;
        let _operator = Operator::of(&space);
        space.apply("a", &two(90, 10)).await;
        space.ready("a").await;
        let clean = space.snapshot().await;
        let drifts = [
            (Kind::Deployment, "a-v1", json!({"spec": {"replicas": 7}})),
            (
                Kind::Deployment,
                "a-v2",
                json!({"metadata": {"labels": {"version": null, "app.kubernetes.io/managed-by": "x"}}}),
            ),
            (Kind::Service, "a", json!({"spec": {"selector": {"version": "v9"}}})),
            (Kind::VirtualService, "a", json!({"spec": {"http": []}})),
            (Kind::DestinationRule, "a", json!({"spec": {"subsets": []}})),
            (Kind::VirtualService, "a", json!({"spec": {"gateways": ["istio-system/gateway"], "exportTo": ["."]}})),
            (Kind::DestinationRule, "a", json!({"spec": {"trafficPolicy": {"tls": {"mode": "DISABLE"}}}})),
            (Kind::PodDisruptionBudget, "a-v1", json!({"spec": {"maxUnavailable": 2}})),
            (Kind::ServiceAccount, "a", json!({"automountServiceAccountToken": true})),
        ];
        for (kind, name, drift) in drifts {
            let params = PatchParams { field_manager: Some("meddler".into()), ..PatchParams::default() };
            space.children(kind).patch(name, &params, &Patch::Merge(&drift)).await.unwrap();
            let key = format!("{kind:?}/{name}");
            let back =
                support::eventually(|| async { (space.snapshot().await.get(&key) == clean.get(&key)).then_some(()) })
                    .await;
            assert!(back.is_some(), "{key} was not put back: {:#}", space.snapshot().await[&key]);
        }
        for (kind, name) in [
            (Kind::Deployment, "a-v2"),
            (Kind::Service, "a"),
            (Kind::VirtualService, "a"),
            (Kind::DestinationRule, "a"),
        ] {
            let uid = space.child(kind, name).await.unwrap().uid();
            space.children(kind).delete(name, &DeleteParams::background()).await.unwrap();
            space
                .child_until(kind, name, "made anew", |it| it["metadata"]["uid"].as_str().map(str::to_owned) != uid)
                .await;
        }
        space.until("a", "Ready again", |it| condition(it, "Ready") == "True").await;
        let again = support::eventually(|| async { (space.snapshot().await == clean).then_some(()) }).await;
        assert!(again.is_some(), "not as before: {:#?}", space.snapshot().await);
    });
}

#[test]
fn what_others_added_stays() {
    run(async {
        let space = Space::new(cluster(), "others").await;
        let _operator = Operator::of(&space);
        space.apply("a", &two(90, 10)).await;
        space.ready("a").await;
        let params = PatchParams { field_manager: Some("others".into()), ..PatchParams::default() };
        let theirs = json!({"metadata": {"annotations": {"team": "payments"}, "labels": {"cost": "high"}}});
        for (kind, name) in [(Kind::Deployment, "a-v1"), (Kind::Service, "a")] {
            space.children(kind).patch(name, &params, &Patch::Merge(&theirs)).await.unwrap();
        }
        space.apply("a", &two(0, 100)).await;
        space.weights("a", "v1=0 v2=100").await;
        for (kind, name) in [(Kind::Deployment, "a-v1"), (Kind::Service, "a")] {
            let child = space.child(kind, name).await.unwrap();
            assert_eq!(child.annotations().get("team").map(String::as_str), Some("payments"), "{kind:?}");
            assert_eq!(child.labels().get("cost").map(String::as_str), Some("high"), "{kind:?}");
        }
    });
}

#[test]
fn a_name_clash_is_a_condition_and_adoption_only_by_annotation() {
    run(async {
        let space = Space::new(cluster(), "clash").await;
        let theirs = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},
            "spec": {"selector": {"app": "theirs"}, "ports": [{"name": "http", "port": 80}]},
        });
        let services = space.children(Kind::Service);
        services.create(&PostParams::default(), &serde_json::from_value(theirs).unwrap()).await.unwrap();
        let _operator = Operator::of(&space);
        space.apply("a", &two(90, 10)).await;
        let stalled = space.until("a", "Stalled", |it| condition(it, "Stalled") == "True").await;
        let (reason, text) = told(&stalled, "Stalled");
        assert_eq!(reason, "NameClash");
        assert!(text.contains("a Service named a exists and belongs to somebody else"), "{text}");
        let untouched = serde_json::to_value(services.get("a").await.unwrap()).unwrap();
        assert_eq!(untouched["spec"]["selector"], json!({"app": "theirs"}));
        assert!(untouched["metadata"]["ownerReferences"].is_null());

        let adopt = json!({"metadata": {"annotations": {"microservice-operator.dev/adopt": "a"}}});
        services.patch("a", &PatchParams::default(), &Patch::Merge(&adopt)).await.unwrap();
        space.ready("a").await;
        let adopted = services.get("a").await.unwrap();
        assert_eq!(adopted.owner_references().first().map(|owner| owner.kind.clone()).as_deref(), Some("Microservice"));
    });
}

#[test]
fn deletion_leaves_nothing_behind_and_the_same_name_can_come_again() {
    run(async {
        let space = Space::new(cluster(), "delete").await;
        let _operator = Operator::of(&space);
        space.apply("a", &two(90, 10)).await;
        space.ready("a").await;
        space.microservices().delete("a", &DeleteParams::background()).await.unwrap();
        let gone =
            support::eventually(|| async { space.microservices().get_opt("a").await.ok()?.is_none().then_some(()) })
                .await;
        assert!(gone.is_some(), "a finalizer holds it");
        space.apply("a", &two(50, 50)).await;
        space.ready("a").await;
        space.weights("a", "v1=50 v2=50").await;
        space.microservices().delete("a", &DeleteParams::background()).await.unwrap();
        let empty = support::eventually(|| async { space.snapshot().await.is_empty().then_some(()) }).await;
        assert!(empty.is_some(), "left: {:?}", space.snapshot().await.keys());
    });
}

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
fn dependencies_become_urls_and_are_named_when_they_are_missing() {
    run(async {
        let space = Space::new(cluster(), "depends").await;
        let _operator = Operator::of(&space);
        let caller = two(90, 10).replace("versions:", "dependencies: [{name: user-service}], versions:");
        space.apply("a", &caller).await;
        let ready = space.ready("a").await;
        assert_eq!(told(&ready, "DependenciesReady").0, "DependencyNotFound");
        assert!(told(&ready, "DependenciesReady").1.contains(&format!("{}/user-service", space.name)));
        let deployment = space.child_until(Kind::Deployment, "a-v1", "there", |_| true).await;
        let env = deployment.pointer("/spec/template/spec/containers/0/env").unwrap().as_array().unwrap();
        let value = |name: &str| env.iter().find(|it| it["name"] == name).map(|it| it["value"].clone());
        let url = format!("http://user-service.{}.svc:80", space.name);
        assert_eq!(value("USER_SERVICE_URL"), Some(json!(url)));
        assert_eq!(value("SERVICE_NAME"), Some(json!("a")));
        assert_eq!(value("SERVICE_VERSION"), Some(json!("v1")));
        space.apply("user-service", &two(100, 0)).await;
        space.until("a", "DependenciesReady", |it| condition(it, "DependenciesReady") == "True").await;

        let elsewhere = caller.replace("{name: user-service}", "{name: user-service, namespace: elsewhere}");
        space.apply("a", &elsewhere).await;
        let unseen = |it: &_| told(it, "DependenciesReady").0 == "DependencyUnwatched";
        let unseen = space.until("a", "a namespace that is not watched", unseen).await;
        assert_eq!(condition(&unseen, "DependenciesReady"), "Unknown");
        assert!(told(&unseen, "DependenciesReady").1.contains("elsewhere/user-service"));
    });
}

#[test]
fn a_removed_version_drains_before_it_goes() {
    run(async {
        let space = Space::new(cluster(), "drain").await;
        let _operator = Operator::of(&space);
        let with_drain = |spec: &str| spec.replace("versions:", "drain: 6s, versions:");
        space.apply("a", &with_drain(&two(90, 10))).await;
        space.ready("a").await;
        let only = "{ports: [{name: http, port: 80, targetPort: 3000}], versions: [{name: v2, image: 'registry.example/a:2'}]}";
        space.apply("a", &with_drain(only)).await;
        space.until("a", "v1 drains", |it| message(it).contains("v1 was removed and drains")).await;
        assert!(space.child(Kind::Deployment, "a-v1").await.is_some());
        space.gone(Kind::Deployment, "a-v1").await;
        let ready = space.ready("a").await;
        assert_eq!(ready.status.unwrap().weights.as_deref(), Some("v2=100"));
        let rule = space.child_until(Kind::DestinationRule, "a", "one subset", |_| true).await;
        assert_eq!(rule["spec"]["subsets"].as_array().unwrap().len(), 1);
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
fn scale_changes_the_version_without_replicas_of_its_own() {
    run(async {
        let space = Space::new(cluster(), "scale").await;
        let _operator = Operator::of(&space);
        space.apply("a", &two(90, 10)).await;
        let ready = space.ready("a").await;
        let status = ready.status.unwrap();
        assert_eq!(status.replicas, Some(1), "v1 has replicas of its own: v2 is what is scaled");
        assert!(status.label_selector.unwrap().contains("version=v2"));
        let scale = space.microservices().get_scale("a").await.unwrap();
        assert_eq!(scale.status.unwrap().replicas, 1);
        let three = json!({"spec": {"replicas": 3}});
        space.microservices().patch_scale("a", &PatchParams::default(), &Patch::Merge(&three)).await.unwrap();
        space.until("a", "3 pods", |it| it.status.as_ref().unwrap().replicas == Some(3)).await;
        assert_eq!(space.child(Kind::Deployment, "a-v1").await.unwrap().data["spec"]["replicas"], json!(2));
    });
}

#[test]
fn a_version_that_dies_hands_over_and_comes_back_after_its_hold_out() {
    run(async {
        let space = Space::new(cluster(), "failover").await;
        let _operator = Operator::of(&space);
        space.apply("a", &two(50, 50)).await;
        space.ready("a").await;
        behave(&space, "a", "v2", Some("never-ready")).await;
        space.weights("a", "v1=100 v2=0").await;
        behave(&space, "a", "v2", None).await;
        space.until("a", "v2 is held out", |it| message(it).contains("v2 lost its weight and is held out")).await;
        space.weights("a", "v1=50 v2=50").await;
        space.ready("a").await;
    });
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

#[test]
fn every_change_is_an_event_in_its_own_words() {
    run(async {
        let space = Space::new(cluster(), "events").await;
        let _operator = Operator::of(&space);
        space.apply("a", &two(90, 10)).await;
        space.ready("a").await;
        for (v1, v2) in [(50, 50), (0, 100)] {
            space.apply("a", &two(v1, v2)).await;
            space.weights("a", &format!("v1={v1} v2={v2}")).await;
        }
        let events = space.api::<k8s_openapi::api::events::v1::Event>();
        for note in ["v1=90 v2=10 -> v1=50 v2=50", "v1=50 v2=50 -> v1=0 v2=100"] {
            let told = support::eventually(|| async {
                let all = events.list(&ListParams::default()).await.ok()?;
                let mut notes = all.items.into_iter().filter(|it| it.reason.as_deref() == Some("TrafficWeightUpdated"));
                notes.any(|it| it.note.is_some_and(|it| it.ends_with(note))).then_some(())
            });
            assert!(told.await.is_some(), "no event says {note}");
        }
    });
}
