//! The holder of a real node's namespaces: a network, mounts and processes of their own, which end with it.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::{ConfigError, write_config};

/// What the first process of the namespaces does.
const SCRIPT: &str = include_str!("node.sh");

/// The node's name.
pub const NAME: &str = "real-0";
/// The address of the node, and of everything that runs in the cluster's network beside the pods.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 250, 0, 1);
/// Addresses of pods.
pub const POD_RANGE: &str = "10.244.0.0/24";

/// The file that appears once the namespaces can be entered.
pub fn ready_file(cluster: &Path) -> PathBuf {
    cluster.join("node.ready")
}

/// The node's cgroup in every hierarchy, which outlives its processes.
pub fn cgroup(cluster: &Path) -> String {
    format!("devcluster-{}", cluster.file_name().unwrap_or_default().to_string_lossy())
}

/// The holder's arguments; writes its script.
pub fn arguments(cluster: &Path) -> Result<Vec<String>, ConfigError> {
    let script = write_config(cluster, "node.sh", SCRIPT)?;
    let flags =
        ["--net", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--propagation=private"];
    let mut arguments: Vec<String> = flags.map(Into::into).into();
    arguments.extend(["--", "sh"].map(Into::into));
    arguments.extend([
        script.display().to_string(),
        cluster.display().to_string(),
        cgroup(cluster),
        ADDRESS.to_string(),
    ]);
    Ok(arguments)
}
