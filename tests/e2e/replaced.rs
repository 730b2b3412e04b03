//! Settings that become others of another kind, in place. What the API server keeps of the one before must not stand in the
//! way, and pods are replaced once, by such as have the new ones.

use kube::api::{Patch, PatchParams};
use microservice_operator::{api::MANAGER, plan::object::Kind};
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

/// The entry of a list with that name.
fn named<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|entry| entry["name"] == name)
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
            (HTTP, PLAIN.to_owned()),
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
            let made = pods(&space).await;
            let app = &made["containers"][0];
            assert_eq!(named(&app["env"], "A").is_some(), pod.contains("env"), "{what}: {app}");
            assert_eq!(named(&made["volumes"], "data").is_some(), pod.contains("volumes"), "{what}: {made}");
            assert_eq!(app["livenessProbe"].is_object(), pod.contains("livenessProbe"), "{what}: {app}");
        }
        let app = pods(&space).await["containers"][0].clone();
        assert_eq!(app["livenessProbe"]["httpGet"]["path"], json!("/"), "{app}");
    });
}

/// Whether the operator owns no more of an object than it applied.
fn applied_alone(object: &Value) -> bool {
    let mut owners = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    !owners.any(|owner| owner["manager"] == MANAGER && owner["operation"] == "Update")
}

/// What somebody puts beside ours cannot be applied away; what is written in its place goes when it is wanted no more.
#[test]
fn what_was_put_back_goes_once_nobody_wants_it() {
    run(async {
        let space = Space::unwatched(cluster(), "wanted").await;
        let _operator = Operator::of(&space);
        let service = |port: &str, pod: &str| {
            format!(
                "{{ports: [{{name: http, port: 80, targetPort: 3000}}{port}], versions: [\
                 {{name: v1, image: 'registry.example/a:1', weight: 100{pod}}}]}}"
            )
        };
        let pod = ", env: [{name: A, value: x}], livenessProbe: {tcpSocket: {port: 3001}}, \
                   volumes: [{name: data, emptyDir: {}}], mounts: [{volume: data, path: /data}]";
        space.apply("a", &service(", {name: admin, port: 81, targetPort: 3001}", pod)).await;
        space.ready("a").await;

        let by_name = json!({"fieldRef": {"fieldPath": "metadata.name"}});
        let app = json!({
            "name": "app",
            "env": [{"name": "A", "value": null, "valueFrom": by_name}],
            "livenessProbe": {"tcpSocket": null, "exec": {"command": ["ls"]}},
            "ports": [{"containerPort": 3001, "$patch": "delete"}, {"name": "admin", "containerPort": 3002}],
        });
        let file = json!({"path": "name", "fieldRef": {"fieldPath": "metadata.name"}});
        let data = json!({"name": "data", "emptyDir": null, "downwardAPI": {"items": [file]}});
        let pods_of = json!({"spec": {"template": {"spec": {"containers": [app], "volumes": [data]}}}});
        let ports = json!([{"name": "http", "port": 80, "targetPort": "http"},
                           {"name": "admin", "port": 82, "targetPort": "admin"}]);
        let params = PatchParams { field_manager: Some("meddler".into()), ..PatchParams::default() };
        space.children(Kind::Deployment).patch("a-v1", &params, &Patch::Strategic(pods_of)).await.unwrap();
        let ports = Patch::Merge(json!({"spec": {"ports": ports}}));
        space.children(Kind::Service).patch("a", &params, &ports).await.unwrap();
        let back = |it: &Value| {
            let pods = &it["spec"]["template"]["spec"];
            let app = &pods["containers"][0];
            let admin = named(&app["ports"], "admin").is_some_and(|port| port["containerPort"] == 3001);
            admin
                && named(&app["env"], "A").is_some_and(|env| env["value"] == "x")
                && app["livenessProbe"]["tcpSocket"].is_object()
                && named(&pods["volumes"], "data").is_some_and(|data| data["emptyDir"].is_object())
        };
        let what = "put back, and owned as it was applied";
        space.child_until(Kind::Deployment, "a-v1", what, |it| back(it) && applied_alone(it)).await;
        let back = |it: &Value| named(&it["spec"]["ports"], "admin").is_some_and(|port| port["port"] == 81);
        space.child_until(Kind::Service, "a", what, |it| back(it) && applied_alone(it)).await;

        space.apply("a", &service("", "")).await;
        space.ready("a").await;
        let made = pods(&space).await;
        let app = &made["containers"][0];
        assert!(app["livenessProbe"].is_null(), "{app}");
        assert!(named(&app["env"], "A").is_none() && named(&app["ports"], "admin").is_none(), "{app}");
        assert!(named(&made["volumes"], "data").is_none(), "{made}");
        let ports = space.child(Kind::Service, "a").await.unwrap().data["spec"]["ports"].clone();
        assert!(named(&ports, "http").is_some() && named(&ports, "admin").is_none(), "{ports}");
    });
}
