//! What keeps a service from its spec, in words that tell a person what to do. Pure.

mod rollout;

use crate::{
    api::{LimitedBy, Provider, conditions::reason},
    observe::{Foreign, Holder, Mesh, Observed, child::MICROSERVICE},
    validate::{Validated, Version},
};

use super::{
    adoption, copies,
    object::{Kind, Object},
    revisions,
    rollout::{Rollout, Standing, requested_of},
    scaling::{self, Contested},
    traffic::provider::{Stage, are_stuck, tells_the_mesh},
};

/// One thing that keeps the service from its spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// A reason of the conditions.
    pub reason: &'static str,
    /// What holds it, with values and what to do.
    pub message: String,
    pub severity: Severity,
}

/// What a hold means for the phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It goes on by itself.
    Progressing,
    /// Something fails; it may or may not go on by itself.
    Degraded,
    /// Nothing goes on until a person changes something.
    Stalled,
}

/// Whether every class of requests has a ready version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Availability {
    pub available: bool,
    pub reason: &'static str,
    pub message: String,
}

/// Whether routes, weights and policies stand as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutesState {
    pub ready: bool,
    pub reason: &'static str,
    pub message: String,
}

/// Objects that would be applied, but whose names somebody else's objects have.
pub fn clashes(objects: &[Object], stage: &Stage, service: &Validated, observed: &Observed) -> Foreign {
    let wanted = |(kind, name): &(Kind, String)| {
        let awaited = *stage == Stage::Barred && tells_the_mesh(service, *kind, name);
        awaited || objects.iter().any(|it| it.kind == *kind && it.name == *name)
    };
    observed.foreign.iter().filter(|(name, _)| wanted(name)).map(|(name, by)| (name.clone(), by.clone())).collect()
}

/// Everything that keeps the service from its spec, the weightiest first.
pub fn holds(
    service: &Validated,
    observed: &Observed,
    rollout: &Rollout<'_>,
    stage: &Stage,
    clashes: &Foreign,
    contested: &Contested,
) -> Vec<Hold> {
    let joined = adoption::joined_pods(service, observed);
    let of_clash = |((kind, name), by): (&(Kind, String), &Holder)| {
        let hold = clash(service, *kind, name, by);
        match joined.as_ref().filter(|_| *kind == Kind::Service) {
            Some(joined) => Hold { message: format!("{}; {joined}", hold.message), ..hold },
            None => hold,
        }
    };
    let mut holds: Vec<Hold> = clashes.iter().map(of_clash).collect();
    holds.extend(observed.leaving.iter().map(|((kind, name), finalizers)| leaving(*kind, name, finalizers)));
    holds.extend(copies::holds(service, observed));
    holds.extend(adoption::hold(service, observed, rollout));
    let scaled_to_zero = service.is_scaled_to_zero();
    let idle = |standing: &Standing<'_>| scaled_to_zero && standing.spec.is_some() && standing.replicas == 0;
    let standby = |standing: &Standing<'_>| {
        let kept = revisions::standby(service, rollout.progress.as_ref(), standing.name).is_some();
        kept && rollout.weight(standing.name) == 0 && standing.aim == 0
    };
    let versions = rollout.standings.iter().filter(|standing| !idle(standing) && !standby(standing));
    holds.extend(versions.filter_map(|standing| {
        let hold = of_version(standing, rollout)?;
        let usual = hold.reason == reason::VERSION_NOT_READY && hold.severity == Severity::Progressing;
        let scaled = scaling::message(service, contested, standing.name).filter(|_| usual);
        Some(scaled.map(|message| Hold { reason: reason::CHILD_SCALED, message, ..hold.clone() }).unwrap_or(hold))
    }));
    holds.extend(of_provider(stage));
    holds.extend(rollout::of_rollout(service, rollout, stage));
    let routes = routes(service, observed, rollout, stage, clashes);
    // Without a mesh nothing is on its way that would ever change this: the condition alone says it. What an adoption
    // waits for is said above, and so is what is being deleted, or somebody else's.
    // What others have for their own clients does not keep the service from its spec.
    let told = reason::CLIENTS_HAVE_OWN_RULE;
    let said = [reason::PROVIDER_NONE, reason::ADOPTION_PENDING, reason::CHILD_DELETING, reason::NAME_CLASH, told];
    if !routes.ready && !said.contains(&routes.reason) {
        let severity = if on_their_way(rollout, &routes) { Severity::Progressing } else { Severity::Degraded };
        holds.push(Hold { reason: routes.reason, message: routes.message, severity });
    }
    holds.sort_by_key(|hold| std::cmp::Reverse(hold.severity));
    holds
}

/// Whether routes are left out only for versions that come up and have not failed.
fn on_their_way(rollout: &Rollout<'_>, routes: &RoutesState) -> bool {
    let comes_up = |standing: &Standing<'_>| !standing.fails() && !standing.held && standing.trouble.is_none();
    let leads_to = |name: &String| rollout.standings.iter().any(|it| it.name == name && comes_up(it));
    let mut left_out = rollout.routes.iter().filter(|(_, weights)| weights.is_none());
    routes.reason == reason::ROUTE_LEFT_OUT && left_out.all(|(route, _)| requested_of(route).keys().all(leads_to))
}

fn clash(service: &Validated, kind: Kind, name: &str, by: &Holder) -> Hold {
    let own = &service.identity.name;
    let rename = match kind {
        Kind::ConfigMap => "rename the ConfigMap of which this would be the copy",
        Kind::Deployment | Kind::PodDisruptionBudget => "rename the version or this Microservice",
        Kind::ServiceAccount => {
            "rename this Microservice, or name the account in serviceAccountName if its pods are to run as it (none are \
             made or changed until then)"
        }
        _ => "rename this Microservice",
    };
    let whose = match by {
        Holder::Nobody if kind == Kind::ConfigMap => {
            format!("belongs to somebody else: delete or rename it, or {rename}")
        }
        Holder::OtherPods => format!(
            "belongs to somebody else, and cannot be taken over, since its selector, which nobody can change, selects \
             other pods: delete it, or {rename}"
        ),
        Holder::Headless => format!(
            "belongs to somebody else, and cannot be taken over, since it has no address of its own at which requests could \
             be shared out (it is headless, or of the type ExternalName): delete it, or {rename}"
        ),
        Holder::Nobody => format!(
            "belongs to somebody else: delete or rename it, {rename}, or let the operator take it over with the \
             annotation {}: {own}",
            crate::api::labels::ADOPT
        ),
        Holder::Controller(by) if by.kind == MICROSERVICE && by.name == *own => {
            "belongs to an earlier Microservice of this name: it is made anew as soon as the cluster has removed it; \
             if that does not happen, delete it"
                .to_owned()
        }
        Holder::Controller(by) => {
            format!("is controlled by the {} {}: {rename}, or let go of the object there", by.kind, by.name)
        }
    };
    // The cluster removes what has lost its owner.
    let goes = matches!(by, Holder::Controller(by) if by.kind == MICROSERVICE && by.name == *own);
    let severity = if goes { Severity::Progressing } else { Severity::Stalled };
    let kind = kind.api_resource().kind;
    Hold { reason: reason::NAME_CLASH, message: format!("a {kind} named {name} exists and {whose}"), severity }
}

fn leaving(kind: Kind, name: &str, finalizers: &[String]) -> Hold {
    let kind = kind.api_resource().kind;
    let (why, severity) = match finalizers {
        [] => (String::new(), Severity::Progressing),
        held => (format!(", which these finalizers hold up: {}", held.join(", ")), Severity::Degraded),
    };
    let message = format!("the {kind} {name} is being deleted{why}; nothing of it can be changed until it is gone");
    Hold { reason: reason::CHILD_DELETING, message, severity }
}

fn of_version(standing: &Standing<'_>, rollout: &Rollout<'_>) -> Option<Hold> {
    let idle = standing.aim == 0 && rollout.weight(standing.name) == 0 && !standing.recalled;
    let drains = |spec: &&Version| spec.is_older() && idle;
    let Some(spec) = standing.spec.filter(|spec| !drains(spec)) else { return of_removed(standing, rollout) };
    if standing.parked {
        return of_parked(standing, rollout);
    }
    let limited = standing.limited_by();
    let idle = spec.replicas == 0 && standing.replicas == 0;
    if limited.is_none() && (standing.complete || idle || (standing.exists && unneeded(standing, rollout))) {
        return None;
    }
    let weights = weights_in_words(rollout);
    // Without a mesh, what the rollout is yet to raise has no pods.
    let stopped = standing.exists && standing.replicas == 0 && standing.aim == 0;
    let (reason, state, severity) = match limited {
        Some(LimitedBy::HeldOut) => (
            reason::VERSION_HELD_OUT,
            format!(
                "{} lost its weight and is held out until {}",
                standing.name,
                standing
                    .memory
                    .held_until
                    .as_ref()
                    .map(|until| until.0.strftime("%H:%M:%S UTC").to_string())
                    .unwrap_or_default()
            ),
            Severity::Degraded,
        ),
        Some(LimitedBy::Propagation) => (
            reason::PROPAGATING,
            format!("{} is ready; the mesh is given time to learn of it", standing.name),
            Severity::Progressing,
        ),
        Some(LimitedBy::OtherVersion | LimitedBy::Rollout) if standing.complete || stopped => return None,
        _ => {
            let severity = if standing.trouble.is_some()
                || standing.restarting
                || (standing.ready == 0 && rollout.weight(standing.name) > 0 && standing.memory.clean_since.is_some())
            {
                Severity::Degraded
            } else {
                Severity::Progressing
            };
            (reason::VERSION_NOT_READY, readiness_in_words(standing, standing.wanted()), severity)
        }
    };
    let trouble = standing.trouble.as_ref().map(|trouble| format!(": {trouble}")).unwrap_or_default();
    Some(Hold { reason, message: format!("{state}{trouble}; {weights}"), severity })
}

/// A version that is to have no pods, while others run.
fn of_parked(standing: &Standing<'_>, rollout: &Rollout<'_>) -> Option<Hold> {
    let (name, requested, weights) = (standing.name, standing.requested(), weights_in_words(rollout));
    if requested > 0 {
        let message = format!(
            "{name} is to have no pods, so the other versions take its {requested} % of the requests: give it \
             replicas, or the weight 0; {weights}"
        );
        return Some(Hold { reason: reason::NO_REPLICAS, message, severity: Severity::Degraded });
    }
    (standing.replicas > 0).then(|| Hold {
        reason: reason::DRAINING,
        message: format!("{name} is to have no pods and drains; {weights}"),
        severity: Severity::Progressing,
    })
}

/// A version without weight may be kept at no pods at all.
fn unneeded(standing: &Standing<'_>, rollout: &Rollout<'_>) -> bool {
    standing.replicas == 0 && rollout.weight(standing.name) == 0 && standing.requested() == 0
}

fn readiness_in_words(standing: &Standing<'_>, wanted: i32) -> String {
    if standing.restarting {
        return format!("{}'s pods restart ({} of {wanted} ready)", standing.name, standing.ready);
    }
    if standing.ready >= wanted && wanted > 0 {
        return format!("{} is being updated ({} of {wanted} pods ready)", standing.name, standing.ready);
    }
    format!("{} has {} of {wanted} {} ready", standing.name, standing.ready, if wanted == 1 { "pod" } else { "pods" })
}

fn of_removed(standing: &Standing<'_>, rollout: &Rollout<'_>) -> Option<Hold> {
    let weight = rollout.weight(standing.name);
    if weight > 0 {
        // What the rollout waits for is what its weight waits for.
        if rollout.progress.as_ref().is_some_and(|status| status.state.is_under_way()) {
            return None;
        }
        let message =
            format!("{} was removed and keeps {weight} % of the requests until the others are ready", standing.name);
        return Some(Hold { reason: reason::DRAINING, message, severity: Severity::Progressing });
    }
    standing.exists.then(|| Hold {
        reason: reason::DRAINING,
        message: format!("{} was removed and drains; {}", standing.name, weights_in_words(rollout)),
        severity: Severity::Progressing,
    })
}

fn of_provider(stage: &Stage) -> Option<Hold> {
    let message = match stage {
        Stage::Adopting | Stage::Entering | Stage::Settling => {
            "traffic is being handed from the Service to the mesh, step by step"
        }
        Stage::Leaving => "traffic is being handed from the mesh to the Service, step by step",
        // Whose name is in the way is told as a clash.
        Stage::Worker | Stage::Mesh | Stage::Plain | Stage::Barred => return None,
    };
    Some(Hold { reason: reason::PROVIDER_CHANGING, message: message.to_owned(), severity: Severity::Progressing })
}

/// `traffic stays at v1 100`, as the status' message ends.
fn weights_in_words(rollout: &Rollout<'_>) -> String {
    let parts: Vec<String> = rollout
        .standings
        .iter()
        .map(|standing| (standing.name, rollout.weight(standing.name)))
        .filter(|(_, weight)| *weight > 0)
        .map(|(name, weight)| format!("{name} {weight}"))
        .collect();
    format!("traffic stays at {}", parts.join(", "))
}

/// Whether every class of requests has a ready version.
pub fn availability(service: &Validated, rollout: &Rollout<'_>, clashes: &Foreign) -> Availability {
    if clashes.keys().any(|(kind, _)| *kind == Kind::Service) {
        let message = format!("requests to {} go to somebody else's Service", service.identity.host());
        return Availability { available: false, reason: reason::NAME_CLASH, message };
    }
    let unserved: Vec<&str> = rollout
        .standings
        .iter()
        .filter(|standing| rollout.weight(standing.name) > 0 && standing.ready == 0)
        .map(|standing| standing.name)
        .collect();
    let ready = |name: &str| rollout.standing(name).is_some_and(|standing| standing.ready > 0);
    let silent = rollout.routes.iter().find_map(|(route, weights)| {
        let mut to = weights.as_ref()?.iter().filter(|(_, weight)| **weight > 0).map(|(name, _)| name);
        to.all(|name| !ready(name)).then_some(route)
    });
    if let Some(route) = silent.filter(|_| unserved.is_empty()) {
        return Availability {
            available: false,
            reason: reason::NO_READY_VERSION,
            message: format!("requests of the route {} go to no ready pod", route.name),
        };
    }
    if unserved.is_empty() {
        return Availability {
            available: true,
            reason: reason::VERSIONS_READY,
            message: "every version that gets requests has ready pods".to_owned(),
        };
    }
    let zero = service.is_scaled_to_zero();
    let (reason, why) = if zero {
        (reason::SCALED_TO_ZERO, "replicas is 0".to_owned())
    } else {
        let trouble = rollout.standings.iter().find_map(|standing| standing.trouble.clone());
        (reason::NO_READY_VERSION, trouble.unwrap_or_else(|| "no pod is ready yet".to_owned()))
    };
    Availability { available: false, reason, message: format!("no pod is ready of {}: {why}", unserved.join(", ")) }
}

/// Whether routes, weights and policies stand as declared.
pub fn routes(
    service: &Validated,
    observed: &Observed,
    rollout: &Rollout<'_>,
    stage: &Stage,
    clashes: &Foreign,
) -> RoutesState {
    let not = |reason, message: String| RoutesState { ready: false, reason, message };
    if *stage == Stage::Worker {
        return RoutesState { ready: true, reason: reason::NO_ROUTES, message: "a worker has no routes".to_owned() };
    }
    let taken = clashes.keys().map(|(kind, _)| *kind).find(|kind| kind.guards_traffic());
    if let Some(kind) = taken {
        let message = if kind == Kind::Service {
            format!("requests to {} go to somebody else's Service; nothing is routed", service.identity.host())
        } else {
            let (kind, name) = (kind.api_resource().kind, &service.identity.name);
            format!("the {kind} {name} is somebody else's, so routes and weights do not stand")
        };
        return not(reason::NAME_CLASH, message);
    }
    if observed.adopting {
        let message = format!("the Service {} is not taken over yet; nothing is routed", service.identity.name);
        return not(reason::ADOPTION_PENDING, message);
    }
    if are_stuck(service, observed) {
        let name = &service.identity.name;
        let message =
            format!("the VirtualService {name} cannot be changed until it is gone: the weights stay as they are");
        return not(reason::CHILD_DELETING, message);
    }
    if service.provider == Provider::Istio && observed.mesh == Mesh::Absent {
        return not(
            reason::MESH_NOT_INSTALLED,
            "Istio's VirtualService and DestinationRule are not installed in this cluster: the Service alone carries \
             the requests; install Istio, or set traffic.provider to None"
                .to_owned(),
        );
    }
    if let Some(conflict) = observed.route_conflicts.first() {
        return not(
            reason::ROUTE_CONFLICT,
            format!(
                "the VirtualService {conflict} routes {} too, and which of the two decides is not defined: remove one",
                service.identity.host()
            ),
        );
    }
    if service.provider == Provider::None {
        return without_mesh(service, rollout);
    }
    if let Some(conflict) = observed.rule_conflicts.first() {
        return not(
            reason::ROUTE_CONFLICT,
            format!(
                "the DestinationRule {conflict} is about {} too, and where the two differ the mesh takes the older one: \
                 remove it",
                service.identity.host()
            ),
        );
    }
    let out: Vec<&str> =
        rollout.routes.iter().filter(|(_, weights)| weights.is_none()).map(|(route, _)| route.name.as_str()).collect();
    if !out.is_empty() {
        let until = match stage {
            Stage::Entering | Stage::Settling => "the mesh has the version's pods, as requests are handed to it",
            _ => "its version is ready",
        };
        return not(
            reason::ROUTE_LEFT_OUT,
            format!("left out until {until}: {}; its requests fall through", out.join(", ")),
        );
    }
    if let Some((rule, subset)) = observed.rules_elsewhere.first() {
        return not(
            reason::CLIENTS_HAVE_OWN_RULE,
            format!(
                "the DestinationRule {rule} decides for the clients of its namespace, and has no subset {subset} for {}: \
                 their requests to it fail: add the subset there, or remove the rule",
                service.identity.host()
            ),
        );
    }
    RoutesState {
        ready: true,
        reason: reason::ROUTES_APPLIED,
        message: "routes and weights stand in the mesh".to_owned(),
    }
}

fn without_mesh(service: &Validated, rollout: &Rollout<'_>) -> RoutesState {
    let weighted = rollout.standings.iter().filter(|standing| rollout.weight(standing.name) > 0).count();
    let problem = if !service.routes.is_empty() {
        Some("routes need a mesh: with traffic.provider None they are not applied")
    } else if weighted > 1 {
        Some("weights need a mesh: with traffic.provider None requests spread over all ready pods of the versions")
    } else {
        None
    };
    let message = problem.unwrap_or("the Service sends all requests to one version");
    let ignored = if service.has_policies() { "; timeouts, retries and circuit breakers are not applied" } else { "" };
    RoutesState { ready: problem.is_none(), reason: reason::PROVIDER_NONE, message: format!("{message}{ignored}") }
}
