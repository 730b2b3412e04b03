//! Versions that never start, crash or fall silent: what they cost the callers, and what the status says.

use devcluster::{load::Lost, workload::Change};
use jiff::SignedDuration;

use crate::{
    calls::Traffic,
    service::{Version, control, known, pods, ready_at, spec, version},
    stage::stage,
    support::{self, Space, condition, eventually, message, run},
};

const NAME: &str = "web";

/// How long an Envoy may take to hear of a route on a busy machine; the mesh is given 5 s.
const MESH_HEARS: SignedDuration = SignedDuration::from_secs(3);

fn with(version: Version, more: &str) -> Version {
    Version { more: more.to_owned(), ..version }
}

async fn healthy(name: &str) -> Space {
    let space = Space::new(&stage().cluster, name).await;
    space.apply(NAME, &spec(&[version("v1", 100)], "")).await;
    ready_at(&space, NAME, "v1=100").await;
    known(&space, NAME, "v1", 2).await;
    space
}

#[test]
fn a_version_that_never_gets_ready_gets_no_request_and_says_why() {
    run(async {
        let _shared = stage().shared().await;
        let space = healthy("unready").await;
        let traffic = Traffic::start(&space, NAME).await;
        let broken = with(version("v2", 50), "env: [{name: UNREADY, value: 'true'}]");
        space.apply(NAME, &spec(&[version("v1", 50), broken], "")).await;
        let held = space.until(NAME, "v2 is not ready", |it| message(it).starts_with("v2 has 0 of 2 pods ready")).await;
        assert!(message(&held).ends_with("traffic stays at v1 100"), "{}", message(&held));
        traffic.more(2_000).await;
        let reports = traffic.stop().await;
        for (protocol, report) in reports {
            assert!(report.is_clean(), "{protocol:?}: {report}");
            assert_eq!(report.by_version().keys().collect::<Vec<_>>(), [&"v1"], "{protocol:?}: {report}");
        }
    });
}

#[test]
fn an_image_that_does_not_exist_is_named() {
    run(async {
        let _shared = stage().shared().await;
        let space = healthy("noimage").await;
        let missing = Version { tag: "none", ..version("v2", 50) };
        space.apply(NAME, &spec(&[version("v1", 50), missing], "")).await;
        let told = |it: &_| message(it).contains("on registry.example/service:none") && message(it).contains("Image");
        let held = space.until(NAME, "the image is named", told).await;
        assert!(message(&held).ends_with("traffic stays at v1 100"), "{}", message(&held));
    });
}

#[test]
fn a_version_that_crash_loops_under_traffic_loses_its_weight_after_the_first_crash() {
    run(async {
        let _shared = stage().shared().await;
        let space = healthy("crashing").await;
        let traffic = Traffic::start(&space, NAME).await;
        let crashing = with(version("v2", 20), "env: [{name: CRASH_AFTER, value: '60'}]");
        space.apply(NAME, &spec(&[version("v1", 80), crashing], "")).await;
        let held = space
            .until(NAME, "v2 is held out", |it| {
                let weights = it.status.as_ref().and_then(|status| status.weights.as_deref());
                message(it).contains("v2 lost its weight and is held out until") && weights == Some("v1=100 v2=0")
            })
            .await;
        assert_eq!(condition(&held, "Ready"), "False");
        traffic.more(4_000).await;
        let taken = held.status.as_ref().unwrap().traffic.iter().find(|entry| entry.version == "v2").unwrap();
        let taken = taken.since.as_ref().unwrap().0;
        let reports = traffic.stop().await;
        let sent: u64 = reports.iter().map(|(_, report)| report.sent).sum();
        let lost: Vec<&Lost> = reports.iter().flat_map(|(_, report)| report.lost_requests()).collect();
        println!("a version that crash-loops under traffic: {} of {sent} requests lost", lost.len());
        assert!(reports.iter().any(|(_, report)| report.by_version().contains_key("v2")), "v2 got no request at all");
        // Between the crash and the route's change callers meet a dead pod; then the mesh needs a moment to hear of it.
        let late: Vec<&&Lost> = lost.iter().filter(|lost| lost.time > taken + MESH_HEARS).collect();
        assert!(late.is_empty(), "v2's weight was taken at {taken}, and requests were lost later: {late:#?}");
        assert!(lost.len() <= 100, "{} of {sent} lost: v2 got no more than 44 a second", lost.len());
    });
}

#[test]
fn one_crash_among_many_pods_of_a_proven_version_moves_no_weight() {
    run(async {
        let _shared = stage().shared().await;
        let space = Space::new(&stage().cluster, "proven").await;
        let many = Version { replicas: 20, ..version("v1", 90) };
        space.apply(NAME, &spec(&[many, version("v2", 10)], "")).await;
        ready_at(&space, NAME, "v1=90 v2=10").await;
        let one = pods(&space, NAME, "v1").await;
        control(one.first().unwrap(), &Change { crash: Some(true), ..Change::default() }).await;
        let restarted = eventually(|| async {
            let pods = pods(&space, NAME, "v1").await;
            let restarts = pods
                .iter()
                .filter_map(|pod| pod.status.as_ref()?.container_statuses.as_ref()?.first().map(|it| it.restart_count));
            (restarts.sum::<i32>() >= 1).then_some(())
        });
        restarted.await.expect("the pod restarts");
        let after =
            space.until(NAME, "ready again", |it| support::current(it) && condition(it, "Ready") == "True").await;
        let status = after.status.unwrap();
        assert_eq!(status.weights.as_deref(), Some("v1=90 v2=10"));
        assert!(status.traffic.iter().all(|entry| entry.losses == 0), "{:?}", status.traffic);
    });
}

#[test]
fn when_a_version_falls_silent_its_weight_moves_and_comes_back_without_oscillation() {
    run(async {
        let _shared = stage().shared().await;
        let space = Space::new(&stage().cluster, "silent").await;
        space.apply(NAME, &spec(&[version("v1", 60), version("v2", 40)], "")).await;
        ready_at(&space, NAME, "v1=60 v2=40").await;
        known(&space, NAME, "v1", 2).await;
        let traffic = Traffic::start(&space, NAME).await;
        let silent = pods(&space, NAME, "v1").await;
        for pod in &silent {
            control(pod, &Change { unready: Some(true), ..Change::default() }).await;
        }
        let moved = space.weights(NAME, "v1=0 v2=100").await;
        let moved = moved.status.unwrap().traffic.iter().find_map(|entry| entry.since.as_ref().map(|since| since.0));
        let heard = moved.unwrap() + MESH_HEARS;
        traffic.more(1_000).await;
        for pod in &silent {
            control(pod, &Change { unready: Some(false), ..Change::default() }).await;
        }
        ready_at(&space, NAME, "v1=60 v2=40").await;
        traffic.more(1_000).await;
        let reports = traffic.stop().await;
        let sent: u64 = reports.iter().map(|(_, report)| report.sent).sum();
        let lost: Vec<&Lost> = reports.iter().flat_map(|(_, report)| report.lost_requests()).collect();
        println!("all pods of a version unready, and ready again: {} of {sent} requests lost", lost.len());
        // An Envoy may hear of the endpoints before it hears of the route: 2 s of what v1 got are 264 requests.
        assert!(lost.len() <= 264, "{} of {sent} lost", lost.len());
        let late: Vec<&&Lost> = lost.iter().filter(|lost| lost.time > heard).collect();
        assert!(late.is_empty(), "the weight had moved, and requests were lost later: {late:#?}");
    });
}
