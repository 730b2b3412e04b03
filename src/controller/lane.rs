//! The slow lane: looks at Microservices that failed last time have so many places and no more. Each of them may take as long
//! as an answer is waited for, and the queue of the controller knows no order, so that they could keep all others waiting for
//! good. Whoever finds no place is called when its turn comes.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::observe::Key;

/// Looks at what failed.
pub struct Lane {
    places: usize,
    call: Box<dyn Fn(&Key) + Send + Sync>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    /// Whose places are taken.
    inside: BTreeSet<Key>,
    /// Who was called to a place, which is kept free for it.
    called: BTreeSet<Key>,
    waiting: VecDeque<Key>,
}

impl Lane {
    /// A lane with so many places, which calls whose turn it is.
    pub fn new(places: usize, call: impl Fn(&Key) + Send + Sync + 'static) -> Self {
        Self { places, call: Box::new(call), queue: Mutex::default() }
    }

    /// A place for a Microservice, until it is dropped; None when it has to wait for its turn.
    pub fn enter(&self, key: &Key) -> Option<Place<'_>> {
        let mut queue = self.queue();
        let called = queue.called.remove(key);
        if !called && queue.inside.len() + queue.called.len() >= self.places {
            if !queue.waiting.contains(key) {
                queue.waiting.push_back(key.clone());
            }
            return None;
        }
        queue.inside.insert(key.clone());
        Some(Place { lane: self, key: key.clone() })
    }

    /// Forgets a Microservice that is gone, or that needs no place any more.
    pub fn forget(&self, key: &Key) {
        let mut queue = self.queue();
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
        let Some(next) = queue.waiting.pop_front() else { return };
        queue.called.insert(next.clone());
        drop(queue);
        (self.call)(&next);
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

    fn lane(places: usize) -> (Lane, Arc<Mutex<Vec<String>>>) {
        let called = Arc::new(Mutex::new(Vec::new()));
        let calls = called.clone();
        (Lane::new(places, move |key| calls.lock().unwrap().push(key.name.clone())), called)
    }

    #[test]
    fn who_finds_no_place_is_called_in_its_turn() {
        let (lane, called) = lane(2);
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
        let (lane, called) = lane(1);
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
}
