//! Campaign 5: of two operators the leader stands still, or is cut off, for longer than its lease. Another one leads then,
//! and the old one writes nothing any more.

use std::time::Duration;

use devcluster::faults::{Fault, Faults, Proxy};

use crate::{
    stage::{SILENCE, rests},
    support::{Operator, Space, cluster, eventually, run},
};

fn service(v1: i32, v2: i32) -> String {
    format!(
        "{{ports: [{{name: http, port: 80}}], versions: [{{name: v1, image: 'registry.example/a:1', weight: {v1}}}, \
         {{name: v2, image: 'registry.example/a:2', weight: {v2}}}]}}"
    )
}

/// One that takes all weight to v2, a step each second or so.
fn promoted() -> String {
    let steps: Vec<_> =
        (1..10).map(|tenth| format!("{{weight: {}}}, {{pause: {{duration: 1s}}}}", 10 * tenth)).collect();
    service(0, 100).replace("versions:", &format!("rollout: {{steps: [{}]}}, versions:", steps.join(", ")))
}

/// After so long without a write, the leader is at rest.
const REST: Duration = Duration::from_secs(3);

/// What keeps a leader from its lease.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// It stands still for longer than the lease.
    Frozen,
    /// The same in the middle of a rollout, which it would have gone on with at once.
    FrozenOnTheWay,
    /// The API server never answers it.
    CutOff,
}

/// Writes that were forwarded for an operator, but for those of the lease.
fn writes(proxy: &Proxy) -> Vec<String> {
    let of_others = |resource: &str| resource != "leases";
    let journal = proxy.journal();
    let all = journal.iter().filter(|entry| entry.is_forwarded_write() && of_others(&entry.asked.resource));
    all.map(|entry| format!("{:?} {}/{}", entry.asked.verb, entry.asked.resource, entry.asked.name)).collect()
}

async fn replaced(trouble: Trouble) {
    let space = Space::with_propagation(cluster(), "leaders", Duration::from_secs(1)).await;
    let proxy = Proxy::start(space.client.clone()).await.unwrap();
    let args = ["--namespace", &space.name, "--lease-namespace", &space.name, "--mesh-propagation", "1s"];
    let mut old = Operator::start(proxy.kubeconfig(), &args);
    space.apply("a", &service(90, 10)).await;
    space.ready("a").await;
    let first = space.leader().await.expect("a leader");
    let others = Proxy::start(space.client.clone()).await.unwrap();
    let _new = Operator::start(others.kubeconfig(), &args);
    rests(|| writes(&proxy).len(), REST, "the leader").await;

    match trouble {
        Trouble::Frozen => old.freeze(),
        Trouble::FrozenOnTheWay => {
            space.apply("a", &promoted()).await;
            space.weights("a", "v1=72 v2=28").await;
            old.freeze();
        }
        Trouble::CutOff => {
            proxy.goes_wrong(Faults { requests: 1.0, answers: vec![Fault::Silence], ..Faults::default() })
        }
    }
    let next = eventually(|| async { space.leader().await.filter(|leader| *leader != first) });
    next.await.expect("another one leads");
    // What it had sent has arrived by now.
    let before = writes(&proxy);
    space.apply("a", &service(40, 60)).await;
    space.weights("a", "v1=40 v2=60").await;
    space.ready("a").await;
    proxy.goes_wrong(Faults::default());
    old.wake();
    assert!(!old.ends().await, "{trouble:?}: it ends with a failure, so that it is started anew");
    let text = old.text();
    let why = ["the lease ended without having been renewed", "leadership was lost"];
    assert!(why.iter().any(|why| text.contains(why)), "{trouble:?}: {text}");
    assert_eq!(writes(&proxy), before, "{trouble:?}: the old leader wrote");
    rests(|| writes(&others).len(), SILENCE, "the new leader").await;
    space.weights("a", "v1=40 v2=60").await;
}

#[test]
fn a_leader_that_stood_still_writes_nothing_any_more() {
    run(replaced(Trouble::Frozen));
}

#[test]
fn a_leader_that_stood_still_on_the_way_writes_nothing_any_more() {
    run(replaced(Trouble::FrozenOnTheWay));
}

#[test]
fn a_leader_that_is_cut_off_ends_before_another_one_leads() {
    run(replaced(Trouble::CutOff));
}

#[test]
fn an_operator_that_finds_no_api_server_waits_for_it() {
    run(async {
        let space = Space::with_propagation(cluster(), "waits", Duration::from_secs(1)).await;
        let proxy = Proxy::start(space.client.clone()).await.unwrap();
        proxy.goes_wrong(Faults { requests: 1.0, answers: vec![Fault::Reset], ..Faults::default() });
        let args = ["--namespace", &space.name, "--lease-namespace", &space.name, "--mesh-propagation", "1s"];
        let operator = Operator::start(proxy.kubeconfig(), &args);
        operator.says("the lease cannot be read yet").await;
        assert_eq!(operator.get("/healthz").await.as_deref(), Some("ok"), "it is not to be started anew");
        let waits = operator.get("/readyz").await.unwrap_or_default();
        assert!(waits.contains("the API server was not reached yet"), "{waits}");
        proxy.goes_wrong(Faults::default());
        space.apply("a", &service(90, 10)).await;
        space.ready("a").await;
    });
}
