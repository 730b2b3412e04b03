//! Files with which clients reach a cluster, one a user.

use std::io;
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};

use crate::files;

/// A kubeconfig could not be read, understood or written.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// The file can't be used.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is not a kubeconfig.
    #[error("{} is not a usable kubeconfig: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
}

const NAME: &str = "devcluster";

/// Who a client is.
#[derive(Debug, Clone)]
pub enum Identity {
    /// The holder of a token.
    Token(String),
    /// A user that the file's own user impersonates.
    Impersonated {
        /// The user's name.
        user: String,
        /// The user's groups.
        groups: Vec<String>,
    },
}

/// The text of a kubeconfig that reaches `server`, whose certificate the authority in `ca` signed.
pub fn render(server: &str, ca: &Path, token: &str) -> Result<Value, KubeconfigError> {
    let authority =
        std::fs::read(ca).map_err(|source| KubeconfigError::File { action: "read", path: ca.to_owned(), source })?;
    let cluster = json!({"server": server, "certificate-authority-data": BASE64_STANDARD.encode(authority)});
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NAME, "cluster": cluster}],
        "users": [{"name": NAME, "user": {"token": token}}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME}}],
        "current-context": NAME,
    }))
}

/// Reads a kubeconfig.
pub fn read(path: &Path) -> Result<Value, KubeconfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| KubeconfigError::File {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    serde_yaml::from_str(&text)
        .map_err(|error| KubeconfigError::Malformed { path: path.to_owned(), message: error.to_string() })
}

/// Writes a kubeconfig.
pub fn write(path: &Path, config: &Value) -> Result<(), KubeconfigError> {
    let text = serde_yaml::to_string(config)
        .map_err(|error| KubeconfigError::Malformed { path: path.to_owned(), message: error.to_string() })?;
    files::write_atomically(path, text.as_bytes()).map_err(|source| KubeconfigError::File {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

/// The same kubeconfig with another identity for its current context; none if it has no such user.
pub fn with_identity(mut config: Value, identity: Identity) -> Option<Value> {
    let context = config["current-context"].as_str()?.to_owned();
    let user = named(&config["contexts"], &context)?["context"]["user"].as_str()?.to_owned();
    let users = config["users"].as_array_mut()?;
    let entry = users.iter_mut().find(|entry| entry["name"] == user.as_str())?;
    match identity {
        Identity::Token(token) => entry["user"] = json!({"token": token}),
        Identity::Impersonated { user, groups } => {
            entry["user"]["as"] = user.into();
            entry["user"]["as-groups"] = groups.into();
        }
    }
    Some(config)
}

fn named<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|entry| entry["name"] == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_round_trips_and_takes_another_identity() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kubeconfig");
        let ca = folder.path().join("ca.crt");
        std::fs::write(&ca, "certificate").unwrap();
        write(&path, &render("https://127.0.0.1:1", &ca, "first").unwrap()).unwrap();

        let other = with_identity(read(&path).unwrap(), Identity::Token("second".into())).unwrap();
        assert_eq!(other["users"][0]["user"], json!({"token": "second"}));

        let groups = vec!["tenants".to_owned()];
        let impersonated =
            with_identity(read(&path).unwrap(), Identity::Impersonated { user: "eve".into(), groups }).unwrap();
        let expected = json!({"token": "first", "as": "eve", "as-groups": ["tenants"]});
        assert_eq!(impersonated["users"][0]["user"], expected);
    }

    #[test]
    fn a_kubeconfig_without_a_current_context_has_no_identity() {
        assert!(with_identity(json!({"users": []}), Identity::Token("x".into())).is_none());
    }
}
