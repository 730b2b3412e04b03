//! Traffic settings that do nothing.

use std::collections::BTreeMap;

use crate::{
    api::{CircuitBreaker, MatchValue, OnUnready, OutlierDetection, Provider, Route, RouteMatch},
    lint::Subject,
    validate::{Problem, Version},
};

/// Share of a version's pods that may be ejected when nothing is said.
const DEFAULT_PERCENT: i32 = 10;

/// Every client's proxy ejects within one version, and only whole pods within the percentage.
pub(super) fn outlier_ejects_nothing(subject: &Subject) -> Vec<Problem> {
    let outlier =
        |breaker: &Option<CircuitBreaker>| breaker.as_ref().and_then(|breaker| breaker.outlier_detection.clone());
    let general = outlier(&subject.resolved.circuit_breaker).map(|found| ("spec.traffic".to_owned(), found));
    let ports = subject
        .resolved
        .port_policies
        .iter()
        .filter_map(|port| Some((format!("spec.traffic.ports[{}]", port.name), outlier(&port.circuit_breaker)?)));
    general
        .into_iter()
        .chain(ports)
        .filter_map(|(path, detection)| {
            let message = too_few(&detection, &subject.resolved.versions)?;
            Some(Problem::new(format!("{path}.circuitBreaker.outlierDetection.maxEjectionPercent"), message))
        })
        .collect()
}

fn too_few(detection: &OutlierDetection, versions: &[Version]) -> Option<String> {
    let percent = detection.max_ejection_percent.unwrap_or(DEFAULT_PERCENT);
    let few: Vec<_> =
        versions.iter().filter(|version| version.replicas > 0 && version.replicas * percent < 100).collect();
    let listed = few.iter().map(|version| match version.replicas {
        1 => format!("{} has 1 pod", version.name),
        pods => format!("{} has {pods} pods", version.name),
    });
    let listed = listed.collect::<Vec<_>>().join(", ");
    let enough =
        few.iter().filter(|version| version.replicas > 1).map(|version| (99 + version.replicas) / version.replicas);
    let advice = match enough.max() {
        Some(enough) => format!("set it to {enough} or more"),
        None => "a failing pod cannot be left out while it is the only one".to_owned(),
    };
    let default = if detection.max_ejection_percent.is_none() { " (the default)" } else { "" };
    (!few.is_empty())
        .then(|| format!("{percent} %{default} is less than one pod, so none is ever ejected: {listed}; {advice}"))
}

/// Without a mesh, nothing carries out what proxies do.
pub(super) fn needs_mesh(subject: &Subject) -> Vec<Problem> {
    if subject.resolved.provider != Provider::None {
        return Vec::new();
    }
    let traffic = subject.microservice.spec.traffic.as_ref();
    let set = traffic.is_some_and(|traffic| {
        traffic.timeout.is_some()
            || traffic.retries.is_some()
            || traffic.circuit_breaker.is_some()
            || !traffic.ports.is_empty()
    });
    let mut problems = Vec::new();
    if set {
        let message = "timeouts, retries and circuit breakers are carried out by a mesh, and the provider is None";
        problems.push(Problem::new("spec.traffic", message));
    }
    if !subject.resolved.routes.is_empty() {
        let message = "routes are carried out by a mesh, and the provider is None: requests follow the weights only";
        problems.push(Problem::new("spec.routes", message));
    }
    if subject.resolved.rollout.is_some() {
        let message = "steps are carried out by a mesh, and the provider is None: the weights travel at once, and nothing \
                       is measured";
        problems.push(Problem::new("spec.rollout", message));
    }
    problems
}

/// A route whose every request an earlier one takes.
pub(super) fn unreachable_route(subject: &Subject) -> Vec<Problem> {
    let routes = &subject.resolved.routes;
    let taken = |(index, route): (usize, &Route)| {
        let earlier = routes[..index].iter().find(|earlier| takes_all(earlier, route))?;
        let message = match earlier.on_unready {
            OnUnready::Hold => {
                format!("route {} before it takes all of its requests: put the narrower one first", earlier.name)
            }
            OnUnready::Fallback => format!(
                "route {} before it takes all of its requests, unless no version of that is ready: put the narrower \
                 one first",
                earlier.name
            ),
        };
        Some(Problem::new(format!("spec.routes[{}]", route.name), message))
    };
    routes.iter().enumerate().filter_map(taken).collect()
}

fn takes_all(earlier: &Route, route: &Route) -> bool {
    route.matches.iter().all(|narrow| earlier.matches.iter().any(|wide| covers(wide, narrow)))
}

/// Whether every request that meets `narrow` meets `wide`.
fn covers(wide: &RouteMatch, narrow: &RouteMatch) -> bool {
    let one = |wide: &Option<MatchValue>, narrow: &Option<MatchValue>| match (wide, narrow) {
        (None, _) => true,
        (Some(wide), Some(narrow)) => covers_value(wide, narrow),
        (Some(_), None) => false,
    };
    let all = |wide: &BTreeMap<String, MatchValue>, narrow: &BTreeMap<String, MatchValue>| {
        wide.iter().all(|(name, wide)| narrow.get(name).is_some_and(|narrow| covers_value(wide, narrow)))
    };
    let RouteMatch { headers, path, method, query, port } = wide;
    all(headers, &narrow.headers)
        && (one(path, &narrow.path) || path.as_ref().is_some_and(|path| path.prefix.as_deref() == Some("/")))
        && one(method, &narrow.method)
        && all(query, &narrow.query)
        && port.is_none_or(|port| narrow.port == Some(port))
}

fn covers_value(wide: &MatchValue, narrow: &MatchValue) -> bool {
    let starts =
        |prefix: &str| [&narrow.exact, &narrow.prefix].into_iter().flatten().any(|narrow| narrow.starts_with(prefix));
    wide == narrow || wide.prefix.as_deref().is_some_and(starts)
}
