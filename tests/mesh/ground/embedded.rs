//! A cluster of processes, with an Envoy beside the pods as the mesh's client.

use std::{fs, net::SocketAddr, process::Command};

use devcluster::{Cluster, Component, EnvoyRole, Network, Nodes, Options, images::Image};
use futures::{FutureExt, future::BoxFuture};
use tokio::runtime::Runtime;

use super::{Ground, INGRESS_PORT};
use crate::support;

pub struct Embedded {
    network: Network,
}

/// A cluster that ends with this process.
pub fn start(images: impl FnOnce() -> Vec<Image>) -> (Cluster, Embedded) {
    let options =
        Options { nodes: Nodes::Real, mesh: true, prometheus: true, gateway_crds: false, ..Options::default() };
    let cluster = support::run(Cluster::start(options)).unwrap_or_else(|error| panic!("{error}"));
    cluster.load_images(&images()).unwrap_or_else(|error| panic!("{error}"));
    let network = cluster.network().unwrap();
    (cluster, Embedded { network })
}

impl Embedded {
    /// What is killed is the program that waits for Prometheus, which has its port for a moment more.
    async fn prometheus_ended(&self) {
        support::eventually(|| async { (!self.prometheus_answers()).then_some(()) }).await.expect("the old one ends");
    }

    fn prometheus_answers(&self) -> bool {
        self.network.get(self.network.prometheus(), "/-/ready").is_some()
    }
}

impl Ground for Embedded {
    fn runtime(&self) -> Runtime {
        self.network.runtime().unwrap()
    }

    fn mesh_client(&self, port: u16) -> SocketAddr {
        self.network.mesh_client(port)
    }

    fn mesh_ingress(&self) -> SocketAddr {
        self.network.mesh_ingress(INGRESS_PORT)
    }

    fn envoy_clusters(&self, _: &Cluster) -> Option<String> {
        self.network.envoy(EnvoyRole::Client, "/clusters")
    }

    fn inside(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.network.file().display())).arg("--");
        command
    }

    fn end_istiod(&self, cluster: &Cluster) {
        cluster.kill_component(Component::Istiod).unwrap();
    }

    fn await_istiod<'a>(&'a self, cluster: &'a Cluster) -> BoxFuture<'a, ()> {
        async { cluster.start_component(Component::Istiod).await.unwrap() }.boxed()
    }

    fn prometheus(&self) -> SocketAddr {
        self.network.prometheus()
    }

    fn end_prometheus(&self, cluster: &Cluster) {
        cluster.kill_component(Component::Prometheus).unwrap();
    }

    fn await_prometheus<'a>(&'a self, cluster: &'a Cluster) -> BoxFuture<'a, ()> {
        async move {
            self.prometheus_ended().await;
            cluster.start_component(Component::Prometheus).await.unwrap();
            let answers = support::eventually(|| async { self.prometheus_answers().then_some(()) });
            answers.await.expect("Prometheus answers");
        }
        .boxed()
    }

    fn empty_prometheus<'a>(&'a self, cluster: &'a Cluster) -> BoxFuture<'a, ()> {
        async move {
            self.end_prometheus(cluster);
            self.prometheus_ended().await;
            // It is in the cluster's folder, as the kubeconfig is.
            fs::remove_dir_all(cluster.kubeconfig_path().with_file_name("prometheus")).unwrap();
            self.await_prometheus(cluster).await;
        }
        .boxed()
    }
}
