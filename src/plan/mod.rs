//! Plan: from a validated Microservice and what was observed to what should be written next. Pure.
//!
//! `now` is a parameter; "not ready yet" is an outcome here, never an error; waiting is a requeue.

pub mod adoption;
pub mod blocked;
pub mod children;
pub mod configuration;
pub mod copies;
pub mod holds;
pub mod inquiry;
pub mod object;
pub mod resources;
pub mod revisions;
pub mod rollout;
pub mod scaling;
pub mod times;
pub mod traffic;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use crate::{
    api::{MicroserviceSpec, MicroserviceStatus, Provider, RolloutStatus, RouteMarks, VersionTraffic},
    observe::{ChildRef, Observed},
    validate::{Validated, Version},
};

use children::Decided;
pub use holds::{Availability, Hold, RoutesState};
use inquiry::Inquiry;
use object::{Kind, Object};
use resources::Stamp;
use rollout::{
    Circumstances, Rollout,
    orders::Answer,
    size::{Idle, Sizes},
    version::time,
};
use scaling::Contested;
pub use scaling::SizesState;
use traffic::provider::{Placement, Stage};

/// What does not depend on the Microservice.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Provider of Microservices that do not say.
    pub provider: Provider,
    /// Time that the mesh is given to learn of a change.
    pub propagation: SignedDuration,
    /// Labels of this operator on the children.
    pub stamp: Stamp,
}

/// What is to be written next, and what the status should say.
#[derive(Clone, Debug)]
pub struct Plan {
    /// To be applied in this order.
    pub objects: Vec<Object>,
    /// To be deleted after that, in this order.
    pub removals: Vec<ChildRef>,
    pub traffic: Vec<VersionTraffic>,
    pub provider: Option<Provider>,
    pub provider_since: Option<MicroTime>,
    /// Name of the newest revision, of a service that names an image.
    pub revision: Option<String>,
    /// The VirtualService and the DestinationRule that this was decided on; replaced by what is written.
    pub marks: RouteMarks,
    /// Name of the ControllerRevision that keeps the spec.
    pub accepted_revision: String,
    /// The versions that the scale subresource speaks of.
    pub scaled: Vec<String>,
    /// What keeps the service from its spec, the weightiest first; empty when the spec is reached.
    pub holds: Vec<Hold>,
    pub availability: Availability,
    pub routes: RoutesState,
    pub sizes: SizesState,
    /// Versions that lost their weight just now.
    pub lost: Vec<String>,
    /// How far the rollout is; None without a policy.
    pub rollout: Option<RolloutStatus>,
    /// Why the rollout ends, if that was measured just now. After a crash nothing but the status would tell: it is written before
    /// the weights go back, if it can be.
    pub verdict: Option<String>,
    /// What is to be asked outside the cluster's API, once the status is written.
    pub inquiries: Vec<Inquiry>,
    /// What came of what people asked of the rollout.
    pub answers: Vec<Answer>,
    /// When time alone will change the plan.
    pub next: Option<Timestamp>,
}

impl Plan {
    /// Notes which VirtualService and DestinationRule its times belong to, once they are written.
    pub fn marked(&mut self, written: &RouteMarks) {
        let RouteMarks { virtual_service, destination_rule } = written.clone();
        self.marks.virtual_service = virtual_service.or(self.marks.virtual_service.take());
        self.marks.destination_rule = destination_rule.or(self.marks.destination_rule.take());
    }

    /// The status that is written before anything acts upon the verdict.
    pub fn judged(&self, old: &MicroserviceStatus) -> Option<MicroserviceStatus> {
        let verdict = Some(self.verdict.clone()?);
        let mut judged = old.clone();
        judged.rollout.as_mut()?.verdict = verdict;
        Some(judged)
    }

    /// Dates what began with this plan from when it was written: until then the mesh could not learn of it, and a
    /// busy API server may take longer than the mesh is given.
    pub fn written_at(&mut self, decided: Timestamp, written: Timestamp) {
        let later = written.duration_since(decided);
        for memory in self.traffic.iter_mut().filter(|memory| self.lost.contains(&memory.version)) {
            let until = memory.held_until.as_ref().and_then(|until| until.0.checked_add(later).ok());
            memory.held_until = until.map(time).or(memory.held_until.take());
        }
        let (decided, written) = (time(decided), time(written));
        let of_version = self.traffic.iter_mut().flat_map(|memory| {
            let VersionTraffic { since, subset_since, unreferenced_since, subset_removed_since, .. } = memory;
            [since, subset_since, unreferenced_since, subset_removed_since]
        });
        let of_rollout = self.rollout.iter_mut().flat_map(|status| {
            let RolloutStatus { step_since, progressed_at, weights_since, analysis, step_analysis, .. } = status;
            for run in analysis.iter_mut().chain(step_analysis).filter(|run| run.since == decided) {
                run.since = written.clone();
            }
            [step_since, progressed_at, weights_since]
        });
        let all = of_version.chain(of_rollout).chain([&mut self.provider_since]);
        for since in all.flatten().filter(|since| **since == decided) {
            *since = written.clone();
        }
    }
}

/// Plans the next writes. `spec` is the accepted spec, from which `service` was made.
pub fn plan(
    service: &Validated,
    spec: &MicroserviceSpec,
    observed: &Observed,
    settings: &Settings,
    now: Timestamp,
) -> Plan {
    let stage = Stage::of(service, observed, settings.propagation, now);
    let stuck = traffic::provider::are_stuck(service, observed);
    let around = Circumstances {
        now,
        propagation: settings.propagation,
        subsets: stage.uses_subsets().then_some(&observed.subsets),
        stuck,
    };
    let templates = children::templates(service, observed);
    let template = |name: &str| templates.get(name).map(|template| template.id.clone());
    let frozen = stuck || stage.freezes(observed) || observed.adopting;
    let mut rollout = rollout::advance(service, observed, &around, template, frozen, stage.routing(observed));
    let placement = traffic::provider::place(&stage, service, observed, &rollout, &around);
    let stage = placement.stage(stage);
    let mut placement = placement.beside(|kind| observed.foreign.contains_key(&(kind, service.identity.name.clone())));
    placement.service &= !adoption::waits(service, observed, &rollout);
    let subsets = children::subsets(&mut rollout, observed, &placement, service, &around);
    let idle = match stage {
        Stage::Worker if placement.provider.is_some() => Idle::Drains,
        Stage::Worker => Idle::Stops,
        Stage::Plain | Stage::Barred if placement.pin.is_none() => Idle::Stops,
        // Until the mesh knows the routes, the Service alone shares the requests out.
        Stage::Entering if placement.pin.is_none() && placement.provider == Some(Provider::None) => Idle::Stops,
        Stage::Leaving if placement.pin.is_none() => Idle::Drains,
        Stage::Plain
        | Stage::Barred
        | Stage::Entering
        | Stage::Leaving
        | Stage::Adopting
        | Stage::Mesh
        | Stage::Settling => Idle::Runs,
    };
    let decided = Decided { service, observed, rollout: &rollout, placement: &placement, idle, around: &around };
    let built = children::build(&decided, spec, &subsets, &templates, &settings.stamp);
    let removals = children::removals(&decided, &built);
    let clashes = holds::clashes(&built.objects, &stage, service, observed);
    let blocked = blocked::deployments(service, observed, &clashes);
    let contested = scaling::contested(service, observed, now);
    let waits = waits(&rollout, &placement, service, &around);
    let mut traffic = memories(&rollout, &built.sizes, &contested);
    let rule = (Kind::DestinationRule, service.identity.name.clone());
    if clashes.contains_key(&rule) || observed.leaving.contains_key(&rule) {
        children::undate_subsets(&mut traffic, observed);
    }
    Plan {
        holds: holds::holds(service, observed, &rollout, &stage, &clashes, &contested),
        availability: holds::availability(service, &rollout, &clashes),
        routes: holds::routes(service, observed, &rollout, &stage, &clashes),
        sizes: scaling::state(service, &contested),
        scaled: scaled(service, &rollout),
        traffic,
        provider: placement.provider,
        provider_since: placement.provider_since,
        revision: service.newest_revision().map(|newest| newest.name.clone()),
        marks: RouteMarks {
            virtual_service: match observed.marks.virtual_service.clone() {
                mark if stuck => mark.or_else(|| observed.status.routes.virtual_service.clone()),
                mark => mark.filter(|_| placement.virtual_service),
            },
            destination_rule: observed.marks.destination_rule.clone(),
        },
        accepted_revision: built.revision,
        objects: built
            .objects
            .into_iter()
            .filter(|object| {
                let name = (object.kind, object.name.clone());
                let held = object.kind == Kind::Deployment && blocked.contains(&object.name);
                !clashes.contains_key(&name) && !observed.leaving.contains_key(&name) && !held
            })
            .collect(),
        removals,
        lost: rollout.lost,
        rollout: rollout.progress,
        verdict: rollout.verdict,
        inquiries: rollout.outlook.inquiries,
        answers: rollout.answers,
        next: waits.into_iter().chain(scaling::next(&contested)).min(),
    }
}

fn memories(rollout: &Rollout<'_>, sizes: &Sizes, contested: &Contested) -> Vec<VersionTraffic> {
    rollout
        .standings
        .iter()
        .map(|standing| VersionTraffic {
            requested: standing.requested(),
            ready: standing.ready,
            desired: sizes.get(standing.name).copied().unwrap_or(standing.replicas),
            limited_by: standing.limited_by(),
            scaled: contested.get(standing.name).cloned(),
            ..standing.memory.clone()
        })
        .collect()
}

/// The largest-weight version without replicas of its own; what an autoscaler sees and changes. While a limit divides
/// the pods of a rollout, all of its versions: they carry together what one of them carries with its whole size.
fn scaled(service: &Validated, rollout: &Rollout<'_>) -> Vec<String> {
    let changed = || service.versions.iter().filter(|version| !version.own_replicas);
    let takes_part =
        |it: &rollout::Standing<'_>| it.limited.is_some() && (it.target > 0 || rollout.weight(it.name) > 0);
    let limited = |version: &&Version| rollout.standing(&version.name).is_some_and(takes_part);
    if changed().any(|version| limited(&version)) {
        return changed().filter(limited).map(|version| version.name.clone()).collect();
    }
    let mut best: Option<(&str, i32)> = None;
    for version in changed() {
        let weight = rollout.weight(&version.name);
        if best.is_none_or(|(_, most)| weight > most) {
            best = Some((&version.name, weight));
        }
    }
    best.map(|(name, _)| name.to_owned()).into_iter().collect()
}

fn waits(
    rollout: &Rollout<'_>,
    placement: &Placement,
    service: &Validated,
    around: &Circumstances<'_>,
) -> Option<Timestamp> {
    let versions = rollout.standings.iter().filter_map(|standing| standing.next_change(around));
    let drains =
        rollout.standings.iter().filter_map(|standing| children::next_removal(standing, service, rollout, around));
    let older = rollout.standings.iter().filter(|standing| standing.spec.is_some_and(Version::is_older));
    let kept = older.filter_map(|it| revisions::kept_until(service, rollout.progress.as_ref(), &it.memory));
    versions
        .chain(drains)
        .chain(kept)
        .chain(placement.next)
        .chain(rollout.outlook.next)
        .filter(|at| *at > around.now)
        .min()
}
