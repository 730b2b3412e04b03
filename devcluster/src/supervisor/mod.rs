//! The one process that owns a cluster's programs: it starts them, and when it ends, they end.
//!
//! It speaks JSON lines: a `Request` a line on its standard input, a `Response` a line on its standard output. When its
//! input ends before it was told to `Request::Detach`, the starter is gone, and so the cluster goes.

mod client;
mod server;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use client::{Supervisor, SupervisorError};
pub use server::{ServerError, run};

/// Stands for the supervisor's own program.
pub const OWN_PROGRAM: &str = "devcluster";

/// How a program of the cluster is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The component's name, also of its log.
    pub name: String,
    /// The program's path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "request", content = "of", rename_all = "camelCase")]
enum Request {
    /// Run a program.
    Start(Command),
    /// End a program.
    Stop(String),
    /// Live on when the starter ends.
    Detach,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "response", content = "of", rename_all = "camelCase")]
enum Response {
    Done,
    Failed(String),
}

/// Which supervisor this is: the same for a library and a program with the same sources.
pub fn fingerprint() -> String {
    const SOURCES: [&str; 7] = [
        include_str!("mod.rs"),
        include_str!("server.rs"),
        include_str!("../process.rs"),
        include_str!("../record.rs"),
        include_str!("../files.rs"),
        include_str!("../relay.rs"),
        include_str!("../sandbox.rs"),
    ];
    Sha256::digest(SOURCES.concat()).iter().map(|byte| format!("{byte:02x}")).collect()
}
