//! `microservice-operator run`: from the arguments to a running controller, and to a clean end.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};

use axum::http::{HeaderValue, header::USER_AGENT};
use futures::{FutureExt, future};
use jiff::SignedDuration;
use kube::{
    Client, Config,
    client::{ClientBuilder, retry::RetryPolicy},
    config::{InClusterError, KubeConfigOptions, KubeconfigError},
};
use thiserror::Error;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tower::{ServiceBuilder, buffer::BufferLayer, retry::RetryLayer, timeout::TimeoutLayer};

use crate::{
    api::Provider,
    controller::{self, Places, watches::feed_providers},
    kubeconfig,
    observe::{Caches, Clock, Providers, Shard},
    outside::{ClusterSecrets, ClusterWebhooks, Office},
    plan::{Settings, resources::Stamp},
    telemetry::Metrics,
};

use super::{
    fence::Fence,
    leader::{Candidate, Election, LeaseError, Lost},
    server,
};

/// What the API server's audit log calls this client.
const AGENT: &str = concat!("microservice-operator/", env!("CARGO_PKG_VERSION"));

/// How long the beginning of an answer is waited for, whatever was asked, with all that is asked again in the meantime: for
/// longer than the API server waits for admission webhooks, which is 34 s, so that it can tell of them. Answers to watches begin
/// at once.
const ANSWER: Duration = Duration::from_secs(40);

/// How long an answer that has begun may say nothing more. The API server sends a bookmark to each watch once a minute, so
/// that whoever says nothing for longer has lost its power, or the connection.
const SILENCE: Duration = Duration::from_secs(75);

/// Requests that may wait for the client to be free.
const ASKED: usize = 1024;

/// How long it is until the election is joined again where that failed.
const REJOIN: Duration = Duration::from_secs(2);

/// How long after a signal what is under way may take, and how long giving the lease back: less than a pod is given by default.
const FINISH: Duration = Duration::from_secs(20);
const FAREWELL: Duration = Duration::from_secs(5);

/// What `run` needs to know.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Namespaces to watch; all when empty.
    pub namespaces: Vec<String>,
    pub provider: Provider,
    pub mesh_propagation: Duration,
    pub concurrency: u16,
    /// None without election: this process serves all.
    pub election: Option<Election>,
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
    #[error(transparent)]
    Kubeconfig(#[from] kubeconfig::Error),
    #[error("no cluster is configured: {0}, nor does this run in one ({1}); set KUBECONFIG or run inside a cluster")]
    NoCluster(#[source] KubeconfigError, InClusterError),
    #[error("the client cannot be made: {0}")]
    Client(#[from] kube::Error),
    #[error(
        "the lease {namespace}/{name} cannot be used: {source}; the operator needs list, create and patch on leases there"
    )]
    Lease { namespace: String, name: String, source: LeaseError },
    #[error("leadership was lost; another process has taken over")]
    LeadershipLost,
    #[error("leadership was lost: a process that was started with another number of shards leads, too")]
    Divided,
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
    metrics.shares(options.election.as_ref().map_or(1, |election| election.shards.get()));
    let clock = Clock::default();
    let fence = if options.election.is_some() { Fence::closed() } else { Fence::open() };
    let config = configured().await?;
    let client = |fence: &Fence| client_of(config.clone(), (ANSWER, SILENCE), (&metrics, &clock, fence));
    let behind = client(&fence)?;
    let mut seat = match &options.election {
        Some(election) => Some(Candidate::new(election.clone(), client(&Fence::open())?, clock.clone(), fence.clone())),
        None => None,
    };
    let standing = watch::Sender::new(Standing::Unreached);
    let serving = server::serve(options.listen, readiness(standing.subscribe()), metrics.clone());
    let working = lead(behind, &options, (seat.as_mut(), standing, fence), (metrics, clock));
    let ended = tokio::select! {
        ended = serving => ended.map_err(|source| Error::Serve { address: options.listen, source }),
        ended = working => ended,
    };
    if let Some(seat) = &mut seat {
        match timeout(FAREWELL, seat.give_back()).await {
            Ok(Ok(true)) => tracing::info!("the lease is given back"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the lease was not given back: it ends by itself"),
            Err(_) => tracing::warn!("the lease was not given back in time: it ends by itself"),
        }
    }
    ended
}

/// How far a process has come.
#[derive(Clone, Default)]
enum Standing {
    /// The API server was not reached yet.
    #[default]
    Unreached,
    /// Others lead.
    By,
    Leading(Watched),
}

/// What a process that leads keeps in memory.
#[derive(Clone)]
struct Watched {
    caches: Vec<Arc<Caches>>,
    providers: Arc<Providers>,
}

/// Joins the election and works once it is won, until a signal.
async fn lead(
    client: Client,
    options: &RunOptions,
    (mut seat, standing, fence): (Option<&mut Candidate>, watch::Sender<Standing>, Fence),
    telling: (Arc<Metrics>, Clock),
) -> Result<(), Error> {
    let signalled = signal().map_err(Error::Signals)?;
    futures::pin_mut!(signalled);
    let shard = tokio::select! {
        () = &mut signalled => return Ok(()),
        shard = won(options, (seat.as_deref_mut(), &standing)) => shard?,
    };
    tracing::info!(%shard, "leading");
    let caches = scopes(&options.namespaces, shard).map(Arc::new).collect();
    let watched = Watched { caches, providers: Arc::new(providers(options.analysis_providers)) };
    standing.send_replace(Standing::Leading(watched.clone()));
    // In a task of its own, so that nothing that is looked at for long delays a renewal.
    let mut keeping = JoinSet::new();
    if let Some(mut seat) = seat.cloned() {
        keeping.spawn(async move { seat.keep(shard).await });
    }
    let lost = async {
        match keeping.join_next().await {
            Some(why) => why.unwrap_or(Lost::Ended),
            None => future::pending().await,
        }
    };
    work(client, watched, options, (lost, fence, signalled), telling).await
}

/// Waits for a shard to lead, however long the API server cannot be reached: a process that ended instead would be started
/// anew later and later.
async fn won(
    options: &RunOptions,
    (seat, standing): (Option<&mut Candidate>, &watch::Sender<Standing>),
) -> Result<Shard, Error> {
    let (Some(election), Some(seat)) = (&options.election, seat) else { return Ok(Shard::default()) };
    loop {
        let reached = || drop(standing.send_replace(Standing::By));
        match seat.win(reached).await {
            Ok(shard) => return Ok(shard),
            Err(source) if source.may_pass() => {
                tracing::warn!(error = %source, "the lease cannot be read yet: tried again");
                sleep(REJOIN).await;
            }
            Err(source) => {
                let (namespace, name) = (election.namespace.clone(), election.name.clone());
                return Err(Error::Lease { namespace, name, source });
            }
        }
    }
}

/// Runs the controllers until a signal, or until leadership is lost.
async fn work(
    client: Client,
    Watched { caches, providers }: Watched,
    options: &RunOptions,
    (lost, fence, signalled): (impl Future<Output = Lost>, Fence, impl Future<Output = ()>),
    (metrics, clock): (Arc<Metrics>, Clock),
) -> Result<(), Error> {
    metrics.leads(true);
    let mut watching = JoinSet::new();
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
        places: Places::new(options.concurrency),
        instance: options.identity.clone(),
        metrics,
        clock,
        office,
    };
    let controllers = caches
        .into_iter()
        .map(|caches| controller::run(client.clone(), caches, shared.clone(), ends(stopping.clone())).boxed())
        // None of the namespaces that are watched may be in the shard.
        .chain([ends(stopping.clone()).boxed()]);
    let controllers = future::join_all(controllers);
    // Once the signal was given, what is under way is finished, and nothing begun.
    let finished = async {
        signalled.await;
        tracing::info!("shutting down: what is under way is finished");
        let _nobody_waits = stop.send(true);
        sleep(FINISH).await;
        tracing::warn!("what is under way takes too long: the next leader finishes it");
    };
    tokio::select! {
        _ = controllers => Ok(()),
        () = finished => Ok(()),
        why = lost => Err(why.into()),
        () = fence.closes() => Err(Error::LeaseEnded),
    }
}

impl From<Lost> for Error {
    fn from(why: Lost) -> Self {
        match why {
            Lost::Taken => Self::LeadershipLost,
            Lost::Divided => Self::Divided,
            Lost::Ended => Self::LeaseEnded,
        }
    }
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

/// The cluster of a kubeconfig, else the one that this runs in: kube's own choice, but for the proxy.
async fn configured() -> Result<Config, Error> {
    let found = match kubeconfig::read() {
        Ok(found) => kubeconfig::configured(found, &KubeConfigOptions::default()).await,
        Err(error) => Err(error.into()),
    };
    let mut config = match found {
        Ok(config) => config,
        Err(kubeconfig::Error::Unusable(outside)) => {
            Config::incluster().map_err(|inside| Error::NoCluster(outside, inside))?
        }
        Err(unreachable) => return Err(unreachable.into()),
    };
    config.apply_debug_overrides();
    Ok(config)
}

/// A client that waits so long for the beginning of an answer, and for more of it.
fn client_of(
    mut config: Config,
    (answer, silence): (Duration, Duration),
    (metrics, clock, fence): (&Metrics, &Clock, &Fence),
) -> Result<Client, Error> {
    config.headers.push((USER_AGENT, HeaderValue::from_static(AGENT)));
    config.read_timeout = Some(silence);
    config.reset_reader_on_write = true;
    // The client's own are within what is counted, and so hide what the API server refuses.
    config.default_retry = false;
    let again =
        ServiceBuilder::new().layer(RetryLayer::new(RetryPolicy::server_retry())).layer(BufferLayer::new(ASKED));
    let patient = TimeoutLayer::new(answer);
    let stack = ClientBuilder::try_from(config)?.with_layer(&metrics.layer()).with_layer(&clock.layer());
    Ok(stack.with_layer(&again.into_inner()).with_layer(fence).with_layer(&patient).build())
}

/// Empty caches for what is watched: all namespaces, or those that are named and in the shard.
fn scopes(namespaces: &[String], shard: Shard) -> impl Iterator<Item = Caches> {
    let all = namespaces.is_empty().then_some(None);
    let named: BTreeSet<&String> = namespaces.iter().filter(|namespace| shard.has(namespace)).collect();
    let named = named.into_iter().cloned().map(Some);
    all.into_iter().chain(named).map(move |scope| Caches::new(scope).with_shard(shard))
}

/// A standby is ready too: it is what an upgrade waits for.
fn readiness(standing: watch::Receiver<Standing>) -> server::Readiness {
    Arc::new(move || match &*standing.borrow() {
        Standing::Unreached => Err("the API server was not reached yet; if this lasts, see the log".to_owned()),
        Standing::By => Ok(()),
        Standing::Leading(watched) => is_heard(watched),
    })
}

fn is_heard(Watched { caches, providers }: &Watched) -> Result<(), String> {
    if !caches.iter().all(|caches| caches.served()) {
        return Err(
            "the caches are being filled; if this lasts, see the log for kinds that cannot be watched".to_owned()
        );
    }
    let lost: BTreeSet<&str> = caches.iter().flat_map(|caches| caches.lost()).chain(providers.lost()).collect();
    if lost.is_empty() {
        return Ok(());
    }
    let lost = lost.into_iter().collect::<Vec<_>>().join(", ");
    Err(format!("{lost} can no longer be watched, and what is known of them grows old: see the log for why"))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// An API server that says so much to each who asks, and then nothing, for good.
    async fn saying(what: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4096];
                let _asked = stream.read(&mut request).await;
                stream.write_all(what.as_bytes()).await.unwrap();
                open.push(stream);
            }
        });
        address
    }

    #[test]
    fn a_namespace_is_watched_once() {
        let named = ["b", "a", "b"].map(str::to_owned);
        assert_eq!(scopes(&named, Shard::default()).count(), 2);
        assert_eq!(scopes(&[], Shard::default()).count(), 1);
    }

    #[tokio::test]
    async fn no_answer_is_waited_for_without_end() {
        for (about, said) in [
            ("no answer", ""),
            ("half an answer", "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"),
            ("half of a stream", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n"),
        ] {
            let config = Config::new(format!("http://{}", saying(said).await).parse().unwrap());
            let around = (&Metrics::default(), &Clock::default(), &Fence::open());
            let client = client_of(config, (Duration::from_millis(200), Duration::from_millis(300)), around).unwrap();
            let asked = client.request_text(Request::get("/api").body(Vec::new()).unwrap());
            let given_up = tokio::time::timeout(Duration::from_secs(20), asked).await;
            assert!(given_up.is_ok_and(|answer| answer.is_err()), "{about}");
        }
    }

    #[tokio::test]
    async fn what_is_refused_or_not_answered_is_counted_each_time() {
        let busy = "HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        for (said, counted) in [(busy, "code=\"429\""), ("", "code=\"<error>\"")] {
            let config = Config::new(format!("http://{}", saying(said).await).parse().unwrap());
            let metrics = Metrics::default();
            let around = (&metrics, &Clock::default(), &Fence::open());
            let client = client_of(config, (Duration::from_millis(300), Duration::from_secs(5)), around).unwrap();
            let asked = client.request_text(Request::get("/api").body(Vec::new()).unwrap()).await;
            assert!(asked.is_err(), "{counted}");
            let text = metrics.text().unwrap();
            let line = text.lines().find(|line| line.contains(counted)).unwrap_or_else(|| panic!("{counted}: {text}"));
            let count: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
            assert!(if said.is_empty() { count == 1 } else { count > 2 }, "{line}");
        }
    }
}
