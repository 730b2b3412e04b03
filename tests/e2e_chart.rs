//! The chart on a real API server: it installs under Pod Security `restricted`, and the rights it gives are enough for
//! the operator, cluster-wide and in single namespaces.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use devcluster::{AuditMark, Cluster, Options};
use serde_json::Value;
use support::{Operator, helm, kubectl, rights::may_own};

const CHART: &str = "charts/microservice-operator";
const NAME: &str = "microservice-operator";
const NAMESPACE: &str = "ops";
const USER: &str = "system:serviceaccount:ops:microservice-operator";

/// Runs the operator on this machine as its pod would run: as the chart's ServiceAccount, with the chart's arguments.
async fn operator(cluster: &Cluster) -> Operator {
    let deployment = kubectl(cluster, &["get", "deployment", NAME, "--namespace", NAMESPACE, "--output", "json"]);
    let deployment: Value = serde_json::from_str(&deployment).unwrap();
    let args = deployment.pointer("/spec/template/spec/containers/0/args").and_then(Value::as_array).unwrap();
    let args = args.iter().filter_map(Value::as_str).map(|arg| match arg.starts_with("--listen=") {
        true => "--listen=127.0.0.1:0",
        false => arg,
    });
    let kubeconfig = cluster.kubeconfig_for_service_account(NAMESPACE, NAME).await.unwrap();
    Operator::as_told(&kubeconfig, &args.collect::<Vec<_>>(), &[("POD_NAMESPACE", NAMESPACE)])
}

/// Runs the sample in a namespace until it is ready, and deletes it again.
fn sample_lives(cluster: &Cluster, namespace: &str) {
    let kubectl = |args: &[&str]| kubectl(cluster, &[args, &["--namespace", namespace]].concat());
    kubectl(&["apply", "-k", "config/samples"]);
    kubectl(&["wait", "microservice/hello", "--for=condition=Ready", "--timeout=120s"]);
    let children =
        kubectl(&["get", "deployment,service,poddisruptionbudget,virtualservice,destinationrule", "--output=name"]);
    for child in [
        "deployment.apps/hello-v1",
        "service/hello",
        "poddisruptionbudget.policy/hello-v1",
        "virtualservice.networking.istio.io/hello",
        "destinationrule.networking.istio.io/hello",
    ] {
        assert!(children.contains(child), "{child} is not among: {children}");
    }
    kubectl(&["delete", "-k", "config/samples", "--wait"]);
    kubectl(&["wait", "deployment/hello-v1", "service/hello", "--for=delete", "--timeout=60s"]);
}

/// What the operator was not allowed to do since a mark.
async fn refused(cluster: &Cluster, begin: AuditMark) -> Vec<String> {
    let end = cluster.settled_mark().await.unwrap();
    let all = cluster.audit().unwrap().since(begin, |event| event.user == USER).unwrap();
    assert!(all.len() > 10 && end > begin, "the operator asked for nothing");
    all.iter().filter(|event| event.code == 403).map(|event| format!("{} {}", event.verb, event.request_uri)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_charts_rights_are_enough() {
    let cluster = Cluster::start(Options::default()).await.unwrap();
    for namespace in [NAMESPACE, "shop"] {
        kubectl(&cluster, &["create", "namespace", namespace]);
        let restricted = "pod-security.kubernetes.io/enforce=restricted";
        kubectl(&cluster, &["label", "namespace", namespace, restricted]);
    }

    let install = ["upgrade", "--install", NAME, CHART, "--namespace", NAMESPACE, "--wait", "--timeout", "2m"];
    let notes = helm(&cluster, &[&install[..], &["--set", "replicas=2"]].concat());
    assert!(notes.contains("kubectl rollout status deployment/microservice-operator --namespace ops"), "{notes}");
    let begin = may_own(&cluster, "default", (NAMESPACE, NAME)).await;
    let running = operator(&cluster).await;
    sample_lives(&cluster, "default");
    drop(running);
    assert_eq!(refused(&cluster, begin).await, Vec::<String>::new());

    // Pods of before keep their leases when their number changes.
    for shards in ["shards=2", "shards=1"] {
        helm(&cluster, &[&install[..], &["--set", "replicas=2", "--set", shards]].concat());
        let role = ["get", "role", "microservice-operator-lease", "--namespace", NAMESPACE];
        let leases = kubectl(&cluster, &[&role[..], &["--output=jsonpath={.rules[*].resourceNames[*]}"]].concat());
        let mut leases: Vec<_> = leases.split_whitespace().collect();
        leases.sort_unstable();
        let all = ["microservice-operator", "microservice-operator-1-of-2", "microservice-operator-2-of-2"];
        assert_eq!(leases, all, "{shards}");
    }

    for (elections, strategy) in [("false", "Recreate"), ("true", "RollingUpdate")] {
        helm(&cluster, &[&install[..], &["--set", &format!("leaderElection.enabled={elections}")]].concat());
        let get = ["get", "deployment", NAME, "--namespace", NAMESPACE, "--output=jsonpath={.spec.strategy.type}"];
        assert_eq!(kubectl(&cluster, &get), strategy);
    }

    // The same, for one namespace.
    helm(&cluster, &[&install[..], &["--set", "watchNamespaces={shop}"]].concat());
    let roles = kubectl(
        &cluster,
        &["get", "clusterrole", "--selector=app.kubernetes.io/name=microservice-operator", "--output=name"],
    );
    assert_eq!(roles, "");
    let running = operator(&cluster).await;
    sample_lives(&cluster, "shop");
    drop(running);
    assert_eq!(refused(&cluster, begin).await, Vec::<String>::new());

    // What users made stays when the operator goes.
    kubectl(&cluster, &["apply", "-k", "config/samples", "--namespace", "shop"]);
    helm(&cluster, &["uninstall", NAME, "--namespace", NAMESPACE, "--wait"]);
    let left = kubectl(&cluster, &["get", "microservices", "--namespace", "shop", "--output=name"]);
    assert_eq!(left.trim(), "microservice.microservice-operator.dev/hello");
}
