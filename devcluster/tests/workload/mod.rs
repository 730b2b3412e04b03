//! Processes of the workload program.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use devcluster::load::{Load, Protocol};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

const SOON: Duration = Duration::from_secs(120);

/// A process of the workload program; it is killed when dropped.
pub struct Workload {
    pub child: Child,
    lines: Receiver<String>,
}

impl Workload {
    pub fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_workload"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    pub fn line(&self) -> String {
        self.lines.recv_timeout(SOON).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits for the exit code; none after a signal.
    pub async fn exit(&mut self) -> Option<i32> {
        let mut status = None;
        until(|| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap().code()
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running service.
pub struct Service {
    pub process: Workload,
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    pub log: PathBuf,
    _folder: TempDir,
}

impl Service {
    pub fn start(behaviour: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("requests");
        let mut arguments = vec!["serve", "--service-name=web", "--service-version=v1", "--pod-name=web-1"];
        arguments.extend(["--listen-address=127.0.0.1", "--http-port=0", "--grpc-port=0"]);
        let log_file = format!("--log-file={}", log.display());
        arguments.push(&log_file);
        arguments.extend(behaviour);
        let process = Workload::start(&arguments);
        let line = process.line();
        let (http, grpc) = line.strip_prefix("listening http=").unwrap().split_once(" grpc=").unwrap();
        Self { process, http: http.parse().unwrap(), grpc: grpc.parse().unwrap(), log, _folder: folder }
    }

    pub fn load(&self, protocol: Protocol) -> Load {
        let connect = match protocol {
            Protocol::Http1 { .. } | Protocol::Http2 => self.http,
            Protocol::GrpcUnary | Protocol::GrpcStream => self.grpc,
        };
        Load { rate: 1000, ..Load::new(connect, "web.shop.svc.cluster.local", protocol) }
    }

    /// How many requests have come.
    pub fn logged(&self) -> usize {
        fs::read_to_string(&self.log).unwrap().lines().count()
    }

    /// Asks over a connection of its own.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.http).unwrap();
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: web\r\nx-id: 7\r\nconnection: close\r\n");
        write!(stream, "{head}content-length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("x-version: v1"), "{head}");
        (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
    }

    /// The message of the answer to an empty message.
    pub async fn call(&self, path: &str) -> Vec<u8> {
        let stream = TokioIo::new(tokio::net::TcpStream::connect(self.grpc).await.unwrap());
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
        tokio::spawn(connection);
        let uri = format!("http://web{path}");
        let request = http::Request::post(uri).body(Full::new(Bytes::from_static(&[0; 5]))).unwrap();
        let answer = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap();
        assert_eq!(answer.trailers().unwrap()["grpc-status"], "0");
        let answer = answer.to_bytes();
        assert_eq!(answer[..4], [0; 4]);
        assert_eq!(usize::from(answer[4]), answer.len() - 5);
        answer[5..].to_vec()
    }

    pub fn control(&self, change: &Value) -> Value {
        let (status, behaviour) = self.ask("POST", "/control", &change.to_string());
        assert_eq!(status, 200, "{behaviour}");
        behaviour
    }
}

pub async fn until(mut done: impl FnMut() -> bool) {
    let wait = async {
        while !done() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(SOON, wait).await.unwrap_or_else(|_| panic!("it did not happen in {SOON:?}"));
}
