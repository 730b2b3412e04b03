//! AnalysisProviders without a cluster: what is refused, with which words, and that their CRD is one to install.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeSet, fs, path::Path};

use kube::core::cel::{Validator, compile_schema};
use microservice_operator::{
    api::{Provider, schema::provider_schema},
    input::{self, Document},
    offline::Checker,
};
use serde_json::Value;

fn manifests(folder: &str) -> Vec<Document> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let input = input::read(&[path], &mut std::io::empty());
    assert!(input.errors.is_empty() && !input.documents.is_empty(), "{:?}", input.errors);
    input.documents
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_api_server_refuses_what_is_wrong() {
    let checker = Checker::new().unwrap();
    let mut wrong = Vec::new();
    for document in manifests("tests/manifests/providers/refused") {
        let text = fs::read_to_string(&document.origin.file).unwrap();
        let comment = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("# {key}: ")));
            line.expect("the manifest says what to expect").to_owned()
        };
        let (expect, at) = (comment("expect"), comment("at"));
        let refused = checker.check(&document.value, Provider::Istio).refused;
        let told = matches!(refused.as_slice(), [one] if one.path == at && one.message.contains(&expect));
        if !told {
            wrong.push(format!("{}: expected {at}: {expect}\n    found {refused:?}", document.origin));
        }
    }
    assert_none(&wrong);
}

#[test]
fn nobody_refuses_what_is_right() {
    let checker = Checker::new().unwrap();
    let samples = ["config/samples/analysis_provider.yaml", "config/samples/rollout_webhook.yaml"];
    let all = ["tests/manifests/providers/accepted"].into_iter().chain(samples);
    for document in all.flat_map(manifests) {
        let refused = checker.check(&document.value, Provider::Istio).refused;
        assert!(refused.is_empty(), "{}: {refused:?}", document.origin);
    }
}

/// A rule that no manifest breaks may as well be wrong.
#[test]
fn every_rule_is_broken_by_a_manifest() {
    let schema = provider_schema().unwrap();
    let mut untested = BTreeSet::new();
    walk(&schema, "", &mut |node, _| {
        let rules = node.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten();
        untested.extend(rules.map(|rule| rule["rule"].as_str().unwrap().to_owned()));
    });
    // The one of all durations has its manifests among the Microservices.
    untested.remove("duration(self) >= duration('1ms')");
    assert!(untested.len() > 8, "{untested:?}");
    let compiled = compile_schema(&schema);
    let validator = Validator::new();
    for document in manifests("tests/manifests/providers/refused") {
        let mut value = document.value;
        if let Some(http) = value["spec"].get_mut("http").and_then(Value::as_object_mut) {
            http.entry("method").or_insert_with(|| "GET".into());
        }
        let spec = value["spec"].as_object_mut().unwrap();
        spec.entry("ownQueries").or_insert_with(|| "Deny".into());
        for broken in validator.validate_compiled(&compiled, &value, None).err().into_iter().flatten() {
            untested.remove(&broken.rule);
        }
    }
    assert_none(&untested.into_iter().collect::<Vec<_>>());
}

#[test]
fn every_field_is_described_and_bounded() {
    let mut wrong = Vec::new();
    walk(&provider_schema().unwrap(), "", &mut |node, path| {
        let has = |key: &str| node.get(key).is_some();
        let bounded = match node.get("type").and_then(Value::as_str) {
            Some("string") => has("maxLength") || has("enum") || has("format"),
            Some("array") => has("maxItems") && has("items"),
            Some("object") => has("properties"),
            _ => true,
        };
        let is_field = !path.is_empty() && !path.ends_with(']') && !path.starts_with(".metadata");
        if !bounded || (is_field && !has("description")) {
            wrong.push(path.to_owned());
        }
    });
    assert_none(&wrong);
}

/// Calls `check` with every schema below one, and its path.
fn walk(schema: &Value, path: &str, check: &mut dyn FnMut(&Value, &str)) {
    check(schema, path);
    for (name, child) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        walk(child, &format!("{path}.{name}"), check);
    }
    if let Some(child) = schema.get("items") {
        walk(child, &format!("{path}[]"), check);
    }
}
