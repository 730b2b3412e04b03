//! Rollout: the one state machine that moves the effective weights towards the requested ones. Pure.
//!
//! [`version`] judges each version, [`parking`] says who takes the weight of those that are to have no pods,
//! [`mod@walk`] how far on the way there to aim, [`mod@held`] what to say of what holds it, [`mod@settle`] gives no version
//! more than it can carry, [`lanes`] are the routes of its own, [`size`] decides how many pods run meanwhile.

pub mod analysis;
pub mod held;
pub mod lanes;
pub mod line;
pub mod orders;
pub mod parking;
pub mod settle;
pub mod size;
pub mod version;
pub mod walk;
pub mod windows;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use crate::{
    api::{OnUnready, RolloutState, RolloutStatus, Route},
    observe::{Observed, Weights},
    validate::Validated,
};

use settle::{Candidate, settle};
pub use version::{Circumstances, Standing};
use walk::{Answer, Outlook, Party, Situation, Walk};

/// Why nothing can be asked of a rollout whose routes cannot be written.
const STUCK: &str = "the VirtualService of the service cannot be changed now, so the weights stay as they are: see the condition \
                     RoutesReady, and ask again";
/// Why nothing can be asked of a rollout that stays where it is.
const NO_MESH: &str = "no mesh carries the weights of the service";

/// Where the weights go next, and how each version stands.
#[derive(Clone, Debug)]
pub struct Rollout<'a> {
    /// The versions of the spec in their order, then those that were removed from it, by name.
    pub standings: Vec<Standing<'a>>,
    /// Effective weights of the requests that no route takes.
    pub weights: Weights,
    /// The spec's routes in their order, then those of the rollout's own, with the weights they carry; None for one that
    /// is left out.
    pub routes: Vec<(Cow<'a, Route>, Option<Weights>)>,
    /// The version that gets copies of the requests that no route takes, and of how many percent of them.
    pub mirror: Option<(String, i32)>,
    /// What answers to the requests that no route takes set as a cookie, by the version that gives them.
    pub cookies: BTreeMap<String, String>,
    /// No version can serve anywhere: the last weights stand.
    pub stranded: bool,
    /// Versions that lost their weight just now.
    pub lost: Vec<String>,
    /// The weights in force are those that the spec asks for, or an aborted rollout went back to, already; what this step
    /// changes is yet to be written.
    pub arrived: bool,
    /// How far the rollout of the policy is; becomes the status.
    pub progress: Option<RolloutStatus>,
    /// What came of what people asked for.
    pub answers: Vec<Answer>,
    /// What the rollout waits for.
    pub outlook: Outlook,
    /// Why the rollout ends, if that was measured just now.
    pub verdict: Option<String>,
}

impl Rollout<'_> {
    /// The version of that name.
    pub fn standing(&self, name: &str) -> Option<&Standing<'_>> {
        self.standings.iter().find(|standing| standing.name == name)
    }

    /// Effective weight of a version.
    pub fn weight(&self, name: &str) -> i32 {
        self.weights.get(name).copied().unwrap_or_default()
    }
}

/// Which routes the mesh is to carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing<'a> {
    /// None: it carries no weights either.
    Nothing,
    /// Those to this version.
    To(&'a str),
    /// Those to versions that they lead to already.
    Known,
    All,
}

impl Routing<'_> {
    /// Whether a route may have these weights, given those that it has.
    fn admits(self, weights: &Weights, live: Option<&Weights>) -> bool {
        let to = |version: &str| match self {
            Self::Nothing => false,
            Self::To(only) => version == only,
            Self::Known => live.is_some_and(|live| weight_of(live, version) > 0),
            Self::All => true,
        };
        weights.iter().all(|(version, weight)| *weight == 0 || to(version))
    }
}

/// Decides the next weights.
///
/// `template` gives the id of the template that a version's Deployment should have. `frozen` keeps the weights as they
/// are, while the way from one provider to another needs it, or no others can be written.
pub fn advance<'a>(
    service: &'a Validated,
    observed: &'a Observed,
    around: &Circumstances<'_>,
    template: impl Fn(&str) -> Option<String>,
    frozen: bool,
    routing: Routing<'_>,
) -> Rollout<'a> {
    let routed = routing != Routing::Nothing;
    let current = current_weights(service, observed);
    let mut standings = judge_all(service, observed, around, current.as_ref(), template);
    parking::aim(&mut standings);
    let current = current.filter(|_| !observed.adopting);
    let creating = current.is_none();
    let walking = standings.iter().filter(|_| service.rollout.is_some());
    let parties: Vec<Party<'_>> =
        walking.map(|standing| standing.party(observed, service.drain.signed(), around)).collect();
    let situation = service.rollout.as_ref().map(|policy| Situation {
        policy,
        service,
        returns: service.by_image(),
        old: observed.status.rollout.as_ref(),
        current: current.as_ref(),
        parties: &parties,
        kept: &observed.kept_revisions,
        orders: &observed.orders,
        replies: &observed.replies,
        refused: observed.refused,
        first: observed.first,
        now: around.now,
        propagation: around.propagation,
    });
    let walked = situation.as_ref().and_then(|it| match (frozen, routed) {
        (true, _) => walk::stay(it, around.stuck),
        (false, false) => walk::rest(it),
        (false, true) => Some(walk::walk(it)),
    });
    let current = current.clone().unwrap_or_else(|| first_weights(&standings, observed.adopting));
    if let Some(Walk { aims, .. }) = &walked {
        standings.iter_mut().for_each(|standing| standing.aim = weight_of(aims, standing.name));
    }
    if let (Some(situation), Some(walked)) = (&situation, &walked) {
        for standing in &mut standings {
            let limited = walked.sizes.get(standing.name).copied();
            standing.scale(limited.or_else(|| situation.pods_of(standing.name, &walked.status)));
        }
    }
    if let Some(Walk { status, .. }) = &walked {
        standings.iter_mut().for_each(|standing| standing.recalled = is_recalled(status, standing.name));
    }
    if let Some(before) = walked.as_ref().and_then(|walked| goes_back_to(&walked.status)) {
        standings.iter_mut().for_each(|standing| standing.give_back(weight_of(before, standing.name)));
    }
    let candidates: Vec<Candidate> =
        standings.iter().map(|standing| standing.candidate(standing.aim, weight_of(&current, standing.name))).collect();
    let settled = settle(&candidates);
    let stranded = settled.is_none();
    let weights = match settled {
        Some(next) if !frozen => name_weights(&standings, &next),
        Some(_) | None => current.clone(),
    };
    let walked = match (&situation, walked) {
        (Some(situation), Some(walked)) if !frozen && routed => Some(walk::written(situation, walked, &weights)),
        (_, walked) => walked,
    };
    // They were judged by the step that began with this plan; they are sized for the one that it ends with.
    if let (Some(situation), Some(walked)) = (&situation, &walked) {
        for standing in &mut standings {
            standing.part = situation.pods_of(standing.name, &walked.status);
            standing.limited = walked.sizes.get(standing.name).copied();
        }
    }
    let beside = situation.as_ref().zip(walked.as_ref()).map(|(it, walked)| it.beside(&walked.status));
    let beside = beside.filter(|_| routed).unwrap_or_default();
    let carried = |route: &Route| {
        let live = observed.routes.as_ref().and_then(|routes| routes.named.get(&route.name));
        let weights = if routed { route_weights(service, route, live, &standings, creating) } else { None };
        weights.filter(|weights| routing.admits(weights, live))
    };
    let all = service.routes.iter().map(Cow::Borrowed).chain(lanes::routes(&beside).into_iter().map(Cow::Owned));
    let routes: Vec<_> = all.map(|route| (route.clone(), carried(&route))).collect();
    let mirror = lanes::mirror(&beside, &standings, observed.routes.as_ref());
    let cookies = lanes::cookies(&beside);
    let lost = if around.stuck {
        Vec::new()
    } else {
        note_losses(&mut standings, observed, (&current, &weights), &routes, around)
    };
    // What a route led to when it could last be written, it may still lead to.
    let stays = |name: &str| {
        let old = observed.status.of_version(name);
        around.stuck && old.is_some_and(|old| old.unreferenced_since.is_none())
    };
    for standing in &mut standings {
        let effective = weight_of(&weights, standing.name);
        let in_route = routes.iter().any(|(route, weights)| {
            let kept = standing.parked && route.on_unready == OnUnready::Hold;
            !kept && weights.as_ref().is_some_and(|w| weight_of(w, standing.name) > 0)
        });
        let runs = observed.versions.get(standing.name);
        let mirrored = mirror.as_ref().is_some_and(|(version, _)| version == standing.name);
        let referenced = effective > 0 || in_route || mirrored || stays(standing.name);
        standing.advance(effective, referenced, runs, around.now);
    }
    let aborted = walked.as_ref().is_some_and(|walked| walked.status.state == RolloutState::Aborted);
    let due = |standing: &Standing<'_>| if aborted { standing.aim } else { standing.target };
    let arrived = standings.iter().all(|standing| due(standing) == weight_of(&current, standing.name));
    let refuse = |why: &str| orders::refuse(&observed.orders, observed.status.rollout.as_ref(), why);
    let verdict = walked.as_ref().and_then(|walked| walked.verdict.clone());
    let (progress, answers, outlook) = match walked {
        Some(Walk { status, outlook, .. }) if around.stuck => (Some(status), refuse(STUCK), outlook),
        None if around.stuck && service.rollout.is_some() => (None, refuse(STUCK), Outlook::default()),
        Some(Walk { status, outlook, .. }) if !routed => (Some(status), refuse(NO_MESH), outlook),
        Some(Walk { status, answers, outlook, .. }) => (Some(status), answers, outlook),
        None => {
            let why = match service.rollout {
                Some(_) => NO_MESH,
                None => "the service has no rollout policy: its weights travel at once, as the spec asks for them",
            };
            (None, refuse(why), Outlook::default())
        }
    };
    Rollout {
        standings,
        weights,
        routes,
        mirror,
        cookies,
        stranded,
        lost,
        arrived,
        progress,
        answers,
        outlook,
        verdict,
    }
}

/// The weights that a rollout which was given up goes back to as far as pods carry them. A version that is yet to come up for
/// it gets all at once: until then those that served before do.
fn goes_back_to(status: &RolloutStatus) -> Option<&Weights> {
    match status.state {
        RolloutState::Aborted if !status.meanwhile.is_empty() => Some(&status.meanwhile),
        RolloutState::Aborted => Some(&status.stable),
        RolloutState::Completed if !status.from.is_empty() => Some(&status.stable),
        _ => None,
    }
}

/// Whether the version is what is gone back to, and others serve until it can.
fn is_recalled(status: &RolloutStatus, name: &str) -> bool {
    !status.meanwhile.is_empty() && status.stable.contains_key(name)
}

fn judge_all<'a>(
    service: &'a Validated,
    observed: &'a Observed,
    around: &Circumstances<'_>,
    current: Option<&Weights>,
    template: impl Fn(&str) -> Option<String>,
) -> Vec<Standing<'a>> {
    let weighted = |name: &str| current.is_some_and(|current| weight_of(current, name) > 0);
    let memories = observed.status.traffic.iter().map(|memory| memory.version.as_str());
    let removed: BTreeSet<&str> = observed
        .versions
        .iter()
        .filter(|(_, runs)| runs.deployment.is_some())
        .map(|(name, _)| name.as_str())
        .chain(observed.subsets.iter().map(String::as_str))
        .chain(memories.filter(|name| weighted(name)))
        .filter(|name| service.version(name).is_none())
        .collect();
    let named = |name: &str| observed.routes.iter().any(|live| live.named.values().any(|to| weight_of(to, name) > 0));
    let in_lane = |name: &str| observed.routes.as_ref().is_some_and(|live| lanes::lead_to(live, name));
    // A route of the spec may stay with a parked version, which drains all the same.
    let routed = |name: &str| weighted(name) || in_lane(name) || (service.version(name).is_none() && named(name));
    let old = |name: &str| {
        let mut memory = observed.status.of_version(name)?.clone();
        let (seen, dated) = (&observed.marks, &observed.status.routes);
        let same_routes = around.stuck || seen.virtual_service == dated.virtual_service;
        // The route may have been given other weights before a crash, and the status not.
        memory.since = memory.since.filter(|_| same_routes);
        // What a crash left undated counts from now on, unless requests depend on it.
        memory.subset_since =
            memory.subset_since.filter(|_| routed(name) || seen.destination_rule == dated.destination_rule);
        // The route may have been given to it again before a crash, and the status not: it drains anew.
        memory.unreferenced_since = memory.unreferenced_since.filter(|_| !routed(name) && same_routes);
        Some(memory)
    };
    let judge = |name, spec| {
        let template = service.version(name).and_then(|_| template(name));
        Standing::judge(name, spec, observed.versions.get(name), old(name).as_ref(), template, around)
    };
    service
        .versions
        .iter()
        .map(|version| judge(version.name.as_str(), Some(version)))
        .chain(removed.into_iter().map(|name| judge(name, None)))
        .collect()
}

/// What is in force: the live route first, then the status. None when nothing was ever routed.
fn current_weights(service: &Validated, observed: &Observed) -> Option<Weights> {
    // A Deployment of an earlier Microservice may have been in the way of its own: the mesh knows it all the same.
    let runs = |name: &str| observed.versions.contains_key(name) || observed.subsets.contains(name);
    // Pods alone may be those of an earlier Microservice of that name, and no route had the weights yet.
    let is_run = |name: &str| observed.has_deployment(name);
    let usable = |weights: &Weights, known: &dyn Fn(&str) -> bool| {
        let may = |name: &str| service.version(name).is_some() || known(name);
        weights.values().sum::<i32>() == 100 && weights.iter().all(|(name, weight)| *weight == 0 || may(name))
    };
    let live = observed.routes.as_ref().map(|routes| routes.default.clone()).filter(|it| usable(it, &runs));
    let remembered =
        || observed.status.traffic.iter().map(|memory| (memory.version.clone(), memory.effective)).collect();
    live.or_else(|| Some(remembered()).filter(|it| usable(it, &is_run)))
}

/// All to the version with the largest request; to one that is complete, if there is any. Clients of a Service that is
/// yet to be taken over can wait for the largest.
fn first_weights(standings: &[Standing<'_>], adopting: bool) -> Weights {
    let largest = |of: &dyn Fn(&&Standing<'_>) -> bool| {
        let mut best: Option<&Standing<'_>> = None;
        for standing in standings.iter().filter(of) {
            if best.is_none_or(|best| standing.target > best.target) {
                best = Some(standing);
            }
        }
        best.map(|standing| standing.name.to_owned())
    };
    largest(&|standing| standing.complete && standing.target > 0 && !adopting)
        .or_else(|| largest(&|_| true))
        .map(|name| Weights::from([(name, 100)]))
        .unwrap_or_default()
}

/// The weights of one route; None when it is left out because none of its versions can serve.
fn route_weights(
    service: &Validated,
    route: &Route,
    live: Option<&Weights>,
    standings: &[Standing<'_>],
    creating: bool,
) -> Option<Weights> {
    let requested = requested_of(route);
    let in_route: Vec<&Standing<'_>> = standings
        .iter()
        .filter(|standing| {
            weight_of(&requested, standing.name) > 0 || live.is_some_and(|live| weight_of(live, standing.name) > 0)
        })
        .collect();
    let candidates: Vec<Candidate> = in_route
        .iter()
        .map(|standing| {
            let current = live.map_or(0, |live| weight_of(live, standing.name));
            let candidate = standing.candidate(weight_of(&requested, standing.name), current);
            Candidate {
                carries: 0,
                serving: candidate.serving && !standing.parked,
                rescuer: candidate.rescuer && !standing.parked && (live.is_some() || candidate.admitted),
                ..candidate
            }
        })
        .collect();
    if let Some(next) = settle(&candidates) {
        return Some(in_route.iter().zip(next).map(|(standing, weight)| (standing.name.to_owned(), weight)).collect());
    }
    match route.on_unready {
        // The service is scaled to zero as it stands.
        OnUnready::Fallback if !service.is_scaled_to_zero() => None,
        _ if creating || in_route.iter().all(|standing| standing.routable) => Some(requested),
        _ => live.cloned(),
    }
}

/// What a route asks for, by version.
pub fn requested_of(route: &Route) -> Weights {
    match &route.version {
        Some(version) => Weights::from([(version.clone(), 100)]),
        None => route.weights.iter().map(|share| (share.version.clone(), share.weight)).collect(),
    }
}

/// Versions whose weight or route was taken because they cannot serve are held out for a while.
fn note_losses(
    standings: &mut [Standing<'_>],
    observed: &Observed,
    default: (&Weights, &Weights),
    routes: &[(Cow<'_, Route>, Option<Weights>)],
    around: &Circumstances<'_>,
) -> Vec<String> {
    let live = |name: &str| observed.routes.as_ref().and_then(|routes| routes.named.get(name));
    let mut lost = Vec::new();
    let runs = |standing: &Standing<'_>| standing.spec.is_none_or(|spec| spec.replicas > 0);
    for standing in standings.iter_mut().filter(|standing| standing.fails() && runs(standing)) {
        let taken = |before: Option<&Weights>, after: Option<&Weights>| {
            let weight = |weights: Option<&Weights>| weights.map_or(0, |weights| weight_of(weights, standing.name));
            weight(before) > 0 && weight(after) == 0
        };
        // The route may have been written before a crash, and the status not.
        let remembered = standing.memory.effective > 0 && weight_of(default.1, standing.name) == 0;
        let from_default = remembered || taken(Some(default.0), Some(default.1));
        let from_route = routes.iter().any(|(route, next)| taken(live(&route.name), next.as_ref()));
        if from_default || from_route {
            standing.lose(observed.versions.get(standing.name), around.now);
            lost.push(standing.name.to_owned());
        }
    }
    lost
}

fn name_weights(standings: &[Standing<'_>], weights: &[i32]) -> Weights {
    standings.iter().zip(weights).map(|(standing, weight)| (standing.name.to_owned(), *weight)).collect()
}

pub(crate) fn weight_of(weights: &Weights, name: &str) -> i32 {
    weights.get(name).copied().unwrap_or_default()
}
