//! The ServiceAccount that the pods run as.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::{Stamp, child_meta};
use crate::validate::Validated;

/// The service's own ServiceAccount; none when every version names another.
pub fn service_account(service: &Validated, stamp: &Stamp) -> Option<ServiceAccount> {
    let needed = service.versions.iter().any(|version| version.pod.service_account_name.is_none());
    needed.then(|| ServiceAccount {
        metadata: child_meta(service, stamp, service.identity.name.clone(), None),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    })
}
