//! Prometheus: keeps what the Envoys of the mesh count.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;

use super::envoy::Role;
use super::{ConfigError, node, path_flag, write_config};

/// The program, and Debian's package that it comes from.
pub const PROGRAM: &str = "prometheus";
/// The namespace of its Service.
pub const NAMESPACE: &str = "monitoring";
/// Its Service.
pub const SERVICE: &str = "prometheus";
/// Its port, and that of its Service.
pub const PORT: u16 = 9090;

/// Where it answers in the cluster's network, pods included. Not on loopback, where the mesh's client takes the ports of
/// all Services.
pub fn address() -> SocketAddr {
    (node::ADDRESS, PORT).into()
}

/// Prometheus's arguments; writes its configuration. Its data is in the cluster's folder.
pub fn arguments(cluster: &Path) -> Result<Vec<String>, ConfigError> {
    let envoys = [Role::Client, Role::Ingress].map(|role| format!("127.0.0.1:{}", role.admin_port()));
    let config = json!({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{
            "job_name": "envoy",
            "metrics_path": "/stats/prometheus",
            "static_configs": [{"targets": envoys}],
        }],
    });
    let config = write_config(cluster, "prometheus.yaml", &config.to_string())?;
    Ok(vec![
        path_flag("config.file", &config),
        path_flag("storage.tsdb.path", &cluster.join("prometheus")),
        format!("--web.listen-address={}", address()),
        "--log.level=warn".into(),
    ])
}
