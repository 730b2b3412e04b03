//! The controllers that are measured: how each is started, what its users write, and when it has done what they want.

mod argo;
mod flagger;
mod operator;

use std::path::PathBuf;

use clap::ValueEnum;
use devcluster::tools::{ManifestError, ToolError};
use kube::api::ApiResource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::watch::Kind;

/// A controller with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Controller {
    /// This operator as it comes.
    Operator,
    /// Argo Rollouts as it comes: 40 requests a second, bursts of 80, 10 workers.
    Argo,
    /// Argo Rollouts without limits of its own, and with 40 workers.
    ArgoUnthrottled,
    /// Flagger as it comes, 100 requests a second and bursts of 250, but for a control loop of a second.
    Flagger,
    /// Flagger without limits of its own.
    FlaggerUnthrottled,
}

/// What is done with all services, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// All services are created; until all serve.
    Create,
    /// Each gets a new version, which is to have 20 %.
    Canary,
    /// Each canary is to have 50 %.
    Step,
    /// Each canary is to have all; until what it replaces is of no weight and the controller calls it done.
    Promote,
}

/// One of the services, wherever it is.
pub struct Service<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
}

/// What a person does with a service to reach a stage.
pub enum Deed {
    /// Applies manifests.
    Apply(Vec<Value>),
    /// Changes the status, as the controller's command-line tool does.
    PatchStatus(ApiResource, Value),
    /// Has said so already, to a webhook.
    None,
}

/// A small edit whose effect on a child can be seen.
pub struct Edited {
    /// The kind of the child.
    pub kind: Kind,
    /// The edited manifest.
    pub manifest: fn(&Service<'_>, &str) -> Value,
    /// Whether a child shows it.
    pub is_in_force: fn(&Value) -> bool,
}

impl Controller {
    /// How it is called in tables.
    pub fn title(self) -> &'static str {
        match self {
            Self::Operator => "microservice-operator",
            Self::Argo => "Argo Rollouts 1.10.1",
            Self::ArgoUnthrottled => "Argo Rollouts, unthrottled",
            Self::Flagger => "Flagger 1.44.0",
            Self::FlaggerUnthrottled => "Flagger, unthrottled",
        }
    }

    /// The user that it works as.
    pub fn tenant(self) -> usize {
        self as usize
    }

    /// Files that define its resources.
    pub fn definitions(self) -> Result<Vec<PathBuf>, ManifestError> {
        match self {
            Self::Operator => Ok(vec![operator::definitions()]),
            Self::Argo | Self::ArgoUnthrottled => devcluster::tools::argo_rollouts_crds(),
            Self::Flagger | Self::FlaggerUnthrottled => devcluster::tools::flagger_crds(),
        }
    }

    /// Its program.
    pub fn program(self) -> Result<PathBuf, ToolError> {
        match self {
            Self::Operator => Ok(operator::program()),
            Self::Argo | Self::ArgoUnthrottled => devcluster::tool(devcluster::Tool::ArgoRollouts),
            Self::Flagger | Self::FlaggerUnthrottled => devcluster::tool(devcluster::Tool::Flagger),
        }
    }

    /// Its arguments.
    pub fn arguments(self, kubeconfig: &str) -> Vec<String> {
        match self {
            Self::Operator => operator::arguments(),
            Self::Argo => argo::arguments(kubeconfig, &[]),
            Self::ArgoUnthrottled => argo::arguments(kubeconfig, &argo::UNTHROTTLED),
            Self::Flagger => flagger::arguments(kubeconfig, &[]),
            Self::FlaggerUnthrottled => flagger::arguments(kubeconfig, &flagger::UNTHROTTLED),
        }
    }

    /// Arguments that keep it to one namespace.
    pub fn within(self, namespace: &str) -> Vec<String> {
        match self {
            Self::Operator => vec![format!("--namespace={namespace}")],
            Self::Argo | Self::ArgoUnthrottled => vec!["--namespaced".into(), format!("--namespace={namespace}")],
            Self::Flagger | Self::FlaggerUnthrottled => vec![format!("-namespace={namespace}")],
        }
    }

    /// The kind of its resource.
    pub fn kind(self) -> Kind {
        match self {
            Self::Operator => operator::KIND,
            Self::Argo | Self::ArgoUnthrottled => argo::KIND,
            Self::Flagger | Self::FlaggerUnthrottled => flagger::KIND,
        }
    }

    /// What a person does to reach a stage; `gate` is the address of the webhook that is asked before weights go up.
    pub fn deed(self, service: &Service<'_>, stage: Stage, gate: &str) -> Deed {
        match self {
            Self::Operator => operator::deed(service, stage),
            Self::Argo | Self::ArgoUnthrottled => argo::deed(service, stage),
            Self::Flagger | Self::FlaggerUnthrottled => flagger::deed(service, stage, gate),
        }
    }

    /// Whether its resource says that the stage is reached.
    pub fn has_reached(self, resource: &Value, stage: Stage) -> bool {
        match self {
            Self::Operator => operator::has_reached(resource, stage),
            Self::Argo | Self::ArgoUnthrottled => argo::has_reached(resource, stage),
            Self::Flagger | Self::FlaggerUnthrottled => flagger::has_reached(resource, stage),
        }
    }

    /// What its users delete to be rid of a service.
    pub fn deleted(self) -> Vec<Kind> {
        match self {
            Self::Operator => vec![operator::KIND],
            Self::Argo | Self::ArgoUnthrottled => argo::WRITTEN.to_vec(),
            Self::Flagger | Self::FlaggerUnthrottled => flagger::WRITTEN.to_vec(),
        }
    }

    /// All that the users of a promoted service keep.
    pub fn manifests(self, service: &Service<'_>, gate: &str) -> Vec<Value> {
        match self {
            Self::Operator => vec![operator::microservice(service, Stage::Promote)],
            Self::Argo | Self::ArgoUnthrottled => argo::manifests(service, 2),
            Self::Flagger | Self::FlaggerUnthrottled => flagger::manifests(service, 2, gate),
        }
    }

    /// An edit of a promoted service.
    pub fn edit(self) -> Edited {
        match self {
            Self::Operator => operator::EDITED,
            Self::Argo | Self::ArgoUnthrottled => argo::EDITED,
            Self::Flagger | Self::FlaggerUnthrottled => flagger::EDITED,
        }
    }
}

/// Arguments with the one that names the kubeconfig.
fn joined(fixed: &[&str], more: &[&str], kubeconfig: String) -> Vec<String> {
    fixed.iter().chain(more).map(|&it| it.to_owned()).chain([kubeconfig]).collect()
}

/// The labels that all objects of users have.
fn metadata(service: &Service<'_>) -> Value {
    serde_json::json!({"name": service.name, "namespace": service.namespace, "labels": {"bench": "true"}})
}

/// Whether a status speaks of the newest spec.
fn is_current(resource: &Value) -> bool {
    // That of Argo Rollouts is a text.
    let observed = &resource["status"]["observedGeneration"];
    let observed = observed.as_i64().or_else(|| observed.as_str()?.parse().ok());
    observed.is_some() && observed == resource["metadata"]["generation"].as_i64()
}

/// The image of a version of each service.
fn image(version: u8) -> String {
    format!("registry.example/app:{version}")
}
