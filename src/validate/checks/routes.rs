//! Routes, and steps of rollouts: what they match with.

use std::collections::BTreeMap;

use axum::http::StatusCode;

use crate::{
    api::{MatchValue, MicroserviceSpec, Route, RouteMatch},
    validate::{Problem, Validated, re2},
};

/// How many regular expressions a service may have: every proxy of the mesh keeps all of them compiled.
const MAX_PATTERNS: usize = 256;

/// Every match of every route and step with its path.
fn matches(spec: &MicroserviceSpec) -> impl Iterator<Item = (String, &RouteMatch)> {
    let of_route = |route: &Route| format!("spec.routes[{}]", route.name);
    let routes = spec.routes.iter().map(move |route| (of_route(route), &route.matches));
    let steps = spec.rollout.iter().flat_map(|rollout| rollout.steps.iter().enumerate());
    let steps = steps.map(|(index, step)| (format!("spec.rollout.steps[{index}]"), &step.matches));
    routes.chain(steps).flat_map(|(place, matches)| {
        matches.iter().enumerate().map(move |(index, entry)| (format!("{place}.match[{index}]"), entry))
    })
}

/// Regular expressions are RE2: without look-around and back references.
pub(super) fn patterns_compile(spec: &MicroserviceSpec, _: &Validated) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut patterns = 0;
    for (path, entry) in matches(spec) {
        let RouteMatch { headers, path: request_path, method, query, port: _ } = entry;
        let named = |map: &'_ BTreeMap<String, MatchValue>, field: &str| -> Vec<(String, MatchValue)> {
            map.iter().map(|(name, value)| (format!("{path}.{field}[{name}]"), value.clone())).collect()
        };
        let mut values = named(headers, "headers");
        values.extend(named(query, "query"));
        values.extend(request_path.iter().map(|value| (format!("{path}.path"), value.clone())));
        values.extend(method.iter().map(|value| (format!("{path}.method"), value.clone())));
        problems.extend(values.iter().filter_map(|(path, value)| {
            let regex = value.regex.as_ref()?;
            patterns += 1;
            let reason = re2::problem(regex)?;
            Some(Problem::new(
                format!("{path}.regex"),
                format!("{regex:?} is not a regular expression (RE2): {reason}: correct it, or use exact or prefix"),
            ))
        }));
    }
    if patterns > MAX_PATTERNS {
        let message = format!(
            "has {patterns} regular expressions, and {MAX_PATTERNS} at most are taken: use exact and prefix, or fewer routes"
        );
        problems.push(Problem::new("spec", message));
    }
    problems
}

/// Failures that Istio takes as reasons to try again, as Envoy names them in `x-envoy-retry-on` and `x-envoy-retry-grpc-on`;
/// beside them, it takes statuses of HTTP. It refuses routes with any other.
const RETRIED: [&str; 15] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

/// A word that the mesh does not know would keep every route of the service from being written.
pub(super) fn failures_to_retry_are_known(spec: &MicroserviceSpec, _: &Validated) -> Vec<Problem> {
    let traffic = spec.traffic.iter();
    let general = traffic.clone().map(|it| ("spec.traffic".to_owned(), it.retries.as_ref()));
    let ports = traffic.flat_map(|it| &it.ports);
    let ports = ports.map(|port| (format!("spec.traffic.ports[{}]", port.name), port.retries.as_ref()));
    let routes = spec.routes.iter().map(|route| (format!("spec.routes[{}]", route.name), route.retries.as_ref()));
    let all = general.chain(ports).chain(routes);
    let asked = all.filter_map(|(path, retries)| Some((path, retries?.retry_on.as_deref()?)));
    let is_status = |word: &str| word.parse().ok().and_then(|code| StatusCode::from_u16(code).ok()?.canonical_reason());
    asked
        .flat_map(|(path, words)| words.split(',').map(move |word| (path.clone(), word)))
        .filter(|(_, word)| !RETRIED.contains(word) && is_status(word).is_none())
        .map(|(path, word)| {
            let known = RETRIED.join(", ");
            let message = format!("{word:?} is no failure that the mesh tries again: write statuses, or of {known}");
            Problem::new(format!("{path}.retries.retryOn"), message)
        })
        .collect()
}

/// Header names are compared in lower case, and those of HTTP/2 with a colon are matched by fields of their own.
pub(super) fn header_names_are_headers(spec: &MicroserviceSpec, _: &Validated) -> Vec<Problem> {
    let wrong = |name: &str| {
        if name.starts_with(':') {
            return Some("is not an ordinary header: match the method and the path by their own fields".to_owned());
        }
        let lower = name.to_ascii_lowercase();
        if lower != name && is_token(&lower) {
            return Some(format!("must be in lower case, as proxies compare it: write {lower}"));
        }
        (!is_token(name)).then(|| "is not the name of a header: write letters, digits and -".to_owned())
    };
    matches(spec)
        .flat_map(|(path, entry)| entry.headers.keys().map(move |name| (format!("{path}.headers"), name)))
        .filter_map(|(path, name)| Some(Problem::new(path, format!("{name:?} {}", wrong(name)?))))
        .collect()
}

/// A token of RFC 9110.
fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

/// A query parameter has a name.
pub(super) fn query_names_are_given(spec: &MicroserviceSpec, _: &Validated) -> Vec<Problem> {
    matches(spec)
        .filter(|(_, entry)| entry.query.contains_key(""))
        .map(|(path, _)| Problem::new(format!("{path}.query"), "a parameter without a name matches nothing: name it"))
        .collect()
}
