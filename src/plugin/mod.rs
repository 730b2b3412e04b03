//! `kubectl ms`, a kubectl plugin: shows Microservices and their rollouts, says what holds them, and asks things of them.
//!
//! What people ask becomes a [`MicroserviceAction`](crate::api::MicroserviceAction), never an edit of the spec or the
//! status: Git does not drift, the cluster's rights decide who may ask what, and the actions are the history. `weight`
//! alone edits the spec, and says so.
//!
//! Exit codes: 0 done or healthy, 1 refused or degraded, 2 timed out, 3 it could not be asked.
//!
//! Files: [`view`], [`tree`], [`weights`] and [`explain`] are pure; each other one is a group of commands, or what they
//! share.

pub mod act;
pub mod cli;
pub mod cluster;
pub mod completion;
pub mod error;
pub mod explain;
pub mod get;
pub mod history;
pub mod measurements;
pub mod output;
pub mod relapses;
pub mod revisions;
pub mod steps;
pub mod tree;
pub mod view;
pub mod wait;
mod watch;
pub mod weight;
pub mod weights;
pub mod why;

use std::{io::ErrorKind, process::ExitCode};

use clap::Parser;

use crate::api::Verb;

use cli::{Cli, Command};
use cluster::Cluster;
pub use error::Error;
use output::Out;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or healthy.
    Done = 0,
    /// Refused, or degraded.
    Refused = 1,
    /// The time was over.
    TimedOut = 2,
    /// It could not be asked.
    Failed = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Runs the command that the process's arguments ask for.
pub async fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _unread = error.print();
            return if error.use_stderr() { Exit::Failed.into() } else { Exit::Done.into() };
        }
    };
    match run(cli).await {
        Ok(exit) => exit.into(),
        // Whoever reads has seen enough, as `head` has.
        Err(Error::Output(error)) if error.kind() == ErrorKind::BrokenPipe => Exit::Done.into(),
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(advice) = error.advice() {
                eprintln!("  {advice}");
            }
            Exit::Failed.into()
        }
    }
}

async fn run(cli: Cli) -> Result<Exit, Error> {
    let out = Out::new(cli.global.output);
    match &cli.command {
        Command::Completion { shell } => return completion::script(out, *shell),
        Command::Complete { words } => return completion::complete(out, words).await,
        _ => {}
    }
    let cluster = Cluster::connect(&cli.global).await?;
    match &cli.command {
        Command::Get(args) => get::get(&cluster, out, args).await,
        Command::Why { name } => why::why(&cluster, out, name).await,
        Command::Promote { full: false, act } => act::act(&cluster, out, act, Verb::Promote, None).await,
        Command::Promote { full: true, act } => act::act(&cluster, out, act, Verb::PromoteFull, None).await,
        Command::Pause(args) => act::act(&cluster, out, args, Verb::Pause, None).await,
        Command::Abort(args) => act::act(&cluster, out, args, Verb::Abort, None).await,
        Command::Retry(args) => act::act(&cluster, out, args, Verb::Retry, None).await,
        Command::Undo { to_revision, act } => act::act(&cluster, out, act, Verb::Undo, to_revision.as_deref()).await,
        Command::Weight(args) => weight::weight(&cluster, out, args).await,
        Command::History { name } => history::history(&cluster, out, name).await,
        Command::Wait(args) => wait::wait(&cluster, out, args).await,
        Command::Completion { .. } | Command::Complete { .. } => Ok(Exit::Done),
    }
}
