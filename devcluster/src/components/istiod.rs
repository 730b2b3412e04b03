//! istiod: turns VirtualServices and DestinationRules into what Envoy does.

use std::path::Path;

use super::{ConfigError, path_flag, write_config};

/// The namespace it keeps its own objects in.
pub const NAMESPACE: &str = "istio-system";
/// The port on loopback at which it serves Envoys.
pub const PORT: u16 = 15010;

/// What an Envoy without Istio's own filters can do.
const MESH: &str = "\
enableAutoMtls: false
enablePrometheusMerge: false
defaultProviders: {}
accessLogFile: /dev/null
";

/// istiod's environment: the filters that only Istio's own Envoy has are off.
const ENVIRONMENT: [&str; 6] = [
    "POD_NAMESPACE=istio-system",
    "POD_NAME=istiod",
    "PILOT_ENABLE_ALPN_FILTER=false",
    "PILOT_ENABLE_METADATA_EXCHANGE=false",
    "PILOT_ENABLE_TELEMETRY_LABEL=false",
    "INJECTION_WEBHOOK_CONFIG_NAME=",
];

/// The arguments of `env`, which runs istiod; writes the mesh's configuration.
pub fn arguments(cluster: &Path, kubeconfig: &Path, program: &Path) -> Result<Vec<String>, ConfigError> {
    let mesh = write_config(cluster, "mesh.yaml", MESH)?;
    let mut arguments: Vec<String> = ENVIRONMENT.map(Into::into).into();
    arguments.push(program.display().to_string());
    arguments.extend([
        "discovery".into(),
        path_flag("kubeconfig", kubeconfig),
        "--registries=Kubernetes".into(),
        "--clusterID=Kubernetes".into(),
        format!("--grpcAddr=:{PORT}"),
        path_flag("meshConfig", &mesh),
        "--networksConfig=/dev/null".into(),
        "--log_output_level=default:warn".into(),
    ]);
    Ok(arguments)
}
