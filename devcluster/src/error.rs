//! Why a cluster could not be started or used.

use crate::audit::AuditError;
use crate::bootstrap::BootstrapError;
use crate::client::ClientError;
use crate::components::Component;
use crate::control_plane::ControlPlaneError;
use crate::images::ImageError;
use crate::kind::KindError;
use crate::kubeconfig::KubeconfigError;
use crate::prerequisites::PrerequisiteError;
use crate::record::RecordError;
use crate::supervisor::SupervisorError;
use crate::tools::{ManifestError, ToolError};

/// A cluster could not be started or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A real node cannot run here.
    #[error(transparent)]
    Prerequisite(#[from] PrerequisiteError),
    /// A program is missing.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// An image was not made or loaded.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Manifests are missing.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The state of clusters is unusable.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The control plane did not come up.
    #[error(transparent)]
    ControlPlane(#[from] ControlPlaneError),
    /// The cluster could not be furnished.
    #[error(transparent)]
    Bootstrap(#[from] BootstrapError),
    /// The supervisor failed.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    /// A kubeconfig is unusable.
    #[error(transparent)]
    Kubeconfig(#[from] KubeconfigError),
    /// A client could not be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The audit log is unusable.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// kind failed.
    #[error(transparent)]
    Kind(#[from] KindError),
    /// There is no such cluster.
    #[error("there is no running cluster named {0}: `devcluster up --name {0}` starts one")]
    NotFound(String),
    /// The API server said no.
    #[error("cannot {what}: {source}")]
    Api {
        /// What was tried.
        what: String,
        /// Why not.
        source: Box<kube::Error>,
    },
    /// The component can't be handled so.
    #[error("cannot {action} {component}: {reason}")]
    Component {
        /// What was tried.
        action: &'static str,
        /// The component.
        component: Component,
        /// Why not.
        reason: String,
    },
    /// This cluster can't do that.
    #[error("{what} is not to be had of this cluster: {reason}")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// The work was cut short.
    #[error("a background task was cancelled: {0}")]
    Cancelled(#[from] tokio::task::JoinError),
}
