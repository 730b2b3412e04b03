//! Measures this operator beside Argo Rollouts and Flagger: the same services, the same deeds of their users, one
//! controller after the other on one cluster, round by round.
//!
//! `make bench` runs it, and writes `bench/results/` once all is measured; `bench report` makes `docs/performance.md` of them.

mod controllers;
mod error;
mod faults;
mod filler;
mod gate;
mod ground;
mod meter;
mod others;
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

/// Numbers of services, and rounds, of complete results.
const SERVICES: [usize; 2] = [100, 1_000];
const ROUNDS: usize = 3;

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
    #[arg(long, value_delimiter = ',', default_values_t = SERVICES)]
    services: Vec<usize>,
    /// What is measured.
    #[arg(long, value_delimiter = ',', default_values_t = Vec::from(Controller::value_variants()), value_enum)]
    controllers: Vec<Controller>,
    /// How much of a cluster there is.
    #[arg(long, value_enum, default_value = "whole")]
    ground: Ground,
    /// How often.
    #[arg(long, default_value_t = ROUNDS)]
    rounds: usize,
    /// Seconds that each row is given.
    #[arg(long, default_value_t = 900)]
    limit: u64,
    /// Tell for each row who asked the API server for what, and how long that took. To have it logged takes the cluster some
    /// time, so these results are no part of the page.
    #[arg(long)]
    others: bool,
    /// File of results, in JSON. Default: one in `target/bench/` named after the ground, and in the end the one of this name in
    /// `bench/results/`, if nothing is left out of what is measured by default.
    #[arg(long)]
    out: Option<PathBuf>,
}

impl RunArgs {
    /// Whether that is all that is measured by default, or more.
    fn is_complete(&self) -> bool {
        !self.others
            && self.rounds >= ROUNDS
            && SERVICES.iter().all(|it| self.services.contains(it))
            && Controller::value_variants().iter().all(|it| self.controllers.contains(it))
    }
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
    // It may be another one by the end.
    let commit = report::commit();
    let cluster = ground::start(args.ground, &args.controllers, args.others).await?;
    let logs = tempfile::tempdir().map_err(Error::io("make a folder for logs"))?;
    let name = if args.others { "others.json" } else { results(args.ground) };
    let out = args.out.clone().unwrap_or_else(|| report::looks().join(name));
    let mut runs = Vec::new();
    for &services in &args.services {
        for round in 1..=args.rounds {
            for controller in in_turn(&args.controllers, round) {
                runs.push(one(args, &cluster, logs.path(), &commit, (services, round, controller)).await?);
                report::save(&out, &runs)?;
            }
        }
    }
    println!("\nresults: {}", out.display());
    if args.out.is_none() && args.is_complete() {
        report::save(&report::folder().join(name), &runs)?;
    }
    Ok(())
}

/// The controllers in the order of a round: each round begins with the next one.
fn in_turn(controllers: &[Controller], round: usize) -> impl Iterator<Item = Controller> {
    controllers.iter().copied().cycle().skip(round.saturating_sub(1)).take(controllers.len())
}

async fn one(
    args: &RunArgs,
    cluster: &Cluster,
    logs: &std::path::Path,
    commit: &str,
    (services, round, controller): (usize, usize, Controller),
) -> Result<Run, Error> {
    let title = format!("{}, {services} services, round {round}", controller.title());
    println!("\n{title}");
    let plan = run::Plan {
        ground: args.ground,
        controller,
        services,
        limit: Duration::from_secs(args.limit),
        others: args.others,
    };
    let name = format!("{}-{services}-{round}", controller.tenant());
    let log = logs.join(format!("{name}.log"));
    let began = Timestamp::now();
    let rows = run::run(cluster, plan, &name, &log, &tell).await?;
    let commit = measured_at(commit, controller.named_by());
    Ok(Run { began, commit, machine: process::machine(), ground: args.ground, controller, services, round, rows })
}

/// What is kept as the version of a program: that of the code, and what named another program.
fn measured_at(commit: &str, named_by: Option<&str>) -> String {
    named_by.map_or_else(|| commit.to_owned(), |variable| format!("{commit} ({variable})"))
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

/// How a file of results is called.
fn results(ground: Ground) -> &'static str {
    match ground {
        Ground::Whole => "whole.json",
        Ground::Filled => "filled.json",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(arguments: &[&str]) -> RunArgs {
        match Cli::parse_from(["bench", "run"].iter().chain(arguments).copied()).command {
            Command::Run(args) => args,
            _ => panic!("{arguments:?} are those of a run"),
        }
    }

    #[test]
    fn only_what_is_measured_by_default_or_more_is_complete() {
        assert!(asked(&[]).is_complete());
        assert!(asked(&["--rounds", "4", "--services", "100,1000,3000"]).is_complete());
        for fewer in [["--rounds", "1"], ["--services", "100"], ["--controllers", "operator"]] {
            assert!(!asked(&fewer).is_complete(), "{fewer:?}");
        }
    }

    #[test]
    fn each_round_begins_with_the_next_controller() {
        let all = [Controller::Operator, Controller::Argo, Controller::Flagger];
        let order = |round: usize| in_turn(&all, round).collect::<Vec<_>>();
        assert_eq!(order(1), all);
        assert_eq!(order(2), [Controller::Argo, Controller::Flagger, Controller::Operator]);
        assert_eq!(order(4), all);
    }

    #[test]
    fn it_is_recorded_that_another_program_was_measured() {
        assert_eq!(measured_at("499355d", None), "499355d");
        assert_eq!(measured_at("499355d-dirty", Some("BENCH_OPERATOR")), "499355d-dirty (BENCH_OPERATOR)");
    }
}
