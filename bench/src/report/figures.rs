//! What several rounds come to: medians, spread, and ratios.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    controllers::Controller,
    record::{Ground, Measured, Row, Run},
};

/// What is told of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    Seconds,
    Writes,
    Requests,
    Users,
    Cpu,
    Peak,
}

impl Figure {
    pub const ALL: [Self; 6] = [Self::Seconds, Self::Writes, Self::Requests, Self::Users, Self::Cpu, Self::Peak];

    pub fn title(self) -> &'static str {
        match self {
            Self::Seconds => "Time until all are there, seconds",
            Self::Writes => "Writes of the controller per object",
            Self::Requests => "Requests of the controller per object, without watches",
            Self::Users => "Requests that the users need per object",
            Self::Cpu => "CPU time of the controller per object, milliseconds",
            Self::Peak => "Peak memory of the controller, MiB",
        }
    }

    /// Whether it says something of a row.
    pub fn is_of(self, row: Row) -> bool {
        match self {
            Self::Seconds | Self::Users => !matches!(row, Row::Rest),
            _ => true,
        }
    }

    pub fn of(self, measured: &Measured) -> f64 {
        match self {
            Self::Seconds => measured.seconds,
            Self::Writes => per(measured.writes(), measured.of),
            Self::Requests => per(measured.all_requests(), measured.of),
            Self::Users => per(measured.user_requests, measured.of),
            Self::Cpu => measured.cpu * 1_000.0 / float(measured.of.max(1)),
            Self::Peak => float(usize::try_from(measured.peak).unwrap_or(0)) / 1024.0,
        }
    }
}

fn per(count: usize, of: usize) -> f64 {
    float(count) / float(of.max(1))
}

fn float(count: usize) -> f64 {
    count as f64
}

/// A figure over all rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
    /// How many came to their end, of how many, in the worst round.
    pub done: (usize, usize),
}

/// Milliseconds of CPU time that are told apart well enough to be divided by: Linux counts in ticks of 10.
const LEAST_CPU: f64 = 50.0;

impl Spread {
    /// Whether other figures are told as multiples of it.
    pub fn is_base(self, figure: Figure) -> bool {
        let total = (self.median * float(self.done.1)).round();
        self.median > 0.0 && (figure != Figure::Cpu || total >= LEAST_CPU)
    }
}

/// What is measured of a controller with so many services on a ground.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Case {
    pub ground: Ground,
    pub services: usize,
}

/// The figure of a row over all rounds; none where it was not measured.
pub fn spread(runs: &[Run], case: Case, controller: Controller, row: Row, figure: Figure) -> Option<Spread> {
    let measured: Vec<&Measured> = rows(runs, case, controller, row).collect();
    let mut values: Vec<f64> = measured.iter().map(|it| figure.of(it)).collect();
    values.sort_by(f64::total_cmp);
    let worst = measured.iter().min_by_key(|it| it.done)?;
    Some(Spread {
        median: median(&values)?,
        least: *values.first()?,
        most: *values.last()?,
        done: (worst.done, worst.of),
    })
}

/// Requests of a row per object, by verb and resource and without watches: the medians of all rounds that are not 0.
pub fn kinds(runs: &[Run], case: Case, controller: Controller, row: Row) -> BTreeMap<&str, f64> {
    let measured: Vec<&Measured> = rows(runs, case, controller, row).collect();
    let names: BTreeSet<&str> = measured.iter().flat_map(|it| it.requests.keys()).map(String::as_str).collect();
    let of_name = |name: &str| {
        let count = |it: &&Measured| per(it.requests.get(name).copied().unwrap_or_default(), it.of);
        let mut counts: Vec<f64> = measured.iter().map(count).collect();
        counts.sort_by(f64::total_cmp);
        median(&counts).filter(|it| *it > 0.0)
    };
    let asked = names.into_iter().filter(|name| !name.starts_with("watch "));
    asked.filter_map(|name| Some((name, of_name(name)?))).collect()
}

/// The rows of all rounds.
pub fn rows(runs: &[Run], case: Case, controller: Controller, row: Row) -> impl Iterator<Item = &Measured> {
    rounds(runs, case, controller).flat_map(|run| &run.rows).filter(move |it| it.row == row)
}

/// All rounds of a controller.
pub fn rounds(runs: &[Run], case: Case, controller: Controller) -> impl Iterator<Item = &Run> {
    runs.iter()
        .filter(move |run| run.ground == case.ground && run.services == case.services && run.controller == controller)
}

fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        return sorted.get(middle).copied();
    }
    Some(f64::midpoint(*sorted.get(middle.checked_sub(1)?)?, *sorted.get(middle)?))
}

/// All cases that were measured, in order.
pub fn cases(runs: &[Run]) -> Vec<Case> {
    let mut cases: Vec<Case> = runs.iter().map(|run| Case { ground: run.ground, services: run.services }).collect();
    cases.sort();
    cases.dedup();
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_numbers() {
        assert_eq!(median(&[1.0, 2.0, 9.0]), Some(2.0));
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), Some(3.0));
        assert_eq!(median(&[]), None);
    }

    const CASE: Case = Case { ground: Ground::Whole, services: 10 };

    /// A round in which services were created with these requests.
    fn round(requests: &[(&str, usize)]) -> Run {
        let created = Measured {
            row: Row::Create,
            of: CASE.services,
            done: CASE.services,
            seconds: 1.0,
            cpu: 0.0,
            peak: 0,
            memory: 0,
            requests: requests.iter().map(|&(name, count)| (name.to_owned(), count)).collect(),
            user_requests: 0,
            refused: BTreeMap::new(),
        };
        Run {
            began: jiff::Timestamp::UNIX_EPOCH,
            commit: String::new(),
            machine: None,
            ground: CASE.ground,
            controller: Controller::Operator,
            services: CASE.services,
            round: 1,
            rows: vec![created],
        }
    }

    #[test]
    fn requests_are_told_by_verb_and_resource() {
        let runs = [
            round(&[("create events", 20), ("watch pods", 10)]),
            round(&[("create events", 30), ("get pods", 10), ("watch pods", 10)]),
            round(&[("create events", 25), ("watch pods", 10)]),
        ];
        let told = kinds(&runs, CASE, Controller::Operator, Row::Create);
        assert_eq!(told, BTreeMap::from([("create events", 2.5)]));
        assert_eq!(kinds(&runs, CASE, Controller::Operator, Row::Canary), BTreeMap::new());
    }
}
