//! Requested weights come into force: made, edited, waited for.

use microservice_operator::{api::Phase, plan::object::Kind};

use crate::{
    read::told,
    running, two,
    world::{Pods, World},
};

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
    world.edit(&two(0, 100).replace("versions: [", "versions: [{name: v3, image: 'x:3', weight: 0}, "));
    world.settle();
    assert!(world.status().weights.as_ref().unwrap().contains("v3=0"));
    assert_eq!(told(&world, "TrafficWeightUpdated"), 2, "one that is to get nothing yet moves no weight");
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
    assert_eq!(world.status().phase, Some(Phase::Progressing), "nothing has failed");
    world.settle();
    world.pass(5);
    assert_eq!(world.route_names(), ["premium", "default"]);
    assert_eq!(world.condition("Ready").0, "True");
    world.pods.insert("v2".into(), Pods::Broken("Error"));
    world.settle();
    assert_eq!(world.route_names(), ["default"]);
    assert_eq!(world.routed(), "v1=100");
    assert_eq!(world.condition("RoutesReady").1, "RouteLeftOut");
    assert_eq!(world.status().phase, Some(Phase::Degraded));

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
    assert_eq!(world.subsets(), ["v1", "v2", "v3"]);
    assert_eq!(world.routed(), "v1=90 v2=10");
    world.pass(5);
    assert_eq!(world.routed(), "v3=10 v1=80 v2=10");
}
