//! Versions lose their weight, are held out, and come back.

use crate::{
    one,
    read::{service_of, told},
    running, two,
    world::{Pods, World},
};
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use microservice_operator::{api::Verb, plan::object::Kind};

#[test]
fn a_hold_out_begins_with_the_write_that_took_the_weight() {
    let mut world = running();
    world.pods.insert("v2".into(), Pods::Broken("Error"));
    world.reconcile();
    let mut plan = world.last.clone().unwrap();
    assert_eq!(plan.lost, ["v2"]);
    let held = |plan: &microservice_operator::plan::Plan| {
        plan.traffic.iter().find(|memory| memory.version == "v2").unwrap().held_until.clone().unwrap().0
    };
    let decided = held(&plan);
    plan.written_at(world.now, world.now + jiff::SignedDuration::from_secs(2));
    assert_eq!(held(&plan), decided + jiff::SignedDuration::from_secs(2));
}

#[test]
fn a_version_that_dies_is_covered_by_the_other_which_grows_and_comes_back_after_its_hold_out() {
    let mut world = running();
    world.pods.insert("v1".into(), Pods::Broken("Error"));
    world.settle();
    assert_eq!(world.routed(), "v2=100");
    assert_eq!(world.replicas("v2"), 3, "v2 covers v1's three pods");
    assert_eq!(told(&world, "VersionLost"), 1);
    world.pods.insert("v1".into(), Pods::Healthy);
    world.settle();
    world.pass(29);
    assert_eq!(world.routed(), "v2=100", "held out for 30 s");
    assert!(world.condition("Ready").2.contains("held out until 00:00:35 UTC"), "{}", world.condition("Ready").2);
    world.pass(1);
    assert_eq!(world.routed(), "v1=90 v2=10");
    world.pass(4);
    assert_eq!(world.replicas("v2"), 3, "until the mesh has heard that v1 is back");
    world.pass(1);
    assert_eq!(world.replicas("v2"), 1);
}

#[test]
fn a_version_that_is_yet_to_start_has_lost_nothing_and_gets_its_weight_once_it_is_complete() {
    let mut world = World::new(&two(90, 10));
    world.pods.insert("v1".into(), Pods::Ready(0));
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), "v2=100", "it is the only one that answers");
    world.pods.insert("v1".into(), Pods::Healthy);
    world.settle();
    assert_eq!(world.routed(), "v1=90 v2=10", "nothing holds it out: {:?}", world.condition("Ready"));
    assert_eq!(told(&world, "VersionLost"), 0);
}

#[test]
fn a_version_that_crashes_before_it_was_ever_ready_is_held_out() {
    let mut world = World::new(&two(90, 10));
    world.pods.insert("v1".into(), Pods::Broken("CrashLoopBackOff"));
    world.settle();
    world.crashes.insert("v1".into(), world.now);
    world.pass(5);
    assert_eq!(world.routed(), "v2=100");
    assert_eq!(told(&world, "VersionLost"), 1);
    world.pods.insert("v1".into(), Pods::Healthy);
    world.settle();
    assert_eq!(world.routed(), "v2=100", "{:?}", world.condition("Ready"));
}

#[test]
fn while_nothing_is_ready_the_last_weights_stand() {
    let mut world = running();
    for version in ["v1", "v2"] {
        world.pods.insert(version.into(), Pods::Broken("Error"));
    }
    world.settle();
    assert_eq!(world.routed(), "v1=90 v2=10");
    assert_eq!(world.condition("Available").0, "False");
    assert_eq!(told(&world, "BecameUnavailable"), 1);
    world.pods.insert("v1".into(), Pods::Healthy);
    world.settle();
    assert_eq!(world.routed(), "v1=100");
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    world.pass(30);
    assert_eq!(world.routed(), "v1=90 v2=10");
}

#[test]
fn an_unproven_version_that_crashes_is_held_out_twice_as_long_each_time() {
    let mut world = running();
    let mut expected = 30;
    for round in 0..6 {
        world.crashes.insert("v2".into(), world.now);
        world.settle();
        assert_eq!(world.routed(), "v1=100", "round {round}");
        world.pass(expected - 1);
        assert_eq!(world.routed(), "v1=100", "round {round}: {expected} s");
        world.pass(1);
        assert_eq!(world.routed(), "v1=90 v2=10", "round {round}: {expected} s");
        expected = (expected * 2).min(600);
    }
}

#[test]
fn flapping_in_the_hold_out_prolongs_it() {
    let mut world = running();
    world.crashes.insert("v2".into(), world.now);
    world.settle();
    world.pass(20);
    world.crashes.insert("v2".into(), world.now);
    world.settle();
    world.pass(59);
    assert_eq!(world.routed(), "v1=100", "60 s from the second crash");
    world.pass(1);
    assert_eq!(world.routed(), "v1=90 v2=10");
}

#[test]
fn a_restart_of_a_proven_version_moves_no_weight() {
    let mut world = running();
    world.pass(601);
    world.crashes.insert("v2".into(), world.now);
    world.settle();
    assert_eq!(world.routed(), "v1=90 v2=10");
    assert_eq!(told(&world, "VersionLost"), 0);
}

#[test]
fn one_restart_among_twenty_pods_moves_no_weight_even_unproven() {
    let many = two(90, 10).replace("replicas: 1}", "replicas: 20}");
    let mut world = World::new(&many);
    world.settle();
    world.pass(5);
    world.crashes.insert("v2".into(), world.now);
    world.settle();
    assert_eq!(world.routed(), "v1=90 v2=10");
}

#[test]
fn an_old_restart_takes_no_weight_once_there_is_another_version() {
    let mut world = World::new(&one("v1"));
    world.settle();
    world.crashes.insert("v1".into(), world.now);
    world.settle();
    assert_eq!(world.routed(), "v1=100", "there is no other version");
    world.pass(31);
    world.edit(&two(100, 0));
    world.settle();
    world.pass(10);
    assert_eq!(world.routed(), "v1=100", "v1 has been well for longer than it would have been held out");
    assert_eq!(world.notices.iter().filter(|notice| notice.reason == "VersionLost").count(), 0);
}

/// The spec no longer asks for it, and it is all that serves.
#[test]
fn a_version_that_serves_while_another_one_is_on_its_way_is_proven_too() {
    let policy = "{steps: [{weight: 5}, {pause: {}}]}";
    for (aborts, routed) in [(false, "v1=95 v2=5"), (true, "v1=100")] {
        let mut world = World::new(&service_of("v1=100 v2=0", 3, policy));
        world.settle();
        world.pass(60);
        world.edit(&service_of("v1=0 v2=100", 3, policy));
        world.settle();
        world.pass(5);
        if aborts {
            assert!(world.ask(Verb::Abort).is_ok());
        }
        world.pass(620);
        assert_eq!(world.routed(), routed);
        world.crashes.insert("v1".into(), world.now);
        world.settle();
        assert_eq!(world.routed(), routed, "two of its three pods are ready");
        assert_eq!(told(&world, "VersionLost"), 0);
    }
}

/// As with a plain Deployment: the pods of before serve until those of the edit can.
#[test]
fn pods_of_an_edit_in_place_that_crash_take_nothing_from_those_of_before() {
    let mut world = running();
    world.edit(&two(90, 10).replace("1.4.2", "broken"));
    world.pods.insert("v1".into(), Pods::Replacing);
    world.settle();
    for _ in 0..5 {
        world.crashes.insert("v1".into(), world.now);
        world.settle();
        world.pass(60);
    }
    assert_eq!(world.routed(), "v1=90 v2=10");
    assert_eq!((told(&world, "VersionLost"), world.condition("Ready").0.as_str()), (0, "False"));
    world.pods.insert("v1".into(), Pods::Ready(2));
    world.crashes.insert("v1".into(), world.now);
    world.settle();
    assert_eq!(world.routed(), "v2=100", "without as many pods as are wanted, restarts count");
}

#[test]
fn a_label_that_somebody_changes_takes_no_pods_from_a_version_that_was_removed() {
    for label in ["v2", "2024"] {
        let mut world = running();
        world.pods.insert("v2".into(), Pods::Broken("Error"));
        world.settle();
        world.edit("{ports: [{name: http, port: 80}], replicas: 3, versions: [{name: v2, image: 'x:2'}]}");
        world.settle();
        assert_eq!(world.routed(), "v1=100");
        world.meddle(Kind::Deployment, "order-service-v1", |object| {
            object["metadata"]["labels"]["version"] = label.into();
            true
        });
        world.settle();
        world.pass(600);
        assert_eq!((world.routed().as_str(), world.replicas("v1")), ("v1=100", 3), "{label}");
    }
}

#[test]
fn times_that_a_wrong_clock_wrote_keep_nobody_from_standing_in() {
    let mut world = World::new(&two(100, 0));
    world.settle();
    world.pass(600);
    let hour = world.now.checked_add(SignedDuration::from_hours(1)).unwrap();
    let status = world.microservice.status.as_mut().unwrap();
    for memory in &mut status.traffic {
        memory.subset_since = Some(MicroTime(hour));
        memory.held_until = Some(MicroTime(hour));
    }
    world.pods.insert("v1".into(), Pods::Broken("Error"));
    world.settle();
    world.pass(60);
    assert_eq!(world.routed(), "v2=100");
}
