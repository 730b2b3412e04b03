//! The Go toolchain: is it there, is it new enough, and how it is called.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::Command;

/// The oldest Go that the pinned modules can be built with.
const OLDEST: (u32, u32) = (1, 26);

/// Go can't be used.
#[derive(Debug, thiserror::Error)]
pub enum GoError {
    /// There is no `go`.
    #[error("the program `go` could not be run: install Go {}.{} or newer and put it on PATH", OLDEST.0, OLDEST.1)]
    Missing(#[source] io::Error),
    /// `go env` failed.
    #[error("`go env` failed: {0}")]
    Broken(String),
    /// Too old.
    #[error("Go {found} is too old to build the cluster's programs: install Go {}.{} or newer", OLDEST.0, OLDEST.1)]
    TooOld {
        /// The version found.
        found: String,
    },
}

/// A Go toolchain that is new enough.
pub struct Go {
    version: String,
    platform: String,
}

impl Go {
    /// Looks for Go on `PATH`.
    pub fn find() -> Result<Self, GoError> {
        let output = command().args(["env", "GOVERSION", "GOOS", "GOARCH"]).output().map_err(GoError::Missing)?;
        if !output.status.success() {
            return Err(GoError::Broken(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let mut lines = text.lines();
        let (Some(version), Some(os), Some(arch)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(GoError::Broken(format!("unexpected output {text:?}")));
        };
        if parse_version(version).is_none_or(|found| found < OLDEST) {
            return Err(GoError::TooOld { found: version.trim_start_matches("go").to_owned() });
        }
        Ok(Self { version: version.to_owned(), platform: format!("{os}/{arch}") })
    }

    /// What a built program depends on besides its sources.
    pub fn fingerprint(&self) -> String {
        format!("{} {}", self.version, self.platform)
    }

    /// A `go` command in a module's folder.
    pub fn in_module(&self, folder: &Path) -> Command {
        let mut command = command();
        command.current_dir(folder);
        command
    }
}

fn command() -> Command {
    let mut command = Command::new("go");
    // A static program needs no C compiler, and neither a workspace file nor a newer toolchain may change the versions.
    command.env("CGO_ENABLED", "0").env("GOTOOLCHAIN", "local").env("GOWORK", "off").env_remove("GOFLAGS");
    command
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.strip_prefix("go")?.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    Some((major, minor))
}

/// The arguments of one build.
pub fn build_arguments(package: &str, output: &Path, link_variables: &[&str]) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = ["build", "-trimpath", "-buildvcs=false", "-ldflags"].map(Into::into).into();
    arguments.push(link_flags(link_variables).into());
    arguments.extend(["-o".into(), output.into(), package.into()]);
    arguments
}

/// What the linker is told: no debug information, and the versions.
pub fn link_flags(variables: &[&str]) -> String {
    variables.iter().fold(String::from("-s -w"), |flags, variable| format!("{flags} -X {variable}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(parse_version("go1.26.8"), Some((1, 26)));
        assert_eq!(parse_version("go1.27rc1"), Some((1, 27)));
        assert!(parse_version("go1.9") < Some(OLDEST));
        assert_eq!(parse_version("devel"), None);
    }

    #[test]
    fn versions_are_linked_in() {
        assert_eq!(link_flags(&[]), "-s -w");
        assert_eq!(link_flags(&["a.b=1", "c.d=2"]), "-s -w -X a.b=1 -X c.d=2");
    }
}
