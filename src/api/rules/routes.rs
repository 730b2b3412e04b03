//! Rules of `routes`.

use super::{Placed, first, first_here, none, none_here, one_of, rule, told, told_at};

/// Rules that look at all routes together, and at versions and ports.
pub(super) fn lists() -> Vec<Placed> {
    const UNKNOWN: &str = "r, (has(r.version) && !self.versions.exists(v, v.name == r.version)) || \
                           (has(r.weights) && r.weights.exists(w, !self.versions.exists(v, v.name == w.version)))";
    const PORT: &str = "r, r.match.exists(m, has(m.port) && \
                        (!has(self.ports) || !self.ports.exists(p, p.port == m.port && p.protocol != 'TCP')))";
    const TWICE: &str = "r, !self.exists_one(s, s.name == r.name)";
    let twice = told(
        "spec.routes",
        none_here(TWICE),
        "route %s is listed more than once: every route needs a name of its own",
        &[&format!("{}.name", first_here(TWICE))],
    );
    [
        told(
            "spec",
            format!("!has(self.routes) || !has(self.versions) || !self.routes.exists({UNKNOWN})"),
            "route %s refers to a version that is not in versions, which has %s",
            &[&format!("{}.name", first("routes", UNKNOWN)), "self.versions.map(v, v.name)"],
        ),
        told(
            "spec",
            none("routes", PORT),
            "route %s matches a port that is not an HTTP, HTTP2 or GRPC port of the service",
            &[&format!("{}.name", first("routes", PORT))],
        ),
        rule(
            "spec",
            "!has(self.routes) || self.routes.size() == 0 || (has(self.ports) && self.ports.exists(p, p.protocol != 'TCP'))",
            "routes need at least one port whose protocol is HTTP, HTTP2 or GRPC",
        ),
    ]
    .into_iter()
    .map(|placed| told_at(".routes", placed))
    .chain([twice])
    .collect()
}

/// Rules of each route by itself.
pub(super) fn entries() -> Vec<Placed> {
    const SUM: &str = "self.weights.map(w, w.weight).sum()";
    const TWICE: &str = "w, !self.weights.exists_one(x, x.version == w.version)";
    vec![
        rule(
            "spec.routes[].name",
            "self != 'default'",
            "default is the name of the operator's own route: choose another",
        ),
        told(
            "spec.routes[]",
            "has(self.version) != (has(self.weights) && self.weights.size() > 0)",
            "route %s needs exactly one of version and weights",
            &["self.name"],
        ),
        told_at(
            ".weights",
            told(
                "spec.routes[]",
                format!("!has(self.weights) || self.weights.size() == 0 || {SUM} == 100"),
                "the weights of route %s must sum to 100, but sum to %d",
                &["self.name", SUM],
            ),
        ),
        told_at(
            ".weights",
            told(
                "spec.routes[]",
                none("weights", TWICE),
                "route %s lists version %s more than once in its weights",
                &["self.name", &format!("{}.version", first("weights", TWICE))],
            ),
        ),
    ]
}

/// Rules of what a route and a step of a rollout match.
pub(super) fn matches() -> Vec<Placed> {
    ["spec.routes[].match[]", "spec.rollout.steps[].match[]"].into_iter().flat_map(entry).collect()
}

/// Rules of one entry of a match.
fn entry(place: &str) -> Vec<Placed> {
    let mut rules = vec![
        rule(
            place,
            "(has(self.headers) && self.headers.size() > 0) || has(self.path) || has(self.method) || \
             (has(self.query) && self.query.size() > 0) || has(self.port)",
            "a match needs at least one of headers, path, method, query and port: empty, it would take every request",
        ),
        told(
            format!("{place}.path"),
            "!has(self.exact) || self.exact.startsWith('/')",
            "a path starts with /, but this is %s",
            &["self.exact"],
        ),
        told(
            format!("{place}.path"),
            "!has(self.prefix) || self.prefix.startsWith('/')",
            "a path starts with /, but this is %s",
            &["self.prefix"],
        ),
        told(
            format!("{place}.method"),
            "!has(self.exact) || self.exact.matches('^[A-Z][-A-Z]*$')",
            "methods are in upper case, but this is %s",
            &["self.exact"],
        ),
    ];
    rules.extend(["path", "method", "headers{}", "query{}"].map(|value| {
        rule(
            format!("{place}.{value}"),
            one_of(&["exact", "prefix", "regex"]),
            "a value is matched by exactly one of exact, prefix and regex",
        )
    }));
    rules
}
