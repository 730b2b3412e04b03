//! Istio's kinds may be absent, come later or go: the workloads are served all the same, and no restart is needed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::cell::Cell;

use devcluster::Options;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use microservice_operator::plan::object::Kind;
use serde_json::{Value, json};
use support::{Operator, Space, condition, run, told};

const TWO: &str = "{ports: [{name: http, port: 80}], versions: [\
    {name: v1, image: 'registry.example/a:1', weight: 100}, {name: v2, image: 'registry.example/a:2', weight: 0}]}";

fn pinned(service: &Value) -> Option<&str> {
    service["spec"]["selector"]["version"].as_str()
}

#[test]
fn the_mesh_may_be_absent_come_and_go() {
    run(absent_there_and_gone(false));
}

#[test]
fn the_mesh_may_be_absent_come_and_go_for_an_operator_of_one_namespace() {
    run(absent_there_and_gone(true));
}

async fn absent_there_and_gone(one_namespace: bool) {
    let cluster = support::start(Options::default()).await;
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client());
    let all = definitions.list(&ListParams::default()).await.unwrap().items;
    let istio: Vec<CustomResourceDefinition> =
        all.into_iter().filter(|it| it.name_any().ends_with("networking.istio.io")).collect();
    assert!(istio.len() >= 2);
    let remove = || async {
        for definition in &istio {
            definitions.delete(&definition.name_any(), &DeleteParams::default()).await.unwrap();
        }
    };
    remove().await;

    let space = Space::unwatched(&cluster, "mesh").await;
    let scope = if one_namespace { vec!["--namespace", space.name.as_str()] } else { Vec::new() };
    let args = [&["--leader-election", "false"][..], &scope].concat();
    let operator = Operator::start(cluster.kubeconfig_path(), &args);
    operator.says("the mesh's kinds are not installed").await;
    space.apply("a", TWO).await;
    let served = space.until("a", "served without a mesh", |it| condition(it, "Available") == "True").await;
    assert_eq!(told(&served, "RoutesReady").0, "MeshNotInstalled");
    assert_eq!(condition(&served, "Ready"), "False");
    // Whichever version has the first ready pod serves meanwhile.
    space.child_until(Kind::Service, "a", "selects v1", |it| pinned(it) == Some("v1")).await;

    for definition in &istio {
        let mut fresh = definition.clone();
        fresh.metadata.resource_version = None;
        fresh.metadata.uid = None;
        fresh.metadata.managed_fields = None;
        fresh.status = None;
        let tries = Cell::new(0_u32);
        let made = support::eventually(|| async {
            tries.set(tries.get() + 1);
            // Who deletes it waits ever longer after each error of its own, but looks at once at what changes.
            if tries.get().is_multiple_of(100) {
                let again = json!({"metadata": {"annotations": {"example.com/tries": tries.get().to_string()}}});
                let _gone = definitions.patch(&fresh.name_any(), &PatchParams::default(), &Patch::Merge(&again)).await;
            }
            definitions.create(&PostParams::default(), &fresh).await.ok()
        })
        .await;
        if made.is_none() {
            let why = definitions.create(&PostParams::default(), &fresh).await.err();
            panic!("{} cannot be made again: {why:?}", fresh.name_any());
        }
    }
    operator.says("the mesh's kinds are installed").await;
    space.ready("a").await;
    space.child_until(Kind::VirtualService, "a", "there", |_| true).await;
    space.child_until(Kind::DestinationRule, "a", "there", |_| true).await;
    space.child_until(Kind::Service, "a", "selects all versions", |it| pinned(it).is_none()).await;
    space.apply("a", &TWO.replace("weight: 100", "weight: 60").replace("weight: 0", "weight: 40")).await;
    space.weights("a", "v1=60 v2=40").await;
    space.ready("a").await;

    remove().await;
    let again = space.until("a", "the mesh is gone", |it| told(it, "RoutesReady").0 == "MeshNotInstalled").await;
    assert_eq!(condition(&again, "Available"), "True");
}

#[test]
fn from_the_service_to_the_mesh_and_back_on_a_cluster() {
    run(async {
        let space = Space::new(support::cluster(), "provider").await;
        let _operator = Operator::of(&space);
        let none = TWO.replace("versions:", "traffic: {provider: None}, versions:");
        space.apply("a", &none).await;
        space.ready("a").await;
        assert!(space.child(Kind::VirtualService, "a").await.is_none());
        space.apply("a", TWO).await;
        space.ready("a").await;
        space.child_until(Kind::VirtualService, "a", "there", |_| true).await;
        space.apply("a", &none).await;
        space.ready("a").await;
        assert!(space.child(Kind::VirtualService, "a").await.is_none());
        assert!(space.child(Kind::DestinationRule, "a").await.is_none());
        let service = space.child_until(Kind::Service, "a", "there", |_| true).await;
        assert_eq!(pinned(&service), Some("v1"));
    });
}
