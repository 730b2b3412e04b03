//! Ports that a cluster's programs listen on.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;

/// Free ports of loopback, all different.
pub fn free<const N: usize>() -> std::io::Result<[u16; N]> {
    // All are held until all are known, so that they differ.
    let mut listeners = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = free_listener()?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(ports)
}

/// One on a port that is no node port, and that Linux gives to no outgoing connection, which could take it while its component
/// is down.
fn free_listener() -> std::io::Result<TcpListener> {
    const FIRST: u16 = 20_000;
    const NODE_PORTS: u16 = 30_000;
    const TRIES: usize = 100;
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let outgoing: u16 = range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32_768);
    let listen = |port: u16| TcpListener::bind(("127.0.0.1", port));
    let below = outgoing.min(NODE_PORTS).saturating_sub(FIRST).max(1);
    let by_chance = || FIRST + (RandomState::new().hash_one(()) % u64::from(below)) as u16;
    let found = (0..TRIES).find_map(|_| listen(by_chance()).ok());
    found.map_or_else(|| listen(0), Ok)
}
