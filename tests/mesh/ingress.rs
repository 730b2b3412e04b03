//! Services that a gateway publishes by a VirtualService of the user's own: the operator's routes are those of the mesh.

use std::collections::BTreeMap;

use devcluster::load::{Load, Protocol, Report, Status, binomial_interval};
use microservice_operator::plan::object::Kind;
use serde_json::{Value, json};

use crate::{
    calls::{load, send},
    ground::INGRESS_PORT,
    service::{known, ready_at, spec, version},
    stage::stage,
    support::{Space, eventually, run, told},
};

const NAME: &str = "web";
const REQUESTS: u64 = 2_000;
const RATE: u32 = 400;
const PROTOCOLS: [Protocol; 2] = [Protocol::Http1 { keep_alive: true }, Protocol::Http2];

/// The service's name outside of the mesh. All namespaces share the ingress, so it has the namespace's in it.
fn outside(space: &Space) -> String {
    format!("{}.example", space.name)
}

fn inside(space: &Space) -> String {
    format!("{NAME}.{}.svc.cluster.local", space.name)
}

/// Requests from outside.
fn from_outside(space: &Space, protocol: Protocol) -> Load {
    Load { rate: RATE, absolute_form: false, ..Load::new(stage().ground.mesh_ingress(), outside(space), protocol) }
}

/// Makes a service of two versions, all of whose requests in the mesh go to v1, and publishes the whole of it.
async fn published(space: &Space) {
    space.apply(NAME, &spec(&[version("v1", 100), version("v2", 0)], "")).await;
    ready_at(space, NAME, "v1=100 v2=0").await;
    for version in ["v1", "v2"] {
        known(space, NAME, version, 2).await;
    }
    let server = json!({
        "port": {"number": INGRESS_PORT, "name": "http", "protocol": "HTTP"}, "hosts": [outside(space)],
    });
    space
        .put(&json!({
            "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "public"},
            "spec": {"selector": {"istio": "ingressgateway"}, "servers": [server]},
        }))
        .await;
    publish(space, &["public"], to(space, &[])).await;
    settled(space, "answers", Report::is_clean).await;
}

/// Writes the user's VirtualService. It names the service's own host, too, as it may at a gateway.
async fn publish(space: &Space, gateways: &[&str], http: Value) {
    space
        .put(&json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "public"},
            "spec": {"hosts": [outside(space), inside(space)], "gateways": gateways, "http": [http]},
        }))
        .await;
}

/// A route to the whole Service, or to these shares of its subsets.
fn to(space: &Space, subsets: &[(&str, i32)]) -> Value {
    let plain = json!({"host": inside(space), "port": {"number": 80}});
    if subsets.is_empty() {
        return json!({"route": [{"destination": plain}]});
    }
    let share = |(subset, weight): &(&str, i32)| {
        let mut destination = plain.clone();
        destination["subset"] = json!(subset);
        json!({"destination": destination, "weight": weight})
    };
    json!({"route": subsets.iter().map(share).collect::<Vec<_>>()})
}

/// Waits until the ingress does as it was told.
async fn settled(space: &Space, what: &str, wanted: impl Fn(&Report) -> bool) {
    let settled = eventually(|| async {
        let some = send(from_outside(space, Protocol::Http2), 50).await;
        wanted(&some).then_some(())
    });
    settled.await.unwrap_or_else(|| panic!("the ingress never came to: {what}"));
}

/// Which versions answered; all requests must have been.
async fn answered(load: Load) -> BTreeMap<String, u64> {
    let report = send(load, REQUESTS).await;
    assert!(report.is_clean(), "{report}");
    report.by_version().into_iter().map(|(version, count)| (version.to_owned(), count)).collect()
}

fn only(version: &str) -> BTreeMap<String, u64> {
    [(version.to_owned(), REQUESTS)].into()
}

fn assert_share(answers: &BTreeMap<String, u64>, version: &str, share: f64) {
    let (low, high) = binomial_interval(REQUESTS, share, 0.999);
    let count = answers.get(version).copied().unwrap_or_default();
    assert!(
        (low..=high).contains(&count),
        "{version} answered {count} of {REQUESTS}, not {low} to {high}: {answers:?}"
    );
}

#[test]
fn a_gateways_own_route_is_no_conflict_and_has_weights_of_its_own() {
    run(async {
        let _shared = stage().shared().await;
        // In the end it routes in the mesh by its own hand.
        let space = Space::unwatched(&stage().cluster, "gateway").await;
        published(&space).await;

        // The whole Service: its pods share the requests, whatever the weights are.
        for protocol in PROTOCOLS {
            let answers = answered(from_outside(&space, protocol)).await;
            println!("to the whole Service, v2 with weight 0: {answers:?}");
            assert_share(&answers, "v2", 0.5);
            assert_eq!(answered(load(&space, NAME, protocol, RATE)).await, only("v1"));
        }

        // Subsets: the shares are those of this route, also when the Microservice has others.
        publish(&space, &["public"], to(&space, &[("v2", 100)])).await;
        settled(&space, "v2 alone", |some| !some.by_version().contains_key("v1")).await;
        publish(&space, &["public"], to(&space, &[("v1", 90), ("v2", 10)])).await;
        settled(&space, "90/10", |some| some.by_version().contains_key("v1")).await;
        for protocol in PROTOCOLS {
            let answers = answered(from_outside(&space, protocol)).await;
            println!("to v1 90 and v2 10: {answers:?}");
            assert_share(&answers, "v1", 0.9);
            assert_eq!(answered(load(&space, NAME, protocol, RATE)).await, only("v1"));
        }

        let untouched = space.microservices().get(NAME).await.unwrap();
        assert_eq!(told(&untouched, "RoutesReady").0, "RoutesApplied");
        publish(&space, &["public", "mesh"], to(&space, &[])).await;
        let conflict = space.until(NAME, "a conflict", |it| told(it, "RoutesReady").0 == "RouteConflict").await;
        assert!(told(&conflict, "RoutesReady").1.contains(&format!("{}/public", space.name)));
        publish(&space, &["public"], to(&space, &[])).await;
        space.until(NAME, "no conflict", |it| told(it, "RoutesReady").0 == "RoutesApplied").await;

        // Istio delegates to VirtualServices without hosts alone; the operator's has one.
        publish(&space, &["public"], json!({"delegate": {"name": NAME}})).await;
        let nowhere = |some: &Report| some.answered.keys().all(|(_, status)| *status == Status::Http(404));
        settled(&space, "no route", nowhere).await;
    });
}

#[test]
fn what_comes_by_a_gateway_is_answered_while_versions_are_promoted_and_removed() {
    run(async {
        let _shared = stage().shared().await;
        let space = Space::new(&stage().cluster, "published").await;
        published(&space).await;

        let load = from_outside(&space, Protocol::Http1 { keep_alive: true });
        let running = stage().inside.spawn(async move { load.start() }).await.unwrap().unwrap();
        for (v1, v2) in [(50, 50), (0, 100)] {
            space.apply(NAME, &spec(&[version("v1", v1), version("v2", v2)], "")).await;
            ready_at(&space, NAME, &format!("v1={v1} v2={v2}")).await;
        }
        space.apply(NAME, &spec(&[version("v2", 100)], "")).await;
        space.gone(Kind::Deployment, "web-v1").await;
        ready_at(&space, NAME, "v2=100").await;
        let sent = running.so_far().answered;
        let more = eventually(|| async { (running.so_far().answered >= sent + u64::from(RATE)).then_some(()) });
        more.await.expect("requests are answered");
        let report = running.stop().await;
        assert!(report.is_clean(), "{report}");
        println!("by the gateway: 0 of {} requests lost", report.sent);
    });
}
