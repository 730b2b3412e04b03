//! `/healthz`, `/readyz` and `/metrics`, for whoever can reach them: none of them can keep others waiting.

use std::{collections::VecDeque, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
use tower::ServiceExt;

use crate::telemetry::Metrics;

/// Connections at a time. With one more the oldest ends.
const CONNECTIONS: usize = 128;
/// How long a connection may say nothing.
const SILENCE: Duration = Duration::from_secs(10);
/// How long a connection may last, but for an answer under way. Whoever asks on makes another one.
const LONGEST: Duration = Duration::from_secs(60);

/// Tells whether the process is ready, and if not, what it waits for.
pub type Readiness = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

#[derive(Clone)]
struct Shared {
    ready: Readiness,
    metrics: Arc<Metrics>,
}

/// Serves until the future is dropped.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(address: SocketAddr, ready: Readiness, metrics: Arc<Metrics>) -> std::io::Result<()> {
    let app = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(text))
        .with_state(Shared { ready, metrics });
    let listener = TcpListener::bind(address).await?;
    tracing::info!(address = %listener.local_addr()?, "serving /healthz, /readyz and /metrics");
    answer(&listener, &app).await
}

async fn answer(listener: &TcpListener, app: &Router) -> std::io::Result<()> {
    let mut open = JoinSet::new();
    let mut oldest: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        tokio::select! {
            taken = listener.accept() => {
                // A connection that ended before it was taken, or too many open files: the next may fare better.
                let Ok((stream, _)) = taken else {
                    sleep(Duration::from_millis(10)).await;
                    continue;
                };
                if oldest.len() >= CONNECTIONS && let Some(first) = oldest.pop_front() {
                    first.abort();
                }
                oldest.push_back(open.spawn(connection(stream, app.clone())));
            }
            Some(_ended) = open.join_next() => oldest.retain(|connection| !connection.is_finished()),
        }
    }
}

async fn connection(stream: TcpStream, app: Router) {
    let service =
        service_fn(move |request: hyper::Request<hyper::body::Incoming>| app.clone().oneshot(request.map(Body::new)));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(SILENCE);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    // An error ends the connection: that is how the client hears of it.
    if timeout(LONGEST, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ended = timeout(SILENCE, connection).await;
    }
}

async fn readyz(State(shared): State<Shared>) -> impl IntoResponse {
    match (shared.ready)() {
        Ok(()) => (StatusCode::OK, "ok".to_owned()),
        Err(waits) => (StatusCode::SERVICE_UNAVAILABLE, waits),
    }
}

async fn text(State(shared): State<Shared>) -> impl IntoResponse {
    let kind = [("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    shared.metrics.is_ready((shared.ready)().is_ok());
    match shared.metrics.text() {
        Ok(text) => (StatusCode::OK, kind, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, kind, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn whoever_says_nothing_keeps_nobody_waiting() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/healthz", get(|| async { "ok" }));
        let server = tokio::spawn(async move { answer(&listener, &app).await });
        let mut silent = Vec::new();
        for _ in 0..2 * CONNECTIONS {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        let mut asking = TcpStream::connect(address).await.unwrap();
        asking.write_all(b"GET /healthz HTTP/1.0\r\nHost: a\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        asking.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.0 200") && answer.ends_with("ok"), "{answer}");
        let first = timeout(SILENCE / 2, silent[0].read(&mut [0])).await.expect("the oldest has ended");
        assert!(first.is_err() || first.is_ok_and(|read| read == 0));
        server.abort();
    }
}
