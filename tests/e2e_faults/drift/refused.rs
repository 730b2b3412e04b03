//! What the API server lets nobody change, or take away, of what the operator sets. A refusal that is not among these
//! is news: what cannot be changed is no drift, but cannot be put right either.

use microservice_operator::plan::object::Kind;

use super::Deed;

/// What is as it was made, with all that is in it.
const FIXED: [(Kind, &str); 6] = [
    (Kind::ControllerRevision, "/data"),
    (Kind::ConfigMap, "/data"),
    (Kind::ConfigMap, "/immutable"),
    (Kind::Deployment, "/spec/selector"),
    (Kind::Deployment, "/spec/template/metadata/labels/version"),
    (Kind::Deployment, "/spec/template/metadata/labels/microservice-operator.dev~1service"),
];

/// What is no value any more with one more letter, by the end of its address: words of a list, percentages, amounts,
/// durations, paths within objects, and names of volumes.
const FORMS: [(Kind, &[&str]); 5] = [
    (
        Kind::Deployment,
        &[
            "/type",
            "/maxSurge",
            "/protocol",
            "/scheme",
            "/imagePullPolicy",
            "/restartPolicy",
            "/fsGroupChangePolicy",
            "/operator",
            "/effect",
            "Ref/apiVersion",
            "/fieldPath",
            "/resource",
            "/divisor",
            "/cpu",
            "/memory",
            "/ephemeral-storage",
            "/sizeLimit",
            "/volumeMounts/*/name",
        ],
    ),
    (Kind::PodDisruptionBudget, &["/unhealthyPodEvictionPolicy"]),
    (Kind::DestinationRule, &["/connectTimeout", "/idleTimeout", "/interval", "/baseEjectionTime"]),
    (Kind::VirtualService, &["/timeout", "/perTryTimeout", "/retryOn"]),
    (Kind::Service, &["/protocol"]),
];

/// What cannot be left out of what it is in, by the end of its address.
const NEEDED: [(Kind, &[&str]); 4] = [
    (
        Kind::Deployment,
        &[
            "/spec",
            "/template",
            "/template/metadata",
            "/template/metadata/labels",
            "/containers",
            "/containers/*",
            "/image",
            "/containerPort",
            "/exec",
            "/exec/command",
            "/exec/command/*",
            "/httpGet",
            "/httpHeaders/*/name",
            "/tcpSocket",
            "/grpc",
            "/sleep",
            "/port",
            "/restartPolicy",
            "/configMapKeyRef",
            "/secretKeyRef",
            "/fieldRef",
            "/resourceFieldRef",
            "/configMapRef",
            "/secretRef",
            "Ref/key",
            "Ref/name",
            "/fieldPath",
            "/resource",
            "/containerName",
            "/volumeMounts/*/name",
            "/volumes",
            "/volumes/*",
            "/configMap/name",
            "/secretName",
            "/claimName",
            "/items/*/key",
            "/items/*/path",
            "/serviceAccountToken/path",
            "/seccompProfile/type",
            "/localhostProfile",
            "/tolerations/*/key",
            "/effect",
            "/nodeSelectorTerms",
            "/nodeSelectorTerms/*",
            "/weight",
            "/matchExpressions/*/key",
            "/operator",
            "/values",
            "/values/*",
            "/topologyKey",
            "/maxSkew",
        ],
    ),
    (
        Kind::DestinationRule,
        &[
            "/spec",
            "/host",
            "/subsets/*/name",
            "/portLevelSettings/*/port",
            "/portLevelSettings/*/connectionPool",
            "/portLevelSettings/*/connectionPool/tcp",
        ],
    ),
    (
        Kind::VirtualService,
        &[
            "/spec",
            "/hosts",
            "/hosts/*",
            "/http",
            "/http/*",
            "/route",
            "/route/*",
            "/destination",
            "/destination/host",
            "/port/number",
            "/attempts",
        ],
    ),
    (Kind::Service, &["/spec", "/ports", "/ports/*", "/ports/*/port", "/ports/*/name"]),
];

/// Whether the API server may refuse this of a field, which is written with `*` for the number of an item.
pub fn may_be_refused(deed: Deed, kind: Kind, field: &str) -> bool {
    let within = |part: &str| field.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let is_fixed = FIXED.iter().any(|(of, part)| *of == kind && within(part));
    let ends = |all: &[(Kind, &[&str])]| {
        all.iter().any(|(of, ends)| *of == kind && ends.iter().any(|end| field.ends_with(end)))
    };
    match deed {
        Deed::Changed => is_fixed || ends(&FORMS),
        Deed::Removed => is_fixed || ends(&NEEDED) || field == "/metadata/ownerReferences/*/apiVersion",
    }
}

/// An address without the numbers of items.
pub fn without_numbers(field: &str) -> String {
    let is_number = |key: &str| !key.is_empty() && key.bytes().all(|it| it.is_ascii_digit());
    field.split('/').map(|key| if is_number(key) { "*" } else { key }).collect::<Vec<_>>().join("/")
}
