//! Campaign 4: what the operator depends on is away in the middle of a rollout.

use std::time::Duration;

use devcluster::{Cluster, Component, Options};
use k8s_openapi::{
    api::core::v1::Namespace, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams},
};
use microservice_operator::api::Microservice;
use tokio::sync::Mutex;

use crate::{
    campaign,
    stage::Stage,
    story::{self, Chapter},
    support::{Space, condition, eventually, run, start, told},
};

/// How long it is away.
const LENGTH: Duration = Duration::from_secs(30);

/// What is away, and how.
#[derive(Clone, Copy, Debug)]
enum Outage {
    /// It stands still, with all connections open.
    Stopped(Component),
    /// It dies, and is started anew.
    Killed(Component),
    /// Istio's definitions are deleted, and all routes with them.
    MeshGone,
}

const OUTAGES: [Outage; 5] = [
    Outage::Killed(Component::ApiServer),
    Outage::Stopped(Component::ApiServer),
    Outage::Stopped(Component::Etcd),
    Outage::Killed(Component::Etcd),
    Outage::MeshGone,
];

impl Outage {
    async fn happens(self, cluster: &Cluster, space: &Space) {
        match self {
            Self::Stopped(component) => {
                cluster.pause(component).unwrap();
                tokio::time::sleep(LENGTH).await;
                cluster.resume(component).unwrap();
            }
            Self::Killed(component) => {
                cluster.kill_component(component).unwrap();
                tokio::time::sleep(LENGTH).await;
                cluster.start_component(component).await.unwrap();
            }
            Self::MeshGone => mesh_goes(space).await,
        }
    }
}

/// Deletes Istio's definitions, and makes them again once the operator misses them.
async fn mesh_goes(space: &Space) {
    let definitions: Api<CustomResourceDefinition> = Api::all(space.client.clone());
    let all = definitions.list(&ListParams::default()).await.unwrap().items;
    let istio: Vec<_> = all.into_iter().filter(|it| it.name_any().ends_with("networking.istio.io")).collect();
    for definition in &istio {
        definitions.delete(&definition.name_any(), &DeleteParams::default()).await.unwrap();
    }
    let missed = |it: &Microservice| told(it, "RoutesReady").0 == "MeshNotInstalled";
    let told = space.until("a", "the mesh is missed", missed).await;
    assert_eq!(condition(&told, "Available"), "True", "requests are served all the same");
    for definition in istio {
        let name = definition.name_any();
        let metadata = ObjectMeta {
            name: Some(name.clone()),
            annotations: definition.metadata.annotations,
            ..ObjectMeta::default()
        };
        let fresh = CustomResourceDefinition { metadata, spec: definition.spec, status: None };
        let made = eventually(|| async { definitions.create(&PostParams::default(), &fresh).await.ok() }).await;
        made.unwrap_or_else(|| panic!("{name} cannot be made again"));
    }
}

/// A rollout with an outage in its midst, one at a time in a cluster. No watch sees every revision across that, so the
/// invariants are not judged.
async fn away(cluster: &Cluster, turn: &Mutex<()>, outage: Outage) {
    let _turn = turn.lock().await;
    let stage = Stage::within(Space::unwatched(cluster, "outage").await).await;
    let promoted = stage.is_before(Chapter::Rollout).await;
    story::begin(&stage.space, Chapter::Rollout).await;
    story::walks(&stage.space).await;
    outage.happens(cluster, &stage.space).await;
    let about = format!("{outage:?}");
    story::end(&stage.space, Chapter::Rollout).await;
    match outage {
        // The routes are made twice.
        Outage::MeshGone => stage.rests_like(&promoted.end, &about).await,
        Outage::Stopped(_) | Outage::Killed(_) => stage.rests_at(promoted, &about).await,
    }
}

#[test]
fn a_rollout_goes_on_after_an_outage_as_if_there_had_been_none() {
    run(async {
        let cluster = start(Options::default()).await;
        let turn = Mutex::new(());
        campaign::run("4, outages", campaign::part(OUTAGES.to_vec(), 1), |it| away(&cluster, &turn, it)).await;
    });
}

#[test]
fn a_namespace_that_goes_away_in_the_middle_of_a_rollout_leaves_silence() {
    run(async {
        let stage = Stage::new("leaving").await;
        story::begin(&stage.space, Chapter::Create).await;
        story::end(&stage.space, Chapter::Create).await;
        story::begin(&stage.space, Chapter::Rollout).await;
        let namespaces: Api<Namespace> = Api::all(stage.space.client.clone());
        namespaces.delete(&stage.space.name, &DeleteParams::background()).await.unwrap();
        let gone = eventually(|| async { namespaces.get_opt(&stage.space.name).await.ok()?.is_none().then_some(()) });
        gone.await.expect("the namespace goes");
        stage.is_silent("a namespace that is gone").await;
    });
}
