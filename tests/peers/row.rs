//! What a round came to.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write},
};

use devcluster::{
    invariants::{Rule, Violation},
    load::{Protocol, Report},
};

/// A line of the table.
pub struct Row {
    sent: u64,
    lost: u64,
    story: String,
    /// Rules of the invariants that its revisions broke.
    broken: Vec<Violation>,
}

impl Row {
    /// Every request sent was answered, or was lost; those that were answered with an error count as lost here.
    pub fn new(reports: &[(Protocol, Report)], story: String, broken: Vec<Violation>) -> Self {
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

    /// Whether no revision broke one.
    pub fn keeps_the_invariants(&self) -> bool {
        self.broken.is_empty()
    }
}

/// A few losses are told one by one.
const FEW: usize = 3;

/// Why requests were lost, with the version that began to answer if one did.
fn reasons(reports: &[(Protocol, Report)]) -> BTreeMap<String, u64> {
    let all: Vec<_> = reports.iter().flat_map(|(_, report)| report.lost_requests()).collect();
    let mut reasons = BTreeMap::new();
    for lost in &all {
        let of = lost.version.as_deref().filter(|it| !it.is_empty()).map_or_else(String::new, |it| format!(" of {it}"));
        let detail = if all.len() <= FEW { format!(" at {:.1?}: {}", lost.at, lost.message) } else { String::new() };
        *reasons.entry(format!("{}{of}{detail}", lost.kind)).or_default() += 1;
    }
    reasons
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} requests lost; {}", self.lost, self.sent, self.story)?;
        write!(f, "; revisions that break an invariant: {}", counted(self.broken.iter()))?;
        // One of a kind is enough to look it up.
        let mut told = BTreeSet::new();
        let first = self.broken.iter().filter(|it| told.insert(it.rule));
        first.into_iter().try_for_each(|it| write!(f, "\n  {it}"))
    }
}

fn counted<'a>(broken: impl Iterator<Item = &'a Violation>) -> String {
    let mut counts = BTreeMap::<Rule, usize>::new();
    for violation in broken {
        *counts.entry(violation.rule).or_default() += 1;
    }
    if counts.is_empty() {
        return "none".to_owned();
    }
    counts.iter().map(|(rule, count)| format!("{rule:?} {count}")).collect::<Vec<_>>().join(", ")
}

/// The rounds as Markdown, and then how often each rule was broken in them.
pub fn table(rows: &[(String, usize, Option<&Row>)]) -> String {
    let mut text = String::from("| scenario | round | sent | lost | what happened |\n|---|---|---|---|---|\n");
    let mut all = BTreeMap::<&str, Vec<&Violation>>::new();
    for (title, round, row) in rows {
        let _written = match row {
            Some(Row { sent, lost, story, .. }) => writeln!(text, "| {title} | {round} | {sent} | {lost} | {story} |"),
            None => writeln!(text, "| {title} | {round} | | | could not be measured |"),
        };
        all.entry(title).or_default().extend(row.iter().flat_map(|row| &row.broken));
    }
    text.push_str("\n| scenario | revisions that break an invariant, by rule |\n|---|---|\n");
    for (title, broken) in &all {
        let _written = writeln!(text, "| {title} | {} |", counted(broken.iter().copied()));
    }
    text
}
