//! Clients of a cluster.

use std::path::{Path, PathBuf};

use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};

/// A client could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a client of {}: {source}", path.display())]
pub struct ClientError {
    path: PathBuf,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// A client with the server and the user of a kubeconfig.
pub async fn from_kubeconfig(path: &Path) -> Result<Client, ClientError> {
    let kubeconfig = Kubeconfig::read_from(path).map_err(|error| failed(path, error))?;
    from_config(kubeconfig, path).await
}

/// A client with the server and the user of a kubeconfig that is not in a file; `path` only says which cluster it is.
pub async fn from_value(kubeconfig: serde_json::Value, path: &Path) -> Result<Client, ClientError> {
    let kubeconfig: Kubeconfig = serde_json::from_value(kubeconfig).map_err(|error| failed(path, error))?;
    from_config(kubeconfig, path).await
}

async fn from_config(kubeconfig: Kubeconfig, path: &Path) -> Result<Client, ClientError> {
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| failed(path, error))?;
    Client::try_from(config).map_err(|error| failed(path, error))
}

fn failed(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> ClientError {
    ClientError { path: path.to_owned(), source: Box::new(error) }
}
