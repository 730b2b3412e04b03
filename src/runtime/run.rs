//! `microservice-operator run`: from the arguments to a running controller, and to a clean end.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::http::{HeaderValue, header::USER_AGENT};
use futures::future;
use jiff::SignedDuration;
use kube::{Client, Config, client::ClientBuilder};
use thiserror::Error;
use tokio::{sync::watch, task::JoinSet};
use tower::timeout::TimeoutLayer;

use crate::{
    api::Provider,
    controller::{self, watches::feed_providers},
    observe::{Caches, Clock, Providers},
    outside::{ClusterSecrets, ClusterWebhooks, Office},
    plan::{Settings, resources::Stamp},
    telemetry::Metrics,
};

use super::{fence::Fence, leader, server};

/// What the API server's audit log calls this client.
const AGENT: &str = concat!("microservice-operator/", env!("CARGO_PKG_VERSION"));

/// How long the beginning of an answer is waited for, whatever was asked, with all that is asked again in the meantime.
/// Answers to watches begin at once.
const ANSWER: Duration = Duration::from_secs(30);

/// How long it is until the election is joined again where that failed.
const REJOIN: Duration = Duration::from_secs(2);

/// What `run` needs to know.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Namespaces to watch; all when empty.
    pub namespaces: Vec<String>,
    pub provider: Provider,
    pub mesh_propagation: Duration,
    pub concurrency: u16,
    /// Namespace and name of the lease; None without election.
    pub lease: Option<(String, String)>,
    /// Namespace that the operator runs in, whose Secrets AnalysisProviders may name.
    pub home: String,
    /// Whether AnalysisProviders are watched.
    pub analysis_providers: bool,
    pub listen: SocketAddr,
    /// Identity in the lease and in events; unique to the process.
    pub identity: String,
    /// Labels on the children.
    pub operator_version: String,
    pub chart: Option<String>,
}

/// Why the operator cannot run on.
#[derive(Debug, Error)]
pub enum Error {
    #[error("no cluster is configured: {0}; set KUBECONFIG or run inside a cluster")]
    Config(#[from] kube::config::InferConfigError),
    #[error("the client cannot be made: {0}")]
    Client(#[from] kube::Error),
    #[error(
        "the lease {namespace}/{name} cannot be used: {source}; the operator needs get, create and patch on leases there"
    )]
    Lease { namespace: String, name: String, source: kube_lease_manager::LeaseManagerError },
    #[error("leadership was lost; another process has taken over")]
    LeadershipLost,
    #[error(
        "the lease ended without having been renewed: the API server did not answer in time, or this process stood still; \
         another process may lead by now"
    )]
    LeaseEnded,
    #[error("cannot serve health and metrics on {address}: {source}")]
    Serve { address: SocketAddr, source: std::io::Error },
    #[error("signals cannot be received: {0}")]
    Signals(#[source] std::io::Error),
}

/// Runs until SIGTERM or SIGINT, then finishes the writes in hand and gives the lease back.
///
/// # Errors
/// See [`enum@Error`]. A lost leadership is one: the process must end, since another one writes now.
pub async fn run(options: RunOptions) -> Result<(), Error> {
    let metrics = Arc::new(Metrics::default());
    let clock = Clock::default();
    let fence = match &options.lease {
        Some((namespace, name)) => Fence::of(namespace, name, leader::DURATION),
        None => Fence::open(),
    };
    let client = client(&metrics, &clock, &fence).await?;
    let caches: Vec<Arc<Caches>> = scopes(&options.namespaces).map(|scope| Arc::new(Caches::new(scope))).collect();
    let (mut candidacy, election) = (None, Election::default());
    let serving = server::serve(options.listen, readiness(caches.clone(), election.clone()), metrics.clone());
    let working = lead(client, caches, &options, (&mut candidacy, election, fence), (metrics, clock));
    tokio::select! {
        ended = serving => ended.map_err(|source| Error::Serve { address: options.listen, source })?,
        ended = working => ended?,
    }
    if let Some(candidacy) = candidacy {
        drop(candidacy.state);
        let _released = candidacy.done.await;
        tracing::info!("the lease is given back");
    }
    Ok(())
}

/// Whether this process leads, once it has joined the election; None without one.
type Election = Arc<OnceLock<Option<watch::Receiver<bool>>>>;

/// Joins the election and works once it is won.
async fn lead(
    client: Client,
    caches: Vec<Arc<Caches>>,
    options: &RunOptions,
    (joined, election, fence): (&mut Option<leader::Candidacy>, Election, Fence),
    telling: (Arc<Metrics>, Clock),
) -> Result<(), Error> {
    *joined = candidacy(&client, options).await?;
    let leads = joined.as_ref().map(|candidacy| candidacy.state.clone());
    // It is joined once.
    let _set = election.set(leads.clone());
    work(client, caches, options, (leads, fence), telling).await
}

/// Joins the election, however long the API server cannot be reached: a process that ended instead would be started anew
/// later and later.
async fn candidacy(client: &Client, options: &RunOptions) -> Result<Option<leader::Candidacy>, Error> {
    let Some((namespace, name)) = &options.lease else { return Ok(None) };
    loop {
        match leader::join(client.clone(), namespace, name, &options.identity).await {
            Ok(joined) => return Ok(Some(joined)),
            Err(source) if leader::may_pass(&source) => {
                tracing::warn!(error = %source, "the lease cannot be read yet: tried again");
                tokio::time::sleep(REJOIN).await;
            }
            Err(source) => return Err(Error::Lease { namespace: namespace.clone(), name: name.clone(), source }),
        }
    }
}

/// Waits for leadership, then runs the controllers until a signal, or until leadership is lost.
async fn work(
    client: Client,
    caches: Vec<Arc<Caches>>,
    options: &RunOptions,
    (mut leads, fence): (Option<watch::Receiver<bool>>, Fence),
    (metrics, clock): (Arc<Metrics>, Clock),
) -> Result<(), Error> {
    let signalled = signal().map_err(Error::Signals)?;
    futures::pin_mut!(signalled);
    if let Some(leads) = &mut leads {
        tokio::select! {
            () = &mut signalled => return Ok(()),
            led = leads.wait_for(|leads| *leads) => drop(led.map_err(|_| Error::LeadershipLost)?),
        }
    }
    tracing::info!("leading");
    metrics.leads(true);
    let mut watching = JoinSet::new();
    let providers = Arc::new(providers(options.analysis_providers));
    if options.analysis_providers {
        watching.spawn(feed_providers(client.clone(), providers.clone()));
    }
    let secrets = Arc::new(ClusterSecrets::new(client.clone(), &options.home));
    let webhooks = Arc::new(ClusterWebhooks::new(client.clone()));
    let office =
        Office::new(providers, secrets, metrics.clone()).with_webhooks(webhooks, None).with_clock(clock.clone());
    let office = Arc::new(office);
    let (stop, stopping) = watch::channel(false);
    let shared = controller::Options {
        settings: Settings {
            provider: options.provider,
            propagation: SignedDuration::try_from(options.mesh_propagation).unwrap_or(SignedDuration::MAX),
            stamp: Stamp { operator_version: options.operator_version.clone(), chart: options.chart.clone() },
        },
        concurrency: options.concurrency,
        instance: options.identity.clone(),
        metrics,
        clock,
        office,
    };
    let controllers = future::join_all(
        caches
            .into_iter()
            .map(|caches| controller::run(client.clone(), caches, shared.clone(), ends(stopping.clone()))),
    );
    futures::pin_mut!(controllers);
    tokio::select! {
        _ = &mut controllers => {}
        () = lost(leads) => return Err(Error::LeadershipLost),
        () = fence.closes() => return Err(Error::LeaseEnded),
        () = &mut signalled => {
            tracing::info!("shutting down: what is under way is finished");
            let _nobody_waits = stop.send(true);
            controllers.await;
        }
    }
    Ok(())
}

fn providers(watched: bool) -> Providers {
    if watched {
        return Providers::default();
    }
    Providers::unseen(
        "the operator was started with --analysis-providers=false; have it installed with the right to them",
    )
}

async fn ends(mut stopping: watch::Receiver<bool>) {
    // A closed channel means the same: nobody is left who could stop it otherwise.
    let _closed = stopping.wait_for(|stop| *stop).await;
}

async fn lost(leads: Option<watch::Receiver<bool>>) {
    match leads {
        Some(mut leads) => drop(leads.wait_for(|leads| !*leads).await),
        None => future::pending().await,
    }
}

/// Resolves at SIGTERM or SIGINT.
fn signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

async fn client(metrics: &Metrics, clock: &Clock, fence: &Fence) -> Result<Client, Error> {
    let mut config = Config::infer().await?;
    config.headers.push((USER_AGENT, HeaderValue::from_static(AGENT)));
    let patient = TimeoutLayer::new(ANSWER);
    let stack = ClientBuilder::try_from(config)?.with_layer(&metrics.layer()).with_layer(&clock.layer());
    Ok(stack.with_layer(fence).with_layer(&patient).build())
}

fn scopes(namespaces: &[String]) -> impl Iterator<Item = Option<String>> {
    let all = namespaces.is_empty().then_some(None);
    all.into_iter().chain(namespaces.iter().cloned().map(Some))
}

/// A standby is ready too: it is what an upgrade waits for.
fn readiness(caches: Vec<Arc<Caches>>, election: Election) -> server::Readiness {
    Arc::new(move || {
        let Some(leads) = election.get() else {
            return Err("the API server was not reached yet; if this lasts, see the log".to_owned());
        };
        let standby = leads.as_ref().is_some_and(|leads| !*leads.borrow());
        if standby || caches.iter().all(|caches| caches.served()) {
            return Ok(());
        }
        Err("the caches are being filled; if this lasts, see the log for kinds that cannot be watched".to_owned())
    })
}
