//! Wiring: what is watched, how one Microservice is reconciled, and what follows an error.

pub mod accept;
pub mod actions;
pub mod backoff;
pub mod configuration;
pub mod follow;
mod lane;
mod mesh;
pub mod pace;
mod places;
pub mod reconcile;
mod teller;
pub mod watches;

use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, future::ready};
use kube::{
    Api, Client,
    core::DeserializeGuard,
    runtime::{
        Controller, WatchStreamExt,
        controller::Config,
        reflector::{self, ObjectRef},
        watcher,
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::{
    api::Microservice,
    observe::{Caches, Clock, Lean, cache::Change, views::Peer},
    outside::{Desk, Office},
    plan::Settings,
    telemetry::Metrics,
};

pub use places::Places;
use reconcile::Context;
use watches::Trigger;

/// What the controllers of all scopes share.
#[derive(Clone)]
pub struct Options {
    pub settings: Settings,
    /// For reconciliations under way at once.
    pub places: Places,
    /// Identity of this process in events.
    pub instance: String,
    pub metrics: Arc<Metrics>,
    /// The time that decisions are made by.
    pub clock: Clock,
    /// Who asks AnalysisProviders.
    pub office: Arc<Office>,
}

/// Reconciles the Microservices of one namespace, or of all, until `shutdown` resolves; then the reconciliations
/// under way are finished.
pub async fn run(
    client: Client,
    caches: Arc<Caches>,
    options: Options,
    shutdown: impl Future<Output = ()> + Send + Sync + 'static,
) {
    let (trigger, triggered) = mpsc::unbounded_channel();
    let trigger = Trigger::new(trigger);
    let watching = watches::spawn(&client, &caches, &trigger);
    let api: Api<Lean<DeserializeGuard<Microservice>>> = match &caches.scope {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let (reader, writer) = reflector::store();
    let (peers, others) = (caches.clone(), caches.clone());
    let (triggers, shard) = (trigger.clone(), caches.shard);
    let (replied, known) = (trigger.clone(), caches.clone());
    let desk = Desk::new(options.office.clone(), move |key| replied.reply(&known, key));
    let (called, kept) = (trigger.clone(), caches.clone());
    options.places.slow.called_by(move |key| called.reply(&kept, key));
    let context = Arc::new(Context::new(client, caches, desk, &options));
    let (memory, metrics) = (context.clone(), options.metrics.clone());
    // Until a listing is complete, kube hands over what was there before it, and nothing of what is new. One that breaks
    // off leaves here what the next one finds known already.
    let mut listed = BTreeSet::new();
    let events = follow::follow(api, follow::listing())
        .try_filter(move |event| {
            let served = shard.concerns(event);
            if !served {
                let changes = others.microservices.take(event, Peer::elsewhere);
                changes.iter().for_each(|change| triggers.peer(&others, change));
            }
            ready(served)
        })
        .reflect(writer)
        .inspect(move |event| match event {
            Err(error) => {
                tracing::warn!(%error, "the watch of Microservices was interrupted; it is taken up again");
                peers.microservices.failed();
            }
            Ok(event) => {
                let before = peers.microservices.served();
                let changes = peers.microservices.take(event, Peer::of);
                for change in &changes {
                    trigger.peer(&peers, change);
                    if shard.has(&change.key.namespace) {
                        metrics.serves(change.before.as_deref().map(phase), change.after.as_deref().map(phase));
                    }
                    if change.after.is_none() {
                        memory.forget(&change.key);
                    }
                }
                match event {
                    watcher::Event::InitApply(_) if before => {
                        listed.extend(changes.iter().filter(|change| is_news(change)).map(|change| change.key.clone()));
                    }
                    watcher::Event::InitDone => {
                        std::mem::take(&mut listed).iter().for_each(|key| trigger.reply(&peers, key));
                    }
                    _ => {}
                }
                if !before {
                    trigger.served(&peers);
                }
            }
        });
    Controller::for_stream(follow::objects(events), reader)
        .with_config(Config::default().concurrency(options.places.count()))
        .reconcile_on(
            UnboundedReceiverStream::new(triggered)
                .map(|key| ObjectRef::<DeserializeGuard<Microservice>>::new(&key.name).within(&key.namespace)),
        )
        .graceful_shutdown_on(shutdown)
        .run(reconcile::reconcile, reconcile::error_policy, context)
        .for_each(|result| async {
            if let Err(error) = result {
                tracing::debug!(%error, "not reconciled");
            }
        })
        .await;
    drop(watching);
}

/// The word of its status, in metrics.
fn phase(peer: &Peer) -> String {
    peer.phase.map_or_else(|| "Unknown".to_owned(), |phase| format!("{phase:?}"))
}

/// Whether a Microservice is not as it was known.
fn is_news(change: &Change<Peer>) -> bool {
    let version = |peer: Option<&Peer>| peer.map(|peer| peer.resource_version.clone());
    version(change.before.as_deref()) != version(change.after.as_deref())
}

/// How long a reconciliation is put off that waits for a cache to see the operator's own write. The watch event
/// itself comes first, as a rule.
const CACHE_WAIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::atomic::{AtomicBool, Ordering},
    };

    use axum::http::{Method, Request};
    use jiff::SignedDuration;
    use kube::client::Body;
    use serde_json::{Value, json};
    use tokio::{
        sync::watch,
        time::{sleep, timeout},
    };

    use super::*;
    use crate::{
        api::Provider,
        observe::Providers,
        outside::ClusterSecrets,
        plan::resources::Stamp,
        stub::{refusal, slow_client},
    };

    /// The paths that an API server was asked for.
    type Asked = watch::Sender<Vec<String>>;

    /// Resolves once an object with such a name was asked for.
    async fn looks_at(asked: &Asked, name: &str) {
        let mut asked = asked.subscribe();
        assert!(asked.wait_for(|paths| paths.iter().any(|path| path.contains(name))).await.is_ok());
    }

    fn list(names: &[&str], next: &str) -> (u16, Value) {
        let object = |name: &&str| {
            json!({
                "apiVersion": "microservice-operator.dev/v1alpha1", "kind": "Microservice",
                "metadata": {"name": name, "namespace": "shop", "uid": name, "resourceVersion": "1", "generation": 1},
                "spec": {"image": "x:1"},
            })
        };
        let items: Vec<Value> = names.iter().map(object).collect();
        (200, json!({"metadata": {"resourceVersion": "1", "continue": next}, "items": items}))
    }

    /// An API server that has only Microservices and takes nothing. Their watch breaks when `reviews` is looked at, and
    /// the listing after that has `ratings` on the first of two pages.
    fn breaking(asked: Arc<Asked>) -> Client {
        let broken = Arc::new(AtomicBool::new(false));
        slow_client(move |request: Request<Body>| {
            let (asked, broken) = (asked.clone(), broken.clone());
            let query = request.uri().query().unwrap_or_default().to_owned();
            let (reads, lists) = (request.method() == Method::GET, request.uri().path().ends_with("/microservices"));
            asked.send_modify(|paths| paths.push(request.uri().path().to_owned()));
            async move {
                if !reads {
                    return refusal(403, "Forbidden");
                }
                if query.contains("watch=true") {
                    if !lists || broken.swap(true, Ordering::Relaxed) {
                        return pending().await;
                    }
                    looks_at(&asked, "/reviews").await;
                    return (200, json!({"type": "ERROR", "object": refusal(410, "Expired").1}));
                }
                match (lists, broken.load(Ordering::Relaxed)) {
                    (false, _) => list(&[], ""),
                    (true, false) => list(&["reviews"], ""),
                    (true, true) if query.contains("continue=") => {
                        sleep(Duration::from_millis(300)).await;
                        list(&["reviews"], "")
                    }
                    (true, true) => list(&["ratings"], "more"),
                }
            }
        })
    }

    #[tokio::test]
    async fn what_a_later_listing_finds_is_looked_at_once_that_is_complete() {
        let asked = Arc::new(Asked::new(Vec::new()));
        let (client, metrics) = (breaking(asked.clone()), Arc::new(Metrics::default()));
        let secrets = Arc::new(ClusterSecrets::new(client.clone(), "home"));
        let options = Options {
            settings: Settings {
                provider: Provider::Istio,
                propagation: SignedDuration::ZERO,
                stamp: Stamp { operator_version: "test".into(), chart: None },
            },
            places: Places::new(4),
            instance: "test".into(),
            office: Arc::new(Office::new(Arc::new(Providers::default()), secrets, metrics.clone())),
            metrics,
            clock: Clock::default(),
        };
        tokio::select! {
            () = run(client, Arc::new(Caches::new(None)), options, pending()) => panic!("it ended by itself"),
            looked = timeout(Duration::from_secs(30), looks_at(&asked, "/ratings")) => {
                assert!(looked.is_ok(), "{:?}", asked.borrow());
            }
        }
    }
}
