//! What GitOps tools are told of a Microservice's health, in the languages that they read: Lua for Argo CD, CEL for Flux.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeMap, fs, path::Path};

use cel::{Context, Program, Value as CelValue};
use mlua::{Lua, LuaSerdeExt};
use serde_json::{Value, json};

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/gitops").join(name)).unwrap()
}

/// A Microservice with these conditions True, and all others False.
fn microservice(phase: &str, are_true: &[&str], observed: i64) -> Value {
    let types = ["Ready", "Available", "Reconciling", "Stalled", "Promoted", "Paused"];
    let condition =
        |type_: &&str| json!({"type": type_, "status": if are_true.contains(type_) { "True" } else { "False" }});
    json!({
        "metadata": {"name": "order-service", "generation": 2},
        "status": {
            "observedGeneration": observed, "phase": phase, "message": "what holds it",
            "conditions": types.iter().map(condition).collect::<Vec<_>>(),
        },
    })
}

/// Each situation, with its health in Argo CD and in Flux.
fn situations() -> Vec<(&'static str, Value, &'static str, &'static str)> {
    let fresh = json!({"metadata": {"name": "order-service", "generation": 1}});
    let no_conditions = json!({"metadata": {"generation": 1}, "status": {"observedGeneration": 1}});
    vec![
        ("not seen at all", fresh, "Progressing", "inProgress"),
        ("without conditions", no_conditions, "Progressing", "inProgress"),
        ("an older generation", microservice("Ready", &["Ready", "Available"], 1), "Progressing", "inProgress"),
        ("ready", microservice("Ready", &["Ready", "Available", "Promoted"], 2), "Healthy", "current"),
        ("on its way", microservice("Progressing", &["Available", "Reconciling"], 2), "Progressing", "inProgress"),
        ("paused", microservice("Progressing", &["Available", "Reconciling", "Paused"], 2), "Suspended", "inProgress"),
        ("rolled back", microservice("Stalled", &["Available", "Stalled"], 2), "Degraded", "failed"),
        ("a version fails", microservice("Degraded", &["Available", "Reconciling"], 2), "Degraded", "inProgress"),
    ]
}

#[test]
fn argo_cd_reads_the_health() {
    let script = file("argocd-health.lua");
    for (what, object, expected, _) in situations() {
        let lua = Lua::new();
        lua.globals().set("obj", lua.to_value(&object).unwrap()).unwrap();
        let health: BTreeMap<String, String> = lua.from_value(lua.load(&script).eval().unwrap()).unwrap();
        assert_eq!(health["status"], expected, "{what}");
        let told = object.pointer("/status/conditions").is_some() && object["status"]["observedGeneration"] == 2;
        assert_eq!(health["message"] == "what holds it", told, "{what}: {health:?}");
    }
}

#[test]
fn flux_reads_the_health() {
    let text: Value = serde_yaml::from_str(&file("flux-health.yaml")).unwrap();
    let rules = text["healthCheckExprs"][0].clone();
    assert_eq!(
        (rules["apiVersion"].as_str(), rules["kind"].as_str()),
        (Some("microservice-operator.dev/v1alpha1"), Some("Microservice"))
    );
    for (what, object, _, expected) in situations() {
        // Flux asks in this order, and an expression that cannot be evaluated is not true.
        let holds = |name: &&&str| {
            let program = Program::compile(rules[**name].as_str().unwrap()).unwrap();
            let mut context = Context::default();
            for field in ["metadata", "status"] {
                if let Some(value) = object.get(field) {
                    context.add_variable(field, value).unwrap();
                }
            }
            matches!(program.execute(&context), Ok(CelValue::Bool(true)))
        };
        let found = ["inProgress", "failed", "current"].iter().find(holds).copied();
        assert_eq!(found.unwrap_or("inProgress"), expected, "{what}");
    }
}
