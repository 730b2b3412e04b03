//! A program that runs beside a cluster for as long as whoever started it.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

/// A running program. It is killed with this value, and by the kernel when the thread that started it ends in any way.
#[derive(Debug)]
pub struct Bound {
    child: Child,
}

impl Bound {
    /// Starts a program, of which all that it prints is added to a file.
    ///
    /// # Errors
    /// When the file cannot be written, or `setpriv` (of util-linux) not started.
    pub fn start(command: &Command, log: &Path) -> io::Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        let mut bound = Command::new("setpriv");
        bound.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => bound.env(name, value),
                None => bound.env_remove(name),
            };
        }
        bound.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let started = bound.spawn();
        let child =
            started.map_err(|error| io::Error::new(error.kind(), format!("setpriv (of util-linux): {error}")))?;
        Ok(Self { child })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has ended by itself.
    ///
    /// # Errors
    /// Those of the system.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Either it has ended already or it ends now.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::process::ProcessId;

    #[test]
    fn it_prints_into_its_file_and_ends_with_its_value() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo \"$SAID\"; exec sleep 1000"]).env("SAID", "hello");
        let mut bound = Bound::start(&command, log.path()).unwrap();
        while std::fs::read_to_string(log.path()).unwrap() != "hello\n" {
            assert!(bound.ended().unwrap().is_none());
            std::thread::yield_now();
        }
        let process = ProcessId::of(bound.id()).unwrap();
        drop(bound);
        assert!(process.wait_gone(Duration::from_secs(10)));
    }
}
