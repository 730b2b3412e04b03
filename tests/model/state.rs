//! One state of the world, and what a reconciliation makes of it. The model's own times are kept beside the status, so
//! that the status is checked and not believed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use microservice_operator::{
    api::{MicroserviceStatus, RouteMarks},
    observe::Weights,
    plan::{object::Kind, rollout::orders::Order},
};

use crate::{
    caches::Lag,
    desk::Desk,
    findings::Findings,
    flaps::Flaps,
    hooks::Hooks,
    lab::{Lab, PROPAGATION, Spec},
};

/// After so long, restarts and losses are held against nobody.
pub const FORGIVEN: SignedDuration = SignedDuration::from_mins(10);

/// A Deployment and its pods.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Runs {
    pub replicas: i32,
    pub template: String,
    /// The pods are of the newest template.
    pub rolled: bool,
    pub pods: i32,
    pub ready: i32,
    /// When a container of its first pod last ended.
    pub crashed: Option<Timestamp>,
    /// When the last of its pods that are not ready lost it.
    pub waned: Option<Timestamp>,
}

impl Runs {
    pub fn complete(&self) -> bool {
        self.rolled && self.pods == self.replicas && self.ready == self.replicas
    }

    /// It cannot serve, or may have been judged so for its restarts.
    pub fn ill(&self, now: Timestamp) -> bool {
        self.ready == 0 || self.crashed.is_some_and(|at| now.duration_since(at) < FORGIVEN)
    }

    /// All pods are there, ready and of the newest template.
    pub fn heal(&mut self) {
        self.crashed = self.crashed.filter(|_| self.rolled);
        (self.rolled, self.pods, self.ready) = (true, self.replicas, self.replicas);
        self.waned = None;
    }
}

/// What the mesh and the clients know of a version, by the model's own clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Since when the DestinationRule has its subset.
    pub subset: Option<Timestamp>,
    /// Since when it has it no more.
    pub forgotten: Option<Timestamp>,
    /// Since when the route gives it nothing any more.
    pub idle: Option<Timestamp>,
    /// Weights that it had of late, with when they were taken.
    pub weights: Vec<(Timestamp, i32)>,
}

#[derive(Clone, Debug)]
pub struct State {
    pub now: Timestamp,
    /// Number of the spec in force.
    pub spec: usize,
    pub status: MicroserviceStatus,
    pub runs: BTreeMap<String, Runs>,
    pub children: BTreeMap<(Kind, String), Option<String>>,
    pub subsets: BTreeSet<String>,
    pub route: Option<Weights>,
    /// Since when there are routes.
    pub route_since: Option<Timestamp>,
    /// Since when there are none any more.
    pub route_gone: Option<Timestamp>,
    /// The one version that the Service selects; None for all.
    pub pin: Option<String>,
    pub pin_since: Option<Timestamp>,
    /// Routes beside the default one, by name.
    pub lanes: BTreeMap<String, Weights>,
    /// Versions that get copies of requests.
    pub mirrors: BTreeSet<String>,
    pub orders: Vec<Order>,
    pub seen: BTreeMap<String, Seen>,
    /// How often the DestinationRule and the VirtualService were changed.
    pub changes: BTreeMap<Kind, u32>,
    /// Target of the rollout that the route was last written for.
    pub target: Option<String>,
    /// When the route was last written for a loss.
    pub unrest: Option<Timestamp>,
    pub desk: Desk,
    pub findings: Findings,
    pub hooks: Hooks,
    pub flaps: BTreeMap<String, Flaps>,
    /// What the operator's caches have that is no longer so.
    pub lag: Lag,
    /// Objects of this kind are refused by the API server, with this code.
    pub refused: Option<(Kind, u16)>,
}

/// The last write of a reconciliation before the operator dies; with `Status` it lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Last {
    Deployments,
    DestinationRule,
    VirtualService,
    Removals,
    /// The status is refused; the operator lives on.
    Unsaved,
    /// The status is written, but the answer of the API server is lost; the operator lives on.
    Unheard,
    Status,
}

impl Last {
    pub const ALL: [Self; 7] = [
        Self::Deployments,
        Self::DestinationRule,
        Self::VirtualService,
        Self::Removals,
        Self::Unsaved,
        Self::Unheard,
        Self::Status,
    ];

    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::ControllerRevision
            | Kind::ServiceAccount
            | Kind::ConfigMap
            | Kind::PodDisruptionBudget
            | Kind::Deployment => Self::Deployments,
            Kind::DestinationRule => Self::DestinationRule,
            Kind::VirtualService | Kind::Service => Self::VirtualService,
        }
    }
}

impl State {
    /// Nothing exists yet.
    pub fn new(spec: usize) -> Self {
        Self {
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            spec,
            status: MicroserviceStatus::default(),
            runs: BTreeMap::new(),
            children: BTreeMap::new(),
            subsets: BTreeSet::new(),
            route: None,
            route_since: None,
            route_gone: None,
            pin: None,
            pin_since: None,
            lanes: BTreeMap::new(),
            mirrors: BTreeSet::new(),
            orders: Vec::new(),
            seen: BTreeMap::new(),
            changes: BTreeMap::new(),
            target: None,
            unrest: None,
            desk: Desk::default(),
            findings: Findings::default(),
            hooks: Hooks::default(),
            flaps: BTreeMap::new(),
            lag: Lag::default(),
            refused: None,
        }
    }

    pub fn spec<'a>(&self, lab: &'a Lab) -> &'a Spec {
        &lab.specs[self.spec]
    }

    pub fn weight(&self, version: &str) -> i32 {
        self.route.as_ref().and_then(|route| route.get(version)).copied().unwrap_or_default()
    }

    /// The largest weight by which the mesh may still send requests to a version.
    pub fn in_force(&self, version: &str) -> i32 {
        let recent = self.seen.get(version).into_iter().flat_map(|seen| &seen.weights);
        let recent = recent.filter(|(at, _)| self.now.duration_since(*at) < PROPAGATION).map(|(_, weight)| *weight);
        recent.chain([self.weight(version)]).max().unwrap_or_default()
    }

    /// As the cluster's uids and generations tell the states of the two objects apart.
    pub fn marks(&self) -> RouteMarks {
        let exists = |kind: Kind| self.children.keys().any(|(other, _)| *other == kind);
        let mark = |kind| Some(format!("uid/{}", self.changes.get(&kind).filter(|_| exists(kind))?));
        RouteMarks { virtual_service: mark(Kind::VirtualService), destination_rule: mark(Kind::DestinationRule) }
    }

    /// Versions that a route or copies of requests lead to.
    pub fn referred(&self) -> BTreeSet<String> {
        let weighted = self.route.iter().chain(self.lanes.values()).flatten().filter(|(_, weight)| **weight > 0);
        weighted.map(|(name, _)| name).chain(&self.mirrors).cloned().collect()
    }

    /// A route or copies of requests lead to it, beside the weights.
    pub fn favours(&self, version: &str) -> bool {
        let in_lane = |lane: &Weights| lane.get(version).is_some_and(|weight| *weight > 0);
        self.mirrors.contains(version) || self.lanes.values().any(in_lane)
    }
}
