//! The API server: RBAC for everybody, and a log of every request.

use std::path::{Path, PathBuf};

use super::{ConfigError, node, path_flag, write_config};
use crate::pki::Pki;

/// The API server's port in a network of its own.
pub const NODE_PORT: u16 = 6443;

/// Where it listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listen {
    /// On this machine's loopback.
    Machine {
        /// A free port.
        port: u16,
    },
    /// In the network of a real node, where pods reach it by the Service `kubernetes`.
    Node,
}

impl Listen {
    fn arguments(self, pki: &Pki) -> Vec<String> {
        match self {
            Self::Machine { port } => vec![
                "--bind-address=127.0.0.1".into(),
                "--advertise-address=127.0.0.1".into(),
                format!("--secure-port={port}"),
                // A loopback address can't be an endpoint of the Service `kubernetes`.
                "--endpoint-reconciler-type=none".into(),
            ],
            Self::Node => vec![
                "--bind-address=0.0.0.0".into(),
                format!("--advertise-address={}", node::ADDRESS),
                format!("--secure-port={NODE_PORT}"),
                path_flag("kubelet-client-certificate", &pki.kubelet_client_certificate()),
                path_flag("kubelet-client-key", &pki.kubelet_client_key()),
                "--kubelet-preferred-address-types=InternalIP".into(),
            ],
        }
    }
}

/// Every request, once, when it is answered; of the cluster's own programs only if they are to be in it.
fn audit_policy(programs: bool) -> String {
    let left_out = if programs {
        ""
    } else {
        "  - level: None
    users: [system:apiserver, system:kube-controller-manager, system:kube-scheduler, kwok]
  - level: None
    userGroups: [system:nodes, \"system:serviceaccounts:kube-system\"]
"
    };
    format!(
        "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
{left_out}  - level: Metadata
"
    )
}

/// The audit log of the cluster in this folder.
pub fn audit_log(cluster: &Path) -> PathBuf {
    cluster.join("audit.log")
}

/// The API server's arguments; writes its audit policy.
pub fn arguments(
    cluster: &Path,
    pki: &Pki,
    listen: &Listen,
    etcd_port: u16,
    audit_programs: bool,
) -> Result<Vec<String>, ConfigError> {
    let policy = write_config(cluster, "audit-policy.yaml", &audit_policy(audit_programs))?;
    let mut arguments = listen.arguments(pki);
    arguments.extend([
        format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
        path_flag("tls-cert-file", &pki.server_certificate()),
        path_flag("tls-private-key-file", &pki.server_key()),
        path_flag("client-ca-file", &pki.ca_certificate()),
        path_flag("token-auth-file", &pki.token_file()),
        "--authorization-mode=Node,RBAC".into(),
        // As on OpenShift: whose owner may not be deleted before it, asks for a right on that owner.
        "--enable-admission-plugins=OwnerReferencesPermissionEnforcement".into(),
        "--service-account-issuer=https://kubernetes.default.svc".into(),
        path_flag("service-account-key-file", &pki.service_account_public_key()),
        path_flag("service-account-signing-key-file", &pki.service_account_key()),
        "--service-cluster-ip-range=10.96.0.0/16".into(),
        "--allow-privileged=true".into(),
        path_flag("audit-policy-file", &policy),
        path_flag("audit-log-path", &audit_log(cluster)),
        // In MiB: never rotated, so that positions in it stay valid.
        "--audit-log-maxsize=1000000".into(),
        "--max-requests-inflight=1000".into(),
        "--max-mutating-requests-inflight=500".into(),
        // At the end there is nobody to wait for.
        "--shutdown-delay-duration=0s".into(),
    ]);
    Ok(arguments)
}
