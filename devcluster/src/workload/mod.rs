//! The test service, its logging sidecar, a forwarder and a pause: the programs in the pods of a test.
//!
//! [`Serve`] answers HTTP/1.1 and HTTP/2 (prior knowledge) on one port, and gRPC on another one. What it answers tells
//! which version answered; how it misbehaves is said by its environment and, while it runs, by `POST /control`.

mod app;
mod behaviour;
mod connection;
mod forward;
mod grpc;
mod query;
mod serve;
mod signals;
mod tail;
mod web;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

pub use behaviour::{Behaviour, BehaviourError, Change};
pub use forward::Forward;
pub use serve::Serve;
pub use tail::Tail;

/// What the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer requests, as the environment or the arguments say.
    Serve(Serve),
    /// Print what is appended to a file, as a logging sidecar does.
    Tail(Tail),
    /// Take TCP connections and pass them on to one place, from where this runs.
    Forward(Forward),
    /// Print `waiting`, and wait for SIGTERM or SIGINT.
    Pause,
}

/// The program could not start.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// The runtime or its signal handlers could not be made.
    #[error("cannot set up the process: {0}")]
    Setup(#[from] io::Error),
    /// The port is taken or not allowed.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// There is no such host.
    #[error("cannot look up {host}: {source}")]
    Lookup {
        /// Host and port.
        host: String,
        /// Why not.
        source: io::Error,
    },
    /// The file is not to be had.
    #[error("cannot open {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The environment asks for what can't be.
    #[error(transparent)]
    Behaviour(#[from] BehaviourError),
}

/// Runs a command to its end; the exit code is 1 for a crash that was asked for and for a shutdown that took too long.
pub fn run(command: Command) -> Result<ExitCode, WorkloadError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Serve(serve) => serve.run().await,
            Command::Tail(tail) => tail.run().await,
            Command::Forward(forward) => forward.run().await,
            Command::Pause => {
                let mut termination = signals::Termination::new()?;
                println!("waiting");
                termination.recv().await;
                Ok(ExitCode::SUCCESS)
            }
        }
    })
}
