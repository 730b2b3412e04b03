//! The new status, from the old one, the plan and what came of it. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::{
    api::{
        HeldBy, LimitedBy, MicroserviceStatus, Phase, RolloutState, VersionTraffic, conditions, conditions::reason,
        labels,
    },
    apply,
    observe::{DependencyState, Observed},
    plan::{
        Hold, Plan,
        holds::{Availability, RoutesState, Severity},
        resources::labels::selector,
        rollout::held,
    },
    validate::{Invalid, Validated, syntax::printable},
};

/// Longest message of a condition that the API server takes is 32,768; a person reads less.
const MAX_MESSAGE: usize = 1_024;

/// What came of a reconciliation.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// The plan was applied. `invalid` is what is wrong with the newest spec, while an older one is enforced.
    Applied { plan: &'a Plan, invalid: Option<&'a Invalid> },
    /// Applying the plan failed.
    Failed { plan: &'a Plan, invalid: Option<&'a Invalid>, error: &'a apply::Error },
    /// The spec is invalid and none was ever accepted.
    Refused { invalid: &'a Invalid },
}

/// Whom the status is about, and since when.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub generation: i64,
    /// None when no spec was ever accepted.
    pub service: Option<&'a Validated>,
    pub observed: Option<&'a Observed>,
    pub now: Timestamp,
}

/// Computes the status.
pub fn compute(old: &MicroserviceStatus, subject: Subject<'_>, outcome: &Outcome<'_>) -> MicroserviceStatus {
    let mut holds = holds(outcome);
    holds.sort_by_key(|hold| std::cmp::Reverse(hold.severity));
    let mut status = match outcome {
        Outcome::Applied { plan, .. } => carried(plan, plan.traffic.clone(), subject),
        Outcome::Failed { plan, error, .. } if error.is_local() => MicroserviceStatus {
            accepted_revision: old.accepted_revision.clone(),
            ..carried(plan, plan.traffic.clone(), subject)
        },
        Outcome::Failed { plan, .. } => {
            let kept = carried(plan, as_before(old, &plan.traffic), subject);
            MicroserviceStatus {
                provider: old.provider,
                provider_since: old.provider_since.clone(),
                accepted_revision: old.accepted_revision.clone(),
                rollout: old.rollout.clone(),
                routes: old.routes.clone(),
                ..kept
            }
        }
        Outcome::Refused { .. } => old.clone(),
    };
    if holds.iter().any(|hold| hold.severity == Severity::Stalled) {
        mark_stalled(&mut status.traffic);
    }
    let board = Board { old, subject };
    status.observed_generation = Some(subject.generation);
    status.phase = Some(phase(&holds));
    status.message = Some(message(&holds, &status));
    status.conditions = board.conditions(&holds, outcome, &status);
    status
}

/// What keeps the service from its newest spec.
fn holds(outcome: &Outcome<'_>) -> Vec<Hold> {
    let invalid = |invalid: &Invalid, enforced: &str| {
        let (reason, why, severity) = if invalid.waits {
            (reason::CONFIG_MAP_MISSING, "something is missing", Severity::Degraded)
        } else {
            (reason::INVALID_SPEC, "the spec cannot be enforced", Severity::Stalled)
        };
        Hold { reason, message: format!("{why}: {invalid}; {enforced}"), severity }
    };
    let older = "the last accepted one stays in force";
    match outcome {
        Outcome::Refused { invalid: problems } => vec![invalid(problems, "nothing runs yet")],
        Outcome::Applied { plan, invalid: problems } => {
            problems.iter().map(|problems| invalid(problems, older)).chain(plan.holds.clone()).collect()
        }
        Outcome::Failed { plan, invalid: problems, error } => {
            let severity = if error.needs_a_person() { Severity::Stalled } else { Severity::Degraded };
            let failed = Hold { reason: reason::APPLY_FAILED, message: error.to_string(), severity };
            let problems = problems.iter().map(|problems| invalid(problems, older));
            problems.chain([failed]).chain(plan.holds.clone()).collect()
        }
    }
}

fn carried(plan: &Plan, traffic: Vec<VersionTraffic>, subject: Subject<'_>) -> MicroserviceStatus {
    let pods =
        |name: &str| subject.observed.and_then(|observed| observed.versions.get(name)).map_or(0, |it| it.pods.len());
    let name = subject.service.map(|service| service.identity.name.as_str()).unwrap_or_default();
    MicroserviceStatus {
        weights: Some(weights_line(&traffic)),
        replicas: (!plan.scaled.is_empty()).then(|| {
            let pods = plan.scaled.iter().map(|version| pods(version)).sum::<usize>();
            i32::try_from(pods).unwrap_or(i32::MAX)
        }),
        label_selector: (!plan.scaled.is_empty()).then(|| label_selector(name, &plan.scaled)),
        provider: plan.provider,
        provider_since: plan.provider_since.clone(),
        routes: plan.marks.clone(),
        revision: plan.revision.clone(),
        accepted_revision: Some(plan.accepted_revision.clone()),
        rollout: plan.rollout.clone(),
        traffic,
        ..MicroserviceStatus::default()
    }
}

/// As the scale subresource writes the selector of pods of some versions.
fn label_selector(service: &str, versions: &[String]) -> String {
    let (version, several) = match versions {
        [version] => (Some(version.as_str()), None),
        _ => (None, Some(format!("{} in ({})", labels::VERSION, versions.join(",")))),
    };
    let pairs = selector(service, version).into_iter().map(|(key, value)| format!("{key}={value}"));
    pairs.chain(several).collect::<Vec<_>>().join(",")
}

/// Nothing that was planned counts as done when applying failed, but pods are counted all the same.
fn as_before(old: &MicroserviceStatus, planned: &[VersionTraffic]) -> Vec<VersionTraffic> {
    old.traffic
        .iter()
        .map(|before| match planned.iter().find(|entry| entry.version == before.version) {
            Some(entry) => VersionTraffic { ready: entry.ready, ..before.clone() },
            None => before.clone(),
        })
        .collect()
}

fn mark_stalled(traffic: &mut [VersionTraffic]) {
    for entry in traffic.iter_mut().filter(|entry| entry.effective != entry.requested && entry.limited_by.is_none()) {
        entry.limited_by = Some(LimitedBy::Stalled);
    }
}

/// Effective weights as `v1=90 v2=10`; removed versions only while they carry any.
pub fn weights_line(traffic: &[VersionTraffic]) -> String {
    let shown = traffic.iter().filter(|entry| entry.effective > 0 || entry.limited_by != Some(LimitedBy::Draining));
    shown.map(|entry| format!("{}={}", entry.version, entry.effective)).collect::<Vec<_>>().join(" ")
}

fn phase(holds: &[Hold]) -> Phase {
    match holds.iter().map(|hold| hold.severity).max() {
        None => Phase::Ready,
        Some(Severity::Progressing) => Phase::Progressing,
        Some(Severity::Degraded) => Phase::Degraded,
        Some(Severity::Stalled) => Phase::Stalled,
    }
}

fn message(holds: &[Hold], status: &MicroserviceStatus) -> String {
    match holds.first() {
        Some(hold) => shortened(&hold.message),
        None => format!("all versions are as requested: {}", status.weights.as_deref().unwrap_or_default()),
    }
}

fn shortened(text: &str) -> String {
    let text = printable(text);
    if text.chars().count() <= MAX_MESSAGE {
        return text.into_owned();
    }
    let head: String = text.chars().take(MAX_MESSAGE).collect();
    format!("{head} …")
}

/// How requests fare while the routes cannot be written: by the weights that stand, whatever was planned.
fn stuck(error: &apply::Error, status: &MicroserviceStatus) -> (Availability, RoutesState) {
    let silent: Vec<&str> = status
        .traffic
        .iter()
        .filter(|entry| entry.effective > 0 && entry.ready == 0)
        .map(|entry| entry.version.as_str())
        .collect();
    let (reason, message) = match silent.as_slice() {
        [] => (reason::VERSIONS_READY, "every version that gets requests has ready pods".to_owned()),
        names => (reason::NO_READY_VERSION, format!("{} gets requests and has no ready pod", names.join(", "))),
    };
    let available = Availability { available: silent.is_empty(), reason, message };
    (available, RoutesState { ready: false, reason: reason::APPLY_FAILED, message: error.to_string() })
}

struct Board<'a> {
    old: &'a MicroserviceStatus,
    subject: Subject<'a>,
}

impl Board<'_> {
    fn conditions(&self, holds: &[Hold], outcome: &Outcome<'_>, status: &MicroserviceStatus) -> Vec<Condition> {
        let message = status.message.as_deref().unwrap_or_default();
        let first = holds.first();
        let stalled = holds.iter().find(|hold| hold.severity == Severity::Stalled);
        let moving = holds.iter().find(|hold| hold.severity != Severity::Stalled).filter(|_| stalled.is_none());
        let mut conditions = vec![
            self.condition(
                conditions::READY,
                first.is_none(),
                first.map_or(reason::SPEC_REACHED, |h| h.reason),
                message,
            ),
            match moving {
                Some(hold) => self.condition(conditions::RECONCILING, true, hold.reason, &hold.message),
                None => self.condition(
                    conditions::RECONCILING,
                    false,
                    stalled.map_or(reason::SPEC_REACHED, |h| h.reason),
                    "",
                ),
            },
            match stalled {
                Some(hold) => self.condition(conditions::STALLED, true, hold.reason, &hold.message),
                None => {
                    let reason = if first.is_none() { reason::SPEC_REACHED } else { reason::PROGRESSING };
                    self.condition(conditions::STALLED, false, reason, "")
                }
            },
        ];
        if let Outcome::Applied { plan, .. } | Outcome::Failed { plan, .. } = outcome {
            let stuck = match outcome {
                Outcome::Failed { error, .. } if !error.is_local() => Some(stuck(error, status)),
                _ => None,
            };
            let (available, routes) = stuck.as_ref().map_or((&plan.availability, &plan.routes), |(a, r)| (a, r));
            conditions.push(self.condition(
                conditions::AVAILABLE,
                available.available,
                available.reason,
                &available.message,
            ));
            conditions.push(self.condition(conditions::ROUTES_READY, routes.ready, routes.reason, &routes.message));
            let sizes = &plan.sizes;
            conditions.push(self.condition(conditions::SIZES_READY, sizes.ready, sizes.reason, &sizes.message));
            conditions.push(self.dependencies());
            conditions.extend(self.rollout(status));
        } else {
            let nothing = "no spec was ever accepted";
            conditions.push(self.condition(conditions::AVAILABLE, false, reason::INVALID_SPEC, nothing));
        }
        conditions
    }

    fn dependencies(&self) -> Condition {
        let declared = self.subject.service.map(|service| service.dependencies.as_slice()).unwrap_or_default();
        let states = self.subject.observed.map(|observed| observed.dependencies.as_slice()).unwrap_or_default();
        let troubled = declared.iter().zip(states).find_map(|(dependency, state)| {
            let name = format!("{}/{}", dependency.namespace, dependency.name);
            match state {
                DependencyState::Ready | DependencyState::Unwatched => None,
                // Whoever names it may not see what is there; that nothing answers, any pod can find out.
                _ if self.subject.service.is_some_and(|it| it.identity.namespace != dependency.namespace) => Some((
                    reason::DEPENDENCY_NOT_READY,
                    format!(
                        "{name} does not serve {:?} at port {}: see in its namespace whether it exists, is ready and has \
                         this port",
                        dependency.protocol, dependency.port
                    ),
                )),
                DependencyState::NotFound => {
                    Some((reason::DEPENDENCY_NOT_FOUND, format!("no Microservice or Service {name} exists")))
                }
                DependencyState::NotReady(_) => {
                    Some((reason::DEPENDENCY_NOT_READY, format!("{name} has no ready version")))
                }
                DependencyState::PortMismatch(has) => Some((
                    reason::DEPENDENCY_PORT_MISMATCH,
                    format!("{name} is called at port {} with {:?}, but {has}", dependency.port, dependency.protocol),
                )),
            }
        });
        let unseen = declared.iter().zip(states).find(|(_, state)| **state == DependencyState::Unwatched);
        match (troubled, unseen) {
            (None, Some((dependency, _))) => self.condition_of(
                conditions::DEPENDENCIES_READY,
                "Unknown",
                reason::DEPENDENCY_UNWATCHED,
                &format!(
                    "{}/{} cannot be seen: this operator serves single namespaces, each for itself",
                    dependency.namespace, dependency.name
                ),
            ),
            (Some((reason, message)), _) => self.condition(conditions::DEPENDENCIES_READY, false, reason, &message),
            (None, None) if declared.is_empty() => {
                self.condition(conditions::DEPENDENCIES_READY, true, reason::NO_DEPENDENCIES, "")
            }
            (None, None) => self.condition(conditions::DEPENDENCIES_READY, true, reason::DEPENDENCIES_READY, ""),
        }
    }

    fn rollout(&self, status: &MicroserviceStatus) -> Vec<Condition> {
        let there = status.traffic.iter().all(|entry| entry.effective == entry.requested);
        let weights = status.weights.as_deref().unwrap_or_default();
        let Some(rollout) = &status.rollout else {
            let message = format!("effective weights: {weights}");
            let reason = if there { reason::WEIGHTS_REQUESTED } else { reason::PROGRESSING };
            return vec![self.condition(conditions::PROMOTED, there, reason, &message)];
        };
        let reason = match rollout.state {
            RolloutState::Progressing => reason::ROLLOUT_PROGRESSING,
            RolloutState::Paused => reason::ROLLOUT_PAUSED,
            RolloutState::Aborted => reason::ROLLOUT_ABORTED,
            RolloutState::Completed => reason::ROLLOUT_COMPLETED,
        };
        let promoted = there && rollout.state == RolloutState::Completed;
        let holder = rollout.held.as_ref();
        let told = rollout.message.clone().or_else(|| holder.map(|held| held.message.clone()));
        let message = told.unwrap_or_else(|| format!("effective weights: {weights}"));
        let suspended = holder.filter(|held| held.by == HeldBy::Suspended);
        vec![
            self.condition(conditions::PROMOTED, promoted, reason, &message),
            match suspended {
                Some(by) => self.condition(conditions::PAUSED, true, held::reason(by.by), &by.message),
                None if rollout.state == RolloutState::Paused => {
                    self.condition(conditions::PAUSED, true, reason, &message)
                }
                None => self.condition(conditions::PAUSED, false, reason, ""),
            },
        ]
    }

    fn condition(&self, type_: &str, value: bool, reason: &str, message: &str) -> Condition {
        self.condition_of(type_, if value { "True" } else { "False" }, reason, message)
    }

    /// The time of the last transition stays unless the status flips.
    fn condition_of(&self, type_: &str, status: &str, reason: &str, message: &str) -> Condition {
        let before = self.old.conditions.iter().find(|old| old.type_ == type_ && old.status == status);
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            observed_generation: Some(self.subject.generation),
            last_transition_time: before.map_or(Time(self.subject.now), |before| before.last_transition_time.clone()),
            reason: reason.to_owned(),
            message: shortened(message),
        }
    }
}

/// Whether nothing differs but counts of pods, and how far those are that come up, so that the write can wait.
pub fn counts_only(old: &MicroserviceStatus, new: &MicroserviceStatus) -> bool {
    without_counts(old) == without_counts(new)
}

fn without_counts(status: &MicroserviceStatus) -> MicroserviceStatus {
    let mut status = status.clone();
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
    use super::*;
    use crate::api::status::VersionTraffic;

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
}
