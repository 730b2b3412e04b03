//! Settings that become others of another kind, in place. What the API server keeps of the one before must not stand in the
//! way, and pods are replaced once, by such as have the new ones.

use microservice_operator::plan::object::Kind;
use serde_json::{Value, json};

use crate::support::{Operator, Space, cluster, condition, current, run};

fn service(traffic: &str, port: &str, pod: &str) -> String {
    format!(
        "{{ports: [{{name: http, port: 80, {port}}}], traffic: {{{traffic}}}, versions: [\
         {{name: v1, image: 'registry.example/a:1', weight: 100, {pod}}}]}}"
    )
}

const POOL: &str = "circuitBreaker: {connectionPool: {maxConnections: 5}}";
const PENDING: &str = "circuitBreaker: {connectionPool: {maxPendingRequests: 5}}";
const OUTLIERS: &str = "circuitBreaker: {outlierDetection: {consecutive5xxErrors: 5}}";
const OF_PORT: &str = "ports: [{name: http, circuitBreaker: {connectionPool: {maxConnections: 5}}}]";
const HTTP: &str = "targetPort: 3000";
const TCP: &str = "protocol: TCP, targetPort: 3000";
const PLAIN: &str = "env: [{name: A, value: x}]";

/// Istio refuses objects of nothing, which a limit that is taken away could leave behind.
#[test]
fn limits_and_protocols_become_others() {
    run(async {
        let space = Space::new(cluster(), "limits").await;
        let _operator = Operator::of(&space);
        for (traffic, port) in [
            (POOL, HTTP),
            (OUTLIERS, HTTP),
            (POOL, HTTP),
            (PENDING, HTTP),
            (OF_PORT, HTTP),
            (OUTLIERS, HTTP),
            ("provider: Istio", HTTP),
            (POOL, HTTP),
            (POOL, TCP),
            (POOL, HTTP),
        ] {
            space.apply("a", &service(traffic, port, PLAIN)).await;
            let what = format!("in force: {traffic}, {port}");
            space.until("a", &what, |it| current(it) && condition(it, "Ready") == "True").await;
            let routes = space.child(Kind::VirtualService, "a").await.unwrap().data["spec"].clone();
            let wanted = if port == TCP { "tcp" } else { "http" };
            assert!(routes[wanted].is_array(), "{what}: {routes}");
            let rule = space.child(Kind::DestinationRule, "a").await.unwrap().data["spec"]["trafficPolicy"].clone();
            assert_eq!(rule["outlierDetection"].is_object(), traffic == OUTLIERS, "{what}: {rule}");
            assert_eq!(rule["connectionPool"].is_object(), traffic == POOL || traffic == PENDING, "{what}: {rule}");
        }
    });
}

/// The containers and volumes of the version's pods.
async fn pods(space: &Space) -> Value {
    space.child(Kind::Deployment, "a-v1").await.unwrap().data["spec"]["template"]["spec"].clone()
}

#[test]
fn what_pods_are_made_of_becomes_another_kind_in_one_step() {
    run(async {
        let space = Space::new(cluster(), "kinds").await;
        let _operator = Operator::of(&space);
        let files =
            |source: &str| format!("volumes: [{{name: data, {source}}}], mounts: [{{volume: data, path: /data}}]");
        let of_name = "env: [{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]";
        let of_limit = "env: [{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}]";
        let downward = "downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}";
        let asked = |how: &str| format!("livenessProbe: {{{how}, periodSeconds: 5}}");
        let pods_of = [
            (HTTP, PLAIN.to_owned()),
            (HTTP, of_name.to_owned()),
            (HTTP, of_limit.to_owned()),
            (HTTP, PLAIN.to_owned()),
            ("targetPort: 4000", PLAIN.to_owned()),
            (HTTP, files("emptyDir: {}")),
            (HTTP, files(downward)),
            (HTTP, files("emptyDir: {medium: Memory}")),
            (HTTP, asked("httpGet: {path: /, port: 3000}")),
            (HTTP, asked("tcpSocket: {port: 3000}")),
            (HTTP, asked("exec: {command: [ls]}")),
            (HTTP, asked("grpc: {port: 3000}")),
            (HTTP, asked("httpGet: {path: /, port: 3000}")),
        ];
        for (count, (port, pod)) in (0..).zip(&pods_of) {
            space.apply("a", &service("", port, pod)).await;
            let what = format!("in force: {port}, {pod}");
            space.until("a", &what, |it| current(it) && condition(it, "Ready") == "True").await;
            // The API server counts the specs that a Deployment had.
            let specs = space.child(Kind::Deployment, "a-v1").await.unwrap().metadata.generation;
            assert_eq!(specs, Some(count + 1), "{what}");
        }
        let app = pods(&space).await["containers"][0].clone();
        assert_eq!(app["livenessProbe"]["httpGet"]["path"], json!("/"), "{app}");
    });
}
