//! Security settings of pods and containers: what the Pod Security profile `restricted` asks for, where the user says
//! nothing.

use k8s_openapi::api::core::v1::{Capabilities, PodSecurityContext, SeccompProfile, SecurityContext};

const ROOT: i64 = 0;

/// Security settings of the pod.
pub fn pod_security(user: Option<&PodSecurityContext>) -> PodSecurityContext {
    let user = user.cloned().unwrap_or_default();
    let root = user.run_as_user == Some(ROOT);
    PodSecurityContext {
        run_as_non_root: user.run_as_non_root.or((!root).then_some(true)),
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
        // Who asks for root here means it: the pod's runAsNonRoot would keep the container from starting.
        run_as_non_root: user.run_as_non_root.or((user.run_as_user == Some(ROOT)).then_some(false)),
        ..user
    }
}
