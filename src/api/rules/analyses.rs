//! Rules of analyses.

use super::{Placed, one_of, rule, told, told_at};

/// Where analyses stand.
const ANALYSES: [&str; 2] = ["spec.rollout.analysis", "spec.rollout.steps[].analysis"];

pub(in super::super) fn analyses() -> Vec<Placed> {
    ANALYSES.iter().flat_map(|path| analysis(path)).collect()
}

fn analysis(path: &str) -> Vec<Placed> {
    let metric = format!("{path}.metrics[]");
    vec![
        told_at(
            ".interval",
            told(
                path,
                "!has(self.interval) || duration(self.interval) >= duration('1s')",
                "an interval of %s is too short: measure at most once a second",
                &["self.interval"],
            ),
        ),
        rule(
            &metric,
            one_of(&["kind", "query"]),
            "a metric is either ready-made or a query of your own: give either kind or query",
        ),
        rule(
            &metric,
            "has(self.min) || has(self.max) || has(self.baseline)",
            "nothing is asked of the metric: give min, max or baseline",
        ),
        told(
            &metric,
            "!has(self.min) || !has(self.max) || self.min <= self.max",
            "min %s is more than max %s: nothing can pass",
            &["self.min", "self.max"],
        ),
        told_at(
            ".baseline",
            rule(
                &metric,
                "!has(self.baseline) || has(self.baseline.maxDecrease) || has(self.baseline.maxIncrease)",
                "say how much it may differ from the version that served before: maxDecrease, maxIncrease or both",
            ),
        ),
    ]
}
