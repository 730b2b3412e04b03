//! The objects that values give.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    ALL_OPTIONS, CHART, HELM, documents, file, find, helm_template, id, ids, ours, run, stdout, template, text, with,
};

#[test]
fn default_values_give_a_small_installation() {
    let objects = template(&[]);
    let expected = [
        "ClusterRole microservice-operator",
        "ClusterRole microservice-operator-edit",
        "ClusterRole microservice-operator-view",
        "ClusterRoleBinding microservice-operator",
        "CustomResourceDefinition analysisproviders.microservice-operator.dev",
        "CustomResourceDefinition microserviceactions.microservice-operator.dev",
        "CustomResourceDefinition microservices.microservice-operator.dev",
        "CustomResourceDefinition rolloutwebhooks.microservice-operator.dev",
        "Deployment microservice-operator-system/microservice-operator",
        "Pod microservice-operator-system/microservice-operator-readyz",
        "Role microservice-operator-system/microservice-operator-lease",
        "RoleBinding microservice-operator-system/microservice-operator-lease",
        "Service microservice-operator-system/microservice-operator",
        "ServiceAccount microservice-operator-system/microservice-operator",
        "ValidatingAdmissionPolicy microservice-operator-action-actor",
        "ValidatingAdmissionPolicy microservice-operator-joined-services",
        "ValidatingAdmissionPolicy microservice-operator-lent-rights",
        "ValidatingAdmissionPolicyBinding microservice-operator-action-actor",
        "ValidatingAdmissionPolicyBinding microservice-operator-joined-services",
        "ValidatingAdmissionPolicyBinding microservice-operator-lent-rights",
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
        "Role microservice-operator-system/microservice-operator-credentials",
        "RoleBinding microservice-operator-system/microservice-operator-credentials",
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
        let own = "microservice_operator_build_info{namespace=\"microservice-operator-system\",job=\"microservice-operator\"}";
        assert!(text(rule, "/expr").contains(own), "another installation hides it: {rule}");
        assert!(!text(rule, "/expr").contains("microservice_operator_shards)"), "{rule}");
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

/// OpenShift gives each namespace users of its own, and refuses pods that ask for others.
#[test]
fn the_user_of_the_pods_can_be_left_out() {
    let settings = [
        "podSecurityContext.runAsUser=null",
        "podSecurityContext.runAsGroup=null",
        "securityContext.seLinuxOptions.level=s0",
    ];
    let objects = template(&settings);
    let operator = &ours(&objects, "Deployment")["spec"]["template"]["spec"];
    let test = &find(&objects, "Pod microservice-operator-system/microservice-operator-readyz")["spec"];
    for pod in [operator, test] {
        assert_eq!(pod["securityContext"], json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}));
        let container = &pod["containers"][0]["securityContext"];
        assert_eq!(container["seLinuxOptions"], json!({"level": "s0"}));
        assert_eq!(container["capabilities"], json!({"drop": ["ALL"]}));
    }
}

#[test]
fn without_a_lease_only_one_pod_runs() {
    let objects = template(&["leaderElection.enabled=false"]);
    assert_eq!(text(ours(&objects, "Deployment"), "/spec/strategy/type"), "Recreate");
    assert!(!ids(&objects).iter().any(|id| id.contains("lease")));
    assert!(!helm_template(&["leaderElection.enabled=false", "replicas=2"]).status.success());
}

/// The namespace's own account is that of everybody who names none.
#[test]
fn nobody_elses_account_gets_the_rights() {
    let unnamed = helm_template(&["serviceAccount.create=false"]);
    let told = String::from_utf8_lossy(&unnamed.stderr);
    assert!(!unnamed.status.success() && told.contains("name an account that only the operator uses"), "{told}");
    let objects = template(&["serviceAccount.create=false", "serviceAccount.name=operators-own"]);
    let subjects: Vec<&Value> =
        objects.iter().filter_map(|object| object.get("subjects")?.as_array()).flatten().collect();
    assert!(!subjects.is_empty());
    assert!(subjects.iter().all(|subject| subject["name"] == "operators-own"), "{subjects:?}");
    assert_eq!(ours(&objects, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"], "operators-own");
}

/// Namespaces and releases may be called as what YAML reads as something else.
#[test]
fn names_are_texts() {
    fn check(path: &str, value: &Value) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    let named = ["name", "namespace", "serviceAccountName", "policyName"].contains(&key.as_str());
                    let is_label = key.starts_with("app.kubernetes.io/");
                    assert!(!(named || is_label) || value.is_string() || value.is_object(), "{path}/{key}: {value}");
                    check(&format!("{path}/{key}"), value);
                }
            }
            Value::Array(entries) => entries.iter().for_each(|entry| check(path, entry)),
            _ => {}
        }
    }
    for name in ["2024", "1e3", "true", "null"] {
        let chart = with(&["template", name, CHART, "--namespace", name], ALL_OPTIONS);
        let watched = format!("watchNamespaces=[\"{name}\"]");
        for more in [vec![], vec![watched.as_str(), "analysisProviders.read=\"Always\""]] {
            let renamed = [
                format!("fullnameOverride={name}"),
                format!("nameOverride={name}"),
                format!("serviceAccount.name={name}"),
            ];
            let renamed = renamed.iter().flat_map(|setting| ["--set-string", setting]);
            let more = more.iter().flat_map(|setting| ["--set-json", setting]);
            let arguments: Vec<&str> = chart.iter().copied().chain(more).chain(renamed).collect();
            for object in documents(&stdout(&run(&HELM, &arguments))) {
                check(&id(&object), &object);
            }
        }
    }
}

#[test]
fn the_way_to_the_api_server_can_be_narrowed() {
    let rule = |settings: &[&str]| {
        let objects = template(&[&["networkPolicy.enabled=true"], settings].concat());
        ours(&objects, "NetworkPolicy")["spec"]["egress"][1].clone()
    };
    assert!(rule(&[])["to"].is_null());
    let narrowed = rule(&["networkPolicy.apiServerPeers[0].ipBlock.cidr=10.0.0.1/32"]);
    assert_eq!(narrowed["to"], json!([{"ipBlock": {"cidr": "10.0.0.1/32"}}]));
    assert_eq!(narrowed["ports"][0]["port"], 443);
}
