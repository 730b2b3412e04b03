//! How a rollout policy moves the weights, step by step, in a world made of data.

use crate::world::{Pods, World};
use microservice_operator::{
    api::{RolloutState, RolloutStatus, Verb},
    plan::{object::Kind, rollout::orders::Order},
};

const STEPS: &str = "{steps: [{weight: 5}, {pause: {duration: 60s}}, {weight: 50}, {pause: {}}]}";

/// A service with three pods a version: `v1=90 v2=10`.
fn service(versions: &str, rollout: &str) -> String {
    let versions: Vec<String> = versions
        .split_whitespace()
        .map(|version| {
            let (name, weight) = version.split_once('=').unwrap();
            format!("{{name: {name}, image: 'x:{name}', weight: {weight}}}")
        })
        .collect();
    format!(
        "{{ports: [{{name: http, port: 80}}], replicas: 3, versions: [{}], rollout: {rollout}}}",
        versions.join(", ")
    )
}

/// A service that has long been at `v1=100`, with v2 at its side.
fn running() -> World {
    let mut world = World::new(&service("v1=100 v2=0", STEPS));
    world.settle();
    world.pass(600);
    assert_eq!(world.routed(), "v1=100");
    assert_eq!(world.condition("Ready").0, "True");
    world
}

/// The same, with v2 on its way.
fn promoting() -> World {
    let mut world = running();
    world.edit(&service("v1=0 v2=100", STEPS));
    world.settle();
    assert_eq!(world.routed(), "v1=95 v2=5");
    world
}

fn rollout(world: &World) -> &RolloutStatus {
    world.status().rollout.as_ref().expect("a rollout in the status")
}

fn told(world: &World, reason: &str) -> usize {
    world.notices.iter().filter(|notice| notice.reason == reason).count()
}

#[test]
fn a_good_version_walks_the_steps_and_is_promoted() {
    let mut world = promoting();
    let (promoted, reason, _) = world.condition("Promoted");
    assert_eq!((promoted.as_str(), reason.as_str()), ("False", "RolloutProgressing"));
    assert_eq!(rollout(&world).progress.as_deref(), Some("1/4"));
    assert_eq!(
        world.status().message.as_deref(),
        Some("step 2 of 4 of the rollout pauses until 00:11:00 UTC; traffic stays at v1 95, v2 5")
    );
    world.pass(59);
    assert_eq!(world.routed(), "v1=95 v2=5");
    world.pass(1);
    assert_eq!(world.routed(), "v1=50 v2=50");
    assert_eq!(world.condition("Paused").0, "True");
    world.pass(36_000);
    assert_eq!(world.routed(), "v1=50 v2=50", "a pause without an end waits for a person");
    assert_eq!(
        world.status().message.as_deref(),
        Some(
            "step 4 of 4 of the rollout waits for a promotion; traffic stays at v1 50, v2 50; go on with: \
             kubectl ms promote order-service, or: kubectl ms abort order-service"
        )
    );
    assert_eq!(world.ask(Verb::Promote), Ok("the rollout goes on".into()));
    assert_eq!(world.routed(), "v2=100");
    assert_eq!(rollout(&world).state, RolloutState::Completed);
    for condition in ["Ready", "Promoted"] {
        assert_eq!(world.condition(condition).0, "True", "{condition}");
    }
    assert_eq!(world.condition("Paused").0, "False");
    for reason in ["RolloutStarted", "RolloutPaused", "RolloutCompleted"] {
        assert_eq!(told(&world, reason), 1, "{reason}");
    }
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
fn a_version_that_fails_is_rolled_back_and_stays_so() {
    let mut world = promoting();
    world.crashes.insert("v2".into(), world.now);
    world.settle();
    assert_eq!(world.routed(), "v1=100");
    let (promoted, reason, message) = world.condition("Promoted");
    assert_eq!((promoted.as_str(), reason.as_str()), ("False", "RolloutAborted"));
    assert!(message.starts_with("v2 cannot serve: its pods restart"), "{message}");
    assert_eq!(world.condition("Available").0, "True", "its users are well");
    assert_eq!(world.condition("Stalled").0, "True");
    let message = world.status().message.clone().unwrap();
    assert!(message.starts_with("rolled back: v2 cannot serve"), "{message}");
    assert!(message.ends_with("traffic stays at v1 100; change the spec, or: kubectl ms retry order-service"));
    assert_eq!(told(&world, "RolloutAborted"), 1);
    world.pass(36_000);
    assert_eq!(world.routed(), "v1=100", "nothing tries again by itself");
    assert_eq!(world.ask(Verb::Retry), Ok("the rollout starts again with its first step".into()));
    assert_eq!(world.routed(), "v1=95 v2=5");
}

#[test]
fn a_failure_may_pause_instead() {
    let mut world = running();
    let steps = STEPS.replace("{steps", "{onFailure: Pause, steps");
    world.edit(&service("v1=0 v2=100", &steps));
    world.settle();
    world.pods.insert("v2".into(), Pods::Broken("CrashLoopBackOff"));
    world.settle();
    assert_eq!(world.routed(), "v1=100", "a version that cannot serve gets nothing all the same");
    assert_eq!(world.condition("Paused").0, "True");
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    world.pass(60);
    assert_eq!(world.routed(), "v1=95 v2=5", "the weights stay where the step had them");
    assert_eq!(rollout(&world).state, RolloutState::Paused);
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!(world.routed(), "v1=50 v2=50");
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
fn weights_edited_on_the_way_are_walked_to_from_where_it_is() {
    let mut world = promoting();
    world.pass(60);
    assert_eq!(world.routed(), "v1=50 v2=50");
    world.edit(&service("v1=10 v2=90", STEPS));
    world.settle();
    assert_eq!(world.routed(), "v1=48 v2=52", "5 % of the way from 50 to 90");
    assert_eq!(rollout(&world).stable, [("v1".to_owned(), 100)].into(), "an abort still goes back to the beginning");
    assert!(world.ask(Verb::Abort).is_ok());
    assert_eq!(world.routed(), "v1=100");
}

#[test]
fn sizes_neither_restart_nor_retry_a_rollout() {
    let mut world = promoting();
    let before = rollout(&world).clone();
    world.edit(&service("v1=0 v2=100", STEPS).replace("replicas: 3", "replicas: 5"));
    world.settle();
    assert_eq!((&rollout(&world).target, rollout(&world).step), (&before.target, before.step));
    assert!(world.ask(Verb::Abort).is_ok());
    world.edit(&service("v1=0 v2=100", STEPS).replace("replicas: 3", "replicas: 6"));
    world.settle();
    assert_eq!(rollout(&world).state, RolloutState::Aborted);
    world.edit(&service("v1=0 v2=100", STEPS).replace("x:v2", "x:v2-fixed"));
    world.settle();
    assert_eq!(world.routed(), "v1=95 v2=5", "another image is another rollout");
}

#[test]
fn a_completed_rollout_can_be_undone() {
    let mut world = promoting();
    assert!(world.ask(Verb::PromoteFull).is_ok());
    assert_eq!(world.routed(), "v2=100");
    assert!(world.ask(Verb::Undo).is_ok());
    assert_eq!(world.routed(), "v1=100");
    assert_eq!(rollout(&world).message.as_deref(), Some("undone by mia"));
    assert!(world.ask(Verb::Retry).is_ok());
    assert_eq!(world.routed(), "v1=95 v2=5");
}

#[test]
fn a_sick_stable_version_does_not_hold_its_successor_up() {
    let mut world = promoting();
    world.pods.insert("v1".into(), Pods::Broken("CrashLoopBackOff"));
    world.settle();
    assert_eq!(world.routed(), "v2=100");
    world.pass(60);
    assert_eq!(world.condition("Paused").0, "True", "the steps go on");
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!(rollout(&world).state, RolloutState::Completed);
}

#[test]
fn a_removed_version_keeps_its_share_until_the_steps_take_it() {
    let mut world = World::new(&service("v1=100", STEPS));
    world.settle();
    world.edit(&service("v2=100", STEPS));
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), "v2=5 v1=95");
    assert!(world.ask(Verb::Abort).is_ok());
    assert_eq!(world.routed(), "v1=100");
    world.pass(3_600);
    assert!(world.has(Kind::Deployment, "order-service-v1"), "what serves is not removed");
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
fn orders_are_about_what_their_author_saw() {
    let mut world = promoting();
    let order = |uid: &str, target: Option<&str>, step: Option<i32>| Order {
        uid: uid.into(),
        name: uid.into(),
        verb: Verb::Abort,
        target: target.map(str::to_owned),
        step,
        revision: None,
        expires: None,
        actor: None,
    };
    let refused = world.order(order("a", Some("elsewhere"), None)).unwrap_err();
    assert!(refused.starts_with("the spec has changed since"), "{refused}");
    let refused = world.order(order("b", None, Some(3))).unwrap_err();
    assert_eq!(refused, "the rollout was at step 3 and is now at step 1: look again");
    let expired = Order { expires: Some(world.now), ..order("c", None, None) };
    assert_eq!(world.order(expired).unwrap_err(), "it expired before it was seen");
    assert_eq!(world.routed(), "v1=95 v2=5");
    let handled = |world: &World| rollout(world).handled.iter().map(|it| it.uid.clone()).collect::<Vec<_>>();
    assert_eq!(handled(&world), ["a", "b", "c"]);
    world.orders.clear();
    assert!(!world.reconcile(), "forgetting is no reason to write");
    assert!(world.order(order("d", None, None)).is_ok());
    assert_eq!(handled(&world), ["d"], "what is gone need not be remembered");
}

#[test]
fn a_person_may_hold_any_step() {
    let mut world = promoting();
    assert!(world.ask(Verb::Pause).is_ok());
    world.pass(3_600);
    assert_eq!(world.routed(), "v1=95 v2=5");
    assert_eq!(world.condition("Paused").2, "paused by mia");
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!(world.routed(), "v1=50 v2=50");
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
fn a_version_that_nothing_asks_for_is_scaled_down_after_the_delay_and_comes_back_first() {
    let policy = STEPS.replace("{steps", "{scaleDownDelay: 5m, steps");
    let mut world = World::new(&service("v1=100 v2=0", &policy));
    world.settle();
    world.pass(299);
    assert_eq!((world.replicas("v1"), world.replicas("v2")), (3, 3));
    world.pass(1);
    assert_eq!((world.replicas("v1"), world.replicas("v2")), (3, 0));
    assert_eq!(world.condition("Ready").0, "True");
    world.pods.insert("v2".into(), Pods::Ready(2));
    world.edit(&service("v1=0 v2=100", &policy));
    world.settle();
    assert_eq!((world.replicas("v2"), world.routed().as_str()), (3, "v1=100"), "pods come before the weight");
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    assert_eq!(world.routed(), "v1=95 v2=5");
    assert!(world.ask(Verb::PromoteFull).is_ok());
    world.pass(299);
    assert_eq!(world.replicas("v1"), 3, "not before the delay");
    world.pass(1);
    assert_eq!(world.replicas("v1"), 0);
    assert!(world.ask(Verb::Undo).is_ok());
    assert_eq!(world.replicas("v1"), 3);
    world.pass(600);
    assert_eq!((world.routed().as_str(), world.replicas("v2")), ("v1=100", 3), "what was undone waits for a retry");
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
fn a_version_that_served_again_before_a_crash_drains_anew() {
    let mut world = running();
    world.edit(&service("v2=100", STEPS));
    world.settle();
    assert!(world.ask(Verb::PromoteFull).is_ok());
    assert_eq!(world.routed(), "v2=100");
    world.pass(10);
    world.pods.insert("v2".into(), Pods::Broken("Error"));
    let before = world.microservice.status.clone();
    world.reconcile();
    assert_eq!(world.routed(), "v1=100", "it has not drained yet, and rescues");
    world.microservice.status = before;
    world.now = world.now.checked_add(jiff::SignedDuration::from_secs(60)).unwrap();
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    assert_eq!(world.routed(), "v2=100");
    assert_eq!(world.subsets(), ["v2", "v1"], "requests were on their way to v1 until now");
    world.pass(29);
    assert_eq!(world.subsets(), ["v2", "v1"]);
    world.pass(1);
    assert_eq!(world.subsets(), ["v2"]);
}

/// At `v1=95 v2=5`, on the way to 50, for which v2 misses a pod.
fn waiting_in_a_step(policy: &str) -> World {
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
fn a_pause_in_mid_step_keeps_the_weights_when_the_pods_come() {
    let mut world = waiting_in_a_step(STEPS);
    assert!(world.ask(Verb::Pause).is_ok());
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    assert_eq!(world.routed(), "v1=95 v2=5", "it is paused");
    world.pods.insert("v1".into(), Pods::Broken("Error"));
    world.settle();
    assert_eq!(world.routed(), "v2=100", "a loss moves the weights all the same");
    world.pods.insert("v1".into(), Pods::Healthy);
    world.settle();
    world.pass(30);
    assert_eq!(world.routed(), "v1=95 v2=5", "and they come back to where the pause keeps them");
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!(world.routed(), "v1=50 v2=50", "the step goes on");
    assert!(rollout(&world).kept.is_empty());
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
fn an_abort_does_not_go_back_to_weights_that_somebody_was_leaving() {
    let mut world = promoting();
    world.pass(60);
    assert_eq!(world.routed(), "v1=50 v2=50");
    world.pods.insert("v1".into(), Pods::Ready(2));
    world.edit(&service("v1=100 v2=0", STEPS));
    world.settle();
    assert_eq!(world.routed(), "v1=50 v2=50", "v1 cannot take all back yet");
    world.edit(&service("v1=0 v2=0 v3=100", STEPS));
    world.settle();
    world.pods.insert("v1".into(), Pods::Healthy);
    assert!(world.ask(Verb::Abort).is_ok());
    assert_eq!(world.routed(), "v1=100");
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
fn a_retry_before_an_undo_has_moved_anything_leaves_the_weights() {
    let mut world = running();
    world.edit(&service("v1=0 v2=100", STEPS));
    world.settle();
    world.ask(Verb::PromoteFull).unwrap();
    world.pass(600);
    assert_eq!(world.routed(), "v2=100");
    world.pods.insert("v1".into(), Pods::Broken("CrashLoopBackOff"));
    world.settle();
    world.ask(Verb::Undo).unwrap();
    assert_eq!((rollout(&world).state, world.routed().as_str()), (RolloutState::Aborted, "v2=100"));
    assert_eq!(world.ask(Verb::Retry), Ok("the requested weights are still in force: they stay".into()));
    assert_eq!((rollout(&world).state, world.routed().as_str()), (RolloutState::Completed, "v2=100"));
    world.pods.insert("v1".into(), Pods::Healthy);
    world.pass(3_600);
    assert_eq!(world.routed(), "v2=100");
}
