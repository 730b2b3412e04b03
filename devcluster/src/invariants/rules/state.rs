//! The namespace as the revisions so far have made it, and what must be remembered of the way there.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::Settings;
use crate::invariants::model::{Change, Fields, Kind, Labels, Object, Route, Target, Weights};

/// When something began; None when it was there before the recording.
type Since = Option<Timestamp>;

#[derive(Default)]
pub(super) struct State {
    settings: Settings,
    pub now: Timestamp,
    objects: BTreeMap<(Kind, String), Object>,
    /// Uids of owners that are deleted, or about to be.
    dying: BTreeSet<String>,
    subsets: BTreeMap<Target, Since>,
    services: BTreeMap<String, Since>,
    weighted: BTreeMap<Target, Timestamp>,
    referred: BTreeSet<Target>,
    last_weight: BTreeMap<Target, Timestamp>,
    last_reference: BTreeMap<Target, Timestamp>,
    /// When a container of a pod last ended.
    ends: BTreeMap<String, Timestamp>,
    last_silent: BTreeMap<Target, Timestamp>,
    last_answering: BTreeMap<Target, Timestamp>,
    /// Generation at which a Deployment was last complete, and when.
    last_complete: BTreeMap<String, (i64, Timestamp)>,
}

impl State {
    pub fn new(settings: &Settings) -> Self {
        Self { settings: settings.clone(), ..Self::default() }
    }

    /// Lets time pass, during which everything stays as it is.
    pub fn pass(&mut self, at: Timestamp) {
        self.now = self.now.max(at);
        let known: BTreeSet<Target> = self.referred.iter().chain(self.subsets.keys()).cloned().collect();
        for target in known {
            if self.is_silent(&target) {
                self.last_silent.insert(target.clone(), self.now);
            }
            if self.answers(&target) {
                self.last_answering.insert(target, self.now);
            }
        }
        let complete: Vec<(String, i64)> =
            self.of(Kind::Deployment).filter(|it| is_complete(it)).map(|it| (it.name.clone(), it.generation)).collect();
        for (name, generation) in complete {
            self.last_complete.insert(name, (generation, self.now));
        }
    }

    /// Takes a change over; answers what was there before.
    pub fn apply(&mut self, change: &Change) -> Option<Object> {
        let (object, since) = match change {
            Change::Found(object) => (object, None),
            Change::Set(object) => (object, Some(self.now)),
            Change::Gone(kind, name) => return self.remove(*kind, name),
        };
        let key = (object.fields.kind(), object.name.clone());
        let before = self.objects.insert(key, object.clone());
        match &object.fields {
            Fields::Owner { .. } if object.deleting => drop(self.dying.insert(object.uid.clone())),
            Fields::DestinationRule { .. } => self.note_subsets(since),
            Fields::Service { .. } => drop(self.services.entry(object.name.clone()).or_insert(since)),
            Fields::Pod { last_end: Some(end), .. } if !object.deleting && since.is_some() => {
                let known = before
                    .as_ref()
                    .is_some_and(|it| matches!(&it.fields, Fields::Pod { last_end, .. } if *last_end == Some(*end)));
                if !known {
                    self.ends.insert(object.name.clone(), self.now);
                }
            }
            _ => {}
        }
        before
    }

    fn remove(&mut self, kind: Kind, name: &str) -> Option<Object> {
        let before = self.objects.remove(&(kind, name.to_owned()))?;
        match kind {
            Kind::Owner => drop(self.dying.insert(before.uid.clone())),
            Kind::DestinationRule => self.note_subsets(None),
            Kind::Service => drop(self.services.remove(name)),
            Kind::Pod => drop(self.ends.remove(name)),
            Kind::Deployment => drop(self.last_complete.remove(name)),
            _ => {}
        }
        Some(before)
    }

    fn note_subsets(&mut self, since: Since) {
        let mut living = BTreeSet::new();
        for object in self.objects.values() {
            let Fields::DestinationRule { service, subsets } = &object.fields else { continue };
            let names = subsets.keys().map(|name| Target { service: service.clone(), subset: Some(name.clone()) });
            living.extend(names);
        }
        self.subsets.retain(|target, _| living.contains(target));
        self.last_answering.retain(|target, _| target.subset.is_none() || living.contains(target));
        for target in living {
            self.subsets.entry(target).or_insert(since);
        }
    }

    /// Notes who is referred to now. What a vanishing whole referred to is forgotten, and may go at once.
    pub fn refer(&mut self, whole_vanishes: bool) {
        let (mut weighted, mut referred) = (BTreeSet::new(), BTreeSet::new());
        for (_, routes) in self.virtual_services() {
            for route in routes {
                weighted
                    .extend(route.weights().into_iter().filter(|(_, weight)| *weight > 0).map(|(target, _)| target));
                referred.extend(route.shares.iter().map(|share| share.target.clone()).chain(route.mirrors.clone()));
            }
        }
        for target in self.referred.difference(&referred).filter(|_| !whole_vanishes) {
            self.last_reference.insert(target.clone(), self.now);
        }
        for target in self.weighted.keys().filter(|target| !weighted.contains(target) && !whole_vanishes) {
            self.last_weight.insert(target.clone(), self.now);
        }
        self.weighted.retain(|target, _| weighted.contains(target));
        for target in weighted {
            self.weighted.entry(target).or_insert(self.now);
        }
        self.referred = referred;
    }

    fn of(&self, kind: Kind) -> impl Iterator<Item = &Object> {
        self.objects.iter().filter(move |((of, _), _)| *of == kind).map(|(_, object)| object)
    }

    pub fn object(&self, kind: Kind, name: &str) -> Option<&Object> {
        self.objects.get(&(kind, name.to_owned()))
    }

    /// The VirtualServices that are not about to vanish with their owner.
    pub fn virtual_services(&self) -> impl Iterator<Item = (&Object, &Vec<Route>)> {
        self.of(Kind::VirtualService).filter(|it| !self.doomed(it)).filter_map(|object| match &object.fields {
            Fields::VirtualService { routes } => Some((object, routes)),
            _ => None,
        })
    }

    /// Whether it goes because all goes: its owner or its namespace is being deleted.
    pub fn doomed(&self, object: &Object) -> bool {
        self.of(Kind::Namespace).any(|it| it.deleting)
            || object.owner.as_ref().is_some_and(|owner| self.dying.contains(owner))
    }

    /// Whether the object belongs to an owner of the kind that is watched.
    pub fn owned(&self, object: &Object) -> bool {
        object.owner.as_ref().is_some_and(|owner| self.of(Kind::Owner).any(|it| it.uid == *owner))
    }

    /// Whether the status of this owner does not know the newest spec yet.
    pub fn is_behind(&self, owner: &str) -> bool {
        matches!(self.owner(owner), Some(Fields::Owner { behind: true, .. }))
    }

    /// Whether every weight goes to where the rollout of this owner begins, as its status says, or a part of the way: the first
    /// steps may be walked already.
    pub fn goes_back(&self, owner: &str, before: &Weights, after: &Weights) -> bool {
        let Some(Fields::Owner { begins, .. }) = self.owner(owner) else { return false };
        let begin = |target: &Target| begins.get(target.subset.as_deref()?).copied();
        let weight = |weights: &Weights, target: &Target| weights.get(target).copied().unwrap_or_default();
        before.keys().chain(after.keys()).all(|target| {
            let (begin, before) = (begin(target).unwrap_or_default(), weight(before, target));
            (begin.min(before)..=begin.max(before)).contains(&weight(after, target))
        })
    }

    /// Whether this owner's spec wants the route to lead to its versions whether they are ready or not.
    pub fn holds(&self, owner: &str, route: &str) -> bool {
        let name = route.rsplit(' ').next().unwrap_or_default();
        matches!(self.owner(owner), Some(Fields::Owner { held, .. }) if held.contains(name))
    }

    /// Whether this owner's status tells of a rollout.
    pub fn walks(&self, owner: &str) -> bool {
        matches!(self.owner(owner), Some(Fields::Owner { leads_to, .. }) if !leads_to.is_empty())
    }

    fn owner(&self, uid: &str) -> Option<&Fields> {
        self.of(Kind::Owner).find(|it| it.uid == uid).map(|it| &it.fields)
    }

    /// Labels of a subset; none when there is no such subset.
    pub fn subset_labels(&self, target: &Target) -> Option<&Labels> {
        let name = target.subset.as_ref()?;
        self.of(Kind::DestinationRule).find_map(|object| match &object.fields {
            Fields::DestinationRule { service, subsets } if *service == target.service => subsets.get(name),
            _ => None,
        })
    }

    /// Age of a subset; None when it is older than the recording, or is none.
    pub fn age(&self, target: &Target) -> Option<SignedDuration> {
        self.subsets.get(target).copied().flatten().map(|since| self.now.duration_since(since))
    }

    /// Subsets of the same Service, the target itself left out.
    pub fn others<'a>(&'a self, target: &'a Target) -> impl Iterator<Item = &'a Target> {
        self.subsets.keys().filter(move |other| other.service == target.service && *other != target)
    }

    pub fn has_service(&self, name: &str) -> bool {
        self.services.contains_key(name)
    }

    /// Whether nobody can depend on the Service yet.
    pub fn is_fresh(&self, service: &str) -> bool {
        let young = |since: &Since| since.is_some_and(|at| self.now.duration_since(at) < self.settings.propagation);
        self.services.get(service).is_none_or(young) || self.endpoints(service).next().is_none()
    }

    /// Whether requests to the target can meet a pod with these labels.
    pub fn selects(&self, target: &Target, labels: &Labels) -> bool {
        let Some(Fields::Service { selector }) = self.object(Kind::Service, &target.service).map(|it| &it.fields)
        else {
            return false;
        };
        let by_subset = || self.subset_labels(target).is_some_and(|wanted| within(wanted, labels));
        !selector.is_empty() && within(selector, labels) && (target.subset.is_none() || by_subset())
    }

    /// The pods of a target that are not being deleted: name, labels and readiness.
    fn pods<'a>(&'a self, target: &'a Target) -> impl Iterator<Item = (&'a str, bool)> {
        self.all_pods().filter(|(_, labels, _)| self.selects(target, labels)).map(|(name, _, ready)| (name, ready))
    }

    fn all_pods(&self) -> impl Iterator<Item = (&str, &Labels, bool)> {
        self.of(Kind::Pod).filter(|it| !it.deleting).filter_map(|object| match &object.fields {
            Fields::Pod { labels, ready, .. } => Some((object.name.as_str(), labels, *ready)),
            _ => None,
        })
    }

    /// Labels of all pods that run, or that a Deployment would make.
    pub fn workload_labels(&self) -> impl Iterator<Item = &Labels> {
        let templates = self.of(Kind::Deployment).filter_map(|object| match &object.fields {
            Fields::Deployment { labels, replicas, .. } if *replicas > 0 => Some(labels),
            _ => None,
        });
        self.all_pods().map(|(_, labels, _)| labels).chain(templates)
    }

    /// Names of the ready pods behind a Service.
    fn endpoints<'a>(&'a self, of: &'a str) -> impl Iterator<Item = &'a str> {
        self.of(Kind::EndpointSlice)
            .filter_map(move |object| match &object.fields {
                Fields::EndpointSlice { service, ready } if service == of => Some(ready),
                _ => None,
            })
            .flatten()
            .map(String::as_str)
    }

    fn has_endpoint(&self, target: &Target) -> bool {
        self.endpoints(&target.service).any(|endpoint| self.pods(target).any(|(name, _)| name == endpoint))
    }

    /// Whether a pod can take its requests now. Pods are ready a moment before their Service knows.
    pub fn answers(&self, target: &Target) -> bool {
        self.pods(target).any(|(_, ready)| ready) || self.has_endpoint(target)
    }

    /// Whether it answers, or did when a decision that is written now was made.
    pub fn answered(&self, target: &Target) -> bool {
        self.answers(target) || self.within(self.last_answering.get(target), self.settings.slack)
    }

    /// Whether it ever answered since its subset came.
    pub fn has_answered(&self, target: &Target) -> bool {
        self.last_answering.contains_key(target)
    }

    /// Whether it lost its ground: no ready endpoint, or restarts while it carried weight.
    pub fn lost(&self, target: &Target) -> bool {
        self.is_silent(target)
            || self.within(self.last_silent.get(target), self.settings.recent)
            || self.restarts(target) > 0
    }

    /// Whether any part of the cluster knows no ready pod of it.
    pub fn is_silent(&self, target: &Target) -> bool {
        !self.pods(target).any(|(_, ready)| ready) || !self.has_endpoint(target)
    }

    /// Pods of which a container ended since the target has weight.
    pub fn restarts(&self, target: &Target) -> usize {
        let Some(since) = self.weighted.get(target) else { return 0 };
        self.restarts_since(target, since.saturating_sub(self.settings.recent).unwrap_or(*since))
    }

    pub fn restarts_since(&self, target: &Target, since: Timestamp) -> usize {
        self.pods(target).filter(|(name, _)| self.ends.get(*name).is_some_and(|end| *end >= since)).count()
    }

    pub fn pod_count(&self, target: &Target) -> usize {
        self.pods(target).count()
    }

    fn within(&self, last: Option<&Timestamp>, time: SignedDuration) -> bool {
        last.is_some_and(|last| self.now.duration_since(*last) <= time)
    }

    fn deployments<'a>(&'a self, target: &'a Target) -> impl Iterator<Item = &'a Object> {
        self.of(Kind::Deployment).filter(|object| match &object.fields {
            Fields::Deployment { labels, replicas, .. } => *replicas > 0 && self.selects(target, labels),
            _ => false,
        })
    }

    /// Whether all that makes the target's pods is complete; without a Deployment, whether all its pods are ready. A
    /// fault of the last moment is one that the writer could not know of; a change of the Deployment is not.
    pub fn is_complete(&self, target: &Target) -> bool {
        let mut deployments = self.deployments(target).peekable();
        if deployments.peek().is_none() {
            let mut pods = self.pods(target).peekable();
            return pods.peek().is_some() && pods.all(|(_, ready)| ready);
        }
        deployments.all(|object| {
            let recently =
                self.last_complete.get(&object.name).filter(|(generation, _)| *generation == object.generation);
            is_complete(object) || self.within(recently.map(|(_, at)| at), self.settings.slack)
        })
    }

    /// Pods of the target that its Deployments have available, and how many they should have.
    pub fn available(&self, target: &Target) -> (i64, i64) {
        let counts = self.deployments(target).map(|object| match &object.fields {
            Fields::Deployment { available, replicas, .. } => (*available, *replicas),
            _ => (0, 0),
        });
        counts.fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1))
    }

    /// How the workload of a target stands, in words.
    pub fn describe(&self, target: &Target) -> String {
        let deployments: Vec<String> = self.deployments(target).map(describe).collect();
        if deployments.is_empty() {
            let ready = self.pods(target).filter(|(_, ready)| *ready).count();
            return format!("no Deployment makes its pods, {ready} of {} are ready", self.pod_count(target));
        }
        deployments.join(", ")
    }

    /// How long ago a route last led weight to the target; zero when one does.
    pub fn since_weight(&self, target: &Target) -> Option<SignedDuration> {
        if self.has_weight(target) {
            return Some(SignedDuration::ZERO);
        }
        self.last_weight.get(target).map(|last| self.now.duration_since(*last))
    }

    /// How long ago a route last named the target; zero when one does.
    pub fn since_reference(&self, target: &Target) -> Option<SignedDuration> {
        if self.is_referred(target) {
            return Some(SignedDuration::ZERO);
        }
        self.last_reference.get(target).map(|last| self.now.duration_since(*last))
    }

    /// Whether a route leads to it now.
    pub fn is_referred(&self, target: &Target) -> bool {
        self.referred.contains(target)
    }

    /// Whether it carries weight now.
    pub fn has_weight(&self, target: &Target) -> bool {
        self.weighted.contains_key(target)
    }

    /// Targets that carry weight, or did lately.
    pub fn weighted(&self) -> impl Iterator<Item = &Target> {
        self.weighted.keys().chain(self.last_weight.keys().filter(|target| !self.weighted.contains_key(target)))
    }
}

/// Whether the labels are all that is asked for.
pub(super) fn within(wanted: &Labels, labels: &Labels) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

fn is_complete(object: &Object) -> bool {
    let Fields::Deployment { replicas, observed_generation, total, updated, available, .. } = &object.fields else {
        return false;
    };
    let all = [total, updated, available].iter().all(|count| *count == replicas);
    *replicas >= 1 && all && *observed_generation >= object.generation && !object.deleting
}

fn describe(object: &Object) -> String {
    let Fields::Deployment { replicas, observed_generation, total, updated, available, .. } = &object.fields else {
        return String::new();
    };
    let seen = if *observed_generation >= object.generation { "" } else { ", its newest generation not seen yet" };
    format!("{} has {total} pods, {updated} updated and {available} available of {replicas}{seen}", object.name)
}

/// Weights in words.
pub(in crate::invariants) fn words(weights: &Weights) -> String {
    let parts: Vec<String> = weights.iter().map(|(target, weight)| format!("{target}={weight}")).collect();
    if parts.is_empty() { "nothing".to_owned() } else { parts.join(" ") }
}

/// A duration in words, without what nobody can measure.
pub(super) fn millis(duration: SignedDuration) -> String {
    let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    format!("{:#}", SignedDuration::from_millis(millis))
}
