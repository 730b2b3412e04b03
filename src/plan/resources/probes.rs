//! Probes of the service's own container: the user's, and those made from its health endpoint.

use k8s_openapi::{
    api::core::v1::{GRPCAction, HTTPGetAction, Probe, TCPSocketAction},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{
    template::{Defaults, TemplateDefaults},
    text,
};
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
        startup: pod.startup_probe.as_deref().map(tidy).or(made.startup),
        readiness: pod.readiness_probe.as_deref().map(tidy).or(made.readiness),
        liveness: pod.liveness_probe.as_deref().map(tidy).or(made.liveness),
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
    let set = defaults.values();
    let Some(action) = action(health, ports, set) else { return Probes::default() };
    let timeout = health.timeout_seconds.unwrap_or(set.probe_timeout_seconds);
    let startup_seconds = health.startup_seconds.unwrap_or(set.startup_seconds);
    let started = Probe {
        period_seconds: Some(set.startup_period_seconds),
        timeout_seconds: Some(timeout),
        failure_threshold: Some(ceil_div(startup_seconds, set.startup_period_seconds) + set.startup_spare_checks),
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
fn action(health: &Health, ports: &[Port], set: &Defaults) -> Option<Probe> {
    let asked = asked(health, set);
    let fits = |port: &&Port| set.health_port_fits && speaks(port.protocol, asked);
    let declared = match &health.port {
        None => ports.iter().find(fits).or_else(|| ports.first()),
        Some(IntOrString::String(name)) => ports.iter().find(|port| port.name == *name),
        Some(IntOrString::Int(number)) => ports.iter().find(|port| port.target_port == Some(*number)),
    };
    let port = health.port.clone().or_else(|| declared.map(|port| IntOrString::String(port.name.clone())))?;
    let grpc_port = declared.is_some_and(|port| port.protocol == Protocol::Grpc);
    let by_port = if grpc_port { HealthProtocol::Grpc } else { HealthProtocol::Tcp };
    Some(match asked.unwrap_or(by_port) {
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

/// How the endpoint is asked, where its own fields tell.
fn asked(health: &Health, set: &Defaults) -> Option<HealthProtocol> {
    let by_path = health.path.as_ref().map(|_| HealthProtocol::Http);
    let service = health.service.as_ref().filter(|service| set.health_port_fits && !service.is_empty());
    health.protocol.or(by_path).or(service.map(|_| HealthProtocol::Grpc))
}

fn speaks(port: Protocol, asked: Option<HealthProtocol>) -> bool {
    match asked {
        Some(HealthProtocol::Http) => matches!(port, Protocol::Http | Protocol::Http2),
        Some(HealthProtocol::Grpc) => port == Protocol::Grpc,
        Some(HealthProtocol::Tcp) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::testing, *};

    fn of(fields: Value) -> Probes {
        probes(&testing::version(fields), TemplateDefaults::CURRENT)
    }

    /// With the set of defaults that pods got before.
    fn of_set_1(fields: Value) -> Probes {
        probes(&testing::version(fields), TemplateDefaults::new(1).unwrap())
    }

    fn ports() -> Value {
        json!([{"name": "http", "port": 80, "targetPort": 3000},
               {"name": "grpc", "port": 9000, "targetPort": 50051, "protocol": "GRPC"}])
    }

    #[test]
    fn health_is_asked_the_way_that_fits() {
        for (health, action) in [
            (json!({"path": "/health"}), json!({"httpGet": {"path": "/health", "port": "http"}})),
            (json!({"path": "/health", "port": "grpc"}), json!({"httpGet": {"path": "/health", "port": "grpc"}})),
            (json!({"path": "/health", "port": 9090}), json!({"httpGet": {"path": "/health", "port": 9090}})),
            (json!({}), json!({"tcpSocket": {"port": "http"}})),
            (json!({"port": "grpc"}), json!({"grpc": {"port": 50051}})),
            (json!({"port": "grpc", "service": "orders"}), json!({"grpc": {"port": 50051, "service": "orders"}})),
            (json!({"port": 50051}), json!({"grpc": {"port": 50051}})),
            (json!({"port": 50052}), json!({"tcpSocket": {"port": 50052}})),
            (json!({"port": "http", "protocol": "GRPC"}), json!({"grpc": {"port": 3000}})),
            (json!({"port": 7000, "protocol": "GRPC"}), json!({"grpc": {"port": 7000}})),
            (json!({"port": "grpc", "protocol": "TCP"}), json!({"tcpSocket": {"port": "grpc"}})),
        ] {
            let built = of(json!({"ports": ports(), "health": health}));
            for probe in [built.startup, built.readiness, built.liveness] {
                let probe = serde_json::to_value(probe).unwrap();
                let (kind, wanted) = action.as_object().unwrap().iter().next().unwrap();
                assert_eq!(probe.get(kind), Some(wanted), "{health} gave {probe}");
                let kinds = ["httpGet", "tcpSocket", "grpc", "exec"];
                assert_eq!(kinds.iter().filter(|kind| probe.get(kind).is_some()).count(), 1, "{probe}");
            }
        }
    }

    #[test]
    fn a_port_is_asked_that_can_answer() {
        let ports = json!([{"name": "amqp", "port": 5672, "protocol": "TCP"},
                           {"name": "grpc", "port": 50051, "protocol": "GRPC"}, {"name": "http", "port": 80}]);
        let tcp = json!({"tcpSocket": {"port": "amqp"}});
        for (health, action, before) in [
            (
                json!({"path": "/health"}),
                json!({"httpGet": {"path": "/health", "port": "http"}}),
                json!({"httpGet": {"path": "/health", "port": "amqp"}}),
            ),
            (json!({"protocol": "GRPC"}), json!({"grpc": {"port": 50051}}), json!({"grpc": {"port": 5672}})),
            (json!({"service": "a"}), json!({"grpc": {"port": 50051, "service": "a"}}), tcp.clone()),
            (
                json!({"service": "a", "port": 9000}),
                json!({"grpc": {"port": 9000, "service": "a"}}),
                json!({"tcpSocket": {"port": 9000}}),
            ),
            (json!({"service": ""}), tcp.clone(), tcp.clone()),
            (json!({}), tcp.clone(), tcp),
        ] {
            let fields = json!({"ports": ports, "health": health});
            for (built, action) in [(of(fields.clone()), action), (of_set_1(fields), before)] {
                let probe = serde_json::to_value(built.readiness).unwrap();
                for (kind, wanted) in action.as_object().unwrap() {
                    assert_eq!(probe.get(kind), Some(wanted), "{health} gave {probe}");
                }
            }
        }
    }

    #[test]
    fn a_version_is_asked_on_its_own_port() {
        let versions = json!([{"name": "v1", "image": "a:1", "ports": [{"name": "grpc", "targetPort": 6000}]}]);
        let built = of(json!({"ports": ports(), "health": {"port": "grpc"}, "versions": versions}));
        assert_eq!(built.readiness.unwrap().grpc.unwrap().port, 6000);
    }

    #[test]
    fn times_are_the_users_or_the_defaults() {
        let times = |probe: Option<Probe>| {
            let probe = probe.unwrap();
            [probe.period_seconds, probe.timeout_seconds, probe.failure_threshold].map(Option::unwrap)
        };
        for (health, startup, running) in [
            (json!({}), [5, 5, 61], [10, 5, 3]),
            (json!({"startupSeconds": 1}), [5, 5, 2], [10, 5, 3]),
            (json!({"startupSeconds": 60}), [5, 5, 13], [10, 5, 3]),
            (json!({"startupSeconds": 61}), [5, 5, 14], [10, 5, 3]),
            (json!({"periodSeconds": 2, "timeoutSeconds": 1, "failureThreshold": 6}), [5, 1, 61], [2, 1, 6]),
        ] {
            let built = of(json!({"health": health}));
            let before = times(of_set_1(json!({"health": health})).startup);
            assert_eq!(before, [startup[0], startup[1], startup[2] - 1], "{health}");
            assert_eq!(times(built.startup), startup, "{health}");
            assert_eq!(times(built.readiness), running, "{health}");
            assert_eq!(times(built.liveness), running, "{health}");
        }
    }

    #[test]
    fn full_probes_win_one_by_one() {
        let own = json!({"exec": {"command": ["check"]}, "periodSeconds": 7});
        let made = of(json!({"health": {"path": "/health"}}));
        for field in ["startupProbe", "readinessProbe", "livenessProbe"] {
            let built = of(json!({"health": {"path": "/health"}, field: own}));
            let pairs = [
                ("startupProbe", built.startup, &made.startup),
                ("readinessProbe", built.readiness, &made.readiness),
                ("livenessProbe", built.liveness, &made.liveness),
            ];
            for (name, probe, from_health) in pairs {
                if name == field {
                    assert_eq!(serde_json::to_value(probe).unwrap(), own);
                } else {
                    assert_eq!(probe, *from_health, "{name} beside {field}");
                }
            }
        }
    }

    #[test]
    fn nothing_to_ask_is_no_probe() {
        assert_eq!(of(json!({})), Probes::default());
        assert_eq!(of(json!({"ports": [], "health": {"path": "/health"}})), Probes::default());
        let worker = of(json!({"ports": [], "health": {"path": "/health", "port": 9090}}));
        assert_eq!(worker.liveness.unwrap().http_get.unwrap().port, IntOrString::Int(9090));
    }

    #[test]
    fn zeros_that_the_cluster_drops_are_left_out() {
        let own = json!({"httpGet": {"path": "", "scheme": "", "port": "http"}, "initialDelaySeconds": 0});
        let built = of(json!({"readinessProbe": own}));
        assert_eq!(serde_json::to_value(built.readiness).unwrap(), json!({"httpGet": {"port": "http"}}));
        let own = json!({"grpc": {"port": 1}, "initialDelaySeconds": 9});
        let built = of(json!({"readinessProbe": own}));
        assert_eq!(serde_json::to_value(built.readiness).unwrap(), own);
    }
}
