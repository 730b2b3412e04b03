//! Without a mesh, with one, and from one to the other.

use jiff::{SignedDuration, Timestamp};
use microservice_operator::{api::Verb, plan::object::Kind};
use serde_json::json;

use crate::{
    others::NAME,
    read::{message, service_of},
    running, two,
    world::{Pods, World},
};

/// What each step of the way between a mesh and the Service takes at least.
const WAIT: SignedDuration = SignedDuration::from_secs(5);

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
fn without_a_mesh_it_is_told_that_policies_are_not_applied() {
    let none =
        |more: &str| two(100, 0).replace("replicas: 3,", &format!("replicas: 3, traffic: {{provider: None{more}}},"));
    for (more, ignored) in [
        ("", ""),
        (", timeout: 3s", "; timeouts, retries and circuit breakers are not applied"),
        (", ports: [{name: http, retries: {attempts: 0}}]", "; timeouts, retries and circuit breakers are not applied"),
    ] {
        let mut world = World::new(&none(more));
        world.settle();
        let (value, reason, message) = world.condition("RoutesReady");
        assert_eq!((value.as_str(), reason.as_str()), ("True", "ProviderNone"));
        assert_eq!(message, format!("the Service sends all requests to one version{ignored}"));
        assert_eq!(world.condition("Ready").0, "True");
    }
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
fn routes_lead_to_a_version_once_the_service_has_its_pods() {
    let premium = "replicas: 3, routes: [{name: premium, match: [{headers: {tier: {exact: premium}}}], version: v2}],";
    let spec = two(100, 0).replace("replicas: 3,", premium);
    let mut world = World::new(&spec.replace("replicas: 3,", "replicas: 3, traffic: {provider: None},"));
    world.settle();
    world.edit(&spec);
    world.settle();
    world.pass(5);
    assert_eq!((world.pinned().as_deref(), world.route_names()), (Some("v1"), vec!["default".to_owned()]));
    let (_, reason, why) = world.condition("RoutesReady");
    assert_eq!(reason, "RouteLeftOut");
    assert!(
        why.starts_with("left out until the mesh has the version's pods, as requests are handed to it: premium"),
        "{why}"
    );
    world.pass(6);
    assert_eq!(
        (world.pinned(), world.route_names()),
        (None, vec!["default".to_owned()]),
        "the mesh is to learn of them"
    );
    world.pass(5);
    assert_eq!(world.route_names(), ["premium", "default"]);
    assert_eq!(world.condition("Ready").0, "True");
}

#[test]
fn routes_that_somebody_takes_away_come_back_at_once_but_behind_their_subsets() {
    let mut world = running();
    let routed = world.routed();
    world.remove(Kind::VirtualService, "order-service");
    world.reconcile();
    assert_eq!(world.routed(), routed);
    world.settle();
    world.remove(Kind::VirtualService, "order-service");
    world.remove(Kind::DestinationRule, "order-service");
    world.settle();
    assert!(world.has(Kind::DestinationRule, "order-service"));
    assert!(!world.has(Kind::VirtualService, "order-service"), "the mesh must know the subsets first");
    let (value, reason, _) = world.condition("Ready");
    assert_eq!((value.as_str(), reason.as_str()), ("False", "ProviderChanging"));
    world.pass(5);
    assert_eq!(world.routed(), routed);
    assert_eq!(world.condition("Ready").0, "True");
}

/// Whichever status is lost, of whatever was written: each step of the way is in force for long enough before the next.
#[test]
fn a_status_that_is_lost_on_the_way_from_the_mesh_to_the_service_shortens_no_wait() {
    for lost in 0..8 {
        let mut world = World::new(&two(100, 0));
        world.settle();
        world.pass(600);
        world.edit(&two(100, 0).replace("replicas: 3,", "replicas: 3, traffic: {provider: None},"));
        let (mut narrowed, mut unrouted, mut passes) = (None, None, 0);
        for _ in 0..40 {
            let before = world.microservice.status.clone();
            world.reconcile();
            if passes == lost {
                world.microservice.status = before;
            }
            passes += 1;
            let long = |since: Option<Timestamp>| since.is_some_and(|at| world.now.duration_since(at) >= WAIT);
            let gone = |kind| !world.has(kind, "order-service");
            if world.pinned().is_some() && narrowed.is_none() {
                narrowed = Some(world.now);
            }
            if gone(Kind::VirtualService) && unrouted.is_none() {
                assert!(
                    long(narrowed),
                    "pass {lost} lost: the routes went before clients knew what the Service selects"
                );
                unrouted = Some(world.now);
            }
            if gone(Kind::DestinationRule) {
                assert!(long(unrouted), "pass {lost} lost: the subsets went before the mesh had forgotten the routes");
                break;
            }
            world.now += SignedDuration::from_secs(1);
        }
        world.settle();
        world.pass(20);
        assert!(unrouted.is_some() && !world.has(Kind::DestinationRule, "order-service"));
        assert_eq!(world.condition("Ready").0, "True");
    }
}

#[test]
fn what_is_asked_of_a_rollout_that_lost_its_mesh_is_refused() {
    let policy = "{steps: [{weight: 10}, {pause: {}}]}";
    let mut world = World::new(&service_of("v1=100 v2=0", 3, policy));
    world.settle();
    world.pass(600);
    world.edit(&service_of("v1=0 v2=100", 3, policy));
    world.settle();
    world.pass(20);
    let none = service_of("v1=0 v2=100", 3, policy).replace("replicas: 3,", "replicas: 3, traffic: {provider: None},");
    world.edit(&none);
    world.settle();
    world.pass(30);
    assert_eq!(world.pinned().as_deref(), Some("v1"));
    assert_eq!(world.ask(Verb::Promote).unwrap_err(), "no mesh carries the weights of the service");
    assert_eq!(
        message(&world),
        "the rollout is back before its first step, as no mesh carries the weights of the service: give it one again, or take out \
         spec.rollout to give the versions their weights at once; traffic stays at v1 100"
    );
    world.edit(&two(0, 100).replace("replicas: 3,", "replicas: 3, traffic: {provider: None},"));
    world.settle();
    world.pass(30);
    assert_eq!(world.pinned().as_deref(), Some("v2"));
}

#[test]
fn no_route_moves_on_the_way_out_of_the_mesh_once_the_service_is_narrowed() {
    let mut world = World::new(&two(100, 0));
    world.settle();
    world.pass(20);
    world.pods.insert("v2".into(), Pods::Broken("Error"));
    world.edit(&two(0, 100).replace("replicas: 3,", "replicas: 3, traffic: {provider: None},"));
    world.settle();
    assert_eq!((world.routed().as_str(), world.pinned().as_deref()), ("v1=100", Some("v1")));
    world.pods.insert("v2".into(), Pods::Healthy);
    world.settle();
    assert_eq!(world.routed(), "v1=100", "requests to v2 would meet no pod");
    world.pass(30);
    assert_eq!(world.pinned().as_deref(), Some("v2"));
    assert!(!world.has(Kind::VirtualService, "order-service"));
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

/// Without a mesh nothing but having no pods keeps requests away from it.
#[test]
fn a_version_without_weight_has_no_pods_until_the_mesh_knows_the_routes() {
    let istio = service_of("v1=50 v2=50 v3=0", 3, "{}");
    let none = istio.replace("replicas: 3,", "replicas: 3, traffic: {provider: None},");
    let mut world = World::new(&none);
    world.settle();
    world.pass(60);
    assert_eq!((world.pinned(), world.replicas("v3")), (None, 0));
    world.edit(&istio);
    for _ in 0..9 {
        world.settle();
        assert_eq!(world.replicas("v3"), 0, "the mesh may not have the routes yet");
        world.pass(1);
    }
    world.pass(10);
    assert_eq!((world.routed().as_str(), world.replicas("v3")), ("v1=50 v2=50", 3));
}

#[test]
fn a_version_without_weight_loses_its_pods_before_the_routes_go() {
    let istio = service_of("v1=50 v2=50 v3=0", 3, "{}");
    let mut world = World::new(&istio);
    world.settle();
    world.pass(60);
    assert_eq!((world.routed().as_str(), world.replicas("v3")), ("v1=50 v2=50", 3));
    world.edit(&istio.replace("replicas: 3,", "replicas: 3, traffic: {provider: None},"));
    world.reconcile();
    assert_eq!((world.has(Kind::VirtualService, "order-service"), world.replicas("v3")), (true, 0));
    world.settle();
    world.pass(10);
    assert!(!world.has(Kind::VirtualService, "order-service") && !world.has(Kind::DestinationRule, "order-service"));
    assert_eq!((world.pinned(), world.replicas("v1"), world.replicas("v3")), (None, 3, 0));
}

const NO_MESH: &str = "replicas: 3, traffic: {provider: None},";

/// What it had is gone, so pauses that ran out meanwhile and analyses that passed are worth nothing.
#[test]
fn a_rollout_whose_mesh_comes_back_begins_with_its_first_step() {
    let policy = "{steps: [{weight: 5}, {pause: {duration: 10m}}, {weight: 50}, {pause: {}}]}";
    let mut world = World::new(&service_of("v1=100 v2=0", 3, policy));
    world.settle();
    world.pass(600);
    let raised = service_of("v1=0 v2=100", 3, policy);
    world.edit(&raised);
    world.settle();
    assert_eq!(world.routed(), "v1=95 v2=5");
    world.edit(&raised.replace("replicas: 3,", NO_MESH));
    world.settle();
    world.pass(900);
    assert_eq!(world.pinned().as_deref(), Some("v1"));
    world.edit(&raised);
    world.settle();
    world.pass(30);
    assert_eq!(world.routed(), "v1=95 v2=5");
    world.pass(590);
    assert_eq!(world.routed(), "v1=50 v2=50");
}

#[test]
fn without_a_mesh_a_version_that_was_rolled_back_has_no_pods() {
    let policy = "{steps: [{weight: 5}, {pause: {}}]}";
    let mut world = World::new(&service_of("v1=60 v2=40 v3=0", 3, policy));
    world.settle();
    world.pass(600);
    let raised = service_of("v1=50 v2=40 v3=10", 3, policy);
    world.edit(&raised);
    world.settle();
    world.ask(Verb::Abort).unwrap();
    world.edit(&raised.replace("replicas: 3,", NO_MESH));
    world.settle();
    world.pass(120);
    assert_eq!((world.pinned(), world.replicas("v1"), world.replicas("v3")), (None, 3, 0));
}

/// Whoever is in the way may stay for good: until then nothing changes but what is told.
#[test]
fn a_foreign_object_in_the_way_into_the_mesh_stops_no_failover() {
    for kind in [Kind::VirtualService, Kind::DestinationRule] {
        let plain = two(100, 0).replace("replicas: 3,", NO_MESH);
        let mut world = World::new(&plain);
        world.settle();
        world.pass(60);
        world.put_foreign(kind, "order-service", json!({"metadata": {}, "spec": {"hosts": ["else"], "host": "else"}}));
        world.edit(&two(100, 0));
        world.settle();
        world.pass(60);
        assert_eq!(world.pinned().as_deref(), Some("v1"));
        assert_eq!(world.condition("RoutesReady").1, "NameClash", "{}", message(&world));
        world.pods.insert("v1".into(), Pods::Broken("Error"));
        world.settle();
        world.pass(60);
        assert_eq!(world.pinned().as_deref(), Some("v2"), "{kind:?}");
        world.remove(kind, "order-service");
        world.pods.insert("v1".into(), Pods::Healthy);
        world.settle();
        world.pass(120);
        assert_eq!((world.pinned(), world.routed().as_str()), (None, "v1=100"));
    }
}

#[test]
fn what_the_mesh_led_to_has_its_time_to_drain_once_the_spec_has_no_ports() {
    let removed = two(0, 100).replace("{name: v1, image: 'x:1', weight: 0}, ", "");
    for (edit, stays) in [(two(0, 100), true), (removed, false)] {
        let mut world = running();
        world.edit(&two(0, 100));
        world.settle();
        world.pass(1);
        assert_eq!(world.routed(), "v2=100");
        world.edit(&edit.replace("ports: [{name: http, port: 80, targetPort: 3000}], ", ""));
        world.settle();
        assert!(!world.has(Kind::Service, NAME) && !world.has(Kind::VirtualService, NAME));
        world.pass(28);
        assert_eq!(world.replicas("v1"), 3, "requests of before have 30 s to end");
        world.pass(2);
        assert_eq!(world.has(Kind::Deployment, "order-service-v1"), stays);
        assert!(!stays || world.replicas("v1") == 0, "a worker without weight would fetch work");
        assert_eq!(world.condition("Ready").0, "True");
        world.edit(&two(100, 0).replace("ports: [{name: http, port: 80, targetPort: 3000}], ", ""));
        world.settle();
        assert_eq!(world.replicas("v2"), 0, "the mesh led nobody to it any more");
    }
}
