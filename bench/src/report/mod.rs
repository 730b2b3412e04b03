//! Files of results, and the page that is made of them.

mod chart;
mod figures;
mod page;
mod short;

use std::{
    cmp::Reverse,
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use serde::Serialize;

use crate::{error::Error, record::Run};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where results are kept.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("results")
}

/// Where results are kept that are no complete ones, or not yet.
pub fn looks() -> PathBuf {
    root().join("target").join("bench")
}

/// Where it is kept what faults did.
pub fn stories() -> PathBuf {
    folder().join("faults").join("stories.json")
}

/// Writes results, such as those so far.
pub fn save<T: Serialize + ?Sized>(path: &Path, results: &T) -> Result<(), Error> {
    let record = |source| Error::Record { path: path.to_path_buf(), source };
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(Error::io(format!("make {}", folder.display())))?;
    write_file(path, &(serde_json::to_string_pretty(results).map_err(record)? + "\n"))
}

/// The version of the code, and whether all of it is committed.
pub fn commit() -> String {
    let arguments = ["describe", "--always", "--dirty", "--exclude", "*"];
    let asked = Command::new("git").args(arguments).current_dir(folder()).output();
    asked.map(|it| String::from_utf8_lossy(&it.stdout).trim().to_owned()).unwrap_or_default()
}

/// Writes the page and its charts from all files of results.
pub fn write() -> Result<(), Error> {
    let runs = load()?;
    let docs = root().join("docs");
    write_file(&docs.join("performance.md"), &page::page(&runs))?;
    let charts = docs.join("performance");
    fs::create_dir_all(&charts).map_err(Error::io(format!("make {}", charts.display())))?;
    for (name, chart) in page::charts(&runs) {
        write_file(&charts.join(name), &chart)?;
    }
    Ok(())
}

fn load() -> Result<Vec<Run>, Error> {
    let read = || -> io::Result<Vec<PathBuf>> {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(folder())?.map(|it| it.map(|it| it.path())).collect::<io::Result<_>>()?;
        paths.retain(|path| path.extension().is_some_and(|it| it == "json"));
        paths.sort();
        Ok(paths)
    };
    let mut runs = Vec::new();
    for path in read().map_err(Error::io(format!("list {}", folder().display())))? {
        let text = fs::read_to_string(&path).map_err(Error::io(format!("read {}", path.display())))?;
        let of_file: Vec<Run> =
            serde_json::from_str(&text).map_err(|source| Error::Record { path: path.clone(), source })?;
        runs.extend(of_file);
    }
    Ok(newest(runs))
}

/// Of a round that two files have, the one that was measured last. So complete results take the place of those that were
/// measured apart, and more rounds are added to them under further numbers.
fn newest(mut runs: Vec<Run>) -> Vec<Run> {
    runs.sort_by_key(|run| Reverse(run.began));
    let mut seen = BTreeSet::new();
    runs.retain(|run| seen.insert((run.ground, run.services, run.controller, run.round)));
    runs.reverse();
    runs
}

fn write_file(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::io(format!("write {}", path.display())))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{controllers::Controller, record::Ground};

    fn run(services: usize, round: usize, began: i64) -> Run {
        Run {
            began: Timestamp::from_second(began).unwrap(),
            commit: String::new(),
            machine: None,
            ground: Ground::Whole,
            controller: Controller::Operator,
            services,
            round,
            rows: Vec::new(),
        }
    }

    #[test]
    fn a_round_that_two_files_have_counts_once() {
        let runs = newest(vec![run(100, 1, 3), run(1_000, 1, 4), run(1_000, 1, 1), run(1_000, 2, 2)]);
        let left: Vec<_> = runs.iter().map(|run| (run.services, run.round, run.began.as_second())).collect();
        assert_eq!(left, [(1_000, 2, 2), (100, 1, 3), (1_000, 1, 4)]);
    }
}
