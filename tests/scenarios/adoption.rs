//! Taking over a live Service, in a world made of data.

use microservice_operator::plan::object::Kind;
use serde_json::{Value, json};

use crate::{
    others::{NAME, theirs},
    two,
    world::{Pods, World},
};

/// A world with a live Service of somebody else's that the Microservice may take over.
fn with_live_service(spec: &str) -> World {
    let mut world = World::new(spec);
    world.put_foreign(Kind::Service, NAME, theirs(Value::Null, json!({"microservice-operator.dev/adopt": NAME})));
    for version in ["v1", "v2"] {
        world.pods.insert(version.into(), Pods::Ready(0));
    }
    world.settle();
    world
}

fn selects_theirs(world: &World) -> bool {
    world.object(Kind::Service, NAME)["spec"]["selector"] == json!({"theirs": "yes"})
}

#[test]
fn a_live_service_is_taken_over_when_pods_are_ready_and_the_mesh_follows_step_by_step() {
    let mut world = with_live_service(&two(90, 10));
    assert!(selects_theirs(&world), "its clients would meet no ready pod");
    let (value, reason, message) = world.condition("Ready");
    assert_eq!((value.as_str(), reason.as_str()), ("False", "AdoptionPending"));
    assert_eq!(
        message,
        "the Service order-service is taken over as soon as v1 is complete (0 of 3 pods ready); until then it selects \
         what it did"
    );
    assert_eq!(world.condition("RoutesReady").1, "AdoptionPending");
    assert_eq!(world.condition("Stalled").0, "False");
    world.pods.insert("v1".into(), Pods::Ready(2));
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    world.pass(60);
    assert!(selects_theirs(&world), "two pods would get what is meant for three");
    for kind in [Kind::VirtualService, Kind::DestinationRule] {
        assert!(!world.has(kind, NAME), "{kind:?} would lead the Service's clients to pods that it does not select");
    }

    world.pods.insert("v1".into(), Pods::Healthy);
    world.settle();
    assert_eq!(world.pinned().as_deref(), Some("v1"), "v1 alone, as no mesh weighs the requests yet");
    assert_eq!(world.subsets(), ["v1", "v2"]);
    assert!(!world.has(Kind::VirtualService, NAME), "the mesh must know the subsets first");
    world.pass(30);
    assert_eq!(world.pinned(), None);
    assert_eq!(world.routed(), "v1=90 v2=10");
    assert_eq!(world.condition("Ready").0, "True");
    assert_eq!(world.condition("RoutesReady").0, "True");
}

#[test]
fn no_pods_are_made_that_a_service_of_somebody_elses_selects() {
    for offered in [true, false] {
        let mut world = World::new(&two(90, 10));
        let annotations = if offered { json!({"microservice-operator.dev/adopt": NAME}) } else { json!({}) };
        let theirs = json!({"metadata": {"annotations": annotations}, "spec": {"selector": {"app": NAME}}});
        world.put_foreign(Kind::Service, NAME, theirs);
        world.settle();
        world.pass(60);
        for version in ["v1", "v2"] {
            assert!(!world.has(Kind::Deployment, &format!("{NAME}-{version}")), "{version} would get its requests");
        }
        let (value, _, message) = world.condition("Stalled");
        assert_eq!(value, "True");
        assert!(message.contains("selects them by app=order-service: add a label to its selector"), "{message}");
        world.meddle(Kind::Service, NAME, |service| {
            service["spec"]["selector"]["pod-template-hash"] = json!("5d8f7c9b6");
            true
        });
        world.settle();
        world.pass(60);
        assert!(world.has(Kind::Deployment, "order-service-v1") && world.has(Kind::Deployment, "order-service-v2"));
        assert_eq!(world.condition("Ready").0, if offered { "True" } else { "False" });
    }
    let mut worker = World::new("{replicas: 1, versions: [{name: v1, image: 'x:1'}]}");
    worker.put_foreign(Kind::Service, NAME, json!({"metadata": {}, "spec": {"selector": {"app": NAME}}}));
    worker.settle();
    assert!(worker.has(Kind::Deployment, "order-service-v1"), "somebody wants it to have a Service");
}

#[test]
fn a_service_without_an_address_is_not_taken_over() {
    for spec in [json!({"clusterIP": "None"}), json!({"type": "ExternalName", "externalName": "shop.example"})] {
        let mut world = World::new(&two(90, 10));
        let metadata = json!({"annotations": {"microservice-operator.dev/adopt": NAME}});
        world.put_foreign(Kind::Service, NAME, json!({"metadata": metadata, "spec": spec}));
        world.settle();
        let (value, reason, message) = world.condition("Stalled");
        assert_eq!((value.as_str(), reason.as_str()), ("True", "NameClash"), "{message}");
        assert!(message.contains("it has no address of its own"), "{message}");
        for version in ["v1", "v2"] {
            world.pods.insert(version.into(), Pods::Healthy);
        }
        world.settle();
        world.pass(60);
        assert_eq!(world.object(Kind::Service, NAME)["spec"], spec);
    }
}

#[test]
fn a_port_without_a_name_that_would_stay_beside_others_is_told_before_the_service_is_taken_over() {
    let mut world = with_live_service(&two(90, 10));
    for version in ["v1", "v2"] {
        world.pods.insert(version.into(), Pods::Healthy);
    }
    world.meddle(Kind::Service, NAME, |service| {
        service["spec"]["ports"] = json!([{"port": 8080, "targetPort": 3000}]);
        true
    });
    world.settle();
    world.pass(60);
    assert!(selects_theirs(&world), "the API server would refuse it");
    assert_eq!(
        world.condition("Stalled").2,
        "the Service order-service is taken over as soon as its port 8080, which has no name, is in spec.ports, or has a \
         name, or is removed from it; until then it selects what it did"
    );
    world.meddle(Kind::Service, NAME, |service| {
        service["spec"]["ports"][0]["name"] = json!("old");
        true
    });
    world.settle();
    assert_eq!(world.pinned().as_deref(), Some("v1"));
}

/// A live Service that is handed over while a VirtualService of somebody else's, of this name, routes its host.
fn handed_over_under(routes: &str) -> World {
    let http = json!([{"route": [{"destination": {"host": NAME, "subset": "old"}}]}]);
    let mut world = World::new(&two(90, 10));
    world.put_foreign(Kind::VirtualService, routes, json!({"metadata": {}, "spec": {"hosts": [NAME], "http": http}}));
    world.put_foreign(Kind::Service, NAME, theirs(Value::Null, json!({"microservice-operator.dev/adopt": NAME})));
    world.settle();
    world.pass(60);
    world
}

#[test]
fn a_live_service_is_not_taken_over_under_routes_of_somebody_else() {
    let mut world = handed_over_under("before");
    assert!(selects_theirs(&world), "the subsets of before are of pods that it would select no more");
    let (_, reason, message) = world.condition("Ready");
    assert_eq!(reason, "AdoptionPending");
    assert_eq!(
        message,
        "the Service order-service is taken over as soon as somebody else's VirtualService shop/before no longer routes \
         order-service.shop.svc.cluster.local, as its subsets would select none of the new pods: remove it; until then it \
         selects what it did"
    );
    assert_eq!(world.condition("Stalled").0, "True");
    world.remove(Kind::VirtualService, "before");
    world.settle();
    world.pass(60);
    assert_eq!(world.routed(), "v1=90 v2=10");
    assert_eq!(world.condition("Ready").0, "True");
}

/// To be called as the service is makes a route no more the operator's than any other name.
#[test]
fn nor_under_one_of_its_own_name_that_is_not_handed_over() {
    let mut world = handed_over_under(NAME);
    assert!(selects_theirs(&world), "the subsets of before are of pods that it would select no more");
    assert_eq!(world.condition("Ready").1, "AdoptionPending");
    world.remove(Kind::VirtualService, NAME);
    world.settle();
    world.pass(60);
    assert_eq!((world.routed().as_str(), world.condition("Ready").0.as_str()), ("v1=90 v2=10", "True"));
}

#[test]
fn without_a_mesh_a_live_service_is_taken_over_when_the_largest_version_is_complete() {
    let mut world = with_live_service(&two(50, 50).replace("replicas: 3,", "replicas: 3, traffic: {provider: None},"));
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    assert!(selects_theirs(&world), "the first of the largest is waited for");
    world.pods.insert("v2".into(), Pods::Ready(0));
    world.pods.insert("v1".into(), Pods::Healthy);
    world.settle();
    assert_eq!(world.pinned().as_deref(), Some("v1"));
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    assert_eq!(world.pinned(), None);

    let mut zero = with_live_service(&two(100, 0).replace("replicas: 3,", "replicas: 0, traffic: {provider: None},"));
    zero.settle();
    assert!(selects_theirs(&zero), "no pod is to run, and so none gets ready");
}

#[test]
fn a_service_that_was_taken_over_is_not_given_up_when_pods_fail() {
    let mut world = with_live_service(&two(90, 10));
    for version in ["v1", "v2"] {
        world.pods.insert(version.into(), Pods::Healthy);
    }
    world.settle();
    world.pass(30);
    for version in ["v1", "v2"] {
        world.pods.insert(version.into(), Pods::Broken("Error"));
    }
    world.settle();
    assert!(world.has(Kind::Service, NAME));
    assert_ne!(world.condition("Ready").1, "AdoptionPending");
}
