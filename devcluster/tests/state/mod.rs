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

    /// The program, for these clusters; killed with the thread that starts it.
    pub fn devcluster(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_devcluster")]).args(arguments);
        command.env("MSO_STATE_DIR", &self.folder);
        command
    }
}

impl Drop for State {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        let _cleared = self.janitor.wait();
    }
}
