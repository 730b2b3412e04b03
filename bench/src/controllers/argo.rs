//! Argo Rollouts, with weights split by subsets. A person promotes from pause to pause.

use std::path::PathBuf;

use devcluster::tools::{ManifestError, ToolError};
use serde_json::{Value, json};

use super::{Deed, Edited, Family, Limits, Service, Stage, image, is_current, joined, metadata};
use crate::watch::{DESTINATION_RULE, Kind, REPLICA_SET, SERVICE, VIRTUAL_SERVICE};

/// In all namespaces or in one.
pub struct Argo;

const KIND: Kind = Kind { group: "argoproj.io", version: "v1alpha1", kind: "Rollout", plural: "rollouts" };
const WRITTEN: [Kind; 4] = [KIND, SERVICE, DESTINATION_RULE, VIRTUAL_SERVICE];
const UNTHROTTLED: [&str; 3] = ["--qps=10000", "--burst=20000", "--rollout-threads=40"];

impl Family for Argo {
    fn definitions(&self) -> Result<Vec<PathBuf>, ManifestError> {
        devcluster::tools::argo_rollouts_crds()
    }

    fn program(&self) -> Result<PathBuf, ToolError> {
        devcluster::tool(devcluster::Tool::ArgoRollouts)
    }

    fn arguments(&self, kubeconfig: &str, limits: Limits) -> Vec<String> {
        let fixed = [
            "--leader-elect=false",
            "--loglevel=error",
            "--istio-api-version=v1",
            "--metricsPort=0",
            "--healthzPort=0",
        ];
        joined(&fixed, limits, &UNTHROTTLED, format!("--kubeconfig={kubeconfig}"))
    }

    fn within(&self, namespace: &str) -> Vec<String> {
        vec!["--namespaced".into(), format!("--namespace={namespace}")]
    }

    fn kind(&self) -> Kind {
        KIND
    }

    fn deed(&self, service: &Service<'_>, stage: Stage, _: &str) -> Deed {
        match stage {
            Stage::Create => Deed::Apply(manifests(service, 1)),
            Stage::Canary => Deed::Apply(vec![rollout(service, 2)]),
            // What `kubectl argo rollouts promote` does at a pause.
            Stage::Step | Stage::Promote => {
                Deed::PatchStatus(KIND.resource(), json!({"status": {"pauseConditions": null}}))
            }
        }
    }

    fn has_reached(&self, resource: &Value, stage: Stage) -> bool {
        let status = &resource["status"];
        let paused_at = |weight: i64| {
            status["phase"] == "Paused" && status["canary"]["weights"]["canary"]["weight"].as_i64() == Some(weight)
        };
        let is_stable = status["phase"] == "Healthy" && status["stableRS"] == status["currentPodHash"];
        is_current(resource)
            && match stage {
                Stage::Create | Stage::Promote => is_stable,
                Stage::Canary => paused_at(20),
                Stage::Step => paused_at(50),
            }
    }

    fn written(&self) -> &'static [Kind] {
        &WRITTEN
    }

    fn manifests(&self, service: &Service<'_>, _: &str) -> Vec<Value> {
        manifests(service, 2)
    }

    /// It gets two pods: its routes belong to its users.
    fn edit(&self) -> Edited {
        Edited {
            kind: REPLICA_SET,
            manifest: |service, _| {
                let mut edited = rollout(service, 2);
                edited["spec"]["replicas"] = 2.into();
                edited
            },
            is_in_force: |set| set["spec"]["replicas"] == 2,
        }
    }
}

/// All that the users of a service write and keep, at a version.
fn manifests(service: &Service<'_>, version: u8) -> Vec<Value> {
    let Service { name, namespace } = service;
    let host = format!("{name}.{namespace}.svc.cluster.local");
    let subset = |subset: &str| json!({"name": subset, "labels": {"app": name}});
    let to = |subset: &str, weight: i32| json!({"destination": {"host": host, "subset": subset}, "weight": weight});
    vec![
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata(service),
            "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        }),
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": metadata(service),
            "spec": {"host": host, "subsets": [subset("canary"), subset("stable")]},
        }),
        json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": metadata(service),
            "spec": {"hosts": [host], "http": [{"name": "primary", "route": [to("stable", 100), to("canary", 0)]}]},
        }),
        rollout(service, version),
    ]
}

fn rollout(service: &Service<'_>, version: u8) -> Value {
    let Service { name, .. } = service;
    let steps = json!([{"setWeight": 20}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}]);
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": metadata(service),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": name}},
            "strategy": {"canary": {
                // As short as the drain of the others.
                "scaleDownDelaySeconds": 5,
                "trafficRouting": {"istio": {
                    "virtualService": {"name": name, "routes": ["primary"]},
                    "destinationRule": {"name": name, "canarySubsetName": "canary", "stableSubsetName": "stable"},
                }},
                "steps": steps,
            }},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "app", "image": image(version), "ports": [{"name": "http", "containerPort": 8080}],
                }]},
            },
        },
    })
}
