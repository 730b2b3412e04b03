//! A rollout that failed and goes back by the weights of its steps, in a world made of data.

use microservice_operator::api::{RolloutState, Verb};

use crate::{
    read::{rollout, service_of},
    rollouts::promoting,
    world::{Pods, World},
};

const POLICY: &str = "{onFailure: RollbackBySteps, progressDeadline: 1m, steps: [{weight: 5}, {pause: {duration: 10s}}, \
                      {weight: 25}, {pause: {duration: 10s}}, {weight: 50}, {pause: {}}, {weight: 80}]}";

/// A service with four pods a version.
fn service(v1: i32, v2: i32) -> String {
    service_of(&format!("v1={v1} v2={v2}"), 4, POLICY)
}

/// At 50, and on the way to 80 with a pod short, until just before the deadline.
fn failing() -> World {
    let mut world = World::new(&service(100, 0));
    world.settle();
    world.pass(600);
    world.edit(&service(0, 100));
    world.settle();
    world.pass(25);
    assert_eq!(world.routed(), "v1=50 v2=50");
    world.pods.insert("v2".into(), Pods::Ready(3));
    assert!(world.ask(Verb::Promote).is_ok());
    world.pass(59);
    assert_eq!((world.routed().as_str(), rollout(&world).state), ("v1=50 v2=50", RolloutState::Progressing));
    world
}

#[test]
fn a_failed_rollout_goes_back_through_its_steps() {
    let mut world = failing();
    world.pass(1);
    assert_eq!((world.routed().as_str(), rollout(&world).back), ("v1=75 v2=25", Some(25)));
    assert_eq!(rollout(&world).state, RolloutState::Aborted);
    let message = world.status().message.clone().unwrap();
    let why = "the step was not reached within 1m: v2 is not ready";
    assert_eq!(
        message,
        format!(
            "rolling back by steps, now at 25 % of the way: {why}; traffic stays at v1 75, v2 25; at once with: kubectl \
             ms abort order-service --namespace shop"
        )
    );
    let (promoted, reason, message) = world.condition("Promoted");
    assert_eq!((promoted.as_str(), reason.as_str(), message.as_str()), ("False", "RolloutAborted", why));
    world.pass(4);
    assert_eq!(world.routed(), "v1=75 v2=25", "the mesh is given time to learn of it");
    world.pass(1);
    assert_eq!((world.routed().as_str(), rollout(&world).back), ("v1=95 v2=5", Some(5)));
    world.pass(5);
    assert_eq!((world.routed().as_str(), rollout(&world).back), ("v1=100", None));
    assert!(world.status().message.as_ref().unwrap().starts_with("rolled back: the step was not reached"));
    world.pass(3_600);
    assert_eq!(world.routed(), "v1=100");
    let told = world.notices.iter().filter(|notice| notice.reason == "RolloutAborted").count();
    assert_eq!(told, 1);
}

#[test]
fn a_version_that_cannot_serve_loses_its_weight_at_once_all_the_same() {
    let mut world = failing();
    world.pods.insert("v2".into(), Pods::Broken("CrashLoopBackOff"));
    world.settle();
    assert_eq!((world.routed().as_str(), rollout(&world).state), ("v1=100", RolloutState::Aborted));
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    world.pass(3_600);
    assert_eq!((world.routed().as_str(), rollout(&world).back), ("v1=100", None), "it gets nothing again");
}

#[test]
fn a_version_lost_on_the_way_back_is_not_given_weight_again() {
    let mut world = failing();
    world.pass(1);
    world.pods.insert("v2".into(), Pods::Broken("CrashLoopBackOff"));
    world.settle();
    assert_eq!((world.routed().as_str(), rollout(&world).back), ("v1=100", None));
}

#[test]
fn on_the_way_back_an_abort_is_at_once_and_a_retry_starts_again() {
    let mut world = failing();
    world.pass(1);
    assert_eq!(world.ask(Verb::Abort), Ok("the weights go back at once".into()));
    assert_eq!(world.routed(), "v1=100");
    let mut world = failing();
    world.pass(1);
    world.pods.insert("v2".into(), Pods::Healthy);
    assert!(world.ask(Verb::Retry).is_ok());
    world.settle();
    assert_eq!((world.routed().as_str(), rollout(&world).back), ("v1=95 v2=5", None));
    assert_eq!(rollout(&world).state, RolloutState::Progressing);
}

#[test]
fn what_fails_before_it_has_weight_has_no_way_back_to_go() {
    let mut world = World::new(&service(100, 0).replace("x:2", "x:3"));
    world.settle();
    world.pass(600);
    world.pods.insert("v2".into(), Pods::Broken("ImagePullBackOff"));
    world.edit(&service(0, 100));
    world.settle();
    world.pass(60);
    assert_eq!((rollout(&world).state, rollout(&world).back), (RolloutState::Aborted, None));
    assert_eq!(world.routed(), "v1=100");
}

#[test]
fn a_stable_version_that_cannot_take_its_weight_back_holds_the_way_up() {
    let mut world = failing();
    world.pass(1);
    world.pods.insert("v1".into(), Pods::Broken("Error"));
    world.settle();
    assert_eq!(world.routed(), "v2=100", "somebody must serve");
    world.pass(30);
    world.pods.insert("v1".into(), Pods::Healthy);
    world.settle();
    world.pass(3_600);
    assert_eq!((world.routed().as_str(), rollout(&world).back), ("v1=100", None));
}

#[test]
fn a_version_that_has_got_nothing_yet_gets_nothing_on_the_way_back() {
    let policy =
        "{onFailure: RollbackBySteps, progressDeadline: 1m, steps: [{weight: 50}, {weight: 100}, {pause: {}}]}";
    let of = |versions: &str| service_of(versions, 4, policy);
    let mut world = World::new(&of("v1=100 v2=0"));
    world.settle();
    world.pass(600);
    world.edit(&of("v1=0 v2=100"));
    world.settle();
    assert_eq!((world.routed().as_str(), rollout(&world).state), ("v2=100", RolloutState::Paused));
    world.pods.insert("v2".into(), Pods::Ready(3));
    world.edit(&of("v1=40 v2=30 v3=30"));
    world.settle();
    world.pass(59);
    assert_eq!((world.routed().as_str(), rollout(&world).state), ("v2=100", RolloutState::Progressing));
    world.now = world.now.checked_add(jiff::SignedDuration::from_secs(1)).unwrap();
    world.reconcile();
    assert_eq!((world.routed().as_str(), rollout(&world).state), ("v1=100", RolloutState::Aborted));
}

/// It served with these pods before: the rest comes back with the last one.
#[test]
fn an_abort_goes_back_as_far_as_the_ready_pods_carry_it() {
    for (ready, back) in [(2, "v1=66 v2=34"), (1, "v1=50 v2=50"), (3, "v1=100")] {
        let mut world = promoting();
        world.pass(60);
        assert_eq!(world.routed(), "v1=50 v2=50");
        world.pods.insert("v1".into(), Pods::Ready(ready));
        world.ask(Verb::Abort).unwrap();
        assert_eq!(world.routed(), back);
        world.pass(3_600);
        assert_eq!(world.routed(), back);
        world.pods.insert("v1".into(), Pods::Healthy);
        world.settle();
        assert_eq!(world.routed(), "v1=100");
    }
}

#[test]
fn the_way_back_by_steps_goes_as_far_as_the_ready_pods_carry_it() {
    let mut world = failing();
    world.pods.insert("v1".into(), Pods::Ready(3));
    world.pass(60);
    assert_eq!(rollout(&world).state, RolloutState::Aborted);
    world.pass(600);
    assert_eq!(world.routed(), "v1=75 v2=25", "three pods of four");
    world.pods.insert("v1".into(), Pods::Healthy);
    world.settle();
    world.pass(60);
    assert_eq!(world.routed(), "v1=100");
}
