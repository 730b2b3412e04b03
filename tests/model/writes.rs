//! What the writes of a reconciliation make of the world.

use std::collections::BTreeSet;

use microservice_operator::{
    api::{MicroserviceStatus, labels},
    observe::Weights,
    plan::object::{Kind, Object},
};
use serde_json::Value;

use crate::{
    caches::{Decision, Lag, Watch},
    lab::{Lab, PROPAGATION},
    state::{Last, Runs, State},
};

impl State {
    /// Writes what was decided, up to and including `last`. Answers whether anything changed.
    pub fn write(&mut self, lab: &Lab, decision: &Decision, last: Last) -> bool {
        let mut changed = false;
        let routed = self.route.clone().unwrap_or_default();
        let lossy = self.runs.keys().any(|name| {
            let ill = |runs: &Runs| runs.ill(self.now);
            self.weight(name) > 0 && self.pods(name).is_none_or(ill)
        });
        for object in decision.plan.objects.iter().filter(|object| Last::of(object.kind) <= last) {
            let written = self.put(object);
            if written && object.kind == Kind::Deployment {
                self.lag.owe(Watch::Deployments);
            }
            changed |= written;
        }
        if last >= Last::Removals {
            for gone in &decision.plan.removals {
                changed = true;
                self.children.remove(&(gone.kind, gone.name.clone()));
                if let (Kind::Deployment, Some(version)) = (gone.kind, &gone.version) {
                    self.runs.remove(version);
                    self.lag.owe(Watch::Deployments);
                }
            }
        }
        if last >= Last::VirtualService {
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
            changed |= self.write_status(lab, decision, last == Last::Status);
        }
        if last == Last::Status {
            changed |= self.desk.ask(&decision.plan.inquiries, self.now);
            self.orders.retain(|order| !decision.plan.answers.iter().any(|answer| answer.uid == order.uid));
        }
        changed
    }

    /// Nothing is written over a status that is as it should be, as far as the cache tells. The write carries no version:
    /// whatever status is there is replaced.
    fn write_status(&mut self, lab: &Lab, decision: &Decision, heard: bool) -> bool {
        // No plan depends on the conditions, and they are most of a status.
        let status = MicroserviceStatus { conditions: Vec::new(), routes: self.marks(), ..decision.status.clone() };
        let differs = *self.seen_status() != status;
        if !differs && self.lag.has(Watch::Microservices) {
            return false;
        }
        self.forget_unheard();
        let before = std::mem::replace(&mut self.status, status);
        self.note_measurements(before.rollout.as_ref());
        let policy = lab.specs[decision.spec].service.rollout.as_ref();
        self.note_calls(before.rollout.as_ref(), decision, policy);
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
        let new = Runs { replicas, template: template.clone(), rolled: true, pods: 0, ready: 0, crashed: None };
        let before = self.runs.get(version).cloned();
        let mut runs = before.clone().unwrap_or(new);
        runs.rolled &= runs.template == template;
        (runs.replicas, runs.template) = (replicas, template);
        (runs.pods, runs.ready) = (runs.pods.min(replicas), runs.ready.min(replicas));
        let changed = before.as_ref() != Some(&runs);
        self.runs.insert(version.to_owned(), runs);
        changed
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
