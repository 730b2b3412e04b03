//! What is refused, by whom, and with which words: every manifest of `tests/manifests`, and the CRD itself, without a
//! cluster.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{collections::BTreeSet, fs, path::Path};

use kube::core::cel::{Validator, compile_schema};
use microservice_operator::{
    api::{Provider, crd, schema::open_api_schema},
    input::{self, Document},
    offline::Checker,
    validate::Problem,
};
use serde_json::{Value, json};

/// A manifest with what its first comments say of it.
struct Case {
    name: String,
    expect: String,
    at: String,
    document: Document,
}

fn cases(folder: &str) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests").join(folder);
    let input = input::read(&[path], &mut std::io::empty());
    assert!(input.errors.is_empty() && input.passed_over == 0, "{:?}", input.errors);
    let comment = |text: &str, key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("# {key}: ")));
        line.unwrap_or_default().to_owned()
    };
    input
        .documents
        .into_iter()
        .map(|document| {
            let text = fs::read_to_string(&document.origin.file).unwrap();
            let name = document.origin.file.rsplit('/').next().unwrap().to_owned();
            Case { name, expect: comment(&text, "expect"), at: comment(&text, "at"), document }
        })
        .collect()
}

/// None when the expected problem is among those found.
fn missing(found: &[Problem], case: &Case) -> Option<String> {
    let Case { name, expect, at, .. } = case;
    assert!(!expect.is_empty() && !at.is_empty(), "{name}: does not say what to expect");
    let told = found.iter().any(|problem| problem.path == *at && problem.message.contains(expect));
    (!told).then(|| format!("{name}: expected {at}: {expect}\n    found {found:?}"))
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_api_server_refuses_what_it_can_see() {
    let checker = Checker::new().unwrap();
    let cases = cases("refused");
    assert!(cases.len() >= 45, "only {} manifests", cases.len());
    let wrong: Vec<_> = cases
        .iter()
        .filter_map(|case| missing(&checker.check(&case.document.value, Provider::Istio).refused, case))
        .collect();
    assert_none(&wrong);
}

#[test]
fn the_operator_stalls_on_what_only_it_can_see() {
    let checker = Checker::new().unwrap();
    let cases = cases("stalled");
    assert!(cases.len() >= 18, "only {} manifests", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let verdict = checker.check(&case.document.value, Provider::Istio);
        wrong.extend(missing(&verdict.stalled, &case));
        if !verdict.refused.is_empty() || verdict.stalled.len() > 1 {
            let found: Vec<_> = verdict.problems().collect();
            wrong.push(format!("{}: something else is wrong, too: {found:?}", case.name));
        }
    }
    assert_none(&wrong);
}

#[test]
fn nobody_refuses_what_is_right() {
    let checker = Checker::new().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [root.join("tests/manifests/accepted"), root.join("examples")];
    let input = input::read(&folders, &mut std::io::empty());
    assert!(input.errors.is_empty() && input.documents.len() > 8, "{:?}", input.errors);
    for document in input.documents {
        let verdict = checker.check(&document.value, Provider::Istio);
        let found: Vec<_> = verdict.problems().map(Problem::to_string).collect();
        assert!(found.is_empty(), "{}: {found:?}", document.origin);
        assert!(verdict.read.is_some());
    }
}

/// A rule that no manifest breaks may as well be wrong.
#[test]
fn every_rule_is_broken_by_a_manifest() {
    let schema = open_api_schema().unwrap();
    let mut untested = BTreeSet::new();
    walk(&schema, "", &mut |schema, _| {
        let rules = schema.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten();
        untested.extend(rules.map(|rule| rule["rule"].as_str().unwrap().to_owned()));
    });
    let compiled = compile_schema(&schema);
    let validator = Validator::new();
    for case in cases("refused") {
        for broken in validator.validate_compiled(&compiled, &case.document.value, None).err().into_iter().flatten() {
            untested.remove(&broken.rule);
        }
    }
    assert_none(&untested.into_iter().collect::<Vec<_>>());
}

#[test]
fn a_webhook_is_refused_that_anybody_could_answer() {
    let checker = Checker::new().unwrap();
    let told = |spec: Value| {
        let object = json!({
            "apiVersion": "microservice-operator.dev/v1alpha1", "kind": "RolloutWebhook",
            "metadata": {"name": "tests"}, "spec": spec,
        });
        let refused = checker.check(&object, Provider::Istio).refused;
        refused.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ")
    };
    for spec in [
        json!({"url": "https://ci.example/hook?team=shop"}),
        json!({"url": "http://ci.ci.svc:8080/hook", "allowHttp": true, "timeout": "1m", "retries": 5}),
    ] {
        assert_eq!(told(spec.clone()), "", "{spec}");
    }
    for (spec, expected) in [
        (json!({"url": "http://ci.example"}), "use https://, or set allowHttp"),
        (json!({"url": "http://ci.example", "allowHttp": false}), "use https://, or set allowHttp"),
        (json!({"url": "ftp://ci.example"}), "an address begins with https://"),
        (json!({"url": "https://me:secret@ci.example"}), "has no credentials in it"),
        (json!({"url": "https:///hook"}), "an address begins with https://"),
        (json!({"url": "https://ci.example", "timeout": "2m"}), "timeout must be from 100ms to 1m"),
        (json!({"url": "https://ci.example", "timeout": "10ms"}), "timeout must be from 100ms to 1m"),
        (json!({"url": "https://ci.example", "retries": 6}), "spec.retries"),
        (json!({"url": "https://ci.example", "insecure": true}), "unknown field \"spec.insecure\""),
        (json!({}), "spec.url"),
    ] {
        let told = told(spec.clone());
        assert!(told.contains(expected), "{spec}: {told}");
    }
}

/// `kubectl apply` keeps the whole manifest in an annotation, as Go writes JSON, and annotations have 256 KiB.
#[test]
fn the_crd_fits_into_an_annotation() {
    let text = serde_json::to_string(&crd().unwrap()).unwrap();
    let escaped = text.chars().filter(|c| matches!(c, '<' | '>' | '&')).count() * ("\\u003c".len() - 1);
    let annotation = "kubectl.kubernetes.io/last-applied-configuration".len() + text.len() + escaped;
    assert!(annotation + 4096 < 256 * 1024, "{annotation} bytes leave no room for other annotations");
}

/// Calls `check` with every schema below one, and its path.
fn walk(schema: &Value, path: &str, check: &mut dyn FnMut(&Value, &str)) {
    check(schema, path);
    for (name, child) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        walk(child, &format!("{path}.{name}"), check);
    }
    for (key, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(child) = schema.get(key) {
            walk(child, &format!("{path}{mark}"), check);
        }
    }
}

#[test]
fn every_field_is_described() {
    let mut bare = Vec::new();
    let schema = open_api_schema().unwrap();
    let mut of_the_service = BTreeSet::new();
    walk(&schema, "", &mut |_, path| {
        of_the_service.insert(path.to_owned());
    });
    walk(&schema, "", &mut |schema, path| {
        // Settings that a version repeats refer to those of the service.
        let repeated = path.strip_prefix(".spec.versions[].").is_some_and(|setting| {
            setting.contains(['.', '[', '{']) && of_the_service.contains(&format!(".spec.{setting}"))
        });
        let documented = schema.get("description").and_then(Value::as_str).is_some_and(|text| text.len() > 3);
        let is_field = !path.is_empty() && !path.ends_with(['}', ']']) && !path.starts_with(".metadata");
        if is_field && !documented && !repeated {
            bare.push(path.to_owned());
        }
    });
    assert_eq!(bare, Vec::<String>::new());
}

#[test]
fn everything_is_bounded_and_structural() {
    let allowed: BTreeSet<&str> = [
        "additionalProperties",
        "default",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "pattern",
        "properties",
        "required",
        "title",
        "type",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-validations",
    ]
    .into();
    let mut wrong = Vec::new();
    walk(&open_api_schema().unwrap(), "", &mut |schema, path| {
        let has = |key: &str| schema.get(key).is_some();
        let bounded = match schema.get("type").and_then(Value::as_str) {
            Some("string") => has("maxLength") || has("enum") || has("format"),
            Some("array") => has("maxItems") && has("items"),
            Some("object") => has("properties") || (has("additionalProperties") && has("maxProperties")),
            Some("integer") => has("format"),
            Some(_) => true,
            None => has("x-kubernetes-int-or-string") && has("maxLength"),
        };
        let known = schema.as_object().unwrap().keys().all(|key| allowed.contains(key.as_str()));
        if !bounded || !known {
            wrong.push(path.to_owned());
        }
    });
    assert_eq!(wrong, Vec::<String>::new());
}

/// A manifest, or the part of a Microservice that a document shows, made whole.
fn whole(part: Value) -> Value {
    let mut manifest = json!({
        "apiVersion": "microservice-operator.dev/v1alpha1", "kind": "Microservice", "metadata": {"name": "order-service"},
        "spec": {
            "ports": [{"name": "http", "port": 80}],
            "versions": [{"name": "v1", "image": "a:1", "weight": 0}, {"name": "v2", "image": "a:2", "weight": 100}],
        },
    });
    if part.get("apiVersion").is_some() {
        return part;
    }
    let spec = part.get("spec").cloned().unwrap_or(part);
    for (field, value) in spec.as_object().unwrap() {
        manifest["spec"][field] = value.clone();
    }
    if manifest["spec"]["rollout"].get("steps").is_none() && manifest["spec"].get("rollout").is_some() {
        manifest["spec"]["rollout"]["steps"] = json!([{"weight": 50}]);
    }
    manifest
}

#[test]
fn nobody_refuses_what_the_documents_show() {
    let checker = Checker::new().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documents = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let documents = documents.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let (mut shown, mut wrong) = (0, Vec::new());
    for path in documents.chain([root.join("README.md")]) {
        let text = fs::read_to_string(&path).unwrap();
        let blocks = text.split("\n```yaml\n").skip(1).map(|block| block.split("\n```").next().unwrap());
        for part in blocks.flat_map(|block| block.split("\n---\n")) {
            let manifest = whole(serde_yaml::from_str(part).unwrap());
            let verdict = checker.check(&manifest, Provider::Istio);
            wrong.extend(verdict.problems().map(|problem| format!("{}: {problem} in\n{part}", path.display())));
            shown += 1;
        }
    }
    assert!(shown >= 8, "only {shown} parts");
    assert_none(&wrong);
}
