//! Records every revision of the kinds that the rules read, in one namespace.
//!
//! Each kind is listed once and watched from that list's version on, so that no revision is skipped. The kinds come in
//! over watches of their own; as etcd counts over all of them, the versions put them in order.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt, future, pin_mut};
use jiff::{SignedDuration, Timestamp};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use tokio::task::JoinSet;

use super::account::account;
use super::model::{Change, Kind, Object, Revision, reduce};
use super::rules::{Checker, Rule, Settings, Violation};

/// How often a kind is looked for that the cluster does not have.
const ABSENT_POLL: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_millis(100);
/// How long [`Recorder::finish`] waits for the watches to come to where the cluster is.
const CATCH_UP: Duration = Duration::from_secs(60);
/// To the second a writer says when it wrote.
const PRECISION: SignedDuration = SignedDuration::from_secs(1);
/// What arrived longer ago than this has nothing older behind it.
const SETTLED: SignedDuration = SignedDuration::from_millis(500);

/// The recording could not be begun.
#[derive(Debug, thiserror::Error)]
#[error("cannot record {kind:?} objects of {namespace}: {source}")]
pub struct RecordError {
    kind: Kind,
    namespace: String,
    source: Box<kube::Error>,
}

/// Collects the revisions of a namespace until it is dropped.
pub struct Recorder {
    log: Arc<Log>,
    settings: Settings,
    sources: Vec<Source>,
    _watches: JoinSet<()>,
}

/// Where one kind comes from.
#[derive(Clone)]
struct Source {
    kind: Kind,
    api: Api<DynamicObject>,
    /// Narrows it to what is to be recorded.
    fields: Option<String>,
}

/// All that has come in.
struct Log {
    namespace: String,
    epoch: (Timestamp, Instant),
    state: Mutex<Collected>,
}

#[derive(Default)]
struct Collected {
    revisions: Vec<Revision>,
    /// Versions of the objects as they were last seen.
    living: BTreeMap<(Kind, String), u64>,
    /// What the last writer of each said of when that was.
    written: BTreeMap<(Kind, String), Timestamp>,
    gaps: Vec<Violation>,
}

impl Recorder {
    /// Begins to record. `owner` is the kind whose edits begin rollouts and whose deletion ends all, `orders` one whose
    /// objects ask for another direction when they are created.
    ///
    /// # Errors
    /// When a kind that every cluster has, or one of these, cannot be listed.
    pub async fn start(
        client: &Client,
        namespace: &str,
        owner: Option<GroupVersionKind>,
        orders: Option<GroupVersionKind>,
        settings: Settings,
    ) -> Result<Self, RecordError> {
        let settings = Settings { owned: owner.is_some(), ..settings };
        let sources = sources(client, namespace, [(Kind::Owner, owner), (Kind::Order, orders)]);
        let log = Arc::new(Log {
            namespace: namespace.to_owned(),
            epoch: (Timestamp::now(), Instant::now()),
            state: Mutex::default(),
        });
        let lists = future::join_all(sources.iter().map(|source| source.list())).await;
        let mut watches = JoinSet::new();
        for (source, list) in sources.iter().zip(lists) {
            let from = match list {
                Ok(list) => Some(log.found(source.kind, list)),
                Err(error) if is_absent(&error) && source.kind.may_be_absent() => None,
                Err(error) => {
                    let (kind, namespace) = (source.kind, namespace.to_owned());
                    return Err(RecordError { kind, namespace, source: error.into() });
                }
            };
            watches.spawn(source.clone().follow(log.clone(), from));
        }
        Ok(Self { log, settings, sources, _watches: watches })
    }

    /// How many revisions of each kind have come in.
    pub fn counts(&self) -> BTreeMap<Kind, usize> {
        let mut counts = BTreeMap::new();
        for revision in &self.log.lock().revisions {
            let kind = match &revision.change {
                Change::Found(object) | Change::Set(object) => object.fields.kind(),
                Change::Gone(kind, _) => *kind,
            };
            *counts.entry(kind).or_default() += 1;
        }
        counts
    }

    /// The revisions so far, in the order in which etcd took them.
    pub fn revisions(&self) -> Vec<Revision> {
        ordered(self.log.lock().revisions.clone())
    }

    /// What the revisions break that have surely come in complete by now.
    pub fn violations(&self) -> Vec<Violation> {
        let now = self.log.now();
        let revisions = self.revisions();
        let settled = revisions.iter().filter(|it| now.duration_since(it.at) >= SETTLED).map(|it| it.version).max();
        self.judge(&revisions, settled.unwrap_or_default(), None)
    }

    /// Waits until every watch has seen what the cluster has now, and judges all of it.
    pub async fn finish(&self) -> Vec<Violation> {
        let passed = future::join_all(self.sources.iter().map(|source| source.passed(&self.log))).await;
        let until = passed.into_iter().flatten().min().unwrap_or_default();
        self.judge(&self.revisions(), until, Some(self.log.now()))
    }

    /// What happened right before the first of these, a line each.
    pub fn account(&self, violations: &[Violation]) -> String {
        let first = violations.iter().min_by_key(|violation| violation.version);
        first.map(|violation| account(&self.revisions(), violation)).unwrap_or_default()
    }

    fn judge(&self, revisions: &[Revision], until: u64, end: Option<Timestamp>) -> Vec<Violation> {
        let mut checker = Checker::new(self.settings.clone());
        let mut found = self.log.lock().gaps.clone();
        for revision in revisions.iter().filter(|revision| revision.version <= until) {
            found.extend(checker.observe(revision));
        }
        found.extend(end.into_iter().flat_map(|at| checker.finish(at)));
        found
    }
}

/// By version; none is later than those that follow it, however late it arrived.
fn ordered(mut revisions: Vec<Revision>) -> Vec<Revision> {
    revisions.sort_by_key(|revision| (revision.version, revision.at));
    let mut latest = Timestamp::MAX;
    for revision in revisions.iter_mut().rev() {
        latest = latest.min(revision.at);
        revision.at = latest;
    }
    revisions
}

fn sources(client: &Client, namespace: &str, own: [(Kind, Option<GroupVersionKind>); 2]) -> Vec<Source> {
    let of =
        |group: &str, version: &str, kind: &str| ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let within = |kind, resource: &ApiResource| Source {
        kind,
        api: Api::namespaced_with(client.clone(), namespace, resource),
        fields: None,
    };
    let mut sources = vec![
        within(Kind::VirtualService, &of("networking.istio.io", "v1", "VirtualService")),
        within(Kind::DestinationRule, &of("networking.istio.io", "v1", "DestinationRule")),
        within(Kind::Service, &of("", "v1", "Service")),
        within(Kind::Deployment, &of("apps", "v1", "Deployment")),
        within(Kind::Pod, &of("", "v1", "Pod")),
        within(Kind::EndpointSlice, &of("discovery.k8s.io", "v1", "EndpointSlice")),
        Source {
            kind: Kind::Namespace,
            api: Api::all_with(client.clone(), &of("", "v1", "Namespace")),
            fields: Some(format!("metadata.name={namespace}")),
        },
    ];
    let own = own.into_iter().filter_map(|(kind, known)| Some(within(kind, &ApiResource::from_gvk(&known?))));
    sources.extend(own);
    sources
}

impl Kind {
    fn may_be_absent(self) -> bool {
        matches!(self, Self::VirtualService | Self::DestinationRule)
    }
}

/// How a watch ended.
enum End {
    /// It can go on where it was.
    Over,
    /// Revisions are lost.
    Expired(String),
    /// The kind is gone.
    Absent,
}

impl Source {
    async fn list(&self) -> kube::Result<Listing> {
        let params = ListParams { field_selector: self.fields.clone(), ..ListParams::default() };
        let list = self.api.list(&params).await?;
        Ok(Listing { version: list.metadata.resource_version.unwrap_or_default(), items: list.items })
    }

    /// Watches for good, from a version on, or from when the kind appears.
    async fn follow(self, log: Arc<Log>, mut from: Option<String>) {
        loop {
            let Some(version) = &mut from else {
                match self.list().await {
                    Ok(list) => from = Some(log.found(self.kind, list)),
                    Err(error) => tokio::time::sleep(if is_absent(&error) { ABSENT_POLL } else { RETRY }).await,
                }
                continue;
            };
            match self.watch(&log, version).await {
                Ok(End::Over) => {}
                Ok(End::Expired(why)) => {
                    log.gap(self.kind, version, why);
                    from = None;
                }
                Ok(End::Absent) => from = None,
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }

    async fn watch(&self, log: &Log, version: &mut String) -> kube::Result<End> {
        let params = WatchParams { field_selector: self.fields.clone(), ..WatchParams::default() };
        let stream = match self.api.watch(&params, version).await {
            Err(kube::Error::Api(status)) if status.code == 410 => return Ok(End::Expired(status.message)),
            Err(error) if is_absent(&error) => return Ok(End::Absent),
            other => other?,
        };
        let stream = stream.fuse();
        pin_mut!(stream);
        while let Some(event) = stream.try_next().await? {
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => *version = log.set(self.kind, &object),
                WatchEvent::Deleted(object) => *version = log.gone(self.kind, &object),
                WatchEvent::Bookmark(bookmark) => *version = bookmark.metadata.resource_version,
                WatchEvent::Error(status) if status.code == 410 => return Ok(End::Expired(status.message)),
                WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
            }
        }
        Ok(End::Over)
    }

    /// Lists the kind, and waits until its watch has seen as much; answers up to which version all was seen.
    async fn passed(&self, log: &Log) -> Option<u64> {
        let deadline = Instant::now() + CATCH_UP;
        let list = loop {
            match self.list().await {
                Ok(list) => break list,
                Err(error) if is_absent(&error) => return None,
                Err(_) if Instant::now() < deadline => tokio::time::sleep(RETRY).await,
                Err(error) => {
                    log.gap(self.kind, "the end", error.to_string());
                    return None;
                }
            }
        };
        let version = list.version.parse().unwrap_or_default();
        while !log.has_seen(self.kind, &list, version) {
            if Instant::now() > deadline {
                log.gap(self.kind, "the end", format!("its watch did not come to revision {version}"));
                break;
            }
            tokio::time::sleep(RETRY / 4).await;
        }
        Some(version)
    }
}

/// What a list request answered.
struct Listing {
    version: String,
    items: Vec<DynamicObject>,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Collected> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time, on a clock that never jumps.
    fn now(&self) -> Timestamp {
        let (began, clock) = self.epoch;
        let passed = SignedDuration::try_from(clock.elapsed()).unwrap_or_default();
        began.saturating_add(passed).unwrap_or(began)
    }

    fn reduced(&self, kind: Kind, object: &DynamicObject) -> Object {
        reduce(kind, &serde_json::to_value(object).unwrap_or_default(), &self.namespace)
    }

    /// Takes a list over; answers its version.
    fn found(&self, kind: Kind, list: Listing) -> String {
        let at = self.now();
        let until = list.version.parse().unwrap_or_default();
        let found: Vec<(u64, Object)> =
            list.items.iter().map(|object| (version_of(object), self.reduced(kind, object))).collect();
        let mut collected = self.lock();
        let vanished: Vec<String> = collected
            .living
            .keys()
            .filter(|(of, name)| *of == kind && !found.iter().any(|(_, object)| object.name == *name))
            .map(|(_, name)| name.clone())
            .collect();
        for name in vanished {
            collected.living.remove(&(kind, name.clone()));
            collected.revisions.push(Revision { version: until, at, change: Change::Gone(kind, name) });
        }
        for (version, object) in found {
            collected.living.insert((kind, object.name.clone()), version);
            collected.revisions.push(Revision { version, at, change: Change::Found(object) });
        }
        list.version
    }

    fn set(&self, kind: Kind, object: &DynamicObject) -> String {
        let now = self.now();
        let (version, reduced) = (version_of(object), self.reduced(kind, object));
        let key = (kind, reduced.name.clone());
        let mut collected = self.lock();
        let written = written(kind, object);
        let before = written.and_then(|written| collected.written.insert(key.clone(), written));
        // Who only takes something away is not among the writers.
        let written = written.filter(|written| before.is_none_or(|before| before < *written));
        let at = written.and_then(|written| written.checked_add(PRECISION).ok()).map_or(now, |latest| latest.min(now));
        collected.living.insert(key, version);
        collected.revisions.push(Revision { version, at, change: Change::Set(reduced) });
        object.metadata.resource_version.clone().unwrap_or_default()
    }

    fn gone(&self, kind: Kind, object: &DynamicObject) -> String {
        let (at, version) = (self.now(), version_of(object));
        let name = object.metadata.name.clone().unwrap_or_default();
        let mut collected = self.lock();
        collected.living.remove(&(kind, name.clone()));
        collected.revisions.push(Revision { version, at, change: Change::Gone(kind, name) });
        object.metadata.resource_version.clone().unwrap_or_default()
    }

    fn gap(&self, kind: Kind, version: &str, why: String) {
        let why = format!("revisions of {kind:?} objects were not seen: {why}");
        let mut collected = self.lock();
        let known = collected.gaps.iter().any(|gap| gap.why == why);
        if !known {
            collected.gaps.push(Violation {
                rule: Rule::Incomplete,
                object: format!("{kind:?} objects of {}", self.namespace),
                version: version.parse().unwrap_or_default(),
                at: self.now(),
                before: String::new(),
                after: String::new(),
                why,
            });
        }
    }

    fn has_seen(&self, kind: Kind, list: &Listing, until: u64) -> bool {
        let collected = self.lock();
        let seen = |object: &DynamicObject| {
            let key = (kind, object.metadata.name.clone().unwrap_or_default());
            let living = collected.living.get(&key).copied();
            let gone = || {
                collected.revisions.iter().any(|it| {
                    it.version >= until && matches!(&it.change, Change::Gone(of, name) if (*of, name) == (kind, &key.1))
                })
            };
            living.map_or_else(gone, |version| version >= version_of(object))
        };
        let listed = |name: &String| list.items.iter().any(|object| object.metadata.name.as_ref() == Some(name));
        let mut living = collected.living.iter().filter(|((of, _), _)| *of == kind);
        list.items.iter().all(seen) && living.all(|((_, name), version)| *version > until || listed(name))
    }
}

/// When a route or subset was last written, as its writers say: its revision cannot be much later, however late the watch tells
/// of it. A deletion that only begins has no writer.
fn written(kind: Kind, object: &DynamicObject) -> Option<Timestamp> {
    let told = matches!(kind, Kind::VirtualService | Kind::DestinationRule);
    let lives = object.metadata.deletion_timestamp.is_none();
    let writers = object.metadata.managed_fields.iter().flatten().filter(|_| told && lives);
    writers.filter_map(|writer| writer.time.as_ref()).map(|time| time.0).max()
}

fn version_of(object: &DynamicObject) -> u64 {
    object.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

fn is_absent(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_route_is_no_later_than_its_writer_says() {
        let epoch = ("2026-01-01T00:00:00Z".parse().unwrap(), Instant::now());
        let log = Log { namespace: "shop".into(), epoch, state: Mutex::default() };
        let began = log.now();
        let at = |kind: Kind, seconds: i64, deleted: bool| {
            let written = began.checked_add(SignedDuration::from_secs(seconds)).unwrap();
            let writers = json!([{"manager": "a", "time": "2025-01-01T00:00:00Z"}, {"manager": "b", "time": written}]);
            let mut object =
                json!({"apiVersion": "a/v1", "kind": "A", "metadata": {"name": "a", "managedFields": writers}});
            if deleted {
                object["metadata"]["deletionTimestamp"] = json!(written);
            }
            log.set(kind, &serde_json::from_value(object).unwrap());
            log.lock().revisions.last().unwrap().at.duration_since(began).as_secs()
        };
        assert_eq!(at(Kind::DestinationRule, -10, false), -9);
        assert_eq!(at(Kind::VirtualService, -10, false), -9);
        assert_eq!(at(Kind::VirtualService, -10, false), 0, "somebody took something away, and is no writer");
        assert_eq!(at(Kind::VirtualService, -5, false), -4);
        assert_eq!(at(Kind::VirtualService, 10, false), 0, "nor later than when it came");
        assert_eq!(at(Kind::VirtualService, 20, true), 0);
        assert_eq!(at(Kind::Deployment, -10, false), 0);
    }
}
