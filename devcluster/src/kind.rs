//! Clusters of `kind`, on machines with Docker.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// kind can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KindError {
    /// A program is missing.
    #[error("`{program}` could not be run: {source}; install {program}, or leave `--provider kind` out")]
    Missing {
        /// The program.
        program: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Images could not be handed over.
    #[error("cannot write images for kind to a file: {0}")]
    Archive(#[source] io::Error),
    /// A program failed.
    #[error("`{command}` failed: {message}")]
    Failed {
        /// The command.
        command: String,
        /// What it said.
        message: String,
    },
}

/// Whether Docker and kind are there and answer.
pub fn check() -> Result<(), KindError> {
    run("docker", &["version", "--format", "{{.Server.Version}}"])?;
    run("kind", &["version"])
}

/// Creates a cluster and writes its kubeconfig.
pub fn create(name: &str, kubeconfig: &Path) -> Result<(), KindError> {
    let kubeconfig = kubeconfig.display().to_string();
    run("kind", &["create", "cluster", "--name", &kind_name(name), "--kubeconfig", &kubeconfig, "--wait", "120s"])
}

/// Deletes a cluster.
pub fn delete(name: &str) -> Result<(), KindError> {
    run("kind", &["delete", "cluster", "--name", &kind_name(name)])
}

/// Loads a packed layout of images into a cluster's node.
pub fn load(name: &str, layout: &[u8]) -> Result<(), KindError> {
    let mut archive = tempfile::Builder::new().suffix(".tar").tempfile().map_err(KindError::Archive)?;
    archive.write_all(layout).map_err(KindError::Archive)?;
    run("kind", &["load", "image-archive", &archive.path().display().to_string(), "--name", &kind_name(name)])
}

/// The container that is the node of a cluster.
pub fn node(name: &str) -> String {
    format!("{}-control-plane", kind_name(name))
}

fn kind_name(name: &str) -> String {
    format!("mso-{name}")
}

fn run(program: &'static str, arguments: &[&str]) -> Result<(), KindError> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| KindError::Missing { program, source })?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(KindError::Failed { command: format!("{program} {}", arguments.join(" ")), message })
}
