//! Inheritance and defaults. Total: it never fails, so the checks can look at its result.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::api::{
    self, Duration, Microservice, MicroserviceSpec, PodSettings, Port, Protocol, Provider, Retries, RolloutPolicy,
    Traffic, VersionSpec,
};

use super::{
    model::{Affinity, Analysis, Copies, Dependency, Identity, Policy, PortPolicy, Size, Step, Validated, Version},
    template_hash,
    window::window,
};

/// How long a removed version runs on without references, unless the spec says.
const DRAIN: Duration = Duration::from_secs(30);
/// How many older specs are kept, unless the spec says.
const HISTORY: usize = 10;
/// Seconds that a step of a rollout may take beyond the start of a pod, unless the spec says.
const PROGRESS_SECONDS: u64 = 600;
/// Who is asked for measurements, unless the spec says.
const PROVIDER: &str = "default";
/// Time from one measurement to the next, unless the spec says.
const INTERVAL: Duration = Duration::from_secs(60);
/// The least of it: steps of the short form may be shorter.
const SHORTEST: Duration = Duration::from_secs(1);
/// Errors in a row that an analysis waits out, unless the spec says.
const CONSECUTIVE_ERRORS: i32 = 4;
/// How long clients keep a rollout's cookie, unless the spec says.
const COOKIE_AGE: Duration = Duration::from_secs(86_400);

/// Resolves a Microservice as it stands.
pub fn resolve(microservice: &Microservice, provider: Provider) -> Validated {
    let spec = &microservice.spec;
    let meta = &microservice.metadata;
    let identity = Identity {
        name: meta.name.clone().unwrap_or_default(),
        namespace: meta.namespace.clone().unwrap_or_else(|| "default".to_owned()),
        uid: meta.uid.clone().unwrap_or_default(),
        generation: meta.generation.unwrap_or_default(),
        created: meta.creation_timestamp.as_ref().map(|time| time.0),
    };
    let traffic = spec.traffic.clone().unwrap_or_default();
    let dependencies = dependencies(spec, &identity.namespace);
    let versions = match &spec.image {
        Some(image) => vec![revision(spec, image, &identity, &dependencies)],
        None => spec.versions.iter().map(|version| resolve_version(spec, version, &dependencies)).collect(),
    };
    let rollout = spec.rollout.as_ref().map(|written| policy(written, &versions));
    Validated {
        context: spec.bounded_context.clone(),
        ports: spec.ports.iter().map(|port| with_target(port, None)).collect(),
        versions,
        routes: spec.routes.clone(),
        provider: traffic.provider.unwrap_or(provider),
        port_policies: spec.ports.iter().map(|port| port_policy(port, &traffic)).collect(),
        circuit_breaker: traffic.circuit_breaker,
        dependencies,
        drain: spec.drain.unwrap_or(DRAIN),
        rollout,
        history: spec.image.as_ref().map(|_| history_limit(spec)),
        config_revisions: spec.config_revisions,
        configuration: Vec::new(),
        identity,
    }
}

fn resolve_version(spec: &MicroserviceSpec, version: &VersionSpec, dependencies: &[Dependency]) -> Version {
    let target = |port: &Port| version.ports.iter().find(|own| own.name == port.name).map(|own| own.target_port);
    Version {
        name: version.name.clone(),
        image: version.image.clone(),
        weight: if spec.versions.len() == 1 { 100 } else { version.weight.unwrap_or(0) },
        replicas: version.replicas.unwrap_or(spec.replicas),
        own_replicas: version.replicas.is_some(),
        ports: spec.ports.iter().map(|port| with_target(port, target(port))).collect(),
        pod: inherit(&spec.pod, &version.pod),
        dependencies: dependencies.to_vec(),
        kept_in: None,
        copies: Copies::new(),
    }
}

/// The revision of an image, which is named after what its pods are made of.
fn revision(spec: &MicroserviceSpec, image: &str, identity: &Identity, dependencies: &[Dependency]) -> Version {
    let written = VersionSpec { image: image.to_owned(), ..VersionSpec::default() };
    let unnamed = resolve_version(spec, &written, dependencies);
    Version { name: format!("r-{}", template_hash(identity, &unnamed)), weight: 100, ..unnamed }
}

fn history_limit(spec: &MicroserviceSpec) -> usize {
    spec.revision_history_limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(HISTORY)
}

/// The policy; its steps are given the time that the pods' own settings give them to start.
fn policy(written: &RolloutPolicy, versions: &[Version]) -> Policy {
    let start =
        versions.iter().map(|version| version.longest_start(0)).max().and_then(|start| u64::try_from(start).ok());
    Policy {
        steps: steps(written),
        analysis: written.analysis.as_ref().map(|it| resolve_analysis(it, written.interval)),
        on_failure: written.on_failure,
        progress_deadline: written
            .progress_deadline
            .unwrap_or(Duration::from_secs(PROGRESS_SECONDS + start.unwrap_or_default())),
        max_surge: written.max_surge.as_ref().and_then(surge),
        scale_down_delay: written.scale_down_delay,
        suspend: written.suspend,
        windows: written.windows.iter().map(window).collect(),
        webhooks: written.webhooks.clone(),
        rollback_window: written.rollback_window.clone(),
        affinity: written.session_affinity.as_ref().map(|affinity| Affinity {
            cookie: affinity.cookie.name.clone(),
            max_age: affinity.cookie.max_age.unwrap_or(COOKIE_AGE),
        }),
    }
}

fn surge(written: &IntOrString) -> Option<Size> {
    match written {
        IntOrString::Int(pods) => Some(Size::Pods(*pods)),
        IntOrString::String(percent) => percent.strip_suffix('%')?.parse().ok().map(Size::Percent),
    }
}

/// The steps as they are given, or as the short form means them: each weight, and after each the interval.
fn steps(written: &RolloutPolicy) -> Vec<Step> {
    let Some(by) = written.step_weight.filter(|by| *by > 0) else {
        return written.steps.iter().filter_map(step).collect();
    };
    let most = written.max_weight.unwrap_or(100);
    let below = (1..).map(|count| by.saturating_mul(count)).take_while(|weight| *weight < most);
    let weights = below.chain([most]).filter(|weight| *weight < 100);
    weights.flat_map(|weight| [Step::Weight(weight), Step::Pause(written.interval)]).collect()
}

fn step(written: &api::Step) -> Option<Step> {
    let api::Step { weight, pause, analysis, matches, mirror, scale } = written;
    let weight = weight.map(Step::Weight);
    let pause = pause.as_ref().map(|pause| Step::Pause(pause.duration));
    let measured = analysis.as_ref().map(|it| Step::Analysis(resolve_analysis(it, None)));
    let matched = || (!matches.is_empty()).then(|| Step::Match(matches.clone()));
    let mirror = mirror.as_ref().map(|mirror| Step::Mirror(mirror.percent));
    let scale = scale
        .as_ref()
        .and_then(|scale| scale.replicas.map(Size::Pods).or(scale.percent.map(Size::Percent)).map(Step::Scale));
    weight.or(pause).or(measured).or(mirror).or(scale).or_else(matched)
}

fn resolve_analysis(written: &api::Analysis, interval: Option<Duration>) -> Analysis {
    Analysis {
        provider: written.provider.clone().unwrap_or_else(|| PROVIDER.to_owned()),
        metrics: written.metrics.clone(),
        interval: written.interval.or(interval).unwrap_or(INTERVAL).max(SHORTEST),
        delay: written.delay.unwrap_or(Duration::from_secs(0)),
        failure_limit: written.failure_limit.unwrap_or(0),
        consecutive_error_limit: written.consecutive_error_limit.unwrap_or(CONSECUTIVE_ERRORS),
        min_requests: written.min_requests,
        on_no_data: written.on_no_data,
        count: written.count.unwrap_or(1),
    }
}

fn with_target(port: &Port, own: Option<i32>) -> Port {
    Port { target_port: own.or(port.target_port).or(Some(port.port)), ..port.clone() }
}

fn port_policy(port: &Port, traffic: &Traffic) -> PortPolicy {
    let own = traffic.ports.iter().find(|own| own.name == port.name);
    let timed = matches!(port.protocol, Protocol::Http | Protocol::Http2);
    let general_timeout = traffic.timeout.filter(|_| timed);
    let general_retries = || {
        let retries = traffic.retries.clone()?;
        Some(Retries { per_try_timeout: retries.per_try_timeout.filter(|_| timed), ..retries })
    };
    PortPolicy {
        name: port.name.clone(),
        port: port.port,
        protocol: port.protocol,
        timeout: own.and_then(|own| own.timeout).or(general_timeout),
        retries: own.and_then(|own| own.retries.clone()).or_else(general_retries),
        circuit_breaker: own.and_then(|own| own.circuit_breaker.clone()),
    }
}

fn dependencies(spec: &MicroserviceSpec, namespace: &str) -> Vec<Dependency> {
    spec.dependencies
        .iter()
        .map(|dependency| {
            let namespace = dependency.namespace.clone().unwrap_or_else(|| namespace.to_owned());
            let scheme = match dependency.protocol {
                Protocol::Http | Protocol::Http2 => "http",
                Protocol::Grpc => "grpc",
                Protocol::Tcp => "tcp",
            };
            Dependency {
                url: format!("{scheme}://{}.{namespace}.svc:{}", dependency.name, dependency.port),
                env: dependency.env.clone().unwrap_or_else(|| url_variable(&dependency.name)),
                name: dependency.name.clone(),
                namespace,
                port: dependency.port,
                protocol: dependency.protocol,
            }
        })
        .collect()
}

fn url_variable(service: &str) -> String {
    format!("{}_URL", service.to_uppercase().replace('-', "_"))
}

/// The service's settings, overridden by the version's: scalars and objects whole, keyed lists and maps by key.
fn inherit(base: &PodSettings, own: &PodSettings) -> PodSettings {
    let PodSettings {
        image_pull_policy,
        image_pull_secrets,
        command,
        args,
        env,
        env_from,
        resources,
        health,
        startup_probe,
        readiness_probe,
        liveness_probe,
        lifecycle,
        termination_grace_period_seconds,
        min_ready_seconds,
        volumes,
        mounts,
        sidecars,
        init_containers,
        security_context,
        pod_security_context,
        service_account_name,
        automount_service_account_token,
        node_selector,
        affinity,
        tolerations,
        topology_spread_constraints,
        priority_class_name,
        pod_labels,
        pod_annotations,
        restarted_at,
    } = own.clone();
    PodSettings {
        image_pull_policy: image_pull_policy.or_else(|| base.image_pull_policy.clone()),
        image_pull_secrets: whole(&base.image_pull_secrets, image_pull_secrets),
        command: whole(&base.command, command),
        args: whole(&base.args, args),
        env: by_key(&base.env, env, |env| env.name.clone()),
        env_from: whole(&base.env_from, env_from),
        resources: resources.or_else(|| base.resources.clone()),
        health: health.or_else(|| base.health.clone()),
        startup_probe: startup_probe.or_else(|| base.startup_probe.clone()),
        readiness_probe: readiness_probe.or_else(|| base.readiness_probe.clone()),
        liveness_probe: liveness_probe.or_else(|| base.liveness_probe.clone()),
        lifecycle: lifecycle.or_else(|| base.lifecycle.clone()),
        termination_grace_period_seconds: termination_grace_period_seconds.or(base.termination_grace_period_seconds),
        min_ready_seconds: min_ready_seconds.or(base.min_ready_seconds),
        volumes: by_key(&base.volumes, volumes, |volume| volume.name.clone()),
        mounts: by_key(&base.mounts, mounts, |mount| mount.path.clone()),
        sidecars: by_key(&base.sidecars, sidecars, |sidecar| sidecar.container.name.clone()),
        init_containers: by_key(&base.init_containers, init_containers, |init| init.container.name.clone()),
        security_context: security_context.or_else(|| base.security_context.clone()),
        pod_security_context: pod_security_context.or_else(|| base.pod_security_context.clone()),
        service_account_name: service_account_name.or_else(|| base.service_account_name.clone()),
        automount_service_account_token: automount_service_account_token.or(base.automount_service_account_token),
        node_selector: by_name(&base.node_selector, node_selector),
        affinity: affinity.or_else(|| base.affinity.clone()),
        tolerations: whole(&base.tolerations, tolerations),
        topology_spread_constraints: whole(&base.topology_spread_constraints, topology_spread_constraints),
        priority_class_name: priority_class_name.or_else(|| base.priority_class_name.clone()),
        pod_labels: by_name(&base.pod_labels, pod_labels),
        pod_annotations: by_name(&base.pod_annotations, pod_annotations),
        restarted_at: restarted_at.or_else(|| base.restarted_at.clone()),
    }
}

fn whole<T: Clone>(base: &[T], own: Vec<T>) -> Vec<T> {
    if own.is_empty() { base.to_vec() } else { own }
}

/// The base's entries in their order, each replaced by the version's of the same key; then the version's new ones.
fn by_key<T: Clone>(base: &[T], own: Vec<T>, key: impl Fn(&T) -> String) -> Vec<T> {
    let mut merged = base.to_vec();
    for entry in own {
        match merged.iter_mut().find(|old| key(old) == key(&entry)) {
            Some(old) => *old = entry,
            None => merged.push(entry),
        }
    }
    merged
}

fn by_name(base: &BTreeMap<String, String>, own: BTreeMap<String, String>) -> BTreeMap<String, String> {
    base.clone().into_iter().chain(own).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn policies(traffic: Value) -> Vec<PortPolicy> {
        let ports = json!([{"name": "http", "port": 80}, {"name": "h2", "port": 81, "protocol": "HTTP2"},
                           {"name": "grpc", "port": 50051, "protocol": "GRPC"}]);
        let spec = json!({"ports": ports, "traffic": traffic, "versions": [{"name": "v1", "image": "a:1"}]});
        resolve(&Microservice::new("a", serde_json::from_value(spec).unwrap()), Provider::Istio).port_policies
    }

    #[test]
    fn short_steps_are_measured_at_most_once_a_second() {
        let measured_each = |step: &str| {
            let analysis = json!({"metrics": [{"name": "errors", "kind": "SuccessRate", "min": 99}]});
            let rollout = json!({"stepWeight": 5, "interval": step, "analysis": analysis});
            let spec = json!({"versions": [{"name": "v1", "image": "a:1"}], "rollout": rollout});
            let microservice = Microservice::new("a", serde_json::from_value(spec).unwrap());
            resolve(&microservice, Provider::Istio).rollout.unwrap().analysis.unwrap().interval
        };
        assert_eq!(measured_each("1ms"), Duration::from_secs(1));
        assert_eq!(measured_each("30s"), Duration::from_secs(30));
    }

    #[test]
    fn what_would_cut_streams_is_given_to_grpc_ports_by_name_only() {
        let times = |traffic: Value| {
            let of = |policy: PortPolicy| {
                let retries = policy.retries.unwrap();
                let shown = |time: Option<Duration>| time.map(|time| time.to_string()).unwrap_or_default();
                (shown(policy.timeout), retries.attempts, retries.retry_on, shown(retries.per_try_timeout))
            };
            policies(traffic).into_iter().map(of).collect::<Vec<_>>()
        };
        let general = json!({"attempts": 2, "perTryTimeout": "1s", "retryOn": "reset"});
        let on = |timeout: &str, per_try: &str| (timeout.to_owned(), 2, Some("reset".to_owned()), per_try.to_owned());
        assert_eq!(times(json!({"timeout": "3s", "retries": general})), [on("3s", "1s"), on("3s", "1s"), on("", "")]);
        let own = json!([{"name": "grpc", "timeout": "9s", "retries": general}]);
        assert_eq!(times(json!({"retries": general, "ports": own})), [on("", "1s"), on("", "1s"), on("9s", "1s")]);
    }
}
