//! What shrinks or goes does so after its weight.

use microservice_operator::plan::object::Kind;

use crate::{
    one, running, two,
    world::{Pods, World},
};

#[test]
fn a_version_shrinks_only_after_its_weight_has_moved() {
    let mut world = running();
    world.edit(&two(0, 100).replace("replicas: 3", "replicas: 1"));
    world.reconcile();
    assert_eq!(world.routed(), "v2=100");
    assert_eq!(world.replicas("v1"), 3, "Deployments are written before routes");
    world.pass(29);
    assert_eq!(world.replicas("v1"), 3, "the requests that it has had run on");
    world.pass(1);
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

/// A version that loses its weight is covered by the others; one that is yet to be there has lost nothing.
#[test]
fn nothing_grows_for_a_version_that_is_yet_to_start() {
    let of = |v1: i32, v2: i32| {
        format!(
            "{{ports: [{{name: http, port: 80}}], versions: [{{name: v1, image: 'x:1', weight: {v1}, replicas: 3}}, \
             {{name: v2, image: 'x:2', weight: {v2}, replicas: 10}}]}}"
        )
    };
    let mut world = World::new(&of(100, 0).replace(", {name: v2, image: 'x:2', weight: 0, replicas: 10}", ""));
    world.settle();
    world.pass(600);
    world.pods.insert("v2".into(), Pods::Ready(0));
    world.edit(&of(0, 100));
    world.settle();
    world.pass(60);
    assert_eq!((world.routed().as_str(), world.replicas("v1")), ("v1=100", 3));
}

/// Half of ten pods is what half of the requests need.
#[test]
fn a_version_that_fails_on_its_way_is_covered_for_what_it_had_and_not_once_it_is_rolled_back() {
    for (policy, routed, pods) in [
        ("{steps: [{weight: 10}, {pause: {}}]}", "v1=90 v2=10", 3),
        ("{onFailure: Pause, steps: [{weight: 50}, {pause: {}}]}", "v1=50 v2=50", 5),
    ] {
        let of = |v1: i32, v2: i32| {
            format!(
                "{{ports: [{{name: http, port: 80}}], versions: [{{name: v1, image: 'x:1', weight: {v1}, replicas: 3}}, \
                 {{name: v2, image: 'x:2', weight: {v2}, replicas: 10}}], rollout: {policy}}}"
            )
        };
        let mut world = World::new(&of(100, 0));
        world.settle();
        world.pass(600);
        world.edit(&of(0, 100));
        world.settle();
        world.pass(5);
        assert_eq!((world.routed().as_str(), world.replicas("v1")), (routed, 3));
        world.pods.insert("v2".into(), Pods::Broken("CrashLoopBackOff"));
        for seconds in [0, 60] {
            world.settle();
            world.pass(seconds);
            assert_eq!((world.routed().as_str(), world.replicas("v1")), ("v1=100", pods), "{policy}: {seconds}");
        }
    }
}
