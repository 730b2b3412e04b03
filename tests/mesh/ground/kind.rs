//! A cluster of kind, with Istio as its users install it, and a pod with a sidecar as the mesh's client. The project's own
//! checks do not run this: it needs Docker.

use std::{
    net::{IpAddr, SocketAddr, TcpStream},
    process::Command,
    time::Duration,
};

use devcluster::{Cluster, Options, Tool, images::Image, kind_node, record::Provider};
use futures::{FutureExt, future::BoxFuture};
use tokio::runtime::{Builder, Runtime};

use super::{Ground, INGRESS_PORT};
use crate::support::{self, command, kubectl, printed};

/// The minor version of Istio that the embedded cluster has, too.
const ISTIO: &str = "1.31";
const CLIENT: &str = "deployment/mesh-client";
const CLIENT_MANIFEST: &str = "tests/mesh/ground/client.yaml";
const INGRESS: &str = "deployment/mesh-ingress";
const INGRESS_MANIFEST: &str = "tests/mesh/ground/ingress.yaml";
const PROMETHEUS: &str = "deployment/prometheus";
const PROMETHEUS_NAMESPACE: &str = "--namespace=monitoring";
const PROMETHEUS_PORT: u16 = 9090;
const PROMETHEUS_MANIFEST: &str = "tests/mesh/ground/prometheus.yaml";
const ISTIOD: &str = "deployment/istiod";
const ISTIOD_NAMESPACE: &str = "--namespace=istio-system";

pub struct Kind {
    node: String,
    /// The address of the node, whose ports 80 and 50051 are the client's, 31080 the ingress', and 9090 Prometheus's.
    address: IpAddr,
}

/// A new cluster of that name. It does not end with this process, which may be killed: `make e2e-kind` ends it.
pub fn start(name: &str, images: impl FnOnce() -> Vec<Image>) -> (Cluster, Kind) {
    check_istioctl();
    // Istio brings its own definitions.
    let options = Options { name: Some(name.to_owned()), istio_crds: false, gateway_crds: false, ..Options::default() };
    let started = support::run(async {
        let up = devcluster::up(options, Provider::Kind).await?;
        assert!(!up.already, "a cluster {name} is left, with an old operator: `devcluster down --name {name}`");
        Cluster::attach(name).await
    });
    let cluster = started.unwrap_or_else(|error| panic!("{error}"));
    let install = ["install", "--skip-confirmation", "--set", "profile=minimal"];
    printed(Command::new("istioctl").args(install).env("KUBECONFIG", cluster.kubeconfig_path()));
    cluster.load_images(&images()).unwrap_or_else(|error| panic!("{error}"));

    for (deployment, manifest) in [(CLIENT, CLIENT_MANIFEST), (INGRESS, INGRESS_MANIFEST)] {
        kubectl(&cluster, &["apply", "--filename", manifest]);
        kubectl(&cluster, &["rollout", "status", deployment, "--timeout=180s"]);
    }
    kubectl(&cluster, &["apply", "--filename", PROMETHEUS_MANIFEST]);
    prometheus_rolled_out(&cluster);
    let address = "--output=jsonpath={.items[0].status.addresses[?(@.type==\"InternalIP\")].address}";
    let address = kubectl(&cluster, &["get", "nodes", address]);
    let ground = Kind { node: kind_node(name), address: address.parse().unwrap() };
    ground.check_client();
    (cluster, ground)
}

fn check_istioctl() {
    let way_out = format!(
        "install istioctl {ISTIO}, see https://istio.io/latest/docs/setup/additional-setup/download-istio-release/; \
         `make e2e-mesh` does without"
    );
    let output = Command::new("istioctl").args(["version", "--remote=false"]).output();
    let output = output.unwrap_or_else(|error| panic!("`istioctl` could not be run: {error}; {way_out}"));
    let version = String::from_utf8_lossy(&output.stdout);
    assert!(version.contains(&format!(" {ISTIO}.")), "istioctl is of another version: {version:?}; {way_out}");
}

fn prometheus_rolled_out(cluster: &Cluster) {
    kubectl(cluster, &["rollout", "status", PROMETHEUS, PROMETHEUS_NAMESPACE, "--timeout=180s"]);
}

impl Kind {
    fn check_client(&self) {
        let client = self.mesh_client(80);
        let reached = support::run(support::eventually(|| async {
            TcpStream::connect_timeout(&client, Duration::from_secs(2)).ok()
        }));
        assert!(
            reached.is_some(),
            "the node of kind is not reached at {client}: containers must have addresses that this machine reaches, as \
             those of Docker Engine on Linux have, and those of Docker Desktop have not"
        );
    }
}

impl Ground for Kind {
    fn runtime(&self) -> Runtime {
        Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    }

    fn mesh_client(&self, port: u16) -> SocketAddr {
        (self.address, port).into()
    }

    fn mesh_ingress(&self) -> SocketAddr {
        (self.address, INGRESS_PORT).into()
    }

    fn envoy_clusters(&self, cluster: &Cluster) -> Option<String> {
        let ask = ["exec", CLIENT, "--container=istio-proxy", "--", "pilot-agent", "request", "GET", "clusters"];
        let output = command(Tool::Kubectl, cluster).args(ask).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn inside(&self) -> Command {
        let mut command = Command::new("docker");
        command.args(["exec", &self.node]);
        command
    }

    fn end_istiod(&self, cluster: &Cluster) {
        // No more than that: while there is none, its webhook refuses every route.
        kubectl(cluster, &["rollout", "restart", ISTIOD, ISTIOD_NAMESPACE]);
    }

    fn await_istiod<'a>(&'a self, cluster: &'a Cluster) -> BoxFuture<'a, ()> {
        async { drop(kubectl(cluster, &["rollout", "status", ISTIOD, ISTIOD_NAMESPACE, "--timeout=120s"])) }.boxed()
    }

    fn prometheus(&self) -> SocketAddr {
        (self.address, PROMETHEUS_PORT).into()
    }

    fn end_prometheus(&self, cluster: &Cluster) {
        kubectl(cluster, &["scale", PROMETHEUS, PROMETHEUS_NAMESPACE, "--replicas=0"]);
        let now = ["--grace-period=0", "--force", "--ignore-not-found"];
        let delete = ["delete", "pods", "--selector=app=prometheus", PROMETHEUS_NAMESPACE];
        kubectl(cluster, &[&delete[..], &now].concat());
    }

    fn await_prometheus<'a>(&'a self, cluster: &'a Cluster) -> BoxFuture<'a, ()> {
        async {
            kubectl(cluster, &["scale", PROMETHEUS, PROMETHEUS_NAMESPACE, "--replicas=1"]);
            prometheus_rolled_out(cluster);
        }
        .boxed()
    }

    fn empty_prometheus<'a>(&'a self, cluster: &'a Cluster) -> BoxFuture<'a, ()> {
        // Its data goes with its pod.
        self.end_prometheus(cluster);
        self.await_prometheus(cluster)
    }
}
