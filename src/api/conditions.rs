//! Types and reasons of the conditions in a Microservice's status.

/// The newest spec is fully reached.
pub const READY: &str = "Ready";
/// Every class of requests has a ready version.
pub const AVAILABLE: &str = "Available";
/// kstatus: the operator works towards the spec.
pub const RECONCILING: &str = "Reconciling";
/// kstatus: nothing goes on until a person changes something.
pub const STALLED: &str = "Stalled";
/// Routes, weights and traffic policies stand as declared.
pub const ROUTES_READY: &str = "RoutesReady";
/// The sizes of the Deployments are set by the operator alone. Never affects `Ready`.
pub const SIZES_READY: &str = "SizesReady";
/// The services in `dependencies` exist and are ready. Never affects `Ready`.
pub const DEPENDENCIES_READY: &str = "DependenciesReady";

/// The requested weights are in force.
pub const PROMOTED: &str = "Promoted";
/// The rollout waits for somebody.
pub const PAUSED: &str = "Paused";

/// Reasons, grouped by the condition they appear on first.
pub mod reason {
    pub const SPEC_REACHED: &str = "SpecReached";
    pub const PROGRESSING: &str = "Progressing";
    pub const VERSION_NOT_READY: &str = "VersionNotReady";
    pub const NO_REPLICAS: &str = "NoReplicas";
    pub const VERSION_HELD_OUT: &str = "VersionHeldOut";
    pub const DRAINING: &str = "Draining";
    pub const PROPAGATING: &str = "Propagating";
    pub const INVALID_SPEC: &str = "InvalidSpec";
    pub const CHILD_DELETING: &str = "ChildDeleting";
    pub const NAME_CLASH: &str = "NameClash";
    pub const ADOPTION_PENDING: &str = "AdoptionPending";
    pub const APPLY_FAILED: &str = "ApplyFailed";
    pub const CONFIG_MAP_MISSING: &str = "ConfigMapMissing";
    pub const CONFIG_MAP_CHANGING: &str = "ConfigMapChanging";
    pub const PORTS_CHANGING: &str = "PortsChanging";
    pub const VERSIONS_READY: &str = "VersionsReady";
    pub const NO_READY_VERSION: &str = "NoReadyVersion";
    pub const SCALED_TO_ZERO: &str = "ScaledToZero";
    pub const ROUTES_APPLIED: &str = "RoutesApplied";
    pub const NO_ROUTES: &str = "NoRoutes";
    pub const ROUTE_LEFT_OUT: &str = "RouteLeftOut";
    pub const ROUTE_CONFLICT: &str = "RouteConflict";
    pub const CLIENTS_HAVE_OWN_RULE: &str = "ClientsHaveOwnRule";
    pub const MESH_NOT_INSTALLED: &str = "MeshNotInstalled";
    pub const PROVIDER_NONE: &str = "ProviderNone";
    pub const PROVIDER_CHANGING: &str = "ProviderChanging";
    pub const SIZES_KEPT: &str = "SizesKept";
    pub const CHILD_SCALED: &str = "ChildScaled";
    pub const NO_DEPENDENCIES: &str = "NoDependencies";
    pub const DEPENDENCIES_READY: &str = "DependenciesReady";
    pub const DEPENDENCY_UNWATCHED: &str = "DependencyUnwatched";
    pub const DEPENDENCY_NOT_FOUND: &str = "DependencyNotFound";
    pub const DEPENDENCY_NOT_READY: &str = "DependencyNotReady";
    pub const DEPENDENCY_PORT_MISMATCH: &str = "DependencyPortMismatch";
    pub const ROLLOUT_PROGRESSING: &str = "RolloutProgressing";
    pub const ROLLOUT_SUSPENDED: &str = "RolloutSuspended";
    pub const ROLLOUT_OUTSIDE_WINDOW: &str = "RolloutOutsideWindow";
    pub const ROLLOUT_PAUSED: &str = "RolloutPaused";
    pub const ROLLOUT_ABORTED: &str = "RolloutAborted";
    pub const ROLLOUT_COMPLETED: &str = "RolloutCompleted";
    pub const WEIGHTS_REQUESTED: &str = "WeightsRequested";
}
