//! ConfigMaps as a part of the revisions of an image: changed, missing, kept, and given back.

use std::collections::{BTreeMap, BTreeSet};

use crate::world::World;
use microservice_operator::{
    api::{RolloutState, Verb},
    plan::{object::Kind, resources::digest::digest},
};
use serde_json::{Value, json};

const STEPS: &str = ", rollout: {steps: [{weight: 5}, {pause: {}}]}";

/// A service of an image whose pods refer to the ConfigMap `settings`, and to `extra` if there is one.
fn service(image: &str, more: &str) -> String {
    format!(
        "{{ports: [{{name: http, port: 80}}], replicas: 2, image: 'x:{image}', \
         envFrom: [{{configMapRef: {{name: settings}}}}], \
         volumes: [{{name: extra, configMap: {{name: extra, optional: true}}}}]{more}}}"
    )
}

fn put(world: &mut World, name: &str, value: &str) {
    let data = BTreeMap::from([("key".to_owned(), value.to_owned())]);
    world.config_maps.insert(name.into(), Some(data));
    world.settle();
}

/// The revision that the spec asks for.
fn newest(world: &World) -> String {
    world.status().revision.clone().expect("the status names the newest revision")
}

/// A service at its first revision, with the content `one`.
fn running(more: &str) -> (World, String) {
    let mut world = World::new(&service("1", more));
    put(&mut world, "settings", "one");
    world.pass(600);
    let one = newest(&world);
    assert_eq!(world.routed(), format!("{one}=100"));
    assert_eq!(world.condition("Ready").0, "True", "{:?}", world.status());
    (world, one)
}

/// What the pods of a revision have in `settings`, by the copy that they refer to.
fn content(world: &World, revision: &str) -> Value {
    let copy = world.object(Kind::ConfigMap, &copy_of(world, revision, "/containers/0/envFrom/0/configMapRef/name"));
    assert_eq!(copy["immutable"], true);
    copy["data"]["key"].clone()
}

fn copy_of(world: &World, revision: &str, place: &str) -> String {
    let deployment = world.object(Kind::Deployment, &format!("order-service-{revision}"));
    deployment["spec"]["template"]["spec"].pointer(place).unwrap().as_str().unwrap().to_owned()
}

fn copies(world: &World) -> Vec<String> {
    let found = world.caches.of(Kind::ConfigMap).unwrap().find("shop/order-service");
    found.into_iter().map(|(key, _)| key.name).collect()
}

#[test]
fn a_changed_config_map_is_a_revision_that_walks_the_steps_and_turns_back() {
    let (mut world, one) = running(STEPS);
    put(&mut world, "settings", "two");
    world.pass(5);
    let two = newest(&world);
    assert_ne!(two, one);
    let notes: Vec<&str> =
        world.notices.iter().filter(|it| it.reason == "RevisionChanged").map(|it| it.note.as_str()).collect();
    assert_eq!(notes, [format!("a ConfigMap changed: the newest revision is {two}, before {one}")]);
    assert_eq!(world.routed(), format!("{two}=5 {one}=95"));
    assert_eq!((content(&world, &one), content(&world, &two)), (json!("one"), json!("two")));
    assert!(world.ask(Verb::Abort).is_ok());
    assert_eq!(world.routed(), format!("{one}=100"));
    assert_eq!(content(&world, &one), "one", "the old configuration is back with its revision");
    assert!(world.ask(Verb::Retry).is_ok());
    world.pass(5);
    assert!(world.ask(Verb::PromoteFull).is_ok());
    world.pass(60);
    assert_eq!(world.routed(), format!("{two}=100"));

    put(&mut world, "settings", "one");
    world.pass(5);
    assert_eq!(newest(&world), one, "the same content is the same revision");
    assert_eq!(world.routed(), format!("{one}=5 {two}=95"));
    assert_eq!(content(&world, &one), "one");
}

#[test]
fn a_changed_config_map_ends_an_abort_and_suspend_holds_what_comes_then() {
    for suspends in [false, true] {
        let (mut world, one) = running(STEPS);
        put(&mut world, "settings", "two");
        world.pass(5);
        assert!(world.ask(Verb::Abort).is_ok());
        if suspends {
            world.edit(&service("1", &STEPS.replace("{steps", "{suspend: true, steps")));
            world.settle();
            assert_eq!(world.status().rollout.as_ref().unwrap().state, RolloutState::Aborted);
        }
        put(&mut world, "settings", "three");
        world.pass(5);
        let three = newest(&world);
        let routed = if suspends { format!("{one}=100") } else { format!("{three}=5 {one}=95") };
        assert_eq!(world.routed(), routed);
        assert_ne!(world.status().rollout.as_ref().unwrap().state, RolloutState::Aborted);
    }
}

#[test]
fn one_that_comes_back_on_the_way_ends_the_rollout() {
    let (mut world, one) = running(STEPS);
    put(&mut world, "settings", "two");
    world.pass(5);
    put(&mut world, "settings", "one");
    assert_eq!(world.routed(), format!("{one}=100"));
    assert_eq!(world.status().rollout.as_ref().unwrap().state, RolloutState::Completed);
}

#[test]
fn an_optional_one_counts_from_when_it_comes_to_when_it_goes() {
    let (mut world, one) = running("");
    let never = copy_of(&world, &one, "/volumes/0/configMap/name");
    assert!(!world.has(Kind::ConfigMap, &never), "{never}");
    put(&mut world, "extra", "here");
    world.pass(60);
    let two = newest(&world);
    assert_ne!(two, one);
    assert!(world.has(Kind::ConfigMap, &copy_of(&world, &two, "/volumes/0/configMap/name")));
    world.config_maps.remove("extra");
    world.settle();
    world.pass(60);
    assert_eq!(newest(&world), one);
    assert_eq!(world.condition("Ready").0, "True");
}

#[test]
fn a_service_waits_for_the_first_content_and_keeps_the_last() {
    let mut world = World::new(&service("1", ""));
    world.settle();
    assert!(!world.has(Kind::Service, "order-service"));
    let (ready, reason, message) = world.condition("Ready");
    assert_eq!((ready.as_str(), reason.as_str()), ("False", "ConfigMapMissing"));
    assert_eq!(
        message,
        "something is missing: spec.envFrom: the ConfigMap settings does not exist: create it, or make the reference \
         optional; nothing runs yet"
    );
    assert_eq!(world.condition("Stalled").0, "False", "it goes on by itself when the ConfigMap comes");
    put(&mut world, "settings", "one");
    world.pass(5);
    let one = newest(&world);

    world.config_maps.remove("settings");
    world.settle();
    assert_eq!(newest(&world), one);
    let (_, reason, message) = world.condition("Ready");
    let copy = copy_of(&world, &one, "/containers/0/envFrom/0/configMapRef/name");
    assert_eq!(reason, "ConfigMapMissing");
    assert!(message.starts_with(&format!("the ConfigMap settings does not exist: its last copy {copy} stays in use")));
    world.edit(&service("2", ""));
    world.settle();
    world.pass(60);
    let two = newest(&world);
    assert_ne!(two, one, "a new image goes on with the last content");
    assert_eq!(world.routed(), format!("{two}=100"));
    assert_eq!(content(&world, &two), "one");

    world.config_maps.insert("settings".into(), None);
    world.settle();
    assert!(world.condition("Ready").2.contains("cannot be read: forbidden"), "{:?}", world.condition("Ready"));
    assert_eq!(newest(&world), two);
    world.edit(&service("2", ", env: [{name: A, valueFrom: {configMapKeyRef: {name: other, key: key}}}]"));
    world.settle();
    world.pass(60);
    assert_eq!(world.routed(), format!("{two}=100"), "the last accepted spec stands until its ConfigMap is there");
    assert!(world.condition("Ready").2.contains("spec.env[A]: the ConfigMap other does not exist"));
    put(&mut world, "settings", "one");
    put(&mut world, "other", "here");
    world.pass(60);
    assert_ne!(newest(&world), two);
    assert_eq!(world.condition("Ready").0, "True");
}

#[test]
fn copies_are_kept_as_long_as_the_history_knows_them() {
    let (mut world, _) = running(", revisionHistoryLimit: 2");
    for value in ["two", "three", "four", "five"] {
        put(&mut world, "settings", value);
        world.pass(60);
        assert_eq!(content(&world, &newest(&world)), value);
    }
    assert_eq!(copies(&world).len(), 3, "{:?}", copies(&world));
    put(&mut world, "settings", "four");
    world.pass(60);
    assert_eq!(copies(&world).len(), 3);
    world.edit(&service("1", ", configRevisions: false, revisionHistoryLimit: 0"));
    world.settle();
    world.pass(60);
    assert_eq!(copies(&world), Vec::<String>::new(), "nothing refers to them any more");
    let deployment = copy_of(&world, &newest(&world), "/containers/0/envFrom/0/configMapRef/name");
    assert_eq!(deployment, "settings");
    put(&mut world, "settings", "six");
    assert_eq!(world.condition("Ready").0, "True", "with false a change is none of the operator's business");
}

#[test]
fn pods_that_were_made_without_copies_go_on_without_until_they_are_changed() {
    let mut world = World::new(&service("1", ", configRevisions: false"));
    put(&mut world, "settings", "one");
    world.pass(600);
    let one = newest(&world);
    // What an older operator left behind: the same pods, and nothing said about copies.
    world.edit(&service("1", ""));
    world.settle();
    world.pass(60);
    let before = world.object(Kind::Deployment, &format!("order-service-{one}")).clone();
    put(&mut world, "settings", "two");
    world.pass(60);
    assert_eq!(newest(&world), one);
    assert_eq!(world.object(Kind::Deployment, &format!("order-service-{one}")), &before);
    assert_eq!(copies(&world), Vec::<String>::new());
    world.edit(&service("2", ""));
    world.settle();
    world.pass(60);
    assert_eq!(content(&world, &newest(&world)), "two");
    let mut asked = World::new(&service("1", ", configRevisions: false"));
    put(&mut asked, "settings", "one");
    asked.pass(60);
    asked.edit(&service("1", ", configRevisions: true"));
    asked.settle();
    asked.pass(60);
    assert_eq!(content(&asked, &newest(&asked)), "one", "true begins at once");
}

#[test]
fn a_copy_that_somebody_deletes_is_made_again_or_its_loss_is_told() {
    let (mut world, one) = running(STEPS);
    let copy = copies(&world).remove(0);
    world.remove(Kind::ConfigMap, &copy);
    world.settle();
    assert!(world.has(Kind::ConfigMap, &copy));
    put(&mut world, "settings", "two");
    world.pass(5);
    world.remove(Kind::ConfigMap, &copy);
    world.settle();
    assert!(!world.has(Kind::ConfigMap, &copy), "nobody knows what it held");
    let (_, reason, message) = world.condition("Ready");
    assert_eq!(reason, "ConfigMapMissing");
    assert!(message.starts_with(&format!("{copy}, the copy of the ConfigMap settings that pods use, was deleted")));
    assert_eq!(world.routed(), format!("{}=5 {one}=95", newest(&world)));
    put(&mut world, "settings", "one");
    assert!(world.has(Kind::ConfigMap, &copy), "the content is back");
    world.pass(60);
    assert_eq!(world.condition("Ready").0, "True");
}

#[test]
fn somebody_elses_config_map_is_never_used_in_place_of_a_copy() {
    let (mut world, one) = running(STEPS);
    let first = copies(&world).remove(0);
    let mut probe = World::new(&service("1", ""));
    put(&mut probe, "settings", "two");
    let taken = copies(&probe).remove(0);
    assert_ne!(taken, first);
    world.put_foreign(Kind::ConfigMap, &taken, json!({"metadata": {}, "data": {"key": "evil"}}));
    put(&mut world, "settings", "two");
    world.pass(60);
    let two = newest(&world);
    assert!(!world.has(Kind::Deployment, &format!("order-service-{two}")));
    assert_eq!(world.routed(), format!("{one}=100"));
    let (_, reason, message) = world.condition("Stalled");
    assert_eq!(reason, "NameClash");
    assert!(
        message.starts_with(&format!("a ConfigMap named {taken} exists and belongs to somebody else")),
        "{message}"
    );
    world.remove(Kind::ConfigMap, &taken);
    world.settle();
    world.pass(5);
    assert_eq!(world.routed(), format!("{two}=5 {one}=95"));
    assert_eq!(content(&world, &two), "two");
}

#[test]
fn versions_use_the_config_maps_themselves() {
    let versions = "{ports: [{name: http, port: 80}], envFrom: [{configMapRef: {name: settings}}], \
                    versions: [{name: v1, image: 'x:1'}]}";
    let mut world = World::new(versions);
    put(&mut world, "settings", "one");
    world.pass(60);
    let before = digest(world.object(Kind::Deployment, "order-service-v1"), 10);
    put(&mut world, "settings", "two");
    assert_eq!(digest(world.object(Kind::Deployment, "order-service-v1"), 10), before);
    assert_eq!((copies(&world), world.status().revision.clone()), (Vec::new(), None));
}

#[test]
fn one_that_changes_every_second_fills_no_cluster_and_still_goes_live() {
    let (mut world, one) = running("");
    let mut live = BTreeSet::new();
    for second in 0..90 {
        put(&mut world, "settings", &format!("tick {second}"));
        world.pass(1);
        live.insert(world.routed());
        let deployments = world.caches.of(Kind::Deployment).unwrap().find("shop/order-service");
        assert!(deployments.len() <= 6, "{second} s: {} Deployments", deployments.len());
    }
    assert!(live.iter().any(|routed| !routed.contains(&one)), "nothing ever went live: {live:?}");
    let (ready, reason, message) = world.condition("Ready");
    assert_eq!((ready.as_str(), reason.as_str()), ("False", "ConfigMapChanging"), "{message}");

    let before = newest(&world);
    world.edit(&service("2", ""));
    world.settle();
    let edited = newest(&world);
    assert_ne!(edited, before, "an edit of the spec is not held back");
    assert_eq!(content(&world, &edited), "tick 89");
    put(&mut world, "settings", "last");
    world.pass(120);
    let last = newest(&world);
    assert_eq!(content(&world, &last), "last");
    assert_eq!(world.routed(), format!("{last}=100"));
    assert_eq!(world.condition("Ready").0, "True", "{:?}", world.status());
}
