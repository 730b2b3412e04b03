//! A service with a single image on a real API server: its revisions walk the steps, turn back, and are sized together.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment},
    core::v1::ConfigMap,
};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use microservice_operator::{
    api::{ActionResult, Microservice, MicroserviceAction, Provider},
    plan::object::Kind,
    validate::resolve::resolve,
};
use serde_json::json;
use support::{Operator, Space, cluster, condition, current, eventually, message, run, told};

/// Settings of the operator under test.
const PROPAGATION: Duration = Duration::from_secs(1);

fn service(tag: &str, replicas: i32) -> String {
    format!(
        "{{ports: [{{name: http, port: 80}}], replicas: {replicas}, drain: 3s, image: 'registry.example/a:{tag}', \
         rollout: {{steps: [{{weight: 10}}, {{pause: {{duration: 2s}}}}, {{weight: 50}}, {{pause: {{duration: 20s}}}}]}}}}"
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
            let kept = all.list(&ListParams::default()).await.ok()?.items;
            let mut kept: Vec<_> = kept.iter().map(|it| (it.data.0["image"].to_string(), it.revision)).collect();
            kept.sort();
            (kept.len() == 3).then_some(kept)
        });
        let numbered = |image: i32, number: i64| (format!("\"registry.example/a:{image}\""), Some(number));
        let kept = history.await.expect("one accepted spec an image");
        assert_eq!(kept, [numbered(1, 3), numbered(2, 2), numbered(3, 4)], "the first one came back before the third");
        assert_eq!(api.list(&ListParams::default()).await.unwrap().items.len(), 1);
    });
}

/// The copy of `settings` that a revision's pods refer to.
async fn copy(space: &Space, version: &str) -> ConfigMap {
    let deployment = space.api::<Deployment>().get(&format!("a-{version}")).await.unwrap();
    let container = deployment.spec.template.spec.unwrap().containers.remove(0);
    let name = container.env_from.unwrap().remove(0).config_map_ref.unwrap().name;
    assert!(name.starts_with("settings-"), "{name}");
    space.api::<ConfigMap>().get(&name).await.unwrap()
}

async fn settings(space: &Space, mode: &str) {
    let data = json!({"mode": mode});
    space.put(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": data})).await;
}

async fn copies(space: &Space) -> Vec<ConfigMap> {
    let ours = ListParams::default().labels("microservice-operator.dev/service=a");
    space.api::<ConfigMap>().list(&ours).await.unwrap().items
}

#[test]
fn a_changed_config_map_is_canaried_and_comes_back() {
    run(async {
        let space = Space::with_propagation(cluster(), "config", PROPAGATION).await;
        let mut running = operator(&space);
        let steps = "steps: [{weight: 10}, {pause: {}}, {weight: 50}, {pause: {}}]";
        let spec = |tag: &str| {
            format!(
                "{{ports: [{{name: http, port: 80}}], replicas: 2, drain: 2s, image: 'registry.example/a:{tag}', \
                 revisionHistoryLimit: 1, envFrom: [{{configMapRef: {{name: settings}}}}], rollout: {{{steps}}}}}"
            )
        };
        space.apply("a", &spec("1")).await;
        let waiting = space.until("a", "waiting", |it| told(it, "Ready").0 == "ConfigMapMissing").await;
        assert_eq!(condition(&waiting, "Stalled"), "False");
        assert!(message(&waiting).contains("spec.envFrom: the ConfigMap settings does not exist"));
        settings(&space, "calm").await;
        let newest = |it: &Microservice| it.status.as_ref().and_then(|status| status.revision.clone()).unwrap();
        let one = newest(&space.ready("a").await);
        let first = copy(&space, &one).await;
        assert_eq!(first.immutable, Some(true));
        assert_eq!(first.data.unwrap()["mode"], "calm");
        assert_eq!(first.metadata.owner_references.unwrap()[0].name, "a");

        // Changed, it walks the steps, also over a restart of the operator.
        settings(&space, "eager").await;
        let changed = space.until("a", "another revision", |it| newest(it) != one).await;
        let two = newest(&changed);
        space.weights("a", &format!("{two}=10 {one}=90")).await;
        running.kill();
        running = operator(&space);
        assert_eq!(copy(&space, &two).await.data.unwrap()["mode"], "eager");
        assert_eq!(copy(&space, &one).await.data.unwrap()["mode"], "calm");
        assert_eq!(order(&space, "Abort", json!({})).await, ActionResult::Done);
        space.weights("a", &format!("{two}=0 {one}=100")).await;
        assert_eq!(copy(&space, &one).await.data.unwrap()["mode"], "calm");

        // The old content, put back by hand, is the old revision; the new one, promoted, is undone to the old content.
        settings(&space, "calm").await;
        assert_eq!(newest(&space.ready("a").await), one);
        settings(&space, "eager").await;
        space.weights("a", &format!("{two}=10 {one}=90")).await;
        assert_eq!(order(&space, "PromoteFull", json!({})).await, ActionResult::Done);
        assert_eq!(order(&space, "Undo", json!({})).await, ActionResult::Done);
        space.weights("a", &format!("{two}=0 {one}=100")).await;
        assert_eq!(copy(&space, &one).await.data.unwrap()["mode"], "calm");

        // A copy that somebody deletes is made again; the history decides which stay.
        let lost = copy(&space, &two).await.metadata.name.unwrap();
        space.api::<ConfigMap>().delete(&lost, &Default::default()).await.unwrap();
        space.child_until(Kind::ConfigMap, &lost, "made again", |it| it["data"]["mode"] == "eager").await;
        for (tag, mode) in [("2", "loud"), ("3", "quiet")] {
            settings(&space, mode).await;
            space.apply("a", &spec(tag)).await;
            let wanted = |it: &Microservice| current(it) && newest(it) != one && newest(it) != two;
            space.until("a", "another rollout", wanted).await;
            let rolling = |it: &Microservice| {
                it.status.as_ref().is_some_and(|it| it.rollout.as_ref().is_some_and(|it| it.step > 0))
            };
            space.until("a", "its first step", rolling).await;
            assert_eq!(order(&space, "PromoteFull", json!({})).await, ActionResult::Done);
            space.ready("a").await;
        }
        let left = eventually(|| async { Some(copies(&space).await).filter(|copies| copies.len() <= 2) }).await;
        let left = left.expect("what the history does not know goes");
        let modes: Vec<String> = left.into_iter().map(|it| it.data.unwrap()["mode"].clone()).collect();
        assert!(modes.contains(&"quiet".to_owned()), "{modes:?}");
        drop(running);
    });
}

/// Asks something of the rollout of `a`, and waits for the answer.
async fn order(space: &Space, verb: &str, more: serde_json::Value) -> ActionResult {
    let mut spec = json!({"microservice": "a", "verb": verb, "actor": "test"});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let action = json!({"apiVersion": "microservice-operator.dev/v1alpha1", "kind": "MicroserviceAction",
                        "metadata": {"generateName": "a-"}, "spec": spec});
    let api = space.api::<MicroserviceAction>();
    let made = api.create(&PostParams::default(), &serde_json::from_value(action).unwrap()).await.unwrap();
    let name = made.metadata.name.unwrap();
    eventually(|| async { api.get(&name).await.ok()?.status }).await.expect("an answer").result
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
