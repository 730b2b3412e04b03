//! Probes of the service's own container: the user's, and those made from its health endpoint.

use k8s_openapi::{
    api::core::v1::{GRPCAction, HTTPGetAction, Probe, TCPSocketAction},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{template::TemplateDefaults, text};
use crate::{
    api::{Health, HealthProtocol, Port, Protocol},
    validate::Version,
};

/// The probes of a container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Probes {
    pub startup: Option<Probe>,
    pub readiness: Option<Probe>,
    pub liveness: Option<Probe>,
}

/// Each probe that the user gives in full, and the others from `health`.
pub fn probes(version: &Version, defaults: TemplateDefaults) -> Probes {
    let pod = &version.pod;
    let made = pod.health.as_ref().map(|health| from_health(health, &version.ports, defaults)).unwrap_or_default();
    Probes {
        startup: pod.startup_probe.as_ref().map(tidy).or(made.startup),
        readiness: pod.readiness_probe.as_ref().map(tidy).or(made.readiness),
        liveness: pod.liveness_probe.as_ref().map(tidy).or(made.liveness),
    }
}

/// A user's probe without the zeros and empty texts that the API server drops.
pub fn tidy(user: &Probe) -> Probe {
    let mut probe = user.clone();
    probe.initial_delay_seconds = probe.initial_delay_seconds.filter(|seconds| *seconds != 0);
    if let Some(action) = &mut probe.http_get {
        action.path = text(action.path.take());
        action.scheme = text(action.scheme.take());
    }
    probe
}

fn from_health(health: &Health, ports: &[Port], defaults: TemplateDefaults) -> Probes {
    let Some(action) = action(health, ports) else { return Probes::default() };
    let set = defaults.values();
    let timeout = health.timeout_seconds.unwrap_or(set.probe_timeout_seconds);
    let startup_seconds = health.startup_seconds.unwrap_or(set.startup_seconds);
    let started = Probe {
        period_seconds: Some(set.startup_period_seconds),
        timeout_seconds: Some(timeout),
        failure_threshold: Some(ceil_div(startup_seconds, set.startup_period_seconds)),
        ..action.clone()
    };
    let running = Probe {
        period_seconds: Some(health.period_seconds.unwrap_or(set.probe_period_seconds)),
        timeout_seconds: Some(timeout),
        failure_threshold: Some(health.failure_threshold.unwrap_or(set.probe_failure_threshold)),
        ..action
    };
    Probes { startup: Some(started), readiness: Some(running.clone()), liveness: Some(running) }
}

fn ceil_div(dividend: i32, divisor: i32) -> i32 {
    (dividend + divisor - 1) / divisor
}

/// What a probe does; nothing when there is no port to ask.
fn action(health: &Health, ports: &[Port]) -> Option<Probe> {
    let declared = match &health.port {
        None => ports.first(),
        Some(IntOrString::String(name)) => ports.iter().find(|port| port.name == *name),
        Some(IntOrString::Int(number)) => ports.iter().find(|port| port.target_port == Some(*number)),
    };
    let port = health.port.clone().or_else(|| declared.map(|port| IntOrString::String(port.name.clone())))?;
    let grpc_port = declared.is_some_and(|port| port.protocol == Protocol::Grpc);
    let protocol = health.protocol.unwrap_or(match (&health.path, grpc_port) {
        (Some(_), _) => HealthProtocol::Http,
        (None, true) => HealthProtocol::Grpc,
        (None, false) => HealthProtocol::Tcp,
    });
    Some(match protocol {
        HealthProtocol::Http => Probe {
            http_get: Some(HTTPGetAction { path: health.path.clone(), port, ..HTTPGetAction::default() }),
            ..Probe::default()
        },
        HealthProtocol::Tcp => {
            Probe { tcp_socket: Some(TCPSocketAction { port, ..TCPSocketAction::default() }), ..Probe::default() }
        }
        // The kubelet resolves names of ports for HTTP and TCP only.
        HealthProtocol::Grpc => {
            let number = match port {
                IntOrString::Int(number) => number,
                IntOrString::String(_) => declared?.target_port?,
            };
            let service = text(health.service.clone());
            Probe { grpc: Some(GRPCAction { port: number, service, ..GRPCAction::default() }), ..Probe::default() }
        }
    })
}
