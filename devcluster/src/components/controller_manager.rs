//! The built-in controllers, each under its own service account, so that the audit log tells them apart.

use std::path::Path;

use super::path_flag;
use crate::pki::Pki;

/// The controller manager's arguments.
pub fn arguments(kubeconfig: &Path, pki: &Pki) -> Vec<String> {
    vec![
        path_flag("kubeconfig", kubeconfig),
        "--secure-port=0".into(),
        "--leader-elect=false".into(),
        "--controllers=*".into(),
        "--use-service-account-credentials=true".into(),
        path_flag("service-account-private-key-file", &pki.service_account_key()),
        path_flag("root-ca-file", &pki.ca_certificate()),
        path_flag("cluster-signing-cert-file", &pki.ca_certificate()),
        path_flag("cluster-signing-key-file", &pki.ca_key()),
        "--allocate-node-cidrs=false".into(),
        // After an outage of etcd it would take readiness from all pods, which simulated nodes do not give back.
        "--node-monitor-grace-period=10m".into(),
        // Or a benchmark measures these limits.
        "--kube-api-qps=1000".into(),
        "--kube-api-burst=2000".into(),
        "--concurrent-deployment-syncs=20".into(),
        "--concurrent-replicaset-syncs=20".into(),
        "--concurrent-gc-syncs=20".into(),
    ]
}
