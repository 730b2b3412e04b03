//! What is written down twice is the same.

use std::collections::BTreeMap;

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
    let expected = ["AnalysisProvider default", "Microservice hello", "RolloutWebhook load-test"];
    assert_eq!(ids(&samples), expected.map(str::to_owned).into());
}
