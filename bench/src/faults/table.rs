//! The results as a table of Markdown.

use super::{Kind, Results, Tally};

/// One row for each controller and kind of disturbance.
pub fn table(results: &Results) -> String {
    let mut lines = vec![
        "| | disturbed by | stories | killed in | as without faults | stuck | other objects | created or deleted again | broke a rule | ended by itself |"
            .to_owned(),
        "|---|---|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    for (controller, kinds) in results {
        for (kind, tally) in kinds {
            lines.push(format!("| {} | {} | {} |", controller.title(), words(*kind), cells(*kind, tally)));
        }
    }
    lines.join("\n")
}

fn words(kind: Kind) -> &'static str {
    match kind {
        Kind::Clean => "nothing",
        Kind::Killed => "a kill at a write",
        Kind::Errors => "errors, old lists, bad watches",
        Kind::Silence => "the same, and answers that never come",
    }
}

fn cells(kind: Kind, tally: &Tally) -> String {
    let broken: Vec<String> = tally.broken.iter().map(|(rule, count)| format!("{rule} {count}")).collect();
    let broken = if broken.is_empty() { "0".to_owned() } else { broken.join(", ") };
    let Tally { stories, killed, kills, clean, stuck, other, again, ended, .. } = tally;
    let killed = if kind == Kind::Killed { format!("{killed} ({kills} kills)") } else { String::new() };
    format!("{stories} | {killed} | {clean} | {stuck} | {other} | {again} | {broken} | {ended}")
}
