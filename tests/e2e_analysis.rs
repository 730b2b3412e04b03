//! Analyses on a real API server: what a Prometheus answers lets a rollout go on, holds it, or rolls it back, without
//! anybody's help. The Prometheus is one of the test's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::http::Uri;
use k8s_openapi::api::events::v1::Event;
use kube::api::ListParams;
use microservice_operator::api::{MeasurementResult, MetricRun, Microservice, RolloutState, RolloutStatus};
use serde_json::{Value, json};
use support::{
    Operator, Space, cluster, condition, eventually, message,
    outside::{HOOK, Outside, number, query_of},
    run, told,
};

/// Settings of the operator under test.
const PROPAGATION: Duration = Duration::from_secs(1);
const STEPS: &str = "[{weight: 10}, {weight: 50}]";

/// What the server says, and what it was asked.
#[derive(Default)]
struct Book {
    /// Percent of the requests that succeed.
    success: f64,
    /// Queries of PromQL, in their order.
    queries: Vec<String>,
    /// Bodies that were posted to `/hook`.
    calls: Vec<Value>,
}

impl Book {
    fn answer(&mut self, uri: &Uri, body: &str) -> Value {
        if uri.path() == HOOK {
            self.calls.push(serde_json::from_str(body).unwrap());
            return Value::Null;
        }
        assert_eq!(uri.path(), "/api/v1/query");
        let query = query_of(body);
        let value = match &query {
            query if query.starts_with("100 *") => self.success,
            query if query.starts_with("histogram_quantile") => 120.0,
            _ => 40.0,
        };
        self.queries.push(query);
        number(value)
    }
}

/// A Prometheus, which is also a webhook, and what it was asked.
struct Server {
    outside: Outside,
    book: Arc<Mutex<Book>>,
}

impl Server {
    /// Serves the services of a namespace, with this percentage of success.
    async fn of(space: &Space, success: f64) -> Self {
        let book = Arc::new(Mutex::new(Book { success, ..Book::default() }));
        let asked = book.clone();
        let outside = Outside::of(space, move |uri, body| asked.lock().unwrap().answer(uri, body)).await;
        Self { outside, book }
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }
}

fn operator(space: &Space) -> Operator {
    let args = ["--namespace", &space.name, "--leader-election", "false", "--mesh-propagation", "1s"];
    Operator::start(cluster().kubeconfig_path(), &args)
}

/// A service whose versions are measured each second.
fn service(space: &Space, weights: (i32, i32), steps: &str, metrics: &str) -> String {
    format!(
        "{{ports: [{{name: http, port: 80}}], versions: [\
         {{name: v1, image: 'registry.example/a:1', weight: {}}}, {{name: v2, image: 'registry.example/a:2', weight: {}}}], \
         rollout: {{steps: {steps}, webhooks: [{{webhook: {name}, at: [OnEvent]}}], \
         analysis: {{provider: {name}, interval: 1s, consecutiveErrorLimit: 1000, metrics: [{metrics}]}}}}}}",
        weights.0,
        weights.1,
        name = space.name,
    )
}

const SUCCESS: &str = "{name: success-rate, kind: SuccessRate, min: 99}";

/// A service at `v1=100` with v2 at its side, that is then asked for v2.
async fn promote(space: &Space, steps: &str, metrics: &str) {
    space.apply("a", &service(space, (100, 0), steps, metrics)).await;
    space.ready("a").await;
    space.apply("a", &service(space, (0, 100), steps, metrics)).await;
}

fn rollout(microservice: &Microservice) -> Option<&RolloutStatus> {
    microservice.status.as_ref()?.rollout.as_ref()
}

/// The latest measurement of the only metric of the only version.
fn measured(microservice: &Microservice) -> Option<&MetricRun> {
    rollout(microservice)?.analysis.as_ref()?.metrics.first()
}

fn weights(microservice: &Microservice) -> Option<&str> {
    microservice.status.as_ref()?.weights.as_deref()
}

/// The note of the first event with this reason.
async fn note(space: &Space, reason: &str) -> String {
    let api = space.api::<Event>();
    let found = eventually(|| async {
        let all = api.list(&ListParams::default()).await.ok()?;
        all.items.into_iter().find(|event| event.reason.as_deref() == Some(reason))?.note
    });
    found.await.unwrap_or_else(|| panic!("no event {reason}"))
}

/// The series of v2, as the guide has it of Istio's metrics.
fn series(space: &Space, metric: &str, more: &str) -> String {
    let labels = format!(
        "reporter=~\"source|waypoint\",destination_workload_namespace=\"{}\",destination_workload=\"a-v2\"{more}",
        space.name
    );
    format!("{metric}{{{labels}}}")
}

/// How far a counter of v2 went up in a second.
fn counted(space: &Space, metric: &str, more: &str, by: &str) -> String {
    let series = series(space, metric, more);
    format!(
        "sum{by}(last_over_time({series}[1s]) - (last_over_time({series}[300s] offset 1s) unless \
         resets({series}[301s]) > 0) or last_over_time({series}[1s]))"
    )
}

/// That the service, or what is scraped for v2, was seen before that second.
fn seen(space: &Space) -> String {
    let of_service = format!(
        "istio_requests_total{{reporter=~\"source|waypoint\",destination_service_namespace=\"{}\",\
         destination_service_name=\"a\"}}",
        space.name
    );
    let of_version = series(space, "istio_requests_total", "");
    format!(
        "and on () (last_over_time({of_service}[180s] offset 61s) or max_over_time(up[180s] offset 61s) == 1 \
         and on (job) last_over_time({of_version}[1s]))"
    )
}

#[test]
fn what_passes_goes_on_to_the_end_and_istios_metrics_are_asked_for() {
    run(async {
        let space = Space::with_propagation(cluster(), "passes", PROPAGATION).await;
        let server = Server::of(&space, 100.0).await;
        let _operator = operator(&space);
        let metrics = format!(
            "{SUCCESS}, {{name: p99, kind: LatencyP99, max: 500}}, {{name: throughput, kind: Throughput, min: 1}}"
        );
        promote(&space, STEPS, &metrics).await;
        space.weights("a", "v1=0 v2=100").await;
        let done = space.ready("a").await;
        assert_eq!(rollout(&done).unwrap().state, RolloutState::Completed);
        assert_eq!(condition(&done, "Promoted"), "True");
        note(&space, "RolloutStarted").await;
        assert_eq!(note(&space, "RolloutCompleted").await, "the requested weights are in force: v1=0 v2=100");

        let seen = seen(&space);
        let requests = format!("{} {seen}", counted(&space, "istio_requests_total", "", ""));
        let failed = counted(&space, "istio_requests_total", ",response_code=~\"5..\"", "");
        let buckets = counted(&space, "istio_request_duration_milliseconds_bucket", "", " by (le) ");
        let expected = [
            format!("100 * (1 - ({failed} or vector(0)) / ({requests}))"),
            format!("histogram_quantile(0.99, {buckets} {seen})"),
            format!("({requests}) / 1"),
            requests,
        ];
        let asked = server.book().queries.clone();
        for query in &expected {
            let times = asked.iter().filter(|asked| *asked == query).count();
            assert!(times >= 2, "asked {times} times, and there are two weights to pass: {query}\n{asked:#?}");
        }
        let other = asked.iter().find(|query| !expected.contains(query));
        assert_eq!(other, None, "nothing else is asked");
    });
}

#[test]
fn what_fails_is_rolled_back_with_the_value_and_told() {
    run(async {
        let space = Space::with_propagation(cluster(), "fails", PROPAGATION).await;
        let server = Server::of(&space, 100.0).await;
        let _operator = operator(&space);
        promote(&space, "[{weight: 10}, {pause: {duration: 1h}}]", SUCCESS).await;
        let passed = |it: &Microservice| measured(it).is_some_and(|it| it.result == MeasurementResult::Passed);
        let well = space.until("a", "a pass", passed).await;
        assert_eq!((weights(&well), measured(&well).unwrap().message.as_str()), (Some("v1=90 v2=10"), "100 % ≥ 99 %"));

        server.book().success = 95.4;
        let back = space.weights("a", "v1=100 v2=0").await;
        assert_eq!(rollout(&back).unwrap().state, RolloutState::Aborted);
        let (reason, why) = told(&back, "Promoted");
        assert_eq!(reason, "RolloutAborted");
        let told = "v2 fails its analysis: success-rate 95.4 % < 99 % (1 of ";
        assert!(why.starts_with(told) && why.contains("; query: 100 * (1 - ("), "{why}");
        assert!(message(&back).starts_with(&format!("rolled back: {told}")), "{}", message(&back));
        assert_eq!(condition(&back, "Available"), "True");
        let noted = note(&space, "RolloutAborted").await;
        assert!(noted.starts_with(told), "{noted}");

        let heard = || async {
            let calls = server.book().calls.clone();
            calls.into_iter().find(|call| call["event"]["reason"] == "RolloutAborted")
        };
        let call = eventually(heard).await.expect("the webhook is told of the event");
        assert_eq!((&call["event"]["type"], &call["event"]["message"]), (&json!("Warning"), &json!(noted)));
        assert_eq!((&call["moment"], &call["microservice"]), (&json!("OnEvent"), &json!("a")));
        assert_eq!((&call["weights"], &call["requestedWeights"]), (&json!({"v1": 100}), &json!({"v2": 100})));
        let reasons: Vec<String> = server.book().calls.iter().map(|call| call["event"]["reason"].to_string()).collect();
        let place = |reason: &str| reasons.iter().position(|it| it.contains(reason));
        let started = place("RolloutStarted");
        assert!(started.is_some() && started < place("RolloutAborted"), "{reasons:?}");
    });
}

#[test]
fn a_provider_that_is_gone_holds_the_weights_until_it_is_back() {
    run(async {
        let space = Space::with_propagation(cluster(), "gone", PROPAGATION).await;
        let mut server = Server::of(&space, 100.0).await;
        let _operator = operator(&space);
        server.outside.goes().await;
        promote(&space, STEPS, SUCCESS).await;
        let held =
            space.until("a", "three errors", |it| measured(it).is_some_and(|it| it.consecutive_errors >= 3)).await;
        let latest = measured(&held).unwrap();
        assert_eq!(latest.result, MeasurementResult::Error);
        let address = format!("127.0.0.1:{}", server.outside.port);
        assert!(
            latest.message.contains(&address) && latest.message.contains("cannot be reached"),
            "{}",
            latest.message
        );
        assert_eq!((weights(&held), rollout(&held).unwrap().state), (Some("v1=90 v2=10"), RolloutState::Progressing));
        assert!(message(&held).contains("cannot be reached"), "{}", message(&held));

        server.outside.comes_back().await;
        space.weights("a", "v1=0 v2=100").await;
        let done = space.ready("a").await;
        assert_eq!(condition(&done, "Promoted"), "True");
        let all = space.api::<Event>().list(&ListParams::default()).await.unwrap();
        let bad = all.items.iter().find(|event| {
            event.reason.as_deref().is_some_and(|reason| ["RolloutAborted", "RolloutPaused"].contains(&reason))
        });
        assert!(bad.is_none(), "{bad:?}");
    });
}
