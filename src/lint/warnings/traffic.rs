//! Traffic settings that do nothing.

use std::collections::BTreeMap;

use crate::{
    api::{
        MatchValue, OnUnready, OutlierDetection, PortTraffic, Protocol, Provider, Retries, Route, RouteMatch, Traffic,
    },
    lint::Subject,
    validate::{Problem, Version},
};

/// Share of a version's pods that may be ejected when nothing is said.
const DEFAULT_PERCENT: i32 = 10;

/// Answers 5xx in a row that eject a pod when nothing is said.
const DEFAULT_5XX: i32 = 5;

/// Protocols whose requests have the general timeouts.
const TIMED: &[Protocol] = &[Protocol::Http, Protocol::Http2];

/// Protocols whose requests are tried again.
const RETRIED: &[Protocol] = &[Protocol::Http, Protocol::Http2, Protocol::Grpc];

/// Failures to retry that a try over time is one of.
const RETRIES_TIMEOUTS: [&str; 3] = ["5xx", "gateway-error", "reset"];

/// Every client's proxy ejects within one version, and only whole pods within the percentage.
pub(super) fn outlier_ejects_nothing(subject: &Subject) -> Vec<Problem> {
    outliers(subject)
        .filter_map(|(path, detection)| {
            let message = too_few(detection, &subject.resolved.versions)?;
            Some(Problem::new(format!("{path}.maxEjectionPercent"), message))
        })
        .collect()
}

fn outliers(subject: &Subject) -> impl Iterator<Item = (String, &OutlierDetection)> {
    let resolved = &subject.resolved;
    let general = resolved.circuit_breaker.iter().map(|breaker| ("spec.traffic".to_owned(), breaker));
    let ports = resolved.port_policies.iter();
    let ports =
        ports.filter_map(|port| Some((format!("spec.traffic.ports[{}]", port.name), port.circuit_breaker.as_ref()?)));
    general.chain(ports).filter_map(|(place, breaker)| {
        Some((format!("{place}.circuitBreaker.outlierDetection"), breaker.outlier_detection.as_ref()?))
    })
}

/// Answers 502, 503 and 504 count as 5xx, too, so a pod is ejected for those first.
pub(super) fn shadowed_gateway_errors(subject: &Subject) -> Vec<Problem> {
    let shadowed = |(path, detection): (String, &OutlierDetection)| {
        let gateway = detection.consecutive_gateway_errors.filter(|errors| *errors > 0)?;
        let all = detection.consecutive_5xx_errors.unwrap_or(DEFAULT_5XX);
        let default = if detection.consecutive_5xx_errors.is_none() { " (the default)" } else { "" };
        let message = format!(
            "a pod is ejected after {all}{default} answers 5xx in a row, and 502, 503 and 504 are such: write less than \
             that, or consecutive5xxErrors: 0 to count only these"
        );
        let ejects = detection.max_ejection_percent != Some(0);
        (ejects && all > 0 && gateway >= all).then(|| Problem::new(format!("{path}.consecutiveGatewayErrors"), message))
    };
    outliers(subject).filter_map(shadowed).collect()
}

/// A try that is over time is tried again for few reasons only, and none of them is the mesh's default.
pub(super) fn try_timeout_without_retry(subject: &Subject) -> Vec<Problem> {
    let spec = &subject.microservice.spec;
    if subject.resolved.provider != Provider::Istio {
        return Vec::new();
    }
    let taken = |traffic: &&Traffic| inherits(subject, traffic, TIMED, |own| own.retries.is_none());
    let general = spec.traffic.iter().filter(taken).filter_map(|traffic| traffic.retries.as_ref());
    let general = general.map(|retries| ("spec.traffic".to_owned(), retries));
    let ports = spec.traffic.iter().flat_map(|traffic| &traffic.ports);
    let ports = ports.filter_map(|port| Some((format!("spec.traffic.ports[{}]", port.name), port.retries.as_ref()?)));
    let routes = spec.routes.iter();
    let routes = routes.filter_map(|route| Some((format!("spec.routes[{}]", route.name), route.retries.as_ref()?)));
    let told = |(place, retries): (String, &Retries)| {
        let after = retries.per_try_timeout.filter(|_| retries.attempts > 0)?;
        let words = retries.retry_on.as_deref().unwrap_or_default();
        let retried = words.split(',').any(|word| RETRIES_TIMEOUTS.contains(&word));
        let message = format!(
            "a try that takes longer than {after} is not tried again, and its request fails: retryOn has none of {}: add \
             one if requests may be made twice, or remove perTryTimeout",
            RETRIES_TIMEOUTS.join(", ")
        );
        (!retried).then(|| Problem::new(format!("{place}.retries.perTryTimeout"), message))
    };
    general.chain(ports).chain(routes).filter_map(told).collect()
}

/// What is said for all ports, and applied to none of them.
pub(super) fn reaches_no_port(subject: &Subject) -> Vec<Problem> {
    let carried = subject.microservice.spec.traffic.as_ref().filter(|_| subject.resolved.provider == Provider::Istio);
    let Some(traffic) = carried else { return Vec::new() };
    if subject.resolved.ports.is_empty() {
        let set = traffic.timeout.is_some() || traffic.retries.is_some() || traffic.circuit_breaker.is_some();
        let message = "a worker has no ports, so no requests come to it: remove it";
        return if set { vec![Problem::new("spec.traffic", message)] } else { Vec::new() };
    }
    let per_try = traffic.retries.as_ref().and_then(|retries| retries.per_try_timeout);
    let retries = |own: &PortTraffic| own.retries.is_none();
    let timed = inherits(subject, traffic, TIMED, |own| own.timeout.is_none());
    let retried = inherits(subject, traffic, RETRIED, retries);
    let cut = !retried || inherits(subject, traffic, TIMED, retries);
    let own = "GRPC ports have only one of their own";
    [
        ("timeout", traffic.timeout.is_some() && !timed, own),
        ("retries", traffic.retries.is_some() && !retried, "TCP ports have no requests to retry"),
        ("retries.perTryTimeout", per_try.is_some() && !cut, own),
    ]
    .into_iter()
    .filter(|(_, idle, _)| *idle)
    .map(|(setting, _, why)| {
        let message = format!("no port takes it from here ({why}): give it in traffic.ports, or remove it");
        Problem::new(format!("spec.traffic.{setting}"), message)
    })
    .collect()
}

/// Whether a port of one of these protocols takes the general setting: it has no settings of its own, or none of the kind.
fn inherits(
    subject: &Subject,
    traffic: &Traffic,
    protocols: &[Protocol],
    lacks: impl Fn(&PortTraffic) -> bool,
) -> bool {
    let mut ports = subject.resolved.ports.iter().filter(|port| protocols.contains(&port.protocol));
    let own = |name: &str| traffic.ports.iter().find(|own| own.name == name);
    ports.any(|port| own(&port.name).is_none_or(&lacks))
}

/// A single pod of a version has no others to take its requests, so it counts only where no version has several.
fn too_few(detection: &OutlierDetection, versions: &[Version]) -> Option<String> {
    let percent = detection.max_ejection_percent.unwrap_or(DEFAULT_PERCENT);
    let least = if versions.iter().any(|version| version.replicas > 1) { 2 } else { 1 };
    let few: Vec<_> =
        versions.iter().filter(|version| version.replicas >= least && version.replicas * percent < 100).collect();
    let listed = few.iter().map(|version| match version.replicas {
        1 => format!("{} has 1 pod", version.name),
        pods => format!("{} has {pods} pods", version.name),
    });
    let listed = listed.collect::<Vec<_>>().join(", ");
    let enough =
        few.iter().filter(|version| version.replicas > 1).map(|version| (99 + version.replicas) / version.replicas);
    let advice = match enough.max() {
        Some(enough) => format!("set it to {enough} or more"),
        None => "a failing pod cannot be left out while it is the only one: raise replicas, or remove outlierDetection"
            .to_owned(),
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
