//! kube-proxy: balances Services over the real node's pods, with nftables.

use std::path::Path;

use serde_json::json;

use super::{ConfigError, node, path_flag, write_config};

/// kube-proxy's arguments; writes its configuration.
pub fn arguments(cluster: &Path, kubeconfig: &Path) -> Result<Vec<String>, ConfigError> {
    let config = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": kubeconfig},
        "mode": "nftables",
        "nftables": {"minSyncPeriod": "100ms"},
        "clusterCIDR": node::POD_RANGE,
        "hostnameOverride": node::NAME,
        // These are the whole machine's settings.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "healthzBindAddress": format!("{}:10256", node::ADDRESS),
        "metricsBindAddress": "127.0.0.1:10249",
    });
    let config = write_config(cluster, "kube-proxy.yaml", &config.to_string())?;
    Ok(vec![path_flag("config", &config)])
}
