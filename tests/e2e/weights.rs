//! Weights, sizes and versions: asked for, reached, and told.

use devcluster::invariants::Kind as Recorded;
use kube::api::{ListParams, Patch, PatchParams};
use microservice_operator::plan::object::Kind;
use serde_json::json;

use crate::{
    behave, routed,
    support::{self, Operator, Space, cluster, condition, message, run, told},
    two,
};

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
        is_told(&space, "VersionRemoved", "the Deployment a-v1 was deleted").await;
        let ready = space.ready("a").await;
        assert_eq!(ready.status.unwrap().weights.as_deref(), Some("v2=100"));
        let rule = space.child_until(Kind::DestinationRule, "a", "one subset", |_| true).await;
        assert_eq!(rule["spec"]["subsets"].as_array().unwrap().len(), 1);
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
        for note in ["v1=90 v2=10 -> v1=50 v2=50", "v1=50 v2=50 -> v1=0 v2=100"] {
            is_told(&space, "TrafficWeightUpdated", note).await;
        }
    });
}

/// Waits for an event whose note ends so.
async fn is_told(space: &Space, reason: &str, end: &str) {
    let events = space.api::<k8s_openapi::api::events::v1::Event>();
    let told = support::eventually(|| async {
        let all = events.list(&ListParams::default()).await.ok()?;
        let mut notes = all.items.into_iter().filter(|it| it.reason.as_deref() == Some(reason));
        notes.any(|it| it.note.is_some_and(|it| it.ends_with(end))).then_some(())
    });
    assert!(told.await.is_some(), "no event {reason} says {end}");
}
