//! A cluster made of nothing but data: what the operator plans is put into the same caches that the watches feed, and
//! time passes when a test says so. Every step is checked against the invariants of the routes.
#![allow(dead_code, reason = "each test that includes this uses its own part of it")]

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp, ToSpan};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    core::{DynamicObject, Status},
    runtime::watcher::Event,
};
use microservice_operator::{
    api::{ActionResult, Microservice, MicroserviceSpec, MicroserviceStatus, Provider, RolloutState, Verb},
    apply::{self, Applied, Failure, spares_removal, spares_routes},
    controller::accept::{Accepted, accept, settle, spare},
    observe::{Caches, Key, Mesh, Observed, child::Child, facts::mark_of, views::PodView},
    plan::{
        Plan, Settings,
        configuration::{Content, Source, Sources, contents},
        inquiry::{Call, Finding, Inquiry, Measure, Question, Reading, Reply, Verdict},
        object::Kind,
        plan,
        resources::Stamp,
        rollout::orders::{Answer, Order},
        times,
    },
    status::{self, Notice, Outcome, compute::Subject},
    validate::{Identity, Validated},
};
use serde_json::{Value, json};

pub use crate::pods::Pods;
use crate::pods::pod_of;

pub struct World {
    pub microservice: Microservice,
    pub now: Timestamp,
    pub caches: Caches,
    pub pods: BTreeMap<String, Pods>,
    /// Entries of ConfigMaps that users have made; None for one that cannot be read.
    pub config_maps: BTreeMap<String, Option<BTreeMap<String, String>>>,
    /// When a container of a version's first pod last ended.
    pub crashes: BTreeMap<String, Timestamp>,
    pub settings: Settings,
    /// What the provider of analyses answers.
    pub provider: fn(&Measure) -> Result<Reading, String>,
    /// What webhooks answer.
    pub webhook: fn(&Call) -> Result<Verdict, String>,
    /// The calls that were made.
    pub calls: Vec<Call>,
    /// What people asked of the rollout.
    pub orders: Vec<Order>,
    /// What came of it.
    pub answers: Vec<Answer>,
    pub notices: Vec<Notice>,
    pub last: Option<Plan>,
    /// The status that the last look wrote before anything else.
    judged: Option<MicroserviceStatus>,
    pub replies: Vec<Reply>,
    /// Kinds of which the API server takes nothing.
    pub refused: Vec<Kind>,
    /// The code with which it does.
    pub code: u16,
    /// The next look is the first one of a process.
    pub restarted: bool,
    /// A person is waited for since the last look.
    needs_a_person: bool,
    objects: BTreeMap<(Kind, String), Value>,
    version: u64,
    next_wake: Option<Timestamp>,
}

pub fn spec(yaml: &str) -> MicroserviceSpec {
    serde_yaml::from_str(yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
}

impl World {
    pub fn new(yaml: &str) -> Self {
        let mut microservice = Microservice::new("order-service", spec(yaml));
        microservice.metadata.namespace = Some("shop".into());
        microservice.metadata.uid = Some("uid-1".into());
        microservice.metadata.generation = Some(1);
        let caches = Caches::new(None);
        caches.set_mesh(Mesh::Installed);
        Self {
            microservice,
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            caches,
            pods: BTreeMap::new(),
            config_maps: BTreeMap::new(),
            crashes: BTreeMap::new(),
            settings: Settings {
                provider: Provider::Istio,
                propagation: SignedDuration::from_secs(5),
                stamp: Stamp { operator_version: "test".into(), chart: None },
            },
            provider: |_| Err("nobody answers".into()),
            webhook: |_| Ok(Verdict::Passed),
            calls: Vec::new(),
            orders: Vec::new(),
            answers: Vec::new(),
            notices: Vec::new(),
            last: None,
            judged: None,
            replies: Vec::new(),
            refused: Vec::new(),
            code: 422,
            restarted: false,
            needs_a_person: false,
            objects: BTreeMap::new(),
            version: 1,
            next_wake: None,
        }
    }

    pub fn edit(&mut self, yaml: &str) {
        self.microservice.spec = spec(yaml);
        *self.microservice.metadata.generation.as_mut().unwrap() += 1;
    }

    /// Asks something of the rollout, as it stands now, and answers what came of it.
    pub fn ask(&mut self, verb: Verb) -> Result<String, String> {
        self.order(self.action(verb))
    }

    /// What asks something of the rollout as it stands now.
    pub fn action(&self, verb: Verb) -> Order {
        let rollout = self.status().rollout.clone();
        Order {
            uid: format!("action-{}", self.orders.len() + 1),
            name: format!("{verb:?}").to_lowercase(),
            verb,
            target: rollout.as_ref().map(|rollout| rollout.target.clone()),
            step: rollout.as_ref().map(|rollout| rollout.step),
            revision: None,
            created: None,
            expires: None,
            actor: Some("mia".into()),
        }
    }

    /// Asks to go back to a revision.
    pub fn undo_to(&mut self, revision: &str) -> Result<String, String> {
        self.order(Order {
            uid: format!("action-{}", self.orders.len() + 1),
            name: "undo".into(),
            verb: Verb::Undo,
            target: None,
            step: None,
            revision: Some(revision.into()),
            created: None,
            expires: None,
            actor: Some("mia".into()),
        })
    }

    pub fn order(&mut self, order: Order) -> Result<String, String> {
        let uid = order.uid.clone();
        self.orders.push(order);
        self.settle();
        let answer = self.answers.iter().find(|answer| answer.uid == uid);
        let answer = answer.unwrap_or_else(|| panic!("{uid} was not answered"));
        let same = self.answers.iter().filter(|other| other.uid == uid).all(|other| other == answer);
        assert!(same, "{uid} was answered in two ways");
        match answer.result {
            ActionResult::Done => Ok(answer.message.clone()),
            ActionResult::Refused => Err(answer.message.clone()),
        }
    }

    pub fn has(&self, kind: Kind, name: &str) -> bool {
        self.objects.contains_key(&(kind, name.to_owned()))
    }

    pub fn object(&self, kind: Kind, name: &str) -> &Value {
        self.objects.get(&(kind, name.to_owned())).unwrap_or_else(|| panic!("no {kind:?} {name}"))
    }

    /// Lets somebody delete or change an object behind the operator's back.
    pub fn meddle(&mut self, kind: Kind, name: &str, change: impl FnOnce(&mut Value) -> bool) {
        let mut object = self.object(kind, name).clone();
        if change(&mut object) { self.put(kind, name, object) } else { self.remove(kind, name) }
    }

    /// Puts an object of somebody else's into the namespace, unless it says another one.
    pub fn put_foreign(&mut self, kind: Kind, name: &str, mut object: Value) {
        let meta = object["metadata"].as_object_mut().unwrap();
        for (key, value) in [("name", name), ("uid", "foreign")] {
            meta.insert(key.into(), value.into());
        }
        meta.entry("namespace").or_insert_with(|| "shop".into());
        self.put(kind, name, object);
    }

    /// Reconciles until nothing more happens at this moment.
    pub fn settle(&mut self) {
        for _ in 0..20 {
            if !self.reconcile() {
                return;
            }
        }
        panic!("does not come to rest: {:?}", self.status());
    }

    /// Lets time pass, waking the operator whenever it asked for it.
    pub fn pass(&mut self, seconds: i64) {
        let end = self.now.checked_add(seconds.seconds()).unwrap();
        while let Some(wake) = self.next_wake.filter(|wake| *wake <= end) {
            self.now = wake.max(self.now);
            self.next_wake = None;
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    /// Lets time pass, and at its end settles among crashes.
    pub fn pass_among_crashes(&mut self, seconds: i64) -> usize {
        self.pass(seconds - 1);
        self.now = self.now.checked_add(1.seconds()).unwrap();
        self.settle_among_crashes()
    }

    /// Settles; the operator is killed after each write of other weights, before that of the status. The next one knows nothing
    /// of what was answered, and leaves the weights. Answers how often it was killed.
    pub fn settle_among_crashes(&mut self) -> usize {
        let mut kills = 0;
        loop {
            let (status, before) = (self.microservice.status.clone(), self.routed());
            let goes_on = self.reconcile();
            if self.routed() != before {
                let written = self.routed();
                self.microservice.status = self.judged.take().or(status);
                self.replies.clear();
                self.reconcile();
                assert_eq!(self.routed(), written, "nothing tells any more what was answered");
                kills += 1;
            }
            if !goes_on {
                return kills;
            }
        }
    }

    /// One reconciliation, with its writes; answers whether anything changed.
    pub fn reconcile(&mut self) -> bool {
        let key = Key::new("shop", "order-service");
        self.run_pods();
        let old = self.microservice.status.clone().unwrap_or_default();
        let identity = microservice_operator::validate::resolve::resolve(&self.microservice, Provider::Istio).identity;
        let accepted =
            accept(&self.microservice, self.settings.provider, || self.caches.accepted_spec(&identity, &old));
        let mut sources = Sources::new();
        let settled = accepted.and_then(|accepted| {
            let needed = self.caches.configuration(&accepted.service, &old);
            sources = needed.keys().map(|name| (name.clone(), self.source(&identity, name))).collect();
            let last = self.caches.accepted_spec(&identity, &old);
            let settled = settle(accepted, &self.microservice, self.settings.provider, (&needed, &sources), last)?;
            let last = || self.caches.accepted_spec(&identity, &old);
            let cut_off = |service: &Validated| self.caches.cut_off(service);
            Ok(spare(settled, &self.microservice, self.settings.provider, cut_off, last))
        });
        let (new, changed) = match settled {
            Err(invalid) => {
                let subject = Subject { generation: identity.generation, service: None, observed: None, now: self.now };
                (status::compute(&old, subject, &Outcome::Refused { invalid: &invalid }), false)
            }
            Ok(Accepted { spec, service, invalid }) => {
                let service = self.caches.with_older_revisions(service, &old, self.now);
                let mut observed = self.caches.observe(&service, times::not_ahead(old.clone(), self.now));
                observed.orders.clone_from(&self.orders);
                observed.replies.clone_from(&self.replies);
                observed.kept_revisions = self.caches.kept_revisions(&service, &self.orders);
                observed.contents = contents(&identity, sources);
                observed.refused = self.needs_a_person;
                observed.first = std::mem::take(&mut self.restarted);
                let mut planned = plan(&service, &spec, &observed, &self.settings, self.now);
                self.judged = planned.judged(&old);
                let old = self.judged.as_ref().unwrap_or(&old).clone();
                self.check_order(&planned, &observed);
                let (applied, failure) = self.apply(&planned);
                self.needs_a_person = failure.as_ref().is_some_and(|failure| failure.first.needs_a_person());
                planned.marked(&applied.marks);
                self.check_routes();
                let subject = Subject {
                    generation: identity.generation,
                    service: Some(&service),
                    observed: Some(&observed),
                    now: self.now,
                };
                let invalid = invalid.as_ref();
                let outcome = match &failure {
                    None => Outcome::Applied { plan: &planned, invalid },
                    Some(failure) => Outcome::Failed { plan: &planned, invalid, failure },
                };
                let new = status::compute(&old, subject, &outcome);
                let routed = failure.as_ref().is_none_or(|failure| failure.routed);
                self.notices.extend(status::notices(&old, &new, Some(&planned).filter(|_| routed)));
                self.notices.extend(status::removals(&applied));
                self.next_wake = planned.next.filter(|_| routed);
                let mut changed = !applied.is_empty();
                if routed {
                    self.answers.extend(planned.answers.clone());
                    changed |= self.ask_provider(&planned.inquiries);
                }
                self.last = Some(planned);
                (new, changed)
            }
        };
        assert!(self.caches.have_seen_writes(&key));
        // What is persisted is what comes back from JSON.
        let persisted: MicroserviceStatus = serde_json::from_value(serde_json::to_value(&new).unwrap()).unwrap();
        let changed = changed || persisted != old;
        self.microservice.status = Some(persisted);
        changed
    }

    /// Answers what is asked for the first time, and forgets what is no longer asked. Tells whether anything was.
    fn ask_provider(&mut self, inquiries: &[Inquiry]) -> bool {
        self.replies.retain(|reply| inquiries.iter().any(|inquiry| inquiry.id == reply.id));
        let known: Vec<String> = self.replies.iter().map(|reply| reply.id.clone()).collect();
        let new: Vec<&Inquiry> = inquiries.iter().filter(|inquiry| !known.contains(&inquiry.id)).collect();
        for inquiry in &new {
            let (finding, query) = match &inquiry.question {
                Question::Measure(measure) => {
                    ((self.provider)(measure).map(Finding::Measured), Some(format!("{:?}", measure.metric)))
                }
                Question::Call(call) => {
                    self.calls.push((**call).clone());
                    ((self.webhook)(call).map(Finding::Called), None)
                }
            };
            self.replies.push(Reply { id: inquiry.id.clone(), at: self.now, finding, query });
        }
        !new.is_empty()
    }

    /// Content is read only where a copy of it is missing.
    fn source(&self, identity: &Identity, name: &str) -> Source {
        match self.config_maps.get(name) {
            None => Source::Absent,
            Some(None) => Source::Unread("forbidden".into()),
            Some(Some(data)) => {
                let content = Content { data: data.clone(), ..Content::default() };
                let digest = content.digest();
                let content = (!self.caches.has_copy(identity, name, &digest)).then_some(content);
                Source::Known { digest, content }
            }
        }
    }

    fn apply(&mut self, planned: &Plan) -> (Applied, Option<Failure>) {
        let (mut applied, mut refused) = (Applied::default(), Vec::new());
        for object in &planned.objects {
            let name = (object.kind, object.name.clone());
            let before = self.objects.get(&name).cloned();
            let mut wanted = object.value.clone();
            for kept in ["uid", "creationTimestamp", "generation", "finalizers"] {
                if let Some(value) = before.as_ref().and_then(|before| before["metadata"].get(kept)) {
                    wanted["metadata"][kept] = value.clone();
                }
            }
            let content: &[&str] = if object.kind.by_metadata() { &["data", "immutable"] } else { &[] };
            for kept in ["status"].iter().chain(content) {
                if let Some(value) = before.as_ref().and_then(|before| before.get(*kept)) {
                    wanted[*kept] = value.clone();
                }
            }
            let same = before.as_ref().is_some_and(|before| without_version(before) == without_version(&wanted));
            if same {
                continue;
            }
            if self.refused.contains(&object.kind) {
                let answer = Status::failure("it is refused", "Refused").with_code(self.code);
                let error = apply::Error::write(object.kind, &object.name, kube::Error::Api(Box::new(answer)));
                if !spares_routes(&error, object, &planned.objects, || before) {
                    return (applied, Some(Failure::stopped(error)));
                }
                refused.push(error);
                continue;
            }
            match before {
                None => applied.created.push(name.clone()),
                Some(before) => {
                    applied.changed.push(name.clone());
                    if before["spec"] != wanted["spec"] {
                        wanted["metadata"]["generation"] =
                            json!(before["metadata"]["generation"].as_i64().unwrap_or(1) + 1);
                    }
                }
            }
            self.put(object.kind, &object.name, wanted);
            let mark = mark_of(self.object(object.kind, &object.name));
            match object.kind {
                Kind::VirtualService => applied.marks.virtual_service = mark,
                Kind::DestinationRule => applied.marks.destination_rule = mark,
                _ => {}
            }
        }
        for child in planned.removals.iter().filter(|child| spares_removal(&refused, child.kind)) {
            self.delete(child.kind, &child.name);
            applied.removed.push((child.kind, child.name.clone()));
        }
        (applied, Failure::beside(refused))
    }

    fn put(&mut self, kind: Kind, name: &str, mut object: Value) {
        self.version += 1;
        let resource = kind.api_resource();
        object["apiVersion"] = resource.api_version.into();
        object["kind"] = resource.kind.into();
        let now = serde_json::to_value(Time(self.now)).unwrap();
        let meta = object["metadata"].as_object_mut().unwrap();
        meta.insert("resourceVersion".into(), self.version.to_string().into());
        meta.entry("uid").or_insert_with(|| format!("{kind:?}-{name}-{}", self.version).into());
        meta.entry("creationTimestamp").or_insert(now);
        meta.entry("generation").or_insert(json!(1));
        let cached: DynamicObject = serde_json::from_value(object.clone()).unwrap();
        self.caches.of(kind).unwrap().take(&Event::Apply(cached), |object| Child::of(kind, object));
        self.objects.insert((kind, name.to_owned()), object);
    }

    pub fn remove(&mut self, kind: Kind, name: &str) {
        let object = self.objects.remove(&(kind, name.to_owned())).unwrap_or_else(|| panic!("no {kind:?} {name}"));
        let cached: DynamicObject = serde_json::from_value(object).unwrap();
        self.caches.of(kind).unwrap().take(&Event::Delete(cached), |object| Child::of(kind, object));
    }

    /// Deletes an object; one that has a finalizer stays, marked, until somebody removes it.
    fn delete(&mut self, kind: Kind, name: &str) {
        let mut object = self.object(kind, name).clone();
        if object["metadata"]["finalizers"].is_null() {
            return self.remove(kind, name);
        }
        let generation = object["metadata"]["generation"].as_i64().unwrap();
        object["metadata"]["generation"] = json!(generation + 1);
        object["metadata"]["deletionTimestamp"] = serde_json::to_value(Time(self.now)).unwrap();
        self.put(kind, name, object);
    }

    /// Plays the Deployment controller and the kubelet.
    fn run_pods(&mut self) {
        let deployments: Vec<(String, Value)> = self
            .objects
            .iter()
            .filter(|((kind, _), object)| *kind == Kind::Deployment && !object["metadata"]["ownerReferences"].is_null())
            .map(|((_, name), object)| (name.clone(), object.clone()))
            .collect();
        for (_, pod) in self.caches.pods.find("shop/order-service") {
            let name = format!("order-service-{}", pod.version);
            let wanted = deployments.iter().find(|(deployment, _)| *deployment == name);
            let wanted = wanted.and_then(|(_, object)| object["spec"]["replicas"].as_i64()).unwrap_or(0);
            for index in wanted..40 {
                let gone = pod_of(&pod.version, index, &Pods::Healthy, None);
                if self.caches.pods.contains(&Key::of(&gone)) {
                    self.caches.pods.take(&Event::Delete(gone), PodView::of);
                }
            }
        }
        for (name, mut object) in deployments {
            let version = name.trim_start_matches("order-service-").to_owned();
            let wanted = object["spec"]["replicas"].as_i64().unwrap();
            let mode = self.pods.get(&version).cloned().unwrap_or(Pods::Healthy);
            let ready = (0..wanted).filter(|index| mode.ready(*index)).count();
            let replaces = mode == Pods::Replacing;
            let (all, updated) = if replaces { (wanted + 1, 1) } else { (wanted, wanted) };
            for index in 0..all {
                let crash = self.crashes.get(&version).copied().filter(|_| index == if replaces { wanted } else { 0 });
                let mode = if index < wanted { &mode } else { &Pods::Ready(0) };
                self.caches.pods.take(&Event::Apply(pod_of(&version, index, mode, crash)), PodView::of);
            }
            let status = json!({
                "observedGeneration": object["metadata"]["generation"], "replicas": all, "updatedReplicas": updated,
                "readyReplicas": ready, "availableReplicas": ready,
            });
            if object["status"] != status {
                object["status"] = status;
                self.put(Kind::Deployment, &name, object);
            }
        }
    }

    /// Invariants 1 and 3: every route sums to 100 and leads to subsets that the mesh knows, of versions that the Service selects.
    fn check_routes(&self) {
        let Some(routes) = self.objects.get(&(Kind::VirtualService, "order-service".to_owned())) else { return };
        if routes["metadata"]["ownerReferences"].is_null() {
            return;
        }
        let known = self.subsets();
        let pinned = self.has(Kind::Service, "order-service").then(|| self.pinned()).flatten();
        let account = self.objects.get(&(Kind::ServiceAccount, "order-service".to_owned()));
        // Where pods would run as somebody else's account there are none from the start, and the routes lead nowhere.
        let blocked = account.is_some_and(|it| it["metadata"]["ownerReferences"].is_null());
        for route in routes["spec"]["http"].as_array().into_iter().flatten() {
            let destinations = route["route"].as_array().unwrap();
            let sum: i64 = if destinations.len() == 1 {
                destinations[0]["weight"].as_i64().unwrap_or(100)
            } else {
                destinations.iter().map(|to| to["weight"].as_i64().unwrap()).sum()
            };
            assert_eq!(sum, 100, "{route}");
            for to in destinations {
                let subset = to["destination"]["subset"].as_str().unwrap();
                assert!(
                    known.iter().any(|name| name == subset),
                    "{subset} is routed to, but the subsets are {known:?}"
                );
                let selected =
                    pinned.as_deref().filter(|_| route["match"].is_null() && to["weight"].as_i64() != Some(0));
                assert!(selected.is_none_or(|it| it == subset), "{subset} is routed to, and {selected:?} is selected");
                let deployment = format!("order-service-{subset}");
                assert!(blocked || self.has(Kind::Deployment, &deployment), "{deployment} is routed to, but gone");
            }
        }
    }

    /// Invariant 2: a promotion raises only complete Deployments. What is gone back to gets what its pods carry.
    fn check_order(&self, planned: &Plan, observed: &Observed) {
        let Some(live) = &observed.routes else { return };
        let goes_back =
            planned.rollout.as_ref().is_some_and(|it| it.state == RolloutState::Completed && !it.from.is_empty());
        for entry in &planned.traffic {
            let before = live.default.get(&entry.version).copied().unwrap_or(0);
            let runs = observed.versions.get(&entry.version);
            let ready = runs.map_or(0, |runs| runs.ready());
            let complete = runs.and_then(|runs| runs.deployment.as_ref()).is_some_and(|facts| facts.complete);
            if entry.effective > before {
                assert!(ready > 0, "{} was raised without a ready pod", entry.version);
                assert!(
                    complete
                        || entry.effective > entry.requested
                        || goes_back
                        || observed.versions.values().any(|runs| runs.ready() == 0),
                    "{} was raised to {} although it is not complete",
                    entry.version,
                    entry.effective
                );
            }
        }
    }
}

fn without_version(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(meta) = object["metadata"].as_object_mut() {
        meta.remove("resourceVersion");
    }
    object
}
