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

/// istiod's environment. It has no certificates to give, and injects nothing.
const ENVIRONMENT: [&str; 4] =
    ["POD_NAMESPACE=istio-system", "POD_NAME=istiod", "ENABLE_CA_SERVER=false", "INJECTION_WEBHOOK_CONFIG_NAME="];
/// Off are the filters that only Istio's own Envoy has.
const MESH_ENVIRONMENT: [&str; 3] =
    ["PILOT_ENABLE_ALPN_FILTER=false", "PILOT_ENABLE_METADATA_EXCHANGE=false", "PILOT_ENABLE_TELEMETRY_LABEL=false"];
/// Off is what would write into the cluster.
const WEBHOOK_ENVIRONMENT: [&str; 2] = ["PILOT_ENABLE_GATEWAY_API=false", "PILOT_ENABLE_IP_AUTOALLOCATE=false"];

/// What it says when it listens as a webhook, before the address.
const LISTENS: &str = "starting webhook service at ";

/// The arguments of `env`, which runs a mesh's istiod; writes the mesh's configuration.
pub fn mesh_arguments(
    cluster: &Path,
    kubeconfig: &Path,
    pki: &Pki,
    program: &Path,
) -> Result<Vec<String>, ConfigError> {
    let mut arguments = arguments(cluster, kubeconfig, pki, program, &MESH_ENVIRONMENT)?;
    arguments.extend([
        "--registries=Kubernetes".into(),
        "--clusterID=Kubernetes".into(),
        format!("--grpcAddr=:{PORT}"),
        format!("--httpsAddr=127.0.0.1:{WEBHOOK_PORT}"),
        "--log_output_level=default:warn".into(),
    ]);
    Ok(arguments)
}

/// The arguments of `env`, which runs an istiod that knows no services and serves no Envoy.
pub fn webhook_arguments(
    cluster: &Path,
    kubeconfig: &Path,
    pki: &Pki,
    program: &Path,
) -> Result<Vec<String>, ConfigError> {
    let mut arguments = arguments(cluster, kubeconfig, pki, program, &WEBHOOK_ENVIRONMENT)?;
    arguments.extend([
        "--registries=".into(),
        "--grpcAddr=".into(),
        "--secureGRPCAddr=".into(),
        "--monitoringAddr=".into(),
        "--httpAddr=127.0.0.1:0".into(),
        "--httpsAddr=127.0.0.1:0".into(),
        "--ctrlz_port=0".into(),
    ]);
    Ok(arguments)
}

/// Where an istiod with this log listens as a webhook. A line is whole when it has its end.
pub fn webhook_address(log: &str) -> Option<&str> {
    log.split_inclusive('\n').find_map(|line| Some(line.split_once(LISTENS)?.1.strip_suffix('\n')?.trim()))
}

fn arguments(
    cluster: &Path,
    kubeconfig: &Path,
    pki: &Pki,
    program: &Path,
    environment: &[&str],
) -> Result<Vec<String>, ConfigError> {
    let mesh = write_config(cluster, "mesh.yaml", MESH)?;
    let mut arguments: Vec<String> = ENVIRONMENT.iter().chain(environment).map(|&variable| variable.into()).collect();
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
    Ok(arguments)
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
