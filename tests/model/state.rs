//! One state of the world, and what a reconciliation makes of it. The model's own times are kept beside the status, so
//! that the status is checked and not believed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use microservice_operator::{
    api::{MicroserviceStatus, RouteMarks, labels},
    observe::{ChildRef, DeploymentFacts, LiveRoutes, LiveService, Observed, ObservedVersion, PodFacts, Weights},
    plan::{
        Plan,
        object::{Kind, Object},
        plan,
        rollout::orders::Order,
    },
    status::{self, Outcome, compute::Subject},
};
use serde_json::Value;

use crate::{
    desk::Desk,
    findings::Findings,
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
}

/// The last write of a reconciliation before the operator dies; with `Status` it lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Last {
    Deployments,
    DestinationRule,
    VirtualService,
    Removals,
    /// Somebody else changed the Microservice, and the status is refused; the operator lives on.
    Unsaved,
    Status,
}

impl Last {
    pub const ALL: [Self; 6] =
        [Self::Deployments, Self::DestinationRule, Self::VirtualService, Self::Removals, Self::Unsaved, Self::Status];

    fn of(kind: Kind) -> Self {
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

/// What the operator decided in a state.
pub struct Decision {
    pub plan: Plan,
    pub status: MicroserviceStatus,
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

    fn observe(&self) -> Observed {
        let version = |runs: &Runs| ObservedVersion {
            deployment: Some(DeploymentFacts {
                replicas: runs.replicas,
                complete: runs.complete(),
                template: Some(runs.template.clone()),
                ..DeploymentFacts::default()
            }),
            pods: (0..runs.pods)
                .map(|index| PodFacts {
                    ready: index < runs.ready,
                    restarted_at: runs.crashed.filter(|_| index == 0),
                    ..PodFacts::default()
                })
                .collect(),
        };
        let child = |((kind, name), version): (&(Kind, String), &Option<String>)| ChildRef {
            kind: *kind,
            name: name.clone(),
            uid: name.clone(),
            version: version.clone(),
            created: None,
        };
        let routes = |default: &Weights| LiveRoutes {
            default: default.clone(),
            named: self.lanes.clone(),
            mirrors: self.mirrors.clone(),
            ..LiveRoutes::default()
        };
        Observed {
            status: self.status.clone(),
            versions: self.runs.iter().map(|(name, runs)| (name.clone(), version(runs))).collect(),
            children: self.children.iter().map(child).collect(),
            routes: self.route.as_ref().map(routes),
            subsets: self.subsets.clone(),
            marks: self.marks(),
            service: self.children.keys().any(|(kind, _)| *kind == Kind::Service).then(LiveService::default),
            orders: self.orders.clone(),
            replies: self.desk.replies(),
            ..Observed::default()
        }
    }

    /// Runs the operator's own code.
    pub fn decide(&self, lab: &Lab) -> Decision {
        let Spec { spec, service, .. } = self.spec(lab);
        let observed = self.observe();
        let plan = plan(service, spec, &observed, &lab.settings, self.now);
        let subject = Subject { generation: 1, service: Some(service), observed: Some(&observed), now: self.now };
        let status = status::compute(&self.status, subject, &Outcome::Applied { plan: &plan, invalid: None });
        Decision { plan, status }
    }

    /// Writes what was decided, up to and including `last`. Answers whether anything changed.
    pub fn write(&mut self, lab: &Lab, decision: &Decision, last: Last) -> bool {
        let mut changed = false;
        let routed = self.route.clone().unwrap_or_default();
        let lossy = self.runs.iter().any(|(name, runs)| self.weight(name) > 0 && runs.ill(self.now));
        for object in decision.plan.objects.iter().filter(|object| Last::of(object.kind) <= last) {
            changed |= self.put(object);
        }
        if last >= Last::Removals {
            for gone in &decision.plan.removals {
                changed = true;
                self.children.remove(&(gone.kind, gone.name.clone()));
                if let (Kind::Deployment, Some(version)) = (gone.kind, &gone.version) {
                    self.runs.remove(version);
                }
            }
        }
        if last >= Last::VirtualService {
            let target = decision.plan.rollout.as_ref().map(|rollout| rollout.target.clone());
            self.unrest = if lossy { Some(self.now) } else { self.unrest };
            self.target = target;
            if let Some(rollout) = decision.plan.rollout.as_ref().filter(|_| !lossy) {
                self.note_rise(lab, &routed, rollout);
            }
        }
        if last < Last::Unsaved {
            self.desk.crash();
        }
        if last == Last::Status {
            // No plan depends on the conditions, and they are most of a status.
            let status = MicroserviceStatus { conditions: Vec::new(), routes: self.marks(), ..decision.status.clone() };
            changed |= self.status != status;
            let before = std::mem::replace(&mut self.status, status);
            self.note_measurements(before.rollout.as_ref());
            let policy = self.spec(lab).service.rollout.as_ref();
            self.note_calls(before.rollout.as_ref(), decision, policy);
            changed |= self.desk.ask(&decision.plan.inquiries, self.now);
            self.orders.retain(|order| !decision.plan.answers.iter().any(|answer| answer.uid == order.uid));
        }
        changed
    }

    /// As the cluster's uids and generations tell the states of the two objects apart.
    pub fn marks(&self) -> RouteMarks {
        let mark = |kind| Some(format!("uid/{}", self.changes.get(&kind)?));
        RouteMarks { virtual_service: mark(Kind::VirtualService), destination_rule: mark(Kind::DestinationRule) }
    }

    fn put(&mut self, object: &Object) -> bool {
        let Object { kind, name, value } = object;
        let version = value["metadata"]["labels"]["version"].as_str().map(str::to_owned);
        let mut changed = self.children.insert((*kind, name.clone()), version.clone()).is_none();
        match (kind, version) {
            (Kind::Deployment, Some(version)) => changed |= self.put_deployment(&version, value),
            (Kind::DestinationRule, _) => {
                let subsets = value["spec"]["subsets"].as_array().unwrap().iter();
                let subsets = subsets.map(|subset| subset["name"].as_str().unwrap().to_owned()).collect();
                changed |= self.subsets != subsets;
                self.put_subsets(subsets);
            }
            (Kind::VirtualService, _) => {
                let before = (self.route.clone(), self.lanes.clone(), self.mirrors.clone());
                self.put_route(value["spec"]["http"].as_array().unwrap());
                changed |= before != (self.route.clone(), self.lanes.clone(), self.mirrors.clone());
            }
            _ => {}
        }
        if changed && matches!(kind, Kind::DestinationRule | Kind::VirtualService) {
            *self.changes.entry(*kind).or_default() += 1;
        }
        changed
    }

    /// Pods that are too many go at once; new ones and those of a new template come when they come.
    fn put_deployment(&mut self, version: &str, value: &Value) -> bool {
        let replicas = i32::try_from(value["spec"]["replicas"].as_i64().unwrap()).unwrap();
        let template = value["metadata"]["annotations"][labels::TEMPLATE].as_str().unwrap().to_owned();
        let new = Runs { replicas, template: template.clone(), rolled: true, pods: 0, ready: 0, crashed: None };
        let before = self.runs.get(version).cloned();
        let mut runs = before.clone().unwrap_or(new);
        runs.rolled &= runs.template == template;
        (runs.replicas, runs.template) = (replicas, template);
        (runs.pods, runs.ready) = (runs.pods.min(replicas), runs.ready.min(replicas));
        let changed = before.as_ref() != Some(&runs);
        self.runs.insert(version.to_owned(), runs);
        changed
    }

    fn put_subsets(&mut self, subsets: BTreeSet<String>) {
        for new in subsets.difference(&self.subsets) {
            let seen = self.seen.entry(new.clone()).or_default();
            (seen.subset, seen.forgotten) = (Some(self.now), None);
        }
        for gone in self.subsets.difference(&subsets) {
            let seen = self.seen.entry(gone.clone()).or_default();
            (seen.subset, seen.forgotten) = (None, Some(self.now));
        }
        self.subsets = subsets;
    }

    fn put_route(&mut self, http: &[Value]) {
        for name in self.referred() {
            self.seen.entry(name).or_default().idle = Some(self.now);
        }
        let (default, lanes) = http.split_last().unwrap();
        let route = weights_of(default);
        let (now, before) = (self.now, self.route.take().unwrap_or_default());
        self.seen.values_mut().for_each(|seen| seen.weights.retain(|(at, _)| now.duration_since(*at) < PROPAGATION));
        for (name, weight) in before.into_iter().filter(|(name, weight)| route.get(name) != Some(weight)) {
            self.seen.entry(name).or_default().weights.push((now, weight));
        }
        self.route = Some(route);
        self.lanes = lanes.iter().map(|lane| (lane["name"].as_str().unwrap().to_owned(), weights_of(lane))).collect();
        self.mirrors = default["mirror"]["subset"].as_str().map(str::to_owned).into_iter().collect();
        for name in self.referred() {
            self.seen.entry(name).or_default().idle = None;
        }
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

fn weights_of(route: &Value) -> Weights {
    let destinations = route["route"].as_array().unwrap().iter();
    destinations
        .map(|to| {
            let weight = to["weight"].as_i64().unwrap_or(100);
            (to["destination"]["subset"].as_str().unwrap().to_owned(), i32::try_from(weight).unwrap())
        })
        .collect()
}
