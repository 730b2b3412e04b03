//! What Prometheus knows of the versions of a service, from the Envoys that send its requests.
//!
//! A version is a subset, and each client's Envoy counts it as a cluster of its own, whose name has the Service's port, the
//! version and the host. With `V` for `cluster_name="outbound|80|v2|web.shop.svc.cluster.local"`, and over the last minute:
//!
//! | what | PromQL |
//! |---|---|
//! | requests a second | `sum(rate(envoy_cluster_upstream_rq_completed{V}[1m]))` |
//! | success rate, from 0 to 1 | `1 - (sum(rate(envoy_cluster_upstream_rq{V,response_code_class="5xx"}[1m])) or vector(0)) / sum(rate(envoy_cluster_upstream_rq_completed{V}[1m]))` |
//! | p50, p95, p99 in ms | `histogram_quantile(0.99, sum by (le) (rate(envoy_cluster_upstream_rq_time_bucket{V}[1m])))` |
//!
//! - Without requests there is a 0 of requests a second, and NaN for the others; without the cluster, an empty answer.
//! - `completed` and the classes count what the caller got, with what Envoy answered itself (no connection, a full pool, a
//!   timeout), and without attempts that were retried. gRPC calls that fail are 200 there.
//! - A class has a series from its first answer on, so `rate` misses the answers before that series' first scrape.
//! - The counters are as old as the scrape; the histogram is up to 5 s older, as Envoy merges it at `stats_flush_interval`.
//! - Percentiles are interpolated between the limits of buckets (…, 25, 50, 100, 250, 500, 1000, … ms), to which the upper
//!   limit belongs: if all take 100 ms, the median is 75 ms. A threshold is exact only where it is a limit.
//! - Istio's proxies have these stats only with `proxyStatsMatcher: {inclusionPrefixes: [cluster.outbound]}`.

use std::{
    process::Output,
    time::{SystemTime, UNIX_EPOCH},
};

use devcluster::load::{Protocol, Report, Status, binomial_interval};
use serde_json::Value;

use crate::{
    calls::{load, send},
    service::{Version, known, ready_at, spec, version},
    stage::{Stage, stage},
    support::{Space, eventually, run},
};

const NAME: &str = "web";
const RATE: u32 = 200;
const REQUESTS: u64 = 3_000;
/// More than the requests and the scrapes around them take.
const WINDOW: &str = "1m";
/// Less than the requests take.
const WITHIN: &str = "10s";
const FAILURE: u16 = 500;
/// Of the requests that fail, one in this many does.
const FAILS: u64 = 20;

/// What selects the stats of a version.
fn stats(space: &Space, version: &str) -> String {
    format!("cluster_name=\"outbound|80|{version}|{NAME}.{}.svc.cluster.local\"", space.name)
}

fn completed(version: &str) -> String {
    format!("sum(envoy_cluster_upstream_rq_completed{{{version}}})")
}

fn throughput(version: &str, window: &str) -> String {
    format!("sum(rate(envoy_cluster_upstream_rq_completed{{{version}}}[{window}]))")
}

fn success_rate(version: &str, window: &str) -> String {
    let failures = format!("sum(rate(envoy_cluster_upstream_rq{{{version},response_code_class=\"5xx\"}}[{window}]))");
    format!("1 - ({failures} or vector(0)) / {}", throughput(version, window))
}

fn percentile(share: f64, version: &str, window: &str) -> String {
    let buckets = format!("sum by (le) (rate(envoy_cluster_upstream_rq_time_bucket{{{version}}}[{window}]))");
    format!("histogram_quantile({share}, {buckets})")
}

fn get(query: &str, at: Option<f64>) -> Output {
    let mut command = stage().ground.inside();
    command.args(["curl", "--silent", "--show-error", "--fail", "--get", "--data-urlencode"]);
    command.arg(format!("query={query}"));
    if let Some(at) = at {
        command.args(["--data".to_owned(), format!("time={at}")]);
    }
    command.arg(format!("http://{}/api/v1/query", stage().ground.prometheus())).output().unwrap()
}

/// The number that a query comes to, at a time or now; none if the answer is empty.
fn number_at(query: &str, at: Option<f64>) -> Option<f64> {
    let output = get(query, at);
    assert!(output.status.success(), "{query}: {}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let result = answer["data"]["result"].as_array().unwrap();
    assert!(result.len() <= 1, "{query} is more than one number: {answer}");
    Some(result.first()?["value"][1].as_str().unwrap().parse().unwrap())
}

fn number(query: &str) -> Option<f64> {
    number_at(query, None)
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Waits until a query comes to this number.
async fn comes_to(query: &str, wanted: f64) {
    let reached = eventually(|| async { (number(query) == Some(wanted)).then_some(()) }).await;
    reached.unwrap_or_else(|| panic!("{query} is {:?}, not {wanted}", number(query)));
}

/// Waits until all Envoys have been scraped after this time.
pub async fn scraped_after(time: f64) {
    // Of anything but the name of a metric, `timestamp` is the time of the query.
    let query = "min(timestamp(envoy_server_live))";
    let scraped = eventually(|| async { number(query).filter(|last| *last > time) }).await;
    scraped.unwrap_or_else(|| panic!("Envoys are not scraped: {:?}", number("up")));
}

/// Waits until what is measured from now on has data: an analysis asks whether Envoys were scraped a minute before.
pub async fn scraped_for_a_while() {
    let query = "count(max_over_time(up[180s] offset 60s) == 1)";
    let scraped = eventually(|| async { number(query) }).await;
    scraped.unwrap_or_else(|| panic!("Envoys were not scraped: {:?}", number("count(up)")));
}

fn answered(report: &Report, version: &str, status: u16) -> u64 {
    report.answered.get(&(version.to_owned(), Status::Http(status))).copied().unwrap_or_default()
}

/// A number of requests as Prometheus has it.
fn count(requests: u64) -> f64 {
    f64::from(u32::try_from(requests).unwrap())
}

fn assert_near(what: &str, measured: Option<f64>, expected: f64, tolerance: f64) {
    let near = measured.is_some_and(|measured| (measured - expected).abs() <= tolerance);
    assert!(near, "{what} is {measured:?}, not {expected} ± {tolerance}");
    println!("{what}: {:.4}, by the ledger {expected:.4}", measured.unwrap());
}

#[test]
fn prometheus_agrees_with_the_ledger_on_shares_failures_and_latencies_of_versions() {
    run(async {
        let _shared = stage().shared().await;
        let space = Space::new(&stage().cluster, "metrics").await;
        let env = format!(
            "env: [{{name: DELAY_MS, value: '110'}}, {{name: FAIL_SHARE, value: '5'}}, \
             {{name: FAIL_STATUS, value: '{FAILURE}'}}]"
        );
        let worse = Version { more: env, ..version("v2", 20) };
        let pods = u64::try_from(worse.replicas).unwrap();
        space.apply(NAME, &spec(&[version("v1", 80), worse], "")).await;
        ready_at(&space, NAME, "v1=80 v2=20").await;
        let [v1, v2] = ["v1", "v2"].map(|version| stats(&space, version));
        for (name, stats) in [("v1", &v1), ("v2", &v2)] {
            known(&space, NAME, name, 2).await;
            comes_to(&completed(stats), 0.0).await;
        }

        let report = send(load(&space, NAME, Protocol::Http1 { keep_alive: true }, RATE), REQUESTS).await;
        let ended = now();
        assert_eq!((report.sent, report.lost.len()), (REQUESTS, 0), "{report}");
        scraped_after(ended).await;

        let [of_v1, of_v2] = ["v1", "v2"].map(|version| report.by_version()[version]);
        let failures = answered(&report, "v2", FAILURE);
        assert_eq!(failures, report.failures(), "only v2 fails: {report}");
        let class = |class: &str| format!("sum(envoy_cluster_upstream_rq{{{v2},response_code_class=\"{class}\"}})");
        assert_eq!(number(&completed(&v1)), Some(count(of_v1)), "{report}");
        assert_eq!(number(&completed(&v2)), Some(count(of_v2)), "{report}");
        assert_eq!(number(&class("5xx")), Some(count(failures)), "{report}");
        assert_eq!(number(&class("2xx")), Some(count(of_v2 - failures)), "{report}");

        let (least, most) = binomial_interval(REQUESTS, 0.2, 0.999);
        assert!((least..=most).contains(&of_v2), "v2 got {of_v2}, not {least} to {most}: {report}");
        // Each pod fails every 20th of its own requests.
        assert!((of_v2 / FAILS + 1 - pods..=of_v2 / FAILS).contains(&failures), "{failures} of {of_v2}: {report}");

        let share = format!("{} / ({} + {0})", throughput(&v2, WINDOW), throughput(&v1, WINDOW));
        assert_near("the share of v2", number(&share), count(of_v2) / count(REQUESTS), 0.01);
        let all = format!("{} + {}", throughput(&v1, WITHIN), throughput(&v2, WITHIN));
        assert_near("requests a second", number_at(&all, Some(ended)), f64::from(RATE), f64::from(RATE) / 10.0);
        assert_near("the success rate of v1", number(&success_rate(&v1, WINDOW)), 1.0, 0.0);
        let success = 1.0 - count(failures) / count(of_v2);
        assert_near("the success rate of v2", number(&success_rate(&v2, WINDOW)), success, 0.01);

        for (version, requests) in [(&v1, of_v1), (&v2, of_v2)] {
            comes_to(&format!("sum(envoy_cluster_upstream_rq_time_count{{{version}}})"), count(requests)).await;
        }
        for share in [0.5, 0.95, 0.99] {
            let [fast, slow] = [&v1, &v2].map(|version| number(&percentile(share, version, WINDOW)).unwrap());
            println!("percentile {share}: v1 {fast:.1} ms, v2 {slow:.1} ms");
            assert!(slow > 100.0, "v2 waits for more than 100 ms, and its percentile {share} is {slow} ms");
        }
        let usual = number(&percentile(0.5, &v1, WINDOW)).unwrap();
        assert!(usual < 100.0, "v1 does not wait, and half of its requests take more than {usual} ms");
    });
}

#[test]
fn prometheus_can_be_killed_and_comes_back() {
    run(async {
        let _alone = stage().alone().await;
        let Stage { cluster, ground, .. } = stage();
        ground.end_prometheus(cluster);
        let silent = eventually(|| async { (!get("up", None).status.success()).then_some(()) });
        silent.await.expect("nobody answers for it");
        let ended = now();
        ground.await_prometheus(cluster).await;
        scraped_after(ended).await;
    });
}
