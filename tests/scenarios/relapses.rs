//! Versions that lose their readiness again and again on their way up, in a world made of data.

use microservice_operator::api::{RolloutState, Verb};

use crate::{
    read::{rollout, service_of, told},
    world::{Pods, World},
};

const STEPS: &str = "{steps: [{weight: 5}, {pause: {duration: 2h}}, {weight: 50}, {pause: {}}]}";

/// Two versions of so many pods, with v2 at 5.
fn promoting(pods: i32, policy: &str) -> World {
    let mut world = World::new(&service_of("v1=100 v2=0", pods, policy));
    world.settle();
    world.pass(600);
    world.edit(&service_of("v1=0 v2=100", pods, policy));
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), "v1=95 v2=5");
    world
}

/// So many pods of v2 are not ready for 20 s, and then all are.
fn relapse(world: &mut World, pods: i64) {
    world.pods.insert("v2".into(), Pods::Unready(pods, world.now));
    world.settle();
    world.pass(20);
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
}

/// The container of v2's first pod ends, and the pod is ready again at once.
fn restart(world: &mut World) {
    world.crashes.insert("v2".into(), world.now);
    world.settle();
}

#[test]
fn a_pod_that_loses_its_readiness_again_and_again_ends_the_rollout() {
    let mut world = promoting(3, STEPS);
    for _ in 0..2 {
        relapse(&mut world, 1);
        world.pass(100);
        assert_eq!((world.routed().as_str(), rollout(&world).state), ("v1=95 v2=5", RolloutState::Progressing));
    }
    world.pods.insert("v2".into(), Pods::Unready(1, world.now));
    world.settle();
    assert_eq!((world.routed().as_str(), rollout(&world).state), ("v1=100", RolloutState::Aborted));
    assert_eq!(rollout(&world).message.as_deref(), Some("v2 lost its readiness 3 times in 4m"));
    assert_eq!(told(&world, "RolloutAborted"), 1);
}

#[test]
fn one_restart_of_many_pods_ends_nothing_and_restarts_again_and_again_do() {
    let mut world = promoting(20, STEPS);
    for _ in 0..2 {
        restart(&mut world);
        world.pass(60);
        assert_eq!((world.routed().as_str(), rollout(&world).state), ("v1=95 v2=5", RolloutState::Progressing));
    }
    restart(&mut world);
    assert_eq!(rollout(&world).message.as_deref(), Some("v2 lost its readiness 3 times in 2m"));
}

#[test]
fn of_very_many_pods_a_tenth_may_relapse() {
    let mut world = promoting(40, STEPS);
    for _ in 0..3 {
        relapse(&mut world, 1);
    }
    assert_eq!(rollout(&world).state, RolloutState::Progressing);
    relapse(&mut world, 1);
    assert_eq!(rollout(&world).state, RolloutState::Aborted);
}

#[test]
fn pods_that_follow_each_other_are_one_relapse_until_all_are_ready_again() {
    let mut world = promoting(5, STEPS);
    for pods in 1..=4 {
        world.pods.insert("v2".into(), Pods::Unready(pods, world.now));
        world.settle();
        world.pass(2);
    }
    assert_eq!(rollout(&world).relapses["v2"].count, 1);
    assert!(!world.reconcile(), "nothing is written while it lasts");
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    assert!(!rollout(&world).relapses["v2"].down);
    relapse(&mut world, 1);
    assert_eq!(rollout(&world).relapses["v2"].count, 2);
}

#[test]
fn pods_that_are_replaced_have_lost_nothing() {
    let mut world = promoting(3, STEPS);
    for _ in 0..4 {
        world.pods.insert("v2".into(), Pods::Ready(2));
        world.settle();
        world.pass(20);
        world.pods.insert("v2".into(), Pods::Healthy);
        world.settle();
    }
    assert_eq!((rollout(&world).state, rollout(&world).relapses.len()), (RolloutState::Progressing, 0));
}

#[test]
fn what_came_before_the_first_step_does_not_count() {
    let mut world = World::new(&service_of("v1=100", 20, STEPS));
    world.settle();
    world.pods.insert("v2".into(), Pods::Ready(19));
    world.edit(&service_of("v1=0 v2=100", 20, STEPS));
    world.settle();
    for _ in 0..4 {
        world.pass(10);
        restart(&mut world);
        for pods in [Pods::Unready(1, world.now), Pods::Ready(19)] {
            world.pods.insert("v2".into(), pods);
            world.settle();
        }
    }
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    assert_eq!((world.routed().as_str(), rollout(&world).relapses.len()), ("v1=95 v2=5", 0));
}

#[test]
fn ten_minutes_without_one_forget_the_others() {
    let mut world = promoting(3, STEPS);
    for _ in 0..2 {
        relapse(&mut world, 1);
    }
    world.pass(600);
    for _ in 0..2 {
        relapse(&mut world, 1);
    }
    assert_eq!((rollout(&world).state, rollout(&world).relapses["v2"].count), (RolloutState::Progressing, 2));
    relapse(&mut world, 1);
    assert_eq!(rollout(&world).state, RolloutState::Aborted);
}

#[test]
fn a_retry_counts_anew() {
    let mut world = promoting(3, STEPS);
    for _ in 0..3 {
        relapse(&mut world, 1);
    }
    assert_eq!(rollout(&world).state, RolloutState::Aborted);
    world.pass(30);
    assert!(world.ask(Verb::Retry).is_ok());
    assert_eq!(world.routed(), "v1=95 v2=5");
    for _ in 0..2 {
        relapse(&mut world, 1);
        assert_eq!(rollout(&world).state, RolloutState::Progressing);
    }
    relapse(&mut world, 1);
    assert_eq!(rollout(&world).state, RolloutState::Aborted);
}

#[test]
fn with_pause_a_promotion_goes_on_and_counts_anew() {
    let mut world = promoting(3, &STEPS.replace("{steps", "{onFailure: Pause, steps"));
    for _ in 0..3 {
        relapse(&mut world, 1);
    }
    assert_eq!((world.routed().as_str(), rollout(&world).state), ("v1=95 v2=5", RolloutState::Paused));
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!(world.routed(), "v1=50 v2=50");
    relapse(&mut world, 1);
    assert_eq!(rollout(&world).relapses["v2"].count, 1);
}

#[test]
fn a_failure_in_a_pause_of_the_policy_is_told() {
    let mut world = promoting(3, "{onFailure: Pause, steps: [{weight: 5}, {pause: {}}, {weight: 50}, {pause: {}}]}");
    assert_eq!((rollout(&world).state, rollout(&world).message.as_deref()), (RolloutState::Paused, None));
    for _ in 0..3 {
        relapse(&mut world, 1);
    }
    assert_eq!(rollout(&world).state, RolloutState::Paused);
    let message = rollout(&world).message.clone().unwrap_or_default();
    assert!(message.starts_with("v2 lost its readiness 3 times"), "{message}");
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!(world.routed(), "v1=50 v2=50");
}

#[test]
fn a_relapse_is_counted_once_although_the_operator_dies_before_it_is_written() {
    let mut world = promoting(3, STEPS);
    relapse(&mut world, 1);
    world.pass(10);
    world.pods.insert("v2".into(), Pods::Unready(1, world.now));
    let before = world.microservice.status.clone();
    world.reconcile();
    world.microservice.status = before;
    world.settle();
    assert_eq!(rollout(&world).relapses["v2"].count, 2);
    world.settle();
    assert_eq!(rollout(&world).relapses["v2"].count, 2);
}

#[test]
fn the_end_of_the_rollout_forgets_them() {
    let mut world = promoting(3, "{steps: [{weight: 5}, {pause: {duration: 5m}}]}");
    relapse(&mut world, 1);
    world.pass(300);
    assert_eq!((world.routed().as_str(), rollout(&world).relapses.len()), ("v2=100", 0));
}
