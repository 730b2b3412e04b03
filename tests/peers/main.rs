//! Another controller in the scenarios of the mesh suite: the same cluster, the same service, the same requests.
//!
//! It measures and judges nobody else: it fails when a request is not accounted for, a scenario cannot be set up, or
//! this operator breaks one of its own invariants, never because of what was lost. `make peers` runs it, or a part:
//! `cargo test --test peers -- crash`. Needs Linux and root.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code)]
#[path = "../mesh/calls.rs"]
mod calls;
#[allow(dead_code)]
#[path = "../mesh/ground/mod.rs"]
mod ground;
#[allow(dead_code)]
#[path = "../mesh/service.rs"]
mod service;
#[allow(dead_code)]
#[path = "../mesh/stage.rs"]
mod stage;

mod argo;
mod ours;
mod rollout;
mod row;

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::Mutex,
    thread,
};

use devcluster::{Tool, tool, tools::argo_rollouts_crds};

use row::Row;

const ROUNDS: usize = 3;
/// Scenarios at a time, as in the mesh suite.
const AT_A_TIME: usize = 2;

#[derive(Clone, Copy)]
enum Scenario {
    Argo(argo::Scenario),
    Ours(ours::Scenario),
}

impl Scenario {
    fn title(self) -> String {
        match self {
            Self::Argo(scenario) => format!("Argo Rollouts: {}", scenario.title()),
            Self::Ours(scenario) => format!("this operator: {}", scenario.title()),
        }
    }

    fn measure(self) -> Row {
        match self {
            Self::Argo(scenario) => support::run(argo::measure(scenario)),
            Self::Ours(scenario) => support::run(ours::measure(scenario)),
        }
    }
}

fn main() -> ExitCode {
    let filters: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let argo = argo::Scenario::ALL.map(Scenario::Argo);
    let all = argo.into_iter().chain(ours::Scenario::ALL.map(Scenario::Ours));
    let wanted = |it: &Scenario| filters.is_empty() || filters.iter().any(|filter| it.title().contains(filter));
    let waiting: VecDeque<(Scenario, usize)> =
        all.filter(wanted).flat_map(|scenario| (1..=ROUNDS).map(move |round| (scenario, round))).collect();
    let order = waiting.clone();
    let (waiting, rows) = (Mutex::new(waiting), Mutex::new(Vec::new()));
    stage::stage();
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some((scenario, round)) = next(&waiting) {
                    let row = catch_unwind(AssertUnwindSafe(|| scenario.measure()));
                    let told = row.as_ref().map_or_else(|_| "could not be measured".to_owned(), ToString::to_string);
                    println!("{}, round {round}: {told}", scenario.title());
                    rows.lock().unwrap().push((scenario.title(), round, row.ok()));
                }
            });
        }
    });
    let rows = rows.into_inner().unwrap();
    let found = |(scenario, round): &(Scenario, usize)| {
        let row = rows.iter().find(|(title, of, _)| *title == scenario.title() && of == round);
        (scenario.title(), *round, row.and_then(|(_, _, row)| row.as_ref()))
    };
    let rows: Vec<_> = order.iter().map(found).collect();
    println!("\n{}", row::table(&rows));
    let passed = order.iter().zip(&rows).all(|((scenario, _), (_, _, row))| match scenario {
        Scenario::Argo(_) => row.is_some(),
        Scenario::Ours(_) => row.is_some_and(Row::keeps_the_invariants),
    });
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn next<T>(waiting: &Mutex<VecDeque<T>>) -> Option<T> {
    waiting.lock().unwrap().pop_front()
}

/// What the stage has besides the cluster and the mesh. Controllers run on this machine, one a namespace.
fn furnish(stage: &stage::Stage) {
    tool(Tool::ArgoRollouts).unwrap_or_else(|error| panic!("{error}"));
    let ours = support::root().join("crds");
    for file in argo_rollouts_crds().unwrap_or_else(|error| panic!("{error}")).into_iter().chain([ours]) {
        stage.kubectl(&["apply", "--server-side", "--filename", &file.display().to_string()]);
    }
    stage.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd/rollouts.argoproj.io"]);
    stage.kubectl(&[
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "crd/microservices.microservice-operator.dev",
    ]);
}
