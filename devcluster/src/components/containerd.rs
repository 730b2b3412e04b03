//! containerd: runs the containers, from images that are loaded by hand.

use std::path::Path;

use serde_json::json;

use super::{ConfigError, node, write_config};
use crate::images;

/// Where it listens, among the node's mounts.
pub const SOCKET: &str = "/run/containerd/containerd.sock";
/// Where Debian's package puts the network plugins.
pub const PLUGINS: &str = "/usr/lib/cni";

/// containerd's arguments; writes its configuration and that of the pods' network.
pub fn arguments(cluster: &Path) -> Result<Vec<String>, ConfigError> {
    let network = json!({
        "cniVersion": "1.0.0",
        "name": "devcluster",
        "plugins": [{
            "type": "bridge",
            "bridge": "pods0",
            "isGateway": true,
            "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "dataDir": "/run/cni",
                "ranges": [[{"subnet": node::POD_RANGE}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }],
    });
    let networks = cluster.join("cni");
    write_config(&networks, "devcluster.conflist", &network.to_string())?;
    let config = format!(
        r#"version = 2
root = {root:?}
state = "/run/containerd"
[grpc]
address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
# The machine may lack the right to lower the score.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{PLUGINS}"
conf_dir = {networks:?}
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"#,
        root = cluster.join("containerd").display().to_string(),
        networks = networks.display().to_string(),
        pause = images::PAUSE,
    );
    let config = write_config(cluster, "containerd.toml", &config)?;
    Ok(vec![format!("--config={}", config.display()), "--log-level=warn".into()])
}
