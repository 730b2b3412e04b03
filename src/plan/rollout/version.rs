//! One version's standing: what may be done with it, judged from what was observed and remembered.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use crate::{
    api::{LimitedBy, VersionTraffic},
    observe::{Observed, ObservedVersion},
    plan::resources::template::parse_template_id,
    validate::Version,
};

use super::{settle::Candidate, walk::Party};

/// First hold-out after a loss; doubles with each further one.
const HOLD_OUT: SignedDuration = SignedDuration::from_secs(30);
/// The longest that a version which lost its weight is held out.
pub const MAX_HOLD_OUT: SignedDuration = SignedDuration::from_mins(10);
/// Time without a fault after which a version is proven, and after which losses are forgotten.
pub const CLEAN: SignedDuration = SignedDuration::from_mins(10);

/// A version of the spec, or one that was removed from it and still runs.
#[derive(Clone, Debug)]
pub struct Standing<'a> {
    pub name: &'a str,
    /// None when the version was removed from the spec.
    pub spec: Option<&'a Version>,
    /// Whether it has a Deployment.
    pub exists: bool,
    pub ready: i32,
    /// Pods that the Deployment has been told to run.
    pub replicas: i32,
    /// Ready pods, as far as the Deployment has them available.
    pub available: i32,
    /// All pods that the Deployment has been told to run are of the wanted template and available.
    pub fit: bool,
    /// It is fit, and has as many pods as it should.
    pub complete: bool,
    /// Its Deployment has the wanted template.
    pub up_to_date: bool,
    /// Pods that the rollout's step wants of it; None for its whole size.
    pub part: Option<i32>,
    /// Pods that the policy's limit gives it; None when nothing limits them.
    pub limited: Option<i32>,
    /// Too many pods of an unproven version restarted.
    pub restarting: bool,
    /// The last restart that is held against it.
    pub restarted_at: Option<Timestamp>,
    /// When the last pod of it restarted or lost its readiness.
    pub relapsed_at: Option<Timestamp>,
    /// It had a ready pod before, as far as its pods and the status tell.
    pub was_ready: bool,
    pub held: bool,
    /// The weight that the rollout leads to: the requested one, unless versions are parked.
    pub target: i32,
    /// The weight to aim at now: what the policy's step gives it, else the target.
    pub aim: i32,
    /// Of what a rollout that is given up goes back to: the weight that its available pods carry while others are missing.
    pub carries: i32,
    /// It is what is gone back to, and others serve until it can.
    pub recalled: bool,
    /// It is to have no pods, and others run: they take its weight first.
    pub parked: bool,
    /// The mesh has had its subset for the propagation time, or there is no mesh.
    pub routable: bool,
    /// What is remembered of it; becomes the status.
    pub memory: VersionTraffic,
    /// Why it is not as it should be, in the cluster's words.
    pub trouble: Option<String>,
}

/// What the standing of all versions depends on.
pub struct Circumstances<'a> {
    pub now: Timestamp,
    pub propagation: SignedDuration,
    /// Subsets that the mesh has; None when no mesh carries the weights.
    pub subsets: Option<&'a BTreeSet<String>>,
    /// The mesh has routes that cannot be written: they are as they were, whatever is planned.
    pub stuck: bool,
}

impl<'a> Standing<'a> {
    /// Judges one version. `template` is the id of the template that its Deployment should have.
    pub fn judge(
        name: &'a str,
        spec: Option<&'a Version>,
        observed: Option<&ObservedVersion>,
        old: Option<&VersionTraffic>,
        template: Option<String>,
        around: &Circumstances<'_>,
    ) -> Self {
        let deployment = observed.and_then(|observed| observed.deployment.as_ref());
        let ready = observed.map_or(0, ObservedVersion::ready);
        let current_template = template.is_none() || deployment.is_some_and(|facts| facts.template == template);
        let sized = spec.is_none_or(|spec| deployment.is_some_and(|facts| facts.replicas >= spec.replicas));
        let fit = deployment.is_some_and(|facts| facts.complete) && current_template && ready > 0;
        let mut memory = remember(name, old, observed, template.or_else(|| deployment?.template.clone()));
        let held = memory.held_until.as_ref().is_some_and(|until| until.0 > around.now);
        if memory.unreferenced_since.is_some() && !held {
            memory.restarts_since = last_restart(observed).map(time);
        }
        note_subset(&mut memory, around);
        let counted_since = counted_since(&memory, around.now);
        let restarted = restarted_pods(observed, counted_since);
        let pods = observed.map_or(0, |observed| observed.pods.len());
        let proven = is_proven(&memory, around.now);
        // The pods of before serve on while those of an edit in place fail.
        let replaces = deployment.is_some_and(|facts| !facts.complete && ready >= facts.replicas.max(1));
        Self {
            name,
            spec,
            exists: deployment.is_some(),
            up_to_date: deployment.is_some() && current_template,
            ready,
            replicas: deployment.map_or(0, |facts| facts.replicas),
            available: deployment.map_or(0, |facts| facts.available.min(ready)),
            fit,
            complete: fit && sized,
            part: None,
            limited: None,
            restarting: !proven && !replaces && restarted >= pods.div_ceil(10).max(1),
            restarted_at: last_restart(observed).filter(|at| counted_since.is_none_or(|since| *at > since)),
            relapsed_at: relapsed_at(observed, &memory),
            was_ready: memory.ready > 0 || last_unready(observed).is_some(),
            held,
            target: spec.map_or(0, |spec| spec.weight),
            aim: spec.map_or(0, |spec| spec.weight),
            carries: 0,
            recalled: false,
            parked: false,
            routable: match (around.subsets, &memory.subset_since) {
                (None, _) => true,
                (Some(_), Some(since)) => around.now.duration_since(since.0) >= around.propagation,
                (Some(_), None) => false,
            },
            trouble: trouble(observed),
            memory,
        }
    }

    /// It has a ready pod and is not lost.
    pub fn serving(&self) -> bool {
        self.ready > 0 && !self.restarting
    }

    /// What it carried is lost with it. The first weights go to a version that is yet to start: another one that is
    /// ready before takes them, and they come back without a hold-out.
    pub fn fails(&self) -> bool {
        self.restarting || (self.ready == 0 && self.was_ready)
    }

    /// It may be raised to what is requested.
    pub fn admitted(&self) -> bool {
        self.complete && self.serving() && !self.held && self.routable
    }

    /// Pods that it should have now.
    pub fn wanted(&self) -> i32 {
        self.limited.or(self.part).or(self.spec.map(|spec| spec.replicas)).unwrap_or(self.replicas)
    }

    /// Judges it by the pods that the rollout's step wants of it.
    pub fn scale(&mut self, pods: Option<i32>) {
        self.part = pods;
        self.complete = self.fit && self.replicas >= self.wanted();
    }

    /// Lets it have back what is aimed at, as far as its available pods carry it: of the weight `before` the rollout they are all
    /// that it has or is to have, but for those that a limit gives it for what is aimed at.
    pub fn give_back(&mut self, before: i32) {
        if self.up_to_date && self.serving() && !self.held && self.routable {
            let whole = if self.limited.is_some() { self.aim } else { before };
            let pods = if self.limited.is_some() { self.wanted() } else { self.wanted().max(self.replicas) };
            self.carries = carried(whole, self.available, pods).min(self.aim);
        }
    }

    pub fn requested(&self) -> i32 {
        self.spec.map_or(0, |spec| spec.weight)
    }

    /// What a rollout must know of it.
    pub fn party(&self, observed: &Observed, drain: SignedDuration, around: &Circumstances<'_>) -> Party<'a> {
        let hash = |memory: &VersionTraffic| Some(parse_template_id(memory.template.as_deref()?)?.1);
        let template = self.spec.and_then(|_| hash(&self.memory));
        let known = observed.status.of_version(self.name).and_then(hash);
        Party {
            name: self.name,
            requested: self.target,
            changed: known.is_some() && template.is_some() && known != template,
            template,
            exists: self.exists,
            up_to_date: self.up_to_date,
            admitted: self.fit && self.serving() && !self.held && self.routable,
            pods: self.replicas,
            whole: self.spec.map_or(0, |spec| spec.replicas),
            carried: self.memory.effective,
            quiet: self.quiet_at(drain, around).is_some_and(|at| at <= around.now),
            fault: self.fault(),
            unproved: self.is_unproved(),
            steady: self.fit && self.ready >= self.replicas,
            held: self.held,
            relapsed_at: self.relapsed_at,
            restarted_at: last_restart(observed.versions.get(self.name)),
            trouble: self.trouble.clone(),
        }
    }

    /// It has had no ready pod yet, and nothing that it could lose.
    fn is_unproved(&self) -> bool {
        self.exists && !self.serving() && !self.fails() && !self.held && self.memory.effective == 0
    }

    /// Why it cannot carry requests that it was given.
    fn fault(&self) -> Option<String> {
        let state = if self.restarting {
            "cannot serve: its pods restart"
        } else if self.ready == 0 {
            "cannot serve: none of its pods is ready"
        } else if self.held {
            "could not serve and lost its weight"
        } else {
            return None;
        };
        let trouble = self.trouble.as_ref().map(|trouble| format!(" ({trouble})")).unwrap_or_default();
        Some(format!("{state}{trouble}"))
    }

    /// Its part in a set of weights.
    pub fn candidate(&self, requested: i32, current: i32) -> Candidate {
        Candidate {
            requested,
            current,
            admitted: self.admitted(),
            carries: self.carries,
            serving: self.serving(),
            rescuer: self.serving() && (self.routable || current > 0),
            held: self.held,
            complete: self.complete,
        }
    }

    /// Notes that it lost its weight: held out for 30 s, doubling with each further loss.
    pub fn lose(&mut self, observed: Option<&ObservedVersion>, now: Timestamp) {
        self.forgive(now);
        let hold_out = hold_out_after(self.memory.losses);
        self.memory.losses += 1;
        self.memory.held_until = Some(time(now.saturating_add(hold_out).unwrap_or(now)));
        self.memory.restarts_since = last_restart(observed).map(time);
        if self.restarting {
            self.memory.clean_since = None;
        }
        self.held = true;
    }

    /// Advances what is remembered once the next weight is known. `referenced` is whether any weight or route leads
    /// to it after this plan.
    pub fn advance(&mut self, effective: i32, referenced: bool, observed: Option<&ObservedVersion>, now: Timestamp) {
        let memory = &mut self.memory;
        if memory.effective != effective || memory.since.is_none() {
            memory.since = Some(time(now));
        }
        memory.effective = effective;
        memory.unreferenced_since = match (referenced, memory.unreferenced_since.take()) {
            (true, _) => None,
            (false, since) => Some(since.unwrap_or_else(|| time(now))),
        };
        let flaps = self.held && restarted_pods(observed, memory.restarts_since.as_ref().map(|time| time.0)) > 0;
        if flaps {
            self.lose(observed, now);
        }
        self.keep_clean(now);
    }

    fn keep_clean(&mut self, now: Timestamp) {
        // One that serves while another is on its way, or was given up, carries what is wanted of it, too.
        let due = self.aim.max(self.target);
        let memory = &mut self.memory;
        if !is_proven(memory, now) {
            let carries = self.up_to_date && !self.restarting && memory.effective == due && due > 0;
            // Another size is no trouble, nor are the pods that come up for it.
            let serving = self.ready > 0;
            let stays = |since: &MicroTime| serving && self.relapsed_at.is_none_or(|relapsed| relapsed <= since.0);
            memory.clean_since = match memory.clean_since.take().filter(|_| carries) {
                Some(since) => Some(since).filter(|since| self.complete || stays(since)),
                None => (carries && self.complete).then(|| time(now)),
            };
        }
        self.forgive(now);
    }

    /// Forgets losses whose hold-out was over long ago.
    fn forgive(&mut self, now: Timestamp) {
        let over = self.memory.held_until.as_ref().is_some_and(|until| now.duration_since(until.0) >= CLEAN);
        if over {
            self.memory.held_until = None;
            self.memory.losses = 0;
        }
    }

    /// When a version without references has run on for its drain time, and the mesh has forgotten it.
    pub fn drained_at(&self, drain: SignedDuration, around: &Circumstances<'_>) -> Option<Timestamp> {
        self.memory.unreferenced_since.as_ref()?.0.checked_add(drain.max(around.propagation)).ok()
    }

    /// When the mesh has had time to learn of its weight, and requests to leave it.
    pub fn quiet_at(&self, drain: SignedDuration, around: &Circumstances<'_>) -> Option<Timestamp> {
        if self.memory.effective == 0 {
            return self.drained_at(drain, around);
        }
        self.memory.since.as_ref()?.0.checked_add(around.propagation).ok()
    }

    /// What keeps the effective weight from the requested one.
    pub fn limited_by(&self) -> Option<LimitedBy> {
        let (requested, effective) = (self.requested(), self.memory.effective);
        let goes = self.spec.is_none_or(|spec| spec.is_older() && self.aim == 0 && !self.recalled);
        if goes && effective == 0 {
            return Some(LimitedBy::Draining);
        }
        if effective == requested {
            return None;
        }
        if self.aim != self.target && effective == self.aim {
            return Some(LimitedBy::Rollout);
        }
        if effective > requested {
            return Some(LimitedBy::OtherVersion);
        }
        Some(if self.parked {
            LimitedBy::NotReady
        } else if self.held {
            LimitedBy::HeldOut
        } else if self.restarting {
            LimitedBy::Lost
        } else if !self.complete {
            LimitedBy::NotReady
        } else if !self.routable {
            LimitedBy::Propagation
        } else {
            LimitedBy::OtherVersion
        })
    }

    /// When time alone will change what may be done with it.
    pub fn next_change(&self, around: &Circumstances<'_>) -> Option<Timestamp> {
        let held = self.memory.held_until.as_ref().map(|until| until.0).filter(|until| *until > around.now);
        let routable = self
            .memory
            .subset_since
            .as_ref()
            .filter(|_| !self.routable)
            .and_then(|since| since.0.checked_add(around.propagation).ok());
        let quiet = self
            .restarted_at
            .filter(|_| self.restarting)
            .and_then(|at| at.checked_add(hold_out_after(self.memory.losses)).ok());
        held.into_iter().chain(routable).chain(quiet).min()
    }
}

/// The part of a weight that some of so many pods carry, rounded down.
fn carried(weight: i32, some: i32, pods: i32) -> i32 {
    let part = i64::from(weight) * i64::from(some.min(pods)) / i64::from(pods.max(1));
    i32::try_from(part).unwrap_or_default()
}

/// How long a version with so many losses is held out after a further one.
fn hold_out_after(losses: i32) -> SignedDuration {
    let doublings = u32::try_from(losses).unwrap_or(0).min(5);
    HOLD_OUT.saturating_mul(1 << doublings).min(MAX_HOLD_OUT)
}

/// Restarts up to this time are not held against a version: it would have been let in again by now. One that could not
/// lose its weight, as there was no other, must not lose it for an old restart once there is.
fn counted_since(memory: &VersionTraffic, now: Timestamp) -> Option<Timestamp> {
    let known = memory.restarts_since.as_ref().map(|time| time.0);
    known.max(now.checked_sub(hold_out_after(memory.losses)).ok())
}

/// 10 minutes complete and free of restarts at the requested weight.
pub fn is_proven(memory: &VersionTraffic, now: Timestamp) -> bool {
    memory.clean_since.as_ref().is_some_and(|since| now.duration_since(since.0) >= CLEAN)
}

/// A timestamp as statuses carry it: whole microseconds, so that it reads back as it was written.
pub fn time(at: Timestamp) -> MicroTime {
    MicroTime(Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at))
}

/// What the status says of the version; restarts before the version was first seen are not held against it.
fn remember(
    name: &str,
    old: Option<&VersionTraffic>,
    observed: Option<&ObservedVersion>,
    template: Option<String>,
) -> VersionTraffic {
    let mut memory = old.cloned().unwrap_or_else(|| VersionTraffic {
        version: name.to_owned(),
        restarts_since: last_restart(observed).map(time),
        ..VersionTraffic::default()
    });
    let changed = memory.template.is_some() && template.is_some() && memory.template != template;
    if changed {
        memory.clean_since = None;
        memory.restarts_since = last_restart(observed).map(time);
    }
    memory.template = template.or(memory.template);
    memory
}

fn note_subset(memory: &mut VersionTraffic, around: &Circumstances<'_>) {
    match around.subsets {
        Some(subsets) if subsets.contains(&memory.version) => {
            memory.subset_since.get_or_insert_with(|| time(around.now));
            // It may have been given to the mesh again before a crash, and the status not written.
            memory.subset_removed_since = None;
        }
        Some(_) | None => memory.subset_since = None,
    }
}

fn last_restart(observed: Option<&ObservedVersion>) -> Option<Timestamp> {
    observed?.pods.iter().filter_map(|pod| pod.restarted_at).max()
}

/// Pods of which a container ended after `since`.
fn restarted_pods(observed: Option<&ObservedVersion>, since: Option<Timestamp>) -> usize {
    observed.map_or(0, |observed| {
        observed
            .pods
            .iter()
            .filter_map(|pod| pod.restarted_at)
            .filter(|at| since.is_none_or(|since| *at > since))
            .count()
    })
}

/// When a pod last lost its readiness, or restarted and that was not known before the version got requests.
fn relapsed_at(observed: Option<&ObservedVersion>, memory: &VersionTraffic) -> Option<Timestamp> {
    let known = memory.restarts_since.as_ref().map(|since| since.0);
    let restarted = last_restart(observed).filter(|at| known.is_none_or(|known| *at > known));
    restarted.max(last_unready(observed))
}

fn last_unready(observed: Option<&ObservedVersion>) -> Option<Timestamp> {
    observed?.pods.iter().filter_map(|pod| pod.unready_since).max()
}

/// A pod's own trouble says more than its Deployment's.
fn trouble(observed: Option<&ObservedVersion>) -> Option<String> {
    let observed = observed?;
    let of_pod = observed.pods.iter().find_map(|pod| pod.trouble.clone());
    of_pod.or_else(|| observed.deployment.as_ref()?.trouble.clone())
}
