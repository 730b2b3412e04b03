//! How a rollout policy moves the weights, step by step, in a world made of data.

use crate::{
    read::{rollout, service_of, told},
    world::{Pods, World},
};
use microservice_operator::{
    api::{RolloutState, Verb},
    plan::object::Kind,
};

pub const STEPS: &str = "{steps: [{weight: 5}, {pause: {duration: 60s}}, {weight: 50}, {pause: {}}]}";

/// A service with three pods a version: `v1=90 v2=10`.
pub fn service(versions: &str, rollout: &str) -> String {
    service_of(versions, 3, rollout)
}

/// A service that has long been at `v1=100`, with v2 at its side.
pub fn running() -> World {
    let mut world = World::new(&service("v1=100 v2=0", STEPS));
    world.settle();
    world.pass(600);
    assert_eq!(world.routed(), "v1=100");
    assert_eq!(world.condition("Ready").0, "True");
    world
}

/// The same, with v2 on its way.
pub fn promoting() -> World {
    let mut world = running();
    world.edit(&service("v1=0 v2=100", STEPS));
    world.settle();
    assert_eq!(world.routed(), "v1=95 v2=5");
    world
}

/// At `v1=95 v2=5`, on the way to 50, for which v2 misses a pod.
pub fn waiting_in_a_step(policy: &str) -> World {
    let mut world = running();
    world.edit(&service("v1=0 v2=100", policy));
    world.settle();
    world.pods.insert("v2".into(), Pods::Ready(2));
    world.settle();
    world.pass(60);
    assert_eq!((world.routed().as_str(), rollout(&world).step), ("v1=95 v2=5", 2));
    world
}

#[test]
fn each_weight_costs_one_write_of_the_route_and_one_of_the_status() {
    let mut world = promoting();
    world.pass(59);
    let written =
        |world: &World| world.object(Kind::VirtualService, "order-service")["metadata"]["resourceVersion"].clone();
    let before = (written(&world), world.status().clone());
    world.now = world.now.checked_add(jiff::SignedDuration::from_secs(1)).unwrap();
    assert!(world.reconcile());
    assert_ne!(written(&world), before.0);
    let after = (written(&world), world.status().clone());
    assert_ne!(after.1, before.1);
    assert!(!world.reconcile(), "the step was counted with the write that reached it");
    assert_eq!((written(&world), world.status().clone()), after);
}

#[test]
fn a_first_deployment_goes_without_steps() {
    let mut world = World::new(&service("v1=60 v2=40", STEPS));
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), "v1=60 v2=40");
    assert_eq!(world.condition("Promoted").0, "True");
    assert_eq!(told(&world, "RolloutStarted"), 0);
}

/// It never had its weight, and v1 stands in for it: nothing is raised only to be lowered by the next step.
#[test]
fn a_rollout_begins_where_the_weights_are_though_a_version_gets_ready_late() {
    let mut world = World::new(&service("v1=90 v2=10", STEPS));
    world.pods.insert("v2".into(), Pods::Ready(0));
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), "v1=100");
    world.pods.insert("v3".into(), Pods::Ready(0));
    world.edit(&service("v1=0 v2=0 v3=100", STEPS));
    world.settle();
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), "v1=100", "v2 is to get nothing any more");
    world.pods.insert("v3".into(), Pods::Healthy);
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), "v1=95 v3=5");
    world.ask(Verb::Abort).unwrap();
    world.settle();
    assert_eq!(world.routed(), "v1=90 v2=10", "it goes back to what the spec asked for before");
}

/// 5 % of the way to 10 % is half a percent: rounded to none, the step would try nothing, and its analysis find nothing.
#[test]
fn each_step_gives_some_requests_to_whoever_is_raised() {
    let policy = "{steps: [{weight: 5}, {pause: {}}, {weight: 50}]}";
    let mut world = World::new(&service("v1=100 v2=0 v3=0", policy));
    world.settle();
    world.pass(600);
    world.edit(&service("v1=90 v2=9 v3=1", policy));
    world.settle();
    assert_eq!(world.routed(), "v1=98 v2=1 v3=1");
}

#[test]
fn the_first_step_waits_for_all_pods() {
    let mut world = running();
    world.pods.insert("v3".into(), Pods::Ready(2));
    world.edit(&service("v1=0 v3=100", STEPS));
    world.settle();
    world.pass(30);
    assert_eq!(world.routed(), "v1=100");
    assert_eq!(rollout(&world).step_since, None);
    world.pods.insert("v3".into(), Pods::Healthy);
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), "v1=95 v3=5");
}

#[test]
fn pods_that_do_not_get_ready_in_time_end_the_rollout() {
    let mut world = running();
    world.pods.insert("v3".into(), Pods::Broken("ImagePullBackOff"));
    world.edit(&service("v1=0 v3=100", &STEPS.replace("{steps", "{progressDeadline: 2m, steps")));
    world.settle();
    world.pass(119);
    assert_eq!(rollout(&world).state, RolloutState::Progressing);
    world.pass(1);
    assert_eq!(rollout(&world).state, RolloutState::Aborted);
    let message = world.condition("Promoted").2;
    assert_eq!(
        message,
        "the step was not reached within 2m: v3 is not ready: ImagePullBackOff on registry.example/order-service:2.0.0"
    );
}

#[test]
fn a_pause_does_not_count_towards_the_deadline() {
    let mut world = running();
    world.edit(&service("v1=0 v2=100", "{progressDeadline: 30s, steps: [{weight: 5}, {pause: {duration: 10m}}]}"));
    world.settle();
    world.pass(599);
    assert_eq!(world.routed(), "v1=95 v2=5");
    world.pass(1);
    assert_eq!(world.routed(), "v2=100");
}

#[test]
fn a_step_that_nobody_could_take_is_not_what_the_version_fails_by() {
    let mut world = waiting_in_a_step(&STEPS.replace("{steps", "{progressDeadline: 2m, steps"));
    world.pods.insert("v2".into(), Pods::Healthy);
    world.now += jiff::SignedDuration::from_mins(15);
    world.settle();
    assert_eq!(rollout(&world).state, RolloutState::Paused, "{:?}", world.status());
    assert_eq!(world.routed(), "v1=50 v2=50", "after an outage it goes on");
}

#[test]
fn another_version_on_the_way_starts_from_the_stable_weights() {
    let mut world = promoting();
    world.pass(60);
    assert_eq!(world.routed(), "v1=50 v2=50");
    world.edit(&service("v1=0 v2=0 v3=100", STEPS));
    world.settle();
    assert_eq!(world.routed(), "v1=100", "what v2 had goes back first");
    assert_eq!(told(&world, "RolloutSuperseded"), 1);
    world.pass(5);
    assert_eq!(world.routed(), "v1=95 v3=5");
    assert_eq!(rollout(&world).stable, [("v1".to_owned(), 100)].into());
}

#[test]
fn going_back_is_at_once_at_every_step() {
    for seconds in [0, 30, 60, 61] {
        let mut world = promoting();
        world.pass(seconds);
        world.edit(&service("v1=100 v2=0", STEPS));
        world.settle();
        assert_eq!(world.routed(), "v1=100", "after {seconds} s");
        assert_eq!(rollout(&world).state, RolloutState::Completed);
        assert_eq!(world.condition("Ready").0, "True");
    }
}

#[test]
fn the_short_form_walks_by_equal_steps_up_to_its_largest() {
    let mut world = World::new(&service("v1=100 v2=0", "{stepWeight: 20, interval: 10s, maxWeight: 50}"));
    world.settle();
    world.pass(600);
    world.edit(&service("v1=0 v2=100", "{stepWeight: 20, interval: 10s, maxWeight: 50}"));
    world.settle();
    let mut seen = vec![world.routed()];
    for _ in 0..3 {
        world.pass(10);
        seen.push(world.routed());
    }
    assert_eq!(seen, ["v1=80 v2=20", "v1=60 v2=40", "v1=50 v2=50", "v2=100"]);
}

#[test]
fn without_a_mesh_nothing_is_walked() {
    let plain =
        |versions: &str| service(versions, STEPS).replace("replicas: 3", "traffic: {provider: None}, replicas: 3");
    let mut world = World::new(&plain("v1=100 v2=0"));
    world.settle();
    world.edit(&plain("v1=0 v2=100"));
    world.settle();
    world.pass(5);
    assert_eq!(world.pinned().as_deref(), Some("v2"));
    assert_eq!(world.status().rollout, None);
}

#[test]
fn taking_the_policy_away_lets_the_weights_travel_at_once() {
    let mut world = promoting();
    let text = service("v1=0 v2=100", STEPS);
    world.edit(&text.replace(&format!(", rollout: {STEPS}"), ""));
    world.settle();
    assert_eq!(world.routed(), "v2=100");
    assert_eq!(world.status().rollout, None);
}

#[test]
fn a_version_that_a_route_asks_for_keeps_its_pods() {
    let policy = STEPS.replace("{steps", "{scaleDownDelay: 1m, steps");
    let route = "routes: [{name: testers, match: [{headers: {x-tester: {exact: 'yes'}}}], version: v2}]";
    let text = service("v1=100 v2=0", &policy).replace("replicas: 3", &format!("{route}, replicas: 3"));
    let mut world = World::new(&text);
    world.settle();
    world.pass(3_600);
    assert_eq!(world.replicas("v2"), 3);
}

#[test]
fn a_step_that_took_too_long_keeps_the_weights_when_the_pods_come() {
    let mut world = waiting_in_a_step(&STEPS.replace("{steps", "{progressDeadline: 2m, onFailure: Pause, steps"));
    world.pass(120);
    assert_eq!(rollout(&world).state, RolloutState::Paused);
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    assert_eq!(world.routed(), "v1=95 v2=5");
}

#[test]
fn a_version_that_came_back_before_a_crash_leaves_the_mesh_before_its_pods_go() {
    let mut world = running();
    world.edit(&service("v1=100", STEPS));
    world.settle();
    assert_eq!(world.subsets(), ["v1"], "it never had weight and need not drain");
    world.edit(&service("v1=100 v2=0", STEPS));
    let before = world.microservice.status.clone();
    world.reconcile();
    assert_eq!(world.subsets(), ["v1", "v2"]);
    world.microservice.status = before;
    world.now = world.now.checked_add(jiff::SignedDuration::from_secs(60)).unwrap();
    world.edit(&service("v1=100", STEPS));
    world.reconcile();
    assert_eq!(world.subsets(), ["v1"]);
    assert!(world.has(Kind::Deployment, "order-service-v2"), "the mesh has not forgotten it yet");
    world.pass(5);
    assert!(!world.has(Kind::Deployment, "order-service-v2"));
}

#[test]
fn where_a_rollout_begins_outlives_a_status_that_was_lost() {
    let without = service("v1=100 v2=0", STEPS).replace(&format!(", rollout: {STEPS}"), "");
    let mut world = World::new(&without);
    world.settle();
    world.pass(600);
    world.edit(&service("v1=0 v2=100", STEPS));
    let before = world.microservice.status.clone();
    world.reconcile();
    world.microservice.status = before;
    world.settle();
    assert_eq!(world.routed(), "v1=95 v2=5");
    assert_eq!(rollout(&world).stable, [("v1".to_owned(), 100)].into());
}

/// As many of the new steps as were walked ask for something else: they are walked from the first one on, from here.
#[test]
fn steps_that_are_edited_on_the_way_promote_nothing() {
    for (steps, routed, step, done) in [
        ("[{weight: 20}, {pause: {}}]", "v1=40 v2=60", 1, "1/2"),
        ("[{weight: 5}, {pause: {}}, {weight: 5}, {weight: 50}, {pause: {}}]", "v1=50 v2=50", 4, "4/5"),
        ("[{pause: {}}]", "v1=50 v2=50", 0, "0/1"),
        ("[{weight: 5}, {pause: {}}, {weight: 50}, {pause: {}}, {weight: 80}, {pause: {}}]", "v1=50 v2=50", 3, "3/6"),
        ("[{weight: 1}, {pause: {}}, {weight: 50}, {pause: {}}]", "v1=50 v2=50", 3, "3/4"),
    ] {
        let mut world = promoting();
        world.pass(60);
        assert_eq!((world.routed().as_str(), rollout(&world).state), ("v1=50 v2=50", RolloutState::Paused));
        world.edit(&service("v1=0 v2=100", &format!("{{steps: {steps}}}")));
        world.settle();
        world.pass(600);
        assert_eq!(world.routed(), routed, "{steps}");
        let there = rollout(&world);
        assert_eq!(
            (there.state, there.step, there.progress.as_deref()),
            (RolloutState::Paused, step, Some(done)),
            "{steps}"
        );
        assert!(world.ask(Verb::Abort).is_ok());
        assert_eq!(world.routed(), "v1=100", "{steps}: back to the weights before the rollout");
    }
}

#[test]
fn steps_that_are_taken_out_before_the_current_one_skip_no_pause() {
    for (before, after, step) in [
        (
            "[{scale: {replicas: 1}}, {weight: 5}, {pause: {}}, {pause: {duration: 1m}}, {weight: 50}]",
            "[{weight: 5}, {pause: {}}, {pause: {duration: 1m}}, {weight: 50}]",
            1,
        ),
        (
            "[{weight: 5}, {pause: {duration: 1s}}, {pause: {}}, {pause: {duration: 1m}}, {weight: 50}]",
            "[{weight: 5}, {pause: {}}, {pause: {duration: 1m}}, {weight: 50}]",
            1,
        ),
        (
            "[{weight: 5}, {mirror: {percent: 10}}, {pause: {}}, {weight: 50}]",
            "[{weight: 5}, {pause: {}}, {pause: {}}, {weight: 50}]",
            1,
        ),
    ] {
        let mut world = running();
        world.edit(&service("v1=0 v2=100", &format!("{{steps: {before}}}")));
        world.settle();
        world.pass(60);
        assert_eq!((rollout(&world).state, rollout(&world).step), (RolloutState::Paused, 2), "{before}");
        world.edit(&service("v1=0 v2=100", &format!("{{steps: {after}}}")));
        world.settle();
        world.pass(3_600);
        assert_eq!((rollout(&world).state, rollout(&world).step), (RolloutState::Paused, step), "{after}");
        assert_eq!(world.routed(), "v1=95 v2=5", "{after}");
    }
}

#[test]
fn steps_that_are_edited_while_another_version_stands_in_are_walked_from_where_it_was() {
    let mut world = promoting();
    world.pods.insert("v1".into(), Pods::Broken("CrashLoopBackOff"));
    world.settle();
    assert_eq!(world.routed(), "v2=100", "what serves takes over");
    world.edit(&service("v1=0 v2=100", "{steps: [{weight: 2}, {pause: {}}]}"));
    world.settle();
    world.pods.insert("v1".into(), Pods::Healthy);
    world.settle();
    world.pass(600);
    assert_eq!(world.routed(), "v1=93 v2=7", "2 % of the way from 5 to 100");
    assert_eq!(rollout(&world).state, RolloutState::Paused);
}

#[test]
fn a_pause_of_the_policy_that_a_person_wants_as_well_stays_one() {
    let mut world = promoting();
    world.pass(60);
    assert_eq!(rollout(&world).state, RolloutState::Paused);
    assert!(world.ask(Verb::Pause).is_ok());
    assert_eq!(rollout(&world).message.as_deref(), Some("paused by mia"));
    world.edit(&service("v1=0 v2=100", &STEPS.replace("{pause: {}}", "{pause: {duration: 30s}}")));
    world.settle();
    world.pass(3_600);
    assert_eq!((world.routed().as_str(), rollout(&world).state), ("v1=50 v2=50", RolloutState::Paused));
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!(world.routed(), "v2=100");
}

#[test]
fn steps_that_are_edited_after_a_full_promotion_hold_nothing_up() {
    let mut world = waiting_in_a_step(STEPS);
    assert!(world.ask(Verb::PromoteFull).is_ok());
    world.edit(&service(
        "v1=0 v2=100",
        "{steps: [{weight: 1}, {pause: {}}, {weight: 2}, {pause: {}}, {weight: 3}, {pause: {}}]}",
    ));
    world.settle();
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    world.pass(5);
    assert_eq!((world.routed().as_str(), rollout(&world).state), ("v2=100", RolloutState::Completed));
}

#[test]
fn steps_that_are_edited_while_a_person_pauses_take_that_back_as_little() {
    let mut world = promoting();
    assert!(world.ask(Verb::Pause).is_ok());
    world.edit(&service("v1=0 v2=100", "{steps: [{weight: 20}, {weight: 50}, {pause: {}}]}"));
    world.settle();
    world.pass(600);
    assert_eq!((world.routed().as_str(), rollout(&world).state), ("v1=95 v2=5", RolloutState::Paused));
    assert_eq!(rollout(&world).message.as_deref(), Some("paused by mia"));
    assert!(world.ask(Verb::Promote).is_ok());
    world.settle();
    assert_eq!(world.routed(), "v1=48 v2=52", "by the new steps, from where it was");
}

#[test]
fn a_pause_that_is_given_an_end_on_the_way_ends() {
    let mut world = promoting();
    world.pass(60);
    assert_eq!(rollout(&world).state, RolloutState::Paused);
    world.edit(&service("v1=0 v2=100", &STEPS.replace("{pause: {}}", "{pause: {duration: 30s}}")));
    world.settle();
    assert_eq!(rollout(&world).state, RolloutState::Progressing);
    world.pass(29);
    assert_eq!(world.routed(), "v1=50 v2=50");
    world.pass(1);
    assert_eq!(world.routed(), "v2=100");
}

#[test]
fn a_service_at_zero_for_a_night_fails_in_no_step() {
    let steps = "{steps: [{scale: {replicas: 1}}, {pause: {}}, {weight: 10}, {pause: {}}]}";
    let mut world = World::new(&service("v1=100 v2=0", steps));
    world.settle();
    world.pass(600);
    world.edit(&service("v1=0 v2=100", steps));
    world.settle();
    world.pass(60);
    assert_eq!(rollout(&world).state, RolloutState::Paused);
    let asleep = service("v1=0 v2=100", steps).replace("replicas: 3", "replicas: 0");
    world.edit(&asleep);
    world.settle();
    world.pass(3_600);
    assert_eq!(rollout(&world).state, RolloutState::Paused, "{:?}", rollout(&world).message);

    world.pods.insert("v2".into(), Pods::Ready(0));
    world.edit(&service("v1=0 v2=100", steps));
    world.settle();
    world.pass(30);
    assert_eq!(
        rollout(&world).state,
        RolloutState::Paused,
        "in the morning its pods come up: {:?}",
        rollout(&world).message
    );
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    world.pods.insert("v2".into(), Pods::Broken("Error"));
    world.settle();
    assert_eq!(rollout(&world).state, RolloutState::Aborted);
}

#[test]
fn an_undone_rollout_says_that_it_is_on_its_way_back_until_it_is_there() {
    let mut world = running();
    world.edit(&service("v1=0 v2=100", "{steps: [{weight: 5}]}"));
    world.settle();
    world.pass(600);
    assert_eq!((world.routed().as_str(), rollout(&world).state), ("v2=100", RolloutState::Completed));
    world.pods.insert("v1".into(), Pods::Ready(0));
    world.settle();
    assert!(world.ask(Verb::Undo).is_ok());
    let (_, _, message) = world.condition("Ready");
    assert!(message.starts_with("rolling back: undone by mia; waits until v1 can take its requests"), "{message}");
    world.pods.insert("v1".into(), Pods::Healthy);
    world.settle();
    world.pass(60);
    assert_eq!(world.routed(), "v1=100");
    assert!(world.condition("Ready").2.starts_with("rolled back: undone by mia"), "{}", world.condition("Ready").2);
}

/// A policy that pauses at 60 %.
pub const SIXTY: &str = "{steps: [{weight: 60}, {pause: {}}]}";

/// A service on its way from some weights to others, where the policy pauses.
pub fn on_the_way(from: &str, to: &str, policy: &str) -> World {
    let mut world = World::new(&service(from, policy));
    world.settle();
    world.pass(600);
    world.edit(&service(to, policy));
    world.settle();
    world
}

/// A service that pauses half the way from some weights to others.
fn halfway(from: &str, to: &str) -> World {
    let mut world = on_the_way(from, to, "{steps: [{weight: 50}, {pause: {}}]}");
    world.pass(5);
    assert_eq!(world.routed(), "v1=50 v2=50");
    world
}

#[test]
fn weights_that_are_lowered_on_the_way_are_in_force_at_the_end() {
    let mut world = halfway("v1=100 v2=0", "v1=0 v2=100");
    world.pods.insert("v1".into(), Pods::Ready(2));
    world.settle();
    world.edit(&service("v1=80 v2=20", "{steps: [{weight: 50}]}"));
    world.settle();
    world.pass(60);
    assert_eq!((world.routed().as_str(), rollout(&world).state), ("v1=50 v2=50", RolloutState::Progressing));
    world.pods.insert("v1".into(), Pods::Healthy);
    world.settle();
    world.pass(60);
    assert_eq!((world.routed().as_str(), rollout(&world).state), ("v1=80 v2=20", RolloutState::Completed));
}

#[test]
fn a_version_that_is_lowered_waits_for_no_sick_one_on_its_way_out() {
    let mut world = halfway("v1=100 v2=0 v3=0", "v1=0 v2=100 v3=0");
    world.edit(&service("v1=0 v2=20 v3=80", "{steps: [{weight: 5}, {weight: 50}]}"));
    world.settle();
    world.pods.insert("v1".into(), Pods::Broken("Error"));
    world.settle();
    world.pass(60);
    assert_eq!((world.routed().as_str(), rollout(&world).state), ("v2=20 v3=80", RolloutState::Completed));
}

/// v2 stands in for v1, or has all by a step, and gets other pods: nobody has walked there.
#[test]
fn what_is_changed_while_it_has_all_requests_starts_from_before() {
    let changed = |policy: &str| service("v1=0 v2=100", policy).replace("x:v2", "x:v2-other");
    for aborted in [false, true] {
        let mut world = promoting();
        if aborted {
            assert!(world.ask(Verb::Abort).is_ok());
        }
        world.pods.insert("v1".into(), Pods::Broken("OOMKilled"));
        world.settle();
        assert_eq!(world.routed(), "v2=100");
        world.edit(&changed(STEPS));
        world.settle();
        world.pods.insert("v1".into(), Pods::Healthy);
        world.settle();
        world.pass(50);
        assert_eq!((world.routed().as_str(), rollout(&world).state), ("v1=95 v2=5", RolloutState::Progressing));
    }
    let bake = "{steps: [{weight: 5}, {weight: 100}, {pause: {duration: 1h}}]}";
    let mut world = running();
    world.edit(&service("v1=0 v2=100", bake));
    world.settle();
    world.pass(60);
    assert_eq!((world.routed().as_str(), rollout(&world).state), ("v2=100", RolloutState::Progressing));
    world.edit(&changed(bake));
    world.settle();
    assert_eq!(rollout(&world).state, RolloutState::Progressing, "it is not promoted by that");
}

/// An autoscaler changes the size every few minutes, and each time the version is not complete for a moment.
#[test]
fn another_size_leaves_a_version_proven() {
    let mut world = running();
    world.edit(&service("v1=0 v2=100", "{steps: [{weight: 50}]}"));
    world.settle();
    world.pass(60);
    assert_eq!(world.routed(), "v2=100");
    for replicas in 4..=8 {
        let size = format!("replicas: {replicas}");
        world.edit(&service("v1=0 v2=100", "{steps: [{weight: 50}]}").replace("replicas: 3", &size));
        world.pass(300);
    }
    world.crashes.insert("v2".into(), world.now);
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), "v2=100", "one pod of eight has restarted once");
}

/// The kubelet's restarts have doubled its hold-out, and it has been well for long since.
#[test]
fn no_deadline_counts_for_a_mended_version_that_is_held_out() {
    let policy = "{progressDeadline: 2m, steps: [{weight: 10}, {pause: {}}]}";
    let held_out = || {
        let mut world = running();
        world.edit(&service("v1=0 v2=100", policy));
        world.settle();
        world.pass(5);
        assert_eq!(world.routed(), "v1=90 v2=10");
        for seconds in [0, 20, 40, 80, 160] {
            world.pass(seconds);
            world.crashes.insert("v2".into(), world.now);
            world.settle();
        }
        world.edit(&service("v1=0 v2=100", policy).replace("x:v2", "x:v2-fixed"));
        world.settle();
        world
    };
    let mut world = held_out();
    world.pass(600);
    assert_eq!((world.routed().as_str(), rollout(&world).state), ("v1=90 v2=10", RolloutState::Paused));
    let mut flapping = held_out();
    flapping.pass(100);
    flapping.crashes.insert("v2".into(), flapping.now);
    flapping.settle();
    flapping.pass(30);
    assert_eq!(rollout(&flapping).state, RolloutState::Aborted, "what restarts again is not mended");
}

/// What it was given for v1 is no part of its way.
#[test]
fn weights_that_are_edited_while_a_version_stands_in_are_walked_to_from_where_the_steps_were() {
    let stands_in = |mut world: World, weights: &str| {
        world.pods.insert("v1".into(), Pods::Broken("OOMKilled"));
        world.settle();
        assert_eq!(world.routed(), "v2=100");
        world.edit(&service(weights, STEPS));
        world.settle();
        world.pods.insert("v1".into(), Pods::Healthy);
        world.settle();
        world.pass(50);
        world.routed()
    };
    assert_eq!(stands_in(promoting(), "v1=20 v2=80"), "v1=91 v2=9", "5 % of the way from 5 to 80");

    let mut world = World::new(&service("v1=50 v2=50", STEPS));
    world.settle();
    world.pass(600);
    assert_eq!(stands_in(world, "v1=40 v2=60"), "v1=49 v2=51", "a step raises by one at least");
}
