//! The page of results, in Markdown.

use std::{collections::BTreeSet, fmt::Write};

use clap::ValueEnum;

use super::{
    chart::{self, number},
    figures::{self, Case, Figure, Spread},
};
use crate::{
    controllers::Controller,
    record::{Ground, Row, Run},
};

const HEAD: &str = include_str!("head.md");
const TAIL: &str = include_str!("tail.md");

/// The whole page.
pub fn page(runs: &[Run]) -> String {
    let mut page = HEAD.replace("{measured}", &measured(runs));
    for case in figures::cases(runs) {
        section(&mut page, runs, case);
    }
    page + TAIL
}

/// When, and of what.
fn measured(runs: &[Run]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for ground in [Ground::Whole, Ground::Filled] {
        let of: Vec<&Run> = runs.iter().filter(|run| run.ground == ground).collect();
        let (Some(first), Some(last)) = (of.iter().min_by_key(|it| it.began), of.iter().max_by_key(|it| it.began))
        else {
            continue;
        };
        let commits: BTreeSet<&str> = of.iter().map(|run| run.commit.as_str()).collect();
        parts.push(format!(
            "{} from {} to {} at {} {}",
            title(ground),
            first.began.strftime("%Y-%m-%d %H:%M"),
            last.began.strftime("%Y-%m-%d %H:%M UTC"),
            if commits.len() == 1 { "commit" } else { "commits" },
            Vec::from_iter(commits).join(", ")
        ));
    }
    parts.join("; ")
}

fn title(ground: Ground) -> &'static str {
    match ground {
        Ground::Whole => "on a whole cluster",
        Ground::Filled => "the controller alone",
    }
}

fn section(page: &mut String, runs: &[Run], case: Case) {
    let controllers = measured_in(runs, case);
    let rounds = |controller: Controller| figures::rows(runs, case, controller, Row::Create).count();
    let most = controllers.iter().map(|&it| rounds(it)).max().unwrap_or(0);
    let services = number(f64::from(u32::try_from(case.services).unwrap_or(0)));
    let _written = writeln!(page, "\n## {services} services, {}: rounds: {most}\n", title(case.ground));
    for &fewer in controllers.iter().filter(|&&it| rounds(it) < most) {
        let _written = writeln!(page, "{}: rounds: {}.\n", fewer.title(), rounds(fewer));
    }
    for (name, figure, _) in chart_names(case) {
        let _written = writeln!(page, "![{}](performance/{name})", figure.title());
    }
    for figure in Figure::ALL {
        table(page, runs, case, figure, &controllers);
    }
    refused(page, runs, case, &controllers);
}

fn table(page: &mut String, runs: &[Run], case: Case, figure: Figure, controllers: &[Controller]) {
    let _written = writeln!(page, "\n**{}**\n", figure.title());
    let titles: Vec<_> = controllers.iter().map(|it| it.title()).collect();
    let _written = writeln!(page, "| | {} |\n|---|{}", titles.join(" | "), "---|".repeat(titles.len()));
    for row in Row::ALL.into_iter().filter(|&row| figure.is_of(row)) {
        let ours = figures::spread(runs, case, Controller::Operator, row, figure);
        let cells: Vec<String> = controllers
            .iter()
            .map(|&it| cell(figures::spread(runs, case, it, row, figure), ours, it, figure))
            .collect();
        let _written = writeln!(page, "| {} | {} |", row.title(), cells.join(" | "));
    }
}

/// Median, spread, and how many times ours that is.
fn cell(spread: Option<Spread>, ours: Option<Spread>, controller: Controller, figure: Figure) -> String {
    let Some(spread) = spread else { return String::new() };
    let (done, of) = spread.done;
    if figure == Figure::Seconds && done < of {
        return format!("{done} of {of} in {} s", number(spread.most));
    }
    let mut text = number(spread.median);
    let (least, most) = (number(spread.least), number(spread.most));
    if least != most {
        let _written = write!(text, " ({least}–{most})");
    }
    if let Some(ours) = ours.filter(|it| controller != Controller::Operator && it.median > 0.0 && spread.median > 0.0) {
        let _written = write!(text, " · {}×", number(spread.median / ours.median));
    }
    text
}

fn refused(page: &mut String, runs: &[Run], case: Case, controllers: &[Controller]) {
    for &controller in controllers {
        for row in Row::ALL {
            let Some(first) = figures::rows(runs, case, controller, row).find(|it| !it.refused.is_empty()) else {
                continue;
            };
            let count: usize = first.refused.values().sum();
            let said = first.refused.keys().next().cloned().unwrap_or_default().replace('\n', " ");
            let _written = writeln!(
                page,
                "\n{}, {}: {count} requests of the users were refused, the first with: `{}`",
                controller.title(),
                row.title(),
                said.chars().take(300).collect::<String>()
            );
        }
    }
}

fn measured_in(runs: &[Run], case: Case) -> Vec<Controller> {
    let is_there = |it: &&Controller| figures::rows(runs, case, **it, Row::Create).next().is_some();
    Controller::value_variants().iter().filter(is_there).copied().collect()
}

const COLOURS: [&str; 5] = ["#1b7f4b", "#d9822b", "#f0c48a", "#3d6fb4", "#a9c3e6"];

fn chart_names(case: Case) -> Vec<(String, Figure, Vec<Row>)> {
    let ground = if case.ground == Ground::Whole { "whole" } else { "filled" };
    let rows = vec![Row::Create, Row::Canary, Row::Step, Row::Promote, Row::Drift, Row::Restart];
    [(Figure::Writes, "writes"), (Figure::Cpu, "cpu"), (Figure::Seconds, "seconds"), (Figure::Peak, "memory")]
        .into_iter()
        .map(|(figure, name)| (format!("{ground}-{}-{name}.svg", case.services), figure, rows.clone()))
        .collect()
}

/// All charts by the names of their files.
pub fn charts(runs: &[Run]) -> Vec<(String, String)> {
    let of_case = |case: Case| chart_names(case).into_iter().map(move |it| (case, it));
    let all = figures::cases(runs).into_iter().flat_map(of_case);
    all.map(|(case, (name, figure, rows))| (name, draw(runs, case, figure, &rows))).collect()
}

fn draw(runs: &[Run], case: Case, figure: Figure, rows: &[Row]) -> String {
    let series: Vec<chart::Series<'_>> = measured_in(runs, case)
        .into_iter()
        .map(|controller| chart::Series {
            title: controller.title(),
            colour: COLOURS[controller.tenant() % COLOURS.len()],
            values: rows
                .iter()
                .map(|&row| figures::spread(runs, case, controller, row, figure).map(|it| it.median))
                .collect(),
        })
        .collect();
    let groups: Vec<&str> = rows.iter().map(|row| row.title()).collect();
    let services = number(f64::from(u32::try_from(case.services).unwrap_or(0)));
    chart::bars(&format!("{}, {services} services", figure.title()), &groups, &series)
}
