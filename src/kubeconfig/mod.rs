//! Where the cluster is, for the operator outside of a pod and for `kubectl ms`: which kubeconfig is meant where none is
//! named, and the proxy on the way, as kubectl has them.

pub mod proxy;

use std::{env, ffi::OsStr, io, path::PathBuf};

use kube::{
    Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use thiserror::Error;

/// Why a kubeconfig leads to no cluster.
#[derive(Debug, Error)]
pub enum Error {
    #[error("no cluster is configured: {0}")]
    Unusable(#[from] KubeconfigError),
    /// The proxy on the way cannot be used.
    #[error("{0}")]
    Proxy(String),
}

/// The files of `KUBECONFIG` together, of which any may be missing, as for kubectl; or the one at home.
///
/// # Errors
/// When a file that is there cannot be read, or when there is none: see [`is_absent`].
pub fn read() -> Result<Kubeconfig, KubeconfigError> {
    match files(&env::var_os("KUBECONFIG").unwrap_or_default()) {
        none if none.is_empty() => Kubeconfig::read(),
        files => merged(files),
    }
}

/// Whether there is no kubeconfig at all.
pub fn is_absent(error: &KubeconfigError) -> bool {
    match error {
        KubeconfigError::FindPath => true,
        KubeconfigError::ReadConfig(source, _) => source.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}

/// What a kubeconfig says of a cluster, and the proxy on the way to it.
///
/// # Errors
/// When it says too little, or the proxy cannot be used.
pub async fn configured(kubeconfig: Kubeconfig, options: &KubeConfigOptions) -> Result<Config, Error> {
    let written = proxy::written(&kubeconfig, options.context.as_deref()).map(str::to_owned);
    let mut config = Config::from_custom_kubeconfig(kubeconfig, options).await.map_err(proxy::unread)?;
    config.proxy_url = proxy::chosen(written.as_deref(), |name| env::var(name).ok(), &config.cluster_url)?;
    Ok(config)
}

fn files(listed: &OsStr) -> Vec<PathBuf> {
    env::split_paths(listed).filter(|path| !path.as_os_str().is_empty()).collect()
}

/// The first of several files that says something is right.
fn merged(files: Vec<PathBuf>) -> Result<Kubeconfig, KubeconfigError> {
    let (mut read, mut missing) = (None, None);
    for file in files {
        match Kubeconfig::read_from(file) {
            Ok(next) => read = Some(read.unwrap_or_else(Kubeconfig::default).merge(next)?),
            Err(error) if is_absent(&error) => missing = missing.or(Some(error)),
            Err(error) => return Err(error),
        }
    }
    read.ok_or_else(|| missing.unwrap_or(KubeconfigError::FindPath))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_files_are_passed_over_and_broken_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let of = |context: &str| format!("apiVersion: v1\nkind: Config\ncurrent-context: {context}\n");
        let (here, there) = (file("here", &of("here")), file("there", &of("there")));
        let broken = file("broken", "clusters: 1\n");
        let missing = folder.path().join("missing");
        let context = |files: &[&PathBuf]| {
            merged(files.iter().map(|file| (*file).clone()).collect()).map(|config| config.current_context)
        };
        assert_eq!(context(&[&missing, &here, &missing, &there]).unwrap().as_deref(), Some("here"));
        assert!(is_absent(&context(&[&missing, &missing]).unwrap_err()));
        assert!(!is_absent(&context(&[&here, &broken]).unwrap_err()));
        // What cannot be read is no reason to ask another cluster.
        assert!(!is_absent(&context(&[&folder.path().to_owned()]).unwrap_err()));
        assert_eq!(files(OsStr::new(":/a::/b")), [PathBuf::from("/a"), PathBuf::from("/b")]);
    }
}
