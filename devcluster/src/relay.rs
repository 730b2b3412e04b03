//! Passes connections from this machine's loopback into a cluster's own network.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use tokio::net;

/// The relay cannot work.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The port is taken.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The network is not there, or this process may not enter it.
    #[error("cannot enter the network {}: {source}; this needs root", path.display())]
    Enter {
        /// Its file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No event loop.
    #[error("cannot wait for connections: {0}")]
    Runtime(#[source] io::Error),
}

/// Moves the calling thread into a network. Sockets that it has already stay where they were opened.
pub fn enter(network: &Path) -> Result<(), RelayError> {
    let failed = |source| RelayError::Enter { path: network.to_owned(), source };
    let file = File::open(network).map_err(failed)?;
    #[cfg(target_os = "linux")]
    return nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).map_err(|error| failed(error.into()));
    #[cfg(not(target_os = "linux"))]
    Err(failed(io::ErrorKind::Unsupported.into()))
}

/// Takes connections at `from` in the present network and passes each to `to` in the other one, until the process ends.
pub fn run(from: SocketAddr, to: SocketAddr, network: &Path) -> Result<(), RelayError> {
    let listen = |source| RelayError::Listen { address: from, source };
    let listener = TcpListener::bind(from).map_err(listen)?;
    listener.set_nonblocking(true).map_err(listen)?;
    enter(network)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(RelayError::Runtime)?;
    runtime.block_on(async {
        let listener = net::TcpListener::from_std(listener).map_err(listen)?;
        loop {
            // A connection that ended before it was taken, or too many open files: the next may fare better.
            let Ok((taken, _)) = listener.accept().await else { continue };
            tokio::spawn(pass(taken, to));
        }
    })
}

/// Passes what one connection says to another one that is made for it, and back, until both have ended.
pub async fn pass(mut taken: net::TcpStream, to: impl net::ToSocketAddrs) {
    let Ok(mut onward) = net::TcpStream::connect(to).await else { return };
    let _ = taken.set_nodelay(true).and_then(|()| onward.set_nodelay(true));
    // Whichever side ends with an error, the other notices by the end of its connection.
    let _ = tokio::io::copy_bidirectional(&mut taken, &mut onward).await;
}
