//! What tells two states apart. Times count from now, and only as far back as anything depends on them, so that equal
//! situations are explored once.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use microservice_operator::api::{HookCall, MetricRun, MicroserviceStatus, Relapses, RolloutStatus, VersionTraffic};

use crate::{
    caches::Lag,
    findings::Findings,
    flaps::Flaps,
    lab::PROPAGATION,
    state::{Runs, Seen, State},
};

/// The longest time that the state machine measures is 10 minutes.
const HORIZON: i64 = 601;

impl State {
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let age = |at: Timestamp| self.age(at);
        self.spec.hash(&mut hasher);
        self.print_runs(&self.runs, &mut hasher);
        (&self.children, &self.subsets, &self.route, &self.target, self.unrest.map(age)).hash(&mut hasher);
        (&self.lanes, &self.mirrors, &self.pin).hash(&mut hasher);
        // Nothing depends on when for longer than the mesh is given to learn of a change.
        let recent = |at: &Option<Timestamp>| at.as_ref().map(|at| age(*at).min(PROPAGATION.as_secs() + 2));
        [&self.route_since, &self.route_gone, &self.pin_since].map(recent).hash(&mut hasher);
        for (name, Seen { subset, forgotten, idle, weights }) in &self.seen {
            (name, subset.map(age), forgotten.map(age), idle.map(age)).hash(&mut hasher);
            let recent = weights.iter().map(|(at, weight)| (age(*at), *weight));
            recent.filter(|(age, _)| *age < PROPAGATION.as_secs()).for_each(|recent| recent.hash(&mut hasher));
        }
        for order in &self.orders {
            (format!("{:?}", order.verb), &order.uid, &order.target, order.step).hash(&mut hasher);
        }
        self.print_status(&self.status, &mut hasher);
        self.print_lag(&mut hasher);
        self.refused.hash(&mut hasher);
        let target = self.status.rollout.as_ref().map(|rollout| rollout.target.as_str());
        self.desk.print(target, age).hash(&mut hasher);
        self.hooks.answers.iter().for_each(|(moment, says)| (format!("{moment:?}"), says).hash(&mut hasher));
        self.hooks.owed.iter().for_each(|(moment, target)| (format!("{moment:?}"), target).hash(&mut hasher));
        for (name, Flaps { steady, latest, falls, news }) in &self.flaps {
            (name, steady, latest.map(age), falls, news.min(&3)).hash(&mut hasher);
        }
        let Findings { height, risen, passed, failed, errors, noted } = &self.findings;
        (height, risen.map(age), failed, errors, noted.len()).hash(&mut hasher);
        passed.iter().for_each(|(about, at)| (about, age(*at)).hash(&mut hasher));
        hasher.finish()
    }

    fn age(&self, at: Timestamp) -> i64 {
        self.now.duration_since(at).as_secs().clamp(-HORIZON, HORIZON)
    }

    fn print_runs(&self, runs: &BTreeMap<String, Runs>, hasher: &mut DefaultHasher) {
        for (name, runs) in runs {
            let Runs { replicas, template, rolled, pods, ready, crashed, waned } = runs;
            (name, replicas, template, rolled, pods, ready, [crashed, waned].map(|at| at.map(|at| self.age(at))))
                .hash(hasher);
        }
    }

    fn print_lag(&self, hasher: &mut DefaultHasher) {
        let Lag { microservice, deployments, pods, unheard, owed } = &self.lag;
        (unheard, owed).hash(hasher);
        if let Some(older) = microservice {
            older.spec.hash(hasher);
            self.print_status(&older.status, hasher);
        }
        for (kind, runs) in
            [deployments, pods].into_iter().enumerate().filter_map(|(kind, it)| Some((kind, it.as_ref()?)))
        {
            kind.hash(hasher);
            self.print_runs(runs, hasher);
        }
    }

    fn print_status(&self, status: &MicroserviceStatus, hasher: &mut DefaultHasher) {
        let age = |at: Timestamp| self.age(at);
        let since = |at: &Option<MicroTime>| at.as_ref().map(|at| age(at.0));
        let (dated, marks) = (&status.routes, self.marks());
        (dated.virtual_service == marks.virtual_service, dated.destination_rule == marks.destination_rule).hash(hasher);
        status.accepted_revision.hash(hasher);
        let crossed = status.provider_since.as_ref().map(|at| age(at.0).min(PROPAGATION.as_secs() + 2));
        (format!("{:?}", status.provider), crossed).hash(hasher);
        for entry in &status.traffic {
            let VersionTraffic { version, requested, effective, ready, desired, losses, template, .. } = entry;
            (version, requested, effective, ready, desired, losses, template).hash(hasher);
            let times = [&entry.since, &entry.subset_since, &entry.unreferenced_since, &entry.subset_removed_since];
            times.map(since).hash(hasher);
            [&entry.clean_since, &entry.restarts_since, &entry.held_until].map(since).hash(hasher);
        }
        if let Some(rollout) = &status.rollout {
            let RolloutStatus { state, target, step, from, kept, stable, previous, back, handled, .. } = rollout;
            (format!("{state:?}"), target, step, from, kept, stable, previous, back).hash(hasher);
            [&rollout.step_since, &rollout.progressed_at].map(since).hash(hasher);
            handled.iter().for_each(|handled| handled.uid.hash(hasher));
            (&rollout.waits_for, since(&rollout.weights_since), rollout.promoted_fully).hash(hasher);
            for (name, Relapses { count, since, latest, down }) in &rollout.relapses {
                (name, count, age(since.0), age(latest.0), down).hash(hasher);
            }
            for HookCall { at, target, result, failures, again_at, .. } in &rollout.calls {
                (format!("{at:?} {result:?}"), target, failures, since(again_at)).hash(hasher);
            }
            for run in [&rollout.analysis, &rollout.step_analysis].into_iter().flatten() {
                age(run.since.0).hash(hasher);
                for MetricRun { name, version, result, at, passed, failed, consecutive_errors, .. } in &run.metrics {
                    (name, version, format!("{result:?}"), age(at.0), passed, failed, consecutive_errors).hash(hasher);
                }
            }
        }
    }
}
