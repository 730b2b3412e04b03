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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::testing::{self, assert_at, stamp},
        *,
    };

    #[test]
    fn it_is_there_while_a_version_needs_it() {
        let version = |name: &str, account: Option<&str>| {
            let mut version = json!({"name": name, "image": "a:1", "weight": 50});
            if let Some(account) = account {
                version["serviceAccountName"] = json!(account);
            }
            version
        };
        for (versions, needed) in [
            (json!([version("v1", None)]), true),
            (json!([version("v1", Some("orders")), version("v2", None)]), true),
            (json!([version("v1", Some("orders")), version("v2", Some("other"))]), false),
        ] {
            let built = service_account(&testing::service(json!({"versions": versions})), &stamp());
            assert_eq!(built.is_some(), needed, "{versions}");
        }
    }

    #[test]
    fn its_token_is_not_mounted() {
        let built = service_account(&testing::service(json!({})), &stamp());
        assert_at(&built, json!({"/metadata/name": "order-service", "/automountServiceAccountToken": false}));
    }
}
