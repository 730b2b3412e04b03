//! Versions without pods of their own, in a world made of data: weight leaves before the pods do.

use crate::world::{Pods, World};
use microservice_operator::plan::object::Kind;

fn two(v1: (i32, i32), v2: (i32, i32), more: &str) -> String {
    format!(
        "{{ports: [{{name: http, port: 80}}], {more} versions: [{{name: v1, image: 'x:1', weight: {}, replicas: {}}}, \
         {{name: v2, image: 'x:2', weight: {}, replicas: {}}}]}}",
        v1.0, v1.1, v2.0, v2.1
    )
}

fn running(more: &str) -> World {
    let mut world = World::new(&two((90, 3), (10, 1), more));
    world.settle();
    world.pass(15);
    assert_eq!(world.condition("Ready").0, "True");
    world
}

#[test]
fn weight_leaves_a_version_before_its_last_pods_do() {
    let mut world = running("");
    world.edit(&two((90, 3), (10, 0), ""));
    world.settle();
    assert_eq!(world.routed(), "v1=100");
    assert_eq!(world.replicas("v2"), 1, "requests are still on their way");
    world.pass(29);
    assert_eq!(world.replicas("v2"), 1);
    world.pass(1);
    assert_eq!(world.replicas("v2"), 0);
    let (value, reason, message) = world.condition("Ready");
    assert_eq!((value.as_str(), reason.as_str()), ("False", "NoReplicas"));
    assert_eq!(
        message,
        "v2 is to have no pods, so the other versions take its 10 % of the requests: give it replicas, or the weight 0; \
         traffic stays at v1 100"
    );
    assert_eq!((world.traffic("v2").requested, world.traffic("v2").effective), (10, 0));
    assert!(world.notices.iter().all(|notice| notice.reason != "VersionLost"), "nothing was lost");
    world.edit(&two((90, 3), (10, 1), ""));
    world.settle();
    assert_eq!(world.routed(), "v1=90 v2=10");
    assert_eq!(world.condition("Ready").0, "True");
}

#[test]
fn pods_stay_while_no_other_version_can_take_the_weight() {
    let mut world = running("");
    world.pods.insert("v1".into(), Pods::Broken("Error"));
    world.settle();
    assert_eq!(world.routed(), "v2=100");
    world.edit(&two((90, 3), (10, 0), ""));
    world.settle();
    world.pass(3600);
    assert_eq!((world.routed().as_str(), world.replicas("v2")), ("v2=100", 3));
    world.pods.insert("v1".into(), Pods::Healthy);
    world.settle();
    world.pass(60);
    assert_eq!((world.routed().as_str(), world.replicas("v2")), ("v1=100", 0));
}

#[test]
fn a_version_of_weight_zero_takes_over_from_the_only_weighted_one() {
    let mut world = running("");
    world.edit(&two((100, 3), (0, 1), ""));
    world.settle();
    world.edit(&two((100, 0), (0, 1), ""));
    world.settle();
    assert_eq!((world.routed().as_str(), world.replicas("v1")), ("v2=100", 3));
    world.pass(30);
    assert_eq!(world.replicas("v1"), 0);
    assert_eq!(world.condition("Available").0, "True");
}

#[test]
fn routes_leave_before_the_pods_too_unless_they_are_to_be_held() {
    let route = |on_unready: &str| {
        format!(
            "routes: [{{name: beta, match: [{{headers: {{beta: {{exact: 'yes'}}}}}}], version: v2, {on_unready}}}],"
        )
    };
    let fallback = route("onUnready: Fallback");
    let mut world = running(&fallback);
    world.edit(&two((100, 3), (0, 0), &fallback));
    world.settle();
    assert_eq!(world.route_names(), ["default"]);
    assert_eq!(world.replicas("v2"), 1);
    assert_eq!(world.condition("Ready").0, "False");
    world.pass(30);
    assert_eq!(world.replicas("v2"), 0);

    let hold = route("onUnready: Hold");
    let mut world = running(&hold);
    world.edit(&two((100, 3), (0, 0), &hold));
    world.settle();
    world.pass(30);
    assert_eq!(world.route_names(), ["beta", "default"]);
    assert_eq!(world.replicas("v2"), 0);
}

#[test]
fn scale_to_zero_is_scale_to_zero() {
    let mut world = running("");
    world.edit(&two((90, 0), (10, 0), ""));
    world.settle();
    assert_eq!((world.replicas("v1"), world.replicas("v2")), (0, 0));
    assert_eq!(world.routed(), "v1=90 v2=10");
    assert_eq!(world.condition("Available").1, "ScaledToZero");
    assert!(world.has(Kind::Service, "order-service"));
}

#[test]
fn without_a_mesh_the_selector_leaves_first() {
    let mut world = running("traffic: {provider: None},");
    assert_eq!(world.pinned(), None);
    world.edit(&two((90, 3), (10, 0), "traffic: {provider: None},"));
    world.settle();
    assert_eq!(world.pinned().as_deref(), Some("v1"));
    assert_eq!(world.replicas("v2"), 1);
    world.pass(30);
    assert_eq!(world.replicas("v2"), 0);
}

#[test]
fn routes_of_a_service_at_zero_stay_as_they_are() {
    let routes = "routes: [{name: beta, match: [{headers: {x-beta: {exact: 'yes'}}}], version: v2}],";
    let mut world = running(routes);
    world.edit(&two((90, 0), (10, 0), routes));
    world.settle();
    world.pass(60);
    assert_eq!((world.replicas("v1"), world.replicas("v2")), (0, 0));
    let http = world.object(Kind::VirtualService, "order-service")["spec"]["http"].as_array().unwrap();
    assert_eq!(http.len(), 2, "{http:?}");
    assert_eq!(world.condition("RoutesReady").0, "True", "{}", world.condition("RoutesReady").2);
    assert!(world.notices.iter().all(|notice| notice.reason != "VersionLost"), "nobody lost what nobody wants");
}
