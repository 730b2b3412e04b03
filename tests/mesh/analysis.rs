//! Measurements of versions, with Prometheus scraping the mesh's Envoys: they agree with the ledger of whoever sent the
//! requests.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use devcluster::load::{Protocol, Report, Status};
use futures::future::BoxFuture;
use kube::{api::ObjectMeta, core::DeserializeGuard, runtime::watcher};
use microservice_operator::{
    api::{AnalysisProvider, Duration, MetricKind},
    observe::Providers,
    outside::{Error, Office, Secrets},
    plan::inquiry::{Asked, Calls, Finding, Inquiry, Measure, Question, Reading},
};
use serde_json::json;

use crate::{
    calls::{load, send},
    metrics::{scraped_after, scraped_for_a_while},
    service::{Version, known, ready_at, spec, version},
    stage::{Stage, stage},
    support::{Space, run},
};

const NAME: &str = "web";
const RATE: u32 = 200;
const REQUESTS: u64 = 2_000;
const FAILURE: u16 = 500;

/// A Prometheus without credentials needs none.
struct NoSecrets;

impl Secrets for NoSecrets {
    fn read<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<BTreeMap<String, Vec<u8>>, Error>> {
        Box::pin(async move { panic!("nobody asks for the Secret {name}") })
    }
}

async fn office() -> Arc<Office> {
    let url = format!("http://{}", stage().ground.prometheus());
    let spec = json!({"prometheus": {"url": url, "stats": "Envoy"}, "ownQueries": "Allow"});
    let metadata = ObjectMeta { name: Some("default".to_owned()), ..ObjectMeta::default() };
    let provider = AnalysisProvider { metadata, spec: serde_json::from_value(spec).unwrap() };
    let providers = Arc::new(Providers::default());
    let events =
        [watcher::Event::Init, watcher::Event::InitApply(DeserializeGuard(Ok(provider))), watcher::Event::InitDone];
    providers.feed(futures::stream::iter(events.map(Ok))).await;
    Arc::new(Office::new(providers, Arc::new(NoSecrets), Arc::default()))
}

/// What a version is measured at, over the time since then.
async fn measured(office: &Arc<Office>, space: &Space, metric: Asked, since: Instant) -> Reading {
    let window = Duration::from_millis(u64::try_from(since.elapsed().as_millis()).unwrap());
    let asked = Measure {
        provider: "default".to_owned(),
        metric: metric.clone(),
        namespace: space.name.clone(),
        service: NAME.to_owned(),
        ports: vec![80, 50051],
        calls: Calls::Some,
        version: "v2".to_owned(),
        baseline: Some("v1".to_owned()),
        window,
        count: true,
    };
    let inquiry = Inquiry { id: "1".to_owned(), question: Question::Measure(asked) };
    let office = office.clone();
    let reply = stage().inside.spawn(async move { office.answer(&inquiry).await }).await.unwrap();
    let Ok(Finding::Measured(reading)) = reply.finding else { panic!("{metric:?}: {:?}", reply.finding) };
    println!("{metric:?} over {window}: {reading:?}");
    reading
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn count(requests: u64) -> f64 {
    f64::from(u32::try_from(requests).unwrap())
}

/// A service whose v2 is slow and fails, which all proxies know.
async fn service(name: &str) -> Space {
    let space = Space::new(&stage().cluster, name).await;
    let env = format!(
        "env: [{{name: DELAY_MS, value: '110'}}, {{name: FAIL_SHARE, value: '5'}}, \
         {{name: FAIL_STATUS, value: '{FAILURE}'}}]"
    );
    let worse = Version { more: env, ..version("v2", 30) };
    space.apply(NAME, &spec(&[version("v1", 70), worse], "")).await;
    ready_at(&space, NAME, "v1=70 v2=30").await;
    for version in ["v1", "v2"] {
        known(&space, NAME, version, 2).await;
    }
    space
}

/// Sends requests and waits until Prometheus knows of all of them.
async fn requests(space: &Space) -> Report {
    let report = send(load(space, NAME, Protocol::Http1 { keep_alive: true }, RATE), REQUESTS).await;
    assert_eq!((report.sent, report.lost.len()), (REQUESTS, 0), "{report}");
    scraped_after(now()).await;
    report
}

/// What the ledger says must be what is measured, and not only nearly so.
async fn assert_agrees(office: &Arc<Office>, space: &Space, report: &Report, since: Instant) {
    let [of_v1, of_v2] = ["v1", "v2"].map(|version| report.by_version()[version]);
    let failed = report.answered.get(&("v2".to_owned(), Status::Http(FAILURE))).copied().unwrap_or_default();
    assert!(failed > 0, "v2 fails: {report}");
    let success = measured(office, space, Asked::Ready(MetricKind::SuccessRate), since).await;
    assert_eq!((success.requests, success.baseline), (Some(count(of_v2)), Some(100.0)), "{report}");
    let expected = 100.0 * (1.0 - count(failed) / count(of_v2));
    assert!((success.value.unwrap() - expected).abs() < 1e-6, "{success:?}, not {expected}: {report}");
    let throughput = measured(office, space, Asked::Ready(MetricKind::Throughput), since).await;
    let ratio = throughput.value.unwrap() / throughput.baseline.unwrap();
    assert!((ratio - count(of_v2) / count(of_v1)).abs() < 1e-6, "{throughput:?}: {report}");
    let most = count(of_v2) * f64::from(RATE) / count(REQUESTS);
    assert!(throughput.value.unwrap() > 0.0 && throughput.value.unwrap() <= most * 1.05, "{throughput:?} over {most}");
}

#[test]
fn measurements_agree_with_the_ledger_from_the_first_request_on() {
    run(async {
        let _shared = stage().shared().await;
        let space = service("measure").await;
        let office = office().await;
        scraped_for_a_while().await;
        let began = Instant::now();
        scraped_after(now()).await;

        // Nobody has asked for anything: there is no success and no latency, and a throughput of nothing.
        let nothing = measured(&office, &space, Asked::Ready(MetricKind::SuccessRate), began).await;
        assert_eq!(nothing, Reading { value: None, baseline: None, requests: Some(0.0) });
        assert_eq!(measured(&office, &space, Asked::Ready(MetricKind::LatencyP99), began).await.value, None);
        assert_eq!(measured(&office, &space, Asked::Ready(MetricKind::Throughput), began).await.value, Some(0.0));

        // The first failures come with a series that was not there.
        let first = requests(&space).await;
        assert_agrees(&office, &space, &first, began).await;

        // Later, only what came within the window counts.
        let again = Instant::now();
        let second = requests(&space).await;
        assert_agrees(&office, &space, &second, again).await;

        // Half of v2's requests and more take longer than the limit of a bucket, and half of v1's do not.
        let slow = measured(&office, &space, Asked::Ready(MetricKind::LatencyP50), began).await;
        assert!(slow.value.unwrap() > 100.0 && slow.baseline.unwrap() < 100.0, "{slow:?}");
        for kind in [MetricKind::LatencyP95, MetricKind::LatencyP99] {
            let slow = measured(&office, &space, Asked::Ready(kind), began).await;
            assert!(slow.value.unwrap() > 100.0, "{slow:?}");
        }

        let host = format!("{NAME}.{}.svc.cluster.local", space.name);
        let own = format!(
            "sum(increase(envoy_cluster_upstream_rq_completed{{cluster_name=\"outbound|80|${{version}}|{host}\"}}[${{window}}]))"
        );
        let own = measured(&office, &space, Asked::Query(own), again).await;
        let of_v2 = count(second.by_version()["v2"]);
        assert!((own.value.unwrap() - of_v2).abs() < of_v2 / 4.0, "{own:?} is not about {of_v2}");
    });
}

#[test]
fn what_prometheus_has_lost_is_no_data_and_what_comes_later_agrees_with_the_ledger() {
    run(async {
        let _alone = stage().alone().await;
        let Stage { cluster, ground, .. } = stage();
        let space = service("lost").await;
        let office = office().await;
        let began = Instant::now();
        requests(&space).await;
        ground.empty_prometheus(cluster).await;
        scraped_after(now()).await;

        // The counters still have all that was before, and nothing says how much of it is of the window.
        let lost = Instant::now();
        scraped_after(now()).await;
        for since in [began, lost] {
            let nothing = measured(&office, &space, Asked::Ready(MetricKind::SuccessRate), since).await;
            assert_eq!(nothing, Reading { value: None, baseline: None, requests: Some(0.0) });
            assert_eq!(measured(&office, &space, Asked::Ready(MetricKind::Throughput), since).await.value, None);
            assert_eq!(measured(&office, &space, Asked::Ready(MetricKind::LatencyP99), since).await.value, None);
        }

        scraped_for_a_while().await;
        let again = Instant::now();
        let report = requests(&space).await;
        assert_agrees(&office, &space, &report, again).await;
    });
}
