//! The new status, from the old one, the plan and what came of it. Pure.

use jiff::Timestamp;

use super::condition::Board;
use crate::{
    api::{LimitedBy, MicroserviceStatus, Phase, VersionTraffic, conditions::reason, labels},
    apply,
    observe::{ChildRef, Observed},
    plan::{Hold, Plan, children::undate_subsets, holds::Severity, object::Kind, resources::labels::selector},
    validate::{Invalid, Refusal, Validated, syntax::printable},
};

/// Longest message of a condition that the API server takes is 32,768; a person reads less.
const MAX_MESSAGE: usize = 1_024;

/// What came of a reconciliation.
#[derive(Debug)]
pub enum Outcome<'a> {
    /// The plan was applied. `invalid` is what is wrong with the newest spec, while an older one is enforced.
    Applied { plan: &'a Plan, invalid: Option<&'a Invalid> },
    /// Something of the plan could not be applied.
    Failed { plan: &'a Plan, invalid: Option<&'a Invalid>, failure: &'a apply::Failure },
    /// The spec is invalid, and there is no accepted one.
    Refused { invalid: &'a Invalid },
}

/// Whom the status is about, and since when.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub generation: i64,
    /// None when there is no accepted spec.
    pub service: Option<&'a Validated>,
    pub observed: Option<&'a Observed>,
    pub now: Timestamp,
}

/// Computes the status.
pub fn compute(old: &MicroserviceStatus, subject: Subject<'_>, outcome: &Outcome<'_>) -> MicroserviceStatus {
    let mut holds = holds(old, outcome);
    holds.sort_by_key(|hold| std::cmp::Reverse(hold.severity));
    let mut status = match outcome {
        Outcome::Applied { plan, .. } => carried(plan, plan.traffic.clone(), subject),
        Outcome::Failed { plan, failure, .. } if failure.routed => {
            let mut traffic = plan.traffic.clone();
            if let Some(observed) = subject.observed.filter(|_| failure.of(Kind::DestinationRule).is_some()) {
                undate_subsets(&mut traffic, observed);
            }
            let mut new = carried(plan, traffic, subject);
            let is_planned = |child: &ChildRef| Some(&child.name) == new.accepted_revision.as_ref();
            let kept = subject.observed.is_some_and(|it| it.children.iter().any(is_planned));
            if failure.of(Kind::ControllerRevision).is_some() && !kept {
                new.accepted_revision.clone_from(&old.accepted_revision);
            }
            if failure.of_traffic().is_some() {
                (new.provider, new.provider_since) = (old.provider, old.provider_since.clone());
            }
            new
        }
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
fn holds(old: &MicroserviceStatus, outcome: &Outcome<'_>) -> Vec<Hold> {
    let invalid = |invalid: &Invalid, enforced: &str| {
        let (reason, why, severity) = match invalid.why {
            Refusal::Wrong => (reason::INVALID_SPEC, "the spec cannot be enforced", Severity::Stalled),
            Refusal::Missing => (reason::CONFIG_MAP_MISSING, "something is missing", Severity::Degraded),
            Refusal::Early => (reason::PORTS_CHANGING, "the spec waits for the one before", Severity::Progressing),
        };
        Hold { reason, message: format!("{why}: {invalid}; {enforced}"), severity }
    };
    let older = "the last accepted one stays in force";
    // What waits for something that may never come is told before that.
    let beside = |problems: &Invalid, planned: &[Hold]| {
        let mut hold = invalid(problems, older);
        if problems.why == Refusal::Early {
            hold.severity = planned.iter().map(|hold| hold.severity).fold(hold.severity, Ord::max);
        }
        hold
    };
    match outcome {
        Outcome::Refused { invalid: problems } => {
            vec![invalid(problems, &lost_spec(old).unwrap_or_else(|| "nothing runs yet".into()))]
        }
        Outcome::Applied { plan, invalid: problems } => {
            problems.iter().map(|problems| beside(problems, &plan.holds)).chain(plan.holds.clone()).collect()
        }
        Outcome::Failed { plan, invalid: problems, failure } => {
            let error = &failure.first;
            let severity = if error.needs_a_person() { Severity::Stalled } else { Severity::Degraded };
            let failed = Hold { reason: reason::APPLY_FAILED, message: error.to_string(), severity };
            let problems = problems.iter().map(|problems| beside(problems, &plan.holds));
            problems.chain([failed]).chain(plan.holds.clone()).collect()
        }
    }
}

/// Says that the spec that was accepted cannot be enforced any more, if one was.
pub fn lost_spec(old: &MicroserviceStatus) -> Option<String> {
    let revision = old.accepted_revision.as_deref()?;
    Some(format!(
        "what runs is left as it is: the last accepted spec, ControllerRevision {revision}, is deleted, or no longer this \
         Microservice's own, or not valid any more either"
    ))
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

pub(super) fn shortened(text: &str) -> String {
    let text = printable(text);
    if text.chars().count() <= MAX_MESSAGE {
        return text.into_owned();
    }
    let head: String = text.chars().take(MAX_MESSAGE).collect();
    format!("{head} …")
}
