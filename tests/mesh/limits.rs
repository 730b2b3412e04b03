//! The circuit breaker, timeouts and retries do at a real Envoy what the spec declares.

use std::time::Duration;

use devcluster::{
    load::{Load, Protocol, Report, Status},
    workload::Change,
};

use crate::{
    calls::{load, send},
    service::{Version, control, known, pods, ready_at, spec, version},
    stage::stage,
    support::{Space, run},
};

const KEEP_ALIVE: Protocol = Protocol::Http1 { keep_alive: true };

async fn space(name: &str, replicas: i32, traffic: &str) -> Space {
    let space = Space::new(&stage().cluster, name).await;
    let only = Version { replicas, ..version("v1", 100) };
    space.apply("web", &spec(&[only], &format!("traffic: {{{traffic}}}"))).await;
    ready_at(&space, "web", "v1=100").await;
    known(&space, "web", "v1", usize::try_from(replicas).unwrap()).await;
    space
}

fn at(space: &Space, path: &str, rate: u32) -> Load {
    Load { path: path.to_owned(), ..load(space, "web", KEEP_ALIVE, rate) }
}

fn with_status(report: &Report, status: u16) -> u64 {
    report.answered.iter().filter(|((_, of), _)| *of == Status::Http(status)).map(|(_, count)| count).sum()
}

#[test]
fn a_full_pool_answers_at_once() {
    run(async {
        let _shared = stage().shared().await;
        let pool =
            "circuitBreaker: {connectionPool: {maxConnections: 1, maxPendingRequests: 1}}, retries: {attempts: 0}";
        let space = space("pool", 1, pool).await;
        let report = send(at(&space, "/?delayMs=3000", 20), 20).await;
        let (served, refused) = (with_status(&report, 200), with_status(&report, 503));
        assert_eq!(served + refused, 20, "{report}");
        // One is served, one waits for it; in the second that it takes to send all, nothing else finds room.
        assert_eq!(refused, 18, "{report}");
        assert!(report.failed.iter().all(|refused| refused.after < Duration::from_secs(2)), "not at once: {report}");
    });
}

#[test]
fn a_failing_pod_of_three_is_ejected_for_thirty_seconds() {
    run(async {
        let _shared = stage().shared().await;
        let outlier = "circuitBreaker: {outlierDetection: {consecutive5xxErrors: 5, interval: 1s, baseEjectionTime: 30s, \
                       maxEjectionPercent: 50}}, retries: {attempts: 0}";
        let space = space("outlier", 3, outlier).await;
        let failing = pods(&space, "web", "v1").await;
        control(failing.first().unwrap(), &Change { fail_share: Some(100), ..Change::default() }).await;

        // Envoy gives changes of a cluster's hosts to its workers at most once a second (`update_merge_window`).
        let first = send(at(&space, "/", 100), 300).await;
        assert!(with_status(&first, 503) >= 5, "it takes five errors: {first}");
        assert!(first.failed.iter().all(|failed| failed.at < Duration::from_secs(2)), "not ejected: {first}");
        let ejected = send(at(&space, "/", 100), 2_000).await;
        assert!(ejected.is_clean(), "an ejected pod got requests: {ejected}");

        let again = crate::support::eventually(|| async {
            let some = send(at(&space, "/", 100), 100).await;
            (with_status(&some, 503) > 0).then_some(())
        });
        again.await.expect("after 30 s it gets requests again, and fails again");
    });
}

#[test]
fn timeouts_and_retries_are_as_declared() {
    run(async {
        let _shared = stage().shared().await;
        let space =
            space("timeout", 1, "timeout: 1s, retries: {attempts: 2, perTryTimeout: 500ms, retryOn: '5xx'}").await;
        let slow = send(at(&space, "/?delayMs=5000", 5), 5).await;
        assert_eq!(with_status(&slow, 504), 5, "{slow}");
        let times = slow.failed.iter().map(|slow| slow.after);
        for time in times {
            assert!((Duration::from_millis(900)..Duration::from_secs(4)).contains(&time), "cut after {time:?}: {slow}");
        }
        let flaky = send(at(&space, "/?failFirst=2&key=twice", 5), 1).await;
        assert_eq!(with_status(&flaky, 200), 1, "two retries were declared: {flaky}");
        let worse = send(at(&space, "/?failFirst=3&key=thrice", 5), 1).await;
        assert_eq!(with_status(&worse, 503), 1, "no more than two were declared: {worse}");
    });
}
