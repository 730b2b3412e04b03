//! The programs of a cluster, a file each: which program, with which arguments and configuration.

pub mod apiserver;
pub mod controller_manager;
pub mod etcd;
pub mod kwok;
pub mod scheduler;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::files;
use crate::tools::Tool;

/// A program of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Component {
    /// The database.
    Etcd,
    /// The API server.
    ApiServer,
    /// The built-in controllers.
    ControllerManager,
    /// The scheduler.
    Scheduler,
    /// The controller of simulated nodes.
    Kwok,
}

impl Component {
    /// Every component, in the order of their start.
    pub const ALL: [Self; 5] = [Self::Etcd, Self::ApiServer, Self::ControllerManager, Self::Scheduler, Self::Kwok];

    /// The tool that it is.
    pub fn tool(self) -> Tool {
        match self {
            Self::Etcd => Tool::Etcd,
            Self::ApiServer => Tool::KubeApiserver,
            Self::ControllerManager => Tool::KubeControllerManager,
            Self::Scheduler => Tool::KubeScheduler,
            Self::Kwok => Tool::Kwok,
        }
    }

    /// Its name in records, and that of its log.
    pub fn name(self) -> &'static str {
        self.tool().program()
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

/// Writes a configuration file of a component into the cluster's folder.
fn write_config(cluster: &Path, name: &str, content: &str) -> Result<PathBuf, ConfigError> {
    let path = cluster.join(name);
    files::write_atomically(&path, content.as_bytes()).map_err(|source| ConfigError { path: path.clone(), source })?;
    Ok(path)
}

/// `--name=value`, where the value is a path.
fn path_flag(name: &str, value: &Path) -> String {
    format!("--{name}={}", value.display())
}
