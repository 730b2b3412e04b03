//! Metrics in the OpenMetrics text format, named as controller-runtime names them where it has them.

use std::{
    fmt,
    task::{Context, Poll},
    time::Duration,
};

use axum::http::{Request, Response, StatusCode};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};
use tower::{Layer, Service};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    controller: String,
    result: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    code: String,
    method: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InquiryLabels {
    provider: String,
    result: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventCallLabels {
    result: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabels {
    phase: String,
}

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    reconciles: Family<ReconcileLabels, Counter>,
    seconds: Histogram,
    leader: Gauge,
    ready: Gauge,
    shards: Gauge,
    microservices: Gauge,
    phases: Family<PhaseLabels, Gauge>,
    failing: Gauge,
    requests: Family<RequestLabels, Counter>,
    inquiries: Family<InquiryLabels, Counter>,
    event_calls: Family<EventCallLabels, Counter>,
}

const CONTROLLER: &str = "microservice";

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let reconciles = Family::<ReconcileLabels, Counter>::default();
        let requests = Family::<RequestLabels, Counter>::default();
        let seconds = Histogram::new([0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]);
        let leader = Gauge::default();
        registry.register("controller_runtime_reconcile", "Reconciliations by result", reconciles.clone());
        registry.register(
            "controller_runtime_reconcile_time_seconds",
            "Time that a reconciliation took",
            seconds.clone(),
        );
        registry.register("rest_client_requests", "Requests to the API server by code and method", requests.clone());
        let inquiries = Family::<InquiryLabels, Counter>::default();
        registry.register(
            "microservice_operator_inquiries",
            "Measurements that AnalysisProviders were asked for, by kind of provider and result",
            inquiries.clone(),
        );
        let event_calls = Family::<EventCallLabels, Counter>::default();
        registry.register(
            "microservice_operator_event_calls",
            "Events that RolloutWebhooks were to be told of, by result",
            event_calls.clone(),
        );
        registry.register("leader_election_master_status", "1 while this process leads", leader.clone());
        let ready = Gauge::default();
        registry.register(
            "microservice_operator_ready",
            "1 while this process can do its part, as its readiness says",
            ready.clone(),
        );
        let microservices = Gauge::default();
        registry.register(
            "microservice_operator_microservices",
            "Microservices that this process serves",
            microservices.clone(),
        );
        let phases = Family::<PhaseLabels, Gauge>::default();
        registry.register(
            "microservice_operator_microservices_by_phase",
            "Microservices among them by their status.phase; Unknown for one that has none yet or cannot be read",
            phases.clone(),
        );
        let failing = Gauge::default();
        registry.register(
            "microservice_operator_failing_microservices",
            "Microservices among them whose last reconciliation ended in an error",
            failing.clone(),
        );
        let shards = Gauge::default();
        registry.register(
            "microservice_operator_shards",
            "Parts that all namespaces are divided into, of which a process serves one",
            shards.clone(),
        );
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("microservice_operator_build", "Version of the operator", Info::new(version));
        Self {
            registry,
            reconciles,
            seconds,
            leader,
            ready,
            shards,
            microservices,
            phases,
            failing,
            requests,
            inquiries,
            event_calls,
        }
    }
}

impl Metrics {
    /// Counts a reconciliation.
    pub fn reconciled<E>(&self, took: Duration, result: &Result<(), E>) {
        self.count(if result.is_ok() { "success" } else { "error" });
        self.seconds.observe(took.as_secs_f64());
    }

    /// Counts a reconciliation that has to wait, before it has begun.
    pub fn put_off(&self) {
        self.count("requeue_after");
    }

    fn count(&self, result: &str) {
        let labels = ReconcileLabels { controller: CONTROLLER.to_owned(), result: result.to_owned() };
        self.reconciles.get_or_create(&labels).inc();
    }

    /// Counts a measurement, by the kind of provider that was asked and what came of it.
    pub fn inquired(&self, provider: &'static str, result: &'static str) {
        let labels = InquiryLabels { provider: provider.to_owned(), result: result.to_owned() };
        self.inquiries.get_or_create(&labels).inc();
    }

    /// Counts an event that a webhook was to be told of.
    pub fn told(&self, result: &'static str) {
        self.event_calls.get_or_create(&EventCallLabels { result: result.to_owned() }).inc();
    }

    /// Notes whether this process leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Notes whether this process is ready.
    pub fn is_ready(&self, ready: bool) {
        self.ready.set(i64::from(ready));
    }

    /// Notes that a Microservice came, went, or has another phase: which it had, and has now.
    pub fn serves(&self, before: Option<String>, after: Option<String>) {
        self.microservices.inc_by(i64::from(after.is_some()) - i64::from(before.is_some()));
        if let Some(phase) = before {
            self.phases.get_or_create(&PhaseLabels { phase }).dec();
        }
        if let Some(phase) = after {
            self.phases.get_or_create(&PhaseLabels { phase }).inc();
        }
    }

    /// The gauge of the Microservices whose last reconciliation ended in an error.
    pub fn failing(&self) -> Gauge {
        self.failing.clone()
    }

    /// Notes how many parts all namespaces are divided into.
    pub fn shares(&self, shards: u16) {
        self.shards.set(shards.into());
    }

    /// The metrics as text.
    ///
    /// # Errors
    /// When a metric cannot be formatted.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Counts the requests of a client.
    pub fn layer(&self) -> CountRequests {
        CountRequests { requests: self.requests.clone() }
    }
}

/// Counts the requests that go through it.
#[derive(Clone)]
pub struct CountRequests {
    requests: Family<RequestLabels, Counter>,
}

impl<S> Layer<S> for CountRequests {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Counted { inner, requests: self.requests.clone() }
    }
}

/// A service whose requests are counted.
#[derive(Clone)]
pub struct Counted<S> {
    inner: S,
    requests: Family<RequestLabels, Counter>,
}

impl<S, B, C> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<C>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = futures::future::BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let method = request.method().to_string();
        let requests = self.requests.clone();
        let answer = self.inner.call(request);
        let mut asked = Asked { requests, method, code: NO_ANSWER.to_owned() };
        Box::pin(async move {
            let answer = answer.await?;
            asked.answered(answer.status());
            Ok(answer)
        })
    }
}

/// The code of a request that has no answer, or is given up before.
const NO_ANSWER: &str = "<error>";

/// A request under way, which counts when it ends in whatever way.
struct Asked {
    requests: Family<RequestLabels, Counter>,
    method: String,
    code: String,
}

impl Asked {
    fn answered(&mut self, status: StatusCode) {
        status.as_str().clone_into(&mut self.code);
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let labels = RequestLabels { code: std::mem::take(&mut self.code), method: std::mem::take(&mut self.method) };
        self.requests.get_or_create(&labels).inc();
    }
}
