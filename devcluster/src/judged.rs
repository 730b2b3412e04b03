//! Runs istiod, and lets it judge Istio's resources before the API server takes them, as it does in every mesh.

use std::fs;

use kube::Client;

use crate::bootstrap;
use crate::components::{Component, istiod};
use crate::control_plane::{ControlPlaneError, Start, log_of};
use crate::users::{ISTIOD, user_kubeconfig};

impl Start<'_> {
    /// Starts an istiod without a mesh, and lets it judge.
    pub async fn istio_webhook(&mut self, client: &Client) -> Result<(), ControlPlaneError> {
        self.istiod(client, istiod::Role::Webhook).await?;
        let log = log_of(self.folder, Component::Istiod);
        let told = || istiod::webhook_address(&fs::read_to_string(&log).ok()?).map(str::to_owned);
        let address = self.wait_for("istiod's webhook", told).await?;
        self.ask_istiod(client, &address).await
    }

    /// Runs istiod, which may do everything.
    pub(crate) async fn istiod(&mut self, client: &Client, role: istiod::Role) -> Result<(), ControlPlaneError> {
        bootstrap::grant_cluster_admin(client, ISTIOD).await?;
        let program = self.program(Component::Istiod)?;
        let kubeconfig = user_kubeconfig(self.folder, ISTIOD);
        let arguments = istiod::arguments(self.folder, &kubeconfig, &self.pki, &program, role)?;
        self.run_program(Component::Istiod, "env".into(), arguments)
    }

    /// Lets the API server ask the istiod that listens at this address.
    pub(crate) async fn ask_istiod(&self, client: &Client, address: &str) -> Result<(), ControlPlaneError> {
        Ok(bootstrap::let_istiod_judge(client, address, &self.pki.ca_certificate()).await?)
    }
}
