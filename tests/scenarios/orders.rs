//! What people ask of a rollout, and what comes of it, in a world made of data.

use std::collections::BTreeSet;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    read::{rollout, told},
    rollouts::{SIXTY, STEPS, on_the_way, promoting, running, service, waiting_in_a_step},
    world::{Pods, World},
};
use microservice_operator::{
    api::{MAX_HANDLED, RolloutState, Verb},
    plan::{object::Kind, rollout::orders::Order},
};

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
             kubectl ms promote order-service --namespace shop, or: kubectl ms abort order-service --namespace shop"
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
    assert!(
        message
            .ends_with("traffic stays at v1 100; change the spec, or: kubectl ms retry order-service --namespace shop")
    );
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
    let step = rollout(&world).step;
    let refused = world.ask(Verb::Promote).unwrap_err();
    assert!(refused.starts_with("v2 could not serve and lost its weight: ask again"), "{refused}");
    assert_eq!((rollout(&world).step, rollout(&world).state), (step, RolloutState::Paused));
    world.pass(60);
    assert_eq!(world.routed(), "v1=95 v2=5", "the weights stay where the step had them");
    assert_eq!(rollout(&world).state, RolloutState::Paused);
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!(world.routed(), "v1=50 v2=50");
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
fn orders_are_about_what_their_author_saw() {
    let mut world = promoting();
    let order = |uid: &str, target: Option<&str>, step: Option<i32>| Order {
        uid: uid.into(),
        name: uid.into(),
        verb: Verb::Abort,
        target: target.map(str::to_owned),
        step,
        revision: None,
        created: None,
        expires: None,
        actor: None,
    };
    let refused = world.order(order("a", Some("elsewhere"), None)).unwrap_err();
    assert!(refused.starts_with("the spec has changed since"), "{refused}");
    let refused = world.order(order("b", None, Some(3))).unwrap_err();
    assert_eq!(refused, "the rollout was at step 3 and is now at step 1: look again");
    let expired = Order { expires: Some(world.now), ..order("c", None, None) };
    assert_eq!(world.order(expired).unwrap_err(), "it expired before it was seen");
    world.microservice.metadata.creation_timestamp = Some(Time(world.now));
    let before = world.now.checked_sub(SignedDuration::from_secs(1)).unwrap();
    let earlier = Order { created: Some(before), ..order("earlier", None, None) };
    let refused = world.order(earlier).unwrap_err();
    assert_eq!(refused, "it is older than the Microservice, and may mean an earlier one of that name: ask again");
    assert_eq!(world.routed(), "v1=95 v2=5");
    let handled = |world: &World| rollout(world).handled.iter().map(|it| it.uid.clone()).collect::<Vec<_>>();
    assert_eq!(handled(&world), ["a", "b", "c", "earlier"]);
    world.orders.clear();
    assert!(!world.reconcile(), "forgetting is no reason to write");
    assert!(world.order(Order { created: Some(world.now), ..order("d", None, None) }).is_ok());
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
    assert_eq!(world.subsets(), ["v1", "v2"], "requests were on their way to v1 until now");
    world.pass(29);
    assert_eq!(world.subsets(), ["v1", "v2"]);
    world.pass(1);
    assert_eq!(world.subsets(), ["v2"]);
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
fn an_abort_does_not_go_back_to_weights_that_somebody_was_leaving() {
    let mut world = promoting();
    world.pass(60);
    assert_eq!(world.routed(), "v1=50 v2=50");
    world.pods.insert("v1".into(), Pods::Ready(2));
    world.edit(&service("v1=100 v2=0", STEPS));
    world.settle();
    assert_eq!(world.routed(), "v1=66 v2=34", "v1 cannot take all back yet");
    world.edit(&service("v1=0 v2=0 v3=100", STEPS));
    world.settle();
    world.pods.insert("v1".into(), Pods::Healthy);
    assert!(world.ask(Verb::Abort).is_ok());
    assert_eq!(world.routed(), "v1=100");
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

/// What the rollout may go back to stays until its end, also where nothing leads to it any more.
#[test]
fn a_removed_version_stays_while_the_rollout_may_go_back_to_it() {
    let bake = "{steps: [{weight: 5}, {weight: 100}, {pause: {duration: 1h}}]}";
    let mut world = World::new(&service("v1=100", bake));
    world.settle();
    world.edit(&service("v2=100", bake));
    world.settle();
    world.pass(600);
    assert_eq!(world.routed(), "v2=100");
    assert_eq!(world.subsets(), ["v1", "v2"]);
    assert!(world.ask(Verb::Abort).is_ok());
    assert_eq!(world.routed(), "v1=100");
    world.edit(&service("v2=100", &bake.replace("5}", "10}")));
    world.settle();
    assert!(world.ask(Verb::Retry).is_ok());
    world.pass(4_000);
    assert_eq!(rollout(&world).state, RolloutState::Completed);
    assert!(!world.has(Kind::Deployment, "order-service-v1"), "it goes when the rollout has ended");
}

#[test]
fn what_is_asked_beyond_the_room_of_the_status_is_answered_in_its_turn() {
    let mut world = promoting();
    world.orders = (0..70).map(|number| Order { uid: format!("{number:02}"), ..world.action(Verb::Pause) }).collect();
    let answered = |world: &World| world.answers.iter().map(|answer| answer.uid.clone()).collect::<BTreeSet<_>>();
    world.settle();
    assert_eq!((rollout(&world).handled.len(), answered(&world).len()), (64, 64));
    let known = answered(&world);
    world.orders.retain(|order| !known.contains(&order.uid));
    world.settle();
    assert_eq!((rollout(&world).handled.len(), answered(&world).len()), (6, 70));
}

/// After a rollback the spec is put right: what serves now is not another state to go back to.
#[test]
fn nothing_is_undone_that_is_in_force() {
    let mut world = promoting();
    world.ask(Verb::Abort).unwrap();
    world.edit(&service("v1=100 v2=0", STEPS));
    world.settle();
    world.pass(60);
    assert_eq!(world.ask(Verb::Undo), Err("there was no rollout before that could be undone".into()));
    assert_eq!(world.condition("Ready").0, "True");
}

#[test]
fn weights_that_are_not_in_force_are_not_said_to_be() {
    let mut world = promoting();
    world.ask(Verb::PromoteFull).unwrap();
    world.pods.insert("v2".into(), Pods::Broken("Error"));
    world.settle();
    assert_eq!((world.routed().as_str(), rollout(&world).state), ("v1=100", RolloutState::Completed));
    let follow = "no rollout is under way: the requested weights follow, without steps, as soon as pods can carry them; to \
                  have others, change the spec";
    assert_eq!(world.ask(Verb::Abort), Err(follow.into()));
}

#[test]
fn a_backlog_of_what_no_rollout_can_be_asked_is_refused_bit_by_bit() {
    let mut world = World::new("{replicas: 1, ports: [{name: http, port: 80}], versions: [{name: v1, image: 'x:1'}]}");
    world.settle();
    let asked = world.action(Verb::Abort);
    world.orders = (0..200).map(|number| Order { uid: format!("{number}"), ..asked.clone() }).collect();
    world.reconcile();
    assert_eq!(world.answers.len(), MAX_HANDLED);
    assert_eq!(world.answers[0].uid, "0", "the oldest come first");
}

#[test]
fn a_retry_walks_the_steps_also_of_a_version_that_stands_in_for_all() {
    let mut world = promoting();
    assert_eq!(world.routed(), "v1=95 v2=5");
    world.pods.insert("v1".into(), Pods::Broken("Error"));
    world.settle();
    assert_eq!(world.routed(), "v2=100");
    assert!(world.ask(Verb::Abort).is_ok());
    assert_eq!(world.routed(), "v2=100", "nothing else serves");
    assert!(world.ask(Verb::Retry).is_ok());
    assert_eq!(rollout(&world).state, RolloutState::Progressing);
    world.pods.insert("v1".into(), Pods::Healthy);
    world.pass(50);
    assert_eq!(world.routed(), "v1=95 v2=5");
}

#[test]
fn weights_that_are_edited_after_a_retry_begin_where_it_had_led() {
    let edited = |undone: bool| {
        let mut world = on_the_way("v1=100 v2=0", "v1=0 v2=100", SIXTY);
        if undone {
            for (verb, routed) in [(Verb::PromoteFull, "v2=100"), (Verb::Undo, "v1=100"), (Verb::Retry, "v1=40 v2=60")]
            {
                world.ask(verb).unwrap();
                world.settle();
                world.pass(60);
                assert_eq!(world.routed(), routed, "{verb:?}");
            }
        }
        assert_eq!(world.routed(), "v1=40 v2=60");
        world.edit(&service("v1=70 v2=30", SIXTY));
        world.settle();
        world.routed()
    };
    assert_eq!((edited(true).as_str(), edited(false).as_str()), ("v1=58 v2=42", "v1=58 v2=42"));
}
