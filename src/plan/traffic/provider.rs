//! Who carries the weights, a mesh or the plain Service, and the way from one to the other. Pure.
//!
//! Entering a mesh: DestinationRule, propagation, VirtualService, propagation, then the Service's selector widens and,
//! after the propagation once more, weights move again. Leaving it goes the other way round; versions without weight lose
//! their pods first, if the Service is to select all. A live Service that is taken over enters the mesh from the first
//! version that it selects. Routes that somebody took away come back at once, unless their subsets went with them: these
//! come first again. Routes that are there and cannot be written stop everything. While somebody else's object has the
//! name of one that the mesh needs, the Service stays in charge.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use crate::{
    api::Provider,
    observe::{Mesh, Observed},
    plan::{
        object::Kind,
        rollout::{Circumstances, Rollout, Routing, Standing, version::time},
    },
    validate::Validated,
};

/// The API server cuts the time of a creation to the second.
const CREATION_PRECISION: SignedDuration = SignedDuration::from_secs(1);

/// What pods are given to end, once they are not wanted any more.
const TO_END: SignedDuration = SignedDuration::from_secs(60);

/// On which part of the way the service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No ports: nothing is routed.
    Worker,
    /// Before the mesh, a live Service is taken over: it selects what it did, then one complete version.
    Adopting,
    /// The mesh carries the weights.
    Mesh,
    /// The mesh was given control, and weights wait until it has taken effect.
    Settling,
    /// From the plain Service to the mesh.
    Entering,
    /// From the mesh to the plain Service.
    Leaving,
    /// The Service alone, as somebody else's object has a name that the mesh is to be told by.
    Barred,
    /// The Service alone.
    Plain,
}

impl Stage {
    /// Reads the stage off the cluster and the status.
    pub fn of(service: &Validated, observed: &Observed, propagation: SignedDuration, now: Timestamp) -> Self {
        let has = |kind| observed.children.iter().any(|child| child.kind == kind);
        let stuck = are_stuck(service, observed);
        let routed = stuck || has(Kind::VirtualService) || has(Kind::DestinationRule);
        if service.ports.is_empty() {
            return Self::Worker;
        }
        if service.provider == Provider::None || observed.mesh == Mesh::Absent {
            return if routed && observed.mesh == Mesh::Installed { Self::Leaving } else { Self::Plain };
        }
        let barred = !stuck && observed.foreign.keys().any(|(kind, name)| tells_the_mesh(service, *kind, name));
        let outside = |pinned: bool| pinned || observed.status.provider == Some(Provider::None);
        match &observed.service {
            Some(live) if barred && outside(live.pinned.is_some()) => Self::Barred,
            None if observed.adopting => Self::Adopting,
            None => Self::Mesh,
            Some(live) if live.pinned.is_some() => Self::Entering,
            Some(_) if observed.status.provider == Some(Provider::None) => Self::Entering,
            Some(_) if younger(observed.status.provider_since.as_ref(), propagation, now) => Self::Settling,
            Some(_) => Self::Mesh,
        }
    }

    /// Weights stay as they are on this stage: on the way into the mesh, and on the way out once the Service is narrowed to one
    /// version: routes to another one would meet no pod.
    pub fn freezes(&self, observed: &Observed) -> bool {
        let narrowed = || observed.service.as_ref().is_some_and(|live| live.pinned.is_some());
        match self {
            Self::Settling | Self::Entering => true,
            Self::Leaving => narrowed(),
            Self::Worker | Self::Adopting | Self::Mesh | Self::Plain | Self::Barred => false,
        }
    }

    /// The mesh's subsets decide which version can be routed to.
    pub fn uses_subsets(&self) -> bool {
        !matches!(self, Self::Worker | Self::Adopting | Self::Plain | Self::Barred)
    }

    /// Header routes are to be carried.
    pub fn routes(&self) -> bool {
        matches!(self, Self::Mesh | Self::Settling | Self::Entering)
    }

    /// Which header routes are to be carried: a narrow Service has the pods of one version only, and the mesh learns of the
    /// others' once it has widened.
    pub fn routing<'a>(&self, observed: &'a Observed) -> Routing<'a> {
        let pinned = || observed.service.as_ref().and_then(|live| live.pinned.as_deref());
        match self {
            Self::Settling => Routing::Known,
            Self::Entering => pinned().map_or(Routing::All, Routing::To),
            _ if self.routes() => Routing::All,
            _ => Routing::Nothing,
        }
    }
}

/// Whether the mesh is told of the service by the object of that kind and name.
pub fn tells_the_mesh(service: &Validated, kind: Kind, name: &str) -> bool {
    kind.of_mesh() && name == service.identity.name
}

/// Whether the mesh has routes of the service that cannot be written: its VirtualService is being deleted, which something
/// holds up, or has lost its owner. One of its name that never was its own, as far as the status tells, is not meant.
pub fn are_stuck(service: &Validated, observed: &Observed) -> bool {
    let routes = (Kind::VirtualService, service.identity.name.clone());
    let known = observed.routes.is_some() || observed.status.routes.virtual_service.is_some();
    let in_mesh = !service.ports.is_empty() && observed.mesh == Mesh::Installed && !observed.adopting;
    in_mesh && known && (observed.leaving.contains_key(&routes) || observed.foreign.contains_key(&routes))
}

/// What is to exist, and what the Service selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    pub service: bool,
    pub destination_rule: bool,
    pub virtual_service: bool,
    /// The one version that the Service admits; None for all.
    pub pin: Option<String>,
    /// Becomes the status.
    pub provider: Option<Provider>,
    pub provider_since: Option<MicroTime>,
    /// When the way goes on by time alone.
    pub next: Option<Timestamp>,
}

/// Decides what is to exist, given where the weights go.
pub fn place(
    stage: &Stage,
    service: &Validated,
    observed: &Observed,
    rollout: &Rollout<'_>,
    around: &Circumstances<'_>,
) -> Placement {
    let Circumstances { now, propagation, subsets: _, stuck } = *around;
    let step = Step { observed, rollout, around, propagation, drain: service.drain.signed(), now, stuck };
    match stage {
        Stage::Worker => step.worker(),
        Stage::Mesh | Stage::Settling => step.mesh(),
        Stage::Entering => step.enter(),
        Stage::Leaving => step.leave(),
        Stage::Adopting | Stage::Plain | Stage::Barred => step.plain(step.only_version()),
    }
}

impl Placement {
    /// On which part of the way this is: routes that wait for their subsets are on the way into the mesh.
    pub fn stage(&self, stage: Stage) -> Stage {
        if stage == Stage::Mesh && !self.virtual_service { Stage::Entering } else { stage }
    }

    /// Without a word to the mesh when the Service of that name, and so the host, is somebody else's; without routes
    /// when the subsets are.
    pub fn beside(self, foreign: impl Fn(Kind) -> bool) -> Self {
        let foreign_host = foreign(Kind::Service);
        Self {
            destination_rule: self.destination_rule && !foreign_host,
            virtual_service: self.virtual_service && !foreign_host && !foreign(Kind::DestinationRule),
            ..self
        }
    }
}

struct Step<'a> {
    observed: &'a Observed,
    rollout: &'a Rollout<'a>,
    around: &'a Circumstances<'a>,
    propagation: SignedDuration,
    drain: SignedDuration,
    now: Timestamp,
    stuck: bool,
}

impl Step<'_> {
    fn since(&self) -> Option<MicroTime> {
        self.observed.status.provider_since.clone()
    }

    fn plain(&self, pin: Option<String>) -> Placement {
        Placement {
            service: true,
            destination_rule: false,
            virtual_service: false,
            pin,
            provider: Some(Provider::None),
            provider_since: None,
            next: None,
        }
    }

    /// Nothing is routed any more. Until what the mesh led to has drained, the status tells that a mesh carried it.
    fn worker(&self) -> Placement {
        let told = self.observed.status.provider.filter(|told| *told == Provider::Istio);
        let drains = self.idle().filter_map(|standing| standing.drained_at(self.drain, self.around));
        let next = told.and_then(|_| drains.filter(|at| *at > self.now).min());
        Placement { service: false, provider: told.filter(|_| next.is_some()), next, ..self.plain(None) }
    }

    fn mesh(&self) -> Placement {
        let until = self.since().and_then(|since| since.0.checked_add(self.propagation).ok());
        let routed = Placement {
            service: true,
            destination_rule: true,
            virtual_service: true,
            pin: None,
            provider: Some(Provider::Istio),
            provider_since: self.since(),
            next: until.filter(|until| *until > self.now),
        };
        let foreign = self.observed.foreign.keys().any(|(kind, _)| *kind == Kind::VirtualService);
        let lost = self.observed.service.is_some() && self.observed.routes.is_none() && !foreign;
        if lost && !self.routable() {
            return Placement { virtual_service: false, next: self.after_subsets(), ..routed };
        }
        routed
    }

    /// The mesh has the subsets of all versions that get requests.
    fn routable(&self) -> bool {
        self.weighted().all(|standing| standing.routable)
    }

    fn weighted(&self) -> impl Iterator<Item = &Standing<'_>> {
        self.rollout.standings.iter().filter(|standing| self.rollout.weight(standing.name) > 0)
    }

    fn enter(&self) -> Placement {
        let pin = self.observed.service.as_ref().and_then(|live| live.pinned.clone());
        let waiting = Placement { destination_rule: true, pin: pin.clone(), ..self.plain(None) };
        if self.stuck {
            return Placement { virtual_service: true, ..waiting };
        }
        let Some(live) = &self.observed.routes else {
            return Placement { virtual_service: self.routable(), next: self.after_subsets(), ..waiting };
        };
        let created = live.created.checked_add(CREATION_PRECISION).unwrap_or(live.created);
        let due = created.checked_add(self.propagation).unwrap_or(self.now);
        let stranded = self.weighted().all(|standing| !standing.serving());
        if due <= self.now || stranded {
            return Placement { provider_since: Some(time(self.now)), next: Some(self.later()), ..self.mesh() };
        }
        Placement { virtual_service: true, next: Some(due), ..waiting }
    }

    /// The status tells that the Service was narrowed, or that the routes are gone: what it does not tell, since it could
    /// not be written, counts from now on.
    fn leave(&self) -> Placement {
        let pin = self.only_version();
        let pinned = self.observed.service.as_ref().and_then(|live| live.pinned.clone());
        let told = &self.observed.status;
        let staying = Placement { pin: pinned.clone(), provider: told.provider, next: None, ..self.mesh() };
        if self.stuck {
            return Placement { virtual_service: true, ..staying };
        }
        let narrowed = |pin| Placement {
            pin,
            provider: Some(Provider::None),
            provider_since: Some(time(self.now)),
            next: Some(self.later()),
            ..staying.clone()
        };
        if pin.is_some() && pin != pinned {
            let due = self.quiet_at();
            return if due <= self.now { narrowed(pin) } else { Placement { next: Some(due), ..staying } };
        }
        let due = self.since().and_then(|since| since.0.checked_add(self.propagation).ok());
        let ready = pin.is_none() || due.is_none_or(|due| due <= self.now);
        match &self.observed.routes {
            Some(_) if pin.is_some() && told.provider != Some(Provider::None) => narrowed(pin),
            Some(_) if !ready => Placement { next: due, ..staying },
            Some(_)
                if pin.is_none()
                    && let Some(next) = self.crowd() =>
            {
                Placement { next: Some(next), ..staying }
            }
            Some(_) => Placement { virtual_service: false, ..narrowed(pin) },
            None if told.routes.virtual_service.is_some() => Placement { virtual_service: false, ..narrowed(pin) },
            None if due.is_some_and(|due| due > self.now) => {
                Placement { virtual_service: false, pin, next: due, ..staying }
            }
            None => self.plain(pin),
        }
    }

    /// Versions without weight have pods, which would get requests from the Service. They are waited for until they had time
    /// to drain and to end; somebody else may keep them running. Tells when to look again.
    fn crowd(&self) -> Option<Timestamp> {
        let times = self.idle().flat_map(|standing| {
            let drained = standing.drained_at(self.drain, self.around);
            [drained, drained.and_then(|at| at.checked_add(TO_END).ok())]
        });
        times.flatten().filter(|at| *at > self.now).min()
    }

    /// Versions without weight that have pods.
    fn idle(&self) -> impl Iterator<Item = &Standing<'_>> {
        let idle = self.rollout.standings.iter().filter(|standing| self.rollout.weight(standing.name) == 0);
        idle.filter(|standing| standing.ready > 0 || standing.replicas > 0)
    }

    /// The version that gets everything, if one does.
    fn only_version(&self) -> Option<String> {
        let all = self.rollout.standings.iter().find(|standing| self.rollout.weight(standing.name) == 100);
        all.map(|standing| standing.name.to_owned())
    }

    /// When no weight or route has led to any other version for the propagation time.
    fn quiet_at(&self) -> Timestamp {
        let changed = |standing: &Standing<'_>| {
            let memory = &standing.memory;
            let since = if memory.effective > 0 { &memory.since } else { &memory.unreferenced_since };
            since.as_ref().map_or(self.now, |since| since.0)
        };
        let last = self.rollout.standings.iter().map(changed).max().unwrap_or(self.now);
        last.checked_add(self.propagation).unwrap_or(last)
    }

    fn after_subsets(&self) -> Option<Timestamp> {
        let sinces = self.rollout.standings.iter().filter(|standing| !standing.routable);
        let due = |standing: &Standing<'_>| {
            let since = standing.memory.subset_since.as_ref().map_or(self.now, |since| since.0);
            since.checked_add(self.propagation).ok()
        };
        sinces.filter_map(due).min()
    }

    fn later(&self) -> Timestamp {
        self.now.checked_add(self.propagation).unwrap_or(self.now)
    }
}

fn younger(since: Option<&MicroTime>, age: SignedDuration, now: Timestamp) -> bool {
    since.is_some_and(|since| now.duration_since(since.0) < age)
}
