//! istiod: turns VirtualServices and DestinationRules into what Envoy does, and judges them before they are taken.

use std::path::Path;

use super::{ConfigError, path_flag, write_config};
use crate::pki::Pki;

/// The namespace it keeps its own objects in.
pub const NAMESPACE: &str = "istio-system";
/// The port on loopback at which it serves Envoys.
pub const PORT: u16 = 15010;
/// The port on loopback at which a mesh's istiod judges.
pub const WEBHOOK_PORT: u16 = 15017;

/// What an Envoy without Istio's own filters can do.
const MESH: &str = "\
enableAutoMtls: false
enablePrometheusMerge: false
defaultProviders: {}
accessLogFile: /dev/null
";

/// Which istiod it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A mesh's, which serves Envoys.
    Mesh,
    /// One that knows no services, and only judges, at an address that its log tells.
    Webhook,
}

/// istiod's environment. It has no certificates to give, and injects nothing.
const ENVIRONMENT: [&str; 4] =
    ["POD_NAMESPACE=istio-system", "POD_NAME=istiod", "ENABLE_CA_SERVER=false", "INJECTION_WEBHOOK_CONFIG_NAME="];

impl Role {
    fn environment(self) -> &'static [&'static str] {
        match self {
            // Off are the filters that only Istio's own Envoy has.
            Self::Mesh => &[
                "PILOT_ENABLE_ALPN_FILTER=false",
                "PILOT_ENABLE_METADATA_EXCHANGE=false",
                "PILOT_ENABLE_TELEMETRY_LABEL=false",
            ],
            // Off is what would write into the cluster.
            Self::Webhook => &["PILOT_ENABLE_GATEWAY_API=false", "PILOT_ENABLE_IP_AUTOALLOCATE=false"],
        }
    }

    fn flags(self) -> Vec<String> {
        match self {
            Self::Mesh => vec![
                "--registries=Kubernetes".into(),
                "--clusterID=Kubernetes".into(),
                format!("--grpcAddr=:{PORT}"),
                format!("--httpsAddr=127.0.0.1:{WEBHOOK_PORT}"),
                "--log_output_level=default:warn".into(),
            ],
            Self::Webhook => [
                "--registries=",
                "--grpcAddr=",
                "--secureGRPCAddr=",
                "--monitoringAddr=",
                "--httpAddr=127.0.0.1:0",
                "--httpsAddr=127.0.0.1:0",
                "--ctrlz_port=0",
            ]
            .map(Into::into)
            .into(),
        }
    }
}

/// The arguments of `env`, which runs istiod; writes the mesh's configuration.
pub fn arguments(
    cluster: &Path,
    kubeconfig: &Path,
    pki: &Pki,
    program: &Path,
    role: Role,
) -> Result<Vec<String>, ConfigError> {
    let mesh = write_config(cluster, "mesh.yaml", MESH)?;
    let environment = ENVIRONMENT.iter().chain(role.environment());
    let mut arguments: Vec<String> = environment.map(|&variable| variable.into()).collect();
    arguments.push(program.display().to_string());
    arguments.extend([
        "discovery".into(),
        path_flag("kubeconfig", kubeconfig),
        path_flag("meshConfig", &mesh),
        "--networksConfig=/dev/null".into(),
        path_flag("tlsCertFile", &pki.server_certificate()),
        path_flag("tlsKeyFile", &pki.server_key()),
        path_flag("caCertFile", &pki.ca_certificate()),
    ]);
    arguments.extend(role.flags());
    Ok(arguments)
}

/// What it says when it listens as a webhook, before the address.
const LISTENS: &str = "starting webhook service at ";

/// Where an istiod with this log listens as a webhook. A line is whole when it has its end.
pub fn webhook_address(log: &str) -> Option<&str> {
    log.split_inclusive('\n').find_map(|line| Some(line.split_once(LISTENS)?.1.strip_suffix('\n')?.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_webhook_is_read_from_the_log() {
        let log = "2026-01-01T00:00:00Z\tinfo\tstarting HTTP service at 127.0.0.1:1\n\
                   2026-01-01T00:00:00Z\tinfo\tstarting webhook service at 127.0.0.1:2\n";
        assert_eq!(webhook_address(log), Some("127.0.0.1:2"));
        assert_eq!(webhook_address("starting webhook service at 127.0.0.1:2"), None);
    }
}
