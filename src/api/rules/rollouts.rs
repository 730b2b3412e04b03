//! Rules of rollout policies.

use super::{Placed, none, one_of, rule, told, told_at};

pub(in super::super) fn policy() -> Vec<Placed> {
    const WEIGHTS: &str = "self.filter(s, has(s.weight)).map(s, s.weight)";
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
        told_at(
            ".rollout.rollbackWindow",
            rule(
                "spec",
                "!has(self.rollout) || !has(self.rollout.rollbackWindow) || has(self.image)",
                "rollbackWindow is about the revisions of an image: remove it, as the weights of versions say where they \
                 go",
            ),
        ),
        rule(
            "spec.rollout.rollbackWindow",
            "has(self.revisions) || has(self.duration)",
            "say how far back the window reaches: give revisions, duration, or both",
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
        told(
            "spec.rollout.steps",
            format!("{WEIGHTS}.isSorted()"),
            "the weights of the steps must not go down, but they are %s: an abort goes back, a step does not",
            &[WEIGHTS],
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
            one_of(&["weight", "pause", "analysis", "match", "mirror", "scale"]),
            "a step is one thing: give exactly one of weight, pause, analysis, match, mirror and scale",
        ),
        told_at(
            ".count",
            rule(
                "spec.rollout.analysis",
                "!has(self.count)",
                "count belongs to an analysis that is a step; this one goes on all along the way: remove it",
            ),
        ),
        rule(
            "spec.rollout.steps[].scale",
            one_of(&["replicas", "percent"]),
            "a number of pods is given in one way: either replicas or percent",
        ),
    ]
}

/// Rules of what steps do with requests, which only HTTP has.
pub(in super::super) fn requests() -> Vec<Placed> {
    const CONCERNED: &str = "s, has(s.match) || has(s.mirror)";
    const PORT: &str = "s, has(s.match) && s.match.exists(m, has(m.port) && \
                        (!has(self.ports) || !self.ports.exists(p, p.port == m.port && p.protocol != 'TCP')))";
    let http = "(has(self.ports) && self.ports.exists(p, p.protocol != 'TCP'))";
    let at_steps = |placed| told_at(".rollout.steps", placed);
    let affinity = [
        told_at(
            ".rollout.sessionAffinity",
            rule(
                "spec",
                format!("!has(self.rollout) || !has(self.rollout.sessionAffinity) || {http}"),
                "cookies need at least one port whose protocol is HTTP, HTTP2 or GRPC: remove sessionAffinity",
            ),
        ),
        rule(
            "spec.rollout.sessionAffinity.cookie",
            "!has(self.maxAge) || duration(self.maxAge) >= duration('1s')",
            "clients count the age of a cookie in seconds: maxAge must be 1s or more",
        ),
    ];
    [
        rule(
            "spec",
            format!("!has(self.rollout) || {} || {http}", none("rollout.steps", CONCERNED)),
            "steps that match or mirror requests need at least one port whose protocol is HTTP, HTTP2 or GRPC",
        ),
        rule(
            "spec",
            format!("!has(self.rollout) || {}", none("rollout.steps", PORT)),
            "a step matches a port that is not an HTTP, HTTP2 or GRPC port of the service",
        ),
    ]
    .into_iter()
    .map(at_steps)
    .chain(affinity)
    .collect()
}
