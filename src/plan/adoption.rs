//! Taking over a live Service. Its clients must not notice: it goes on selecting what it did until the version that it is
//! to select is complete. Pure.

use crate::{
    api::{Provider, conditions::reason},
    observe::Observed,
    validate::Validated,
};

use super::{
    holds::{Hold, Severity},
    object::Kind,
    rollout::{Rollout, Standing},
};

/// What a live Service waits for before it is taken over.
enum Awaited<'a> {
    /// Somebody else's VirtualService for the host, whose subsets may be of the pods that the Service then selects no more.
    Route(&'a str),
    /// A port that the spec does not have, and that cannot stay beside those of the spec as it is.
    Port(i32),
    /// The version that it is to select, which cannot take all requests yet.
    Version(&'a Standing<'a>),
}

fn awaited<'a>(service: &Validated, observed: &'a Observed, rollout: &'a Rollout<'a>) -> Option<Awaited<'a>> {
    if !observed.adopting {
        return None;
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
