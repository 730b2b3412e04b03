//! Routes that are there and cannot be written: something holds up that the VirtualService is deleted, or it has lost
//! its owner. In a world made of data.

use jiff::SignedDuration;
use microservice_operator::{
    api::{ActionResult, Verb},
    plan::object::Kind,
};
use serde_json::{Map, Value, json};

use crate::{
    read::service_of,
    rollouts::{SIXTY, on_the_way, service},
    two,
    world::World,
};

const NAME: &str = "order-service";
const NO_MESH: &str = "replicas: 3, traffic: {provider: None},";

/// What mends it.
type Mend = fn(&mut World);

/// What somebody does to the metadata of an object.
type Deed = fn(&mut Map<String, Value>);

fn meddle(world: &mut World, deed: impl FnOnce(&mut Map<String, Value>)) {
    world.meddle(Kind::VirtualService, NAME, |routes| {
        deed(routes["metadata"].as_object_mut().unwrap());
        true
    });
}

fn disown(metadata: &mut Map<String, Value>) {
    metadata.remove("ownerReferences");
}

fn hold(metadata: &mut Map<String, Value>) {
    metadata.insert("finalizers".into(), json!(["example.com/kept"]));
}

/// It stays, as a finalizer holds that up.
fn delete(metadata: &mut Map<String, Value>) {
    hold(metadata);
    let generation = metadata["generation"].as_i64().unwrap();
    metadata.insert("generation".into(), json!(generation + 1));
    metadata.insert("deletionTimestamp".into(), json!("2026-01-01T00:01:00Z"));
}

/// Requests go where the live routes lead, whatever the spec asks for meanwhile.
#[test]
fn nothing_moves_or_drains_while_the_routes_cannot_be_written() {
    let given_back: Mend = |world| {
        let owners = world.object(Kind::DestinationRule, NAME)["metadata"]["ownerReferences"].clone();
        meddle(world, |metadata| drop(metadata.insert("ownerReferences".into(), owners)));
    };
    let offered: Mend = |world| {
        let adopt = json!({"microservice-operator.dev/adopt": NAME});
        meddle(world, |metadata| drop(metadata.insert("annotations".into(), adopt)));
    };
    let gone: Mend = |world| world.remove(Kind::VirtualService, NAME);
    let cases: [(Deed, &str, Mend); 4] = [
        (disown, "NameClash", given_back),
        (disown, "NameClash", offered),
        (disown, "NameClash", gone),
        (delete, "ChildDeleting", gone),
    ];
    for (deed, reason, mended) in cases {
        let mut world = World::new(&two(90, 10));
        world.settle();
        world.pass(60);
        meddle(&mut world, deed);
        world.edit(&two(90, 10).replace("{name: v1, image: 'x:1', weight: 90}, ", ""));
        world.settle();
        world.pass(120);
        assert!(world.has(Kind::Deployment, "order-service-v1"), "{reason}: requests go there");
        assert_eq!(world.subsets(), ["v1", "v2"], "{reason}");
        assert_eq!((world.traffic("v1").effective, world.traffic("v2").effective), (90, 10), "{reason}");
        let (value, told, message) = world.condition("RoutesReady");
        assert_eq!((value.as_str(), told.as_str()), ("False", reason), "{message}");
        assert_eq!(world.condition("Ready").0, "False");
        for _ in 0..3 {
            world.now = world.now.checked_add(SignedDuration::from_secs(1)).unwrap();
            assert!(!world.reconcile(), "{reason}: {:?}", world.status());
        }
        mended(&mut world);
        world.settle();
        assert_eq!(world.routed(), "v2=100", "{reason}");
        assert!(world.has(Kind::Deployment, "order-service-v1"), "{reason}: it drains only now");
        world.pass(120);
        assert!(!world.has(Kind::Deployment, "order-service-v1"), "{reason}");
        assert_eq!(world.subsets(), ["v2"], "{reason}");
        assert_eq!(world.condition("Ready").0, "True", "{reason}: {:?}", world.status());
    }
}

#[test]
fn what_a_route_leads_to_stays_while_that_cannot_be_taken_back() {
    let premium = "replicas: 3, routes: [{name: premium, match: [{headers: {tier: {exact: premium}}}], version: v2}],";
    for deed in [disown as Deed, delete] {
        let mut world = World::new(&two(100, 0).replace("replicas: 3,", premium));
        world.settle();
        world.pass(60);
        assert_eq!(world.route_names(), ["premium", "default"]);
        meddle(&mut world, deed);
        world.edit(&two(100, 0).replace(", {name: v2, image: 'x:2', weight: 0, replicas: 1}", ""));
        world.settle();
        world.pass(120);
        assert!(world.has(Kind::Deployment, "order-service-v2"), "{:?}", world.status());
        assert_eq!(world.subsets(), ["v1", "v2"]);
        world.remove(Kind::VirtualService, NAME);
        world.settle();
        world.pass(120);
        assert!(!world.has(Kind::Deployment, "order-service-v2"));
        assert_eq!((world.route_names(), world.condition("Ready").0.as_str()), (vec!["default".to_owned()], "True"));
    }
}

#[test]
fn weights_that_are_edited_meanwhile_begin_where_the_way_before_had_led() {
    let edited = |stuck: bool| {
        let mut world = on_the_way("v1=100 v2=0", "v1=0 v2=100", SIXTY);
        assert_eq!(world.routed(), "v1=40 v2=60");
        let owners = world.object(Kind::VirtualService, NAME)["metadata"]["ownerReferences"].clone();
        if stuck {
            meddle(&mut world, disown);
        }
        world.edit(&service("v1=70 v2=30", SIXTY));
        world.settle();
        if stuck {
            assert_eq!(world.routed(), "v1=40 v2=60");
            meddle(&mut world, |metadata| drop(metadata.insert("ownerReferences".into(), owners)));
            world.settle();
        }
        world.routed()
    };
    assert_eq!((edited(true).as_str(), edited(false).as_str()), ("v1=58 v2=42", "v1=58 v2=42"));
}

#[test]
fn the_subsets_stay_on_the_way_out_of_the_mesh_while_something_holds_the_routes() {
    let mut world = World::new(&two(100, 0));
    world.settle();
    world.pass(60);
    meddle(&mut world, hold);
    world.edit(&two(100, 0).replace("replicas: 3,", NO_MESH));
    world.settle();
    world.pass(120);
    assert!(!world.object(Kind::VirtualService, NAME)["metadata"]["deletionTimestamp"].is_null());
    assert_eq!(world.subsets(), ["v1", "v2"], "the mesh has the routes still");
    assert_eq!(world.pinned().as_deref(), Some("v1"));
    let (value, reason, message) = world.condition("RoutesReady");
    assert_eq!((value.as_str(), reason.as_str()), ("False", "ChildDeleting"), "{message}");
    world.remove(Kind::VirtualService, NAME);
    world.settle();
    assert!(world.has(Kind::DestinationRule, NAME), "the mesh has yet to forget the routes");
    world.pass(5);
    assert!(!world.has(Kind::DestinationRule, NAME));
    assert_eq!(world.condition("Ready").0, "True");
}

/// Without routes the Service would send requests to all that runs.
#[test]
fn a_version_without_weight_gets_no_pods_when_the_held_routes_go() {
    let istio = service_of("v1=50 v2=50 v3=0", 3, "{}");
    let mut world = World::new(&istio);
    world.settle();
    world.pass(60);
    meddle(&mut world, hold);
    world.edit(&istio.replace("replicas: 3,", NO_MESH));
    world.settle();
    world.pass(120);
    assert_eq!((world.routed().as_str(), world.replicas("v3")), ("v1=50 v2=50", 0));
    assert_eq!(world.condition("RoutesReady").1, "ChildDeleting");
    world.remove(Kind::VirtualService, NAME);
    for _ in 0..10 {
        world.settle();
        assert_eq!((world.pinned(), world.replicas("v1"), world.replicas("v3")), (None, 3, 0));
        world.pass(1);
    }
    assert!(!world.has(Kind::VirtualService, NAME) && !world.has(Kind::DestinationRule, NAME));
}

#[test]
fn whoever_asks_meanwhile_is_told_why_nothing_can_be_done() {
    let mut world = World::new(&two(90, 10).replace("replicas: 3,", "replicas: 3, rollout: {steps: [{weight: 50}]},"));
    world.settle();
    world.pass(60);
    world.edit(&two(10, 90).replace("replicas: 3,", "replicas: 3, rollout: {steps: [{weight: 50}, {pause: {}}]},"));
    world.settle();
    assert!(world.ask(Verb::Abort).is_ok());
    meddle(&mut world, disown);
    world.settle();
    let why = world.ask(Verb::Retry).unwrap_err();
    assert!(why.contains("the VirtualService of the service cannot be changed now"), "{why}");
    let mut before = world.answers.iter().filter(|answer| answer.uid == "action-1");
    assert!(before.all(|answer| answer.result == ActionResult::Done), "what was done stays so");
}
