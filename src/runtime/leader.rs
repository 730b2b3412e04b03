//! Leadership by a Lease: of several processes only one writes.

use std::time::Duration;

use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::{sync::watch, task::JoinHandle};

/// How long a lease is good for without being renewed.
pub const DURATION: Duration = Duration::from_secs(15);
/// How long before its end it is renewed: enough to ask twice.
const GRACE: Duration = Duration::from_secs(8);

/// A place in the election. Dropping `state` gives the lease back; `done` then ends.
pub struct Candidacy {
    /// Whether this process leads.
    pub state: watch::Receiver<bool>,
    pub done: JoinHandle<Result<LeaseManager, LeaseManagerError>>,
}

/// Joins the election.
///
/// # Errors
/// When the lease can be neither read nor made.
pub async fn join(client: Client, namespace: &str, name: &str, identity: &str) -> Result<Candidacy, LeaseManagerError> {
    let manager = LeaseManagerBuilder::new(client, name)
        .with_namespace(namespace)
        .with_identity(identity)
        .with_duration(DURATION.as_secs())
        .with_grace(GRACE.as_secs())
        .with_field_manager(crate::api::MANAGER)
        .build()
        .await?;
    let (state, done) = manager.watch().await;
    Ok(Candidacy { state, done })
}

/// Whether joining may succeed later without anybody's doing: the API server was not reached, or could not answer.
pub fn may_pass(error: &LeaseManagerError) -> bool {
    match error {
        LeaseManagerError::KubeError(kube::Error::Api(status)) => status.code == 429 || status.code >= 500,
        LeaseManagerError::KubeError(_) => true,
        _ => false,
    }
}
