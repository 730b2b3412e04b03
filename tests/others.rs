//! What happens where a Microservice meets objects, names and sizes that somebody else has a hand in, in a world made of
//! data.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use microservice_operator::plan::object::Kind;
use serde_json::{Value, json};
use world::World;

const NAME: &str = "order-service";

fn two(v1: i32, v2: i32) -> String {
    format!(
        "{{ports: [{{name: http, port: 80, targetPort: 3000}}], replicas: 3, versions: [\
         {{name: v1, image: 'x:1', weight: {v1}}}, {{name: v2, image: 'x:2', weight: {v2}, replicas: 1}}]}}"
    )
}

/// An object of somebody else's, with this controller and these annotations.
fn theirs(owner: Value, annotations: Value) -> Value {
    let mut object = json!({"metadata": {"annotations": annotations}, "spec": {"selector": {"theirs": "yes"}}});
    if !owner.is_null() {
        object["metadata"]["ownerReferences"] = json!([owner]);
    }
    object
}

fn controller(api_version: &str, kind: &str, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": "their-uid", "controller": true})
}

fn clash(kind: Kind, name: &str, object: Value) -> String {
    let mut world = World::new(&two(90, 10));
    world.put_foreign(kind, name, object);
    world.settle();
    let (value, reason, message) = world.condition("Stalled");
    assert_eq!((value.as_str(), reason.as_str()), ("True", "NameClash"));
    message
}

#[test]
fn a_clash_with_an_object_that_nobody_controls_suggests_to_take_it_over() {
    assert_eq!(
        clash(Kind::Service, NAME, theirs(Value::Null, json!({}))),
        "a Service named order-service exists and belongs to somebody else: delete or rename it, rename this \
         Microservice, or let the operator take it over with the annotation microservice-operator.dev/adopt: order-service"
    );
}

#[test]
fn a_clash_with_an_object_of_another_controller_names_it_and_suggests_no_adoption() {
    let other = controller("microservice-operator.dev/v1alpha1", "Microservice", "order");
    assert_eq!(
        clash(Kind::PodDisruptionBudget, "order-service-v1", theirs(other, json!({}))),
        "a PodDisruptionBudget named order-service-v1 exists and is controlled by the Microservice order: rename the \
         version or this Microservice, or let go of the object there"
    );
    let adopt = json!({"microservice-operator.dev/adopt": NAME});
    let gateway = controller("example.com/v1", "Gateway", "edge");
    assert_eq!(
        clash(Kind::Service, NAME, theirs(gateway, adopt)),
        "a Service named order-service exists and is controlled by the Gateway edge: rename this Microservice, or let \
         go of the object there"
    );
}

#[test]
fn a_clash_with_what_an_earlier_microservice_of_this_name_left_says_that_it_goes() {
    let earlier = controller("microservice-operator.dev/v1alpha1", "Microservice", NAME);
    assert_eq!(
        clash(Kind::Service, NAME, theirs(earlier, json!({}))),
        "a Service named order-service exists and belongs to an earlier Microservice of this name: it is made anew as \
         soon as the cluster has removed it; if that does not happen, delete it"
    );
}

#[test]
fn routes_of_somebody_elses_stand_in_the_way_under_a_mesh_only() {
    for kind in [Kind::VirtualService, Kind::DestinationRule] {
        let mut world = World::new(&two(90, 10));
        world.put_foreign(kind, NAME, theirs(Value::Null, json!({})));
        world.settle();
        let (value, reason, message) = world.condition("RoutesReady");
        assert_eq!((value.as_str(), reason.as_str()), ("False", "NameClash"), "{kind:?}");
        assert_eq!(
            message,
            format!("the {kind:?} order-service is somebody else's, so routes and weights do not stand")
        );
        assert_eq!(
            world.has(Kind::VirtualService, NAME),
            kind == Kind::VirtualService,
            "no route to subsets of others"
        );
        world.edit(&two(100, 0).replace("replicas: 3,", "replicas: 3, traffic: {provider: None},"));
        world.settle();
        world.pass(20);
        assert_eq!(world.condition("RoutesReady").0, "True", "{kind:?}");
        assert_eq!(world.condition("Stalled").0, "False", "{kind:?}");
    }
}
