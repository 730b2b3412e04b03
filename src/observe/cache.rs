//! One watched kind in memory, with indexes, and with the knowledge of how far the watch has come.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Instant,
};

use futures::{Stream, StreamExt};
use kube::{ResourceExt, runtime::watcher};

use super::hearing::Hearing;

/// Namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    pub fn of<K: ResourceExt>(object: &K) -> Self {
        Self::new(object.namespace().unwrap_or_default(), object.name_any())
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What a cache keeps of an object.
pub trait View: Send + Sync + 'static {
    /// Terms by which it is found.
    fn terms(&self) -> Vec<String>;
    fn uid(&self) -> &str;
    fn resource_version(&self) -> &str;
    /// Whether its deletion was asked for, which finalizers may hold up for as long as they like.
    fn deleting(&self) -> bool {
        false
    }
    /// Takes over from the one before it what is still so.
    fn inherit(&mut self, _before: &Self) {}
}

/// A write of the operator, which a cache is to have seen before the next decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// The object as it was answered; the watch must have reached this version.
    Applied { resource_version: String, round: u64 },
    /// The object with this uid is gone, or on its way.
    Deleted { uid: String },
}

/// Objects of one kind as the watch delivered them.
pub struct Cache<V> {
    /// Plural of the kind.
    kind: String,
    inner: RwLock<Inner<V>>,
}

struct Inner<V> {
    objects: HashMap<Key, Arc<V>>,
    /// Sorted. Most have one or a few, for which a tree takes many times as much memory.
    terms: HashMap<String, Vec<Key>>,
    listing: Option<Listing>,
    /// Listings completed.
    rounds: u64,
    /// The newest version that the watch delivered.
    newest: u128,
    served: bool,
    hearing: Hearing,
}

/// A listing that is under way.
#[derive(Default)]
struct Listing {
    keys: BTreeSet<Key>,
    /// The newest version of its objects. Objects come by name, so others may still be older than it.
    newest: u128,
}

impl<V> Default for Cache<V> {
    fn default() -> Self {
        Self::named("objects")
    }
}

impl<V> Cache<V> {
    /// An empty one of the kind with this plural.
    pub fn named(kind: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            inner: RwLock::new(Inner {
                objects: HashMap::new(),
                terms: HashMap::new(),
                listing: None,
                rounds: 0,
                newest: 0,
                served: false,
                hearing: Hearing::default(),
            }),
        }
    }
}

/// What an event changed.
pub struct Change<V> {
    pub key: Key,
    pub before: Option<Arc<V>>,
    pub after: Option<Arc<V>>,
}

impl<V: View> Cache<V> {
    /// The object of that name.
    pub fn get(&self, key: &Key) -> Option<Arc<V>> {
        self.read().objects.get(key).cloned()
    }

    /// Whether an object of that name exists.
    pub fn contains(&self, key: &Key) -> bool {
        self.read().objects.contains_key(key)
    }

    /// The names of all objects.
    pub fn keys(&self) -> Vec<Key> {
        self.read().objects.keys().cloned().collect()
    }

    /// Objects found by a term, by name.
    pub fn find(&self, term: &str) -> Vec<(Key, Arc<V>)> {
        let inner = self.read();
        let keys = inner.terms.get(term).into_iter().flatten();
        keys.filter_map(|key| Some((key.clone(), inner.objects.get(key)?.clone()))).collect()
    }

    /// Whether a listing is complete since the cache was made or cleared.
    pub fn served(&self) -> bool {
        self.read().served
    }

    /// Whether the watch has failed for so long that what is here is not what there is.
    pub fn is_lost(&self) -> bool {
        self.read().hearing.is_lost(Instant::now())
    }

    /// The kind, if that is so.
    pub fn lost(&self) -> Option<&str> {
        self.is_lost().then_some(self.kind.as_str())
    }

    /// Notes that the watch failed.
    pub fn failed(&self) {
        self.write().hearing.failed(Instant::now());
    }

    /// Notes that the watch has failed for so long, and no longer.
    #[cfg(test)]
    pub(crate) fn failed_for(&self, time: std::time::Duration) {
        let mut inner = self.write();
        let now = Instant::now();
        inner.hearing.heard();
        inner.hearing.failed(now - time);
        inner.hearing.failed(now);
    }

    /// Listings begun so far; goes into [`Written::Applied`].
    pub fn rounds(&self) -> u64 {
        let inner = self.read();
        inner.rounds + u64::from(inner.listing.is_some())
    }

    /// Whether the cache is past a write. A listing that began after it counts: it is a consistent read.
    pub fn has_seen(&self, key: &Key, written: &Written) -> bool {
        let inner = self.read();
        match written {
            Written::Applied { resource_version, round } => {
                inner.rounds > *round || resource_version.parse::<u128>().is_ok_and(|version| inner.newest >= version)
            }
            Written::Deleted { uid } => inner.objects.get(key).is_none_or(|view| view.uid() != uid || view.deleting()),
        }
    }

    /// Forgets everything, for a kind that the cluster no longer has.
    pub fn clear(&self) -> Vec<Change<V>> {
        let mut inner = self.write();
        let keys: Vec<Key> = inner.objects.keys().cloned().collect();
        inner.listing = None;
        inner.rounds += 1;
        inner.served = false;
        keys.into_iter().map(|key| inner.remove(key)).collect()
    }

    /// Takes one event of the watch. `view` makes what is kept.
    pub fn take<K: ResourceExt>(&self, event: &watcher::Event<K>, view: impl Fn(&K) -> V) -> Vec<Change<V>> {
        match event {
            watcher::Event::Init => {
                self.write().listing = Some(Listing::default());
                Vec::new()
            }
            watcher::Event::InitApply(object) => {
                let (key, view) = (Key::of(object), view(object));
                let mut inner = self.write();
                match &mut inner.listing {
                    Some(listing) => {
                        listing.keys.insert(key.clone());
                        listing.newest = listing.newest.max(number(view.resource_version()));
                    }
                    None => inner.reach(view.resource_version()),
                }
                vec![inner.insert(key, view)]
            }
            watcher::Event::InitDone => {
                let mut inner = self.write();
                let listed = inner.listing.take().unwrap_or_default();
                let gone: Vec<Key> = inner.objects.keys().filter(|key| !listed.keys.contains(key)).cloned().collect();
                inner.newest = inner.newest.max(listed.newest);
                inner.rounds += 1;
                inner.served = true;
                inner.hearing.heard();
                gone.into_iter().map(|key| inner.remove(key)).collect()
            }
            watcher::Event::Apply(object) => {
                let view = view(object);
                let mut inner = self.write();
                inner.reach(view.resource_version());
                inner.hearing.heard();
                vec![inner.insert(Key::of(object), view)]
            }
            watcher::Event::Delete(object) => {
                let mut inner = self.write();
                inner.reach(object.resource_version().as_deref().unwrap_or_default());
                inner.hearing.heard();
                vec![inner.remove(Key::of(object))]
            }
        }
    }

    /// Feeds the cache from a watch and tells `changed` of every change, and `served` of the first listing, until the stream
    /// ends.
    pub async fn feed<K: ResourceExt>(
        &self,
        events: impl Stream<Item = watcher::Result<watcher::Event<K>>>,
        view: impl Fn(&K) -> V,
        mut changed: impl FnMut(Change<V>),
        served: impl Fn(),
    ) {
        futures::pin_mut!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    let before = self.served();
                    self.take(&event, &view).into_iter().for_each(&mut changed);
                    if self.served() && !before {
                        served();
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, kind = self.kind, "the watch was interrupted; it is taken up again");
                    self.failed();
                }
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner<V>> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner<V>> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V: View> Inner<V> {
    /// Keeps what is known of an object if that is newer: a listing may be of the past, and decisions are not taken back.
    fn insert(&mut self, key: Key, mut view: V) -> Change<V> {
        let before = self.objects.get(&key).cloned();
        let older =
            |known: &V| known.uid() == view.uid() && number(known.resource_version()) > number(view.resource_version());
        if before.as_deref().is_some_and(older) {
            return Change { key, after: before.clone(), before };
        }
        if let Some(before) = &before {
            view.inherit(before);
        }
        self.unlist(&key, before.as_deref());
        for term in view.terms() {
            let keys = self.terms.entry(term).or_insert_with(|| Vec::with_capacity(1));
            if let Err(at) = keys.binary_search(&key) {
                keys.insert(at, key.clone());
            }
        }
        let view = Arc::new(view);
        self.objects.insert(key.clone(), view.clone());
        Change { key, before, after: Some(view) }
    }

    fn remove(&mut self, key: Key) -> Change<V> {
        let before = self.objects.remove(&key);
        self.unlist(&key, before.as_deref());
        Change { key, before, after: None }
    }

    fn unlist(&mut self, key: &Key, view: Option<&V>) {
        for term in view.map(View::terms).unwrap_or_default() {
            if let Some(keys) = self.terms.get_mut(&term) {
                if let Ok(at) = keys.binary_search(key) {
                    keys.remove(at);
                }
                if keys.is_empty() {
                    self.terms.remove(&term);
                }
            }
        }
    }

    fn reach(&mut self, resource_version: &str) {
        self.newest = self.newest.max(number(resource_version));
    }
}

fn number(resource_version: &str) -> u128 {
    resource_version.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectMeta;

    use super::*;

    #[derive(Clone)]
    struct Seen {
        version: String,
        team: String,
    }

    impl View for Seen {
        fn terms(&self) -> Vec<String> {
            vec![self.team.clone()]
        }
        fn uid(&self) -> &str {
            "uid"
        }
        fn resource_version(&self) -> &str {
            &self.version
        }
    }

    fn object(name: &str, version: &str, team: &str) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.into()),
                namespace: Some("shop".into()),
                resource_version: Some(version.into()),
                labels: Some([("team".into(), team.into())].into()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        }
    }

    fn view(object: &ConfigMap) -> Seen {
        Seen { version: object.resource_version().unwrap(), team: object.labels()["team"].clone() }
    }

    #[test]
    fn a_listing_replaces_what_is_gone_and_keeps_serving_meanwhile() {
        let cache = Cache::default();
        for event in [
            watcher::Event::Init,
            watcher::Event::InitApply(object("a", "1", "x")),
            watcher::Event::InitApply(object("b", "2", "x")),
            watcher::Event::InitDone,
            watcher::Event::Init,
            watcher::Event::InitApply(object("b", "7", "y")),
        ] {
            cache.take(&event, view);
        }
        assert_eq!(cache.find("x").len(), 1, "a is still served while the listing runs");
        let gone = cache.take(&watcher::Event::<ConfigMap>::InitDone, view);
        assert_eq!(gone.len(), 1);
        assert_eq!(gone[0].key, Key::new("shop", "a"));
        assert!(cache.find("x").is_empty());
        assert_eq!(cache.find("y").len(), 1);
    }

    #[test]
    fn a_listing_of_the_past_takes_nothing_back() {
        let cache = Cache::default();
        cache.take(&watcher::Event::Apply(object("a", "9", "x")), view);
        for event in [watcher::Event::Init, watcher::Event::InitApply(object("a", "8", "y")), watcher::Event::InitDone]
        {
            cache.take(&event, view);
        }
        assert_eq!(cache.get(&Key::new("shop", "a")).unwrap().team, "x");
        cache.take(&watcher::Event::Apply(object("a", "10", "z")), view);
        assert_eq!(cache.get(&Key::new("shop", "a")).unwrap().team, "z");
    }

    #[test]
    fn knows_how_far_the_watch_has_come() {
        let cache = Cache::default();
        cache.take(&watcher::Event::<ConfigMap>::Init, view);
        cache.take(&watcher::Event::<ConfigMap>::InitDone, view);
        let key = Key::new("shop", "a");
        let written = Written::Applied { resource_version: "9".into(), round: cache.rounds() };
        assert!(!cache.has_seen(&key, &written));
        cache.take(&watcher::Event::Apply(object("other", "8", "x")), view);
        assert!(!cache.has_seen(&key, &written), "8 is before 9");
        cache.take(&watcher::Event::Apply(object("other", "10", "x")), view);
        assert!(cache.has_seen(&key, &written), "the watch is past 9, so a was deleted again");

        let later = Written::Applied { resource_version: "99".into(), round: cache.rounds() };
        cache.take(&watcher::Event::<ConfigMap>::Init, view);
        assert!(!cache.has_seen(&key, &later));
        cache.take(&watcher::Event::<ConfigMap>::InitDone, view);
        assert!(cache.has_seen(&key, &later), "a listing that began after the write has seen it");
    }

    #[test]
    fn a_listing_under_way_has_seen_no_write() {
        let cache = Cache::default();
        cache.take(&watcher::Event::<ConfigMap>::Init, view);
        cache.take(&watcher::Event::InitApply(object("b", "3", "x")), view);
        cache.take(&watcher::Event::<ConfigMap>::InitDone, view);
        let key = Key::new("shop", "b");
        let written = Written::Applied { resource_version: "5".into(), round: cache.rounds() };
        cache.take(&watcher::Event::<ConfigMap>::Init, view);
        cache.take(&watcher::Event::InitApply(object("a", "7", "x")), view);
        assert!(!cache.has_seen(&key, &written), "b is yet to come, and is still the one of version 3");
        cache.take(&watcher::Event::InitApply(object("b", "5", "x")), view);
        cache.take(&watcher::Event::<ConfigMap>::InitDone, view);
        assert!(cache.has_seen(&key, &written));

        cache.take(&watcher::Event::<ConfigMap>::Init, view);
        let meanwhile = Written::Applied { resource_version: "9".into(), round: cache.rounds() };
        cache.take(&watcher::Event::InitApply(object("a", "7", "x")), view);
        cache.take(&watcher::Event::InitApply(object("b", "5", "x")), view);
        cache.take(&watcher::Event::<ConfigMap>::InitDone, view);
        assert!(!cache.has_seen(&key, &meanwhile), "the listing had begun before the write");
        cache.take(&watcher::Event::Apply(object("b", "9", "x")), view);
        assert!(cache.has_seen(&key, &meanwhile));
    }
}
