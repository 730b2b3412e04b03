//! Reads a pod: whether it is ready, when it last restarted, and what is wrong with it in the cluster's words. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};

use crate::validate::syntax::printable;

use super::PodFacts;

/// Longest text that is taken over from a container's state.
const MAX_TEXT: usize = 200;

/// Reasons of waiting that are no trouble.
const USUAL: &[&str] = &["ContainerCreating", "PodInitializing"];

/// It never runs again, as one that was evicted, and its ReplicaSet has another one in its place.
pub fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Failed" | "Succeeded"))
}

/// It is being deleted, or never runs again.
pub fn is_leaving(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some() || has_ended(pod)
}

/// What the pod says of itself.
pub fn facts(pod: &Pod) -> PodFacts {
    let Some(status) = &pod.status else { return PodFacts::default() };
    let ready = condition(status, "Ready").is_some_and(|(value, _, _)| value == "True");
    PodFacts {
        ready,
        restarted_at: last_end(pod, status),
        unready_since: if ready { None } else { unready_since(status) },
        trouble: if ready { None } else { trouble(status) },
    }
}

/// A pod that was never ready has been so since before its containers began.
fn unready_since(status: &PodStatus) -> Option<Timestamp> {
    let ready = status.conditions.iter().flatten().find(|condition| condition.type_ == "Ready")?;
    let since = ready.last_transition_time.as_ref()?.0;
    let began = |state: &ContainerStatus| Some(state.state.as_ref()?.running.as_ref()?.started_at.as_ref()?.0);
    let mut began = status.container_statuses.iter().flatten().map(began).peekable();
    let had_it = began.peek().is_some() && began.all(|began| began.is_some_and(|began| began < since));
    had_it.then_some(since)
}

fn condition<'a>(status: &'a PodStatus, type_: &str) -> Option<(&'a str, &'a str, &'a str)> {
    let condition = status.conditions.iter().flatten().find(|condition| condition.type_ == type_)?;
    let reason = condition.reason.as_deref().unwrap_or_default();
    Some((condition.status.as_str(), reason, condition.message.as_deref().unwrap_or_default()))
}

/// When a container that should run on last ended. Init containers that run to their end are not counted.
fn last_end(pod: &Pod, status: &PodStatus) -> Option<Timestamp> {
    let native = |name: &str| {
        let mut containers = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
        containers.any(|container| container.name == name && container.restart_policy.as_deref() == Some("Always"))
    };
    let main = status.container_statuses.iter().flatten();
    let sidecars = status.init_container_statuses.iter().flatten().filter(|state| native(&state.name));
    main.chain(sidecars).flat_map(ends).max()
}

fn ends(state: &ContainerStatus) -> impl Iterator<Item = Timestamp> {
    [&state.last_state, &state.state]
        .into_iter()
        .filter_map(|state| state.as_ref()?.terminated.as_ref()?.finished_at.as_ref().map(|at| at.0))
}

fn trouble(status: &PodStatus) -> Option<String> {
    if let Some(("False", "Unschedulable", message)) = condition(status, "PodScheduled") {
        return Some(format!("Unschedulable: {}", cut(message)));
    }
    containers(status).filter_map(of_container).next().or_else(|| of_pod(status))
}

/// The container that is in the way of the pod's readiness, where it is one.
pub fn troubled(pod: &Pod) -> Option<&str> {
    let status = pod.status.as_ref()?;
    containers(status).find(|state| of_container(state).is_some()).map(|state| state.name.as_str())
}

fn containers(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    status.init_container_statuses.iter().chain(&status.container_statuses).flatten()
}

fn of_container(state: &ContainerStatus) -> Option<String> {
    let current = state.state.as_ref()?;
    if let Some(waiting) = &current.waiting {
        let reason = waiting.reason.as_deref().filter(|reason| !USUAL.contains(reason))?;
        return Some(match reason {
            "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" | "ErrImageNeverPull" => {
                format!("{} on {}", cut(reason), cut(&state.image))
            }
            "CrashLoopBackOff" => format!("CrashLoopBackOff in {}{}", state.name, last_exit(state)),
            _ => {
                let message = waiting.message.as_deref().unwrap_or_default();
                format!("{} in {}: {}", cut(reason), state.name, cut(message))
            }
        });
    }
    let ended = current.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
    Some(format!("{} ended with exit code {}", state.name, ended.exit_code))
}

fn last_exit(state: &ContainerStatus) -> String {
    let ended = state.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    ended.map_or_else(String::new, |ended| {
        let why = ended.reason.as_deref().filter(|reason| *reason != "Error");
        let why = why.map(|reason| format!(", {}", cut(reason))).unwrap_or_default();
        format!(" (exit code {}{why}, {} restarts)", ended.exit_code, state.restart_count)
    })
}

fn of_pod(status: &PodStatus) -> Option<String> {
    let reason = status.reason.as_deref()?;
    Some(format!("{}: {}", cut(reason), cut(status.message.as_deref().unwrap_or_default())))
}

/// One line of bounded length that steers no terminal.
pub fn cut(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = printable(line.trim());
    if line.chars().count() <= MAX_TEXT {
        return line.into_owned();
    }
    let head: String = line.chars().take(MAX_TEXT).collect();
    format!("{head} …")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_pod_that_was_evicted_has_ended_and_one_that_crashes_has_not() {
        for (phase, expected) in [("Failed", true), ("Succeeded", true), ("Running", false), ("Pending", false)] {
            let pod = serde_json::from_value(json!({"status": {"phase": phase}})).unwrap();
            assert_eq!(has_ended(&pod), expected, "{phase}");
        }
    }

    #[test]
    fn what_a_pod_says_steers_no_terminal() {
        let pod = |state: Value| {
            let image = "x\u{1b}]0;owned\u{7}\u{202e}y";
            let container = json!({
                "name": "app", "image": image, "imageID": "", "ready": false, "restartCount": 0, "state": state,
            });
            serde_json::from_value::<Pod>(json!({"status": {"containerStatuses": [container]}})).unwrap()
        };
        let unnamed = pod(json!({"waiting": {"reason": "InvalidImageName"}}));
        assert_eq!(facts(&unnamed).trouble.as_deref(), Some(r"InvalidImageName on x ]0;owned \u{202e}y"));
        assert_eq!(troubled(&unnamed), Some("app"));
        let waits = pod(json!({"waiting": {"reason": "Bad\u{9b}", "message": "a\nb"}}));
        assert_eq!(facts(&waits).trouble.as_deref(), Some("Bad in app: a b"));
        assert_eq!(troubled(&pod(json!({"running": {}}))), None);
    }

    #[test]
    fn only_a_pod_that_was_ready_has_lost_its_readiness() {
        let at = |second: u8| format!("2026-01-01T00:00:{second:02}Z");
        let runs = json!({"running": {"startedAt": at(10)}});
        for (name, ready, since, state, expected) in [
            ("it is ready", "True", 20, &runs, None),
            ("it was ready", "False", 20, &runs, Some(at(20))),
            ("it never was", "False", 5, &runs, None),
            ("it has just begun again", "False", 10, &runs, None),
            ("its container ended", "False", 20, &json!({"terminated": {"exitCode": 1}}), None),
        ] {
            let pod = json!({"status": {
                "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": at(since)}],
                "containerStatuses": [
                    {"name": "app", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state},
                ],
            }});
            let facts = facts(&serde_json::from_value(pod).unwrap());
            assert_eq!(facts.unready_since.map(|at| at.to_string()), expected, "{name}");
        }
        assert_eq!(facts(&Pod::default()).unready_since, None);
    }
}
