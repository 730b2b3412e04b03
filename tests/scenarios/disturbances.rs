//! Invalid edits, somebody else's objects, meddling and crashes.

use microservice_operator::plan::object::Kind;
use serde_json::{Value, json};

use crate::{
    one, running, two,
    world::{Pods, World},
};

#[test]
fn an_invalid_spec_leaves_the_last_accepted_one_in_force() {
    let mut world = running();
    let wrong = two(0, 100).replace("replicas: 3,", "replicas: 3, mounts: [{volume: nowhere, path: /x}],");
    world.edit(&wrong);
    world.settle();
    assert_eq!(world.routed(), "v1=90 v2=10");
    assert_eq!(world.condition("Stalled").0, "True");
    assert_eq!(world.condition("Stalled").1, "InvalidSpec");
    assert_eq!(world.status().observed_generation, Some(2));
    world.pods.insert("v1".into(), Pods::Broken("Error"));
    world.settle();
    assert_eq!(world.routed(), "v2=100", "failover goes on");
    world.pods.insert("v1".into(), Pods::Healthy);
    world.settle();
    world.pass(30);
    assert_eq!(world.routed(), "v1=90 v2=10");
    world.edit(&two(0, 100));
    world.settle();
    assert_eq!(world.routed(), "v2=100");
    assert_eq!(world.condition("Stalled").0, "False");
}

#[test]
fn an_invalid_spec_beside_a_lost_one_leaves_what_runs_and_says_so() {
    let mut world = running();
    let accepted = world.status().accepted_revision.clone().unwrap();
    world.remove(Kind::ControllerRevision, &accepted);
    world.edit(&two(0, 100).replace("replicas: 3,", "replicas: 3, mounts: [{volume: nowhere, path: /x}],"));
    world.settle();
    assert_eq!(world.routed(), "v1=90 v2=10");
    let (available, reason, message) = world.condition("Available");
    assert_eq!((available.as_str(), reason.as_str()), ("Unknown", "InvalidSpec"));
    assert!(message.starts_with("what runs is left as it is"), "{message}");
    assert!(message.contains(&accepted), "{message}");
    assert!(world.condition("Stalled").2.contains("what runs is left as it is"), "{:?}", world.condition("Stalled"));
    world.edit(&two(0, 100));
    world.settle();
    assert_eq!(world.routed(), "v2=100");
    assert_eq!(world.condition("Available").0, "True");
}

#[test]
fn a_name_clash_is_told_and_nothing_of_anybody_elses_is_touched() {
    let mut world = World::new(&two(90, 10));
    world.put_foreign(Kind::Service, "order-service", json!({"metadata": {}, "spec": {"selector": {"theirs": "yes"}}}));
    world.settle();
    let (value, reason, message) = world.condition("Stalled");
    assert_eq!((value.as_str(), reason.as_str()), ("True", "NameClash"));
    assert!(message.starts_with("a Service named order-service exists and belongs to somebody else"), "{message}");
    assert_eq!(world.object(Kind::Service, "order-service")["spec"]["selector"], json!({"theirs": "yes"}));
    assert_eq!(world.condition("RoutesReady").0, "False");
    for kind in [Kind::VirtualService, Kind::DestinationRule] {
        assert!(!world.has(kind, "order-service"), "{kind:?} would take the other Service's requests");
    }
}

#[test]
fn routes_go_when_the_service_becomes_somebody_elses() {
    let mut world = running();
    assert!(world.has(Kind::VirtualService, "order-service"));
    world.put_foreign(Kind::Service, "order-service", json!({"metadata": {}, "spec": {"selector": {"theirs": "yes"}}}));
    world.settle();
    for kind in [Kind::VirtualService, Kind::DestinationRule] {
        assert!(!world.has(kind, "order-service"), "{kind:?} would take the other Service's requests");
    }
    assert!(world.has(Kind::Deployment, "order-service-v1"));
}

#[test]
fn somebody_elses_route_for_the_host_is_a_conflict_only_in_the_mesh() {
    let mut world = running();
    for (gateways, reason) in [
        (json!(["istio-ingress/public"]), "RoutesApplied"),
        (json!(["istio-ingress/public", "mesh"]), "RouteConflict"),
        (json!(["public"]), "RoutesApplied"),
        (json!([]), "RouteConflict"),
        (json!(null), "RouteConflict"),
    ] {
        let spec = json!({"hosts": ["shop.example", "order-service"], "gateways": gateways});
        world.put_foreign(Kind::VirtualService, "public", json!({"metadata": {}, "spec": spec}));
        world.settle();
        assert_eq!(world.condition("RoutesReady").1, reason, "gateways: {gateways}");
    }
}

#[test]
fn somebody_elses_rule_for_the_host_is_a_conflict() {
    let mut world = running();
    for (host, reason) in [
        ("other", "RoutesApplied"),
        ("order-service", "RouteConflict"),
        ("*.local", "RoutesApplied"),
        ("order-service.shop.svc.cluster.local", "RouteConflict"),
    ] {
        world.put_foreign(Kind::DestinationRule, "mtls", json!({"metadata": {}, "spec": {"host": host}}));
        world.settle();
        let (_, told, message) = world.condition("RoutesReady");
        assert_eq!(told, reason, "{host}: {message}");
    }
}

#[test]
fn a_rule_in_the_namespace_of_clients_that_lacks_a_subset_is_a_conflict() {
    let mut world = running();
    let subsets = |names: &[&str]| -> Vec<Value> { names.iter().map(|name| json!({"name": name})).collect() };
    let host = "order-service.shop.svc.cluster.local";
    for (namespace, host, names, told) in [
        ("web", "other.shop.svc.cluster.local", &[][..], "RoutesApplied"),
        ("web", "order-service", &[], "RoutesApplied"),
        ("web", host, &["v1"], "ClientsHaveOwnRule"),
        ("web", host, &["v1", "v2"], "RoutesApplied"),
        ("istio-system", host, &[], "RoutesApplied"),
    ] {
        let rule = json!({"metadata": {"namespace": namespace}, "spec": {"host": host, "subsets": subsets(names)}});
        world.put_foreign(Kind::DestinationRule, "theirs", rule);
        world.settle();
        let (_, reason, message) = world.condition("RoutesReady");
        assert_eq!(reason, told, "{namespace} {host} {names:?}: {message}");
        let conflicts = reason == "ClientsHaveOwnRule";
        assert_eq!(conflicts, message.contains("web/theirs decides for the clients"), "{message}");
        assert_eq!(world.condition("Ready").0, "True", "it is theirs");
        world.remove(Kind::DestinationRule, "theirs");
    }
}

#[test]
fn lost_routes_are_put_back_as_the_status_remembers_them() {
    let mut world = running();
    world.meddle(Kind::VirtualService, "order-service", |_| false);
    world.settle();
    assert_eq!(world.routed(), "v1=90 v2=10");
    world.meddle(Kind::VirtualService, "order-service", |object| {
        object["spec"]["http"][0]["route"][0]["weight"] = json!(1);
        object["spec"]["http"][0]["route"][1]["weight"] = json!(99);
        true
    });
    world.settle();
    assert_eq!(world.routed(), "v1=90 v2=10");
}

#[test]
fn a_crash_before_the_status_was_written_loses_nothing() {
    let mut world = running();
    world.edit(&two(0, 100));
    let before = world.microservice.status.clone();
    world.reconcile();
    world.microservice.status = before;
    world.settle();
    assert_eq!(world.routed(), "v2=100");
    world.microservice.status = None;
    world.settle();
    world.pass(10);
    assert_eq!(world.routed(), "v2=100");
    assert_eq!(world.condition("Ready").0, "True");
}

#[test]
fn a_subset_that_left_and_came_back_in_two_crashes_is_young() {
    let mut world = World::new(&two(100, 0));
    world.settle();
    world.pass(600);
    assert_eq!(world.subsets(), ["v1", "v2"]);
    world.edit(&one("v1"));
    while world.subsets().contains(&"v2".to_owned()) {
        world.now = world.now.checked_add(jiff::SignedDuration::from_secs(1)).unwrap();
        let before = world.microservice.status.clone();
        world.reconcile();
        if !world.subsets().contains(&"v2".to_owned()) {
            world.microservice.status = before;
        }
    }
    world.edit(&two(0, 100));
    let before = world.microservice.status.clone();
    world.reconcile();
    assert_eq!(world.subsets(), ["v1", "v2"]);
    world.microservice.status = before;
    world.settle();
    world.pass(4);
    assert_eq!(world.routed(), "v1=100", "the mesh has not had its time");
    world.pass(1);
    assert_eq!(world.routed(), "v2=100");
}
