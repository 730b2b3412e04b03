//! What the writes of a reconciliation make of the world.

use std::collections::{BTreeMap, BTreeSet};

use microservice_operator::{
    api::{MicroserviceStatus, RolloutStatus, labels},
    apply,
    observe::Weights,
    plan::object::{Kind, Object},
};
use serde_json::Value;

use crate::{
    caches::{Decision, Lag, Watch},
    lab::{Lab, PROPAGATION},
    state::{Last, Runs, State},
};

/// What came of the writes of a reconciliation.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    pub changed: bool,
    /// The routes stand as they were decided.
    pub routed: bool,
    /// It came to the status.
    pub told: bool,
}

impl State {
    /// Writes what was decided, up to and including `last`, as far as the API server takes it.
    pub fn write(&mut self, lab: &Lab, decision: &Decision, last: Last) -> Written {
        // A status that is refused keeps nothing from being acted upon.
        if let Some(judged) = decision.judged().filter(|_| last != Last::Unsaved) {
            let judged = MicroserviceStatus { conditions: Vec::new(), ..judged };
            self.write_status(lab, decision, judged, (last == Last::Status, false));
        }
        let routed = self.route.clone().unwrap_or_default();
        let lossy = self.runs.keys().any(|name| {
            let ill = |runs: &Runs| runs.ill(self.now);
            self.weight(name) > 0 && self.pods(name).is_none_or(ill)
        });
        let (mut changed, failed) = self.apply(decision, last);
        let passed = failed.as_ref().is_none_or(|failure| failure.routed);
        let written = passed && last >= Last::VirtualService;
        if written {
            let target = decision.plan.rollout.as_ref().map(|rollout| rollout.target.clone());
            self.unrest = if lossy { Some(self.now) } else { self.unrest };
            self.target = target;
            if let Some(rollout) = decision.plan.rollout.as_ref().filter(|_| !lossy) {
                self.note_rise(&lab.specs[decision.spec], &routed, rollout);
            }
        }
        if last < Last::Unsaved {
            self.desk.crash();
            self.lag = Lag::default();
        }
        if last >= Last::Unheard {
            let status = match &failed {
                None => decision.status.clone(),
                Some(failure) => decision.failed(&lab.specs[decision.spec], failure, self.now),
            };
            let routes = if passed { self.marks() } else { status.routes.clone() };
            // No plan depends on the conditions, and they are most of a status.
            let status = MicroserviceStatus { conditions: Vec::new(), routes, ..status };
            changed |= self.write_status(lab, decision, status, (last == Last::Status, passed));
        }
        if last == Last::Status && passed {
            changed |= self.desk.ask(&decision.plan.inquiries, self.now);
            self.orders.retain(|order| !decision.plan.answers.iter().any(|answer| answer.uid == order.uid));
        }
        Written { changed, routed: written, told: last >= Last::Unheard }
    }

    /// Writes and removes children as the operator does: what spares the routes does not hold up the others.
    fn apply(&mut self, decision: &Decision, last: Last) -> (bool, Option<apply::Failure>) {
        let (mut changed, mut refused) = (false, Vec::new());
        for object in decision.plan.objects.iter().filter(|object| Last::of(object.kind) <= last) {
            if let Some(error) = self.refusal(object) {
                if apply::spares_routes(&error, object, &decision.plan.objects, || self.live(object)) {
                    refused.push(error);
                    continue;
                }
                return (changed, Some(apply::Failure::stopped(error)));
            }
            let written = self.put(object);
            if written && object.kind == Kind::Deployment {
                self.lag.owe(Watch::Deployments);
            }
            changed |= written;
        }
        let goes = |kind| last >= Last::Removals && apply::spares_removal(&refused, kind);
        for gone in decision.plan.removals.iter().filter(|gone| goes(gone.kind)) {
            changed = true;
            self.children.remove(&(gone.kind, gone.name.clone()));
            match gone.kind {
                Kind::VirtualService => self.remove_route(),
                Kind::DestinationRule => self.put_subsets(BTreeSet::new()),
                _ => {}
            }
            if let (Kind::Deployment, Some(version)) = (gone.kind, &gone.version) {
                self.runs.remove(version);
                self.lag.owe(Watch::Deployments);
            }
        }
        (changed, apply::Failure::beside(refused))
    }

    /// What is live of an object: a DestinationRule has the subsets that it had.
    fn live(&self, object: &Object) -> Option<Value> {
        self.children.get(&(object.kind, object.name.clone()))?;
        let mut live = object.value.clone();
        if let Some(subsets) = live["spec"]["subsets"].as_array_mut() {
            subsets.retain(|subset| self.subsets.contains(subset["name"].as_str().unwrap()));
        }
        Some(live)
    }

    /// What the API server says to a write of the object. What is as it should be is not written.
    fn refusal(&self, object: &Object) -> Option<apply::Error> {
        let (kind, code) = self.refused.filter(|(kind, _)| *kind == object.kind)?;
        if !self.clone().put(object) {
            return None;
        }
        let answer = kube::core::Status::failure("it is refused", "Refused").with_code(code);
        Some(apply::Error::write(kind, &object.name, kube::Error::Api(Box::new(answer))))
    }

    /// Nothing is written over a status that is as it should be, as far as the cache tells. The write carries no version:
    /// whatever status is there is replaced. `passed` is whether it tells of the plan, and not of what was before.
    fn write_status(
        &mut self,
        lab: &Lab,
        decision: &Decision,
        status: MicroserviceStatus,
        (heard, passed): (bool, bool),
    ) -> bool {
        let differs = *self.seen_status() != status;
        if !differs && self.lag.has(Watch::Microservices) {
            return false;
        }
        let flaps = self.seen_flaps();
        self.forget_unheard();
        let before = std::mem::replace(&mut self.status, status);
        if passed {
            let target = |rollout: Option<&RolloutStatus>| rollout.map(|it| it.target.clone());
            let same = target(before.rollout.as_ref()) == target(self.status.rollout.as_ref());
            self.flaps = if same { flaps } else { BTreeMap::new() };
            self.note_measurements(before.rollout.as_ref());
            let policy = lab.specs[decision.spec].service.rollout.as_ref();
            self.note_calls(before.rollout.as_ref(), decision, policy);
        }
        if differs && heard {
            self.lag.owe(Watch::Microservices);
        }
        self.lag.unheard = !heard && self.lag.has(Watch::Microservices);
        differs
    }

    fn put(&mut self, object: &Object) -> bool {
        let Object { kind, name, value } = object;
        let version = value["metadata"]["labels"]["version"].as_str().map(str::to_owned);
        let mut changed = self.children.insert((*kind, name.clone()), version.clone()).is_none();
        match (kind, version) {
            (Kind::Deployment, Some(version)) => changed |= self.put_deployment(&version, value),
            (Kind::DestinationRule, _) => {
                let subsets = value["spec"]["subsets"].as_array().unwrap().iter();
                let subsets = subsets.map(|subset| subset["name"].as_str().unwrap().to_owned()).collect();
                changed |= self.subsets != subsets;
                self.put_subsets(subsets);
            }
            (Kind::VirtualService, _) => {
                let before = (self.route.clone(), self.lanes.clone(), self.mirrors.clone());
                self.put_route(value["spec"]["http"].as_array().unwrap());
                changed |= before != (self.route.clone(), self.lanes.clone(), self.mirrors.clone());
            }
            (Kind::Service, _) => {
                let pin = value["spec"]["selector"]["version"].as_str().map(str::to_owned);
                if pin != self.pin {
                    (self.pin, self.pin_since, changed) = (pin, Some(self.now), true);
                }
            }
            _ => {}
        }
        if changed && matches!(kind, Kind::DestinationRule | Kind::VirtualService) {
            *self.changes.entry(*kind).or_default() += 1;
        }
        changed
    }

    /// Pods that are too many go at once; new ones and those of a new template come when they come.
    fn put_deployment(&mut self, version: &str, value: &Value) -> bool {
        let replicas = i32::try_from(value["spec"]["replicas"].as_i64().unwrap()).unwrap();
        let template = value["metadata"]["annotations"][labels::TEMPLATE].as_str().unwrap().to_owned();
        let new =
            Runs { replicas, template: template.clone(), rolled: true, pods: 0, ready: 0, crashed: None, waned: None };
        let before = self.runs.get(version).cloned();
        let mut runs = before.clone().unwrap_or(new);
        runs.rolled &= runs.template == template;
        (runs.replicas, runs.template) = (replicas, template);
        (runs.pods, runs.ready) = (runs.pods.min(replicas), runs.ready.min(replicas));
        let changed = before.as_ref() != Some(&runs);
        self.runs.insert(version.to_owned(), runs);
        changed
    }

    fn remove_route(&mut self) {
        for name in self.referred() {
            self.seen.entry(name).or_default().idle = Some(self.now);
        }
        (self.route, self.route_since, self.route_gone) = (None, None, Some(self.now));
        (self.lanes, self.mirrors) = (BTreeMap::new(), BTreeSet::new());
    }

    fn put_subsets(&mut self, subsets: BTreeSet<String>) {
        for new in subsets.difference(&self.subsets) {
            let seen = self.seen.entry(new.clone()).or_default();
            (seen.subset, seen.forgotten) = (Some(self.now), None);
        }
        for gone in self.subsets.difference(&subsets) {
            let seen = self.seen.entry(gone.clone()).or_default();
            (seen.subset, seen.forgotten) = (None, Some(self.now));
        }
        self.subsets = subsets;
    }

    fn put_route(&mut self, http: &[Value]) {
        for name in self.referred() {
            self.seen.entry(name).or_default().idle = Some(self.now);
        }
        let (default, lanes) = http.split_last().unwrap();
        let route = weights_of(default);
        let (now, before) = (self.now, self.route.take().unwrap_or_default());
        self.seen.values_mut().for_each(|seen| seen.weights.retain(|(at, _)| now.duration_since(*at) < PROPAGATION));
        for (name, weight) in before.into_iter().filter(|(name, weight)| route.get(name) != Some(weight)) {
            self.seen.entry(name).or_default().weights.push((now, weight));
        }
        if self.route_since.is_none() {
            (self.route_since, self.route_gone) = (Some(now), None);
        }
        self.route = Some(route);
        self.lanes = lanes.iter().map(|lane| (lane["name"].as_str().unwrap().to_owned(), weights_of(lane))).collect();
        self.mirrors = default["mirror"]["subset"].as_str().map(str::to_owned).into_iter().collect();
        for name in self.referred() {
            self.seen.entry(name).or_default().idle = None;
        }
    }
}

fn weights_of(route: &Value) -> Weights {
    let destinations = route["route"].as_array().unwrap().iter();
    destinations
        .map(|to| {
            let weight = to["weight"].as_i64().unwrap_or(100);
            (to["destination"]["subset"].as_str().unwrap().to_owned(), i32::try_from(weight).unwrap())
        })
        .collect()
}
