//! The one process that owns a cluster's programs: it starts them, and when it ends, they end.
//!
//! It speaks JSON lines: a [`Request`] a line on its standard input, a [`Response`] a line on its standard output. When its
//! input ends before it was told to [`Request::Detach`], the starter is gone, and so the cluster goes.

mod client;
mod server;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use client::{Supervisor, SupervisorError};
pub use server::{ServerError, run};

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
