//! What users write and read: the `Microservice` resource, its status, and the names the operator puts on objects.
//!
//! Pure data. Nothing here may use a client, a clock or randomness. Doc comments on fields are what
//! `kubectl explain` prints, so they address the person who writes a manifest.

pub mod action;
pub mod analysis;
pub mod conditions;
pub mod container;
pub mod duration;
mod embedded;
pub mod labels;
pub mod microservice;
pub mod pod;
pub mod provider;
pub mod rollout;
pub mod route;
mod rules;
pub mod schema;
pub mod status;
pub mod traffic;
pub mod webhook;
pub mod window;

pub use action::{ActionResult, MicroserviceAction, MicroserviceActionSpec, MicroserviceActionStatus, Verb};
pub use analysis::{Analysis, AnalysisRun, Baseline, MeasurementResult, Metric, MetricKind, MetricRun, OnNoData};
pub use container::{Container, InitContainer, Sidecar, SidecarLifecycle};
pub use duration::Duration;
pub use microservice::{
    BoundedContext, Dependency, Microservice, MicroserviceSpec, Port, PortOverride, Protocol, Subdomain, VersionSpec,
};
pub use pod::{Health, HealthProtocol, Mount, PodSettings, Volume};
pub use provider::{AnalysisProvider, AnalysisProviderSpec};
pub use rollout::{
    HandledAction, Held, HeldBy, MAX_HANDLED, Mirror, OnFailure, Pause, Relapses, RollbackWindow, RolloutPolicy,
    RolloutState, RolloutStatus, Scale, Served, SessionAffinity, SessionCookie, Step,
};
pub use route::{MatchValue, OnUnready, Route, RouteMatch, WeightedVersion};
pub use schema::{crd, crds};
pub use status::{LimitedBy, MicroserviceStatus, Phase, RouteMarks, Scaled, VersionTraffic};
pub use traffic::{CircuitBreaker, ConnectionPool, OutlierDetection, PortTraffic, Provider, Retries, Traffic};
pub use webhook::{CallResult, Hook, HookCall, Moment, RolloutWebhook, RolloutWebhookSpec};
pub use window::{Day, Window, WindowKind};

/// API group of the operator's resources.
pub const GROUP: &str = "microservice-operator.dev";
/// Served and stored version of the API group.
pub const VERSION: &str = "v1alpha1";
/// Field manager of every server-side apply, and the value of `app.kubernetes.io/managed-by`.
pub const MANAGER: &str = "microservice-operator";
/// Name of the service's own container in every pod.
pub const APP_CONTAINER: &str = "app";
/// Longest `<name>-<version>` whose pods' names and labels still fit: 63 less a ReplicaSet's hash and a pod's suffix.
pub const MAX_NAME_AND_VERSION: usize = 45;
/// Names of fields that `spec` may get in a later release, so that nobody takes them for something else.
pub const RESERVED: [&str; 7] = ["className", "data", "expose", "messaging", "observability", "policyRefs", "profiles"];
