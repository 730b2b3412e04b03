//! Which values are taken, and what is said about them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{ALL_OPTIONS, CHART, HELM, file, helm_template, id, run, stdout, with, yaml};

#[test]
fn lints_strictly() {
    for settings in [&[][..], &["watchNamespaces={a,b}"], ALL_OPTIONS] {
        let output = run(&HELM, &with(&["lint", "--strict", CHART], settings));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn wrong_values_are_refused() {
    for (setting, told) in [
        ("replicaz=2", &["additional properties", "replicaz"][..]),
        ("image.repo=x", &["/image", "repo"]),
        ("provider=Linkerd", &["/provider", "Istio"]),
        ("analysisProviders.read=Sometimes", &["/analysisProviders/read", "Auto"]),
        ("analysisProviders.secrets={A_b}", &["/analysisProviders/secrets/0", "pattern"]),
        ("meshPropagation=5", &["/meshPropagation", "string"]),
        ("meshPropagation=5d", &["/meshPropagation", "pattern"]),
        ("concurrency=0", &["/concurrency", "minimum"]),
        ("shards=4", &["shards is 4 and replicas is 1", "set replicas to 4 or more"]),
        ("shards=0", &["/shards", "minimum"]),
        ("previousShards=0", &["/previousShards", "minimum"]),
        ("log.level=warning", &["/log/level", "does not match pattern"]),
        ("replicas=two", &["/replicas", "integer"]),
        ("watchNamespaces=shop", &["/watchNamespaces", "array"]),
        ("watchNamespaces={Shop}", &["/watchNamespaces/0", "pattern"]),
        ("log.format=xml", &["/log/format", "json"]),
        ("image.digest=latest", &["/image/digest", "pattern"]),
        ("resources.limits.memory=lots", &["/resources/limits/memory", "pattern"]),
        ("resources.limit.memory=1Gi", &["/resources", "limit"]),
        ("podSecurityContext.runAsUser=root", &["/podSecurityContext/runAsUser", "integer"]),
        ("podSecurityContext.runAsUsers=1", &["/podSecurityContext", "runAsUsers"]),
        ("securityContext.privileged=perhaps", &["/securityContext/privileged", "boolean"]),
        ("crds.enabled=perhaps", &["/crds/enabled", "boolean"]),
        ("service.port=70000", &["/service/port", "maximum"]),
        ("topologySpreadConstraints[0].maxSkew=2", &["/topologySpreadConstraints/0", "topologyKey"]),
    ] {
        let output = helm_template(&[setting]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{setting} was accepted");
        for word in told {
            assert!(error.contains(word), "{setting}: {word:?} is not in: {error}");
        }
    }
}

#[test]
fn quantities_may_be_numbers() {
    let with_resources = |resources: &str| {
        let setting = format!("resources={resources}");
        run(&HELM, &["template", "mso", CHART, "--set-json", &setting])
    };
    let told = stdout(&with_resources(r#"{"limits": {"cpu": 0.5, "memory": 536870912}, "requests": {"cpu": 0.25}}"#));
    assert!(told.contains("cpu: 0.5\n") && told.contains("cpu: 0.25\n"), "{told}");
    let refused = with_resources(r#"{"limits": {"cpu": -1}}"#);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && told.contains("/resources/limits/cpu"), "{told}");
}

#[test]
fn the_schema_knows_the_values_and_nothing_else() {
    fn check(path: &str, schema: &Value, values: &Value) {
        let Some(properties) = schema["properties"].as_object() else { return };
        assert_eq!(schema["additionalProperties"], json!(false), "{path}");
        let known: BTreeSet<_> = properties.keys().filter(|key| *key != "global").collect();
        if let Some(values) = values.as_object().filter(|values| !values.is_empty()) {
            assert_eq!(values.keys().collect::<BTreeSet<_>>(), known, "{path}");
        }
        for (name, schema) in properties {
            check(&format!("{path}/{name}"), schema, &values.get(name).cloned().unwrap_or_default());
            check(&format!("{path}/{name}/0"), &schema["items"], &Value::Null);
        }
    }
    let schema: Value = serde_json::from_str(&file(&format!("{CHART}/values.schema.json"))).unwrap();
    check("", &schema, &yaml(&format!("{CHART}/values.yaml")));
}

#[test]
fn notes_tell_what_comes_next() {
    let notes = |settings: &[&str]| {
        let args = with(&["install", "mso", CHART, "--namespace", "ops", "--dry-run=client"], settings);
        let output = stdout(&run(&HELM, &args));
        output.split_once("NOTES:").map(|(_, notes)| notes.to_owned()).unwrap()
    };
    let plain = notes(&[]);
    for command in [
        "kubectl rollout status deployment/mso-microservice-operator --namespace ops",
        "kubectl apply -f - <<EOF",
        "kubectl get microservices --all-namespaces --watch",
        "set image.repository",
    ] {
        assert!(plain.contains(command), "{command:?} is not in: {plain}");
    }
    assert!(plain.contains("--take-ownership"), "{plain}");
    let deleted = notes(&["crds.keep=false"]);
    assert!(deleted.contains("deletes all Microservices") && !deleted.contains("--take-ownership"), "{deleted}");
    let hello = plain.split_once("<<EOF\n").and_then(|(_, rest)| rest.split_once("\nEOF\n")).unwrap().0;
    let hello: Value = serde_yaml::from_str(hello).unwrap();
    assert_eq!(id(&hello), "Microservice default/hello");

    let other = notes(&["watchNamespaces={shop}", "image.repository=registry.example/mso", "crds.enabled=false"]);
    assert!(other.contains("--namespace shop --watch") && other.contains("namespace: shop"), "{other}");
    assert!(other.contains("are not part of this release") && !other.contains("set image.repository"), "{other}");
}
