//! What the API server refuses of a plan, and what goes on beside it.

use microservice_operator::plan::object::Kind;

use crate::{
    one, running, two,
    world::{Pods, World, spec},
};

fn three(v1: i32, v2: i32, v3: i32) -> String {
    format!(
        "{{ports: [{{name: http, port: 80}}], replicas: 3, versions: [{{name: v1, image: 'x:1', weight: {v1}}}, \
         {{name: v2, image: 'x:2', weight: {v2}, replicas: 1}}, {{name: v3, image: 'x:3', weight: {v3}}}]}}"
    )
}

fn reason(world: &World, condition: &str) -> (String, String) {
    let (value, reason, _) = world.condition(condition);
    (value, reason)
}

fn is(value: &str, reason: &str) -> (String, String) {
    (value.to_owned(), reason.to_owned())
}

#[test]
fn nothing_is_available_or_promoted_before_anything_is_routed() {
    for kind in [Kind::DestinationRule, Kind::VirtualService, Kind::Service] {
        let mut world = World::new(&two(90, 10));
        world.refused = vec![kind];
        world.settle();
        world.pass(10);
        assert_eq!(reason(&world, "Available"), is("False", "NoReadyVersion"), "without {kind:?}");
        assert_eq!(reason(&world, "Promoted"), is("False", "ApplyFailed"), "without {kind:?}");
        world.refused.clear();
        world.settle();
        world.pass(10);
        assert_eq!(reason(&world, "Available").0, "True");
        assert_eq!(reason(&world, "Promoted"), is("True", "WeightsRequested"));
    }
}

#[test]
fn promoted_is_about_the_newest_spec() {
    let mut world = running();
    assert_eq!(reason(&world, "Promoted"), is("True", "WeightsRequested"));
    world.edit(&two(50, 50).replace("replicas: 3,", "replicas: 3, mounts: [{volume: nowhere, path: /x}],"));
    world.settle();
    assert_eq!(reason(&world, "Promoted"), is("False", "InvalidSpec"));
    world.edit(&two(50, 50));
    world.refused = vec![Kind::VirtualService];
    world.settle();
    assert_eq!(reason(&world, "Promoted"), is("False", "ApplyFailed"));
    world.refused.clear();
    world.settle();
    assert_eq!(reason(&world, "Promoted"), is("True", "WeightsRequested"));
}

#[test]
fn a_refused_destination_rule_stops_no_failover_to_what_it_has() {
    let mut world = running();
    world.refused = vec![Kind::DestinationRule];
    world.edit(&three(90, 10, 0));
    world.settle();
    world.pass(10);
    assert_eq!(reason(&world, "Stalled"), is("True", "ApplyFailed"));
    assert_eq!(reason(&world, "RoutesReady"), is("False", "ApplyFailed"));
    world.pods.insert("v1".into(), Pods::Broken("Error"));
    world.settle();
    assert_eq!(world.routed(), "v2=100");
    assert_eq!(world.status().weights.as_deref(), Some("v1=0 v2=100 v3=0"), "the status tells of it");
    assert_eq!(reason(&world, "Available").0, "True");
    world.pods.insert("v1".into(), Pods::Healthy);
    world.settle();
    assert_eq!(world.routed(), "v2=100", "it is held out");
    world.pass(30);
    assert_eq!(world.routed(), "v1=90 v2=10");
    world.edit(&three(50, 0, 50));
    world.settle();
    world.pass(30);
    assert!(!world.routed().contains("v3"), "{}: the mesh does not know it", world.routed());
    world.refused.clear();
    world.settle();
    assert!(!world.routed().contains("v3"), "{}: the mesh has yet to learn of it", world.routed());
    world.pass(5);
    assert_eq!(world.routed(), "v1=50 v3=50");
}

#[test]
fn a_refused_service_hides_nothing_of_routes_that_are_in_force() {
    let mut world = running();
    world.refused = vec![Kind::Service];
    world.edit(&two(80, 20).replace("port: 80,", "port: 81,"));
    world.settle();
    assert_eq!(world.routed(), "v1=80 v2=20");
    assert_eq!(world.status().weights.as_deref(), Some("v1=80 v2=20"));
    assert_eq!(reason(&world, "RoutesReady"), is("False", "ApplyFailed"));
    world.pods.insert("v1".into(), Pods::Broken("Error"));
    world.settle();
    world.pods.insert("v1".into(), Pods::Healthy);
    world.settle();
    assert_eq!(world.routed(), "v2=100", "it is held out");
}

#[test]
fn what_is_enforced_beside_a_refused_child_is_accepted() {
    let mut world = World::new(&two(90, 10));
    world.refused = vec![Kind::PodDisruptionBudget];
    world.settle();
    world.pass(10);
    assert_eq!(world.routed(), "v1=90 v2=10");
    assert_eq!(reason(&world, "Stalled"), is("True", "ApplyFailed"));
    world.edit(&two(0, 100).replace("replicas: 3,", "replicas: 3, mounts: [{volume: nowhere, path: /x}],"));
    world.settle();
    assert_eq!(reason(&world, "Stalled"), is("True", "InvalidSpec"));
    world.pods.insert("v1".into(), Pods::Broken("Error"));
    world.settle();
    assert_eq!(world.routed(), "v2=100", "failover goes on beside an invalid edit");
}

/// What is in the way of others, as with a quota, may be just what is to go.
#[test]
fn what_has_drained_goes_though_something_else_is_refused() {
    for kind in [Kind::Deployment, Kind::ControllerRevision] {
        let mut world = running();
        world.edit(&two(100, 0));
        world.settle();
        world.pass(5);
        world.refused = vec![kind];
        world.edit(&one("v1"));
        world.settle();
        world.pass(120);
        assert_eq!(reason(&world, "Stalled"), is("True", "ApplyFailed"), "{kind:?}");
        assert!(!world.has(Kind::Deployment, "order-service-v2"), "{kind:?}");
    }
}

#[test]
fn what_an_earlier_operator_accepted_is_looked_after_when_this_one_refuses_it() {
    let mut world = World::new(&two(90, 10));
    world.settle();
    world.pass(600);
    let refused = two(90, 10).replace("versions:", "mounts: [{volume: none, path: /a}], versions:");
    let kept = serde_json::to_value(spec(&refused)).unwrap();
    let name = world.status().accepted_revision.clone().unwrap();
    world.meddle(Kind::ControllerRevision, &name, |revision| {
        revision["data"]["mounts"] = kept["mounts"].clone();
        true
    });
    world.edit(&refused);
    world.settle();
    assert_eq!(world.condition("Stalled").0, "True");
    world.pods.insert("v1".into(), Pods::Broken("Error"));
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), "v2=100");
}
