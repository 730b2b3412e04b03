//! A way through a pod for those outside of it: what comes in goes out again as the pod's own connection.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use clap::Args;
use tokio::net::lookup_host;
use tokio::task::JoinSet;

use super::WorkloadError;
use super::serve::{bind, reachable, rest};
use super::signals::Termination;
use crate::relay;

/// Passes TCP connections on, and says on stdout where it takes them: `listening 127.0.0.1:8080`.
#[derive(Debug, Args)]
pub struct Forward {
    /// The port to listen on; 0 for any that is free.
    #[arg(long, value_name = "PORT")]
    pub listen: u16,
    /// Where to connect to. The name is looked up once, at the start.
    #[arg(long, value_name = "HOST:PORT")]
    pub to: String,
}

impl Forward {
    /// Forwards until SIGTERM or SIGINT, which cut what is open.
    pub(super) async fn run(self) -> Result<ExitCode, WorkloadError> {
        let mut termination = Termination::new()?;
        let unknown = |source| WorkloadError::Lookup { host: self.to.clone(), source };
        let onward: Vec<SocketAddr> = lookup_host(&self.to).await.map_err(unknown)?.collect();
        let listener = bind((Ipv4Addr::UNSPECIFIED, self.listen).into()).await?;
        let mut out = io::stdout();
        writeln!(out, "listening {}", reachable(listener.local_addr()?))?;
        out.flush()?;
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((taken, _)) => {
                        let onward = onward.clone();
                        connections.spawn(async move { relay::pass(taken, onward.as_slice()).await });
                    }
                    Err(error) => rest(&error).await,
                },
                Some(_) = connections.join_next() => {}
                () = termination.recv() => return Ok(ExitCode::SUCCESS),
            }
        }
    }
}
