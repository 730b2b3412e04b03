//! What a port of the Service leads to in the pods, while it is given another name, too. Pure.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::{
    api::Port,
    observe::{DeploymentFacts, LiveService, Observed, ObservedVersion},
    plan::{children::Decided, rollout::weight_of},
    validate::{Problem, Validated},
};

/// What the live Service leads it to in place of its name; None where it has no such port.
pub fn other_target<'a>(port: &Port, live: &'a LiveService) -> Option<&'a IntOrString> {
    live.targets.get(&port.port).filter(|target| **target != IntOrString::String(port.name.clone()))
}

/// The port's name, as versions may listen on different numbers. A port that is renamed leads to its number until all pods
/// have the new name, if all of them listen on the same one: by either name it would find only some of them. So it does when
/// pods of before the renaming come back.
pub fn target(port: &Port, decided: &Decided<'_>) -> IntOrString {
    let name = IntOrString::String(port.name.clone());
    let is_live = decided.observed.service.as_ref().is_none_or(|live| other_target(port, live).is_none());
    if has_everywhere(&port.name, is_live, decided) {
        return name;
    }
    number_of(&port.name, decided.service, decided.observed).map_or(name, IntOrString::Int)
}

/// Why requests would be lost with another name of a port: a version that gets some, and is found now, would be found neither by
/// that nor by its number. A Service of nobody's is not asked.
pub fn cut_off(service: &Validated, observed: &Observed) -> Option<Problem> {
    let live = observed.service.as_ref()?;
    service.ports.iter().find_map(|port| {
        let name = &port.name;
        let from = other_target(port, live)?;
        if number_of(name, service, observed).is_some() {
            return None;
        }
        let loses = |version: &str, runs: &ObservedVersion| {
            let Some(facts) = &runs.deployment else { return false };
            let stays = facts.complete && facts.ports.contains_key(name);
            !stays && finds(from, facts) && gets_requests((version, runs, facts), service, observed)
        };
        let (version, _) = observed.versions.iter().find(|(version, runs)| loses(version, runs))?;
        let from = match from {
            IntOrString::Int(number) => number.to_string(),
            IntOrString::String(name) => name.clone(),
        };
        let message = format!(
            "port {} of the Service leads to {from} of the pods, and would lead to {name}, which not all pods of {version} have: \
             they would get no requests. Give a port another name in an edit of its own, while all pods listen on one number, and \
             another targetPort in the next, which is taken as soon as the first has arrived",
            port.port
        );
        Some(Problem::new(format!("spec.ports[{name}]"), message))
    })
}

/// Requests go to pods of the version, or will as soon as it is scaled up again: an older revision's have the ports that
/// they had.
fn gets_requests(
    (name, runs, facts): (&str, &ObservedVersion, &DeploymentFacts),
    service: &Validated,
    observed: &Observed,
) -> bool {
    let led_to = match &observed.routes {
        Some(routes) => {
            let mut weights = routes.named.values().chain([&routes.default]);
            weights.any(|weights| weight_of(weights, name) > 0) || routes.mirrors.contains(name)
        }
        None => observed.service.as_ref().is_some_and(|live| live.pinned.as_deref().is_none_or(|pin| pin == name)),
    };
    let sleeps = facts.replicas == 0 && service.version(name).is_none();
    led_to && (runs.ready() > 0 || sleeps)
}

fn finds(target: &IntOrString, facts: &DeploymentFacts) -> bool {
    match target {
        IntOrString::Int(number) => facts.ports.values().any(|port| port == number),
        IntOrString::String(name) => facts.ports.contains_key(name),
    }
}

/// All pods have the port by that name; those that are found by it already are not waited for until they are replaced.
fn has_everywhere(name: &str, is_live: bool, decided: &Decided<'_>) -> bool {
    let mut running = decided.rollout.standings.iter().filter(|standing| standing.exists && standing.replicas > 0);
    running.all(|standing| {
        let deployment = decided.observed.versions.get(standing.name).and_then(|version| version.deployment.as_ref());
        (is_live || standing.fit) && deployment.is_some_and(|facts| facts.ports.contains_key(name))
    })
}

/// The number that all versions have for it, by whatever name.
fn number_of(name: &str, service: &Validated, observed: &Observed) -> Option<i32> {
    let named = service.versions.iter().flat_map(|version| &version.ports).filter(|port| port.name == name);
    let mut numbers = named.map(|port| port.target_port.unwrap_or(port.port));
    let number = numbers.next().filter(|first| numbers.all(|other| other == *first))?;
    let mut deployments = observed.versions.values().filter_map(|version| version.deployment.as_ref());
    deployments.all(|facts| facts.ports.values().any(|port| *port == number)).then_some(number)
}
