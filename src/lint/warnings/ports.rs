//! Ports whose numbers mean something else to the rest of the mesh.

use crate::{
    api::{Protocol, Provider},
    lint::Subject,
    validate::Problem,
};

/// Ports on which clients meet something other than plain HTTP nearly everywhere.
const KNOWN: [(i32, &str); 11] = [
    (25, "SMTP"),
    (443, "HTTPS"),
    (1433, "SQL Server"),
    (1521, "Oracle Database"),
    (3306, "MySQL"),
    (5432, "PostgreSQL"),
    (5672, "AMQP"),
    (6379, "Redis"),
    (9092, "Kafka"),
    (11211, "memcached"),
    (27017, "MongoDB"),
];

/// Proxies listen for HTTP by port alone, and so on that port for all addresses.
pub(super) fn well_known_port(subject: &Subject) -> Vec<Problem> {
    let of_mesh = subject.resolved.provider == Provider::Istio;
    let ports = subject.resolved.ports.iter().filter(|port| of_mesh && port.protocol != Protocol::Tcp);
    ports
        .filter_map(|port| {
            let (number, what) = KNOWN.iter().find(|(number, _)| *number == port.port)?;
            let target = port.target_port.unwrap_or(port.port);
            let message = format!(
                "{number} is known for {what}, and every proxy of the mesh would read all connections to a port {number} as \
                 HTTP, to addresses outside, too: write protocol: TCP, or another port with targetPort: {target}"
            );
            Some(Problem::new(format!("spec.ports[{}].port", port.name), message))
        })
        .collect()
}
