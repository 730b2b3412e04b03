//! How many pods a rollout's steps give a new version, in a world made of data.

use microservice_operator::{
    api::{RolloutState, Verb},
    plan::object::Kind,
};

use crate::{
    read::{rollout, service_of},
    world::{Pods, World},
};

/// A service with eight pods a version.
fn service(versions: &str, steps: &str) -> String {
    service_of(versions, 8, &format!("{{steps: [{steps}]}}"))
}

const STEPS: &str = "{scale: {replicas: 1}}, {weight: 5}, {pause: {}}, {scale: {percent: 30}}, {pause: {}}, {weight: 50}, \
                     {pause: {}}";

/// A service that has long been at `v1=100` and is now led to v2.
fn rolling(steps: &str) -> World {
    let mut world = World::new(&service("v1=100", steps));
    world.settle();
    world.pass(600);
    world.edit(&service("v1=0 v2=100", steps));
    world.settle();
    world.pass(5);
    world
}

fn at(world: &World) -> (String, i64) {
    (world.routed(), world.replicas("v2"))
}

#[test]
fn a_new_version_starts_small_and_grows_with_the_steps() {
    let mut world = rolling(STEPS);
    assert_eq!(at(&world), ("v1=95 v2=5".into(), 1));
    assert_eq!(world.traffic("v2").desired, 1);
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!(at(&world), ("v1=95 v2=5".into(), 3), "30 % of 8, rounded up");
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!(at(&world), ("v1=50 v2=50".into(), 4), "half of the requests need half of the pods");
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!(at(&world), ("v2=100".into(), 8));
    assert_eq!(world.replicas("v1"), 8);
}

#[test]
fn without_such_a_step_it_has_its_whole_size_from_the_first() {
    let world = rolling("{weight: 5}, {pause: {}}, {scale: {replicas: 1}}, {pause: {}}");
    assert_eq!(at(&world), ("v1=95 v2=5".into(), 8));
}

#[test]
fn it_does_not_shrink_while_requests_come() {
    let mut world = rolling("{weight: 5}, {pause: {}}, {scale: {replicas: 1}}, {pause: {}}, {weight: 10}, {pause: {}}");
    assert!(world.ask(Verb::Promote).is_ok());
    world.pass(3_600);
    assert_eq!(at(&world), ("v1=95 v2=5".into(), 8));
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!(at(&world), ("v1=90 v2=10".into(), 8));
}

#[test]
fn a_version_without_requests_shrinks_to_the_step_when_it_has_drained() {
    let steps = "{scale: {replicas: 2}}, {pause: {duration: 1m}}, {weight: 5}, {pause: {}}";
    let mut world = World::new(&service("v1=100 v2=0", steps));
    world.settle();
    world.pass(600);
    assert_eq!(world.replicas("v2"), 8);
    world.edit(&service("v1=0 v2=100", steps));
    world.settle();
    assert_eq!(at(&world), ("v1=100".into(), 2));
    world.pass(60);
    assert_eq!(at(&world), ("v1=95 v2=5".into(), 2));
}

#[test]
fn each_step_waits_for_the_pods_that_it_asks_for() {
    let mut world = rolling("{scale: {replicas: 1}}, {weight: 5}, {scale: {replicas: 4}}, {weight: 10}, {pause: {}}");
    assert_eq!(at(&world), ("v1=90 v2=10".into(), 4));
    world.edit(&service("v1=100", "{scale: {replicas: 2}}, {weight: 5}, {scale: {replicas: 4}}, {weight: 10}"));
    world.settle();
    world.pass(600);
    world.pods.insert("v3".into(), Pods::Ready(3));
    let steps = "{scale: {replicas: 2}}, {weight: 5}, {scale: {replicas: 4}}, {weight: 10}";
    world.edit(&service("v1=0 v3=100", steps));
    world.settle();
    world.pass(60);
    assert_eq!((world.routed().as_str(), world.replicas("v3")), ("v1=95 v3=5", 4), "three of four are ready");
    let message = world.status().message.clone().unwrap();
    assert!(message.starts_with("v3 has 3 of 4 pods ready"), "{message}");
    world.pods.insert("v3".into(), Pods::Ready(7));
    world.settle();
    assert_eq!((world.routed().as_str(), world.replicas("v3")), ("v1=90 v3=10", 8), "seven of eight are ready");
    world.pods.insert("v3".into(), Pods::Healthy);
    world.settle();
    assert_eq!(world.routed(), "v3=100");
}

#[test]
fn a_small_version_that_must_take_all_requests_is_scaled_up() {
    let mut world = rolling(STEPS);
    world.pods.insert("v1".into(), Pods::Broken("Error"));
    world.settle();
    assert_eq!(at(&world), ("v2=100".into(), 8));
}

#[test]
fn an_abort_leaves_the_size_and_a_retry_starts_with_what_there_is() {
    let mut world = rolling(STEPS);
    assert!(world.ask(Verb::Abort).is_ok());
    world.pass(600);
    assert_eq!(at(&world), ("v1=100".into(), 1));
    assert!(world.ask(Verb::Retry).is_ok());
    assert_eq!(at(&world), ("v1=95 v2=5".into(), 1));
}

#[test]
fn a_change_of_replicas_reaches_a_part_as_well() {
    let steps = "{scale: {percent: 25}}, {pause: {}}, {weight: 5}";
    let mut world = rolling(steps);
    assert_eq!(world.replicas("v2"), 2);
    world.edit(&service("v1=0 v2=100", steps).replace("replicas: 8", "replicas: 16"));
    world.settle();
    assert_eq!((world.replicas("v1"), world.replicas("v2")), (16, 4));
    assert!(world.has(Kind::PodDisruptionBudget, "order-service-v2"));
}

#[test]
fn a_weight_waits_for_the_pods_that_it_needs() {
    let mut world = rolling(STEPS);
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!(at(&world), ("v1=95 v2=5".into(), 3));
    world.pods.insert("v2".into(), Pods::Ready(3));
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!(at(&world), ("v1=95 v2=5".into(), 4), "half of the weight needs four pods, and three are ready");
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    assert_eq!(at(&world), ("v1=50 v2=50".into(), 4));
}

/// The night is no deadline.
#[test]
fn a_rollout_of_a_service_without_pods_waits_until_it_has_some() {
    let policy = "{steps: [{weight: 5}, {pause: {}}]}";
    let mut world = World::new(&service_of("v1=100 v2=0", 0, policy));
    world.settle();
    world.edit(&service_of("v1=0 v2=100", 0, policy));
    world.settle();
    for _ in 0..4 {
        world.pass(1_200);
        assert_eq!(rollout(&world).state, RolloutState::Progressing);
    }
    world.pods.insert("v2".into(), Pods::Ready(0));
    world.edit(&service_of("v1=0 v2=100", 3, policy));
    world.settle();
    world.pass(590);
    assert_eq!((world.routed().as_str(), rollout(&world).state), ("v1=100", RolloutState::Progressing));
    world.pass(20);
    assert_eq!(rollout(&world).state, RolloutState::Aborted, "the deadline counts from the first pods");
    world.pods.insert("v2".into(), Pods::Healthy);
    assert!(world.ask(Verb::Retry).is_ok());
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), "v1=95 v2=5");
}
