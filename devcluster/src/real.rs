//! Starts a real node, and a mesh, in a cluster's own namespaces.

use std::path::{Path, PathBuf};

use kube::Client;

use crate::bootstrap;
use crate::components::{self, Component, envoy, istiod, node, prometheus};
use crate::control_plane::{ControlPlaneError, Start, first_end};
use crate::images::{self, Image};
use crate::network::Network;
use crate::sandbox::Sandbox;
use crate::users::{COREDNS, KUBE_PROXY, NODE, user_kubeconfig};

impl Start<'_> {
    /// Makes the namespaces that everything else then runs in.
    pub async fn namespaces(&mut self) -> Result<(), ControlPlaneError> {
        let arguments = node::arguments(self.folder)?;
        self.run(Component::Node, arguments)?;
        let ready = node::ready_file(self.folder);
        self.wait_for("the node's namespaces", || ready.exists().then_some(())).await?;
        let holder = self.pid_of(Component::Node)?;
        self.sandbox = Some(Sandbox::of(holder));
        Ok(())
    }

    /// Starts what runs pods, and waits until they can be scheduled.
    pub async fn node(&mut self, client: &Client, sandbox: Sandbox) -> Result<(), ControlPlaneError> {
        self.run(Component::Containerd, components::containerd::arguments(self.folder)?)?;
        let socket = within(sandbox, components::containerd::SOCKET);
        self.wait_for("containerd", || socket.exists().then_some(())).await?;
        load_pause(sandbox)?;
        let kubeconfig = user_kubeconfig(self.folder, NODE);
        self.run(Component::Kubelet, components::kubelet::arguments(self.folder, &kubeconfig, &self.pki)?)?;
        let kubeconfig = user_kubeconfig(self.folder, KUBE_PROXY);
        self.run(Component::KubeProxy, components::kube_proxy::arguments(self.folder, &kubeconfig)?)?;
        bootstrap::grant_cluster_admin(client, COREDNS).await?;
        let kubeconfig = user_kubeconfig(self.folder, COREDNS);
        self.run(Component::Coredns, components::coredns::arguments(self.folder, &kubeconfig)?)?;
        tokio::select! {
            ready = bootstrap::wait_for_node(client, node::NAME) => Ok(ready?),
            ended = first_end(self.folder) => Err(ended),
        }
    }

    /// Starts the mesh's control plane, a client and an ingress.
    pub async fn mesh(&mut self, client: &Client, sandbox: Sandbox) -> Result<(), ControlPlaneError> {
        let network = Network::of(sandbox);
        bootstrap::create_namespace(client, istiod::NAMESPACE).await?;
        self.istiod(client, istiod::Role::Mesh).await?;
        let listens = |port| network.listens(port).then_some(());
        self.wait_for("istiod", || listens(istiod::PORT)).await?;
        self.wait_for("istiod's webhook", || listens(istiod::WEBHOOK_PORT)).await?;
        self.ask_istiod(client, &format!("127.0.0.1:{}", istiod::WEBHOOK_PORT)).await?;
        for (component, role) in
            [(Component::MeshClient, envoy::Role::Client), (Component::MeshIngress, envoy::Role::Ingress)]
        {
            self.run(component, envoy::arguments(self.folder, role)?)?;
        }
        let ready = || network.envoy(envoy::Role::Client, "/ready").and_then(|_| listens(envoy::CLIENT_PORT));
        self.wait_for("the mesh's client", ready).await
    }

    /// Starts Prometheus, and makes the Service that pods know it by.
    pub async fn prometheus(&mut self, client: &Client, sandbox: Sandbox) -> Result<(), ControlPlaneError> {
        let network = Network::of(sandbox);
        self.run(Component::Prometheus, prometheus::arguments(self.folder)?)?;
        bootstrap::create_namespace(client, prometheus::NAMESPACE).await?;
        bootstrap::create_service(client, prometheus::NAMESPACE, prometheus::SERVICE, prometheus::address()).await?;
        self.wait_for("Prometheus", || network.get(prometheus::address(), "/-/ready").map(drop)).await
    }
}

/// A file among the node's mounts, as this process sees it.
fn within(sandbox: Sandbox, path: &str) -> PathBuf {
    Path::new(&format!("/proc/{}/root", sandbox.holder())).join(path.trim_start_matches('/'))
}

/// A sandbox only has to be there: nothing is smaller than a program that sleeps.
fn load_pause(sandbox: Sandbox) -> Result<(), ControlPlaneError> {
    let pause = Image {
        references: vec![images::PAUSE.to_owned()],
        program: "/bin/sleep".into(),
        arguments: vec!["infinity".to_owned()],
        environment: Vec::new(),
    };
    Ok(images::load(sandbox.holder(), &images::pack(&[pause])?)?)
}
