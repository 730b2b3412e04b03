//! CoreDNS: answers the real node's pods for the cluster's names, and for no others.

use std::path::Path;

use super::{ConfigError, node, path_flag, write_config};

/// CoreDNS's arguments; writes its configuration.
pub fn arguments(cluster: &Path, kubeconfig: &Path) -> Result<Vec<String>, ConfigError> {
    let config = format!(
        ".:53 {{\n    bind {}\n    errors\n    kubernetes cluster.local {{\n        kubeconfig {}\n        ttl 1\n    }}\n}}\n",
        node::ADDRESS,
        kubeconfig.display()
    );
    let config = write_config(cluster, "Corefile", &config)?;
    Ok(vec![path_flag("conf", &config)])
}
