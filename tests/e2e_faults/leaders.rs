//! Campaign 5: of two operators the leader stands still, or is cut off, for longer than its lease. Another one leads then,
//! and the old one writes nothing any more; what it had sent before and arrives only then does not stand.

use std::time::Duration;

use devcluster::faults::{Fault, Faults, Proxy};
use microservice_operator::plan::object::Kind;
use serde_json::Value;

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

/// Two operators, each behind a proxy of its own, and a service. The first one leads.
struct Pair {
    space: Space,
    first: String,
    proxy: Proxy,
    old: Operator,
    others: Proxy,
    _new: Operator,
}

impl Pair {
    async fn new() -> Self {
        let space = Space::with_propagation(cluster(), "leaders", Duration::from_secs(1)).await;
        let args = ["--namespace", &space.name, "--lease-namespace", &space.name, "--mesh-propagation", "1s"];
        let [proxy, others] = [
            Proxy::start(space.client.clone(), cluster().scratch()),
            Proxy::start(space.client.clone(), cluster().scratch()),
        ];
        let (proxy, others) = (proxy.await.unwrap(), others.await.unwrap());
        let mut old = Operator::start(proxy.kubeconfig(), &args);
        space.apply("a", &service(90, 10)).await;
        // As a cluster does: it ends when the machine stands still for longer than its lease lasts.
        loop {
            tokio::select! {
                _ = space.ready("a") => break,
                _ = old.ends() => old = Operator::start(proxy.kubeconfig(), &args),
            }
        }
        let first = space.leader().await.expect("a leader");
        let new = Operator::start(others.kubeconfig(), &args);
        rests(|| writes(&proxy).len(), REST, "the leader").await;
        Self { space, first, proxy, old, others, _new: new }
    }

    /// Waits until another one leads.
    async fn changes(&self) {
        let next = eventually(|| async { self.space.leader().await.filter(|leader| *leader != self.first) });
        next.await.expect("another one leads");
    }

    /// Lets the old one go on; it must end.
    async fn old_ends(&mut self, about: &str) {
        self.old.wake();
        assert!(!self.old.ends().await, "{about}: it ends with a failure, so that it is started anew");
        let text = self.old.text();
        let why = ["the lease ended without having been renewed", "leadership was lost"];
        assert!(why.iter().any(|why| text.contains(why)), "{about}: {text}");
    }
}

async fn replaced(trouble: Trouble) {
    let mut pair = Pair::new().await;
    let Pair { space, proxy, old, .. } = &pair;
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
    pair.changes().await;
    // What it had sent has arrived by now.
    let before = writes(proxy);
    space.apply("a", &service(40, 60)).await;
    space.weights("a", "v1=40 v2=60").await;
    space.ready("a").await;
    proxy.goes_wrong(Faults::default());
    pair.old_ends(&format!("{trouble:?}")).await;
    assert_eq!(writes(&pair.proxy), before, "{trouble:?}: the old leader wrote");
    rests(|| writes(&pair.others).len(), SILENCE, "the new leader").await;
    pair.space.weights("a", "v1=40 v2=60").await;
}

/// The weights that the mesh has, in the order of the versions.
fn weights(route: &Value) -> Vec<i64> {
    let to = route.pointer("/spec/http/0/route").and_then(Value::as_array);
    to.into_iter().flatten().map(|to| to["weight"].as_i64().unwrap_or(100)).collect()
}

/// The leader stands still while its write of the route is on its way, which arrives when another one has led for a while.
async fn overtaken() {
    let mut pair = Pair::new().await;
    let Pair { space, proxy, old, others, .. } = &pair;
    proxy.delays("virtualservices");
    space.apply("a", &service(10, 90)).await;
    proxy.delayed().await;
    old.freeze();
    pair.changes().await;
    space.apply("a", &service(40, 60)).await;
    space.weights("a", "v1=40 v2=60").await;
    space.ready("a").await;
    rests(|| writes(others).len(), REST, "the new leader").await;
    let (before, answers) = (writes(proxy), writes(others));
    proxy.arrives();
    let arrived = eventually(|| async { (writes(proxy).len() > before.len()).then_some(()) }).await;
    arrived.expect("the write arrives");
    let journal = proxy.journal();
    let late = journal.iter().rfind(|entry| entry.asked.resource == "virtualservices").unwrap();
    println!("a route write that arrives after another one leads is answered {:?}", late.code);
    if late.code.is_some_and(|code| code < 300) {
        let mended = eventually(|| async { (writes(others).len() > answers.len()).then_some(()) }).await;
        mended.expect("the new leader hears of it, and writes its own");
    }
    rests(|| writes(others).len(), SILENCE, "the new leader").await;
    let route = space.child(Kind::VirtualService, "a").await.expect("the route");
    assert_eq!(weights(&serde_json::to_value(route).unwrap()), [40, 60], "the late write stands");
    let sent = writes(proxy);
    pair.old_ends("overtaken").await;
    assert_eq!(writes(&pair.proxy), sent, "the old leader wrote");
}

#[test]
fn a_route_write_of_the_old_leader_that_arrives_late_does_not_stand() {
    run(overtaken());
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
        let proxy = Proxy::start(space.client.clone(), cluster().scratch()).await.unwrap();
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
