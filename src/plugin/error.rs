//! What can go wrong between a person and the cluster: what is wrong, where, and what to do.

use kube::config::{InClusterError, KubeconfigError};
use thiserror::Error;

use crate::kubeconfig;

/// Why something could not be asked.
#[derive(Debug, Error)]
pub enum Error {
    #[error(transparent)]
    Kubeconfig(#[from] kubeconfig::Error),
    #[error("no cluster is configured: {0}, and this does not run inside a cluster ({1})")]
    NoCluster(KubeconfigError, InClusterError),
    #[error("the cluster at {server} does not answer: {cause}")]
    Unreachable { server: String, cause: String },
    #[error("the cluster at {server} does not know who you are")]
    Unauthorized { server: String },
    #[error("the cluster at {server} has no resource {resource}")]
    NotInstalled { server: String, resource: &'static str },
    #[error("there is no Microservice {name} in the namespace {namespace}")]
    NotFound { namespace: String, name: String, near: Vec<String> },
    #[error("you may not {verb} {resource}{place}: {message}")]
    Forbidden { verb: &'static str, resource: &'static str, place: String, namespace: Option<String>, message: String },
    #[error("the cluster refused to {verb} {resource}: {message}")]
    Refused { verb: &'static str, resource: &'static str, message: String },
    #[error("{verb} {resource}: {source}")]
    Api { verb: &'static str, resource: &'static str, source: kube::Error },
    #[error("the client cannot be made: {0}")]
    Client(#[source] kube::Error),
    #[error("{0}")]
    Weights(String),
    #[error("the answer cannot be written: {0}")]
    Output(#[source] std::io::Error),
    #[error("the answer cannot be encoded: {0}")]
    Encoding(String),
    #[error("signals cannot be received: {0}")]
    Signals(#[source] std::io::Error),
}

impl Error {
    /// What to do about it.
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Kubeconfig(kubeconfig::Error::Unusable(_)) | Self::NoCluster(..) => Some(
                "name a kubeconfig with --kubeconfig or KUBECONFIG, and one of its contexts with --context".to_owned(),
            ),
            Self::Unreachable { .. } => Some("see whether `kubectl cluster-info` gets an answer".to_owned()),
            Self::Unauthorized { .. } => Some("log in again, or choose another --context".to_owned()),
            Self::NotInstalled { .. } => Some(
                "install microservice-operator there (its chart has the resources), or choose another --context"
                    .to_owned(),
            ),
            Self::NotFound { near, .. } if !near.is_empty() => {
                Some(format!("is one of these meant: {}?", near.join(", ")))
            }
            Self::NotFound { .. } => Some("see `kubectl ms get --all-namespaces`".to_owned()),
            Self::Forbidden { verb, resource, namespace, .. } => {
                let place =
                    namespace.as_ref().map_or(" --all-namespaces".to_owned(), |name| format!(" --namespace {name}"));
                Some(format!("have somebody grant it; `kubectl auth can-i {verb} {resource}{place}` then says yes"))
            }
            Self::Kubeconfig(kubeconfig::Error::Proxy(_))
            | Self::Api { .. }
            | Self::Refused { .. }
            | Self::Client(_)
            | Self::Weights(_)
            | Self::Output(_)
            | Self::Encoding(_)
            | Self::Signals(_) => None,
        }
    }
}
