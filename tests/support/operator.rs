//! The operator as a process on this machine.

use std::{ffi::OsString, path::Path, process::Command};

use devcluster::Bound;
use nix::sys::signal::Signal;
use tempfile::TempPath;

use super::{Space, cluster, eventually};

/// The operator that is tested: `OPERATOR_PROGRAM`, such as that of an older revision, or the one just built.
fn program() -> OsString {
    std::env::var_os("OPERATOR_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_microservice-operator").into())
}

/// A running operator; killed when dropped, and when the test's process ends in any way.
pub struct Operator {
    process: Bound,
    log: TempPath,
}

impl Operator {
    /// Starts the operator for one namespace, as a cluster administrator.
    pub fn of(space: &Space) -> Self {
        Self::start(cluster().kubeconfig_path(), &["--namespace", &space.name, "--leader-election", "false"])
    }

    /// Starts the operator, which serves its metrics at any free port.
    pub fn start(kubeconfig: &Path, args: &[&str]) -> Self {
        Self::as_told(kubeconfig, &[&["run", "--listen", "127.0.0.1:0"], args].concat(), &[])
    }

    /// Starts it with these arguments and variables, and no others.
    pub fn as_told(kubeconfig: &Path, args: &[&str], variables: &[(&str, &str)]) -> Self {
        let log = tempfile::Builder::new().prefix("operator-").suffix(".log").tempfile_in(cluster().scratch()).unwrap();
        let log = log.into_temp_path();
        let mut command = Command::new(program());
        command.args(args).envs(variables.iter().copied()).env("KUBECONFIG", kubeconfig).env("NO_COLOR", "1");
        let process = Bound::start(&command, &log).expect("the operator starts");
        Self { process, log }
    }

    /// Ends it as a crash would.
    pub fn kill(self) {
        drop(self);
    }

    /// Asks it to end; answers whether it did so with success.
    pub async fn terminate(mut self) -> bool {
        self.signal(Signal::SIGTERM);
        self.ends().await
    }

    /// Waits until it has ended by itself; answers whether it did so with success.
    pub async fn ends(&mut self) -> bool {
        let ended = eventually(|| {
            let ended = self.process.ended().unwrap();
            async move { ended }
        });
        ended.await.expect("the operator ends").success()
    }

    /// Lets it stand still.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// Lets it go on after it stood still.
    pub fn wake(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.process.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// Its metrics, once it serves them.
    pub async fn metrics(&self) -> Option<String> {
        self.get("/metrics").await
    }

    /// The body of an answer of its health and metrics server.
    pub async fn get(&self, path: &str) -> Option<String> {
        let text = self.text();
        let address = text.split("address=").nth(1)?.split_whitespace().next()?.to_owned();
        let mut stream = tokio::net::TcpStream::connect(&address).await.ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.ok()?;
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
    }

    /// Waits until it is ready: it has listed everything, or stands by.
    pub async fn becomes_ready(&self) {
        let ready = eventually(|| async { self.get("/readyz").await.filter(|it| it == "ok") }).await;
        assert!(ready.is_some(), "the operator is never ready; it said:\n{}", self.text());
    }

    /// Its log so far.
    pub fn text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the log has a text; answers the line.
    pub async fn says(&self, text: &str) -> String {
        let found =
            eventually(|| async { self.text().lines().find(|line| line.contains(text)).map(str::to_owned) }).await;
        found.unwrap_or_else(|| panic!("the operator never said {text:?}; it said:\n{}", self.text()))
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the operator's log ---\n{}", self.text());
        }
    }
}
