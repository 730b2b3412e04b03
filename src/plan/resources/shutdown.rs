//! How pods end: they go on serving until proxies and load balancers have learned that they go.

use k8s_openapi::api::core::v1::{Lifecycle, LifecycleHandler, SleepAction};

use super::template::TemplateDefaults;
use crate::validate::Version;

/// Hooks of the service's own container: the user's, and a preStop sleep if it takes requests and has none.
pub fn lifecycle(version: &Version, defaults: TemplateDefaults) -> Option<Lifecycle> {
    let user = version.pod.lifecycle.as_deref().cloned().unwrap_or_default();
    let hooks = Lifecycle { pre_stop: user.pre_stop.or_else(|| default_pre_stop(version, defaults)), ..user };
    (hooks != Lifecycle::default()).then_some(hooks)
}

/// Hooks of a plain sidecar. The service may need it for as long as it serves, and all plain containers are told to
/// stop at once.
pub fn plain_sidecar_lifecycle(version: &Version, defaults: TemplateDefaults) -> Option<Lifecycle> {
    let pre_stop = match user_sleep(version) {
        Some(seconds) => Some(sleep(seconds)),
        None => default_pre_stop(version, defaults),
    };
    pre_stop.map(|hook| Lifecycle { pre_stop: Some(hook), ..Lifecycle::default() })
}

/// Seconds that a pod is given to end, the preStop hook included.
pub fn grace_seconds(version: &Version, defaults: TemplateDefaults) -> i64 {
    let serving = user_sleep(version).unwrap_or_else(|| default_sleep(version, defaults));
    version.pod.termination_grace_period_seconds.unwrap_or(serving + defaults.values().grace_seconds)
}

fn user_sleep(version: &Version) -> Option<i64> {
    Some(version.pod.lifecycle.as_ref()?.pre_stop.as_ref()?.sleep.as_ref()?.seconds)
}

fn default_pre_stop(version: &Version, defaults: TemplateDefaults) -> Option<LifecycleHandler> {
    let seconds = default_sleep(version, defaults);
    (seconds > 0).then(|| sleep(seconds))
}

/// At most half of the time that the user gives the pod: the API server refuses more than all of it, and the
/// service needs some of it.
fn default_sleep(version: &Version, defaults: TemplateDefaults) -> i64 {
    if version.ports.is_empty() {
        return 0;
    }
    let most = version.pod.termination_grace_period_seconds.map_or(i64::MAX, |grace| grace / 2);
    defaults.values().pre_stop_seconds.min(most)
}

fn sleep(seconds: i64) -> LifecycleHandler {
    LifecycleHandler { sleep: Some(SleepAction { seconds }), ..LifecycleHandler::default() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::testing, *};

    #[test]
    fn pods_that_take_requests_serve_on_for_a_while() {
        let sleep = |seconds: i64| json!({"preStop": {"sleep": {"seconds": seconds}}});
        let exec = json!({"exec": {"command": ["true"]}});
        for (fields, app, sidecar, grace) in [
            (json!({}), sleep(5), sleep(5), 35),
            (json!({"ports": []}), json!(null), json!(null), 30),
            (json!({"lifecycle": sleep(20)}), sleep(20), sleep(20), 50),
            (json!({"ports": [], "lifecycle": sleep(20)}), sleep(20), sleep(20), 50),
            (json!({"lifecycle": {"preStop": exec}}), json!({"preStop": exec}), sleep(5), 35),
            (
                json!({"lifecycle": {"postStart": exec}}),
                json!({"postStart": exec, "preStop": {"sleep": {"seconds": 5}}}),
                sleep(5),
                35,
            ),
            (json!({"terminationGracePeriodSeconds": 60}), sleep(5), sleep(5), 60),
            (json!({"terminationGracePeriodSeconds": 4}), sleep(2), sleep(2), 4),
            (json!({"terminationGracePeriodSeconds": 0}), json!(null), json!(null), 0),
        ] {
            let version = testing::version(fields.clone());
            let set = TemplateDefaults::CURRENT;
            assert_eq!(serde_json::to_value(lifecycle(&version, set)).unwrap(), app, "{fields}");
            assert_eq!(serde_json::to_value(plain_sidecar_lifecycle(&version, set)).unwrap(), sidecar, "{fields}");
            assert_eq!(grace_seconds(&version, set), grace, "{fields}");
        }
    }
}
