//! This operator. A person edits weights.

use std::path::{Path, PathBuf};

use devcluster::tools::{ManifestError, ToolError};
use serde_json::{Value, json};

use super::{Deed, Edited, Family, Limits, Service, Stage, image, is_current, metadata};
use crate::watch::{Kind, VIRTUAL_SERVICE};

/// As it comes: it has no limits of its own.
pub struct Operator;

/// The variable that names another program than the one that `make bench` has built.
pub const PROGRAM: &str = "BENCH_OPERATOR";

const KIND: Kind =
    Kind { group: "microservice-operator.dev", version: "v1alpha1", kind: "Microservice", plural: "microservices" };

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Family for Operator {
    fn definitions(&self) -> Result<Vec<PathBuf>, ManifestError> {
        Ok(vec![root().join("crds")])
    }

    /// Where `make bench` has built it, or what the environment names.
    fn program(&self) -> Result<PathBuf, ToolError> {
        let named = std::env::var_os(PROGRAM).map(PathBuf::from);
        Ok(named.unwrap_or_else(|| root().join("target/release/microservice-operator")))
    }

    fn arguments(&self, _: &str, _: Limits) -> Vec<String> {
        ["run", "--leader-election", "false", "--listen", "127.0.0.1:0", "--log-level", "error"]
            .map(String::from)
            .into()
    }

    fn within(&self, namespace: &str) -> Vec<String> {
        vec![format!("--namespace={namespace}")]
    }

    fn kind(&self) -> Kind {
        KIND
    }

    fn deed(&self, service: &Service<'_>, stage: Stage, _: &str) -> Deed {
        Deed::Apply(vec![microservice(service, stage)])
    }

    fn has_reached(&self, resource: &Value, stage: Stage) -> bool {
        let weights = match stage {
            Stage::Create => "v1=100",
            Stage::Canary => "v1=80 v2=20",
            Stage::Step => "v1=50 v2=50",
            Stage::Promote => "v2=100",
        };
        let conditions = resource["status"]["conditions"].as_array();
        let ready = conditions.into_iter().flatten().any(|it| it["type"] == "Ready" && it["status"] == "True");
        is_current(resource) && ready && resource["status"]["weights"] == weights
    }

    fn written(&self) -> &'static [Kind] {
        &[KIND]
    }

    fn manifests(&self, service: &Service<'_>, _: &str) -> Vec<Value> {
        vec![microservice(service, Stage::Promote)]
    }

    /// Requests get a timeout.
    fn edit(&self) -> Edited {
        Edited {
            kind: VIRTUAL_SERVICE,
            manifest: |service, _| {
                let mut edited = microservice(service, Stage::Promote);
                edited["spec"]["traffic"] = json!({"timeout": "7s"});
                edited
            },
            is_in_force: |route| route["spec"]["http"][0]["timeout"] == "7s",
        }
    }
}

fn microservice(service: &Service<'_>, stage: Stage) -> Value {
    let version =
        |number: u8, weight: u8| json!({"name": format!("v{number}"), "image": image(number), "weight": weight});
    let versions = match stage {
        Stage::Create => json!([version(1, 100)]),
        Stage::Canary => json!([version(1, 80), version(2, 20)]),
        Stage::Step => json!([version(1, 50), version(2, 50)]),
        Stage::Promote => json!([version(2, 100)]),
    };
    json!({
        "apiVersion": "microservice-operator.dev/v1alpha1", "kind": "Microservice", "metadata": metadata(service),
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}], "drain": "5s", "versions": versions},
    })
}
