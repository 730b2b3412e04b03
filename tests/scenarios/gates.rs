//! What holds a rollout although nothing failed and nobody paused it.

use crate::{
    read::{rollout, service_of, told},
    world::{Pods, World},
};
use microservice_operator::api::{HeldBy, RolloutState, Verb};

fn service(v1: i32, v2: i32, rollout: &str) -> String {
    service_of(&format!("v1={v1} v2={v2}"), 3, rollout)
}

fn policy(gate: &str) -> String {
    let gate = if gate.is_empty() { String::new() } else { format!("{gate}, ") };
    format!(
        "{{{gate}progressDeadline: 2m, steps: [{{weight: 5}}, {{pause: {{duration: 60s}}}}, {{weight: 50}}, {{pause: {{}}}}]}}"
    )
}

/// A service that has long been at `v1=100`.
fn running(gate: &str) -> World {
    let mut world = World::new(&service(100, 0, &policy(gate)));
    world.settle();
    world.pass(600);
    assert_eq!(world.routed(), "v1=100");
    world
}

fn held_by(world: &World) -> Option<HeldBy> {
    rollout(world).held.as_ref().map(|held| held.by)
}

#[test]
fn a_suspended_rollout_does_not_begin_until_it_is_released() {
    let mut world = running("suspend: true");
    assert_eq!(held_by(&world), None, "nothing is under way that could be held");
    assert_eq!(world.condition("Paused").0, "False");
    world.edit(&service(0, 100, &policy("suspend: true")));
    world.settle();
    world.pass(36_000);
    assert_eq!(world.routed(), "v1=100");
    let (paused, reason, message) = world.condition("Paused");
    assert_eq!((paused.as_str(), reason.as_str()), ("True", "RolloutSuspended"));
    assert!(message.contains("remove") && message.contains("spec.rollout.suspend"), "{message}");
    assert_eq!(
        world.status().message.as_deref(),
        Some(
            "the rollout is suspended by its policy: it goes on when spec.rollout.suspend is removed; traffic stays at \
             v1 100; or back: kubectl ms abort order-service --namespace shop"
        )
    );
    assert_eq!(rollout(&world).state, RolloutState::Progressing, "the deadline stands still");
    world.edit(&service(0, 100, &policy("")));
    world.settle();
    assert_eq!(world.routed(), "v1=95 v2=5");
    assert_eq!(world.condition("Paused").0, "False");
    assert_eq!((told(&world, "RolloutSuspended"), told(&world, "RolloutReleased")), (1, 1));
}

/// A pause of a minute is suspended after 40 seconds, by a clock that is ahead by so much, and released.
fn rests_under_a_suspension(ahead: jiff::SignedDuration) {
    let mut world = running("");
    world.edit(&service(0, 100, &policy("")));
    world.settle();
    world.pass(40);
    let now = world.now;
    world.now = now.checked_add(ahead).unwrap();
    world.edit(&service(0, 100, &policy("suspend: true")));
    world.settle();
    world.now = now;
    world.settle();
    world.pass(7_200);
    assert_eq!(world.routed(), "v1=95 v2=5");
    world.edit(&service(0, 100, &policy("")));
    world.settle();
    world.pass(19);
    assert_eq!(world.routed(), "v1=95 v2=5", "20 s of the pause were left");
    world.pass(1);
    assert_eq!(world.routed(), "v1=50 v2=50");
}

#[test]
fn a_pause_stands_still_under_a_suspension() {
    rests_under_a_suspension(jiff::SignedDuration::ZERO);
}

#[test]
fn a_pause_keeps_its_rest_under_a_suspension_that_began_by_a_clock_that_was_ahead() {
    rests_under_a_suspension(jiff::SignedDuration::from_hours(3));
}

#[test]
fn the_deadline_stands_still_under_a_suspension() {
    let mut world = running("");
    world.pods.insert("v2".into(), Pods::Ready(2));
    world.edit(&service(0, 100, &policy("")));
    world.settle();
    world.pass(100);
    world.edit(&service(0, 100, &policy("suspend: true")));
    world.settle();
    world.pass(7_200);
    world.edit(&service(0, 100, &policy("")));
    world.settle();
    world.pass(19);
    assert_eq!(rollout(&world).state, RolloutState::Progressing, "20 s were left");
    world.pass(1);
    assert_eq!(rollout(&world).state, RolloutState::Aborted);
}

#[test]
fn a_step_that_was_not_reached_stays_where_it_is() {
    let mut world = running("");
    world.edit(&service(0, 100, &policy("")));
    world.settle();
    world.pods.insert("v2".into(), Pods::Ready(2));
    world.pass(60);
    assert_eq!((world.routed().as_str(), rollout(&world).step), ("v1=95 v2=5", 2), "the next step waits for pods");
    world.edit(&service(0, 100, &policy("suspend: true")));
    world.settle();
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    world.pass(600);
    assert_eq!(world.routed(), "v1=95 v2=5");
    world.edit(&service(0, 100, &policy("")));
    world.settle();
    assert_eq!(world.routed(), "v1=50 v2=50");
}

#[test]
fn a_failure_ends_a_suspended_rollout_and_a_loss_is_not_held() {
    let mut world = running("");
    world.edit(&service(0, 100, &policy("")));
    world.settle();
    world.edit(&service(0, 100, &policy("suspend: true")));
    world.settle();
    world.pods.insert("v1".into(), Pods::Broken("CrashLoopBackOff"));
    world.settle();
    assert_eq!(world.routed(), "v2=100", "what serves takes over");
    world.pods.insert("v1".into(), Pods::Healthy);
    world.settle();
    world.pass(60);
    assert_eq!(world.routed(), "v1=95 v2=5", "and gives back what the step does not give it");
    world.crashes.insert("v2".into(), world.now);
    world.settle();
    assert_eq!(world.routed(), "v1=100");
    assert_eq!(rollout(&world).state, RolloutState::Aborted);
    assert_eq!((held_by(&world), world.condition("Paused").0.as_str()), (None, "False"));
}

#[test]
fn people_can_abort_a_suspended_rollout_but_not_promote_it() {
    let mut world = running("");
    world.edit(&service(0, 100, &policy("")));
    world.settle();
    world.edit(&service(0, 100, &policy("suspend: true")));
    world.settle();
    for verb in [Verb::Promote, Verb::PromoteFull] {
        let refusal = world.ask(verb).unwrap_err();
        assert_eq!(refusal, "the rollout is suspended by its policy: remove spec.rollout.suspend first");
    }
    assert_eq!(world.routed(), "v1=95 v2=5");
    assert!(world.ask(Verb::Abort).is_ok());
    assert_eq!(world.routed(), "v1=100");
}

#[test]
fn going_back_is_at_once_under_a_suspension() {
    let mut world = running("");
    world.edit(&service(0, 100, &policy("")));
    world.settle();
    world.edit(&service(0, 100, &policy("suspend: true")));
    world.settle();
    world.edit(&service(100, 0, &policy("suspend: true")));
    world.settle();
    assert_eq!(world.routed(), "v1=100");
    assert_eq!(world.condition("Ready").0, "True");
}

const HOUR: &str = "windows: [{from: '01:00', to: '02:00'}]";

#[test]
fn a_rollout_waits_for_its_window_and_goes_on_by_itself() {
    let mut world = running(HOUR);
    world.edit(&service(0, 100, &policy(HOUR)));
    world.settle();
    assert_eq!(
        world.status().message.as_deref(),
        Some(
            "the rollout waits for the time window that opens Thu 2026-01-01 01:00 (UTC); traffic stays at v1 100; or \
             back: kubectl ms abort order-service --namespace shop"
        )
    );
    assert_eq!(world.condition("Reconciling").1, "RolloutOutsideWindow");
    assert_eq!(world.condition("Paused").0, "False", "it waits for nobody");
    world.pass(50 * 60 - 1);
    assert_eq!(world.routed(), "v1=100");
    world.pass(1);
    assert_eq!(world.routed(), "v1=95 v2=5");
    assert_eq!(held_by(&world), None);
    world.pass(60);
    assert_eq!(world.routed(), "v1=50 v2=50");
}

#[test]
fn a_promotion_waits_for_the_window_and_a_full_one_does_not() {
    let mut world = running(HOUR);
    world.pass(50 * 60);
    world.edit(&service(0, 100, &policy(HOUR)));
    world.settle();
    world.pass(3_600);
    assert_eq!(world.routed(), "v1=50 v2=50");
    assert!(world.ask(Verb::Promote).is_ok());
    assert_eq!(world.routed(), "v1=50 v2=50", "the window has closed");
    let message = world.status().message.clone().unwrap();
    assert!(message.starts_with("the rollout waits for the time window that opens Fri 2026-01-02 01:00"), "{message}");
    assert!(world.ask(Verb::PromoteFull).is_ok());
    assert_eq!(world.routed(), "v2=100");
    assert!(!rollout(&world).promoted_fully, "the next rollout is held again");
}

#[test]
fn what_follows_a_pause_that_is_promoted_outside_the_window_begins_when_it_opens() {
    let steps = "progressDeadline: 2m, steps: [{weight: 5}, {pause: {}}, {match: [{headers: {x-beta: {exact: '1'}}}]}, \
                 {pause: {}}, {weight: 50}]";
    let policy = format!("{{{HOUR}, {steps}}}");
    let mut world = running(HOUR);
    world.pass(50 * 60);
    world.edit(&service(0, 100, &policy));
    world.settle();
    world.pass(3_600);
    assert_eq!((rollout(&world).state, rollout(&world).step), (RolloutState::Paused, 1));
    assert!(world.ask(Verb::Promote).is_ok());
    world.settle();
    world.pass(600);
    assert_eq!((rollout(&world).step, rollout(&world).waits_for.as_deref()), (2, Some("its time window")));
    assert_eq!(world.route_names(), ["default"], "no request is matched before the window opens");
    assert!(world.ask(Verb::Promote).is_err(), "one promotion ends one pause");
    world.pass(22 * 3_600);
    assert_eq!(rollout(&world).step, 2, "it opens at 01:00");
    world.pass(3_600);
    assert_eq!(world.route_names().len(), 2);
    assert_eq!((rollout(&world).state, rollout(&world).step), (RolloutState::Paused, 3));
}

#[test]
fn a_window_that_closes_in_a_pause_holds_what_follows_and_the_time_runs() {
    let closing = "windows: [{from: '00:00', to: '00:11'}]";
    let mut world = running(closing);
    world.edit(&service(0, 100, &policy(closing)));
    world.settle();
    world.pass(10);
    assert_eq!(world.routed(), "v1=95 v2=5");
    world.pass(3_600);
    assert_eq!(world.routed(), "v1=95 v2=5", "the pause is over and the window closed");
    assert_eq!(held_by(&world), Some(HeldBy::Window));
    world.pass(22 * 3_600 + 49 * 60 + 49);
    assert_eq!(world.routed(), "v1=95 v2=5");
    world.pass(1);
    assert_eq!(world.routed(), "v1=50 v2=50", "the pause was over long ago");
}

#[test]
fn the_deadline_stands_still_while_the_window_is_closed() {
    let closing = "windows: [{from: '00:00', to: '00:11'}]";
    let mut world = running(closing);
    world.pods.insert("v2".into(), Pods::Ready(2));
    world.edit(&service(0, 100, &policy(closing)));
    world.settle();
    world.pass(3_600);
    assert_eq!(rollout(&world).state, RolloutState::Progressing, "60 of 120 s were over when it closed");
    world.pass(22 * 3_600 + 50 * 60 + 59);
    assert_eq!(rollout(&world).state, RolloutState::Progressing);
    world.pass(1);
    assert_eq!(rollout(&world).state, RolloutState::Aborted);
}

#[test]
fn a_rollback_waits_for_no_window() {
    let closing = "windows: [{from: '00:00', to: '00:11'}]";
    let mut world = running(closing);
    world.edit(&service(0, 100, &policy(closing)));
    world.settle();
    world.pass(300);
    assert_eq!((world.routed().as_str(), held_by(&world)), ("v1=95 v2=5", Some(HeldBy::Window)));
    world.pods.insert("v2".into(), Pods::Broken("CrashLoopBackOff"));
    world.settle();
    assert_eq!(world.routed(), "v1=100");
    assert_eq!(rollout(&world).state, RolloutState::Aborted);
}

#[test]
fn windows_that_never_open_are_told() {
    let never = "windows: [{from: '01:00', to: '02:00'}, {kind: Deny}]";
    let mut world = running(never);
    world.edit(&service(0, 100, &policy(never)));
    world.settle();
    let message = world.status().message.clone().unwrap();
    assert!(message.contains("none opens within two weeks: correct spec.rollout.windows"), "{message}");
}

#[test]
fn what_has_requests_is_judged_though_the_rollout_to_other_weights_is_held() {
    let mut world = running("");
    world.edit(&service(0, 100, &policy("")));
    world.settle();
    assert_eq!(world.routed(), "v1=95 v2=5");
    world.edit(&service(20, 80, &policy("suspend: true")));
    world.settle();
    assert_eq!((world.routed().as_str(), held_by(&world)), ("v1=95 v2=5", Some(HeldBy::Suspended)));
    world.crashes.insert("v2".into(), world.now);
    world.settle();
    world.pass(60);
    assert_eq!((world.routed().as_str(), rollout(&world).state), ("v1=100", RolloutState::Aborted));
}

#[test]
fn a_pause_for_a_person_waits_for_no_window() {
    let steps = "steps: [{weight: 5}, {pause: {}}]";
    let window = "windows: [{from: '00:00', to: '00:30'}]";
    let mut world = World::new(&service(100, 0, &format!("{{{window}, {steps}}}")));
    world.settle();
    world.pass(60);
    world.edit(&service(0, 100, &format!("{{{window}, {steps}}}")));
    world.settle();
    world.pass(60);
    assert_eq!((world.routed().as_str(), rollout(&world).state), ("v1=95 v2=5", RolloutState::Paused));
    world.pass(3_600);
    world.reconcile();
    let (paused, reason, message) = world.condition("Paused");
    assert_eq!((paused.as_str(), reason.as_str()), ("True", "RolloutPaused"));
    assert!(!message.contains("time window"), "{message}");
    world.pass(86_400);
    assert_eq!((told(&world, "RolloutOutsideWindow"), told(&world, "RolloutReleased")), (0, 0));
}
