use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::Method;
use futures::FutureExt;
use serde_json::{Value, json};

use super::*;
use crate::{
    api::Provider,
    observe::Providers,
    outside::{ClusterSecrets, Office},
    plan::resources::Stamp,
    stub,
};

type Statuses = Arc<Mutex<Vec<MicroserviceStatus>>>;

/// An API server that refuses all children, in other words each time, and the statuses that it is given.
fn refusing(code: u16) -> (Client, Statuses) {
    let (written, refused) = (Statuses::default(), Arc::new(AtomicUsize::new(0)));
    let statuses = written.clone();
    let client = stub::client(move |request| {
        let metadata = json!({"name": "a", "namespace": "shop", "uid": "1", "generation": 1, "resourceVersion": "1"});
        let there = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata});
        if request.uri().path().ends_with("/microservices/a/status") {
            let body = request.body().try_clone().unwrap().collect_bytes().now_or_never().unwrap().unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            statuses.lock().unwrap().push(serde_json::from_value(body["status"].clone()).unwrap());
            return (200, there);
        }
        if request.method() == Method::GET {
            return (200, there);
        }
        let number = refused.fetch_add(1, Ordering::SeqCst);
        stub::refusal(code, &format!("denied, request {}", "f".repeat(number)))
    });
    (client, written)
}

fn context(client: Client) -> Context {
    let metrics = Arc::new(Metrics::default());
    let secrets = Arc::new(ClusterSecrets::new(client.clone(), "home"));
    let office = Arc::new(Office::new(Arc::new(Providers::default()), secrets, metrics.clone()));
    let desk = Desk::new(office.clone(), |_| {});
    let settings = Settings {
        provider: Provider::Istio,
        propagation: SignedDuration::ZERO,
        stamp: Stamp { operator_version: "test".into(), chart: None },
    };
    let clock = Clock::default();
    let options = Options { settings, places: Places::new(1), instance: "test".into(), metrics, clock, office };
    Context::new(client, Arc::new(Caches::new(None)), desk, &options)
}

fn microservice() -> Microservice {
    let spec = json!({"ports": [{"name": "http", "port": 80}], "versions": [{"name": "v1", "image": "x:1"}]});
    let mut newest = Microservice::new("a", serde_json::from_value(spec).unwrap());
    newest.metadata.namespace = Some("shop".into());
    newest.metadata.uid = Some("1".into());
    newest.metadata.generation = Some(1);
    newest.metadata.resource_version = Some("1".into());
    newest
}

/// A write of its own status wakes it.
#[tokio::test]
async fn what_is_refused_in_other_words_each_time_is_told_once() {
    let (client, statuses) = refusing(403);
    let (context, started) = (context(client), Instant::now());
    let mut newest = microservice();
    for _ in 0..3 {
        let looked = run(&DeserializeGuard(Ok(newest.clone())), &context).await;
        assert!(matches!(looked, Err(Error::Apply { .. })), "{looked:?}");
        newest.status = statuses.lock().unwrap().last().cloned();
    }
    let statuses = statuses.lock().unwrap();
    assert_eq!(statuses.len(), 1, "{statuses:?}");
    assert!(statuses[0].message.as_ref().is_some_and(|message| message.contains("denied, request")));
    let key = Key::new("shop", "a");
    assert!(context.pace.wait(&key, 1, started).is_some(), "it is left alone for a moment");
    assert!(!context.pace.knows(&key), "its routes were never as planned");
}

#[tokio::test]
async fn what_does_not_pass_is_told_after_a_while() {
    let (client, statuses) = refusing(409);
    let (context, key) = (context(client), Key::new("shop", "a"));
    let object = DeserializeGuard(Ok(microservice()));
    let passes = |error: &Error| matches!(error, Error::Apply { error, .. } if error.passes());
    let ago = |seconds: i64| context.clock.now().checked_sub(SignedDuration::from_secs(seconds)).unwrap();
    for (since, told) in [(0, false), (30, false), (60, true)] {
        context.backoff.succeeded(&key);
        context.backoff.passing(&key, ago(since));
        let looked = run(&object, &context).await;
        assert!(looked.as_ref().is_err_and(passes), "{looked:?}");
        assert_eq!(!statuses.lock().unwrap().is_empty(), told, "after {since} s");
    }
    let status = statuses.lock().unwrap().pop().unwrap();
    assert!(status.message.as_ref().is_some_and(|message| message.contains("changed meanwhile")), "{status:?}");
}

#[tokio::test]
async fn what_is_told_first_holds_nothing_up() {
    for (code, version) in [(200, Some("2")), (409, None), (404, None), (500, None)] {
        let client = stub::client(move |_| match code {
            200 => {
                let metadata = json!({"name": "a", "namespace": "shop", "resourceVersion": "2"});
                (200, json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}))
            }
            code => stub::refusal(code, "no"),
        });
        let (context, newest) = (context(client), microservice());
        let identity = resolve::resolve(&newest, Provider::Istio).identity;
        let status = MicroserviceStatus::default();
        let told = tell_first(&context, &newest, &identity, &status, context.clock.now()).await;
        assert_eq!(told.as_deref(), version, "{code}");
    }
}

#[test]
fn what_is_due_is_not_kept_waiting_and_not_looked_at_without_end() {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let due = |seconds: i64| now.checked_add(SignedDuration::from_secs(seconds)).ok();
    let minute = Duration::from_secs(60);
    for (due, expected) in [(None, 60), (due(90), 60), (due(5), 5), (due(0), 1), (due(-5), 1)] {
        assert_eq!(sooner(minute, due, now), Duration::from_secs(expected), "{due:?}");
    }
    assert_eq!(sooner(DUE_AGAIN / 2, due(5), now), DUE_AGAIN / 2, "a first try anew comes soon");
}
