//! A service with a single image on a real API server: its revisions walk the steps, turn back, and are sized together.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use microservice_operator::{
    api::{Microservice, Provider},
    plan::object::Kind,
    validate::resolve::resolve,
};
use serde_json::json;
use support::{Operator, Space, cluster, condition, eventually, run};

/// Settings of the operator under test.
const PROPAGATION: Duration = Duration::from_secs(1);

fn service(tag: &str, replicas: i32) -> String {
    format!(
        "{{ports: [{{name: http, port: 80}}], replicas: {replicas}, drain: 3s, image: 'registry.example/a:{tag}', \
         rollout: {{steps: [{{weight: 10}}, {{pause: {{duration: 2s}}}}, {{weight: 50}}, {{pause: {{duration: 8s}}}}]}}}}"
    )
}

fn operator(space: &Space) -> Operator {
    let args = ["--namespace", &space.name, "--leader-election", "false", "--mesh-propagation", "1s"];
    Operator::start(cluster().kubeconfig_path(), &args)
}

fn revision(of: &Microservice) -> String {
    resolve(of, Provider::Istio).versions[0].name.clone()
}

async fn sized(space: &Space, version: &str, replicas: i32) {
    let wanted = |it: &serde_json::Value| it["spec"]["replicas"] == json!(replicas);
    space.child_until(Kind::Deployment, &format!("a-{version}"), "its size", wanted).await;
}

#[test]
fn images_follow_each_other_step_by_step() {
    run(async {
        let space = Space::with_propagation(cluster(), "image", PROPAGATION).await;
        let mut running = operator(&space);
        let one = revision(&space.apply("a", &service("1", 2)).await);
        space.ready("a").await;
        let two = revision(&space.apply("a", &service("2", 2)).await);
        space.weights("a", &format!("{two}=10 {one}=90")).await;
        running.kill();
        running = operator(&space);
        space.weights("a", &format!("{two}=50 {one}=50")).await;

        // An autoscaler changes the size by the scale subresource.
        let scale = json!({"spec": {"replicas": 3}});
        let params = PatchParams::default();
        space.microservices().patch_scale("a", &params, &Patch::Merge(&scale)).await.unwrap();
        sized(&space, &one, 3).await;
        sized(&space, &two, 3).await;

        // Going back is at once, to the Deployment that still runs.
        let api: Api<Deployment> = space.api();
        let before = api.get(&format!("a-{one}")).await.unwrap();
        assert_eq!(revision(&space.apply("a", &service("1", 3)).await), one);
        space
            .until("a", "all back", |it| {
                it.status.as_ref().and_then(|status| status.weights.as_deref()) == Some(&format!("{one}=100"))
            })
            .await;
        let after = api.get(&format!("a-{one}")).await.unwrap();
        assert_eq!(after.metadata.uid, before.metadata.uid);
        assert_eq!(after.spec.template, before.spec.template);
        space.gone(Kind::Deployment, &format!("a-{two}")).await;

        // Another one goes all the way, and the one before it goes.
        let three = revision(&space.apply("a", &service("3", 3)).await);
        space.weights("a", &format!("{three}=10 {one}=90")).await;
        space.gone(Kind::Deployment, &format!("a-{one}")).await;
        let done = space.ready("a").await;
        assert_eq!(condition(&done, "Promoted"), "True");
        assert_eq!(done.status.unwrap().weights, Some(format!("{three}=100")));

        // A restart, at rest, makes no revision.
        running.kill();
        let _running = operator(&space);
        space.apply("a", &service("3", 4)).await;
        sized(&space, &three, 4).await;
        let history = eventually(|| async {
            let all: Api<ControllerRevision> = space.api();
            let names = all.list(&ListParams::default()).await.ok()?.items;
            (names.len() == 3).then_some(names)
        });
        history.await.expect("one accepted spec an image");
        assert_eq!(api.list(&ListParams::default()).await.unwrap().items.len(), 1);
    });
}

#[test]
fn the_api_server_tells_the_two_forms_apart() {
    run(async {
        let space = Space::with_propagation(cluster(), "forms", PROPAGATION).await;
        let port = "ports: [{name: http, port: 80}]";
        let versions = "versions: [{name: v1, image: 'registry.example/a:1'}]";
        let route = "routes: [{name: some, match: [{path: {prefix: /a}}], version: v1}]";
        for (spec, expected) in [
            (format!("{{{port}}}"), "exactly one of image and versions"),
            (format!("{{{port}, {versions}, image: 'registry.example/a:1'}}"), "exactly one of image and versions"),
            (format!("{{{port}, {route}, image: 'registry.example/a:1'}}"), "list versions instead of the image"),
            (format!("{{{port}, {versions}, revisionHistoryLimit: 1}}"), "is about the revisions of an image"),
        ] {
            let refused = space.try_apply("a", &spec).await.expect_err(&spec).to_string();
            assert!(refused.contains(expected), "{refused}");
        }
    });
}
