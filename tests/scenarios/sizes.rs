//! What shrinks or goes does so after its weight.

use microservice_operator::plan::object::Kind;

use crate::{one, running, two, world::Pods};

#[test]
fn a_version_shrinks_only_after_its_weight_has_moved() {
    let mut world = running();
    world.edit(&two(0, 100).replace("replicas: 3", "replicas: 1"));
    world.reconcile();
    assert_eq!(world.routed(), "v2=100");
    assert_eq!(world.replicas("v1"), 3, "Deployments are written before routes");
    world.settle();
    assert_eq!(world.replicas("v1"), 1);
}

#[test]
fn a_removed_version_hands_over_drains_and_goes_in_order() {
    let mut world = running();
    world.edit(&one("v2"));
    world.reconcile();
    assert_eq!(world.routed(), "v2=10 v1=90", "v2 is being scaled to 3 and must be complete first");
    world.settle();
    assert_eq!(world.routed(), "v2=100");
    assert_eq!(world.traffic("v1").requested, 0);
    assert_eq!(world.condition("Ready").0, "False");
    world.pass(29);
    assert_eq!(world.subsets(), ["v1", "v2"]);
    world.pass(1);
    assert_eq!(world.subsets(), ["v2"]);
    assert!(world.has(Kind::Deployment, "order-service-v1"), "it outlives its subset by the propagation time");
    world.pass(5);
    assert!(!world.has(Kind::Deployment, "order-service-v1"));
    assert!(!world.has(Kind::PodDisruptionBudget, "order-service-v1"));
    assert_eq!(world.condition("Ready").0, "True");
    assert_eq!(world.status().weights.as_deref(), Some("v2=100"));
}

#[test]
fn a_removed_version_stays_while_the_others_cannot_serve() {
    let mut world = running();
    world.pods.insert("v2".into(), Pods::Broken("CrashLoopBackOff"));
    world.edit(&one("v2"));
    world.settle();
    world.pass(3600);
    assert_eq!(world.routed(), "v1=100");
    assert!(world.has(Kind::Deployment, "order-service-v1"));
}

#[test]
fn sizes_do_not_shrink_while_weights_travel() {
    let mut world = running();
    world.pods.insert("v2".into(), Pods::Broken("Error"));
    world.settle();
    world.edit(&two(0, 100).replace("replicas: 3,", "replicas: 1,"));
    world.settle();
    assert_eq!(world.replicas("v1"), 3);
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    world.pass(60);
    assert_eq!(world.routed(), "v2=100");
    assert_eq!(world.replicas("v1"), 1);
}
