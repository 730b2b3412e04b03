//! Who may do what.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{ALL_OPTIONS, NAMESPACE, find, helm_template, id, ids, ours, strings, template, text};

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
    let of_cluster = [
        "apiextensions.k8s.io/",
        "microservice-operator.dev/analysisproviders",
        "microservice-operator.dev/rolloutwebhooks",
    ];
    let known = |right: &&&String| of_cluster.iter().any(|prefix| right.starts_with(prefix));
    assert!(one.is_subset(&all) && rest.iter().all(|right| known(&right)), "{rest:?}");
    assert!(args.contains(&"--analysis-providers=false"), "{args:?}");

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
    allow(operator, &["microservice-operator.dev/microservices"], &["get", "list", "watch"]);
    allow(operator, &["microservice-operator.dev/microservices/status"], &["patch"]);
    allow(operator, &["microservice-operator.dev/microserviceactions"], &["list", "watch", "delete"]);
    allow(operator, &["microservice-operator.dev/microserviceactions/status"], &["patch"]);
    allow(operator, &["microservice-operator.dev/analysisproviders"], &["list", "watch"]);
    allow(operator, &["microservice-operator.dev/rolloutwebhooks"], &["get"]);
    allow(operator, &["microservice-operator.dev/microservices/finalizers"], &["update"]);
    allow(operator, &children, &["list", "watch", "create", "patch", "delete"]);
    allow(operator, &["/configmaps"], &["get", "list", "watch", "create", "patch", "delete"]);
    allow(operator, &["/pods"], &["list", "watch"]);
    allow(operator, &["events.k8s.io/events"], &["create"]);
    allow(operator, &[istio], &["list", "watch"]);
    allow(lease, &["coordination.k8s.io/leases"], &["create", "list"]);
    allow(lease, &["coordination.k8s.io/leases[microservice-operator]"], &["patch"]);
    let peoples = |right: &String| right.contains("operator-view:") || right.contains("operator-edit:");
    let given: BTreeSet<_> = rights(&template(&[])).into_iter().filter(|right| !peoples(right)).collect();
    assert_eq!(given, expected);

    for settings in [&[][..], &["watchNamespaces={a}"], ALL_OPTIONS] {
        for right in rights(&template(settings)) {
            let credentials = "Role microservice-operator-system/microservice-operator-credentials: \
                               /secrets[datadog-keys]: get";
            assert!(!right.contains('*') && (!right.contains("secrets") || right == credentials), "{right}");
            let verb = right.rsplit(' ').next().unwrap();
            assert!(!["escalate", "bind", "impersonate", "use", "approve", "sign"].contains(&verb), "{right}");
            assert!(
                !right.contains("rbac.authorization.k8s.io") && !right.contains("serviceaccounts/token"),
                "{right}"
            );
        }
    }
}

#[test]
fn each_shard_has_a_lease() {
    let objects = template(&["shards=3", "replicas=4"]);
    let role = find(&objects, &format!("Role {NAMESPACE}/microservice-operator-lease"));
    let leases = ["microservice-operator-1-of-3", "microservice-operator-2-of-3", "microservice-operator-3-of-3"];
    assert_eq!(strings(&role["rules"][1]["resourceNames"]), leases);
    let args = strings(&ours(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]);
    assert!(args.contains(&"--shards=3"), "{args:?}");
    let objects = template(&["shards=2", "previousShards=1", "replicas=2"]);
    let role = find(&objects, &format!("Role {NAMESPACE}/microservice-operator-lease"));
    let leases = ["microservice-operator-1-of-2", "microservice-operator-2-of-2", "microservice-operator"];
    assert_eq!(strings(&role["rules"][1]["resourceNames"]), leases);
    assert!(!helm_template(&["shards=2", "leaderElection.enabled=false", "replicas=2"]).status.success());
}

#[test]
fn providers_can_be_read_beside_named_namespaces() {
    let providers = |settings: &[&str]| -> Vec<String> {
        rights(&template(settings)).into_iter().filter(|right| right.contains("analysisproviders")).collect()
    };
    let always = ["watchNamespaces={shop}", "analysisProviders.read=Always"];
    let role = "ClusterRole microservice-operator-providers: microservice-operator.dev/analysisproviders";
    assert_eq!(providers(&always), [format!("{role}: list"), format!("{role}: watch")]);
    let objects = template(&always);
    let binding = find(&objects, "ClusterRoleBinding microservice-operator-providers");
    assert_eq!(text(binding, "/subjects/0/namespace"), NAMESPACE);
    let never = ["analysisProviders.read=Never"];
    assert_eq!(providers(&never), Vec::<String>::new());
    for (settings, told) in [(&[][..], false), (&always[..], false), (&never[..], true)] {
        let objects = template(settings);
        let args = strings(&ours(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]);
        assert_eq!(args.contains(&"--analysis-providers=false"), told, "{settings:?}");
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
