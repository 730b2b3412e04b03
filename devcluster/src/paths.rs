//! Where things are kept: built tools in a cache folder, running clusters in a state folder. Neither is in the work tree.

use std::env;
use std::path::PathBuf;

/// The folder has no place to be.
#[derive(Debug, thiserror::Error)]
#[error("no folder for {what}: set {variable}, or HOME, to an absolute path")]
pub struct PathError {
    what: &'static str,
    variable: &'static str,
}

/// The folder of built tools: `$MSO_CACHE_DIR`, else `$XDG_CACHE_HOME/microservice-operator`, else
/// `~/.cache/microservice-operator`.
pub fn cache_dir() -> Result<PathBuf, PathError> {
    locate("built tools", "MSO_CACHE_DIR", "XDG_CACHE_HOME", ".cache")
}

/// The folder of running clusters: `$MSO_STATE_DIR`, else `$XDG_STATE_HOME/microservice-operator`, else
/// `~/.local/state/microservice-operator`.
pub fn state_dir() -> Result<PathBuf, PathError> {
    locate("clusters", "MSO_STATE_DIR", "XDG_STATE_HOME", ".local/state")
}

/// The folder in which the audit logs of clusters are kept that are taken down, `$MSO_AUDIT_DIR`; none are kept without.
pub fn audit_dir() -> Option<PathBuf> {
    env::var_os("MSO_AUDIT_DIR").map(PathBuf::from).filter(|path| path.is_absolute())
}

fn locate(
    what: &'static str,
    variable: &'static str,
    xdg_variable: &str,
    below_home: &str,
) -> Result<PathBuf, PathError> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(variable)
        .or_else(|| absolute(xdg_variable).map(|base| base.join("microservice-operator")))
        .or_else(|| absolute("HOME").map(|home| home.join(below_home).join("microservice-operator")))
        .ok_or(PathError { what, variable })
}
