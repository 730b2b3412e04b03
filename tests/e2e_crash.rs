//! A crash at any moment ends where a clean run ends, and an upgrade of the operator restarts no pod.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{ResourceExt, api::DeleteParams};
use serde_json::Value;
use support::{Operator, Space, cluster, run};

const TWO: &str = "{replicas: 2, ports: [{name: http, port: 80}], drain: 1s, versions: [\
    {name: v1, image: 'registry.example/a:1', weight: 90}, {name: v2, image: 'registry.example/a:2', weight: 10}]}";
const FAST: [&str; 2] = ["--mesh-propagation", "1s"];

fn start(space: &Space) -> Operator {
    let scope = ["--namespace", &space.name, "--leader-election", "false"];
    Operator::start(cluster().kubeconfig_path(), &[&scope[..], &FAST].concat())
}

fn edited() -> String {
    TWO.replace("weight: 90", "weight: 0").replace("weight: 10", "weight: 100").replace("replicas: 2", "replicas: 3")
}

/// A delay within a second, different in each round; derived, so that a failing run can be repeated.
fn moment(round: u64) -> Duration {
    Duration::from_millis(round.wrapping_mul(2_654_435_761) % 900)
}

/// A namespace for operators that are started so.
async fn fast_space(name: &str) -> Space {
    Space::with_propagation(cluster(), name, Duration::from_secs(1)).await
}

async fn clean_run() -> (BTreeMap<String, Value>, BTreeMap<String, Value>) {
    let space = fast_space("clean").await;
    let _operator = start(&space);
    space.apply("a", TWO).await;
    space.ready("a").await;
    let created = space.snapshot().await;
    space.apply("a", &edited()).await;
    space.ready("a").await;
    (created, space.snapshot().await)
}

async fn same_in_the_end(space: &Space, expected: &BTreeMap<String, Value>, what: &str) {
    let same = support::eventually(|| async { (space.snapshot().await == *expected).then_some(()) }).await;
    assert!(same.is_some(), "{what} ended differently:\n{:#?}\nnot\n{expected:#?}", space.snapshot().await);
}

#[test]
fn a_crash_at_any_moment_ends_where_a_clean_run_ends() {
    run(async {
        let (created, after_edit) = clean_run().await;
        let rounds: Vec<u64> = (1..=20).collect();
        for batch in rounds.chunks(4) {
            let all = batch.iter().map(|round| crash_everywhere(*round, &created, &after_edit));
            futures::future::join_all(all).await;
        }
    });
}

async fn crash_everywhere(round: u64, created: &BTreeMap<String, Value>, after_edit: &BTreeMap<String, Value>) {
    let space = fast_space("crash").await;
    let operator = start(&space);
    space.apply("a", TWO).await;
    tokio::time::sleep(moment(round)).await;
    operator.kill();
    let operator = start(&space);
    space.ready("a").await;
    same_in_the_end(&space, created, &format!("round {round}: a crash {:?} into a create", moment(round))).await;

    space.apply("a", &edited()).await;
    tokio::time::sleep(moment(round + 100)).await;
    operator.kill();
    let operator = start(&space);
    space.ready("a").await;
    same_in_the_end(&space, after_edit, &format!("round {round}: a crash {:?} into an edit", moment(round + 100)))
        .await;

    space.microservices().delete("a", &DeleteParams::background()).await.unwrap();
    tokio::time::sleep(moment(round + 200) / 4).await;
    operator.kill();
    let _operator = start(&space);
    same_in_the_end(&space, &BTreeMap::new(), &format!("round {round}: a crash into a delete")).await;
}

#[test]
fn an_upgrade_of_the_operator_restarts_no_pod() {
    run(async {
        let space = fast_space("upgrade").await;
        let pods = || async {
            let list = space.api::<Pod>().list(&Default::default()).await.unwrap();
            let mut pods: Vec<_> =
                list.items.iter().map(|pod| (pod.name_any(), pod.uid(), pod.labels().clone())).collect();
            pods.sort();
            pods
        };
        let old = start(&space);
        space.apply("a", TWO).await;
        space.ready("a").await;
        let before = pods().await;
        assert_eq!(before.len(), 4);
        assert!(old.terminate().await);

        let scope = ["--namespace", &space.name, "--leader-election", "false"];
        let labels = ["--operator-version", "9.9.9", "--chart", "microservice-operator-9.9.9"];
        let _new = Operator::start(cluster().kubeconfig_path(), &[&scope[..], &labels].concat());
        for name in space.snapshot().await.into_keys() {
            let (kind, name) = name.split_once('/').unwrap();
            let kind = microservice_operator::plan::object::Kind::ALL.into_iter().find(|it| format!("{it:?}") == kind);
            let stamped = |it: &Value| it["metadata"]["labels"]["helm.sh/chart"] == "microservice-operator-9.9.9";
            space.child_until(kind.unwrap(), name, "the new labels", stamped).await;
        }
        space.ready("a").await;
        assert_eq!(pods().await, before, "pods were replaced or changed");
    });
}
