//! What decides whether pods restart, beside the digest of what the user set: the numbered sets of template defaults.
//!
//! A newer operator renders the pods of an older one with the set that they were made with, until their user changes
//! them. So a set that was released never changes; a different default is a further set.

pub use crate::validate::template_hash;

/// Number of a set of template defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateDefaults(u32);

/// What pods get where the user says nothing.
pub(super) struct Defaults {
    /// Seconds for which a pod that takes requests goes on serving after it was told to stop.
    pub pre_stop_seconds: i64,
    /// Seconds that a pod is given to end, after its preStop hook.
    pub grace_seconds: i64,
    /// Seconds that a service may take to start.
    pub startup_seconds: i32,
    /// Seconds between two checks whether it has started.
    pub startup_period_seconds: i32,
    /// Checks beyond those that fit into the time to start: the first one may come at its very beginning.
    pub startup_spare_checks: i32,
    /// Whether a health endpoint is asked on a port that can answer, where none is named.
    pub health_port_fits: bool,
    pub probe_period_seconds: i32,
    pub probe_timeout_seconds: i32,
    pub probe_failure_threshold: i32,
}

const SET_1: Defaults = Defaults {
    pre_stop_seconds: 5,
    grace_seconds: 30,
    startup_seconds: 300,
    startup_period_seconds: 5,
    startup_spare_checks: 0,
    health_port_fits: false,
    probe_period_seconds: 10,
    probe_timeout_seconds: 5,
    probe_failure_threshold: 3,
};

const SET_2: Defaults = Defaults { startup_spare_checks: 1, health_port_fits: true, ..SET_1 };

impl TemplateDefaults {
    /// The set that new pods get.
    pub const CURRENT: Self = Self(2);

    /// The set of that number, if this operator knows it.
    pub fn new(number: u32) -> Option<Self> {
        (1..=Self::CURRENT.0).contains(&number).then_some(Self(number))
    }

    /// The number by which objects and the status remember the set.
    pub const fn number(self) -> u32 {
        self.0
    }

    pub(super) const fn values(self) -> &'static Defaults {
        match self.0 {
            1 => &SET_1,
            _ => &SET_2,
        }
    }
}

/// How a Deployment and the status remember what a template was made from.
pub fn template_id(defaults: TemplateDefaults, hash: &str) -> String {
    format!("{}-{hash}", defaults.0)
}

/// Reads what [`template_id`] wrote; nothing if this operator does not know the set.
pub fn parse_template_id(id: &str) -> Option<(TemplateDefaults, String)> {
    let (number, hash) = id.split_once('-')?;
    let hexadecimal = !hash.is_empty() && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let defaults = number.parse().ok().and_then(TemplateDefaults::new)?;
    hexadecimal.then(|| (defaults, hash.to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::testing, *};

    fn hash(fields: Value) -> String {
        let service = testing::service(fields);
        template_hash(&service.identity, &service.versions[0])
    }

    #[test]
    fn a_release_does_not_change_the_digest() {
        let rich = json!({
            "health": {"path": "/health", "port": "http", "startupSeconds": 60},
            "resources": {"requests": {"cpu": "0.5"}},
            "volumes": [{"name": "logs", "emptyDir": {}}],
            "mounts": [{"volume": "logs", "path": "/logs"}],
            "sidecars": [{"name": "logging", "image": "registry.example/fluentd:1.19"}],
            "tolerations": [{"key": "spot", "operator": "Exists"}],
            "dependencies": [{"name": "user-service"}],
            "restartedAt": "2026-01-02T03:04:05Z",
        });
        assert_eq!([hash(json!({})), hash(rich)], ["7fe4fdd083", "ca59053bc7"]);
    }

    #[test]
    fn the_digest_covers_what_ends_up_in_pods() {
        let image = "registry.example/order-service:1.4.2";
        let before = hash(json!({}));
        for changed in [
            json!({"versions": [{"name": "v1", "image": "registry.example/order-service:1.4.3"}]}),
            json!({"versions": [{"name": "v1", "image": image, "env": [{"name": "A", "value": "1"}]}]}),
            json!({"versions": [{"name": "v1", "image": image, "ports": [{"name": "http", "targetPort": 3001}]}]}),
            json!({"ports": [{"name": "http", "port": 80, "targetPort": 3001}]}),
            json!({"ports": [{"name": "http", "port": 80, "targetPort": 3000, "protocol": "GRPC"}]}),
            json!({"dependencies": [{"name": "user-service"}]}),
            json!({"resources": {"limits": {"memory": "1Gi"}}}),
            json!({"podLabels": {"team": "checkout"}}),
            json!({"restartedAt": "2026-01-01T00:00:00Z"}),
        ] {
            assert_ne!(hash(changed.clone()), before, "{changed}");
        }
    }

    #[test]
    fn the_digest_covers_nothing_else() {
        let image = "registry.example/order-service:1.4.2";
        let before = hash(json!({}));
        for changed in [
            json!({"replicas": 7}),
            json!({"minReadySeconds": 10}),
            json!({"ports": [{"name": "http", "port": 8080, "targetPort": 3000}]}),
            json!({"boundedContext": {"name": "ordering"}}),
            json!({"drain": "5s"}),
            json!({"traffic": {"provider": "None"}}),
            json!({"versions": [{"name": "v1", "image": image, "weight": 10},
                                {"name": "v2", "image": image, "weight": 90, "replicas": 3}]}),
            json!({"routes": [{"name": "a", "match": [{"path": {"prefix": "/a"}}], "version": "v1"}]}),
        ] {
            assert_eq!(hash(changed.clone()), before, "{changed}");
        }
        let env = json!([{"name": "USER_SERVICE_URL", "value": "http://localhost"}]);
        let hidden = json!({"env": env, "dependencies": [{"name": "user-service"}]});
        assert_eq!(hash(hidden), hash(json!({"env": env})), "a dependency whose variable the user sets");
    }

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = template_id(TemplateDefaults::CURRENT, "ab12ef0934");
        assert_eq!(id, "2-ab12ef0934");
        assert_eq!(parse_template_id(&id), Some((TemplateDefaults::CURRENT, "ab12ef0934".to_owned())));
        assert_eq!(parse_template_id("1-ab12"), Some((TemplateDefaults(1), "ab12".to_owned())));
        for unknown in ["", "1", "1-", "-ab12", "0-ab12", "3-ab12", "x-ab12", "1-AB12", "1-ab12-3"] {
            assert_eq!(parse_template_id(unknown), None, "{unknown:?}");
        }
    }
}
