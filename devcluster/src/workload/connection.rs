//! The life of one connection.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::app::{App, Body};

/// How long an ending process waits for the first request of a connection that was made before.
const FIRST_REQUEST: Duration = Duration::from_secs(1);
/// How long a crash waits for its own request to be answered.
const LAST_ANSWER: Duration = Duration::from_secs(1);

/// A connection, as its requests see it.
#[derive(Default)]
pub(super) struct Peer {
    used: AtomicBool,
    first_request: Notify,
    crashing: AtomicBool,
    crash: Notify,
}

impl Peer {
    /// The process is to crash once this connection's answers are sent.
    pub(super) fn crash_when_answered(&self) {
        self.crashing.store(true, Ordering::Relaxed);
        self.crash.notify_one();
    }
}

/// Serves a connection until the peer closes it, or until its requests are answered once the process ends: an idle
/// HTTP/1 connection is closed at once, which loses a request that is on its way at that very moment, as it does with
/// every HTTP/1 server; HTTP/2 connections get a GOAWAY, and lose nothing.
pub(super) async fn serve<H, F>(app: Arc<App>, stream: TcpStream, handle: H)
where
    H: Fn(Arc<App>, Arc<Peer>, Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    // Without it, small answers wait for acknowledgements; where it can't be had, they do.
    let _ = stream.set_nodelay(true);
    let peer = Arc::new(Peer::default());
    let service = service_fn(|request| {
        if !peer.used.swap(true, Ordering::Relaxed) {
            peer.first_request.notify_one();
        }
        let answer = handle(app.clone(), peer.clone(), request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut closing = pin!(async {
        app.ended().await;
        if !peer.used.load(Ordering::Relaxed) {
            let _ = timeout(FIRST_REQUEST, peer.first_request.notified()).await;
        }
    });
    // How it ended is the peer's business: the load generator counts what it lost.
    tokio::select! {
        _ = &mut connection => {}
        () = &mut closing => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
        () = peer.crash.notified() => {
            connection.as_mut().graceful_shutdown();
            let _ = timeout(LAST_ANSWER, connection).await;
        }
    }
    if peer.crashing.load(Ordering::Relaxed) {
        app.crash.notify_one();
    }
}
