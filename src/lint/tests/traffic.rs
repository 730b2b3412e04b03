//! Warnings of timeouts, retries, circuit breakers and ports.

use super::*;

fn traffic(setting: &str) -> String {
    with("a", &format!("traffic: {{{setting}}}"))
}

/// The same, of a service with these ports.
fn ports(ports: &str, setting: &str) -> String {
    traffic(setting).replace("{name: http, port: 80}", ports)
}

#[test]
fn warns_of_tries_over_time_that_are_not_tried_again() {
    let retries = |more: &str| format!("retries: {{attempts: 2, perTryTimeout: 1s{more}}}");
    let told = "[try-timeout-without-retry] a try that takes longer than 1s is not tried again, and its request fails: \
                retryOn has none of 5xx, gateway-error, reset";
    for more in ["", ", retryOn: 'connect-failure,refused-stream,503'", ", retryOn: reset-before-request"] {
        let text = only(&traffic(&retries(more)));
        assert!(text.starts_with(&format!("shop/a spec.traffic.retries.perTryTimeout {told}")), "{text}");
    }
    let port = format!("ports: [{{name: http, {}}}]", retries(""));
    let text = only(&traffic(&port));
    assert!(text.starts_with(&format!("shop/a spec.traffic.ports[http].retries.perTryTimeout {told}")), "{text}");
    let route = format!("routes: [{{name: r, match: [{{method: {{exact: GET}}}}], version: v1, {}}}]", retries(""));
    let text = only(&with("a", &format!("traffic: {{}}\n  {route}")));
    assert!(text.starts_with(&format!("shop/a spec.routes[r].retries.perTryTimeout {told}")), "{text}");
    assert_eq!(only(&with("a", &route)), text, "without traffic");
    for fine in [
        retries(", retryOn: 'connect-failure,reset'"),
        retries(", retryOn: 5xx"),
        retries(", retryOn: gateway-error"),
        retries("").replace('2', "0"),
        "retries: {attempts: 2}".to_owned(),
        format!(
            "{}, ports: [{{name: http, retries: {{attempts: 1}}}}, {{name: web, timeout: 1s}}]",
            retries(", retryOn: 5xx")
        ),
    ] {
        let two = ports("{name: http, port: 80}, {name: web, port: 81}", &fine);
        assert_eq!(found(&two), Vec::<String>::new(), "{fine}");
    }
}

#[test]
fn warns_of_gateway_errors_that_count_for_nothing() {
    let outlier = |more: &str| traffic(&format!("circuitBreaker: {{outlierDetection: {{{more}}}}}"));
    let of = |more: &str| outlier(&format!("maxEjectionPercent: 100, {more}"));
    let at = "shop/a spec.traffic.circuitBreaker.outlierDetection.consecutiveGatewayErrors [shadowed-gateway-errors]";
    let text = only(&of("consecutiveGatewayErrors: 5"));
    assert!(text.starts_with(&format!("{at} a pod is ejected after 5 (the default) answers 5xx in a row")), "{text}");
    let text = only(&of("consecutiveGatewayErrors: 3, consecutive5xxErrors: 2"));
    assert!(text.starts_with(&format!("{at} a pod is ejected after 2 answers 5xx in a row")), "{text}");
    for fine in [
        "consecutiveGatewayErrors: 4",
        "consecutiveGatewayErrors: 0",
        "consecutiveGatewayErrors: 9, consecutive5xxErrors: 0",
        "consecutiveGatewayErrors: 9, consecutive5xxErrors: 10",
    ] {
        assert_eq!(found(&of(fine)), Vec::<String>::new(), "{fine}");
    }
}

#[test]
fn warns_of_settings_that_reach_no_port() {
    let grpc = "{name: grpc, port: 50051, protocol: GRPC}";
    let tcp = "{name: tcp, port: 7000, protocol: TCP}";
    let at = |setting: &str| format!("shop/a spec.traffic.{setting} [reaches-no-port] no port takes it from here");
    for (of, setting, path) in [
        (grpc, "timeout: 3s", "timeout"),
        (tcp, "timeout: 3s", "timeout"),
        (tcp, "retries: {attempts: 1, perTryTimeout: 1s}", "retries"),
        (grpc, "retries: {attempts: 1, perTryTimeout: 1s}", "retries.perTryTimeout"),
    ] {
        let text = only(&ports(of, setting).replace("{path: /health}", "{}"));
        assert!(text.starts_with(&at(path)), "{text}");
    }
    let own = "timeout: 3s, ports: [{name: http, timeout: 1s}]";
    assert!(only(&ports(&format!("{{name: http, port: 80}}, {grpc}"), own)).starts_with(&at("timeout")));
    let worker = |setting: &str| ports("", setting).replace("{path: /health}", "{port: 9090}");
    for setting in ["timeout: 3s", "retries: {attempts: 1}", "circuitBreaker: {connectionPool: {maxConnections: 1}}"] {
        let text = only(&worker(setting));
        assert!(text.starts_with("shop/a spec.traffic [reaches-no-port] a worker has no ports"), "{text}");
    }
    assert_eq!(found(&worker("provider: Istio")), Vec::<String>::new());
    let both = ports(&format!("{{name: http, port: 80}}, {grpc}, {tcp}"), "timeout: 3s, retries: {attempts: 1}");
    assert_eq!(found(&both), Vec::<String>::new());
}

#[test]
fn warns_of_ports_that_are_known_for_something_else() {
    let text = only(&ports("{name: http, port: 443, targetPort: 8443}", "provider: Istio"));
    assert_eq!(
        text,
        "shop/a spec.ports[http].port [well-known-port] 443 is known for HTTPS, and every proxy of the mesh would read all \
         connections to a port 443 as HTTP, to addresses outside, too: write protocol: TCP, or another port with targetPort: \
         8443"
    );
    for protocol in ["HTTP2", "GRPC"] {
        let text = only(&ports(&format!("{{name: a, port: 5432, protocol: {protocol}}}"), "provider: Istio"));
        assert!(text.starts_with("shop/a spec.ports[a].port [well-known-port] 5432 is known for PostgreSQL"), "{text}");
    }
    for (fine, provider) in [
        ("{name: a, port: 5432, protocol: TCP}", "Istio"),
        ("{name: http, port: 80, targetPort: 5432}", "Istio"),
        ("{name: http, port: 443}", "None"),
    ] {
        assert_eq!(found(&ports(fine, &format!("provider: {provider}"))), Vec::<String>::new(), "{fine}");
    }
}
