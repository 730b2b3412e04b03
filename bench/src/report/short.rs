//! The figures in short: in how many rows this operator is far ahead of each other controller, and where it is behind.

use std::fmt::Write;

use super::{
    chart::number,
    figures::{self, Case, Figure, Spread},
    page::{begin_table, measured_in, title_of},
};
use crate::{
    controllers::Controller,
    record::{Row, Run},
};

/// So many times as good is far ahead.
const FAR: f64 = 3.0;

/// How this operator stands to another controller in a row.
#[derive(Debug, PartialEq)]
enum Standing {
    Far,
    Ahead,
    /// How many times this operator's figure the other one's is; 0 for one that has none.
    Behind(f64),
}

/// The tables of all cases that others were measured in.
pub fn tables(page: &mut String, runs: &[Run]) {
    for case in figures::cases(runs) {
        let others: Vec<Controller> =
            measured_in(runs, case).into_iter().filter(|it| *it != Controller::Operator).collect();
        if !others.is_empty() {
            table(page, runs, case, &others);
        }
    }
}

fn table(page: &mut String, runs: &[Run], case: Case, others: &[Controller]) {
    begin_table(page, &title_of(case), others);
    for figure in Figure::ALL {
        let cells: Vec<String> = others.iter().map(|&other| cell(runs, case, figure, other)).collect();
        let _written = writeln!(page, "| {} | {} |", figure.title(), cells.join(" | "));
    }
}

fn cell(runs: &[Run], case: Case, figure: Figure, other: Controller) -> String {
    let of = |controller, row| figures::spread(runs, case, controller, row, figure);
    let compared = |row| Some((row, standing(of(Controller::Operator, row)?, of(other, row)?, figure)?));
    let rows: Vec<(Row, Standing)> =
        Row::ALL.into_iter().filter(|&row| figure.is_of(row)).filter_map(compared).collect();
    let far = rows.iter().filter(|(_, standing)| *standing == Standing::Far).count();
    let mut text = format!("{far} of {}", rows.len());
    let behind = rows.iter().filter_map(|(row, standing)| match standing {
        Standing::Behind(times) => Some(format!("{} {}×", row.title(), number(*times))),
        Standing::Far | Standing::Ahead => None,
    });
    let behind: Vec<String> = behind.collect();
    if !behind.is_empty() {
        let _written = write!(text, "; behind: {}", behind.join(", "));
    }
    text
}

/// None where nobody is ahead, or the figures are too small to be told apart.
fn standing(ours: Spread, theirs: Spread, figure: Figure) -> Option<Standing> {
    match (ours.done.0 >= ours.done.1, theirs.done.0 >= theirs.done.1) {
        (true, true) => {}
        (true, false) => return (figure == Figure::Seconds).then_some(Standing::Far),
        (false, true) => return (figure == Figure::Seconds).then_some(Standing::Behind(1.0 / FAR)),
        (false, false) => return None,
    }
    if figure == Figure::Cpu && !ours.is_base(figure) {
        return None;
    }
    if ours.median == 0.0 {
        return (theirs.median > 0.0).then_some(Standing::Far);
    }
    let times = theirs.median / ours.median;
    Some(if times >= FAR {
        Standing::Far
    } else if times >= 1.0 {
        Standing::Ahead
    } else {
        Standing::Behind(times)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_100(median: f64, done: usize) -> Spread {
        Spread { median, least: median, most: median, done: (done, 100) }
    }

    #[test]
    fn far_ahead_is_three_times_and_nothing_is_less_than_anything() {
        let told = |ours, theirs, figure| standing(of_100(ours, 100), of_100(theirs, 100), figure);
        assert_eq!(told(2.0, 6.0, Figure::Writes), Some(Standing::Far));
        assert_eq!(told(2.0, 5.9, Figure::Writes), Some(Standing::Ahead));
        assert_eq!(told(2.0, 2.0, Figure::Writes), Some(Standing::Ahead));
        assert_eq!(told(2.0, 1.0, Figure::Writes), Some(Standing::Behind(0.5)));
        assert_eq!(told(2.0, 0.0, Figure::Writes), Some(Standing::Behind(0.0)));
        assert_eq!(told(0.0, 2.0, Figure::Writes), Some(Standing::Far));
        assert_eq!(told(0.0, 0.0, Figure::Writes), None);
        assert_eq!(told(0.4, 9.0, Figure::Cpu), None, "a few ticks");
        assert_eq!(standing(of_100(60.0, 100), of_100(60.0, 0), Figure::Seconds), Some(Standing::Far));
        assert_eq!(standing(of_100(60.0, 0), of_100(60.0, 100), Figure::Seconds), Some(Standing::Behind(1.0 / FAR)));
        assert_eq!(standing(of_100(60.0, 0), of_100(60.0, 0), Figure::Seconds), None);
        assert_eq!(standing(of_100(60.0, 100), of_100(6.0, 0), Figure::Writes), None, "of what was not done");
    }
}
