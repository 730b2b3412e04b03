//! Without a mesh, with one, and from one to the other.

use microservice_operator::plan::object::Kind;

use crate::{
    running, two,
    world::{Pods, World},
};

#[test]
fn without_a_mesh_the_service_pins_one_version_and_hands_over_when_the_other_is_ready() {
    let mut world = World::new(&two(100, 0).replace("replicas: 3,", "replicas: 3, traffic: {provider: None},"));
    world.settle();
    assert_eq!(world.pinned().as_deref(), Some("v1"));
    assert!(!world.has(Kind::VirtualService, "order-service"));
    assert_eq!(world.condition("Ready").0, "True");
    world.pods.insert("v2".into(), Pods::Broken("Error"));
    world.edit(&two(0, 100).replace("replicas: 3,", "replicas: 3, traffic: {provider: None},"));
    world.settle();
    assert_eq!(world.pinned().as_deref(), Some("v1"));
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    assert_eq!(world.pinned().as_deref(), Some("v2"));
}

#[test]
fn without_a_mesh_several_weights_select_all_and_a_version_of_weight_zero_has_no_pods() {
    let spec = two(90, 10)
        .replace("versions: [", "versions: [{name: v3, image: 'x:3', weight: 0}, ")
        .replace("replicas: 3,", "replicas: 3, traffic: {provider: None},");
    let mut world = World::new(&spec);
    world.settle();
    world.pass(5);
    assert_eq!(world.pinned(), None);
    assert_eq!(world.replicas("v3"), 0);
    let (value, reason, _) = world.condition("RoutesReady");
    assert_eq!((value.as_str(), reason.as_str()), ("False", "ProviderNone"));
}

#[test]
fn from_the_service_to_the_mesh_and_back_each_step_waits_for_the_one_before() {
    let none = two(100, 0).replace("replicas: 3,", "replicas: 3, traffic: {provider: None},");
    let mut world = World::new(&none);
    world.settle();
    world.edit(&two(50, 50));
    world.reconcile();
    assert_eq!(world.subsets(), ["v1", "v2"]);
    assert!(!world.has(Kind::VirtualService, "order-service"), "the mesh must know the subsets first");
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), "v1=100");
    assert_eq!(world.pinned().as_deref(), Some("v1"), "the mesh must know the routes before the Service widens");
    world.pass(5);
    assert_eq!(world.pinned().as_deref(), Some("v1"), "its creation is known to the second only");
    world.pass(1);
    assert_eq!(world.pinned(), None);
    assert_eq!(world.routed(), "v1=100", "the mesh must know v2's pods before they get weight");
    world.pass(5);
    assert_eq!(world.routed(), "v1=50 v2=50");
    assert_eq!(world.condition("Ready").0, "True");

    world.edit(&none);
    world.settle();
    assert_eq!(world.routed(), "v1=100");
    assert_eq!(world.pinned(), None);
    world.pass(5);
    assert_eq!(world.pinned().as_deref(), Some("v1"));
    assert!(world.has(Kind::VirtualService, "order-service"));
    world.pass(5);
    assert!(!world.has(Kind::VirtualService, "order-service"));
    assert!(world.has(Kind::DestinationRule, "order-service"));
    world.pass(5);
    assert!(!world.has(Kind::DestinationRule, "order-service"));
    assert_eq!(world.condition("Ready").0, "True");
}

#[test]
fn a_mesh_that_goes_and_comes_leaves_the_workloads_served() {
    let mut world = running();
    world.caches.set_mesh(microservice_operator::observe::Mesh::Absent);
    world.remove(Kind::VirtualService, "order-service");
    world.remove(Kind::DestinationRule, "order-service");
    world.settle();
    assert_eq!(world.pinned(), None);
    assert_eq!(world.condition("Available").0, "True");
    assert_eq!(world.condition("RoutesReady").1, "MeshNotInstalled");
    world.caches.set_mesh(microservice_operator::observe::Mesh::Installed);
    world.settle();
    world.pass(20);
    assert_eq!(world.routed(), "v1=90 v2=10");
    assert_eq!(world.condition("Ready").0, "True");
}
