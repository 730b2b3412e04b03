use std::{
    future::ready,
    sync::{
        Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
};

use axum::http::{Method, Request, Response};
use kube::client::Body;
use tower::{BoxError, service_fn, timeout::error::Elapsed};

use super::*;
use crate::stub;

/// An API server that has the Microservice, and answers everything else alike.
fn answering(code: u16, reason: &'static str) -> Client {
    stub::client(move |request| {
        let there = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                           "metadata": {"name": "a", "uid": "0", "generation": 0, "resourceVersion": "1"}});
        if request.method() == Method::GET { (200, there) } else { stub::refusal(code, reason) }
    })
}

/// An API server that has the Microservice and takes what it is given; but it answers so many reads and no more, and never
/// a write of a Deployment. And what it was given.
fn silent(reads: usize) -> (Client, Arc<Mutex<Vec<String>>>) {
    let (given, read) = (Arc::new(Mutex::new(Vec::new())), AtomicUsize::new(0));
    let noted = given.clone();
    let serve = move |request: Request<Body>| {
        let path = request.uri().path().to_owned();
        let answers = if request.method() == Method::GET {
            read.fetch_add(1, Ordering::SeqCst) < reads
        } else {
            noted.lock().unwrap().push(path.rsplit("/shop/").next().unwrap().to_owned());
            !path.contains("/deployments/")
        };
        let metadata = json!({"name": "a", "namespace": "shop", "uid": "0", "generation": 0, "resourceVersion": "1"});
        let there = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata});
        let answer = Response::new(Body::from(there.to_string().into_bytes()));
        ready(if answers { Ok(answer) } else { Err(BoxError::from(Elapsed::new())) })
    };
    (Client::new(service_fn(serve), "default"), given)
}

fn identity() -> Identity {
    Identity { namespace: "shop".into(), name: "a".into(), uid: "0".into(), ..Identity::default() }
}

fn object(kind: Kind, name: &str) -> Object {
    let resource = kind.api_resource();
    let value =
        json!({"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}, "spec": {}});
    Object { kind, name: name.to_owned(), value }
}

#[tokio::test]
async fn a_write_that_is_not_answered_leaves_the_routes_to_be_written_and_nothing_else() {
    let planned = [
        (Kind::ServiceAccount, "a"),
        (Kind::Deployment, "a-v1"),
        (Kind::Deployment, "a-v2"),
        (Kind::DestinationRule, "a"),
        (Kind::VirtualService, "a"),
    ];
    let planned = planned.map(|(kind, name)| object(kind, name));
    let removal = ChildRef {
        kind: Kind::Deployment,
        name: "a-v0".into(),
        uid: "1".into(),
        version: None,
        accepted: None,
        size: 0,
    };
    let before = ["serviceaccounts/a", "deployments/a-v1"];
    for (reads, after, why) in [
        (2, &["destinationrules/a", "virtualservices/a"][..], "it answers all else"),
        (1, &[][..], "it answers nothing at all any more"),
    ] {
        let (client, given) = silent(reads);
        let applier = Applier::new(client, Arc::new(Caches::new(None)));
        let removals = [removal.clone()];
        let (applied, failed) = applier.apply((&identity(), "1"), &planned, &removals).await;
        assert_eq!(*given.lock().unwrap(), [&before[..], after].concat(), "{why}");
        assert_eq!(applied.created.len(), 1 + after.len(), "{why}");
        let failed = failed.unwrap();
        assert_eq!((failed.first.kind(), failed.routed), (Some(Kind::Deployment), !after.is_empty()), "{why}");
        assert!(!failed.first.passes() && !failed.first.needs_a_person(), "{why}: it is tried again, and told");
    }
}

#[tokio::test]
async fn what_is_somebody_elses_is_so_while_it_is_being_deleted_too() {
    let applier = Applier::new(answering(500, "Asked"), Arc::new(Caches::new(None)));
    let kept = object(Kind::ControllerRevision, "a-accepted-1");
    let owner = |uid: &str| {
        json!({"ownerReferences": [{"apiVersion": "microservice-operator.dev/v1alpha1", "kind": "Microservice",
                                    "name": "a", "uid": uid, "controller": true}]})
    };
    for (more, foreign) in [
        (json!({}), true),
        (owner("of-one-before"), true),
        (owner("0"), false),
        (json!({"annotations": {labels::ADOPT: "a"}}), false),
    ] {
        let mut live = json!({"metadata": {"name": "a-accepted-1", "namespace": "shop", "uid": "7",
                              "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.com/never"]}});
        live["metadata"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let live = Child::of(Kind::ControllerRevision, &serde_json::from_value(live).unwrap());
        let refused = applier.decide(&identity(), &kept, (&kept.value, 1), Some(&live)).unwrap_err();
        assert_eq!(matches!(refused, Error::Foreign { .. }), foreign, "{more}: {refused}");
        assert_eq!(matches!(refused, Error::Leaving { .. }), !foreign, "{more}: {refused}");
    }
}

async fn removed(kind: Kind, code: u16, reason: &'static str) -> (Option<Failure>, Arc<Caches>) {
    let caches = Arc::new(Caches::new(None));
    let child = ChildRef { kind, name: "a-v1".into(), uid: "1".into(), version: None, accepted: None, size: 0 };
    let identity = Identity { namespace: "shop".into(), name: "a".into(), uid: "0".into(), ..Identity::default() };
    let applier = Applier::new(answering(code, reason), caches.clone());
    (applier.apply((&identity, "1"), &[], &[child]).await.1, caches)
}

#[tokio::test]
async fn a_copy_that_vanished_is_not_made_anew_without_its_content() {
    let identity = Identity { namespace: "shop".into(), name: "a".into(), uid: "0".into(), ..Identity::default() };
    let applier = Applier::new(answering(500, "Asked"), Arc::new(Caches::new(None)));
    for (content, asked) in [(json!({}), false), (json!({"immutable": true, "data": {"a": "1"}}), true)] {
        let mut value = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings-1"}});
        value.as_object_mut().unwrap().extend(content.as_object().unwrap().clone());
        let copy = Object { kind: Kind::ConfigMap, name: "settings-1".into(), value };
        let (applied, failed) = applier.apply((&identity, "1"), &[copy], &[]).await;
        assert!(applied.is_empty());
        let error = failed.unwrap().first;
        assert_eq!(matches!(error, Error::Leaving { .. }), !asked, "{error}: its content is read again");
        assert_eq!(error.passes(), !asked, "{error}");
    }
}

#[test]
fn a_merge_names_the_labels_that_go() {
    let labels = json!({"app": "a", "microservice-operator.dev/bounded-context": "ordering"});
    let named = json!({
        "app": "a", "microservice-operator.dev/bounded-context": "ordering",
        "app.kubernetes.io/part-of": null, "microservice-operator.dev/subdomain": null, "helm.sh/chart": null,
    });
    let of = |labels: Value| json!({"kind": "ConfigMap", "metadata": {"name": "a", "labels": labels}});
    assert_eq!(with_labels_that_go(of(labels)), of(named));
}

#[tokio::test]
async fn what_met_a_conflict_is_not_held_for_deleted() {
    let (failed, caches) = removed(Kind::Deployment, 409, "Conflict").await;
    assert!(
        failed.as_ref().is_some_and(|failed| failed.first.passes()),
        "{failed:?}: it is tried again, and nobody needs to hear of it"
    );
    assert!(caches.have_seen_writes(&Key::new("shop", "a")), "nothing is waited for");
    let (failed, _) = removed(Kind::Deployment, 404, "NotFound").await;
    assert!(failed.is_none(), "{failed:?}");
}

/// The watch of Microservices may be silent for a while, and time alone makes a removal due.
#[tokio::test]
async fn nothing_is_deleted_for_a_spec_that_was_edited_since_it_was_confirmed() {
    let (generation, asked) = (Arc::new(AtomicI64::new(1)), Arc::new(AtomicUsize::new(0)));
    let (newest, reads) = (generation.clone(), asked.clone());
    let client = stub::client(move |request| {
        if request.method() != Method::GET {
            assert_eq!(newest.load(Ordering::SeqCst), 1, "{} {}", request.method(), request.uri());
            return stub::refusal(404, "NotFound");
        }
        reads.fetch_add(1, Ordering::SeqCst);
        let metadata = json!({"name": "a", "uid": "0", "generation": newest.load(Ordering::SeqCst),
                              "resourceVersion": "1"});
        (200, json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}))
    });
    let applier = Applier::new(client, Arc::new(Caches::new(None)));
    let identity =
        Identity { namespace: "shop".into(), name: "a".into(), uid: "0".into(), generation: 1, ..Identity::default() };
    let removals = [Kind::PodDisruptionBudget, Kind::Deployment].map(|kind| ChildRef {
        kind,
        name: "a-v1".into(),
        uid: "1".into(),
        version: None,
        accepted: None,
        size: 0,
    });
    let (applied, failed) = applier.apply((&identity, "1"), &[], &removals).await;
    assert!(applied.removed.len() == 2 && failed.is_none(), "{failed:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "once for all that one look deletes");
    generation.store(2, Ordering::SeqCst);
    let (applied, failed) = applier.apply((&identity, "1"), &[], &removals).await;
    assert!(applied.is_empty());
    assert!(matches!(failed.unwrap().first, Error::Overtaken));
}

#[tokio::test]
async fn what_may_not_be_deleted_leaves_the_routes_as_they_were_planned_unless_it_is_they() {
    for (kind, code, routed) in [
        (Kind::Deployment, 403, true),
        (Kind::Deployment, 503, false),
        (Kind::Deployment, 504, true),
        (Kind::VirtualService, 403, false),
        (Kind::VirtualService, 504, false),
    ] {
        let (failed, _) = removed(kind, code, "Forbidden").await;
        assert_eq!(failed.map(|failed| failed.routed), Some(routed), "{kind:?} {code}");
    }
}
