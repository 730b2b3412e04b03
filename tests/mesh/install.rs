//! The operator as its users install it: from its image, by Helm, with no more rights than it uses.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};

use crate::{
    calls::Traffic,
    service::{known, ready_at, spec, version},
    stage::{NAMESPACE, RELEASE, stage},
    support::{Space, run},
};

const NAME: &str = "web";

#[test]
fn upgrades_and_an_uninstall_in_the_middle_of_traffic_lose_nothing() {
    run(async {
        let _alone = stage().alone().await;
        let space = Space::new(&stage().cluster, "install").await;
        space.apply(NAME, &spec(&[version("v1", 90), version("v2", 10)], "")).await;
        ready_at(&space, NAME, "v1=90 v2=10").await;
        known(&space, NAME, "v1", 2).await;

        let tested = stage().helm(&["test", RELEASE, "--namespace", NAMESPACE, "--timeout", "2m"]);
        assert!(tested.contains("Phase:") && tested.contains("Succeeded"), "{tested}");

        let before = pods(&space).await;
        let traffic = Traffic::start(&space, NAME).await;
        stage().install(&["replicas=2", "podAnnotations.upgraded=yes"]);
        space.apply(NAME, &spec(&[version("v1", 0), version("v2", 100)], "")).await;
        ready_at(&space, NAME, "v1=0 v2=100").await;
        println!("helm upgrade: 0 of {} requests lost", traffic.lost_none("upgrade").await);

        let traffic = Traffic::start(&space, NAME).await;
        stage().helm(&["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait"]);
        traffic.more(1_001).await;
        stage().install(&[]);
        space.apply(NAME, &spec(&[version("v1", 90), version("v2", 10)], "")).await;
        ready_at(&space, NAME, "v1=90 v2=10").await;
        println!("helm uninstall and install: 0 of {} requests lost", traffic.lost_none("uninstall").await);
        assert_eq!(pods(&space).await, before, "pods were replaced");
    });
}

async fn pods(space: &Space) -> Vec<Option<String>> {
    let api: Api<Pod> = space.api();
    let mut uids: Vec<_> =
        api.list(&ListParams::default()).await.unwrap().items.into_iter().map(|pod| pod.metadata.uid).collect();
    uids.sort();
    uids
}
