//! Measures this operator beside Argo Rollouts and Flagger: the same services, the same deeds of their users, one
//! controller after the other on one cluster, round by round.
//!
//! `make bench` runs it, and writes `bench/results/`; `bench report` makes `docs/performance.md` of them.

mod controllers;
mod error;
mod faults;
mod filler;
mod gate;
mod ground;
mod meter;
mod process;
mod record;
mod report;
mod run;
mod soak;
mod users;
mod watch;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use devcluster::Cluster;
use jiff::Timestamp;

use controllers::Controller;
use error::Error;
use record::{Ground, Measured, Run};

#[derive(Parser)]
#[command(about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure, and write a file of results.
    Run(RunArgs),
    /// Disturb each controller while it carries out a canary, and tell what becomes of that.
    Faults(FaultsArgs),
    /// Edit weights again and again, and tell the memory of this operator on the way.
    Soak {
        /// Number of services.
        #[arg(long, default_value_t = 100)]
        services: usize,
        /// How many edits in all.
        #[arg(long, default_value_t = 100_000)]
        edits: usize,
    },
    /// Write the page and its charts from all files of results.
    Report,
}

#[derive(Args)]
struct RunArgs {
    /// Numbers of services.
    #[arg(long, value_delimiter = ',', default_value = "100,1000")]
    services: Vec<usize>,
    /// What is measured.
    #[arg(long, value_delimiter = ',', default_values_t = Vec::from(Controller::value_variants()), value_enum)]
    controllers: Vec<Controller>,
    /// How much of a cluster there is.
    #[arg(long, value_enum, default_value = "whole")]
    ground: Ground,
    /// How often.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds that each row is given.
    #[arg(long, default_value_t = 900)]
    limit: u64,
    /// File of results, in JSON. Default: one in `bench/results/` named after the ground.
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Args)]
struct FaultsArgs {
    /// Who is disturbed.
    #[arg(long, value_delimiter = ',', default_value = "operator,argo,flagger", value_enum)]
    controllers: Vec<Controller>,
    /// How many seeds of faults, each with and without answers that never come.
    #[arg(long, default_value_t = 20)]
    seeds: u64,
    /// Kill at no later write of each chapter than this one. Default: at each.
    #[arg(long)]
    kills: Option<usize>,
    /// Stories at a time.
    #[arg(long, default_value_t = 8)]
    abreast: usize,
    /// File of results, in JSON.
    #[arg(long)]
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run(args) => measure(&args),
        Command::Faults(args) => disturb(args),
        Command::Soak { services, edits } => wait_for(soak::run(&soak::Plan { services, edits })),
        Command::Report => report::write(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &RunArgs) -> Result<(), Error> {
    for controller in &args.controllers {
        println!("{}: {}", controller.title(), controller.family().program()?.display());
    }
    wait_for(all(args))
}

fn wait_for(work: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(Error::io("start threads"))?.block_on(work)
}

fn disturb(args: FaultsArgs) -> Result<(), Error> {
    let FaultsArgs { controllers, seeds, kills, abreast, out } = args;
    let out = out.unwrap_or_else(report::stories);
    let plan = faults::Plan { controllers, seeds, kills, abreast, out };
    wait_for(faults::run(&plan))
}

async fn all(args: &RunArgs) -> Result<(), Error> {
    let cluster = ground::start(args.ground, &args.controllers).await?;
    let logs = tempfile::tempdir().map_err(Error::io("make a folder for logs"))?;
    let mut runs = Vec::new();
    for &services in &args.services {
        for round in 1..=args.rounds {
            for &controller in &args.controllers {
                runs.push(one(args, &cluster, logs.path(), (services, round, controller)).await?);
                report::save(&results(args), &runs)?;
            }
        }
    }
    Ok(())
}

async fn one(
    args: &RunArgs,
    cluster: &Cluster,
    logs: &std::path::Path,
    (services, round, controller): (usize, usize, Controller),
) -> Result<Run, Error> {
    let title = format!("{}, {services} services, round {round}", controller.title());
    println!("\n{title}");
    let plan = run::Plan { ground: args.ground, controller, services, limit: Duration::from_secs(args.limit) };
    let name = format!("{}-{services}-{round}", controller.tenant());
    let log = logs.join(format!("{name}.log"));
    let began = Timestamp::now();
    let rows = run::run(cluster, plan, &name, &log, &tell).await?;
    Ok(Run { began, commit: report::commit(), ground: args.ground, controller, services, round, rows })
}

fn tell(measured: &Measured) {
    let Measured { row, of, done, seconds, cpu, peak, .. } = measured;
    println!(
        "  {row:?}: {done} of {of} after {seconds:.1} s; {} writes, {} requests; {cpu:.1} s of CPU; peak {} MiB{}",
        measured.writes(),
        measured.all_requests(),
        peak / 1024,
        refusals(measured),
    );
}

fn refusals(measured: &Measured) -> String {
    let count: usize = measured.refused.values().sum();
    let first = measured.refused.keys().next();
    first.map_or_else(String::new, |first| format!("; {count} refused: {first}"))
}

fn results(args: &RunArgs) -> PathBuf {
    let name = match args.ground {
        Ground::Whole => "whole.json",
        Ground::Filled => "filled.json",
    };
    args.out.clone().unwrap_or_else(|| report::folder().join(name))
}
