//! Envoy: a client of the mesh, which takes requests on loopback and sends them as a sidecar would, and an ingress.

use std::path::Path;

use serde_json::{Value, json};

use super::{ConfigError, istiod, node, write_config};

/// The port in the cluster's network at which the mesh client is an HTTP proxy. Routes that ask for a port are not
/// known there; the ports of the Services themselves know all.
pub const CLIENT_PORT: u16 = 15007;
/// The namespace that the client and the ingress belong to.
pub const NAMESPACE: &str = "default";
/// The labels that a `Gateway` selects the ingress by.
pub const INGRESS_LABEL: (&str, &str) = ("istio", "ingressgateway");

/// How Istio's own proxies make labels of the names of stats. istiod's names of clusters end with `;`.
const STATS_TAGS: [(&str, &str); 3] = [
    ("cluster_name", r"^cluster(\.(.+);)"),
    ("response_code", r"_rq(_(\d{3}))$"),
    ("response_code_class", r"_rq(_(\dxx))$"),
];

/// Which Envoy it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Sends requests into the mesh.
    Client,
    /// Takes requests from outside it.
    Ingress,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Client => "mesh-client",
            Self::Ingress => "mesh-ingress",
        }
    }

    /// The port on loopback of its administration.
    pub fn admin_port(self) -> u16 {
        match self {
            Self::Client => 15000,
            Self::Ingress => 15001,
        }
    }

    fn node(self) -> Value {
        let (kind, mut metadata) = match self {
            Self::Client => {
                ("sidecar", json!({"INTERCEPTION_MODE": "NONE", "HTTP_PROXY_PORT": CLIENT_PORT.to_string()}))
            }
            Self::Ingress => ("router", json!({"LABELS": {INGRESS_LABEL.0: INGRESS_LABEL.1}})),
        };
        metadata["NAMESPACE"] = NAMESPACE.into();
        metadata["CLUSTER_ID"] = "Kubernetes".into();
        metadata["ISTIO_VERSION"] = "1.31.0".into();
        json!({
            "id": format!("{kind}~{}~{}.{NAMESPACE}~{NAMESPACE}.svc.cluster.local", node::ADDRESS, self.name()),
            "cluster": format!("{}.{NAMESPACE}", self.name()),
            "metadata": metadata,
        })
    }
}

/// Envoy's arguments; writes its bootstrap configuration.
pub fn arguments(cluster: &Path, role: Role) -> Result<Vec<String>, ConfigError> {
    let discovered = json!({"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"});
    let address = |port: u16| json!({"socket_address": {"address": "127.0.0.1", "port_value": port}});
    let http2 = json!({
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    });
    let tags = STATS_TAGS.map(|(name, regex)| json!({"tag_name": name, "regex": regex}));
    let config = json!({
        "node": role.node(),
        "admin": {"address": address(role.admin_port())},
        "stats_config": {"use_all_default_tags": false, "stats_tags": tags},
        "dynamic_resources": {
            "lds_config": discovered,
            "cds_config": discovered,
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": true,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
            },
        },
        "static_resources": {"clusters": [{
            "name": "xds-grpc",
            "type": "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
            "load_assignment": {
                "cluster_name": "xds-grpc",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(istiod::PORT)}}]}],
            },
        }]},
    });
    let config = write_config(cluster, &format!("{}.json", role.name()), &config.to_string())?;
    Ok(vec![
        "--config-path".into(),
        config.display().to_string(),
        "--log-level".into(),
        "warning".into(),
        "--concurrency".into(),
        "1".into(),
        "--disable-hot-restart".into(),
    ])
}
