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

    /// The variable that names its program, if one does.
    pub fn named_by(self) -> Option<&'static str> {
        let is_named = self == Self::Operator && std::env::var_os(operator::PROGRAM).is_some();
        is_named.then_some(operator::PROGRAM)
    }

    /// The user that it works as.
    pub fn tenant(self) -> usize {
        self as usize
    }

    /// What it is, whatever its settings.
    pub fn family(self) -> &'static dyn Family {
        match self {
            Self::Operator => &operator::Operator,
            Self::Argo | Self::ArgoUnthrottled => &argo::Argo,
            Self::Flagger | Self::FlaggerUnthrottled => &flagger::Flagger,
        }
    }

    /// Its arguments.
    pub fn arguments(self, kubeconfig: &str) -> Vec<String> {
        let limits = match self {
            Self::Operator | Self::Argo | Self::Flagger => Limits::Own,
            Self::ArgoUnthrottled | Self::FlaggerUnthrottled => Limits::None,
        };
        self.family().arguments(kubeconfig, limits)
    }
}

/// How many requests a second a controller may send, and how many workers it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limits {
    /// As it comes.
    Own,
    /// More than it can reach.
    None,
}

/// A controller with any settings: how it is started, what its users do, and how it tells what came of it.
pub trait Family: Sync {
    /// Files that define its resources.
    fn definitions(&self) -> Result<Vec<PathBuf>, ManifestError>;

    /// Its program.
    fn program(&self) -> Result<PathBuf, ToolError>;

    /// Its arguments, for all namespaces.
    fn arguments(&self, kubeconfig: &str, limits: Limits) -> Vec<String>;

    /// Arguments that keep it to one namespace.
    fn within(&self, namespace: &str) -> Vec<String>;

    /// The kind of its resource.
    fn kind(&self) -> Kind;

    /// What a person does to reach a stage; `gate` is the address of the webhook that is asked before weights go up.
    fn deed(&self, service: &Service<'_>, stage: Stage, gate: &str) -> Deed;

    /// Whether its resource says that the stage is reached.
    fn has_reached(&self, resource: &Value, stage: Stage) -> bool;

    /// The kinds that its users write, and delete to be rid of a service.
    fn written(&self) -> &'static [Kind];

    /// All that the users of a promoted service keep.
    fn manifests(&self, service: &Service<'_>, gate: &str) -> Vec<Value>;

    /// An edit of a promoted service.
    fn edit(&self) -> Edited;
}

/// Arguments with the one that names the kubeconfig.
fn joined(fixed: &[&str], limits: Limits, unthrottled: &[&str], kubeconfig: String) -> Vec<String> {
    let more = if limits == Limits::None { unthrottled } else { &[] };
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
