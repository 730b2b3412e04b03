//! Labels and annotations that the operator writes or reads.

/// Key prefix that belongs to the operator; users may not set labels or annotations below it on pods.
pub const PREFIX: &str = "microservice-operator.dev/";

/// On every child and pod: the Microservice it belongs to. Part of all selectors.
pub const SERVICE: &str = "microservice-operator.dev/service";
/// On pods and per-version children: the version; what Istio subsets select by.
pub const VERSION: &str = "version";
/// Name of the application, on every child and pod.
pub const APP: &str = "app";
pub const APP_NAME: &str = "app.kubernetes.io/name";
pub const APP_INSTANCE: &str = "app.kubernetes.io/instance";
pub const APP_PART_OF: &str = "app.kubernetes.io/part-of";
pub const APP_VERSION: &str = "app.kubernetes.io/version";
pub const APP_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The chart that installed the operator which last wrote the object; never on pods.
pub const HELM_CHART: &str = "helm.sh/chart";
/// Version of the operator that last wrote the object; never on pods.
pub const OPERATOR_VERSION: &str = "microservice-operator.dev/operator-version";
/// Bounded context of the service; never on pods.
pub const CONTEXT: &str = "microservice-operator.dev/bounded-context";
/// Subdomain of the bounded context; never on pods.
pub const SUBDOMAIN: &str = "microservice-operator.dev/subdomain";

/// On an object that is to be adopted: the name of the Microservice that may take it over.
pub const ADOPT: &str = "microservice-operator.dev/adopt";
/// On every child: digest of what the operator last applied.
pub const APPLIED: &str = "microservice-operator.dev/applied";
/// On Deployments: `<number of the set of template defaults>-<digest of the user's pod settings>`.
pub const TEMPLATE: &str = "microservice-operator.dev/template";
/// On pods: the value of `restartedAt`; changing it restarts the pods one by one.
pub const RESTARTED_AT: &str = "microservice-operator.dev/restarted-at";
/// On copies of ConfigMaps: the name of the one that was copied.
pub const COPY_OF: &str = "microservice-operator.dev/copy-of";
/// Which container `kubectl logs` and `kubectl exec` choose.
pub const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
