//! How the service misbehaves, and which request is hit by it.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::query::Overrides;

const UNAVAILABLE: u16 = 503;

/// The behaviour is not possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BehaviourError {
    /// More than all requests.
    #[error("failShare is a percentage from 0 to 100, not {0}")]
    Share(u8),
    /// No status that ends a request.
    #[error("failStatus is an HTTP status from 200 to 599, not {0}")]
    Status(u16),
}

/// How one process behaves. Requests other than `/health`, `/ready`, `/control` and gRPC health checks are ordinary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Behaviour {
    /// How long every ordinary request waits, in milliseconds; 0 by default.
    pub delay_ms: u64,
    /// The percentage of ordinary requests that fail, evenly spread; 0 by default.
    pub fail_share: u8,
    /// The status of those that fail; 503 by default. In gRPC it is always UNAVAILABLE.
    pub fail_status: u16,
    /// `/ready` answers 503, gRPC health NOT_SERVING.
    pub unready: bool,
    /// `/health` answers 503.
    pub unhealthy: bool,
    /// SIGTERM is ignored.
    pub hang_at_shutdown: bool,
    /// The process ends with exit code 1, as soon as this is answered.
    pub crash: bool,
    /// At the how manieth ordinary request from now the process ends with exit code 1, without answering it; 0 is never.
    pub crash_after: u64,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            delay_ms: 0,
            fail_share: 0,
            fail_status: UNAVAILABLE,
            unready: false,
            unhealthy: false,
            hang_at_shutdown: false,
            crash: false,
            crash_after: 0,
        }
    }
}

/// The fields of a [`Behaviour`] that change, under the same names; the body of `POST /control`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Change {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_share: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unready: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unhealthy: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hang_at_shutdown: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crash: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crash_after: Option<u64>,
}

/// What becomes of an ordinary request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is answered after a delay.
    Answer { status: u16, delay: Duration },
    /// The process ends instead.
    Crash,
}

/// A behaviour, and how far its counts have come.
#[derive(Debug, Default)]
pub(super) struct Faults {
    behaviour: Behaviour,
    /// Grows by the share at each request; a hundred make a failure.
    owed: u16,
    /// Ordinary requests since `crash_after` was set.
    seen: u64,
    /// How often each key of `failFirst` has failed.
    failed: HashMap<String, u64>,
}

impl Faults {
    pub(super) fn new(behaviour: Behaviour) -> Result<Self, BehaviourError> {
        check(&behaviour)?;
        Ok(Self { behaviour, ..Self::default() })
    }

    pub(super) fn behaviour(&self) -> &Behaviour {
        &self.behaviour
    }

    /// Changes the behaviour; of a change that is not possible, nothing is done.
    pub(super) fn change(&mut self, change: &Change) -> Result<&Behaviour, BehaviourError> {
        let old = &self.behaviour;
        let Change { delay_ms, fail_share, fail_status, unready, unhealthy, hang_at_shutdown, crash, crash_after } =
            *change;
        let new = Behaviour {
            delay_ms: delay_ms.unwrap_or(old.delay_ms),
            fail_share: fail_share.unwrap_or(old.fail_share),
            fail_status: fail_status.unwrap_or(old.fail_status),
            unready: unready.unwrap_or(old.unready),
            unhealthy: unhealthy.unwrap_or(old.unhealthy),
            hang_at_shutdown: hang_at_shutdown.unwrap_or(old.hang_at_shutdown),
            crash: crash.unwrap_or(old.crash),
            crash_after: crash_after.unwrap_or(old.crash_after),
        };
        check(&new)?;
        if crash_after.is_some() {
            self.seen = 0;
        }
        self.behaviour = new;
        Ok(&self.behaviour)
    }

    /// Counts an ordinary request, and says what becomes of it.
    pub(super) fn decide(&mut self, overrides: &Overrides) -> Fate {
        self.seen += 1;
        if self.behaviour.crash_after != 0 && self.seen >= self.behaviour.crash_after {
            return Fate::Crash;
        }
        let delay = overrides.delay.unwrap_or(Duration::from_millis(self.behaviour.delay_ms));
        let status = self.first_failure(overrides).or(overrides.status).unwrap_or_else(|| self.share());
        Fate::Answer { status, delay }
    }

    fn first_failure(&mut self, overrides: &Overrides) -> Option<u16> {
        let (key, count) = overrides.fail_first.as_ref()?;
        let failed = self.failed.entry(key.clone()).or_default();
        if *failed < *count {
            *failed += 1;
            return Some(UNAVAILABLE);
        }
        Some(200)
    }

    fn share(&mut self) -> u16 {
        self.owed += u16::from(self.behaviour.fail_share);
        if self.owed < 100 {
            return 200;
        }
        self.owed -= 100;
        self.behaviour.fail_status
    }
}

fn check(behaviour: &Behaviour) -> Result<(), BehaviourError> {
    if behaviour.fail_share > 100 {
        return Err(BehaviourError::Share(behaviour.fail_share));
    }
    if !(200..600).contains(&behaviour.fail_status) {
        return Err(BehaviourError::Status(behaviour.fail_status));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(change: Change) -> Faults {
        let mut faults = Faults::default();
        faults.change(&change).unwrap();
        faults
    }

    fn statuses(faults: &mut Faults, count: usize, query: &str) -> Vec<u16> {
        let overrides = Overrides::parse(query).unwrap();
        (0..count)
            .map(|_| match faults.decide(&overrides) {
                Fate::Answer { status, .. } => status,
                Fate::Crash => 0,
            })
            .collect()
    }

    #[test]
    fn a_share_fails_exactly_and_evenly() {
        let mut faults = faults(Change { fail_share: Some(30), fail_status: Some(500), ..Change::default() });
        let statuses = statuses(&mut faults, 1000, "");
        for ten in statuses.chunks(10) {
            assert_eq!(ten.iter().filter(|&&status| status == 500).count(), 3, "{ten:?}");
        }
    }

    #[test]
    fn the_first_requests_of_each_key_fail() {
        let mut faults = Faults::default();
        assert_eq!(statuses(&mut faults, 4, "failFirst=2&key=a"), [503, 503, 200, 200]);
        assert_eq!(statuses(&mut faults, 2, "failFirst=1&key=b"), [503, 200]);
    }

    #[test]
    fn a_query_overrides_one_request() {
        let mut faults = faults(Change { fail_share: Some(100), delay_ms: Some(5), ..Change::default() });
        let overrides = Overrides::parse("status=204&delayMs=7").unwrap();
        assert_eq!(faults.decide(&overrides), Fate::Answer { status: 204, delay: Duration::from_millis(7) });
        let plain = Overrides::parse("").unwrap();
        assert_eq!(faults.decide(&plain), Fate::Answer { status: 503, delay: Duration::from_millis(5) });
    }

    #[test]
    fn the_crash_comes_at_the_nth_request_from_when_it_was_asked_for() {
        let mut faults = Faults::default();
        assert_eq!(statuses(&mut faults, 3, ""), [200, 200, 200]);
        faults.change(&Change { crash_after: Some(2), ..Change::default() }).unwrap();
        assert_eq!(statuses(&mut faults, 2, ""), [200, 0]);
    }

    #[test]
    fn what_cannot_be_changes_nothing() {
        let mut faults = Faults::default();
        let change = Change { fail_share: Some(101), delay_ms: Some(1), ..Change::default() };
        assert_eq!(faults.change(&change), Err(BehaviourError::Share(101)));
        let change = Change { fail_status: Some(100), ..Change::default() };
        assert_eq!(faults.change(&change), Err(BehaviourError::Status(100)));
        assert_eq!(faults.behaviour(), &Behaviour::default());
        assert!(serde_json::from_str::<Change>(r#"{"delay": 1}"#).is_err());
    }
}
