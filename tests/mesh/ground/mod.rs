//! What carries the suite: an embedded cluster, or one of kind. All that differs between them is in here.

mod embedded;
mod kind;

use std::{env, net::SocketAddr, process::Command};

use devcluster::{Cluster, images::Image};
use futures::future::BoxFuture;
use tokio::runtime::Runtime;

/// The variable that asks for kind, by the name of the cluster to start there. `devcluster down` ends it.
const ON_KIND: &str = "E2E_MESH_KIND";

/// The port that a `Gateway` has to name.
pub const INGRESS_PORT: u16 = 31080;

/// What the suite needs of a cluster beyond its API.
pub trait Ground: Send + Sync {
    /// A runtime whose tasks reach the mesh's client.
    fn runtime(&self) -> Runtime;
    /// Where the mesh's client takes requests to a port of any Service, by the `Host` they name.
    fn mesh_client(&self, port: u16) -> SocketAddr;
    /// Where the ingress takes requests to [`INGRESS_PORT`].
    fn mesh_ingress(&self) -> SocketAddr;
    /// What the Envoy of the mesh's client knows of its clusters; none if it does not answer.
    fn envoy_clusters(&self, cluster: &Cluster) -> Option<String>;
    /// Runs the program that its arguments name, in the node's network.
    fn inside(&self) -> Command;
    /// Begins to replace istiod.
    fn end_istiod(&self, cluster: &Cluster);
    /// Has another istiod where [`Ground::end_istiod`] has ended one.
    fn await_istiod<'a>(&'a self, cluster: &'a Cluster) -> BoxFuture<'a, ()>;
    /// Where Prometheus answers in the node's network; pods ask `prometheus.monitoring.svc:9090`.
    fn prometheus(&self) -> SocketAddr;
    /// Ends Prometheus, without a chance to object.
    fn end_prometheus(&self, cluster: &Cluster);
    /// Has another Prometheus where [`Ground::end_prometheus`] has ended one, and waits until it answers.
    fn await_prometheus<'a>(&'a self, cluster: &'a Cluster) -> BoxFuture<'a, ()>;
    /// Replaces Prometheus by one that knows nothing of before, and waits until it answers.
    fn empty_prometheus<'a>(&'a self, cluster: &'a Cluster) -> BoxFuture<'a, ()>;
}

/// A cluster with a mesh and with these images.
pub fn start(images: impl FnOnce() -> Vec<Image>) -> (Cluster, Box<dyn Ground>) {
    match env::var(ON_KIND) {
        Ok(name) => {
            let (cluster, ground) = kind::start(&name, images);
            (cluster, Box::new(ground))
        }
        Err(_) => {
            let (cluster, ground) = embedded::start(images);
            (cluster, Box::new(ground))
        }
    }
}
