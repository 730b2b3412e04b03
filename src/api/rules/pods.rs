//! Rules of the pod settings, of the service and of each version.

use super::{super::schema::POD_PATHS, Placed, first, first_here, none, none_here, one_of, rule, told};

/// Prefixes whose labels and annotations would let a pod join what is not its own. `validate` refuses every other
/// subdomain of the same owners; a rule for them would exceed the budget, because keys have no greatest length.
const RESERVED: &str = "['microservice-operator.dev/', 'app.kubernetes.io/', 'kubernetes.io/', 'k8s.io/', \
                        'kubectl.kubernetes.io/', 'pod.kubernetes.io/', 'istio.io/', 'sidecar.istio.io/', \
                        'traffic.sidecar.istio.io/', 'networking.istio.io/', 'service.istio.io/', \
                        'security.istio.io/', 'topology.istio.io/', 'proxy.istio.io/', 'inject.istio.io/', \
                        'ambient.istio.io/']";

fn each_pod<T>(rules: impl Fn(&str) -> Vec<T>) -> Vec<T> {
    POD_PATHS.iter().flat_map(|pod| rules(pod)).collect()
}

/// The same for the service's container and for every list of further ones.
fn each_container<T>(rules: impl Fn(&str) -> Vec<T>) -> Vec<T> {
    each_pod(|pod| {
        ["", ".sidecars[]", ".initContainers[]"].iter().flat_map(|list| rules(&format!("{pod}{list}"))).collect()
    })
}

/// Labels and annotations.
pub(super) fn metadata() -> Vec<Placed> {
    let reserved = format!("k, {RESERVED}.exists(p, k.startsWith(p))");
    let label = format!("{reserved} || k in ['app', 'version']");
    each_pod(|pod| {
        vec![
            told(
                format!("{pod}.podLabels"),
                none_here(&label),
                "label %s is reserved, because it decides which Service, policy or mesh setting the pod falls under: \
                 choose another key",
                &[&format!("self.map(k, k).filter({label})[0]")],
            ),
            told(
                format!("{pod}.podAnnotations"),
                none_here(&reserved),
                "annotation %s is reserved, because it decides how the cluster or the mesh treats the pod: choose another \
                 key",
                &[&format!("self.map(k, k).filter({reserved})[0]")],
            ),
        ]
    })
}

/// Environment variables.
pub(super) fn environment() -> Vec<Placed> {
    const OWN: &str = "e, e.name in ['SERVICE_NAME', 'SERVICE_VERSION']";
    let mut rules = each_pod(|pod| {
        vec![told(
            format!("{pod}.env"),
            none_here(OWN),
            "%s is set by the operator: remove it or choose another name",
            &[&format!("{}.name", first_here(OWN))],
        )]
    });
    rules.extend(each_container(|container| {
        vec![
            told(
                format!("{container}.env[]"),
                "!has(self.valueFrom) || !has(self.value) || self.value == ''",
                "%s has both value and valueFrom: keep one of them",
                &["self.name"],
            ),
            rule(
                format!("{container}.env[].valueFrom"),
                one_of(&["configMapKeyRef", "secretKeyRef", "fieldRef", "resourceFieldRef", "fileKeyRef"]),
                "valueFrom needs exactly one of configMapKeyRef, secretKeyRef, fieldRef, resourceFieldRef and fileKeyRef",
            ),
            rule(
                format!("{container}.envFrom[]"),
                one_of(&["configMapRef", "secretRef"]),
                "an entry of envFrom needs exactly one of configMapRef and secretRef",
            ),
        ]
    }));
    rules
}

/// Probes and lifecycle hooks: each asks or does exactly one thing.
pub(super) fn handlers() -> Vec<Placed> {
    let probe = |path: String| {
        rule(
            path,
            one_of(&["exec", "grpc", "httpGet", "tcpSocket"]),
            "a probe needs exactly one of exec, grpc, httpGet and tcpSocket",
        )
    };
    let hook = |path: String| {
        rule(
            path,
            one_of(&["exec", "httpGet", "sleep"]),
            "a lifecycle hook needs exactly one of exec, httpGet and sleep",
        )
    };
    each_pod(|pod| {
        let probes =
            ["startupProbe", "readinessProbe", "livenessProbe", "sidecars[].startupProbe", "sidecars[].readinessProbe"];
        let hooks = ["lifecycle.postStart", "lifecycle.preStop"];
        let at = |field: &str| format!("{pod}.{field}");
        probes.map(|field| probe(at(field))).into_iter().chain(hooks.map(|field| hook(at(field)))).collect()
    })
}

/// Volumes and what they project.
pub(super) fn volumes() -> Vec<Placed> {
    each_pod(|pod| {
        vec![
            told(
                format!("{pod}.volumes[]"),
                one_of(&["emptyDir", "configMap", "secret", "downwardAPI", "projected", "persistentVolumeClaim"]),
                "volume %s needs exactly one source: emptyDir, configMap, secret, downwardAPI, projected or \
                 persistentVolumeClaim",
                &["self.name"],
            ),
            rule(format!("{pod}.volumes[].secret"), "has(self.secretName)", "secretName is needed"),
            rule(
                format!("{pod}.volumes[].projected.sources[]"),
                one_of(&[
                    "clusterTrustBundle",
                    "configMap",
                    "downwardAPI",
                    "podCertificate",
                    "secret",
                    "serviceAccountToken",
                ]),
                "an entry of projected.sources needs exactly one source",
            ),
            rule(
                format!("{pod}.volumes[].projected.sources[].clusterTrustBundle"),
                one_of(&["name", "signerName"]),
                "a clusterTrustBundle is named in one way: give either name or signerName",
            ),
            rule(
                format!("{pod}.volumes[].projected.sources[].clusterTrustBundle"),
                "!has(self.name) || !has(self.labelSelector)",
                "a clusterTrustBundle with a name is one, and a labelSelector picks among those of a signerName: give one of the two",
            ),
            rule(
                format!("{pod}.volumes[].projected.sources[].podCertificate"),
                "has(self.credentialBundlePath) || has(self.keyPath) || has(self.certificateChainPath)",
                "a podCertificate is written nowhere: give credentialBundlePath, or keyPath and certificateChainPath",
            ),
            rule(
                format!("{pod}.volumes[].downwardAPI.items[]"),
                one_of(&["fieldRef", "resourceFieldRef"]),
                "an entry of downwardAPI.items needs exactly one of fieldRef and resourceFieldRef",
            ),
            rule(
                format!("{pod}.volumes[].projected.sources[].downwardAPI.items[]"),
                one_of(&["fieldRef", "resourceFieldRef"]),
                "an entry of downwardAPI.items needs exactly one of fieldRef and resourceFieldRef",
            ),
        ]
    })
}

/// Health and scheduling.
pub(super) fn settings() -> Vec<Placed> {
    each_pod(|pod| {
        vec![
            rule(
                format!("{pod}.health"),
                "!has(self.path) || !has(self.protocol) || self.protocol == 'HTTP'",
                "path goes with the protocol HTTP only: remove one of them",
            ),
            rule(
                format!("{pod}.health"),
                "has(self.path) || !has(self.protocol) || self.protocol != 'HTTP'",
                "the protocol HTTP needs a path",
            ),
            rule(
                format!("{pod}.health"),
                "!has(self.service) || (has(self.protocol) ? self.protocol == 'GRPC' : !has(self.path))",
                "service goes with the protocol GRPC only: remove one of them",
            ),
            rule(
                format!("{pod}.tolerations[]"),
                "!has(self.operator) || self.operator != 'Exists' || !has(self.value) || self.value == ''",
                "the operator Exists takes no value: remove it, or use Equal",
            ),
            rule(
                format!("{pod}.tolerations[]"),
                "(has(self.key) && self.key != '') || (has(self.operator) && self.operator == 'Exists')",
                "a toleration without a key tolerates every taint: that needs the operator Exists",
            ),
            rule(
                format!("{pod}.tolerations[]"),
                "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
                "tolerationSeconds goes with the effect NoExecute only",
            ),
            rule(
                format!("{pod}.topologySpreadConstraints[]"),
                "!has(self.minDomains) || self.whenUnsatisfiable == 'DoNotSchedule'",
                "minDomains goes with whenUnsatisfiable: DoNotSchedule only",
            ),
        ]
    })
}

/// Names and images of containers.
pub(super) fn containers() -> Vec<Placed> {
    // As registries and container runtimes read it: registry, path in lower case, tag, digest.
    const IMAGE: &str = "^([a-zA-Z0-9][-a-zA-Z0-9.]*(:[0-9]+)?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*\
                         (:[a-zA-Z0-9_][-a-zA-Z0-9_.]{0,127})?(@[a-z0-9]+([+._-][a-z0-9]+)*:[0-9a-f]{32,})?$";
    /// Istio's injector lays a container of a pod over its own of the same name.
    const OF_THE_MESH: &str = "['istio-proxy', 'istio-init', 'istio-validation', 'enable-core-dump']";
    let image = |path: String| {
        told(
            path,
            format!("self.matches(r'{IMAGE}')"),
            "%s is not the name of an image: write registry/path:tag or registry/path@digest, the path in lower case",
            &["self"],
        )
    };
    let mut rules = vec![image("spec.image".to_owned()), image("spec.versions[].image".to_owned())];
    rules.extend(each_pod(|pod| {
        ["sidecars[]", "initContainers[]"]
            .into_iter()
            .flat_map(|list| {
                [
                    image(format!("{pod}.{list}.image")),
                    rule(
                        format!("{pod}.{list}.name"),
                        "self != 'app'",
                        "app is the name of the service's own container: choose another",
                    ),
                    told(
                        format!("{pod}.{list}.name"),
                        format!("!(self in {OF_THE_MESH})"),
                        "%s is a container that the mesh adds, which one of the same name would replace: choose another",
                        &["self"],
                    ),
                ]
            })
            .collect()
    }));
    rules
}

/// Nothing that the Pod Security profile `baseline` forbids, and no gain of privileges.
pub(super) fn security() -> Vec<Placed> {
    const CAPABILITIES: &str = "['AUDIT_WRITE', 'CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'MKNOD', \
                                'NET_BIND_SERVICE', 'SETFCAP', 'SETGID', 'SETPCAP', 'SETUID', 'SYS_CHROOT']";
    let mut rules = each_container(|container| {
        let context = format!("{container}.securityContext");
        let forbidden = format!("c, !(c in {CAPABILITIES})");
        vec![
            rule(format!("{context}.privileged"), "!self", "privileged: true is not allowed"),
            rule(
                format!("{context}.allowPrivilegeEscalation"),
                "!self",
                "allowPrivilegeEscalation: true is not allowed",
            ),
            rule(format!("{context}.procMount"), "self == 'Default'", "procMount must be Default"),
            told(
                format!("{context}.capabilities"),
                none("add", &forbidden),
                "capability %s is not allowed",
                &[&first("add", &forbidden)],
            ),
        ]
    });
    let mut contexts = each_container(|container| vec![format!("{container}.securityContext")]);
    contexts.extend(each_pod(|pod| vec![format!("{pod}.podSecurityContext")]));
    for context in contexts {
        rules.extend(confinement(&context));
        rules.push(rule(
            context,
            "(!has(self.runAsUser) || self.runAsUser != 1337) && (!has(self.runAsGroup) || self.runAsGroup != 1337)",
            "user and group 1337 are those of the mesh's proxy, whose requests the mesh lets pass by: choose others",
        ));
    }
    rules.extend(each_pod(|pod| {
        vec![rule(format!("{pod}.podSecurityContext.sysctls"), "self.size() == 0", "sysctls are not allowed")]
    }));
    rules
}

/// Of containers and of pods: the kernel's confinement stays on.
fn confinement(context: &str) -> Vec<Placed> {
    let profile = |name: &str| {
        rule(
            format!("{context}.{name}"),
            "self.type == 'RuntimeDefault' ? !has(self.localhostProfile) : self.type == 'Localhost' && has(self.localhostProfile)",
            "the type must be RuntimeDefault without a localhostProfile, or Localhost with one: Unconfined is not allowed",
        )
    };
    vec![
        profile("seccompProfile"),
        profile("appArmorProfile"),
        rule(
            format!("{context}.seLinuxOptions"),
            "!has(self.user) && !has(self.role) && (!has(self.type) || self.type in ['container_t', \
             'container_init_t', 'container_kvm_t', 'container_engine_t'])",
            "of seLinuxOptions, only level and a type of containers are allowed",
        ),
    ]
}
