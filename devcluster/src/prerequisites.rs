//! What a real node needs of the machine, and how to get it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::components::{containerd, prometheus};
use crate::paths::{self, PathError};
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
    /// No folder to unpack into.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Prometheus is missing, and Debian's package cannot be had.
    #[error("Prometheus is missing, and Debian's package is not to be had: {detail}; put `prometheus` on the PATH")]
    Prometheus {
        /// What was said.
        detail: String,
    },
}

/// Debian's names of the packages.
const PACKAGES: [&str; 8] =
    ["containerd", "runc", "containernetworking-plugins", "conntrack", "curl", "nftables", "iproute2", "util-linux"];
const PROGRAMS: [&str; 11] =
    ["containerd", "ctr", "runc", "conntrack", "curl", "nft", "ip", "unshare", "nsenter", "setpriv", "mount"];
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

/// The program of Prometheus: that of the PATH, else that of Debian's package, which is unpacked into the cache. It is not
/// installed, since that would enable and start a service, and make a user.
pub fn prometheus() -> Result<PathBuf, PrerequisiteError> {
    if let Some(program) = on_path(prometheus::PROGRAM) {
        return Ok(program);
    }
    let kept = paths::cache_dir()?.join("packages").join(prometheus::PROGRAM);
    if !kept.is_file() {
        unpack(prometheus::PROGRAM, &kept).map_err(|detail| PrerequisiteError::Prometheus { detail })?;
    }
    Ok(kept)
}

/// Takes the program that has a package's name out of the package.
fn unpack(package: &str, program: &Path) -> Result<(), String> {
    let folder = program.parent().unwrap_or(program);
    fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let _alone = alone()?;
    if program.is_file() {
        return Ok(());
    }
    let scratch = tempfile::tempdir_in(folder).map_err(|error| error.to_string())?;
    apt_get(&["update"], scratch.path())?;
    apt_get(&["download", package], scratch.path())?;
    let mut files = fs::read_dir(&scratch).into_iter().flatten().flatten();
    let archive = files.next().ok_or("it downloaded nothing")?.path();
    let unpacked = scratch.path().join("unpacked");
    run(Command::new("dpkg-deb").arg("--extract").args([&archive, &unpacked]))?;
    fs::rename(unpacked.join("usr/bin").join(package), program).map_err(|error| error.to_string())
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn missing() -> Vec<String> {
    let missing = |program: &&&str| on_path(program).is_none();
    let programs = PROGRAMS.iter().filter(missing).map(|program| (*program).to_owned());
    let plugins = PLUGINS.iter().map(|plugin| Path::new(containerd::PLUGINS).join(plugin));
    programs.chain(plugins.filter(|path| !path.is_file()).map(|path| path.display().to_string())).collect()
}

/// Installs the packages without starting their services.
fn install() -> Result<(), String> {
    let _alone = alone()?;
    if missing().is_empty() {
        return Ok(());
    }
    apt_get(&["update"], Path::new("/"))?;
    apt_get(&[&["install", "--yes", "--no-install-recommends"][..], &PACKAGES].concat(), Path::new("/"))
}

/// Waits until no other process or thread installs what is missing: apt-get fails where another one is at work.
fn alone() -> Result<fs::File, String> {
    let folder = paths::cache_dir().map_err(|error| error.to_string())?;
    let locked = || {
        fs::create_dir_all(&folder)?;
        let file = fs::File::create(folder.join("apt-get.lock"))?;
        file.lock()?;
        Ok(file)
    };
    locked().map_err(|error: std::io::Error| format!("cannot lock {}: {error}", folder.display()))
}

fn apt_get(arguments: &[&str], folder: &Path) -> Result<(), String> {
    let mut ticker = Ticker::start(format!("apt-get {}", arguments.join(" ")));
    ticker.tick();
    let mut command = Command::new("apt-get");
    command.arg("--quiet").args(arguments).current_dir(folder);
    let done = run(command.env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1"));
    ticker.finish(if done.is_ok() { "done" } else { "failed" });
    done
}

/// Runs a command; the error is the last line of what it said.
fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or("it failed").to_owned())
}
