//! The starter's side: finds the supervisor's program, starts it, gives it orders.

use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command as Process, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{Command, Request, Response};

/// The supervisor could not be started or did not do as told.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// There is no program to run it.
    #[error("cannot find the devcluster program that supervises clusters: {0}; run `cargo build -p devcluster`")]
    NoProgram(String),
    /// It did not start.
    #[error("cannot start {}: {source}", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It ended.
    #[error("the cluster's supervisor has ended: {0}")]
    Gone(String),
    /// It said no.
    #[error("{0}")]
    Refused(String),
}

/// A running supervisor that this process started. Dropped without [`Supervisor::detach`], it takes the cluster down.
pub struct Supervisor {
    child: Child,
    requests: Option<ChildStdin>,
    responses: BufReader<ChildStdout>,
}

/// How long a take-down may last before the supervisor is killed.
const TAKE_DOWN: Duration = Duration::from_secs(20);

impl Supervisor {
    /// Starts the supervisor of the cluster in `folder`.
    pub fn start(folder: &Path) -> Result<Self, SupervisorError> {
        let program = program()?;
        let failed = |source| SupervisorError::Start { program: program.clone(), source };
        let log = File::create(folder.join("supervisor.log")).map_err(failed)?;
        let mut child = Process::new(&program)
            .arg("supervise")
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(failed)?;
        let (Some(requests), Some(responses)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed(io::ErrorKind::BrokenPipe.into()));
        };
        let mut supervisor = Self { child, requests: Some(requests), responses: BufReader::new(responses) };
        supervisor.response()?;
        Ok(supervisor)
    }

    /// Runs a program of the cluster.
    pub fn run(&mut self, command: Command) -> Result<(), SupervisorError> {
        self.ask(&Request::Start(command))
    }

    /// Ends a program of the cluster.
    pub fn stop(&mut self, component: &str) -> Result<(), SupervisorError> {
        self.ask(&Request::Stop(component.to_owned()))
    }

    /// Lets the cluster live on without this process.
    pub fn detach(mut self) -> Result<(), SupervisorError> {
        self.ask(&Request::Detach)?;
        self.requests = None;
        Ok(())
    }

    fn ask(&mut self, request: &Request) -> Result<(), SupervisorError> {
        let gone = |error: io::Error| SupervisorError::Gone(error.to_string());
        let mut line = serde_json::to_vec(request).map_err(|error| SupervisorError::Refused(error.to_string()))?;
        line.push(b'\n');
        if let Some(requests) = &mut self.requests {
            requests.write_all(&line).and_then(|()| requests.flush()).map_err(gone)?;
        }
        self.response()
    }

    fn response(&mut self) -> Result<(), SupervisorError> {
        let mut line = String::new();
        self.responses.read_line(&mut line).map_err(|error| SupervisorError::Gone(error.to_string()))?;
        match serde_json::from_str(&line) {
            Ok(Response::Done) => Ok(()),
            Ok(Response::Failed(message)) => Err(SupervisorError::Refused(message)),
            Err(_) => Err(SupervisorError::Gone(format!("it answered {line:?}"))),
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // Ends its input, and so, unless it is detached, the cluster.
        if self.requests.take().is_none() {
            return;
        }
        let deadline = Instant::now() + TAKE_DOWN;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() >= deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The `devcluster` program: the one named by `MSO_DEVCLUSTER`, this very process, one of the same sources that Cargo has
/// built beside the running test, or one that Cargo builds now.
fn program() -> Result<PathBuf, SupervisorError> {
    if let Some(named) = env::var_os("MSO_DEVCLUSTER") {
        return Ok(named.into());
    }
    let current = env::current_exe().map_err(|error| SupervisorError::NoProgram(error.to_string()))?;
    if current.file_stem().is_some_and(|name| name == "devcluster") {
        return Ok(current);
    }
    let beside = current.ancestors().skip(1).take(2).map(|folder| folder.join("devcluster"));
    if let Some(program) = beside.into_iter().find(|program| is_current(program)) {
        return Ok(program);
    }
    match env::var_os("CARGO") {
        Some(cargo) => build(Path::new(&cargo)),
        None => Err(SupervisorError::NoProgram(format!("no current one is beside {}", current.display()))),
    }
}

fn is_current(program: &Path) -> bool {
    let answer = Process::new(program).arg("fingerprint").stdin(Stdio::null()).stderr(Stdio::null()).output();
    answer.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == super::fingerprint())
}

#[derive(Deserialize)]
struct CargoMessage {
    executable: Option<PathBuf>,
}

/// Tests of other packages link the library only, so that Cargo need not have built the program.
fn build(cargo: &Path) -> Result<PathBuf, SupervisorError> {
    let failed = |message: String| SupervisorError::NoProgram(message);
    let output = Process::new(cargo)
        .args([
            "build",
            "--quiet",
            "--package",
            "devcluster",
            "--bin",
            "devcluster",
            "--message-format",
            "json-render-diagnostics",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<CargoMessage>(line).ok()?.executable)
        .next_back()
        .ok_or_else(|| failed("Cargo named no program".into()))
}
