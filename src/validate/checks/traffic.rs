//! Timeouts and retries as they come together: of a port or a route, and what it inherits.

use std::fmt;

use crate::{
    api::{Duration, MicroserviceSpec, Protocol, Retries, Route},
    validate::{PortPolicy, Problem, Validated},
};

/// Where a setting is written, the narrower ones last.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Place<'a> {
    Service,
    Port(&'a str),
    Route(&'a str),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service => f.write_str("spec.traffic"),
            Self::Port(name) => write!(f, "spec.traffic.ports[{name}]"),
            Self::Route(name) => write!(f, "spec.routes[{name}]"),
        }
    }
}

/// What applies to the requests of a port or a route.
#[derive(Clone, Copy)]
struct Applied<'a> {
    timeout: Option<(Duration, Place<'a>)>,
    retries: Option<(&'a Retries, Place<'a>)>,
}

/// One try must not be given longer than the whole request, where the two are written apart; CEL sees those of one object.
pub(super) fn tries_fit_timeouts(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    let requests = resolved.port_policies.iter().filter(|policy| policy.protocol != Protocol::Tcp);
    let ports: Vec<_> = requests.map(|policy| (policy.port, of_port(spec, policy))).collect();
    let mut problems: Vec<_> = ports.iter().filter_map(|(_, applied)| too_long(applied)).collect();
    for route in &spec.routes {
        let mut reached = ports.iter().filter(|(port, _)| reaches(route, *port));
        let told = reached.find_map(|(_, port)| too_long(&of_route(route, port)));
        problems.extend(told.filter(|problem| !problems.contains(problem)));
    }
    problems
}

fn reaches(route: &Route, number: i32) -> bool {
    route.matches.iter().any(|entry| entry.port.is_none_or(|port| port == number))
}

fn of_port<'a>(spec: &'a MicroserviceSpec, policy: &'a PortPolicy) -> Applied<'a> {
    let own = spec.traffic.iter().flat_map(|traffic| &traffic.ports).find(|own| own.name == policy.name);
    let place = |is_own: bool| if is_own { Place::Port(&policy.name) } else { Place::Service };
    Applied {
        timeout: policy.timeout.map(|timeout| (timeout, place(own.is_some_and(|own| own.timeout.is_some())))),
        retries: policy.retries.as_ref().map(|retries| (retries, place(own.is_some_and(|own| own.retries.is_some())))),
    }
}

fn of_route<'a>(route: &'a Route, port: &Applied<'a>) -> Applied<'a> {
    let place = Place::Route(&route.name);
    Applied {
        timeout: route.timeout.map(|timeout| (timeout, place)).or(port.timeout),
        retries: route.retries.as_ref().map(|retries| (retries, place)).or(port.retries),
    }
}

/// What is wrong, told in the narrower of the two places.
fn too_long(applied: &Applied<'_>) -> Option<Problem> {
    let ((timeout, whole), (retries, each)) = (applied.timeout?, applied.retries?);
    let try_timeout = retries.per_try_timeout.filter(|it| *it > timeout && retries.attempts > 0 && whole != each)?;
    Some(if each > whole {
        let message = format!(
            "{try_timeout} for each try is longer than the timeout {timeout} of the whole request in {whole}: shorten it, \
             or give a timeout here, too"
        );
        Problem::new(format!("{each}.retries.perTryTimeout"), message)
    } else {
        let message = format!(
            "{timeout} for the whole request is shorter than the perTryTimeout {try_timeout} of {each}.retries: lengthen \
             it, or give retries here, too"
        );
        Problem::new(format!("{whole}.timeout"), message)
    })
}
