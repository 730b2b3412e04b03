//! Which change of a status can wait. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::api::{LimitedBy, MicroserviceStatus, Phase, conditions, conditions::reason};

/// Whether nothing differs but counts of pods, how far those are that come up, and the words of a refusal, so that the
/// write can wait.
pub fn counts_only(old: &MicroserviceStatus, new: &MicroserviceStatus) -> bool {
    without_counts(old) == without_counts(new)
}

/// Whether nothing differs but the words of a refusal. They may be others each time that it is met, as when an
/// admission webhook names its request in them.
pub fn is_reworded(old: &MicroserviceStatus, new: &MicroserviceStatus) -> bool {
    without_refusals(old) == without_refusals(new)
}

fn without_refusals(status: &MicroserviceStatus) -> MicroserviceStatus {
    let mut status = status.clone();
    for condition in status.conditions.iter_mut().filter(|condition| condition.reason == reason::APPLY_FAILED) {
        condition.message.clear();
        // Its message is that of the status.
        if condition.type_ == conditions::READY {
            status.message = None;
        }
    }
    status
}

fn without_counts(status: &MicroserviceStatus) -> MicroserviceStatus {
    let mut status = without_refusals(status);
    status.replicas = None;
    status.message = status.message.as_deref().map(masked);
    for condition in &mut status.conditions {
        condition.message = masked(&condition.message);
    }
    for entry in &mut status.traffic {
        (entry.ready, entry.desired) = (0, 0);
    }
    without_stages(&mut status);
    status
}

/// How far pods are that come up as they should: their Deployment and the mesh follow one after the other, often within
/// milliseconds.
fn without_stages(status: &mut MicroserviceStatus) {
    let stage = |condition: &Condition| [reason::VERSION_NOT_READY, reason::PROPAGATING].contains(&&*condition.reason);
    let ready = status.conditions.iter().find(|condition| condition.type_ == conditions::READY);
    if status.phase != Some(Phase::Progressing) || !ready.is_some_and(stage) {
        return;
    }
    status.message = None;
    for condition in status.conditions.iter_mut().filter(|condition| stage(condition)) {
        (condition.reason, condition.message) = (String::new(), String::new());
    }
    for entry in &mut status.traffic {
        entry.limited_by = entry.limited_by.filter(|by| !matches!(by, LimitedBy::NotReady | LimitedBy::Propagation));
    }
}

fn masked(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::api::VersionTraffic;

    fn said(phase: Phase, reason: &str, message: &str, limited_by: Option<LimitedBy>) -> MicroserviceStatus {
        let ready = Condition {
            type_: conditions::READY.to_owned(),
            status: "False".to_owned(),
            observed_generation: Some(1),
            last_transition_time: Time(jiff::Timestamp::UNIX_EPOCH),
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        let entry = VersionTraffic { version: "v1".to_owned(), limited_by, ..VersionTraffic::default() };
        let (conditions, message) = (vec![ready], Some(message.to_owned()));
        MicroserviceStatus { phase: Some(phase), message, conditions, traffic: vec![entry], ..Default::default() }
    }

    #[test]
    fn the_stages_of_pods_that_come_up_can_wait_and_trouble_cannot() {
        let updated = said(Phase::Progressing, reason::VERSION_NOT_READY, "v1 is updated", Some(LimitedBy::NotReady));
        let told = said(Phase::Progressing, reason::PROPAGATING, "the mesh learns of v1", Some(LimitedBy::Propagation));
        assert!(counts_only(&updated, &told));
        let trouble = said(Phase::Degraded, reason::VERSION_NOT_READY, "v1 crashes", Some(LimitedBy::NotReady));
        assert!(!counts_only(&updated, &trouble), "a phase that changes is told at once");
        let held = said(Phase::Progressing, reason::VERSION_NOT_READY, "v1 is updated", Some(LimitedBy::Draining));
        assert!(!counts_only(&updated, &held), "what limits a weight for another reason is told at once");
    }

    #[test]
    fn other_words_of_a_refusal_can_wait_and_a_refusal_itself_cannot() {
        let refused = |message: &str| said(Phase::Stalled, reason::APPLY_FAILED, message, None);
        let (before, after) = (refused("denied, request cafe-1"), refused("denied, request beef-2"));
        assert!(counts_only(&before, &after) && is_reworded(&before, &after));
        let mut more = after.clone();
        more.traffic[0].ready = 1;
        assert!(counts_only(&before, &more) && !is_reworded(&before, &more), "a count is news");
        let clash = |message: &str| said(Phase::Stalled, reason::NAME_CLASH, message, None);
        assert!(!counts_only(&clash("a Service"), &clash("a Deployment")), "what else holds it is told at once");
        assert!(!counts_only(&clash("a Service"), &before), "so is that it is refused");
    }
}
