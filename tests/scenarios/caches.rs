//! What a reconciliation may decide on, while the watches are behind or deliver all anew.

use kube::{
    core::{DeserializeGuard, DynamicObject},
    runtime::watcher::Event,
};
use microservice_operator::{
    api::Microservice,
    observe::{Caches, Key, Source, Written, child::Child, views::Peer},
    plan::object::Kind,
};
use serde_json::json;

fn key() -> Key {
    Key::new("shop", "order-service")
}

/// A Microservice of that name, as a watch delivers it.
fn delivered(name: &str, version: &str) -> DeserializeGuard<Microservice> {
    let mut microservice = Microservice::new(name, crate::world::spec("{image: 'x:1'}"));
    microservice.metadata.namespace = Some("shop".into());
    microservice.metadata.uid = Some(name.into());
    microservice.metadata.resource_version = Some(version.into());
    DeserializeGuard(Ok(microservice))
}

fn take(caches: &Caches, event: &Event<DeserializeGuard<Microservice>>) {
    caches.microservices.take(event, Peer::of);
}

/// Caches that have the Microservice in version 5, of which the operator has then written version 9.
fn written() -> Caches {
    let caches = Caches::new(None);
    take(&caches, &Event::Init);
    take(&caches, &Event::InitApply(delivered("order-service", "5")));
    take(&caches, &Event::InitDone);
    assert!(caches.are_current(&key(), Some("5")));
    let round = caches.rounds(Source::Microservices);
    let written = Written::Applied { resource_version: "9".into(), round };
    caches.expect(&key(), Source::Microservices, key(), written);
    assert!(!caches.are_current(&key(), Some("5")));
    caches
}

/// A reconciliation gets the Microservice when it is queued to run, and the watch may deliver a newer one before it does.
#[test]
fn what_was_handed_over_before_the_watch_delivered_the_status_is_decided_on_no_more() {
    let caches = written();
    take(&caches, &Event::Apply(delivered("order-service", "9")));
    assert!(!caches.are_current(&key(), Some("5")), "the status of version 5 is not the last that was written");
    assert!(caches.are_current(&key(), Some("9")));
}

#[test]
fn a_config_map_that_is_gone_leaves_nothing_behind() {
    let caches = Caches::new(None);
    let key = Key::new("shop", "settings");
    let live = |version: &str| -> DynamicObject {
        let metadata = json!({"name": "settings", "namespace": "shop", "uid": "1", "resourceVersion": version});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    };
    let take = |event: Event<DynamicObject>| {
        caches.of(Kind::ConfigMap).unwrap().take(&event, |object| Child::of(Kind::ConfigMap, object));
    };
    caches.note_digest(&key, "1".into(), "early".into());
    take(Event::Apply(live("1")));
    assert_eq!(caches.digest(&key), None, "it was not there when it was read");
    caches.note_digest(&key, "1".into(), "first".into());
    assert_eq!(caches.digest(&key).as_deref(), Some("first"));
    caches.forget_digest(&key);
    assert_eq!(caches.digest(&key), None);
}

/// While everything is listed anew, Microservices come one after the other, and none is handed over before the last.
#[test]
fn a_listing_under_way_lets_nothing_be_decided_on_what_was_there_before() {
    let caches = written();
    take(&caches, &Event::Init);
    take(&caches, &Event::InitApply(delivered("another", "12")));
    assert!(!caches.are_current(&key(), Some("5")), "another one of a later version tells nothing of this one");
    take(&caches, &Event::InitApply(delivered("order-service", "9")));
    assert!(!caches.are_current(&key(), Some("5")));
    take(&caches, &Event::InitDone);
    assert!(caches.are_current(&key(), Some("9")));
}
