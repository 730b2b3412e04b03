//! The conditions of a status. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::compute::{Outcome, Subject, lost_spec, shortened};
use crate::{
    api::{HeldBy, MicroserviceStatus, RolloutState, conditions, conditions::reason},
    apply,
    observe::DependencyState,
    plan::{
        Hold,
        holds::{Availability, RoutesState, Severity},
        rollout::held,
    },
};

/// How requests fare while the routes cannot be written: by the weights that stand, whatever was planned.
fn stuck(error: &apply::Error, status: &MicroserviceStatus) -> (Availability, RoutesState) {
    let weighted: Vec<_> = status.traffic.iter().filter(|entry| entry.effective > 0).collect();
    let silent: Vec<&str> =
        weighted.iter().filter(|entry| entry.ready == 0).map(|entry| entry.version.as_str()).collect();
    let (reason, message) = match silent.as_slice() {
        _ if weighted.is_empty() => (reason::NO_READY_VERSION, "no version gets requests yet".to_owned()),
        [] => (reason::VERSIONS_READY, "every version that gets requests has ready pods".to_owned()),
        names => (reason::NO_READY_VERSION, format!("{} gets requests and has no ready pod", names.join(", "))),
    };
    let available = Availability { available: reason == reason::VERSIONS_READY, reason, message };
    (available, unapplied(error))
}

fn unapplied(error: &apply::Error) -> RoutesState {
    RoutesState { ready: false, reason: reason::APPLY_FAILED, message: error.to_string() }
}

/// How the routes are when they are as planned, and something beside them is not.
fn beside(failure: &apply::Failure, planned: &RoutesState) -> RoutesState {
    failure.of_traffic().map_or_else(|| planned.clone(), unapplied)
}

/// What keeps the newest spec from being what the weights are of.
fn unreached<'a>(holds: &'a [Hold], outcome: &Outcome<'_>) -> Option<&'a Hold> {
    let unrouted = matches!(outcome, Outcome::Failed { failure, .. } if !failure.routed);
    holds.iter().find(|hold| match hold.reason {
        reason::INVALID_SPEC | reason::CONFIG_MAP_MISSING | reason::CONFIG_MAP_CHANGING | reason::PORTS_CHANGING => {
            true
        }
        reason::APPLY_FAILED => unrouted,
        _ => false,
    })
}

/// Makes the conditions of a status.
pub struct Board<'a> {
    pub old: &'a MicroserviceStatus,
    pub subject: Subject<'a>,
}

impl Board<'_> {
    /// All conditions of `status`, which is complete but for them.
    pub fn conditions(&self, holds: &[Hold], outcome: &Outcome<'_>, status: &MicroserviceStatus) -> Vec<Condition> {
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
            let (available, routes) = match outcome {
                Outcome::Failed { failure, .. } if !failure.routed => stuck(&failure.first, status),
                Outcome::Failed { failure, .. } => (plan.availability.clone(), beside(failure, &plan.routes)),
                _ => (plan.availability.clone(), plan.routes.clone()),
            };
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
            conditions.extend(self.rollout(status, unreached(holds, outcome)));
        } else {
            let (available, why) = match lost_spec(self.old) {
                Some(why) => ("Unknown", why),
                None => ("False", "no spec was ever accepted".into()),
            };
            conditions.push(self.condition_of(
                conditions::AVAILABLE,
                available,
                first.map_or(reason::INVALID_SPEC, |hold| hold.reason),
                &why,
            ));
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

    fn rollout(&self, status: &MicroserviceStatus, unreached: Option<&Hold>) -> Vec<Condition> {
        let there = status.traffic.iter().all(|entry| entry.effective == entry.requested);
        let weights = status.weights.as_deref().unwrap_or_default();
        // The weights are there, but those of an older spec.
        let promoted = |there: bool, reason: &str, message: &str| match unreached {
            Some(hold) if there => self.condition(conditions::PROMOTED, false, hold.reason, &hold.message),
            _ => self.condition(conditions::PROMOTED, there, reason, message),
        };
        let Some(rollout) = &status.rollout else {
            let message = format!("effective weights: {weights}");
            let reason = if there { reason::WEIGHTS_REQUESTED } else { reason::PROGRESSING };
            return vec![promoted(there, reason, &message)];
        };
        let reason = match rollout.state {
            RolloutState::Progressing => reason::ROLLOUT_PROGRESSING,
            RolloutState::Paused => reason::ROLLOUT_PAUSED,
            RolloutState::Aborted => reason::ROLLOUT_ABORTED,
            RolloutState::Completed => reason::ROLLOUT_COMPLETED,
        };
        let holder = held::shown(rollout);
        let told = rollout.message.clone().or_else(|| holder.map(|held| held.message.clone()));
        let message = told.unwrap_or_else(|| format!("effective weights: {weights}"));
        let suspended = holder.filter(|held| held.by == HeldBy::Suspended);
        vec![
            promoted(there && rollout.state == RolloutState::Completed, reason, &message),
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
