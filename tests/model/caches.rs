//! What the operator knows of the world. Each kind has a watch of its own, and one that stalls leaves its cache as it
//! was, until the watch goes on. As the real caches do, these put off the next decision until they have seen what the
//! operator itself has written; so only what others change is ever seen late, and a status whose write was not heard of.
//!
//! Nobody but the operator writes routes, so the caches of their kinds cannot be older than its last write of them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use microservice_operator::{
    api::MicroserviceStatus,
    apply,
    observe::{ChildRef, DeploymentFacts, LiveRoutes, LiveService, Observed, ObservedVersion, PodFacts, Weights},
    plan::{Plan, object::Kind, plan},
    status::{self, Outcome, compute::Subject},
};

use crate::{
    findings::Findings,
    flaps::Flaps,
    hooks::Hooks,
    lab::{Lab, Spec},
    state::{Last, Runs, State},
};

/// A watch that may stall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Watch {
    Microservices,
    Deployments,
    Pods,
}

impl Watch {
    pub const ALL: [Self; 3] = [Self::Microservices, Self::Deployments, Self::Pods];
}

/// A Microservice as it was, with the notes that belong to its status.
#[derive(Clone, Debug)]
pub struct Older {
    pub spec: usize,
    pub status: MicroserviceStatus,
    pub findings: Findings,
    pub hooks: Hooks,
    pub flaps: BTreeMap<String, Flaps>,
}

/// What the caches of stalled watches have.
#[derive(Clone, Debug, Default)]
pub struct Lag {
    pub microservice: Option<Box<Older>>,
    pub deployments: Option<BTreeMap<String, Runs>>,
    pub pods: Option<BTreeMap<String, Runs>>,
    /// The operator has not heard that the status was written, and its cache has the one before.
    pub unheard: bool,
    /// Watches that have yet to deliver a write of the operator's.
    pub owed: BTreeSet<Watch>,
}

impl Lag {
    pub fn has(&self, watch: Watch) -> bool {
        match watch {
            Watch::Microservices => self.microservice.is_some(),
            Watch::Deployments => self.deployments.is_some(),
            Watch::Pods => self.pods.is_some(),
        }
    }

    /// The operator has written what the watch delivers.
    pub fn owe(&mut self, watch: Watch) {
        if self.has(watch) {
            self.owed.insert(watch);
        }
    }
}

/// What the operator decided in a state.
pub struct Decision {
    /// Number of the spec that it saw.
    pub spec: usize,
    observed: Observed,
    pub plan: Plan,
    /// Once the plan is written.
    pub status: MicroserviceStatus,
}

impl Decision {
    /// The status that is written before anything else, if a rollout ends by what was measured.
    pub fn judged(&self) -> Option<MicroserviceStatus> {
        self.plan.judged(&self.observed.status)
    }

    /// The status when something could not be written.
    pub fn failed(&self, spec: &Spec, failure: &apply::Failure, now: Timestamp) -> MicroserviceStatus {
        let Self { observed, plan, .. } = self;
        let subject = Subject { generation: 1, service: Some(&spec.service), observed: Some(observed), now };
        status::compute(&observed.status, subject, &Outcome::Failed { plan, invalid: None, failure })
    }
}

impl State {
    pub fn stall(&mut self, watch: Watch) {
        match watch {
            Watch::Microservices => {
                let (status, findings, hooks) = (self.status.clone(), self.findings.clone(), self.hooks.clone());
                let flaps = self.flaps.clone();
                self.lag.microservice = Some(Box::new(Older { spec: self.spec, status, findings, hooks, flaps }));
            }
            Watch::Deployments => self.lag.deployments = Some(self.runs.clone()),
            Watch::Pods => self.lag.pods = Some(self.runs.clone()),
        }
    }

    /// The watch delivers all that has happened.
    pub fn deliver(&mut self, watch: Watch) {
        match watch {
            Watch::Microservices => (self.lag.microservice, self.lag.unheard) = (None, false),
            Watch::Deployments => self.lag.deployments = None,
            Watch::Pods => self.lag.pods = None,
        }
        self.lag.owed.remove(&watch);
    }

    /// The caches have seen all that the operator knows to have written; otherwise a reconciliation is put off.
    pub fn may_decide(&self) -> bool {
        self.lag.owed.is_empty()
    }

    /// How a reconciliation may end, without what comes to the same.
    pub fn reconciliations(&self, decision: &Decision) -> impl Iterator<Item = Last> + use<> {
        let outside = !self.desk.is_empty();
        let lags = Watch::ALL.into_iter().any(|watch| self.lag.has(watch));
        let follows = outside || !self.orders.is_empty() || !decision.plan.inquiries.is_empty();
        let (unsaved, unheard) = (outside || lags, follows || self.lag.has(Watch::Microservices));
        let may = self.may_decide();
        Last::ALL.into_iter().filter(move |last| match last {
            Last::Unsaved => may && unsaved,
            Last::Unheard => may && unheard,
            _ => may,
        })
    }

    /// The pods of a version, as the cache has them.
    pub fn pods(&self, version: &str) -> Option<&Runs> {
        self.lag.pods.as_ref().unwrap_or(&self.runs).get(version)
    }

    /// The status as the cache has it.
    pub fn seen_status(&self) -> &MicroserviceStatus {
        self.lag.microservice.as_ref().map_or(&self.status, |older| &older.status)
    }

    /// What was noted with the status that the cache has.
    pub fn seen_findings(&self) -> Findings {
        let older = self.lag.microservice.as_ref().filter(|_| self.lag.unheard);
        let noted = older.map_or(&self.findings, |older| &older.findings);
        // What the route gave, it gave.
        let Findings { height, risen, .. } = self.findings.clone();
        Findings { height, risen, ..noted.clone() }
    }

    /// The status is replaced by one that was made without it. What was noted with it never came to be.
    pub fn forget_unheard(&mut self) {
        self.findings = self.seen_findings();
        let Some(older) = self.lag.microservice.as_ref().filter(|_| self.lag.unheard) else { return };
        self.status.clone_from(&older.status);
        self.flaps.clone_from(&older.flaps);
        let told = self.hooks.owed.iter().filter(|owed| older.hooks.owed.contains(owed)).cloned().collect();
        self.hooks = Hooks { owed: told, ..older.hooks.clone() };
    }

    fn observe(&self) -> Observed {
        let deployments = self.lag.deployments.as_ref().unwrap_or(&self.runs);
        let mut versions: BTreeMap<String, ObservedVersion> = BTreeMap::new();
        for (name, runs) in deployments {
            versions.entry(name.clone()).or_default().deployment = Some(deployment_of(runs));
        }
        for (name, runs) in self.lag.pods.as_ref().unwrap_or(&self.runs).iter().filter(|(_, runs)| runs.pods > 0) {
            versions.entry(name.clone()).or_default().pods = pods_of(runs);
        }
        let child = |((kind, name), version): (&(Kind, String), &Option<String>)| ChildRef {
            kind: *kind,
            name: name.clone(),
            uid: name.clone(),
            version: version.clone(),
            accepted: None,
            size: 0,
        };
        let routes = |default: &Weights| LiveRoutes {
            default: default.clone(),
            named: self.lanes.clone(),
            mirrors: self.mirrors.clone(),
            created: self.route_since.unwrap_or_default(),
        };
        Observed {
            status: self.seen_status().clone(),
            versions,
            children: self.children.iter().map(child).collect(),
            routes: self.route.as_ref().map(routes),
            subsets: self.subsets.clone(),
            marks: self.marks(),
            service: self
                .children
                .keys()
                .any(|(kind, _)| *kind == Kind::Service)
                .then(|| LiveService { pinned: self.pin.clone(), ..LiveService::default() }),
            orders: self.orders.clone(),
            replies: self.desk.replies(),
            ..Observed::default()
        }
    }

    /// Runs the operator's own code.
    pub fn decide(&self, lab: &Lab) -> Decision {
        let number = self.lag.microservice.as_ref().map_or(self.spec, |older| older.spec);
        let Spec { spec, service, .. } = &lab.specs[number];
        let observed = self.observe();
        let plan = plan(service, spec, &observed, &lab.settings, self.now);
        let subject = Subject { generation: 1, service: Some(service), observed: Some(&observed), now: self.now };
        let status = status::compute(&observed.status, subject, &Outcome::Applied { plan: &plan, invalid: None });
        Decision { spec: number, observed, plan, status }
    }
}

fn deployment_of(runs: &Runs) -> DeploymentFacts {
    DeploymentFacts {
        replicas: runs.replicas,
        available: runs.ready,
        complete: runs.complete(),
        template: Some(runs.template.clone()),
        ..DeploymentFacts::default()
    }
}

fn pods_of(runs: &Runs) -> Vec<PodFacts> {
    let pod = |index| PodFacts {
        ready: index < runs.ready,
        restarted_at: runs.crashed.filter(|_| index == 0),
        unready_since: runs.waned.filter(|_| index >= runs.ready),
        ..PodFacts::default()
    };
    (0..runs.pods).map(pod).collect()
}
