//! Pods of a world made of data.

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Time};
use serde_json::json;

/// How the pods of a version behave.
#[derive(Clone, Debug, PartialEq)]
pub enum Pods {
    /// All that are wanted are ready.
    Healthy,
    /// This many of the wanted ones are ready, and the others never were.
    Ready(i32),
    /// None is ready, with this reason.
    Broken(&'static str),
    /// The first so many were ready until then, the others are.
    Unready(i64, Timestamp),
    /// All of before are ready, and the first one that is to replace them is not.
    Replacing,
}

impl Pods {
    pub fn ready(&self, index: i64) -> bool {
        match self {
            Self::Healthy | Self::Replacing => true,
            Self::Ready(ready) => index < i64::from(*ready),
            Self::Broken(_) => false,
            Self::Unready(count, _) => index >= *count,
        }
    }
}

/// The pod of that number. `crashed` is when its container last ended.
pub fn pod_of(version: &str, index: i64, mode: &Pods, crashed: Option<Timestamp>) -> Pod {
    let at = |at: Timestamp| serde_json::to_value(Time(at)).unwrap();
    let began = Timestamp::from_second(1_767_225_600).unwrap();
    let state = match mode {
        Pods::Broken(reason) => json!({"waiting": {"reason": reason}}),
        _ => json!({"running": {"startedAt": at(began)}}),
    };
    let since = match mode {
        Pods::Unready(_, since) if !mode.ready(index) => *since,
        _ => began,
    };
    let last = crashed.map(|crashed| json!({"terminated": {"exitCode": 1, "finishedAt": at(crashed)}}));
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("order-service-{version}-{index}"), "namespace": "shop", "uid": format!("{version}-{index}"),
            "resourceVersion": "1",
            "labels": {"microservice-operator.dev/service": "order-service", "version": version},
        },
        "status": {
            "conditions": [{
                "type": "Ready", "status": if mode.ready(index) { "True" } else { "False" }, "lastTransitionTime": at(since),
            }],
            "containerStatuses": [{
                "name": "app", "image": "registry.example/order-service:2.0.0", "imageID": "", "ready": mode.ready(index),
                "restartCount": i32::from(crashed.is_some()), "state": state, "lastState": last,
            }],
        },
    }))
    .unwrap()
}
