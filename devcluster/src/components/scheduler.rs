//! The scheduler, without limits of its own.

use std::path::Path;

use super::{ConfigError, path_flag, write_config};

/// The scheduler's arguments; writes its configuration.
pub fn arguments(cluster: &Path, kubeconfig: &Path) -> Result<Vec<String>, ConfigError> {
    let config = format!(
        "apiVersion: kubescheduler.config.k8s.io/v1\n\
         kind: KubeSchedulerConfiguration\n\
         leaderElection: {{leaderElect: false}}\n\
         clientConnection: {{kubeconfig: {:?}, qps: 1000, burst: 2000}}\n",
        kubeconfig.display().to_string()
    );
    let config = write_config(cluster, "scheduler.yaml", &config)?;
    Ok(vec![path_flag("config", &config), "--secure-port=0".into()])
}
