//! A cluster of processes, with an Envoy beside the pods as the mesh's client.

use std::{net::SocketAddr, process::Command};

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
        let ready = || self.network.get(self.prometheus(), "/-/ready").is_some();
        async move {
            // What was killed is the program that waits for it; it has its port for a moment more.
            support::eventually(|| async { (!ready()).then_some(()) }).await.expect("the old one ends");
            cluster.start_component(Component::Prometheus).await.unwrap();
            support::eventually(|| async { ready().then_some(()) }).await.expect("Prometheus answers");
        }
        .boxed()
    }
}
