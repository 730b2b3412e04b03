//! Wiring: what is watched, how one Microservice is reconciled, and what follows an error.

pub mod accept;
pub mod actions;
pub mod backoff;
pub mod configuration;
pub mod follow;
mod lane;
mod mesh;
pub mod pace;
pub mod reconcile;
pub mod watches;

use std::{future::Future, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt, future::ready};
use kube::{
    Api, Client,
    core::DeserializeGuard,
    runtime::{
        Controller, WatchStreamExt,
        controller::Config,
        reflector::{self, ObjectRef},
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::{
    api::Microservice,
    observe::{Caches, Clock, Lean, views::Peer},
    outside::{Desk, Office},
    plan::Settings,
    telemetry::Metrics,
};

use lane::Lane;
use reconcile::Context;
use watches::Trigger;

/// What the controllers of all scopes share.
#[derive(Clone)]
pub struct Options {
    pub settings: Settings,
    /// Reconciliations under way at once.
    pub concurrency: u16,
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
    let lane = Lane::new(usize::from(options.concurrency / 2).max(1), move |key| called.reply(&kept, key));
    let context = Arc::new(Context::new(client, caches, (desk, lane), &options));
    let (memory, metrics) = (context.clone(), options.metrics.clone());
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
                        metrics.serves(i64::from(change.after.is_some()) - i64::from(change.before.is_some()));
                    }
                    if change.after.is_none() {
                        memory.forget(&change.key);
                    }
                }
                if !before {
                    trigger.served(&peers);
                }
            }
        });
    Controller::for_stream(follow::objects(events), reader)
        .with_config(Config::default().concurrency(options.concurrency))
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

/// How long a reconciliation is put off that waits for a cache to see the operator's own write. The watch event
/// itself comes first, as a rule.
const CACHE_WAIT: Duration = Duration::from_secs(1);
