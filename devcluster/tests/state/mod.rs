//! A folder of clusters that belong to one test.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

type Failure = Box<dyn std::error::Error>;

/// Clusters that end with this value, and with the test's process in whatever way it ends.
pub struct State {
    pub folder: PathBuf,
    /// Reads from this process until it ends, and clears up then.
    janitor: Child,
}

impl State {
    pub fn new() -> Result<Self, Failure> {
        let folder = tempfile::tempdir()?.keep();
        let janitor = Command::new("sh")
            .args(["-c", "read -r _; \"$0\" down --all && rm -rf \"$MSO_STATE_DIR\"", env!("CARGO_BIN_EXE_devcluster")])
            .env("MSO_STATE_DIR", &folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(Self { folder, janitor })
    }

    /// The program, for these clusters.
    pub fn devcluster(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_devcluster"));
        command.args(arguments).env("MSO_STATE_DIR", &self.folder);
        command
    }
}

impl Drop for State {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        let _cleared = self.janitor.wait();
    }
}
