//! Traffic: what requests should meet, independent of the mesh that carries it. Pure.
//!
//! [`provider`] decides who carries the weights, and [`targets`] where a port leads in the pods; [`istio`] writes the intent in
//! Istio's kinds.

pub mod istio;
pub mod provider;
pub mod targets;

use std::collections::BTreeMap;

use crate::{
    api::{CircuitBreaker, Duration, Protocol, Retries, Route, RouteMatch},
    observe::Weights,
    validate::{PortPolicy, Validated},
};

use super::rollout::Rollout;

/// Name of the route that carries the weights.
pub const DEFAULT_ROUTE: &str = "default";

/// What requests to one host should meet.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RouteIntent {
    pub host: String,
    /// Tried in this order.
    pub http: Vec<HttpIntent>,
    pub tcp: Vec<TcpIntent>,
    /// Versions that the mesh must know.
    pub subsets: Vec<String>,
    pub circuit_breaker: Option<CircuitBreaker>,
    /// Ports with limits of their own, by number.
    pub port_breakers: Vec<(i32, CircuitBreaker)>,
}

/// Requests that match, and the versions that serve them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HttpIntent {
    /// The route's name, followed by `/<port name>` where ports are treated differently.
    pub name: String,
    /// Any of these; all requests when empty.
    pub matches: Vec<RouteMatch>,
    /// Versions with their weights, in the order of the spec, none of them 0.
    pub backends: Vec<(String, i32)>,
    /// The version that gets copies of the requests, and of how many percent of them.
    pub mirror: Option<(String, i32)>,
    /// What answers set as a cookie, by the version that gives them.
    pub cookies: BTreeMap<String, String>,
    pub timeout: Option<Duration>,
    pub retries: Option<Retries>,
}

/// Connections to one port, and the versions that serve them.
#[derive(Clone, Debug, PartialEq)]
pub struct TcpIntent {
    pub port: i32,
    pub backends: Vec<(String, i32)>,
}

/// Ports whose requests are treated alike.
struct PortGroup<'a> {
    ports: Vec<&'a PortPolicy>,
    timeout: Option<Duration>,
    retries: Option<Retries>,
}

/// What requests to the service should meet, given the weights and the versions that the mesh must know.
pub fn intent(service: &Validated, rollout: &Rollout<'_>, subsets: Vec<String>) -> RouteIntent {
    let groups = port_groups(service);
    let several = groups.len() > 1;
    let default = backends(rollout, &rollout.weights);
    RouteIntent {
        host: service.identity.host(),
        http: groups.iter().flat_map(|group| http_of(group, several, rollout, &default)).collect(),
        tcp: service
            .ports
            .iter()
            .filter(|port| port.protocol == Protocol::Tcp)
            .map(|port| TcpIntent { port: port.port, backends: default.clone() })
            .collect(),
        subsets,
        circuit_breaker: service.circuit_breaker.clone(),
        port_breakers: service
            .port_policies
            .iter()
            .filter_map(|policy| Some((policy.port, policy.circuit_breaker.clone()?)))
            .collect(),
    }
}

fn port_groups(service: &Validated) -> Vec<PortGroup<'_>> {
    let mut groups: Vec<PortGroup<'_>> = Vec::new();
    for policy in service.port_policies.iter().filter(|policy| policy.protocol != Protocol::Tcp) {
        match groups.iter_mut().find(|group| group.timeout == policy.timeout && group.retries == policy.retries) {
            Some(group) => group.ports.push(policy),
            None => {
                groups.push(PortGroup { ports: vec![policy], timeout: policy.timeout, retries: policy.retries.clone() })
            }
        }
    }
    groups
}

fn http_of(group: &PortGroup<'_>, several: bool, rollout: &Rollout<'_>, default: &[(String, i32)]) -> Vec<HttpIntent> {
    let suffix = group.ports.first().filter(|_| several).map(|port| format!("/{}", port.name)).unwrap_or_default();
    let carried = rollout.routes.iter().filter_map(|(route, weights)| Some((route.as_ref(), weights.as_ref()?)));
    let mut routes: Vec<HttpIntent> = carried
        .filter_map(|(route, weights)| {
            let matches = matches_of(route, group, several);
            (!matches.is_empty()).then(|| HttpIntent {
                name: format!("{}{suffix}", route.name),
                matches,
                backends: backends(rollout, weights),
                mirror: None,
                cookies: BTreeMap::new(),
                timeout: route.timeout.or(group.timeout),
                retries: route.retries.clone().or_else(|| group.retries.clone()),
            })
        })
        .collect();
    routes.push(HttpIntent {
        name: format!("{DEFAULT_ROUTE}{suffix}"),
        matches: if several { group.ports.iter().map(|port| only_port(port.port)).collect() } else { Vec::new() },
        backends: default.to_vec(),
        mirror: rollout.mirror.clone(),
        cookies: rollout.cookies.clone(),
        timeout: group.timeout,
        retries: group.retries.clone(),
    });
    routes
}

/// A route's conditions as they apply to the ports of a group.
fn matches_of(route: &Route, group: &PortGroup<'_>, several: bool) -> Vec<RouteMatch> {
    let mut matches = Vec::new();
    for entry in &route.matches {
        match entry.port {
            Some(port) if group.ports.iter().any(|policy| policy.port == port) => matches.push(entry.clone()),
            Some(_) => {}
            None if several => {
                matches
                    .extend(group.ports.iter().map(|policy| RouteMatch { port: Some(policy.port), ..entry.clone() }));
            }
            None => matches.push(entry.clone()),
        }
    }
    matches
}

fn only_port(port: i32) -> RouteMatch {
    RouteMatch { port: Some(port), ..RouteMatch::default() }
}

fn backends(rollout: &Rollout<'_>, weights: &Weights) -> Vec<(String, i32)> {
    rollout
        .standings
        .iter()
        .filter_map(|standing| {
            let weight = weights.get(standing.name).copied().filter(|weight| *weight > 0)?;
            Some((standing.name.to_owned(), weight))
        })
        .collect()
}
