//! Campaign 4: what the operator depends on is away in the middle of a rollout.

use std::time::Duration;

use devcluster::{Cluster, Component, Options};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::DeleteParams};

use crate::{
    campaign,
    stage::Stage,
    story::{self, Chapter},
    support::{Space, eventually, run, start},
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
}

const OUTAGES: [Outage; 4] = [
    Outage::Killed(Component::ApiServer),
    Outage::Stopped(Component::ApiServer),
    Outage::Stopped(Component::Etcd),
    Outage::Killed(Component::Etcd),
];

impl Outage {
    async fn happens(self, cluster: &Cluster) {
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
        }
    }
}

/// A rollout with an outage in its midst. No watch sees every revision across that, so the invariants are not judged.
async fn away(cluster: &Cluster, outage: Outage) {
    let stage = Stage::within(Space::unwatched(cluster, "outage").await).await;
    let promoted = stage.is_before(Chapter::Rollout).await;
    story::begin(&stage.space, Chapter::Rollout).await;
    let walks = |it: &microservice_operator::api::Microservice| {
        it.status.as_ref().is_some_and(|status| status.weights.as_deref() != Some("v1=60 v2=40"))
    };
    stage.space.until("a", "the first step", walks).await;
    outage.happens(cluster).await;
    let about = format!("{outage:?} for {LENGTH:?}");
    story::end(&stage.space, Chapter::Rollout).await;
    stage.comes_to(promoted, &about).await;
    stage.is_silent(&about).await;
}

#[test]
fn a_rollout_goes_on_after_an_outage_as_if_there_had_been_none() {
    run(async {
        let cluster = start(Options::default()).await;
        let cases = campaign::part(OUTAGES.to_vec(), 1);
        let count = cases.len();
        for outage in cases {
            away(&cluster, outage).await;
        }
        println!("campaign 4, outages: {count} of {} runs, each ended as a clean run does", OUTAGES.len());
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
