//! What the operator asks of the API server, counted from the audit log: the floor on creation, nothing at rest, one
//! child and the status for an edit of the weights.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{collections::BTreeSet, time::Duration};

use devcluster::{AuditEvent, AuditMark, Cluster};
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, Patch, PatchParams};
use microservice_operator::{api::MANAGER, plan::object::Kind};
use serde_json::json;
use support::{Operator, Space, cluster, run};

const TWO: &str = "{replicas: 2, ports: [{name: http, port: 80}], versions: [\
    {name: v1, image: 'registry.example/a:1', weight: 90}, {name: v2, image: 'registry.example/a:2', weight: 10}]}";

/// What there is to tell when two versions come up: requests are served, the second version has its weight, all is as
/// requested. The first two are missing when pods are quicker than the status.
const ON_CREATION: [&str; 3] = ["BecameAvailable", "TrafficWeightUpdated", "BecameReady"];

fn by_operator(event: &AuditEvent) -> bool {
    event.user_agent.starts_with("microservice-operator/")
}

/// The operator's requests since a mark, once the log has caught up.
async fn requests(cluster: &Cluster, since: AuditMark) -> Vec<AuditEvent> {
    cluster.settled_mark().await.unwrap();
    cluster.audit().unwrap().since(since, by_operator).unwrap()
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Writes {
    children: Vec<String>,
    routes: usize,
    status: usize,
    events: usize,
    other: Vec<String>,
}

/// Sorts the writes of a namespace. Routes are the VirtualService's writes after its creation.
fn writes(events: &[AuditEvent], namespace: &str) -> Writes {
    let mut writes = Writes::default();
    for event in events.iter().filter(|event| event.is_write() && event.namespace == namespace) {
        let object = format!("{}/{}", event.resource, event.name);
        match event.resource.as_str() {
            "events" => writes.events += 1,
            "microservices" if event.subresource == "status" => writes.status += 1,
            "virtualservices" if writes.children.contains(&object) => writes.routes += 1,
            resource if Kind::ALL.iter().any(|kind| kind.api_resource().plural == resource) => {
                writes.children.push(object)
            }
            _ => writes.other.push(format!("{} {}", event.verb, event.request_uri)),
        }
    }
    writes
}

/// The reasons of all events in a namespace, in which nothing but one Microservice is told of by the operator.
async fn reasons(space: &Space) -> Vec<String> {
    let all = space.api::<Event>().list(&ListParams::default()).await.unwrap();
    let ours = all.items.into_iter().filter(|event| event.reporting_controller.as_deref() == Some(MANAGER));
    ours.filter_map(|event| event.reason).collect()
}

/// How many of the reasons are that it became ready.
fn became_ready(reasons: &[String]) -> usize {
    reasons.iter().filter(|reason| *reason == "BecameReady").count()
}

/// Waits until it was told more than so often that it became ready, and answers all reasons: an event is written after the
/// status that it is about.
async fn told_ready(space: &Space, before: usize) -> Vec<String> {
    let told = || async { Some(reasons(space).await).filter(|reasons| became_ready(reasons) > before) };
    support::eventually(told).await.expect("an event says that it became ready")
}

/// How often an operator has looked at a Microservice, but for what it put off.
async fn looks(operator: &Operator) -> Option<f64> {
    let text = operator.metrics().await?;
    let total = |line: &&str| line.starts_with("controller_runtime_reconcile_total") && line.contains("success");
    text.lines().find(total)?.rsplit(' ').next()?.parse().ok()
}

/// Waits until an operator has looked that often. What changes before it has read all is one look with the first.
async fn looked(operator: &Operator, often: f64) {
    let done = support::eventually(|| async { looks(operator).await.filter(|count| *count >= often) });
    assert!(done.await.is_some(), "it never looked {often} times: {:?}", operator.metrics().await);
}

#[test]
fn the_operator_asks_for_no_more_than_it_needs() {
    run(async {
        let cluster = cluster();
        let space = Space::new(cluster, "requests").await;
        let operator = Operator::start(cluster.kubeconfig_path(), &["--lease-namespace", "default"]);
        operator.says("the mesh's kinds are installed").await;

        let mark = cluster.settled_mark().await.unwrap();
        space.apply("a", TWO).await;
        space.ready("a").await;
        let told = told_ready(&space, 0).await;
        let created = writes(&requests(cluster, mark).await, &space.name);
        let mut children = created.children.clone();
        children.sort();
        children.dedup();
        assert_eq!(children.len(), created.children.len(), "a child was written twice: {created:?}");
        assert_eq!(children.len(), 9, "two Deployments with their budgets, and one of each other kind: {created:?}");
        assert!(created.routes <= 2, "one route write a version that became complete: {created:?}");
        assert!(created.status <= 3, "one when accepted, one a version that became complete: {created:?}");
        assert_eq!(created.other, Vec::<String>::new());
        assert_eq!(told.len(), created.events, "each event is one write: {told:?}");
        assert!(told.iter().all(|reason| ON_CREATION.contains(&reason.as_str())), "{told:?}");
        assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), told.len(), "one was told twice: {told:?}");

        let mark = cluster.settled_mark().await.unwrap();
        space.apply("a", &TWO.replace("weight: 90", "weight: 0").replace("weight: 10", "weight: 100")).await;
        space.weights("a", "v1=0 v2=100").await;
        space.ready("a").await;
        let edited = writes(&requests(cluster, mark).await, &space.name);
        assert_eq!(edited.children, ["virtualservices/a"], "{edited:?}");
        assert!((1..=2).contains(&edited.status), "{edited:?}");

        let policy = "{steps: [{weight: 10}, {pause: {duration: 1s}}, {weight: 50}, {pause: {duration: 1s}}]}";
        let walking = |v1: i32, v2: i32| {
            let weights = TWO.replace("weight: 10}", &format!("weight: {v2}}}"));
            let weights = weights.replace("weight: 90}", &format!("weight: {v1}}}"));
            weights.replace("{replicas", &format!("{{rollout: {policy}, replicas"))
        };
        space.apply("a", &walking(0, 100)).await;
        space.ready("a").await;
        // The spec without the policy is forgotten after that.
        let kept = || async {
            let all = space.children(Kind::ControllerRevision).list(&ListParams::default()).await.ok()?;
            (all.items.len() == 1).then_some(())
        };
        support::eventually(kept).await.expect("one accepted spec is kept");
        let before = became_ready(&reasons(&space).await);
        let mark = cluster.settled_mark().await.unwrap();
        space.apply("a", &walking(100, 0)).await;
        space.ready("a").await;
        told_ready(&space, before).await;
        let walked = writes(&requests(cluster, mark).await, &space.name);
        assert_eq!(walked.children, ["virtualservices/a"], "{walked:?}");
        assert_eq!(walked.routes, 2, "one write of the route a weight: {walked:?}");
        assert!((3..=4).contains(&walked.status), "one of the status a weight, and one for the end: {walked:?}");
        assert_eq!(walked.other, Vec::<String>::new());

        let mark = cluster.settled_mark().await.unwrap();
        let before = looks(&operator).await.expect("it tells how often it looked");
        tokio::time::sleep(Duration::from_secs(60)).await;
        let more = looks(&operator).await.map(|after| after - before);
        assert!(
            more.is_some_and(|more| more <= 1.0),
            "{more:?} looks, of which one may be due to a drain that is over"
        );
        let at_rest = requests(cluster, mark).await;
        let beyond: Vec<String> = at_rest
            .iter()
            .filter(|event| event.resource != "leases" && event.verb != "watch")
            .map(|event| format!("{} {}", event.verb, event.request_uri))
            .collect();
        assert_eq!(beyond, Vec::<String>::new());
        assert!(at_rest.iter().any(|event| event.resource == "leases"), "the log saw nothing of the operator");

        assert!(operator.terminate().await, "it ends cleanly at SIGTERM");
        let mark = cluster.settled_mark().await.unwrap();
        let second = Operator::start(cluster.kubeconfig_path(), &["--lease-namespace", "default"]);
        second.says("the mesh's kinds are installed").await;
        looked(&second, 1.0).await;
        let touched = json!({"metadata": {"annotations": {"touched": "yes"}}});
        space.microservices().patch("a", &PatchParams::default(), &Patch::Merge(&touched)).await.unwrap();
        looked(&second, 2.0).await;
        let after = writes(&requests(cluster, mark).await, &space.name);
        assert_eq!(after, Writes::default(), "a restart writes nothing");
    });
}
