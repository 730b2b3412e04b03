//! Addresses of other services, written into environment variables.

use std::net::IpAddr;

use crate::{
    lint::Subject,
    validate::{Problem, checks::scope::each_version},
};

/// Schemes by which services call one another.
const SCHEMES: [&str; 6] = ["http", "https", "grpc", "grpcs", "ws", "wss"];

/// A service whose address is written out cannot be moved, and nobody sees who calls it.
pub(super) fn hard_coded_url(subjects: &[Subject]) -> Vec<(usize, Problem)> {
    let known: Vec<_> = subjects.iter().map(Subject::key).collect();
    let warn = |subject: &Subject| {
        each_version(&subject.microservice.spec, &subject.resolved, |scope| {
            let variables = scope.containers().into_iter().flat_map(|container| container.env);
            variables
                .filter_map(|variable| {
                    let host = address(variable.value.value.as_deref()?, &known)?;
                    let own = service_of(host) == subject.key().1;
                    let message = format!(
                        "the address of {host} is written out: name the service in dependencies, which sets a variable \
                         with its URL"
                    );
                    (!own).then(|| Problem::new(variable.path, message))
                })
                .collect()
        })
    };
    subjects
        .iter()
        .enumerate()
        .flat_map(|(index, subject)| warn(subject).into_iter().map(move |it| (index, it)))
        .collect()
}

fn service_of(host: &str) -> &str {
    host.split('.').next().unwrap_or(host)
}

/// The host of a value that is the address of a service in the cluster.
fn address<'a>(value: &'a str, known: &[(&str, &str)]) -> Option<&'a str> {
    let (scheme, rest) =
        value.trim().split_once("://").map_or((None, value.trim()), |(scheme, rest)| (Some(scheme), rest));
    let authority = rest.split(['/', '?', '#']).next()?;
    let authority = authority.rsplit('@').next()?;
    let (host, port) = authority.rsplit_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
    let of_service = in_cluster(host, known);
    match scheme {
        Some(scheme) => {
            let calls = SCHEMES.contains(&scheme.to_ascii_lowercase().as_str());
            (calls && (of_service || is_bare_name(host) || is_remote_ip(host))).then_some(host)
        }
        None => (of_service && port.is_some_and(|port| port.parse::<u16>().is_ok())).then_some(host),
    }
}

/// A name below `svc`, or one of the known services, with or without its namespace: `stripe.com` is none of a service
/// `stripe`.
fn in_cluster(host: &str, known: &[(&str, &str)]) -> bool {
    match *host.split('.').collect::<Vec<&str>>() {
        [name] => known.iter().any(|(_, service)| *service == name),
        [name, namespace] => known.contains(&(namespace, name)),
        [_, _, "svc", ..] => true,
        _ => false,
    }
}

/// A name that only the cluster's own DNS can know.
pub(super) fn is_bare_name(host: &str) -> bool {
    let label = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    host != "localhost"
        && !host.is_empty()
        && host.bytes().all(label)
        && !host.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_remote_ip(host: &str) -> bool {
    host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [(&str, &str); 2] = [("shop", "user-service"), ("shop", "stripe")];

    #[test]
    fn tells_services_from_the_world() {
        for value in [
            "http://user-service",
            "https://user-service:8443/users?x=1",
            "grpc://stock.catalog.svc:50051",
            "http://anything",
            "http://u:p@legacy.shop.svc.cluster.local/a",
            "user-service:80",
            "user-service.shop:80",
            "http://stripe.shop/v1",
            "http://10.1.2.3:8080",
        ] {
            assert!(address(value, &KNOWN).is_some(), "{value}");
        }
        for value in [
            "",
            "user-service",
            "https://api.stripe.com/v1",
            "https://stripe.com/v1",
            "stripe.com:443",
            "http://localhost:3000",
            "http://127.0.0.1",
            "http://[::1]:80",
            "0.0.0.0:80",
            "postgres://db:5432/orders",
            "redis:6379",
            "12:30",
            "http://$(HOST)",
        ] {
            assert_eq!(address(value, &KNOWN), None, "{value}");
        }
    }
}
