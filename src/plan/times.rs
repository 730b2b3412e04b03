//! Times of a status that lie ahead: a clock that was wrong wrote them, and until they have come nothing that is counted from
//! them would happen. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use crate::api::{MicroserviceStatus, RolloutStatus, VersionTraffic};

use super::rollout::version::{MAX_HOLD_OUT, time};

/// By so much two clocks may differ that are both right: times are of whole seconds, and answers take theirs.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(10);

/// The status with what is said to have happened later than now said to happen now.
pub fn not_ahead(mut status: MicroserviceStatus, now: Timestamp) -> MicroserviceStatus {
    for memory in &mut status.traffic {
        let VersionTraffic {
            since,
            subset_since,
            unreferenced_since,
            subset_removed_since,
            clean_since,
            restarts_since,
            held_until,
            ..
        } = memory;
        for happened in [since, subset_since, unreferenced_since, subset_removed_since, clean_since, restarts_since] {
            limit(happened, now, now);
        }
        limit(held_until, now.checked_add(MAX_HOLD_OUT).unwrap_or(now), now);
    }
    if let Some(RolloutStatus { step_since, progressed_at, weights_since, .. }) = &mut status.rollout {
        for happened in [step_since, progressed_at, weights_since] {
            limit(happened, now, now);
        }
    }
    status
}

fn limit(at: &mut Option<MicroTime>, latest: Timestamp, now: Timestamp) {
    let ahead = |at: &MicroTime| at.0.duration_since(latest) > TOLERANCE;
    if at.as_ref().is_some_and(ahead) {
        *at = Some(time(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_ahead_is_now_and_what_clocks_may_differ_by_stays() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let at = |seconds: i64| now.checked_add(SignedDuration::from_secs(seconds)).ok().map(time);
        let memory = |since: i64, held: i64| VersionTraffic {
            subset_since: at(since),
            clean_since: at(since),
            held_until: at(held),
            ..VersionTraffic::default()
        };
        for (given, expected) in [
            (memory(3_600, 3_600), memory(0, 0)),
            (memory(5, 600), memory(5, 600)),
            (memory(-3_600, -3_600), memory(-3_600, -3_600)),
        ] {
            let rollout = RolloutStatus { step_since: given.subset_since.clone(), ..RolloutStatus::default() };
            let status = MicroserviceStatus { traffic: vec![given], rollout: Some(rollout), ..Default::default() };
            let seen = not_ahead(status, now);
            assert_eq!(seen.rollout.unwrap().step_since, expected.subset_since);
            assert_eq!(seen.traffic, [expected]);
        }
    }
}
