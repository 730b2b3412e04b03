//! The relay: what it takes on this machine's loopback goes to the API server in the cluster's network.

use super::node;

/// The relay's arguments: the port to take connections on, and whose network to pass them into.
pub fn arguments(port: u16, holder: i32) -> Vec<String> {
    let (from, to) = (format!("127.0.0.1:{port}"), format!("{}:{}", node::ADDRESS, super::apiserver::NODE_PORT));
    vec!["relay".into(), format!("--from={from}"), format!("--to={to}"), format!("--network=/proc/{holder}/ns/net")]
}
