//! The guide's order-service as a Microservice gives the VirtualService and DestinationRule that the guide writes by hand.
#![allow(clippy::unwrap_used, clippy::panic)]

use jiff::SignedDuration;
use microservice_operator::{
    api::Provider,
    input,
    plan::{Settings, resources::Stamp},
    render::render_documents,
};
use serde_json::{Value, json};

const HOST: &str = "order-service.default.svc.cluster.local";

/// Today's form of what the guide writes: full host names, and the field that `consecutiveErrors` has become.
fn modern(mut spec: Value) -> Value {
    match &mut spec {
        Value::Object(fields) => {
            if let Some(errors) = fields.remove("consecutiveErrors") {
                fields.insert("consecutive5xxErrors".to_owned(), errors);
            }
            for (key, value) in fields.iter_mut() {
                *value = match (key.as_str(), value.take()) {
                    ("host", Value::String(name)) if name == "order-service" => json!(HOST),
                    ("hosts", Value::Array(_)) => json!([HOST]),
                    (_, other) => modern(other),
                };
            }
        }
        Value::Array(entries) => entries.iter_mut().for_each(|entry| *entry = modern(entry.take())),
        _ => {}
    }
    spec
}

/// Without the names of routes, which mean nothing to requests.
fn nameless(mut spec: Value) -> Value {
    for route in spec.get_mut("http").and_then(Value::as_array_mut).into_iter().flatten() {
        route.as_object_mut().unwrap().remove("name");
    }
    spec
}

#[test]
fn the_guides_own_routes_and_limits_come_out() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let written = std::fs::read_to_string(root.join("guide/istio.yaml")).unwrap();
    let written: Vec<Value> = serde_yaml::from_multiple(&written).unwrap();
    let input = input::read(&[root.join("guide/microservice.yaml")], &mut std::io::empty());
    assert!(input.errors.is_empty(), "{:?}", input.errors);
    let settings = Settings {
        provider: Provider::Istio,
        propagation: SignedDuration::from_secs(5),
        stamp: Stamp { operator_version: "0.0.0".to_owned(), chart: None },
    };
    let objects = render_documents(&input.documents, "default", &settings).unwrap();
    assert_eq!(written.len(), 2);
    for by_hand in written {
        let ours = objects.iter().find(|object| object["kind"] == by_hand["kind"]).unwrap();
        assert_eq!(ours["apiVersion"], "networking.istio.io/v1");
        assert_eq!(ours["metadata"]["name"], by_hand["metadata"]["name"]);
        assert_eq!(nameless(ours["spec"].clone()), modern(by_hand["spec"].clone()), "{}", by_hand["kind"]);
    }
}
