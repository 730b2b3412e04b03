//! kwok: makes simulated nodes and their pods live without running anything, as its stages say.

use std::path::Path;

use super::{ConfigError, path_flag, write_config};

/// How nodes and pods go from state to state.
const STAGES: &str = include_str!("../../stages.yaml");

/// The annotation of a node that kwok takes care of.
pub const NODE_ANNOTATION: (&str, &str) = ("kwok.x-k8s.io/node", "fake");

/// The annotation or label with which a pod asks for a behaviour other than becoming ready; see `stages.yaml`.
pub const BEHAVIOR: &str = "devcluster.test/behavior";

/// kwok's arguments; writes its stages.
pub fn arguments(cluster: &Path, kubeconfig: &Path) -> Result<Vec<String>, ConfigError> {
    let stages = write_config(cluster, "stages.yaml", STAGES)?;
    let (key, value) = NODE_ANNOTATION;
    Ok(vec![
        path_flag("kubeconfig", kubeconfig),
        path_flag("config", &stages),
        format!("--manage-nodes-with-annotation-selector={key}={value}"),
        "--node-ip=10.250.0.1".into(),
        // It must serve no one: several clusters would want the same port.
        "--node-port=0".into(),
        "--node-lease-duration-seconds=40".into(),
    ])
}
