//! Times of a status that lie ahead: a clock that was wrong wrote them, and until they have come nothing that is counted from
//! them would happen. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use crate::api::{
    AnalysisRun, Held, HookCall, MicroserviceStatus, Relapses, RolloutStatus, Scaled, Served, VersionTraffic,
};

use super::rollout::{
    version::{MAX_HOLD_OUT, time},
    walk::MAX_AGAIN,
};

/// By so much two clocks may differ that are both right: times are of whole seconds, and answers take theirs.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(10);

/// The status with what is said to have happened later than now said to happen now.
pub fn not_ahead(mut status: MicroserviceStatus, now: Timestamp) -> MicroserviceStatus {
    for memory in &mut status.traffic {
        let VersionTraffic {
            version: _,
            requested: _,
            effective: _,
            ready: _,
            desired: _,
            limited_by: _,
            since,
            subset_since,
            unreferenced_since,
            subset_removed_since,
            clean_since,
            restarts_since,
            losses: _,
            held_until,
            template: _,
            scaled,
        } = memory;
        for happened in [since, subset_since, unreferenced_since, subset_removed_since, clean_since, restarts_since] {
            limit(happened, now, now);
        }
        limit(held_until, now.checked_add(MAX_HOLD_OUT).unwrap_or(now), now);
        if let Some(Scaled { by: _, at }) = scaled {
            limit_time(at, now, now);
        }
    }
    limit(&mut status.provider_since, now, now);
    if let Some(rollout) = &mut status.rollout {
        limit_rollout(rollout, now);
    }
    status
}

fn limit_rollout(status: &mut RolloutStatus, now: Timestamp) {
    let RolloutStatus {
        state: _,
        target: _,
        progress: _,
        step: _,
        percent: _,
        walked: _,
        step_since,
        waits_for: _,
        weights_since,
        analysis,
        step_analysis,
        progressed_at,
        from: _,
        to: _,
        kept: _,
        back: _,
        stable: _,
        meanwhile: _,
        previous: _,
        served,
        session: _,
        message: _,
        verdict: _,
        began,
        calls,
        promoted_fully: _,
        relapses,
        held,
        handled: _,
    } = status;
    for happened in [step_since, progressed_at, weights_since, began] {
        limit(happened, now, now);
    }
    for AnalysisRun { since, metrics } in analysis.iter_mut().chain(step_analysis) {
        limit_time(since, now, now);
        // It would count as passed at weights that are yet to come, and nothing would be measured until then.
        metrics.retain(|metric| !is_ahead(&metric.at, now));
    }
    for Relapses { count: _, since, latest, down: _ } in relapses.values_mut() {
        limit_time(since, now, now);
        limit_time(latest, now, now);
    }
    for Served { revision: _, until } in served {
        limit_time(until, now, now);
    }
    // Until when it is held is asked of the windows anew each time.
    if let Some(Held { by: _, since, message: _, until: _ }) = held {
        limit_time(since, now, now);
    }
    let latest = now.checked_add(MAX_AGAIN).unwrap_or(now);
    for HookCall { id: _, webhook: _, at: _, target: _, result: _, failures: _, again_at, message: _ } in calls {
        limit(again_at, latest, now);
    }
}

fn limit(at: &mut Option<MicroTime>, latest: Timestamp, now: Timestamp) {
    if let Some(at) = at {
        limit_time(at, latest, now);
    }
}

fn limit_time(at: &mut MicroTime, latest: Timestamp, now: Timestamp) {
    if is_ahead(at, latest) {
        *at = time(now);
    }
}

fn is_ahead(at: &MicroTime, latest: Timestamp) -> bool {
    at.0.duration_since(latest) > TOLERANCE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{HeldBy, MeasurementResult, MetricRun, Moment};

    #[test]
    fn what_lies_ahead_is_now_and_what_clocks_may_differ_by_stays() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let at = |seconds: i64| now.checked_add(SignedDuration::from_secs(seconds)).ok().map(time);
        let memory = |since: i64, held: i64| VersionTraffic {
            subset_since: at(since),
            clean_since: at(since),
            held_until: at(held),
            scaled: at(since).map(|at| Scaled { by: "kubectl".into(), at }),
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

    #[test]
    fn nothing_of_a_rollout_waits_for_a_time_that_lies_ahead() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let later = |hours: i64| time(now + SignedDuration::from_hours(hours));
        let metric = |hours: i64| MetricRun {
            name: "success".into(),
            version: "v2".into(),
            result: MeasurementResult::Passed,
            message: String::new(),
            at: later(hours),
            taken: 1,
            passed: 1,
            failed: 0,
            consecutive_errors: 0,
            query: None,
            question: None,
        };
        let call = |hours: i64| HookCall {
            id: "call".into(),
            webhook: "gate".into(),
            at: Moment::BeforeTraffic,
            target: "target".into(),
            result: None,
            failures: 3,
            again_at: Some(later(hours)),
            message: None,
        };
        let relapses = |hours: i64| Relapses { count: 1, since: later(hours), latest: later(hours), down: false };
        let held = |hours: i64| Held {
            by: HeldBy::Suspended,
            since: later(hours),
            message: String::new(),
            until: Some(later(24)),
        };
        let status = |hours: i64| {
            let run = AnalysisRun { since: later(hours), metrics: Vec::new() };
            let rollout = RolloutStatus {
                began: Some(later(hours)),
                analysis: Some(run.clone()),
                step_analysis: Some(run),
                served: vec![Served { revision: "one".into(), until: later(hours) }],
                relapses: [("v2".to_owned(), relapses(hours))].into(),
                calls: vec![call(hours)],
                held: Some(held(hours)),
                ..RolloutStatus::default()
            };
            let provider_since = Some(later(hours));
            MicroserviceStatus { provider_since, rollout: Some(rollout), ..MicroserviceStatus::default() }
        };
        assert_eq!(not_ahead(status(24), now), status(0));
        assert_eq!(not_ahead(status(-24), now), status(-24));
        let mut measured = status(0);
        let run = measured.rollout.as_mut().unwrap().analysis.as_mut().unwrap();
        run.metrics = vec![metric(24), metric(-1)];
        let seen = not_ahead(measured, now);
        assert_eq!(seen.rollout.unwrap().analysis.unwrap().metrics, [metric(-1)]);
    }
}
