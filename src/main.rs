//! The process: reads the arguments, calls the command, and turns its outcome into an exit code.

use std::process::ExitCode;

use clap::Parser;
use microservice_operator::cli::{Cli, Command};

mod commands;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no threads can be started: {error}");
            return ExitCode::from(2);
        }
    };
    let code = runtime.block_on(outcome());
    // A name that is being resolved keeps a thread, which nothing ends before its time is over.
    runtime.shutdown_background();
    code
}

async fn outcome() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => commands::run(args).await,
        Command::Crd { name } => commands::crd(name.as_deref()),
        Command::Render(args) => commands::render(&args),
        Command::Lint(args) => commands::lint(&args),
        Command::Healthz { url } => commands::healthz(&url).await,
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            ExitCode::from(2)
        }
    }
}
