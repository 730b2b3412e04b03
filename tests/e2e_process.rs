//! The process: one of several leads, a standby takes over, health and metrics answer, the end is clean.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use serde_json::json;
use support::{Operator, Space, cluster, run};

const ONE: &str = "{ports: [{name: http, port: 80}], versions: [{name: v1, image: 'registry.example/a:1'}]}";

fn start(space: &Space) -> Operator {
    let scope = ["--namespace", &space.name, "--lease-namespace", &space.name];
    Operator::start(cluster().kubeconfig_path(), &scope)
}

#[test]
fn one_leads_and_the_other_takes_over_when_it_ends() {
    run(async {
        let space = Space::new(cluster(), "leader").await;
        let first = start(&space);
        first.says("leading").await;
        let leader = space.leader().await.expect("the lease has a holder");
        let second = start(&space);
        second.says("serving /healthz").await;
        // A standby is ready, or an upgrade would never end.
        second.becomes_ready().await;
        assert!(!second.text().contains("leading"));
        assert_eq!(space.leader().await.as_deref(), Some(leader.as_str()));
        space.apply("a", ONE).await;
        space.ready("a").await;

        assert!(first.terminate().await, "SIGTERM ends it with success");
        second.says("leading").await;
        assert_ne!(space.leader().await.as_deref(), Some(leader.as_str()));
        space.apply("b", ONE).await;
        space.ready("b").await;
        let both = "microservice_operator_microservices_by_phase{phase=\"Ready\"} 2";
        let metrics = support::eventually(|| async { second.metrics().await.filter(|text| text.contains(both)) }).await;
        let metrics = metrics.unwrap();
        for line in [
            "leader_election_master_status 1",
            "rest_client_requests_total{",
            "controller_runtime_reconcile_total{",
            "microservice_operator_microservices 2",
        ] {
            assert!(metrics.contains(line), "{line} is not in:\n{metrics}");
        }
    });
}

#[test]
fn a_dead_leader_is_followed_whatever_time_it_had() {
    run(async {
        let space = Space::new(cluster(), "ahead").await;
        let dead = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "microservice-operator"},
            "spec": {"holderIdentity": "dead", "leaseDurationSeconds": 15, "renewTime": "2099-01-01T00:00:00.000000Z"},
        });
        let dead: Lease = serde_json::from_value(dead).unwrap();
        space.api::<Lease>().create(&PostParams::default(), &dead).await.unwrap();
        let operator = start(&space);
        operator.says("leading").await;
        let lease = space.api::<Lease>().get("microservice-operator").await.unwrap().spec.unwrap();
        assert_ne!(lease.holder_identity.as_deref(), Some("dead"));
        assert_eq!(lease.lease_transitions, Some(1));
        assert!(operator.terminate().await);
        assert_eq!(space.leader().await, None, "it is given back");
    });
}

#[test]
fn wrong_settings_are_refused_in_words() {
    let operator = |args: &[&str]| {
        let output =
            std::process::Command::new(env!("CARGO_BIN_EXE_microservice-operator")).args(args).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = operator(&["run", "--mesh-propagation", "soon"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("\"soon\" is not a duration"), "{text}");
    let (code, text) = operator(&["run", "--shards", "4", "--leader-election", "false"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("--shards needs leader election"), "{text}");
    let (code, text) = operator(&["run", "--namespace", "shop,"]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--namespace") && text.contains("leave it out to watch all"), "{text}");
    let (code, text) = operator(&["run", "--shards", "101"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("it has to be a number from 1 to 100"), "{text}");
    let (code, text) = operator(&["run", "--log-level", "chatty=loud"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("the log level \"chatty=loud\" is not understood"), "{text}");
    let (code, text) = operator(&["render", "-f", "no-such-file.yaml"]);
    assert_eq!(code, Some(2));
    assert!(text.contains("no-such-file.yaml"), "{text}");
}
