//! The slow lane: looks at Microservices of which the last one failed, and took long, have so many places and no more. Each may
//! take as long as an answer is waited for, and the queue of the controller knows no order, so that they could keep all others
//! waiting for good. Whoever finds no place is called when its turn comes: those of a namespace that has no place go first.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::observe::Key;

/// A look that took longer waited for answers.
const LONG: Duration = Duration::from_secs(2);

/// Calls a Microservice, if it is one of its own.
type Caller = Box<dyn Fn(&Key) + Send + Sync>;

/// Looks at what failed slowly.
pub struct Lane {
    places: usize,
    callers: Mutex<Vec<Caller>>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    /// Whose last look failed, and took long.
    slow: BTreeSet<Key>,
    /// Whose places are taken.
    inside: BTreeSet<Key>,
    /// Who was called to a place, which is kept free for it.
    called: BTreeSet<Key>,
    waiting: VecDeque<Key>,
}

impl Lane {
    /// A lane with so many places.
    pub fn new(places: usize) -> Self {
        Self { places, callers: Mutex::default(), queue: Mutex::default() }
    }

    /// Has whose turn it is called by this one, too.
    pub fn called_by(&self, caller: impl Fn(&Key) + Send + Sync + 'static) {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(caller));
    }

    /// Notes how long a look took that failed; None if it did not.
    pub fn looked(&self, key: &Key, failed: Option<Duration>) {
        let mut queue = self.queue();
        if failed.is_some_and(|took| took >= LONG) {
            queue.slow.insert(key.clone());
        } else {
            queue.slow.remove(key);
        }
    }

    /// Leave to look at a Microservice: with a place if it is slow, until that is dropped. None when it will be called.
    pub fn enter(&self, key: &Key) -> Option<Option<Place<'_>>> {
        let mut queue = self.queue();
        if !queue.slow.contains(key) {
            return Some(None);
        }
        let called = queue.called.remove(key);
        if !called && queue.inside.len() + queue.called.len() >= self.places {
            if !queue.waiting.contains(key) {
                queue.waiting.push_back(key.clone());
            }
            return None;
        }
        queue.inside.insert(key.clone());
        Some(Some(Place { lane: self, key: key.clone() }))
    }

    /// Forgets a Microservice that is gone.
    pub fn forget(&self, key: &Key) {
        let mut queue = self.queue();
        queue.slow.remove(key);
        queue.waiting.retain(|waiting| waiting != key);
        if queue.called.remove(key) {
            self.call_next(queue);
        }
    }

    fn leave(&self, key: &Key) {
        let mut queue = self.queue();
        queue.inside.remove(key);
        self.call_next(queue);
    }

    fn call_next(&self, mut queue: MutexGuard<'_, Queue>) {
        let has_place = |namespace: &str| queue.inside.iter().chain(&queue.called).any(|it| it.namespace == namespace);
        let next = queue.waiting.iter().position(|key| !has_place(&key.namespace)).unwrap_or_default();
        let Some(next) = queue.waiting.remove(next) else { return };
        queue.called.insert(next.clone());
        drop(queue);
        self.callers.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|call| call(&next));
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the lane.
pub struct Place<'a> {
    lane: &'a Lane,
    key: Key,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.lane.leave(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn key(name: &str) -> Key {
        Key::new("shop", name)
    }

    /// A lane in which these are slow, and who was called.
    fn lane(places: usize, slow: &[&str]) -> (Lane, Arc<Mutex<Vec<String>>>) {
        let called = Arc::new(Mutex::new(Vec::new()));
        let calls = called.clone();
        let lane = Lane::new(places);
        lane.called_by(move |key| calls.lock().unwrap().push(key.name.clone()));
        slow.iter().for_each(|name| lane.looked(&key(name), Some(LONG)));
        (lane, called)
    }

    #[test]
    fn who_finds_no_place_is_called_in_its_turn() {
        let (lane, called) = lane(2, &["a", "b", "c", "d", "e"]);
        let (a, b) = (lane.enter(&key("a")).unwrap(), lane.enter(&key("b")).unwrap());
        for name in ["c", "d", "c"] {
            assert!(lane.enter(&key(name)).is_none(), "{name}");
        }
        drop(a);
        assert_eq!(*called.lock().unwrap(), ["c"]);
        assert!(lane.enter(&key("e")).is_none(), "the place is kept free for who was called");
        let c = lane.enter(&key("c")).unwrap();
        drop((b, c));
        assert_eq!(*called.lock().unwrap(), ["c", "d", "e"]);
    }

    #[test]
    fn who_is_gone_keeps_no_place() {
        let (lane, called) = lane(1, &["a", "b", "c", "d", "e"]);
        let a = lane.enter(&key("a")).unwrap();
        for name in ["b", "c", "d"] {
            assert!(lane.enter(&key(name)).is_none());
        }
        lane.forget(&key("b"));
        drop(a);
        assert_eq!(*called.lock().unwrap(), ["c"]);
        lane.forget(&key("c"));
        assert_eq!(*called.lock().unwrap(), ["c", "d"]);
        drop(lane.enter(&key("d")).unwrap());
        assert!(lane.enter(&key("e")).is_some(), "nobody waits");
    }

    #[test]
    fn only_what_fails_slowly_needs_a_place() {
        let (lane, _) = lane(1, &["a"]);
        let a = lane.enter(&key("a")).unwrap();
        assert!(a.is_some());
        lane.looked(&key("b"), Some(LONG / 2));
        assert!(lane.enter(&key("b")).is_some_and(|place| place.is_none()), "its failures are quick");
        lane.looked(&key("c"), Some(LONG));
        assert!(lane.enter(&key("c")).is_none());
        lane.looked(&key("c"), None);
        assert!(lane.enter(&key("c")).is_some_and(|place| place.is_none()), "it does not fail any more");
    }

    #[test]
    fn a_namespace_without_a_place_goes_first() {
        let (lane, called) = lane(2, &["a", "b", "c", "d"]);
        let (a, b) = (lane.enter(&key("a")).unwrap(), lane.enter(&key("b")).unwrap());
        let other = Key::new("other", "x");
        lane.looked(&other, Some(LONG));
        for key in [key("c"), key("d"), other.clone()] {
            assert!(lane.enter(&key).is_none());
        }
        drop(a);
        assert_eq!(*called.lock().unwrap(), ["x"]);
        let _other = lane.enter(&other).unwrap();
        drop(b);
        assert_eq!(*called.lock().unwrap(), ["x", "c"]);
    }
}
