//! Rules of rollout policies.

use super::{Placed, one_of, rule, told, told_at};

pub(in super::super) fn policy() -> Vec<Placed> {
    const WEIGHTS: &str = "self.steps.filter(s, has(s.weight)).map(s, s.weight)";
    const FROM: &str = "(has(self.from) ? self.from : '00:00')";
    const TO: &str = "(has(self.to) ? self.to : '24:00')";
    vec![
        told_at(
            ".rollout",
            rule(
                "spec",
                "!has(self.rollout) || (has(self.ports) && self.ports.size() > 0)",
                "a worker has no ports, and so no requests whose weights could travel: remove rollout",
            ),
        ),
        rule(
            "spec.rollout",
            one_of(&["steps", "stepWeight"]),
            "say how the weights travel: either steps, or the short form of stepWeight and interval",
        ),
        rule(
            "spec.rollout",
            "has(self.stepWeight) == has(self.interval)",
            "stepWeight and interval go together: how far each step goes, and how long it lasts",
        ),
        rule(
            "spec.rollout",
            "!has(self.maxWeight) || has(self.stepWeight)",
            "maxWeight belongs to the short form: give stepWeight and interval, or remove it",
        ),
        told(
            "spec.rollout",
            "!has(self.maxWeight) || !has(self.stepWeight) || self.maxWeight >= self.stepWeight",
            "maxWeight %d is less than stepWeight %d: the first step would go past it",
            &["self.maxWeight", "self.stepWeight"],
        ),
        told_at(
            ".steps",
            told(
                "spec.rollout",
                format!("!has(self.steps) || {WEIGHTS}.isSorted()"),
                "the weights of the steps must not go down, but they are %s: an abort goes back, a step does not",
                &[WEIGHTS],
            ),
        ),
        told(
            "spec.rollout.windows[]",
            format!("{FROM} != {TO}"),
            "the window begins and ends at %s, which leaves it no time: leave from and to out for whole days",
            &[FROM],
        ),
        told(
            "spec.rollout.windows[]",
            "!has(self.days) || self.days.all(d, self.days.exists_one(e, e == d))",
            "a day is listed more than once: %s",
            &["self.days"],
        ),
        told(
            "spec.rollout.webhooks[]",
            "self.at.all(m, self.at.exists_one(n, n == m))",
            "a moment is listed more than once: %s",
            &["self.at"],
        ),
        rule(
            "spec.rollout.steps[]",
            one_of(&["weight", "pause", "analysis"]),
            "a step is one thing: give one of weight, pause and analysis",
        ),
        told_at(
            ".analysis.count",
            rule(
                "spec.rollout",
                "!has(self.analysis) || !has(self.analysis.count)",
                "count belongs to an analysis that is a step; this one goes on all along the way: remove it",
            ),
        ),
    ]
}
