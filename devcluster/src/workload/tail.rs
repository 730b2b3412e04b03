//! The logging sidecar.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::time::sleep;

use super::WorkloadError;
use super::signals::Termination;

const POLL: Duration = Duration::from_millis(50);

/// Follows a file from its beginning, and prints `log: LINE` for each line; at SIGTERM what is left, then `log: end`.
#[derive(Debug, Args)]
pub struct Tail {
    /// The file, which need not exist yet.
    #[arg(long)]
    pub file: PathBuf,
}

impl Tail {
    pub(super) async fn run(self) -> Result<ExitCode, WorkloadError> {
        let mut termination = Termination::new()?;
        let mut follower = Follower { path: self.file, file: None, rest: Vec::new() };
        let mut out = io::stdout();
        let mut ended = false;
        loop {
            follower.copy(&mut out)?;
            if ended {
                follower.end(&mut out)?;
                return Ok(ExitCode::SUCCESS);
            }
            tokio::select! {
                () = termination.recv() => ended = true,
                () = sleep(POLL) => {}
            }
        }
    }
}

struct Follower {
    path: PathBuf,
    file: Option<File>,
    /// The beginning of a line that is still being written.
    rest: Vec<u8>,
}

impl Follower {
    /// Prints the lines that are whole by now.
    fn copy(&mut self, out: &mut impl Write) -> Result<(), WorkloadError> {
        if self.file.is_none() {
            self.file = match File::open(&self.path) {
                Ok(file) => Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(source) => return Err(WorkloadError::File { path: self.path.clone(), source }),
            };
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        file.read_to_end(&mut self.rest)?;
        let whole = self.rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        for line in self.rest.drain(..whole).as_slice().split_inclusive(|&byte| byte == b'\n') {
            out.write_all(b"log: ")?;
            out.write_all(line)?;
        }
        Ok(out.flush()?)
    }

    fn end(&mut self, out: &mut impl Write) -> io::Result<()> {
        if !self.rest.is_empty() {
            out.write_all(b"log: ")?;
            out.write_all(&self.rest)?;
            out.write_all(b"\n")?;
        }
        out.write_all(b"log: end\n")?;
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_are_printed_once_and_the_rest_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("requests");
        let mut follower = Follower { path: path.clone(), file: None, rest: Vec::new() };
        let mut out = Vec::new();
        follower.copy(&mut out).unwrap();
        assert!(out.is_empty());

        let mut file = File::create(&path).unwrap();
        file.write_all(b"one\ntw").unwrap();
        follower.copy(&mut out).unwrap();
        file.write_all(b"o\nthree").unwrap();
        follower.copy(&mut out).unwrap();
        assert_eq!(String::from_utf8_lossy(&out), "log: one\nlog: two\n");
        follower.end(&mut out).unwrap();
        assert_eq!(String::from_utf8_lossy(&out), "log: one\nlog: two\nlog: three\nlog: end\n");
    }
}
