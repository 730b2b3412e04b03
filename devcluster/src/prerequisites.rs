//! What a real node needs of the machine, and how to get it.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::components::containerd;
use crate::progress::Ticker;

/// A real node cannot run here.
#[derive(Debug, thiserror::Error)]
pub enum PrerequisiteError {
    /// Another system.
    #[error("real nodes need Linux, and this is {}: use `--nodes simulated`, or `--provider kind`", env::consts::OS)]
    System,
    /// Another user.
    #[error("real nodes need root, for namespaces and mounts: run as root, or use `--nodes simulated`")]
    Root,
    /// Programs are missing, and cannot be installed.
    #[error("real nodes need {}: install the packages {PACKAGES:?} and try again{detail}", missing.join(", "))]
    Missing {
        /// What is missing.
        missing: Vec<String>,
        /// What the installation said.
        detail: String,
    },
}

/// Debian's names of the packages.
const PACKAGES: [&str; 7] =
    ["containerd", "runc", "containernetworking-plugins", "conntrack", "nftables", "iproute2", "util-linux"];
const PROGRAMS: [&str; 10] =
    ["containerd", "ctr", "runc", "conntrack", "nft", "ip", "unshare", "nsenter", "setpriv", "mount"];
const PLUGINS: [&str; 3] = ["bridge", "host-local", "loopback"];

/// Checks that a real node can run here; installs what is missing where Debian's packages can be had.
pub fn ensure() -> Result<(), PrerequisiteError> {
    if env::consts::OS != "linux" {
        return Err(PrerequisiteError::System);
    }
    if !nix::unistd::Uid::effective().is_root() {
        return Err(PrerequisiteError::Root);
    }
    if missing().is_empty() {
        return Ok(());
    }
    let detail = install().err().map(|said| format!(" (apt-get: {said})")).unwrap_or_default();
    let missing = missing();
    if missing.is_empty() { Ok(()) } else { Err(PrerequisiteError::Missing { missing, detail }) }
}

fn missing() -> Vec<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = |program: &&str| env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let programs = PROGRAMS.iter().filter(|program| !found(program)).map(|program| (*program).to_owned());
    let plugins = PLUGINS.iter().map(|plugin| Path::new(containerd::PLUGINS).join(plugin));
    programs.chain(plugins.filter(|path| !path.is_file()).map(|path| path.display().to_string())).collect()
}

/// Installs the packages without starting their services.
fn install() -> Result<(), String> {
    for arguments in [vec!["update"], [vec!["install", "--yes", "--no-install-recommends"], PACKAGES.to_vec()].concat()]
    {
        let mut ticker = Ticker::start(format!("apt-get {}", arguments.join(" ")));
        ticker.tick();
        let output = Command::new("apt-get")
            .args(["--quiet"])
            .args(&arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("RUNLEVEL", "1")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        if !output.status.success() {
            ticker.finish("failed");
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(text.lines().last().unwrap_or("it failed").to_owned());
        }
        ticker.finish("done");
    }
    Ok(())
}
