//! What was observed, as plain data.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::{
    api::{MicroserviceStatus, RouteMarks},
    plan::{configuration::Content, inquiry::Reply, object::Kind, rollout::orders::Order},
    validate::Copies,
};

/// Percentages by version name. Versions that are not named have 0.
pub type Weights = BTreeMap<String, i32>;

/// Everything about one Microservice that the plan depends on, beside its spec.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The status as it was last written.
    pub status: MicroserviceStatus,
    /// Versions that have a Deployment of this Microservice or pods.
    pub versions: BTreeMap<String, ObservedVersion>,
    /// Objects of this Microservice.
    pub children: Vec<ChildRef>,
    /// Copies of ConfigMaps that each kept spec uses, by the name of its ControllerRevision.
    pub copies: BTreeMap<String, Copies>,
    /// What the copies hold that are to be made, by the name of the copy.
    pub contents: BTreeMap<String, Content>,
    /// Objects of this Microservice that are being deleted, and what holds that up. They cannot be written.
    pub leaving: BTreeMap<(Kind, String), Vec<String>>,
    /// Objects of its namespace that belong to somebody else, under names that it may want.
    pub foreign: Foreign,
    /// Weights that its VirtualService carries, even while that is being deleted.
    pub routes: Option<LiveRoutes>,
    /// Names of the subsets that its DestinationRule has, even while that is being deleted.
    pub subsets: BTreeSet<String>,
    /// The VirtualService and the DestinationRule that these are of.
    pub marks: RouteMarks,
    /// Its Service.
    pub service: Option<LiveService>,
    /// Instead of its Service there is one that it may take over, with clients of its own.
    pub adopting: bool,
    /// The port without a name of the Service that is to be taken over, if the spec does not have it: beside another
    /// one it would need a name.
    pub nameless_port: Option<i32>,
    pub mesh: Mesh,
    /// The labels by which the Service of its name selects pods, while that is not its own.
    pub foreign_selector: BTreeMap<String, String>,
    /// `namespace/name` of somebody else's VirtualServices for its host in the mesh.
    pub route_conflicts: Vec<String>,
    /// Names of somebody else's DestinationRules for its host, in its namespace.
    pub rule_conflicts: Vec<String>,
    /// `namespace/name` of DestinationRules for its host in namespaces of clients, for whom these decide, each with a subset
    /// that the service has and they lack.
    pub rules_elsewhere: Vec<(String, String)>,
    /// What people asked of its rollout, the oldest first.
    pub orders: Vec<Order>,
    /// What was found outside the cluster's API, of what the plan asked for.
    pub replies: Vec<Reply>,
    /// What was planned last was refused, and is until somebody changes something.
    pub refused: bool,
    /// This process has just begun to look at it: what there is may be news to it.
    pub first: bool,
    /// The revisions whose specs are kept, when somebody asks to go back to one; each with the port of the Service, if any,
    /// at which nothing would find its pods.
    pub kept_revisions: BTreeMap<String, Option<i32>>,
    /// In the order of the spec's dependencies.
    pub dependencies: Vec<DependencyState>,
}

impl Observed {
    /// Whether a version of that name has a Deployment.
    pub fn has_deployment(&self, version: &str) -> bool {
        self.versions.get(version).is_some_and(|runs| runs.deployment.is_some())
    }
}

/// Objects of somebody else's by kind and name.
pub type Foreign = BTreeMap<(Kind, String), Holder>;

/// Whose an object is that is not the Microservice's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    Controller(Controller),
    /// It may be handed over.
    Nobody,
    /// Nobody controls it, and it selects other pods for good, so that it cannot be handed over.
    OtherPods,
    /// Nobody controls it, and it is a Service that has no address for clients, so that it cannot be handed over.
    Headless,
}

/// The object that controls another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Controller {
    pub kind: String,
    pub name: String,
}

/// A child that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildRef {
    pub kind: Kind,
    pub name: String,
    pub uid: String,
    /// The value of its `version` label.
    pub version: Option<String>,
    /// Of a ControllerRevision.
    pub accepted: Option<Acceptance>,
    /// What it takes in memory, in bytes.
    pub size: usize,
}

/// When the spec of a ControllerRevision was accepted last: the greater, the later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acceptance {
    /// Its `revision`, which grows when an older spec comes back.
    pub number: i64,
    /// Tells apart those that were made before the number grew.
    pub created: Option<Timestamp>,
}

/// One version as it runs.
#[derive(Clone, Debug, Default)]
pub struct ObservedVersion {
    pub deployment: Option<DeploymentFacts>,
    /// Pods that are not being deleted.
    pub pods: Vec<PodFacts>,
}

impl ObservedVersion {
    /// Pods that can take requests.
    pub fn ready(&self) -> i32 {
        i32::try_from(self.pods.iter().filter(|pod| pod.ready).count()).unwrap_or(i32::MAX)
    }
}

/// What a Deployment says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeploymentFacts {
    /// Wanted pods, as the Deployment has it.
    pub replicas: i32,
    /// Pods that are available, as its controller has seen them: ready, and for `minReadySeconds`.
    pub available: i32,
    /// Its controller has seen the newest template and size, and all pods are of it and available.
    pub complete: bool,
    /// Its template annotation: `<set of defaults>-<digest>`.
    pub template: Option<String>,
    /// Why pods cannot be made or do not progress, in the cluster's words.
    pub trouble: Option<String>,
    /// Ports of the service's own container in its template, by name.
    pub ports: BTreeMap<String, i32>,
    /// ConfigMaps that its template refers to.
    pub config_maps: BTreeSet<String>,
    /// Who changed `replicas` after the operator had set it, such as an autoscaler.
    pub scaled_by: Option<String>,
}

/// What a pod says of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodFacts {
    pub ready: bool,
    /// When a container of it last ended although it should run.
    pub restarted_at: Option<Timestamp>,
    /// When it lost its readiness, if it had it and its containers run on.
    pub unready_since: Option<Timestamp>,
    /// Why it is not ready, in the cluster's words.
    pub trouble: Option<String>,
}

/// The weights of a live VirtualService.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveRoutes {
    /// Weights of the requests that no named route takes.
    pub default: Weights,
    /// Weights by the name of the route.
    pub named: BTreeMap<String, Weights>,
    /// Versions that get copies of requests.
    pub mirrors: BTreeSet<String>,
    /// When the VirtualService was created.
    pub created: Timestamp,
}

/// A live Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveService {
    /// The one version that its selector admits; none when it selects all.
    pub pinned: Option<String>,
    /// What its ports lead to in a pod, by the port's number.
    pub targets: BTreeMap<i32, IntOrString>,
}

/// Whether the cluster has Istio's kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mesh {
    #[default]
    Installed,
    Absent,
}

/// How a dependency stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DependencyState {
    Ready,
    /// Neither a Microservice nor a Service of that name exists.
    NotFound,
    /// It exists, but has no ready version; with its own message.
    NotReady(String),
    /// It is in a namespace that this operator does not watch.
    Unwatched,
    /// It exists, but has no such port or another protocol on it; what it has instead.
    PortMismatch(String),
}
