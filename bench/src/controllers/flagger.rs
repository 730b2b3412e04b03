//! Flagger with Istio and without metrics. A person lets a webhook say yes.

use std::path::PathBuf;

use devcluster::tools::{ManifestError, ToolError};
use serde_json::{Value, json};

use super::{Deed, Edited, Family, Limits, Service, Stage, image, joined, metadata};
use crate::watch::{DEPLOYMENT, Kind, VIRTUAL_SERVICE};

/// In all namespaces or in one.
pub struct Flagger;

const KIND: Kind = Kind { group: "flagger.app", version: "v1beta1", kind: "Canary", plural: "canaries" };
const WRITTEN: [Kind; 2] = [KIND, DEPLOYMENT];
const UNTHROTTLED: [&str; 3] = ["-kubeconfig-qps=10000", "-kubeconfig-burst=20000", "-threadiness=40"];

impl Family for Flagger {
    fn definitions(&self) -> Result<Vec<PathBuf>, ManifestError> {
        devcluster::tools::flagger_crds()
    }

    fn program(&self) -> Result<PathBuf, ToolError> {
        devcluster::tool(devcluster::Tool::Flagger)
    }

    fn arguments(&self, kubeconfig: &str, limits: Limits) -> Vec<String> {
        // It asks for no metrics, and says at the start that there is no Prometheus.
        let fixed = [
            "-mesh-provider=istio",
            "-metrics-server=http://127.0.0.1:9",
            "-control-loop-interval=1s",
            "-log-level=error",
            "-port=0",
        ];
        joined(&fixed, limits, &UNTHROTTLED, format!("-kubeconfig={kubeconfig}"))
    }

    fn within(&self, namespace: &str) -> Vec<String> {
        vec![format!("-namespace={namespace}")]
    }

    fn kind(&self) -> Kind {
        KIND
    }

    fn deed(&self, service: &Service<'_>, stage: Stage, gate: &str) -> Deed {
        match stage {
            Stage::Create => Deed::Apply(manifests(service, 1, gate)),
            Stage::Canary => Deed::Apply(vec![deployment(service, 2)]),
            Stage::Step | Stage::Promote => Deed::None,
        }
    }

    fn has_reached(&self, resource: &Value, stage: Stage) -> bool {
        let status = &resource["status"];
        let at = |weight: i64| status["phase"] == "Progressing" && status["canaryWeight"].as_i64() == Some(weight);
        match stage {
            Stage::Create => status["phase"] == "Initialized",
            Stage::Canary => at(20),
            Stage::Step => at(50),
            Stage::Promote => status["phase"] == "Succeeded",
        }
    }

    fn written(&self) -> &'static [Kind] {
        &WRITTEN
    }

    fn manifests(&self, service: &Service<'_>, gate: &str) -> Vec<Value> {
        manifests(service, 2, gate)
    }

    /// Requests get a timeout.
    fn edit(&self) -> Edited {
        Edited {
            kind: VIRTUAL_SERVICE,
            manifest: |service, gate| {
                let mut edited = canary(service, gate);
                edited["spec"]["service"]["timeout"] = "7s".into();
                edited
            },
            is_in_force: |route| route["spec"]["http"][0]["timeout"] == "7s",
        }
    }
}

fn manifests(service: &Service<'_>, version: u8, gate: &str) -> Vec<Value> {
    vec![deployment(service, version), canary(service, gate)]
}

fn deployment(service: &Service<'_>, version: u8) -> Value {
    let name = service.name;
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata(service),
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "app", "image": image(version), "ports": [{"name": "http", "containerPort": 8080}],
                }]},
            },
        },
    })
}

fn canary(service: &Service<'_>, gate: &str) -> Value {
    let name = service.name;
    json!({
        "apiVersion": "flagger.app/v1beta1", "kind": "Canary", "metadata": metadata(service),
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "service": {"port": 80, "targetPort": 8080},
            "analysis": {
                // It takes nothing shorter.
                "interval": "10s", "threshold": 100, "stepWeights": [20, 50],
                "webhooks": [{"name": "gate", "type": "confirm-traffic-increase", "url": gate, "muteAlert": true}],
            },
        },
    })
}
