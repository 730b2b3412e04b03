//! The test service: what runs in the pods of a test.

use std::process::ExitCode;

use clap::Parser;
use devcluster::workload::{self, Command};

/// A service that tells its version and misbehaves on demand, its logging sidecar, a forwarder, and a pause.
#[derive(Debug, Parser)]
#[command(name = "workload", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    workload::run(Cli::parse().command).unwrap_or_else(|error| {
        eprintln!("workload: {error}");
        ExitCode::FAILURE
    })
}
