//! Builds tools into the cache: under a lock, into a temporary file, renamed when whole.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::go::{self, Go, GoError};
use super::{Source, Tool, ToolSet, envoy};
use crate::files;
use crate::paths::{self, PathError};
use crate::progress::Ticker;

/// A tool could not be provided.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// No cache folder.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Go can't be used.
    #[error(transparent)]
    Go(#[from] GoError),
    /// A file of the cache can't be used.
    #[error("cannot {action} {}: {source}; check that the cache folder is writable and the disk not full", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The compiler said no.
    #[error("building {program} failed ({status}); the whole output is in {}; its end:\n{tail}", log.display())]
    Build {
        /// The program.
        program: &'static str,
        /// How the compiler ended.
        status: String,
        /// Its output.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// A package was not served or is not what it should be.
    #[error("cannot fetch {package} from PyPI: {message}")]
    Fetch {
        /// The package.
        package: &'static str,
        /// What was said.
        message: String,
    },
    /// A tool that was asked for was not built.
    #[error("{program} is missing after the build: run `devcluster build` and see what it says")]
    Missing {
        /// The program.
        program: &'static str,
    },
}

pub(super) fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ToolError {
    move |source| ToolError::File { action, path: path.to_owned(), source }
}

/// The paths of the wanted tools; builds those that the cache lacks, one after the other.
pub fn ensure(wanted: &[Tool]) -> Result<Vec<PathBuf>, ToolError> {
    let cache = paths::cache_dir()?;
    let go = Go::find()?;
    let targets: Vec<(Tool, PathBuf)> =
        wanted.iter().map(|&tool| (tool, program_path(&cache, tool, &go.fingerprint()))).collect();
    if targets.iter().any(|(_, path)| !path.exists()) {
        let _lock = lock_builds(&cache)?;
        let missing: Vec<_> = targets.iter().filter(|(_, path)| !path.exists()).collect();
        for (index, (tool, path)) in missing.iter().enumerate() {
            build(&go, &cache, *tool, path, (index + 1, missing.len()))?;
        }
    }
    Ok(targets.into_iter().map(|(_, path)| path).collect())
}

fn program_path(cache: &Path, tool: Tool, toolchain: &str) -> PathBuf {
    let Source::Go { set, .. } = tool.source() else { return envoy::path(cache) };
    cache.join("tools").join(format!("{}-{}", tool.program(), key(set, toolchain))).join(tool.program())
}

/// What a built program depends on, in 16 hex digits.
fn key(set: &ToolSet, toolchain: &str) -> String {
    let mut hash = Sha256::new();
    for part in [set.go_mod, set.go_sum, &go::link_flags(set.link_variables), toolchain] {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// One build at a time on a machine: each takes all its cores anyway.
fn lock_builds(cache: &Path) -> Result<File, ToolError> {
    fs::create_dir_all(cache).map_err(file_error("create", cache))?;
    let path = cache.join("build.lock");
    let file = File::create(&path).map_err(file_error("create", &path))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(source)) => return Err(file_error("lock", &path)(source)),
    }
    let mut ticker = Ticker::start("waiting for another process that builds tools".into());
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) => thread::sleep(POLL),
            Err(TryLockError::Error(source)) => return Err(file_error("lock", &path)(source)),
        }
        ticker.tick();
    }
    ticker.finish("done");
    Ok(file)
}

const POLL: Duration = Duration::from_millis(100);

fn build(go: &Go, cache: &Path, tool: Tool, path: &Path, (n, of): (usize, usize)) -> Result<(), ToolError> {
    let Source::Go { set, package } = tool.source() else { return envoy::fetch(path) };
    let program = tool.program();
    let module = write_module(cache, set)?;
    let folder = path.parent().unwrap_or(cache);
    fs::create_dir_all(folder).map_err(file_error("create", folder))?;
    let temporary = folder.join(format!(".{program}.partial"));
    let log = cache.join(format!("build-{program}.log"));
    let output = File::create(&log).map_err(file_error("create", &log))?;
    let child = go
        .in_module(&module)
        .args(go::build_arguments(package, &temporary, set.link_variables))
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(file_error("open", &log))?)
        .stderr(output)
        .spawn()
        .map_err(GoError::Missing)?;
    let mut ticker = Ticker::start(format!("building {program} ({n} of {of}; once a machine)"));
    let status = wait(child, &mut ticker).map_err(file_error("wait for the build of", path))?;
    if !status.success() {
        ticker.finish("failed");
        return Err(ToolError::Build { program, status: status.to_string(), tail: tail(&log), log });
    }
    fs::rename(&temporary, path).map_err(file_error("rename to", path))?;
    ticker.finish("done");
    Ok(())
}

fn wait(mut child: Child, ticker: &mut Ticker) -> io::Result<std::process::ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        ticker.tick();
        thread::sleep(POLL);
    }
}

/// Lays out a set's `go.mod` and `go.sum` in the cache, where Go may lock and read them.
pub(super) fn write_module(cache: &Path, set: &ToolSet) -> Result<PathBuf, ToolError> {
    let folder = cache.join("modules").join(set.name);
    fs::create_dir_all(&folder).map_err(file_error("create", &folder))?;
    for (name, content) in [("go.mod", set.go_mod), ("go.sum", set.go_sum)] {
        let path = folder.join(name);
        if fs::read(&path).is_ok_and(|present| present == content.as_bytes()) {
            continue;
        }
        files::write_atomically(&path, content.as_bytes()).map_err(file_error("write", &path))?;
    }
    Ok(folder)
}

const TAIL_LINES: usize = 15;

/// The last lines of a log, or what there is of it.
pub fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: ToolSet = ToolSet { name: "x", go_mod: "module x", go_sum: "sum", link_variables: &["a=1"] };

    #[test]
    fn a_key_covers_all_that_a_program_depends_on() {
        let base = key(&SET, "go1.26.8 linux/amd64");
        assert_eq!(base, key(&SET, "go1.26.8 linux/amd64"));
        assert_eq!(base.len(), 16);
        let others = [
            key(&SET, "go1.27.0 linux/amd64"),
            key(&ToolSet { go_mod: "module y", ..SET }, "go1.26.8 linux/amd64"),
            key(&ToolSet { go_sum: "other", ..SET }, "go1.26.8 linux/amd64"),
            key(&ToolSet { link_variables: &["a=2"], ..SET }, "go1.26.8 linux/amd64"),
        ];
        assert!(others.iter().all(|other| *other != base), "{others:?}");
    }

    #[test]
    fn a_tail_is_the_end_of_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        fs::write(&log, (1..=40).map(|n| format!("line {n}\n")).collect::<String>()).unwrap();
        let tail = tail(&log);
        assert!(tail.starts_with("line 26") && tail.ends_with("line 40"), "{tail}");
    }
}
