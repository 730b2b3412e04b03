//! What a port of the Service leads to in the pods, while it is given another name, too. Pure.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::{api::Port, plan::children::Decided};

/// The port's name, as versions may listen on different numbers. A port that is renamed leads to its number until all pods
/// have the new name, if all of them listen on the same one: by either name it would find only some of them. So it does when
/// pods of before the renaming come back.
pub fn target(port: &Port, decided: &Decided<'_>) -> IntOrString {
    let name = IntOrString::String(port.name.clone());
    let live = decided.observed.service.as_ref().and_then(|live| live.targets.get(&port.port));
    let is_live = live.is_none_or(|live| *live == name);
    if has_everywhere(&port.name, is_live, decided) {
        return name;
    }
    number_of(&port.name, decided).map_or(name, IntOrString::Int)
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
fn number_of(name: &str, decided: &Decided<'_>) -> Option<i32> {
    let named = decided.service.versions.iter().flat_map(|version| &version.ports).filter(|port| port.name == name);
    let mut numbers = named.map(|port| port.target_port.unwrap_or(port.port));
    let number = numbers.next().filter(|first| numbers.all(|other| other == *first))?;
    let mut deployments = decided.observed.versions.values().filter_map(|version| version.deployment.as_ref());
    deployments.all(|facts| facts.ports.values().any(|port| *port == number)).then_some(number)
}
