//! Containers: names, resources, privileges, and how they end.

use k8s_openapi::{
    api::core::v1::{LifecycleHandler, ResourceRequirements},
    apimachinery::pkg::api::resource,
};

use crate::{
    api::{InitContainer, MicroserviceSpec},
    validate::{Problem, Validated, quantity::Quantity, syntax},
};

use super::scope::{Placed, each_version};

/// Sidecars and init containers share the names of one pod.
pub(super) fn names_differ(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    each_version(spec, resolved, |scope| {
        let sidecars: Vec<_> = scope.sidecars().iter().map(|sidecar| sidecar.value.container.name.as_str()).collect();
        let clash = |init: &Placed<'_, InitContainer>| {
            let name = &init.value.container.name;
            let message = format!("{name} is also the name of a sidecar: every container of a pod has its own");
            sidecars.contains(&name.as_str()).then(|| Problem::new(&init.path, message))
        };
        scope.init_containers().iter().filter_map(clash).collect()
    })
}

/// The resources of all containers.
fn each_resources(
    spec: &MicroserviceSpec,
    resolved: &Validated,
    check: impl Fn(&ResourceRequirements) -> Vec<(String, String)>,
) -> Vec<Problem> {
    each_version(spec, resolved, |scope| {
        let resources = scope.containers().into_iter().filter_map(|container| container.resources);
        resources
            .flat_map(|resources| {
                let found = check(resources.value);
                found
                    .into_iter()
                    .map(move |(field, message)| Problem::new(format!("{}.{field}", resources.path), message))
            })
            .collect()
    })
}

/// Requests and limits, each with its name.
fn amounts(resources: &ResourceRequirements) -> impl Iterator<Item = (&'static str, &String, &resource::Quantity)> {
    let requests = resources.requests.iter().flatten().map(|(name, amount)| ("requests", name, amount));
    requests.chain(resources.limits.iter().flatten().map(|(name, amount)| ("limits", name, amount)))
}

/// Amounts of resources are quantities that are not negative.
pub(super) fn resources_are_quantities(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    each_resources(spec, resolved, |resources| {
        amounts(resources)
            .filter_map(|(field, name, amount)| {
                let reason = match amount.0.parse::<Quantity>() {
                    Ok(parsed) if parsed.is_negative() => "must not be negative".to_owned(),
                    Ok(parsed) if !parsed.is_whole() && !may_be_fraction(name) => "must be a whole number".to_owned(),
                    Ok(parsed) if page_size(name).is_some_and(|size| !parsed.is_multiple_of(size)) => {
                        "must be so many whole pages".to_owned()
                    }
                    Ok(_) => return None,
                    Err(error) => error.to_string(),
                };
                Some((format!("{field}[{name}]"), format!("{:?} {reason}", amount.0)))
            })
            .collect()
    })
}

fn may_be_fraction(resource: &str) -> bool {
    matches!(resource, "cpu" | "memory" | "ephemeral-storage")
}

/// The size of the pages that a resource is made of, if it is made of huge pages.
fn page_size(resource: &str) -> Option<Quantity> {
    let size: Quantity = resource.strip_prefix("hugepages-")?.parse().ok()?;
    (size.is_whole() && !size.is_negative() && size.is_multiple_of(size)).then_some(size)
}

/// Nothing is requested beyond its limit; what nodes cannot overcommit is requested as it is limited.
pub(super) fn requests_are_within_limits(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    each_resources(spec, resolved, |resources| {
        let limit = |name: &str| resources.limits.as_ref().and_then(|limits| limits.get(name));
        let requests = resources.requests.iter().flatten();
        requests
            .filter_map(|(name, request)| {
                let field = format!("requests[{name}]");
                let Some(limit) = limit(name) else {
                    return (!may_be_fraction(name)).then(|| {
                        (field, format!("{name} needs a limit of the same amount: nodes cannot overcommit it"))
                    });
                };
                let (requested, limited) = (request.0.parse::<Quantity>().ok()?, limit.0.parse::<Quantity>().ok()?);
                if requested > limited {
                    let message = format!(
                        "{} is more than the limit {}: lower the request or raise the limit",
                        request.0, limit.0
                    );
                    return Some((field, message));
                }
                (requested != limited && !may_be_fraction(name)).then(|| {
                    (field, format!("{} must equal the limit {}: nodes cannot overcommit {name}", request.0, limit.0))
                })
            })
            .collect()
    })
}

/// Resources are those of Kubernetes, or have a domain of their own.
pub(super) fn resource_names_are_known(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    each_resources(spec, resolved, |resources| {
        amounts(resources)
            .filter_map(|(field, name, _)| {
                let known = may_be_fraction(name) || page_size(name).is_some();
                let extended = name.contains('/') && syntax::label_key(name).is_ok();
                (!known && !extended).then(|| {
                    let message = format!(
                        "{name} is not a resource: write cpu, memory, ephemeral-storage, hugepages-<size> or \
                         <domain>/<name>"
                    );
                    (format!("{field}[{name}]"), message)
                })
            })
            .collect()
    })
}

/// Huge pages are given out only beside processor time or memory.
pub(super) fn huge_pages_are_not_alone(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    each_resources(spec, resolved, |resources| {
        if amounts(resources).any(|(_, name, _)| name == "cpu" || name == "memory") {
            return Vec::new();
        }
        let huge = amounts(resources).find(|(_, name, _)| name.starts_with("hugepages-"));
        let told = huge.map(|(field, name, _)| {
            (format!("{field}[{name}]"), format!("{name} needs cpu or memory beside it: ask for one of them, too"))
        });
        told.into_iter().collect()
    })
}

/// Whoever runs as root says so twice, because the default profile forbids it.
pub(super) fn root_is_meant(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    each_version(spec, resolved, |scope| {
        let pod = scope.placed("podSecurityContext", |pod| pod.pod_security_context.as_ref());
        let of_pod = pod.as_ref().map(|pod| pod.value);
        let mut problems: Vec<Problem> = Vec::new();
        for container in scope.containers() {
            let own = container.security.as_ref().map(|security| security.value);
            let non_root = own.and_then(|own| own.run_as_non_root).or(of_pod.and_then(|pod| pod.run_as_non_root));
            let own_user = own.and_then(|own| own.run_as_user);
            let user = own_user.or(of_pod.and_then(|pod| pod.run_as_user));
            if user != Some(0) || non_root == Some(false) {
                continue;
            }
            let place = if own_user.is_some() { container.security.map(|own| own.path) } else { None };
            let Some(path) = place.or_else(|| pod.as_ref().map(|pod| pod.path.clone())) else { continue };
            let problem = Problem::new(
                format!("{path}.runAsUser"),
                "0 is root, which runAsNonRoot (true by default) forbids: choose another user, or set runAsNonRoot to \
                 false",
            );
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        problems
    })
}

/// The sleep before the stop is part of the grace period, and must leave some of it.
pub(super) fn stop_fits_grace_period(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    each_version(spec, resolved, |scope| {
        let grace = scope.placed("terminationGracePeriodSeconds", |pod| pod.termination_grace_period_seconds.as_ref());
        let hook = scope.pod().lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        let sleep = hook.and_then(|hook| hook.sleep.as_ref()).map(|sleep| sleep.seconds);
        let (Some(grace), Some(sleep)) = (grace, sleep) else { return Vec::new() };
        if *grace.value > sleep {
            return Vec::new();
        }
        let message = format!(
            "{} s are over before the preStop sleep of {sleep} s is: make it longer than that, or shorten the sleep in \
             lifecycle.preStop",
            grace.value
        );
        vec![Problem::new(grace.path, message)]
    })
}

/// Seconds that a pod is given beyond its preStop sleep, and that sleep where a service with ports has none of its own.
const DEFAULT_GRACE: i64 = 30;
const DEFAULT_SLEEP: i64 = 5;

/// The API server wants the sleep after the start, too, to be shorter than the grace period.
pub(super) fn start_fits_grace_period(spec: &MicroserviceSpec, resolved: &Validated) -> Vec<Problem> {
    each_version(spec, resolved, |scope| {
        let Some(lifecycle) = scope.placed("lifecycle", |pod| pod.lifecycle.as_ref()) else { return Vec::new() };
        let sleep = |hook: Option<&LifecycleHandler>| Some(hook?.sleep.as_ref()?.seconds);
        let Some(start) = sleep(lifecycle.value.post_start.as_ref()) else { return Vec::new() };
        let default_sleep = if spec.ports.is_empty() { 0 } else { DEFAULT_SLEEP };
        let stop = sleep(lifecycle.value.pre_stop.as_ref()).unwrap_or(default_sleep);
        let grace = scope.pod().termination_grace_period_seconds.unwrap_or(stop + DEFAULT_GRACE);
        if start < grace {
            return Vec::new();
        }
        let message = format!(
            "a sleep of {start} s must be shorter than the {grace} s that a pod is given to end: shorten it, or make \
             terminationGracePeriodSeconds longer than that"
        );
        vec![Problem::new(format!("{}.postStart", lifecycle.path), message)]
    })
}
