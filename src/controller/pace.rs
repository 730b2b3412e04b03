//! How soon one Microservice is looked at again: what happens in quick succession is looked at together.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::observe::Key;

/// From the end of one look to the next. The operator's own writes come back meanwhile, and the first news of the pods that
/// follow from them.
pub const PACE: Duration = Duration::from_millis(100);

/// When each Microservice was last looked at.
#[derive(Default)]
pub struct Pace {
    last: Mutex<HashMap<Key, Look>>,
}

struct Look {
    ended: Instant,
    generation: i64,
    /// Once at least, the routes were as planned in the end.
    routed: bool,
}

impl Pace {
    /// How long to leave it alone; none when the last look is long ago, or was at another spec.
    pub fn wait(&self, key: &Key, generation: i64, now: Instant) -> Option<Duration> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let look = last.get(key).filter(|look| look.generation == generation)?;
        PACE.checked_sub(now.duration_since(look.ended)).filter(|wait| !wait.is_zero())
    }

    /// Whether a look at it ever left the routes as planned.
    pub fn knows(&self, key: &Key) -> bool {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).get(key).is_some_and(|look| look.routed)
    }

    /// Notes the end of a look at the spec of that generation, and whether it left the routes as planned.
    pub fn looked(&self, key: &Key, generation: i64, ended: Instant, routed: bool) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let routed = routed || last.get(key).is_some_and(|look| look.routed);
        last.insert(key.clone(), Look { ended, generation, routed });
    }

    /// Forgets a Microservice that is gone.
    pub fn forget(&self, key: &Key) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_at_once_waits_but_an_edit_does_not() {
        let pace = Pace::default();
        let (key, other) = (Key::new("shop", "order-service"), Key::new("shop", "other"));
        let ended = Instant::now();
        assert_eq!(pace.wait(&key, 1, ended), None, "it was never looked at");
        assert!(!pace.knows(&key));
        pace.looked(&key, 1, ended, false);
        assert_eq!(pace.wait(&key, 1, ended), Some(PACE), "what failed is not looked at without end");
        assert!(!pace.knows(&key), "it could not write the routes");
        pace.looked(&key, 1, ended, true);
        pace.looked(&key, 1, ended, false);
        assert!(pace.knows(&key));
        assert_eq!(pace.wait(&key, 1, ended), Some(PACE));
        assert_eq!(pace.wait(&key, 1, ended + PACE / 4), Some(PACE - PACE / 4));
        assert_eq!(pace.wait(&key, 1, ended + PACE), None);
        assert_eq!(pace.wait(&key, 2, ended), None, "an edit is looked at at once");
        assert_eq!(pace.wait(&other, 1, ended), None);
        pace.forget(&key);
        assert_eq!(pace.wait(&key, 1, ended), None);
    }
}
