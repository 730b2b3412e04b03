//! The page of results, in Markdown.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use clap::ValueEnum;

use super::{
    chart::{self, number},
    figures::{self, Case, Figure, Spread},
    short,
};
use crate::{
    controllers::Controller,
    record::{Ground, Row, Run},
};

const HEAD: &str = include_str!("head.md");
const ROWS: &str = include_str!("rows.md");
const TAIL: &str = include_str!("tail.md");

/// The whole page.
pub fn page(runs: &[Run]) -> String {
    let mut page = HEAD.to_owned();
    short::tables(&mut page, runs);
    page += ROWS;
    for case in figures::cases(runs) {
        section(&mut page, runs, case);
    }
    page + TAIL
}

pub fn title_of(case: Case) -> String {
    let services = number(f64::from(u32::try_from(case.services).unwrap_or(0)));
    let ground = match case.ground {
        Ground::Whole => "on a whole cluster",
        Ground::Filled => "the controller alone",
    };
    format!("{services} services, {ground}")
}

fn section(page: &mut String, runs: &[Run], case: Case) {
    let controllers = measured_in(runs, case);
    let _written = writeln!(page, "\n## {}\n", title_of(case));
    rounds(page, runs, case, &controllers);
    for (name, figure, _) in chart_names(case) {
        let _written = writeln!(page, "![{}](performance/{name})", figure.title());
    }
    for figure in Figure::ALL {
        table(page, runs, case, figure, &controllers);
    }
    kinds(page, runs, case, &controllers);
    refused(page, runs, case, &controllers);
}

/// When each controller was measured, and at which versions of the code.
fn rounds(page: &mut String, runs: &[Run], case: Case, controllers: &[Controller]) {
    let _written = writeln!(page, "| | rounds | began (UTC), at which commit, on what |\n|---|---|---|");
    for &controller in controllers {
        let mut all: Vec<&Run> = figures::rounds(runs, case, controller).collect();
        all.sort_by_key(|run| run.began);
        let began = |run: &&Run| {
            let machine = run.machine.as_ref().map(|it| format!(" on {it}")).unwrap_or_default();
            format!("{} at {}{machine}", run.began.strftime("%Y-%m-%d %H:%M"), run.commit)
        };
        let told: Vec<String> = all.iter().map(began).collect();
        let _written = writeln!(page, "| {} | {} | {} |", controller.title(), all.len(), told.join("; "));
    }
    page.push('\n');
}

fn table(page: &mut String, runs: &[Run], case: Case, figure: Figure, controllers: &[Controller]) {
    begin_table(page, figure.title(), controllers);
    for row in Row::ALL.into_iter().filter(|&row| figure.is_of(row)) {
        let ours = figures::spread(runs, case, Controller::Operator, row, figure);
        let cells: Vec<String> = controllers
            .iter()
            .map(|&it| cell(figures::spread(runs, case, it, row, figure), ours, it, figure))
            .collect();
        let _written = writeln!(page, "| {} | {} |", row.title(), cells.join(" | "));
    }
}

/// A title, and a column for each controller.
pub fn begin_table(page: &mut String, title: &str, controllers: &[Controller]) {
    let _written = writeln!(page, "\n**{title}**\n");
    let titles: Vec<_> = controllers.iter().map(|it| it.title()).collect();
    let _written = writeln!(page, "| | {} |\n|---|{}", titles.join(" | "), "---|".repeat(titles.len()));
}

/// Rows whose requests are told by verb and resource.
const TOLD: [Row; 3] = [Row::Create, Row::Canary, Row::Promote];

/// What the requests are, in these rows.
fn kinds(page: &mut String, runs: &[Run], case: Case, controllers: &[Controller]) {
    let rows = TOLD.map(Row::title).join(" / ");
    begin_table(page, &format!("Requests by verb and kind per object, without watches: {rows}"), controllers);
    let of_rows = |controller: Controller| TOLD.map(|row| figures::kinds(runs, case, controller, row));
    let all: Vec<[BTreeMap<&str, f64>; 3]> = controllers.iter().map(|&it| of_rows(it)).collect();
    let requests: BTreeSet<&str> = all.iter().flatten().flat_map(|kinds| kinds.keys().copied()).collect();
    for request in requests {
        let cells: Vec<String> = all.iter().map(|rows| counts(rows, request)).collect();
        let _written = writeln!(page, "| {request} | {} |", cells.join(" | "));
    }
}

/// How often something is asked for in each row; nothing where it never is.
fn counts(rows: &[BTreeMap<&str, f64>], request: &str) -> String {
    if rows.iter().all(|kinds| !kinds.contains_key(request)) {
        return String::new();
    }
    let each: Vec<String> = rows.iter().map(|kinds| number(kinds.get(request).copied().unwrap_or_default())).collect();
    each.join(" / ")
}

/// Median, spread, and how many times ours that is, where ours is enough to say so.
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
    let is_told = |it: &Spread| controller != Controller::Operator && it.is_base(figure) && spread.median > 0.0;
    if let Some(ours) = ours.filter(is_told) {
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

pub fn measured_in(runs: &[Run], case: Case) -> Vec<Controller> {
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
    chart::bars(&format!("{}: {} (logarithmic)", figure.title(), title_of(case)), &groups, &series)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_100(median: f64) -> Option<Spread> {
        Some(Spread { median, least: median, most: median, done: (100, 100) })
    }

    #[test]
    fn nothing_is_divided_by_a_few_ticks() {
        let told = |theirs, ours, figure| cell(of_100(theirs), of_100(ours), Controller::Argo, figure);
        assert_eq!(told(41.9, 0.1, Figure::Cpu), "41.9");
        assert_eq!(told(41.9, 0.4, Figure::Cpu), "41.9");
        assert_eq!(told(41.9, 0.5, Figure::Cpu), "41.9 · 83.8×");
        assert_eq!(told(2.0, 0.1, Figure::Writes), "2 · 20×");
        assert_eq!(told(2.0, 0.0, Figure::Writes), "2");
        assert_eq!(cell(of_100(8.9), of_100(8.9), Controller::Operator, Figure::Cpu), "8.9");
    }
}
