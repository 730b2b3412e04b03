//! What kind of cluster is wanted.

use std::path::PathBuf;

use crate::progress::Progress;

/// The nodes of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nodes {
    /// None: pods stay Pending.
    None,
    /// Nodes that run nothing; their pods become Ready at once, or misbehave as their annotations say.
    Simulated {
        /// How many, up to 64.
        count: u8,
    },
    /// One that runs real pods. Linux and root only.
    Real,
}

impl Nodes {
    /// The usual three simulated nodes.
    pub const SIMULATED: Self = Self::Simulated { count: 3 };
}

/// What to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// The cluster's name; a random one if absent.
    pub name: Option<String>,
    /// Its nodes.
    pub nodes: Nodes,
    /// Whether the built-in controllers and the scheduler run. Without them nothing becomes of a Deployment, no namespace has
    /// a ServiceAccount, and nothing is collected with its owner.
    pub controllers: bool,
    /// Whether the audit log has the requests of the cluster's own programs too.
    pub audit_programs: bool,
    /// Whether a mesh carries requests: istiod, an Envoy that is its client and one that is its ingress. Needs real nodes.
    pub mesh: bool,
    /// Whether Prometheus keeps what the Envoys count. Needs a mesh.
    pub prometheus: bool,
    /// Whether an istiod that does nothing else judges Istio's resources before the API server takes them. In a mesh its own
    /// istiod does. Not with real nodes.
    pub istio_webhook: bool,
    /// Whether Istio's resources are defined.
    pub istio_crds: bool,
    /// Whether the Gateway API's resources are defined.
    pub gateway_crds: bool,
    /// Files of further CustomResourceDefinitions, or folders of such files.
    pub crds: Vec<PathBuf>,
    /// How much is told meanwhile.
    pub progress: Progress,
}

impl Default for Options {
    /// Three simulated nodes, and the resources of Istio and the Gateway API.
    fn default() -> Self {
        Self {
            name: None,
            nodes: Nodes::SIMULATED,
            controllers: true,
            audit_programs: true,
            mesh: false,
            prometheus: false,
            istio_webhook: false,
            istio_crds: true,
            gateway_crds: true,
            crds: Vec::new(),
            progress: Progress::default(),
        }
    }
}
