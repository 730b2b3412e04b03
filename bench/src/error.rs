//! What can go wrong with a measurement.

use std::{io, path::PathBuf};

use devcluster::{
    AuditError,
    tools::{ManifestError, ToolError},
};

/// It could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cluster does not start.
    #[error(transparent)]
    Cluster(#[from] devcluster::Error),
    /// A program cannot be built.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// Definitions cannot be fetched.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The API server refused what has to be accepted.
    #[error("a request of the benchmark itself failed: {0}")]
    Api(#[from] kube::Error),
    /// The log of requests cannot be read.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A file or a process.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// Something that has to succeed did not.
    #[error("{what}: {why}")]
    Failed {
        /// What was tried.
        what: &'static str,
        /// Why not.
        why: String,
    },
    /// The controller has ended.
    #[error("{controller} ended by itself; the end of its log:\n{log}")]
    Ended {
        /// Which one.
        controller: &'static str,
        /// The last lines of its log.
        log: String,
    },
    /// A file of results is none.
    #[error("{} is no file of results: {source}; remove it, or measure again", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
}

impl Error {
    /// With what was tried, and why that failed.
    pub fn failed(what: &'static str, why: impl std::fmt::Display) -> Self {
        Self::Failed { what, why: why.to_string() }
    }

    /// With what was tried.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        |source| Self::Io { what, source }
    }
}
