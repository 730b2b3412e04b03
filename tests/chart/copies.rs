//! What is written down twice is the same.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{CHART, KUBECTL, documents, file, find, id, ids, run, stdout, template, text, yaml};

#[test]
fn versions_are_the_packages() {
    let version = env!("CARGO_PKG_VERSION");
    let chart = yaml(&format!("{CHART}/Chart.yaml"));
    assert_eq!((text(&chart, "/version"), text(&chart, "/appVersion")), (version, version));
    let kustomization = yaml("config/default/kustomization.yaml");
    assert_eq!(text(&kustomization, "/images/0/newTag"), version);
    assert_eq!(text(&kustomization, "/labels/0/pairs/app.kubernetes.io~1version"), version);
}

/// The value with every number as a float: helm writes 100 for 100.0.
fn floats(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().into(),
        Value::Array(items) => items.iter().map(floats).collect(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), floats(value))).collect(),
        other => other.clone(),
    }
}

#[test]
fn the_crds_are_the_generated_ones() {
    let keep = "/metadata/annotations/helm.sh~1resource-policy";
    let objects = template(&[]);
    for plural in ["microservices", "microserviceactions", "analysisproviders", "rolloutwebhooks"] {
        let path = format!("crds/{plural}.yaml");
        let source = file(&path);
        for folder in [&format!("{CHART}/files"), "config/crd"] {
            assert!(
                file(&format!("{folder}/{plural}.yaml")) == source,
                "{folder} differs from {path}: run `make generate`"
            );
        }
        let name = format!("CustomResourceDefinition {plural}.microservice-operator.dev");
        let rendered = find(&objects, &name);
        assert!(floats(&rendered["spec"]) == floats(&yaml(&path)["spec"]), "the chart changes {path} on its way");
        assert_eq!(text(rendered, keep), "keep");
        assert_eq!(text(find(&template(&["crds.keep=false"]), &name), keep), "");
        assert!(!ids(&template(&["crds.enabled=false"])).contains(&name));
    }
}

/// What a source has in quotes, up to its tests.
fn quoted(source: &str) -> BTreeSet<String> {
    let source = file(source);
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    code.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_page_for_operations_has_every_alert_metric_condition_reason_and_event() {
    let page = file("docs/operations.md");
    let alerts = yaml(&format!("{CHART}/files/alerts.yaml"));
    let rules = alerts.pointer("/groups/0/rules").and_then(Value::as_array).into_iter().flatten();
    let alerts: BTreeSet<String> = rules.map(|rule| text(rule, "/alert").to_owned()).collect();
    let is_metric = |word: &String| {
        ["controller_", "rest_client_", "leader_", "microservice_operator_"].iter().any(|first| word.starts_with(first))
    };
    let metrics: BTreeSet<String> = quoted("src/telemetry/metrics.rs").into_iter().filter(is_metric).collect();
    let is_name = |word: &String| {
        word.len() > "False".len()
            && word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.chars().all(|c| c.is_ascii_alphanumeric())
    };
    let told = ["src/api/conditions.rs", "src/status/events.rs"].into_iter().flat_map(quoted).filter(is_name);
    let names: BTreeSet<String> = told.collect();
    assert!(alerts.len() > 7 && metrics.len() > 10 && names.len() > 60, "{alerts:?} {metrics:?} {names:?}");
    // Counters and the build have a suffix that the registry adds.
    let is_untold =
        |word: &String| !["", "_total", "_info"].iter().any(|suffix| page.contains(&format!("`{word}{suffix}`")));
    let untold: Vec<_> = [alerts, metrics, names].into_iter().flatten().filter(is_untold).collect();
    assert!(untold.is_empty(), "docs/operations.md does not tell of {untold:?}");
}

/// An object as both ways of installing give it: less what tells helm's releases apart.
fn comparable(mut object: Value) -> (String, Value) {
    let id = id(&object);
    let helms = [
        ("labels", &["helm.sh/chart", "app.kubernetes.io/managed-by"][..]),
        ("annotations", &["helm.sh/resource-policy"]),
    ];
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for (field, keys) in helms {
            if let Some(map) = metadata.get_mut(field).and_then(Value::as_object_mut) {
                map.retain(|key, _| !keys.contains(&key.as_str()));
                if map.is_empty() {
                    metadata.remove(field);
                }
            }
        }
    }
    if let Some(env) = object.pointer_mut("/spec/template/spec/containers/0/env").and_then(Value::as_array_mut) {
        env.retain(|variable| variable["name"] != "MSO_CHART");
    }
    (id, object)
}

#[test]
fn kustomize_gives_the_same_objects() {
    let kustomize: BTreeMap<_, _> = documents(&stdout(&run(&KUBECTL, &["kustomize", "config/default"])))
        .into_iter()
        .filter(|object| text(object, "/kind") != "Namespace")
        .map(comparable)
        .collect();
    let helm: BTreeMap<_, _> = template(&[])
        .into_iter()
        .filter(|object| text(object, "/metadata/annotations/helm.sh~1hook").is_empty())
        .map(comparable)
        .collect();
    assert_eq!(kustomize.keys().collect::<Vec<_>>(), helm.keys().collect::<Vec<_>>());
    for (id, object) in &kustomize {
        if id.starts_with("CustomResourceDefinition") {
            assert!(floats(object) == floats(&helm[id]), "{id} differs");
        } else {
            assert_eq!(object, &helm[id], "{id}");
        }
    }
    let samples = documents(&stdout(&run(&KUBECTL, &["kustomize", "config/samples"])));
    let expected = ["AnalysisProvider sample", "Microservice hello", "RolloutWebhook sample"];
    assert_eq!(ids(&samples), expected.map(str::to_owned).into());
}
