//! Security settings of pods and containers: what the Pod Security profile `restricted` asks for, where the user says
//! nothing.

use k8s_openapi::api::core::v1::{Capabilities, PodSecurityContext, SeccompProfile, SecurityContext};

/// Security settings of the pod.
pub fn pod_security(user: Option<&PodSecurityContext>) -> PodSecurityContext {
    let user = user.cloned().unwrap_or_default();
    PodSecurityContext {
        run_as_non_root: user.run_as_non_root.or(Some(true)),
        seccomp_profile: user
            .seccomp_profile
            .or_else(|| Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), ..SeccompProfile::default() })),
        ..user
    }
}

/// Security settings of a container.
pub fn container_security(user: Option<&SecurityContext>) -> SecurityContext {
    let user = user.cloned().unwrap_or_default();
    let capabilities = user.capabilities.unwrap_or_default();
    SecurityContext {
        allow_privilege_escalation: user.allow_privilege_escalation.or(Some(false)),
        capabilities: Some(Capabilities {
            drop: capabilities.drop.or_else(|| Some(vec!["ALL".to_owned()])),
            add: capabilities.add,
        }),
        ..user
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn pods_are_restricted_where_the_user_says_nothing() {
        let runtime_default = json!({"type": "RuntimeDefault"});
        for (user, built) in [
            (json!(null), json!({"runAsNonRoot": true, "seccompProfile": runtime_default})),
            (
                json!({"fsGroup": 2000, "runAsUser": 1000}),
                json!({"fsGroup": 2000, "runAsUser": 1000, "runAsNonRoot": true, "seccompProfile": runtime_default}),
            ),
            (
                json!({"runAsUser": 0, "runAsNonRoot": false}),
                json!({"runAsUser": 0, "runAsNonRoot": false, "seccompProfile": runtime_default}),
            ),
            (
                json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "a.json"}}),
                json!({"runAsNonRoot": true, "seccompProfile": {"type": "Localhost", "localhostProfile": "a.json"}}),
            ),
        ] {
            let user: Option<PodSecurityContext> = serde_json::from_value(user).unwrap();
            assert_eq!(serde_json::to_value(pod_security(user.as_ref())).unwrap(), built);
        }
    }

    #[test]
    fn containers_are_restricted_where_the_user_says_nothing() {
        let dropped = |more: Value| {
            let mut built = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
            built.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            built
        };
        for (user, built) in [
            (json!(null), dropped(json!({}))),
            (json!({"readOnlyRootFilesystem": true}), dropped(json!({"readOnlyRootFilesystem": true}))),
            (
                json!({"capabilities": {"add": ["NET_BIND_SERVICE"]}}),
                dropped(json!({"capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]}})),
            ),
            (json!({"capabilities": {"drop": ["MKNOD"]}}), dropped(json!({"capabilities": {"drop": ["MKNOD"]}}))),
        ] {
            let user: Option<SecurityContext> = serde_json::from_value(user).unwrap();
            assert_eq!(serde_json::to_value(container_security(user.as_ref())).unwrap(), built);
        }
    }
}
