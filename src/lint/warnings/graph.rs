//! Dependencies among the given Microservices.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{api::Protocol, lint::Subject, validate::Problem};

type Key<'a> = (&'a str, &'a str);

/// Services that need one another in a circle can neither start nor change on their own. Each circle is told once, of
/// the service whose name comes first.
pub(super) fn dependency_cycle(subjects: &[Subject]) -> Vec<(usize, Problem)> {
    let edges: BTreeMap<Key<'_>, Vec<Key<'_>>> = subjects
        .iter()
        .map(|subject| {
            let needs =
                subject.resolved.dependencies.iter().map(|needed| (needed.namespace.as_str(), needed.name.as_str()));
            (subject.key(), needs.collect())
        })
        .collect();
    let mut told: BTreeSet<Key<'_>> = BTreeSet::new();
    let mut found = Vec::new();
    for start in edges.keys() {
        let Some(cycle) = shortest_cycle(*start, &edges).filter(|cycle| cycle.len() > 1) else { continue };
        if cycle.iter().any(|service| told.contains(service)) {
            continue;
        }
        told.extend(&cycle);
        let Some(index) = subjects.iter().position(|subject| subject.key() == *start) else { continue };
        let path = cycle.get(1).map(|(_, next)| format!("spec.dependencies[{next}]")).unwrap_or_default();
        let message = format!(
            "{} depend on one another in a circle, so none can start or change by itself: remove one dependency, for \
             example by an event",
            shown(&cycle)
        );
        found.push((index, Problem::new(path, message)));
    }
    found
}

/// The services from one back to itself, by the fewest steps.
fn shortest_cycle<'a>(start: Key<'a>, edges: &BTreeMap<Key<'a>, Vec<Key<'a>>>) -> Option<Vec<Key<'a>>> {
    let mut came_from: BTreeMap<Key<'_>, Key<'_>> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(service) = queue.pop_front() {
        for next in edges.get(&service).into_iter().flatten() {
            if *next == start {
                let mut cycle = vec![service];
                while let Some(before) = cycle.last().and_then(|last| came_from.get(last)) {
                    cycle.push(*before);
                }
                cycle.reverse();
                return Some(cycle);
            }
            if !came_from.contains_key(next) {
                came_from.insert(*next, service);
                queue.push_back(*next);
            }
        }
    }
    None
}

/// `a → b → a`, with namespaces when there are several.
fn shown(cycle: &[Key<'_>]) -> String {
    let one_namespace = cycle.iter().all(|(namespace, _)| cycle.first().is_some_and(|(first, _)| first == namespace));
    let name = |(namespace, name): &Key<'_>| {
        if one_namespace { (*name).to_owned() } else { format!("{namespace}/{name}") }
    };
    cycle.iter().chain(cycle.first()).map(name).collect::<Vec<_>>().join(" → ")
}

/// A dependency whose port the service does not have, or where it speaks something else.
pub(super) fn dependency_mismatch(subjects: &[Subject]) -> Vec<(usize, Problem)> {
    let services: BTreeMap<_, _> = subjects.iter().map(|subject| (subject.key(), subject)).collect();
    let mut found = Vec::new();
    for (index, subject) in subjects.iter().enumerate() {
        for needed in &subject.resolved.dependencies {
            let Some(service) = services.get(&(needed.namespace.as_str(), needed.name.as_str())) else { continue };
            let ports = &service.resolved.ports;
            let message = match ports.iter().find(|port| port.port == needed.port) {
                Some(port) if same(port.protocol, needed.protocol) => continue,
                Some(port) => format!(
                    "port {} of {} speaks {}: write that as the protocol",
                    needed.port,
                    needed.name,
                    name(port.protocol)
                ),
                None if ports.is_empty() => format!("{} has no ports, so nothing can call it", needed.name),
                None => {
                    let known: Vec<_> =
                        ports.iter().map(|port| format!("{} ({})", port.port, name(port.protocol))).collect();
                    format!("{} has no port {}: it has {}", needed.name, needed.port, known.join(", "))
                }
            };
            found.push((index, Problem::new(format!("spec.dependencies[{}]", needed.name), message)));
        }
    }
    found
}

/// HTTP and HTTP2 have the same URLs.
fn same(one: Protocol, other: Protocol) -> bool {
    let http = |protocol| matches!(protocol, Protocol::Http | Protocol::Http2);
    one == other || (http(one) && http(other))
}

fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "HTTP",
        Protocol::Http2 => "HTTP2",
        Protocol::Grpc => "GRPC",
        Protocol::Tcp => "TCP",
    }
}
