//! What the schema asks of Kubernetes' own types beyond what they say of themselves: the limits that the API server
//! would set only when it meets the pod, and fields left out because nothing here could honour or allow them.

use serde_json::{Map, Value, json};

/// Fields left out, by the field that holds them.
const LEFT_OUT: &[(&str, &str)] = &[
    ("securityContext", "windowsOptions"),
    ("podSecurityContext", "windowsOptions"),
    ("resources", "claims"),
    // A probe or hook that names a host makes the kubelet a client of whatever the user names.
    ("httpGet", "host"),
    ("tcpSocket", "host"),
    ("postStart", "tcpSocket"),
    ("preStop", "tcpSocket"),
    ("lifecycle", "stopSignal"),
    ("readinessProbe", "terminationGracePeriodSeconds"),
];

/// The names of ConfigMaps, Secrets, claims and ServiceAccounts: a Deployment that refers to another one is refused.
pub(super) const OBJECT_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// A path that climbs nowhere and begins at no root.
const INSIDE: &str = r"^([^/.][^/]*|\.[^/.][^/]*|\.\.[^/]+|\.)(/([^/.][^/]*|\.[^/.][^/]*|\.\.[^/]+|\.)?)*$";

/// Limits, by the end of a field's path.
fn limits() -> Vec<(&'static str, Value)> {
    let at_least = |least: i64| json!({"minimum": least});
    let between = |least: i64, most: i64| json!({"minimum": least, "maximum": most});
    let one_of = |values: &[&str]| json!({"enum": values});
    let matching = |pattern: &str| json!({"pattern": pattern});
    let name = || json!({"minLength": 1, "maxLength": 253, "pattern": OBJECT_NAME});
    let key = || json!({"minLength": 1, "maxLength": 253, "pattern": r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$"});
    let id = || between(0, 2_147_483_647);
    let mode = || between(0, 0o777);
    let selector = || one_of(&["In", "NotIn", "Exists", "DoesNotExist"]);
    let node_selector = || one_of(&["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]);
    vec![
        ("imagePullSecrets.name", name()),
        ("env.name", json!({"minLength": 1, "maxLength": 253, "pattern": "^[-._a-zA-Z][-._a-zA-Z0-9]*$"})),
        ("configMapKeyRef.name", name()),
        ("secretKeyRef.name", name()),
        ("configMapKeyRef.key", key()),
        ("secretKeyRef.key", key()),
        ("envFrom.prefix", matching("^[ -<>-~]*$")),
        ("items.key", json!({"minLength": 1})),
        ("seccompProfile.localhostProfile", matching(INSIDE)),
        ("configMapRef.name", name()),
        ("secretRef.name", name()),
        ("configMap.name", name()),
        ("secret.name", name()),
        ("secret.secretName", name()),
        ("persistentVolumeClaim.claimName", name()),
        (
            "env.valueFrom.fieldRef.fieldPath",
            matching(
                r"^(metadata\.(name|namespace|uid|(labels|annotations)\['[-._/a-zA-Z0-9]+'\])|spec\.(nodeName|serviceAccountName)|status\.(hostIPs?|podIPs?))$",
            ),
        ),
        (
            "items.fieldRef.fieldPath",
            matching(r"^metadata\.(name|namespace|uid|(labels|annotations)(\['[-._/a-zA-Z0-9]+'\])?)$"),
        ),
        ("fieldRef.apiVersion", one_of(&["", "v1"])),
        ("resourceFieldRef.resource", matching(r"^(limits|requests)\.(cpu|memory|ephemeral-storage|hugepages-.+)$")),
        ("emptyDir.medium", matching(r"^(Memory|HugePages(-[0-9]+[KMGT]i)?)?$")),
        ("emptyDir.mode", between(0, 0o1777)),
        ("defaultMode", mode()),
        ("items.mode", mode()),
        ("defaultUser", id()),
        ("items.user", id()),
        ("serviceAccountToken.user", id()),
        ("clusterTrustBundle.user", id()),
        ("podCertificate.user", id()),
        ("projected.sources", json!({"maxItems": 16})),
        ("downwardAPI.items", json!({"maxItems": 32})),
        ("serviceAccountToken.expirationSeconds", at_least(600)),
        ("podCertificate.maxExpirationSeconds", between(3600, 7_862_400)),
        ("podCertificate.keyType", one_of(&["RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519"])),
        ("Probe.initialDelaySeconds", at_least(0)),
        ("Probe.periodSeconds", at_least(1)),
        ("Probe.timeoutSeconds", at_least(1)),
        ("Probe.failureThreshold", at_least(1)),
        ("Probe.terminationGracePeriodSeconds", at_least(1)),
        ("readinessProbe.successThreshold", at_least(1)),
        ("startupProbe.successThreshold", between(1, 1)),
        ("livenessProbe.successThreshold", between(1, 1)),
        ("exec", json!({"required": ["command"]})),
        ("exec.command", json!({"minItems": 1})),
        ("grpc.port", between(1, 65535)),
        ("httpGet.port", between(1, 65535)),
        ("tcpSocket.port", between(1, 65535)),
        ("httpGet.scheme", one_of(&["HTTP", "HTTPS"])),
        ("httpGet.protocol", one_of(&["HTTP1", "HTTP2"])),
        ("grpc.mode", one_of(&["Plaintext", "TLS"])),
        ("httpHeaders.name", matching("^[-A-Za-z0-9]+$")),
        ("sleep.seconds", between(1, 86400)),
        ("runAsUser", id()),
        ("runAsGroup", id()),
        ("fsGroup", id()),
        ("supplementalGroups", id()),
        ("fsGroupChangePolicy", one_of(&["Always", "OnRootMismatch"])),
        ("supplementalGroupsPolicy", one_of(&["Merge", "Strict"])),
        ("seLinuxChangePolicy", one_of(&["MountOption", "Recursive"])),
        ("tolerations.operator", one_of(&["Equal", "Exists", "Lt", "Gt"])),
        ("tolerations.effect", one_of(&["", "NoSchedule", "PreferNoSchedule", "NoExecute"])),
        ("topologySpreadConstraints.maxSkew", at_least(1)),
        ("topologySpreadConstraints.minDomains", at_least(1)),
        ("topologySpreadConstraints.whenUnsatisfiable", one_of(&["DoNotSchedule", "ScheduleAnyway"])),
        ("topologySpreadConstraints.nodeAffinityPolicy", one_of(&["Honor", "Ignore"])),
        ("topologySpreadConstraints.nodeTaintsPolicy", one_of(&["Honor", "Ignore"])),
        ("nodeSelectorTerms", json!({"minItems": 1})),
        ("topologyKey", json!({"minLength": 1, "maxLength": 253})),
        ("preferredDuringSchedulingIgnoredDuringExecution.weight", between(1, 100)),
        ("labelSelector.matchExpressions.operator", selector()),
        ("namespaceSelector.matchExpressions.operator", selector()),
        ("preference.matchExpressions.operator", node_selector()),
        ("nodeSelectorTerms.matchExpressions.operator", node_selector()),
    ]
}

/// Takes out what is left out and sets the limits, everywhere below a schema.
pub(super) fn tighten(root: &mut Value) {
    descend(root, "", &limits());
}

fn descend(node: &mut Value, path: &str, limits: &[(&str, Value)]) {
    let Some(map) = node.as_object_mut() else { return };
    for (_, limit) in limits.iter().filter(|(end, _)| path.ends_with(end)) {
        set(map, limit);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(below) = map.get_mut(key) {
            descend(below, path, limits);
        }
    }
    let Some(properties) = map.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for (_, field) in LEFT_OUT.iter().filter(|(holder, _)| path.rsplit('.').next() == Some(holder)) {
        properties.remove(*field);
    }
    for (name, child) in properties {
        descend(child, &format!("{path}.{name}"), limits);
    }
}

/// Of a list, only the limits of its length belong to the list itself.
fn set(map: &mut Map<String, Value>, limit: &Value) {
    let list = map.get("type").and_then(Value::as_str) == Some("array");
    let of_list = |key: &str| ["minItems", "maxItems"].contains(&key);
    for (key, value) in limit.as_object().into_iter().flatten().filter(|(key, _)| list == of_list(key)) {
        map.insert(key.clone(), value.clone());
    }
}
