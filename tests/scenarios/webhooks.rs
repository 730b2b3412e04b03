//! Webhooks of a rollout: what they hold, what a refusal does, and who is told of the end.

use crate::{
    read::{message, rollout, service_of},
    world::{Pods, World},
};
use microservice_operator::{
    api::{CallResult, Moment, RolloutState, Verb},
    plan::inquiry::{Call, Verdict},
};

fn service(v1: i32, v2: i32, at: &str) -> String {
    let policy = format!(
        "{{progressDeadline: 2m, steps: [{{weight: 5}}, {{pause: {{duration: 60s}}}}, {{weight: 50}}, {{pause: {{duration: \
         60s}}}}], webhooks: [{{webhook: tests, at: {at}, parameters: {{suite: smoke}}}}]}}"
    );
    service_of(&format!("v1={v1} v2={v2}"), 3, &policy)
}

type Webhook = fn(&Call) -> Result<Verdict, String>;

/// A service whose v2 is to be promoted, with its pods ready.
fn promoting(at: &str, webhook: Webhook) -> World {
    let mut world = World::new(&service(100, 0, at));
    world.webhook = webhook;
    world.settle();
    world.pass(600);
    assert!(world.calls.is_empty(), "a first deployment goes without a rollout");
    world.edit(&service(0, 100, at));
    world.settle();
    world
}

fn moments(world: &World) -> Vec<Moment> {
    world.calls.iter().map(|call| call.moment).collect()
}

const ALL: &str = "[BeforeRollout, BeforeTraffic, BeforePromotion, AfterRollout, OnRollback]";

#[test]
fn each_moment_is_called_once_in_its_order() {
    let mut world = promoting(ALL, |_| Ok(Verdict::Passed));
    assert_eq!(moments(&world), [Moment::BeforeRollout, Moment::BeforeTraffic]);
    assert_eq!(world.routed(), "v1=95 v2=5");
    world.pass(60);
    assert_eq!(world.routed(), "v1=50 v2=50");
    assert_eq!(world.calls.len(), 2, "nobody is asked before a raise that is not the last");
    world.pass(60);
    assert_eq!(world.routed(), "v2=100");
    world.pass(600);
    assert_eq!(
        moments(&world),
        [Moment::BeforeRollout, Moment::BeforeTraffic, Moment::BeforePromotion, Moment::AfterRollout]
    );
    let promotion = &world.calls[2];
    assert_eq!((promotion.service.as_str(), promotion.uid.as_str()), ("order-service", "uid-1"));
    assert_eq!(promotion.weights, [("v1".to_owned(), 50), ("v2".to_owned(), 50)].into());
    assert_eq!(promotion.requested, [("v2".to_owned(), 100)].into());
    assert_eq!(promotion.stable, [("v1".to_owned(), 100)].into());
    assert_eq!(promotion.parameters, [("suite".to_owned(), "smoke".to_owned())].into());
    let mut keys: Vec<&str> = world.calls.iter().map(|call| call.key.as_str()).collect();
    keys.dedup();
    assert_eq!(keys.len(), 4);
    assert!(rollout(&world).calls.is_empty(), "nothing is left to remember: {:?}", rollout(&world).calls);
}

#[test]
fn a_raise_that_was_agreed_to_outlives_an_operator_that_is_killed_before_it_writes_the_status() {
    let mut world = World::new(&service(100, 0, ALL));
    world.settle();
    world.pass(600);
    world.edit(&service(0, 100, ALL));
    let first = world.settle_among_crashes();
    let raises = first + (0..2).map(|_| world.pass_among_crashes(60)).sum::<usize>();
    assert_eq!((raises, world.routed().as_str()), (3, "v2=100"));
}

#[test]
fn before_the_rollout_is_before_its_pods_and_before_traffic_after_them() {
    let mut world = World::new(&service(100, 0, "[BeforeRollout, BeforeTraffic]"));
    world.settle();
    world.pass(600);
    world.pods.insert("v2".into(), Pods::Ready(2));
    world.edit(&service(0, 100, "[BeforeRollout, BeforeTraffic]"));
    world.settle();
    assert_eq!(moments(&world), [Moment::BeforeRollout]);
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    assert_eq!(moments(&world), [Moment::BeforeRollout, Moment::BeforeTraffic]);
    assert_eq!(world.routed(), "v1=95 v2=5");
}

#[test]
fn a_refusal_pauses_with_its_words_and_a_person_may_overrule_it() {
    let mut world = promoting("[BeforeTraffic]", |_| Ok(Verdict::Refused("3 of 40 tests failed".into())));
    assert_eq!(world.routed(), "v1=100");
    assert_eq!((rollout(&world).state, world.condition("Paused").0.as_str()), (RolloutState::Paused, "True"));
    assert_eq!(
        message(&world),
        "the webhook tests (BeforeTraffic) refused: 3 of 40 tests failed; traffic stays at v1 100; go on with: kubectl ms \
         promote order-service --namespace shop, or: kubectl ms abort order-service --namespace shop"
    );
    world.pass(36_000);
    assert_eq!((world.routed().as_str(), world.calls.len()), ("v1=100", 1), "a refusal stands");
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!(world.routed(), "v1=95 v2=5");
    assert_eq!(rollout(&world).calls[0].result, Some(CallResult::Overruled));
    assert_eq!(world.calls.len(), 1);
}

#[test]
fn all_who_refuse_at_once_are_named_to_whom_promotes_over_them() {
    let two = |v1: i32, v2: i32| {
        let scan = "{webhook: scan, at: [BeforeTraffic]}]}";
        service(v1, v2, "[BeforeTraffic]")
            .replace("parameters: {suite: smoke}}]}", &format!("parameters: {{suite: smoke}}}}, {scan}"))
    };
    let mut world = World::new(&two(100, 0));
    world.webhook = |call| Ok(Verdict::Refused(format!("no says {}", call.webhook)));
    world.settle();
    world.pass(600);
    world.edit(&two(0, 100));
    world.settle();
    assert_eq!(
        rollout(&world).message.as_deref(),
        Some(
            "the webhook tests (BeforeTraffic) refused: no says tests; the webhook scan (BeforeTraffic) refused: no says scan"
        )
    );
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!(world.routed(), "v1=95 v2=5");
}

#[test]
fn a_refusal_of_the_promotion_keeps_the_weights_and_a_retry_asks_anew() {
    let mut world = promoting("[BeforePromotion]", |_| Ok(Verdict::Refused("not yet approved".into())));
    world.pass(120);
    assert_eq!(world.routed(), "v1=50 v2=50");
    assert_eq!(rollout(&world).state, RolloutState::Paused);
    assert!(world.ask(Verb::Abort).is_ok());
    assert_eq!(world.routed(), "v1=100");
    world.webhook = |_| Ok(Verdict::Passed);
    assert!(world.ask(Verb::Retry).is_ok());
    world.pass(120);
    assert_eq!(world.routed(), "v2=100");
    assert_eq!(world.calls.len(), 2);
    assert_ne!(world.calls[0].key, world.calls[1].key);
}

#[test]
fn without_an_answer_nothing_is_promoted_and_it_is_asked_again() {
    let mut world = promoting("[BeforeTraffic]", |_| Err("https://ci.example answered 503".into()));
    assert_eq!(world.routed(), "v1=100");
    let told = message(&world);
    assert!(
        told.contains("waits for the webhook tests (BeforeTraffic), which has not agreed: https://ci.example"),
        "{told}"
    );
    assert!(told.contains("answered 503; it is asked again at 00:11:"), "{told}");
    let refused = world.ask(Verb::Promote).unwrap_err();
    assert!(
        refused.starts_with(
            "nothing waits for a promotion: the step waits for the webhook tests (BeforeTraffic), which has"
        ),
        "{refused}"
    );
    world.pass(3_600);
    assert_eq!(world.routed(), "v1=100", "for as long as it takes");
    assert_eq!(rollout(&world).state, RolloutState::Progressing, "the deadline stands still");
    assert!((55..=65).contains(&world.calls.len()), "{}", world.calls.len());
    let keys: std::collections::BTreeSet<&str> = world.calls.iter().map(|call| call.key.as_str()).collect();
    assert_eq!(keys.len(), world.calls.len(), "each is a question of its own");
    world.webhook = |_| Ok(Verdict::Passed);
    world.pass(60);
    assert_eq!(world.routed(), "v1=95 v2=5");
}

#[test]
fn a_full_promotion_waits_for_no_webhook() {
    let mut world = promoting("[BeforeTraffic, BeforePromotion]", |_| Err("https://ci.example answered 503".into()));
    assert_eq!(world.routed(), "v1=100");
    assert!(world.ask(Verb::PromoteFull).is_ok());
    assert_eq!(world.routed(), "v2=100");
}

#[test]
fn a_crash_before_the_answer_is_noted_calls_again_with_the_same_key() {
    let mut world = promoting("[BeforeTraffic]", |_| Err("not yet".into()));
    let waiting = world.microservice.status.clone();
    let calls = world.calls.len();
    world.webhook = |_| Ok(Verdict::Passed);
    world.pass(60);
    assert_eq!(world.routed(), "v1=95 v2=5");
    let first = world.calls[calls].clone();
    // The route and the status are as they were, and so is the memory of a process that has just begun.
    let mut world = World::new(&service(100, 0, "[BeforeTraffic]"));
    world.settle();
    world.pass(600);
    world.edit(&service(0, 100, "[BeforeTraffic]"));
    world.microservice.status = waiting;
    world.now = world.now.checked_add(jiff::SignedDuration::from_secs(60)).unwrap();
    world.settle();
    assert_eq!(world.calls[0].key, first.key);
    assert_eq!(world.calls.len(), 1);
    assert_eq!(world.routed(), "v1=95 v2=5");
}

#[test]
fn a_rollback_is_told_with_its_reason_and_holds_nothing() {
    let mut world = promoting("[OnRollback]", |_| Err("nobody there".into()));
    world.crashes.insert("v2".into(), world.now);
    world.settle();
    assert_eq!(world.routed(), "v1=100");
    assert_eq!(moments(&world), [Moment::OnRollback]);
    let told = world.calls[0].clone();
    assert!(told.message.as_deref().is_some_and(|why| why.starts_with("v2 cannot serve")), "{told:?}");
    world.pass(59);
    assert_eq!(world.calls.len(), 1);
    world.webhook = |_| Ok(Verdict::Passed);
    world.pass(1);
    assert_eq!(world.calls.len(), 2, "at least once");
    assert_eq!(world.calls[1].key, told.key, "and who gets it twice can know");
    world.pass(36_000);
    assert_eq!(world.calls.len(), 2);
    assert!(rollout(&world).calls.is_empty());
}

#[test]
fn who_is_to_be_told_is_told_although_another_rollout_has_begun_and_given_up_at_last() {
    let mut world = promoting("[AfterRollout, OnRollback]", |_| Err("nobody there".into()));
    assert!(world.ask(Verb::Abort).is_ok());
    assert_eq!(moments(&world), [Moment::OnRollback]);
    let target = rollout(&world).target.clone();
    world.edit(&service(10, 90, "[AfterRollout, OnRollback]"));
    world.settle();
    world.pass(60);
    assert_ne!(rollout(&world).target, target);
    assert_eq!((world.calls[1].target.as_str(), &world.calls[1].key), (target.as_str(), &world.calls[0].key));
    assert!(!world.calls[0].weights.is_empty());
    let late = &world.calls[1];
    assert_eq!(
        [&late.weights, &late.requested, &late.stable].map(|it| it.len()),
        [0; 3],
        "they are of another rollout"
    );
    world.pass(36_000);
    let of_first = world.calls.iter().filter(|call| call.key == world.calls[0].key).count();
    assert_eq!(of_first, 8);
    assert!(rollout(&world).calls.is_empty(), "{:?}", rollout(&world).calls);
}

#[test]
fn a_rollout_that_an_edit_takes_back_is_told_as_rolled_back_and_one_that_goes_on_is_not() {
    let at = "[AfterRollout, OnRollback]";
    let mut world = promoting(at, |_| Ok(Verdict::Passed));
    let target = rollout(&world).target.clone();
    world.edit(&service(100, 0, at));
    world.settle();
    assert_eq!((world.routed().as_str(), moments(&world).as_slice()), ("v1=100", [Moment::OnRollback].as_slice()));
    let told = &world.calls[0];
    assert_eq!(
        (&told.target, told.message.as_deref()),
        (&target, Some("the spec asks for the weights before the rollout again"))
    );
    world.pass(600);
    assert_eq!(world.calls.len(), 1);
    assert!(rollout(&world).calls.is_empty());

    let mut world = promoting(at, |_| Ok(Verdict::Passed));
    world.edit(&service(10, 90, at));
    world.settle();
    world.pass(30);
    assert!(world.calls.is_empty(), "other weights of the same versions are walked to from where it is");
}

#[test]
fn nobody_is_asked_while_the_rollout_is_held() {
    let suspended = |text: &str| text.replace("rollout: {", "rollout: {suspend: true, ");
    let mut world = World::new(&suspended(&service(100, 0, "[BeforeRollout]")));
    world.settle();
    world.pass(600);
    world.edit(&suspended(&service(0, 100, "[BeforeRollout]")));
    world.settle();
    world.pass(60);
    assert!(world.calls.is_empty());
    world.edit(&service(0, 100, "[BeforeRollout]"));
    world.settle();
    assert_eq!(
        (moments(&world).as_slice(), world.routed().as_str()),
        ([Moment::BeforeRollout].as_slice(), "v1=95 v2=5")
    );
}

#[test]
fn what_webhooks_answered_before_the_mesh_was_lost_is_not_remembered() {
    let hook = |number: i32| format!("{{webhook: tests-{number}, at: [BeforeRollout, BeforeTraffic]}}");
    let hooks = (1..=8).map(hook).collect::<Vec<_>>().join(", ");
    let policy = format!("{{steps: [{{weight: 5}}, {{pause: {{}}}}], webhooks: [{hooks}]}}");
    let mut world = World::new(&service_of("v1=100 v2=0", 3, &policy));
    world.settle();
    world.pass(600);
    let promoting = service_of("v1=0 v2=100", 3, &policy);
    world.edit(&promoting);
    world.settle();
    let target = rollout(&world).target.clone();
    for times in 1..=5 {
        assert_eq!((world.routed().as_str(), &rollout(&world).target), ("v1=95 v2=5", &target));
        assert_eq!(rollout(&world).calls.len(), 16, "with the mesh for the {times}. time");
        world.edit(&promoting.replace("replicas: 3,", "replicas: 3, traffic: {provider: None},"));
        world.settle();
        world.pass(900);
        assert_eq!(world.pinned().as_deref(), Some("v1"));
        world.edit(&promoting);
        world.settle();
        world.pass(60);
    }
}

#[test]
fn a_step_without_requests_is_no_traffic_yet() {
    let scaled = |text: &str| text.replace("steps: [", "steps: [{scale: {replicas: 1}}, ");
    let mut world = World::new(&scaled(&service(100, 0, "[BeforeTraffic]")));
    world.webhook = |_| Ok(Verdict::Refused("closed today".into()));
    world.settle();
    world.pass(600);
    world.edit(&scaled(&service(0, 100, "[BeforeTraffic]")));
    world.settle();
    world.pass(60);
    assert_eq!((rollout(&world).step, rollout(&world).state), (1, RolloutState::Paused), "the first step has passed");
    assert_eq!((moments(&world).as_slice(), world.routed().as_str()), ([Moment::BeforeTraffic].as_slice(), "v1=100"));
}

#[test]
fn pods_that_fail_while_a_webhook_is_asked_are_not_waited_for_without_end() {
    let mut world = promoting("[BeforeTraffic]", |_| Err("no answer".to_owned()));
    assert_eq!(moments(&world), [Moment::BeforeTraffic]);
    world.pods.insert("v2".into(), Pods::Broken("OOMKilled"));
    world.settle();
    world.webhook = |_| Ok(Verdict::Passed);
    world.pass(90);
    assert_eq!(rollout(&world).state, RolloutState::Progressing);
    world.pass(90);
    assert_eq!(rollout(&world).state, RolloutState::Aborted, "{}", message(&world));
}

#[test]
fn a_part_of_the_way_that_is_the_whole_is_the_promotion() {
    let of = |weights: &str| {
        let hook = "webhooks: [{webhook: tests, at: [BeforePromotion]}]";
        service_of(weights, 3, &format!("{{steps: [{{weight: 10}}, {{pause: {{}}}}], {hook}}}"))
    };
    let mut world = World::new(&of("v1=100 v2=0"));
    world.webhook = |_| Err("no answer".to_owned());
    world.settle();
    world.pass(600);
    world.edit(&of("v1=99 v2=1"));
    world.settle();
    world.pass(30);
    assert_eq!((moments(&world), world.routed()), (vec![Moment::BeforePromotion], "v1=100".to_owned()));
    world.webhook = |_| Ok(Verdict::Passed);
    world.pass(60);
    assert_eq!(world.routed(), "v1=99 v2=1");
}
