//! What a round came to.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
};

use devcluster::{
    invariants::Rule,
    load::{Protocol, Report},
};

/// A line of the table.
pub struct Row {
    sent: u64,
    lost: u64,
    story: String,
    /// Rules of the invariants that its revisions broke.
    broken: Option<Vec<Rule>>,
}

impl Row {
    /// Every request sent was answered, or was lost; those that were answered with an error count as lost here.
    pub fn new(reports: &[(Protocol, Report)], story: String, broken: Option<Vec<Rule>>) -> Self {
        for (protocol, report) in reports {
            assert_eq!(report.sent, report.answers() + report.lost.len() as u64, "{protocol:?}: {report}");
        }
        let sum = |count: fn(&Report) -> u64| reports.iter().map(|(_, report)| count(report)).sum::<u64>();
        let mut parts: Vec<String> = Some(story).into_iter().filter(|story| !story.is_empty()).collect();
        for (reason, count) in reasons(reports) {
            parts.push(format!("{count} × {reason}"));
        }
        for (what, count) in [
            ("not sent, as too many were in flight", sum(|it| it.skipped)),
            ("streams broken", sum(|it| it.streams.broken)),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        Self { sent: sum(|it| it.sent), lost: sum(Report::failures), story: parts.join("; "), broken }
    }
}

/// Why requests were lost, with the version that began to answer if one did.
fn reasons(reports: &[(Protocol, Report)]) -> BTreeMap<String, u64> {
    let mut reasons = BTreeMap::new();
    for lost in reports.iter().flat_map(|(_, report)| report.lost_requests()) {
        let of = lost.version.as_deref().filter(|it| !it.is_empty()).map_or_else(String::new, |it| format!(" of {it}"));
        *reasons.entry(format!("{}{of}", lost.kind)).or_default() += 1;
    }
    reasons
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} requests lost; {}", self.lost, self.sent, self.story)?;
        match &self.broken {
            Some(broken) if !broken.is_empty() => write!(f, "; invariants: {}", counted(broken)),
            _ => Ok(()),
        }
    }
}

fn counted(broken: &[Rule]) -> String {
    let mut counts = BTreeMap::<Rule, usize>::new();
    for rule in broken {
        *counts.entry(*rule).or_default() += 1;
    }
    counts.iter().map(|(rule, count)| format!("{rule:?} {count}")).collect::<Vec<_>>().join(", ")
}

/// The rounds as Markdown, and then how often each rule was broken.
pub fn table(rows: &[(String, usize, Option<&Row>)]) -> String {
    let mut text = String::from("| scenario | round | sent | lost | what happened |\n|---|---|---|---|---|\n");
    let mut all = BTreeMap::<&str, Vec<Rule>>::new();
    for (title, round, row) in rows {
        let _written = match row {
            Some(Row { sent, lost, story, .. }) => writeln!(text, "| {title} | {round} | {sent} | {lost} | {story} |"),
            None => writeln!(text, "| {title} | {round} | | | could not be measured |"),
        };
        if let Some(broken) = row.and_then(|row| row.broken.as_ref()) {
            all.entry(title).or_default().extend(broken);
        }
    }
    text.push_str("\n| scenario | revisions that break an invariant, by rule, all rounds |\n|---|---|\n");
    for (title, broken) in &all {
        let _written =
            writeln!(text, "| {title} | {} |", if broken.is_empty() { "none".into() } else { counted(broken) });
    }
    let total: Vec<Rule> = all.into_values().flatten().collect();
    let _written = writeln!(text, "| all | {} |", if total.is_empty() { "none".into() } else { counted(&total) });
    text
}
