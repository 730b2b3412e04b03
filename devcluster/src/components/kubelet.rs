//! The kubelet: runs the pods of the real node.

use std::path::Path;

use serde_json::json;

use super::{ConfigError, containerd, node, path_flag, write_config};
use crate::pki::Pki;

/// The kubelet's arguments; writes its configuration.
pub fn arguments(cluster: &Path, kubeconfig: &Path, pki: &Pki) -> Result<Vec<String>, ConfigError> {
    // The machine's own resolver knows nothing of the cluster, and is not reached from it.
    let resolver = write_config(cluster, "resolv.conf", "")?;
    let never = json!({"memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%"});
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node::ADDRESS,
        "containerRuntimeEndpoint": format!("unix://{}", containerd::SOCKET),
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": false},
            "x509": {"clientCAFile": pki.ca_certificate()},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", node::cgroup(cluster)),
        "failCgroupV1": false,
        "failSwapOn": false,
        "enforceNodeAllocatable": [],
        "localStorageCapacityIsolation": false,
        "evictionHard": never,
        "imageGCHighThresholdPercent": 100,
        "clusterDNS": [node::ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": resolver,
        "nodeStatusReportFrequency": "10s",
        "nodeStatusUpdateFrequency": "10s",
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
    });
    let config = write_config(cluster, "kubelet.yaml", &config.to_string())?;
    Ok(vec![
        path_flag("config", &config),
        path_flag("kubeconfig", kubeconfig),
        "--root-dir=/run/kubelet".into(),
        "--cert-dir=/run/kubelet/pki".into(),
        format!("--hostname-override={}", node::NAME),
        format!("--node-ip={}", node::ADDRESS),
        "--v=1".into(),
    ])
}
