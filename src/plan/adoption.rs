//! Taking over a live Service. Its clients must not notice: it goes on selecting what it did until the version that it is
//! to select is complete. Pure.

use crate::{
    api::{Provider, conditions::reason, labels},
    observe::Observed,
    validate::{Validated, Version},
};

use super::{
    holds::{Hold, Severity},
    object::Kind,
    resources::labels::pod_labels,
    rollout::{Rollout, Standing},
};

/// What a live Service waits for before it is taken over.
enum Awaited<'a> {
    /// Somebody else's VirtualService for the host, whose subsets may be of the pods that the Service then selects no more.
    Route(&'a str),
    /// That it does not select the new pods: they would get its requests before it leads to the right ports of theirs, and
    /// whatever weight they have.
    OtherSelector(String),
    /// A port that the spec does not have, and that cannot stay beside those of the spec as it is.
    Port(i32),
    /// The version that it is to select, which cannot take all requests yet.
    Version(&'a Standing<'a>),
}

fn awaited<'a>(service: &Validated, observed: &'a Observed, rollout: &'a Rollout<'a>) -> Option<Awaited<'a>> {
    if !observed.adopting {
        return None;
    }
    if let Some(message) = joined_pods(service, observed) {
        return Some(Awaited::OtherSelector(message));
    }
    if let Some(number) = observed.nameless_port {
        return Some(Awaited::Port(number));
    }
    let incomplete = |it: &&Standing<'_>| rollout.weight(it.name) > 0 && !(it.complete && it.serving());
    let version = || rollout.standings.iter().find(incomplete).map(Awaited::Version);
    // One that is handed over, too, becomes ours; one that only has its name does not.
    let own = format!("{}/{}", service.identity.namespace, service.identity.name);
    let is_offered = !observed.foreign.contains_key(&(Kind::VirtualService, service.identity.name.clone()));
    let becomes_ours = |route: &&String| service.provider == Provider::Istio && is_offered && **route == own;
    let other = observed.route_conflicts.iter().find(|route| !becomes_ours(route));
    other.map(|route| Awaited::Route(route)).or_else(version)
}

/// Whether somebody else's Service of its name selects the pods that are to be made of a version.
pub fn joins(service: &Validated, version: &Version, observed: &Observed) -> bool {
    let selector = &observed.foreign_selector;
    // A worker may have one of somebody's on purpose.
    if service.ports.is_empty()
        || selector.is_empty()
        || selector.contains_key(labels::SERVICE)
        || observed.has_deployment(&version.name)
    {
        return false;
    }
    let labels = pod_labels(service, version);
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// What is to be done about a Service that selects the pods that would be made.
pub fn joined_pods(service: &Validated, observed: &Observed) -> Option<String> {
    let joins = service.versions.iter().any(|version| joins(service, version, observed));
    joins.then(|| {
        let labels = observed.foreign_selector.iter().map(|(key, value)| format!("{key}={value}"));
        let selector = labels.collect::<Vec<_>>().join(",");
        format!(
            "no pods are made while the Service {} of somebody else selects them by {selector}: add a label to its selector that \
             only its own pods have, such as their pod-template-hash",
            service.identity.name
        )
    })
}

/// Whether the Service stays as it is: it is to be taken over, and that would be too early.
pub fn waits(service: &Validated, observed: &Observed, rollout: &Rollout<'_>) -> bool {
    awaited(service, observed, rollout).is_some()
}

/// What the Service waits for.
pub fn hold(service: &Validated, observed: &Observed, rollout: &Rollout<'_>) -> Option<Hold> {
    let name = &service.identity.name;
    let (what, severity) = match awaited(service, observed, rollout)? {
        Awaited::Route(route) => (
            format!(
                "somebody else's VirtualService {route} no longer routes {}, as its subsets would select none of the new \
                 pods: remove it",
                service.identity.host()
            ),
            Severity::Stalled,
        ),
        Awaited::OtherSelector(message) => {
            return Some(Hold { reason: reason::ADOPTION_PENDING, message, severity: Severity::Stalled });
        }
        Awaited::Port(number) => (
            format!("its port {number}, which has no name, is in spec.ports, or has a name, or is removed from it"),
            Severity::Stalled,
        ),
        Awaited::Version(version) => {
            let wanted = version.spec.map_or(version.replicas, |spec| spec.replicas);
            (format!("{} is complete ({} of {wanted} pods ready)", version.name, version.ready), Severity::Progressing)
        }
    };
    let message = format!("the Service {name} is taken over as soon as {what}; until then it selects what it did");
    Some(Hold { reason: reason::ADOPTION_PENDING, message, severity })
}
