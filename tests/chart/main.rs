//! The chart, checked with the real helm, and kustomize's objects beside it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod copies;
mod objects;
mod rights;
mod values;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::LazyLock,
};

use devcluster::{Tool, tool};
use serde_json::Value;

const CHART: &str = "charts/microservice-operator";
const NAMESPACE: &str = "microservice-operator-system";

static HELM: LazyLock<PathBuf> = LazyLock::new(|| tool(Tool::Helm).unwrap());
static KUBECTL: LazyLock<PathBuf> = LazyLock::new(|| tool(Tool::Kubectl).unwrap());

/// Settings that switch on everything that is optional.
const ALL_OPTIONS: &[&str] = &[
    "replicas=2",
    "image.repository=registry.example/platform/microservice-operator",
    "image.digest=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    "imagePullSecrets[0].name=registry",
    "podLabels.team=platform",
    "podAnnotations.note=here",
    "priorityClassName=system-cluster-critical",
    "nodeSelector.kubernetes\\.io/os=linux",
    "tolerations[0].key=infra,tolerations[0].operator=Exists",
    "serviceAccount.annotations.owner=platform",
    "service.annotations.note=here",
    "serviceMonitor.enabled=true,serviceMonitor.labels.release=prometheus",
    "prometheusRule.enabled=true,prometheusRule.labels.release=prometheus",
    "dashboard.enabled=true",
    "networkPolicy.enabled=true",
    "networkPolicy.egress[0].ports[0].port=9090",
    "networkPolicy.apiServerPeers[0].ipBlock.cidr=10.0.0.1/32",
    "analysisProviders.secrets={datadog-keys}",
    "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.team=monitoring",
];

fn run(program: &Path, args: &[&str]) -> Output {
    Command::new(program).args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The arguments, with a `--set` for each setting.
fn with<'a>(args: &[&'a str], settings: &[&'a str]) -> Vec<&'a str> {
    args.iter().copied().chain(settings.iter().flat_map(|setting| ["--set", setting])).collect()
}

fn helm_template(settings: &[&str]) -> Output {
    run(&HELM, &with(&["template", "microservice-operator", CHART, "--namespace", NAMESPACE], settings))
}

fn documents(text: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_yaml::from_multiple(text).unwrap();
    all.into_iter().filter(|document| !document.is_null()).collect()
}

fn template(settings: &[&str]) -> Vec<Value> {
    documents(&stdout(&helm_template(settings)))
}

fn file(path: &str) -> String {
    let absolute = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(absolute).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Value {
    serde_yaml::from_str(&file(path)).unwrap()
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// `Kind namespace/name`, or `Kind name` for an object of the cluster.
fn id(object: &Value) -> String {
    let (kind, name) = (text(object, "/kind"), text(object, "/metadata/name"));
    match text(object, "/metadata/namespace") {
        "" => format!("{kind} {name}"),
        namespace => format!("{kind} {namespace}/{name}"),
    }
}

fn ids(objects: &[Value]) -> BTreeSet<String> {
    objects.iter().map(id).collect()
}

fn find<'a>(objects: &'a [Value], wanted: &str) -> &'a Value {
    objects.iter().find(|object| id(object) == wanted).unwrap_or_else(|| panic!("{wanted} in {:?}", ids(objects)))
}

/// An object of the default installation by its kind, where all of them have the same name.
fn ours<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    find(objects, &format!("{kind} {NAMESPACE}/microservice-operator"))
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}
