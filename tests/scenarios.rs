//! How weights, subsets, sizes and the status move, step by step, in a world made of data.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use microservice_operator::plan::object::Kind;
use serde_json::json;
use world::{Pods, World};

fn two(v1: i32, v2: i32) -> String {
    format!(
        "{{ports: [{{name: http, port: 80, targetPort: 3000}}], replicas: 3, versions: [\
         {{name: v1, image: 'x:1', weight: {v1}}}, {{name: v2, image: 'x:2', weight: {v2}, replicas: 1}}]}}"
    )
}

fn one(version: &str) -> String {
    format!("{{ports: [{{name: http, port: 80}}], replicas: 3, versions: [{{name: {version}, image: 'x:1'}}]}}")
}

/// A service that has long been at 90/10.
fn running() -> World {
    let mut world = World::new(&two(90, 10));
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), "v1=90 v2=10");
    world
}

fn told(world: &World, reason: &str) -> usize {
    world.notices.iter().filter(|notice| notice.reason == reason).count()
}

#[test]
fn creation_sends_all_to_the_largest_until_the_others_are_ready_and_known() {
    let mut world = World::new(&two(90, 10));
    world.reconcile();
    assert_eq!(world.routed(), "v1=100");
    assert_eq!(world.subsets(), ["v1", "v2"]);
    assert_eq!(world.pinned(), None);
    assert_eq!(world.condition("Ready").0, "False");
    assert_eq!(world.condition("Available").0, "False");
    world.settle();
    assert_eq!(world.routed(), "v1=100", "the mesh has known v2 for less than 5 s");
    assert_eq!(world.condition("Available").0, "True");
    world.pass(4);
    assert_eq!(world.routed(), "v1=100");
    world.pass(1);
    assert_eq!(world.routed(), "v1=90 v2=10");
    assert_eq!(world.condition("Ready").0, "True");
    assert_eq!(world.status().weights.as_deref(), Some("v1=90 v2=10"));
}

#[test]
fn the_mesh_is_given_its_time_from_the_write_on_and_not_from_the_decision() {
    let mut world = World::new(&two(90, 10));
    world.reconcile();
    let mut plan = world.last.clone().unwrap();
    let written = world.now + jiff::SignedDuration::from_secs(2);
    plan.written_at(world.now, written);
    for entry in &plan.traffic {
        assert_eq!(entry.subset_since.as_ref().map(|since| since.0), Some(written));
    }
    let again = plan.clone();
    plan.written_at(world.now, written + jiff::SignedDuration::from_secs(9));
    assert_eq!(plan.traffic, again.traffic, "what began before stays as it is");
}

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
fn an_edit_of_the_weights_is_carried_out_at_once_and_deploys_nothing() {
    let mut world = running();
    let before = world.object(Kind::Deployment, "order-service-v2")["metadata"]["resourceVersion"].clone();
    world.edit(&two(0, 100));
    world.reconcile();
    assert_eq!(world.routed(), "v2=100");
    assert_eq!(world.status().observed_generation, Some(2));
    assert_eq!(world.object(Kind::Deployment, "order-service-v2")["metadata"]["resourceVersion"], before);
    assert!(world.has(Kind::Deployment, "order-service-v1"), "a version of weight 0 keeps running");
    assert_eq!(told(&world, "TrafficWeightUpdated"), 2);
}

#[test]
fn a_version_shrinks_only_after_its_weight_has_moved() {
    let mut world = running();
    world.edit(&two(0, 100).replace("replicas: 3", "replicas: 1"));
    world.reconcile();
    assert_eq!(world.routed(), "v2=100");
    assert_eq!(world.replicas("v1"), 3, "Deployments are written before routes");
    world.settle();
    assert_eq!(world.replicas("v1"), 1);
}

#[test]
fn a_version_that_never_gets_ready_gets_nothing_and_says_why() {
    let mut world = World::new(&two(90, 10));
    world.pods.insert("v2".into(), Pods::Broken("ImagePullBackOff"));
    world.settle();
    world.pass(600);
    assert_eq!(world.routed(), "v1=100");
    let (ready, _, message) = world.condition("Ready");
    assert_eq!(ready, "False");
    assert_eq!(
        message,
        "v2 has 0 of 1 pod ready: ImagePullBackOff on registry.example/order-service:2.0.0; traffic stays at v1 100"
    );
    assert_eq!(world.condition("Available").0, "True");
}

#[test]
fn a_partly_ready_version_is_not_promoted() {
    let mut world = running();
    world.pods.insert("v2".into(), Pods::Ready(2));
    let three = two(0, 100).replace("replicas: 1}", "replicas: 3}");
    world.edit(&three);
    world.settle();
    world.pass(60);
    assert_eq!(world.routed(), "v1=90 v2=10");
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    assert_eq!(world.routed(), "v2=100");
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
    assert_eq!(world.subsets(), ["v2", "v1"]);
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
    world.settle();
    assert_eq!(world.replicas("v2"), 1);
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
fn an_image_edited_in_place_is_a_rolling_update_with_an_event() {
    let mut world = running();
    world.edit(&two(90, 10).replace("x:2", "x:3"));
    world.settle();
    assert_eq!(told(&world, "VersionUpdated"), 1);
    assert_eq!(world.routed(), "v1=90 v2=10");
}

#[test]
fn header_routes_wait_for_their_version_and_fall_back_when_it_is_lost() {
    let with_route = two(90, 10).replace(
        "versions:",
        "routes: [{name: premium, match: [{headers: {user-type: {exact: premium}}}], version: v2}], versions:",
    );
    let mut world = World::new(&with_route);
    world.reconcile();
    assert_eq!(world.route_names(), ["default"]);
    assert_eq!(world.condition("RoutesReady").1, "RouteLeftOut");
    world.settle();
    world.pass(5);
    assert_eq!(world.route_names(), ["premium", "default"]);
    assert_eq!(world.condition("Ready").0, "True");
    world.pods.insert("v2".into(), Pods::Broken("Error"));
    world.settle();
    assert_eq!(world.route_names(), ["default"]);
    assert_eq!(world.routed(), "v1=100");

    let mut held = World::new(&with_route.replace("version: v2}", "version: v2, onUnready: Hold}"));
    held.reconcile();
    assert_eq!(held.route_names(), ["premium", "default"]);
}

#[test]
fn a_third_version_joins_the_mesh_only_when_it_is_ready() {
    let mut world = running();
    let three = two(80, 10).replace("versions: [", "versions: [{name: v3, image: 'x:3', weight: 10, replicas: 2}, ");
    world.pods.insert("v3".into(), Pods::Broken("ContainerCreating"));
    world.edit(&three);
    world.settle();
    assert_eq!(world.subsets(), ["v1", "v2"]);
    assert_eq!(world.routed(), "v1=90 v2=10", "v1 keeps what v3 cannot take");
    world.pods.insert("v3".into(), Pods::Healthy);
    world.settle();
    assert_eq!(world.subsets(), ["v3", "v1", "v2"]);
    assert_eq!(world.routed(), "v1=90 v2=10");
    world.pass(5);
    assert_eq!(world.routed(), "v3=10 v1=80 v2=10");
}

#[test]
fn without_a_mesh_the_service_pins_one_version_and_hands_over_when_the_other_is_ready() {
    let mut world = World::new(&two(100, 0).replace("replicas: 3,", "replicas: 3, traffic: {provider: None},"));
    world.settle();
    assert_eq!(world.pinned().as_deref(), Some("v1"));
    assert!(!world.has(Kind::VirtualService, "order-service"));
    assert_eq!(world.condition("Ready").0, "True");
    world.pods.insert("v2".into(), Pods::Broken("Error"));
    world.edit(&two(0, 100).replace("replicas: 3,", "replicas: 3, traffic: {provider: None},"));
    world.settle();
    assert_eq!(world.pinned().as_deref(), Some("v1"));
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    assert_eq!(world.pinned().as_deref(), Some("v2"));
}

#[test]
fn without_a_mesh_several_weights_select_all_and_a_version_of_weight_zero_has_no_pods() {
    let spec = two(90, 10)
        .replace("versions: [", "versions: [{name: v3, image: 'x:3', weight: 0}, ")
        .replace("replicas: 3,", "replicas: 3, traffic: {provider: None},");
    let mut world = World::new(&spec);
    world.settle();
    world.pass(5);
    assert_eq!(world.pinned(), None);
    assert_eq!(world.replicas("v3"), 0);
    let (value, reason, _) = world.condition("RoutesReady");
    assert_eq!((value.as_str(), reason.as_str()), ("False", "ProviderNone"));
}

#[test]
fn from_the_service_to_the_mesh_and_back_each_step_waits_for_the_one_before() {
    let none = two(100, 0).replace("replicas: 3,", "replicas: 3, traffic: {provider: None},");
    let mut world = World::new(&none);
    world.settle();
    world.edit(&two(50, 50));
    world.reconcile();
    assert_eq!(world.subsets(), ["v1", "v2"]);
    assert!(!world.has(Kind::VirtualService, "order-service"), "the mesh must know the subsets first");
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), "v1=100");
    assert_eq!(world.pinned().as_deref(), Some("v1"), "the mesh must know the routes before the Service widens");
    world.pass(5);
    assert_eq!(world.pinned().as_deref(), Some("v1"), "its creation is known to the second only");
    world.pass(1);
    assert_eq!(world.pinned(), None);
    assert_eq!(world.routed(), "v1=100", "the mesh must know v2's pods before they get weight");
    world.pass(5);
    assert_eq!(world.routed(), "v1=50 v2=50");
    assert_eq!(world.condition("Ready").0, "True");

    world.edit(&none);
    world.settle();
    assert_eq!(world.routed(), "v1=100");
    assert_eq!(world.pinned(), None);
    world.pass(5);
    assert_eq!(world.pinned().as_deref(), Some("v1"));
    assert!(world.has(Kind::VirtualService, "order-service"));
    world.pass(5);
    assert!(!world.has(Kind::VirtualService, "order-service"));
    assert!(world.has(Kind::DestinationRule, "order-service"));
    world.pass(5);
    assert!(!world.has(Kind::DestinationRule, "order-service"));
    assert_eq!(world.condition("Ready").0, "True");
}

#[test]
fn a_mesh_that_goes_and_comes_leaves_the_workloads_served() {
    let mut world = running();
    world.caches.set_mesh(microservice_operator::observe::Mesh::Absent);
    world.remove(Kind::VirtualService, "order-service");
    world.remove(Kind::DestinationRule, "order-service");
    world.settle();
    assert_eq!(world.pinned(), None);
    assert_eq!(world.condition("Available").0, "True");
    assert_eq!(world.condition("RoutesReady").1, "MeshNotInstalled");
    world.caches.set_mesh(microservice_operator::observe::Mesh::Installed);
    world.settle();
    world.pass(20);
    assert_eq!(world.routed(), "v1=90 v2=10");
    assert_eq!(world.condition("Ready").0, "True");
}

#[test]
fn an_invalid_spec_leaves_the_last_accepted_one_in_force() {
    let mut world = running();
    let wrong = two(0, 100).replace("replicas: 3,", "replicas: 3, mounts: [{volume: nowhere, path: /x}],");
    world.edit(&wrong);
    world.settle();
    assert_eq!(world.routed(), "v1=90 v2=10");
    assert_eq!(world.condition("Stalled").0, "True");
    assert_eq!(world.condition("Stalled").1, "InvalidSpec");
    assert_eq!(world.status().observed_generation, Some(2));
    world.pods.insert("v1".into(), Pods::Broken("Error"));
    world.settle();
    assert_eq!(world.routed(), "v2=100", "failover goes on");
    world.pods.insert("v1".into(), Pods::Healthy);
    world.settle();
    world.pass(30);
    assert_eq!(world.routed(), "v1=90 v2=10");
    world.edit(&two(0, 100));
    world.settle();
    assert_eq!(world.routed(), "v2=100");
    assert_eq!(world.condition("Stalled").0, "False");
}

#[test]
fn a_name_clash_is_told_and_nothing_of_anybody_elses_is_touched() {
    let mut world = World::new(&two(90, 10));
    world.put_foreign(Kind::Service, "order-service", json!({"metadata": {}, "spec": {"selector": {"theirs": "yes"}}}));
    world.settle();
    let (value, reason, message) = world.condition("Stalled");
    assert_eq!((value.as_str(), reason.as_str()), ("True", "NameClash"));
    assert!(message.starts_with("a Service named order-service exists and belongs to somebody else"), "{message}");
    assert_eq!(world.object(Kind::Service, "order-service")["spec"]["selector"], json!({"theirs": "yes"}));
    assert_eq!(world.condition("RoutesReady").0, "False");
    for kind in [Kind::VirtualService, Kind::DestinationRule] {
        assert!(!world.has(kind, "order-service"), "{kind:?} would take the other Service's requests");
    }
}

#[test]
fn routes_go_when_the_service_becomes_somebody_elses() {
    let mut world = running();
    assert!(world.has(Kind::VirtualService, "order-service"));
    world.put_foreign(Kind::Service, "order-service", json!({"metadata": {}, "spec": {"selector": {"theirs": "yes"}}}));
    world.settle();
    for kind in [Kind::VirtualService, Kind::DestinationRule] {
        assert!(!world.has(kind, "order-service"), "{kind:?} would take the other Service's requests");
    }
    assert!(world.has(Kind::Deployment, "order-service-v1"));
}

#[test]
fn somebody_elses_route_for_the_host_is_a_conflict_only_in_the_mesh() {
    let mut world = running();
    for (gateways, reason) in [
        (json!(["istio-ingress/public"]), "RoutesApplied"),
        (json!(["istio-ingress/public", "mesh"]), "RouteConflict"),
        (json!(["public"]), "RoutesApplied"),
        (json!([]), "RouteConflict"),
        (json!(null), "RouteConflict"),
    ] {
        let spec = json!({"hosts": ["shop.example", "order-service"], "gateways": gateways});
        world.put_foreign(Kind::VirtualService, "public", json!({"spec": spec}));
        world.settle();
        assert_eq!(world.condition("RoutesReady").1, reason, "gateways: {gateways}");
    }
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

#[test]
fn lost_routes_are_put_back_as_the_status_remembers_them() {
    let mut world = running();
    world.meddle(Kind::VirtualService, "order-service", |_| false);
    world.settle();
    assert_eq!(world.routed(), "v1=90 v2=10");
    world.meddle(Kind::VirtualService, "order-service", |object| {
        object["spec"]["http"][0]["route"][0]["weight"] = json!(1);
        object["spec"]["http"][0]["route"][1]["weight"] = json!(99);
        true
    });
    world.settle();
    assert_eq!(world.routed(), "v1=90 v2=10");
}

#[test]
fn a_crash_before_the_status_was_written_loses_nothing() {
    let mut world = running();
    world.edit(&two(0, 100));
    let before = world.microservice.status.clone();
    world.reconcile();
    world.microservice.status = before;
    world.settle();
    assert_eq!(world.routed(), "v2=100");
    world.microservice.status = None;
    world.settle();
    world.pass(10);
    assert_eq!(world.routed(), "v2=100");
    assert_eq!(world.condition("Ready").0, "True");
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
