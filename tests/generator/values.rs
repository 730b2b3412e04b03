//! Valid values of fields.

use devcluster::Dice;
use serde_json::{Map, Value, json};

use super::{
    Schema,
    place::{complete, fit},
    schema::{alternatives, required},
};

/// What fields may be, by the ends of their paths, where the schema does not say it all: names that must exist, times that
/// a test can wait for, sizes that a small cluster can run. The first end that fits decides.
const KNOWN: &[(&str, &str)] = &[
    (
        "spec.image",
        r#"["registry.example/order-service:1.0.0", "registry.example/order-service:1.1.0", "localhost:5000/a"]"#,
    ),
    (
        "image",
        r#"["registry.example/a:1", "registry.example/a:2", "registry.example/b@sha256:0123456789abcdef0123456789abcdef"]"#,
    ),
    ("replicas", "[1, 2, 3]"),
    ("scale.replicas", "[1, 2, 3]"),
    ("drain", r#"["1ms", "500ms", "1s"]"#),
    ("spec.rollout.interval", r#"["1ms", "300ms", "1s"]"#),
    ("pause.duration", r#"["1ms", "300ms", "1s"]"#),
    ("progressDeadline", r#"["10m", "1h", "2562047h"]"#),
    ("scaleDownDelay", r#"["1ms", "1s"]"#),
    ("rollbackWindow.duration", r#"["1ms", "24h"]"#),
    ("analysis.interval", r#"["1s", "1m"]"#),
    ("analysis.delay", r#"["1ms", "15s"]"#),
    ("outlierDetection.interval", r#"["1s", "30s"]"#),
    ("cookie.maxAge", r#"["1s", "24h"]"#),
    ("perTryTimeout", r#"["1ms", "500ms"]"#),
    ("timeout", r#"["500ms", "3s", "1h30m"]"#),
    ("minReadySeconds", "[0, 1]"),
    ("spec.boundedContext.name", r#"["ordering", "shop"]"#),
    ("dependencies[].name", r#"["user-service", "stock"]"#),
    ("dependencies[].namespace", r#"["catalog", "default"]"#),
    ("dependencies[].env", r#"["USERS", "STOCK_1"]"#),
    ("spec.ports[].name", r#"["http", "grpc", "amqp"]"#),
    ("spec.ports[].port", "[80, 8080, 9090, 65535, 1]"),
    ("versions[].name", r#"["v1", "v2", "v3"]"#),
    ("versions[].ports[].name", r#"["http"]"#),
    ("versions[].weight", "[0, 10, 50, 90, 100]"),
    ("traffic.ports[].name", r#"["http"]"#),
    ("routes[].name", r#"["premium", "half"]"#),
    ("routes[].version", r#"["v1", "v2"]"#),
    (
        "routes[].weights",
        r#"[[{"version": "v1", "weight": 100}], [{"version": "v1", "weight": 30}, {"version": "v2", "weight": 70}]]"#,
    ),
    ("weights[].version", r#"["v1"]"#),
    ("weights[].weight", "[100]"),
    ("match[].port", "[80]"),
    ("path.exact", r#"["/a", "/"]"#),
    ("path.prefix", r#"["/api/"]"#),
    ("method.exact", r#"["GET", "POST", "DELETE"]"#),
    ("regex", r#"["a+", "GET|HEAD", "[0-9]{1,3}"]"#),
    ("retryOn", r#"["5xx", "connect-failure,reset"]"#),
    ("metrics[].name", r#"["errors", "speed"]"#),
    ("metrics[].query", r#"["sum(rate(a{v=\"${version}\"}[${window}]))"]"#),
    ("metrics[].min", "[0, 0.5, -1]"),
    ("metrics[].max", "[99, 500.25]"),
    ("baseline.maxDecrease", "[0, 0.5]"),
    ("baseline.maxIncrease", "[0, 10]"),
    ("webhooks[].webhook", r#"["tests", "chat"]"#),
    ("windows[].from", r#"["09:00", "00:00"]"#),
    ("windows[].to", r#"["17:00", "24:00"]"#),
    ("windows[].timeZone", r#"["UTC", "Europe/Berlin"]"#),
    ("analysis.provider", r#"["default"]"#),
    ("maxSurge", r#"[1, 2, "25%", "100%"]"#),
    ("cookie.name", r#"["canary", "a.b-c_d"]"#),
    ("health.port", r#"["http", 8080]"#),
    ("health.protocol", r#"["GRPC", "TCP"]"#),
    ("health.service", r#"["a.v1.B"]"#),
    ("health.path", r#"["/health", "/"]"#),
    ("grpc.mode", r#"["Plaintext", "TLS"]"#),
    ("httpHeaders[].name", r#"["x-probe", "Accept"]"#),
    ("Get.port", "[8080]"),
    ("Socket.port", "[8080]"),
    ("httpGet.protocol", r#"["HTTP1"]"#),
    ("exec.command[]", r#"["true"]"#),
    ("emptyDir.sizeLimit", r#"["1Gi", "100M"]"#),
    ("emptyDir.medium", r#"["", "Memory"]"#),
    ("divisor", r#"["1", "1m"]"#),
    ("resourceFieldRef.divisor", r#"["1"]"#),
    ("containerName", r#"["app"]"#),
    ("limits{}", r#"["1", "2"]"#),
    ("requests{}", r#"["1m", "0"]"#),
    ("configMapRef.name", r#"["settings"]"#),
    ("configMapKeyRef.name", r#"["settings"]"#),
    ("configMapKeyRef.key", r#"["mode"]"#),
    ("configMap.name", r#"["settings"]"#),
    ("secretName", r#"["keys"]"#),
    ("imagePullSecrets[].name", r#"["registry"]"#),
    ("claimName", r#"["data"]"#),
    ("serviceAccountName", r#"["runner"]"#),
    ("priorityClassName", r#"["system-cluster-critical", "normal"]"#),
    ("volumes[].name", r#"["logs", "data"]"#),
    ("mounts[].volume", r#"["logs", "data"]"#),
    ("mounts[].path", r#"["/logs", "/data"]"#),
    ("mounts[].subPath", r#"["a", "a/b"]"#),
    ("fileKeyRef.volumeName", r#"["logs"]"#),
    ("fileKeyRef.path", r#"["a.env"]"#),
    ("fileKeyRef.key", r#"["LEVEL"]"#),
    ("initContainers[].name", r#"["migrate", "wait"]"#),
    ("sidecars[].name", r#"["logging", "proxy"]"#),
    ("env[].name", r#"["LEVEL", "a.b-c", "MODE"]"#),
    ("fieldRef.apiVersion", r#"["v1"]"#),
    ("items[].fieldRef.fieldPath", r#"["metadata.labels", "metadata.name", "metadata.annotations['a']"]"#),
    ("fieldRef.fieldPath", r#"["metadata.name", "status.podIP", "metadata.labels['tier']"]"#),
    ("resourceFieldRef.resource", r#"["limits.cpu", "requests.memory"]"#),
    ("envFrom[].prefix", r#"["A_", ""]"#),
    ("operator", r#"["Exists"]"#),
    ("capabilities.add[]", r#"["CHOWN", "KILL"]"#),
    ("capabilities.drop[]", r#"["ALL"]"#),
    ("privileged", "[false]"),
    ("allowPrivilegeEscalation", "[false]"),
    ("procMount", r#"["Default"]"#),
    ("runAsUser", "[1, 10001]"),
    ("runAsNonRoot", "[true]"),
    ("localhostProfile", r#"["profiles/a.json"]"#),
    ("Profile.type", r#"["RuntimeDefault"]"#),
    ("seLinuxOptions.type", r#"["container_t"]"#),
    ("seLinuxOptions.level", r#"["s0:c1,c2"]"#),
    ("keyType", r#"["ED25519", "RSA3072"]"#),
    ("signerName", r#"["example.com/signer"]"#),
    ("podCertificate.userAnnotations{}", r#"["a"]"#),
    ("podCertificate.maxExpirationSeconds", "[3600, 86400]"),
    ("expirationSeconds", "[600, 3600]"),
    ("topologyKey", r#"["kubernetes.io/hostname", "topology.kubernetes.io/zone"]"#),
    ("topologySpreadConstraints[].whenUnsatisfiable", r#"["ScheduleAnyway", "DoNotSchedule"]"#),
    ("maxSkew", "[1, 5]"),
    ("minDomains", "[1]"),
    ("matchLabelKeys[]", r#"["pod-template-hash"]"#),
    ("mismatchLabelKeys[]", r#"["tier"]"#),
    ("matchFields[].key", r#"["metadata.name"]"#),
    ("matchFields[].operator", r#"["NotIn"]"#),
    ("matchFields[].values", r#"[["nowhere"]]"#),
    ("nodeSelectorTerms[].matchExpressions[].key", r#"["kubernetes.io/os"]"#),
    ("namespaces[]", r#"["shop"]"#),
    ("namespaceSelector.matchLabels{}", r#"["shop"]"#),
    ("namespaceSelector.matchExpressions[].key", r#"["kubernetes.io/metadata.name"]"#),
    ("labelSelector.matchExpressions[].key", r#"["app"]"#),
    ("labelSelector.matchLabels{}", r#"["order-service"]"#),
    ("sysctls", "[[]]"),
    ("nodeSelector{}", r#"["linux"]"#),
    ("tolerations[].key", r#"["dedicated"]"#),
    ("tolerations[].value", r#"["backend", ""]"#),
    ("postStart.sleep.seconds", "[1, 20]"),
    ("tolerations[].effect", r#"["NoExecute"]"#),
    ("tolerations[].tolerationSeconds", "[60, 0, -1]"),
    ("restartedAt", r#"["2027-01-30T12:00:00Z", "2027-01-31T12:00:00Z"]"#),
    ("defaultUser", "[0, 1000]"),
    ("user", "[0, 1000]"),
    ("items[].path", r#"["a", "b/c"]"#),
    ("items[].key", r#"["mode"]"#),
    ("sources[].clusterTrustBundle.path", r#"["roots.pem"]"#),
    ("sources[].clusterTrustBundle.name", r#"["example.com:signer:a"]"#),
    ("key", r#"["tier"]"#),
    ("values[]", r#"["backend"]"#),
    ("Path", r#"["a.pem"]"#),
    ("path", r#"["a"]"#),
    ("parameters{}", r#"["smoke"]"#),
    ("podLabels{}", r#"["backend", ""]"#),
    ("weight", "[0, 20, 60, 100]"),
    ("preferredDuringSchedulingIgnoredDuringExecution[].weight", "[1, 50, 100]"),
];

/// Keys of maps, by the ends of their paths.
const KEYS: &[(&str, &[&str])] = &[
    ("nodeSelector", &["kubernetes.io/os"]),
    ("limits", &["cpu", "memory", "ephemeral-storage"]),
    ("requests", &["cpu", "memory"]),
    ("headers", &["user-type", "x-region"]),
    ("query", &["debug"]),
    ("podLabels", &["tier", "example.com/team"]),
    ("podAnnotations", &["example.com/contact", "note"]),
    ("labelSelector.matchLabels", &["app"]),
    ("namespaceSelector.matchLabels", &["kubernetes.io/metadata.name"]),
    ("parameters", &["suite"]),
    ("userAnnotations", &["example.com/a"]),
];

/// Fields whose greatest values would keep a small cluster busy, or a test waiting: these are only asked about.
const COSTLY: &[&str] = &[
    "replicas",
    "minReadySeconds",
    "drain",
    "interval",
    "pause.duration",
    "progressDeadline",
    "scaleDownDelay",
    "requests{}",
    "minDomains",
    "tolerationSeconds",
];

/// The longest end that fits decides, and the first of these.
fn by_end<'a, T>(table: &'a [(&str, T)], path: &str) -> Option<&'a T> {
    let fits = table.iter().rev().filter(|(end, _)| {
        path.strip_suffix(end)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.') || end.starts_with(char::is_uppercase))
    });
    fits.max_by_key(|(end, _)| end.len()).map(|(_, found)| found)
}

/// A key of a map.
pub fn key(path: &str, dice: &mut Dice) -> String {
    if path.contains("podAntiAffinity") && path.ends_with("labelSelector.matchLabels") {
        return "noisy".into();
    }
    let keys = by_end(KEYS, path).unwrap_or_else(|| panic!("no keys are known of {path}"));
    keys[dice.below(keys.len())].to_owned()
}

/// Whether the edges of a field are only asked about.
pub fn is_costly(path: &str) -> bool {
    COSTLY.iter().any(|end| path.ends_with(end))
}

/// A valid value of a field; `depth` counts how far it is below the one that was asked for.
pub fn value(schema: &Schema, path: &str, dice: &mut Dice, depth: usize) -> Value {
    let node = schema.at(path);
    if path.contains("podAntiAffinity") && path.ends_with("labelSelector.matchExpressions[].key") {
        return "noisy".into();
    }
    if let Some(known) = by_end(KNOWN, path) {
        let known: Vec<Value> = serde_json::from_str(known).unwrap();
        // The names of fields that are objects elsewhere.
        if node["type"] != "object" || known[0].is_object() {
            return known[dice.below(known.len())].clone();
        }
    }
    if let Some(all) = node["enum"].as_array() {
        return all[dice.below(all.len())].clone();
    }
    match node["type"].as_str() {
        Some("object") => object(schema, path, dice, depth),
        Some("array") => {
            let least = node["minItems"].as_u64().unwrap_or(1).max(1);
            (0..least).map(|_| value(schema, &format!("{path}[]"), dice, depth + 1)).collect()
        }
        Some("string") => text(node, path, dice),
        Some("integer") => {
            let least = bound(node, "minimum").unwrap_or(0);
            let most = bound(node, "maximum").unwrap_or(least + 100).min(least + 100);
            json!(least + i64::try_from(dice.below(usize::try_from(most - least + 1).unwrap())).unwrap())
        }
        Some("number") => json!([0.5, 1.0][dice.below(2)]),
        Some("boolean") => json!(dice.below(2) == 0),
        _ => json!([1, 8080][dice.below(2)]),
    }
}

fn object(schema: &Schema, path: &str, dice: &mut Dice, depth: usize) -> Value {
    let node = schema.at(path);
    let mut map = Map::new();
    if node["additionalProperties"].is_object() {
        map.insert(key(path, dice), value(schema, &format!("{path}{{}}"), dice, depth + 1));
        return Value::Object(map);
    }
    complete(schema, path, &mut map, dice);
    let groups = alternatives(node);
    let needed: Vec<&str> = required(node).collect();
    let optional = node["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let optional: Vec<_> =
        optional.filter(|it| !needed.contains(it) && !groups.iter().flatten().any(|o| o == it)).collect();
    // Something of it, or it would say nothing.
    let one = if map.is_empty() && !optional.is_empty() { Some(dice.below(optional.len())) } else { None };
    for (index, name) in optional.into_iter().enumerate() {
        if Some(index) == one || (depth < 2 && dice.below(5) == 0) {
            map.insert(name.to_owned(), value(schema, &format!("{path}.{name}"), dice, depth + 1));
        }
    }
    fit(path, &mut map, dice, "");
    Value::Object(map)
}

fn text(node: &Value, path: &str, dice: &mut Dice) -> Value {
    let choices: &[&str] = match node["pattern"].as_str() {
        Some("^([0-9]{1,9}(ms|s|m|h)){1,4}$") => &["500ms", "2s", "1m30s"],
        Some("^(Always|IfNotPresent|Never)$") => &["Always", "IfNotPresent", "Never"],
        Some("^[-._a-zA-Z][-._a-zA-Z0-9]*$") => &["LEVEL", "MODE"],
        None => &["a", "some text", "ä ✓"],
        Some(_) => &["a", "b"],
    };
    let text = choices[dice.below(choices.len())];
    if let Some(pattern) = node["pattern"].as_str() {
        assert!(
            regex::Regex::new(pattern).unwrap().is_match(text),
            "no text is known for {path}, which must be of {pattern}"
        );
    }
    text.into()
}

fn bound(node: &Value, key: &str) -> Option<i64> {
    node[key].as_f64().map(|bound| bound as i64)
}

/// The least and the greatest that a field may be, where the schema says so.
pub fn edges(schema: &Schema, path: &str) -> Vec<Value> {
    let node = schema.at(path);
    let of = |key: &str| bound(node, key);
    match node["type"].as_str() {
        Some("integer") => [of("minimum"), of("maximum")].into_iter().flatten().map(Value::from).collect(),
        Some("string") if node["pattern"].is_null() && node["enum"].is_null() && by_end(KNOWN, path).is_none() => {
            let most = of("maxLength").map(|most| "a".repeat(usize::try_from(most).unwrap()).into());
            most.into_iter().collect()
        }
        _ => Vec::new(),
    }
}
