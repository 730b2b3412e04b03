//! The programs of a cluster, a file each: which program, with which arguments and configuration.

pub mod apiserver;
pub mod containerd;
pub mod controller_manager;
pub mod coredns;
pub mod envoy;
pub mod etcd;
pub mod istiod;
pub mod kube_proxy;
pub mod kubelet;
pub mod kwok;
pub mod node;
pub mod prometheus;
pub mod relay;
pub mod scheduler;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::files;
use crate::tools::Tool;

/// A program of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Component {
    /// Holds the namespaces of a cluster with a real node.
    Node,
    /// The database.
    Etcd,
    /// The API server.
    ApiServer,
    /// Lets this machine reach an API server in a network of its own.
    Relay,
    /// The built-in controllers.
    ControllerManager,
    /// The scheduler.
    Scheduler,
    /// The controller of simulated nodes.
    Kwok,
    /// The name server of pods.
    Coredns,
    /// Runs containers.
    Containerd,
    /// Runs pods.
    Kubelet,
    /// Balances Services over pods.
    KubeProxy,
    /// The mesh's control plane.
    Istiod,
    /// A client of the mesh: what it is sent goes the way that a sidecar would send it.
    MeshClient,
    /// The mesh's way in: an Envoy that Gateways configure.
    MeshIngress,
    /// Keeps what the Envoys count.
    Prometheus,
}

/// Where a component's program comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// It is built or fetched.
    Tool(Tool),
    /// It is installed on the machine.
    System(&'static str),
    /// It is a hidden command of `devcluster`.
    Own,
}

/// Where a component runs when the cluster has a real node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On the machine itself.
    Machine,
    /// In the cluster's own network.
    Network,
    /// In the cluster's own network, with the node's mounts and processes.
    Node,
}

impl Component {
    /// Every component, in the order of their start.
    pub const ALL: [Self; 15] = [
        Self::Node,
        Self::Etcd,
        Self::ApiServer,
        Self::Relay,
        Self::ControllerManager,
        Self::Scheduler,
        Self::Kwok,
        Self::Coredns,
        Self::Containerd,
        Self::Kubelet,
        Self::KubeProxy,
        Self::Istiod,
        Self::MeshClient,
        Self::MeshIngress,
        Self::Prometheus,
    ];

    /// Where its program comes from.
    pub fn program(self) -> Program {
        match self {
            Self::Node => Program::System("unshare"),
            Self::Etcd => Program::Tool(Tool::Etcd),
            Self::ApiServer => Program::Tool(Tool::KubeApiserver),
            Self::Relay => Program::Own,
            Self::ControllerManager => Program::Tool(Tool::KubeControllerManager),
            Self::Scheduler => Program::Tool(Tool::KubeScheduler),
            Self::Kwok => Program::Tool(Tool::Kwok),
            Self::Coredns => Program::Tool(Tool::Coredns),
            Self::Containerd => Program::System("containerd"),
            Self::Kubelet => Program::Tool(Tool::Kubelet),
            Self::KubeProxy => Program::Tool(Tool::KubeProxy),
            Self::Istiod => Program::Tool(Tool::Istiod),
            Self::MeshClient | Self::MeshIngress => Program::Tool(Tool::Envoy),
            Self::Prometheus => Program::System(prometheus::PROGRAM),
        }
    }

    /// Where it runs when the cluster has a real node.
    pub fn place(self) -> Place {
        match self {
            Self::Node | Self::Relay => Place::Machine,
            Self::Containerd | Self::Kubelet | Self::KubeProxy | Self::Prometheus => Place::Node,
            Self::Etcd
            | Self::ApiServer
            | Self::ControllerManager
            | Self::Scheduler
            | Self::Kwok
            | Self::Coredns
            | Self::Istiod
            | Self::MeshClient
            | Self::MeshIngress => Place::Network,
        }
    }

    /// Its name in records, and that of its log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Relay => "relay",
            Self::MeshClient => "mesh-client",
            Self::MeshIngress => "mesh-ingress",
            _ => match self.program() {
                Program::Tool(tool) => tool.program(),
                Program::System(name) => name,
                Program::Own => "devcluster",
            },
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A component's configuration could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}; check that the state folder is writable", path.display())]
pub struct ConfigError {
    path: PathBuf,
    source: io::Error,
}

/// Writes a configuration file of a component into the cluster's folder, or one below it.
fn write_config(folder: &Path, name: &str, content: &str) -> Result<PathBuf, ConfigError> {
    let path = folder.join(name);
    std::fs::create_dir_all(folder).map_err(|source| ConfigError { path: path.clone(), source })?;
    files::write_atomically(&path, content.as_bytes()).map_err(|source| ConfigError { path: path.clone(), source })?;
    Ok(path)
}

/// `--name=value`, where the value is a path.
fn path_flag(name: &str, value: &Path) -> String {
    format!("--{name}={}", value.display())
}
