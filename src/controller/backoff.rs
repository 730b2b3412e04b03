//! How long a Microservice waits after each error in a row: capped exponential with jitter, for each of its own.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use prometheus_client::metrics::gauge::Gauge;

use crate::observe::Key;

/// The first wait after what may pass by itself.
pub const PASSING: Duration = Duration::from_millis(250);
/// The first wait after what waits for a person, whose change is looked at at once. A tenant may have any number of
/// Microservices that are refused, and others wait behind each try.
pub const REFUSED: Duration = Duration::from_secs(5);
const MAX: Duration = Duration::from_secs(60);
/// For how long nobody is told of errors that pass by themselves.
const QUIET: SignedDuration = SignedDuration::from_secs(60);

/// Errors in a row, by Microservice.
#[derive(Default)]
pub struct Backoff {
    failures: Mutex<HashMap<Key, Row>>,
    random: RandomState,
    /// How many Microservices wait after an error.
    failing: Gauge,
}

/// Errors of one sort in a row.
struct Row {
    /// The first wait.
    sort: Duration,
    count: u32,
    /// Since when there were none but such as pass by themselves; None if the last one does not.
    quiet: Option<Timestamp>,
}

impl Backoff {
    /// One that counts who waits in this gauge, which others may count in, too.
    pub fn counted_in(failing: Gauge) -> Self {
        Self { failing, ..Self::default() }
    }

    /// Counts an error and tells how long to wait, when it is `first` after the first one of its sort. What may pass by itself
    /// is not kept waiting by what a person was waited for before.
    pub fn failed(&self, key: &Key, first: Duration) -> Duration {
        self.count(key, first, None)
    }

    /// The same for an error that passes by itself, as a rule.
    pub fn passing(&self, key: &Key, now: Timestamp) -> Duration {
        self.count(key, PASSING, Some(now))
    }

    /// Whether what passes by itself, as a rule, has lasted for so long that it has to be told.
    pub fn lasts(&self, key: &Key, now: Timestamp) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get(key).and_then(|row| row.quiet).is_some_and(|since| now.duration_since(since) >= QUIET)
    }

    fn count(&self, key: &Key, first: Duration, quiet: Option<Timestamp>) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let row = failures.entry(key.clone()).or_insert_with(|| {
            self.failing.inc();
            Row { sort: first, count: 0, quiet }
        });
        if row.sort != first {
            (row.sort, row.count) = (first, 0);
        }
        row.count += 1;
        row.quiet = quiet.map(|now| row.quiet.unwrap_or(now));
        let base = first.saturating_mul(1 << (row.count - 1).min(10)).min(MAX);
        let jitter = self.random.hash_one((key, row.count)) % 1_000;
        base.mul_f64(0.75 + jitter as f64 / 2_000.0)
    }

    /// Whether a person is waited for.
    pub fn waits_for_a_person(&self, key: &Key) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get(key).is_some_and(|row| row.sort == REFUSED)
    }

    /// Forgets the errors of a Microservice.
    pub fn succeeded(&self, key: &Key) {
        if self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(key).is_some() {
            self.failing.dec();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_cap_and_starts_again() {
        let failing = Gauge::default();
        let backoff = Backoff::counted_in(failing.clone());
        let key = Key::new("shop", "order-service");
        let waits: Vec<Duration> = (0..20).map(|_| backoff.failed(&key, PASSING)).collect();
        assert!(waits[0] < Duration::from_millis(400), "{:?}", waits[0]);
        assert!(waits[5] > waits[0] * 8);
        assert!(waits.iter().all(|wait| *wait <= MAX.mul_f64(1.25)));
        assert_eq!(failing.get(), 1);
        backoff.succeeded(&key);
        backoff.succeeded(&key);
        assert_eq!(failing.get(), 0);
        assert!(backoff.failed(&key, PASSING) < Duration::from_millis(400));
        assert!(backoff.failed(&Key::new("shop", "other"), REFUSED) > PASSING * 10);
        let refused = (0..20).map(|_| backoff.failed(&key, REFUSED)).max();
        assert!(refused > Some(MAX / 2), "{refused:?}");
        assert!(backoff.failed(&key, PASSING) < Duration::from_millis(400), "it is of another sort");
    }
    #[test]
    fn what_passes_by_itself_is_told_once_it_has_lasted_for_a_minute() {
        let (backoff, key) = (Backoff::default(), Key::new("shop", "order-service"));
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let at = |seconds: i64| start.checked_add(SignedDuration::from_secs(seconds)).unwrap();
        backoff.failed(&key, PASSING);
        backoff.passing(&key, at(0));
        assert!(!backoff.lasts(&key, at(59)) && backoff.lasts(&key, at(60)));
        backoff.passing(&key, at(50));
        assert!(backoff.lasts(&key, at(60)), "it lasts since the first one");
        backoff.failed(&key, PASSING);
        assert!(!backoff.lasts(&key, at(60)), "the last one is told anyway");
        backoff.passing(&key, at(70));
        assert!(!backoff.lasts(&key, at(129)) && backoff.lasts(&key, at(130)));
        backoff.succeeded(&key);
        assert!(!backoff.lasts(&key, at(200)));
    }
}
