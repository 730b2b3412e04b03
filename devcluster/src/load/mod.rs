//! An open-loop load generator with exact accounts: every request that is sent ends as answered or as lost.
//!
//! ```no_run
//! # async fn example() -> Result<(), devcluster::load::LoadError> {
//! use devcluster::load::{Load, Protocol};
//!
//! let envoy = ([127, 0, 0, 1], 15007).into();
//! let load = Load { rate: 200, ..Load::new(envoy, "web.default.svc.cluster.local", Protocol::Http2) };
//! let running = load.start()?;
//! // … promote a version …
//! let report = running.stop().await;
//! assert!(report.is_clean(), "{report}");
//! # Ok(())
//! # }
//! ```
//!
//! Requests are due at fixed times, however slow the answers are. After a stall of the machine the backlog is sent at
//! once; the report tells the largest lag. Nothing is retried: only a request that no server has seen, because the
//! connection it was meant for was closed before it was written, or sent an HTTP/2 GOAWAY that leaves it out, is sent
//! over another one, as any client does.

mod answer;
mod http1;
mod http2;
mod ledger;
mod pace;
mod report;
mod statistics;
mod stream;
mod target;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use ledger::{Counts, LossKind, Lost, Status, Streams};
pub use report::{Latency, Report};
pub use statistics::binomial_interval;

use ledger::Ledger;
use pace::Driver;
use target::Target;

/// The load can't be made.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Nothing would ever be sent.
    #[error("the rate is 0 requests per second: give a rate of 1 or more")]
    Rate,
    /// HTTP/2 and gRPC streams need one.
    #[error("the load has 0 connections: give it 1 or more")]
    Connections,
    /// The authority and path make no URI.
    #[error("http://{authority}{path} is no URI: {source}")]
    Uri {
        /// The authority.
        authority: String,
        /// The path.
        path: String,
        /// Why not.
        source: http::uri::InvalidUri,
    },
    /// A header is none.
    #[error("`{name}: {value}` is no HTTP header")]
    Header {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
}

/// How requests are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1 {
        /// Whether connections serve more than one request; of the idle ones, the last used is taken first.
        keep_alive: bool,
    },
    /// HTTP/2 with prior knowledge.
    Http2,
    /// A gRPC call a request.
    GrpcUnary,
    /// A message of a long bidirectional gRPC stream a request, which one message must answer.
    GrpcStream,
}

/// What is to be sent. Start from [`Load::new`].
#[derive(Debug, Clone)]
pub struct Load {
    /// Where connections go.
    pub connect: SocketAddr,
    /// The host that is asked for, with a port where it is not the usual one.
    pub authority: String,
    /// The path and query; `/` by default, the method of the test service for gRPC.
    pub path: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// How it is sent.
    pub protocol: Protocol,
    /// Requests a second; 100 by default.
    pub rate: u32,
    /// How long a request may take, connecting included; 15 s by default.
    pub timeout: Duration,
    /// Whether HTTP/1.1 requests name the whole URI, as they do to a proxy; true by default.
    pub absolute_form: bool,
    /// How many HTTP/2 connections, and how many gRPC streams; 4 by default.
    pub connections: usize,
    /// How many requests may be in flight; 2,000 by default. One more is skipped, which the report tells.
    pub max_in_flight: u64,
}

impl Load {
    /// A load with the defaults above.
    pub fn new(connect: SocketAddr, authority: impl Into<String>, protocol: Protocol) -> Self {
        let path = match protocol {
            Protocol::Http1 { .. } | Protocol::Http2 => "/",
            Protocol::GrpcUnary => "/devcluster.v1.Echo/Unary",
            Protocol::GrpcStream => "/devcluster.v1.Echo/Stream",
        };
        Self {
            connect,
            authority: authority.into(),
            path: path.into(),
            headers: Vec::new(),
            protocol,
            rate: 100,
            timeout: Duration::from_secs(15),
            absolute_form: true,
            connections: 4,
            max_in_flight: 2_000,
        }
    }

    /// Sends until stopped. Must be called in a tokio runtime with time and I/O.
    pub fn start(self) -> Result<Running, LoadError> {
        self.launch(u64::MAX)
    }

    /// Sends for a time, and waits for the answers: exactly the rate times the duration, rounded down.
    pub async fn run_for(self, duration: Duration) -> Result<Report, LoadError> {
        let count = duration.as_nanos() * u128::from(self.rate) / 1_000_000_000;
        self.send(u64::try_from(count).unwrap_or(u64::MAX)).await
    }

    /// Sends exactly so many requests at the rate, and waits for the answers.
    pub async fn send(self, count: u64) -> Result<Report, LoadError> {
        Ok(self.launch(count)?.finish().await)
    }

    fn launch(self, count: u64) -> Result<Running, LoadError> {
        if self.rate == 0 {
            return Err(LoadError::Rate);
        }
        if self.connections == 0 {
            return Err(LoadError::Connections);
        }
        let ledger = Ledger::new();
        let driver = Driver::new(&self, Target::new(&self)?, &ledger);
        let (stop, stopped) = watch::channel(());
        let task = tokio::spawn(pace::run(self, driver, ledger.clone(), stopped, count));
        Ok(Running { ledger, stop, task })
    }
}

/// A load that is being sent; it stops when dropped, too.
#[derive(Debug)]
pub struct Running {
    ledger: Arc<Ledger>,
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    /// The counts at this moment.
    pub fn so_far(&self) -> Counts {
        self.ledger.counts()
    }

    /// Stops sending, and waits until each request in flight is answered or lost: no longer than their timeout.
    pub async fn stop(self) -> Report {
        self.stop.send_replace(());
        self.finish().await
    }

    async fn finish(self) -> Report {
        // Even if it failed, its requests are accounted for: one that is dropped is lost.
        let _ = self.task.await;
        drop(self.stop);
        self.ledger.report()
    }
}
