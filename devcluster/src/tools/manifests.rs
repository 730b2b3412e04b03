//! The custom resource definitions of the mesh, of the Gateway API and of peers, taken from their Go modules.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::build::{ToolError, write_module};
use super::go::{Go, GoError};
use super::{ARGO_ROLLOUTS, CRDS, FLAGGER, ToolSet};
use crate::paths;

/// Manifests could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The module's folder or Go is not usable.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The download failed.
    #[error("`go mod download {module}` failed: {message}; check the network or GOPROXY")]
    Download {
        /// The module.
        module: &'static str,
        /// What Go said.
        message: String,
    },
    /// The module lacks what it should have.
    #[error("cannot read {} of module {module}: {source}", path.display())]
    Read {
        /// The module.
        module: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The files that define Istio's resources.
pub fn istio_crds() -> Result<Vec<PathBuf>, ManifestError> {
    Ok(vec![module_folder(&CRDS, "istio.io/api")?.join("kubernetes/customresourcedefinitions.gen.yaml")])
}

/// The files that define the Gateway API's resources of the standard channel.
pub fn gateway_crds() -> Result<Vec<PathBuf>, ManifestError> {
    const MODULE: &str = "sigs.k8s.io/gateway-api";
    yaml_files(MODULE, module_folder(&CRDS, MODULE)?.join("config/crd/standard"))
}

/// The files that define the resources of Argo Rollouts. They are too large for a client-side apply.
pub fn argo_rollouts_crds() -> Result<Vec<PathBuf>, ManifestError> {
    const MODULE: &str = "github.com/argoproj/argo-rollouts";
    let mut files = yaml_files(MODULE, module_folder(&ARGO_ROLLOUTS, MODULE)?.join("manifests/crds"))?;
    files.retain(|path| path.file_name().is_some_and(|name| name != "kustomization.yaml"));
    Ok(files)
}

/// The file that defines the resources of Flagger.
pub fn flagger_crds() -> Result<Vec<PathBuf>, ManifestError> {
    Ok(vec![module_folder(&FLAGGER, "github.com/fluxcd/flagger")?.join("artifacts/flagger/crd.yaml")])
}

fn yaml_files(module: &'static str, folder: PathBuf) -> Result<Vec<PathBuf>, ManifestError> {
    let entries = fs::read_dir(&folder)
        .and_then(Iterator::collect::<io::Result<Vec<_>>>)
        .map_err(|source| ManifestError::Read { module, path: folder, source })?;
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(|path| is_yaml(path)).collect();
    files.sort();
    Ok(files)
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml")
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Download {
    dir: Option<PathBuf>,
    error: Option<String>,
}

fn module_folder(set: &ToolSet, module: &'static str) -> Result<PathBuf, ManifestError> {
    let go = Go::find().map_err(ToolError::from)?;
    let folder = write_module(&paths::cache_dir().map_err(ToolError::from)?, set)?;
    let output = go
        .in_module(&folder)
        .args(["mod", "download", "-json", module])
        .output()
        .map_err(|source| ToolError::from(GoError::Missing(source)))?;
    let failed = |message: String| ManifestError::Download { module, message };
    let download: Download = serde_json::from_slice(&output.stdout)
        .map_err(|error| failed(format!("{error}: {}", String::from_utf8_lossy(&output.stderr).trim())))?;
    match download {
        Download { error: Some(message), .. } => Err(failed(message)),
        Download { dir: Some(dir), .. } => Ok(dir),
        Download { .. } => Err(failed("no folder in the answer".into())),
    }
}
