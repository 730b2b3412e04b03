//! How long a Microservice waits after each error in a row: capped exponential with jitter, for each of its own.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::observe::Key;

const FIRST: Duration = Duration::from_millis(250);
const MAX: Duration = Duration::from_secs(60);

/// Errors in a row, by Microservice.
#[derive(Default)]
pub struct Backoff {
    failures: Mutex<HashMap<Key, u32>>,
    random: RandomState,
}

impl Backoff {
    /// Counts an error and tells how long to wait.
    pub fn failed(&self, key: &Key) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(key.clone()).or_insert(0);
        *count += 1;
        let base = FIRST.saturating_mul(1 << (*count - 1).min(10)).min(MAX);
        let jitter = self.random.hash_one((key, *count)) % 1_000;
        base.mul_f64(0.75 + jitter as f64 / 2_000.0)
    }

    /// Forgets the errors of a Microservice.
    pub fn succeeded(&self, key: &Key) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_cap_and_starts_again() {
        let backoff = Backoff::default();
        let key = Key::new("shop", "order-service");
        let waits: Vec<Duration> = (0..20).map(|_| backoff.failed(&key)).collect();
        assert!(waits[0] < Duration::from_millis(400), "{:?}", waits[0]);
        assert!(waits[5] > waits[0] * 8);
        assert!(waits.iter().all(|wait| *wait <= MAX.mul_f64(1.25)));
        backoff.succeeded(&key);
        assert!(backoff.failed(&key) < Duration::from_millis(400));
    }
}
