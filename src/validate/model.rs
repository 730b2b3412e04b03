//! What the plan is made from: a Microservice whose inheritance and defaults are resolved.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Probe;

use crate::api::{
    BoundedContext, CircuitBreaker, Duration, Hook, Metric, OnFailure, OnNoData, PodSettings, Port, Protocol, Provider,
    Retries, RollbackWindow, Route, RouteMatch,
};

use super::Window;

/// Which object this is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub name: String,
    pub namespace: String,
    /// Empty when there is no cluster, as in `render`.
    pub uid: String,
    pub generation: i64,
    /// When it was made, in whole seconds; None when there is no cluster.
    pub created: Option<Timestamp>,
}

impl Identity {
    /// The name by which clients in every namespace reach the service.
    pub fn host(&self) -> String {
        host(&self.name, &self.namespace)
    }

    /// How a command names it, wherever that is given.
    pub fn in_a_command(&self) -> String {
        format!("{} --namespace {}", self.name, self.namespace)
    }
}

/// The fully qualified name of a Service in a cluster whose domain is the default one.
pub fn host(name: &str, namespace: &str) -> String {
    format!("{name}.{namespace}.svc.cluster.local")
}

/// A Microservice that passed all checks.
#[derive(Clone, Debug, PartialEq)]
pub struct Validated {
    pub identity: Identity,
    pub context: Option<BoundedContext>,
    /// In the order of the spec. Empty for a worker.
    pub ports: Vec<Port>,
    /// In the order of the spec, never empty; the requested weights sum to 100.
    pub versions: Vec<Version>,
    pub routes: Vec<Route>,
    pub provider: Provider,
    /// One entry a port, in the order of `ports`.
    pub port_policies: Vec<PortPolicy>,
    /// Limits of all ports that have none of their own.
    pub circuit_breaker: Option<CircuitBreaker>,
    pub dependencies: Vec<Dependency>,
    /// How long a removed version runs on without references.
    pub drain: Duration,
    /// How weights travel; None for at once.
    pub rollout: Option<Policy>,
    /// How many older specs are kept, of a service that names an image; None for one that lists versions.
    pub history: Option<usize>,
    /// Whether ConfigMaps are a part of its revisions; None for those that were not made without already.
    pub config_revisions: Option<bool>,
    /// Why its newest configuration is not taken up.
    pub configuration: Vec<Behind>,
}

/// Why pods do not have what a ConfigMap holds now, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behind {
    /// There is nothing to have.
    Missing(String),
    /// It changes faster than revisions can go.
    Changing(String),
}

impl Validated {
    /// No version is to have pods.
    pub fn is_scaled_to_zero(&self) -> bool {
        self.versions.iter().all(|version| version.replicas == 0)
    }

    /// Whether anything is said of requests beside where they go.
    pub fn has_policies(&self) -> bool {
        let of_port = |policy: &PortPolicy| {
            policy.timeout.is_some() || policy.retries.is_some() || policy.circuit_breaker.is_some()
        };
        self.circuit_breaker.is_some() || self.port_policies.iter().any(of_port)
    }

    /// The version of that name.
    pub fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.name == name)
    }

    /// The revision that the spec asks for, of a service that names an image.
    pub fn newest_revision(&self) -> Option<&Version> {
        self.versions.iter().find(|version| self.by_image() && !version.is_older())
    }

    /// Whether each change of what runs makes a revision.
    pub fn by_image(&self) -> bool {
        self.history.is_some()
    }
}

/// One version with its settings as they apply: the service's, overridden by its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Version {
    pub name: String,
    pub image: String,
    /// Requested weight in percent.
    pub weight: i32,
    pub replicas: i32,
    /// Whether `replicas` is the version's own and not the service's.
    pub own_replicas: bool,
    /// The service's ports with this version's target ports, which are always given.
    pub ports: Vec<Port>,
    pub pod: PodSettings,
    /// Services whose addresses its pods are given.
    pub dependencies: Vec<Dependency>,
    /// The ControllerRevision that keeps what it is made from, of an older revision that is to go.
    pub kept_in: Option<String>,
    /// The copies that its pods refer to instead of the ConfigMaps that the user named. Empty when they refer to those.
    pub copies: Copies,
}

/// Names of copies by the names of the ConfigMaps that they were made of.
pub type Copies = BTreeMap<String, String>;

impl Version {
    /// Seconds after which a new pod counts as available at the latest, when its containers are given `least` to start, or
    /// as long as its settings say. Startup probes count for a week at most.
    pub fn longest_start(&self, least: i32) -> i32 {
        let startup = self.pod.health.as_ref().and_then(|health| health.startup_seconds);
        let own = self.pod.startup_probe.as_deref();
        let sidecars = self.pod.sidecars.iter().filter_map(|sidecar| sidecar.startup_probe.as_ref());
        let probed = own.into_iter().chain(sidecars).map(longest_start);
        let start = startup.into_iter().chain(probed).fold(least, i32::max);
        start.saturating_add(self.pod.min_ready_seconds.unwrap_or_default())
    }

    /// Whether a newer revision took its place.
    pub fn is_older(&self) -> bool {
        self.kept_in.is_some()
    }

    /// Names and values of the variables with the URLs of its dependencies, except those that the user sets otherwise.
    pub fn dependency_variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let set = |name: &str| self.pod.env.iter().any(|user| user.name == name);
        let free = self.dependencies.iter().filter(move |dependency| !set(&dependency.env));
        free.map(|dependency| (dependency.env.as_str(), dependency.url.as_str()))
    }
}

/// How one port's requests are treated.
#[derive(Clone, Debug, PartialEq)]
pub struct PortPolicy {
    pub name: String,
    pub port: i32,
    pub protocol: Protocol,
    pub timeout: Option<Duration>,
    pub retries: Option<Retries>,
    /// Only what the port itself declares.
    pub circuit_breaker: Option<CircuitBreaker>,
}

/// A service that this one calls, and the environment variable that says where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    pub name: String,
    pub namespace: String,
    pub port: i32,
    pub protocol: Protocol,
    pub env: String,
    pub url: String,
}

/// How weights travel, with defaults applied and the short form written out.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub steps: Vec<Step>,
    pub analysis: Option<Analysis>,
    pub on_failure: OnFailure,
    pub progress_deadline: Duration,
    /// Pods that all versions of a rollout may have together beyond those that the weights need; None for no limit.
    pub max_surge: Option<Size>,
    pub scale_down_delay: Option<Duration>,
    /// Nothing of a rollout advances.
    pub suspend: bool,
    /// When a rollout may go on; empty for always.
    pub windows: Vec<Window>,
    /// Whom a rollout asks and tells.
    pub webhooks: Vec<Hook>,
    pub rollback_window: Option<RollbackWindow>,
    /// The cookie by which clients stay with a new version that served them.
    pub affinity: Option<Affinity>,
}

/// A cookie that keeps clients with a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affinity {
    pub cookie: String,
    pub max_age: Duration,
}

/// One step of a rollout.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Percent of the way from the weights at the start to the requested ones.
    Weight(i32),
    /// Wait, for a time or until promoted.
    Pause(Option<Duration>),
    /// Measure until each metric has passed often enough.
    Analysis(Analysis),
    /// From here on, requests that meet any of these go to the versions that are being raised.
    Match(Vec<RouteMatch>),
    /// From here on, copies of this share of the requests, in percent, go to the version that is being raised.
    Mirror(i32),
    /// From here on, the versions that are being raised run so many pods.
    Scale(Size),
}

/// What is measured, with defaults applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Analysis {
    /// Name of the AnalysisProvider.
    pub provider: String,
    pub metrics: Vec<Metric>,
    pub interval: Duration,
    pub delay: Duration,
    pub failure_limit: i32,
    pub consecutive_error_limit: i32,
    pub min_requests: Option<i32>,
    pub on_no_data: OnNoData,
    pub count: i32,
}

/// A number of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    Pods(i32),
    /// Of the size without a step.
    Percent(i32),
}

impl Size {
    /// How many pods these are, of a version that has `whole` without a step.
    pub fn of(self, whole: i32) -> i32 {
        match self {
            Self::Pods(pods) => pods.min(whole),
            Self::Percent(percent) => part(whole, percent, 100),
        }
    }
}

/// As many pods out of `whole` as some out of all requests need, rounded up.
pub fn part(whole: i32, some: i32, all: i32) -> i32 {
    let (whole, some, all) = (i64::from(whole), i64::from(some), i64::from(all.max(1)));
    i32::try_from((whole * some + all - 1) / all).unwrap_or(i32::MAX)
}

/// A week: what a probe allows beyond it is no start any more.
const LONGEST_START: i32 = 604_800;

/// How many seconds a probe gives a container to start, with the cluster's defaults.
fn longest_start(probe: &Probe) -> i32 {
    let tries = probe.period_seconds.unwrap_or(10).saturating_mul(probe.failure_threshold.unwrap_or(3));
    tries.saturating_add(probe.initial_delay_seconds.unwrap_or_default()).min(LONGEST_START)
}
