//! The Service by whose name clients reach the pods.

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{Stamp, child_meta, labels::selector};
use crate::{
    api::{Port, Protocol},
    validate::Validated,
};

/// The Service, which selects one version's pods or those of all versions, and leads each port to its target; none for a
/// worker.
pub fn service(
    service: &Validated,
    selected: Option<&str>,
    target: impl Fn(&Port) -> IntOrString,
    stamp: &Stamp,
) -> Option<Service> {
    if service.ports.is_empty() {
        return None;
    }
    let name = service.identity.name.clone();
    Some(Service {
        spec: Some(ServiceSpec {
            selector: Some(selector(&name, selected)),
            ports: Some(service.ports.iter().map(|port| service_port(port, target(port))).collect()),
            ..ServiceSpec::default()
        }),
        metadata: child_meta(service, stamp, name, None),
        ..Service::default()
    })
}

fn service_port(port: &Port, target: IntOrString) -> ServicePort {
    ServicePort {
        name: Some(port.name.clone()),
        port: port.port,
        target_port: Some(target),
        protocol: Some("TCP".to_owned()),
        app_protocol: Some(app_protocol(port.protocol).to_owned()),
        ..ServicePort::default()
    }
}

/// Meshes read it before they guess from the port's name.
fn app_protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Http => "http",
        Protocol::Http2 => "http2",
        Protocol::Grpc => "grpc",
        Protocol::Tcp => "tcp",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::testing::{self, assert_at, stamp},
        *,
    };

    fn built(of: &Validated, selected: Option<&str>) -> Option<Service> {
        service(of, selected, |port| IntOrString::String(port.name.clone()), &stamp())
    }

    #[test]
    fn ports_are_named_and_tell_what_is_spoken() {
        let validated = testing::service(json!({"ports": [
            {"name": "http", "port": 80, "targetPort": 3000},
            {"name": "push", "port": 81, "protocol": "HTTP2"},
            {"name": "grpc", "port": 50051, "protocol": "GRPC"},
            {"name": "redis", "port": 6379, "protocol": "TCP"},
        ]}));
        let ports = [("http", 80, "http"), ("push", 81, "http2"), ("grpc", 50051, "grpc"), ("redis", 6379, "tcp")].map(
            |(name, port, spoken)| {
                json!({"name": name, "port": port, "targetPort": name, "protocol": "TCP", "appProtocol": spoken})
            },
        );
        assert_at(
            &built(&validated, None),
            json!({
                "/metadata/name": "order-service",
                "/metadata/labels/version": null,
                "/spec": {"selector": {"microservice-operator.dev/service": "order-service"}, "ports": ports},
            }),
        );
    }

    #[test]
    fn one_version_can_be_selected() {
        let expected =
            json!({"/spec/selector": {"microservice-operator.dev/service": "order-service", "version": "v2"}});
        assert_at(&built(&testing::service(json!({})), Some("v2")), expected);
    }

    #[test]
    fn a_worker_has_none() {
        assert_eq!(built(&testing::service(json!({"ports": []})), None), None);
    }
}
