//! The service: its arguments, its ports and its end.

use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use http::HeaderValue;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::app::App;
use super::behaviour::{Behaviour, Faults};
use super::signals::Termination;
use super::{WorkloadError, connection, grpc, web};

/// How long requests in flight may take once the process is told to end.
const SHUTDOWN: Duration = Duration::from_secs(20);
/// How long accepting rests when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Answers requests, and says on stdout where: `listening http=127.0.0.1:8080 grpc=127.0.0.1:9090`.
#[derive(Debug, Args)]
pub struct Serve {
    /// The service's name, for answers and the log.
    #[arg(long, env = "SERVICE_NAME")]
    pub service_name: String,
    /// The version's name, for answers and the log.
    #[arg(long, env = "SERVICE_VERSION")]
    pub service_version: HeaderValue,
    /// The address to listen on.
    #[arg(long, env = "LISTEN_ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED))]
    pub listen_address: IpAddr,
    /// The port for HTTP/1.1 and HTTP/2; 0 for any that is free.
    #[arg(long, env = "HTTP_PORT", default_value_t = 8080)]
    pub http_port: u16,
    /// The port for gRPC, 0 for any that is free; no gRPC without.
    #[arg(long, env = "GRPC_PORT")]
    pub grpc_port: Option<u16>,
    /// The pod's name, for answers; the host's name by default.
    #[arg(long, env = "POD_NAME")]
    pub pod_name: Option<String>,
    /// A file to append `SERVICE VERSION METHOD PATH` to at each ordinary request, when it comes.
    #[arg(long, env = "LOG_FILE")]
    pub log_file: Option<PathBuf>,
    /// How long to wait before listening, in milliseconds.
    #[arg(long, env = "START_DELAY_MS", default_value_t = 0)]
    pub start_delay_ms: u64,
    /// How long every ordinary request waits, in milliseconds.
    #[arg(long, env = "DELAY_MS", default_value_t = 0)]
    pub delay_ms: u64,
    /// The percentage of ordinary requests that fail.
    #[arg(long, env = "FAIL_SHARE", default_value_t = 0)]
    pub fail_share: u8,
    /// The status of those that fail.
    #[arg(long, env = "FAIL_STATUS", default_value_t = 503)]
    pub fail_status: u16,
    /// Never be ready.
    #[arg(long, env = "UNREADY", value_parser = BoolishValueParser::new())]
    pub unready: bool,
    /// Never be healthy.
    #[arg(long, env = "UNHEALTHY", value_parser = BoolishValueParser::new())]
    pub unhealthy: bool,
    /// Ignore SIGTERM.
    #[arg(long, env = "HANG_AT_SHUTDOWN", value_parser = BoolishValueParser::new())]
    pub hang_at_shutdown: bool,
    /// End with exit code 1 after the start delay, instead of listening.
    #[arg(long, env = "CRASH", value_parser = BoolishValueParser::new())]
    pub crash: bool,
    /// End with exit code 1 at this ordinary request, without answering it; 0 is never.
    #[arg(long, env = "CRASH_AFTER", default_value_t = 0)]
    pub crash_after: u64,
}

impl Serve {
    /// Serves until SIGTERM or SIGINT, then answers what is in flight.
    pub(super) async fn run(self) -> Result<ExitCode, WorkloadError> {
        let mut termination = Termination::new()?;
        let start_delay = Duration::from_millis(self.start_delay_ms);
        let listen = |port| SocketAddr::new(self.listen_address, port);
        let (http_address, grpc_address) = (listen(self.http_port), self.grpc_port.map(listen));
        let crash = self.crash;
        let app = Arc::new(self.into_app()?);
        let started = sleep(start_delay);
        tokio::pin!(started);
        loop {
            tokio::select! {
                () = &mut started => break,
                () = termination.recv() => if app.ends_at_signal() { return Ok(ExitCode::SUCCESS) },
            }
        }
        if crash {
            return Ok(ExitCode::FAILURE);
        }
        let http = bind(http_address).await?;
        let grpc = match grpc_address {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        announce(&http, grpc.as_ref())?;
        Server { app, http, grpc, connections: JoinSet::new() }.run(&mut termination).await
    }

    fn into_app(self) -> Result<App, WorkloadError> {
        let behaviour = Behaviour {
            delay_ms: self.delay_ms,
            fail_share: self.fail_share,
            fail_status: self.fail_status,
            unready: self.unready,
            unhealthy: self.unhealthy,
            hang_at_shutdown: self.hang_at_shutdown,
            crash: self.crash,
            crash_after: self.crash_after,
        };
        let log = match self.log_file {
            Some(path) => {
                let file = File::options().append(true).create(true).open(&path);
                Some(Mutex::new(file.map_err(|source| WorkloadError::File { path, source })?))
            }
            None => None,
        };
        Ok(App {
            service: self.service_name,
            version: String::from_utf8_lossy(self.service_version.as_bytes()).into_owned(),
            version_header: self.service_version,
            pod: self.pod_name.or_else(|| env::var("HOSTNAME").ok()).unwrap_or_default(),
            log,
            faults: Mutex::new(Faults::new(behaviour)?),
            crash: Notify::new(),
            ending: watch::Sender::new(false),
        })
    }
}

impl App {
    fn ends_at_signal(&self) -> bool {
        let hangs = self.faults().behaviour().hang_at_shutdown;
        if hangs {
            eprintln!("workload: the signal to end is ignored, as asked for");
        }
        !hangs
    }
}

struct Server {
    app: Arc<App>,
    http: TcpListener,
    grpc: Option<TcpListener>,
    connections: JoinSet<()>,
}

impl Server {
    async fn run(mut self, termination: &mut Termination) -> Result<ExitCode, WorkloadError> {
        let app = self.app.clone();
        loop {
            tokio::select! {
                accepted = self.http.accept() => match accepted {
                    Ok((stream, _)) => self.serve_http(stream),
                    Err(error) => rest(&error).await,
                },
                accepted = accept(self.grpc.as_ref()) => match accepted {
                    Ok(stream) => self.serve_grpc(stream),
                    Err(error) => rest(&error).await,
                },
                Some(_) = self.connections.join_next() => {}
                () = app.crash.notified() => return Ok(ExitCode::FAILURE),
                () = termination.recv() => if app.ends_at_signal() { break },
            }
        }
        self.end().await
    }

    fn serve_http(&mut self, stream: TcpStream) {
        self.connections.spawn(connection::serve(self.app.clone(), stream, web::handle));
    }

    fn serve_grpc(&mut self, stream: TcpStream) {
        self.connections.spawn(connection::serve(self.app.clone(), stream, grpc::handle));
    }

    /// Closes the ports, and answers what has come by then.
    async fn end(mut self) -> Result<ExitCode, WorkloadError> {
        self.app.ending.send_replace(true);
        let (http, grpc) = (self.http, self.grpc.take());
        for stream in established(http)? {
            self.connections.spawn(connection::serve(self.app.clone(), stream, web::handle));
        }
        for stream in grpc.map(established).transpose()?.unwrap_or_default() {
            self.connections.spawn(connection::serve(self.app.clone(), stream, grpc::handle));
        }
        let answered = async { while self.connections.join_next().await.is_some() {} };
        tokio::select! {
            ended = timeout(SHUTDOWN, answered) => match ended {
                Ok(()) => Ok(ExitCode::SUCCESS),
                Err(_) => {
                    eprintln!("workload: requests took longer than {} s, and are cut", SHUTDOWN.as_secs());
                    Ok(ExitCode::FAILURE)
                }
            },
            () = self.app.crash.notified() => Ok(ExitCode::FAILURE),
        }
    }
}

/// The connections that clients have made but nobody has accepted; the port is closed.
fn established(listener: TcpListener) -> io::Result<Vec<TcpStream>> {
    let listener = listener.into_std()?;
    let mut streams = Vec::new();
    // The listener doesn't block: it ends with an error when there is nothing left.
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(true)?;
        streams.push(TcpStream::from_std(stream)?);
    }
    Ok(streams)
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => Ok(listener.accept().await?.0),
        None => std::future::pending().await,
    }
}

pub(super) async fn rest(error: &io::Error) {
    eprintln!("workload: cannot accept a connection: {error}");
    sleep(ACCEPT_PAUSE).await;
}

pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, WorkloadError> {
    TcpListener::bind(address).await.map_err(|source| WorkloadError::Listen { address, source })
}

fn announce(http: &TcpListener, grpc: Option<&TcpListener>) -> io::Result<()> {
    let mut line = format!("listening http={}", reachable(http.local_addr()?));
    if let Some(grpc) = grpc {
        line.push_str(&format!(" grpc={}", reachable(grpc.local_addr()?)));
    }
    let mut out = io::stdout();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Where a client on this machine reaches a listener.
pub(super) fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
