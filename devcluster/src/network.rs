//! The network of a cluster with a real node, for tests that send requests in it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::components::{envoy::Role, prometheus};
use crate::relay::{self, RelayError};
use crate::sandbox::Sandbox;

/// A network of its own, in which the cluster's programs and pods are reached.
#[derive(Debug, Clone)]
pub struct Network {
    file: PathBuf,
}

const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

impl Network {
    pub(crate) fn of(sandbox: Sandbox) -> Self {
        Self { file: sandbox.network() }
    }

    /// The file that a process enters the network by (`nsenter --net=FILE`).
    pub fn file(&self) -> &PathBuf {
        &self.file
    }

    /// Where the mesh's client takes requests to a port of any Service, as a sidecar does: by the `Host` they name.
    pub fn mesh_client(&self, port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, port).into()
    }

    /// Where the mesh's ingress takes requests to a port that a `Gateway` names.
    pub fn mesh_ingress(&self, port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, port).into()
    }

    /// Where Prometheus answers, also to pods.
    pub fn prometheus(&self) -> SocketAddr {
        prometheus::address()
    }

    /// A runtime whose tasks open their sockets in the network. What is blocked on outside of its tasks does not.
    ///
    /// # Errors
    /// When the network is gone, or this process is not root.
    pub fn runtime(&self) -> Result<Runtime, RelayError> {
        self.run(|| ())?;
        let network = self.clone();
        Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .on_thread_start(move || {
                // It worked a moment ago; a network that went since has no sockets either.
                let _ = relay::enter(&network.file);
            })
            .build()
            .map_err(RelayError::Runtime)
    }

    /// Does something on a thread in the network.
    ///
    /// # Errors
    /// As for [`Network::runtime`].
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, RelayError> {
        thread::scope(|scope| {
            let entered = scope.spawn(|| relay::enter(&self.file).map(|()| work()));
            entered.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// What an Envoy of the mesh answers at a path of its administration; none if it does not answer.
    pub fn envoy(&self, role: Role, path: &str) -> Option<String> {
        self.get((Ipv4Addr::LOCALHOST, role.admin_port()).into(), path)
    }

    /// What is answered with success at a path of an address in the network; none if nothing is.
    pub fn get(&self, address: SocketAddr, path: &str) -> Option<String> {
        self.run(|| get(address, path)).ok().flatten()
    }

    /// Whether somebody listens on a port of the network's loopback.
    pub fn listens(&self, port: u16) -> bool {
        let address = (Ipv4Addr::LOCALHOST, port).into();
        self.run(|| TcpStream::connect_timeout(&address, ANSWERS_WITHIN).is_ok()).unwrap_or(false)
    }
}

fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, ANSWERS_WITHIN).ok()?;
    stream.set_read_timeout(Some(ANSWERS_WITHIN)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    body_of(&answer)
}

/// The body of a successful answer.
fn body_of(answer: &str) -> Option<String> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.split_whitespace().nth(1).filter(|status| *status == "200")?;
    if head.to_ascii_lowercase().contains("transfer-encoding: chunked") { joined(body) } else { Some(body.to_owned()) }
}

/// Chunks without their sizes.
fn joined(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.push_str(after.get(..size)?);
        rest = after.get(size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_read_whole_or_in_chunks() {
        assert_eq!(body_of("HTTP/1.1 200 OK\r\nA: b\r\n\r\nLIVE\n"), Some("LIVE\n".into()));
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nLIVE\r\n1\r\n\n\r\n0\r\n\r\n";
        assert_eq!(body_of(chunked), Some("LIVE\n".into()));
        assert_eq!(body_of("HTTP/1.1 503 No\r\n\r\nx"), None);
    }
}
