//! The chart, checked with the real helm, and kustomize's objects beside it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::LazyLock,
};

use devcluster::{Tool, tool};
use serde_json::{Value, json};

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

/// Every right that the objects' rules give, as `Kind name: group/resource[names]: verb`.
fn rights(objects: &[Value]) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    for role in objects.iter().filter(|object| object.get("rules").is_some()) {
        for rule in role["rules"].as_array().unwrap() {
            let names = strings(&rule["resourceNames"]).join(",");
            let names = if names.is_empty() { names } else { format!("[{names}]") };
            for group in strings(&rule["apiGroups"]) {
                for resource in strings(&rule["resources"]) {
                    for verb in strings(&rule["verbs"]) {
                        rights.insert(format!("{}: {group}/{resource}{names}: {verb}", id(role)));
                    }
                }
            }
        }
    }
    rights
}

#[test]
fn lints_strictly() {
    for settings in [&[][..], &["watchNamespaces={a,b}"], ALL_OPTIONS] {
        let output = run(&HELM, &with(&["lint", "--strict", CHART], settings));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn versions_are_the_packages() {
    let version = env!("CARGO_PKG_VERSION");
    let chart = yaml(&format!("{CHART}/Chart.yaml"));
    assert_eq!((text(&chart, "/version"), text(&chart, "/appVersion")), (version, version));
    let kustomization = yaml("config/default/kustomization.yaml");
    assert_eq!(text(&kustomization, "/images/0/newTag"), version);
    assert_eq!(text(&kustomization, "/labels/0/pairs/app.kubernetes.io~1version"), version);
}

#[test]
fn default_values_give_a_small_installation() {
    let objects = template(&[]);
    let expected = [
        "ClusterRole microservice-operator",
        "ClusterRole microservice-operator-edit",
        "ClusterRole microservice-operator-view",
        "ClusterRoleBinding microservice-operator",
        "CustomResourceDefinition microserviceactions.microservice-operator.dev",
        "CustomResourceDefinition microservices.microservice-operator.dev",
        "Deployment microservice-operator-system/microservice-operator",
        "Pod microservice-operator-system/microservice-operator-readyz",
        "Role microservice-operator-system/microservice-operator-lease",
        "RoleBinding microservice-operator-system/microservice-operator-lease",
        "Service microservice-operator-system/microservice-operator",
        "ServiceAccount microservice-operator-system/microservice-operator",
        "ValidatingAdmissionPolicy microservice-operator-action-actor",
        "ValidatingAdmissionPolicyBinding microservice-operator-action-actor",
    ];
    assert_eq!(ids(&objects), expected.map(str::to_owned).into());
    let test = find(&objects, "Pod microservice-operator-system/microservice-operator-readyz");
    assert_eq!(text(test, "/metadata/annotations/helm.sh~1hook"), "test");
}

#[test]
fn all_options_give_their_objects() {
    let objects = template(ALL_OPTIONS);
    let added: Vec<_> = ids(&objects).difference(&ids(&template(&[]))).cloned().collect();
    let expected = [
        "ConfigMap microservice-operator-system/microservice-operator-dashboard",
        "NetworkPolicy microservice-operator-system/microservice-operator",
        "PodDisruptionBudget microservice-operator-system/microservice-operator",
        "PrometheusRule microservice-operator-system/microservice-operator",
        "ServiceMonitor microservice-operator-system/microservice-operator",
    ];
    assert_eq!(added, expected);

    let pod = &ours(&objects, "Deployment")["spec"]["template"];
    assert!(text(pod, "/spec/containers/0/image").contains("/microservice-operator@sha256:0123"));
    for (pointer, value) in [
        ("/metadata/labels/team", "platform"),
        ("/metadata/annotations/note", "here"),
        ("/spec/imagePullSecrets/0/name", "registry"),
        ("/spec/tolerations/0/key", "infra"),
        ("/spec/priorityClassName", "system-cluster-critical"),
        ("/spec/nodeSelector/kubernetes.io~1os", "linux"),
    ] {
        assert_eq!(text(pod, pointer), value, "{pointer}");
    }

    let dashboard = find(&objects, "ConfigMap microservice-operator-system/microservice-operator-dashboard");
    let dashboard: Value = serde_json::from_str(text(dashboard, "/data/microservice-operator.json")).unwrap();
    assert!(!dashboard["panels"].as_array().unwrap().is_empty());
    for rule in ours(&objects, "PrometheusRule").pointer("/spec/groups/0/rules").and_then(Value::as_array).unwrap() {
        assert!(text(rule, "/expr").contains("microservice_operator_build_info"), "{rule}");
        assert!(!text(rule, "/annotations/description").is_empty(), "{rule}");
    }
}

#[test]
fn dashboard_and_alerts_use_metrics_that_exist() {
    let source = file("src/telemetry/metrics.rs");
    for name in ["alerts.yaml", "dashboard.json"] {
        let text = file(&format!("{CHART}/files/{name}"));
        let words: BTreeSet<&str> = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
        let metrics = words.into_iter().filter(|word| {
            ["controller_runtime_", "leader_", "microservice_", "rest_client_", "workqueue_"]
                .iter()
                .any(|prefix| word.starts_with(prefix))
        });
        for metric in metrics {
            let base = ["_total", "_bucket", "_info"].iter().find_map(|suffix| metric.strip_suffix(suffix));
            assert!(source.contains(&format!("\"{}\"", base.unwrap_or(metric))), "{name}: {metric} is not a metric");
        }
    }
}

#[test]
fn selectors_meet_the_pods() {
    let objects = template(ALL_OPTIONS);
    let pods = ours(&objects, "Deployment").pointer("/spec/template/metadata/labels").unwrap();
    let service = ours(&objects, "Service").pointer("/metadata/labels").unwrap();
    for (kind, selector, labels) in [
        ("Deployment", "/spec/selector/matchLabels", pods),
        ("Deployment", "/spec/template/spec/topologySpreadConstraints/0/labelSelector/matchLabels", pods),
        ("Service", "/spec/selector", pods),
        ("PodDisruptionBudget", "/spec/selector/matchLabels", pods),
        ("NetworkPolicy", "/spec/podSelector/matchLabels", pods),
        ("ServiceMonitor", "/spec/selector/matchLabels", service),
    ] {
        let selector = ours(&objects, kind).pointer(selector).and_then(Value::as_object).unwrap();
        let met = selector.iter().all(|(key, value)| labels[key] == *value);
        assert!(met && !selector.is_empty(), "{kind}: {selector:?}");
    }
}

#[test]
fn named_namespaces_need_no_rights_in_the_cluster() {
    let objects = template(&["watchNamespaces={shop,bookinfo}"]);
    let kinds: BTreeSet<&str> = objects.iter().map(|object| text(object, "/kind")).collect();
    assert!(!kinds.contains("ClusterRole") && !kinds.contains("ClusterRoleBinding"), "{kinds:?}");
    for namespace in ["shop", "bookinfo"] {
        find(&objects, &format!("Role {namespace}/microservice-operator"));
        let binding = find(&objects, &format!("RoleBinding {namespace}/microservice-operator"));
        assert_eq!(text(binding, "/subjects/0/namespace"), NAMESPACE);
        assert_eq!(text(binding, "/roleRef/kind"), "Role");
    }
    let args = strings(&ours(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]);
    assert!(args.contains(&"--namespace=shop,bookinfo"), "{args:?}");

    // What one namespace is served with is what all are served with, less the look at Istio's CRDs.
    let strip = |rights: BTreeSet<String>, role: &str| -> BTreeSet<String> {
        let prefix = format!("{role}: ");
        rights.into_iter().filter_map(|right| right.strip_prefix(&prefix).map(str::to_owned)).collect()
    };
    let one = strip(rights(&objects), "Role shop/microservice-operator");
    let all = strip(rights(&template(&[])), "ClusterRole microservice-operator");
    let rest: Vec<_> = all.difference(&one).collect();
    assert!(one.is_subset(&all) && rest.iter().all(|right| right.starts_with("apiextensions.k8s.io/")), "{rest:?}");

    // Without the CRD, nothing at all lies outside of namespaces.
    let objects = template(&["watchNamespaces={shop}", "crds.enabled=false"]);
    let outside: Vec<_> = ids(&objects).into_iter().filter(|id| !id.contains('/')).collect();
    assert!(outside.is_empty(), "{outside:?}");
}

#[test]
fn rights_are_the_least() {
    let mut expected = BTreeSet::new();
    let mut allow = |role: &str, resources: &[&str], verbs: &[&str]| {
        for resource in resources {
            expected.extend(verbs.iter().map(|verb| format!("{role}: {resource}: {verb}")));
        }
    };
    let operator = "ClusterRole microservice-operator";
    let lease = "Role microservice-operator-system/microservice-operator-lease";
    let children = [
        "apps/deployments",
        "apps/controllerrevisions",
        "/services",
        "/serviceaccounts",
        "policy/poddisruptionbudgets",
        "networking.istio.io/virtualservices",
        "networking.istio.io/destinationrules",
    ];
    let istio = "apiextensions.k8s.io/customresourcedefinitions[virtualservices.networking.istio.io,\
                 destinationrules.networking.istio.io]";
    allow(operator, &["microservice-operator.dev/microservices"], &["list", "watch"]);
    allow(operator, &["microservice-operator.dev/microservices/status"], &["patch"]);
    allow(operator, &["microservice-operator.dev/microserviceactions"], &["list", "watch", "delete"]);
    allow(operator, &["microservice-operator.dev/microserviceactions/status"], &["patch"]);
    allow(operator, &["microservice-operator.dev/microservices/finalizers"], &["update"]);
    allow(operator, &children, &["list", "watch", "create", "patch", "delete"]);
    allow(operator, &["/pods"], &["list", "watch"]);
    allow(operator, &["events.k8s.io/events"], &["create"]);
    allow(operator, &[istio], &["list", "watch"]);
    allow(lease, &["coordination.k8s.io/leases"], &["create"]);
    allow(lease, &["coordination.k8s.io/leases[microservice-operator]"], &["get", "patch"]);
    let peoples = |right: &String| right.contains("operator-view:") || right.contains("operator-edit:");
    let given: BTreeSet<_> = rights(&template(&[])).into_iter().filter(|right| !peoples(right)).collect();
    assert_eq!(given, expected);

    for settings in [&[][..], &["watchNamespaces={a}"], ALL_OPTIONS] {
        for right in rights(&template(settings)) {
            assert!(!right.contains('*') && !right.contains("secrets"), "{right}");
        }
    }
}

#[test]
fn peoples_roles_are_aggregated() {
    let objects = template(&[]);
    for (name, to, writes) in [("view", &["view", "edit", "admin"][..], false), ("edit", &["edit", "admin"], true)] {
        let role = find(&objects, &format!("ClusterRole microservice-operator-{name}"));
        let labels = role["metadata"]["labels"].as_object().unwrap();
        let prefix = "rbac.authorization.k8s.io/aggregate-to-";
        let given: BTreeSet<_> = labels.keys().filter_map(|key| key.strip_prefix(prefix)).collect();
        assert_eq!(given, to.iter().copied().collect());
        for right in rights(std::slice::from_ref(role)) {
            let reads = [": get", ": list", ": watch"].iter().any(|verb| right.ends_with(verb));
            assert_eq!(reads, !writes, "{right}");
        }
    }
    let without = template(&["rbac.create=false", "rbac.aggregatedRoles=false"]);
    assert!(without.iter().all(|object| !text(object, "/apiVersion").starts_with("rbac.")));
}

#[test]
fn pods_are_hardened() {
    for settings in [&[][..], &["watchNamespaces={a}"], ALL_OPTIONS] {
        let objects = template(settings);
        let operator = &ours(&objects, "Deployment")["spec"]["template"]["spec"];
        let test = &find(&objects, "Pod microservice-operator-system/microservice-operator-readyz")["spec"];
        for (pod, talks_to_the_api) in [(operator, true), (test, false)] {
            assert_eq!(
                pod["securityContext"],
                json!({
                    "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532,
                    "seccompProfile": {"type": "RuntimeDefault"},
                })
            );
            assert_eq!(pod["automountServiceAccountToken"], json!(talks_to_the_api));
            for field in ["hostNetwork", "hostPID", "hostIPC", "volumes"] {
                assert!(pod.get(field).is_none(), "{field}");
            }
            let container = &pod["containers"][0];
            assert_eq!(
                container["securityContext"],
                json!({
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                })
            );
            for amounts in [&container["resources"]["requests"], &container["resources"]["limits"]] {
                assert!(amounts["cpu"].is_string() && amounts["memory"].is_string(), "{amounts}");
            }
            assert!(!text(container, "/image").ends_with(":latest"));
        }
        assert_eq!(text(operator, "/containers/0/livenessProbe/httpGet/path"), "/healthz");
        assert_eq!(text(operator, "/containers/0/readinessProbe/httpGet/path"), "/readyz");
        assert!(operator["terminationGracePeriodSeconds"].is_number());
        assert!(!operator["topologySpreadConstraints"].as_array().unwrap().is_empty());
    }
}

#[test]
fn without_a_lease_only_one_pod_runs() {
    let objects = template(&["leaderElection.enabled=false"]);
    assert_eq!(text(ours(&objects, "Deployment"), "/spec/strategy/type"), "Recreate");
    assert!(!ids(&objects).iter().any(|id| id.contains("lease")));
    assert!(!helm_template(&["leaderElection.enabled=false", "replicas=2"]).status.success());
}

#[test]
fn wrong_values_are_refused() {
    for (setting, told) in [
        ("replicaz=2", &["additional properties", "replicaz"][..]),
        ("image.repo=x", &["/image", "repo"]),
        ("provider=Linkerd", &["/provider", "Istio"]),
        ("meshPropagation=5", &["/meshPropagation", "string"]),
        ("meshPropagation=5d", &["/meshPropagation", "pattern"]),
        ("concurrency=0", &["/concurrency", "minimum"]),
        ("replicas=two", &["/replicas", "integer"]),
        ("watchNamespaces=shop", &["/watchNamespaces", "array"]),
        ("watchNamespaces={Shop}", &["/watchNamespaces/0", "pattern"]),
        ("log.format=xml", &["/log/format", "json"]),
        ("image.digest=latest", &["/image/digest", "pattern"]),
        ("resources.limits.memory=lots", &["/resources/limits/memory", "pattern"]),
        ("resources.limit.memory=1Gi", &["/resources", "limit"]),
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
    for plural in ["microservices", "microserviceactions"] {
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
    assert_eq!(ids(&samples), ["Microservice hello".to_owned()].into());
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
    let hello = plain.split_once("<<EOF\n").and_then(|(_, rest)| rest.split_once("\nEOF\n")).unwrap().0;
    let hello: Value = serde_yaml::from_str(hello).unwrap();
    assert_eq!(id(&hello), "Microservice default/hello");

    let other = notes(&["watchNamespaces={shop}", "image.repository=registry.example/mso", "crds.enabled=false"]);
    assert!(other.contains("--namespace shop --watch") && other.contains("namespace: shop"), "{other}");
    assert!(other.contains("are not part of this release") && !other.contains("set image.repository"), "{other}");
}
