//! The rules that the API server checks with CEL: where they stand, what they ask, and what they tell the user.

use kube::core::{Message, Rule};

use super::schema::POD_PATHS;

/// A path in the schema and the rule that stands there.
type Placed = (String, Rule);

/// All rules, in groups.
pub(super) const RULES: &[fn() -> Vec<Placed>] = &[versions, ports, routes, dependencies, traffic, pods, containers];

fn rule(path: impl Into<String>, expression: &str, message: &str) -> Placed {
    (path.into(), Rule::new(expression).message(Message::Message(message.to_owned())))
}

/// A rule whose message is itself an expression, so that it can name the value.
fn told(path: impl Into<String>, expression: &str, message: &str) -> Placed {
    (path.into(), Rule::new(expression).message(Message::Expression(message.to_owned())))
}

fn versions() -> Vec<Placed> {
    const SUM: &str = "self.versions.map(v, has(v.weight) ? v.weight : 0).sum()";
    const LONG: &str = "size(self.metadata.name) + size(v.name) > 45";
    vec![
        told(
            "",
            &format!("!self.spec.versions.exists(v, {LONG})"),
            &format!(
                "'metadata.name and a version\\'s name may have 45 characters together: ' + self.metadata.name + ' and ' \
                 + self.spec.versions.filter(v, {LONG})[0].name + ' have ' + string(size(self.metadata.name) + \
                 size(self.spec.versions.filter(v, {LONG})[0].name))"
            ),
        ),
        told(
            "spec",
            &format!("self.versions.size() == 1 || {SUM} == 100"),
            &format!(
                "'the weights of the versions must sum to 100, but ' + self.versions.map(v, v.name + '=' + \
                 (has(v.weight) ? string(v.weight) : '0')).join(' ') + ' sum to ' + string({SUM})"
            ),
        ),
        told(
            "spec",
            "self.versions.size() != 1 || !has(self.versions[0].weight) || self.versions[0].weight == 100",
            "'the only version ' + self.versions[0].name + ' gets all requests: its weight must be 100 or left out, not ' \
             + string(self.versions[0].weight)",
        ),
    ]
}

fn ports() -> Vec<Placed> {
    const TWICE: &str = "p, self.ports.exists(q, q.name != p.name && q.port == p.port)";
    const UNKNOWN: &str =
        "v, has(v.ports) && v.ports.exists(p, !has(self.ports) || !self.ports.exists(q, q.name == p.name))";
    const TRAFFIC: &str = "t, !has(self.ports) || !self.ports.exists(p, p.name == t.name)";
    vec![
        told(
            "spec",
            &format!("!has(self.ports) || !self.ports.exists({TWICE})"),
            &format!("'port ' + string(self.ports.filter({TWICE})[0].port) + ' is listed more than once in ports'"),
        ),
        told(
            "spec",
            &format!("!self.versions.exists({UNKNOWN})"),
            &format!(
                "'version ' + self.versions.filter({UNKNOWN})[0].name + ' overrides a port that is not in the service\\'s ports'"
            ),
        ),
        told(
            "spec",
            &format!("!has(self.traffic) || !has(self.traffic.ports) || !self.traffic.ports.exists({TRAFFIC})"),
            &format!(
                "'traffic.ports names ' + self.traffic.ports.filter({TRAFFIC})[0].name + ', which is not in the service\\'s ports'"
            ),
        ),
    ]
}

fn routes() -> Vec<Placed> {
    const UNKNOWN: &str = "r, (has(r.version) && !self.versions.exists(v, v.name == r.version)) || \
                           (has(r.weights) && r.weights.exists(w, !self.versions.exists(v, v.name == w.version)))";
    const PORT: &str = "r, r.match.exists(m, has(m.port) && (!has(self.ports) || !self.ports.exists(p, p.port == m.port && p.protocol != 'TCP')))";
    const TWICE: &str = "r, self.routes.exists_one(s, s.name == r.name) == false";
    const SUM: &str = "self.weights.map(w, w.weight).sum()";
    vec![
        told(
            "spec",
            &format!("!has(self.routes) || !self.routes.exists({UNKNOWN})"),
            &format!(
                "'route ' + self.routes.filter({UNKNOWN})[0].name + ' refers to a version that is not in versions (' + \
                 self.versions.map(v, v.name).join(', ') + ')'"
            ),
        ),
        told(
            "spec",
            &format!("!has(self.routes) || !self.routes.exists({PORT})"),
            &format!(
                "'route ' + self.routes.filter({PORT})[0].name + ' matches a port that is not an HTTP, HTTP2 or GRPC port of the service'"
            ),
        ),
        told(
            "spec",
            &format!("!has(self.routes) || !self.routes.exists({TWICE})"),
            &format!("'route ' + self.routes.filter({TWICE})[0].name + ' is listed more than once'"),
        ),
        rule(
            "spec",
            "!has(self.routes) || self.routes.size() == 0 || (has(self.ports) && self.ports.exists(p, p.protocol != 'TCP'))",
            "routes need at least one port whose protocol is HTTP, HTTP2 or GRPC",
        ),
        rule(
            "spec.routes[]",
            "self.name != 'default'",
            "default is the name of the operator's own route: choose another",
        ),
        told(
            "spec.routes[]",
            "has(self.version) != (has(self.weights) && self.weights.size() > 0)",
            "'route ' + self.name + ' needs exactly one of version and weights'",
        ),
        told(
            "spec.routes[]",
            &format!("!has(self.weights) || self.weights.size() == 0 || {SUM} == 100"),
            &format!("'the weights of route ' + self.name + ' must sum to 100, but sum to ' + string({SUM})"),
        ),
        told(
            "spec.routes[]",
            "!has(self.weights) || self.weights.all(w, self.weights.exists_one(x, x.version == w.version))",
            "'route ' + self.name + ' lists a version twice in its weights'",
        ),
        told(
            "spec.routes[]",
            "!has(self.retries) || !has(self.retries.perTryTimeout) || !has(self.timeout) || \
             duration(self.retries.perTryTimeout) <= duration(self.timeout)",
            "'route ' + self.name + ': retries.perTryTimeout ' + self.retries.perTryTimeout + ' is longer than the timeout ' + self.timeout",
        ),
        rule(
            "spec.routes[].match[]",
            "(has(self.headers) && self.headers.size() > 0) || has(self.path) || has(self.method) || \
             (has(self.query) && self.query.size() > 0) || has(self.port)",
            "a match needs at least one of headers, path, method, query and port: empty, it would take every request",
        ),
        one_of("spec.routes[].match[].path"),
        one_of("spec.routes[].match[].method"),
        (
            "spec.routes[].match[]".into(),
            one_of_rule(
                "(!has(self.headers) || self.headers.all(k, [has(self.headers[k].exact), has(self.headers[k].prefix), \
                 has(self.headers[k].regex)].filter(x, x).size() == 1)) && (!has(self.query) || self.query.all(k, \
                 [has(self.query[k].exact), has(self.query[k].prefix), has(self.query[k].regex)].filter(x, x).size() == 1))",
            ),
        ),
        told(
            "spec.routes[].match[].path",
            "!has(self.exact) || self.exact.startsWith('/')",
            "'a path starts with /, not as ' + self.exact",
        ),
        told(
            "spec.routes[].match[].path",
            "!has(self.prefix) || self.prefix.startsWith('/')",
            "'a path starts with /, not as ' + self.prefix",
        ),
        told(
            "spec.routes[].match[].method",
            "!has(self.exact) || self.exact in ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'CONNECT', 'OPTIONS', 'TRACE']",
            "'not an HTTP method in upper case: ' + self.exact",
        ),
    ]
}

fn one_of_rule(expression: &str) -> Rule {
    Rule::new(expression)
        .message(Message::Message("a value is matched by exactly one of exact, prefix and regex".to_owned()))
}

fn one_of(path: &str) -> Placed {
    (path.into(), one_of_rule("[has(self.exact), has(self.prefix), has(self.regex)].filter(x, x).size() == 1"))
}

fn dependencies() -> Vec<Placed> {
    const SAME: &str = "e.name == d.name && (has(e.namespace) ? e.namespace : '') == (has(d.namespace) ? d.namespace : '') \
                        && e.port == d.port";
    vec![
        told(
            "spec",
            &format!("!has(self.dependencies) || self.dependencies.all(d, self.dependencies.exists_one(e, {SAME}))"),
            &format!(
                "'dependency ' + self.dependencies.filter(d, !self.dependencies.exists_one(e, {SAME}))[0].name + ' is listed more than once'"
            ),
        ),
        told(
            "",
            "!has(self.spec.dependencies) || !self.spec.dependencies.exists(d, !has(d.namespace) && d.name == self.metadata.name)",
            "self.metadata.name + ' cannot be a dependency of itself'",
        ),
    ]
}

fn traffic() -> Vec<Placed> {
    ["spec.traffic", "spec.traffic.ports[]"]
        .into_iter()
        .map(|path| {
            told(
                path,
                "!has(self.retries) || !has(self.retries.perTryTimeout) || !has(self.timeout) || \
                 duration(self.retries.perTryTimeout) <= duration(self.timeout)",
                "'retries.perTryTimeout ' + self.retries.perTryTimeout + ' is longer than the timeout ' + self.timeout",
            )
        })
        .collect()
}

/// Prefixes whose labels and annotations would let a pod join what is not its own.
const RESERVED: &str = "['microservice-operator.dev/', 'app.kubernetes.io/', 'kubernetes.io/', 'k8s.io/', \
                        'kubectl.kubernetes.io/', 'istio.io/', 'sidecar.istio.io/', 'traffic.sidecar.istio.io/', \
                        'networking.istio.io/', 'service.istio.io/', 'security.istio.io/', 'topology.istio.io/', \
                        'proxy.istio.io/', 'inject.istio.io/', 'gateway.istio.io/', 'ambient.istio.io/', \
                        'prometheus.istio.io/', 'k8s.v1.cni.cncf.io/']";

fn pods() -> Vec<Placed> {
    let mut rules = Vec::new();
    for pod in POD_PATHS {
        let reserved = format!("k, {RESERVED}.exists(p, k.startsWith(p))");
        rules.extend([
            told(
                pod,
                &format!("!has(self.podLabels) || !self.podLabels.exists({reserved} || k in ['app', 'version'])"),
                &format!(
                    "'podLabels: ' + self.podLabels.filter({reserved} || k in ['app', 'version'])[0] + ' is reserved: it decides which Service, \
                     policy or mesh setting the pod falls under'"
                )
                .replace(".filter(k,", ".map(k, k).filter(k,"),
            ),
            told(
                pod,
                &format!("!has(self.podAnnotations) || !self.podAnnotations.exists({reserved})"),
                &format!(
                    "'podAnnotations: ' + self.podAnnotations.filter({reserved})[0] + ' is reserved: it decides how the cluster or the mesh treats the pod'"
                )
                .replace(".filter(k,", ".map(k, k).filter(k,"),
            ),
            told(
                pod,
                "!has(self.env) || !self.env.exists(e, e.name in ['SERVICE_NAME', 'SERVICE_VERSION'])",
                "'env: ' + self.env.filter(e, e.name in ['SERVICE_NAME', 'SERVICE_VERSION'])[0].name + ' is set by the operator'",
            ),
            told(
                format!("{pod}.volumes[]"),
                "[has(self.emptyDir), has(self.configMap), has(self.secret), has(self.downwardApi), has(self.projected), \
                 has(self.persistentVolumeClaim)].filter(x, x).size() == 1",
                "'volume ' + self.name + ' needs exactly one source: emptyDir, configMap, secret, downwardApi, projected or persistentVolumeClaim'",
            ),
            rule(
                format!("{pod}.health"),
                "!has(self.path) || !has(self.protocol) || self.protocol == 'HTTP'",
                "health.path goes with the protocol HTTP only",
            ),
            rule(
                format!("{pod}.health"),
                "!has(self.service) || (has(self.protocol) && self.protocol == 'GRPC') || (!has(self.protocol) && !has(self.path))",
                "health.service goes with the protocol GRPC only",
            ),
            rule(
                format!("{pod}.podSecurityContext"),
                "!has(self.sysctls) || self.sysctls.size() == 0",
                "podSecurityContext.sysctls is not allowed",
            ),
            rule(
                format!("{pod}.podSecurityContext"),
                "!has(self.windowsOptions) || !has(self.windowsOptions.hostProcess) || !self.windowsOptions.hostProcess",
                "podSecurityContext.windowsOptions.hostProcess is not allowed",
            ),
        ]);
    }
    rules
}

fn containers() -> Vec<Placed> {
    const CAPABILITIES: &str = "['AUDIT_WRITE', 'CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'MKNOD', \
                                'NET_BIND_SERVICE', 'SETFCAP', 'SETGID', 'SETPCAP', 'SETUID', 'SYS_CHROOT']";
    let mut rules = Vec::new();
    for pod in POD_PATHS {
        for list in ["sidecars[]", "initContainers[]"] {
            rules.push(rule(
                format!("{pod}.{list}"),
                "self.name != 'app'",
                "app is the name of the service's own container: choose another",
            ));
        }
        for container in ["", ".sidecars[]", ".initContainers[]"] {
            let context = format!("{pod}{container}.securityContext");
            rules.extend([
                rule(&context, "!has(self.privileged) || !self.privileged", "privileged: true is not allowed"),
                rule(
                    &context,
                    "!has(self.allowPrivilegeEscalation) || !self.allowPrivilegeEscalation",
                    "allowPrivilegeEscalation: true is not allowed",
                ),
                rule(&context, "!has(self.procMount) || self.procMount == 'Default'", "procMount must be Default"),
                rule(
                    &context,
                    "!has(self.windowsOptions) || !has(self.windowsOptions.hostProcess) || !self.windowsOptions.hostProcess",
                    "windowsOptions.hostProcess is not allowed",
                ),
                told(
                    &context,
                    &format!(
                        "!has(self.capabilities) || !has(self.capabilities.add) || self.capabilities.add.all(c, c in {CAPABILITIES})"
                    ),
                    &format!(
                        "'capability ' + self.capabilities.add.filter(c, !(c in {CAPABILITIES}))[0] + ' is not allowed'"
                    ),
                ),
            ]);
        }
    }
    rules
}
