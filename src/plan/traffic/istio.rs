//! The intent in Istio's kinds: one VirtualService and one DestinationRule. Pure.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{
    api::{self, CircuitBreaker, Duration, MatchValue, RouteMatch, labels},
    foreign::istio::{
        ConnectionPool, Destination, DestinationRule, DestinationRuleSpec, HeaderOperations, Headers, HttpMatch,
        HttpRetry, HttpRoute, HttpSettings, L4Match, OutlierDetection, Percent, PortSelector, PortTrafficPolicy,
        RouteDestination, StringMatch, Subset, TcpRoute, TcpSettings, TrafficPolicy, VirtualService,
        VirtualServiceSpec,
    },
};

use super::{RouteIntent, TcpIntent};

/// What proxies have for connections of requests when nothing is said; Istio would take what is said for TCP.
const MESH_IDLE: Duration = Duration::from_secs(3600);

/// The routes and weights.
pub fn virtual_service(intent: &RouteIntent, metadata: ObjectMeta) -> VirtualService {
    let spec = VirtualServiceSpec {
        hosts: vec![intent.host.clone()],
        gateways: Vec::new(),
        http: intent
            .http
            .iter()
            .map(|route| HttpRoute {
                name: Some(route.name.clone()),
                matches: route.matches.iter().map(http_match).collect(),
                route: with_cookies(destinations(&intent.host, &route.backends, None), &route.cookies),
                mirror: route.mirror.as_ref().map(|(version, _)| destination(&intent.host, version, None)),
                mirror_percentage: route.mirror.as_ref().map(|(_, percent)| Percent { value: (*percent).into() }),
                timeout: route.timeout.map(Duration::to_proto),
                retries: route.retries.as_ref().map(http_retry),
            })
            .collect(),
        tcp: intent
            .tcp
            .iter()
            .map(|route| TcpRoute {
                matches: vec![L4Match { port: Some(route.port) }],
                route: destinations(&intent.host, &route.backends, Some(route.port)),
            })
            .collect(),
    };
    VirtualService { metadata, spec }
}

/// The subsets and the limits.
pub fn destination_rule(intent: &RouteIntent, metadata: ObjectMeta) -> DestinationRule {
    let spec = DestinationRuleSpec {
        host: intent.host.clone(),
        traffic_policy: traffic_policy(intent),
        subsets: intent
            .subsets
            .iter()
            .map(|name| Subset {
                name: name.clone(),
                labels: BTreeMap::from([(labels::VERSION.to_owned(), name.clone())]),
            })
            .collect(),
    };
    DestinationRule { metadata, spec }
}

/// A single destination has no weight: it gets everything.
fn destinations(host: &str, backends: &[(String, i32)], port: Option<i32>) -> Vec<RouteDestination> {
    let several = backends.len() > 1;
    backends
        .iter()
        .map(|(version, weight)| RouteDestination {
            destination: destination(host, version, port),
            weight: several.then_some(*weight),
            headers: None,
        })
        .collect()
}

fn with_cookies(to: Vec<RouteDestination>, cookies: &BTreeMap<String, String>) -> Vec<RouteDestination> {
    let set = |cookie: &String| Headers {
        response: Some(HeaderOperations { add: BTreeMap::from([("set-cookie".to_owned(), cookie.clone())]) }),
    };
    let of = |it: &RouteDestination| cookies.get(it.destination.subset.as_ref()?).map(set);
    to.into_iter().map(|it| RouteDestination { headers: of(&it), ..it }).collect()
}

fn destination(host: &str, version: &str, port: Option<i32>) -> Destination {
    Destination {
        host: host.to_owned(),
        subset: Some(version.to_owned()),
        port: port.map(|number| PortSelector { number }),
    }
}

fn http_match(entry: &RouteMatch) -> HttpMatch {
    HttpMatch {
        headers: string_matches(&entry.headers),
        uri: entry.path.as_ref().map(string_match),
        method: entry.method.as_ref().map(string_match),
        query_params: string_matches(&entry.query),
        port: entry.port,
    }
}

fn string_matches(values: &BTreeMap<String, MatchValue>) -> BTreeMap<String, StringMatch> {
    values.iter().map(|(name, value)| (name.clone(), string_match(value))).collect()
}

fn string_match(value: &MatchValue) -> StringMatch {
    StringMatch { exact: value.exact.clone(), prefix: value.prefix.clone(), regex: value.regex.clone() }
}

/// Istio refuses to be told how to try again when nothing is to be tried again.
fn http_retry(retries: &api::Retries) -> HttpRetry {
    let tries = retries.attempts > 0;
    HttpRetry {
        attempts: retries.attempts,
        per_try_timeout: retries.per_try_timeout.filter(|_| tries).map(Duration::to_proto),
        retry_on: retries.retry_on.clone().filter(|_| tries),
    }
}

/// Settings of a port replace the general ones whole in Istio, so each is written complete. Istio refuses policies, pools and
/// ports of nothing, so that what is empty is left out.
fn traffic_policy(intent: &RouteIntent) -> Option<TrafficPolicy> {
    let general = intent.circuit_breaker.as_ref();
    let of_port = |(number, own): &(i32, CircuitBreaker)| PortTrafficPolicy {
        port: PortSelector { number: *number },
        connection_pool: pool_of(own).or_else(|| general.and_then(pool_of)).and_then(|pool| {
            let is_tcp = intent.tcp.iter().any(|route| route.port == *number);
            let idle = |tcp: bool| pool.idle_timeout.filter(|_| is_tcp == tcp);
            connection_pool(pool, idle(false), idle(true))
        }),
        outlier_detection: outlier_detection(own).or_else(|| general.and_then(outlier_detection)),
    };
    let tcp_idle = tcp_idle(intent);
    let http_idle = general.and_then(pool_of).and_then(|pool| pool.idle_timeout).or(tcp_idle.map(|_| MESH_IDLE));
    let http_idle = http_idle.filter(|_| !intent.http.is_empty());
    let nothing = api::ConnectionPool::default();
    let says = |it: &PortTrafficPolicy| it.connection_pool.is_some() || it.outlier_detection.is_some();
    let policy = TrafficPolicy {
        connection_pool: connection_pool(general.and_then(pool_of).unwrap_or(&nothing), http_idle, tcp_idle),
        outlier_detection: general.and_then(outlier_detection),
        port_level_settings: intent.port_breakers.iter().map(of_port).filter(says).collect(),
    };
    Some(policy).filter(|policy| *policy != TrafficPolicy::default())
}

fn pool_of(breaker: &CircuitBreaker) -> Option<&api::ConnectionPool> {
    breaker.connection_pool.as_ref().filter(|pool| **pool != api::ConnectionPool::default())
}

/// The time without a byte after which connections to TCP ports are closed. Istio reads it of the service alone, not of its
/// ports, so that they have the longest of theirs; none where a port has none.
fn tcp_idle(intent: &RouteIntent) -> Option<Duration> {
    let of_port = |route: &TcpIntent| {
        let own =
            intent.port_breakers.iter().find(|(number, _)| *number == route.port).and_then(|(_, own)| pool_of(own));
        own.or_else(|| intent.circuit_breaker.as_ref().and_then(pool_of))?.idle_timeout
    };
    let all: Option<Vec<_>> = intent.tcp.iter().map(of_port).collect();
    all?.into_iter().max()
}

fn connection_pool(
    pool: &api::ConnectionPool,
    http_idle: Option<Duration>,
    tcp_idle: Option<Duration>,
) -> Option<ConnectionPool> {
    let api::ConnectionPool {
        max_connections,
        connect_timeout,
        max_pending_requests,
        max_requests,
        max_requests_per_connection,
        max_retries,
        idle_timeout: _,
    } = pool;
    let tcp = TcpSettings {
        max_connections: *max_connections,
        connect_timeout: connect_timeout.map(Duration::to_proto),
        idle_timeout: tcp_idle.map(Duration::to_proto),
    };
    let http = HttpSettings {
        http1_max_pending_requests: *max_pending_requests,
        http2_max_requests: *max_requests,
        max_requests_per_connection: *max_requests_per_connection,
        max_retries: *max_retries,
        idle_timeout: http_idle.map(Duration::to_proto),
    };
    let pool = ConnectionPool {
        tcp: Some(tcp).filter(|tcp| *tcp != TcpSettings::default()),
        http: Some(http).filter(|http| *http != HttpSettings::default()),
    };
    Some(pool).filter(|pool| *pool != ConnectionPool::default())
}

fn outlier_detection(breaker: &CircuitBreaker) -> Option<OutlierDetection> {
    let api::OutlierDetection {
        consecutive_5xx_errors,
        consecutive_gateway_errors,
        interval,
        base_ejection_time,
        max_ejection_percent,
        min_health_percent,
    } = breaker.outlier_detection.as_ref()?;
    // Istio takes 0 % for its default of 10 %; failures that are not counted eject none.
    let failures = |limit: Option<i32>| if *max_ejection_percent == Some(0) { Some(0) } else { limit };
    Some(OutlierDetection {
        consecutive_5xx_errors: failures(*consecutive_5xx_errors),
        consecutive_gateway_errors: failures(*consecutive_gateway_errors),
        interval: interval.map(Duration::to_proto),
        base_ejection_time: base_ejection_time.map(Duration::to_proto),
        max_ejection_percent: *max_ejection_percent,
        min_health_percent: *min_health_percent,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::HttpIntent, *};

    fn breaker(value: Value) -> CircuitBreaker {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn retries_that_are_switched_off_say_nothing_of_how() {
        let of = |attempts: i32| {
            let retries = json!({"attempts": attempts, "perTryTimeout": "1s", "retryOn": "5xx"});
            serde_json::to_value(http_retry(&serde_json::from_value(retries).unwrap())).unwrap()
        };
        assert_eq!(of(0), json!({"attempts": 0}));
        assert_eq!(of(1), json!({"attempts": 1, "perTryTimeout": "1s", "retryOn": "5xx"}));
    }

    #[test]
    fn no_percent_of_the_pods_is_no_ejection() {
        let of = |percent: i32| {
            let detection = json!({"consecutive5xxErrors": 5, "maxEjectionPercent": percent});
            serde_json::to_value(outlier_detection(&breaker(json!({"outlierDetection": detection})))).unwrap()
        };
        let expected = json!({"consecutive5xxErrors": 0, "consecutiveGatewayErrors": 0, "maxEjectionPercent": 0});
        assert_eq!(of(0), expected);
        assert_eq!(of(20), json!({"consecutive5xxErrors": 5, "maxEjectionPercent": 20}));
    }

    #[test]
    fn connections_to_tcp_ports_idle_as_long_as_is_said_of_them() {
        let general = json!({"connectionPool": {"idleTimeout": "1m", "maxConnections": 5}});
        let own = |idle: &str| json!({"connectionPool": {"idleTimeout": idle}});
        let amqp = |idle: &str| (5672, breaker(own(idle)));
        let of = |http: bool, tcp: &[i32], general: Option<&Value>, port_breakers: Vec<(i32, CircuitBreaker)>| {
            let http = http.then(|| HttpIntent { name: "default".to_owned(), ..HttpIntent::default() });
            let tcp = tcp.iter().map(|port| TcpIntent { port: *port, backends: Vec::new() });
            let intent = RouteIntent {
                http: http.into_iter().collect(),
                tcp: tcp.collect(),
                circuit_breaker: general.cloned().map(breaker),
                port_breakers,
                ..RouteIntent::default()
            };
            serde_json::to_value(traffic_policy(&intent)).unwrap()
        };
        let idle = |policy: &Value, place: &str| {
            ["tcp", "http"].map(|kind| policy.pointer(&format!("{place}/connectionPool/{kind}/idleTimeout")).cloned())
        };
        let all = |policy: &Value| idle(policy, "");
        let at = |tcp: &str, http: &str| [tcp, http].map(|time| (!time.is_empty()).then(|| json!(time)));
        assert_eq!(all(&of(true, &[], Some(&general), vec![])), at("", "60s"));
        assert_eq!(all(&of(false, &[5672], Some(&general), vec![])), at("60s", ""));
        assert_eq!(all(&of(true, &[5672], Some(&general), vec![])), at("60s", "60s"));
        assert_eq!(all(&of(true, &[5672, 61616], Some(&general), vec![amqp("2h")])), at("7200s", "60s"));
        let only = of(true, &[5672], None, vec![amqp("2h")]);
        assert_eq!(all(&only), at("7200s", "3600s"));
        assert_eq!(idle(&only, "/portLevelSettings/0"), at("7200s", ""));
        let some = of(true, &[5672, 61616], None, vec![amqp("2h"), (80, breaker(own("1h")))]);
        assert_eq!(all(&some), at("", ""), "the other one is closed by nobody's word");
        assert_eq!(idle(&some, "/portLevelSettings/0"), at("7200s", ""));
        assert_eq!(idle(&some, "/portLevelSettings/1"), at("", "3600s"));
    }

    #[test]
    fn a_policy_of_nothing_is_none() {
        let of = |general: Option<Value>, ports: &[Value]| {
            let port_breakers = (80..).zip(ports.iter().cloned().map(breaker)).collect();
            let intent = RouteIntent { circuit_breaker: general.map(breaker), port_breakers, ..RouteIntent::default() };
            serde_json::to_value(traffic_policy(&intent)).unwrap()
        };
        for (general, ports) in [
            (None, &[][..]),
            (Some(json!({})), &[]),
            (Some(json!({"connectionPool": {}})), &[]),
            (None, &[json!({}), json!({"connectionPool": {}})]),
        ] {
            assert_eq!(of(general.clone(), ports), Value::Null, "{general:?}, {ports:?}");
        }
        let policy = of(None, &[json!({}), json!({"connectionPool": {"maxConnections": 5}})]);
        let expected = json!([{"port": {"number": 81}, "connectionPool": {"tcp": {"maxConnections": 5}}}]);
        assert_eq!(policy["portLevelSettings"], expected, "{policy}");
    }
}
