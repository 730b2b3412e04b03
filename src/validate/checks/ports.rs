//! Ports: that what names or overrides them fits, in every version.

use k8s_openapi::{
    api::core::v1::{LifecycleHandler, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::{
    api::{Health, MicroserviceSpec, Port, Protocol},
    validate::{Problem, Validated},
};

use super::scope::{Scope, each_version};

/// Two ports of a container cannot be the same number, after a version's overrides.
pub(super) fn target_ports_differ(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    each_version(spec, resolved, |scope| {
        let ports = &scope.version.ports;
        let clash = |(index, port): (usize, &Port)| {
            let earlier = ports[..index].iter().find(|earlier| earlier.target_port == port.target_port)?;
            let number = port.target_port.unwrap_or(port.port);
            Some(Problem::new(
                format!("spec.ports[{}].targetPort", port.name),
                format!(
                    "ports {} and {} are both port {number} of the container: give one of them another targetPort, \
                     here or in the version's ports",
                    earlier.name, port.name
                ),
            ))
        };
        ports.iter().enumerate().filter_map(clash).collect()
    })
}

/// `health` needs a port that exists, and a worker has none to choose by default.
pub(super) fn health_port_exists(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    each_version(spec, resolved, |scope| {
        let Some(health) = scope.placed("health", |pod| pod.health.as_ref()) else { return Vec::new() };
        let path = format!("{}.port", health.path);
        let problem = match &health.value.port {
            Some(port) => unknown_port(port, &scope.version.ports),
            None if scope.version.ports.is_empty() => {
                Some("is needed, because the service has no ports: write the number to ask".to_owned())
            }
            None => None,
        };
        problem.map(|message| Problem::new(path, message)).into_iter().collect()
    })
}

/// A gRPC health service is asked by gRPC: on a port that speaks it, unless `protocol` says so of another.
pub(super) fn health_service_speaks_grpc(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    each_version(spec, resolved, |scope| {
        let Some(health) = scope.placed("health", |pod| pod.health.as_ref()) else { return Vec::new() };
        let Health { protocol, path, port, service, .. } = health.value;
        let implied = protocol.is_none() && path.is_none();
        let Some(service) = service.as_deref().filter(|service| implied && !service.is_empty()) else {
            return Vec::new();
        };
        let ports = &scope.version.ports;
        let other = match port {
            Some(port) => named(port, ports).filter(|port| port.protocol != Protocol::Grpc),
            None => ports.first().filter(|_| ports.iter().all(|port| port.protocol != Protocol::Grpc)),
        };
        let told = other.map(|port| {
            let message = format!(
                "{service} is asked by gRPC, and port {} is none that speaks it: name a port that does, write protocol: \
                 GRPC if it does all the same, or remove service",
                port.name
            );
            Problem::new(format!("{}.service", health.path), message)
        });
        told.into_iter().collect()
    })
}

fn named<'a>(port: &IntOrString, ports: &'a [Port]) -> Option<&'a Port> {
    ports.iter().find(|own| match port {
        IntOrString::Int(number) => own.target_port == Some(*number),
        IntOrString::String(name) => own.name == *name,
    })
}

/// Probes and lifecycle hooks that name a port need one of that name in their own container.
pub(super) fn handler_ports_exist(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    each_version(spec, resolved, |scope| {
        let mut problems = hooks(scope);
        for container in scope.containers() {
            let ports = if container.name.is_none() { scope.version.ports.as_slice() } else { &[] };
            for probe in &container.probes {
                let message = probe_port(probe.value).and_then(|port| unknown_port(port, ports));
                problems.extend(message.map(|message| Problem::new(&probe.path, message)));
            }
        }
        problems
    })
}

fn hooks(scope: &Scope<'_>) -> Vec<Problem> {
    let Some(lifecycle) = scope.placed("lifecycle", |pod| pod.lifecycle.as_ref()) else { return Vec::new() };
    let hooks = [("postStart", &lifecycle.value.post_start), ("preStop", &lifecycle.value.pre_stop)];
    hooks
        .into_iter()
        .filter_map(|(name, hook)| Some((name, hook_port(hook.as_ref()?)?)))
        .filter_map(|(name, port)| Some((name, unknown_port(port, &scope.version.ports)?)))
        .map(|(name, message)| Problem::new(format!("{}.{name}", lifecycle.path), message))
        .collect()
}

fn probe_port(probe: &Probe) -> Option<&IntOrString> {
    probe.http_get.as_ref().map(|get| &get.port).or_else(|| probe.tcp_socket.as_ref().map(|socket| &socket.port))
}

fn hook_port(hook: &LifecycleHandler) -> Option<&IntOrString> {
    hook.http_get.as_ref().map(|get| &get.port)
}

/// What is wrong with a port that is named; numbers are bounded by the schema.
fn unknown_port(port: &IntOrString, ports: &[Port]) -> Option<String> {
    match port {
        IntOrString::Int(_) => None,
        IntOrString::String(name) if ports.iter().any(|port| port.name == *name) => None,
        IntOrString::String(name) if ports.is_empty() => {
            Some(format!("port {name} is not known, because the container has no named ports: write a number"))
        }
        IntOrString::String(name) => {
            let known = ports.iter().map(|port| port.name.as_str()).collect::<Vec<_>>().join(", ");
            Some(format!("port {name} is not in the service's ports: write one of {known}, or a number"))
        }
    }
}
